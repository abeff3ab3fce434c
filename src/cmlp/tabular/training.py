"""Training of the networks of an estimator on shared rows."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmlp.ensemble import fit_many
from cmlp.tabular.best_epoch import RECORDED, BestEpoch, is_measured
from cmlp.tabular.networks import make_network, make_optimizer


@dataclass
class Samples:
    """Encoded rows with targets and weights.

    Attributes
    ----------
    X : ndarray, shape (n_samples, n_columns)
    targets : ndarray, shape (n_samples,) or (n_samples, n_targets)
    weights : ndarray of float64, shape (n_samples,), or None
    """

    X: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None

    def take(self, rows):
        """Return some rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.X[rows], self.targets[rows], weights)


@dataclass
class Trainer:
    """Makes and trains the networks of one call of `fit`.

    Attributes
    ----------
    settings : Settings
    columns : InputColumns
    n_outputs : int
    loss : cmlp.losses.Loss
    samples : Samples
    metric : str
        As for `BestEpoch`.
    dtype : str
    compute_dtype, weight_decay_mode : str or None
    patience : int or None
    deadline : float or None
        Value of `time.monotonic` at which training should end.
    n_refit : int
        Number of networks that are trained after the folds.
    threads : int
    client : distributed.Client or None
    random_state : numpy.random.RandomState
    verbose : int
    tasks : cmlp._training.scikit_tasks.FitTasks or None, default None
        What reports the epochs to scikit-learn's callbacks.
    """

    settings: Any
    columns: Any
    n_outputs: int
    loss: Any
    samples: Samples
    metric: str
    dtype: str
    compute_dtype: str | None
    weight_decay_mode: str
    patience: int | None
    deadline: float | None
    n_refit: int
    threads: int
    client: Any
    random_state: Any
    verbose: int
    tasks: Any = None

    def train_folds(self, folds):
        """Train a network for each fold.

        Parameters
        ----------
        folds : list of (ndarray of int, ndarray of int)
            The rows to train on, and those to validate with.

        Returns
        -------
        networks : list of Network
        histories : list of History
        """
        for i, fold in enumerate(folds):
            self.check_weights(i, fold)
        seconds = self.share_time(len(folds), self.n_refit)
        callbacks = [self.make_callback(self.samples, test, seconds) for _, test in folds]
        return self.train([train for train, _ in folds], callbacks, validation_split=folds)

    def check_weights(self, i, fold):
        """Raise `ValueError` if the samples of a fold have no weight."""
        weights = self.samples.weights
        for rows, use in zip(fold, ("train", "validate"), strict=True):
            if weights is not None and not weights[rows].any():
                raise ValueError(
                    f"sample_weight must be positive for some row that fold {i} uses to {use}; all "
                    f"{len(rows)} are 0"
                )

    def share_time(self, count, later=0):
        """Return the seconds that each of `count` networks may take if `later` ones follow."""
        if self.deadline is None:
            return None
        waves = sum(-(-networks // self.threads) for networks in (count, later))
        return max(0.0, self.deadline - time.monotonic()) / waves

    def train_validated(self, validation):
        """Train one network on all rows, and validate it on other `Samples`."""
        seconds = self.share_time(1, self.n_refit)
        callback = self.make_callback(validation, slice(None), seconds)
        data = validation.X, validation.targets
        return self.train([np.arange(len(self.samples.X))], [callback], validation_data=data)

    def train_refitted(self, count, stop_epoch):
        """Train networks on all rows, up to a given epoch of the same schedule."""
        seconds = self.share_time(count)
        callbacks = [
            BestEpoch(self.metric, seconds=seconds, stop_epoch=stop_epoch) for _ in range(count)
        ]
        return self.train([np.arange(len(self.samples.X))] * count, callbacks)

    def make_callback(self, samples, rows, seconds):
        """Return the callback of a network that is validated on some rows of `Samples`."""
        validation = None
        if is_measured(self.metric, samples.weights):
            part = samples.take(rows)
            validation = part.X, part.targets, part.weights
        return BestEpoch(self.metric, validation, self.patience, seconds, threads=1)

    def train(self, trained, callbacks, validation_split=None, validation_data=None):
        """Train one network for each set of rows, and return networks and histories."""
        networks = self.make_networks(trained)
        splits = [0.0] * len(networks) if validation_split is None else validation_split
        sizes = [min(self.settings.batch_size, len(rows)) for rows in trained]
        optimizers = [
            make_optimizer(network, self.settings, self.weight_decay_mode) for network in networks
        ]
        X, y = self.samples.X, self.samples.targets
        watchers = [[callback] for callback in callbacks]
        if self.tasks is not None:
            for own, task in zip(watchers, self.tasks.make_callbacks(len(networks)), strict=True):
                own.append(task)
        options = self.list_options() | {"validation_data": validation_data}
        if len(networks) == 1 and self.client is None:
            history = networks[0].fit(
                X, y, batch_size=sizes[0], optimizer=optimizers[0], validation_split=splits[0],
                callbacks=watchers[0], progress=bool(self.verbose), threads=self.threads, **options,
            )  # fmt: skip
            return networks, [history]
        histories = fit_many(
            networks, X, y, batch_size=sizes, optimizer=optimizers, validation_split=splits,
            callbacks=watchers, client=self.client,
            threads=self.threads if self.client is None else None, **options,
        )  # fmt: skip
        return networks, histories

    def list_options(self):
        """Return the arguments of `fit` that all networks share, a dict."""
        settings, recorded = self.settings, RECORDED.get(self.metric, ("loss",))[0]
        return {
            "epochs": settings.max_epochs, "schedule": settings.schedule,
            "decay_schedule": settings.decay_schedule if settings.weight_decay else None,
            "dropout_schedule": settings.dropout_schedule if settings.dropout else None,
            "sample_weight": self.samples.weights, "drop_last": True,
            "metrics": () if recorded in ("loss", "accuracy") else recorded,
        }  # fmt: skip

    def make_networks(self, trained):
        """Return a network for each set of rows, initialized for it; several at a time."""
        seeds = [int(self.random_state.randint(2**31)) for _ in trained]
        if len(trained) == 1:
            return [self.make_network(trained[0], seeds[0], self.threads)]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.make_network, trained, seeds, [1] * len(trained)))

    def make_network(self, rows, seed, threads):
        """Return a network that is initialized for the rows that it will be trained on."""
        network = make_network(
            self.columns, self.settings, self.n_outputs, self.loss, seed, self.dtype,
            self.compute_dtype,
        )  # fmt: skip
        if self.settings.init == "data":
            network.initialize(self.samples.X[rows], threads=threads)
        return network
