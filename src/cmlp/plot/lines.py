"""Lines of the quantities of training runs over the epochs."""

from typing import NamedTuple

import numpy as np

from cmlp._utils.validation import to_list
from cmlp.metrics import is_minimized
from cmlp.plot.figures import COLORS, make_axes

# Quantities of a history that are drawn only if they are asked for by name.
NOT_DRAWN = ("penalty", "lr", "seconds", "samples_per_second")


class Run(NamedTuple):
    """A training run.

    Attributes
    ----------
    label : str
        Its name in the legend if several runs are drawn.
    epochs : list of dict from str to float
        The record of each epoch.
    best_epoch : int or None
        Index of the epoch whose parameters an estimator has; None: unknown.
    """

    label: str
    epochs: list
    best_epoch: int | None = None

    @property
    def names(self):
        """The names of the recorded quantities, a list."""
        return [*self.epochs[0]] if self.epochs else []

    def read(self, name):
        """Return one quantity, ndarray of float64, shape (epochs,), NaN where it is missing."""
        return np.array([epoch.get(name, np.nan) for epoch in self.epochs], np.float64)

    def find_best(self, name):
        """Return the index of the first epoch with the best value, None if all are NaN.

        Whether smaller values are better depends on the name; see `cmlp.metrics.is_minimized`.
        """
        values = self.read(name)
        if np.isnan(values).all():
            return None
        return int((np.nanargmin if is_minimized(name) else np.nanargmax)(values))


def get_base(name):
    """Return the name of a quantity without the prefix of validation data."""
    return name.removeprefix("val_")


def is_loss(name):
    """Return whether a quantity is a loss."""
    return name.endswith("loss")


def choose_names(runs, names, argument):
    """Return the names of the quantities to draw, those of losses first.

    Parameters
    ----------
    runs : list of Run
    names : str, sequence of str or None
        ``"loss"`` means validation losses, too, if it is a string. None: of one run, losses and
        metrics; of several, the losses, or the first quantity if there is none.
    argument : str
        Name of the argument in messages.

    Raises
    ------
    ValueError
        If no run has a quantity, or there is none.
    """
    recorded = list(dict.fromkeys(name for run in runs for name in run.names))
    if not recorded:
        raise ValueError("the history must have at least one epoch")
    if names is None:
        names = [name for name in recorded if name not in NOT_DRAWN]
        losses = [name for name in names if is_loss(name)]
        if len(runs) > 1:
            names = losses or [name for name in names if get_base(name) == get_base(names[0])]
    elif isinstance(names, str):
        names = [names, *(name for name in [f"val_{names}"] if name in recorded)]
    names = to_list(argument, names, "names")
    for name in names:
        if name not in recorded:
            raise ValueError(
                f"{argument} must be in the history, which has {', '.join(recorded)}; got {name!r}"
            )
    if not names:
        raise ValueError(f"{argument} must be at least one quantity; got none")
    return sorted(names, key=lambda name: not is_loss(name))


def check_log(runs, names):
    """Raise `ValueError` if a value cannot be drawn on a logarithmic scale."""
    for run in runs:
        for name in names:
            values = run.read(name)
            if (values <= 0).any():
                raise ValueError(
                    f"log must be False unless all values of {name} are positive; "
                    f"got {values[values <= 0][0]:g}"
                )


def draw_runs(function, runs, names=None, ax=None, *, argument="keys", log=False, best=True):
    """Draw quantities of training runs against the epoch, which counts from 1.

    Parameters
    ----------
    function : str
        Name of the function that draws, for error messages.
    runs : list of Run
        At least one.
    names : str or sequence of str, optional
        See `choose_names`.
    ax : matplotlib.axes.Axes, optional
    argument : str
        Name of the argument `names` in messages.
    log, best
        As in `cmlp.plot.learning_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the losses. If there are losses and other quantities, the others have a
        second y-axis on the right.
    """
    names = choose_names(runs, names, argument)
    losses = [name for name in names if is_loss(name)] or names
    marked = choose_marked(runs, names, best)
    if log:
        check_log(runs, losses)
    is_new, ax = ax is None, make_axes(function, ax)
    second = ax.twinx() if len(losses) < len(names) else ax
    bases = list(dict.fromkeys(map(get_base, names)))
    lines, texts = [], []
    for i, run in enumerate(runs):
        label = f"{run.label}, " if len(runs) > 1 else ""
        for name in (name for name in names if name in run.names):
            color = COLORS[(i * len(bases) + bases.index(get_base(name))) % len(COLORS)]
            target = ax if name in losses else second
            lines += draw_line(target, run, name, label, color)
            texts.append(label + name)
            if name == marked:
                texts[-1] += mark_best(target, run, name, best is True, color)
    if log:
        ax.set_yscale("log")
    finish_axes(ax, second, losses, names)
    if second is ax:
        ax.legend(lines, texts)
    elif is_new:
        ax.figure.legend(lines, texts, loc="outside lower center", ncols=2, fontsize="small")
    else:
        # The location "best" ignores the lines of the axes on the left. Losses fall and scores
        # rise, so that there is space between them.
        second.legend(lines, texts, loc="center right", fontsize="small")
    return ax


def choose_marked(runs, names, best):
    """Return the name of the quantity whose best epoch is marked, or None.

    Raises
    ------
    TypeError, ValueError
        If `best` is neither a bool nor one of the names that are drawn.
    """
    if isinstance(best, bool):
        return next((name for name in names if best and name.startswith("val_")), None)
    if not isinstance(best, str):
        raise TypeError(f"best must be True, False or a name of the history; got {best!r}")
    if best not in names:
        raise ValueError(f"best must be one of {', '.join(names)}, which are drawn; got {best!r}")
    return best


def draw_line(ax, run, name, label, color):
    """Draw a quantity of a run and return the lines: dashed for validation data."""
    values = run.read(name)
    return ax.plot(
        range(1, len(values) + 1), values, "--" if name.startswith("val_") else "-",
        color=color, marker="o" if len(values) == 1 else None, label=label + name,
    )  # fmt: skip


def mark_best(ax, run, name, knows_epoch, color):
    """Mark the best epoch of a run by a circle, if there is one, and return it in words."""
    epoch = run.best_epoch if knows_epoch and run.best_epoch is not None else run.find_best(name)
    if epoch is None:
        return ""
    value = run.read(name)[epoch]
    ax.scatter([epoch + 1], [value], color=color, edgecolor="black", zorder=3)
    return f" (best: {value:.4g}, epoch {epoch + 1})"


def finish_axes(ax, second, losses, names):
    """Label the axes."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    for each, shown in ((ax, losses), (second, [name for name in names if name not in losses])):
        if shown:
            bases = dict.fromkeys(map(get_base, shown))
            each.set_ylabel("loss" if all(map(is_loss, bases)) else ", ".join(bases))
