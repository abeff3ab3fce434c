"""Lazy predictions and scores: one task for each block, and one that has the estimator."""

import uuid
from math import isnan

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask import delayed
from dask.dataframe.dispatch import make_meta
from sklearn.utils.validation import _check_feature_names

from cmlp._training.inputs import as_weights
from cmlp.dask.scores import measure_predictions


def share_estimator(estimator):
    """Return a Delayed of an estimator, which the graph has once and not in each task."""
    return delayed(estimator, name=f"cmlp-estimator-{uuid.uuid4().hex}", traverse=False)


def predict_block(block, estimator, method):
    """Return the predictions for a block of an array.

    Parameters
    ----------
    block : ndarray or sparse matrix, shape (n, n_features)
    estimator : estimator of cmlp.sklearn or cmlp.tabular
    method : str or callable
        ``"predict"``, ``"predict_proba"``, or a function of the estimator and a block.
    """
    if not block.shape[0]:
        return make_empty(estimator, method)
    return method(estimator, block) if callable(method) else getattr(estimator, method)(block)


def make_empty(estimator, method):
    """Return the predictions for no samples, with their shape and dtype."""
    network = estimator.network_ if hasattr(estimator, "network_") else estimator.networks_[0]
    example = np.zeros((1, estimator.n_features_in_), network.state.architecture.dtype)
    if hasattr(estimator, "feature_names_in_"):
        example = pd.DataFrame(example, columns=estimator.feature_names_in_)
    return predict_block(example, estimator, method)[:0]


def predict_frame(block, estimator, method):
    """Return the predictions for a partition of a data frame, a series or data frame."""
    return label_rows(predict_block(block, estimator, method), block.index, estimator, method)


def label_rows(values, index, estimator, method):
    """Return predictions as a series, or as a data frame with a column for each output."""
    if values.ndim == 1:
        return pd.Series(values, index=index)
    if method == "predict_proba":
        columns = estimator.classes_
    elif method == "transform":
        columns = estimator.get_feature_names_out()
    else:
        columns = range(values.shape[1])
    return pd.DataFrame(values, index=index, columns=list(columns))


def predict_lazily(estimator, X, method):
    """Return the predictions for a Dask collection, as a Dask collection.

    Parameters
    ----------
    estimator : estimator of cmlp.sklearn or cmlp.tabular
        Fitted.
    X : Dask array or data frame
    method : str or callable
        As for `predict_block`.

    Returns
    -------
    Dask array for an array, series or data frame for a data frame
    """
    empty, shared = make_empty(estimator, method), share_estimator(estimator)
    if isinstance(X, dd.DataFrame):
        example = make_meta(X)
        _check_feature_names(estimator, example, reset=False)
        meta = label_rows(empty, example.index, estimator, method)
        return X.map_partitions(predict_frame, shared, method, meta=meta)
    if not isinstance(X, da.Array) or X.ndim != 2:
        raise TypeError(f"X must be a Dask array with 2 dimensions or a data frame; got {X!r}")
    if X.shape[1] != estimator.n_features_in_ and not isnan(X.shape[1]):
        raise ValueError(
            f"X must have {estimator.n_features_in_} columns, as in fit; got {X.shape[1]}"
        )
    if X.numblocks[1] != 1:
        X = X.rechunk({1: -1})
    shape = {"drop_axis": 1} if empty.ndim == 1 else {"chunks": (X.chunks[0], empty.shape[1:])}
    return X.map_blocks(
        predict_block, estimator=shared, method=method, dtype=empty.dtype, meta=empty,
        token="cmlp-predict", **shape,
    )  # fmt: skip


def score_block(estimator, part, is_classifier):
    """Return the sums of the score of a partition; see `cmlp.dask.scores` and `load_blocks`."""
    X, y, sample_weight = part
    n_samples = X.shape[0]
    y = np.asarray(y)
    if len(y) != n_samples:
        raise ValueError(f"X and y must have the same number of rows; got {n_samples} and {len(y)}")
    if not n_samples:
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if sample_weight is not None:
        sample_weight = as_weights("sample_weight", np.asarray(sample_weight), n_samples)
    if not is_classifier and not (y.dtype.kind in "biuf" and np.isfinite(y).all()):
        raise ValueError("y must hold finite numbers")
    predictions = estimator.predict(X)
    if predictions.shape != y.shape:
        raise ValueError(f"y must have the shape {predictions.shape}; got {y.shape} in a partition")
    return measure_predictions(predictions, y, sample_weight, is_classifier)
