"""A fitted `TableEncoder` as JSON fields and arrays, and back.

The categories of a column are stored as one list for each of their types, in ascending order, so
that 1, 1.0 and true stay what they are in any JSON library.
"""

from typing import Any, NamedTuple

import numpy as np

from cmlp._utils.schema import (
    Boolean,
    Fields,
    FiniteArray,
    Integer,
    Items,
    Nullable,
    Real,
    Text,
    make_error,
)
from cmlp.tabular.categories import MAX_INTEGER, MIN_INTEGER, sort_categories
from cmlp.tabular.selection import FROM_DTYPE, check_selection

# Key of the list of the categories of a type -> type, schema.
CATEGORY_LISTS = {
    "booleans": (bool, Items(Boolean())),
    "integers": (int, Items(Integer(MIN_INTEGER, MAX_INTEGER))),
    "numbers": (float, Items(Real())),
    "strings": (str, Items(Text())),
}


class EncoderFields(NamedTuple):
    """The arguments and the fitted state of a `TableEncoder`.

    Attributes
    ----------
    categorical_features : {"from_dtype"}, array-like of bool, int or str, or None
    smooth_clip : float or None
    dtype : str
    names : list of str or None
    is_categorical : ndarray of bool, shape (n_columns,)
    has_missing : ndarray of bool, shape (n_numeric,)
    categories : list of list of str, int, float or bool, length n_categorical
    medians, factors : ndarray of float64, shape (n_numeric,)
    """

    categorical_features: Any
    smooth_clip: float | None
    dtype: str
    names: Any
    is_categorical: np.ndarray
    has_missing: np.ndarray
    categories: list
    medians: np.ndarray
    factors: np.ndarray


class Selection:
    """The argument `categorical_features`, with lists instead of arrays."""

    def check(self, name, value):
        """Return the value."""
        if value is None or (isinstance(value, str) and value == FROM_DTYPE):
            return value
        for schema in (Boolean(), Integer(), Text()):
            try:
                return Items(schema).check(name, value)
            except ValueError:
                continue
        raise make_error(name, f"{FROM_DTYPE!r}, null, or a list of bool, int or str", value)


class Categories:
    """An object with a list of the categories of each type."""

    def check(self, name, value):
        """Return the categories in ascending order, numbers before strings."""
        lists = Fields({}, {key: schema for key, (_, schema) in CATEGORY_LISTS.items()})
        found = lists.check(name, value)
        for key, values in found.items():
            if any(a >= b for a, b in zip(values, values[1:], strict=False)):
                raise ValueError(f"{name}.{key} must be in ascending order without duplicates")
        merged = [category for values in found.values() for category in values]
        if len(set(merged)) < len(merged):
            raise ValueError(f"{name} must not hold the same number with two types")
        return sort_categories(merged)


class ColumnFields:
    """A numeric column with `has_missing`, or a categorical one with `categories`."""

    KINDS = {  # noqa: RUF012 - never modified
        "numeric": {"has_missing": Boolean()},
        "categorical": {"categories": Categories()},
    }

    def check(self, name, value):
        """Return the dict of converted values."""
        if not isinstance(value, dict):
            raise make_error(name, "an object", value)
        if "kind" not in value:
            raise ValueError(f"{name}.kind is missing")
        kind = Text(tuple(self.KINDS))
        kind.check(f"{name}.kind", value["kind"])
        return Fields({"kind": kind, **self.KINDS[value["kind"]]}, {}).check(name, value)


SCHEMA = Fields(
    {
        "categorical_features": Selection(),
        "smooth_clip": Nullable(Real()),
        "dtype": Text(("float32", "float64")),
        "names": Nullable(Items(Text())),
        "columns": Items(ColumnFields()),
    },
    {},
)


def pack_encoder(encoder):
    """Return `EncoderFields` as a dict for JSON and a dict of arrays.

    Parameters
    ----------
    encoder : EncoderFields

    Returns
    -------
    fields : dict
    arrays : dict of str to ndarray
    """
    selection = encoder.categorical_features
    if not (selection is None or isinstance(selection, str)):
        selection = check_selection(selection)
    has_missing, categories = iter(encoder.has_missing.tolist()), iter(encoder.categories)
    columns = [
        {"kind": "categorical", "categories": group_categories(next(categories))}
        if is_code
        else {"kind": "numeric", "has_missing": next(has_missing)}
        for is_code in encoder.is_categorical
    ]
    fields = {
        "categorical_features": selection,
        "smooth_clip": None if encoder.smooth_clip is None else float(encoder.smooth_clip),
        "dtype": encoder.dtype,
        "names": None if encoder.names is None else list(map(str, encoder.names)),
        "columns": columns,
    }
    return fields, {"medians": encoder.medians.copy(), "factors": encoder.factors.copy()}


def group_categories(categories):
    """Return {key of `CATEGORY_LISTS`: categories of that type}, without empty lists."""
    groups = {
        key: [category for category in categories if type(category) is kind]
        for key, (kind, _) in CATEGORY_LISTS.items()
    }
    return {key: values for key, values in groups.items() if values}


def unpack_encoder(fields, arrays):
    """Return the `EncoderFields` that `pack_encoder` has packed.

    Parameters
    ----------
    fields : dict
    arrays : dict of str to ndarray

    Raises
    ------
    ValueError
        If a field or an array is invalid.
    """
    found = SCHEMA.check("", fields)
    columns, names = found["columns"], found["names"]
    is_categorical = np.array([column["kind"] == "categorical" for column in columns], bool)
    if not columns:
        raise ValueError("columns must not be empty")
    if names is not None and not len(set(names)) == len(names) == len(columns):
        raise ValueError(f"names must be {len(columns)} distinct names, one for each column")
    shape = (int((~is_categorical).sum()),)
    array = FiniteArray(shape, np.float64)
    stored = Fields({"medians": array, "factors": array}, {}).check("", arrays)
    if (stored["factors"] < 0).any():
        raise ValueError("factors must not be negative")
    numeric = [column["has_missing"] for column in columns if column["kind"] == "numeric"]
    return EncoderFields(
        found["categorical_features"],
        found["smooth_clip"],
        found["dtype"],
        names,
        is_categorical,
        np.array(numeric, bool),
        [column["categories"] for column in columns if column["kind"] == "categorical"],
        stored["medians"].copy(),
        stored["factors"].copy(),
    )
