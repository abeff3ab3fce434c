"""Training of an estimator on shards and on the ranks of a communicator."""

import dataclasses
from numbers import Integral

import numpy as np

from cmlp._model.optimizer_state import OptimizerState
from cmlp._training.arguments import FitOptions
from cmlp._training.sharding import (
    SCHEDULES,
    ShardedTraining,
    check_same,
    check_sharding,
    make_exchange,
    separate_gradient,
    shard_source,
    share_validation,
)
from cmlp._training.sources import ArraySource
from cmlp.metrics import split_metrics


class Ranks:
    """What one call of an estimator's `fit` needs to train on shards.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor of cmlp.sklearn
    comm, shards, distribute, reproducible, sync_every
        As for `cmlp.Network.fit`.

    Attributes
    ----------
    exchange : Exchange or None
        None: this process has all shards.
    is_first : bool
        Whether this rank prints.
    has_begun : bool
        Whether the run, which ends the other ranks if it fails, has begun.
    """

    def __init__(self, estimator, comm, shards, distribute, reproducible, sync_every):
        self.estimator, self.has_begun = estimator, False
        self.exchange = None if comm is None else make_exchange(comm, reproducible)
        self.is_first = self.exchange is None or self.exchange.rank == 0
        self.arguments = {"comm": comm, "shards": shards, "distribute": distribute,
                          "reproducible": reproducible, "sync_every": sync_every}  # fmt: skip

    def has_parts(self):
        """Return whether each rank has samples of its own."""
        return self.exchange is not None and not self.options.distribute

    def share_random_state(self):
        """Let all ranks draw the same random numbers."""
        e = self.estimator
        if self.exchange is not None and not isinstance(e.random_state, Integral):
            seed = self.exchange.share([e._random_state.randint(2**31 - 1)])
            e._random_state = np.random.RandomState(int(seed[0]))

    def join_classes(self, labels):
        """Return the sorted classes of the labels of all ranks."""
        classes = np.unique(labels)
        if not self.has_parts():
            return classes
        ranks = range(self.exchange.size)
        return np.unique(np.concatenate([self.exchange.share_object(classes, r) for r in ranks]))

    def count_samples(self, n_samples):
        """Return the number of samples of all ranks, if this one has `n_samples`."""
        if not self.has_parts():
            return n_samples
        return int(self.exchange.sum_vector(np.array([float(n_samples)]))[0])

    def share_score(self, score):
        """Return a function that returns what `score` returns on rank 0."""
        if score is None or self.exchange is None:
            return score
        return lambda: float(self.exchange.share([score()])[0])

    def share_validation(self, validate, has_score, schedules, callbacks):
        """Return a validation function with the quantities of rank 0 on all ranks.

        Parameters
        ----------
        validate : callable or None
            As for `TrainingRun`.
        has_score : bool
            Whether there are validation data for `share_score`.
        schedules : dict
            As `cmlp._training.arguments.start_schedules` returns it.
        callbacks : list of cmlp.callbacks.Callback

        Raises
        ------
        ValueError
            If the ranks do not compute the same quantities after the same steps.
        """
        observes_steps = any(callback.wants_batches for callback in callbacks)
        if observes_steps and self.options.sync_every:
            raise ValueError("callbacks must not observe steps with sync_every")
        if self.exchange is not None:
            names, functions = split_metrics(self.estimator.metrics or ())
            check_same(self.exchange, {
                "metrics": names, "the functions in metrics": [each.name for each in functions],
                "whether validation data are given": has_score,
                "whether callbacks or schedule monitor val_loss": validate is not None,
                **{name: type(schedules[name]).__name__ for name in SCHEDULES},
                "whether callbacks observe steps": observes_steps,
            })  # fmt: skip
        return share_validation(validate, self.exchange)

    def make_optimizer_state(self, optimizer, parameters):
        """Return the optimizer's state, whose gradients have a block of their own."""
        return OptimizerState(separate_gradient(optimizer), parameters)

    def make_source(self, network, optimizer, rows, targets, batch_size):
        """Return the source of this rank's shards, and their number."""
        e = self.estimator
        options = dataclasses.replace(self.options, batch_size=batch_size)
        check_sharding(network.state.architecture, optimizer, options, False)
        if self.exchange is not None:
            check_same(self.exchange, {
                "the number of parameters": network.state.parameters.block.size,
                "batch_size": batch_size, "max_iter": e.max_iter, "shards": options.shards,
                "sync_every": options.sync_every, "distribute": options.distribute,
                "early_stopping": bool(e.early_stopping), "optimizer": optimizer.describe(),
            })  # fmt: skip
        source = ArraySource(rows, targets, None, None, batch_size, bool(e.shuffle))
        found, shards = shard_source(source, options, self.exchange)
        found.seed_offset = int(e._random_state.randint(2**31 - 1))
        if self.exchange is not None:
            self.exchange.most_bytes = 8 * (found.steps + len(found.lengths)) + 1024
        return found, shards

    def make_run(self, *arguments, shards, **options):
        """Return the `ShardedTraining`; the arguments are those of `TrainingRun`."""
        self.has_begun = True
        return ShardedTraining(
            *arguments, shards=shards, exchange=self.exchange,
            sync_every=self.options.sync_every or 0, **options,
        )  # fmt: skip

    def fit(self, function):
        """Call a function that trains; if it fails before training, the other ranks end too."""
        try:
            self.options = FitOptions(**self.arguments)
            return function()
        except BaseException:
            if self.exchange is not None and not self.has_begun:
                self.exchange.abort()
            raise
