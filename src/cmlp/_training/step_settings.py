"""What schedules set in each step: learning rate, weight decay and dropout."""

from typing import NamedTuple

import numpy as np


class StepSettings(NamedTuple):
    """The settings of some steps of an epoch.

    Attributes
    ----------
    rate : float
        Learning rate, without `rates`.
    rates : ndarray of float64, shape (steps,), or None
        Learning rate of each step; None if it is the same in all of them.
    decays, dropouts : ndarray of float64, shape (steps,), or None
        Factors of the weight decay, and of the rates of dropout in the hidden layers; None for 1.
    """

    rate: float
    rates: np.ndarray | None = None
    decays: np.ndarray | None = None
    dropouts: np.ndarray | None = None

    def get_rate(self, step):
        """Return the learning rate of a step."""
        return self.rate if self.rates is None else float(self.rates[step])


def compute_settings(run, first, count, epoch=None):
    """Return the `StepSettings` of `count` steps of an epoch, by default the current one.

    Parameters
    ----------
    run : TrainingRun
    first, count : int
        Number of the first step within the epoch, and number of steps.
    epoch : int, optional

    Raises
    ------
    ValueError
        If a callable schedule returns a factor that is not allowed.
    """
    lr, schedule = run.optimizer.lr, run.schedule
    schedules = schedule, run.decay_schedule, run.dropout_schedule
    if all(each is None for each in schedules):
        return StepSettings(lr)
    steps_per_epoch, epoch = run.source.steps, run.position.epoch if epoch is None else epoch
    epoch_factor = getattr(schedule, "epoch_factor", None)
    if epoch_factor is not None:
        lr, schedules = lr * epoch_factor, (None, *schedules[1:])
    steps = np.arange(first, first + count, dtype=np.float64) + epoch * steps_per_epoch
    factors, decays, dropouts = (
        each and np.ascontiguousarray(
            each.factors(steps, epoch, steps_per_epoch, run.epochs), np.float64
        )
        for each in schedules
    )  # fmt: skip
    if dropouts is not None:
        check_dropout(run.state.architecture, dropouts)
    return StepSettings(lr, None if factors is None else lr * factors, decays, dropouts)


def check_dropout(architecture, factors):
    """Raise `ValueError` unless the dropout rates times their factors are below 1."""
    most = max(architecture.dropout, default=0) * factors.max()
    if most >= 1:
        raise ValueError(
            f"dropout times the factor of dropout_schedule must be below 1; got {most}"
        )
