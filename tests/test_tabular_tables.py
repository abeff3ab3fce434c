"""Tables that `cmlp.tabular` reads: every library and dtype, missing values, and refusals."""

import datetime
import decimal
import enum
import fractions
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from tabular_oracle import assert_same

from cmlp.tabular import TableEncoder

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

NAMES = ["number", "whole", "flag", "word", "kind"]
COLUMNS = {
    "number": [1.5, None, -2.0, 4.0, 8.25, None, 0.0],
    "whole": [3, 1, 4, 1, 5, 9, 2],
    "flag": [True, False, None, True, None, False, True],
    "word": ["b", None, "a", "ä", "", "b", "zz"],
    "kind": ["x", "y", "x", None, "y", "z", "x"],
}
ROWS = [list(row) for row in zip(*COLUMNS.values(), strict=True)]


def make_polars(**schema):
    return pl.DataFrame(COLUMNS, schema_overrides=schema)


def make_chunked():
    table = pa.table(COLUMNS)
    chunks = [table.slice(0, 2), table.slice(2, 0), table.slice(2, 4), table.slice(6)]
    return pa.concat_tables(chunks)


def make_dictionaries():
    """Return a table whose chunks have different dictionaries."""
    tables = []
    for piece in (slice(0, 4), slice(4, None)):
        columns = {name: pa.array(values[piece]) for name, values in COLUMNS.items()}
        columns["kind"] = columns["kind"].dictionary_encode()
        columns["word"] = columns["word"].cast(pa.large_string()).dictionary_encode()
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


TABLES = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas objects": lambda: pd.DataFrame(COLUMNS, dtype=object),
    "pandas nullable": lambda: pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas arrow": lambda: pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "pandas category": lambda: pd.DataFrame(COLUMNS).astype(dict.fromkeys(NAMES[2:], "category")),
    "pandas python strings": lambda: pd.DataFrame(COLUMNS).astype(
        dict.fromkeys(NAMES[3:], pd.StringDtype("python"))
    ),
    "pandas arrow strings": lambda: pd.DataFrame(COLUMNS).astype(
        dict.fromkeys(NAMES[3:], pd.StringDtype("pyarrow"))
    ),
    "pandas arrow dictionary": lambda: pd.DataFrame(COLUMNS).astype(
        {"kind": pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))}
    ),
    "pandas sliced": lambda: pd.concat([pd.DataFrame(COLUMNS)] * 2)[7:],
    "polars": make_polars,
    "polars categorical": lambda: make_polars(word=pl.Categorical, kind=pl.Categorical),
    "polars enum": lambda: make_polars(kind=pl.Enum(["z", "unused", "y", "x"])),
    "polars chunked": lambda: pl.concat([make_polars()[:3], make_polars()[3:]], rechunk=False),
    "arrow": lambda: pa.table(COLUMNS),
    "arrow chunked": make_chunked,
    "arrow dictionary": make_dictionaries,
    "dict": lambda: COLUMNS,
    "arrow batch": lambda: pa.RecordBatch.from_pydict(COLUMNS),
    "numpy objects": lambda: np.array(ROWS, object),
    "lists": lambda: ROWS,
    "tuples": lambda: tuple(map(tuple, ROWS)),
}


def encode(X, **options):
    return TableEncoder(**options).fit(X).transform(X)


@pytest.mark.parametrize("name", TABLES)
def test_every_library_gives_the_same(name):
    X, encoder = TABLES[name](), TableEncoder()
    numeric, codes = encoder.fit(X).transform(X)
    assert numeric.dtype == np.float32
    assert numeric.flags.c_contiguous
    assert codes.dtype == np.int32
    assert codes.flags.c_contiguous
    assert [list(values) for values in encoder.categories_] == [
        [False, True], ["", "a", "b", "zz", "ä"], ["x", "y", "z"]
    ]  # fmt: skip
    assert {type(value) for values in encoder.categories_ for value in values} == {bool, str}
    np.testing.assert_array_equal(
        codes.T, [[2, 1, 0, 2, 0, 1, 2], [3, 0, 2, 5, 1, 3, 4], [1, 2, 1, 0, 2, 3, 1]]
    )
    np.testing.assert_array_equal(numeric[:, 2], [-1, 1, -1, -1, -1, 1, -1])
    assert_same((numeric, codes), encode(ROWS))
    has_names = not name.startswith(("numpy", "lists", "tuples"))
    assert hasattr(encoder, "feature_names_in_") == has_names
    names = NAMES if has_names else [f"x{i}" for i in range(5)]
    assert list(encoder.get_feature_names_out()) == [
        *names[:2], f"missingindicator_{names[0]}", *names[2:]
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("lists", "tuples")])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_table_of_another_library_has_the_same_encoding(name):
    encoder = TableEncoder().fit(pd.DataFrame(COLUMNS))
    assert_same(encoder.transform(TABLES[name]()), encoder.transform(pd.DataFrame(COLUMNS)))


