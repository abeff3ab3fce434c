"""Conversion of X and y, in any accepted form, to the engine's rows, targets and weights."""

import numpy as np

from cmlp._core import kernels
from cmlp._core.inputs import Rows, Targets
from cmlp._utils.validation import check_unmasked, convert_dtype

# The engine stores the order of samples in 32 bits, and the columns of a sparse batch in 31.
MAX_SAMPLES = 2**32 - 1
MAX_SPARSE_COLUMNS = 2**31 - 1

# dtypes that the engine reads in place; other arrays are converted once.
NATIVE_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def as_matrix(X, inputs, dtype, name="X"):
    """Return X as a 2-D array that the engine can read in place, copied only if necessary.

    Rows at any address and stride are read in place; the engine copies those that are not aligned
    batch by batch.

    Parameters
    ----------
    X : array_like, shape (n, inputs) or (n, ...) with `inputs` elements for each sample
    inputs : int
    dtype : numpy.dtype
        Type to which arrays are converted that are not uint8, float32 or float64.
    name : str
        Name of the argument in messages.

    Raises
    ------
    ValueError
        If the shape does not fit, an element is masked, or one that is converted is beyond the
        range of `dtype`.
    TypeError
        If the elements are not real numbers.
    """
    array = to_real_array(name, X)
    if array.ndim < 2:
        raise ValueError(
            f"{name} must have shape (n, {inputs}); got {array.shape}; "
            f"reshape a single sample with {name}.reshape(1, -1)"
        )
    width = int(np.prod(array.shape[1:]))
    if width != inputs:
        raise ValueError(f"{name} must have {inputs} columns as the network has inputs; "
                         f"got shape {array.shape}")  # fmt: skip
    if array.shape[0] > MAX_SAMPLES:
        raise ValueError(f"{name} must have at most {MAX_SAMPLES} samples; got {array.shape[0]}")
    array = array.reshape(array.shape[0], width)
    if array.dtype not in NATIVE_DTYPES:
        array = convert_dtype(name, array, dtype)
    if width > 1 and array.strides[1] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array


def is_scipy_sparse(X):
    """Return whether X is a SciPy sparse matrix or array, without importing SciPy."""
    return hasattr(X, "tocsr") and hasattr(X, "nnz")


def as_sparse_rows(X, inputs, dtype, name="X"):
    """Return a SciPy sparse matrix as `Rows` that read its CSR arrays in place.

    Matrices whose column indices are not strictly increasing in each row are copied and sorted.
    `indptr` is always copied, because the engine trusts it; `indices` are checked again wherever
    the engine reads them.

    Parameters
    ----------
    X : scipy.sparse matrix or array, shape (n, inputs)
    inputs, dtype, name
        As in `as_matrix`.

    Raises
    ------
    ValueError
        If the shape does not fit, or the CSR arrays are not valid.
    TypeError
        If the elements are not real numbers.
    """
    if X.ndim != 2 or X.shape[1] != inputs:
        raise ValueError(
            f"{name} must have {inputs} columns as the network has inputs; got shape {X.shape}"
        )
    if X.shape[0] > MAX_SAMPLES or inputs > MAX_SPARSE_COLUMNS:
        raise ValueError(
            f"{name} must have at most {MAX_SAMPLES} samples and, if sparse, "
            f"{MAX_SPARSE_COLUMNS} columns; got shape {X.shape}"
        )
    csr = X.tocsr()
    values = to_real_array(name, csr.data)
    is_native = values.dtype in NATIVE_DTYPES
    values = convert_dtype(name, values, values.dtype if is_native else dtype)
    columns = csr.indices
    is_native = columns.dtype in (np.int32, np.int64)
    columns = convert_dtype(name, columns, columns.dtype if is_native else np.int64)
    starts = np.array(csr.indptr, np.int64)
    check_csr(name, starts, columns, min(len(values), len(columns)), X.shape)
    rows = Rows.from_csr(values, columns, starts, inputs)
    if rows.has_sorted_columns:
        return rows
    csr = csr.copy()
    csr.has_sorted_indices = csr.has_canonical_format = False
    csr.sum_duplicates()
    return as_sparse_rows(csr, inputs, dtype, name)


