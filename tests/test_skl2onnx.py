"""Conversion of the estimators by skl2onnx, run by ONNX Runtime."""

import sys

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cmlp import losses
from cmlp.activations import ACTIVATIONS, PARAMETRIC, elu, leaky_relu
from cmlp.sklearn import MLPClassifier, MLPRegressor, register_skl2onnx

pytest.importorskip("skl2onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::DeprecationWarning",
    "ignore:Option zipmap is ignored", "ignore::FutureWarning",
)  # fmt: skip

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 5)).astype(np.float32) * 2 + 1
Y = (X[:, 0] > 1).astype(int) + (X[:, 1] > 1)
TARGETS = np.c_[X[:, 0] - X[:, 1], X[:, 2] ** 2, X[:, 3]]
NAMES = np.array(["red", "green", "blue"])
OPTIONS = {"hidden_layer_sizes": (9, 6), "random_state": 0, "max_iter": 3}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-6}


@pytest.fixture(scope="module", autouse=True)
def _registration():
    register_skl2onnx()
    register_skl2onnx()


def run(model, rows, options=None, **arguments):
    """Convert a fitted model and return the outputs of ONNX Runtime for rows."""
    import onnxruntime
    import skl2onnx

    converted = skl2onnx.to_onnx(model, rows[:1], options=options, **arguments)
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: rows})


def check_classifier(model, rows=X, atol=1e-5, **arguments):
    """Check labels and probabilities of a converted classifier."""
    label, probabilities = run(model, rows, {"zipmap": False}, **arguments)
    expected = model.predict_proba(rows)
    np.testing.assert_allclose(probabilities, expected, atol=atol)
    is_clear = np.ptp(np.sort(expected)[:, -2:], axis=1) > 10 * atol
    assert (label == model.predict(rows))[is_clear].all()
    return label, probabilities


HIDDEN = [*(name for name, activation in ACTIVATIONS.items() if activation.hidden), *PARAMETRIC,
          leaky_relu(0.3), elu(0.7), "logistic"]  # fmt: skip


