"""Outputs, losses and metrics of a network over many samples."""

from math import isnan

import numpy as np

from cmlp._core.inputs import Rows
from cmlp._model.tasks import check_targets
from cmlp._training.metric_functions import compute_functions
from cmlp._utils.threads import resolve_threads
from cmlp.metrics import Metrics


def compute_outputs(state, rows, threads=None, *, check_finite=True, tick=None):
    """Return the outputs for rows.

    Parameters
    ----------
    state : ModelState
    rows : Rows
    threads : int, optional
        Maximum number of threads; by default as in `resolve_threads`.
    check_finite : bool, default True
        Whether to look for NaN and infinity in rows, parameters and outputs.
    tick : callable, optional
        Called after each time slice with the number of rows processed.

    Returns
    -------
    ndarray, shape (n, outputs), or None
        None if `check_finite` is true and the rows hold NaN or infinity.

    Raises
    ------
    ValueError
        If an output, or a parameter that a pre-activation depends on, is not finite; the message
        names the parameters.
    """
    architecture = state.architecture
    out = np.empty((len(rows), architecture.outputs), architecture.dtype)
    if len(rows):
        threads = threads or resolve_threads(None)
        loss = state.program.infer(rows, None, None, out, threads, check_finite, None, tick)
        if loss is None:
            return None
        if isnan(loss):
            state.check_finite()
        if check_finite and (row := Rows(out).find_not_finite(out.dtype)) >= 0:
            state.check_finite()
            raise ValueError(
                f"X must be small enough for outputs within the range of {out.dtype}; those of row "
                f"{row} are not finite"
            )
    return out


def evaluate(state, rows, targets, values, order, names, threads, functions=()):
    """Return the mean loss and the metrics over rows.

    Parameters
    ----------
    state : ModelState
    rows, targets : Rows, Targets
    values : ndarray or None
        Targets for a loss in Python.
    order : ndarray of uint32 or None
        Rows to evaluate; None for all.
    names : sequence of str
        Metrics.
    threads : int
    functions : sequence of cmlp.metrics.Metric, default ()

    Returns
    -------
    loss : float
    metrics : Metrics
    found : dict from str to float
        The values of `functions`.
    """
    architecture = state.architecture
    metrics = Metrics(names, state.task, architecture.targets)
    loss_function, out = architecture.loss, None
    if loss_function.call or functions:
        n_samples = len(rows) if order is None else len(order)
        out = np.empty((n_samples, architecture.outputs), architecture.dtype)
    loss = state.program.infer(rows, targets, order, out, threads, False, metrics.sums)
    if loss_function.call:
        loss, _ = loss_function(out, values if order is None else values[order])
    found = {}
    if functions:
        array = targets.array if order is None else targets.array[order]
        found = compute_functions(architecture, state.task, functions, array, out)
    return loss, metrics, found


def make_validation(state, rows, targets, values, order, metrics, threads, functions=()):
    """Return a function that computes the validation quantities of an epoch.

    Parameters
    ----------
    state, rows, targets, values, order, threads
        As in `evaluate`.
    metrics : sequence of str
        Names of metrics, in addition to the network's score.
    functions : sequence of cmlp.metrics.Metric, default ()

    Returns
    -------
    callable
        Called without arguments; returns a dict of ``val_loss`` and the metrics, whose names have
        the prefix ``val_``.
    """
    # The batches of an iterable choose the task only when training has begun.
    checked_task, names = None, ()

    def validate():
        nonlocal checked_task, names
        if checked_task != state.task:
            score = () if state.architecture.loss.call else (state.score_name,)
            names = tuple(dict.fromkeys([*score, *metrics]))
            if names or functions:
                check_targets(state.architecture.tasks, state.task, targets.array, "y to validate")
            checked_task = state.task
        loss, found, values_of_functions = evaluate(
            state, rows, targets, values, order, names, threads, functions
        )
        others = {f"val_{name}": value for name, value in values_of_functions.items()}
        return {"val_loss": loss, **found.results("val_"), **others}

    return validate
