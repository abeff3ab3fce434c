"""
Saliency maps and adversarial images
====================================

`net.input_gradient <cmlp.Network.input_gradient>` returns the derivative of an output
with respect to each pixel. It shows which pixels a decision depends on; a small step
along it changes the decision, though the image looks the same to us (Goodfellow, Shlens
and Szegedy, `arXiv:1412.6572 <https://arxiv.org/abs/1412.6572>`_). This example draws
both, and trains a network on such images, which makes it more robust.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets

plt.style.use("seaborn-v0_8-colorblind")

X, y = datasets.make_digits(10_000, seed=0)
X_test, y_test = datasets.make_digits(2_000, seed=1)
X, X_test = (
    images.reshape(len(images), 784) / np.float32(255) for images in (X, X_test)
)

net = Network([784, 128, 10], activation="relu", loss="cross_entropy", seed=0)
net.fit(X, y, epochs=10, batch_size=64, optimizer=Adam(2e-3))
print(f"test accuracy {net.score(X_test, y_test):.4f}")

# %%
# Saliency
# --------
# The derivative of the probability of the true digit with respect to each pixel:


def draw_saliency(net, title):
    """Draw one test image of each digit and the saliency of its pixels."""
    rows = [int(np.flatnonzero(y_test == digit)[3]) for digit in range(10)]
    saliency = net.input_gradient(X_test[rows], y_test[rows])
    figure, axes = plt.subplots(2, 10, figsize=(10, 2.4), layout="constrained")
    for (top, bottom), row, each in zip(axes.T, rows, saliency, strict=True):
        top.imshow(X_test[row].reshape(28, 28), cmap="gray_r")
        limit = abs(each).max()
        bottom.imshow(each.reshape(28, 28), cmap="RdBu_r", vmin=-limit, vmax=limit)
        bottom.contour(
            X_test[row].reshape(28, 28), [0.5], colors="black", linewidths=0.6
        )
    for ax in axes.flat:
        ax.set_axis_off()
    figure.suptitle(title)


draw_saliency(
    net, "ink that raises (red) or lowers (blue) the probability of the true digit"
)

# %%
# The fast gradient sign method
# -----------------------------
# Every pixel moves by the same small amount, in the direction that increases the loss.
# `net.vjp <cmlp.Network.vjp>` backpropagates any gradient with respect to the outputs;
# the cross-entropy has the gradient -1/p with respect to the probability p of the true
# class, and 0 otherwise.


def get_loss_gradient(net, X, y):
    """Return the gradient of each sample's cross-entropy with respect to its pixels."""
    rows = np.arange(len(X))
    probabilities = net.predict_proba(X)
    output_gradient = np.zeros_like(probabilities)
    output_gradient[rows, y] = -1 / np.maximum(probabilities[rows, y], 1e-6)
    return net.vjp(X, output_gradient)[1]


def perturb(net, X, y, size):
    """Return images in which each pixel is moved by `size` to increase the loss."""
    return np.clip(X + size * np.sign(get_loss_gradient(net, X, y)), 0, 1).astype(
        np.float32
    )


size = 0.1
misled = perturb(net, X_test, y_test, size)
before, after = net.predict_proba(X_test), net.predict_proba(misled)
changed = np.flatnonzero((before.argmax(1) == y_test) & (after.argmax(1) != y_test))
chosen = changed[np.argsort(-after[changed].max(axis=1))][:4]
figure, axes = plt.subplots(2, 4, figsize=(7.5, 4.7), layout="constrained")
for (top, bottom), row in zip(axes.T, chosen, strict=True):
    for ax, images, p in [(top, X_test, before), (bottom, misled, after)]:
        ax.imshow(images[row].reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
        right = p[row].argmax() == y_test[row]
        ax.set_title(
            f"{p[row].argmax()}  ({p[row].max():.0%})",
            fontsize=11,
            color="C0" if right else "C2",
        )
        ax.set_axis_off()
figure.suptitle(f"predictions before and after a change of each pixel by {size}")

# sphinx_gallery_thumbnail_number = 2

# %%
# Training on such images
# -----------------------
# For each batch, `net.gradient <cmlp.Network.gradient>` returns the gradient of the
# loss at changed images, and `net.apply <cmlp.Network.apply>` takes an optimizer's step
# with it. The robust network pays for it with some accuracy on unchanged images.

robust = Network([784, 128, 10], activation="relu", loss="cross_entropy", seed=0)
rng = np.random.default_rng(0)
optimizer = Adam(2e-3)
for _ in range(8):
    order = rng.permutation(len(X))
    for rows in np.split(order, len(X) // 100):
        batch = perturb(robust, X[rows], y[rows], rng.uniform(0, 0.15))
        robust.apply(robust.gradient(batch, y[rows]), optimizer)

sizes = np.linspace(0, 0.2, 11)
figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, each, style in [
    ("plain training", net, "s-"),
    ("on changed images", robust, "o-"),
]:
    scores = [each.score(perturb(each, X_test, y_test, size), y_test) for size in sizes]
    print(f"{name:18} accuracy {scores[0]:.3f}, after a change by 0.1: {scores[5]:.3f}")
    ax.plot(sizes, scores, style, color="C2" if each is net else "C0", label=name)
ax.set(xlabel="change of each pixel", ylabel="test accuracy", ylim=(0, 1))
ax.spines[["top", "right"]].set_visible(False)
ax.legend()

# %%
# The saliency of the robust network is less noisy: it follows the strokes.

draw_saliency(robust, "saliency of the network that was trained on changed images")
plt.show()
