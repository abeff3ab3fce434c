"""Categories: the distinct values of a categorical column and their codes.

A category is a str, int, float or bool of Python. Numbers of different types are the same category
if they are equal, so that a column of integers matches the same column as floats, which is what
pandas makes of it when a value is missing.
"""

import datetime
import math
import numbers
from decimal import Decimal

import numpy as np

from cmlp._utils.schema import SHORT

# Integers beyond 64 bits are refused as categories: no table library has them, and a float of that
# size is an integer too.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1

ALLOWED = "numbers, strings or booleans"
DATES = datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64
DATE_HINT = "; convert it to numbers, for example the year, the month or the elapsed days"


def make_type_error(label, name, is_date=False):
    """Return the TypeError of a column that holds values of an unsupported type.

    Parameters
    ----------
    label : str
        The column, as in ``"column 'age' of X"``.
    name : str
        The name of the type.
    is_date : bool, default False
        Whether the values are dates, times or durations.
    """
    return TypeError(f"{label} must hold {ALLOWED}; got {name}{DATE_HINT if is_date else ''}")


def is_date_type(kind):
    """Return whether a type is one of dates, times, durations or pandas periods."""
    return issubclass(kind, DATES) or kind.__name__ == "Period"


def classify_type(kind):
    """Return ``"missing"``, ``"boolean"``, ``"string"``, ``"number"``, or None if unsupported.

    Parameters
    ----------
    kind : type
        The type of a value; ``"missing"`` is that of None, pandas.NA or pandas.NaT.
    """
    # pandas.NaT is an instance of datetime.datetime.
    if kind is type(None) or kind.__name__ in ("NAType", "NaTType"):
        return "missing"
    if is_date_type(kind):  # numpy.timedelta64 is a NumPy integer
        return None
    if issubclass(kind, (bool, np.bool_)):
        return "boolean"
    if issubclass(kind, str):
        return "string"
    return "number" if issubclass(kind, (numbers.Real, Decimal)) else None


def normalize_value(value):
    """Return a value as a str, int, float or bool of Python, or None if it is missing.

    Raises
    ------
    ValueError
        If it is infinite or an integer beyond 64 bits; the message is what must hold instead.
    TypeError
        If its type is not supported.
    """
    kind = classify_type(type(value))
    if kind is None:
        raise TypeError
    if kind == "missing":
        return None
    if kind == "string":
        return str.__str__(value)  # the characters, also of a member of an Enum
    if kind == "boolean":
        return bool(value)
    if isinstance(value, numbers.Integral):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("integers of at most 64 bits")
        return int(value)
    try:
        number = float(value)
    except OverflowError:  # of a Fraction
        number = math.inf
    if math.isinf(number):
        raise ValueError("finite numbers")
    return None if math.isnan(number) else number + 0.0  # 0.0 instead of -0.0


def normalize_values(label, codes, values):
    """Normalize the distinct values of a column.

    Parameters
    ----------
    label : str
        The column, for error messages.
    codes : ndarray of int, shape (n_rows,)
        Each row's index in `values`; -1 if it is missing.
    values : list
        They may be of any type and need not all occur.

    Returns
    -------
    list of str, int, float, bool or None
        None is a missing value.

    Raises
    ------
    TypeError, ValueError
        If a value is not supported; the message names the column and the row.
    """
    if set(map(type, values)) <= {str, bool}:
        return values
    normalized = []
    for i, value in enumerate(values):
        try:
            normalized.append(normalize_value(value))
        except TypeError:
            raise make_type_error(label, type(value).__name__, is_date_type(type(value))) from None
        except ValueError as error:
            rows = np.flatnonzero(codes == i)
            place = f" in row {rows[0]}" if len(rows) else ""
            raise ValueError(f"{label} must hold {error}; got {SHORT.repr(value)}{place}") from None
    return normalized


def learn_categories(codes, values):
    """Return the categories that occur in a column, in ascending order, numbers before strings.

    The result depends on the set of values alone, not on the order of the rows.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Each row's index in `values`; -1 if it is missing.
    values : list of str, int, float, bool or None
        Normalized values; None is a missing value.

    Returns
    -------
    list of str, int, float or bool
        Where numbers of several types occur, booleans and whole floats become integers.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    present = [values[i] for i in np.flatnonzero(counts) if values[i] is not None]
    if len(set(map(type, present)) - {str}) > 1:
        present = [to_integer(value) for value in present]
    return sort_categories(set(present))


def to_integer(value):
    """Return a bool or a whole float within 64 bits as an int, other values unchanged."""
    is_whole = isinstance(value, float) and value.is_integer()
    if isinstance(value, bool) or (is_whole and MIN_INTEGER <= value <= MAX_INTEGER):
        return int(value)
    return value


def sort_categories(values):
    """Return distinct str, int, float or bool in ascending order, numbers before strings."""
    types = set(map(type, values))
    if str in types and len(types) > 1:
        return sorted(values, key=lambda value: (isinstance(value, str), value))
    return sorted(values)  # without a key, which would double the time


def make_lookup(categories):
    """Return {category: code} with codes from 1."""
    return {category: code for code, category in enumerate(categories, 1)}


def look_up_codes(codes, values, lookup):
    """Return the code of each row, int32: 0 if it is missing or not a known category.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Each row's index in `values`; -1 if it is missing.
    values : list of str, int, float, bool or None
        Normalized values.
    lookup : dict
        From `make_lookup`.
    """
    # The index -1, a missing value, selects the last element.
    table = np.array([*(lookup.get(value, 0) for value in values), 0], np.int32)
    return table[codes]
