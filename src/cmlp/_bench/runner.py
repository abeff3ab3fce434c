"""Timing of a job by peers in processes of their own.

The peers take turns, so that other load slows all of them.
"""

import functools
import json
import os
import statistics
import subprocess
import sys


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
    """The process of one peer; see `cmlp._bench.worker` for the protocol.

    Parameters
    ----------
    module : str
        The peer's.
    names : list of str
        Of the jobs.
    cores : int
        Number of cores that the process may use.
    isa : str, optional
        The ISA to which cmlp and JAX are limited.

    Attributes
    ----------
    missing : dict from str to str
        By job, why the peer cannot do it.
    steps : dict from str to int
        By job, the number of steps in a run.
    """

    def __init__(self, module, names, cores, isa=None):
        self.names, limit = names, None
        if hasattr(os, "sched_setaffinity"):
            allowed = sorted(os.sched_getaffinity(0))[:cores]
            limit = functools.partial(os.sched_setaffinity, 0, allowed)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cmlp._bench.worker", module, *names],
            env=make_environment(cores, isa), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, preexec_fn=limit,
        )  # fmt: skip
        self.missing, self.steps = {}, {}

    def await_ready(self):
        """Wait until the process has prepared all jobs."""
        for name in self.names:
            ready = self.read_answer()
            if "steps" in ready:
                self.steps[name] = ready["steps"]
            else:
                self.missing[name] = ready["missing"]

    def read_answer(self):
        """Wait for the next line from the process and return its content, a dict."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended"}

    def time_step(self, name):
        """Run a job once and return the microseconds per step."""
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        answer = self.read_answer()
        if "seconds" not in answer:
            raise RuntimeError(f"a worker failed: {answer['missing']}")
        return answer["seconds"] / self.steps[name] * 1e6

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def time_jobs(jobs, cores, rounds, peers, isa=None):
    """Time every peer on some jobs.

    Parameters
    ----------
    jobs : list of Job
    cores : int
        Number of cores that each process may use.
    rounds : int
        Number of timed runs of each peer.
    peers : dict from str to str
        The peers' modules by their names.
    isa : str, optional
        The ISA to which cmlp and JAX are limited.

    Yields
    ------
    dict
        The job's name and title, `cores`, `isa`; and by peer "times" (microseconds per step,
        one for each round), "medians", and "missing" (the reason for a missing peer).
    """
    names = [job.name for job in jobs]
    workers = {peer: Worker(module, names, cores, isa) for peer, module in peers.items()}
    try:
        for worker in workers.values():
            worker.await_ready()
        for job in jobs:
            name = job.name
            times = {peer: [] for peer, worker in workers.items() if name in worker.steps}
            for _ in range(rounds):
                for peer in times:
                    times[peer].append(workers[peer].time_step(name))
            missing = {
                peer: worker.missing[name]
                for peer, worker in workers.items()
                if name in worker.missing
            }
            yield {
                "job": name, "title": job.title, "cores": cores, "isa": isa, "times": times,
                "medians": {peer: statistics.median(values) for peer, values in times.items()},
                "missing": missing,
            }  # fmt: skip
    finally:
        for worker in workers.values():
            worker.close()


def time_job(job, cores, rounds, isa, peers):
    """Time every peer on one job; see `time_jobs`."""
    [result] = time_jobs([job], cores, rounds, peers, isa)
    return result
