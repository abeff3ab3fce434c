"""Tasks that convert the blocks of a partition, once, to the engine's samples and targets.

All functions are pure and run on the workers.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import type_of_target

from cmlp._core.inputs import Rows, Targets
from cmlp._model.state import SPLIT_EPOCH
from cmlp._training.inputs import as_weights, check_range, is_scipy_sparse, prepare_rows
from cmlp._training.sources import make_shuffled_order
from cmlp._utils.validation import check_unmasked, convert_dtype

CLASS_TARGETS = ("binary", "multiclass", "multilabel-indicator")


class LoadedBlocks(NamedTuple):
    """The blocks of one partition, with equal numbers of rows.

    Attributes
    ----------
    X : ndarray or sparse matrix, shape (n, n_features)
    y : ndarray, shape (n,) or (n, n_outputs)
    sample_weight : ndarray of float64, shape (n,), or None
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None


class Summary(NamedTuple):
    """Properties of a partition that the client reads before training.

    Attributes
    ----------
    n_samples, n_features : int
    n_outputs : int or None
        None if y has one dimension.
    classes : ndarray or None
        The different labels, for a classifier without multilabel targets.
    class_weights : ndarray of float64 or None
        For each of them, the number of its samples, or the sum of their weights.
    class_counts : ndarray of int or None
        For each of them, the number of its samples.
    """

    n_samples: int
    n_features: int
    n_outputs: int | None
    classes: np.ndarray | None
    class_weights: np.ndarray | None
    class_counts: np.ndarray | None = None


@dataclass(frozen=True)
class Preparation:
    """Arguments of `prepare_partition` that all partitions share.

    Attributes
    ----------
    architecture : Architecture
    out_activation : str
        scikit-learn's `out_activation_`.
    classes : ndarray or None
        All classes, sorted; None for regression and multilabel targets.
    class_weight : ndarray of float64 or None
        One weight for each class.
    validation_fraction : float
        Fraction of each partition to validate with: 0 for none of it, 1 for validation data.
    batch_size : int
    seed : int
    """

    architecture: Any
    out_activation: str
    classes: np.ndarray | None
    class_weight: np.ndarray | None
    validation_fraction: float
    batch_size: int
    seed: int

    def convert_samples(self, X, label):
        """Return the arrays of a `Partition` for a block of X."""
        name, dtype = f"X of {label}", self.architecture.dtype
        if is_scipy_sparse(X):
            X = X.tocsr()
            if X.data.dtype != dtype:
                X = X.astype(dtype)
        else:
            X = convert_dtype(name, X, dtype)  # bytes too: scikit-learn does not scale them
        rows = prepare_rows(X, self.architecture, batch_size=self.batch_size, name=name)
        return rows.arrays if rows.is_sparse else (X,)

    def encode_targets(self, y, name):
        """Return targets of the engine: int32 labels (n,), or values (n, n_outputs)."""
        dtype = self.architecture.dtype
        if self.classes is not None:
            codes = find_classes(y, self.classes)
            is_known = self.classes[np.minimum(codes, len(self.classes) - 1)] == y
            if not is_known.all():
                raise ValueError(
                    f"{name} must have labels among the classes {self.classes}; got "
                    f"{y[~is_known][0]!r}"
                )
            if len(self.classes) > 2:
                return codes.astype(np.int32)
            return (codes == 1).astype(dtype)[:, None]
        if y.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers; got {y.dtype}")
        values = convert_dtype(name, y if y.ndim == 2 else y[:, None], dtype)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite; got NaN or infinity")
        if self.out_activation == "exp" and (values < 0).any():
            raise ValueError(f"{name} must not be negative for loss='poisson'; got {values.min()}")
        return values


class Fold(NamedTuple):
    """Which of equal parts of each partition is held out.

    Attributes
    ----------
    number : int
        -1 holds out none.
    parts : int
    """

    number: int
    parts: int


