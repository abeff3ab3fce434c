"""Metrics that are functions of targets and predictions, and what monitors the metrics."""

import numpy as np

from cmlp._model.tasks import convert_outputs, drop_single_column
from cmlp._training.sources import BatchSource
from cmlp.metrics import is_minimized


def compute_functions(architecture, task, functions, targets, outputs):
    """Return the values of metrics that are functions, a dict from name to float.

    Parameters
    ----------
    architecture : Architecture
    task : str
    functions : sequence of cmlp.metrics.Metric
    targets : ndarray, shape (n,) or (n, targets)
    outputs : ndarray, shape (n, outputs)
    """
    truth = convert_truth(task, targets)
    given = {"proba": drop_single_column(outputs), "outputs": drop_single_column(outputs)}
    if any(metric.needs == "predictions" for metric in functions):
        loss = architecture.loss
        if task == "regression" and loss.blocks > 1:
            given["predictions"] = drop_single_column(loss.predict_point(outputs))
        else:
            given["predictions"] = convert_outputs(architecture, task, outputs)
    return {metric.name: metric(truth, given[metric.needs]) for metric in functions}


def convert_truth(task, targets):
    """Return targets in the form in which `Network.predict` returns predictions."""
    if task == "regression":
        return drop_single_column(targets)
    if targets.ndim == 1:
        return targets.astype(np.intp)
    if task == "multiclass":
        return targets.argmax(axis=1)
    labels = (targets >= 0.5).astype(np.intp)
    return labels if task == "multilabel" else labels[:, 0]


def check_functions(functions, architecture):
    """Raise `ValueError` if a metric needs probabilities that the network does not have."""
    for metric in functions:
        if metric.needs == "proba" and not architecture.has_probabilities:
            raise ValueError(
                f"metrics must not need probabilities of a network with "
                f"output={architecture.output.name!r}; got {metric!r}"
            )


def check_monitors(watchers, functions, has_validation, sources=None):
    """Tell schedules and callbacks whether smaller values of what they monitor are better.

    Parameters
    ----------
    watchers : iterable
        Schedules, also None, and callbacks.
    functions : sequence of cmlp.metrics.Metric
    has_validation : bool
        Whether validation data are given.
    sources : str, optional
        The arguments that give them, for the error message; by default those of `Network.fit`.

    Raises
    ------
    ValueError
        If one monitors validation data that are not given.
    """
    for watcher in watchers:
        monitor = getattr(watcher, "monitor", None)
        if not isinstance(monitor, str):
            continue
        if monitor.startswith("val_") and not has_validation:
            sources = sources or "validation_data or validation_split"
            raise ValueError(f"monitor={monitor!r} requires {sources}")
        if hasattr(watcher, "is_minimized"):
            watcher.is_minimized = is_minimized(monitor, watcher.mode, functions)


def make_training_measure(state, rows, targets, order, functions, threads):
    """Return a function that computes metrics of the training data, a dict from name to float.

    Parameters
    ----------
    state, rows, targets, order, threads
        As in `evaluate`.
    functions : sequence of cmlp.metrics.Metric
    """
    architecture = state.architecture

    def measure():
        out = np.empty((len(rows) if order is None else len(order), architecture.outputs),
                       architecture.dtype)  # fmt: skip
        state.program.infer(rows, targets, order, out, threads, False, None)
        array = targets.array if order is None else targets.array[order]
        return compute_functions(architecture, state.task, functions, array, out)

    return measure


def measure_functions(state, source, functions, threads, validate, is_sharded):
    """Return a validation function that also computes `functions` for the training data.

    Only arrays on one process are computed again.

    Raises
    ------
    ValueError
        If a function lacks data.
    """
    trained = [metric for metric in functions if metric.train]
    if isinstance(source, BatchSource) or is_sharded:
        trained = []
    if validate is None and len(trained) < len(functions):
        raise ValueError(
            "metrics that are functions require validation_data, unless X and y are arrays, "
            f"without shards and comm, and train=True; got {list(functions)}"
        )
    if not trained:
        return validate
    measure = make_training_measure(
        state, source.rows, source.targets, source.subset, trained, threads
    )
    return measure if validate is None else lambda: {**measure(), **validate()}
