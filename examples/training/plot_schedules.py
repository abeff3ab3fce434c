"""
Learning rate range test and schedules
======================================

The learning rate is the first hyper-parameter to choose. `~cmlp.find_learning_rate`
suggests one from a short run with rising rates; a schedule lowers it while training.
This example draws both, and compares schedules on a regression.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1

from cmlp import Adam, Network, find_learning_rate, fit_many, schedules

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Data
# ----
# Friedman's first function of five inputs, with five more that do not matter.

X, y = make_friedman1(4_000, noise=0.5, random_state=0)
X, y = 2 * X - 1, (y - y.mean()) / y.std()
X, X_test, y, y_test = X[:3_000], X[3_000:], y[:3_000], y[3_000:]

# %%
# The range test
# --------------
# ``find_learning_rate`` trains a copy of the network for 100 steps. The suggestion, in
# the middle of the longest decrease, is a cautious choice for a constant rate.

net = Network([10, 64, 64, 1], activation="relu", loss="mse", seed=0)
found = find_learning_rate(net, X, y, optimizer="adam", batch_size=32)
print(f"suggestion {found.suggestion:.1e}, steepest decrease at {found.steepest:.1e}")
ax = found.plot()
ax.set_title("learning rate range test")

# %%
# Schedules
# ---------
# A schedule multiplies the optimizer's learning rate by a factor in each step. A
# function of (step, epoch), both counted from 0, is a schedule too. ``history["lr"]``
# has the learning rate of the last step of each epoch. `~cmlp.fit_many` takes a list
# with one schedule for each network.


def sawtooth(step, epoch):
    """Return a factor that falls from 1 to 0.1 within every 8 epochs."""
    return 0.1 ** ((epoch % 8) / 8)


EPOCHS = 40
choices = {
    "Constant()": schedules.Constant(),
    "Step(every=15)": schedules.Step(every=15),
    "Exponential(0.9)": schedules.Exponential(0.9),
    "Cosine(warmup=4)": schedules.Cosine(warmup=4),
    "Cosine(restarts=2)": schedules.Cosine(restarts=2),
    "OneCycle()": schedules.OneCycle(),
    "CosineLog()": schedules.CosineLog(),
    "ReduceOnPlateau(patience=3)": schedules.ReduceOnPlateau(patience=3),
    "a function": sawtooth,
}
nets = [net.copy() for _ in choices]
histories = fit_many(
    nets,
    X,
    y,
    epochs=EPOCHS,
    batch_size=32,
    optimizer=Adam(5e-3),
    schedule=list(choices.values()),
    validation_data=(X_test, y_test),
)

# sphinx_gallery_thumbnail_number = 2
epochs = np.arange(1, EPOCHS + 1)
figure, axes = plt.subplots(
    3, 3, figsize=(10, 7.5), sharex=True, sharey=True, layout="constrained"
)
for ax, name, history in zip(axes.flat, choices, histories, strict=True):
    ax.fill_between(
        epochs, np.array(history["lr"]) / 5e-3, color="C0", alpha=0.25, linewidth=0
    )
    ax.plot(epochs, np.array(history["lr"]) / 5e-3, color="C0")
    ax.set_title(name, fontsize=11)
    right = ax.twinx()
    right.plot(epochs, history["val_loss"], color="C2")
    right.set(ylim=(0, 0.15), yticks=[0, 0.05, 0.1, 0.15])
    right.text(
        0.97,
        0.9,
        f"{history['val_loss'][-1]:.4f}",
        transform=ax.transAxes,
        ha="right",
        color="C2",
    )
    right.spines["right"].set_visible(True)
    if ax in axes[:, 2]:
        right.set_ylabel("validation loss", color="C2")
    else:
        right.set_yticklabels([])
for ax in axes[:, 0]:
    ax.set_ylabel("factor", color="C0")
for ax in axes[2]:
    ax.set_xlabel("epoch")
axes[0, 0].set_ylim(0, 1.25)

# %%
# Final validation losses, the lowest first. With a constant rate the loss keeps
# jumping; a rate that falls early ends before the network is trained. Differences of a
# few percent change with the seed.

losses = {
    name: history["val_loss"][-1]
    for name, history in zip(choices, histories, strict=True)
}
for name in sorted(losses, key=losses.get):
    print(f"{name:28} {losses[name]:.4f}")
plt.show()