def check_csr(name, starts, columns, stored, shape):
    """Raise `ValueError` unless row starts and column indices describe a matrix of this shape.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    starts : ndarray of int64
        CSR `indptr`.
    columns : ndarray of int
        CSR `indices`.
    stored : int
        Number of values and column indices that are stored.
    shape : tuple of int
    """
    is_valid = len(starts) == shape[0] + 1 and starts[0] == 0 and (starts[1:] >= starts[:-1]).all()
    if not (is_valid and starts[-1] <= stored):
        raise ValueError(
            f"{name} is not a valid CSR matrix: indptr must start at 0, be non-decreasing and end "
            "at nnz"
        )
    if stored and not (columns.min() >= 0 and columns.max() < shape[1]):
        raise ValueError(
            f"{name} is not a valid CSR matrix: column indices must be in [0, {shape[1]}); "
            f"got {columns.min()} to {columns.max()}"
        )


def convert_rows(X, inputs, dtype, name="X", check_finite=True):
    """Return X as `Rows`.

    Parameters
    ----------
    X : array_like, SciPy sparse matrix or Rows
        As in `as_matrix`; a sparse matrix stays sparse; `Rows` are returned as they are.
    inputs, dtype, name
        As in `as_matrix`.
    check_finite : bool, default True
        Whether to raise an error for NaN, infinity and numbers beyond the range of `dtype`.

    Raises
    ------
    TypeError, ValueError
        As in `as_matrix`, and if an element is not finite or beyond the range of `dtype`.
    """
    if isinstance(X, Rows):
        if X.width != inputs:
            raise ValueError(f"{name} must have {inputs} columns; got {X.width}")
        return X
    if is_scipy_sparse(X):
        rows = as_sparse_rows(X, inputs, dtype, name)
    else:
        rows = Rows(as_matrix(X, inputs, dtype, name))
    if check_finite:
        rows.check_finite(dtype, name)
    return rows


def convert_samples(X, architecture, name="X", check_finite=True):
    """Return X as `Rows` for a network, whose columns of codes are checked.

    Parameters
    ----------
    X, name, check_finite
        As in `convert_rows`.
    architecture : Architecture

    Raises
    ------
    TypeError, ValueError
        As in `convert_rows`, and if a column of categories has another number than their codes.
    """
    rows = convert_rows(X, architecture.inputs, architecture.dtype, name, check_finite)
    columns = architecture.code_columns
    if columns:
        raise_if_not_transformable(rows, architecture, name)
        check_codes(rows, columns, name)
    return rows


def check_codes(rows, columns, name):
    """Raise `ValueError` unless columns hold codes of categories.

    Parameters
    ----------
    rows : Rows
    columns : dict from int to int
        Number of categories of each column of codes.
    name : str
        Name of the argument in messages.
    """
    if rows.is_scaled:
        raise ValueError(
            f"{name} must not be of uint8, whose numbers are divided by 255, with OneHot or "
            f"Embedding; pass {name}.astype(numpy.float32)"
        )
    for column, categories in columns.items():
        row = rows.find_no_code(column, categories)
        if row >= 0:
            raise ValueError(
                f"column {column} of {name} must have the codes of categories, integers from 0 to "
                f"{categories}; got another number in row {row}"
            )


def raise_if_not_transformable(rows, architecture, name="X"):
    """Raise `ValueError` if rows are sparse and an input layer transforms only dense ones."""
    if rows.is_sparse and (kind := architecture.dense_input_layer):
        raise ValueError(f"{name} must be dense with {kind}; pass {name}.toarray()")


def get_max_sparse_density(architecture, batch_size):
    """Return the maximum density at which training on sparse rows is faster than on dense ones."""
    policy, units = kernels.POLICY, architecture.dense[0].units
    if architecture.rounds and kernels.uses_tiles(architecture.inputs, units):
        return policy.tiles_max_density
    first_layer_bytes = units * architecture.dtype.itemsize
    is_wide = (
        kernels.get_vector_bytes() >= policy.wide_vector_bytes
        and first_layer_bytes >= policy.wide_layer_bytes
        and batch_size >= policy.wide_batch_rows
    )
    return policy.wide_max_density if is_wide else policy.max_density


