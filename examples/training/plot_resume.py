"""
Interrupt and resume: the same bits
===================================

A training run that is interrupted, by Ctrl-C, a power failure or the end of a time
limit, can resume from a checkpoint. It ends with the same parameters, bit for bit, and
the same history as a run without interruption, also with dropout, a schedule and the
state of an optimizer, and even if it stopped in the middle of an epoch.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets
from cmlp.callbacks import Callback, Checkpoint

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

X, y = datasets.make_digits(4_000, seed=0)
validation = datasets.make_digits(2_000, seed=1)


def make_network():
    """Return a network; its seed determines weights, order and dropout."""
    return Network(
        [784, 64, 10], activation="relu", loss="cross_entropy", dropout=0.2, seed=0
    )


def train(net, *callbacks):
    """Train for 30 epochs; a resumed network has some of them behind it."""
    return net.fit(
        X,
        y,
        epochs=30,
        batch_size=32,
        optimizer=Adam(2e-3),
        schedule="cosine",
        validation_data=validation,
        callbacks=callbacks,
    )


# %%
# Without interruption
# --------------------

complete = make_network()
history = train(complete)

# %%
# With an interruption
# --------------------
# `~cmlp.callbacks.Checkpoint` writes the network, the state of the optimizer, the
# position in the epoch and the history to one file, here every 100 steps and at the
# interruption. A callback simulates Ctrl-C in the middle of epoch 12.


class Interrupt(Callback):
    """Raise KeyboardInterrupt after some steps of an epoch."""

    def on_batch_end(self, network, epoch, step, loss):
        """Raise the exception of Ctrl-C after the first half of epoch 12."""
        if (epoch, step) == (11, 62):
            raise KeyboardInterrupt


directory = tempfile.TemporaryDirectory()
path = Path(directory.name) / "run.npz"
callbacks = [Checkpoint(path, every=100, unit="steps"), Interrupt()]
interrupted = make_network()
try:
    train(interrupted, *callbacks)
except KeyboardInterrupt:
    records = interrupted.state.history.to_dict()
    print(f"interrupted after {len(records['loss'])} whole epochs")
print(f"checkpoint of {path.stat().st_size / 1e6:.2f} MB")

# %%
# Resume
# ------
# `Network.resume <cmlp.Network.resume>` reads the checkpoint, as another process would
# after a power failure; ``fit`` with the same arguments, callbacks included, continues
# in the middle of the epoch. For comparison, `Network.load <cmlp.Network.load>` reads
# the parameters alone.

restarted = Network.load(path)
resumed = Network.resume(path)
resumed_history = train(resumed, *callbacks)

for name in ["weight", "bias"]:
    for one, other in zip(getattr(complete, name), getattr(resumed, name), strict=True):
        print(f"{name} {one.shape}: equal bits: {one.tobytes() == other.tobytes()}")
same = [
    name
    for name in history
    if "second" not in name and history[name] == resumed_history[name]
]
print("equal in all epochs:", ", ".join(same))

# %%
# A new run that starts from the saved parameters is another one: its optimizer begins
# with empty moment estimates and its schedule with the first factor.

restart_history = train(restarted)
difference = np.abs(restarted.weight[0] - complete.weight[0]).max()
print(f"largest difference of a weight after a restart: {difference:.3f}")

figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
epochs = np.arange(1, 31)
ax.plot(
    epochs,
    history["val_loss"],
    color="C0",
    linewidth=7,
    alpha=0.35,
    label="uninterrupted",
)
ax.plot(
    epochs[:11], records["val_loss"][:11], color="C0", label="until the interruption"
)
ax.plot(
    epochs[11:], resumed_history["val_loss"][11:], ".-", color="C2", label="resumed"
)
ax.plot(11 + epochs, restart_history["val_loss"], ":", color="gray", label="restarted")
ax.axvline(11.5, color="black", linewidth=1)
ax.text(11.7, ax.get_ylim()[1] * 0.9, "interrupted", va="top")
ax.set(xlabel="epoch", ylabel="validation loss", xlim=(0, 42))
ax.legend()
plt.show()

directory.cleanup()
