"""Measure the accuracy of networks of 8-bit integers, and their speed for each ISA.

`python -m bench.quantization` trains networks in float32, quantizes them by each method of
calibration, and prints means over seeds of the score on test data: the accuracy on MNIST, which
it requires, and R^2 on generated tables whose columns have heavier and heavier tails.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np

from cmlp import Adam, Network, datasets
from cmlp._bench.machine import read_cpu_model
from cmlp._bench.runner import make_environment
from cmlp._core import kernels

# Title in the table -> arguments of `Network.quantize`.
METHODS = {
    "minmax": {"method": "minmax"},
    "percentile 99.9": {"method": "percentile", "percentile": 99.9},
    "percentile 99.99": {"method": "percentile", "percentile": 99.99},
    "mse": {"method": "mse"},
}

CALIBRATION_ROWS = 1000


@dataclass(frozen=True)
class Recipe:
    """The training of a network by Adam with batches of 128.

    Attributes
    ----------
    title : str
    sizes : tuple of int
    options : dict
        Further arguments of `Network`.
    """

    title: str
    sizes: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


RECIPES = (
    Recipe("784-128-10, relu", (784, 128, 10), {"activation": "relu"}),
    Recipe("784-512-256-10, relu", (784, 512, 256, 10), {"activation": "relu"}),
    Recipe("784-256-128-10, gelu, batch normalization", (784, 256, 128, 10),
           {"activation": "gelu", "normalization": "batch"}),
    Recipe("784-256-128-10, relu, layer normalization", (784, 256, 128, 10),
           {"activation": "relu", "normalization": "layer"}),
)  # fmt: skip


def measure_accuracy(recipe, train, test, epochs, seed):
    """Return the test accuracies: in float32, then by each of `METHODS`; a list of float."""
    net = Network(list(recipe.sizes), loss="cross_entropy", seed=seed, **recipe.options)
    net.fit(*train, epochs=epochs, batch_size=128, optimizer=Adam(1e-3))
    sample = train[0][:CALIBRATION_ROWS]
    quantized = [net.quantize(sample, **arguments) for arguments in METHODS.values()]
    return [each.score(*test) for each in (net, *quantized)]


# Title in the table -> function of (generator, shape) that draws columns.
COLUMNS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "log-normal": lambda rng, shape: np.exp(rng.normal(size=shape)),
    "Student's t, 3 degrees of freedom": lambda rng, shape: rng.standard_t(3, shape),
}


def measure_regression(draw, activation, seed):
    """Return R^2 on 2,000 rows of 20 standardized columns: in float32, then by each method."""
    rng = np.random.default_rng(seed)
    X = draw(rng, (12_000, 20))
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    y = np.tanh(X @ rng.normal(size=(20, 5)) / 4).sum(axis=1) + 0.3 * np.sin(X[:, 0] * X[:, 1])
    (X, X_test), (y, y_test) = (np.split(array, [10_000]) for array in (X, y))
    net = Network([20, 128, 64, 1], activation=activation, loss="mse", seed=seed)
    net.fit(X, y, epochs=30, batch_size=64, optimizer=Adam(2e-3))
    quantized = [net.quantize(X, **arguments) for arguments in METHODS.values()]
    return [each.score(X_test, y_test) for each in (net, *quantized)]


def print_scores(rows, seeds):
    """Print a Markdown table of scores, means over seeds.

    Parameters
    ----------
    rows : iterable of (str, callable)
        Titles, and functions of the seed that return the scores.
    seeds : int
    """
    print(f"\n| | float32 | {' | '.join(METHODS)} |")
    print("|---|" + "---:|" * (len(METHODS) + 1), flush=True)
    for title, measure in rows:
        runs = [measure(seed) for seed in range(seeds)]
        means = " | ".join(f"{mean(values):.4f}" for values in zip(*runs, strict=True))
        print(f"| {title} | {means} |", flush=True)


def list_accuracies(epochs):
    """Yield the rows of the table of MNIST, as `print_scores` takes them."""
    train, test = datasets.load_mnist(download=False)
    for recipe in RECIPES:
        yield recipe.title, partial(measure_accuracy, recipe, train, test, epochs)


def list_regressions():
    """Yield the rows of the table of generated columns."""
    for title, draw in COLUMNS.items():
        for activation in ("relu", "tanh"):
            yield f"{title}, {activation}", partial(measure_regression, draw, activation)


def print_times(rounds):
    """Print a row of a Markdown table: milliseconds for 10,000 rows with the ISA in use."""
    X = np.random.default_rng(0).random((10_000, 784), np.float32)
    net = Network([784, 512, 256, 10], activation="relu", loss="cross_entropy", seed=0)
    networks = net, net.quantize(X[:CALIBRATION_ROWS])
    times = [[], []]
    for _ in range(rounds + 1):
        for network, found in zip(networks, times, strict=True):
            start = perf_counter()
            network(X, threads=1)
            found.append((perf_counter() - start) * 1e3)
    ours, quantized = (median(found[1:]) for found in times)
    print(f"| {kernels.ISA} | {ours:.1f} | {quantized:.1f} | {ours / quantized:.2f} |", flush=True)


def main():
    """Print both tables; with ``--times``, only a row of the second one."""
    parser = argparse.ArgumentParser(prog="python -m bench.quantization", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.times:
        return print_times(options.rounds)
    print(f"{read_cpu_model()}, means of {options.seeds} seeds, {options.epochs} epochs on MNIST")
    print_scores(list_accuracies(options.epochs), options.seeds)
    print_scores(list_regressions(), options.seeds)
    print("\n784-512-256-10, 10,000 dense rows, one core\n")
    print("| ISA | float32, ms | int8, ms | speedup |\n|---|---:|---:|---:|", flush=True)
    for isa in kernels.list_available():
        subprocess.run(
            [sys.executable, "-m", "bench.quantization", "--times", "--rounds",
             str(options.rounds)], env=make_environment(1, isa), check=True,
        )  # fmt: skip
    return None


if __name__ == "__main__":
    sys.exit(main())
