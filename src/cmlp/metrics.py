"""Metrics of predictions, computed from sums that compiled code accumulates per sample.

Every sample counts once, whatever its weight.

=================  ============================================================================
for classifiers
``"accuracy"``     fraction of samples whose class is predicted
``"top_k"``        fraction of samples whose class has one of the k largest outputs, for k of
                   1, 2, 3 and so on
``"precision"``    samples of a class predicted as such / samples predicted as that class
``"recall"``       samples of a class predicted as such / samples of that class
``"f1"``           harmonic mean of precision and recall
for regressors
``"r2"``           coefficient of determination: 1 - sum (y - a)^2 / sum (y - mean(y))^2
``"mae"``          mean absolute error
``"mse"``          mean squared error
``"rmse"``         root of the mean squared error
=================  ============================================================================

Precision, recall and F1 are of class 1 if there is one output, and otherwise macro averages
over the classes that are present among targets or predictions. A ratio with denominator 0 is 0
(van Rijsbergen, "Information retrieval", 1979, chapter 7). Regression metrics are computed per
output and averaged. For a loss with a log link, the predictions are the exponentials of the
outputs.
"""

import re

import numpy as np

from cmlp._core.inputs import MetricSums
from cmlp._utils.validation import look_up, to_list


def accuracy(metrics):
    """Return the fraction of samples whose class is predicted."""
    return metrics.arrays["hits"].sum() / metrics.samples


def top_k(metrics, k):
    """Return the fraction of samples whose class has one of the k largest outputs."""
    return metrics.arrays["ranks"][:k].sum() / metrics.samples


def average_classes(metrics, numerator, denominator):
    """Return a ratio per class: of class 1 for a single output, else the macro average.

    Parameters
    ----------
    metrics : Metrics
    numerator, denominator : ndarray of shape (classes,)
    """
    counts = metrics.arrays
    is_present = counts["actual"] + counts["predicted"] > 0
    is_defined = denominator > 0
    ratios = np.where(is_defined, numerator / np.where(is_defined, denominator, 1), 0.0)
    return ratios[1] if metrics.outputs == 1 else ratios[is_present].mean()


def precision(metrics):
    """Return the fraction of the predictions of a class that are right."""
    return average_classes(metrics, metrics.arrays["hits"], metrics.arrays["predicted"])


def recall(metrics):
    """Return the fraction of the samples of a class that are predicted as such."""
    return average_classes(metrics, metrics.arrays["hits"], metrics.arrays["actual"])


def f1(metrics):
    """Return the harmonic mean of precision and recall."""
    counts = metrics.arrays
    return average_classes(metrics, 2 * counts["hits"], counts["predicted"] + counts["actual"])


def r2(metrics):
    """Return the coefficient of determination.

    If the targets are constant, it is 1 for exact predictions and 0 otherwise, as in
    scikit-learn.
    """
    sums = metrics.arrays
    # The engine subtracts the first target from all targets, to avoid cancellation if their mean
    # is large.
    total = sums["target_square"] - sums["target"] ** 2 / metrics.samples
    error = sums["error_square"]
    of_constant = np.where(error == 0, 1.0, 0.0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1), of_constant).mean()


def mae(metrics):
    """Return the mean absolute error."""
    return metrics.arrays["error"].mean() / metrics.samples


def mse(metrics):
    """Return the mean squared error."""
    return metrics.arrays["error_square"].mean() / metrics.samples


def rmse(metrics):
    """Return the root mean squared error per output, averaged."""
    return np.sqrt(metrics.arrays["error_square"] / metrics.samples).mean()


CLASSIFICATION = {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}
REGRESSION = {"r2": r2, "mae": mae, "mse": mse, "rmse": rmse}


class Metrics:
    """The metrics of one pass over samples.

    Parameters
    ----------
    names : sequence of str
    is_classifier : bool
        Whether the network is a classifier.
    outputs : int
        Number of outputs of the network.

    Attributes
    ----------
    sums : cmlp._core.inputs.MetricSums or None
        The sums that the engine accumulates; None if `names` is empty.
    """

    def __init__(self, names, is_classifier, outputs):
        self.names, self.is_classifier, self.outputs = names, is_classifier, outputs
        self.sums = MetricSums(is_classifier, outputs) if names else None

    @property
    def samples(self):
        """Number of samples that the sums include."""
        return self.sums.samples

    @property
    def arrays(self):
        """The sums by name, a dict of ndarray of float64."""
        return self.sums.arrays

    def results(self, prefix=""):
        """Return the values as a dict from prefix + name to float."""
        return {prefix + name: float(self.value(name)) for name in self.names}

    def value(self, name):
        """Return the value of one metric."""
        if name.startswith("top_"):
            return top_k(self, int(name[4:]))
        return (CLASSIFICATION if self.is_classifier else REGRESSION)[name](self)


def resolve_metrics(metrics, is_classifier, outputs):
    """Return the validated names of metrics as a tuple.

    Parameters
    ----------
    metrics : str or sequence of str
    is_classifier : bool
    outputs : int
        Number of outputs of the network.

    Raises
    ------
    TypeError
        If an item is not a string.
    ValueError
        If a name is unknown, or the metric does not suit the network.
    """
    if isinstance(metrics, str):
        metrics = [metrics]
    names = tuple(to_list("metrics", metrics, "names"))
    suitable, other = CLASSIFICATION, REGRESSION
    if not is_classifier:
        suitable, other = other, suitable
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"top_[1-9]\d*", name):
            if not is_classifier or outputs < 2:
                raise ValueError(
                    f"metrics must not have {name!r} unless a classifier has several outputs"
                )
            continue
        if isinstance(name, str) and name in other:
            kind = "classifier" if is_classifier else "regressor"
            raise ValueError(
                f"metrics of a {kind} must be one of {', '.join(suitable)}; got {name!r}"
            )
        look_up("metrics", name, suitable)
    return names


def check_monitor(argument, value):
    """Raise `TypeError` unless `value` is a string, the name of a quantity of the history."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a name of the history; got {value!r}")


def get_minimized_value(record, monitor):
    """Return a monitored quantity, negated unless smaller is better.

    Parameters
    ----------
    record : dict from str to float
        The record of an epoch.
    monitor : str
        A quantity; if its name ends in "loss", smaller is better, else larger.

    Raises
    ------
    ValueError
        If the record does not have the quantity.
    """
    if monitor not in record:
        raise ValueError(
            f"monitor must be in the history, which has {', '.join(record)}; got {monitor!r}; "
            "val_ quantities require validation_data or validation_split"
        )
    return record[monitor] if monitor.endswith("loss") else -record[monitor]
