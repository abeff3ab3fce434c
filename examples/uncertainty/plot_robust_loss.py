"""
A loss in Python: regression with outliers
==========================================

A loss may be a Python function. Here, sensors report wrong values now and then. The
squared error follows these outliers; Cauchy's loss, which grows only with the logarithm
of the error, does not. Python calls the function once for each step, with the outputs
and the targets of a batch; everything else remains compiled.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Data with outliers
# ------------------
# A fifth of the targets are replaced by values that are too high.

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=400)
truth = np.sin(6 * x) * np.exp(-x)
y = truth + rng.normal(scale=0.1, size=x.shape)
is_outlier = rng.random(x.shape) < 0.2
y[is_outlier] += rng.exponential(2.5, size=is_outlier.sum())

# %%
# The loss
# --------
# The function returns the mean loss of the batch and its gradient with respect to the
# outputs, of shape (n_samples, n_outputs). Write the gradient down, and check it by
# finite differences.

SCALE = 0.2


def cauchy(outputs, targets):
    """Return Cauchy's loss and its gradient."""
    error = (outputs - targets) / SCALE
    return np.log1p(error**2).mean(), 2 * error / (1 + error**2) / SCALE / error.size


outputs, targets = rng.normal(size=(2, 5, 1))
step = 1e-6
differences = np.zeros_like(outputs)
for i in range(5):
    shift = step * (np.arange(5) == i)[:, None]
    differences[i] = (
        cauchy(outputs + shift, targets)[0] - cauchy(outputs - shift, targets)[0]
    )
error = abs(differences / (2 * step) - cauchy(outputs, targets)[1]).max()
print(f"largest difference of the gradient from finite differences: {error:.1e}")

# %%
# Fits
# ----
# Losses by name are compiled. ``"mae"`` and ``"huber"`` resist outliers too, but many
# of them on one side bias the fit.

fits, seconds = {}, {}
for name, loss in {
    "mse": "mse",
    "huber": "huber",
    "mae": "mae",
    "cauchy": cauchy,
}.items():
    net = Network([1, 64, 64, 1], activation="silu", loss=loss, seed=0)
    start = time.perf_counter()
    net.fit(
        x[:, None],
        y,
        epochs=400,
        batch_size=32,
        optimizer=Adam(5e-3),
        schedule="cosine",
    )
    seconds[name] = time.perf_counter() - start
    fits[name] = net
    rmse = np.sqrt(np.mean((net.predict(x[:, None]) - truth) ** 2))
    print(f"{name:6}  RMSE from the truth {rmse:.3f}   {seconds[name]:.2f} s")

grid = np.linspace(-1, 1, 300)
figure, axes = plt.subplots(
    1, 2, figsize=(9.5, 5), layout="constrained", width_ratios=(3, 2)
)
axes[0].scatter(
    x, y, s=10, color="gray", alpha=0.6, linewidths=0, label="training data"
)
axes[0].plot(grid, np.sin(6 * grid) * np.exp(-grid), "k--", label="truth")
styles = {"mse": ("C2", "-"), "mae": ("C3", "-."), "cauchy": ("C0", "-")}
for name, (color, style) in styles.items():
    curve = fits[name].predict(grid[:, None])
    axes[0].plot(grid, curve, style, color=color, linewidth=2, label=name)
axes[0].set(xlabel="x", ylabel="y", ylim=(-2.5, 6))
axes[0].legend(loc="upper right")
error = np.linspace(-3, 3, 301)
axes[1].plot(error, error**2, color="C2", label="mse")
axes[1].plot(error, abs(error), "-.", color="C3", label="mae")
axes[1].plot(error, np.log1p((error / SCALE) ** 2), color="C0", label="cauchy")
axes[1].set(xlabel="error", ylabel="loss", ylim=(0, 6))
axes[1].legend()
plt.show()
