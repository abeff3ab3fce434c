"""The jobs: the same work for every peer."""

from dataclasses import dataclass

import numpy as np

from cmlp import datasets


@dataclass(frozen=True)
class Job:
    """Training of one network, or, with no epochs, one forward product of a single row.

    Attributes
    ----------
    name : str
    sizes : tuple of int
    activation, loss : str
        By cmlp's names.
    batch, epochs, samples : int
        A slow peer is timed on fewer samples; what is reported is the time of a step.
    lr : float
    zeros : bool
        Digits, most of whose pixels are zero, as uint8; or dense float32 noise.
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

    @property
    def title(self):
        """What a table calls it."""
        widths = "-".join(map(str, self.sizes))
        data = "digits" if self.zeros else "dense input"
        work = f"batch {self.batch}" if self.epochs else "one row forward"
        return f"{widths}, {self.activation}, {work}, {data}"


SMALL, DEEP = (784, 30, 10), (784, 512, 256, 10)
LARGE = (784, 2048, 2048, 10)

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
        Job("row", SMALL, "sigmoid", "quadratic", 1, 0, 1, 0.1, False),
    )
}


def data(job, share=1.0):
    """Return X, uint8 digits or float32 noise, and labels, of a share of the samples."""
    samples = min(job.samples, max(job.batch, int(job.samples * share) // job.batch * job.batch))
    rng = np.random.default_rng(0)
    if not job.zeros:
        X = rng.random((samples, job.sizes[0]), dtype=np.float32) + np.float32(1e-3)
        return X, rng.integers(0, job.sizes[-1], samples)
    try:
        X, y = datasets.load_mnist(download=False)[0]
    except FileNotFoundError:
        X, y = datasets.make_digits(min(samples, 20_000), 0)
    order = np.resize(rng.permutation(len(X)), samples)
    return X.reshape(len(X), -1)[order], y[order]
