"""The bits of float32 and bfloat16, and panels of pairs for AVX512_BF16 and AMX."""

import matplotlib.pyplot as plt
from common import BLUE, GREEN, ORANGE, SKY, draw_box, save


def draw_formats(ax):
    """Draw the bits of both formats."""
    for y, name, mantissa in ((1.6, "float32", 23), (0, "bfloat16", 7)):
        ax.text(-0.6, y + 0.5, name, ha="right", va="center", size=9)
        draw_box(ax, 0, y, 1, 1, color=ORANGE)
        draw_box(ax, 1, y, 8, 1, "exponent, 8", color=SKY, size=8)
        draw_box(ax, 9, y, mantissa, 1, f"fraction, {mantissa}", color=GREEN, size=8)
    ax.text(0.5, 2.85, "sign", ha="center", size=7)
    ax.text(16.4, 0.5, "the range of float32, 8 significant bits", va="center", size=8)
    ax.set_xlim(-6, 36)
    ax.set_ylim(-0.4, 3.4)
    ax.axis("off")


def draw_pairs(ax):
    """Draw rows of weights, and the same in a panel, where two rows make a row of pairs."""
    columns = 5
    for t in range(4):
        for j in range(columns):
            draw_box(ax, 1.5 * j, 3 - t, 1.5, 1, f"w{t},{j}", color=SKY if t % 2 == 0 else ORANGE,
                     size=7)  # fmt: skip
    ax.text(0.75 * columns, 4.25, "rows of W, float32", ha="center", size=9)
    ax.annotate("", (9.6, 2), (8, 2), arrowprops={"arrowstyle": "->"})
    ax.text(8.8, 2.2, "round", ha="center", size=8)
    for t in range(2):
        for j in range(columns):
            for half in range(2):
                draw_box(ax, 10 + 2 * j + half, 2.2 - 1.2 * t, 1, 1, f"w{2 * t + half},{j}",
                         color=ORANGE if half else SKY, size=5.5)  # fmt: skip
    ax.text(10 + columns, 4.25, "panel: one lane holds a pair", ha="center", size=9)
    ax.text(10 + columns, 0.3, "lane j:  acc += x1 w1,j;  acc += x0 w0,j", ha="center", size=8)
    ax.set_xlim(-0.2, 20.6)
    ax.set_ylim(-0.2, 4.9)
    ax.axis("off")


def draw_tiles(ax):
    """Draw a product of AMX: two tiles of A, two of W, four of sums."""
    for i in range(2):
        draw_box(ax, 0, 2.4 - 1.7 * i, 2.2, 1.5, "A\n16 rows x\n16 pairs", color=SKY, size=7)
        draw_box(ax, 3.2 + 1.9 * i, 4.3, 1.7, 2.2, "W\n16 pairs\nx 16\ncolumns", color=ORANGE,
                 size=7)  # fmt: skip
        for j in range(2):
            draw_box(ax, 3.2 + 1.9 * j, 2.4 - 1.7 * i, 1.7, 1.5, "sums\n16 x 16", color=BLUE,
                     size=7, text_color="white")  # fmt: skip
    ax.text(3.4, -0.1, "AMX: 8 tiles of 1 KiB", ha="center", size=9)
    ax.set_xlim(-0.2, 7.2)
    ax.set_ylim(-0.5, 6.7)
    ax.set_aspect("equal")
    ax.axis("off")


def main():
    """Draw the figure."""
    figure = plt.figure(figsize=(8.6, 3.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[2.4, 1], height_ratios=[1, 1.5])
    draw_formats(figure.add_subplot(grid[0, 0]))
    draw_pairs(figure.add_subplot(grid[1, 0]))
    draw_tiles(figure.add_subplot(grid[:, 1]))
    save(figure, "bfloat16.svg")


if __name__ == "__main__":
    main()
