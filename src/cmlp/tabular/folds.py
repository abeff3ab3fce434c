"""The rows that each network of an ensemble is validated with."""

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, check_cv, train_test_split

from cmlp._utils.validation import check_integer


def split_folds(cv, n_samples, strata, groups, fraction, random_state):
    """Return the rows that each network holds out, a list of int arrays.

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
        If there are too few rows, or `groups` is given without `cv`.
    """
    if cv is None:
        if groups is not None:
            raise ValueError("groups must be None without cv, such as cv=GroupKFold(5)")
        return [hold_out(n_samples, strata, fraction, random_state)]
    if isinstance(cv, (int, np.integer)):
        check_integer("cv", cv, 2)
        splitter = make_splitter(int(cv), strata, groups, random_state)
    else:
        splitter = check_cv(cv, strata, classifier=strata is not None)
    y = np.zeros(n_samples) if strata is None else strata
    folds = [test for _, test in splitter.split(np.zeros((n_samples, 1)), y, groups)]
    if not folds:
        raise ValueError("cv must have at least one fold")
    return folds


def hold_out(n_samples, strata, fraction, random_state):
    """Return a random fraction of the rows, stratified if all classes allow it."""
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
    return train_test_split(
        rows, test_size=n_held_out, stratify=strata, random_state=random_state
    )[1]  # fmt: skip


def make_splitter(n_folds, strata, groups, random_state):
    """Return the splitter into shuffled folds: by groups, stratified if possible, or plain."""
    seed = random_state.randint(2**31)
    if groups is not None:
        return GroupKFold(n_folds, shuffle=True, random_state=seed)
    if strata is not None and np.bincount(strata).min() >= n_folds:
        return StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return KFold(n_folds, shuffle=True, random_state=seed)
