"""
Ensembles and uncertainty
=========================

Two uncertainties add up in a prediction: the noise of the targets, which more data do
not reduce, and the uncertainty of the network's parameters, which is large far from the
training data. A network that predicts a mean and a variance learns the former; the
disagreement of several networks estimates the latter (Lakshminarayanan, Pritzel and
Blundell, `arXiv:1612.01474 <https://arxiv.org/abs/1612.01474>`_). `~cmlp.fit_many`
trains all of them at once.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets, fit_many

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Regression with a gap in the data
# ---------------------------------
# The noise grows with x, and all samples are in [-4, -0.5] and [1.5, 4].

rng = np.random.default_rng(0)
x = rng.uniform(-4, 4, size=500)
x = x[(x < -0.5) | (x > 1.5)]


def truth(x):
    """Return the mean of y."""
    return np.sin(1.5 * x) + 0.3 * x


def noise(x):
    """Return the standard deviation of y."""
    return 0.05 + 0.06 * (x + 4)


y = truth(x) + noise(x) * rng.normal(size=x.shape)

# %%
# The loss ``"gaussian_nll"`` needs two outputs for each target: the mean, and the
# logarithm of the variance. The networks differ in their seed: initial weights and
# order of samples. The input is divided by 2, about its standard deviation.

nets = [
    Network([1, 64, 64, 2], activation="gelu", loss="gaussian_nll", seed=s)
    for s in range(10)
]
histories = fit_many(
    nets,
    x[:, None] / 2,
    y,
    epochs=300,
    batch_size=32,
    optimizer=Adam(3e-3),
    schedule="cosine",
)

grid = np.linspace(-5.5, 5.5, 400)
means, deviations = np.stack(
    [net.predict(grid[:, None] / 2, return_std=True) for net in nets], axis=1
)  # each (networks, points)

# %%
# The ensemble's prediction is the mixture of the networks' normal distributions. Its
# variance is the mean of their variances plus the variance of their means.

mean = means.mean(axis=0)
aleatoric = (deviations**2).mean(axis=0)
epistemic = means.var(axis=0)
total = np.sqrt(aleatoric + epistemic)

figure, axes = plt.subplots(
    2, 1, figsize=(8, 7), height_ratios=(2, 1), sharex=True, layout="constrained"
)
axes[0].fill_between(
    grid,
    mean - 2 * total,
    mean + 2 * total,
    color="C0",
    alpha=0.18,
    lw=0,
    label="mean ± 2 total standard deviations",
)
noisy = np.sqrt(aleatoric)
axes[0].fill_between(
    grid,
    mean - 2 * noisy,
    mean + 2 * noisy,
    color="C0",
    alpha=0.25,
    lw=0,
    label="mean ± 2 of the noise alone",
)
axes[0].plot(grid, means.T, color="C0", alpha=0.35, linewidth=0.7)
axes[0].plot(grid, mean, color="C0", label="mean of 10 networks")
axes[0].plot(grid, truth(grid), color="black", linestyle="--", label="truth")
axes[0].scatter(x, y, s=8, color="C2", alpha=0.6, label="training data", linewidths=0)
axes[0].set(ylim=(-4, 5), ylabel="y")
axes[0].legend(loc="upper left", ncols=2, fontsize=9)

axes[1].plot(
    grid, np.sqrt(epistemic), color="C2", label="of the networks' means (epistemic)"
)
axes[1].plot(grid, noisy, color="C0", label="of the noise (aleatoric)")
axes[1].plot(
    grid, noise(grid), color="black", linestyle="--", label="of the noise, truth"
)
axes[1].set(xlabel="x", ylabel="standard deviation", ylim=(0, 1.2), xlim=(-5.5, 5.5))
axes[1].legend(loc="upper center", fontsize=9)

x_test = rng.uniform(-4, 4, size=2000)
is_gap = (x_test > -0.5) & (x_test < 1.5)
for name, points in [("with data", x_test[~is_gap]), ("in the gap", x_test[is_gap])]:
    targets = truth(points) + noise(points) * rng.normal(size=points.shape)
    m, s = np.stack(
        [net.predict(points[:, None] / 2, return_std=True) for net in nets], axis=1
    )
    spread = np.sqrt((s**2).mean(0) + m.var(0))
    single = np.mean(abs(targets - m[0]) < 2 * s[0])
    covered = np.mean(abs(targets - m.mean(0)) < 2 * spread)
    print(
        f"{name:10}  targets within 2 deviations: "
        f"one network {single:.2f}, all {covered:.2f}"
    )

# %%
# Rotated digits
# --------------
# The same works for classifiers. Five networks are trained on upright digits and then
# predict rotated ones. They disagree, so that the entropy of their mean probabilities
# rises; a single network has a lower entropy.

X, labels = datasets.make_digits(6_000, seed=0)
classifiers = [
    Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=seed)
    for seed in range(5)
]
fit_many(classifiers, X, labels, epochs=12, batch_size=32, optimizer=Adam(2e-3))


def rotate(images, degrees):
    """Return images rotated counterclockwise, by the nearest pixels."""
    angle = np.deg2rad(degrees)
    rows, columns = np.mgrid[:28, :28] - 13.5
    r = np.rint(13.5 + rows * np.cos(angle) + columns * np.sin(angle)).astype(int)
    c = np.rint(13.5 - rows * np.sin(angle) + columns * np.cos(angle)).astype(int)
    valid = (r >= 0) & (r < 28) & (c >= 0) & (c < 28)
    return images[:, r.clip(0, 27), c.clip(0, 27)] * valid.astype(np.uint8)


def entropy(probabilities):
    """Return the mean entropy in bits of rows of probabilities."""
    return -(probabilities * np.log2(np.maximum(probabilities, 1e-12))).sum(-1).mean()


X_test, labels_test = datasets.make_digits(1_000, seed=1)
angles = np.arange(0, 181, 15)
single, joint, error = [], [], []
for angle in angles:
    p = np.stack([net.predict_proba(rotate(X_test, angle)) for net in classifiers])
    single.append(np.mean([entropy(each) for each in p]))
    joint.append(entropy(p.mean(axis=0)))
    error.append(np.mean(p.mean(axis=0).argmax(1) != labels_test))

figure = plt.figure(figsize=(8, 4.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=(1, 4))
example = X_test[labels_test == 4][:1]
for ax, angle in zip(top.subplots(1, len(angles)), angles, strict=True):
    ax.imshow(rotate(example, angle)[0], cmap="gray_r")
    ax.set_axis_off()
ax = bottom.subplots()
ax.plot(angles, joint, "o-", color="C0", label="entropy of the mean of 5 networks")
ax.plot(angles, single, "s-", color="C2", label="mean entropy of one network")
ax.set(xlabel="rotation (degrees)", ylabel="entropy (bits)", xticks=angles)
ax.set_ylim(bottom=0)
other = ax.twinx()
other.plot(angles, error, "^:", color="gray", label="error rate (right axis)")
other.set(ylabel="error rate", ylim=(0, 1))
other.spines["right"].set_visible(True)
lines = ax.get_lines() + other.get_lines()
ax.legend(lines, [line.get_label() for line in lines], loc="lower right", fontsize=9)
print(f"accuracy of upright digits: {1 - error[0]:.3f}")
plt.show()

# sphinx_gallery_thumbnail_number = 1
