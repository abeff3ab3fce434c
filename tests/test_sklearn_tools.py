"""Tools of scikit-learn with the estimators, also those for tables."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, StackingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(90, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
VALUES = make_regression(90, 6, random_state=0)[1] / 100
SEVERAL = np.stack([VALUES, X[:, 0]], axis=1)
LABELS = make_multilabel_classification(90, 6, n_classes=3, random_state=0)[1]
SMALL = {"hidden_layer_sizes": (6,), "max_epochs": 2, "batch_size": 32, "random_state": 0}
CLASSIFIERS = [MLPClassifier(6, max_iter=4, random_state=0), RealMLPClassifier(**SMALL)]
REGRESSORS = [MLPRegressor("huber", 6, max_iter=4, random_state=0), RealMLPRegressor(**SMALL)]


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=["mlp", "table"])
def test_classifiers(estimator):
    assert cross_val_predict(estimator, X, Y, cv=2, method="predict_proba").shape == (90, 3)
    fitted = clone(estimator).fit(X, Y)
    assert permutation_importance(fitted, X, Y, n_repeats=2).importances.shape == (6, 2)
    assert partial_dependence(fitted, X, [0], grid_resolution=4)["average"].shape == (3, 4)
    frozen = FrozenEstimator(fitted)
    calibrated = CalibratedClassifierCV(frozen).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(frozen.transform(X), fitted.transform(X))
    bagged = BaggingClassifier(estimator, n_estimators=2, max_features=0.5).fit(X, Y)
    assert bagged.predict_proba(X).shape == (90, 3)
    assert ClassifierChain(estimator).fit(X, LABELS).predict(X).shape == (90, 3)
    assert OneVsRestClassifier(estimator).fit(X, LABELS).predict(X).shape == (90, 3)
    selector = SequentialFeatureSelector(estimator, n_features_to_select=1, cv=2)
    assert selector.fit(X[:, :2], Y).transform(X[:, :2]).shape == (90, 1)
    with_threshold = FixedThresholdClassifier(estimator, threshold=0.9).fit(X, Y > 0)
    assert with_threshold.predict(X).sum() <= fitted.fit(X, Y > 0).predict(X).sum()


@pytest.mark.parametrize("estimator", REGRESSORS, ids=["mlp", "table"])
def test_regressors(estimator):
    target = TransformedTargetRegressor(estimator, transformer=StandardScaler()).fit(X, VALUES)
    assert target.predict(X).shape == (90,)
    assert MultiOutputRegressor(estimator).fit(X, SEVERAL).predict(X).shape == (90, 2)
    assert RegressorChain(estimator).fit(X, SEVERAL).predict(X).shape == (90, 2)
    assert BaggingRegressor(estimator, n_estimators=2).fit(X, VALUES).predict(X).shape == (90,)
    stack = StackingRegressor([("net", estimator)], passthrough=True, cv=2).fit(X, VALUES)
    assert stack.transform(X).shape == (90, 7)
    found = permutation_importance(clone(estimator).fit(X, VALUES), X, VALUES, n_repeats=2)
    assert np.isfinite(found.importances).all()


@pytest.mark.parametrize(
    ("estimator", "epochs", "name"),
    [(CLASSIFIERS[0], "max_iter", "alpha"), (CLASSIFIERS[1], "max_epochs", "learning_rate")],
    ids=["mlp", "table"],
)
def test_curves_and_searches(estimator, epochs, name):
    _, training, _ = learning_curve(estimator, X, Y, cv=2, train_sizes=[0.5, 1.0])
    assert training.shape == (2, 2)
    if hasattr(estimator, "partial_fit"):
        learning_curve(estimator, X, Y, cv=2, train_sizes=[0.5, 1.0],
                       exploit_incremental_learning=True)  # fmt: skip
    found, _ = validation_curve(estimator, X, Y, param_name=name, param_range=[0.01, 1], cv=2)
    assert found.shape == (2, 2)
    search = HalvingGridSearchCV(estimator, {name: [0.01, 0.1]}, resource=epochs, cv=2, factor=2,
                                 min_resources=2, max_resources=4).fit(X, Y)  # fmt: skip
    assert search.best_estimator_.get_params()[epochs] == 4


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=["mlp", "table"])
def test_metadata_is_routed(estimator):
    weights = np.random.default_rng(0).random(90)
    expected = clone(estimator).fit(X, Y, weights, validation_data=(X, Y))
    with sklearn.config_context(enable_metadata_routing=True):
        net = clone(estimator).set_fit_request(sample_weight=True, validation_data=True)
        scaler = StandardScaler(with_mean=False, with_std=False)
        pipeline = make_pipeline(scaler.set_fit_request(sample_weight=False), net)
        pipeline.fit(X, Y, sample_weight=weights, validation_data=(X, Y))
        np.testing.assert_array_equal(pipeline.predict_proba(X), expected.predict_proba(X))
        scored = clone(estimator).set_fit_request(sample_weight=True)
        scored.set_score_request(sample_weight=True)
        search = GridSearchCV(scored, {"random_state": [0]}, cv=2)
        search.fit(X, Y, sample_weight=weights)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        cross_validate(scored, X, Y, cv=2, params={"sample_weight": weights})


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_tables_and_series(package):
    library = pytest.importorskip(package)
    frame = library.DataFrame({f"c{i}": X[:, i] for i in range(6)})
    names = library.Series([f"class {label}" for label in Y])
    for estimator in CLASSIFIERS:
        fitted = clone(estimator).fit(frame, names)
        expected = clone(estimator).fit(X, Y).predict(X)
        assert [f"class {label}" for label in expected] == fitted.predict(frame).tolist()
        assert fitted.predict_proba(frame[:2]).shape == (2, 3)
    for estimator in REGRESSORS:
        fitted = clone(estimator).fit(frame, library.Series(VALUES))
        expected = clone(estimator).fit(X, VALUES).predict(X)
        np.testing.assert_array_equal(fitted.predict(frame), expected)
