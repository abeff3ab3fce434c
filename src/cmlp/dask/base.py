"""What all estimators of a cluster have: a client, lazy predictions, a local copy."""

import copy
import uuid
from numbers import Integral

import dask
import distributed
import numpy as np
from dask import delayed, is_dask_collection
from sklearn.base import _clone_parametrized, is_classifier
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from cmlp.dask.blocks import Blocks
from cmlp.dask.clients import find_client
from cmlp.dask.prediction import predict_lazily, score_block, share_estimator
from cmlp.dask.scores import compute_score

# Arguments of the cluster's estimators that the local ones do not have.
CLUSTER_ARGUMENTS = "client", "local_steps", "replicas"

CONSTRAINTS = {
    "client": [distributed.Client, None],
    "local_steps": [Interval(Integral, 1, None, closed="left"), None],
    "replicas": [Interval(Integral, 1, None, closed="left"), None],
}


class ClusterEstimator:
    """Base of the estimators of a cluster.

    In an estimator's bases it precedes the local estimator, whose methods predict for arrays and
    which is the class attribute `_local_class`.
    """

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self):
        # A client cannot be copied: the clone has the same one.
        arguments = {**self.get_params(deep=False), "client": None}
        other = _clone_parametrized(type(self)(**arguments))
        return other.set_params(client=self.client)

    @property
    def set_callbacks(self):
        """Not available: scikit-learn's callbacks do not observe a cluster."""
        raise AttributeError(
            f"{type(self).__name__} does not support scikit-learn's callbacks; use the argument "
            "callbacks of MLPClassifier and MLPRegressor, which are called after each round"
        )

    @property
    def client_(self):
        """The `distributed.Client` that `fit` uses: `client`, or the active one."""
        return find_client(self.client)

    def to_local(self):
        """Return the local estimator with the same arguments and copies of the networks.

        Returns
        -------
        estimator of cmlp.sklearn or cmlp.tabular
        """
        arguments = self.get_params(deep=False)
        fitted = {name: value for name, value in vars(self).items() if name not in arguments}
        for name in CLUSTER_ARGUMENTS:
            del arguments[name]
        local = self._local_class(**arguments)
        if fitted:
            local.__setstate__({**arguments, **copy.deepcopy(fitted)})
        return local

    # Prediction.

    def predict(self, X):
        """Predict for arrays, or lazily for Dask collections.

        Parameters
        ----------
        X : array-like, sparse matrix, or Dask array or data frame, shape (n_samples, n_features)

        Returns
        -------
        ndarray, or Dask array or series; for several outputs a Dask data frame for a data frame
        """
        return self._predict_any(X, "predict")

    def transform(self, X):
        """Return the outputs of the layer `transform_layer`, lazily for Dask collections.

        Parameters
        ----------
        X : array-like, table, sparse matrix, or Dask array or data frame
            Of shape (n_samples, n_features).

        Returns
        -------
        ndarray, Dask array or Dask data frame, shape (n_samples, n_units)
        """
        if not is_dask_collection(X):
            return super().transform(X)
        check_is_fitted(self)
        return predict_lazily(self.to_local().set_output(transform="default"), X, "transform")

    def _predict_any(self, X, method):
        # `method` of a local estimator, or for collections a function of it and a block.
        if not is_dask_collection(X):
            return getattr(super(), method)(X)
        check_is_fitted(self)
        return predict_lazily(self.to_local(), X, method)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy or the R^2 of the predictions for X.

        Parameters
        ----------
        X, y, sample_weight : Dask collections as in `fit`, or array-like
            Of Dask collections, only sums over each partition are collected.

        Returns
        -------
        float
        """
        if not is_dask_collection(X):
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        blocks = Blocks.align(X, y, sample_weight, is_table=True)  # `predict` checks X
        local = share_estimator(self.to_local())
        name = f"cmlp-score-{uuid.uuid4().hex}"
        sums = [
            delayed(score_block)(local, part, is_classifier(self), dask_key_name=(name, i))
            for i, part in enumerate(blocks.parts)
        ]
        if self.client is not None:
            sums = self.client.gather(self.client.compute(sums))
        else:
            sums = dask.compute(*sums)  # by the active client, or in this process
        if not any(part is not None and part[0].any() for part in sums):
            raise ValueError("X must have samples whose sample_weight is positive; got none")
        return compute_score(sums, is_classifier(self))


class ClusterClassifier:
    """The probabilities of a classifier of a cluster; it precedes `ClusterEstimator`."""

    def predict_proba(self, X):
        """Predict the probabilities of the classes, lazily for Dask collections.

        Parameters
        ----------
        X : array-like, table, sparse matrix, or Dask array or data frame
            Of shape (n_samples, n_features).

        Returns
        -------
        ndarray, Dask array or Dask data frame, shape (n_samples, n_classes)
            In the order of `classes_`, which are the columns of a data frame.
        """
        return self._predict_any(X, "predict_proba")

    def predict_log_proba(self, X):
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array_like, table or Dask collection, shape (n, n_features)
            As in `predict_proba`.
        """
        if is_dask_collection(X):
            return np.log(self.predict_proba(X))
        return super().predict_log_proba(X)


class ClusterRegressor:
    """The predictions of a regressor of a cluster; it precedes `ClusterEstimator`."""

    def predict(self, X, return_std=False):
        """Predict for arrays and tables, or lazily for Dask collections.

        Parameters
        ----------
        X : table, array-like, or Dask data frame or array, shape (n_rows, n_features)
        return_std : bool, default False
            As for the local estimator. Of Dask collections, means and standard
            deviations are computed apart.

        Returns
        -------
        ndarray, or Dask array or series; for several outputs a Dask data frame for a data frame
        std
            Only with `return_std`.
        """
        if return_std and is_dask_collection(X):
            return self._predict_any(X, "predict"), self._predict_any(X, predict_std)
        if is_dask_collection(X):
            return self._predict_any(X, "predict")
        return self._local_class.predict(self, X, return_std)

    def score(self, X, y, sample_weight=None):
        """Return R^2 of the predictions; of Dask collections, only sums are collected.

        Parameters
        ----------
        X, y, sample_weight
            Dask collections as in `fit`, or as for the local estimator.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            For the loss `pinball` and Dask collections: quantiles have another score.
        """
        has_quantiles = self.loss == "pinball" or getattr(self.loss, "quantiles", ())
        if is_dask_collection(X) and has_quantiles:
            raise ValueError(
                "loss must not be 'pinball' for the score of Dask collections; "
                "sklearn.metrics.d2_pinball_score takes computed predictions"
            )
        return super().score(X, y, sample_weight)


def predict_std(estimator, X):
    """Return the standard deviations that a local estimator predicts."""
    return estimator.predict(X, return_std=True)[1]


def find_common(what, name, values):
    """Return the value that all partitions with samples have; raise `ValueError` if they differ.

    Parameters
    ----------
    what, name : str
        Of the value and the argument, for messages.
    values : dict from int to object
        By the number of the partition.
    """
    first, expected = next(iter(values.items()))
    for number, value in values.items():
        if value != expected:
            raise ValueError(
                f"{name} must have the same number of {what} in all partitions; got {expected} in "
                f"partition {first} and {value} in partition {number}"
            )
    return expected