WHOLE = [3, 1, None, 7, 120, 0]
NUMERIC = {
    **{f"numpy {d}": (lambda d=d: np.array([[3, 1, 2, 7, 120, 0]], d).T, 2) for d in
       ("int8", "uint8", "int64", "uint64", "float16", "float32", "longdouble", ">i4", ">f8")},
    **{f"pandas {d}": (lambda d=d: pd.DataFrame({"a": pd.array(WHOLE, dtype=d)}), None) for d in
       ("Int8", "UInt8", "Int64", "UInt64", "Float32", "Float64", "float64", "object",
        "int8[pyarrow]", "uint64[pyarrow]", "double[pyarrow]")},
    "pandas sparse": (
        lambda: pd.DataFrame({"a": pd.arrays.SparseArray(WHOLE, fill_value=np.nan)}),
        None,
    ),
    "pandas decimals": (
        lambda: pd.DataFrame({"a": [None if v is None else decimal.Decimal(v) for v in WHOLE]}),
        None,
    ),
    "pandas arrow decimals": (
        lambda: pd.DataFrame({"a": pd.array(WHOLE, dtype=pd.ArrowDtype(pa.decimal128(5, 2)))}),
        None,
    ),
    **{f"polars {d}": (lambda d=d: pl.DataFrame({"a": pl.Series(WHOLE, dtype=d)}), None) for d in
       (pl.Int8, pl.UInt8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Object)},
    "polars decimals": (
        lambda: pl.DataFrame({"a": pl.Series(WHOLE, dtype=pl.Int64).cast(pl.Decimal(9, 2))}),
        None,
    ),
    **{f"arrow {t}": (lambda t=t: pa.table({"a": pa.array(WHOLE).cast(t)}), None) for t in
       (pa.int8(), pa.uint8(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(22, 2),
        pa.decimal256(22, 2))},
    "arrow float16": (
        lambda: pa.table({"a": pa.array([None if v is None else np.float16(v) for v in WHOLE])}),
        None,
    ),
    "fractions": (lambda: [[v if v is None else fractions.Fraction(v)] for v in WHOLE], None),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMERIC)
def test_numbers_of_every_dtype(name):
    make, missing = NUMERIC[name]
    expected = np.array([[np.nan if v is None else v] for v in WHOLE])
    expected[np.isnan(expected)] = np.nan if missing is None else missing
    assert_same(encode(make()), encode(expected))
    # The same numbers are categories if their column is named.
    found = TableEncoder([0]).fit(make())
    assert list(found.categories_[0]) == sorted(set(expected[~np.isnan(expected)]))
    assert_same(found.transform(make()), encode(expected, categorical_features=[0]))


def test_a_dict_of_columns_is_a_table():
    columns = {"n": [1, None, 3], "s": np.array(["a", "b", None], object), "f": np.ones(3)}
    encoder = TableEncoder().fit(columns)
    expected = TableEncoder().fit(pd.DataFrame(columns))
    assert encoder.feature_names_in_.tolist() == ["n", "s", "f"]
    assert_same(encoder.transform(columns), expected.transform(pd.DataFrame(columns)))
    assert_same(encoder.transform(pd.DataFrame(columns)), encoder.transform(columns))
    for wrong in ({"s": ["a"], "n": [1], "f": [1]}, {"n": [1]}, columns | {"z": np.ones(3)}):
        with pytest.raises(ValueError, match="X must have the columns of fit, in the same order"):
            encoder.transform(wrong)
    without_names = TableEncoder().fit([[1, "a", 1.0], [3, "b", 1.0]])
    without_names.transform(columns)


def test_integers_beyond_float64_stay_distinct_categories():
    values = [2**63 - 1, 2**63 - 2, -(2**63), 2**53 + 1]
    for X in (
        np.array([values]).T,
        pd.DataFrame({"a": pd.array([*values, None], dtype="Int64")}),
        pl.DataFrame({"a": [*values, None]}),
        pa.table({"a": [*values, None]}),
        [[value] for value in values],
    ):
        encoder = TableEncoder([0]).fit(X)
        assert list(encoder.categories_[0]) == sorted(values)
        assert list(encoder.transform(X).codes[:4, 0]) == [4, 3, 1, 2]


def test_strings_of_numpy():
    words = [["b", "1"], ["a", "2"], ["b", "1"]]
    arrays = [np.array(words), np.array(words, object)]
    if hasattr(np.dtypes, "StringDType"):
        arrays.append(np.array(words, np.dtypes.StringDType()))
    for X in arrays:
        numeric, codes = encode(X)
        assert numeric.shape == (3, 0)
        np.testing.assert_array_equal(codes, [[2, 1], [1, 2], [2, 1]])


def test_booleans_are_categories_and_numbers_if_others_are_named():
    X = np.array([[True], [False], [True]])
    np.testing.assert_array_equal(encode(X).codes, [[2], [1], [2]])
    for table in (X, X.tolist(), pd.DataFrame(X), pl.DataFrame(X), pa.table({"a": X[:, 0]}),
                  pd.DataFrame(X).astype("category")):  # fmt: skip
        numeric, codes = encode(table, categorical_features=None)
        assert codes.shape == (3, 0)
        assert_same((numeric, codes), encode(X.astype(float)))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, decimal.Decimal("nan"),
                                     np.float32("nan")])  # fmt: skip
