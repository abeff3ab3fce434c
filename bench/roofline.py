"""The limits of one core, and the fraction of them that each kernel reaches."""

import time

import numpy as np

from cmlp._core import kernels
from cmlp._core.inputs import Rows
from cmlp._model.parameters import aligned_zeros

# (batch, inputs, outputs) of the measured products.
SHAPES = (
    (1, 784, 128), (10, 784, 32), (128, 784, 512), (128, 512, 256), (512, 784, 2048),
    (512, 2048, 2048),
)  # fmt: skip

# Bytes read repeatedly to measure bandwidth: within L1, L2, L3, and beyond all caches.
READ_BYTES = (16_384, 262_144, 4_194_304, 268_435_456)


def time_call(call, min_seconds=0.02, rounds=5):
    """Return the seconds of the fastest call.

    Parameters
    ----------
    call : callable
        Called without arguments.
    min_seconds : float
        Calls are repeated until a round takes at least this long.
    rounds : int
        Number of rounds; the result is the minimum of their means.
    """
    repeats, times = 1, []
    while len(times) < rounds:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        elapsed = time.perf_counter() - start
        if elapsed < min_seconds and not times:
            repeats *= 2
        else:
            times.append(elapsed / repeats)
    return min(times)


def measure_peak(itemsize):
    """Return the multiply-add peak of one core in GFLOP/s, for reals of `itemsize` bytes."""
    rounds = 1_000_000
    operations = 2 * kernels.multiply_adds(itemsize, rounds)
    return operations / time_call(lambda: kernels.multiply_adds(itemsize, rounds)) * 1e-9


def measure_bandwidth(size):
    """Return the rate in GB/s at which one core reads the same `size` bytes repeatedly."""
    rows = Rows(np.ones((1, size // 4), np.float32))
    return size / time_call(lambda: rows.find_not_finite(np.dtype(np.float32))) * 1e-9


def pad_row(n):
    """Return a leading dimension for rows of n reals.

    A multiple of 16, and not of 256: rows whose distance is a power of two would fall into the
    same sets of the caches.
    """
    padded = -(-n // 16) * 16
    return padded + 16 if padded % 256 == 0 else padded


def time_products(dtype, m, k, n):
    """Return the seconds of the three products of a dense layer.

    Parameters
    ----------
    dtype : str
        "float32" or "float64".
    m, k, n : int
        Batch size, number of inputs, number of outputs; `n` must be a multiple of 16, as W is not
        padded.

    Returns
    -------
    dict from str to float
        "forward": C (m, n) = A (m, k) W (k, n) + b; "backward": the gradient with respect to
        A; "update": the gradient with respect to W, added to W.
    """
    ld_outputs, ld_inputs = pad_row(n), pad_row(k)
    rng = np.random.default_rng(0)

    def make_matrix(rows, columns, used):
        out = aligned_zeros(rows * columns, np.dtype(dtype)).reshape(rows, columns)
        out[:, :used] = rng.normal(size=(rows, used)) * 1e-4
        return out

    a, w, d = make_matrix(m, ld_inputs, k), make_matrix(k, n, n), make_matrix(m, ld_outputs, n)
    bias, c = make_matrix(1, n, n)[0], make_matrix(m, ld_outputs, n)
    input_delta = make_matrix(m, ld_inputs, k)
    return {
        "forward": time_call(lambda: kernels.affine(a, w, bias, c)),
        "backward": time_call(lambda: kernels.affine_backward(d, w, input_delta)),
        "update": time_call(lambda: kernels.accumulate(a, d, w)),
    }


def measure():
    """Return the limits of the core and the rate of each product at each shape, as a dict."""
    found = {"isa": kernels.ISA, "read_gb_per_s": {}, "kernels": []}
    for size in READ_BYTES:
        found["read_gb_per_s"][size] = measure_bandwidth(size)
    for dtype in ("float32", "float64"):
        peak = found[f"peak_{dtype}_gflops"] = measure_peak(np.dtype(dtype).itemsize)
        for m, k, n in SHAPES:
            for name, seconds in time_products(dtype, m, k, n).items():
                rate = 2 * m * k * n / seconds * 1e-9
                found["kernels"].append(
                    {"kernel": name, "dtype": dtype, "shape": [m, k, n], "gflops": rate,
                     "of_peak": rate / peak}
                )  # fmt: skip
    return found
