"""
Quantile regression without crossing
====================================

A forecast of electricity demand, delivery time or rainfall is of more use with limits:
the value that is exceeded in 10% of the cases, and in 90%. The pinball loss trains a
network to predict such quantiles, without any assumption about the distribution.
Quantiles that are trained independently may cross; those of ``losses.pinball(...,
non_crossing=True)`` cannot.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, fit_many, losses

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Skewed data whose spread depends on the hour
# --------------------------------------------
# The waiting time at a counter: a gamma distribution, wide at noon and in the evening.

rng = np.random.default_rng(0)


def draw_waiting_times(n):
    """Return hours of the day and waiting times in minutes."""
    hour = rng.uniform(7, 21, size=n)
    rush = np.exp(-((hour - 12.5) ** 2) / 2) + 1.4 * np.exp(-((hour - 18) ** 2) / 3)
    return hour, 2 + rng.gamma(shape=2.0, scale=0.6 + 3.5 * rush)


def to_inputs(hour):
    """Return the hour as a column from -1 to 1."""
    return (hour[:, None] - 14) / 7


hour, wait = draw_waiting_times(1_000)

# %%
# Training
# --------
# One network predicts all seven quantiles: it has one output for each.

quantiles = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
free = Network(
    [1, 64, 64, 7], activation="silu", loss=losses.pinball(quantiles), seed=0
)
ordered = Network(
    [1, 64, 64, 7],
    activation="silu",
    loss=losses.pinball(quantiles, non_crossing=True),
    seed=0,
)
fit_many(
    [free, ordered],
    to_inputs(hour),
    wait,
    epochs=150,
    batch_size=32,
    optimizer=Adam(3e-3),
    schedule="cosine",
)

grid = np.linspace(5, 23, 500)  # also hours that the data do not have
curves = {
    "independent": free.predict(to_inputs(grid)),
    "non-crossing": ordered.predict(to_inputs(grid)),
}
for name, values in curves.items():
    print(
        f"{name:13}: {np.mean(np.diff(values, axis=1) < 0):.1%} "
        "of neighboring quantiles cross"
    )

# %%
# Bands
# -----
# The dark band has half of the waiting times, the light one 90%.

values = curves["non-crossing"]
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
ax.scatter(
    hour, wait, s=6, color="gray", alpha=0.6, linewidths=0, label="training data"
)
for low, high, alpha in [(0, 6, 0.18), (1, 5, 0.22), (2, 4, 0.3)]:
    label = f"{quantiles[low]:g} to {quantiles[high]:g}"
    ax.fill_between(
        grid,
        values[:, low],
        values[:, high],
        color="C0",
        alpha=alpha,
        lw=0,
        label=label,
    )
ax.plot(grid, values[:, 3], color="C2", linewidth=2, label="median")
ax.set(
    xlabel="hour of the day",
    ylabel="waiting time (minutes)",
    xlim=(7, 21),
    ylim=(0, 35),
)
ax.legend(loc="upper left", title="quantiles")

# %%
# Calibration
# -----------
# Of new samples, a fraction q should be below the quantile q.

print("quantiles    :", "  ".join(f"{q:5g}" for q in quantiles))
new_hour, new_wait = draw_waiting_times(20_000)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for name, net, style in [("independent", free, "s--"), ("non-crossing", ordered, "o-")]:
    below = (new_wait[:, None] < net.predict(to_inputs(new_hour))).mean(axis=0)
    print(f"{name:13}:", "  ".join(f"{fraction:.3f}" for fraction in below))
    axes[0].plot(
        quantiles, below, style, label=name, color="C0" if net is ordered else "C2"
    )
axes[0].plot([0, 1], [0, 1], color="gray", linewidth=1, zorder=0)
axes[0].set(
    xlabel="quantile",
    ylabel="fraction of new samples below",
    aspect="equal",
    title="calibration",
)
axes[0].legend()
for name, color in [("independent", "C2"), ("non-crossing", "C0")]:
    axes[1].plot(grid, curves[name], color=color, linewidth=1.3)
    axes[1].plot([], [], color=color, label=name)
axes[1].axvspan(5, 7, color="gray", alpha=0.2, lw=0)
axes[1].axvspan(21, 23, color="gray", alpha=0.2, lw=0, label="no training data")
axes[1].set(
    xlabel="hour of the day",
    ylabel="waiting time (minutes)",
    xlim=(5, 23),
    title="quantiles, also beyond the data",
)
axes[1].legend(loc="upper left")
plt.show()

# sphinx_gallery_thumbnail_number = 1
