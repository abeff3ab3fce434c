"""Callbacks: objects whose methods training calls, and which may stop it."""

import contextlib
import math
import os
import time
from dataclasses import dataclass

from cmlp._utils.fields import check_fields, checked_field
from cmlp._utils.schema import Anything, Fields, Integer, Nullable, Real
from cmlp._utils.validation import (
    check_count,
    check_integer,
    check_non_negative,
    check_positive,
    to_list,
)
from cmlp.metrics import check_monitor, get_minimized_value


class Callback:
    """Base class of callbacks; every method does nothing.

    `on_epoch_end` and `on_batch_end` stop training by returning True.

    Attributes
    ----------
    reads_network : bool, default True
        False: `on_epoch_end` uses the record only, and the callback does not override the methods
        that are called within an epoch, or between two epochs. If this is so for all callbacks of
        a run, short epochs have less overhead.
    """

    reads_network = True

    def on_train_begin(self, network):
        """Handle the start of training, before the first epoch."""

    def on_epoch_begin(self, network, epoch):
        """Handle the start of an epoch, counted from 0."""

    def on_batch_end(self, network, epoch, step, loss):
        """Handle the end of a step; epoch and step of the epoch are counted from 0.

        `loss` is the mean loss of the batch before the step. If a callback overrides this method,
        the engine returns to Python after each batch, which costs some microseconds per step.
        """

    def on_epoch_end(self, network, epoch, record):
        """Handle the end of an epoch; `record`, its dict in the history, may be extended."""

    def on_train_end(self, network, history):
        """Handle the end of training, unless an exception ended it."""

    def on_pause(self, network, run):
        """Handle a pause between two steps, about 20 times a second and after each epoch.

        `run` is the training run; `run.save(path)` writes a checkpoint of it.
        """

    def on_error(self, network, run, error):
        """Handle an exception, such as KeyboardInterrupt, that ends training."""

    @property
    def wants_batches(self):
        """Whether `on_batch_end` must be called."""
        return type(self).on_batch_end is not Callback.on_batch_end

    def state(self):
        """Return the data that a checkpoint stores: a dict of numbers, None and arrays."""
        return {}

    def load_state(self, state):
        """Restore what `state` returned; called after `on_train_begin`."""

    def check_state(self, name, state, network, epoch):
        """Raise `ValueError` unless `load_state` can restore a state that was read from a file.

        It is called before anything of the checkpoint is restored. `name` names the state in
        messages; `epoch` is the number of epochs of the run before the checkpoint.
        """


