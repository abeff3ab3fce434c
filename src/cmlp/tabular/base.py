"""`RealMLP`: the base class of the classifier and the regressor."""

import time

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from cmlp._training.derivative_methods import check_layer
from cmlp._training.scikit_features import LayerFeatures
from cmlp._training.scikit_tasks import CallbackSupportMixin, FitTasks, with_callbacks
from cmlp._utils.threads import resolve_jobs
from cmlp.tabular.best_epoch import find_best_epoch, resolve_metric
from cmlp.tabular.encoding import TableEncoder
from cmlp.tabular.exports import EstimatorExports
from cmlp.tabular.files import EstimatorFiles
from cmlp.tabular.folds import split_folds
from cmlp.tabular.networks import InputColumns
from cmlp.tabular.settings import CLASSIFICATION, resolve_settings
from cmlp.tabular.tables import prepare_table
from cmlp.tabular.targets import check_weights
from cmlp.tabular.training import Samples, Trainer


class RealMLP(
    CallbackSupportMixin, EstimatorExports, EstimatorFiles, LayerFeatures, BaseEstimator
):  # fmt: skip
    """Base of the estimators.

    A subclass has the class attribute `_task`, the methods `_check_targets`, `_make_targets`,
    `_make_loss` and `_predict_held_out`, and the public ones.
    """

    @with_callbacks
    def fit(self, X, y, sample_weight=None, *, validation_data=None, groups=None, client=None):
        """Fit the model.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
            Numbers and categories as in `TableEncoder`. A dict has columns by their names.
        y : array-like, shape (n_rows,), for regression also (n_rows, n_targets)
        sample_weight : array-like, shape (n_rows,), optional
            Weights of the rows, in the loss and in `val_metric`.
        validation_data : tuple (X, y), optional
            The rows to validate with. Training then uses all rows of X. Not with `cv`.
        groups : array-like, shape (n_rows,), optional
            Groups of rows that folds keep together; only with `cv`.
        client : distributed.Client, optional
            Train the networks on the workers of a Dask cluster, each in a task; the result has the
            same bits. Not with `time_limit` and scikit-learn's callbacks. Requires the extra
            ``dask``.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid or does not fit.
        TrainingDiverged
            If the loss is not finite.
        """
        start = time.monotonic()
        settings = resolve_settings(self, self._task)
        if validation_data is not None and (settings.cv is not None or groups is not None):
            raise ValueError(
                f"validation_data must be None with folds and groups; got cv={settings.cv!r}"
            )
        if client is not None and self.time_limit is not None:
            raise ValueError("time_limit must be None with client")
        has_callbacks, data = bool(self.__dict__.get("_skl_callbacks")), (X, y, sample_weight)
        if client is not None and has_callbacks:
            raise ValueError("client must be None with scikit-learn's callbacks")
        X = prepare_table(X)
        y, targets, weights = self._prepare_targets(X, y, sample_weight)
        encoder = TableEncoder(
            self.categorical_features, smooth_clip=settings.smooth_clip, dtype=self.dtype
        ).fit(X)
        columns = InputColumns(encoder, settings.max_one_hot)
        samples = Samples(
            columns.join(encoder.transform(X), encoder.dtype), targets.encode(y, "y"), weights
        )
        trainer = self._make_trainer(settings, columns, targets, samples, client, start)
        fitted = encoder, columns, targets, settings.values.get("clamp_output", False)
        if validation_data is None:
            folds = self._split(samples, settings.cv, groups, trainer.random_state)
            parts = [(test, samples.take(test)) for _, test in folds]
        else:
            folds = None
            parts = [(None, self._encode_validation(validation_data, encoder, columns, targets))]
        if has_callbacks:
            trainer.tasks = self._begin_tasks(data, len(parts), settings.max_epochs, fitted)
        if folds is None:
            trained = trainer.train_validated(parts[0][1])
        else:
            trained = trainer.train_folds(folds)
        self._set_fitted(*fitted)
        self._adopt(trained, parts, trainer)
        name = getattr(data[1], "name", None)
        self.target_name_ = name if isinstance(name, str) and name else None
        if has_callbacks:
            trainer.tasks.finish()
        return self

    def transform(self, X):
        """Return the outputs of a layer of all networks: by default, of the last hidden layer.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, array-like; (n_rows, n_features)
            With the columns of `fit`.

        Returns
        -------
        ndarray of the dtype of the networks, shape (n_rows, n_networks * n_units)
            The outputs of the layer `transform_layer`, after its activation; the columns of the
            first network come first. A data frame after ``set_output(transform="pandas")``.

        Raises
        ------
        TypeError, ValueError
            As `TableEncoder.transform`, and if there is no such layer.
        """
        X, threads = self.encode(X), self._resolve_threads()
        layer = self.transform_layer
        for network in self.networks_:
            check_layer("transform_layer", layer, network.num_layers)
        return np.hstack([each.transform(X, layer, threads=threads) for each in self.networks_])

    def _list_networks(self):
        return self.networks_

    def _begin_tasks(self, data, networks, epochs, fitted):
        # Return the tasks of `fit` for scikit-learn's callbacks.
        networks += self.n_refit

        def reconstruct(network):
            own = {"networks_": [network], "temperature_": 1.0}
            return {**self._list_fitted(*fitted), **own}

        context = self._init_callback_context(max_subtasks=epochs if networks == 1 else networks)
        return FitTasks(self, context, data, networks, epochs, reconstruct)

    def _prepare_targets(self, X, y, sample_weight):
        # Return y as an array, what encodes it, and the weights of the rows.
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        y = self._check_targets(y, "y")
        check_consistent_length(X, y)
        targets, weights = self._make_targets(y, check_weights(sample_weight, len(y)))
        return y, targets, weights

    def _make_trainer(self, settings, columns, targets, samples, client, start):
        loss = self._make_loss()
        metric = resolve_metric(self.val_metric, self._task == CLASSIFICATION, loss)
        return Trainer(
            settings, columns, targets.count_outputs(loss), loss, samples, metric, self.dtype,
            self.compute_dtype, self.weight_decay_mode, self.early_stopping,
            None if self.time_limit is None else start + self.time_limit, self.n_refit,
            self._resolve_threads(), client, check_random_state(self.random_state), self.verbose,
        )  # fmt: skip

    def _split(self, samples, cv, groups, random_state):
        # Return the rows that each network trains on and those that it holds out.
        strata = samples.targets if self._task == CLASSIFICATION else None
        return split_folds(
            cv, len(samples.X), strata, groups, self.validation_fraction, random_state
        )

    def _encode_validation(self, validation_data, encoder, columns, targets):
        if not (isinstance(validation_data, (tuple, list)) and len(validation_data) == 2):
            raise ValueError("validation_data must be a tuple (X, y)")
        X, y = validation_data
        y = self._check_targets(y, "y of validation_data")
        X = columns.join(encoder.transform(X), encoder.dtype)
        if len(X) != len(y) or len(y) == 0:
            raise ValueError(
                f"validation_data must have one target for each row, at least one; got {len(X)} "
                f"and {len(y)}"
            )
        return Samples(X, targets.encode(y, "y of validation_data"), None)

    def _set_fitted(self, encoder, columns, targets, clamps):
        # Set what predictions need beside the networks.
        self.__dict__.pop("feature_names_in_", None)
        self.__dict__.update(self._list_fitted(encoder, columns, targets, clamps))

    def _list_fitted(self, encoder, columns, targets, clamps):
        # Return what predictions need beside the networks, a dict of attributes.
        names = {"feature_names_in_": getattr(encoder, "feature_names_in_", None)}
        return {
            "encoder_": encoder, "_columns": columns, "_targets": targets, "_clamps": clamps,
            "n_features_in_": encoder.n_features_in_,
            **{name: value for name, value in names.items() if value is not None},
        }  # fmt: skip

    def _adopt(self, trained, parts, trainer):
        # Set the networks, and what follows from the rows that they were not trained on.
        self.networks_, self.histories_ = trained
        self.best_epochs_ = [
            find_best_epoch(history, trainer.metric) for history in self.histories_
        ]
        held_out = [
            self._predict_held_out(network, part.X)
            for network, (_, part) in zip(self.networks_, parts, strict=True)
        ]
        self.__dict__.pop("oof_prediction_", None)
        if trainer.settings.cv is not None:
            self.oof_prediction_ = self._join_folds(parts, held_out, len(trainer.samples.X))
        weights = [part.weights for _, part in parts]
        self._calibrate((
            np.concatenate(held_out), np.concatenate([part.targets for _, part in parts]),
            None if weights[0] is None else np.concatenate(weights),
        ))  # fmt: skip
        if self.n_refit:
            stop = round(np.mean(self.best_epochs_))
            self.networks_, self.histories_ = trainer.train_refitted(self.n_refit, stop)
            # Fewer epochs if the time limit ended training.
            self.best_epochs_ = [len(history.epochs) - 1 for history in self.histories_]

    def _calibrate(self, held_out):
        # Use the predictions, targets and weights of the rows held out; a regressor does nothing.
        pass

    def _get_targets(self):
        # Return the targets of `fit`; AttributeError before, as for other attributes.
        if "_targets" not in self.__dict__:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        return self._targets

    def _join_folds(self, parts, held_out, n_samples):
        # Return the mean of the predictions for each row, NaN for rows that no fold has.
        total = np.zeros((n_samples, *held_out[0].shape[1:]))
        counts = np.zeros(n_samples)
        for (fold, _), predictions in zip(parts, held_out, strict=True):
            total[fold] += predictions
            counts[fold] += 1
        counts[counts == 0] = np.nan
        joined = total / counts.reshape(-1, *[1] * (total.ndim - 1))
        if self._task == CLASSIFICATION:
            return joined / joined.sum(1, keepdims=True)
        return self._targets.drop_column(joined)

    def _resolve_threads(self):
        return resolve_jobs(self.n_jobs)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "networks_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.non_deterministic = False
        tags.transformer_tags.preserves_dtype = []
        return tags
