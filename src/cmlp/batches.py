"""Any accepted X and y as the engine reads them: rows in place, labels or targets."""

import contextlib

import numpy as np

from cmlp._core import kernels
from cmlp._core.samples import Rows, Targets

# The order of samples is kept in 32 bits, and so is a column of sparse ones.
MOST_SAMPLES = 2**32 - 1
MOST_COLUMNS = 2**31 - 1

# What the engine reads as it is; anything else is converted once.
KINDS = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))

# A dense input is worth compressing into sparse rows when so few of its elements are
# not zero, and a row is long enough to gain by it: an element of a sparse row costs
# what two to five of a dense row do, and compressing less than one epoch saves. It costs
# less than two where vectors, the first layer and batches are wide.
SPARSE_DENSITY = 0.25
SPARSE_WIDTH = 64
WIDE_DENSITY = 0.55
WIDE_VECTOR, WIDE_LAYER = 32, 256  # bytes
WIDE_BATCH = 32


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
    if array.dtype not in KINDS:
        array = array.astype(dtype)
    if width > 1 and array.strides[1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array


def is_scipy_sparse(X):
    """Whether X is a sparse matrix or array of SciPy's, which need not be imported to tell."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def as_sparse_rows(X, inputs, dtype, name="X"):
    """Return a SciPy sparse matrix as `Rows` that lie where its CSR arrays do; see `as_matrix`."""
    if X.ndim != 2 or X.shape[1] != inputs:
        raise ValueError(
            f"{name} must have {inputs} columns as the network has inputs, got shape {X.shape}"
        )
    if X.shape[0] > MOST_SAMPLES or inputs > MOST_COLUMNS:
        raise ValueError(
            f"{name} may have {MOST_SAMPLES} samples and, when sparse, {MOST_COLUMNS} columns, "
            f"got shape {X.shape}"
        )
    csr = X.tocsr()
    values = real_array(name, csr.data)
    if values.dtype not in KINDS:
        values = values.astype(dtype)
    columns = csr.indices
    if columns.dtype not in (np.int32, np.int64):
        columns = columns.astype(np.int64)
    start = np.ascontiguousarray(csr.indptr, np.int64)
    stored = min(len(values), len(columns))
    rises = len(start) == X.shape[0] + 1 and start[0] == 0 and (start[1:] >= start[:-1]).all()
    if not (rises and start[-1] <= stored):
        raise ValueError(f"{name} is no valid CSR matrix: its indptr does not rise from 0 to nnz")
    if stored and not (columns.min() >= 0 and columns.max() < inputs):
        raise ValueError(
            f"{name} is no valid CSR matrix: its column indices must lie from 0 to {inputs - 1}, "
            f"got {columns.min()} to {columns.max()}"
        )
    rows = Rows.sparse(np.ascontiguousarray(values), np.ascontiguousarray(columns), start, inputs)
    if rows.columns_rise:
        return rows
    csr = csr.copy()
    csr.has_sorted_indices = csr.has_canonical_format = False
    csr.sum_duplicates()
    return as_sparse_rows(csr, inputs, dtype, name)


def as_rows(X, inputs, dtype, name="X", finite=True):
    """Return X as `Rows`; with `finite`, NaN or infinity raises `ValueError`.

    X may be what `as_matrix` takes, a SciPy sparse matrix or array, which stays sparse, or
    `Rows` that were made, and checked, before.
    """
    if isinstance(X, Rows):
        if X.width != inputs:
            raise ValueError(f"{name} must have {inputs} columns, got {X.width}")
        return X
    if is_scipy_sparse(X):
        rows = as_sparse_rows(X, inputs, dtype, name)
    else:
        rows = Rows(as_matrix(X, inputs, dtype, name))
    if finite:
        check_finite(rows, name)
    return rows


def check_finite(rows, name="X"):
    """Raise `ValueError` that names the first row with NaN or infinity, if there is one."""
    if (row := rows.first_not_finite()) >= 0:
        raise ValueError(f"{name} must be finite; row {row} holds NaN or infinity")


def sparse_density(network, batch_size):
    """Return the density up to which sparse rows are worth it for a network."""
    wide = (
        kernels.vector_bytes() >= WIDE_VECTOR
        and network.size[1] * network.dtype.itemsize >= WIDE_LAYER
        and batch_size >= WIDE_BATCH
    )
    return WIDE_DENSITY if wide else SPARSE_DENSITY


def compressed(rows, sparse, threads, density=SPARSE_DENSITY):
    """Return rows to train on: compressed into sparse ones where that pays or is asked for.

    Parameters
    ----------
    rows : Rows
    sparse : bool or "auto"
        ``"auto"`` goes by the density of a few hundred rows and by their width.
    threads : int
    density : float
        The greatest with which that pays; see `sparse_density`.

    Raises
    ------
    ValueError
        If `sparse` is something else, or False for a SciPy sparse matrix.
    """
    if not (isinstance(sparse, bool) or sparse == "auto"):
        raise ValueError(f"sparse must be 'auto', True or False, got {sparse!r}")
    if rows.is_sparse:
        if sparse is False:
            raise ValueError("sparse=False does not suit a sparse X; pass X.toarray()")
        return rows
    wide = SPARSE_WIDTH <= rows.width <= MOST_COLUMNS
    if sparse is True or (sparse == "auto" and wide and rows.density() <= density):
        return rows.compressed(threads)
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
    loss : cmlp.losses.Loss
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
    least, most = loss.bounds
    if not ((array >= least) & (array <= most)).all():
        allowed = f"lie between {least:g} and {most:g}" if most < np.inf else "not be negative"
        raise ValueError(
            f"{name} must {allowed} for {loss.name}, got values from {array.min()} to {array.max()}"
        )
    return Targets(array)


def as_weights(sample_weight, class_weight, y, samples, classes):
    """Return the weights of samples, float64, shape (samples,), or None where all are 1.

    Parameters
    ----------
    sample_weight : array_like, shape (samples,), or None
    class_weight : dict, array_like, "balanced" or None
        See `Network.fit`.
    y : array_like
        The targets; class weights need labels (n,), one-hot rows or, with one output, 0 and 1.
    samples, classes : int

    Raises
    ------
    ValueError, TypeError
        If a shape, a class or a weight does not fit.
    """
    weights = None
    if sample_weight is not None:
        weights = as_nonnegative("sample_weight", sample_weight, samples)
    if class_weight is not None:
        of_classes = as_class_weights(class_weight, labels_of(y, classes), classes)
        weights = of_classes if weights is None else weights * of_classes
    if weights is not None and not weights.any():
        raise ValueError("the weights of all samples are zero")
    return weights


def as_nonnegative(name, value, length):
    """Return finite weights that are not negative, float64, shape (length,)."""
    array = real_array(name, value)
    if array.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {array.shape}")
    array = np.ascontiguousarray(array, np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative")
    return array


def labels_of(y, classes):
    """Return the class of each sample, shape (n,), as class weights need it."""
    array = real_array("y", y)
    if array.ndim == 2 and array.shape[1] > 1:
        if not ((array == 0) | (array == 1)).all() or not (array.sum(axis=1) == 1).all():
            raise ValueError("class_weight needs labels or one-hot rows as y")
        return array.argmax(axis=1)
    return as_labels(array.reshape(len(array)), max(classes, 2))


def as_class_weights(class_weight, labels, classes):
    """Return the weight of each sample by its class, float64, shape (n,)."""
    classes = max(classes, 2)
    counts = np.bincount(labels, minlength=classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight must be 'balanced', a dict or an array, got {class_weight!r}"
            )
        present = (counts > 0).sum()
        return (len(labels) / (present * np.maximum(counts, 1)))[labels]
    if isinstance(class_weight, dict):
        for label in class_weight:
            if label not in range(classes):
                raise ValueError(f"class_weight has class {label!r}, known are 0 to {classes - 1}")
        class_weight = [class_weight.get(label, 1.0) for label in range(classes)]
    return as_nonnegative("class_weight", class_weight, classes)[labels]


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
