"""
Decision boundaries of activations and widths
=============================================

A network of two inputs can be looked at completely: its probability is a function on
the plane, and the curve on which it is 1/2 separates the classes. This example draws it
for three data sets, for several activations and for hidden layers of several widths.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_circles, make_moons

from cmlp import Adam, Network

# %%
# Data
# ----
# Two half moons, two circles and two spirals, scaled to about [-1, 1].

rng = np.random.default_rng(0)


def make_spirals(n):
    """Return two interleaved spirals of one and a half turns."""
    labels = rng.integers(2, size=n)
    turn = np.sqrt(rng.random(n))
    angle = 3 * np.pi * turn + np.pi * labels
    points = 1.2 * turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + rng.normal(scale=0.04, size=(n, 2)), labels


data = {
    "moons": make_moons(400, noise=0.18, random_state=0),
    "circles": make_circles(400, noise=0.12, factor=0.5, random_state=0),
    "spirals": make_spirals(400),
}
data = {name: ((X - X.mean(0)) / X.std(0) / 1.7, y) for name, (X, y) in data.items()}

# %%
# Training
# --------
# The label of one output is 0 or 1; ``loss="binary_cross_entropy"`` gives the output a
# sigmoid. All networks have the same optimizer and number of epochs.


def train(X, y, width, activation):
    """Return a trained network with two hidden layers."""
    net = Network(
        [2, width, width, 1], activation=activation, loss="binary_cross_entropy", seed=1
    )
    net.fit(X, y, epochs=250, batch_size=20, optimizer=Adam(8e-3), schedule="cosine")
    return net


axis = np.linspace(-1.5, 1.5, 151)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def draw(ax, net, X, y):
    """Draw the network's probabilities, its decision boundary and the samples."""
    probability = net(grid).reshape(len(axis), len(axis))
    levels = np.linspace(0, 1, 21)
    ax.contourf(axis, axis, probability, levels, cmap="PuOr_r", vmin=-0.6, vmax=1.6)
    ax.contour(axis, axis, probability, [0.5], colors="black", linewidths=1.2)
    for label, color, marker in [(0, "#4B2991", "o"), (1, "#E08214", "s")]:
        ax.scatter(*X[y == label].T, s=9, c=color, marker=marker, ec="white", lw=0.3)
    ax.text(
        0.97,
        0.03,
        f"{net.score(X, y):.3f}",
        transform=ax.transAxes,
        ha="right",
        fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2},
    )
    ax.set(xticks=[], yticks=[], aspect="equal")


# %%
# Activations
# -----------
# relu makes boundaries of straight pieces; tanh and gelu bend them. A network whose
# hidden activation is the identity is linear, however many layers it has. The number in
# a picture is the accuracy on its samples.

activations = ["identity", "relu", "tanh", "gelu"]
figure, axes = plt.subplots(3, 4, figsize=(9, 7), layout="constrained")
for row, (name, (X, y)) in zip(axes, data.items(), strict=True):
    for ax, activation in zip(row, activations, strict=True):
        draw(ax, train(X, y, 16, activation), X, y)
    row[0].set_ylabel(name, fontsize=12)
for ax, activation in zip(axes[0], activations, strict=True):
    ax.set_title(activation)

# %%
# Widths
# ------
# Two units in each layer can bend the boundary only twice. More of them fit the spirals
# too, and begin to enclose single samples of the noisy data sets.

widths = [2, 4, 8, 64]
figure, axes = plt.subplots(3, 4, figsize=(9, 7), layout="constrained")
for row, (name, (X, y)) in zip(axes, data.items(), strict=True):
    for ax, width in zip(row, widths, strict=True):
        draw(ax, train(X, y, width, "relu"), X, y)
    row[0].set_ylabel(name, fontsize=12)
for ax, width in zip(axes[0], widths, strict=True):
    ax.set_title(f"2 layers of {width}")
plt.show()
