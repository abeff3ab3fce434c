"""Compare numbers of threads: on idle cores, and with another process that uses one of two cores.

Each number of threads has its own process, and the processes take turns; ratios are ratios of
medians. `--busy` pins a process that never waits to the last core, and the process with one thread
to the first, which is free; the processes with more threads may use both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from cmlp import SGD, Network
from cmlp._bench.jobs import Job, load_data

# Jobs for idle cores: steps from 6 us to 3 ms on one core.
JOBS = {
    job.name: job
    for job in (
        Job("30-digits", (784, 30, 10), "sigmoid", "quadratic", 10, 1, 20_000, 3.0),
        Job("128-single", (784, 128, 10), "tanh", "cross_entropy", 1, 1, 5_000, 0.01, False),
        Job("128-digits", (784, 128, 10), "relu", "cross_entropy", 32, 1, 12_800, 0.05),
        Job("64-64-table", (13, 64, 64, 1), "relu", "mse", 200, 1, 20_000, 0.01, False),
        Job("64-64-wide-table", (100, 64, 64, 1), "relu", "mse", 256, 1, 25_600, 0.01, False),
        Job("512-256", (784, 512, 256, 10), "relu", "cross_entropy", 128, 1, 12_800, 0.01, False),
    )
}

# Jobs and numbers of threads while another process uses one core.
BUSY_JOBS = ("512-256", "128-digits")
BUSY_THREADS = (1, 2, 4)

SPIN = "while True: pass"


def run_worker(name, threads):
    """Train on request: for each line of standard input, write the microseconds per step."""
    job = JOBS[name]
    X, y = load_data(job)
    y = y.astype(float) if job.loss == "mse" else y
    net = Network(list(job.sizes), activation=job.activation, loss=job.loss, seed=0)
    steps = len(X) // job.batch

    def train(epochs):
        begin = time.perf_counter()
        net.fit(X, y, epochs=epochs, batch_size=job.batch, optimizer=SGD(job.lr), threads=threads)
        return (time.perf_counter() - begin) / (epochs * steps)

    train(1)
    epochs = max(1, round(0.2 / (train(1) * steps)))  # long enough for compression not to matter
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(train(epochs) * 1e6), flush=True)


class Worker:
    """The process that does a job with one number of threads."""

    def __init__(self, name, threads, cpus):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.threads", "--worker", name, str(threads)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )  # fmt: skip
        self.process.stdout.readline()

    def time_step(self):
        """Train, and return the microseconds per step."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def time_job(name, thread_counts, cpus, rounds):
    """Time a job with each number of threads.

    Parameters
    ----------
    name : str
    thread_counts : sequence of int
    cpus : function
        Number of threads -> the CPUs that the process may use.
    rounds : int

    Returns
    -------
    dict of int to list of float
        Number of threads -> microseconds per step of each round.
    """
    workers = {threads: Worker(name, threads, cpus(threads)) for threads in thread_counts}
    times = {threads: [] for threads in thread_counts}
    for _ in range(rounds):
        for threads, worker in workers.items():
            times[threads].append(worker.time_step())
    for worker in workers.values():
        worker.close()
    return times


def format_times(name, times):
    """Return a line of a Markdown table: medians, extremes and ratios to one thread."""
    medians = {threads: statistics.median(values) for threads, values in times.items()}
    cells = [
        f"{medians[threads]:,.2f} ({min(values):,.2f} to {max(values):,.2f}), "
        f"{medians[1] / medians[threads]:.2f} times"
        for threads, values in times.items()
    ]
    return f"| {name}, batch {JOBS[name].batch} | " + " | ".join(cells) + " |"


def print_table(title, names, thread_counts, cpus, rounds):
    """Time jobs and print their table."""
    counts = [f"{n} thread{'s' * (n > 1)}" for n in thread_counts]
    print(f"**{title}**, µs a step\n\n| | " + " | ".join(counts) + " |")
    print("|---|" + "---:|" * len(counts), flush=True)
    for name in names:
        print(format_times(name, time_job(name, thread_counts, cpus, rounds)), flush=True)
    print()


def main():
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.threads", description=__doc__)
    parser.add_argument("--jobs", nargs="*", choices=JOBS, metavar="JOB",
                        help=f"of {', '.join(JOBS)}")  # fmt: skip
    parser.add_argument("--busy", action="store_true", help="with another process on one core")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", nargs=2, metavar=("JOB", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return run_worker(options.worker[0], int(options.worker[1]))
    cpus = sorted(os.sched_getaffinity(0))[-2:]
    if len(cpus) < 2:
        parser.error("two CPUs are required")
    if not options.busy:
        print_table("Idle cores", options.jobs or JOBS, (1, 2), lambda threads: set(cpus),
                    options.rounds)  # fmt: skip
        return None
    spinner = subprocess.Popen(
        [sys.executable, "-c", SPIN], preexec_fn=lambda: os.sched_setaffinity(0, cpus[1:])
    )
    try:
        print_table("One of two cores taken by another process", options.jobs or BUSY_JOBS,
                    BUSY_THREADS, lambda threads: set(cpus[: 1 if threads == 1 else 2]),
                    options.rounds)  # fmt: skip
    finally:
        spinner.kill()
        spinner.wait()
    return None


if __name__ == "__main__":
    sys.exit(main())
