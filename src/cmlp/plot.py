"""Pictures, by Matplotlib."""

from cmlp.checks import optional


def history(epochs, names=None, ax=None):
    """Draw quantities of a history over its epochs; see `History.plot`."""
    pyplot = optional("matplotlib.pyplot", "plot", "Matplotlib", "plot")
    if names is None:
        skipped = ("lr", "seconds", "samples_per_second")
        names = [name for name in (epochs[0] if epochs else ()) if name not in skipped]
    known = epochs[0] if epochs else ()
    for name in names:
        if name not in known:
            raise ValueError(f"names={name!r} is not in the history, which has {', '.join(known)}")
    losses = [name for name in names if name.endswith("loss")]
    others = [name for name in names if not name.endswith("loss")]
    if ax is None:
        _, ax = pyplot.subplots()
    numbers = range(1, len(epochs) + 1)
    for name in losses:
        ax.plot(numbers, [epoch[name] for epoch in epochs], label=name)
    axes = ax.twinx() if losses and others else ax
    for name in others:
        axes.plot(numbers, [epoch[name] for epoch in epochs], "--", label=name)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss" if losses else "")
    lines = [*ax.get_lines(), *(axes.get_lines() if axes is not ax else [])]
    ax.legend(lines, [line.get_label() for line in lines])
    return ax
