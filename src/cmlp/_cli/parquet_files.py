"""Parquet files, by PyArrow or Polars."""

import contextlib
import datetime
from decimal import Decimal

import numpy as np

from cmlp._cli.errors import CommandError

NUMBERS = {int, float, Decimal, type(None)}

# Types of values that neither are numbers nor become categories.
UNSUPPORTED = datetime.date, datetime.time, datetime.timedelta, bytes, list, dict


def import_library(path):
    """Return the module that reads and writes Parquet files: `pyarrow.parquet` or `polars`.

    PyArrow comes first, as it is smaller to import and other libraries use it for the format.

    Raises
    ------
    ImportError
        If neither is installed.
    """
    with contextlib.suppress(ImportError):
        import pyarrow.parquet

        return pyarrow.parquet
    with contextlib.suppress(ImportError):
        import polars

        return polars
    raise ImportError(
        f"{path}: a Parquet file requires PyArrow or Polars; install one with: pip install pyarrow"
    )


def read_columns(path):
    """Return the columns of a Parquet file, a dict from names to those of PyArrow or Polars.

    Raises
    ------
    CommandError
        If it is not a Parquet file, or has no rows.
    """
    library = import_library(path)
    with open(path, "rb") as file:  # the system's own errors
        file.read(1)
    try:
        if library.__name__ == "polars":
            frame = library.read_parquet(path)
            columns = dict(zip(frame.columns, frame.get_columns(), strict=True))
        else:
            frame = library.ParquetFile(path).read()
            columns = dict(zip(frame.column_names, frame.columns, strict=True))
    except Exception as error:  # the libraries have errors of their own
        raise CommandError(f"{path}: not a Parquet file: {error}") from None
    if not columns or not len(next(iter(columns.values()))):
        raise CommandError(f"{path}: the file has no rows")
    return columns


def read_lists(path):
    """Return the columns of a Parquet file, a dict from names to lists of Python's values."""
    return {name: to_list(column) for name, column in read_columns(path).items()}


def read_arrays(path, missing):
    """Return the columns of a Parquet file, a dict from names to arrays; see `convert_values`."""
    arrays = {}
    for name, column in read_columns(path).items():
        floats = to_floats(column)
        arrays[name] = convert_values(to_list(column), missing) if floats is None else floats
    return arrays


def to_list(column):
    """Return a column of PyArrow or Polars as a list of Python's values."""
    return column.to_list() if hasattr(column, "to_list") else column.to_pylist()


def to_floats(column):
    """Return a column of integers or floats as float64, NaN where missing; others as None."""
    if type(column).__module__.startswith("polars"):
        import polars

        is_number = column.dtype.is_integer() or column.dtype.is_float()
        return column.cast(polars.Float64).to_numpy() if is_number else None
    import pyarrow

    is_number = pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)
    return column.cast(pyarrow.float64(), safe=False).to_numpy() if is_number else None


def convert_values(values, missing):
    """Return a list of values as an ndarray, shape (n_rows,).

    Numbers are float64, NaN where missing; other values are objects, None where missing: text as
    str, booleans as "True" and "False", and dates and others as they are.

    Parameters
    ----------
    values : list
    missing : set of str
        Texts that mean a missing value.
    """
    if {type(value) for value in values} <= NUMBERS:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    array = np.empty(len(values), object)
    array[:] = [
        value
        if value is None or isinstance(value, UNSUPPORTED)
        else None
        if str(value) in missing
        else str(value)
        for value in values
    ]
    return array


def write_parquet(lists, file, path):
    """Write columns to an open binary file.

    Parameters
    ----------
    lists : dict from str to list
    file : binary file object
    path : str
        For messages.
    """
    library = import_library(path)
    if library.__name__ == "polars":
        library.DataFrame(lists, strict=False).write_parquet(file)
    else:
        import pyarrow

        library.write_table(pyarrow.table(lists), file)
