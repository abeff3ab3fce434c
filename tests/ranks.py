"""A program for several ranks: `mpiexec -n 2 python tests/ranks.py CASE PATH`.

It writes what happened on each rank to PATH.RANK, a line, for test_sharding.py.
"""

import hashlib
import os
import signal
import sys
import threading

import numpy as np
from mpi4py import MPI

from cmlp import Adam, Network, RankError
from cmlp.callbacks import Checkpoint

COMM = MPI.COMM_WORLD
RANK = COMM.Get_rank()


def hash_parameters(network):
    return hashlib.sha256(network.state.parameters.block.tobytes()).hexdigest()


def make_data():
    rng = np.random.default_rng(0)
    return rng.random((500, 30), dtype=np.float32), rng.integers(0, 4, 500)


def make_network():
    return Network([30, 200, 4], activation="relu", loss="cross_entropy", dropout=0.2, seed=0)


def kill_in_third_epoch(network, epoch, record):
    """End this process when rank 0 has written the checkpoint of the second epoch."""
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def train(case, path):
    """Return what one rank has to report."""
    X, y = make_data()
    options = {
        "epochs": 4, "batch_size": 50, "optimizer": Adam(), "shards": 8, "comm": COMM,
        "distribute": True, "validation_data": (X[:50], y[:50]), "threads": 1,
    }  # fmt: skip
    network = make_network()
    if case == "resume":
        network = Network.resume(path)
        options["callbacks"] = Checkpoint(path)
    elif case == "begin":
        options.update(callbacks=Checkpoint(path), epochs=2)
    elif case == "interrupt":
        options["epochs"] = 10**6
        if RANK == 1:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    elif case == "kill":
        options["callbacks"] = kill_in_third_epoch if RANK == 1 else Checkpoint(path)
    elif case == "plain":
        options.update(shards=None, reproducible=False)
    try:
        history = network.fit(X, y, **options)
    except (RankError, KeyboardInterrupt) as error:
        return f"{type(error).__name__} {getattr(error, 'rank', '')}"
    return f"{hash_parameters(network)} {len(history.epochs)} {history['val_loss'][-1].hex()}"


if __name__ == "__main__":
    report = train(*sys.argv[1:3])
    with open(f"{sys.argv[2]}.{RANK}", "w", encoding="ascii") as file:
        file.write(report)
