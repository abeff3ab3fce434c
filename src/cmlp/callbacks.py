"""Callbacks: what is told about training while it goes on, and may stop it."""

import math
from dataclasses import dataclass

from cmlp.schedules import to_be_small
from cmlp.spec import check_number, check_whole


class Callback:
    """Told at each turn of training; what is not needed is left as it is here.

    `on_epoch_end` and `on_batch_end` stop training by returning True.
    """

    def on_train_begin(self, network):
        """Before the first epoch."""

    def on_epoch_begin(self, network, epoch):
        """Before each epoch, counted from 0."""

    def on_batch_end(self, network, epoch, step, loss):
        """After each step of the epoch, counted from 0, with the mean loss before it.

        A callback that has this takes the engine out of its loop after each batch, which
        costs some microseconds a step.
        """

    def on_epoch_end(self, network, epoch, record):
        """After each epoch, with its record in the history, a dict that may be added to."""

    def on_train_end(self, network, history):
        """After the last epoch, unless an error ended training."""


class Function(Callback):
    """A plain callable of (network, epoch, record), told after each epoch."""

    def __init__(self, call):
        self.call = call

    def on_epoch_end(self, network, epoch, record):
        """Call it."""
        return self.call(network, epoch, record)


@dataclass
class EarlyStopping(Callback):
    """Stops training when a quantity has not improved for some epochs.

    Prechelt, "Early stopping - but when?", Neural Networks: Tricks of the Trade, 1998.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A quantity of the history; ones named loss should fall, others rise.
    patience : int, default 10
        How many epochs without improvement are borne.
    min_delta : float, default 0
        What counts as improvement must be greater.
    restore_best : bool, default True
        Whether the network ends with the parameters of the best epoch.

    Attributes
    ----------
    best, best_epoch : float, int
        The best value so far and its epoch.
    stopped_epoch : int or None
        The epoch after which it stopped training.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the history lacks the quantity.
    """

    monitor: str = "val_loss"
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self):
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a name of the history, got {self.monitor!r}")
        check_whole("patience", self.patience, 0)
        check_number("min_delta", self.min_delta)
        if not (self.min_delta >= 0 and math.isfinite(self.min_delta)):
            raise ValueError(f"min_delta must be finite and not negative, got {self.min_delta!r}")

    def on_train_begin(self, network):
        """Forget what was."""
        self.best, self.best_epoch, self.stopped_epoch = math.nan, -1, None
        self._least, self._parameters = math.inf, None

    def on_epoch_end(self, network, epoch, record):
        """Return whether to stop."""
        value = to_be_small(record, self.monitor)
        if value < self._least - self.min_delta or self.best_epoch < 0:
            self._least, self.best, self.best_epoch = value, record[self.monitor], epoch
            if self.restore_best:
                self._parameters = network._parameters.block.copy()
        elif epoch - self.best_epoch > self.patience:
            self.stopped_epoch = epoch
            return True
        return False

    def on_train_end(self, network, history):
        """Go back to the best epoch, if asked to."""
        if self.restore_best and self._parameters is not None:
            network._parameters.block[:] = self._parameters
        self._parameters = None


def checked_callbacks(callbacks, early_stopping):
    """Return a list of `Callback`.

    Parameters
    ----------
    callbacks : Callback, callable, or sequence of them
    early_stopping : EarlyStopping, bool, int or None
        True takes the usual one, a whole number is its patience.
    """
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    found = [as_callback(callback) for callback in callbacks]
    if early_stopping is None or early_stopping is False:
        return found
    if early_stopping is True:
        early_stopping = EarlyStopping()
    elif not isinstance(early_stopping, EarlyStopping):
        early_stopping = EarlyStopping(patience=check_whole("early_stopping", early_stopping, 0))
    return [*found, early_stopping]


def as_callback(callback):
    """Return a callback as a `Callback`."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return Function(callback)
    raise TypeError(
        f"callbacks must be instances of cmlp.callbacks.Callback or callables of "
        f"(network, epoch, record), got {callback!r}"
    )


def wants_batches(callbacks):
    """Whether one of them wants to be told after each batch."""
    return any(type(callback).on_batch_end is not Callback.on_batch_end for callback in callbacks)
