"""Training of the networks of an estimator on shared rows."""

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
        Value of `time.monotonic` after which training ends.
    threads : int
    client : distributed.Client or None
    random_state : numpy.random.RandomState
    verbose : int
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
    threads: int
    client: Any
    random_state: Any
    verbose: int

    def train_folds(self, folds):
        """Train a network for each fold on the other rows, and validate it on the fold.

        Parameters
        ----------
        folds : list of ndarray of int

        Returns
        -------
        networks : list of Network
        histories : list of History
        """
        n_samples = len(self.samples.X)
        trained = [np.setdiff1d(np.arange(n_samples), fold) for fold in folds]
        callbacks = [self.make_callback(self.samples, fold) for fold in folds]
        return self.train(trained, callbacks, validation_split=folds)

    def train_validated(self, validation):
        """Train one network on all rows, and validate it on other `Samples`."""
        callback = self.make_callback(validation, slice(None))
        data = validation.X, validation.targets
        return self.train([np.arange(len(self.samples.X))], [callback], validation_data=data)

    def train_refitted(self, count, stop_epoch):
        """Train networks on all rows, up to a given epoch of the same schedule."""
        callbacks = [
            BestEpoch(self.metric, deadline=self.deadline, stop_epoch=stop_epoch)
            for _ in range(count)
        ]
        return self.train([np.arange(len(self.samples.X))] * count, callbacks)

    def make_callback(self, samples, rows):
        """Return the callback of a network that is validated on some rows of `Samples`."""
        validation = None
        if is_measured(self.metric, samples.weights):
            part = samples.take(rows)
            validation = part.X, part.targets, part.weights
        return BestEpoch(self.metric, validation, self.patience, self.deadline, threads=1)

    def train(self, trained, callbacks, validation_split=None, validation_data=None):
        """Train one network for each set of rows, and return networks and histories."""
        networks = [self.make_network(rows) for rows in trained]
        splits = [0.0] * len(networks) if validation_split is None else validation_split
        sizes = [min(self.settings.batch_size, len(rows)) for rows in trained]
        optimizers = [
            make_optimizer(network, self.settings, self.weight_decay_mode) for network in networks
        ]
        X, y = self.samples.X, self.samples.targets
        options = self.list_options() | {"validation_data": validation_data}
        if len(networks) == 1 and self.client is None:
            history = networks[0].fit(
                X, y, batch_size=sizes[0], optimizer=optimizers[0], validation_split=splits[0],
                callbacks=callbacks, progress=bool(self.verbose), threads=self.threads, **options,
            )  # fmt: skip
            return networks, [history]
        histories = fit_many(
            networks, X, y, batch_size=sizes, optimizer=optimizers, validation_split=splits,
            callbacks=[[callback] for callback in callbacks], client=self.client,
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

    def make_network(self, rows):
        """Return a network that is initialized for the rows that it will be trained on."""
        seed = int(self.random_state.randint(2**31))
        network = make_network(
            self.columns, self.settings, self.n_outputs, self.loss, seed,
            self.dtype, self.compute_dtype,
        )  # fmt: skip
        if self.settings.init == "data":
            network.initialize(self.samples.X[rows], threads=self.threads)
        return network
