"""`History`: the quantities of each epoch of a call of `fit`."""

from collections.abc import Mapping

from cmlp._utils.validation import find_similar


class History(Mapping):
    """The quantities of each epoch of a call of `fit`.

    A mapping from the name of a quantity to its list of values, one for each epoch.

    Attributes
    ----------
    epochs : list of dict
        A record for each epoch. `loss` is the mean over the epoch's batches, each computed before
        its step. If the optimizer has a penalty, `penalty` is its mean, which `loss` includes.
        The others are the requested metrics, computed from the same outputs as the loss; `lr`, the
        last learning rate; `seconds`; `samples_per_second`; and, with validation data, `val_loss`,
        `val_accuracy` (classification) or `val_r2` (regression), and the metrics with the prefix
        ``val_``.
    """

    def __init__(self):
        self.epochs = []

    @classmethod
    def from_epochs(cls, epochs):
        """Return a history that owns the records `epochs`, a list of dict."""
        history = cls()
        history.epochs = epochs
        return history

    def __getitem__(self, name):
        """Return one quantity as a list with one value for each epoch."""
        if name in self.names:
            return [epoch[name] for epoch in self.epochs]
        near = find_similar(name, self.names) if isinstance(name, str) else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise KeyError(f"a history of {', '.join(self.names) or 'no epochs'} has no {name!r}{hint}")

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        """Return the number of quantities; there are ``len(history.epochs)`` epochs."""
        return len(self.names)

    def __repr__(self):
        names = ", ".join(self.names) or "nothing"
        return f"<History of {len(self.epochs)} epochs: {names}>"

    @property
    def names(self):
        """The names of the quantities, a list."""
        return [*self.epochs[0]] if self.epochs else []

    @property
    def history(self):
        """The quantities as a dict of lists with one value for each epoch, as in Keras."""
        return self.to_dict()

    def to_dict(self):
        """Return the quantities as a dict of lists with one value for each epoch."""
        return {name: self[name] for name in self.names}

    def _repr_html_(self):
        from cmlp._utils.html import render_history

        return render_history(self.epochs)

    def to_frame(self):
        """Return the quantities as a data frame with a row for each epoch.

        Returns
        -------
        pandas.DataFrame
            Its index, ``epoch``, begins with 0.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "History.to_frame requires pandas; install it with: pip install pandas"
            ) from None
        index = pandas.RangeIndex(len(self.epochs), name="epoch")
        return pandas.DataFrame(self.to_dict(), index=index)

    def plot(self, names=None, ax=None):
        """Plot quantities over the epochs with Matplotlib (the extra ``plot``).

        `cmlp.plot.learning_curve` compares several histories, and has further options.

        Parameters
        ----------
        names : sequence of str, optional
            By default the losses and metrics.
        ax : matplotlib.axes.Axes, optional
            Axes for the losses; other quantities use a second y-axis beside it.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        """
        from cmlp.plot.lines import Run, draw_runs

        return draw_runs("plot", [Run("", self.epochs)], names, ax, argument="names", best=False)
