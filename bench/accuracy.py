"""Time to accuracy on real MNIST: the same recipes for cmlp, PyTorch and scikit-learn.

`python -m bench.accuracy` trains each peer epoch by epoch, in turn, on all cores, and tells
after how many epochs and seconds of training the test accuracy first reached each mark;
the time of testing is left out. It needs MNIST and the extra ``bench``.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.report import cpu_model
from cmlp import Adam, Network, datasets
from cmlp.threads import available

MARKS = (0.95, 0.98, 0.985)


@dataclass(frozen=True)
class Recipe:
    """Layers of relu, softmax, Adam; where `cosine`, the rate falls epoch by epoch.

    Attributes
    ----------
    name : str
    hidden : int
    batch, epochs : int
    lr : float
    cosine : bool
    """

    name: str
    hidden: int
    batch: int
    epochs: int
    lr: float
    cosine: bool

    def rate(self, epoch):
        """Return the learning rate of an epoch."""
        return (
            self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2 if self.cosine else self.lr
        )


RECIPES = (
    Recipe("784-256-10", 256, 256, 12, 3e-3, False),
    Recipe("784-1024-10, falling rate", 1024, 256, 16, 3e-3, True),
)


def cmlp(recipe, train, test, seed):
    """Return the seconds and the accuracy after each epoch."""
    net = Network([784, recipe.hidden, 10], activation="relu", loss="cross_entropy", seed=seed)
    told, tested = [], 0.0

    def tell(network, epoch, record):
        nonlocal tested
        begun = time.perf_counter()
        told.append((record["seconds"], network.score(*test)))
        tested += time.perf_counter() - begun

    start = time.perf_counter()
    net.fit(
        *train, epochs=recipe.epochs, batch_size=recipe.batch, optimizer=Adam(lr=recipe.lr),
        schedule=lambda step, epoch: recipe.rate(epoch) / recipe.lr, callbacks=tell,
    )  # fmt: skip
    # What fit does beside its epochs, such as compressing the rows, counts too.
    beside = time.perf_counter() - start - tested - sum(seconds for seconds, _ in told)
    seconds, accuracy = told[0]
    return [(seconds + beside, accuracy), *told[1:]]


def pytorch(recipe, train, test, seed):
    """Return the seconds and the accuracy after each epoch."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, recipe.hidden), nn.ReLU(), nn.Linear(recipe.hidden, 10))
    (X, y), (X_test, y_test) = (
        (torch.from_numpy(X.reshape(-1, 784)).float() / 255, torch.from_numpy(y).long())
        for X, y in (train, test)
    )
    loss, optimizer, told = nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters()), []
    for epoch in range(recipe.epochs):
        start = time.perf_counter()
        optimizer.param_groups[0]["lr"] = recipe.rate(epoch)
        order = torch.randperm(len(X))
        for first in range(0, len(X), recipe.batch):
            rows = order[first : first + recipe.batch]
            optimizer.zero_grad()
            loss(net(X[rows]), y[rows]).backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        with torch.inference_mode():
            told.append((seconds, float((net(X_test).argmax(1) == y_test).float().mean())))
    return told


def scikit_learn(recipe, train, test, seed):
    """Return the seconds and the accuracy after each epoch."""
    from sklearn.neural_network import MLPClassifier

    (X, y), (X_test, y_test) = (
        (X.reshape(-1, 784).astype("float32") / 255, y) for X, y in (train, test)
    )
    net = MLPClassifier(recipe.hidden, alpha=0, batch_size=recipe.batch,
                        learning_rate_init=recipe.lr, random_state=seed)  # fmt: skip
    told = []
    for epoch in range(recipe.epochs):
        start = time.perf_counter()
        if epoch:  # it has no such schedule of its own
            net._optimizer.learning_rate_init = recipe.rate(epoch)
        net.partial_fit(X, y, classes=range(10))
        told.append((time.perf_counter() - start, net.score(X_test, y_test)))
    return told


PEERS = {"cmlp": cmlp, "PyTorch": pytorch, "scikit-learn": scikit_learn}


def reached(told):
    """Return for each mark the epochs and seconds to it, or None."""
    found, total = dict.fromkeys(MARKS), 0.0
    for epoch, (seconds, accuracy) in enumerate(told, 1):
        total += seconds
        for mark in MARKS:
            if accuracy >= mark and found[mark] is None:
                found[mark] = epoch, total
    return found


def table(results):
    """Return the epochs and seconds to each mark as a Markdown table: medians over seeds."""
    heads = " | ".join(f"{mark:.1%}" for mark in MARKS)
    lines = [f"| | {heads} | best | s an epoch |", "|---|" + "---:|" * (len(MARKS) + 2)]
    for recipe, by_peer in results.items():
        for peer, runs in by_peer.items():
            cells = []
            for mark in MARKS:
                hits = [hit for told in runs if (hit := reached(told)[mark])]
                few = len(hits) * 2 <= len(runs)
                cells.append("" if few else f"{median(s for _, s in hits):.2f} s, "
                             f"{median(e for e, _ in hits):g} epochs")  # fmt: skip
            best = median(max(accuracy for _, accuracy in told) for told in runs)
            each = median(seconds for told in runs for seconds, _ in told)
            lines.append(f"| {recipe}, {peer} | {' | '.join(cells)} | {best:.4f} | {each:.2f} |")
    return "\n".join(lines)


def plot(results, path):
    """Draw test accuracy against seconds of training, a panel a recipe."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(9, 3.6), sharey=True,
                                  layout="constrained")  # fmt: skip
    for axes, (recipe, by_peer) in zip(panels, results.items(), strict=True):
        for p, (peer, runs) in enumerate(by_peer.items()):
            for i, told in enumerate(runs):
                total, points = 0.0, []
                for seconds, accuracy in told:
                    total += seconds
                    points.append((total, accuracy))
                axes.plot(*zip(*points, strict=True), color=f"C{p}", marker=".",
                          label=None if i else peer)  # fmt: skip
        for mark in MARKS:
            axes.axhline(mark, color="gray", linewidth=0.5)
        axes.set(xscale="log", xlabel="seconds of training", title=recipe, ylim=(0.94, 0.99))
    panels[0].set_ylabel("test accuracy")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    """Train, print the table, write JSON and the plot."""
    options = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--peers", nargs="*", choices=PEERS, default=[*PEERS])
    options.add_argument("--save", metavar="FOLDER", help="write accuracy.json and accuracy.png")
    options = options.parse_args()
    train, test = datasets.load_mnist(download=False)
    print(f"{cpu_model()}, {available()} cores; medians of {options.seeds} seeds\n", flush=True)
    results = {recipe.name: {peer: [] for peer in options.peers} for recipe in RECIPES}
    for seed in range(options.seeds):
        for recipe in RECIPES:
            for peer in options.peers:
                told = PEERS[peer](recipe, train, test, seed)
                results[recipe.name][peer].append(told)
    print(table(results))
    if options.save:
        folder = Path(options.save)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accuracy.json").write_text(json.dumps(results, indent=1, default=float) + "\n")
        plot(results, folder / "accuracy.png")


if __name__ == "__main__":
    main()
