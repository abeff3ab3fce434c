"""Targets of RealMLP: labels as codes, real numbers standardized, and predictions back."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from cmlp._utils.validation import check_non_negative, check_unmasked

# The greatest target: differences of two are within the range of float64.
GREATEST = 1e307


@dataclass(frozen=True, eq=False)
class ClassTargets:
    """Labels of classes, encoded as 0, 1, ...

    Attributes
    ----------
    classes : ndarray, shape (n_classes,)
        In ascending order, without duplicates.
    """

    classes: np.ndarray

    @classmethod
    def learn(cls, y):
        """Return the targets for labels, ndarray (n_samples,)."""
        check_classification_targets(y)
        return cls(np.unique(y))

    def count_outputs(self, loss):
        """Return the number of outputs of a network: one for each class, at least two."""
        return max(2, len(self.classes))

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
            row = unknown.argmax()
            raise ValueError(
                f"{name} must hold labels that occur in y; got {y.tolist()[row]!r} in row {row}"
            )
        return codes.astype(np.int32)


@dataclass(frozen=True, eq=False)
class RealTargets:
    """Real targets, standardized by their weighted mean and deviation.

    Attributes
    ----------
    mean, deviation, lowest, highest : ndarray of float64, shape (n_targets,)
        The deviation is 1 if all values are equal, or those with a weight.
    is_vector : bool
        Whether the targets had the shape (n_samples,).
    """

    mean: np.ndarray
    deviation: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    is_vector: bool

    @classmethod
    def learn(cls, y, sample_weight):
        """Return the targets for values, ndarray of float64, (n_samples,) or (n_samples, k)."""
        table = y.reshape(len(y), -1)
        lowest, highest = table.min(0), table.max(0)
        unit = choose_unit(lowest, highest)
        scaled = table / unit
        mean = np.average(scaled, axis=0, weights=sample_weight)
        square = np.average((scaled - mean) ** 2, axis=0, weights=sample_weight)
        return cls.from_moments(mean, square, unit, lowest, highest, y.ndim == 1)

    @classmethod
    def from_moments(cls, mean, square, unit, lowest, highest, is_vector):
        """Return the targets for the mean and the variance of the values divided by `unit`."""
        deviation = np.sqrt(square) * unit
        deviation[(square == 0) | (deviation == 0)] = 1.0
        return cls(mean * unit, deviation, lowest, highest, is_vector)

    def count_outputs(self, loss):
        """Return the number of outputs of a network with a loss.

        Raises
        ------
        ValueError
            If there are several targets and several quantiles.
        """
        n_targets = len(self.mean)
        quantiles = len(loss.quantiles) if loss.name == "pinball" else 1
        if quantiles > 1 and n_targets > 1:
            raise ValueError(f"y must have one target with several quantiles; got {n_targets}")
        return n_targets * (2 if loss.has_std else quantiles)

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


def choose_unit(lowest, highest):
    """Return numbers to divide targets by, so that squares neither overflow nor underflow.

    Parameters
    ----------
    lowest, highest : ndarray of float64, shape (n_targets,)
        The range of each target.
    """
    greatest = np.maximum(highest, -lowest)
    if greatest.max() > GREATEST:
        raise ValueError(f"y must be at most {GREATEST:g} in size; got {greatest.max()}")
    return np.where(greatest > 0, greatest, 1.0)


def convert_real(y, name):
    """Return real targets, (n_samples,) or (n_samples, n_targets), as float64.

    Raises
    ------
    ValueError
        If they have another shape, are not real numbers or not finite.
    """
    check_unmasked(name, y)
    array = np.asarray(y)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} must hold real numbers")
    if array.dtype.kind not in "biufO" or array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise ValueError(
            f"{name} must hold real numbers, shape (n_samples,) or (n_samples, n_targets); "
            f"got {array.dtype}, shape {array.shape}"
        )
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold real numbers: {error}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must not hold NaN or infinity")
    return array


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
    try:
        weights = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"sample_weight must hold numbers; got {sample_weight!r}") from None
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},); got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample_weight must be finite, not negative and not all zero")
    return weights


def check_class_weight(class_weight):
    """Raise `ValueError` unless it is a dict of weights, "balanced" or None."""
    if class_weight is None or (isinstance(class_weight, str) and class_weight == "balanced"):
        return
    if not isinstance(class_weight, dict):
        raise ValueError(f"class_weight must be a dict, 'balanced' or None; got {class_weight!r}")
    for label, weight in class_weight.items():
        check_non_negative(f"class_weight[{label!r}]", weight)


def weigh_classes(class_weight, y, sample_weight):
    """Return the product of the weights of samples and of their classes, float64, or None.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    y : ndarray, shape (n_samples,)
    sample_weight : ndarray of float64, shape (n_samples,), or None
    """
    check_class_weight(class_weight)
    if class_weight is None:
        return sample_weight
    weights = compute_sample_weight(class_weight, y)
    return weights if sample_weight is None else weights * sample_weight