@pytest.mark.parametrize("make", [list, np.array, pd.DataFrame])
def test_missing_objects(make, missing):
    rows = [[1.0, "a", True], [missing] * 3, [2.0, "b", False], [float("nan")] * 3]
    X = make(rows) if make is list else make(np.array(rows, object))
    numeric, codes = encode(X)
    np.testing.assert_array_equal(numeric[:, 1], [-1, 1, -1, 1])
    np.testing.assert_array_equal(numeric[1::2, 0], 0)
    np.testing.assert_array_equal(codes, [[1, 2], [0, 0], [2, 1], [0, 0]])


def test_nan_beside_null():
    values = [1.0, None, float("nan"), 3.0]
    tables = [
        pl.DataFrame({"a": values}, strict=False),
        pa.table({"a": pa.array(values, from_pandas=False)}),
        pd.DataFrame({"a": pd.array(pa.array(values, from_pandas=False).to_pandas(), "Float64")}),
    ]
    for X in tables:
        np.testing.assert_array_equal(encode(X).numeric[:, 1], [-1, 1, 1, -1])
        np.testing.assert_array_equal(encode(X, categorical_features=[0]).codes[:, 0], [1, 0, 0, 2])


@pytest.mark.parametrize(
    ("X", "is_categorical"),
    [
        ([[None], [None]], True),
        ([[float("nan")], [None]], True),
        (np.array([[np.nan], [np.nan]]), False),
        (pd.DataFrame({"a": [None, None]}), True),
        (pd.DataFrame({"a": pd.Categorical([None, None])}), True),
        (pd.DataFrame({"a": pd.array([None, None], dtype="string")}), True),
        (pd.DataFrame({"a": pd.array([None, None], dtype="boolean")}), True),
        (pd.DataFrame({"a": pd.array([None, None], dtype="Int8")}), False),
        (pl.DataFrame({"a": [None, None]}), False),
        (pl.DataFrame({"a": [None, None]}, schema={"a": pl.String}), True),
        (pl.DataFrame({"a": [None, None]}, schema={"a": pl.Categorical}), True),
        (pa.table({"a": pa.nulls(2)}), False),
        (pa.table({"a": pa.nulls(2, pa.string())}), True),
        (pa.table({"a": pa.nulls(2, pa.dictionary(pa.int8(), pa.string()))}), True),
    ],
)
def test_a_column_without_values(X, is_categorical):
    encoder = TableEncoder().fit(X)
    numeric, codes = encoder.transform(X)
    if is_categorical:
        assert list(encoder.cardinalities_) == [0]
        np.testing.assert_array_equal(codes, [[0], [0]])
    else:
        np.testing.assert_array_equal(numeric, [[0, 1], [0, 1]])
    # Declared as the other kind, it has no values either.
    other = encode(X, categorical_features=[not is_categorical])
    assert other.numeric.shape == (2, 2 if is_categorical else 0)
    assert_same(
        other,
        encode(np.full((2, 1), np.nan), categorical_features=[not is_categorical]),
    )


