"""Which pixels of digits are not zero, and which rows of the weights one sample reads."""

import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, save

from cmlp import datasets


def main():
    """Draw the figure."""
    X, _ = datasets.make_digits(4_000, seed=0)
    density = np.mean(X > 0, axis=0)
    per_sample = np.mean(X.reshape(len(X), -1) > 0, axis=1)
    figure, axes = plt.subplots(
        1, 3, figsize=(8.4, 2.6), layout="constrained", width_ratios=[1, 1.15, 1.3]
    )
    axes[0].imshow(X[0], cmap="gray_r", interpolation="nearest")
    axes[0].set_title(f"one sample: {per_sample[0]:.0%} not zero", size=9)
    image = axes[1].imshow(density, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes[1].set_title("fraction of samples not zero", size=9)
    figure.colorbar(image, ax=axes[1])
    for ax in axes[:2]:
        ax.set_xticks([])
        ax.set_yticks([])
    axes[2].hist(per_sample, bins=30, color=BLUE)
    axes[2].axvline(0.25, color="black", ls="--", lw=1)
    axes[2].text(0.252, axes[2].get_ylim()[1] * 0.9, "limit for\ncompression", size=7, va="top")
    axes[2].set_xlabel("fraction of pixels that are not zero")
    axes[2].set_ylabel("samples")
    axes[2].set_title(f"mean {per_sample.mean():.0%}", size=9)
    save(figure, "zero_skipping.svg")
    print(f"mean density {per_sample.mean():.4f}")


if __name__ == "__main__":
    main()
