"""Exports of the tabular estimators, preprocessing included, predict what they predict."""

import builtins
import ctypes
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from c_libraries import FLAGS
from sklearn.exceptions import NotFittedError
from web_pages import NODE, read_page, run_pages

from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

SMALL = {"max_epochs": 2, "hidden_layer_sizes": (8, 7), "batch_size": 64, "random_state": 0}
COLORS = ["red", "green", "blue", 'Grün\n"?\\', ""]


def make_table(rng, n):
    """Return a table with all kinds of columns and missing values."""
    letters = np.array([f"c{i:02d}" for i in range(30)], object)
    table = pd.DataFrame({
        "small": rng.normal(size=n),
        "large, and ü": 1e9 + rng.normal(size=n),
        "count": rng.integers(0, 9, n),
        "constant": np.full(n, 3.0),
        "huge": rng.choice([-1.7e308, 1.7e308], n),
        "color": rng.choice(np.array([*COLORS, None], object), n),
        "yes": rng.random(n) < 0.5,
        "many": rng.choice(letters, n),
        "number": pd.Categorical(rng.choice([3, 5, 2**53 + 1], n)),
        "real": pd.Categorical(rng.choice([0.5, 1.5, np.nan, 2.0], n)),
        "mixed": rng.choice(np.array([1, 2.5, "b"], object), n),
        "nothing": np.full(n, None, object),
    })  # fmt: skip
    table.loc[rng.random(n) < 0.2, "small"] = np.nan
    table.loc[rng.random(n) < 0.2, "large, and ü"] = np.nan
    return table


def make_unseen(rng):
    """Return rows with values that `make_table` does not have, missing or unknown."""
    table = make_table(rng, 12)
    table.loc[0, ["small", "large, and ü", "count", "constant", "huge"]] = np.nan
    table.loc[1, ["small", "large, and ü", "count", "huge"]] = 1e300, -1e300, -1, 0.5
    table["number"] = pd.Categorical([4, *[3] * 11])
    table["real"] = pd.Categorical([7.25, *[0.5] * 11])
    table.loc[2:4, ["color", "many", "mixed"]] = "unknown"
    table.loc[5:6, ["color", "many", "mixed"]] = None
    table["nothing"] = ["text", *[None] * 11]
    return table


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    return make_table(rng, 200), make_unseen(rng)


def make_targets(table):
    return (table["color"] == "red") * 2.0 + table["small"].fillna(0) + table["count"] / 4


ESTIMATORS = {
    "classifier": (RealMLPClassifier, {"cv": 2, "calibrate": "temperature"}),
    "binary": (RealMLPClassifier, {"variant": "TD-S", "dtype": "float64", "smooth_clip": 1.5}),
    "single": (RealMLPClassifier, {}),
    "mse": (RealMLPRegressor, {"cv": 2}),
    "mae": (RealMLPRegressor, {"variant": "TD-S", "loss": "mae", "dtype": "float64"}),
    "pinball": (RealMLPRegressor, {"loss": "pinball", "quantiles": (0.1, 0.5, 0.9), "cv": 2}),
    "gaussian": (RealMLPRegressor, {"loss": "gaussian_nll", "cv": 3, "clamp_output": False}),
    "numbers": (RealMLPRegressor, {"loss": "gaussian_nll", "numeric_embedding": "plr"}),
    "codes": (RealMLPClassifier, {"numeric_embedding": "none", "input_scale": False}),
}  # fmt: skip

# Columns that an estimator is trained on; others have all.
SELECTIONS = {"numbers": ["small", "large, and ü"], "codes": ["color", "many"]}


def select(name, table):
    return table[SELECTIONS.get(name, list(table))]


@pytest.fixture(scope="module")
def estimators(tables):
    """Return trained estimators by name."""
    values = make_targets(tables[0])
    targets = {
        "classifier": pd.cut(values, 3, labels=["low", "mid", "high"]).astype(object).to_numpy(),
        "binary": (values > 1).to_numpy(), "single": np.full(200, 7),
        "codes": (values * 2).astype(int).clip(-1, 2),
        "gaussian": np.column_stack([values, 1000 + 0.01 * values]), "numbers": 50 * values,
    }  # fmt: skip
    return {
        name: kind(**SMALL, **options).fit(select(name, tables[0]), targets.get(name, values))
        for name, (kind, options) in ESTIMATORS.items()
    }


