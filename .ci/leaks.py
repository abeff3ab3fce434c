"""Fits, predictions, failures and files: the work over which leaks and bad reads are searched."""

import contextlib
import ctypes
import os
import sys
import tempfile

import numpy as np

from cmlp import LBFGS, SGD, Adam, Network, TrainingDiverged, fit_many
from cmlp.callbacks import Checkpoint


def run(folder, rng):
    """Do every kind of work once."""
    X, y = rng.random((60, 20), dtype=np.float32), rng.integers(0, 3, 60)
    make = {"activation": "relu", "loss": "cross_entropy", "seed": 0}
    network = Network([20, 33, 3], **make, normalization="batch", dropout=0.3, input_noise=0.1)
    path = os.path.join(folder, "run.npz")
    network.fit(X, y, epochs=2, optimizer=Adam(clip_norm=1.0), callbacks=Checkpoint(path),
                validation_split=0.2, metrics=["accuracy", "f1"], threads=2)  # fmt: skip
    network(X)
    network.predict_proba(X[:1])
    Network.resume(path).fit(X, y, epochs=3, optimizer=Adam(clip_norm=1.0),
                             callbacks=Checkpoint(path), validation_split=0.2,
                             metrics=["accuracy", "f1"])  # fmt: skip
    sparse = Network([200, 70, 3], **make)
    S = np.where(rng.random((130, 200)) < 0.1, rng.random((130, 200)), 0).astype(np.float32)
    sparse.fit(
        S, rng.integers(0, 3, 130), batch_size=64, optimizer=SGD(0.1, momentum=0.9), sparse=True
    )
    sparse.copy().partial_fit(S, rng.integers(0, 3, 130), batch_size=1)
    fit_many([Network([20, 5, 3], **make) for _ in range(2)], X, y, epochs=1)
    with contextlib.suppress(ImportError):
        Network([20, 5, 3], **make).fit(X, y, epochs=2, optimizer=LBFGS())
    network.backprop(X[0], 1)
    for bad in (X[:, :5], np.full_like(X, np.nan), "text", X[0]):
        with contextlib.suppress(TypeError, ValueError):
            network.fit(bad, y)
        with contextlib.suppress(TypeError, ValueError):
            network.predict(bad)
    with contextlib.suppress(TrainingDiverged):
        Network([20, 5, 1], loss="mse", activation="relu", seed=0).fit(X * 1e18, y, epochs=3)
    with open(path, "r+b") as file:
        file.truncate(900)
    with contextlib.suppress(ValueError):
        Network.load(path)


def leak():
    """Lose a network's program and its workspace, as a missing release would."""
    network = Network([20, 33, 3], seed=0)
    network(np.zeros((3, 20), np.float32))
    program = ctypes.py_object(network.state.program)
    ctypes.pythonapi.Py_IncRef(program)
    ctypes.pythonapi.PyObject_GC_UnTrack(program)


if __name__ == "__main__":
    if sys.argv[1:] == ["leak"]:
        leak()
        sys.exit()
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            run(directory, generator)
