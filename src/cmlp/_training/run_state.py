"""The state of a training run, which a checkpoint stores."""

import time
from dataclasses import dataclass
from typing import NamedTuple

from cmlp._core.training import EpochRun


class Position(NamedTuple):
    """The position of a training run.

    It is immutable and replaced as a whole, so that an interruption never sees half an update.

    Attributes
    ----------
    epoch, chunk : int
        The epoch of this run, and the chunk of the epoch.
    epoch_run : EpochRun or None
        The engine's run of the current chunk; its counters continue those below.
    done : int
        Number of samples of the chunk processed before `epoch_run` started.
    loss, weight, penalty : float
        Sums over the samples of the epoch processed before `epoch_run` started.
    trained : int
        Number of samples of the epoch processed before `epoch_run` started.
    seconds : float
        Seconds of the epoch before `start`.
    lr : float
        Last learning rate.
    start : float
        Time by `time.perf_counter` when `epoch_run` started.
    """

    epoch: int = 0
    chunk: int = 0
    epoch_run: EpochRun | None = None
    done: int = 0
    loss: float = 0.0
    weight: float = 0.0
    penalty: float = 0.0
    trained: int = 0
    seconds: float = 0.0
    lr: float = 0.0
    start: float = 0.0

    def to_numbers(self):
        """Return this position with the counters of `epoch_run`, which becomes None."""
        run = self.epoch_run
        if run is None:
            return self
        return self._replace(
            epoch_run=None, done=run.done, loss=run.loss, weight=run.weight, penalty=run.penalty,
            trained=self.trained - self.done + run.done,
            seconds=self.seconds + time.perf_counter() - self.start, start=0.0,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class RunState:
    """The state of a training run without the network; checkpoints store it.

    Attributes
    ----------
    signature : dict
        Properties that another call of `fit` must share to resume this one.
    position : Position
        Its `epoch_run` is None.
    is_stopped : bool
        Whether a callback has stopped the run.
    optimizer_position : sequence
        See `OptimizerState.position`.
    optimizer_arrays : dict from str to ndarray
        See `OptimizerState.to_arrays`.
    metric_samples : float
        Number of samples in `metric_arrays`.
    metric_arrays : dict from str to ndarray
        Sums of the epoch's metrics.
    schedule : dict or None
        State of the learning-rate schedule, if it has one.
    history : list of dict
        Records of the finished epochs.
    callbacks : list of (str, dict)
        Class name and state of each callback.
    path : str
        The checkpoint that it was read from, for messages.
    """

    signature: dict
    position: Position
    is_stopped: bool
    optimizer_position: tuple
    optimizer_arrays: dict
    metric_samples: float
    metric_arrays: dict
    schedule: dict | None
    history: list
    callbacks: list
    path: str = ""
