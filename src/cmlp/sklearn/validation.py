"""Samples with weights, and the split of validation data from the training data."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing


class WeightedSamples(NamedTuple):
    """Samples with targets and weights.

    Attributes
    ----------
    X : ndarray or sparse matrix, shape (n_samples, n_features)
    y : ndarray, shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of float, shape (n_samples,), or None for equal weights
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None = None


def split_samples(samples, fraction, random_state, stratify):
    """Split samples at random, as scikit-learn does for `early_stopping`.

    Parameters
    ----------
    samples : WeightedSamples
    fraction : float
        The fraction of the samples to validate with: `validation_fraction`.
    random_state : numpy.random.RandomState
    stratify : ndarray or None
        The classes whose proportions are preserved in both subsets.

    Returns
    -------
    training, validation : WeightedSamples

    Raises
    ------
    ValueError
        If there is only one sample to validate with, or if one of the two subsets is empty.
    """
    X, y, sample_weight = samples
    # Splitting indices draws the same random numbers as splitting X, y and sample_weight.
    indices = train_test_split(
        np.arange(len(y)), random_state=random_state, test_size=fraction, stratify=stratify
    )
    if len(indices[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' "
            "or the size of your dataset."
        )
    training, validation = (
        WeightedSamples(
            _safe_indexing(X, index),
            y[index],
            None if sample_weight is None else sample_weight[index],
        )
        for index in indices
    )
    return training, validation