class Function(Callback):
    """A callable of (network, epoch, record), called after each epoch.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, network, epoch, record):
        """Call the function and return what it returns."""
        return self.function(network, epoch, record)


@dataclass
class EarlyStopping(Callback):
    """Stop training when a quantity has not improved for some epochs.

    Prechelt, "Early stopping - but when?", Neural Networks: Tricks of the Trade, 1998.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Quantity of the history. If its name ends in ``loss``, smaller is better, otherwise larger.
    patience : int, default 10
        Number of epochs without improvement after which training stops.
    min_delta : float, default 0
        Smallest change that counts as an improvement.
    restore_best : bool, default True
        Whether to restore the parameters of the best epoch when training ends.

    Attributes
    ----------
    best : float
        Best value so far.
    best_epoch : int
        Epoch of the best value.
    stopped_epoch : int or None
        Epoch after which training was stopped.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the history has no such quantity.
    """

    monitor: str = checked_field(check_monitor, "val_loss")
    patience: int = checked_field(check_count, 10)
    min_delta: float = checked_field(check_non_negative, 0.0)
    restore_best: bool = True

    def __post_init__(self):
        check_fields(self)

    def on_train_begin(self, network):
        """Reset the best value."""
        self.best, self.best_epoch, self.stopped_epoch = math.nan, -1, None
        self._least, self._snapshot = math.inf, None

    def state(self):
        """Return the data that a checkpoint stores."""
        arrays = {} if self._snapshot is None else {
            f"parameters_{i}": array for i, array in enumerate(self._snapshot)
        }  # fmt: skip
        return {"best": self.best, "best_epoch": self.best_epoch, "least": self._least,
                "stopped_epoch": self.stopped_epoch, **arrays}  # fmt: skip

    def check_state(self, name, state, network, epoch):
        """Raise `ValueError` unless `state` is one that `state` returned."""
        number = Real(may_be_infinite=True, may_be_nan=True)
        found = Fields(
            {"best": number, "best_epoch": Integer(-1, epoch - 1), "least": number},
            {"stopped_epoch": Nullable(Integer(0, epoch - 1)), "parameters_0": Anything(),
             "parameters_1": Anything()},
        ).check(name, state)  # fmt: skip
        arrays = [found[key] for key in ("parameters_0", "parameters_1") if key in found]
        if len(arrays) != (2 if self.restore_best and found["best_epoch"] >= 0 else 0):
            raise ValueError(
                f"{name} must have the arrays parameters_0 and parameters_1 if best_epoch is at "
                "least 0 and restore_best is set, else none"
            )
        if arrays:
            network.state.check_snapshot(f"{name}.parameters", arrays)

    def load_state(self, state):
        """Restore what `state` returned."""
        self.best, self.best_epoch, self._least = (
            state["best"], state["best_epoch"], state["least"],
        )  # fmt: skip
        self.stopped_epoch = state.get("stopped_epoch")
        if "parameters_0" in state:
            self._snapshot = state["parameters_0"], state["parameters_1"]

    def on_epoch_end(self, network, epoch, record):
        """Compare the epoch with the best one; return whether to stop."""
        value = get_minimized_value(record, self.monitor)
        if value < self._least - self.min_delta or self.best_epoch < 0:
            self._least, self.best, self.best_epoch = value, record[self.monitor], epoch
            if self.restore_best:
                self._snapshot = network.state.snapshot()
        elif epoch - self.best_epoch > self.patience:
            self.stopped_epoch = epoch
            return True
        return False

    def on_train_end(self, network, history):
        """Restore the parameters of the best epoch if `restore_best`."""
        if self.restore_best and self._snapshot is not None:
            network.state.restore(self._snapshot)
        self._snapshot = None


def check_unit(name, value):
    """Raise `ValueError` unless `value` is a unit of `Checkpoint.every`."""
    if value not in ("epochs", "steps", "seconds"):
        raise ValueError(f"{name} must be 'epochs', 'steps' or 'seconds'; got {value!r}")


@dataclass
class Checkpoint(Callback):
    """Write checkpoints while training, from which `Network.resume` continues.

    A checkpoint is a file of the network with the optimizer's state, the position in the epoch,
    the history and the states of callbacks and schedule. It is written after a number of
    epochs, steps or seconds, and when Ctrl-C ends training; an existing file is replaced
    atomically.

    Parameters
    ----------
    path : str or os.PathLike
        Path of the newest checkpoint; must end in ``.npz``.
    every : int or float, default 1
        Interval between two checkpoints, in units of `unit`.
    unit : {"epochs", "steps", "seconds"}, default "epochs"
        Unit of `every`. With steps the engine returns to Python after each batch.
    keep : int, default 1
        Number of checkpoints that are not deleted: ``run.npz`` and the earlier ``run.1.npz``,
        ``run.2.npz`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    FileNotFoundError
        When training starts, if the directory does not exist.
    """

    path: str
    every: float = 1
    unit: str = checked_field(check_unit, "epochs")
    keep: int = checked_field(check_integer, 1)

    def __post_init__(self):
        self.path = os.fspath(self.path)
        if not self.path.endswith(".npz"):
            raise ValueError(f"path must end in .npz; got {self.path!r}")
        check_fields(self)
        (check_positive if self.unit == "seconds" else check_integer)("every", self.every)
        self._last = 0

    @property
    def wants_batches(self):
        """Whether the unit is steps, which are counted by `on_batch_end`."""
        return self.unit == "steps"

    def _count(self, run):
        # Return the progress of the run in the unit of `every`.
        if self.unit == "seconds":
            return time.monotonic()
        if self.unit == "epochs":
            return run.position.epoch
        return self._steps

    def on_train_begin(self, network):
        """Start the timer; raise now rather than after an epoch if the directory is missing."""
        directory = os.path.dirname(self.path) or "."
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"path must be in an existing directory; got {self.path!r}")
        self._steps = 0
        self._last = time.monotonic() if self.unit == "seconds" else 0

    def on_batch_end(self, network, epoch, step, loss):
        """Count steps."""
        self._steps += 1

    def on_pause(self, network, run):
        """Write a checkpoint if it is due."""
        if run.writes_files and self._count(run) - self._last >= self.every:
            self._last = self._count(run)
            self.write(run)

    def on_error(self, network, run, error):
        """Write a checkpoint on Ctrl-C, unless an epoch is being recorded."""
        if isinstance(error, KeyboardInterrupt) and run.is_consistent:
            self.write(run)

    def state(self):
        """Return the data that a checkpoint stores."""
        return {"steps": self._steps, "last": self._last}

    def check_state(self, name, state, network, epoch):
        """Raise `ValueError` unless `state` is one that `state` returned."""
        last = Real() if self.unit == "seconds" else Integer()
        Fields({"steps": Integer(), "last": last}, {}).check(name, state)

    def load_state(self, state):
        """Restore what `state` returned; an interval in seconds starts anew."""
        self._steps = state["steps"]
        if self.unit != "seconds":
            self._last = state["last"]

    def write(self, run):
        """Write a checkpoint now and renumber the earlier ones."""
        if not run.writes_files:
            return
        for i in range(self.keep - 1, 0, -1):
            newer = self._get_path(i - 1)
            if os.path.exists(newer):
                (os.replace if i > 1 else link_or_copy)(newer, self._get_path(i))
        run.save(self.path)

    def _get_path(self, i):
        # Return the path of the i-th checkpoint before the newest.
        return self.path if i == 0 else f"{self.path[:-4]}.{i}.npz"


def link_or_copy(source, destination):
    """Give a file a second name, so that the first one is never missing.

    A file of that name is replaced by a complete one only.
    """
    if os.path.exists(destination) and os.path.samefile(source, destination):
        return
    temporary = destination + ".part"
    with contextlib.suppress(FileNotFoundError):
        os.remove(temporary)  # of a process that was killed
    try:
        os.link(source, temporary)
    except OSError:  # the file system has no hard links
        import shutil

        shutil.copyfile(source, temporary)
    os.replace(temporary, destination)


def resolve_callbacks(callbacks, early_stopping):
    """Return the callbacks that the arguments of `fit` describe, a list of `Callback`.

    Parameters
    ----------
    callbacks : Callback, callable, or sequence of them
    early_stopping : EarlyStopping, bool, int or None
        True for ``EarlyStopping()``; an integer is its patience.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    callbacks = to_list("callbacks", callbacks, "instances of Callback or callables")
    resolved = [as_callback(callback) for callback in callbacks]
    if early_stopping is None or early_stopping is False:
        return resolved
    if early_stopping is True:
        early_stopping = EarlyStopping()
    elif not isinstance(early_stopping, EarlyStopping):
        early_stopping = EarlyStopping(patience=check_count("early_stopping", early_stopping))
    return [*resolved, early_stopping]


def as_callback(callback):
    """Return a `Callback`, given one or a callable."""
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return Function(callback)
    raise TypeError(
        f"callbacks must be instances of cmlp.callbacks.Callback or callables of "
        f"(network, epoch, record); got {callback!r}"
    )
