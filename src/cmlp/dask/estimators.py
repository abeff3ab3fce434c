"""The estimators: those of `cmlp.sklearn`, and three arguments more."""

from typing import ClassVar

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.metaestimators import available_if

from cmlp import sklearn as local
from cmlp._utils.fields import store_arguments
from cmlp.dask.base import CONSTRAINTS, ClusterClassifier, ClusterRegressor
from cmlp.dask.mixin import ClusterMixin
from cmlp.dask.partitions import weigh_classes
from cmlp.sklearn.estimators import predicts_probabilities, predicts_scores


class MLPClassifier(ClusterClassifier, ClusterMixin, local.MLPClassifier):  # type: ignore[misc]  # no ranks in fit
    """`cmlp.sklearn.MLPClassifier` for Dask arrays and data frames.

    A round trains a copy of the network on each partition, where the partition is, and averages
    the copies. `max_iter`, `n_iter_`, `loss_curve_`, `n_iter_no_change` and schedules count rounds
    instead of epochs. With the same data, partitioning and `random_state`, the
    result has the same bits for any number of workers, also if workers are lost.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, ... : as in `cmlp.sklearn.MLPClassifier`
        `solver` is ``"adam"`` or ``"sgd"``. `early_stopping` holds out `validation_fraction` of
        each partition, without stratification. `callbacks` are called on the client after each
        round; those that need steps or checkpoints are not supported.
    n_jobs, threads : int, optional
        Number of threads of a task; by default 1, as workers run several tasks at a time.
    client : distributed.Client, optional
        The cluster to train on; by default the active client. Not pickled.
    local_steps : int, optional
        Number of steps that each partition takes in a round; by default an epoch of its samples.
    replicas : int, optional
        Number of copies of the network that are trained at the same time and averaged after each
        round. Each trains on consecutive partitions in turn. By default one for each partition.
        The result depends on it, so the number of workers is not a default.

    Attributes
    ----------
    coefs_, intercepts_, classes_, loss_curve_, ... : as in scikit-learn
    network_ : cmlp.Network
    history_ : cmlp.History
        A record for each round.
    client_ : distributed.Client
    """

    _local_class: ClassVar[type] = local.MLPClassifier
    _parameter_constraints: ClassVar[dict] = {
        **local.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001,
                 batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False,
                 warm_start=False, momentum=0.9, nesterovs_momentum=True, early_stopping=False,
                 validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, loss="log_loss", label_smoothing=0.0,
                 optimizer=None, schedule=None, decay_schedule=None, dropout_schedule=None,
                 dropout=0.0, input_dropout=0.0, input_noise=0.0, max_norm=None, initializer=None,
                 normalization=None, batch_norm=False, class_weight=None, callbacks=None,
                 metrics=None, transform_layer=-2, dtype=None, compute_dtype=None, n_jobs=None,
                 threads=None, client=None, local_steps=None, replicas=None):  # fmt: skip
        store_arguments(self, locals())

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one round; the next call continues, with the optimizer's state.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, shape (n_classes,)
            All classes; required in the first call.

        Returns
        -------
        self
        """
        if classes is None and not hasattr(self, "classes_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._fit_collections(X, y, sample_weight, is_incremental=True, classes=classes)

    @available_if(predicts_probabilities)
    def predict_proba(self, X):
        """Predict the probabilities of the classes, lazily for Dask collections.

        Parameters
        ----------
        X : array-like, sparse matrix, or Dask array or data frame, shape (n_samples, n_features)

        Returns
        -------
        ndarray, Dask array or Dask data frame, shape (n_samples, n_classes)
        """
        return super().predict_proba(X)

    @available_if(predicts_scores)
    def decision_function(self, X):
        """Return the scores of the classes, lazily for Dask collections.

        Parameters
        ----------
        X : array_like, table or Dask collection, shape (n, n_features)
            As in `predict_proba`.
        """
        return self._predict_any(X, "decision_function")

    def _learn_targets(self, summaries, n_outputs, continues, classes):
        if n_outputs is not None:
            found = np.arange(n_outputs)
            example = np.array([[0] * n_outputs, [1] * n_outputs])
        else:
            found = np.unique(np.concatenate([s.classes for s in summaries]))
            example = found
            if not continues and classes is not None:
                example = np.unique(classes)
        if continues:
            example = self.classes_
        elif n_outputs is not None or len(found):
            self._label_binarizer = LabelBinarizer().fit(example)
            self.classes_ = self._label_binarizer.classes_
        if not np.isin(found, self.classes_).all():
            unknown = np.setdiff1d(found, self.classes_)
            raise ValueError(
                f"y must have labels among the classes {self.classes_}; got {unknown[0]!r}"
            )
        n_targets = n_outputs or (len(self.classes_) if len(self.classes_) > 2 else 1)
        return super()._learn_targets(summaries, n_targets, continues, classes)

    def _weight_classes(self, summaries):
        return weigh_classes(self.class_weight, self.classes_, summaries)


class MLPRegressor(ClusterRegressor, ClusterMixin, local.MLPRegressor):  # type: ignore[misc]  # no ranks in fit
    """`cmlp.sklearn.MLPRegressor` for Dask arrays and data frames; see `MLPClassifier`.

    Parameters
    ----------
    loss, hidden_layer_sizes, activation, solver, ... : as in `cmlp.sklearn.MLPRegressor`
        With the same restrictions as for `MLPClassifier`.
    n_jobs, threads : int, optional
        Number of threads of a task; by default 1.
    client : distributed.Client, optional
        The cluster to train on; by default the active client. Not pickled.
    local_steps : int, optional
        Number of steps that each partition takes in a round; by default an epoch of its samples.
    replicas : int, optional
        Number of copies of the network that are trained at the same time and averaged after each
        round. Each trains on consecutive partitions in turn. By default one for each partition.
        The result depends on it, so the number of workers is not a default.

    Attributes
    ----------
    coefs_, intercepts_, loss_curve_, ... : as in scikit-learn
    network_ : cmlp.Network
    history_ : cmlp.History
        A record for each round.
    client_ : distributed.Client
    """

    _local_class: ClassVar[type] = local.MLPRegressor
    _parameter_constraints: ClassVar[dict] = {
        **local.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
    }

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
                 solver="adam", alpha=0.0001, batch_size="auto", learning_rate="constant",
                 learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9,
                 beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000, quantiles=0.5,
                 optimizer=None, schedule=None, decay_schedule=None, dropout_schedule=None,
                 dropout=0.0, input_dropout=0.0, input_noise=0.0, max_norm=None, initializer=None,
                 normalization=None, batch_norm=False, callbacks=None, metrics=None,
                 transform_layer=-2, dtype=None, compute_dtype=None, n_jobs=None, threads=None,
                 client=None, local_steps=None, replicas=None):  # fmt: skip
        store_arguments(self, locals())