def test_categories_that_are_numbers():
    X = pd.DataFrame({"a": pd.Categorical([3, 1, None, 3], categories=[5, 3, 1])})
    encoder = TableEncoder().fit(X)
    assert list(map(repr, encoder.categories_[0])) == ["1", "3"]  # 5 does not occur
    np.testing.assert_array_equal(encoder.transform(X).codes[:, 0], [2, 1, 0, 2])
    later = pd.DataFrame({"a": [1.0, 3.0, 5.0, np.nan]})
    np.testing.assert_array_equal(encoder.transform(later).codes[:, 0], [1, 2, 0, 0])
    assert_same(
        encode(X, categorical_features=None), encode(np.array([[3, 1, np.nan, 3]]).T)
    )  # fmt: skip
    dictionary = pa.array([3, 1, None, 3]).dictionary_encode()
    np.testing.assert_array_equal(
        encoder.transform(pa.table({"a": dictionary})).codes[:, 0], [2, 1, 0, 2]
    )


def test_mixed_types_of_categories():
    class Color(enum.StrEnum):
        RED = "red"

    rows = [["b"], [2.5], [True], [1.0], [1], [None], [np.int8(7)], [np.str_("a")], [Color.RED]]
    encoder = TableEncoder().fit(rows)
    assert list(map(repr, encoder.categories_[0])) == ["1", "2.5", "7", "'a'", "'b'", "'red'"]
    codes = encoder.transform(rows).codes[:, 0]
    np.testing.assert_array_equal(codes, [5, 2, 1, 1, 1, 0, 3, 4, 6])
    backward = TableEncoder().fit(rows[::-1])
    assert list(map(repr, backward.categories_[0])) == list(map(repr, encoder.categories_[0]))
    assert list(map(repr, TableEncoder([0]).fit([[-0.0], [0.0]]).categories_[0])) == ["0.0"]


