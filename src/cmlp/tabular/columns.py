"""Columns of a table: each can be read as numbers and as codes of its distinct values."""

from decimal import Decimal

import numpy as np

from cmlp._utils.schema import SHORT
from cmlp.tabular.categories import (
    classify_type,
    is_date_type,
    make_type_error,
    normalize_values,
)


class Column:
    """One column of a table.

    Derived classes implement `read_codes`, and `read_floats` if they have a faster way.

    Parameters
    ----------
    label : str
        The column in error messages, as in ``"column 'age' of X"``.
    is_categorical : bool
        Whether ``categorical_features="from_dtype"`` selects the column.
    """

    def __init__(self, label, is_categorical):
        self.label, self.is_categorical = label, is_categorical

    def to_floats(self):
        """Return the column as finite numbers.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            NaN where a value is missing. It may share memory with the table: do not write to it.

        Raises
        ------
        TypeError, ValueError
            If a value is not a number or is infinite.
        """
        floats = self.read_floats()
        is_infinite = np.isinf(floats)
        if is_infinite.any():
            row = is_infinite.argmax()
            raise ValueError(
                f"{self.label} must hold finite numbers within the range of float64; "
                f"got {floats[row]} in row {row}"
            )
        return floats

    def factorize(self):
        """Return the column as indices of distinct values.

        Returns
        -------
        codes : ndarray of int, shape (n_rows,)
            Index in `values`, or -1 where a value is missing.
        values : list of str, int, float, bool or None
            None is a missing value; not all values need to occur.

        Raises
        ------
        TypeError, ValueError
            If a value cannot be a category.
        """
        codes, values = self.read_codes()
        return codes, normalize_values(self.label, codes, values)

    def read_codes(self):
        """Return `codes` and `values` as `factorize` does, with values of any type."""
        raise NotImplementedError

    def read_floats(self):
        """Return the column as numbers that may be infinite."""
        codes, values = self.factorize()
        is_string = np.array([isinstance(value, str) for value in values] + [False])[codes]
        if is_string.any():
            row = is_string.argmax()
            raise self.make_string_error(values[codes[row]], row)
        numbers = [np.nan if isinstance(value, (str, type(None))) else value for value in values]
        return np.array([*numbers, np.nan], np.float64)[codes]

    def make_string_error(self, value, row):
        """Return the ValueError of a string in a numeric column."""
        return ValueError(
            f"{self.label} must hold numbers, as it is not categorical; "
            f"got {SHORT.repr(value)} in row {row}; or add it to categorical_features"
        )


class NumberColumn(Column):
    """A NumPy array of numbers or booleans; NaN is a missing value.

    Parameters
    ----------
    label : str
    array : ndarray of bool, int, uint or float, shape (n_rows,)
    """

    def __init__(self, label, array):
        super().__init__(label, array.dtype.kind == "b")
        self.array = array

    def read_floats(self):
        """Return the array as float64."""
        with np.errstate(over="ignore"):  # of longdouble; `to_floats` checks
            return np.asarray(self.array, np.float64)

    def read_codes(self):
        """Return the result of numpy.unique, with -1 for NaN."""
        if self.array.dtype.kind != "f":
            values, codes = np.unique(self.array, return_inverse=True)
            return codes, values.tolist()
        is_present = ~np.isnan(self.array)
        codes = np.full(len(self.array), -1, np.intp)
        values, codes[is_present] = np.unique(self.array[is_present], return_inverse=True)
        return codes, values.tolist()


class ObjectColumn(Column):
    """A list of Python objects.

    As its dtype says nothing, its values decide: it is numeric if at least one value is present
    and all values that are present are numbers, not booleans.

    Parameters
    ----------
    label : str
    values : list of length n_rows

    Raises
    ------
    TypeError
        If the type of a value is not supported; the message names the column and the row.
    """

    def __init__(self, label, values):
        super().__init__(label, False)
        types = set(map(type, values))
        self.types = {kind: classify_type(kind) for kind in types}
        for kind in sorted((k for k in types if self.types[k] is None), key=lambda k: k.__name__):
            row = next(i for i, value in enumerate(values) if type(value) is kind)
            raise make_type_error(label, f"{kind.__name__} in row {row}", is_date_type(kind))
        missing = {kind for kind in types if self.types[kind] == "missing"} - {type(None)}
        if missing:
            values = [None if type(value) in missing else value for value in values]
        if Decimal in types:  # hash() fails for a signaling NaN
            values = [self._to_float(i, v) if type(v) is Decimal else v
                      for i, v in enumerate(values)]  # fmt: skip
        self.values = values
        self.is_categorical = self._has_categories()

    def _has_categories(self):
        """Return whether a string or a boolean occurs, or no value at all."""
        if {"string", "boolean"} & set(self.types.values()):
            return True
        return all(value is None or value != value for value in self.values)

    def _to_float(self, row, value):
        try:
            return float(value)
        except (OverflowError, TypeError, ValueError):
            raise ValueError(
                f"{self.label} must hold numbers within the range of float64; "
                f"got {SHORT.repr(value)} in row {row}"
            ) from None

    def read_floats(self):
        """Return the values as float64, None as NaN."""
        if "string" in self.types.values():
            row = next(i for i, value in enumerate(self.values) if isinstance(value, str))
            raise self.make_string_error(self.values[row], row)
        try:
            return np.array(self.values, np.float64)
        except (OverflowError, TypeError, ValueError):
            floats = [np.nan if value is None else self._to_float(i, value)
                      for i, value in enumerate(self.values)]  # fmt: skip
            return np.array(floats, np.float64)

    def read_codes(self):
        """Return indices of the values in the order of their first occurrence."""
        index = {}
        number_types = [k for k, name in self.types.items() if name in ("boolean", "number")]
        if len(number_types) < 2:
            keys = self.values
        else:  # 1, 1.0 and True are equal, but `learn_categories` has to know their types
            keys = [(type(value), value) for value in self.values]
        codes = np.fromiter((index.setdefault(key, len(index)) for key in keys), np.intp, len(keys))
        return codes, list(index) if keys is self.values else [value for _, value in index]
