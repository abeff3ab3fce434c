"""cmlp's estimators against scikit-learn's: the same arguments, data and seeds, one core.

`python -m bench.estimators` lets the two take turns and prints the medians of the ratios. It
needs the extra ``sklearn`` and MNIST for the first job.
"""

import argparse
import os
import sys
import time
import warnings
from statistics import median

# One core for both: set before NumPy's BLAS is loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CMLP_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
from sklearn import neural_network
from sklearn.datasets import make_regression

from bench.report import cpu_model
from cmlp import datasets, sklearn

KINDS = {"scikit-learn": neural_network, "cmlp": sklearn}


def mnist():
    """Return (X, y), (X_test, y_test): rows of float32."""
    return [
        (X.reshape(-1, 784).astype(np.float32) / 255, y)
        for X, y in datasets.load_mnist(download=False)
    ]


def table():
    """Return (X, y), (X_test, y_test): 13 columns, float64."""
    X, y = make_regression(25_000, 13, noise=5.0, random_state=0)
    X, y = X + 0.1 * X**2, np.tanh(y / y.std())
    return (X[:20_000], y[:20_000]), (X[20_000:], y[20_000:])


JOBS = {
    "MNIST, hidden 100, batch 200, adam": (
        "MLPClassifier", mnist, {"hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": 5},
    ),
    "20,000 x 13, hidden (64, 64), batch 32": (
        "MLPRegressor", table, {"hidden_layer_sizes": (64, 64), "batch_size": 32, "max_iter": 10},
    ),
    "the same, batch auto": (
        "MLPRegressor", table, {"hidden_layer_sizes": (64, 64), "max_iter": 10},
    ),
    "the same in float32, batch 32": (
        "MLPRegressor", table,
        {"hidden_layer_sizes": (64, 64), "batch_size": 32, "max_iter": 10, "float32": True},
    ),
    "the same in float32, batch auto": (
        "MLPRegressor", table,
        {"hidden_layer_sizes": (64, 64), "max_iter": 10, "float32": True},
    ),
}  # fmt: skip


def once(kind, name, options, train, test, seed):
    """Return the seconds of a fit, the microseconds of one row's prediction, and the score."""
    estimator = getattr(KINDS[kind], name)(random_state=seed, **options)
    start = time.perf_counter()
    estimator.fit(*train)
    seconds = time.perf_counter() - start
    row, times = test[0][:1], []
    for _ in range(300):
        start = time.perf_counter()
        estimator.predict(row)
        times.append(time.perf_counter() - start)
    return seconds, median(times) * 1e6, estimator.score(*test)


def main():
    """Time, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # neither has converged after so few epochs
    print(f"{cpu_model()}, one core, medians of {rounds} rounds\n")
    print("| | scikit-learn, s | cmlp, s | times as fast | predict one row, us | | "
          "times as fast | scores |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---|", flush=True)
    for title, (name, load, options) in JOBS.items():
        options = dict(options)
        train, test = load()
        if options.pop("float32", False):
            train, test = ([a.astype(np.float32) for a in pair] for pair in (train, test))
        taken = {kind: [] for kind in KINDS}
        for seed in range(rounds):
            for kind in KINDS:
                taken[kind].append(once(kind, name, options, train, test, seed))
        theirs, ours = ([median(values) for values in zip(*taken[kind], strict=True)]
                        for kind in KINDS)  # fmt: skip
        print(f"| {title} | {theirs[0]:.2f} | {ours[0]:.2f} | {theirs[0] / ours[0]:.1f} | "
              f"{theirs[1]:.0f} | {ours[1]:.1f} | {theirs[1] / ours[1]:.1f} | "
              f"{theirs[2]:.4f}, {ours[2]:.4f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
