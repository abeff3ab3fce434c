"""cmlp's estimators against scikit-learn's: the same arguments, data and seeds, on one core.

`python -m bench.estimators` fits both in turn and prints medians over all rounds: of large jobs,
and of scikit-learn's four bundled data sets with default arguments. ``--tables`` selects one of the
two. It requires the extra ``sklearn``, and MNIST for the first of the large jobs.
"""

import argparse
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from statistics import median
from typing import Any

# One core for both. NumPy's BLAS reads these variables when it is loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CMLP_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from sklearn import datasets as bundled
from sklearn import neural_network
from sklearn.datasets import make_regression
from sklearn.preprocessing import StandardScaler

import cmlp.sklearn
from cmlp import datasets
from cmlp._bench.machine import read_cpu_model

PACKAGES = {"scikit-learn": neural_network, "cmlp": cmlp.sklearn}
PREDICTIONS = 300  # number of timed predictions of one row


def load_mnist():
    """Return (X, y), (X_test, y_test): float32, shapes (60,000, 784) and (10,000, 784)."""
    return [
        (X.reshape(-1, 784).astype(np.float32) / 255, y)
        for X, y in datasets.load_mnist(download=False)
    ]


def make_table():
    """Return (X, y), (X_test, y_test): float64, shapes (20,000, 13) and (5,000, 13)."""
    X, y = make_regression(25_000, 13, noise=5.0, random_state=0)
    X, y = X + 0.1 * X**2, np.tanh(y / y.std())
    return (X[:20_000], y[:20_000]), (X[20_000:], y[20_000:])


@dataclass(frozen=True)
class EstimatorJob:
    """A fit of one estimator, and predictions of one row.

    Attributes
    ----------
    title : str
    estimator : str
        The name of the class in both packages.
    load : callable
        Returns (X, y), (X_test, y_test).
    dtype : str
        The dtype that the data are converted to.
    arguments : dict
        The arguments of the class.
    """

    title: str
    estimator: str
    load: Any
    dtype: str
    arguments: dict = field(default_factory=dict)

    def load_data(self):
        """Return (X, y), (X_test, y_test) in the job's dtype; labels stay integers."""
        return [
            tuple(a.astype(self.dtype) if a.dtype.kind == "f" else a for a in pair)
            for pair in self.load()
        ]


TABLE = {"hidden_layer_sizes": (64, 64), "max_iter": 10}
MNIST = {"hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": 5}

JOBS = [
    EstimatorJob(
        "MNIST, hidden 100, batch 200, adam", "MLPClassifier", load_mnist, "float32", MNIST
    ),
    EstimatorJob(
        "20,000 x 13, hidden (64, 64), batch 32", "MLPRegressor", make_table, "float64",
        {**TABLE, "batch_size": 32},
    ),
    EstimatorJob("the same, batch auto", "MLPRegressor", make_table, "float64", TABLE),
    EstimatorJob(
        "the same in float32, batch 32", "MLPRegressor", make_table, "float32",
        {**TABLE, "batch_size": 32},
    ),
    EstimatorJob("the same in float32, batch auto", "MLPRegressor", make_table, "float32", TABLE),
]  # fmt: skip


def measure(package, job, train, test, seed):
    """Return the seconds of a fit, the microseconds of predicting one row, and the test score."""
    estimator = getattr(PACKAGES[package], job.estimator)(random_state=seed, **job.arguments)
    start = time.perf_counter()
    estimator.fit(*train)
    seconds = time.perf_counter() - start
    row, times = test[0][:1], []
    for _ in range(PREDICTIONS):
        start = time.perf_counter()
        estimator.predict(row)
        times.append(time.perf_counter() - start)
    return seconds, median(times) * 1e6, estimator.score(*test)


def measure_job(job, rounds):
    """Return the medians over rounds, a list of three numbers for each package; see `measure`."""
    train, test = job.load_data()
    results = {package: [] for package in PACKAGES}
    for seed in range(rounds):
        for package in PACKAGES:
            results[package].append(measure(package, job, train, test, seed))
    return [
        [median(values) for values in zip(*results[package], strict=True)] for package in PACKAGES
    ]


# Data set of scikit-learn, as `sklearn.datasets.load_<name>` returns it -> estimator.
BUNDLED = {"iris": "MLPClassifier", "digits": "MLPClassifier", "breast_cancer": "MLPClassifier",
           "diabetes": "MLPRegressor"}  # fmt: skip
SOLVERS = ("adam", "sgd", "lbfgs")


def measure_bundled(name, solver, is_scaled, rounds):
    """Fit an estimator with default arguments and ``random_state=0`` to a bundled data set.

    Parameters
    ----------
    name : str
        A key of `BUNDLED`.
    solver : str
    is_scaled : bool
        Whether X is scaled by `StandardScaler`.
    rounds : int

    Returns
    -------
    dict from package to (float, int, float)
        The median of the seconds, `n_iter_` and the training score.
    """
    X, y = getattr(bundled, f"load_{name}")(return_X_y=True)
    X = StandardScaler().fit_transform(X) if is_scaled else X
    times, found = {package: [] for package in PACKAGES}, {}
    for _ in range(rounds):
        for package, module in PACKAGES.items():
            estimator = getattr(module, BUNDLED[name])(solver=solver, random_state=0)
            start = time.perf_counter()
            estimator.fit(X, y)
            times[package].append(time.perf_counter() - start)
            found[package] = estimator.n_iter_, estimator.score(X, y)
    return {package: (median(times[package]), *found[package]) for package in PACKAGES}


def print_bundled(rounds):
    """Measure the bundled data sets with all solvers and print a Markdown table."""
    print("| | solver | X | scikit-learn, ms | cmlp, ms | speedup | epochs | scores |")
    print("|---|---|---|---:|---:|---:|---|---|", flush=True)
    for is_scaled in (False, True):
        for name in BUNDLED:
            for solver in SOLVERS:
                found = measure_bundled(name, solver, is_scaled, rounds)
                (theirs, *of_theirs), (ours, *of_ours) = (found[package] for package in PACKAGES)
                print(f"| {name.replace('_', ' ')} | {solver} | {'scaled' if is_scaled else 'raw'} "
                      f"| {theirs * 1e3:.1f} | {ours * 1e3:.1f} | {theirs / ours:.1f} | "
                      f"{of_theirs[0]}, {of_ours[0]} | {of_theirs[1]:.4f}, {of_ours[1]:.4f} |",
                      flush=True)  # fmt: skip


def print_jobs(rounds):
    """Measure the large jobs and print a Markdown table."""
    print("| | scikit-learn, s | cmlp, s | speedup | predict one row, us | | speedup | scores |")
    print("|---|---:|---:|---:|---:|---:|---:|---|", flush=True)
    for job in JOBS:
        theirs, ours = measure_job(job, rounds)
        print(f"| {job.title} | {theirs[0]:.2f} | {ours[0]:.2f} | {theirs[0] / ours[0]:.1f} | "
              f"{theirs[1]:.0f} | {ours[1]:.1f} | {theirs[1] / ours[1]:.1f} | "
              f"{theirs[2]:.4f}, {ours[2]:.4f} |", flush=True)  # fmt: skip


TABLES = {"large": print_jobs, "bundled": print_bundled}


def main():
    """Print the tables that the arguments select."""
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # neither package converges in a few epochs
    print(f"{read_cpu_model()}, one core, medians of {arguments.rounds} rounds")
    for name in arguments.tables:
        print()
        TABLES[name](arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
