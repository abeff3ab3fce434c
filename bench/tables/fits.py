"""One fit of one peer on one split, in a process of its own.

``python -m bench.tables.fits TABLE PEER SPLIT THREADS`` writes one line of JSON: the measures and
times, ``{"missing": REASON}`` if the peer's package is not installed, ``{"no_data": REASON}`` if
the data set's is not, or ``{"failed": REASON}``.
"""

import importlib
import importlib.metadata
import json
import sys
import time
import warnings

import numpy as np

from bench.tables.sources import CLASSIFICATION, ShapeError, load_table, split_rows


def time_call(call, *arguments):
    """Return the result of a call, its wall-clock seconds, and the CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def measure_classes(y, probabilities):
    """Return the error rate, log loss and area under the ROC curve (macro, one against rest).

    Parameters
    ----------
    y : ndarray of int, shape (n_samples,)
    probabilities : ndarray, shape (n_samples, n_classes)
    """
    from sklearn.metrics import log_loss, roc_auc_score

    probabilities = np.asarray(probabilities, "float64")
    probabilities = probabilities / probabilities.sum(1, keepdims=True)
    labels = np.arange(probabilities.shape[1])
    scores = probabilities[:, 1] if len(labels) == 2 else probabilities
    auc = roc_auc_score(y, scores, multi_class="ovr", average="macro", labels=labels)
    return {
        "error": float(np.mean(probabilities.argmax(1) != y)),
        "log_loss": float(log_loss(y, probabilities, labels=labels)),
        "auc": float(auc),
    }


def measure_values(y, predictions):
    """Return RMSE, nRMSE, mean absolute error and R2 of real predictions.

    nRMSE is the RMSE divided by the standard deviation of y: 1 for a prediction of the mean, and
    the square root of 1 - R2.
    """
    residuals = y - np.asarray(predictions, "float64").reshape(len(y))
    rmse, deviation = np.sqrt(np.mean(residuals**2)), np.std(y)
    return {
        "rmse": float(rmse),
        "nrmse": float(rmse / deviation),
        "mae": float(np.mean(np.abs(residuals))),
        "r2": float(1 - (rmse / deviation) ** 2),
    }


def fit_once(table, peer, split, threads):
    """Fit a peer to the training rows of a split and measure it on the test rows.

    Parameters
    ----------
    table : bench.tables.sources.Table
    peer : bench.tables.peers.Peer
    split : int
        The number of the split, which also seeds the peer.
    threads : int
        Number of threads that the peer may use.

    Returns
    -------
    dict
        Measures, times in seconds, sizes and the version of the peer's package; or
        "missing" or "no_data" with a reason.
    """
    try:
        X, y, task = load_table(table)
    except (ImportError, ShapeError) as error:
        return {"no_data": str(error)}
    try:
        estimator = peer.make(task, split, threads)
    except ImportError as error:
        return {"missing": str(error)}
    train, test = split_rows(y, task, split)
    X_train, X_test = (X.iloc[rows].reset_index(drop=True) for rows in (train, test))
    _, fit_seconds, fit_cpu = time_call(estimator.fit, X_train, y[train])
    predictions, predict_seconds, predict_cpu = time_call(estimator.predict, X_test)
    measure = measure_classes if task == CLASSIFICATION else measure_values
    return {
        "task": task,
        **measure(y[test], predictions),
        "fit_seconds": fit_seconds,
        "fit_cpu_seconds": fit_cpu,
        "predict_seconds": predict_seconds,
        "predict_cpu_seconds": predict_cpu,
        "n_train": len(train),
        "n_test": len(test),
        "n_columns": X.shape[1],
        "version": find_version(peer.package),
    }


def find_version(package):
    """Return the version of a package; if it is imported from a checkout, its `__version__`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.import_module(package).__version__


def main():
    """Fit as the arguments say, and write the answer."""
    from bench.tables.catalog import TABLES
    from bench.tables.peers import PEERS

    table, peer, split, threads = sys.argv[1:]
    # Peers may print: only the answer goes to the standard output.
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    try:
        answer = fit_once(TABLES[table], PEERS[peer], int(split), int(threads))
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
