"""What this core can do at most, and the part of it that each kernel reaches."""

import time

import numpy as np

from cmlp._core import kernels
from cmlp._core.samples import Rows
from cmlp.parameters import aligned_zeros

SHAPES = (
    (1, 784, 128), (10, 784, 32), (128, 784, 512), (128, 512, 256), (512, 784, 2048),
    (512, 2048, 2048),
)  # fmt: skip
READ = (16_384, 262_144, 4_194_304, 268_435_456)


def seconds(call, least=0.02, rounds=5):
    """Return the shortest time of a call, over several rounds of repeated calls."""
    repeats, taken = 1, []
    while len(taken) < rounds:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        elapsed = time.perf_counter() - start
        if elapsed < least and not taken:
            repeats *= 2
        else:
            taken.append(elapsed / repeats)
    return min(taken)


def peak(itemsize):
    """Return the multiply-add peak of one core in GFLOP/s."""
    rounds = 1_000_000
    operations = 2 * kernels.multiply_adds(itemsize, rounds)
    return operations / seconds(lambda: kernels.multiply_adds(itemsize, rounds)) * 1e-9


def read_bandwidth(size):
    """Return how fast so many bytes are read again and again, in GB/s."""
    rows = Rows(np.ones((1, size // 4), np.float32))
    return size / seconds(rows.first_not_finite) * 1e-9


def leading(n):
    """Return what is between two rows of n reals: whole vectors, and not a power of two."""
    padded = -(-n // 16) * 16
    return padded + 16 if padded % 256 == 0 else padded


def product_times(dtype, m, k, n):
    """Return the seconds of the three products of a layer, C (m, n) = A (m, k) W (k, n)."""
    width, depth = leading(n), leading(k)
    rng = np.random.default_rng(0)

    def matrix(rows, columns, used):
        out = aligned_zeros(rows * columns, np.dtype(dtype)).reshape(rows, columns)
        out[:, :used] = rng.normal(size=(rows, used)) * 1e-4
        return out

    a, w, d = matrix(m, depth, k), matrix(k, n, n), matrix(m, width, n)
    bias, c, below = matrix(1, n, n)[0], matrix(m, width, n), matrix(m, depth, k)
    return {
        "forward": seconds(lambda: kernels.affine(a, w, bias, c)),
        "backward": seconds(lambda: kernels.affine_backward(d, w, below)),
        "update": seconds(lambda: kernels.accumulate(a, d, w)),
    }


def report():
    """Return the measured limits, and the rate of each kernel at each shape."""
    found = {"isa": kernels.ISA, "read_gb_per_s": {}, "kernels": []}
    for size in READ:
        found["read_gb_per_s"][size] = read_bandwidth(size)
    for dtype in ("float32", "float64"):
        top = found[f"peak_{dtype}_gflops"] = peak(np.dtype(dtype).itemsize)
        for m, k, n in SHAPES:
            for name, taken in product_times(dtype, m, k, n).items():
                rate = 2 * m * k * n / taken * 1e-9
                found["kernels"].append(
                    {"kernel": name, "dtype": dtype, "shape": [m, k, n], "gflops": rate,
                     "of_peak": rate / top}
                )  # fmt: skip
    return found
