"""Losses of the estimators: values, predictions, scores and errors."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.model_selection import GridSearchCV

from cmlp import losses
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.sklearn.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = make_classification(120, 8, n_informative=6, n_classes=3, random_state=0)
BINARY = make_classification(120, 8, random_state=1)
LABELS = make_multilabel_classification(120, 8, n_classes=4, random_state=0)
VALUES = make_regression(120, 8, noise=1, random_state=0)
VALUES[1][:] /= 100
SEVERAL = make_regression(120, 8, n_targets=3, random_state=0)
SEVERAL[1][:] /= 100
TASKS = {"binary": BINARY, "multiclass": CLASSES, "multilabel": LABELS}


def get_initial_loss(estimator, X, y):
    """Fit one step that changes nothing; return the loss of the initial network."""
    estimator.set_params(max_iter=1, batch_size=len(X), alpha=0, learning_rate_init=1e-12,
                         random_state=0)  # fmt: skip
    return estimator.fit(X, y).loss_


def one_hot(y):
    return y if y.ndim == 2 else (y[:, None] == np.arange(3)) if y.max() > 1 else y[:, None]


def bce(a, y, smoothing=0.0):
    y = y * (1 - smoothing) + smoothing / 2
    return -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(1).mean()


def cross_entropy(a, y, smoothing=0.0):
    if a.shape[1] < 3 or (y.sum(1) != 1).any():  # one output, or labels
        return bce(a, y, smoothing)
    return -((y * (1 - smoothing) + smoothing / 3) * np.log(a)).sum(1).mean()


def hinge(a, y):
    return np.maximum(0, 1 - (2.0 * y - 1) * a).mean()


CLASS_FORMULAS = {
    "log_loss": cross_entropy,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": bce,
    "quadratic": lambda a, y: ((a - y) ** 2).sum(1).mean() / 2,
    "hinge": hinge,
    "squared_hinge": lambda a, y: (np.maximum(0, 1 - (2.0 * y - 1) * a) ** 2).mean(),
}


def test_the_estimators_have_every_loss():
    assert {*CLASS_FORMULAS} == {*CLASSIFIER_LOSSES}
    given = [loss for names, _ in REAL_FORMULAS.values() for loss in names]
    assert {name for name in given if isinstance(name, str)} == {*REGRESSOR_LOSSES}
    found = {*CLASSIFIER_LOSSES.values(), *REGRESSOR_LOSSES.values(), "poisson"}
    assert found == {*losses.LOSSES}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("loss", CLASS_FORMULAS)
def test_losses_of_classes(task, loss):
    X, y = TASKS[task]
    estimator = MLPClassifier(6, loss=loss)
    found = get_initial_loss(estimator, X, y)
    outputs = estimator.network_(X)
    assert found == pytest.approx(CLASS_FORMULAS[loss](outputs, one_hot(y)), rel=1e-6)
    assert estimator.network_.task == task

    estimator = MLPClassifier(16, loss=loss, max_iter=60, learning_rate_init=0.02, random_state=0)
    estimator.fit(X, y)
    assert estimator.score(X, y) > (0.4 if task == "multilabel" else 0.75)
    predicted = estimator.predict(X)
    np.testing.assert_array_equal(predicted, estimator.network_.predict(X))
    for row in (0, 1, 2):  # a few samples have their own path
        np.testing.assert_array_equal(estimator.predict(X[row : row + 1])[0], predicted[row])
    if "hinge" in loss:
        assert not hasattr(estimator, "predict_proba")
        assert not hasattr(estimator, "predict_log_proba")
        scores = estimator.decision_function(X)
        assert scores.shape == ((120,) if task == "binary" else (120, len(estimator.classes_)))
        above = scores.argmax(1) if task == "multiclass" else (scores > 0).astype(int)
        np.testing.assert_array_equal(predicted, above)
        return
    assert not hasattr(estimator, "decision_function")
    probabilities = estimator.predict_proba(X)
    if task == "multilabel":
        np.testing.assert_array_equal(predicted, probabilities > 0.5)
    else:
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
        np.testing.assert_array_equal(predicted, probabilities.argmax(1))
    assert (estimator.predict_log_proba(X) == np.log(probabilities)).all()


@pytest.mark.parametrize("task", TASKS)
def test_label_smoothing(task):
    X, y = TASKS[task]
    for loss in ("log_loss", "binary_cross_entropy", losses.cross_entropy(0.2)):
        smoothing = 0.2 if isinstance(loss, str) else 0.0
        estimator = MLPClassifier(6, loss=loss, label_smoothing=smoothing)
        found = get_initial_loss(estimator, X, y)
        formula = bce if loss == "binary_cross_entropy" else cross_entropy
        expected = formula(estimator.network_(X), one_hot(y), 0.2)
        assert found == pytest.approx(expected, rel=1e-6)
    expected = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    for loss in ("log_loss", "cross_entropy", losses.cross_entropy()):
        same = MLPClassifier(loss=loss, random_state=0, max_iter=3).fit(X, y)
        assert all((a == b).all() for a, b in zip(same.coefs_, expected.coefs_, strict=True))


def test_probabilities_of_a_class_against_the_rest_that_all_vanish():
    X, y = CLASSES
    estimator = MLPClassifier((), loss="quadratic", max_iter=2).fit(X, y)
    estimator.intercepts_ = [np.full(3, -1e4)]
    np.testing.assert_array_equal(estimator.predict_proba(X), 1 / 3)


def test_the_loss_cannot_change_in_between():
    X, y = CLASSES
    estimator = MLPClassifier(6, loss="hinge", max_iter=2, warm_start=True).fit(X, y)
    estimator.set_params(loss="log_loss")
    for fit in (estimator.fit, estimator.partial_fit):
        with pytest.raises(ValueError, match=r"loss must not change .* after 'hinge'"):
            fit(X, y)
    assert not hasattr(estimator, "predict_proba")  # as it was fitted
    assert hasattr(estimator.set_params(warm_start=False).fit(X, y), "predict_proba")
    assert not hasattr(estimator, "decision_function")


def test_scores_are_calibrated():
    X, y = CLASSES
    estimator = MLPClassifier(
        16, loss="hinge", max_iter=30, random_state=0, learning_rate_init=0.01
    )
    calibrated = CalibratedClassifierCV(estimator, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    balanced = clone(estimator).set_params(class_weight="balanced", early_stopping=True)
    assert balanced.fit(X, y).best_validation_score_ > 0.4
    search = GridSearchCV(estimator, {"loss": ["hinge", "log_loss"]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def pinball(a, y, quantiles=(0.5,)):
    a = a.reshape(len(a), len(quantiles), -1)
    parts = [
        np.maximum(q * (y - a[:, i]), (q - 1) * (y - a[:, i])) for i, q in enumerate(quantiles)
    ]
    return np.mean(parts)


def gaussian(a, y):
    mean, variance = np.split(a, 2, axis=1)
    variance = np.exp(variance) + 1e-6
    return ((np.log(variance) + (mean - y) ** 2 / variance) / 2).mean()


def huber(a, y, delta=1.0):
    e = np.abs(a - y)
    return np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)).mean()


def deviance(a, y):
    logs = np.where(y > 0, y * (np.log(np.where(y > 0, y, 1)) - a), 0)
    return (np.exp(a) - y + logs).mean()


def call(outputs, targets):
    return ((outputs - targets) ** 2).sum(1).mean(), 2 * (outputs - targets) / len(outputs)


REAL_FORMULAS = {
    "squared_error": (("squared_error", "quadratic"), lambda a, y: ((a - y) ** 2).mean() / 2),
    "poisson": (("poisson", "poisson_deviance"), deviance),
    "rates": ((losses.LOSSES["poisson"],), lambda a, y: (np.exp(a) - y * a).mean()),
    "mse": (("mse",), lambda a, y: ((a - y) ** 2).mean()),
    "mae": (("mae",), lambda a, y: np.abs(a - y).mean()),
    "huber": (("huber", losses.huber(1.0)), huber),
    "delta": ((losses.huber(0.1),), lambda a, y: huber(a, y, 0.1)),
    "log_cosh": (("log_cosh",), lambda a, y: np.log(np.cosh(a - y)).mean()),
    "median": (("pinball", losses.pinball(0.5)), pinball),
    "quantiles": ((losses.pinball((0.2, 0.9)),), lambda a, y: pinball(a, y, (0.2, 0.9))),
    "gaussian_nll": (("gaussian_nll", losses.gaussian_nll()), gaussian),
    "callable": ((call,), lambda a, y: ((a - y) ** 2).sum(1).mean()),
}


@pytest.mark.parametrize("name", REAL_FORMULAS)
@pytest.mark.parametrize("data", [VALUES, SEVERAL], ids=["one", "several"])
def test_losses_of_values(name, data):
    given, formula = REAL_FORMULAS[name]
    X, y = data
    if name in ("poisson", "rates"):
        y = np.round(np.abs(y) * 2)
    for loss in given:
        estimator = MLPRegressor(loss, 6)
        found = get_initial_loss(estimator, X, y)
        expected = formula(estimator.network_(X), y.reshape(len(y), -1))
        assert found == pytest.approx(expected, rel=1e-6)
        assert estimator.n_outputs_ == (1 if y.ndim == 1 else 3)
        predicted = estimator.predict(X)
        assert predicted.shape == (
            (120, 2 * estimator.n_outputs_) if name == "quantiles" else y.shape
        )
        np.testing.assert_array_equal(predicted, estimator.network_.predict(X))
        np.testing.assert_array_equal(estimator.predict(X[:1]), predicted[:1])
        if "pinball" not in repr(loss):
            assert estimator.score(X, y) == r2_score(y, predicted)
        if callable(loss) and not isinstance(loss, losses.Loss):
            assert (pickle.loads(pickle.dumps(estimator)).predict(X) == predicted).all()


def test_quantiles():
    X, y = VALUES
    estimator = MLPRegressor("pinball", 32, quantiles=(0.1, 0.5, 0.9), learning_rate_init=0.01,
                             max_iter=100, random_state=0, early_stopping=True)  # fmt: skip
    estimator.fit(X, y)
    found = estimator.predict(X)
    assert found.shape == (120, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(found[:1], estimator.predict(X[:1]))
    below = (y[:, None] <= found).mean(0)
    assert below[0] < 0.35 < below[2]
    weight = np.random.default_rng(0).random(120)
    for weights in (None, weight):
        scores = [d2_pinball_score(y, found[:, i], alpha=q, sample_weight=weights)
                  for i, q in enumerate((0.1, 0.5, 0.9))]  # fmt: skip
        assert estimator.score(X, y, weights) == pytest.approx(np.mean(scores))
    assert estimator.history_["val_d2"] == estimator.validation_scores_
    assert (pickle.loads(pickle.dumps(estimator)).predict(X) == found).all()
    X, y = SEVERAL
    several = MLPRegressor("pinball", 8, quantiles=(0.2, 0.8), max_iter=20, random_state=0)
    found = several.fit(X, y).predict(X).reshape(120, 2, 3)
    assert (found[:, 0] <= found[:, 1]).all()
    scores = [d2_pinball_score(y, found[:, i], alpha=q) for i, q in enumerate((0.2, 0.8))]
    assert several.score(X, y) == pytest.approx(np.mean(scores))
    assert several.coefs_[-1].shape == (8, 6)
    several.partial_fit(X, y)
    assert several.set_params(warm_start=True, solver="lbfgs").fit(X, y).score(X, y) > 0.5


def test_standard_deviations():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = X[:, 0] + np.where(X[:, 1] > 0, 1.0, 0.1) * rng.normal(size=400)
    for solver in ("adam", "lbfgs"):
        estimator = MLPRegressor("gaussian_nll", 16, solver=solver, learning_rate_init=0.02,
                                 max_iter=100, random_state=0).fit(X, y)  # fmt: skip
        mean, std = estimator.predict(X, return_std=True)
        np.testing.assert_array_equal(mean, estimator.predict(X))
        assert mean.shape == std.shape == (400,)
        assert mean.dtype == std.dtype == np.float64
        assert np.median(std[X[:, 1] > 0.5]) > 2 * np.median(std[X[:, 1] < -0.5])
        for one, other in zip(estimator.network_.predict(X, return_std=True), (mean, std),
                              strict=True):  # fmt: skip
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="return_std must be False unless"):
        MLPRegressor(max_iter=2).fit(X, y).predict(X, return_std=True)
    mean, std = (
        MLPRegressor("gaussian_nll", 4, max_iter=2)
        .fit(*SEVERAL)
        .predict(SEVERAL[0], return_std=True)
    )
    assert mean.shape == std.shape == (120, 3)


def test_a_loss_in_python_trains_as_the_compiled_one():
    X, y = VALUES
    options = {"hidden_layer_sizes": 6, "max_iter": 5, "random_state": 0, "metrics": "rmse"}
    one = MLPRegressor(call, **options).fit(X, y, validation_data=(X, y))
    other = MLPRegressor("mse", **options).fit(X, y, validation_data=(X, y))
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0], rtol=1e-9)
    np.testing.assert_allclose(one.history_["val_loss"], other.history_["val_loss"])
    with pytest.raises(ValueError, match="sample_weight must be None with a loss that is"):
        one.fit(X, y, sample_weight=np.ones(len(y)))
    with pytest.raises(ValueError, match="does not support a loss that is a callable"):
        MLPRegressor(call, solver="lbfgs").fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MLPClassifier(loss="mse"), "The 'loss' parameter of MLPClassifier must be"),
        (MLPClassifier(loss=call), "The 'loss' parameter of MLPClassifier must be"),
        (MLPClassifier(loss=losses.huber()), "loss must be one of log_loss, .* got 'huber'"),
        (MLPClassifier(label_smoothing=1.0), "The 'label_smoothing' parameter"),
        (MLPClassifier(loss="hinge", label_smoothing=0.1), "label_smoothing must be 0 unless"),
        (MLPClassifier(loss=losses.cross_entropy(0.2), label_smoothing=0.1),
         "label_smoothing must be 0 unless"),
        (MLPRegressor("hinge"), "The 'loss' parameter of MLPRegressor must be"),
        (MLPRegressor(losses.cross_entropy()), "loss must be one of squared_error, .* got 'cross"),
        (MLPRegressor(quantiles=0.9), "quantiles must be 0.5 unless loss='pinball'; got 0.9"),
        (MLPRegressor("pinball", quantiles=1.0), "The 'quantiles' parameter"),
        (MLPRegressor("pinball", quantiles=(0.9, 0.1)), "quantiles must be at least one and incr"),
        (MLPRegressor("poisson"), "y must not be negative for loss='poisson'; got -"),
    ],
)  # fmt: skip
def test_losses_that_do_not_fit(estimator, message):
    X, y = VALUES
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, (y > 0).astype(int) if isinstance(estimator, MLPClassifier) else y)
    assert not hasattr(estimator, "coefs_")
