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

A function of (y_true, y_pred), such as those of `sklearn.metrics`, is a metric too; see `Metric`.
"""

import re
from functools import partial
from numbers import Real

import numpy as np

from cmlp._core.inputs import MetricSums
from cmlp._utils.validation import check_bool, look_up, to_list

__all__ = ["Metric"]


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


# Kinds of predictions that a `Metric` may need.
NEEDS = ("predictions", "proba", "outputs")

# Endings of names: smaller values of these quantities are better.
MINIMIZED = ("loss", "error", "deviance", "mae", "mse", "rmse")

# Names of the history and of the files of callbacks, whatever the metrics.
RESERVED = ("loss", "penalty", "lr", "seconds", "samples_per_second", "epoch")


class Metric:
    """A metric that is a function of targets and predictions, called after each epoch.

    ``fit(..., metrics=f1_score)`` is short for ``metrics=Metric(f1_score)``. The history has its
    value for the training data under `name`, and for validation data under ``"val_" + name``, both
    computed with the parameters after the epoch. Every sample counts once, whatever its weight.

    Parameters
    ----------
    function : callable
        Called with (y_true, y_pred), as the functions of `sklearn.metrics`; returns a number.
        `y_true` are the labels of a classifier, int (n,), or (n, outputs) for the task multilabel;
        and the targets of a regressor, (n,) if there is one, else (n, targets).
    name : str, optional
        By default the function's ``__name__``.
    needs : {"predictions", "proba", "outputs"}, default "predictions"
        What `y_pred` is. ``"predictions"``: what `Network.predict` returns, labels of a classifier;
        of several quantiles, the one that other metrics use. ``"proba"``: `Network.predict_proba`.
        ``"outputs"``: the network's outputs, such as the scores of a hinge loss. The last two have
        shape (n, outputs), and (n,) if there is one output: for two classes, the values of class 1.
    greater_is_better : bool, optional
        Which way `EarlyStopping` and `ReduceOnPlateau` compare its values. By default False if the
        name ends in "loss", "error", "deviance", "mae", "mse" or "rmse", else True.
    train : bool, default True
        Whether to compute it for the training data too, which takes one more pass over them. They
        must be arrays, without `shards` and `comm`; otherwise only validation data count.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these, or the function has no name.
    """

    def __init__(self, function, name=None, *, needs="predictions", greater_is_better=None,
                 train=True):  # fmt: skip
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"function must be a callable of (y_true, y_pred); got {function!r}")
        if type(function).__module__ == "sklearn.metrics._scorer":
            raise TypeError(
                "function must be a callable of (y_true, y_pred), such as "
                f"sklearn.metrics.f1_score; got a scorer: {function!r}"
            )
        look_up("needs", needs, dict.fromkeys(NEEDS))
        if greater_is_better is not None:
            check_bool("greater_is_better", greater_is_better)
        check_bool("train", train)
        self.function, self.name, self.needs = function, find_name(function, name), needs
        self.greater_is_better, self.train = greater_is_better, train

    def __call__(self, y_true, y_pred):
        """Return the value as a float; raise TypeError unless the function returns a number."""
        try:
            value = self.function(y_true, y_pred)
        except Exception as error:
            error.add_note(f"raised by metric {self.name!r} in cmlp")
            raise
        if np.ndim(value) or not isinstance(value, (Real, np.number, np.ndarray)):
            raise TypeError(f"metric {self.name!r} must return a number; got {value!r}")
        return float(value)

    def __repr__(self):
        return f"Metric({self.name}, needs={self.needs!r})"


def find_name(function, name):
    """Return the name of a `Metric`, by default its function's; raise if it is not allowed."""
    if name is None:
        inner = function
        while isinstance(inner, partial):
            inner = inner.func
        name = getattr(inner, "__name__", type(inner).__name__)
        if not name.isidentifier():
            raise ValueError(
                f"name must be given for a function without one: Metric(function, name=...); got "
                f"{function!r}"
            )
    if not isinstance(name, str):
        raise TypeError(f"name must be a string; got {name!r}")
    known = any(name in metrics for metrics in METRICS.values())
    if not name or name in RESERVED or known or re.fullmatch(r"val_.*|top_\d+", name):
        raise ValueError(
            f"name must not be empty, begin with val_, or be that of another quantity of the "
            f"history or of cmlp.metrics; got {name!r}"
        )
    return name


def split_metrics(metrics):
    """Return the names among `metrics`, a list, and the functions, a tuple of `Metric`.

    Parameters
    ----------
    metrics : str, Metric, callable, or sequence of them

    Raises
    ------
    TypeError, ValueError
        If two functions have the same name, or as `Metric`.
    """
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = [metrics]
    metrics = to_list("metrics", metrics, "names and functions")
    names = [each for each in metrics if not (isinstance(each, Metric) or callable(each))]
    functions = tuple(
        each if isinstance(each, Metric) else Metric(each)
        for each in metrics
        if isinstance(each, Metric) or callable(each)
    )
    found = [each.name for each in functions]
    for name in found:
        if found.count(name) > 1:
            raise ValueError(
                f"metrics must have different names; got {name!r} twice: use Metric(function, name)"
            )
    return names, functions


def check_monitor(argument, value):
    """Raise `TypeError` unless `value` is a string, the name of a quantity of the history."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a name of the history; got {value!r}")


def check_mode(argument, value):
    """Raise unless `value` is "auto", "min" or "max"."""
    look_up(argument, value, dict.fromkeys(("auto", "min", "max")))


def is_minimized(monitor, mode="auto", functions=()):
    """Return whether smaller values of a quantity of the history are better.

    Parameters
    ----------
    monitor : str
    mode : {"auto", "min", "max"}
        With "auto" a `Metric` decides, otherwise the name; see `MINIMIZED`.
    functions : sequence of Metric
    """
    if mode != "auto":
        return mode == "min"
    for metric in functions:
        if monitor.removeprefix("val_") == metric.name and metric.greater_is_better is not None:
            return not metric.greater_is_better
    return monitor.endswith(MINIMIZED)


def get_minimized_value(record, monitor, is_minimized):
    """Return a monitored quantity, negated unless smaller is better.

    Parameters
    ----------
    record : dict from str to float
        The record of an epoch.
    monitor : str
        A quantity.
    is_minimized : bool
        Whether smaller values are better.

    Raises
    ------
    ValueError
        If the record does not have the quantity.
    """
    if monitor not in record:
        raise ValueError(
            f"monitor must be in the history, which has {', '.join(record)}; got {monitor!r}; "
            "val_ quantities require validation_data or validation_split, and those of metrics the "
            "argument metrics"
        )
    return record[monitor] if is_minimized else -record[monitor]
