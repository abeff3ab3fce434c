"""Callbacks: what is told about training while it goes on, and may stop it."""

import math
import os
import time
from dataclasses import dataclass

from cmlp import checkpoints
from cmlp.checks import (
    check_number,
    check_positive,
    check_whole,
    sequence_of,
    to_be_small,
)


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

    def on_pause(self, network, course):
        """Between two steps, some twenty times a second, and after each epoch."""

    def on_error(self, network, course, error):
        """When an error, Ctrl-C among them, ends training."""

    @property
    def wants_batches(self):
        """Whether `on_batch_end` is to be told."""
        return type(self).on_batch_end is not Callback.on_batch_end

    def state(self):
        """Return what a checkpoint keeps of it: a dict of numbers, None and arrays."""
        return {}

    def load_state(self, state):
        """Take back what `state` returned; comes after `on_train_begin`."""


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

    def state(self):
        """Return what a checkpoint keeps of it."""
        arrays = {} if self._parameters is None else {
            f"parameters_{i}": array for i, array in enumerate(self._parameters)
        }  # fmt: skip
        return {"best": self.best, "best_epoch": self.best_epoch, "least": self._least,
                "stopped_epoch": self.stopped_epoch, **arrays}  # fmt: skip

    def load_state(self, state):
        """Take back what `state` returned."""
        self.best, self.best_epoch, self._least = (
            state["best"], state["best_epoch"], state["least"],
        )  # fmt: skip
        self.stopped_epoch = state.get("stopped_epoch")
        if "parameters_0" in state:
            self._parameters = state["parameters_0"], state["parameters_1"]

    def on_epoch_end(self, network, epoch, record):
        """Return whether to stop."""
        value = to_be_small(record, self.monitor)
        if value < self._least - self.min_delta or self.best_epoch < 0:
            self._least, self.best, self.best_epoch = value, record[self.monitor], epoch
            if self.restore_best:
                self._parameters = network._snapshot()
        elif epoch - self.best_epoch > self.patience:
            self.stopped_epoch = epoch
            return True
        return False

    def on_train_end(self, network, history):
        """Go back to the best epoch, if asked to."""
        if self.restore_best and self._parameters is not None:
            network._restore(self._parameters)
        self._parameters = None


@dataclass
class Checkpoint(Callback):
    """Writes, while training goes on, all that `Network.resume` needs to go on from there.

    The file is a network's, with the optimizer's state, the place in the epoch, the history and
    what callbacks and schedule remember beside the parameters. It is written whole or not at
    all, after so many epochs, steps or seconds, and when Ctrl-C ends training.

    Parameters
    ----------
    path : str or os.PathLike
        Must end in ``.npz``. The newest is always there.
    every : int or float, default 1
    unit : str, default "epochs"
        Of `every`: ``"epochs"``, ``"steps"`` or ``"seconds"``. Steps take the engine out of its
        loop after each batch.
    keep : int, default 1
        So many are kept: ``run.npz``, and before it ``run.1.npz``, ``run.2.npz`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """

    path: str
    every: float = 1
    unit: str = "epochs"
    keep: int = 1

    def __post_init__(self):
        self.path = os.fspath(self.path)
        if not self.path.endswith(".npz"):
            raise ValueError(f"path must end in .npz, got {self.path!r}")
        if self.unit not in ("epochs", "steps", "seconds"):
            raise ValueError(f"unit must be 'epochs', 'steps' or 'seconds', got {self.unit!r}")
        if self.unit == "seconds":
            check_positive("every", self.every)
        else:
            check_whole("every", self.every)
        check_whole("keep", self.keep)
        self._last = 0

    @property
    def wants_batches(self):
        """Whether it counts steps."""
        return self.unit == "steps"

    def now(self, course):
        """Return how many of its units have passed."""
        if self.unit == "seconds":
            return time.monotonic()
        if self.unit == "epochs":
            return course.place.epoch
        return self._steps

    def on_train_begin(self, network):
        """Begin to count; what has no folder is better known now than after an epoch."""
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"the folder of path {self.path!r} does not exist")
        self._steps = 0
        self._last = time.monotonic() if self.unit == "seconds" else 0

    def on_batch_end(self, network, epoch, step, loss):
        """Count steps."""
        self._steps += 1

    def on_pause(self, network, course):
        """Write one where it is time."""
        if self.now(course) - self._last >= self.every:
            self._last = self.now(course)
            self.write(course)

    def on_error(self, network, course, error):
        """Write one, unless training diverged."""
        if isinstance(error, KeyboardInterrupt) and course.settled:
            self.write(course)

    def state(self):
        """Return what a checkpoint keeps of it."""
        return {"steps": self._steps, "last": self._last}

    def load_state(self, state):
        """Take back what `state` returned; seconds are counted anew."""
        self._steps = state["steps"]
        if self.unit != "seconds":
            self._last = state["last"]

    def write(self, course):
        """Write one now, and let the earlier ones step back."""
        for i in range(self.keep - 1, 0, -1):
            newer = self.numbered(i - 1)
            if os.path.exists(newer):
                (os.replace if i > 1 else link)(newer, self.numbered(i))
        checkpoints.write(self.path, course)

    def numbered(self, i):
        """Return the path of the i-th before the newest."""
        return self.path if i == 0 else f"{self.path[:-4]}.{i}.npz"


def link(source, destination):
    """Let a file have a second name, so that the first is never missing."""
    if os.path.exists(destination):
        os.remove(destination)
    try:
        os.link(source, destination)
    except OSError:  # a file system without links
        import shutil

        shutil.copyfile(source, destination)


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
    callbacks = sequence_of("callbacks", callbacks, "instances of Callback or callables")
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
    return any(callback.wants_batches for callback in callbacks)
