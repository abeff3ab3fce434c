"""The state of a training run, which a checkpoint stores."""

import time
from dataclasses import dataclass
from typing import NamedTuple

from cmlp._core.training import EpochRun


class Position(NamedTuple):
    """Where a training run is; one object, so that an interruption never sees half an update.

    Attributes
    ----------
    epoch, chunk : int
        The epoch of this run, and the chunk of the epoch.
    live : EpochRun or None
        The engine's run of the chunk, which counts the samples that are done.
    done : int
        Samples of the chunk that were done before `live` started.
    loss, weight, penalty : float
        The epoch's sums before `live` started.
    trained : int
        Samples of the epoch that were done before `live` started.
    seconds : float
        Seconds of the epoch before `start`.
    lr : float
        Last learning rate.
    start : float
        Time by `time.perf_counter` when `live` started.
    """

    epoch: int = 0
    chunk: int = 0
    live: EpochRun | None = None
    done: int = 0
    loss: float = 0.0
    weight: float = 0.0
    penalty: float = 0.0
    trained: int = 0
    seconds: float = 0.0
    lr: float = 0.0
    start: float = 0.0

    def settle(self):
        """Return this position as plain numbers, without `live`."""
        live = self.live
        if live is None:
            return self
        return self._replace(
            live=None, done=live.done, loss=live.loss, weight=live.weight, penalty=live.penalty,
            trained=self.trained - self.done + live.done,
            seconds=self.seconds + time.perf_counter() - self.start, start=0.0,
        )  # fmt: skip


@dataclass(eq=False, repr=False)
class RunState:
    """Everything about a training run but the network: what a checkpoint stores.

    Attributes
    ----------
    signature : dict
        Properties that another call of `fit` must share to resume this one.
    position : Position
        Without `live`.
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
