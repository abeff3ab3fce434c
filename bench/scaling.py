"""Time per step against width, batch size and threads, to find cliffs.

A cliff is a point that takes more than `CLIFF` times as long as with fewer threads.
"""

import time

import numpy as np

from cmlp import SGD, Network
from cmlp._utils.threads import count_available_cpus

WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 4, 16, 64, 256, 1024)
CLIFF = 1.3


def choose_sample_count(width, batch):
    """Return a multiple of `batch` samples whose training takes a measurable but short time."""
    wanted = int(min(20_000, 1e9 / width**2)) // batch * batch
    return max(wanted, batch if batch * width**2 > 1e8 else 8 * batch)


def time_point(width, batch, thread_counts, rounds):
    """Time training of a network width-width-10 with each number of threads, in turn.

    Parameters
    ----------
    width, batch : int
    thread_counts : iterable of int
    rounds : int
        Number of timed rounds, after one that is not counted.

    Returns
    -------
    dict from int to float
        Number of threads -> the fastest round's microseconds per step.
    """
    rng = np.random.default_rng(0)
    n = choose_sample_count(width, batch)
    X, y = rng.random((n, width), dtype=np.float32), rng.integers(0, 10, n)
    nets = {
        threads: Network([width, width, 10], activation="relu", loss="cross_entropy", seed=0)
        for threads in thread_counts
    }
    times = {threads: [] for threads in thread_counts}
    for round_ in range(rounds + 1):
        for threads, net in nets.items():
            start = time.perf_counter()
            net.fit(X, y, epochs=1, batch_size=batch, optimizer=SGD(1e-4), threads=threads,
                    sparse=False)  # fmt: skip
            if round_:
                times[threads].append((time.perf_counter() - start) / (n / batch) * 1e6)
    return {threads: min(values) for threads, values in times.items()}


def measure(rounds=3):
    """Return the times of all widths and batch sizes, and the cliffs among them, as a dict."""
    thread_counts = range(1, count_available_cpus() + 1)
    points, cliffs = [], []
    for width in WIDTHS:
        for batch in BATCHES:
            times = time_point(width, batch, thread_counts, rounds)
            points.append({"width": width, "batch": batch, "microseconds": times})
            for threads in thread_counts[1:]:
                best_with_fewer = min(times[t] for t in thread_counts if t < threads)
                if times[threads] > CLIFF * best_with_fewer:
                    cliffs.append({"width": width, "batch": batch, "threads": threads,
                                   "times_slower": times[threads] / best_with_fewer})  # fmt: skip
    return {"points": points, "cliffs": cliffs}
