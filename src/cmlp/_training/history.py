"""`History`: the quantities of each epoch of a call of `fit`."""


class History:
    """The quantities of each epoch of a call of `fit`.

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

    def __getitem__(self, name):
        """Return one quantity as a list with one value for each epoch."""
        return [epoch[name] for epoch in self.epochs]

    def __len__(self):
        return len(self.epochs)

    def __repr__(self):
        names = ", ".join(self.epochs[0]) if self.epochs else "nothing"
        return f"<History of {len(self)} epochs: {names}>"

    def to_dict(self):
        """Return the quantities as a dict of lists with one number for each epoch."""
        return {name: self[name] for name in self.epochs[0]} if self.epochs else {}

    def plot(self, names=None, ax=None):
        """Plot quantities over the epochs with Matplotlib (the extra ``plot``).

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
        from cmlp.plot import plot_history

        return plot_history(self.epochs, names, ax)
