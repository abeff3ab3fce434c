"""Plots with Matplotlib."""

from cmlp._utils.validation import import_optional

# Quantities of a history that `plot_history` draws only if `names` has them.
NOT_DRAWN = ("lr", "seconds", "samples_per_second")


def plot_history(epochs, names=None, ax=None):
    """Draw quantities of a history against the epoch; see `History.plot`.

    Parameters
    ----------
    epochs : list of dict from str to float
        The record of each epoch.
    names : sequence of str, optional
        The quantities; by default all but the learning rate and the times.
    ax : matplotlib.axes.Axes, optional
        By default the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes of the losses. If there are losses and other quantities, the others have a
        second y-axis on the right.

    Raises
    ------
    ValueError
        If the history does not have a quantity.
    ImportError
        If Matplotlib is not installed.
    """
    pyplot = import_optional("matplotlib.pyplot", "plot()", "Matplotlib", "plot")
    recorded = epochs[0] if epochs else ()
    if names is None:
        names = [name for name in recorded if name not in NOT_DRAWN]
    for name in names:
        if name not in recorded:
            raise ValueError(
                f"names must be in the history, which has {', '.join(recorded)}; got {name!r}"
            )
    losses = [name for name in names if name.endswith("loss")]
    others = [name for name in names if not name.endswith("loss")]
    if ax is None:
        _, ax = pyplot.subplots()
    numbers = range(1, len(epochs) + 1)
    for name in losses:
        ax.plot(numbers, [epoch[name] for epoch in epochs], label=name)
    other_ax = ax.twinx() if losses and others else ax
    for name in others:
        other_ax.plot(numbers, [epoch[name] for epoch in epochs], "--", label=name)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss" if losses else "")
    lines = [*ax.get_lines(), *(other_ax.get_lines() if other_ax is not ax else [])]
    ax.legend(lines, [line.get_label() for line in lines])
    return ax
