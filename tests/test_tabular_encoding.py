"""`cmlp.tabular.TableEncoder`: scaling, codes, checks of columns, and its form in files."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import RobustScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from tabular_oracle import assert_same, compute_codes, compute_numeric, restore

from cmlp.tabular import TableEncoder
from cmlp.tabular.encoding import BLOCK_ROWS

pd = pytest.importorskip("pandas")

GREATEST = np.finfo(np.float64).max
ROWS = [[1.5, "b", 3], [None, "a", 1], [-2.0, None, 4], [4.0, "ä", 1], [8.25, "b", 5]]


def encode(X, **options):
    return TableEncoder(**options).fit(X).transform(X)


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32), st.integers(-3, 3).map(float))
CATEGORIES = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", "nan", "1"]), st.text())


@st.composite
def draw_columns(draw):
    """Return two numeric and two categorical columns of the same length."""
    count = draw(st.integers(1, 30))
    return [draw(st.lists(values, min_size=count, max_size=count))
            for values in (NUMBERS, CATEGORIES, NUMBERS, CATEGORIES)]  # fmt: skip


def make_frame(columns):
    frame = pd.DataFrame({"n1": pd.Series(columns[0], dtype="float64"),
                          "c1": pd.Series(columns[1], dtype="str"),
                          "n2": pd.Series(columns[2], dtype="float64"),
                          "c2": pd.Series(columns[3], dtype="category")})  # fmt: skip
    return frame.astype({"c1": object})


@settings(max_examples=40)
@given(draw_columns(), st.sampled_from([3.0, None, 0.5]))
@example([[1.0, 1.0, 1.0, 1.0, 5.0], [None] * 5, [None] * 5, ["a"] * 5], 3.0)
def test_encoding_is_that_of_plain_loops(columns, clip):
    encoder = TableEncoder(smooth_clip=clip, dtype="float64").fit(make_frame(columns))
    numeric, codes = encoder.transform(make_frame(columns))
    expected, indicators = [], []
    for column in (columns[0], columns[2]):
        scaled, indicator = compute_numeric(column, clip)
        expected.append(scaled)
        if None in column:
            indicators.append(indicator)
    np.testing.assert_allclose(numeric.T, [*expected, *indicators], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(codes.T, [compute_codes(columns[1]), compute_codes(columns[3])])
    assert list(encoder.cardinalities_) == [
        len(set(columns[i]) - {None}) for i in (1, 3)
    ]  # fmt: skip


@settings(max_examples=40)
@given(draw_columns(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(columns, random):
    order = random.sample(range(len(columns[0])), len(columns[0]))
    frame = make_frame(columns)
    encoder, other = TableEncoder().fit(frame), TableEncoder().fit(frame.iloc[order])
    assert encoder.to_fields()[0] == other.to_fields()[0]
    numeric, codes = encoder.transform(frame)
    assert_same(other.transform(frame.iloc[order]), (numeric[order], codes[order]))


@settings(max_examples=40)
@given(draw_columns())
def test_the_order_of_columns_is_that_of_the_result(columns):
    frame = make_frame(columns)
    encoder = TableEncoder().fit(frame)
    exchanged = frame[["c2", "n2", "n1", "c1"]]
    other = TableEncoder().fit(exchanged)
    numeric, codes = encoder.transform(frame)
    names = list(encoder.get_feature_names_out())
    order = [names.index(name) for name in other.get_feature_names_out()]
    joined = np.hstack([numeric, codes])[:, order]
    np.testing.assert_array_equal(joined, np.hstack(other.transform(exchanged)))


@settings(max_examples=40)
@given(draw_columns())
def test_missing_values_change_no_other_row(columns):
    encoder = TableEncoder().fit(make_frame(columns))
    frame = make_frame([[None, *column] for column in columns])
    numeric, codes = encoder.transform(frame)
    expected = encoder.transform(make_frame(columns))
    assert_same((numeric[1:], codes[1:]), expected)
    assert not codes[0].any()
    np.testing.assert_array_equal(numeric[0], [0, 0, *[1] * encoder.has_missing_.sum()])


def test_medians_and_ranges_are_those_of_robust_scaler(rng):
    X = rng.normal(size=(501, 4)) * [1, 1e-3, 1e3, 1] + [0, 5, -1e3, 0]
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 3] = rng.integers(0, 5, 501)
    scaler = RobustScaler().fit(X)
    encoder = TableEncoder(smooth_clip=None, dtype="float64").fit(X)
    np.testing.assert_allclose(encoder.medians_, scaler.center_, rtol=1e-12)
    np.testing.assert_allclose(encoder.factors_, 1 / scaler.scale_, rtol=1e-12)
    expected = np.nan_to_num(scaler.transform(X))
    found = encoder.transform(X).numeric[:, :4]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_codes_are_those_of_pandas_factorize(rng):
    values = rng.integers(0, 500, 10_000).astype(str).astype(object)
    values[rng.random(len(values)) < 0.1] = None
    codes, uniques = pd.factorize(values, sort=True)
    encoder = TableEncoder().fit(values[:, None])
    assert list(encoder.categories_[0]) == list(uniques)
    np.testing.assert_array_equal(encoder.transform(values[:, None]).codes[:, 0], codes + 1)


def test_a_column_without_spread():
    X = np.array([[7.0, 0.0, 5.0], [7.0, 0.0, 5.0], [7.0, 0.0, 5.0], [7.0, 0.0, 5.0], [7, 8, 5]])
    encoder = TableEncoder(smooth_clip=None).fit(X)
    np.testing.assert_array_equal(encoder.factors_, [0, 0.25, 0])
    np.testing.assert_array_equal(encoder.transform(X).numeric[-1], [0, 2, 0])
    np.testing.assert_array_equal(encoder.transform([[8.0, 1, np.nan]]).numeric, [[0, 0.25, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_dtypes_and_layout(dtype):
    numeric, codes = encode(ROWS, dtype=dtype)
    assert numeric.dtype == dtype
    assert codes.dtype == np.int32
    assert numeric.flags.c_contiguous
    assert codes.flags.c_contiguous


@pytest.mark.parametrize("scale", [1e300, GREATEST, 1e-300, 5e-324, 1.0, 1e10])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_number_overflows(scale, dtype):
    small = np.array([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0])
    expected = encode(small[:, None], dtype=dtype).numeric
    X = (small * scale)[:, None]
    encoder = TableEncoder(dtype=dtype).fit(X)
    numeric = encoder.transform(X).numeric
    assert np.isfinite(numeric).all()
    assert (np.diff(numeric[:, 0]) >= 0).all()
    if scale > 1e-307:
        np.testing.assert_allclose(numeric, expected, rtol=1e-6)
    far = encoder.transform(np.array([[GREATEST], [-GREATEST], [1e300], [0]])).numeric
    assert np.isfinite(far).all()
    if scale < 1e100:
        np.testing.assert_allclose(far[:3, 0], [3, -3, 3])
    plain = TableEncoder(smooth_clip=None, dtype="float64").fit(X)
    assert np.isfinite(plain.transform(X).numeric).all()


def test_a_distance_from_the_median_that_overflows():
    X = np.array([[0.5, 0.75, 1.0]]).T
    later = np.array([[-1.0, -0.25, 0.75]]).T
    for clip in (3.0, None):
        encoder = TableEncoder(smooth_clip=clip).fit(X * GREATEST)
        expected = TableEncoder(smooth_clip=clip).fit(X).transform(later).numeric
        np.testing.assert_allclose(encoder.transform(later * GREATEST).numeric, expected, rtol=1e-6)


@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=12),
       st.floats(allow_infinity=False), st.sampled_from([3.0, 1e-300, 1e30]))  # fmt: skip
def test_any_numbers_give_finite_ones(values, later, clip):
    encoder = TableEncoder(smooth_clip=clip).fit(np.array([values]).T)
    assert np.isfinite(encoder.medians_).all()
    assert np.isfinite(encoder.factors_).all()
    numeric = encoder.transform(np.array([[*values, later]]).T).numeric
    assert np.isfinite(numeric).all()
    assert (np.abs(numeric[:, 0]) <= np.float32(clip)).all()


def test_integers_of_64_bits():
    values = np.array([[0, 2**62, 2**63, 2**64 - 1]], np.uint64).T
    np.testing.assert_array_equal(encode(values).numeric, encode(values.astype(float)).numeric)
    numeric = encode([[10**300], [0], [-(10**300)]]).numeric[:, 0]
    np.testing.assert_allclose(numeric, encode([[1], [0], [-1]]).numeric[:, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_clip_numbers_beyond_the_range_are_refused(dtype):
    encoder = TableEncoder(smooth_clip=None, dtype=dtype).fit([[0.0], [0.1], [0.2]])
    X = np.zeros((BLOCK_ROWS + 5, 1))
    X[BLOCK_ROWS + 3] = -1e308
    row = BLOCK_ROWS + 3
    message = rf"column 0 of X .* range of {dtype} when scaled; got -1e\+308 in row {row};"
    with pytest.raises(ValueError, match=message):
        encoder.transform(X)


def test_blocks_of_rows_give_the_same_as_single_rows(rng):
    X = rng.normal(size=(2 * BLOCK_ROWS + 7, 3))
    X[::3, 1] = np.nan
    encoder = TableEncoder().fit(X)
    numeric = encoder.transform(X).numeric
    for row in (0, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS, len(X) - 1):
        np.testing.assert_array_equal(encoder.transform(X[[row]]).numeric[0], numeric[row])
    np.testing.assert_array_equal(encoder.transform(np.asfortranarray(X)).numeric, numeric)
    np.testing.assert_array_equal(encoder.transform(X[::-1]).numeric, numeric[::-1])


def test_the_table_is_not_modified():
    X = np.array([[1e308, 1.0], [-1e308, np.nan], [0, 3.0]])
    for table in (X.copy(), np.asfortranarray(X), pd.DataFrame(X)):
        encode(table)
        np.testing.assert_array_equal(np.asarray(table), X)


def test_values_not_seen_in_fit():
    encoder = TableEncoder().fit([[1.0, "a"], [2.0, "b"]])
    numeric, codes = encoder.transform([[None, "c"], [1.5, None], [9.0, 1]])
    assert numeric.shape == (3, 1)  # no indicator
    np.testing.assert_array_equal(numeric[:2, 0], [0, 0])
    np.testing.assert_array_equal(codes[:, 0], [0, 0, 0])
    with pytest.raises(ValueError, match=r"column 0 of X must hold numbers.*; got 'x' in row 1"):
        encoder.transform([[1.0, "a"], ["x", "a"]])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("from_dtype", [1]), (None, []), ([], []), (["b", "c"], [1, 2]), (np.array(["b"]), [1]),
        (np.array(["c", "b"], object), [1, 2]), ([2, 1, 1], [1, 2]), ((1,), [1]),
        (np.array([0, 1, 2], np.uint8), [0, 1, 2]), ([False, True, True], [1, 2]),
        (np.array([True, True, False]), [0, 1]),
    ],
)  # fmt: skip
def test_categorical_features(selection, expected):
    frame = pd.DataFrame(ROWS, columns=list("abc"))
    if 1 not in expected:
        frame["b"] = 1.0
    encoder = TableEncoder(selection).fit(frame)
    np.testing.assert_array_equal(encoder.categorical_columns_, expected)
    np.testing.assert_array_equal(encoder.numeric_columns_, sorted({0, 1, 2} - set(expected)))
    again = restore(clone(encoder).fit(frame))
    assert_same(again.transform(frame), encoder.transform(frame))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("names", "must be 'from_dtype', an array-like of bool, int or str, or None; got 'names'"),
        (1, "must be an array-like of bool, int or str, got: 1"),
        ([[1]], "must be an array-like of bool, int or str"),
        ([1.0], "must be an array-like of bool, int or str, got: float64"),
        (["a", 1], "must be an array-like of bool, int or str, got: int, str"),
        ([None], "must be an array-like of bool, int or str, got: NoneType"),
        ([3], r"set as integer indices must be in \[0, n_features - 1\]"),
        ([-1], r"set as integer indices must be in \[0, n_features - 1\]"),
        ([True, False], r"set as a boolean mask must have shape \(n_features,\), got: \(2,\)"),
        (["d"], "has an item value 'd' which is not a valid feature name of the training data"),
    ],
)
def test_categorical_features_that_are_refused(selection, message):
    with pytest.raises(ValueError, match="categorical_features " + message):
        TableEncoder(selection).fit(pd.DataFrame(ROWS, columns=list("abc")))


def test_names_need_a_table_with_names():
    for X in (ROWS, pd.DataFrame(ROWS)):
        with pytest.raises(ValueError, match="fitted on data without feature names"):
            TableEncoder(["b"]).fit(X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"smooth_clip": 0}, ValueError, "smooth_clip must be positive"),
        ({"smooth_clip": np.inf}, ValueError, "smooth_clip must be positive and finite"),
        ({"smooth_clip": "3"}, TypeError, "smooth_clip must be a number"),
        ({"smooth_clip": True}, TypeError, "smooth_clip must be a number"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64; got 'float16'"),
        ({"dtype": ">f4"}, ValueError, "dtype must be float32 or float64; got '>f4'"),
        ({"dtype": None}, ValueError, "dtype must be float32 or float64; got None"),
        ({"dtype": "real"}, TypeError, "dtype must be float32 or float64; got 'real'"),
    ],
)
def test_arguments_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        TableEncoder(**options).fit(ROWS)
    encoder = TableEncoder().fit(ROWS).set_params(**options)
    for method in (lambda: encoder.transform(ROWS), encoder.to_fields):
        with pytest.raises(error, match=message):
            method()


def test_columns_are_checked_as_scikit_learn_does():
    frame = pd.DataFrame(ROWS, columns=list("abc"))
    encoder = TableEncoder().fit(frame)
    assert encoder.n_features_in_ == 3
    assert list(encoder.feature_names_in_) == list("abc")
    for again in (encoder, restore(encoder), pickle.loads(pickle.dumps(encoder))):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            again.transform(frame[["b", "a", "c"]])
        with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- d\n"):
            again.transform(frame.rename(columns={"a": "d"}))
        with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- c\n"):
            again.transform(frame[["a", "b"]])
        with pytest.warns(UserWarning, match="X does not have valid feature names, but TableEnc"):
            found = again.transform(ROWS)
        assert_same(found, again.transform(frame))
    encoder.fit(ROWS)
    assert not hasattr(encoder, "feature_names_in_")
    for again in (encoder, restore(encoder)):
        assert list(again.get_feature_names_out()) == ["x0", "x2", "missingindicator_x0", "x1"]
        with pytest.raises(ValueError, match="X has 2 features, but TableEncoder is expecting 3"):
            again.transform([row[:2] for row in ROWS])
        with pytest.warns(UserWarning, match="X has feature names, but TableEncoder was fitted"):
            again.transform(frame)


def test_names_of_the_result():
    encoder = TableEncoder().fit(pd.DataFrame(ROWS, columns=list("abc")))
    assert list(encoder.get_feature_names_out()) == ["a", "c", "missingindicator_a", "b"]
    assert list(encoder.get_feature_names_out(["a", "b", "c"]))[:2] == ["a", "c"]
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        encoder.get_feature_names_out(["a", "b", "d"])


def test_an_encoder_that_is_not_fitted():
    encoder = TableEncoder()
    for method in (lambda: encoder.transform(ROWS), encoder.get_feature_names_out,
                   encoder.to_fields):  # fmt: skip
        with pytest.raises(NotFittedError):
            method()


# These checks expect one array or, of complex numbers, a ValueError that names no column.
RESULT_IS_NO_ARRAY = {
    "check_complex_data": "the TypeError names the column and its dtype",
    **dict.fromkeys(
        ("check_pipeline_consistency", "check_estimators_pickle", "check_fit_idempotent",
         "check_methods_sample_order_invariance"),
        "the result is a tuple of two arrays",
    ),
}  # fmt: skip


@parametrize_with_checks([TableEncoder()], expected_failed_checks=lambda _: RESULT_IS_NO_ARRAY)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
