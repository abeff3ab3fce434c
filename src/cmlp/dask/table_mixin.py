"""The common base of both estimators for tables: training on a cluster."""

import time

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from cmlp._training.inputs import split_pair
from cmlp._utils.threads import resolve_jobs
from cmlp._utils.validation import check_integer
from cmlp.dask.base import ClusterEstimator, find_common
from cmlp.dask.blocks import Blocks
from cmlp.dask.clients import find_client
from cmlp.dask.cluster import ClusterRun
from cmlp.dask.partitions import Fold
from cmlp.dask.table_training import TableTrainer
from cmlp.dask.tables import TablePreparation, learn_encoder, sample_rows
from cmlp.tabular.best_epoch import find_best_epoch, resolve_metric
from cmlp.tabular.networks import InputColumns
from cmlp.tabular.settings import resolve_settings

# Rows that calibration uses at most; they are sent to the client.
CALIBRATION_ROWS = 2**16


class ClusterTables(ClusterEstimator):
    """Train an estimator of `cmlp.tabular` on Dask collections.

    A subclass has the methods `_learn_targets` and `_weigh_classes`.
    """

    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train on a cluster.

        Parameters
        ----------
        X : dask.dataframe.DataFrame or dask.array.Array, shape (n_rows, n_features)
            Numbers and categories as in `cmlp.tabular.TableEncoder`.
        y : Dask array or series, shape (n_rows,); for regression also (n_rows, n_targets)
        sample_weight : Dask array or series, shape (n_rows,), optional
            All have the same chunks along the rows. Unknown sizes and empty chunks are allowed.
        validation_data : tuple (X, y) of Dask collections, optional
            The rows to validate with, instead of `validation_fraction` of each partition. Not with
            `cv`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the estimator is unchanged.
        TrainingDiverged
            If the loss is not finite; the estimator is unchanged.
        """
        start = time.monotonic()
        settings = resolve_settings(self, self._task)
        self._check_arguments(settings, validation_data)
        run = ClusterRun(find_client(self.client))
        blocks, held_out = Blocks.align(X, y, sample_weight, is_table=True), None
        if validation_data is not None:
            pair = split_pair("validation_data", validation_data)
            held_out = Blocks.align(*pair, is_table=True)
        try:
            work = self._copy()
            work._train(run, settings, blocks, held_out, start)
        finally:
            run.release()
        self.__dict__ = work.__dict__
        return self

    def _copy(self):
        # Return an estimator with the same arguments, which is not fitted.
        arguments = self.get_params(deep=False)
        work = type(self)(**{**arguments, "client": None})
        work.client = self.client
        return work

    def _check_arguments(self, settings, validation_data):
        if settings.cv is not None:
            check_integer("cv", settings.cv, 2)
            if validation_data is not None:
                raise ValueError(f"validation_data must be None with cv; got cv={settings.cv!r}")
        for name in ("local_steps", "replicas"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))

    def _train(self, run, settings, blocks, held_out, start):
        # Learn encoder and targets, train the networks and set the attributes.
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(2**31))
        loaded, summaries = run.load(blocks, is_classifier(self))
        used = {i: summary for i, summary in enumerate(summaries) if summary.n_samples}
        if not used:
            raise ValueError(f"X must have rows; got {len(summaries)} empty partitions")
        futures = {i: loaded[i] for i in used}
        find_common("columns", "X", {i: summary.n_features for i, summary in used.items()})
        find_common("columns", "y", {i: summary.n_outputs for i, summary in used.items()})
        targets = self._learn_targets(run, futures, used)
        n_rows = sum(summary.n_samples for summary in used.values())
        arguments = self.categorical_features, settings.smooth_clip, self.dtype
        encoder = learn_encoder(run, futures, n_rows, arguments, seed)
        columns, loss = InputColumns(encoder, settings.max_one_hot), self._make_loss()
        trainer = TableTrainer(
            run, settings, columns, targets.count_outputs(loss), loss,
            resolve_metric(self.val_metric, is_classifier(self), loss), self.dtype,
            self.compute_dtype, self.weight_decay_mode, self.early_stopping,
            None if self.time_limit is None else start + self.time_limit, self.local_steps,
            self.replicas, self._resolve_threads(), bool(self.verbose), held_out is not None,
        )  # fmt: skip
        preparation = TablePreparation(
            trainer.make_network(0).state.architecture, encoder, columns, targets,
            self._weigh_classes(targets, [*used.values()]), 0.0, seed,
        )  # fmt: skip
        self._prepare(run, preparation, settings, loaded, summaries, held_out)
        self._set_fitted(encoder, columns, targets, settings.values.get("clamp_output", False))
        self._train_networks(trainer, settings.cv, random_state)

    def _prepare(self, run, preparation, settings, loaded, summaries, held_out):
        # Convert the partitions.
        is_split = held_out is None and settings.cv is None
        fraction = float(self.validation_fraction) if is_split else 0.0
        if is_split and not 0 < fraction < 1:
            raise ValueError(
                f"validation_fraction must be in (0, 1); got {self.validation_fraction!r}"
            )
        run.prepare(loaded, summaries, preparation.with_fraction(fraction))
        if held_out is not None:
            kind = "validation "
            found = run.load(held_out, is_classifier(self), kind)
            run.prepare(*found, preparation.with_fraction(1.0), kind)

    def _train_networks(self, trainer, n_folds, random_state):
        # Train a network for each fold, or one without folds, and those that replace them.
        folds = [None] if n_folds is None else [Fold(i, n_folds) for i in range(n_folds)]
        seeds = [int(random_state.randint(2**31)) for _ in folds]
        networks, histories, held_out = [], [], []
        for i, (seed, fold) in enumerate(zip(seeds, folds, strict=True)):
            later = len(folds) - 1 - i + self.n_refit
            network, history = trainer.train(seed, fold, later)
            networks.append(network)
            histories.append(history)
            held_out.append(self._sample_held_out(trainer, network, fold, len(folds)))
        self.best_epochs_ = [find_best_epoch(history, trainer.metric) for history in histories]
        self._calibrate(tuple(
            None if parts[0] is None else np.concatenate(parts)
            for parts in zip(*held_out, strict=True)
        ))  # fmt: skip
        if self.n_refit:
            stop, networks, histories = round(np.mean(self.best_epochs_)), [], []
            for i in range(self.n_refit):
                seed = int(random_state.randint(2**31))
                network, history = trainer.train(seed, Fold(-1, 1), self.n_refit - 1 - i, stop)
                networks.append(network)
                histories.append(history)
            self.best_epochs_ = [len(history.epochs) - 1 for history in histories]
        self.networks_, self.histories_ = networks, histories

    def _sample_held_out(self, trainer, network, fold, n_folds):
        # Return predictions, targets and weights of rows that are held out, for calibration.
        if getattr(self, "calibrate", None) is None:
            return None, None, None
        samples = sample_rows(trainer.run, fold, CALIBRATION_ROWS // n_folds, are_held_out=True)
        return self._predict_held_out(network, samples.X), samples.targets, samples.weights

    def _resolve_threads(self):
        # A task has one thread by default, as workers run several tasks at a time.
        return 1 if self.n_jobs is None else resolve_jobs(self.n_jobs)

    def save(self, path):
        """Write a file that the estimators of `cmlp.tabular` load too.

        Parameters
        ----------
        path : str or os.PathLike
            A name that ends in ``.npz`` or ``.safetensors``.
        """
        self.to_local().save(path)

    @classmethod
    def load(cls, path):
        """Return the estimator of a file that `save` has written.

        Parameters
        ----------
        path : str or os.PathLike
            The file.
        """
        local = cls._local_class.load(path)
        estimator = cls(**local.get_params(deep=False))
        estimator.__dict__.update(vars(local))
        return estimator
