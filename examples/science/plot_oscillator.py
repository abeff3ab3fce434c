r"""
A physics-informed fit of an oscillator
=======================================

Ten noisy measurements do not determine the motion of a damped oscillator. A known law
of motion, :math:`\ddot u + 2 \gamma \dot u + \omega^2 u = 0`, does so almost
completely. This example adds the law to the loss, as physics-informed networks do, and
compares the fit with one of the measurements only. The loss is a Python function that
sees the outputs on a grid of times; it takes the time derivatives by finite
differences, which are matrices, so that its gradient is two products.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Measurements
# ------------
# They cover the first 40% of the time.

GAMMA, OMEGA = 0.25, 3.0
rng = np.random.default_rng(1)
times = np.linspace(0, 10, 301)
motion = np.exp(-GAMMA * times) * np.cos(np.sqrt(OMEGA**2 - GAMMA**2) * times)
measured = np.linspace(0, 120, 10).astype(int)
values = motion[measured] + rng.normal(scale=0.05, size=len(measured))

# %%
# The loss
# --------
# ``law @ u`` is the left side of the equation at the inner times. The mean square of
# it, times a factor, is added to the mean squared error of the measurements.

h = times[1] - times[0]
unit = np.eye(len(times))
first = (unit[2:] - unit[:-2]) / (2 * h)
second = (unit[2:] - 2 * unit[1:-1] + unit[:-2]) / h**2
law = second + 2 * GAMMA * first + OMEGA**2 * unit[1:-1]


def make_loss(factor):
    """Return a loss of the outputs at all times."""

    def loss(outputs, targets):
        error = (outputs - targets)[measured]
        residual = law @ outputs / OMEGA**2
        gradient = factor * 2 * (law.T @ residual) / OMEGA**2 / len(residual)
        gradient[measured] += 2 * error / len(measured)
        return (error**2).mean() + factor * (residual**2).mean(), gradient

    return loss


targets = np.zeros(len(times))  # those of times without a measurement do not count
targets[measured] = values

# %%
# Two fits
# --------
# Each epoch is one step with all times, in order: ``batch_size=len(times)``,
# ``shuffle=False``. The times are shifted and scaled to about [-2.5, 2.5].

inputs = (times[:, None] - 5) / 2
fits = {}
for name, factor, epochs in [("measurements", 0.0, 1000), ("with the law", 3.0, 6000)]:
    net = Network(
        [1, 32, 32, 1],
        activation="mish",
        loss=make_loss(factor),
        dtype="float64",
        seed=0,
    )
    history = net.fit(
        inputs,
        targets,
        epochs=epochs,
        batch_size=len(times),
        shuffle=False,
        optimizer=Adam(5e-3),
        schedule="cosine",
    )
    fits[name] = net.predict(inputs)
    error = np.sqrt(np.mean((fits[name] - motion) ** 2))
    print(f"{name:12}: loss {history['loss'][-1]:.5f}, RMSE over all times {error:.3f}")

# %%
# Without the law, the network passes through the measurements and is free elsewhere.
# With it, ten values determine the motion beyond the last of them.

figure, axes = plt.subplots(
    2, 1, figsize=(9, 6.5), sharex=True, layout="constrained", height_ratios=(2, 1)
)
axes[0].plot(times, motion, "k--", label="truth")
axes[0].plot(times, fits["measurements"], color="C2", label="measurements only")
axes[0].plot(
    times,
    fits["with the law"],
    color="C0",
    linewidth=2,
    label="measurements and the law of motion",
)
axes[0].plot(
    times[measured], values, "o", color="black", label="measurements", zorder=3
)
axes[0].set(ylabel="displacement", ylim=(-1.6, 1.6))
axes[0].legend(loc="upper right", ncols=2, fontsize=9)
for (_, curve), color in zip(fits.items(), ["C2", "C0"], strict=True):
    axes[1].plot(times[1:-1], law @ curve / OMEGA**2, color=color)
axes[1].set(xlabel="time", ylabel="residual of the law", ylim=(-2, 2))
for ax in axes:
    ax.axvspan(0, times[measured[-1]], color="gray", alpha=0.12, linewidth=0)
plt.show()
