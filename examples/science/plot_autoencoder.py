"""
An autoencoder with a layer of two units
========================================

An autoencoder is a network whose targets are its inputs. If one of its layers is
narrow, the network has to describe each image by a few numbers. With two of them, the
descriptions can be drawn: as a map of all digits, and as images that the network's
second half makes of the points of a grid.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets

X, y = datasets.make_digits(8_000, seed=0)
X_test, y_test = datasets.make_digits(3_000, seed=1)
targets = X.reshape(len(X), 784) / np.float32(255)

# %%
# Training
# --------
# The two units in the middle have tanh, so that all codes are in a square. The output
# is sigmoid with binary cross-entropy, as pixels are between 0 and 1. Batch
# normalization keeps the codes spread over the square. The images may remain bytes as
# inputs.

net = Network(
    [784, 128, 32, 2, 32, 128, 784],
    activation=["gelu", "gelu", "tanh", "gelu", "gelu"],
    loss="binary_cross_entropy",
    normalization="batch",
    seed=0,
)
history = net.fit(
    X, targets, epochs=25, batch_size=128, optimizer=Adam(3e-3), schedule="cosine"
)
print(
    f"loss per pixel: {history['loss'][0] / 784:.4f} in the first epoch, "
    f"{history['loss'][-1] / 784:.4f} in the last one"
)

# %%
# The two halves
# --------------
# ``net.transform(X, layer=2)`` returns the outputs of the narrow layer.
# `Network.from_layers <cmlp.Network.from_layers>` makes a network of the layers above
# it: the decoder.

codes = net.transform(X_test, layer=2)
decoder = Network.from_layers(net.layers[3:], loss="binary_cross_entropy")
print(f"codes {codes.shape}, decoder {decoder.size}")

# %%
# The map
# -------
# No label was used in training, and yet images of one digit lie together.

# sphinx_gallery_thumbnail_number = 2
colors = plt.get_cmap("tab10").colors
figure, ax = plt.subplots(figsize=(7, 6), layout="constrained")
for digit in range(10):
    chosen = codes[y_test == digit]
    ax.scatter(*chosen.T, s=5, color=colors[digit], linewidths=0)
    ax.text(
        *np.median(chosen, axis=0),
        str(digit),
        fontsize=14,
        weight="bold",
        ha="center",
        va="center",
        color="black",
        bbox={
            "boxstyle": "circle,pad=0.15",
            "facecolor": "white",
            "alpha": 0.8,
            "edgecolor": colors[digit],
        },
    )
ax.set(
    xlim=(-1, 1),
    ylim=(-1, 1),
    title="codes of test images",
    aspect="equal",
    xlabel="first unit",
    ylabel="second unit",
)

# %%
# The decoder at the points of a grid
# -----------------------------------
# Neighboring points give similar images. Between two digits, the decoder draws what is
# between them.

n = 20
steps = np.linspace(-1, 1, n + 1)[:-1] + 1 / n
columns, rows = np.meshgrid(steps, steps[::-1])  # the highest row first
grid = np.stack([columns.ravel(), rows.ravel()], axis=1)
tiles = decoder(grid).reshape(n, n, 28, 28)
images = tiles.transpose(0, 2, 1, 3).reshape(n * 28, n * 28)
figure, ax = plt.subplots(figsize=(7, 6), layout="constrained")
ax.imshow(images, cmap="gray_r", extent=(-1, 1, -1, 1))
ax.set(title="outputs of the decoder", xlabel="first unit", ylabel="second unit")

# %%
# Reconstructions
# ---------------
# Two numbers keep digit, slant and width, and lose the rest.

figure, axes = plt.subplots(2, 12, figsize=(10, 2.1), layout="constrained")
for column, row in enumerate(range(12)):
    axes[0, column].imshow(X_test[row], cmap="gray_r")
    axes[1, column].imshow(net(X_test[row : row + 1]).reshape(28, 28), cmap="gray_r")
for ax in axes.flat:
    ax.set_axis_off()
figure.suptitle("test images (above) and their reconstructions from two numbers")
plt.show()
