"""`coefs_` and `intercepts_` of networks that they do not describe cannot be read."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import check_is_fitted

from cmlp import Network
from cmlp.activations import leaky_relu, parametric, prelu
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.sklearn.unavailable import get_arrays

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(120, 8, n_informative=6, n_classes=3, random_state=0)
OPTIONS = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 4}
ATTRIBUTES = ("coefs_", "intercepts_")


def with_layer_norm():
    """Return a fitted classifier whose network has layer normalization."""
    estimator = MLPClassifier(**OPTIONS).fit(X, Y)
    estimator._network = Network([8, 7, 5, 3], activation="relu", loss="cross_entropy", seed=0,
                                 normalization=[None, "layer"], dtype="float64")  # fmt: skip
    estimator._expose_parameters()
    del estimator._optimizer  # that of the other network
    return estimator


def with_learned_factors():
    """Return a fitted classifier whose activation has learned factors."""
    activation = ["relu", parametric("mish")]
    return MLPClassifier(activation=activation, **OPTIONS).fit(X, Y)


@pytest.mark.parametrize("make", [with_layer_norm, with_learned_factors])
def test_items_raise_and_say_why(make):
    estimator = make()
    check_is_fitted(estimator)
    what = "layer normalization" if make is with_layer_norm else "an activation with learned"
    for name in ATTRIBUTES:
        assert hasattr(estimator, name)
        value = getattr(estimator, name)
        for read in (
            lambda v: v[0], list, len, lambda v: [w.shape for w in v], lambda v: v + v, np.asarray,
            lambda v: [*v], lambda v: list(zip(v, v, strict=True)),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"whose layer 1 has {what}.*; use network_"):
                read(value)
        assert what in repr(value)


@pytest.mark.parametrize("make", [with_layer_norm, with_learned_factors])
def test_the_estimator_itself_is_complete(make):
    estimator = make()
    expected = estimator.predict_proba(X)
    np.testing.assert_array_equal(expected, estimator.network_(X))
    np.testing.assert_array_equal(expected, Network.from_sklearn(estimator)(X))
    for twin in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(twin.predict_proba(X), expected)
        with pytest.raises(ValueError, match="do not describe"):
            twin.coefs_[0]
    assert not hasattr(clone(estimator), "coefs_")
    before = estimator.network_.weight[0].copy()
    network = estimator.network_
    estimator.partial_fit(X, Y)
    assert estimator.network_ is network  # training continues
    assert (before != network.weight[0]).any()
    np.testing.assert_array_equal(estimator.predict_proba(X), network(X))


def test_fits_continue_and_end_with_errors():
    estimator = MLPRegressor(activation=prelu(), warm_start=True, early_stopping=True, **OPTIONS)
    estimator.fit(X, Y)
    network = estimator.network_
    estimator.fit(X, Y)
    assert estimator.network_ is network
    with pytest.raises(ValueError, match="learned factors"):
        estimator.intercepts_[0]
    lbfgs = MLPRegressor(activation=prelu(), solver="lbfgs", **OPTIONS).fit(X, Y)
    np.testing.assert_allclose(lbfgs.predict(X), lbfgs.network_.predict(X), rtol=1e-12)
    assert len(cross_val_score(MLPClassifier(activation=prelu(), **OPTIONS), X, Y, cv=2)) == 2

    def fail(network, epoch, record):
        raise RuntimeError("stop")

    failing = MLPClassifier(activation=prelu(), callbacks=[fail], **OPTIONS)
    with pytest.raises(RuntimeError, match="stop"):
        failing.fit(X, Y)
    with pytest.raises(ValueError, match="learned factors"):
        failing.coefs_[0]


def test_assigned_arrays_take_effect():
    estimator = with_learned_factors()
    arrays = [np.zeros_like(array) for array in get_arrays(estimator.coefs_)]
    estimator.coefs_ = arrays
    assert not estimator.network_.weight[0].any()
    with pytest.raises(ValueError, match="learned factors"):
        estimator.coefs_[0]


@pytest.mark.parametrize(
    "activation", ["gelu", leaky_relu(0.3), ["relu", "tanh"], "logistic"], ids=str
)
def test_other_networks_have_their_arrays(activation):
    for options in ({}, {"batch_norm": True}, {"dropout": 0.1}):
        estimator = MLPClassifier(activation=activation, **options, **OPTIONS).fit(X, Y)
        assert [coef.shape for coef in estimator.coefs_] == [(8, 7), (7, 5), (5, 3)]


@pytest.mark.parametrize("activation", ["gelu", "leaky_relu", "softplus", ["relu", "relu"]])
def test_scikit_learn_s_converter_refuses_other_activations(activation):
    """skl2onnx's converter for scikit-learn's class, if a user registers it for cmlp's."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_classifier

    class Classifier(MLPClassifier):
        pass

    skl2onnx.update_registered_converter(
        Classifier, "TestMLPClassifier", calculate_linear_classifier_output_shapes,
        convert_sklearn_mlp_classifier, options={"zipmap": [True, False], "nocl": [True, False]},
    )  # fmt: skip
    rows = X.astype(np.float32)
    estimator = Classifier(activation=activation, **OPTIONS).fit(rows, Y)
    with pytest.raises((KeyError, TypeError)):
        skl2onnx.to_onnx(estimator, rows[:1], options={"zipmap": False})
    learned = Classifier(activation=prelu(), **OPTIONS).fit(rows, Y)
    with pytest.raises(ValueError, match="do not describe this network"):
        skl2onnx.to_onnx(learned, rows[:1], options={"zipmap": False})