@pytest.mark.parametrize("activation", HIDDEN, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(activation, dtype):
    activation = [activation, "tanh"] if isinstance(activation, str) else activation
    model = MLPClassifier(activation=activation, **OPTIONS).fit(X.astype(dtype), Y)
    rows = (X * 3).astype(dtype)
    _, probabilities = check_classifier(model, rows, TOLERANCE[dtype])
    assert probabilities.dtype == dtype


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalization_pipelines_and_opsets(opset, dtype):
    mlp = MLPClassifier(activation="gelu", batch_norm=True, dropout=0.1, dtype=dtype, **OPTIONS)
    model = make_pipeline(StandardScaler(), mlp).fit(X, Y)
    check_classifier(model, X, target_opset={"": opset, "ai.onnx.ml": 3})
    check_classifier(model, X.astype(np.float64), target_opset={"": opset, "ai.onnx.ml": 3})


def test_layer_normalization():
    model = MLPClassifier(**OPTIONS).fit(X, Y)
    for opset in (13, 17):
        for rows in (X, X.astype(np.float64)):
            net = model.network_
            other = type(net)(net.size, activation="relu", output="softmax", loss="cross_entropy",
                              normalization="layer", dtype="float64", seed=1)  # fmt: skip
            other.bias[0][:] = 0.3
            model._network, model._exposed = other, [*model.coefs_, *model.intercepts_]
            check_classifier(model, rows, target_opset=opset)


@pytest.mark.parametrize(
    "labels",
    [[4, 7, 2**40], [-1.0, 2.0, 3.0], np.array([1, 5, 200], np.uint8), NAMES,
     np.array([*NAMES], object)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_and_options(labels, n_classes):
    labels = np.asarray(labels)
    codes = np.minimum(Y, n_classes - 1)
    model = MLPClassifier(**OPTIONS).fit(X, labels[codes])
    check_classifier(model)
    label, maps = run(model, X)  # zipmap
    assert (label == model.predict(X)).all()
    expected = model.predict_proba(X)
    for key, column in zip(model.classes_, expected.T, strict=True):
        np.testing.assert_allclose([row[key] for row in maps], column, atol=1e-5)
    columns = run(model, X, {"zipmap": "columns"})
    np.testing.assert_allclose(np.column_stack(columns[1:]), expected, atol=1e-5)
    index, _ = run(model, X, {"zipmap": False, "nocl": True})
    assert (model.classes_[index] == model.predict(X)).all()
    if labels.dtype.kind in "iU":  # skl2onnx itself does not support others
        *_, found = run(model, X, {"zipmap": False, "output_class_labels": True})
        assert (found == model.classes_).all()


def test_bool_and_other_labels():
    model = MLPClassifier(**OPTIONS).fit(X, Y > 0)
    check_classifier(model)
    model = MLPClassifier(**OPTIONS).fit(X, np.array([0, 2**63], np.uint64)[Y // 2])
    with pytest.raises(ValueError, match="classes_ must be all strings or all whole numbers"):
        run(model, X, {"zipmap": False})
    single = MLPClassifier(**OPTIONS).fit(X, np.full(len(X), 4))
    assert (run(single, X, {"zipmap": False})[0] == 4).all()


@pytest.mark.parametrize("n_classes", [2, 5])
def test_multilabel(n_classes):
    rows, labels = make_multilabel_classification(80, 5, n_classes=n_classes, random_state=0)
    rows = rows.astype(np.float32)
    model = MLPClassifier(**{**OPTIONS, "max_iter": 30}).fit(rows, labels)
    label, probabilities = run(model, rows, {"zipmap": False})
    np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-5)
    assert (label == model.predict(rows)).all()
    assert 0 < label.mean() < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("targets", [TARGETS, TARGETS[:, 0]], ids=["several", "one"])
def test_regressors(targets, dtype):
    rows = X.astype(dtype)
    model = make_pipeline(StandardScaler(), MLPRegressor(activation="mish", **OPTIONS))
    model.fit(rows, targets)
    [found] = run(model, rows)
    assert found.dtype == dtype
    assert found.shape == (len(X), targets.size // len(X))
    np.testing.assert_allclose(
        found.reshape(targets.shape), model.predict(rows), atol=TOLERANCE[dtype]
    )
    counts = MLPRegressor("poisson", **OPTIONS).fit(rows, np.abs(np.round(targets)))
    np.testing.assert_allclose(
        run(counts, rows)[0].reshape(targets.shape), counts.predict(rows), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("loss", "blocks"),
    [(losses.pinball((0.1, 0.5, 0.9), non_crossing=True), 3), (losses.pinball((0.2, 0.8)), 2),
     (losses.LOSSES["gaussian_nll"], 2), (losses.LOSSES["poisson"], 1)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("targets", [1, 2])
def test_losses_of_regressors(loss, blocks, targets, dtype):
    """Networks of other losses, as the estimators' attribute `network_` may have them."""
    model = MLPRegressor(**OPTIONS).fit(X, TARGETS[:, 0])
    net = model.network_
    model._network = type(net)([5, 7, blocks * targets], loss=loss, output="identity", seed=0,
                               dtype=dtype)  # fmt: skip
    model._exposed = [*model.coefs_, *model.intercepts_]
    rows = X.astype(dtype)
    [found] = run(model, rows)
    expected = model.network_.predict(rows)
    assert found.shape == (len(rows), expected.size // len(rows))
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["quadratic", "binary_cross_entropy", "hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_losses_of_classifiers(loss, n_classes, dtype):
    """One class against the rest: probabilities are divided by their sum; hinge has scores."""
    model = MLPClassifier(**OPTIONS).fit(X, NAMES[np.minimum(Y, n_classes - 1)])
    net = model.network_
    model._network = net = type(net)([5, 4, 1 if n_classes == 2 else 3], activation="identity",
                                     loss=loss, dtype=dtype)  # fmt: skip
    for weight in net.weight:
        weight[:] = RNG.uniform(size=weight.shape)
    model._exposed = [*model.coefs_, *model.intercepts_]
    rows = X.astype(dtype)
    rows[:3] = -1e4  # all probabilities are 0
    outputs = net(rows)
    label, values = run(model, rows, {"zipmap": False})
    if n_classes == 2:
        first = -outputs if loss == "hinge" else 1 - outputs
        expected = np.c_[first, outputs]
    elif loss == "hinge":
        expected = outputs
    else:
        sums = outputs.sum(axis=1, keepdims=True)
        assert (sums == 0).any()
        assert (sums > 0).any()
        expected = np.divide(outputs, sums, out=np.full_like(outputs, 1 / 3), where=sums > 0)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    is_clear = np.ptp(np.sort(expected)[:, -2:], axis=1) > 1e-4
    assert (label == model.classes_[expected.argmax(axis=1)])[is_clear].all()


def test_integers_and_bools():
    rows = np.round(X * 3).astype(np.int64)
    check_classifier(MLPClassifier(**OPTIONS).fit(rows.astype(np.float32), Y), rows)
    regressor = MLPRegressor(**OPTIONS).fit((rows > 0).astype(np.float64), TARGETS[:, 0])
    np.testing.assert_allclose(run(regressor, rows > 0)[0][:, 0], regressor.predict(rows > 0),
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("labels", [Y, NAMES[Y], NAMES[Y // 2]], ids=["int", "str", "binary"])
def test_meta_estimators_of_classifiers(labels):
    mlp, other = MLPClassifier(**OPTIONS), LogisticRegression()
    pipeline = make_pipeline(StandardScaler(), mlp)
    search = GridSearchCV(mlp, {"alpha": [1e-4, 1e-3]}, cv=2)
    for model in (
        VotingClassifier([("a", mlp), ("b", other)], voting="soft", flatten_transform=False),
        StackingClassifier([("a", mlp), ("b", other)], cv=2),
        StackingClassifier([("b", other)], final_estimator=mlp, cv=2),
        CalibratedClassifierCV(mlp, cv=2), search, make_pipeline(StandardScaler(), search),
        VotingClassifier([("a", pipeline), ("b", mlp)], voting="soft", flatten_transform=False),
    ):  # fmt: skip
        check_classifier(model.fit(X, labels))


def test_meta_estimators_of_regressors_and_columns():
    mlp = MLPRegressor(**OPTIONS)
    voting = VotingRegressor([("a", mlp), ("b", make_pipeline(StandardScaler(), mlp))])
    voting.fit(X, TARGETS[:, 0])
    np.testing.assert_allclose(run(voting, X)[0][:, 0], voting.predict(X), atol=1e-5)
    codes = np.c_[X[:, :3], np.round(X[:, 3:])].astype(np.float32)
    columns = make_column_transformer(
        (StandardScaler(), [0, 1, 2]), (OneHotEncoder(sparse_output=False), [3, 4])
    )
    model = make_pipeline(columns, MLPClassifier(**OPTIONS)).fit(codes, Y)
    check_classifier(model, codes)


def test_estimators_of_tables_name_their_own_export():
    tabular = pytest.importorskip("cmlp.tabular")
    for model in (tabular.RealMLPClassifier(), tabular.RealMLPRegressor()):
        with pytest.raises(TypeError, match=r"RealMLP.*use estimator\.to_onnx\(path\)"):
            run(make_pipeline(StandardScaler(), model), X)


def test_errors(monkeypatch):
    model = MLPClassifier(**OPTIONS)
    with pytest.raises(NotFittedError):
        run(MLPRegressor(), X)
    model.fit(X, Y)
    with pytest.raises(ValueError, match="target_opset must be at least 13; got 12"):
        run(model, X, target_opset=12)
    with pytest.raises(Exception, match="raw_scores"):
        run(model, X, {"raw_scores": True})
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(
        ImportError, match=r"register_skl2onnx\(\) requires skl2onnx.*cmlp\[skl2onnx"
    ):
        register_skl2onnx()
