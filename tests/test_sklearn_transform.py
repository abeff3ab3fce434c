"""`transform` of the estimators: the outputs of a hidden layer as columns."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = make_classification(180, 12, n_informative=6, n_classes=3, random_state=0)
VALUES = make_regression(150, 12, noise=1, random_state=0)
SMALL = {"hidden_layer_sizes": (16, 8), "max_epochs": 4, "batch_size": 64, "random_state": 0}


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}, {"batch_norm": True}], ids=str)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_outputs_of_layers(kind, options):
    X, y = CLASSES
    estimator = kind(hidden_layer_sizes=(16, 8), random_state=0, max_iter=5, **options).fit(X, y)
    outputs = estimator.network_.size[-1]
    for layer, units in ((-2, 8), (-3, 16), (0, 16), (1, 8), (-1, outputs), (2, outputs)):
        estimator.set_params(transform_layer=layer)
        found = estimator.transform(X)
        assert found.shape == (180, units)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, estimator.network_.transform(X, layer))
        names = estimator.get_feature_names_out()
        assert names.tolist() == [f"{kind.__name__.lower()}{i}" for i in range(units)]
    np.testing.assert_array_equal(estimator.transform(sparse.csr_array(X)), found)
    for layer in (3, -4):
        with pytest.raises(ValueError, match="transform_layer must be"):
            estimator.set_params(transform_layer=layer).transform(X)
        with pytest.raises(ValueError, match="transform_layer must be"):
            estimator.get_feature_names_out()
    with pytest.raises(ValueError, match="has 5 features"):
        estimator.set_params(transform_layer=-2).transform(X[:, :5])
    with pytest.raises(NotFittedError):
        clone(estimator).transform(X)
    flat = kind(hidden_layer_sizes=(), max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="transform_layer must be at least -1; got -2"):
        flat.transform(X)


def test_features_in_a_pipeline():
    X, y = CLASSES
    network = MLPClassifier((16, 8), random_state=0, max_iter=30, learning_rate_init=0.01)
    pipeline = make_pipeline(StandardScaler(), network, LogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.7
    assert pipeline[-1].coef_.shape == (3, 8)
    assert pipeline[:-1].get_feature_names_out().tolist() == [f"mlpclassifier{i}" for i in range(8)]
    union = make_union(StandardScaler(), network).fit_transform(X, y)
    assert union.shape == (180, 20)
    np.testing.assert_array_equal(union[:, 12:], clone(network).fit_transform(X, y))
    columns = ColumnTransformer([("net", network, slice(0, 6))], remainder="passthrough")
    assert columns.fit_transform(X, y).shape == (180, 14)
    search = GridSearchCV(network, {"transform_layer": [-2, -3]}, cv=2).fit(X, y)
    assert search.transform(X).shape in ((180, 8), (180, 16))
    assert "MLPClassifier" in pipeline._repr_html_()


def test_ensembles_use_probabilities():
    X, y = CLASSES
    networks = [(str(i), MLPClassifier(8, random_state=i, max_iter=10)) for i in range(2)]
    for passthrough in (False, True):
        stack = StackingClassifier(networks, LogisticRegression(), cv=2, passthrough=passthrough)
        stack.fit(X, y)
        assert stack.transform(X).shape == (180, 18 if passthrough else 6)
        expected = [net.predict_proba(X) for net in stack.estimators_]
        np.testing.assert_array_equal(stack.transform(X)[:, :6], np.hstack(expected))
    vote = VotingClassifier(networks, voting="soft").fit(X, y)
    assert vote.predict(X).shape == (180,)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_data_frames(package):
    library = pytest.importorskip(package)
    X, y = CLASSES
    names = [f"c{i}" for i in range(12)]
    frame = library.DataFrame(dict(zip(names, X.T, strict=True)))
    estimator = MLPClassifier(4, random_state=0, max_iter=3).set_output(transform=package)
    found = estimator.fit_transform(frame, y)
    assert isinstance(found, library.DataFrame)
    assert list(found.columns) == [f"mlpclassifier{i}" for i in range(4)]
    assert estimator.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(np.asarray(found), estimator.network_.transform(X))


@pytest.mark.parametrize("options", [{}, {"cv": 3}, {"n_refit": 2}], ids=str)
def test_tables(options):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(CLASSES[0], columns=[f"c{i}" for i in range(12)])
    X["kind"] = pandas.Categorical(np.where(X["c0"] > 0, "high", "low"))
    for kind, y in ((RealMLPClassifier, CLASSES[1]), (RealMLPRegressor, CLASSES[0][:, 3])):
        estimator = kind(**SMALL, **options).fit(X, y)
        count = len(estimator.networks_)
        matrix = estimator.encode(X)
        found = estimator.transform(X)
        np.testing.assert_array_equal(
            found, np.hstack([net.transform(matrix) for net in estimator.networks_])
        )
        assert found.shape == (180, 8 * count)
        assert len(estimator.get_feature_names_out()) == 8 * count
        estimator.set_params(transform_layer=0)
        assert estimator.transform(X).shape == (180, 16 * count)
        assert estimator.set_output(transform="pandas").transform(X).shape == (180, 16 * count)
        with pytest.raises(ValueError, match="transform_layer must be"):
            estimator.set_params(transform_layer=3).transform(X)
        with pytest.raises(NotFittedError):
            clone(estimator).transform(X)
    with pytest.raises(TypeError, match="transform_layer must be a whole number"):
        RealMLPClassifier(transform_layer="last").fit(X, CLASSES[1])


def test_an_estimator_without_hidden_layers_has_nothing_to_transform():
    X, y = CLASSES
    estimator = MLPClassifier((), max_iter=2, random_state=0).fit(X, y)
    assert "predict" in dir(estimator)
    with pytest.raises(ValueError, match="transform_layer must be at least -1; got -2"):
        estimator.transform(X)
    assert estimator.set_params(transform_layer=-1).transform(X).shape == (180, 3)