DATE = datetime.date(2020, 2, 1)
TIME = datetime.datetime(2020, 2, 1)
SPAN = datetime.timedelta(1)
HINT = r"; convert it to numbers, for example the year, the month or the elapsed days"
TYPE_ERRORS = {
    "sparse matrix": (lambda: sparse.csr_matrix((2, 2)), "sparse csr_matrix"),
    "sparse array": (lambda: sparse.csc_array((2, 2)), r"convert it by toarray\(\)"),
    "lazy frame": (lambda: pl.LazyFrame({"a": [1]}), r"collect\(\)"),
    "text": (lambda: "text", "X must be a pandas, Polars or PyArrow table, .* got str"),
    "none": (lambda: None, "got NoneType"),
    "dict of other keys": (lambda: {1: [1]}, "X must have strings as keys; got 1"),
    "dict with dates": (lambda: {"a": [DATE]}, "column 'a' of X must hold .*; got date"),
    "complex": (lambda: np.ones((2, 2), complex), "column 0 of X must hold .*; got complex128"),
    "pandas complex": (lambda: pd.DataFrame({"b": [1j]}), "column 'b' of X .* got complex128"),
    "complex objects": (lambda: [[1], [1j]], "column 0 of X .* got complex in row 1"),
    "numpy dates": (lambda: np.array([["2020-01-01"]], "M8[D]"), r"0 .*datetime64\[D\]" + HINT),
    "numpy spans": (lambda: np.array([[1]], "m8[D]"), r"column 0 .*timedelta64\[D\]" + HINT),
    "numpy records": (lambda: np.zeros((2, 2), "i4,f4"), "column 0 of X must hold"),
    "numpy bytes": (lambda: np.array([[b"a"]]), r"column 0 of X must hold .* got \|S1"),
    "date": (lambda: [[1, DATE]], "column 1 of X .* got date in row 0" + HINT),
    "time": (lambda: [[1, TIME.time()]], "got time in row 0" + HINT),
    "pandas dates": (lambda: pd.DataFrame({"b": [TIME]}), "column 'b' .* datetime64.*" + HINT),
    "pandas zones": (
        lambda: pd.DataFrame({"b": pd.to_datetime(["2020"], utc=True)}),
        "column 'b' .* datetime64.*UTC.*" + HINT,
    ),
    "pandas spans": (lambda: pd.DataFrame({"b": [SPAN]}), "column 'b' .* timedelta64.*" + HINT),
    "pandas periods": (
        lambda: pd.DataFrame({"b": pd.period_range("2020", periods=2, freq="M")}),
        r"column 'b' .* period\[M\]" + HINT,
    ),
    "pandas period": (
        lambda: pd.DataFrame({"b": [pd.Period("2020"), 1]}), "got Period in row 0" + HINT
    ),
    "pandas intervals": (lambda: pd.DataFrame({"b": pd.interval_range(0, 2)}), "got interval"),
    "pandas cut": (
        lambda: pd.DataFrame({"b": pd.cut([1, 2, 3], 2)}), "column 'b' .* got Interval$"
    ),
    "pandas categories of dates": (
        lambda: pd.DataFrame({"b": pd.Categorical([TIME])}), "got Timestamp" + HINT
    ),
    "pandas arrow dates": (
        lambda: pd.DataFrame({"b": pd.array([DATE], dtype=pd.ArrowDtype(pa.date32()))}),
        "column 'b' .* date32.*" + HINT,
    ),
    "pandas lists": (lambda: pd.DataFrame({"b": [1, [2]]}), "column 'b' .* got list in row 1"),
    "polars date": (lambda: pl.DataFrame({"b": [DATE]}), "column 'b' .* Date" + HINT),
    "polars span": (lambda: pl.DataFrame({"b": [SPAN]}), "column 'b' .* Duration.*" + HINT),
    "polars list": (lambda: pl.DataFrame({"b": [[1], [2]]}), r"column 'b' .* List\(Int64\)"),
    "polars struct": (lambda: pl.DataFrame({"b": [{"c": 1}]}), "column 'b' .* Struct"),
    "polars binary": (lambda: pl.DataFrame({"b": [b"a"]}), "column 'b' .* Binary"),
    "polars objects": (lambda: pl.DataFrame({"b": pl.Series([{1}], dtype=pl.Object)}), "got set"),
    "arrow date": (lambda: pa.table({"b": [DATE]}), r"column 'b' .* date32\[day\]" + HINT),
    "arrow list": (lambda: pa.table({"b": [[1]]}), "column 'b' .* list<"),
    "arrow struct": (lambda: pa.table({"b": [{"c": 1}]}), "column 'b' .* struct<"),
    "arrow bytes": (lambda: pa.table({"b": [b"a"]}), "column 'b' .* binary"),
    "arrow dictionary of dates": (
        lambda: pa.table({"b": pa.array([DATE]).dictionary_encode()}), "got date" + HINT
    ),
    "mixed names": (lambda: pd.DataFrame([[1, 2]], columns=["a", 1]), "string names"),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPE_ERRORS)
def test_types_that_are_refused(name):
    make, message = TYPE_ERRORS[name]
    with pytest.raises(TypeError, match=message):
        TableEncoder().fit(make())


