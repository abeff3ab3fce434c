"""Results of one sum in many orders; and the divisions of a product that keep the order."""

import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, ORANGE, SKY, draw_box, save

TERMS, ORDERS = 784, 2_000


def compute_sums():
    """Return the float32 sums of the same products in random orders, and in the stored order."""
    rng = np.random.default_rng(0)
    products = (rng.random(TERMS) * rng.random(TERMS)).astype(np.float32)
    orders = np.array([rng.permutation(TERMS) for _ in range(ORDERS)])
    # cumsum adds one term after the other, unlike sum.
    return np.cumsum(products[orders], axis=1)[:, -1], np.cumsum(products)[-1]


def draw_product(ax):
    """Draw C = A W, divided by rows and by columns of C, and along the sum."""
    for x, title, colors, kind in (
        (0, "rows of the batch", (BLUE, SKY), "rows"),
        (4.6, "columns of the layer", (BLUE, SKY), "columns"),
        (9.2, "the summed index", (ORANGE, ORANGE), "sum"),
    ):
        ax.text(x + 1.6, 3.25, title, ha="center")
        for half in range(2):
            color = colors[half]
            if kind == "rows":
                draw_box(ax, x, 1 - half, 1.6, 1, color=color)
                draw_box(ax, x + 2, 1 - half, 1.2, 1, color=color)
            elif kind == "columns":
                draw_box(ax, x + 2 + 0.6 * half, 0, 0.6, 2, color=color)
                draw_box(ax, x, 0, 1.6, 2, color="white") if not half else None
            else:
                draw_box(ax, x + 0.8 * half, 0, 0.8, 2, color=color)
                draw_box(ax, x + 2, 0, 1.2, 2, color=color) if not half else None
        ax.text(x + 0.8, 2.25, "A: batch x inputs", ha="center", size=7)
        ax.text(x + 2.6, 2.25, "C = A W", ha="center", size=7)
        is_kept = kind != "sum"
        ax.text(x + 1.6, -0.6, "whole sums: the same bits" if is_kept else
                "partial sums: other bits", ha="center", size=8,
                color="#00694C" if is_kept else "#A03000")  # fmt: skip
    ax.set_xlim(-0.5, 13)
    ax.set_ylim(-1, 3.8)
    ax.set_aspect("equal")
    ax.axis("off")


def main():
    """Draw the figure."""
    sums, stored = compute_sums()
    values, counts = np.unique(sums, return_counts=True)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.4, 2.8), layout="constrained", width_ratios=[1, 1.9]
    )
    step = np.spacing(np.float32(stored))
    left.bar((values - stored) / step, counts, width=0.8, color=ORANGE)
    left.bar(0, counts[values == stored].sum(), width=0.8, color=BLUE)
    left.set_xlabel("difference from the stored order, in units\nin the last place")
    left.set_ylabel("orders")
    left.set_title(f"one sum of {TERMS} products, {ORDERS:,} orders", size=9)
    draw_product(right)
    save(figure, "summation_order.svg")
    print(f"{len(values)} different results, {np.mean(sums == stored):.1%} as in the stored order")


if __name__ == "__main__":
    main()
