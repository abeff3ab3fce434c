"""Targets of RealMLP: labels as codes, real numbers standardized, and predictions back."""

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from cmlp import losses
from cmlp._utils.validation import check_unmasked


class ClassTargets:
    """Labels of classes, encoded as 0, 1, ...

    Parameters
    ----------
    y : ndarray, shape (n_samples,)
    label_smoothing : float
    class_weight : dict, "balanced" or None

    Attributes
    ----------
    classes : ndarray, shape (n_classes,)
    n_outputs : int
    loss : cmlp.losses.Loss
    """

    def __init__(self, y, label_smoothing, class_weight):
        check_classification_targets(y)
        self.classes, self.codes = np.unique(y, return_inverse=True)
        self.n_outputs = max(2, len(self.classes))
        self.loss = losses.cross_entropy(label_smoothing)
        self.class_weight = class_weight

    def encode(self, y, name):
        """Return labels as codes, int32 (n_samples,).

        Raises
        ------
        ValueError
            If a label is not one of `classes`.
        """
        codes = np.searchsorted(self.classes, y).clip(max=len(self.classes) - 1)
        unknown = self.classes[codes] != y
        if unknown.any():
            raise ValueError(
                f"{name} must hold labels that occur in y; got {y[unknown.argmax()]!r} in row "
                f"{unknown.argmax()}"
            )
        return codes.astype(np.int32)

    def combine_weights(self, y, sample_weight):
        """Return the product of weights of samples and of classes, float64, or None."""
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight


class RealTargets:
    """Real targets, standardized by their weighted mean and deviation.

    Parameters
    ----------
    y : ndarray of float64, shape (n_samples,) or (n_samples, n_targets)
    sample_weight : ndarray of float64, shape (n_samples,), or None
    loss : cmlp.losses.Loss

    Attributes
    ----------
    mean, deviation, lowest, highest : ndarray, shape (n_targets,)
        The deviation is 1 if all values are equal.
    n_outputs : int
        Number of outputs of the network.
    """

    def __init__(self, y, sample_weight, loss):
        table = y.reshape(len(y), -1)
        self.is_vector, self.loss = y.ndim == 1, loss
        self.mean = np.average(table, axis=0, weights=sample_weight)
        self.lowest, self.highest = table.min(0), table.max(0)
        deviation = np.sqrt(np.average((table - self.mean) ** 2, axis=0, weights=sample_weight))
        self.deviation = np.where(self.lowest == self.highest, 1.0, deviation)
        if not np.isfinite(self.deviation).all() or not (self.deviation > 0).all():
            raise ValueError("y must have a deviation within the range of float64")
        quantiles = len(loss.quantiles) if loss.name == "pinball" else 1
        self.n_outputs = table.shape[1] * (2 if loss.has_std else quantiles)
        if quantiles > 1 and table.shape[1] > 1:
            raise ValueError(f"y must have one target with several quantiles; got {y.shape}")

    def encode(self, y, name):
        """Return standardized targets, float64 (n_samples, n_targets)."""
        table = y.reshape(len(y), -1)
        if table.shape[1] != len(self.mean):
            raise ValueError(f"{name} must have {len(self.mean)} targets, like y; got {y.shape}")
        return (table - self.mean) / self.deviation

    def decode(self, predictions, clamps):
        """Return predictions, (n_samples, k), in the units of y; `clamps` limits them to its range.

        With several quantiles, k is their number; otherwise it is the number of targets.
        """
        values = predictions.reshape(len(predictions), -1) * self.deviation + self.mean
        return values.clip(self.lowest, self.highest) if clamps else values

    def drop_column(self, values):
        """Return values (n_samples, k) as (n_samples,) if k is 1 and y had no second axis."""
        return values[:, 0] if self.is_vector and values.shape[1] == 1 else values


def check_weights(sample_weight, n_samples):
    """Return sample weights as float64, (n_samples,), or None.

    Raises
    ------
    ValueError
        If they have another shape, are negative or not finite, or are all zero.
    """
    if sample_weight is None:
        return None
    check_unmasked("sample_weight", sample_weight)
    weights = np.asarray(sample_weight, np.float64)
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},); got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample_weight must be finite, not negative and not all zero")
    return weights
