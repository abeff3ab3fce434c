"""Bytes that a training step moves with separate and with fused operations, and speeds reached."""

import matplotlib.pyplot as plt
from common import BLUE, GRAY, GREEN, ORANGE, SKY, save

SIZES, BATCH = (784, 512, 256, 10), 128

# Passes over an array of this kind in one step, as in the table of how_it_works/fusion.md.
PASSES = {
    "separate\noperations": {"weights": 3, "gradient": 2, "activations": 5, "deltas": 4},
    "cmlp": {"weights": 3, "gradient": 0, "activations": 1, "deltas": 2},
}
COLORS = {"weights": BLUE, "gradient": ORANGE, "activations": GREEN, "deltas": SKY}

# (name, sizes, batch, microseconds per step): cmlp with dense input in the table of README.md, and
# the peak of the same core, an AMD EPYC (Zen 4).
SPEEDS = [
    ("784-30-10,\nbatch 10", (784, 30, 10), 10, 12.4),
    ("784-128-10,\nbatch 1", (784, 128, 10), 1, 5.6),
    ("784-512-256-10,\nbatch 128", (784, 512, 256, 10), 128, 3_024),
    ("784-2048-2048-10,\nbatch 512", (784, 2048, 2048, 10), 512, 156_000),
]
PEAK_GFLOPS = 117


def count_bytes(kind, passes):
    """Return the bytes of passes in float32; activations and deltas are those of hidden layers."""
    sizes = [a * b for a, b in zip(SIZES[:-1], SIZES[1:], strict=True)]
    if kind == "weights":  # the first layer has no backward product
        return 4 * (passes * sum(sizes) + sum(sizes[1:]))
    return 4 * passes * (sum(sizes) if kind == "gradient" else BATCH * sum(SIZES[1:-1]))


def count_operations(sizes, batch):
    """Return the floating-point operations of the products of a training step."""
    products = [a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    return 2 * batch * (2 * sum(products) + sum(products[1:]))  # no delta below the first layer


def main():
    """Draw the figure."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2), layout="constrained")
    for x, passes in enumerate(PASSES.values()):
        bottom = 0
        for kind, count in passes.items():
            height = count_bytes(kind, count) / 1e6
            left.bar(x, height, 0.6, bottom, color=COLORS[kind], label=None if x else kind)
            bottom += height
        left.text(x, bottom + 0.3, f"{bottom:.1f} MB", ha="center")
    left.set_xticks(range(len(PASSES)), PASSES)
    left.set_ylim(0, 17)
    left.set_ylabel("MB moved in a step")
    left.set_title("784-512-256-10, batch 128, SGD: counted")
    left.legend(frameon=False, loc="upper right", ncols=2, fontsize="small")

    for x, (_, sizes, batch, microseconds) in enumerate(SPEEDS):
        speed = count_operations(sizes, batch) / microseconds / 1e3
        right.bar(x, speed, 0.6, color=BLUE)
        right.text(x, speed + 2, f"{speed:.0f}", ha="center")
    right.axhline(PEAK_GFLOPS, color=GRAY, ls="--")
    right.text(-0.4, PEAK_GFLOPS + 2, "multiply-add peak of the core", color="#555555")
    right.set_xticks(range(len(SPEEDS)), [speed[0] for speed in SPEEDS], size=7)
    right.set_ylim(0, 140)
    right.set_ylabel("GFLOP/s of whole steps")
    right.set_title("dense input, one Zen 4 core: measured")
    save(figure, "fusion.svg")


if __name__ == "__main__":
    main()
