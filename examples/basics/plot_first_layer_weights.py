"""
First-layer weights of a digits network
=======================================

Each unit of a network's first layer computes a weighted sum of the pixels. Drawn as an
image, its weights show which strokes increase the sum (red) and which decrease it
(blue). This example trains a small network on digits and draws the weights before
training, after training, and after training with weight decay, which removes the noise
from them.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import AdamW, Network, datasets, fit_many, plot

# %%
# Data
# ----
# `~cmlp.datasets.make_digits` draws images of digits with random pens, sizes and
# slants. They have the format of MNIST: bytes of shape (n, 28, 28). The network takes
# them as they are and scales them to [0, 1].

X, y = datasets.make_digits(12_000, seed=0)
X_test, y_test = datasets.make_digits(2_000, seed=1)

figure, axes = plt.subplots(2, 10, figsize=(8, 1.8), layout="constrained")
for digit, column in enumerate(axes.T):
    for ax, image in zip(column, X[y == digit], strict=False):
        ax.imshow(image, cmap="gray_r")
        ax.set_axis_off()
figure.suptitle("training samples")

# %%
# Training
# --------
# Two networks differ in their weight decay only. `~cmlp.fit_many` trains them at the
# same time, on a thread each, with the same bits as two calls of ``fit``.

untrained = Network([784, 36, 10], activation="relu", loss="cross_entropy", seed=0)
plain, decayed = untrained.copy(), untrained.copy()
fit_many(
    [plain, decayed],
    X,
    y,
    epochs=20,
    batch_size=32,
    optimizer=[AdamW(2e-3, weight_decay=0.0), AdamW(2e-3, weight_decay=0.2)],
    schedule="cosine",
)
for name, net in [("no decay", plain), ("decay 0.2", decayed)]:
    print(
        f"{name:9}  accuracy in training {net.score(X, y):.4f}, "
        f"in test {net.score(X_test, y_test):.4f}"
    )

# %%
# Weights
# -------
# `cmlp.plot.first_layer_weights` draws one image for each unit into axes that it makes,
# or into given ones. Without decay, the weights are noisy: Adam moves those of pixels
# with little information about as fast as the others, and nothing moves them back. With
# decay, strokes, edges and gaps are left. A unit whose image is blank with decay is one
# whose relu is 0 for all samples: its gradient is 0, and only the decay changes its
# weights.

figure = plt.figure(figsize=(11, 4.2), layout="constrained")
parts = figure.subfigures(1, 3, wspace=0.03)
names = ["before training", "after training", "after training with weight decay"]
for part, name, net in zip(parts, names, [untrained, plain, decayed], strict=True):
    axes = part.subplots(6, 6)
    plot.first_layer_weights(net, axes=axes, colorbar=False, limit=0.35)
    part.suptitle(name)

# sphinx_gallery_thumbnail_number = 3

# %%
# Contribution of a unit
# ----------------------
# A positive weight of the last layer increases the probability of a digit if the unit
# is active, a negative one decreases it. Four units of the network with decay, and
# their weights for each digit:

chosen = np.argsort(-np.linalg.norm(decayed.weight[0], axis=1))[:4]
figure, axes = plt.subplots(
    2, 4, figsize=(8.5, 5), layout="constrained", height_ratios=(3, 2)
)
plot.first_layer_weights(decayed, units=chosen, axes=axes[0], colorbar=False)
for unit, top, ax in zip(chosen, axes[0], axes[1], strict=True):
    votes = decayed.weight[1][:, unit]
    top.set_title(f"unit {unit}")
    ax.bar(range(10), votes, color=np.where(votes > 0, "#B2182B", "#2166AC"))
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xticks(range(10))
    ax.set_xlabel("digit")
    ax.spines[["top", "right"]].set_visible(False)
axes[1, 0].set_ylabel("output weight")
plt.show()
