"""The common base of both estimators of scikit-learn's kind: training on a cluster."""

import copy
import warnings
from dataclasses import replace

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names

from cmlp._model.optimizer_state import OptimizerState
from cmlp._training.inputs import split_pair
from cmlp.callbacks import Callback
from cmlp.dask.base import ClusterEstimator, find_common
from cmlp.dask.blocks import Blocks
from cmlp.dask.clients import find_client
from cmlp.dask.cluster import ClusterRun
from cmlp.dask.partitions import Preparation
from cmlp.dask.rounds import Plan
from cmlp.dask.scores import EstimatorScore
from cmlp.dask.training import TrainingLoop
from cmlp.sklearn.optimizers import choose_optimizer
from cmlp.sklearn.schedules import start_learning_rate
from cmlp.sklearn.stopping import TrainingMonitor


class ClusterMixin(ClusterEstimator):
    """Train an estimator of `cmlp.sklearn` on Dask collections."""

    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train on a cluster.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame, shape (n_samples, n_features)
            Blocks of an array may be SciPy sparse matrices.
        y : Dask array, series or data frame, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : Dask array or series, shape (n_samples,), optional
            All have the same chunks along the rows. Unknown sizes and empty chunks are allowed.
        validation_data : tuple (X, y) of Dask collections, optional
            The data that `validation_scores_` and early stopping use, instead of a fraction of
            each partition.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or if training diverges; the estimator is unchanged.
        """
        return self._fit_collections(X, y, sample_weight, validation_data)

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one round; the next call continues, with the optimizer's state.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        return self._fit_collections(X, y, sample_weight, is_incremental=True)

    def _fit_collections(self, X, y, sample_weight, validation_data=None, is_incremental=False,
                         classes=None):  # fmt: skip
        self._validate_params()
        callbacks = self._check_arguments(is_incremental, validation_data is not None)
        run = ClusterRun(find_client(self.client))
        blocks, held_out = Blocks.align(X, y, sample_weight), None
        if validation_data is not None:
            held_out = Blocks.align(*split_pair("validation_data", validation_data))
        continues = hasattr(self, "coefs_") and (self.warm_start or is_incremental)
        work = self._copy(continues)
        try:
            loaded = work._begin(run, blocks, continues, is_incremental, classes)
            plan = work._prepare(run, *loaded, held_out)
            rounds = 1 if is_incremental else self.max_iter
            is_stopped = work._train_rounds(run, plan, callbacks, rounds)
        finally:
            run.release()
        self.__dict__ = work.__dict__
        if not is_incremental and not is_stopped and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.", ConvergenceWarning, stacklevel=3,
            )  # fmt: skip
        return self

    def _copy(self, is_fitted):
        # Return a copy to train, with the attributes of an earlier fit if `is_fitted`.
        work = type(self).__new__(type(self))
        arguments = self.get_params(deep=False)
        fitted = {name: value for name, value in vars(self).items() if name not in arguments}
        work.__setstate__({**arguments, **(copy.deepcopy(fitted) if is_fitted else {})})
        return work

    def _check_arguments(self, is_incremental, has_validation):
        # Return the callbacks; raise ValueError for arguments that are not supported.
        self._check_combinations()
        for name in ("metrics", "decay_schedule", "dropout_schedule"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} must be None on a cluster; got {getattr(self, name)!r}")
        if isinstance(self.initializer, str) and self.initializer == "data":
            raise ValueError("initializer must not be 'data' on a cluster")
        loss, _ = self._choose_loss()
        if loss.call:
            raise ValueError("loss must not be a callable on a cluster")
        if loss.quantiles and (self.early_stopping or has_validation):
            raise ValueError(
                "early_stopping must be False, and validation_data None, on a cluster with the "
                "loss 'pinball'"
            )
        if self.solver == "lbfgs" and self.optimizer is None:
            raise ValueError("solver must be 'adam' or 'sgd' on a cluster; got 'lbfgs'")
        if is_incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        accumulate = getattr(self.optimizer, "accumulate", 1)
        if self.local_steps is not None and accumulate > 1:
            raise ValueError(
                f"local_steps must be None for an optimizer with accumulate={accumulate}; "
                f"got {self.local_steps}"
            )
        _, callbacks = self._start_watchers(has_validation)
        for callback in callbacks:
            if callback.wants_batches or type(callback).on_pause is not Callback.on_pause:
                raise ValueError(
                    "callbacks must not need steps within a round or checkpoints on a cluster; got "
                    f"{type(callback).__name__}"
                )
        return callbacks

    # Preparation.

    def _begin(self, run, blocks, continues, is_incremental, classes):
        # Set scikit-learn's attributes; return the loaded blocks and their summaries.
        loaded, summaries = run.load(blocks, is_classifier(self))
        used = {i: summary for i, summary in enumerate(summaries) if summary.n_samples}
        if not used:
            raise ValueError(f"X must have samples; got {len(summaries)} empty partitions")
        n_features = find_common("columns", "X", {i: s.n_features for i, s in used.items()})
        n_outputs = find_common("columns", "y", {i: s.n_outputs for i, s in used.items()})
        n_targets = self._learn_targets([*used.values()], n_outputs, continues, classes)
        if continues and n_features != self.n_features_in_:
            raise ValueError(
                f"X must have {self.n_features_in_} columns, as before; got {n_features}"
            )
        if blocks.columns is not None:
            _check_feature_names(self, blocks.columns, reset=not continues)
        self.n_features_in_ = n_features
        self._random_state = check_random_state(self.random_state)
        if not continues:
            units = np.ravel(self.hidden_layer_sizes).astype(int).tolist()
            if min(units, default=1) <= 0:
                raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
            layers = [n_features, *units, n_targets]
            self._initialize(np.empty((0, n_targets)), layers, blocks.dtype)
            # Later calls hold out the same samples and continue the sequence of orders.
            self._run_seed = int(self._random_state.randint(2**31))
        self._input_dtype = blocks.dtype
        network = self._synchronize()
        self._check_same_loss()
        if not is_incremental or "_optimizer" not in vars(self):
            self._optimizer = start_learning_rate(
                self, OptimizerState(choose_optimizer(self), network.state.parameters)
            )
        return loaded, summaries

    def _learn_targets(self, summaries, n_outputs, continues, classes):
        # Return the number of the network's outputs.
        n_targets = n_outputs or 1
        if continues and n_targets != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} outputs, as before; got {n_targets}")
        return n_targets

    def _weight_classes(self, summaries):
        # Return one weight for each class, or None.
        return None

    def _prepare(self, run, loaded, summaries, validation_blocks):
        # Convert the partitions; return the plan.
        architecture = self._network.state.architecture
        batch_size = 200 if self.batch_size == "auto" else int(self.batch_size)
        binarizer = vars(self).get("_label_binarizer")
        has_rows = binarizer is None or binarizer.y_type_ == "multilabel-indicator"
        splits = self.early_stopping and validation_blocks is None
        preparation = Preparation(
            architecture, self.out_activation_, None if has_rows else self.classes_,
            self._weight_classes([s for s in summaries if s.n_samples]),
            float(self.validation_fraction) if splits else 0.0, batch_size,
            self._run_seed,
        )  # fmt: skip
        run.prepare(loaded, summaries, preparation)
        if not run.partitions:
            raise ValueError("sample_weight must be positive for at least one sample to train on")
        if validation_blocks is not None:
            preparation = replace(preparation, validation_fraction=1.0, class_weight=None)
            kind = "validation "
            run.prepare(*run.load(validation_blocks, is_classifier(self), kind), preparation, kind)
            if self.validation_scores_ is None:
                self.validation_scores_ = []
        if (splits or validation_blocks is not None) and run.n_validation < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        threads = 1 if self.n_jobs is None else self._resolve_threads()
        return Plan(
            architecture, self._optimizer.optimizer_state.optimizer, batch_size,
            bool(self.shuffle), self.local_steps, self.max_iter,
            self.threads or threads, EstimatorScore(is_classifier(self)),
        )  # fmt: skip

    # Training.

    def _train_rounds(self, run, plan, callbacks, rounds):
        # Train, and set scikit-learn's attributes.
        monitor = TrainingMonitor(
            self, sum(n for n, *_ in run.sizes), self._optimizer, self._no_improvement_count,
            None, is_incremental=False, prints=bool(self.verbose),
        )  # fmt: skip
        loop = TrainingLoop(
            run, self._network, self._optimizer, self.schedule, monitor, callbacks,
            validates=run.n_validation > 0,
        )  # fmt: skip
        self.history_, self.n_iter_ = loop.history, 0
        loop.start(plan, self.replicas)
        loop.train(rounds)
        self._no_improvement_count = monitor.rule.count
        self._expose_parameters()
        return loop.is_stopped
