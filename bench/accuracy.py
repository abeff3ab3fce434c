"""Measure the time to accuracy on MNIST: the same recipes for cmlp, PyTorch and scikit-learn.

`python -m bench.accuracy` trains with each peer in turn on all cores, and reports the number of
epochs and the seconds of training after which the test accuracy first reached each target. The
time of testing is not counted. It requires MNIST and the extra ``bench``.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cmlp import Adam, Network, datasets
from cmlp._bench.machine import read_cpu_model
from cmlp._utils.threads import count_available_cpus

TARGETS = (0.95, 0.98, 0.985)


@dataclass(frozen=True)
class Recipe:
    """The training of a network 784-hidden-10 with relu, softmax and Adam.

    Attributes
    ----------
    name : str
    hidden : int
        Number of hidden units.
    batch : int
        Batch size.
    epochs : int
    lr : float
        Learning rate.
    cosine : bool
        Whether the learning rate decreases from epoch to epoch along half a cosine; otherwise
        it is constant.
    """

    name: str
    hidden: int
    batch: int
    epochs: int
    lr: float
    cosine: bool

    def compute_rate(self, epoch):
        """Return the learning rate of an epoch, counted from 0."""
        if not self.cosine:
            return self.lr
        return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


RECIPES = (
    Recipe("784-256-10", 256, 256, 12, 3e-3, False),
    Recipe("784-1024-10, falling rate", 1024, 256, 16, 3e-3, True),
)


def train_cmlp(recipe, train, test, seed):
    """Train with cmlp.

    Parameters
    ----------
    recipe : Recipe
    train, test : tuple (X, y)
        uint8 images of shape (n_samples, 28, 28) and labels of shape (n_samples,).
    seed : int

    Returns
    -------
    list of (float, float)
        For each epoch the seconds of training and the test accuracy after it.
    """
    net = Network([784, recipe.hidden, 10], activation="relu", loss="cross_entropy", seed=seed)
    epochs, testing = [], 0.0

    def record_epoch(network, epoch, record):
        nonlocal testing
        start = time.perf_counter()
        epochs.append((record["seconds"], network.score(*test)))
        testing += time.perf_counter() - start

    start = time.perf_counter()
    net.fit(
        *train, epochs=recipe.epochs, batch_size=recipe.batch, optimizer=Adam(lr=recipe.lr),
        schedule=lambda step, epoch: recipe.compute_rate(epoch) / recipe.lr,
        callbacks=record_epoch,
    )  # fmt: skip
    total = time.perf_counter() - start
    # Time of `fit` outside of its epochs, such as compressing X, is added to the first epoch.
    setup = total - testing - sum(seconds for seconds, _ in epochs)
    seconds, accuracy = epochs[0]
    return [(seconds + setup, accuracy), *epochs[1:]]


def train_pytorch(recipe, train, test, seed):
    """Train with PyTorch; see `train_cmlp`."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, recipe.hidden), nn.ReLU(), nn.Linear(recipe.hidden, 10))
    (X, y), (X_test, y_test) = (
        (torch.from_numpy(X.reshape(-1, 784)).float() / 255, torch.from_numpy(y).long())
        for X, y in (train, test)
    )
    loss, optimizer, epochs = nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters()), []
    for epoch in range(recipe.epochs):
        start = time.perf_counter()
        optimizer.param_groups[0]["lr"] = recipe.compute_rate(epoch)
        order = torch.randperm(len(X))
        for first in range(0, len(X), recipe.batch):
            rows = order[first : first + recipe.batch]
            optimizer.zero_grad()
            loss(net(X[rows]), y[rows]).backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            epochs.append((seconds, float((net(X_test).argmax(1) == y_test).float().mean())))
    return epochs


