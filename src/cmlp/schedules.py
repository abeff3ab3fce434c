"""Schedules: how the learning rate changes from step to step.

A schedule multiplies the optimizer's learning rate. Any callable of (step, epoch), both
counted from 0 through a call of `fit`, will do; those here are small frozen dataclasses.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from cmlp.checks import check_number, check_positive, check_whole, to_be_small


@dataclass(frozen=True)
class Schedule:
    """What all have in common: their arguments are checked."""

    def __post_init__(self):
        for field in fields(self):
            check_argument(field.name, getattr(self, field.name))

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return what the learning rate is multiplied by in each of some steps.

        Parameters
        ----------
        steps : ndarray of float64, shape (n,)
            The numbers of the steps, all of them in this epoch.
        epoch, steps_per_epoch, epochs : int

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        raise NotImplementedError

    def begin(self):
        """Return what runs through one call of `fit`: itself, unless it learns on the way."""
        return self

    def observe(self, record):
        """Take note of an epoch's record."""


WHOLE = {"every": 1, "patience": 0, "cooldown": 0, "restarts": 0}
FROM_ZERO_TO_ONE = ("start", "end", "rise", "least")


def check_argument(name, value):
    """Raise unless the value is one that an argument of this name may have."""
    if name in WHOLE:
        check_whole(name, value, WHOLE[name])
    elif name == "monitor":
        if not isinstance(value, str):
            raise TypeError(f"monitor must be a name of the history, got {value!r}")
    elif name == "factor":
        check_positive(name, value)
    else:
        check_number(name, value)
        most = 1.0 if name in FROM_ZERO_TO_ONE else math.inf
        if not (0 <= value <= most and math.isfinite(value)):
            allowed = "from 0 to 1" if most == 1 else "finite and not negative"
            raise ValueError(f"{name} must be {allowed}, got {value!r}")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same factor always.

    Parameters
    ----------
    factor : float, default 1
    """

    factor: float = 1.0

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor))


@dataclass(frozen=True)
class Step(Schedule):
    """One factor more after every so many epochs, as PyTorch's StepLR.

    Parameters
    ----------
    every : int, default 10
    factor : float, default 0.1
    """

    every: int = 10
    factor: float = 0.1

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor) ** (epoch // self.every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """One factor more after every epoch, as PyTorch's ExponentialLR.

    Parameters
    ----------
    factor : float, default 0.95
    """

    factor: float = 0.95

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), float(self.factor) ** epoch)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """1 / (step + 1)^power.

    Parameters
    ----------
    power : float, default 0.5
    """

    power: float = 0.5

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return (steps + 1) ** -float(self.power)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """From 1 to `end` as a power of what is left to do.

    Parameters
    ----------
    power : float, default 1
        1 is a straight line.
    end : float, default 0
    warmup : float, default 0
        Epochs in which the factor first rises from 0 to 1, in a straight line.
    """

    power: float = 1.0
    end: float = 0.0
    warmup: float = 0.0

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        rise, progress = warmed_up(steps, self.warmup * steps_per_epoch, steps_per_epoch * epochs)
        return rise * (self.end + (1 - self.end) * (1 - progress) ** self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 to `end` along half a cosine, once or several times.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    eq. 5.

    Parameters
    ----------
    end : float, default 0
    warmup : float, default 0
        Epochs in which the factor first rises from 0 to 1, in a straight line.
    restarts : int, default 0
        How often it begins again; all runs are of one length.
    """

    end: float = 0.0
    warmup: float = 0.0
    restarts: int = 0

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        rise, progress = warmed_up(steps, self.warmup * steps_per_epoch, steps_per_epoch * epochs)
        turn = progress * (self.restarts + 1) % 1.0
        return rise * (self.end + (1 - self.end) * (1 + np.cos(np.pi * turn)) / 2)


def warmed_up(steps, warmup, total):
    """Return the factor of a linear warm-up and the progress, from 0 to below 1, after it."""
    rise = np.minimum(1.0, (steps + 1) / warmup) if warmup else np.ones(len(steps))
    return rise, np.clip((steps - warmup) / max(total - warmup, 1), 0, 1)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from `start` to 1 and down to `end`, along cosines, as PyTorch's OneCycleLR.

    Smith and Topin, "Super-convergence", arXiv:1708.07120, 2017. The optimizer's learning
    rate is the greatest.

    Parameters
    ----------
    start : float, default 0.04
    end : float, default 4e-6
    rise : float, default 0.3
        The part of all steps that goes up.
    """

    start: float = 0.04
    end: float = 4e-6
    rise: float = 0.3

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        total = steps_per_epoch * epochs
        top = max(self.rise * total - 1, 0.0)
        up = steps / top if top else np.ones(len(steps))
        down = (steps - top) / max(total - 1 - top, 1)
        return np.where(
            steps <= top, between(self.start, 1.0, up), between(1.0, self.end, np.clip(down, 0, 1))
        )


def between(first, last, progress):
    """Return the way from first to last along half a cosine."""
    return last + (first - last) * (1 + np.cos(np.pi * progress)) / 2


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """One factor more whenever a quantity has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A quantity of the history; ones named loss should fall, others rise.
    factor : float, default 0.1
    patience : int, default 10
        How many epochs without improvement are borne.
    min_delta : float, default 1e-4
        What counts as improvement must be greater.
    cooldown : int, default 0
        How many epochs after a reduction are not counted.
    least : float, default 0
        The factor does not fall below.
    """

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    least: float = 0.0

    def begin(self):
        """Return what watches one call of `fit`."""
        return Plateau(self)


class Plateau:
    """A `ReduceOnPlateau` at work."""

    def __init__(self, settings):
        self.settings, self.monitor = settings, settings.monitor
        self.factor, self.best, self.waited, self.cooling = 1.0, math.inf, 0, 0

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step."""
        return np.full(len(steps), self.factor)

    def state(self):
        """Return what a checkpoint keeps of it."""
        return {name: getattr(self, name) for name in ("factor", "best", "waited", "cooling")}

    def load_state(self, state):
        """Take back what `state` returned."""
        self.__dict__.update(state)

    def observe(self, record):
        """Take note of an epoch's record."""
        settings = self.settings
        value = to_be_small(record, self.monitor)
        if value < self.best - settings.min_delta:
            self.best, self.waited = value, 0
        elif self.cooling == 0:
            self.waited += 1
        self.cooling = max(0, self.cooling - 1)
        if self.waited > settings.patience:
            self.factor = max(self.factor * settings.factor, settings.least)
            self.waited, self.cooling = 0, settings.cooldown


@dataclass(frozen=True)
class Custom:
    """A callable of (step, epoch) as a schedule."""

    call: object

    def begin(self):
        """Return itself."""
        return self

    def factors(self, steps, epoch, steps_per_epoch, epochs):
        """Return the factor of each step, checked."""
        found = np.array([self.call(int(step), epoch) for step in steps], np.float64)
        if found.shape != steps.shape or not (np.isfinite(found) & (found >= 0)).all():
            raise ValueError(
                "schedule must return a factor that is finite and not negative for each step"
            )
        return found

    def observe(self, record):
        """Take no note."""


def checked_schedule(schedule):
    """Return what runs through one call of `fit`, given a schedule or a callable."""
    if isinstance(schedule, Schedule):
        return schedule.begin()
    if callable(schedule) and not isinstance(schedule, type):
        return Custom(schedule)
    raise TypeError(
        f"schedule must be one of cmlp.schedules or a callable of (step, epoch), got {schedule!r}"
    )
