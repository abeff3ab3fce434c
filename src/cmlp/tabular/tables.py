"""Tables of any library: checked as a whole, then split into columns."""

import sys

import numpy as np
from scipy import sparse

from cmlp._utils.validation import check_unmasked
from cmlp.tabular.arrow_columns import make_arrow_column
from cmlp.tabular.categories import make_type_error
from cmlp.tabular.columns import NumberColumn, ObjectColumn
from cmlp.tabular.pandas_columns import make_pandas_column
from cmlp.tabular.polars_columns import make_polars_column

ACCEPTED = (
    "a pandas, Polars or PyArrow table, a dict of columns, a two-dimensional array or a list of "
    "rows"
)

# Rows that are transposed at once, so that they stay in the cache. 1,000,000 x 20 float64 numbers
# took 0.07 s in blocks of 256 to 16384 rows, and 0.19 s column by column (Zen 4, best of 9).
BLOCK_ROWS = 1024


class NamedColumns:
    """A dict of columns as a table.

    Parameters
    ----------
    columns : dict from str to array_like, shape (n_rows,)

    Raises
    ------
    TypeError, ValueError
        If a name is not a string, or the columns are not one-dimensional and of equal lengths.
    """

    def __init__(self, columns):
        for name in columns:
            if not isinstance(name, str):
                raise TypeError(f"X must have strings as keys; got {name!r}")
            check_unmasked(f"column {name!r} of X", columns[name])
        self.columns = {
            name: np.asarray(values, object if isinstance(values, (list, tuple)) else None)
            for name, values in columns.items()
        }
        shapes = {array.shape for array in self.columns.values()}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise ValueError(
                "X must have one-dimensional columns of equal lengths; got shapes "
                + ", ".join(map(str, sorted(shapes)))
            )
        self.shape = (next(iter(shapes))[0] if shapes else 0, len(columns))

    def __len__(self):
        return self.shape[0]


def is_instance(value, module, *names):
    """Return whether a value is an instance of a class of a library that is imported already.

    Parameters
    ----------
    value : object
    module : str
    *names : str
        The names of classes of the module.
    """
    library = sys.modules.get(module)
    return any(
        isinstance(value, getattr(library, name)) for name in names if hasattr(library, name)
    )


def prepare_table(X):
    """Return a table as a DataFrame of pandas or Polars, a pyarrow.Table or an ndarray.

    Parameters
    ----------
    X : DataFrame, pyarrow.Table, pyarrow.RecordBatch, dict from str to array_like of shape \
            (n_rows,), array_like of shape (n_rows, n_columns)

    Returns
    -------
    DataFrame, pyarrow.Table, NamedColumns, or ndarray of shape (n_rows, n_columns)
        `X` itself if it is one of these.

    Raises
    ------
    TypeError, ValueError
        If `X` is not a table, has no rows or no columns, or two columns have the same name.
    """
    if sparse.issparse(X):
        raise TypeError(
            f"X must be dense; got a sparse {type(X).__name__}; convert it by toarray()"
        )
    if is_instance(X, "polars", "LazyFrame"):
        raise TypeError(f"X must be {ACCEPTED}; got a LazyFrame; call its method collect()")
    if is_instance(X, "pyarrow", "RecordBatch"):
        X = sys.modules["pyarrow"].Table.from_batches([X])
    if isinstance(X, dict):
        X = NamedColumns(X)
    names = list_column_names(X)
    if names is None:
        X = prepare_array(X)
    elif len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"X must have distinct column names; got {twice!r} twice")
    for count, what in zip(X.shape, ("sample", "feature"), strict=True):
        if count == 0:  # as scikit-learn words it
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(X.shape)}) "
                "while a minimum of 1 is required."
            )
    return X


def prepare_array(X):
    """Return nested lists, or an object that NumPy can convert, as a two-dimensional array.

    Lists become an array of objects, so that numbers beside strings stay numbers.
    """
    check_unmasked("X", X)
    is_list = isinstance(X, (list, tuple))
    if not (is_list or hasattr(X, "__array__")):
        raise TypeError(f"X must be {ACCEPTED}; got {type(X).__name__}")
    try:
        array = np.asarray(X, object if is_list else None)
    except ValueError:  # arrays of different shapes in a list
        if not is_list:
            raise
        array = np.empty(len(X), object)
    if is_list and array.ndim == 1 and any(isinstance(row, (list, tuple, np.ndarray)) for row in X):
        raise ValueError("X must have rows of equal length")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data using "
            "X.reshape(-1, 1) for a single feature or X.reshape(1, -1) for a single sample."
        )
    return array


def list_column_names(X):
    """Return the list of column names of a table, or None if it is not a table of a library."""
    if is_instance(X, "pandas", "DataFrame") or is_instance(X, "polars", "DataFrame"):
        return list(X.columns)
    if isinstance(X, NamedColumns):
        return list(X.columns)
    return list(X.column_names) if is_instance(X, "pyarrow", "Table") else None


def split_columns(X):
    """Return the columns of a table.

    Parameters
    ----------
    X : DataFrame, pyarrow.Table, NamedColumns or ndarray
        From `prepare_table`.

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError
        If the type of a column is not supported.
    """
    names = list_column_names(X)
    labels = [f"column {name!r} of X" for name in (range(X.shape[1]) if names is None else names)]
    if is_instance(X, "pandas", "DataFrame"):
        return [make_pandas_column(label, X.iloc[:, i]) for i, label in enumerate(labels)]
    if is_instance(X, "polars", "DataFrame"):
        return list(map(make_polars_column, labels, X.get_columns()))
    if is_instance(X, "pyarrow", "Table"):
        return list(map(make_arrow_column, labels, X.columns))
    arrays = X.columns.values() if isinstance(X, NamedColumns) else transpose_blocks(X)
    return list(map(make_array_column, labels, arrays))


def transpose_blocks(array):
    """Return the transpose of a two-dimensional array, C-contiguous, copied only if necessary."""
    if array.flags.f_contiguous:
        return array.T
    transposed = np.empty(array.shape[::-1], array.dtype)
    for start in range(0, len(array), BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        transposed[:, start:stop] = array[start:stop].T
    return transposed


def make_array_column(label, array):
    """Return the `Column` that reads an ndarray; raise TypeError for unsupported dtypes."""
    kind = array.dtype.kind
    if kind in "biuf":
        return NumberColumn(label, array)
    if kind in "OUT":  # objects, strings of fixed length, numpy.dtypes.StringDType
        return ObjectColumn(label, array.astype(object).tolist())
    raise make_type_error(label, str(array.dtype), kind in "mM")
