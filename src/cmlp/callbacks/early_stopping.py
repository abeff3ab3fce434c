"""`EarlyStopping`: the end of training when a quantity stops improving."""

import math
from dataclasses import dataclass
from typing import ClassVar

from cmlp._utils.fields import check_fields, checked_field
from cmlp._utils.schema import Anything, Fields, Integer, Nullable, Real
from cmlp._utils.validation import check_count, check_non_negative
from cmlp.callbacks.base import Callback
from cmlp.metrics import check_mode, check_monitor, get_minimized_value, is_minimized


@dataclass
class EarlyStopping(Callback):
    """Stop training when a quantity has not improved for some epochs.

    Prechelt, "Early stopping - but when?", Neural Networks: Tricks of the Trade, 1998.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Quantity of the history.
    patience : int, default 10
        Number of epochs without improvement after which training stops.
    min_delta : float, default 0
        Smallest change that counts as an improvement.
    restore_best : bool, default True
        Whether to restore the parameters of the best epoch when training ends.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger values are better. ``"auto"``: smaller ones if the name ends in
        ``loss``, ``error``, ``deviance``, ``mae``, ``mse`` or ``rmse``, otherwise larger ones; of a
        `cmlp.metrics.Metric` what its `greater_is_better` says.

    Attributes
    ----------
    best : float
        Best value so far.
    best_epoch : int
        Epoch of the best value.
    stopped_epoch : int or None
        Epoch after which training was stopped.
    is_minimized : bool or None
        Whether smaller values are better; None before training.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or the history has no such quantity.

    Examples
    --------
    >>> from cmlp import Adam, Network, datasets
    >>> from cmlp.callbacks import EarlyStopping
    >>> X, y = datasets.make_digits(2000, seed=0)
    >>> net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
    >>> stopping = EarlyStopping("val_accuracy", patience=3)
    >>> history = net.fit(
    ...     X, y, epochs=100, optimizer=Adam(), validation_split=0.2, callbacks=stopping
    ... )
    >>> stopping.best_epoch < stopping.stopped_epoch < 100
    True
    """

    monitor: str = checked_field(check_monitor, "val_loss")
    patience: int = checked_field(check_count, 10)
    min_delta: float = checked_field(check_non_negative, 0.0)
    restore_best: bool = True
    mode: str = checked_field(check_mode, "auto")

    is_minimized: ClassVar[bool | None] = None  # training sets the instance's

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
        if self.is_minimized is None:
            self.is_minimized = is_minimized(self.monitor, self.mode)  # type: ignore[misc]
        value = get_minimized_value(record, self.monitor, self.is_minimized)
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