class Partition:
    """Samples of one partition, ready for the engine. Pickles without copying the arrays.

    Parameters
    ----------
    arrays : tuple of ndarray
        One dense array (n, n_features), or values, columns and row starts in CSR format.
    n_features : int
    targets : ndarray
        Labels, int32 (n,), or values (n, n_outputs).
    sample_weight : ndarray of float64, shape (n,), or None
    training, held_out : ndarray of uint32 or None
        Rows to train on, None for all; and rows to validate with.
    seed : int
        Seed of the order of the samples and of dropout.
    """

    def __init__(self, arrays, n_features, targets, sample_weight, training, held_out, seed):
        self.arrays, self.n_features = arrays, n_features
        self.target_array, self.sample_weight = targets, sample_weight
        self.training, self.held_out, self.seed = training, held_out, seed

    @cached_property
    def rows(self):
        """`Rows` that read the arrays in place."""
        is_dense = len(self.arrays) == 1
        return Rows(*self.arrays) if is_dense else Rows.from_csr(*self.arrays, self.n_features)

    @cached_property
    def targets(self):
        """`Targets` that read the array in place."""
        return Targets(self.target_array).set_weights(self.sample_weight)

    @property
    def n_training(self):
        """Number of samples to train on."""
        return len(self.target_array) if self.training is None else len(self.training)

    def select(self, fold):
        """Return a partition that shares the arrays and holds out a `Fold`; itself for None."""
        if fold is None:
            return self
        n_samples, training, held_out = len(self.target_array), None, None
        if fold.number >= 0:
            order = make_shuffled_order(self.seed, SPLIT_EPOCH, n_samples)
            number = (fold.number + self.seed) % fold.parts  # differs between small partitions
            start, stop = (i * n_samples // fold.parts for i in (number, number + 1))
            training = np.delete(order, slice(start, stop))
            held_out = order[start:stop].copy() if stop > start else None
        return Partition(
            self.arrays, self.n_features, self.target_array, self.sample_weight, training, held_out,
            make_seed(self.seed, fold.number + 1),
        )  # fmt: skip

    def get_sizes(self):
        """Return the number of samples to train on, their weight, and that to validate with."""
        weight = float(self.n_training)
        if self.sample_weight is not None:
            weight = float(self.sample_weight[slice(None) if self.training is None
                                              else self.training].sum())  # fmt: skip
        return self.n_training, weight, 0 if self.held_out is None else len(self.held_out)

    def __getstate__(self):
        cached = "rows", "targets"
        return {name: value for name, value in vars(self).items() if name not in cached}

    def __sizeof__(self):
        # Dask decides by it where a task runs and when a worker's memory is full.
        values = [*self.arrays, self.target_array, self.sample_weight, self.training, self.held_out]
        return object.__sizeof__(self) + sum(a.nbytes for a in values if a is not None)


def make_seed(seed, index):
    """Return the seed of a partition, a function of the run's seed and its index."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def load_blocks(part, label, dtype):
    """Return the blocks of a partition as `LoadedBlocks`; arrays are not copied.

    Parameters
    ----------
    part : tuple
        X, an ndarray, sparse matrix or pandas.DataFrame; y, an ndarray, pandas.Series or DataFrame;
        sample_weight, an ndarray, Series or None.
    label : str
        The partition's name in messages, such as ``"partition 0"``.
    dtype : numpy.dtype or None
        Type that a data frame is converted to; None leaves it as it is.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or a weight is not finite or negative.
    """
    X, y, sample_weight = part
    if dtype is not None and hasattr(X, "to_numpy"):
        X = X.to_numpy(dtype=dtype)
    check_unmasked(f"y of {label}", y)
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    n_samples = X.shape[0]
    if len(y) != n_samples:
        raise ValueError(
            f"X and y must have the same number of rows; got {n_samples} and {len(y)} in {label}"
        )
    if sample_weight is not None:
        check_unmasked(f"sample_weight of {label}", sample_weight)
        sample_weight = as_weights(
            f"sample_weight of {label}", np.asarray(sample_weight), n_samples
        )
    return LoadedBlocks(X, y, sample_weight)


def summarize_blocks(blocks, label, is_classifier):
    """Return the `Summary` of a partition.

    Raises
    ------
    ValueError
        If y does not hold classes and `is_classifier` is true.
    """
    y, weights = blocks.y, blocks.sample_weight
    n_outputs = y.shape[1] if y.ndim == 2 else None
    shape = (*blocks.X.shape, n_outputs)
    if not is_classifier or not len(y):
        return Summary(*shape, None, None)
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"y must hold labels, none of them missing; got NaN in {label}")
    kind = "multiclass" if y.dtype.kind in "OUST" else type_of_target(y)
    if kind not in CLASS_TARGETS:
        raise ValueError(
            f"y must hold labels of classes, or rows of 0 and 1; got {kind} targets in {label}"
        )
    if n_outputs is not None:
        return Summary(*shape, None, None)
    check_labels(y, label)
    classes, codes = np.unique(y, return_inverse=True)
    counts = np.bincount(codes, minlength=len(classes))
    sums = counts if weights is None else np.bincount(codes, weights, len(classes))
    return Summary(*shape, classes, sums.astype(np.float64), counts)


def check_labels(y, label):
    """Raise `ValueError` if a label is missing, or labels of several types cannot be sorted."""
    if y.dtype.kind == "O":
        kinds = {type(value).__name__ for value in y}
        if len(kinds) > 1 or kinds & {"float", "NoneType", "NAType"}:
            raise ValueError(
                "y must hold labels of one type, none of them missing; got "
                f"{', '.join(sorted(kinds))} in {label}"
            )


def prepare_partition(blocks, index, label, preparation):
    """Return the `Partition` that the engine trains on.

    Parameters
    ----------
    blocks : LoadedBlocks
    index : int
        Selects the partition's random numbers.
    label : str
        The partition's name in messages.
    preparation : Preparation or TablePreparation

    Raises
    ------
    TypeError, ValueError
        If an element is not finite or not a real number; the message names the partition.
    """
    p, suffix = preparation, f" of {label}"
    architecture = p.architecture
    arrays = p.convert_samples(blocks.X, label)
    targets = p.encode_targets(blocks.y, "y" + suffix)
    weights = blocks.sample_weight
    if p.class_weight is not None:
        by_class = p.class_weight[find_classes(blocks.y, p.classes)]
        weights = by_class if weights is None else weights * by_class
    if weights is not None:
        check_range(weights, architecture.dtype)
    seed = make_seed(p.seed, index)
    training, held_out = split_held_out(seed, len(targets), p.validation_fraction)
    return Partition(arrays, architecture.inputs, targets, weights, training, held_out, seed)


def weigh_classes(class_weight, classes, summaries):
    """Return one weight for each class, float64 (n_classes,), or None.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As in scikit-learn.
    classes : ndarray
        Sorted.
    summaries : list of Summary
        Of the partitions with samples.
    """
    if class_weight is None:
        return None
    if summaries[0].classes is None:
        raise ValueError("class_weight is not supported for multilabel targets")
    if not isinstance(class_weight, str):
        return compute_class_weight(class_weight, classes=classes, y=classes)
    counts = np.zeros(len(classes))
    for summary in summaries:
        counts[np.searchsorted(classes, summary.classes)] += summary.class_weights
    return counts.sum() / np.count_nonzero(counts) / np.where(counts, counts, 1)


def find_classes(y, classes):
    """Return the index of each label among sorted classes."""
    return np.searchsorted(classes, y)


def split_held_out(seed, n_samples, fraction):
    """Return the rows to train on, None for all, and those to validate with, None for none."""
    if fraction == 1:
        return np.empty(0, np.uint32), np.arange(n_samples, dtype=np.uint32)
    held_out = min(round(n_samples * fraction), n_samples - 1)
    if held_out < 1:
        return None, None
    order = make_shuffled_order(seed, SPLIT_EPOCH, n_samples)
    return order[held_out:].copy(), order[:held_out].copy()
