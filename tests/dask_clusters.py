"""Clusters of processes that start fast, and ways to lose their workers."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import dask
import distributed
from distributed.utils import get_mp_context

from cmlp import callbacks

PRELOADED = ["cmlp.dask", "dask.dataframe", "hypothesis", "pytest", "sklearn.model_selection"]


def get_context():
    """Return a context whose processes are forks of one that has imported what they need."""
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    context = get_mp_context()  # the first call sets modules to preload
    context.set_forkserver_preload(PRELOADED)
    return context


def start_cluster(path, workers, threads=1):
    get_context()
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=threads, processes=True, dashboard_address=":0",
        local_directory=str(path), silence_logs=50,
    )  # fmt: skip


def run_worker(address, path):
    """Run a worker that nothing restarts."""

    async def run():
        async with distributed.Worker(address, nthreads=1, local_directory=path) as worker:
            await worker.finished()

    asyncio.run(run())


class Killer(callbacks.Callback):
    """Kill a worker after the rounds 3 and 11, or some time later, in the middle of a round."""

    def __init__(self, client, delay=0.0):
        self.processes, self.delay = list(client.run(os.getpid).values()), delay

    def kill(self):
        os.kill(self.processes.pop(), signal.SIGKILL)

    def on_epoch_end(self, network, epoch, record):
        if epoch in (3, 11):
            threading.Timer(self.delay, self.kill).start()


def make_killing_schedule(path, number):
    """Return a schedule that kills its process in one epoch, only once."""

    def compute_factor(step, epoch):
        if epoch == number and not Path(path).exists():
            Path(path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    return compute_factor
