"""Metrics: what a network's answers are worth, from sums that the engine adds up as it goes.

For classifiers ``"accuracy"``; ``"top_2"``, ``"top_3"`` and so on, how often the true class is
among so many greatest outputs; ``"precision"``, ``"recall"`` and ``"f1"``: of one output those
of yes, of several their mean over the classes that occur (van Rijsbergen, "Information
retrieval", 1979, chapter 7). For others ``"r2"``, the coefficient of determination; ``"mae"``,
``"mse"``, ``"rmse"``, the mean absolute, the mean squared error and its root; over several
outputs their mean. Every sample counts once, whatever its weight.
"""

import re

import numpy as np

from cmlp._core.samples import Tally
from cmlp.checks import look_up, sequence_of


def accuracy(tally):
    """Return the part of right answers."""
    return tally.arrays["hits"].sum() / tally.samples


def top(tally, k):
    """Return how often the true class is among the k greatest outputs."""
    return tally.arrays["ranks"][:k].sum() / tally.samples


def of_classes(tally, above, below):
    """Return a ratio of counts: of yes where there is one output, else the classes' mean."""
    counts = tally.arrays
    occurs = counts["actual"] + counts["predicted"] > 0
    ratios = np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)
    return ratios[1] if len(ratios) == 2 and tally.single else ratios[occurs].mean()


def precision(tally):
    """Return how many of a class's answers are right."""
    return of_classes(tally, tally.arrays["hits"], tally.arrays["predicted"])


def recall(tally):
    """Return how many of a class's samples are found."""
    return of_classes(tally, tally.arrays["hits"], tally.arrays["actual"])


def f1(tally):
    """Return the harmonic mean of precision and recall."""
    counts = tally.arrays
    return of_classes(tally, 2 * counts["hits"], counts["predicted"] + counts["actual"])


def r2(tally):
    """Return 1 minus the squared error over that of the targets' mean."""
    sums = tally.arrays
    total = sums["target_square"] - sums["target"] ** 2 / tally.samples
    error = sums["error_square"]
    # A constant target is explained wholly or not at all, as in scikit-learn.
    constant = np.where(error == 0, 1.0, 0.0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1), constant).mean()


def mae(tally):
    """Return the mean absolute error."""
    return tally.arrays["error"].mean() / tally.samples


def mse(tally):
    """Return the mean squared error."""
    return tally.arrays["error_square"].mean() / tally.samples


def rmse(tally):
    """Return the root of each output's mean squared error."""
    return np.sqrt(tally.arrays["error_square"] / tally.samples).mean()


OF_CLASSES = {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}
OF_REALS = {"r2": r2, "mae": mae, "mse": mse, "rmse": rmse}


class Metrics:
    """The metrics of one pass over samples.

    Parameters
    ----------
    names : sequence of str
    classes : bool
        Whether the network is a classifier.
    outputs : int

    Attributes
    ----------
    tally : cmlp._core.samples.Tally or None
        What the engine adds to; None where no metric is wanted.
    """

    def __init__(self, names, classes, outputs):
        self.names = names
        self.single = outputs == 1
        self.classes = classes
        self.tally = Tally(classes, outputs) if names else None

    @property
    def samples(self):
        """How many there were."""
        return self.tally.samples

    @property
    def arrays(self):
        """The sums."""
        return self.tally.arrays

    def results(self, prefix=""):
        """Return the metrics by name."""
        return {prefix + name: float(self.one(name)) for name in self.names}

    def one(self, name):
        """Return one metric."""
        if name.startswith("top_"):
            return top(self, int(name[4:]))
        return (OF_CLASSES if self.classes else OF_REALS)[name](self)


def checked_metrics(metrics, classes, outputs):
    """Return a tuple of names.

    Raises
    ------
    TypeError, ValueError
        If one is no name, unknown, or does not suit the network.
    """
    if isinstance(metrics, str):
        metrics = [metrics]
    names = tuple(sequence_of("metrics", metrics, "names"))
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"top_[1-9]\d*", name):
            if not classes or outputs < 2:
                raise ValueError(f"metrics={name!r} needs a classifier with several outputs")
            continue
        other = OF_REALS if classes else OF_CLASSES
        if isinstance(name, str) and name in other:
            kind = "a classifier" if classes else "a regressor"
            raise ValueError(f"metrics={name!r} does not suit {kind}")
        look_up("metrics", name, OF_CLASSES if classes else OF_REALS)
    return names