def prepare_rows(X, architecture, *, batch_size, sparse="auto", threads=1, name="X",
                 check_finite=True, cache=None):  # fmt: skip
    """Return X as `Rows` to train on, compressed to sparse rows if that is faster or requested.

    Parameters
    ----------
    X : array_like, SciPy sparse matrix or Rows
        As in `convert_rows`.
    architecture : Architecture
    batch_size : int
    sparse : bool or "auto"
        ``"auto"`` decides by the density of a sample of the rows, their width, the first
        layer's width and the batch size; see csrc/policy.h.
    threads : int
        Number of threads that compress.
    name : str
        Name of the argument in messages.
    check_finite : bool, default True
        As in `convert_rows`.
    cache : dict, optional
        Stores the conversions; pass the same dict to reuse them in later calls with the same X.

    Raises
    ------
    TypeError, ValueError
        As in `convert_rows`; if `sparse` is invalid, or False for a sparse X; if X is sparse and
        the architecture adds noise to the inputs.
    """
    cache = {} if cache is None else cache
    key = architecture.inputs, architecture.dtype
    if key not in cache:
        cache[key] = convert_rows(X, *key, name, check_finite)
    rows = cache[key]
    if not decide_compression(rows, architecture, batch_size, sparse, name):
        return rows
    if (*key, "sparse") not in cache:
        cache[*key, "sparse"] = rows.compress(threads)
    return cache[*key, "sparse"]


def decide_compression(rows, architecture, batch_size, sparse="auto", name="X"):
    """Return whether dense rows should be compressed to sparse rows; False for sparse ones.

    Parameters
    ----------
    rows : Rows
    architecture, batch_size, sparse, name
        As in `prepare_rows`.

    Raises
    ------
    ValueError
        As in `prepare_rows`.
    """
    if not (isinstance(sparse, bool) or sparse == "auto"):
        raise ValueError(f"sparse must be 'auto', True or False; got {sparse!r}")
    raise_if_not_transformable(rows, architecture, name)
    if rows.is_sparse and sparse is False:
        raise ValueError(
            f"sparse must be 'auto' or True for a sparse {name}; got False; "
            f"{name}.toarray() is dense"
        )
    if rows.is_sparse or not len(rows) or architecture.dense_input_layer or sparse is False:
        return False
    if sparse == "auto":
        is_wide = kernels.POLICY.min_columns <= rows.width <= MAX_SPARSE_COLUMNS
        limit = get_max_sparse_density(architecture, min(batch_size, len(rows)))
        return is_wide and rows.compute_density() <= limit
    return True


def prepare_targets(y, n_samples, architecture, name="y"):
    """Return y as `Targets`.

    Parameters
    ----------
    y : array_like
        With several targets, integer labels (n_samples,) from 0 or reals (n_samples, targets);
        with one target, reals (n_samples,) or (n_samples, 1).
    n_samples : int
        Number of rows of X.
    architecture : Architecture
    name : str
        Name of the argument in messages.

    Raises
    ------
    ValueError
        If the length, the shape, a label or the range of a target does not fit.
    TypeError
        If the elements are not real numbers.
    """
    width, loss = architecture.targets, architecture.loss
    array = to_real_array(name, y)
    if array.ndim == 0 or len(array) != n_samples:
        raise ValueError(f"{name} must have {n_samples} samples, like X; got shape {array.shape}")
    if array.ndim == 1 and width > 1:
        return Targets(as_labels(array, width, name))
    array = array.reshape(n_samples, 1) if array.ndim == 1 else array
    if array.shape != (n_samples, width):
        wanted = f"({n_samples},) or ({n_samples}, {width})"
        raise ValueError(f"{name} must have shape {wanted}; got {array.shape}")
    array = convert_dtype(name, array, architecture.dtype)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    least, greatest = architecture.target_bounds
    if not ((array >= least) & (array <= greatest)).all():
        allowed = (
            f"lie between {least:g} and {greatest:g}" if greatest < np.inf else "not be negative"
        )
        # An output that is a probability bounds the targets of other losses too.
        reason = loss.name
        if loss.bounds != architecture.target_bounds:
            reason += f" with output={architecture.output.name!r} (output='identity' allows others)"
        raise ValueError(
            f"{name} must {allowed} for {reason}; got values from {array.min()} to {array.max()}"
        )
    return Targets(array)


def combine_weights(sample_weight, class_weight, y, n_samples, classes, dtype):
    """Return the weights of samples, a new array of float64 (n_samples,), or None if all are 1.

    Parameters
    ----------
    sample_weight : array_like, shape (n_samples,), or None
    class_weight : dict, array_like, "balanced" or None
        See `Network.fit`.
    y : array_like
        Targets; class weights need labels (n_samples,), one-hot rows or, with one output, 0 and 1.
    n_samples, classes : int
    dtype : numpy.dtype
        Type of the arithmetic, whose range the weights must not exceed.

    Raises
    ------
    TypeError, ValueError
        If a shape, a class or a weight does not fit.
    """
    weights = None
    if sample_weight is not None:
        weights = as_weights("sample_weight", sample_weight, n_samples)
    if class_weight is not None:
        by_class = expand_class_weights(class_weight, as_classes(y, classes), classes)
        weights = by_class if weights is None else weights * by_class
    if weights is not None:
        if not weights.any():
            raise ValueError("the weights of all samples are zero; at least one must be positive")
        check_range(weights, dtype)
    return weights