def make_feeds(session, table):
    """Return the inputs of an ONNX model for a table, as a user would make them."""
    feeds = {}
    for given in session.get_inputs():
        column = table[given.name]
        if given.type == "tensor(string)":
            missing = column.isna() & (column != "")
            values = np.where(missing, "no category", column.astype(str)).astype(object)
        elif given.type == "tensor(int64)":
            values = column.astype(np.int64).to_numpy()
        else:
            dtype = np.float64 if given.type == "tensor(double)" else np.float32
            values = column.astype(dtype).to_numpy()
        feeds[given.name] = values[:, None]
    return feeds


def run_onnx(path, table):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, make_feeds(session, table)), strict=True))


def compare(estimator, table, found, rtol=1e-5):
    """Compare the outputs of an export, by the names of ONNX, with the predictions."""
    if isinstance(estimator, RealMLPClassifier):
        want = estimator.predict_proba(table)
        np.testing.assert_allclose(found["probabilities"], want, rtol=0, atol=5e-6)
        if "label" in found:
            np.testing.assert_array_equal(found["label"], estimator.predict(table))
        return
    scale = estimator._targets.deviation * 1e-5
    if estimator.loss == "gaussian_nll":
        want, std = estimator.predict(table, return_std=True)
        np.testing.assert_allclose(found["std"], std, rtol=1e-5)
    else:
        want = estimator.predict(table)
    assert found["prediction"].shape == want.shape
    assert (abs(found["prediction"] - want) <= scale).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_onnx(tmp_path, tables, estimators, name):
    estimator, path = estimators[name], tmp_path / "model.onnx"
    estimator.to_onnx(path, opset=13 if name == "mse" else 17)
    for table in tables:
        compare(estimator, select(name, table), run_onnx(path, select(name, table)))
    model = onnx.load(path)
    assert [i.name for i in model.graph.input] == list(select(name, tables[0]))
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}


def test_onnx_of_float32(tmp_path, tables, estimators):
    estimator, path = estimators["gaussian"], tmp_path / "model.onnx"
    estimator.to_onnx(path, dtype="float32")
    table = tables[0].assign(huge=0.0, **{"large, and ü": np.nan})
    found = run_onnx(path, table)
    assert found["std"].dtype == found["prediction"].dtype == np.float32
    want = estimator.predict(table)
    np.testing.assert_allclose(found["prediction"], want, rtol=1e-5, atol=1e-5)


def test_onnx_of_arrays(tmp_path, rng):
    X = rng.normal(size=(100, 3))
    X[:, 2] = rng.integers(0, 20, 100)
    regressor = RealMLPRegressor(**SMALL, categorical_features=[2]).fit(X, X[:, 0])
    regressor.to_onnx(tmp_path / "model.onnx")
    table = pd.DataFrame(X, columns=["x0", "x1", "x2"])
    table.loc[0, "x2"] = np.nan
    found = run_onnx(tmp_path / "model.onnx", table)
    np.testing.assert_allclose(found["prediction"], regressor.predict(table.to_numpy()), atol=1e-5)


def test_encode(tables, estimators):
    estimator = estimators["classifier"]
    X = estimator.encode(tables[1])
    assert X.dtype == np.float32
    assert X.shape == (12, estimator.networks_[0].state.architecture.inputs)
    want = [network.predict_proba(X) for network in estimator.networks_]
    assert estimator.temperature_ != 1
    assert len(want) == 2


