"""Times an epoch of the reference job: 784-30-10, sigmoid, quadratic loss, batches of 10.

The peers take turns within one run, on one thread each, so that what slows the machine
slows all of them; the ratio is that of the medians.
"""

import bench.one_thread  # isort: skip  # noqa: F401 - before NumPy is imported
import argparse
import statistics
import time

import numpy as np

from bench.data import digits
from bench.peers import numpy_reference
from cmlp import MLP, SGD

BATCH, RATE = 10, 3.0


def cmlp_job(X, y):
    """Return a function that trains one epoch."""
    net = MLP([784, 30, 10], seed=0)
    return lambda: net.fit(X, y, epochs=1, batch_size=BATCH, optimizer=SGD(RATE), threads=1)


def numpy_job(X, y):
    """Return a function that trains on as many samples, already converted, one by one."""
    np.random.seed(0)  # noqa: NPY002 - the reference draws from the global generator
    net = numpy_reference.MLP([784, 30, 10])
    pairs = list(zip(X / 255, np.eye(10)[y][:, :, None], strict=True))

    def epoch():
        for start in range(0, len(pairs), BATCH):
            net.update_mini_batch(pairs[start : start + BATCH], RATE)

    return epoch


def seconds(job):
    """Return how long a call takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main():
    """Take the times and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--reference-samples",
        type=int,
        default=6000,
        help="the reference is timed on so many samples a round",
    )
    options = parser.parse_args()
    (X, y), _, name = digits()
    few = min(options.reference_samples, len(X))
    jobs = {"cmlp": (cmlp_job(X, y), len(X)), "NumPy reference": (numpy_job(X[:few], y[:few]), few)}
    times = {peer: [] for peer in jobs}
    for round_ in range(options.rounds + 1):
        for peer, (job, samples) in jobs.items():
            taken = seconds(job) / samples * BATCH
            if round_:  # the first warms up
                times[peer].append(taken * 1e6)
    medians = {peer: statistics.median(taken) for peer, taken in times.items()}
    print(
        f"784-30-10, sigmoid, quadratic, batch {BATCH}, {name}, one thread, {options.rounds} rounds"
    )
    print(f"{'':<18}{'us a step':>12}{'min':>10}{'max':>10}{'ratio':>10}")
    for peer, taken in times.items():
        ratio = medians[peer] / medians["cmlp"]
        print(
            f"{peer:<18}{medians[peer]:>12.2f}{min(taken):>10.2f}{max(taken):>10.2f}{ratio:>10.1f}"
        )


if __name__ == "__main__":
    main()