INF = float("inf")
VALUE_ERRORS = {
    "1-D": (lambda: np.ones(3), {}, "Expected 2D array, got 1D array instead"),
    "3-D": (lambda: np.ones((2, 2, 2)), {}, "Expected 2D array, got 3D array instead"),
    "series": (lambda: pd.Series([1, 2]), {}, "Expected 2D array, got 1D array instead"),
    "polars series": (lambda: pl.Series([1, 2]), {}, "Expected 2D array, got 1D array instead"),
    "flat list": (lambda: [1, 2], {}, "Expected 2D array, got 1D array instead"),
    "empty list": (lambda: [], {}, "Expected 2D array, got 1D array instead"),
    "ragged": (lambda: [[1, 2], [3]], {}, "X must have rows of equal length"),
    "ragged arrays": (lambda: [np.ones(2), np.ones(3)], {}, "X must have rows of equal length"),
    "ragged matrices": (
        lambda: [np.ones((2, 2)), np.ones((2, 3))], {}, "X must have rows of equal length"
    ),
    "dict of matrices": (lambda: {"a": np.ones((2, 1))}, {}, r"one-dimensional.*\(2, 1\)"),
    "unequal columns": (lambda: {"a": [1], "b": [1, 2]}, {}, r"equal lengths.*\(1,\), \(2,\)"),
    "empty dict": (dict, {}, r"0 sample\(s\)"),
    "no rows": (lambda: np.ones((0, 3)), {}, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
    "no columns": (lambda: np.ones((3, 0)), {}, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
    "pandas no rows": (lambda: pd.DataFrame({"a": []}), {}, r"0 sample\(s\)"),
    "pandas no columns": (lambda: pd.DataFrame(index=[0, 1]), {}, r"0 feature\(s\)"),
    "polars nothing": (lambda: pl.DataFrame(), {}, r"0 sample\(s\)"),
    "arrow no rows": (lambda: pa.table({"a": pa.array([], pa.int8())}), {}, r"0 sample\(s\)"),
    "masked": (
        lambda: np.ma.masked_equal([[1, 2]], 2), {}, "X must not have masked elements"
    ),
    "twice": (
        lambda: pd.DataFrame([[1, 2, 3]], columns=["b", "a", "a"]), {},
        "X must have distinct column names; got 'a' twice",
    ),
    "arrow twice": (lambda: pa.table([[1], [2]], names=["a", "a"]), {}, "got 'a' twice"),
    "infinity": (
        lambda: np.array([[0.0, 1], [2, INF]]), {},
        "column 1 of X must hold finite numbers .*; got inf in row 1",
    ),
    "pandas infinity": (lambda: pd.DataFrame({"b": [1, -INF]}), {}, "'b' .* got -inf in row 1"),
    "polars infinity": (lambda: pl.DataFrame({"b": [1.0, INF]}), {}, "'b' .* got inf in row 1"),
    "arrow infinity": (lambda: pa.table({"b": [1.0, INF]}), {}, "'b' .* got inf in row 1"),
    "object infinity": (lambda: [[1], [INF]], {}, "column 0 .* got inf in row 1"),
    "category infinity": (
        lambda: np.array([[0.0], [INF]]), {"categorical_features": [0]},
        "column 0 of X must hold finite numbers; got inf in row 1",
    ),
    "decimal infinity": (lambda: [[decimal.Decimal("1e400")]], {}, "column 0 .* got inf in row 0"),
    "decimal": (lambda: [[decimal.Decimal("sNaN")]], {}, r"got Decimal\('sNaN'\) in row 0"),
    "large integer": (
        lambda: [[1], [10**400]], {},
        "column 0 of X must hold numbers within the range of float64; got 1000.* in row 1",
    ),
    "large category": (
        lambda: [[1], ["a"], [2**64]], {}, "must hold integers of at most 64 bits; got 1844.* row 2"
    ),
    "large fraction": (
        lambda: [["a"], [fractions.Fraction(10**400, 3)]], {}, "must hold finite numbers; got .*1"
    ),
    **{
        f"{name} strings": (
            make, {"categorical_features": None},
            "column '?[a0]'? of X must hold numbers, as it is not categorical; got 'bc' in row 1",
        )
        for name, make in {
            "object": lambda: [[1], ["bc"]],
            "pandas": lambda: pd.DataFrame({"a": [None, "bc"]}),
            "pandas category": lambda: pd.DataFrame({"a": [None, "bc"]}, dtype="category"),
            "polars": lambda: pl.DataFrame({"a": [None, "bc"]}),
            "polars category": lambda: pl.DataFrame({"a": [None, "bc"]}, {"a": pl.Categorical}),
            "arrow": lambda: pa.table({"a": [None, "bc"]}),
            "arrow dictionary": lambda: pa.table({"a": pa.array([None, "bc"]).dictionary_encode()}),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", VALUE_ERRORS)
def test_values_that_are_refused(name):
    make, options, message = VALUE_ERRORS[name]
    with pytest.raises(ValueError, match=message):
        TableEncoder(**options).fit(make())


def test_a_long_value_is_shortened_in_messages():
    with pytest.raises(ValueError, match=r"got 'a.*a'") as caught:
        TableEncoder(None).fit([["a" * 10_000]])
    assert len(str(caught.value)) < 200


def test_the_libraries_are_not_required():
    code = (
        "import sys\n"
        "for name in ('pandas', 'polars', 'pyarrow'): sys.modules[name] = None\n"
        "import numpy, cmlp.tabular\n"
        "encoder = cmlp.tabular.TableEncoder().fit(numpy.eye(3))\n"
        "encoder.transform([[1, 2, None]])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_error_without_scikit_learn_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import cmlp.tabular"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cmlp.tabular requires scikit-learn; install it with: pip install 'cmlp[tabular]'" in (
        found.stderr
    )
