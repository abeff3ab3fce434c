"""Phases of a step on two threads: both run, and one is suspended; speeds with two threads."""

import matplotlib.pyplot as plt
from common import BLUE, GRAY, ORANGE, draw_box, save

# (job, speed of two threads relative to one), from the table of how_it_works/threads.md.
SPEEDS = [
    ("784-128-10,\nbatch 1, dense", 1.32),
    ("784-128-10,\nbatch 32, digits", 1.24),
    ("13-64-64-1,\nbatch 200", 1.47),
    ("100-64-64-1,\nbatch 256", 1.56),
    ("784-512-256-10,\nbatch 128, dense", 1.89),
]


def draw_schedule(ax, y, title, caller, worker):
    """Draw the blocks that two threads compute, from left to right."""
    ax.text(0, y + 2.35, title, size=9)
    for row, (name, blocks) in enumerate((("calling thread", caller), ("worker", worker))):
        ax.text(-0.3, y + 1.5 - 1.1 * row, name, ha="right", va="center", size=8)
        for x, width, text in blocks:
            color = GRAY if text == "suspended" else BLUE if int(text) < 4 else ORANGE
            draw_box(ax, x, y + 1.05 - 1.1 * row, width, 0.9, text, color=color, size=8,
                     text_color="white" if color == BLUE else "black")  # fmt: skip


def main():
    """Draw the figure."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.2), layout="constrained", width_ratios=[1.15, 1]
    )
    own, other = [(i, 1, str(i)) for i in range(4)], [(i, 1, str(4 + i)) for i in range(4)]
    draw_schedule(
        left, 4, "Both threads run: each computes the blocks of its own range", own, other
    )
    rest = [(4 + i, 1, str(5 + i)) for i in range(3)]
    draw_schedule(left, 0, "The worker is suspended: the caller claims its blocks", own + rest,
                  [(0, 1, "4"), (1, 6, "suspended")])  # fmt: skip
    left.set_xlim(-2.4, 8)
    left.set_ylim(-0.3, 7)
    left.axis("off")

    ratios = [ratio for _, ratio in SPEEDS]
    right.barh(range(len(SPEEDS)), ratios, 0.6, color=BLUE)
    for y, ratio in enumerate(ratios):
        right.text(ratio + 0.02, y, f"{ratio:.2f}", va="center")
    right.set_yticks(range(len(SPEEDS)), [job for job, _ in SPEEDS], size=7)
    right.invert_yaxis()
    right.set_xlim(0, 2.2)
    right.axvline(2, color=GRAY, ls="--")
    right.set_xlabel("speed of two threads relative to one")
    save(figure, "threads.svg")


if __name__ == "__main__":
    main()
