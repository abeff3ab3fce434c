"""`coefs_` and `intercepts_` of the estimators, as tools read and users assign them."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import make_classification

from cmlp import Network
from cmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = make_classification(180, 12, n_informative=6, n_classes=3, random_state=0)


def apply_coefs(estimator, X):
    """Return the probabilities that tools compute from `coefs_` and `intercepts_`, as emlearn."""
    a = np.asarray(X, np.float64)
    for l, (coef, intercept) in enumerate(
        zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ):
        a = a @ coef + intercept
        if l < len(estimator.coefs_) - 1:
            a = np.maximum(a, 0)
    a = np.exp(a - a.max(axis=1, keepdims=True))
    return a / a.sum(axis=1, keepdims=True)


def convert_to_onnx(estimator, X):
    """Return the probabilities of skl2onnx's converter for scikit-learn's class."""
    import onnxruntime
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_classifier

    update_registered_converter(
        MLPClassifier, "CmlpMLPClassifier", calculate_linear_classifier_output_shapes,
        convert_sklearn_mlp_classifier, overwrite=True,
        options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True],
                 "nocl": [True, False]},
    )  # fmt: skip
    X = X.astype(np.float32)
    model = to_onnx(estimator, X[:1], options={"zipmap": False}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})[1]


@pytest.mark.parametrize(
    "options",
    [{}, {"dtype": "float32"}, {"solver": "lbfgs"}, {"early_stopping": True}, {"dropout": 0.1},
     {"batch_norm": False}],
    ids=str,
)  # fmt: skip
def test_coefs_of_batch_normalization_are_folded(options):
    X, y = CLASSES
    X = X * 3 + 1  # running statistics that matter
    estimator = MLPClassifier(
        **{"hidden_layer_sizes": (16, 8), "batch_norm": True, "learning_rate_init": 0.01,
           "max_iter": 20, "random_state": 0, **options}
    ).fit(X, y)  # fmt: skip
    expected = estimator.predict_proba(X)
    np.testing.assert_allclose(apply_coefs(estimator, X), expected, atol=1e-6)
    np.testing.assert_allclose(convert_to_onnx(estimator, X), expected, atol=1e-5)
    np.testing.assert_allclose(Network.from_sklearn(estimator)(X), expected, atol=1e-12)
    again = pickle.loads(pickle.dumps(estimator))
    assert (apply_coefs(again, X) == apply_coefs(estimator, X)).all()
    assert (again.predict_proba(X) == expected).all()
    if "solver" in options or "early_stopping" in options:
        return
    for _ in range(3):
        estimator.partial_fit(X, y)
        np.testing.assert_allclose(apply_coefs(estimator, X), estimator.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_assigning_folded_coefs(dtype):
    X, y = CLASSES
    estimator = MLPClassifier(16, batch_norm=True, dtype=dtype, random_state=0, max_iter=5)
    estimator.fit(X, y)
    before = estimator.predict_proba(X)
    estimator.coefs_ = [coef.copy() for coef in estimator.coefs_]
    np.testing.assert_allclose(estimator.predict_proba(X), before, atol=1e-6)
    assert not estimator.coefs_[0].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        estimator.coefs_[0][:] = 0
    other = pickle.loads(pickle.dumps(estimator))
    estimator.partial_fit(X, y)  # continues from the running statistics
    other.partial_fit(X, y)
    np.testing.assert_allclose(estimator.predict_proba(X), other.predict_proba(X), atol=1e-5)

    estimator.network_.scale[0][:5] = 0  # units that cannot be divided by their scale
    estimator.coefs_ = [coef * 0.5 for coef in estimator.coefs_]
    estimator.intercepts_ = [intercept + 1 for intercept in estimator.intercepts_]
    expected = apply_coefs(estimator, X)
    np.testing.assert_allclose(estimator.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(estimator.network_.predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(apply_coefs(estimator, X), expected, atol=1e-6)


def test_coefs_are_current_after_an_exception():
    def fail(network, epoch, record):
        if epoch == 2:
            raise RuntimeError("stop")

    X, y = CLASSES
    estimator = MLPClassifier(batch_norm=True, random_state=0, callbacks=[fail])
    with pytest.raises(RuntimeError, match="stop"):
        estimator.fit(X, y)
    np.testing.assert_allclose(apply_coefs(estimator, X), estimator.predict_proba(X), atol=1e-6)


def test_in_place_changes_of_assigned_coefs_count():
    X, y = CLASSES
    estimator = MLPRegressor(random_state=0, max_iter=5).fit(X, y)
    estimator.coefs_ = [np.zeros_like(coef) for coef in estimator.coefs_]
    estimator.intercepts_ = [np.full_like(i, 3) for i in estimator.intercepts_]
    assert (estimator.predict(X) == 3).all()
    estimator.intercepts_[-1][:] = 4
    assert (estimator.predict(X) == 4).all()
    single = MLPRegressor(dtype="float32", random_state=0, max_iter=5).fit(X, y)
    with pytest.raises(ValueError, match="read-only"):  # a copy, as X is float64
        single.coefs_[0][:] = 0