@pytest.fixture(scope="module")
def library(tmp_path_factory, estimators):
    """Return the library of the C files of all estimators."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    folder = tmp_path_factory.mktemp("c")
    for name, estimator in estimators.items():
        estimator.to_c(folder / f"{name}.c", name=name, own_math=name in ("classifier", "gaussian"))
    estimators["codes"].to_c(folder / "bytes.c", name="bytes", weights="int8")
    sources = sorted(map(str, folder.glob("*.c")))
    path = str(folder / "library.so")
    subprocess.run(
        [compiler, *FLAGS, "-O0", "-shared", "-fPIC", *sources, "-o", path, "-lm"], check=True
    )
    return ctypes.CDLL(path)


def run_c(library, name, estimator, table):
    """Return the outputs of a C library, by the names of ONNX."""
    is_classifier = isinstance(estimator, RealMLPClassifier)
    encoder, names = estimator.encoder_, np.array(list(table))
    numbers = table[names[encoder.numeric_columns_]].to_numpy(np.float64, na_value=np.nan)
    numbers = np.ascontiguousarray(numbers)
    columns = [table[name].tolist() for name in names[encoder.categorical_columns_]]
    find_code = getattr(library, f"{name}_find_code", None)
    codes = np.array([
        [find_code(i, str(value).encode()) if value is not None and value == value else 0
         for value in column] for i, column in enumerate(columns)
    ], np.int32).reshape(len(columns), len(table)).T.copy()  # fmt: skip
    if is_classifier:
        shape, dtype = (len(table), len(estimator.classes_)), np.float32
    else:
        shape, dtype = estimator.predict(table).shape, np.float64
    outputs = [np.full(shape, np.nan, dtype) for _ in range(2)]
    has_std = not is_classifier and estimator.loss == "gaussian_nll"
    labels = []
    for i in range(len(table)):
        rows = [numbers[i], codes[i], *(each[i : i + 1] for each in outputs[: 1 + has_std])]
        pointers = [row.ctypes.data_as(ctypes.c_void_p) for row in rows]
        getattr(library, f"{name}_predict")(*pointers)
        if is_classifier:
            labels.append(getattr(library, f"{name}_classify")(*pointers[:2]))
    if is_classifier:
        return {"probabilities": outputs[0], "label": estimator.classes_[labels]}
    return {"prediction": outputs[0], "std": outputs[1]}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_c(library, tables, estimators, name):
    for table in tables:
        table = select(name, table)
        compare(estimators[name], table, run_c(library, name, estimators[name], table))


def test_names_and_8_bit_weights_in_c(library, tables, estimators):
    estimator, table = estimators["codes"], select("codes", tables[0])
    found = run_c(library, "bytes", estimator, table)
    np.testing.assert_allclose(found["probabilities"], estimator.predict_proba(table), atol=0.03)
    names = (ctypes.c_char_p * 2).in_dll(library, "codes_code_names")
    assert [name.decode() for name in names] == ["color", "many"]
    names = (ctypes.c_char_p * len(estimator.classes_)).in_dll(library, "codes_classes")
    assert [name.decode() for name in names] == list(map(str, estimator.classes_))
    assert library.codes_find_code(2, b"red") == library.codes_find_code(-1, b"red") == 0
    for i, categories in enumerate(estimator.encoder_.categories_):
        for code, category in enumerate(categories, 1):
            assert library.codes_find_code(i, category.encode()) == code


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pytorch(tables, estimators, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    estimator, module = estimators[name], estimators[name].to_torch()
    for table in tables:
        table = select(name, table)
        with torch.no_grad():
            found = module(torch.tensor(estimator.encode(table)))
        if isinstance(estimator, RealMLPClassifier):
            compare(estimator, table, {"probabilities": found.numpy()})
        elif estimator.loss == "gaussian_nll":
            outputs = dict(zip(("prediction", "std"), (f.numpy() for f in found), strict=True))
            compare(estimator, table, outputs)
        else:
            compare(estimator, table, {"prediction": found.numpy()})


def test_bad_arguments(tmp_path, estimators):
    estimator = estimators["mse"]
    for call, error, message in (
        (lambda: estimator.to_onnx(tmp_path / "a.onnx", opset=9), ValueError, "opset must be at"),
        (lambda: estimator.to_onnx(tmp_path / "a.onnx", dtype="float16"), ValueError,
         "dtype must be one of .*got 'float16'"),
        (lambda: estimator.to_c(tmp_path / "a.cc"), ValueError, r"path must end in \.c"),
        (lambda: estimator.to_c(tmp_path / "a.c", name="1"), ValueError, "name must be an ident"),
        (lambda: estimator.to_c(tmp_path / "a.c", weights=8), TypeError, "weights must be"),
        (lambda: estimator.to_c(tmp_path / "a.c", own_math=1), TypeError, "own_math must be True"),
        (lambda: RealMLPRegressor().to_onnx(tmp_path / "a.onnx"), NotFittedError, "not fitted"),
        (lambda: RealMLPRegressor().to_torch(), NotFittedError, "not fitted"),
        (lambda: RealMLPClassifier().to_c(tmp_path / "a.c"), NotFittedError, "not fitted"),
        (lambda: RealMLPClassifier().encode([[1.0]]), NotFittedError, "not fitted"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()
    assert list(tmp_path.iterdir()) == []


def test_tables_that_cannot_be_exported(tmp_path, rng):
    n, target = 40, rng.normal(size=40)
    cases = (
        ({"label": target}, "to_onnx", "must not have the name of an output .*got 'label'"),
        ({"": target}, "to_onnx", "must have names that are not empty"),
        ({"a": [1, "1"] * 20}, "to_onnx", "column 'a' must not have a number and a string"),
        ({"a": [1, "1"] * 20}, "to_c", "column 'a' must not have a number and a string"),
        ({"a": pd.Categorical([2**64 - 1, 3] * 20)}, "to_onnx", "column 'a' must all be int64"),
        ({"a": ["b\0", "c"] * 20}, "to_c", r"must not hold NUL for to_c; got 'b\\x00'"),
    )  # fmt: skip
    for columns, method, message in cases:
        table = pd.DataFrame(columns, index=range(n))
        classifier = RealMLPClassifier(**SMALL).fit(table, target > 0)
        with pytest.raises(ValueError, match=message):
            getattr(classifier, method)(tmp_path / ("a.c" if method == "to_c" else "a.onnx"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("package", "title"), [("onnx", "onnx"), ("torch", "PyTorch")])
def test_missing_packages(monkeypatch, tmp_path, estimators, package, title):
    original = builtins.__import__

    def fail(name, *arguments, **options):
        if name == package:
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr("cmlp._utils.validation.import_module", lambda name: fail(name))
    arguments = [] if package == "torch" else [tmp_path / "model.onnx"]
    message = rf"to_{package}\(\) requires {title}; install it with: pip install 'cmlp\[{package}\]"
    with pytest.raises(ImportError, match=message):
        getattr(estimators["mse"], f"to_{package}")(*arguments)


def make_page_samples(estimator, table):
    """Return the rows of a table as the controls of a page give them."""
    encoder = estimator.encoder_
    numbers = table.iloc[:, encoder.numeric_columns_].astype(float).to_numpy()
    numbers = np.where(np.isnan(numbers), None, numbers.astype(object))
    codes = encoder.transform(table).codes
    return [
        {"numbers": row.tolist(), "codes": code.tolist()}
        for row, code in zip(numbers, codes, strict=True)
    ]


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.parametrize("part", [0, 1], ids=["known", "unseen"])
def test_html(tmp_path, tables, estimators, part):
    pages = []
    for name, estimator in estimators.items():
        path = tmp_path / f"{name}.html"
        estimator.to_html(path)
        pages.append((path, make_page_samples(estimator, select(name, tables[part])[:40])))
    for (name, estimator), results in zip(estimators.items(), run_pages(pages), strict=True):
        table = select(name, tables[part])[:40]
        values = np.array([result["values"] for result in results])
        if isinstance(estimator, RealMLPClassifier):
            found = {"probabilities": values}
        else:
            is_vector = estimator.predict(table[:1]).ndim == 1
            found = {"prediction": values[:, 0] if is_vector else values}
            if estimator.loss == "gaussian_nll":
                std = np.array([result["deviations"] for result in results])
                found["std"] = std[:, 0] if is_vector else std
        compare(estimator, table, found)


def test_controls_of_a_page(tmp_path, estimators):
    path, model = tmp_path / "model.html", estimators["mse"]
    model.to_html(path, ranges={"count": (0, 10)}, values={"count": 4, "color": "red"},
                  labels=["price"])  # fmt: skip
    page = read_page(path)[0]
    controls = {control["name"]: control for control in page["inputs"]}
    assert list(controls) == model.feature_names_in_.tolist()
    assert controls["count"] == {"name": "count", "low": 0, "high": 10, "step": 0.05, "value": 4,
                                 "mayMiss": True}  # fmt: skip
    color = controls["color"]
    assert color["options"][color["value"] - 1] == "red"
    assert set(color["options"]) == set(COLORS)
    small, median = controls["small"], model.encoder_.medians_[0]
    assert small["low"] < median < small["high"]
    assert small["value"] == pytest.approx(median, abs=small["step"])
    assert page["labels"] == ["price"]
    assert estimators["classifier"].classes_.tolist() == ["high", "low", "mid"]
    estimators["classifier"].to_html(path)
    assert read_page(path)[0]["labels"] == ["high", "low", "mid"]
    for ranges in ((-1, 2), np.array([-1, 2])):  # of all numeric columns
        model.to_html(path, ranges=ranges)
        controls = read_page(path)[0]["inputs"]
        assert {(c["low"], c["high"]) for c in controls if "low" in c} == {(-1, 2)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a", "b"]}, "labels must have 1 items, one for each target; got 2"),
        ({"ranges": {"color": (0, 1)}}, "ranges must be given for numeric columns only"),
        ({"ranges": {"price": (0, 1)}}, "ranges must have names of inputs as keys; got 'price'"),
        ({"values": {"color": "gray"}}, r"values\['color'\] must be one of"),
        ({"values": {"count": np.inf}}, r"values\['count'\] must be finite; got inf"),
        ({"weights": "int4"}, "weights must be one of float32, int8"),
    ],
)  # fmt: skip
def test_bad_options_of_a_page(tmp_path, estimators, options, message):
    with pytest.raises(ValueError, match=message):
        estimators["mse"].to_html(tmp_path / "model.html", **options)
    assert list(tmp_path.iterdir()) == []
