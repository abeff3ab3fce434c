"""The NumPy reference: float64, one sample at a time."""

import contextlib
import io

import numpy as np

from cmlp._bench.peers import numpy_reference

FRACTION = 0.03


def prepare(job, X, y):
    if job.optimizer != "sgd" or (not job.epochs and job.activation != "sigmoid"):
        return None
    np.random.seed(0)  # the reference uses NumPy's global generator
    X = X / 255 if X.dtype == np.uint8 else X.astype(np.float64)
    one_hot = np.eye(job.sizes[-1])[y]
    if job.activation == "tanh":
        model = numpy_reference.Model(*job.sizes)

        def run():
            with contextlib.redirect_stdout(io.StringIO()):
                model.train(X, one_hot, job.epochs, job.lr)

        return run
    if job.activation != "sigmoid":
        return None
    net = numpy_reference.MLP(job.sizes)
    if not job.epochs:
        return lambda: [net.forward(x.reshape(-1, 1)) for x in X]
    pairs = list(zip(X, one_hot[:, :, None], strict=True))

    def run():
        for _ in range(job.epochs):
            for start in range(0, len(pairs), job.batch):
                net.update_mini_batch(pairs[start : start + job.batch], job.lr)

    return run
