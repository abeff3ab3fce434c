"""`Checkpoint`: files from which an interrupted training run continues."""

import contextlib
import os
import time
from dataclasses import dataclass

from cmlp._utils.fields import check_fields, checked_field
from cmlp._utils.schema import Fields, Integer, Real
from cmlp._utils.validation import check_integer, check_positive
from cmlp.callbacks.base import Callback


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
    atomically. None is written when training has finished: `Network.save` stores its result.
    The call of `fit` after `Network.resume` needs callbacks of the same classes, in the same
    order.

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

    Examples
    --------
    >>> from cmlp import Network, datasets
    >>> from cmlp.callbacks import Checkpoint
    >>> X, y = datasets.make_digits(2000, seed=0)
    >>> net = Network([784, 32, 10], loss="cross_entropy", seed=0)
    >>> history = net.fit(X, y, epochs=2, callbacks=Checkpoint("run.npz"))
    >>> net = Network.resume("run.npz")
    >>> history = net.fit(X, y, epochs=4, callbacks=Checkpoint("run.npz"))
    >>> len(history["loss"])
    4
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
