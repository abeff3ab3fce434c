"""Learning curves."""

from collections.abc import Mapping

import numpy as np

from cmlp._training.history import History
from cmlp._utils.validation import check_bool, to_list
from cmlp.plot.lines import Run, draw_runs
from cmlp.plot.models import unwrap


def learning_curve(history, keys=None, *, labels=None, log=False, best=True, ax=None):
    """Draw the loss and the metrics of one or several training runs against the epoch.

    A solid line is of the training data, a dashed one of validation data. Losses have the y-axis on
    the left, metrics one on the right.

    Parameters
    ----------
    history : History, network or estimator, or a sequence of them
        The result of `fit`; a `cmlp.Network` that was trained in this process; an estimator of
        `cmlp.sklearn` that a stochastic solver trained; an estimator of `cmlp.tabular`, with a
        curve for each of its networks; a scikit-learn pipeline or search with one of these. A dict
        of lists, such as `History.to_dict` returns, is a history too.
    keys : str or sequence of str, optional
        The quantities. A string also selects the quantity of the validation data: ``"accuracy"``
        draws `accuracy` and `val_accuracy`. By default losses and metrics of a single run, and
        losses of several runs.
    labels : sequence of str, optional
        Names of the runs in the legend, one for each item of `history`.
    log : bool, default False
        Whether the y-axis of the losses is logarithmic. If no loss is drawn, the y-axis of the
        metrics.
    best : bool or str, default True
        Mark the best epoch of each run: by the first validation quantity that is drawn or, if it
        is a string, by that quantity. It is the least value of quantities whose name ends in
        "loss", "error", "deviance", "mae", "mse" or "rmse", as for `EarlyStopping`, and the
        greatest of others. An estimator of `cmlp.tabular` has its own.
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the losses. If no loss is drawn, the axes of the metrics.

    Raises
    ------
    TypeError, ValueError
        If a history is missing or empty or lacks a quantity, or another argument is not one of the
        above.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from cmlp import Network, plot
    >>> X, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 3
    >>> net = Network([4, 8, 3], loss="cross_entropy", seed=0)
    >>> history = net.fit(X, y, validation_split=0.2)
    >>> plot.learning_curve(history, log=True).get_ylabel()
    'loss'
    """
    check_bool("log", log)
    is_single = isinstance(history, Mapping) or not isinstance(history, (list, tuple))
    sources = [history] if is_single else list(history)
    if not sources:
        raise ValueError("history must have at least one item; got none")
    if labels is not None:
        labels = [str(label) for label in to_list("labels", labels, "names")]
        if len(labels) != len(sources):
            raise ValueError(
                f"labels must be {len(sources)} names, one for each history; got {len(labels)}"
            )
    runs = []
    for i, source in enumerate(sources):
        name = "history" if is_single else f"history[{i}]"
        label = f"run {i}" if labels is None else labels[i]
        runs += list_runs(name, source, label if len(sources) > 1 or labels else "")
    return draw_runs("learning_curve", runs, keys, ax, log=log, best=best)


def list_runs(name, source, label):
    """Return the training runs of a history, a network or an estimator, a list of Run.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    source : object
    label : str
        May be empty.

    Raises
    ------
    TypeError, ValueError
        If it has none.
    """
    if isinstance(source, History):
        runs = [Run(label, source.epochs)]
    elif isinstance(source, Mapping):
        runs = [Run(label, to_records(name, source))]
    else:
        runs = list_runs_of_model(name, unwrap(source), label)
    for run in runs:
        if not run.epochs:
            raise ValueError(f"{name} must have at least one epoch; got a history of none")
    return runs


def to_records(name, columns):
    """Return lists of values, a mapping from names, as a list of dicts."""
    lengths = {
        len(to_list(f"{name}[{key!r}]", values, "numbers")) for key, values in columns.items()
    }
    if len(lengths) > 1:
        raise ValueError(f"{name} must have lists of the same length; got {sorted(lengths)}")
    try:
        table = np.array([*columns.values()], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers; got {columns!r}") from None
    return [dict(zip(columns, values, strict=True)) for values in table.T.tolist()]


def list_runs_of_model(name, model, label):
    """Return the training runs that a network or an estimator remembers; see `list_runs`."""
    if hasattr(model, "histories_"):
        single, best = len(model.histories_) == 1, model.best_epochs_
        labels = [label or "network 0"] if single else [
            f"{label}, network {i}" if label else f"network {i}"
            for i in range(len(model.histories_))
        ]  # fmt: skip
        return [
            Run(*each) for each in
            zip(labels, [h.epochs for h in model.histories_], best, strict=True)
        ]  # fmt: skip
    history = getattr(model, "history_", None)
    if history is None:
        history = getattr(getattr(model, "state", None), "history", None)
    if not isinstance(history, History):
        raise TypeError(
            f"{name} must be a History, or a network or estimator that was trained in this process "
            f"and has one; got {type(model).__name__}"
        )
    return [Run(label, history.epochs)]
