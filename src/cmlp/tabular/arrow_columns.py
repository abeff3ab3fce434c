"""Columns of PyArrow tables. PyArrow is not imported: a table exists only if it is."""

import sys

import numpy as np

from cmlp.tabular.categories import make_type_error
from cmlp.tabular.columns import Column


class ArrowColumn(Column):
    """A column of numbers, booleans, strings or nulls, or a dictionary of these.

    Parameters
    ----------
    label : str
    array : pyarrow.ChunkedArray
    is_categorical : bool
    """

    def __init__(self, label, array, is_categorical):
        super().__init__(label, is_categorical)
        self.array = array

    def read_floats(self):
        """Return the numbers as float64, nulls as NaN."""
        pyarrow = sys.modules["pyarrow"]
        if is_string(self.array.type):
            return super().read_floats()
        return self.array.cast(pyarrow.float64(), safe=False).to_numpy()

    def read_codes(self):
        """Return the indices and the values of the dictionary encoding."""
        if len(self.array) == 0 or self.array.null_count == len(self.array):
            return np.full(len(self.array), -1, np.intp), []
        encoded = self.array.dictionary_encode().unify_dictionaries().combine_chunks()
        return encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()


def is_string(kind):
    """Return whether an Arrow type is one of the types of strings."""
    types = sys.modules["pyarrow"].types
    # Types of later versions of PyArrow are looked up by name.
    names = "is_string", "is_large_string", "is_string_view"
    return any(getattr(types, name)(kind) for name in names if hasattr(types, name))


def make_arrow_column(label, array):
    """Return the `Column` that reads an Arrow array; raise TypeError for unsupported types.

    Parameters
    ----------
    label : str
    array : pyarrow.ChunkedArray
    """
    pyarrow = sys.modules["pyarrow"]
    types, kind = pyarrow.types, array.type
    is_dictionary = types.is_dictionary(kind)
    if is_dictionary:  # a dictionary may hold nulls and duplicates
        kind = kind.value_type
        array = array.cast(kind)
    if types.is_decimal(kind):  # not every decimal can be encoded as a dictionary
        kind = pyarrow.float64()
        array = array.cast(kind, safe=False)
    is_categorical = is_dictionary or types.is_boolean(kind) or is_string(kind)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)
    if is_categorical or is_number:
        return ArrowColumn(label, array, is_categorical)
    raise make_type_error(label, str(kind), types.is_temporal(kind))
