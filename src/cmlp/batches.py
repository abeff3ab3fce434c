"""Any accepted X and y as the engine reads them: rows in place, labels or targets."""

import contextlib

import numpy as np

from cmlp._core.samples import Rows, Targets

# The order of samples is kept in 32 bits.
MOST_SAMPLES = 2**32 - 1


def as_matrix(X, inputs, dtype, name="X"):
    """Return X as a 2-D array that the engine reads where it lies.

    Parameters
    ----------
    X : array_like, shape (n, inputs) or (n, ...) with as many elements a sample
    inputs : int
    dtype : numpy.dtype
        What real numbers are converted to that are neither uint8, float32 nor float64.
    name : str
        What an error calls it.

    Raises
    ------
    ValueError
        If the shape does not fit.
    TypeError
        If the elements are not real numbers.
    """
    array = real_array(name, X)
    if array.ndim < 2:
        raise ValueError(
            f"{name} must have shape (n, {inputs}), got {array.shape}; "
            f"a single sample is {name}.reshape(1, -1)"
        )
    width = int(np.prod(array.shape[1:]))
    if width != inputs:
        raise ValueError(f"{name} must have {inputs} columns as the network has inputs, "
                         f"got shape {array.shape}")  # fmt: skip
    if array.shape[0] > MOST_SAMPLES:
        raise ValueError(f"{name} may have {MOST_SAMPLES} samples, got {array.shape[0]}")
    array = array.reshape(array.shape[0], width)
    if array.dtype not in (np.uint8, np.float32, np.float64) or not array.dtype.isnative:
        array = array.astype(dtype)
    if width > 1 and array.strides[1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array


def as_rows(X, inputs, dtype, name="X", finite=True):
    """Return X as `Rows`; with `finite`, NaN or infinity raises `ValueError`."""
    rows = Rows(as_matrix(X, inputs, dtype, name))
    if finite and (row := rows.first_not_finite()) >= 0:
        raise ValueError(f"{name} must be finite; row {row} holds NaN or infinity")
    return rows


def as_targets(y, samples, outputs, loss, dtype, name="y"):
    """Return y as `Targets`.

    Parameters
    ----------
    y : array_like
        With several outputs, (n,) whole labels from 0 or (n, outputs) reals; with one
        output, (n,) or (n, 1) reals.
    samples : int
        How many rows X has.
    outputs : int
    loss : cmlp.spec.Loss
    dtype : numpy.dtype
    name : str

    Raises
    ------
    ValueError
        If the length, a shape, a label or the range of a target does not fit.
    TypeError
        If the elements are not real numbers.
    """
    array = real_array(name, y)
    if array.ndim == 0 or len(array) != samples:
        raise ValueError(
            f"{name} must have as many samples as X, {samples}, got shape {array.shape}"
        )
    if array.ndim == 1 and outputs > 1:
        return Targets(as_labels(array, outputs, name))
    array = array.reshape(samples, 1) if array.ndim == 1 else array
    if array.shape != (samples, outputs):
        wanted = f"({samples},) or ({samples}, {outputs})"
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    if loss.probabilities and not ((array >= 0) & (array <= 1)).all():
        raise ValueError(
            f"{name} must lie between 0 and 1 for {loss.name}, "
            f"got values from {array.min()} to {array.max()}"
        )
    return Targets(array)


def as_labels(array, classes, name="y"):
    """Return whole labels in [0, classes) as int32, shape (n,)."""
    if array.dtype.kind == "f" and not (array == np.trunc(array)).all():
        raise ValueError(
            f"{name} of shape {array.shape} is read as labels, which must be whole numbers; "
            f"real targets have shape ({len(array)}, {classes})"
        )
    if len(array) and not (array.min() >= 0 and array.max() < classes):
        raise ValueError(
            f"{name} must hold labels from 0 to {classes - 1}, got {array.min()} to {array.max()}"
        )
    return np.ascontiguousarray(array, np.int32)


def real_array(name, value):
    """Return `value` as an array of real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from None
    if array.dtype == object:
        with contextlib.suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
    return array
