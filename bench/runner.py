"""Timing of a job by peers in processes of their own.

The peers take turns, so that other load slows all of them.
"""

import json
import os
import statistics
import subprocess
import sys

from bench.peers import PEERS


def make_environment(cores, isa=None):
    """Return the environment variables of a worker process.

    Parameters
    ----------
    cores : int
        Number of threads that every library may use.
    isa : str, optional
        The ISA to which cmlp and JAX are limited.
    """
    threads = {
        name: str(cores) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if cores == 1 else ""
    jax_isa = f"--xla_cpu_max_isa={isa.upper()}" if isa else ""
    cmlp_isa = {"CMLP_ISA": isa} if isa else {}
    return {**os.environ, **threads, **cmlp_isa, "XLA_FLAGS": f"{one} {jax_isa}".strip()}


class Worker:
    """The process of one peer, which does one job; see `bench.worker` for the protocol.

    Attributes
    ----------
    missing : str or None
        Why the peer cannot do the job, if it cannot.
    steps : int
        Number of steps in a run.
    """

    def __init__(self, module, job, cores, isa=None):
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", module, job.name],
            env=make_environment(cores, isa), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )  # fmt: skip
        ready = self.read_answer()
        self.missing, self.steps = ready.get("missing"), ready.get("steps")

    def read_answer(self):
        """Wait for the next line from the process and return its content, a dict."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended"}

    def time_step(self):
        """Run the job once and return the microseconds per step."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.read_answer()
        if "seconds" not in answer:
            raise RuntimeError(f"a worker failed: {answer['missing']}")
        return answer["seconds"] / self.steps * 1e6

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def time_job(job, cores, rounds, isa=None, peers=tuple(PEERS)):
    """Time every peer on a job.

    Parameters
    ----------
    job : bench.jobs.Job
    cores : int
        Number of cores that each process may use.
    rounds : int
        Number of timed runs of each peer.
    isa : str, optional
        The ISA to which cmlp and JAX are limited.
    peers : sequence of str
        Keys of `PEERS`.

    Returns
    -------
    dict
        The job's name and title, `cores`, `isa`; and by peer "times" (microseconds per step,
        one for each round), "medians", and "missing" (the reason for a missing peer).
    """
    workers = {peer: Worker(PEERS[peer], job, cores, isa) for peer in peers}
    times = {peer: [] for peer, worker in workers.items() if not worker.missing}
    for _ in range(rounds):
        for peer in times:
            times[peer].append(workers[peer].time_step())
    for worker in workers.values():
        worker.close()
    missing = {peer: worker.missing for peer, worker in workers.items() if worker.missing}
    return {
        "job": job.name,
        "title": job.title,
        "cores": cores,
        "isa": isa,
        "times": times,
        "medians": {peer: statistics.median(values) for peer, values in times.items()},
        "missing": missing,
    }
