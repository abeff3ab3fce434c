"""
MNIST with a plain multilayer perceptron
========================================

How accurate is a multilayer perceptron on MNIST, and how soon? Four recipes on two CPU cores, from
one second to less than an hour, each one command::

    python examples/records/plot_mnist_records.py --record 0.98
    python examples/records/plot_mnist_records.py --record 0.985
    python examples/records/plot_mnist_records.py --record 0.993
    python examples/records/plot_mnist_records.py --record 0.9965 --seeds 1

A command trains with three seeds and prints the seconds of training and the accuracy on the test
set of each, and the medians. Learning rates, epochs and sizes were chosen with the last 10,000
training images as validation data; the test set has chosen nothing, and the accuracy is that after
the last epoch.

The last two recipes distort the training images at random in each epoch
(:func:`cmlp.datasets.augment`). The last one is the network of Ciresan, Meier, Gambardella and
Schmidhuber, *Deep, big, simple neural nets for handwritten digit recognition* (Neural Computation
22(12), 2010), which reached 0.9965 in 114 hours on a graphics card.
"""

# %%
# The recipes
# -----------

import time
from pathlib import Path

import numpy as np

from cmlp import SGD, AdamW, Network, datasets
from cmlp.callbacks import Checkpoint
from cmlp.schedules import Cosine

HERE = Path(__file__).parent if "__file__" in globals() else Path.cwd()


def augment(X, y, seed):
    """Return the images with the distortions of Ciresan et al.: 1 and 7 are rotated less."""
    rotation = np.where(np.isin(y, (1, 7)), 7.5, 15.0)
    return datasets.augment(X, rotation=rotation, scale=0.15, alpha=36, sigma=6, seed=seed)


def keep(X, y, seed):
    """Return the images as they are."""
    return X


RECIPES = {
    "0.98": {
        "hidden": [256], "epochs": 6, "batch_size": 64, "data": keep,
        "optimizer": SGD(lr=0.5), "schedule": Cosine(), "network": {},
    },
    "0.985": {
        "hidden": [512], "epochs": 12, "batch_size": 64, "data": keep,
        "optimizer": SGD(lr=0.5), "schedule": Cosine(), "network": {},
    },
    "0.993": {
        "hidden": [1024, 1024, 512], "epochs": 40, "batch_size": 128, "data": augment,
        "optimizer": AdamW(lr=2e-3, weight_decay=0.01), "schedule": Cosine(warmup=1),
        "network": {"normalization": "batch", "compute_dtype": "bfloat16"},
    },
    "0.9965": {
        "hidden": [2500, 2000, 1500, 1000, 500], "epochs": 250, "batch_size": 256, "data": augment,
        "optimizer": AdamW(lr=2e-3, weight_decay=0.01), "schedule": Cosine(warmup=2),
        "network": {"normalization": "batch", "compute_dtype": "bfloat16"},
    },
}  # fmt: skip


# %%
# Training
# --------
# ``checkpoint`` makes a long run continue where it was interrupted, with the same bits as without
# the interruption.


def train(record, data, *, seed=0, epochs=None, threads=2, checkpoint=None):
    """Train by a recipe; return the network, the seconds and the test errors of the epochs."""
    recipe, ((X, y), (X_test, y_test)) = RECIPES[record], data
    if checkpoint is not None and Path(checkpoint).exists():
        net = Network.resume(checkpoint)
    else:
        net = Network(
            [784, *recipe["hidden"], 10], activation="relu", loss="cross_entropy", seed=seed,
            **recipe["network"],
        )  # fmt: skip
    watch = {}
    if checkpoint is not None:  # a long run: the test set is watched, and chooses nothing
        watch = {
            "validation_data": (X_test, y_test),
            "callbacks": [Checkpoint(checkpoint, every=60, unit="seconds")],
        }
    start = time.perf_counter()
    history = net.fit(
        recipe["data"](X, y, seed), y, epochs=epochs or recipe["epochs"],
        batch_size=recipe["batch_size"], optimizer=recipe["optimizer"],
        schedule=recipe["schedule"], threads=threads, **watch,
    )  # fmt: skip
    return net, time.perf_counter() - start, history


def repeat(record, data, seeds, **options):
    """Train with several seeds, and print the results."""
    seconds, scores = [], []
    for seed in range(seeds):
        net, taken, _ = train(record, data, seed=seed, **options)
        seconds.append(taken)
        scores.append(net.score(*data[1]))
        print(f"seed {seed}: {taken:.2f} s, test accuracy {scores[-1]:.4f}", flush=True)
    print(f"median: {np.median(seconds):.2f} s, test accuracy {np.median(scores):.4f}")
    return seconds, scores