def check_range(weights, dtype):
    """Raise `ValueError` unless weights, if not all are zero, and their sum fit into `dtype`."""
    limits, sizes = np.finfo(dtype), np.abs(weights)
    with np.errstate(over="ignore"):
        greatest, total = sizes.max(initial=0), sizes.sum()
    if greatest > 0 and not (limits.tiny <= greatest and total <= limits.max):
        raise ValueError(
            f"the weights of all samples must be within the range of {dtype}, the greatest at "
            f"least {limits.tiny:.3g} and their sum at most {limits.max:.3g}; got {greatest:.3g} "
            f"and {total:.3g}"
        )


def as_weights(name, value, length):
    """Return finite, non-negative weights, a new array of float64 (length,)."""
    array = to_real_array(name, value)
    if array.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},); got {array.shape}")
    array = convert_dtype(name, array, np.float64).copy()
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative")
    return array


def as_classes(y, classes):
    """Return the class of each sample, (n_samples,), given labels or one-hot rows."""
    array = to_real_array("y", y)
    if array.ndim == 2 and array.shape[1] > 1:
        if not ((array == 0) | (array == 1)).all() or not (array.sum(axis=1) == 1).all():
            raise ValueError("y must hold labels or one-hot rows if class_weight is given")
        return array.argmax(axis=1)
    labels, classes = array.reshape(len(array)), max(classes, 2)
    if not np.isin(labels, np.arange(classes)).all():
        raise ValueError(
            f"y must hold labels from 0 to {classes - 1} if class_weight is given; got values from "
            f"{labels.min()} to {labels.max()}"
        )
    return as_labels(labels, classes)


def expand_class_weights(class_weight, labels, classes):
    """Return the weight of each sample by its class, float64 (n_samples,)."""
    classes = max(classes, 2)
    counts = np.bincount(labels, minlength=classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight must be 'balanced', a dict or an array; got {class_weight!r}"
            )
        present = (counts > 0).sum()
        return (len(labels) / (present * np.maximum(counts, 1)))[labels]
    if isinstance(class_weight, dict):
        for label in class_weight:
            if label not in range(classes):
                raise ValueError(
                    f"class_weight must have classes from 0 to {classes - 1}; got {label!r}"
                )
        class_weight = [class_weight.get(label, 1.0) for label in range(classes)]
    return as_weights("class_weight", class_weight, classes)[labels]


def as_labels(array, classes, name="y"):
    """Return integer labels in [0, classes) as int32, (n_samples,).

    They are copied, because the engine uses them as indices: `array` may change later.
    """
    if array.dtype.kind == "f" and not (array == np.trunc(array)).all():
        raise ValueError(
            f"{name} of shape {array.shape} is read as labels, which must be whole numbers; "
            f"real targets have shape ({len(array)}, {classes})"
        )
    if len(array) and not (array.min() >= 0 and array.max() < classes):
        raise ValueError(
            f"{name} must hold labels from 0 to {classes - 1}; got {array.min()} to {array.max()}"
        )
    return np.array(array, np.int32)


def to_real_array(name, value):
    """Return `value` as an array of real numbers; raise `TypeError` or `ValueError`."""
    check_unmasked(name, value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array: {error}") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except OverflowError:
            raise ValueError(
                f"{name} must be within the range of float64; it holds a whole number beyond it"
            ) from None
        except (TypeError, ValueError):
            pass  # refused below, by its type
    if array.dtype.kind not in "biuf":
        found = f"strings ({array.dtype})" if array.dtype.kind in "SUT" else array.dtype
        raise TypeError(f"{name} must hold real numbers; got {found}")
    return array


def split_pair(name, value):
    """Return X and y; raise `TypeError` unless `value` is a pair of them."""
    try:
        X, y = value
    except (TypeError, ValueError):
        found = type(value).__name__
        if isinstance(value, (tuple, list)):
            found += f" of {len(value)} items"
        raise TypeError(f"{name} must be a pair (X, y); got {found}") from None
    return X, y
