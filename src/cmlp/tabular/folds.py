"""The rows that each network of an ensemble is validated with."""

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, check_cv, train_test_split

from cmlp._utils.schema import SHORT
from cmlp._utils.validation import check_integer


def split_folds(cv, n_samples, strata, groups, fraction, random_state):
    """Return the rows that each network trains on and those that it holds out.

    Parameters
    ----------
    cv : int, cross-validation splitter, iterable or None
        None for one network.
    n_samples : int
    strata : ndarray or None
        Classes whose proportions are preserved where possible; None for regression.
    groups : array-like or None
    fraction : float
        Fraction of the rows that a single network holds out.
    random_state : numpy.random.RandomState

    Raises
    ------
    ValueError
        If there are too few rows, a fold does not fit, or `groups` is given without `cv`.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
    """
    if cv is None:
        if groups is not None:
            raise ValueError("groups must be None without cv, such as cv=GroupKFold(5)")
        return [hold_out(n_samples, strata, fraction, random_state)]
    if isinstance(cv, (int, np.integer)):
        check_integer("cv", cv, 2)
        limit = n_samples if groups is None else len(np.unique(groups))
        if cv > limit:
            what = "samples" if groups is None else "groups"
            raise ValueError(f"cv must be at most the number of {what}, {limit}; got {cv}")
        splitter = make_splitter(int(cv), strata, groups, random_state)
    else:
        splitter = check_cv(cv, strata, classifier=strata is not None)
    y = np.zeros(n_samples) if strata is None else strata
    try:
        pairs = [(a, b) for a, b in splitter.split(np.zeros((n_samples, 1)), y, groups)]
    except TypeError as error:
        raise TypeError(
            f"cv must be an integer, a splitter or pairs of rows; got {cv!r}"
        ) from error
    if not pairs:
        raise ValueError("cv must have at least one fold; got none")
    return [
        (convert_rows(train, n_samples, f"cv[{i}][0]"),
         convert_rows(test, n_samples, f"cv[{i}][1]", are_distinct=True))
        for i, (train, test) in enumerate(pairs)
    ]  # fmt: skip


def convert_rows(rows, n_samples, name, are_distinct=False):
    """Return a mask or indices of rows, at least one, as indices."""
    array = np.asarray(rows)
    if array.dtype.kind == "b" and array.shape == (n_samples,):
        array = np.flatnonzero(array)
    is_index = array.dtype.kind in "iu" and array.ndim == 1 and len(array)
    is_valid = is_index and array.min() >= 0 and array.max() < n_samples
    if not is_valid or (are_distinct and len(np.unique(array)) < len(array)):
        raise ValueError(
            f"{name} must be {'different ' * are_distinct}rows from 0 to {n_samples - 1}, at least "
            f"one, as indices or a mask; got {SHORT.repr(rows)}"
        )
    return array


def hold_out(n_samples, strata, fraction, random_state):
    """Return a split that holds out a fraction of the rows, stratified if all classes allow it."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be in (0, 1); got {fraction!r}")
    if n_samples < 2:
        raise ValueError(
            f"X must have at least 2 samples, one to validate with; got n_samples = {n_samples}"
        )
    n_held_out = min(max(1, round(n_samples * fraction)), n_samples - 1)
    if strata is not None:
        counts = np.bincount(strata)
        n_classes = len(counts)
        if counts.min() < 2 or min(n_held_out, n_samples - n_held_out) < n_classes:
            strata = None
    rows = np.arange(n_samples)
    train, test = train_test_split(
        rows, test_size=n_held_out, stratify=strata, random_state=random_state
    )
    return train, test


def make_splitter(n_folds, strata, groups, random_state):
    """Return the splitter into shuffled folds: by groups, stratified if possible, or plain."""
    seed = random_state.randint(2**31)
    if groups is not None:
        return GroupKFold(n_folds, shuffle=True, random_state=seed)
    if strata is not None and np.bincount(strata).min() >= n_folds:
        return StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return KFold(n_folds, shuffle=True, random_state=seed)