def train_sklearn(recipe, train, test, seed):
    """Train with scikit-learn; see `train_cmlp`."""
    from sklearn.neural_network import MLPClassifier

    (X, y), (X_test, y_test) = (
        (X.reshape(-1, 784).astype("float32") / 255, y) for X, y in (train, test)
    )
    net = MLPClassifier(recipe.hidden, alpha=0, batch_size=recipe.batch,
                        learning_rate_init=recipe.lr, random_state=seed)  # fmt: skip
    epochs = []
    for epoch in range(recipe.epochs):
        start = time.perf_counter()
        if epoch:  # scikit-learn has no schedule by epochs
            net._optimizer.learning_rate_init = recipe.compute_rate(epoch)
        net.partial_fit(X, y, classes=range(10))
        epochs.append((time.perf_counter() - start, net.score(X_test, y_test)))
    return epochs


PEERS = {"cmlp": train_cmlp, "PyTorch": train_pytorch, "scikit-learn": train_sklearn}


def find_targets(epochs):
    """Return when a run first reached each target.

    Parameters
    ----------
    epochs : list of (float, float)
        As returned by `train_cmlp`.

    Returns
    -------
    dict from float to (int, float) or None
        Target -> number of epochs and seconds of training; None if it was not reached.
    """
    found, total = dict.fromkeys(TARGETS), 0.0
    for epoch, (seconds, accuracy) in enumerate(epochs, 1):
        total += seconds
        for target in TARGETS:
            if accuracy >= target and found[target] is None:
                found[target] = epoch, total
    return found


def format_table(results):
    """Return a Markdown table of medians over seeds.

    A cell is empty if at most half of the seeds reached its target.

    Parameters
    ----------
    results : dict
        Recipe's name -> peer -> list of runs, each as returned by `train_cmlp`.
    """
    titles = " | ".join(f"{target:.1%}" for target in TARGETS)
    lines = [f"| | {titles} | best | s an epoch |", "|---|" + "---:|" * (len(TARGETS) + 2)]
    for recipe, by_peer in results.items():
        for peer, runs in by_peer.items():
            cells = []
            for target in TARGETS:
                hits = [hit for run in runs if (hit := find_targets(run)[target])]
                few = len(hits) * 2 <= len(runs)
                cells.append("" if few else f"{median(s for _, s in hits):.2f} s, "
                             f"{median(e for e, _ in hits):g} epochs")  # fmt: skip
            best = median(max(accuracy for _, accuracy in run) for run in runs)
            each = median(seconds for run in runs for seconds, _ in run)
            lines.append(f"| {recipe}, {peer} | {' | '.join(cells)} | {best:.4f} | {each:.2f} |")
    return "\n".join(lines)


def plot(results, path):
    """Draw test accuracy against seconds of training, one panel per recipe."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(9, 3.6), sharey=True,
                                  layout="constrained")  # fmt: skip
    for axes, (recipe, by_peer) in zip(panels, results.items(), strict=True):
        for p, (peer, runs) in enumerate(by_peer.items()):
            for i, run in enumerate(runs):
                total, points = 0.0, []
                for seconds, accuracy in run:
                    total += seconds
                    points.append((total, accuracy))
                axes.plot(*zip(*points, strict=True), color=f"C{p}", marker=".",
                          label=None if i else peer)  # fmt: skip
        for target in TARGETS:
            axes.axhline(target, color="gray", linewidth=0.5)
        axes.set(xscale="log", xlabel="seconds of training", title=recipe, ylim=(0.94, 0.99))
    panels[0].set_ylabel("test accuracy")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Train, print the table, and write JSON and the plot if asked for."""
    options = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    options.add_argument("--save", metavar="FOLDER", help="write accuracy.json and accuracy.png")
    options = options.parse_args()
    train, test = datasets.load_mnist(download=False)
    print(
        f"{read_cpu_model()}, {count_available_cpus()} cores; medians of {options.seeds} seeds\n",
        flush=True,
    )
    results = {recipe.name: {peer: [] for peer in options.peers} for recipe in RECIPES}
    for seed in range(options.seeds):
        for recipe in RECIPES:
            for peer in options.peers:
                run = PEERS[peer](recipe, train, test, seed)
                results[recipe.name][peer].append(run)
    print(format_table(results))
    if options.save:
        folder = Path(options.save)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accuracy.json").write_text(json.dumps(results, indent=1, default=float) + "\n")
        plot(results, folder / "accuracy.png")


if __name__ == "__main__":
    main()
