"""Jobs: the same work for every peer."""

from dataclasses import dataclass, replace

import numpy as np

from cmlp import datasets


@dataclass(frozen=True)
class Job:
    """Training of one network, or, if `epochs` is 0, prediction of all samples.

    Attributes
    ----------
    name : str
    sizes : tuple of int
        Layer sizes, inputs first.
    activation : str
        cmlp's name of the hidden layers' activation.
    loss : str
        cmlp's name of the loss.
    batch : int
        Batch size.
    epochs : int
    samples : int
        Number of samples. A slow peer is timed on a fraction of them; the result is the time
        per step, so it is comparable. A prediction of all samples is one step.
    lr : float
        Learning rate of plain gradient descent.
    zeros : bool
        Whether the input is uint8 digits, in which most pixels are zero, or dense float32
        noise.
    optimizer : {"sgd", "adam"}
        Peers that support plain gradient descent only omit jobs with Adam.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    epochs: int
    samples: int
    lr: float
    zeros: bool = True
    optimizer: str = "sgd"

    @property
    def title(self):
        """The job's description in tables and plots."""
        sizes = "-".join(map(str, self.sizes))
        data = "digits" if self.zeros else "dense input"
        rows = "one row" if self.samples == 1 else f"{self.samples:,} rows"
        work = f"batch {self.batch}" if self.epochs else f"{rows} forward"
        if self.optimizer != "sgd":
            work = f"{self.optimizer.title()}, {work}"
        return f"{sizes}, {self.activation}, {work}, {data}"


SMALL, DEEP = (784, 30, 10), (784, 512, 256, 10)
LARGE, TABLE = (784, 2048, 2048, 10), (100, 256, 256, 256, 1)

JOBS = {
    job.name: job
    for job in (
        Job("reference", SMALL, "sigmoid", "quadratic", 10, 10, 60_000, 3.0),
        Job("reference-dense", SMALL, "sigmoid", "quadratic", 10, 10, 20_000, 0.1, False),
        Job("single", (784, 128, 10), "tanh", "cross_entropy", 1, 3, 20_000, 0.01),
        Job("single-dense", (784, 128, 10), "tanh", "cross_entropy", 1, 3, 5_000, 0.01, False),
        Job("deep", DEEP, "relu", "cross_entropy", 128, 2, 25_600, 0.05),
        Job("deep-dense", DEEP, "relu", "cross_entropy", 128, 2, 12_800, 0.01, False),
        Job("large-dense", LARGE, "relu", "cross_entropy", 512, 1, 4_096, 0.01, False),
        Job("table-dense", TABLE, "relu", "mse", 256, 2, 12_800, 1e-3, False, "adam"),
        Job("row", SMALL, "sigmoid", "quadratic", 1, 0, 1, 0.1, False),
        Job("predict-dense", DEEP, "relu", "cross_entropy", 10_000, 0, 10_000, 0.1, False),
    )
}


# Shorter ones for ``cmlp bench``, which times all of them within 20 seconds.
QUICK_JOBS = {
    job.name: job
    for job in (
        replace(JOBS["reference"], name="quick-reference", epochs=1, samples=20_000),
        replace(JOBS["deep-dense"], name="quick-deep", epochs=1, samples=6_400),
        replace(JOBS["table-dense"], name="quick-table", epochs=1, samples=12_800),
        replace(JOBS["row"], name="quick-row"),
    )
}


def load_data(job, fraction=1.0):
    """Return a job's data, or a fraction of them rounded down to whole batches.

    Parameters
    ----------
    job : Job
    fraction : float, default 1.0

    Returns
    -------
    X : ndarray, shape (n_samples, n_features)
        uint8 digits or float32 noise.
    y : ndarray, shape (n_samples,)
        Labels, int, or for the loss ``"mse"`` real targets, float32.
    """
    whole_batches = int(job.samples * fraction) // job.batch * job.batch
    samples = min(job.samples, max(job.batch, whole_batches))
    rng = np.random.default_rng(0)
    if not job.zeros:
        X = rng.random((samples, job.sizes[0]), dtype=np.float32) + np.float32(1e-3)
        if job.loss == "mse":
            return X, rng.random(samples, dtype=np.float32)
        return X, rng.integers(0, job.sizes[-1], samples)
    try:
        X, y = datasets.load_mnist(download=False)[0]
    except FileNotFoundError:
        X, y = datasets.make_digits(min(samples, 20_000), 0)
    order = np.resize(rng.permutation(len(X)), samples)
    return X.reshape(len(X), -1)[order], y[order]
