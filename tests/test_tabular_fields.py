"""`TableEncoder.to_fields` and `from_fields`: exact round trips, and refusal of changed files."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular_oracle import assert_same, compute_codes, restore

from cmlp.tabular import TableEncoder

pd = pytest.importorskip("pandas")

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
MIXED = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(),
    st.floats(allow_infinity=False), st.integers(-2, 2), st.integers(-2, 2).map(float),
)  # fmt: skip


@given(st.lists(st.tuples(MIXED, NUMBERS), min_size=1, max_size=20), st.booleans())
def test_an_encoder_is_restored_exactly(rows, is_object):
    encoder = TableEncoder([True, False], smooth_clip=2.5).fit([list(row) for row in rows])
    again = restore(encoder)
    assert_same(again.transform(rows), encoder.transform(rows))
    fields, arrays = encoder.to_fields()
    assert again.to_fields()[0] == fields
    for name, array in again.to_fields()[1].items():
        assert array.tobytes() == arrays[name].tobytes()
    assert [list(map(repr, c)) for c in again.categories_] == [
        list(map(repr, c)) for c in encoder.categories_
    ]
    assert again.get_params() == encoder.get_params()
    # Equal values have equal codes, whatever the order and the type.
    codes = encoder.transform(rows).codes[:, 0]
    values = [None if row[0] != row[0] else row[0] for row in rows]
    np.testing.assert_array_equal(codes, compute_codes(values))


FIELDS, ARRAYS = (
    TableEncoder(["b"])
    .fit(pd.DataFrame([[1.0, True], [2.5, 2], [None, "x"], [4, 0.5]], columns=["a", "b"]))
    .to_fields()
)


def test_fields():
    assert FIELDS == {
        "categorical_features": ["b"],
        "smooth_clip": 3.0,
        "dtype": "float32",
        "names": ["a", "b"],
        "columns": [
            {"kind": "numeric", "has_missing": True},
            {
                "kind": "categorical",
                "categories": {"integers": [1, 2], "numbers": [0.5], "strings": ["x"]},
            },
        ],
    }
    assert list(ARRAYS) == ["medians", "factors"]
    encoder = TableEncoder.from_fields(FIELDS, ARRAYS)
    assert list(encoder.categories_[0]) == [0.5, 1, 2, "x"]
    medians = ARRAYS["medians"].copy()
    encoder.medians_[:] = 9  # a copy
    np.testing.assert_array_equal(ARRAYS["medians"], medians)


def change(path, value):
    """Return a copy of `FIELDS` with another value at a path of keys; ... deletes the key."""
    fields = copy.deepcopy(FIELDS)
    target = fields
    for key in path[:-1]:
        target = target[key]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return fields


CATEGORY_PATH = "columns", 1, "categories"
FIELD_ERRORS = [
    *(((key,), ..., f"{key} is missing") for key in FIELDS),
    *(((key,), {"a": 1j}, f"{key} must be") for key in FIELDS),
    (("other",), 1, "'other' is not a known key"),
    (("categorical_features",), "all", "categorical_features must be 'from_dtype', null, or"),
    (("categorical_features",), [1, "a"], "categorical_features must be 'from_dtype', null, or"),
    (("smooth_clip",), 0.0, "smooth_clip must be positive"),
    (("smooth_clip",), math.nan, "smooth_clip must be a finite number"),
    (("dtype",), "float16", "dtype must be one of float32, float64; got 'float16'"),
    (("names",), ["a"], "names must be 2 distinct names"),
    (("names",), ["a", "a"], "names must be 2 distinct names"),
    (("names",), ["a", 1], r"names\[1\] must be a string"),
    (("columns",), [], "columns must not be empty"),
    (("columns", 0), None, r"columns\[0\] must be an object; got None"),
    (("columns", 0, "kind"), ..., r"columns\[0\].kind is missing"),
    (("columns", 0, "kind"), "date", r"columns\[0\].kind must be one of numeric, categorical"),
    (("columns", 0, "kind"), ["numeric"], r"columns\[0\].kind must be one of"),
    (("columns", 0, "kind"), "categorical", r"columns\[0\].categories is missing"),
    (("columns", 0, "has_missing"), 1, r"columns\[0\].has_missing must be true or false; got 1"),
    (("columns", 1, "has_missing"), True, r"columns\[1\].'has_missing' is not a known key"),
    ((*CATEGORY_PATH, "bytes"), [], "'bytes' is not a known key"),
    ((*CATEGORY_PATH, "strings"), ["x", "x"], "categories.strings must be in ascending order"),
    ((*CATEGORY_PATH, "strings"), ["y", "x"], "categories.strings must be in ascending order"),
    ((*CATEGORY_PATH, "strings"), [1], r"categories.strings\[0\] must be a string"),
    ((*CATEGORY_PATH, "integers"), [2**64], r"categories.integers\[0\] must be a whole number"),
    ((*CATEGORY_PATH, "integers"), [1.0], r"categories.integers\[0\] must be a whole number"),
    ((*CATEGORY_PATH, "integers"), [True], r"categories.integers\[0\] must be a whole number"),
    ((*CATEGORY_PATH, "numbers"), [math.inf], r"categories.numbers\[0\] must be a finite number"),
    ((*CATEGORY_PATH, "numbers"), [2.0], "categories must not hold the same number with two types"),
    ((*CATEGORY_PATH, "booleans"), [True], "must not hold the same number with two types"),
    ((*CATEGORY_PATH, "booleans"), [0], r"categories.booleans\[0\] must be true or false"),
]


@pytest.mark.parametrize(("path", "value", "message"), FIELD_ERRORS)
def test_fields_that_are_refused(path, value, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder.from_fields(change(path, value), ARRAYS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"medians": np.zeros(1)}, "factors is missing"),
        ({**ARRAYS, "scales": np.zeros(1)}, "'scales' is not a known key"),
        ({**ARRAYS, "medians": [1.0]}, "medians must be an array"),
        ({**ARRAYS, "medians": np.zeros(2)}, r"medians must have shape \(1,\)"),
        ({**ARRAYS, "medians": np.zeros(1, "f4")}, "medians must have shape .* dtype float64"),
        ({**ARRAYS, "medians": np.array([np.nan])}, "medians must be finite"),
        ({**ARRAYS, "factors": np.array([np.inf])}, "factors must be finite"),
        ({**ARRAYS, "factors": np.array([-1.0])}, "factors must not be negative"),
        (None, "must be an object"),
    ],
)
def test_arrays_that_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder.from_fields(FIELDS, arrays)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
PATHS = [
    *((key,) for key in FIELDS), ("columns", 0), ("columns", 0, "kind"),
    ("columns", 1, "categories"), ("columns", 1, "categories", "integers"),
    ("columns", 1, "categories", "strings"), ("names", 0), ("categorical_features", 0),
]  # fmt: skip


@given(st.sampled_from(PATHS), JSON)
def test_changed_fields_are_refused_or_work(path, value):
    error = None
    try:
        encoder = TableEncoder.from_fields(change(path, value), ARRAYS)
    except ValueError as caught:
        error = caught
    if error is not None:
        assert path[0] in str(error)
        return
    names = getattr(encoder, "feature_names_in_", None)
    numeric, codes = encoder.transform(pd.DataFrame([[1.0, 2.0]], columns=names))
    assert np.isfinite(numeric).all()
    assert ((codes >= 0) & (codes <= encoder.cardinalities_)).all()
