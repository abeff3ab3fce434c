"""
bfloat16 and 8-bit integers
===========================

A network rarely needs 32 bits. ``compute_dtype="bfloat16"`` trains with products of
16-bit numbers, and `net.quantize <cmlp.Network.quantize>` makes a network of 8-bit
integers from a trained one. Both are faster on CPUs with the instructions for it. This
example compares accuracy, files and weights, and shows how few bits would be enough.
"""

import functools
import tempfile
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets, fit_many

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

X, y = datasets.make_digits(8_000, seed=0)
X_test, y_test = datasets.make_digits(4_000, seed=1)

# %%
# Training in float32 and in bfloat16
# -----------------------------------
# Operands of the large products are rounded to bfloat16, which has 8 significant bits.
# Sums, parameters and the optimizer's state remain float32.

options = {"activation": "relu", "loss": "cross_entropy", "seed": 0}
nets = {
    "float32": Network([784, 256, 128, 10], **options),
    "bfloat16": Network([784, 256, 128, 10], compute_dtype="bfloat16", **options),
}
histories = fit_many(
    list(nets.values()),
    X,
    y,
    epochs=6,
    batch_size=128,
    optimizer=Adam(2e-3),
    schedule="cosine",
    validation_data=(X_test, y_test),
)

# %%
# 8-bit integers
# --------------
# Samples like those to predict, here a few hundred of the training data, determine the
# ranges of each layer's inputs.

nets["int8"] = nets["float32"].quantize(X[:500])

with tempfile.TemporaryDirectory() as directory:
    for name, net in nets.items():
        path = Path(directory) / f"{name}.npz"
        net.save(path)
        predict = functools.partial(net.predict, X_test, threads=1)
        seconds = min(timeit.repeat(predict, number=1, repeat=5))
        print(
            f"{name:8}  test accuracy {net.score(X_test, y_test):.4f}  "
            f"file {path.stat().st_size / 1000:4.0f} kB  "
            f"{1e6 * seconds / len(X_test):.2f} µs/image"
        )

same = np.mean(nets["float32"].predict(X_test) == nets["int8"].predict(X_test))
print(f"float32 and int8 predict the same digit for {same:.2%} of the images")

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
for name, history, style in zip(nets, histories, ["-", "--"], strict=False):
    epochs = np.arange(1, 7)
    axes[0].plot(
        epochs, history["loss"], style, color="C0", label=f"{name}, training loss"
    )
    axes[0].plot(
        epochs, history["val_loss"], style, color="C2", label=f"{name}, validation loss"
    )
axes[0].set(
    xlabel="epoch", ylabel="loss", ylim=(0, 0.7), title="training in 32 and 16 bits"
)
axes[0].legend()

layer = nets["int8"].layers[1]
weights = nets["float32"].weight[1]
integers = layer.weight / np.abs(layer.weight).max(axis=1, keepdims=True) * 127
axes[1].hist(integers.ravel(), bins=np.arange(-127.5, 128), color="C0")
axes[1].set(
    xlabel="integer",
    ylabel="number of weights",
    xlim=(-128, 128),
    title="the weights of the second layer in 8 bits",
)

# %%
# How many bits are enough?
# -------------------------
# The weights of the float32 network, rounded to b bits with one scale for each unit, as
# ``quantize`` does for 8. The activations remain float32 here.


def round_weights(net, bits):
    """Return a copy of a network with weights of this many bits."""
    rounded = net.copy()
    levels = 2 ** (bits - 1) - 1
    for weight in rounded.weight:
        step = np.abs(weight).max(axis=1, keepdims=True) / levels
        weight[:] = np.round(weight / step) * step
    return rounded


bits = np.arange(2, 11)
scores = [round_weights(nets["float32"], b).score(X_test, y_test) for b in bits]
full = nets["float32"].score(X_test, y_test)

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
axes[0].axhline(full, color="gray", linestyle="--", label="float32")
axes[0].plot(bits, scores, "o-", color="C0", label="rounded weights")
axes[0].plot(
    8,
    nets["int8"].score(X_test, y_test),
    "s",
    color="C2",
    markersize=9,
    label="quantize(): activations in 8 bits too",
)
axes[0].set(xlabel="bits per weight", ylabel="test accuracy", xticks=bits)
axes[0].legend(loc="lower right")
unit = np.sort(nets["float32"].weight[0][0])
for b, color in [(3, "C2"), (4, "C1"), (6, "C0")]:
    rounded = np.sort(round_weights(nets["float32"], b).weight[0][0])
    axes[1].plot(unit, rounded, color=color, label=f"{b} bits")
axes[1].plot(unit, unit, color="gray", linewidth=1, label="float32")
axes[1].set(
    xlabel="weight in float32", ylabel="rounded weight", title="the weights of one unit"
)
axes[1].legend()
plt.show()

# sphinx_gallery_thumbnail_number = 2
