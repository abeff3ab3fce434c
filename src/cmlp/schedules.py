"""Learning rate schedules.

A schedule multiplies the optimizer's learning rate by a factor per step; `fit` has others for
weight decay and dropout. Each schedule here is a small frozen dataclass. Accepted in its place are
a name of `NAMES` and a callable ``(step, epoch) -> factor``; both numbers count from 0 within a
call of `fit`. With t the step, e the epoch and T the number of steps of the call, the factors are,
without warm-up and restarts:

====================  ==================================================================
`Constant`            factor
`Step`                factor ** (e // every)
`Exponential`         factor ** e
`InverseScaling`      (t + 1) ** -power
`Polynomial`          end + (1 - end) (1 - t / T) ** power
`Cosine`              end + (1 - end) (1 + cos(pi t / T)) / 2
`CosineLog`           (1 - cos(2 pi log2(1 + (2^cycles - 1) t / T))) / 2
`FlatCosine`          1 until t / T = flat, then (1 + cos(pi s)) / 2 for the fraction s of the rest
`OneCycle`            from start to 1 to end, along cosines
`ReduceOnPlateau`     multiplied by factor when a quantity stops improving
====================  ==================================================================
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cmlp._utils.fields import Record, check_fields, checked_field
from cmlp._utils.interpolation import interpolate_cosine, warm_up
from cmlp._utils.schema import Fields, Integer, Real
from cmlp._utils.validation import (
    check_count,
    check_integer,
    check_non_negative,
    check_positive,
    check_unit_interval,
    look_up,
)
from cmlp.metrics import check_mode, check_monitor, get_minimized_value, is_minimized

__all__ = [
    "Constant", "Cosine", "CosineLog", "Exponential", "FlatCosine", "InverseScaling", "OneCycle",
    "Polynomial", "ReduceOnPlateau", "Schedule", "Step",
]  # fmt: skip


def check_cycles(argument, value):
    """Raise unless `value` is an integer from 1 to 30."""
    check_integer(argument, value, 1, 30)


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Record):
    """Base class of the schedules.

    Attributes
    ----------
    depends_on_epochs : bool
        Whether the factors depend on the number of epochs of the call of `fit`, an attribute of the
        class. If so, a resumed training must have the `epochs` of the interrupted one.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """

    depends_on_epochs = True

    def __post_init__(self):
        check_fields(self)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of the learning rate in each of the given steps.

        Parameters
        ----------
        steps : ndarray of float64, shape (n,)
            Step numbers, counted from 0 within the call of `fit`; all in this epoch.
        epoch : int
            Counted from 0 within the call of `fit`.
        steps_per_epoch, epochs : int

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        raise NotImplementedError

    def begin(self):
        """Return the object that computes the factors in one call of `fit`.

        A schedule without state returns itself.
        """
        return self

    def observe(self, record):
        """Process the record of a finished epoch.

        Parameters
        ----------
        record : dict of str to float
        """


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Schedule):
    """A constant factor.

    Parameters
    ----------
    factor : float, default 1
        Positive and finite.
    """

    depends_on_epochs = False

    factor: float = checked_field(check_positive, 1.0)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor))


@dataclass(frozen=True, eq=False, repr=False)
class Step(Schedule):
    """Multiply by `factor` every `every` epochs, as PyTorch's StepLR.

    Parameters
    ----------
    every : int, default 10
        Number of epochs between two reductions; at least 1.
    factor : float, default 0.1
        Positive and finite.
    """

    depends_on_epochs = False

    every: int = checked_field(check_integer, 10)
    factor: float = checked_field(check_positive, 0.1)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor) ** (epoch // self.every))


@dataclass(frozen=True, eq=False, repr=False)
class Exponential(Schedule):
    """Multiply by `factor` after every epoch, as PyTorch's ExponentialLR.

    Parameters
    ----------
    factor : float, default 0.95
        Positive and finite.
    """

    depends_on_epochs = False

    factor: float = checked_field(check_positive, 0.95)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor) ** epoch)


@dataclass(frozen=True, eq=False, repr=False)
class InverseScaling(Schedule):
    """Decay as a power of the step: (step + 1) ** -power, as scikit-learn's "invscaling".

    Parameters
    ----------
    power : float, default 0.5
        Finite and at least 0.
    """

    depends_on_epochs = False

    power: float = checked_field(check_non_negative, 0.5)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return (steps + 1) ** -float(self.power)


@dataclass(frozen=True, eq=False, repr=False)
class Polynomial(Schedule):
    """Decay from 1 to `end` as a power of the fraction of steps that remains.

    Parameters
    ----------
    power : float, default 1
        Exponent, finite and at least 0; 1 is a linear decay.
    end : float, default 0
        Limit at the end of training; from 0 to 1.
    warmup : float, default 0
        Number of epochs in which the factor first rises linearly from 0 to 1.
    """

    power: float = checked_field(check_non_negative, 1.0)
    end: float = checked_field(check_unit_interval, 0.0)
    warmup: float = checked_field(check_non_negative, 0.0)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        rise, progress = warm_up(steps, self.warmup * steps_per_epoch, steps_per_epoch * epochs)
        return rise * (self.end + (1 - self.end) * (1 - progress) ** self.power)


@dataclass(frozen=True, eq=False, repr=False)
class Cosine(Schedule):
    """Decay from 1 to `end` along half a cosine, optionally with warm restarts.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    eq. 5.

    Parameters
    ----------
    end : float, default 0
        Limit at the end of training; from 0 to 1.
    warmup : float, default 0
        Number of epochs in which the factor first rises linearly from 0 to 1.
    restarts : int, default 0
        Number of restarts after the warm-up; all cycles have the same length.
    """

    end: float = checked_field(check_unit_interval, 0.0)
    warmup: float = checked_field(check_non_negative, 0.0)
    restarts: int = checked_field(check_count, 0)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        rise, progress = warm_up(steps, self.warmup * steps_per_epoch, steps_per_epoch * epochs)
        progress = progress * (self.restarts + 1) % 1.0  # within the cycle
        return rise * (self.end + (1 - self.end) * (1 + np.cos(np.pi * progress)) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class CosineLog(Schedule):
    """Cosine cycles, each twice as long as the one before, from 0 to 1 to 0.

    With 4 cycles it is "coslog4" of Holzmüller, Grinsztajn and Steinwart, "Better by default:
    strong pre-tuned MLPs and boosted trees on tabular data", NeurIPS 2024, section 3.

    Parameters
    ----------
    cycles : int, default 4
    """

    cycles: int = checked_field(check_cycles, 4)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        progress = steps / (steps_per_epoch * epochs)
        return (1 - np.cos(2 * np.pi * np.log2(1 + (2**self.cycles - 1) * progress))) / 2


@dataclass(frozen=True, eq=False, repr=False)
class FlatCosine(Schedule):
    """1 at first, then a decay to 0 along half a cosine.

    With the default it is "flat_cos" of Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024,
    section 3.

    Parameters
    ----------
    flat : float, default 0.5
        Fraction of the steps with the factor 1; from 0 to 1.
    """

    flat: float = checked_field(check_unit_interval, 0.5)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        progress = steps / (steps_per_epoch * epochs)
        return (
            1 + np.cos(np.pi * np.clip((progress - self.flat) / max(1 - self.flat, 1e-300), 0, 1))
        ) / 2


@dataclass(frozen=True, eq=False, repr=False)
class OneCycle(Schedule):
    """Rise from `start` to 1, then decay to `end`, both along cosines; as PyTorch's OneCycleLR.

    The optimizer's learning rate is the maximum.

    Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", arXiv:1708.07120, 2017.

    Parameters
    ----------
    start : float, default 0.04
        Factor of the first step; from 0 to 1.
    end : float, default 4e-6
        Factor of the last step; from 0 to 1.
    rise : float, default 0.3
        Fraction of the steps in which the factor rises; from 0 to 1.
    """

    start: float = checked_field(check_unit_interval, 0.04)
    end: float = checked_field(check_unit_interval, 4e-6)
    rise: float = checked_field(check_unit_interval, 0.3)

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        total = steps_per_epoch * epochs
        top = max(self.rise * total - 1, 0.0)  # the step with the maximum
        up = steps / top if top else np.ones(len(steps))
        down = np.clip((steps - top) / max(total - 1 - top, 1), 0, 1)
        return np.where(
            steps <= top,
            interpolate_cosine(self.start, 1.0, up),
            interpolate_cosine(1.0, self.end, down),
        )


@dataclass(frozen=True, eq=False, repr=False)
class ReduceOnPlateau(Schedule):
    """Multiply by `factor` when a quantity has not improved for more than `patience` epochs.

    As PyTorch's ReduceLROnPlateau with an absolute threshold.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A quantity of the history.
    factor : float, default 0.1
        Positive and finite.
    patience : int, default 10
        Number of epochs without improvement that are tolerated.
    min_delta : float, default 1e-4
        An improvement must be larger than this.
    cooldown : int, default 0
        Number of epochs after a reduction that are not counted as without improvement.
    least : float, default 0
        Lower bound of the factor; from 0 to 1.
    mode : {"auto", "min", "max"}, default "auto"
        As of `cmlp.callbacks.EarlyStopping`.
    """

    depends_on_epochs = False

    monitor: str = checked_field(check_monitor, "val_loss")
    factor: float = checked_field(check_positive, 0.1)
    patience: int = checked_field(check_count, 10)
    min_delta: float = checked_field(check_non_negative, 1e-4)
    cooldown: int = checked_field(check_count, 0)
    least: float = checked_field(check_unit_interval, 0.0)
    mode: str = checked_field(check_mode, "auto")

    def begin(self):
        """Return a `Plateau`, which tracks one call of `fit`."""
        return Plateau(self)


# What `Plateau.state` returns; `best` is infinite at first.
PLATEAU = Fields(
    {"factor": Real(0), "best": Real(may_be_infinite=True), "waited": Integer(),
     "cooling": Integer()},
    {},
)  # fmt: skip


class Plateau:
    """The state of a `ReduceOnPlateau` during one call of `fit`.

    Attributes
    ----------
    factor : float
        The current factor of the learning rate.
    best : float
        Best value so far, with the sign with which smaller is better.
    waited : int
        Number of epochs without improvement.
    cooling : int
        Number of epochs left of the cooldown.
    is_minimized : bool
        Whether smaller values are better.
    """

    def __init__(self, settings):
        self.settings, self.monitor, self.mode = settings, settings.monitor, settings.mode
        self.is_minimized = is_minimized(self.monitor, self.mode)
        self.factor, self.best, self.waited, self.cooling = 1.0, math.inf, 0, 0

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), self.factor)

    def state(self):
        """Return the state as a dict, for a checkpoint."""
        return {name: getattr(self, name) for name in ("factor", "best", "waited", "cooling")}

    def check_state(self, name, state):
        """Raise `ValueError` unless `state` is one that `state` returned."""
        PLATEAU.check(name, state)

    def load_state(self, state):
        """Restore what `state` returned."""
        self.__dict__.update(state)

    def observe(self, record):
        """Update the factor with the record of a finished epoch.

        Raises
        ------
        ValueError
            If the record does not have the monitored quantity.
        """
        settings = self.settings
        value = get_minimized_value(record, self.monitor, self.is_minimized)
        if value < self.best - settings.min_delta:
            self.best, self.waited = value, 0
        elif self.cooling == 0:
            self.waited += 1
        self.cooling = max(0, self.cooling - 1)
        if self.waited > settings.patience:
            self.factor = max(self.factor * settings.factor, settings.least)
            self.waited, self.cooling = 0, settings.cooldown


@dataclass(frozen=True, eq=False, repr=False)
class Custom(Record):
    """Adapter of a callable ``(step, epoch) -> factor`` to the interface of a schedule."""

    call: Callable
    argument: str = "schedule"

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step.

        Raises
        ------
        ValueError
            If the callable returns a factor that is negative or not finite.
        """
        found = np.array([self.call(int(step), epoch) for step in steps], np.float64)
        if found.shape != steps.shape or not (np.isfinite(found) & (found >= 0)).all():
            raise ValueError(
                f"{self.argument} must return a factor that is finite and not negative for each "
                "step"
            )
        return found

    def observe(self, record):
        """Do nothing: a callable does not depend on the records of epochs."""


