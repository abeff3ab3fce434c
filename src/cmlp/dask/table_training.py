"""`TableTrainer`: the networks of one call of `fit` for tables, on the client."""

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from cmlp._model.optimizer_state import OptimizerState
from cmlp._training.arguments import start_schedules
from cmlp._training.initialization import MAX_ROWS
from cmlp.dask.rounds import Plan
from cmlp.dask.scores import ValidationValue
from cmlp.dask.tables import sample_rows
from cmlp.dask.training import TrainingLoop
from cmlp.sklearn.schedules import LearningRate
from cmlp.tabular.best_epoch import BestEpoch
from cmlp.tabular.networks import make_network, make_optimizer


class RoundMonitor:
    """Reports the rounds of a `TrainingLoop` to the callback that chooses the best one.

    Parameters
    ----------
    rule : BestEpoch
    prints : bool
        Whether to print a line for each round.

    Attributes
    ----------
    validate : callable or None
        Set by the loop; returns the value of the metric for the last round.
    """

    def __init__(self, rule, prints):
        self.rule, self.prints = rule, prints
        self.validate: Any = None
        rule.on_train_begin(None)

    @property
    def best(self):
        """The future of the best replica, or None."""
        return self.rule.snapshot

    @best.setter
    def best(self, future):
        self.rule.snapshot = future

    def on_epoch_end(self, view, number, record):
        """Record the value of a round; return whether to stop."""
        if self.validate is not None:
            record[f"val_{self.rule.metric}"] = abs(self.validate())
        if self.prints:
            values = [f"{name} = {record[name]:.6g}" for name in record
                      if name == "loss" or name.startswith("val_")]  # fmt: skip
            print(f"Round {number + 1}: {', '.join(values)}")
        return self.rule.on_epoch_end(view, number, record)


class TableLoop(TrainingLoop):
    """A `TrainingLoop` that does not end with earlier parameters after an exception."""

    def handle_interrupt(self):
        """Raise the interrupt, which ends `fit`."""
        raise  # called while it is handled

    def handle_divergence(self, error):
        """Raise the error."""
        raise error


@dataclass
class TableTrainer:
    """Makes and trains the networks of one call of `fit`.

    Attributes
    ----------
    run : ClusterRun
        Its partitions are prepared.
    settings : Settings
    columns : InputColumns
    n_outputs : int
    loss : cmlp.losses.Loss
    metric : str
        As for `BestEpoch`.
    dtype : str
    compute_dtype, weight_decay_mode : str or None
    patience : int or None
    deadline : float or None
        Value of `time.monotonic` at which training should end.
    local_steps, replicas : int or None
    threads : int
        Threads of a task.
    prints : bool
    has_validation_data : bool
    """

    run: Any
    settings: Any
    columns: Any
    n_outputs: int
    loss: Any
    metric: str
    dtype: str
    compute_dtype: str | None
    weight_decay_mode: str
    patience: int | None
    deadline: float | None
    local_steps: int | None
    replicas: int | None
    threads: int
    prints: bool
    has_validation_data: bool

    def make_network(self, seed):
        """Return a network that is not initialized from data."""
        return make_network(
            self.columns, self.settings, self.n_outputs, self.loss, seed, self.dtype,
            self.compute_dtype,
        )  # fmt: skip

    def train(self, seed, fold, later=0, stop_round=None):
        """Train a network.

        Parameters
        ----------
        seed : int
        fold : Fold or None
            The rows to hold out; None: those that `ClusterRun.prepare` has held out.
        later : int, default 0
            Number of networks that follow, which share the time that is left.
        stop_round : int, optional
            Train up to this round, without validation.

        Returns
        -------
        network : Network
        history : History
        """
        if fold is not None:
            self.run.select(fold)
        if not self.run.partitions:
            raise ValueError("sample_weight must be positive for at least one row to train on")
        validates = stop_round is None
        if validates and not self.run.n_validation:
            if self.has_validation_data:
                raise ValueError("validation_data must have rows; got empty partitions")
            raise ValueError(
                "validation_fraction and cv must leave rows to validate with in at least one "
                "partition; got partitions that are too small"
            )
        network = self.make_network(seed)
        if self.settings.init == "data":
            samples = sample_rows(self.run, fold, MAX_ROWS)
            network.initialize(samples.X, threads=self.threads)
        optimizer = make_optimizer(network, self.settings, self.weight_decay_mode)
        rule = BestEpoch(self.metric, None, self.patience, self.share_time(later), stop_round)
        loop = TableLoop(
            self.run, network, LearningRate(OptimizerState(optimizer, network.state.parameters)),
            self.settings.schedule, RoundMonitor(rule, self.prints), [], validates,
        )  # fmt: skip
        loop.start(self.make_plan(network, optimizer, fold), self.replicas)
        loop.train(self.settings.max_epochs)
        return network, loop.history

    def share_time(self, later):
        """Return the seconds of a network that `later` ones follow."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic()) / (later + 1)

    def make_plan(self, network, optimizer, fold):
        """Return the arguments of the tasks."""
        settings = self.settings
        schedules = start_schedules(SimpleNamespace(
            schedule=None,
            decay_schedule=settings.decay_schedule if settings.weight_decay else None,
            dropout_schedule=settings.dropout_schedule if settings.dropout else None,
        ))  # fmt: skip
        return Plan(
            network.state.architecture, optimizer, settings.batch_size, True, self.local_steps,
            settings.max_epochs, self.threads, ValidationValue(self.metric), fold,
            schedules["decay_schedule"], schedules["dropout_schedule"], drop_last=True,
        )  # fmt: skip
