"""Metrics of predictions, computed from sums that compiled code accumulates per sample.

Every sample counts once, whatever its weight.

=================  ============================================================================
for classifiers
``"accuracy"``     fraction of samples whose class is predicted; multilabel: fraction of
                   samples with every label predicted correctly (subset accuracy)
``"top_k"``        fraction of samples for which fewer than k other classes have an output
                   at least as great as the output of the sample's class, for k of 1, 2, 3 and so
                   on; multiclass only
``"precision"``    samples of a class predicted as such / samples predicted as that class
``"recall"``       samples of a class predicted as such / samples of that class
``"f1"``           harmonic mean of precision and recall
for regressors
``"r2"``           coefficient of determination: 1 - sum (y - a)^2 / sum (y - mean(y))^2
``"mae"``          mean absolute error
``"mse"``          mean squared error
``"rmse"``         root of the mean squared error
=================  ============================================================================

The predicted class has the first greatest output, as `Network.predict` returns it. In
``"top_k"`` a tie counts against the sample's class, and a sample with an output of NaN is a miss,
so that a network with equal outputs for all classes does not score 1: ``"top_1"`` is at most
``"accuracy"``, and equal to it where no outputs are equal.

Precision, recall and F1 are those of class 1 if there are two classes and one output; else the
macro average over the labels, or over the classes that are present among targets or predictions. A
ratio with denominator 0 is 0 (van Rijsbergen, "Information retrieval", 1979, chapter 7). With a
suffix, such as ``"f1_micro"``, they are averaged as scikit-learn does:

================  =============================================================================
``"macro"``       the mean over classes or labels
``"weighted"``    the mean weighted by the number of samples of each class or label
``"micro"``       the ratio of the sums over all classes or labels
``"samples"``     multilabel only: the mean over samples
================  =============================================================================
"""

import re
from functools import partial

import numpy as np

from cmlp._core.inputs import MetricSums
from cmlp._utils.validation import look_up, to_list


def accuracy(metrics):
    """Return the fraction of samples whose class, or every label, is predicted."""
    sums = metrics.arrays
    return sums["exact" if metrics.task == "multilabel" else "hits"].sum() / metrics.samples


def top_k(metrics, k):
    """Return the fraction of samples whose class is among the k largest outputs, without ties."""
    return metrics.arrays["ranks"][:k].sum() / metrics.samples


def average_classes(metrics, numerator, denominator, average):
    """Return a ratio per class or label, averaged.

    Parameters
    ----------
    metrics : Metrics
    numerator, denominator : ndarray of shape (classes,)
    average : {"macro", "weighted", "micro"} or None
        None for the ratio of class 1 if there is one output, else for macro.
    """
    counts = metrics.arrays
    if average == "micro":
        numerator, denominator = (x.sum(keepdims=True) for x in (numerator, denominator))
    is_defined = denominator > 0
    ratios = np.where(is_defined, numerator / np.where(is_defined, denominator, 1), 0.0)
    if average is None and metrics.task == "binary":
        return ratios[1]
    if average == "micro":
        return ratios[0]
    if average == "weighted":
        return (ratios * counts["actual"]).sum() / max(counts["actual"].sum(), 1)
    if metrics.task == "multilabel":
        return ratios.mean()
    return ratios[counts["actual"] + counts["predicted"] > 0].mean()


def precision(metrics, average=None):
    """Return the fraction of the predictions of a class that are right."""
    sums = metrics.arrays
    if average == "samples":
        return sums["sample_precision"][0] / metrics.samples
    return average_classes(metrics, sums["hits"], sums["predicted"], average)


def recall(metrics, average=None):
    """Return the fraction of the samples of a class that are predicted as such."""
    sums = metrics.arrays
    if average == "samples":
        return sums["sample_recall"][0] / metrics.samples
    return average_classes(metrics, sums["hits"], sums["actual"], average)


def f1(metrics, average=None):
    """Return the harmonic mean of precision and recall."""
    sums = metrics.arrays
    if average == "samples":
        return sums["sample_f1"][0] / metrics.samples
    return average_classes(metrics, 2 * sums["hits"], sums["predicted"] + sums["actual"], average)


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


AVERAGED = ("precision", "recall", "f1")
AVERAGES = ("macro", "weighted", "micro", "samples")


def list_metrics(task):
    """Return the metrics of a task but `top_k`, a dict from name to function of `Metrics`."""
    if task == "regression":
        return REGRESSION
    averages = AVERAGES if task == "multilabel" else AVERAGES[:-1]
    return CLASSIFICATION | {
        f"{name}_{average}": partial(CLASSIFICATION[name], average=average)
        for name in AVERAGED
        for average in averages
    }


# Task of a network (see `cmlp._model.tasks`) -> its metrics.
METRICS = {
    task: list_metrics(task) for task in ("binary", "multiclass", "multilabel", "regression")
}


class Metrics:
    """The metrics of one pass over samples.

    Parameters
    ----------
    names : sequence of str
    task : str
        A key of `METRICS`.
    outputs : int
        Number of outputs of the network that are compared with targets.

    Attributes
    ----------
    sums : cmlp._core.inputs.MetricSums or None
        The sums that the engine accumulates; None if `names` is empty.
    """

    def __init__(self, names, task, outputs):
        self.names, self.task, self.outputs = names, task, outputs
        self.sums = MetricSums(task, outputs) if names else None

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
        return METRICS[self.task][name](self)


def resolve_metrics(metrics, tasks):
    """Return the validated names of metrics as a tuple.

    Parameters
    ----------
    metrics : str or sequence of str
    tasks : tuple of str
        Tasks that the network may have; each metric must suit at least one of them.

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
    if not names:
        return names
    suitable = {name: metric for task in tasks for name, metric in METRICS[task].items()}
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"top_[1-9]\d*", name):
            if "multiclass" not in tasks:
                raise ValueError(
                    f"metrics must not have {name!r} unless the task is multiclass; "
                    f"got task {tasks[0]!r}"
                )
            continue
        is_known = isinstance(name, str) and any(name in known for known in METRICS.values())
        if is_known and name not in suitable:
            kind = f"{tasks[0]} network"
            if tasks == ("regression",):
                kind = "regressor"
            elif name in REGRESSION:
                kind = "classifier"
            raise ValueError(
                f"metrics of a {kind} must be one of {', '.join(suitable)}; got {name!r}"
            )
        look_up("metrics", name, suitable)
    return names


def join_average(metric, average, task):
    """Return the name of a metric with an average, such as ``"f1_micro"``.

    Parameters
    ----------
    metric : str
        One of `AVERAGED`.
    average : str
        One of `AVERAGES` or, for the task binary, ``"binary"``: of class 1.
    task : str
        The network's task.

    Raises
    ------
    TypeError, ValueError
        If `metric` or `average` is another one.
    """
    allowed = AVERAGES if task == "multilabel" else AVERAGES[:-1]
    if task == "binary":
        allowed = ("binary", *allowed)
    look_up("average", average, dict.fromkeys(allowed))
    if metric not in AVERAGED:
        raise ValueError(
            f"average must be None unless metric is {', '.join(AVERAGED)}; got {average!r} with "
            f"metric={metric!r}"
        )
    return metric if average == "binary" else f"{metric}_{average}"


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