# Name -> schedule with default arguments.
NAMES = {
    "constant": Constant(), "step": Step(), "exponential": Exponential(),
    "inverse_scaling": InverseScaling(), "polynomial": Polynomial(), "cosine": Cosine(),
    "coslog4": CosineLog(), "flat_cos": FlatCosine(), "one_cycle": OneCycle(),
    "reduce_on_plateau": ReduceOnPlateau(),
}  # fmt: skip


def start_schedule(schedule, argument="schedule"):
    """Return the object that computes the factors in one call of `fit`.

    Parameters
    ----------
    schedule : Schedule, str, callable or None
    argument : str
        The argument's name, for error messages.

    Returns
    -------
    object or None
        It has the methods `factors` and `observe`, and `state` and `load_state` if a checkpoint
        must store state. None if `schedule` is None.

    Raises
    ------
    TypeError, ValueError
        If `schedule` is none of these.
    """
    if schedule is None:
        return None
    if isinstance(schedule, str):
        schedule = look_up(argument, schedule, NAMES)
    if isinstance(schedule, Schedule):
        return schedule.begin()
    if callable(schedule) and not isinstance(schedule, type):
        return Custom(schedule, argument)
    raise TypeError(
        f"{argument} must be one of cmlp.schedules or a callable of (step, epoch); got {schedule!r}"
    )
