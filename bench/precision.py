"""Compare the scores of float32 and bfloat16 networks over several seeds.

`python -m bench.precision` trains 784-1024-1024-10 on MNIST and 8-256-256-1 on a table: California
housing if scikit-learn has it in its data directory, else a generated regression of the same shape.
It prints the test scores of each seed, their means and standard deviations.
"""

import argparse
import json
from statistics import mean, stdev

import numpy as np

from cmlp import Adam, Network, datasets, schedules

DTYPES = ("float32", "bfloat16")


def load_digits():
    """Return training and test data of MNIST."""
    return datasets.load_mnist(download=False)


def load_table():
    """Return training and test data of a regression, inputs and target standardized."""
    from sklearn.datasets import fetch_california_housing, make_friedman1
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    try:
        X, y = fetch_california_housing(return_X_y=True, download_if_missing=False)
    except OSError:
        X, y = make_friedman1(20_640, 8, noise=1.0, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(X)
    center, scale = y.mean(), y.std()
    X, X_test = (scaler.transform(x).astype(np.float32) for x in (X, X_test))
    return (X, (y - center) / scale), (X_test, (y_test - center) / scale)


# Name -> data, sizes, loss, epochs, learning rate.
EXPERIMENTS = {
    "digits": (load_digits, (784, 1024, 1024, 10), "cross_entropy", 6, 1e-3),
    "table": (load_table, (8, 256, 256, 1), "mse", 30, 2e-3),
}


def train(name, compute_dtype, seed):
    """Train a network and return its test score: accuracy, or R^2."""
    load, sizes, loss, epochs, lr = EXPERIMENTS[name]
    (X, y), test = load()
    network = Network(
        list(sizes), activation="relu", loss=loss, seed=seed, compute_dtype=compute_dtype
    )
    network.fit(
        X, y, epochs=epochs, batch_size=128, optimizer=Adam(lr), schedule=schedules.Cosine()
    )
    return network.score(*test)


def main():
    """Print one line per experiment and dtype."""
    options = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__)
    options.add_argument("--experiments", nargs="*", choices=EXPERIMENTS, default=[*EXPERIMENTS])
    options.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    options = options.parse_args()
    for name in options.experiments:
        for dtype in DTYPES:
            scores = [train(name, dtype, seed) for seed in options.seeds]
            spread = stdev(scores) if len(scores) > 1 else 0.0
            print(json.dumps({"experiment": name, "compute_dtype": dtype, "mean": mean(scores),
                              "stdev": spread, "scores": scores}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
