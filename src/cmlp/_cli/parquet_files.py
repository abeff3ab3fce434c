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


def read_lists(path):
    """Return the columns of a Parquet file, a dict from names to lists of Python's values.

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
            lists = {column.name: column.to_list() for column in frame.get_columns()}
        else:
            frame = library.ParquetFile(path).read()
            pairs = zip(frame.column_names, frame.columns, strict=True)
            lists = {name: column.to_pylist() for name, column in pairs}
    except Exception as error:  # the libraries have errors of their own
        raise CommandError(f"{path}: not a Parquet file: {error}") from None
    if not lists or not len(next(iter(lists.values()))):
        raise CommandError(f"{path}: the file has no rows")
    return lists


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
