"""`find_learning_rate`: the learning-rate range test."""

import dataclasses

import numpy as np

from cmlp._model.optimizer_choice import resolve_optimizer
from cmlp._utils.validation import (
    check_fraction,
    check_integer,
    check_positive,
    import_optional,
)
from cmlp.callbacks import Callback
from cmlp.errors import TrainingDiverged
from cmlp.lbfgs import LBFGS
from cmlp.network import Network

__all__ = ["LearningRateTest", "find_learning_rate"]

# Training ends when the smoothed loss is greater than this multiple of its minimum, as in fastai.
DIVERGED = 4.0


class LearningRateTest:
    """The result of `find_learning_rate`.

    Attributes
    ----------
    lrs : ndarray of float64, shape (n,)
        The learning rate of each step.
    losses : ndarray of float64, shape (n,)
        The mean loss of each batch before its step.
    smoothed : ndarray of float64, shape (n,)
        Exponential moving averages of `losses`, without their bias towards 0.
    suggestion : float
        The same as `valley`.
    valley : float
        The middle of the longest decrease of the smoothed loss, as in fastai: a cautious choice.
    steepest : float
        Where the smoothed loss decreases most, per factor of the learning rate, within that.
    minimum : float
        A tenth of the learning rate with the least smoothed loss.
    """

    def __init__(self, lrs, losses, smoothing):
        self.lrs, self.losses = np.array(lrs, np.float64), np.array(losses, np.float64)
        self.smoothed = smooth(self.losses, smoothing)
        first, last = find_decrease(self.smoothed)
        self.valley = self.suggestion = float(self.lrs[(first + last) // 2])
        slopes = np.gradient(self.smoothed, np.log(self.lrs))[first : last + 1]
        self.steepest = float(self.lrs[first + slopes.argmin()])
        self.minimum = float(self.lrs[self.smoothed.argmin()] / 10)

    def __repr__(self):
        return (f"LearningRateTest(suggestion={self.suggestion:.3g}, steepest={self.steepest:.3g}, "
                f"minimum={self.minimum:.3g}, {len(self.lrs)} steps)")  # fmt: skip

    def plot(self, ax=None):
        """Plot the losses over the learning rate with Matplotlib (the extra ``plot``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            By default the axes of a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "plot()", "Matplotlib", "plot")
        if ax is None:
            _, ax = pyplot.subplots()
        [line] = ax.plot(self.lrs, self.smoothed, label="loss, smoothed")
        ax.plot(self.lrs, self.losses, ".", color=line.get_color(), alpha=0.3, label="loss")
        ax.axvline(self.suggestion, color="gray", label=f"suggestion {self.suggestion:.2g}")
        ax.set_xscale("log")
        # Single batches may have losses far above those that matter.
        low, high = self.smoothed.min(), self.smoothed.max()
        ax.set_ylim(low - 0.1 * (high - low) - 1e-12, high + 0.1 * (high - low) + 1e-12)
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend()
        return ax


class Recorder(Callback):
    """Record the loss of each step; stop training after `steps`, or when the loss rises."""

    def __init__(self, steps, smoothing):
        self.steps, self.smoothing, self.losses = steps, smoothing, []
        self.average, self.least = 0.0, np.inf

    def on_batch_end(self, network, epoch, step, loss):
        """Record a loss; return whether to stop."""
        self.losses.append(loss)
        count = len(self.losses)
        self.average = self.smoothing * self.average + (1 - self.smoothing) * loss
        smoothed = self.average / (1 - self.smoothing**count)
        self.least = min(self.least, smoothed)
        return count == self.steps or smoothed > DIVERGED * self.least > 0


def find_learning_rate(network, X, y=None, *, optimizer=None, min_lr=1e-7, max_lr=10.0, steps=100,
                       batch_size=32, smoothing=0.9, **options):  # fmt: skip
    """Train a copy of a network with rising learning rates, and suggest one of them.

    The learning rate range test of Smith, "Cyclical learning rates for training neural networks",
    WACV 2017, arXiv:1506.01186, section 3.3: the learning rate rises exponentially from `min_lr` to
    `max_lr`; it ends early if the smoothed loss exceeds four times its minimum, or is not finite.
    The network itself does not change.

    Parameters
    ----------
    network : Network
    X, y : array_like, or an iterable of batches and None
        As in `Network.fit`.
    optimizer : Optimizer or str, optional
        As in `Network.fit`, by default Adam; its learning rate does not matter.
    min_lr, max_lr : float, default 1e-7 and 10
    steps : int, default 100
        At least 10.
    batch_size : int, default 32
        The batch size that the network will be trained with.
    smoothing : float, default 0.9
        Decay of the moving averages of the loss; at least 0, below 1.
    **options
        Other arguments of `Network.fit`: shuffle, sample_weight, class_weight, sparse, threads and
        so on.

    Returns
    -------
    LearningRateTest
        Its `suggestion` is a learning rate; `plot` shows the losses.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or if the loss of one of the first steps is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import cmlp
    >>> X = np.random.default_rng(0).normal(size=(500, 5))
    >>> net = cmlp.Network([5, 32, 1], activation="relu", loss="mse", seed=0)
    >>> found = cmlp.find_learning_rate(net, X, X.sum(1), optimizer="adam")
    >>> history = net.fit(X, X.sum(1), optimizer=cmlp.Adam(found.suggestion))
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {type(network).__name__}")
    for name, value in {"min_lr": min_lr, "max_lr": max_lr}.items():
        check_positive(name, value)
    if min_lr >= max_lr:
        raise ValueError(f"max_lr must be greater than min_lr, {min_lr}; got {max_lr}")
    steps = check_integer("steps", steps, 10)
    check_fraction("smoothing", smoothing)
    given = sorted({"epochs", "schedule", "early_stopping", "callbacks"} & {*options})
    if given:
        raise TypeError(f"find_learning_rate has no argument {given[0]!r}")
    optimizer = resolve_optimizer(optimizer)
    if isinstance(optimizer, LBFGS):
        raise ValueError("optimizer must have a learning rate; got LBFGS")
    lrs = np.geomspace(min_lr, max_lr, steps)
    recorder = Recorder(steps, smoothing)
    copy = network.copy()
    copy.state.checkpoint = copy.state.optimizer = None
    try:
        copy.fit(
            X, y, epochs=steps, batch_size=batch_size,
            optimizer=dataclasses.replace(optimizer, lr=float(min_lr)),
            schedule=lambda step, epoch: lrs[min(step, steps - 1)] / min_lr, callbacks=recorder,
            **options,
        )  # fmt: skip
    except TrainingDiverged:
        if len(recorder.losses) < 3:
            raise
    losses = recorder.losses
    return LearningRateTest(lrs[: len(losses)], losses, smoothing)


def smooth(values, decay):
    """Return exponential moving averages without their bias towards 0, shape (n,)."""
    average, found = 0.0, []
    for i, value in enumerate(values, 1):
        average = decay * average + (1 - decay) * value
        found.append(average / (1 - decay**i))
    return np.array(found)


def find_decrease(losses):
    """Return the first and the last index of the longest decrease of losses, as fastai does.

    It is the longest decreasing subsequence, counted back from its end.
    """
    n_losses = len(losses)
    lengths, end = np.ones(n_losses, int), 0
    for i in range(1, n_losses):
        higher = lengths[:i][losses[:i] > losses[i]]
        lengths[i] = 1 + (higher.max() if higher.size else 0)
        if lengths[i] > lengths[end]:
            end = i
    return int(end - lengths[end] + 1), int(end)
