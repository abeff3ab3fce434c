"""The argument `validation_split`: which rows of X are held out of training."""

from numbers import Real

import numpy as np

from cmlp._model.state import SPLIT_EPOCH
from cmlp._training.sources import make_shuffled_order


def check_validation_split(name, value):
    """Raise unless `value` is a number in [0, 1), a mask or indices of rows, or a pair of these.

    Whether they fit the samples is checked by `split_rows`.
    """
    if is_pair(value):
        for part in value:
            check_rows(name, part)
        return
    if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), or rows of X; got {value!r}")
        return
    check_rows(name, value)


def check_rows(name, value):
    """Raise unless `value` is a mask or indices of rows."""
    try:
        array = np.asarray(value)
    except ValueError:  # rows of several lengths
        array = np.empty((0, 0), object)
    if array.dtype.kind not in "biu" or array.ndim != 1:
        raise TypeError(
            f"{name} must be a number, or rows of X as a mask or integers, shape (n,); "
            f"got {type(value).__name__} of {array.dtype}, shape {array.shape}"
        )


def is_pair(value):
    """Return whether a value is a tuple of two sequences: rows to train on, and to validate on."""
    return isinstance(value, tuple) and len(value) == 2 and all(np.ndim(v) == 1 for v in value)


def is_given(validation_split):
    """Return whether the argument asks for rows that are held out."""
    return not isinstance(validation_split, Real) or validation_split != 0


def split_rows(seed, n_samples, validation_split):
    """Return the rows to train on and the rows to validate on; both None without a split.

    Parameters
    ----------
    seed : int
        Of the network, for a fraction of the rows.
    n_samples : int
    validation_split : float or array_like
        As `check_validation_split` accepts it.

    Returns
    -------
    subset, held_out : ndarray of uint32, or None

    Raises
    ------
    ValueError
        If rows do not fit, or nothing is left to train on or to validate with.
    """
    if not is_given(validation_split):
        return None, None
    if not isinstance(validation_split, Real):
        parts = validation_split if is_pair(validation_split) else (None, validation_split)
        return split_at_rows(n_samples, *parts)
    held_out = round(n_samples * validation_split)
    if not 0 < held_out < n_samples:
        raise ValueError(
            f"validation_split={validation_split} of {n_samples} samples leaves "
            f"{n_samples - held_out} to train on and {held_out} to validate with"
        )
    order = make_shuffled_order(seed, SPLIT_EPOCH, n_samples)
    return order[held_out:], order[:held_out]


def split_at_rows(n_samples, trained, held_out):
    """Return rows to train on, by default those that are not held out, and the rows held out."""
    held_out = convert_rows(n_samples, held_out)
    if len(np.unique(held_out)) < len(held_out):
        raise ValueError("validation_split must hold different rows; got one twice")
    if trained is None:
        mask = np.ones(n_samples, bool)
        mask[held_out] = False
        trained, held_out = mask, np.sort(held_out)
    trained = convert_rows(n_samples, trained)
    if not (len(trained) and len(held_out)):
        raise ValueError(
            f"validation_split leaves {len(trained)} samples to train on and {len(held_out)} to "
            "validate with"
        )
    return trained, held_out


def convert_rows(n_samples, rows):
    """Return a mask or indices of rows as indices, uint32; raise ValueError unless they fit."""
    rows = np.asarray(rows)
    if rows.dtype.kind == "b":
        if len(rows) != n_samples:
            raise ValueError(
                f"validation_split must be a mask of {n_samples} rows, like X; got {len(rows)}"
            )
        rows = np.flatnonzero(rows)
    elif len(rows) and not (rows.min() >= 0 and rows.max() < n_samples):
        raise ValueError(
            f"validation_split must hold rows from 0 to {n_samples - 1}; "
            f"got {rows.min()} to {rows.max()}"
        )
    return rows.astype(np.uint32)
