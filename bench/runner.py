"""Peers that take turns at a job, so that what slows the machine slows all of them."""

import json
import os
import statistics
import subprocess
import sys

from bench.peers import PEERS


def environment(cores, isa=None):
    """Return the environment of a worker that may use so many cores, or such an ISA."""
    threads = {
        name: str(cores) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if cores == 1 else ""
    narrow = f"--xla_cpu_max_isa={isa.upper()}" if isa else ""
    narrow_cmlp = {"CMLP_ISA": isa} if isa else {}
    return {**os.environ, **threads, **narrow_cmlp, "XLA_FLAGS": f"{one} {narrow}".strip()}


class Worker:
    """A peer's process; `missing` tells why there is none."""

    def __init__(self, module, job, cores, isa=None):
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", module, job.name],
            env=environment(cores, isa), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )  # fmt: skip
        ready = self.listen()
        self.missing, self.steps = ready.get("missing"), ready.get("steps")

    def listen(self):
        """Return what the worker says next."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended"}

    def microseconds(self):
        """Return how long one step of one more run takes."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.listen()
        if "seconds" not in answer:
            raise RuntimeError(f"a worker failed: {answer['missing']}")
        return answer["seconds"] / self.steps * 1e6

    def close(self):
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def time_job(job, cores, rounds, isa=None, peers=tuple(PEERS)):
    """Return for each peer its times of a step in microseconds, or why there are none."""
    workers = {peer: Worker(PEERS[peer], job, cores, isa) for peer in peers}
    times = {peer: [] for peer, worker in workers.items() if not worker.missing}
    for _ in range(rounds):
        for peer in times:
            times[peer].append(workers[peer].microseconds())
    for worker in workers.values():
        worker.close()
    missing = {peer: worker.missing for peer, worker in workers.items() if worker.missing}
    return {
        "job": job.name,
        "title": job.title,
        "cores": cores,
        "isa": isa,
        "times": times,
        "medians": {peer: statistics.median(taken) for peer, taken in times.items()},
        "missing": missing,
    }
