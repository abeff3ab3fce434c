"""Pickles and skops files of the estimators: plain data, and those of earlier versions."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmlp import SGD, Adam, History, Network
from cmlp.callbacks import Checkpoint
from cmlp.formats.archive import is_plain_network
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.sklearn.unavailable import get_arrays
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = make_classification(90, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
LABELS = make_multilabel_classification(90, 6, n_classes=3, random_state=0)
VALUES = make_regression(90, 6, random_state=0)
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "batch_size": 32, "random_state": 0}

ESTIMATORS = {
    "adam": (MLPClassifier(random_state=0, max_iter=3), CLASSES),
    "sgd": (MLPClassifier(solver="sgd", random_state=0, max_iter=3), CLASSES),
    "adaptive": (MLPClassifier(solver="sgd", learning_rate="adaptive", max_iter=3), CLASSES),
    "invscaling": (MLPRegressor(solver="sgd", learning_rate="invscaling", alpha=0.0,
                                learning_rate_init=1e-4, max_iter=3), VALUES),
    "lbfgs": (MLPRegressor(solver="lbfgs", max_iter=5), VALUES),
    "options": (MLPClassifier(8, "prelu", optimizer=SGD(0.01, momentum=0.5, average=0.9),
                              normalization=["batch"], dropout=0.1, loss="binary_cross_entropy",
                              initializer="he_normal", dtype="float32", max_iter=3), CLASSES),
    "groups": (MLPClassifier(8, optimizer=Adam(lr_factors={"bias": 0.5, "weight_0": 0.1}),
                             max_iter=3), CLASSES),
    "multilabel": (MLPClassifier(max_iter=3), LABELS),
    "quantiles": (MLPRegressor("pinball", quantiles=(0.1, 0.9), max_iter=3), VALUES),
    "early": (MLPClassifier(early_stopping=True, max_iter=5), CLASSES),
}  # fmt: skip


def list_arrays(estimator):
    """Return `coefs_` and `intercepts_`, also of networks that they do not describe."""
    return get_arrays(estimator.coefs_) + get_arrays(estimator.intercepts_)


def collect_types(value, found):
    """Add the types within a state to a set."""
    found.add(type(value))
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        for item in value:
            collect_types(item, found)
    return found


@pytest.mark.parametrize("name", ESTIMATORS)
def test_states_are_plain_and_complete(name):
    estimator, (X, y) = ESTIMATORS[name]
    estimator.fit(X, y)
    predicted = estimator.predict(X)
    arguments = estimator.get_params(deep=False)
    state = {key: value for key, value in estimator.__getstate__().items() if key not in arguments}
    modules = {kind.__module__ for kind in collect_types(state, set())}
    assert not any(module.startswith("cmlp") for module in modules), modules
    for other in (pickle.loads(pickle.dumps(estimator)), copy.copy(estimator),
                  copy.deepcopy(estimator)):  # fmt: skip
        assert (other.predict(X) == predicted).all()
        for one, two in zip(list_arrays(other), list_arrays(estimator), strict=True):
            assert one.dtype == two.dtype
            assert (one == two).all()
            assert one.flags.writeable == two.flags.writeable
        assert other.network_ is not estimator.network_
        assert other.network_.task == estimator.network_.task
        assert str(other.network_) == str(estimator.network_)
        assert set(vars(other)) == set(vars(estimator))
        if hasattr(estimator, "history_"):
            assert type(other.history_) is History
            assert other.history_.epochs == estimator.history_.epochs
            assert other.network_.state.history is other.history_
        other.coefs_ = [coef * 2 for coef in get_arrays(other.coefs_)]
        assert (estimator.predict(X) == predicted).all()
    if name in ("lbfgs", "early"):
        return
    other = pickle.loads(pickle.dumps(estimator))
    for _ in range(2):
        estimator.partial_fit(X, y)
        other.partial_fit(X, y)
    assert (list_arrays(estimator)[0] == list_arrays(other)[0]).all()
    assert estimator.loss_ == other.loss_


def test_the_history_of_a_network_that_is_trained_further_is_pickled():
    X, y = CLASSES
    estimator = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    estimator.network_.fit(X, y, epochs=2)
    other = pickle.loads(pickle.dumps(estimator))
    assert len(other.history_.epochs) == 3
    assert other.network_.state.history.epochs == estimator.network_.state.history.epochs
    assert len(other.network_.state.history.epochs) == 2


def test_a_changed_optimizer_is_pickled_as_it_is():
    X, y = CLASSES
    estimator = MLPClassifier(optimizer=Adam(0.1), random_state=0).partial_fit(
        X, y, classes=[0, 1, 2]
    )
    estimator.set_params(optimizer=SGD(0.5))  # the next fit uses it, partial_fit does not
    other = pickle.loads(pickle.dumps(estimator))
    for each in (estimator, other):
        each.partial_fit(X, y)
    assert (estimator.coefs_[0] == other.coefs_[0]).all()


def test_what_has_no_plain_form_is_pickled_as_objects():
    X, y = CLASSES
    estimator = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    estimator.network_.partial_fit(X, y)
    other = pickle.loads(pickle.dumps(estimator))
    for each in (estimator, other):
        each.network_.partial_fit(X, y)
    assert (estimator.predict_proba(X) == other.predict_proba(X)).all()
    unfitted = pickle.loads(pickle.dumps(MLPClassifier(7)))
    assert unfitted.hidden_layer_sizes == 7
    assert not hasattr(unfitted, "coefs_")


def squares(outputs, targets):
    return (outputs**2).mean(), outputs / outputs.size


def test_networks_that_files_store_are_plain(tmp_path):
    net, X = Network([3, 2, 1], seed=0), np.zeros((8, 3))
    net.fit(X, X[:, 0], callbacks=Checkpoint(tmp_path / "run.npz"))
    assert is_plain_network(net)
    assert is_plain_network(copy.copy(net))
    other = net.copy()
    other.partial_fit(X, X[:, 0])
    for each in (other, Network([3, 2, 1], loss=squares), net.quantize(X), None,
                 Network.resume(tmp_path / "run.npz")):  # fmt: skip
        assert not is_plain_network(each)


def test_pickles_of_earlier_versions():
    """Their states have the objects themselves, and not the arguments added later."""
    X, y = CLASSES
    estimator = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    earlier = dict(vars(estimator))
    for name in ("loss", "label_smoothing", "normalization", "initializer", "metrics", "max_norm",
                 "input_noise", "transform_layer", "decay_schedule"):  # fmt: skip
        earlier.pop(name)
    earlier["loss"] = "log_loss"  # an attribute of scikit-learn's class
    assert isinstance(earlier["_network"], Network)
    other = MLPClassifier.__new__(MLPClassifier)
    other.__setstate__(pickle.loads(pickle.dumps(earlier)))
    assert (other.predict_proba(X) == estimator.predict_proba(X)).all()
    assert other.get_params() == estimator.get_params()
    for each in (estimator, other):
        each.partial_fit(X, y)
    assert (estimator.coefs_[0] == other.coefs_[0]).all()
    assert other.transform(X).shape == (90, 100)

    estimator = RealMLPClassifier(**SMALL, cv=2).fit(X, y)
    earlier = dict(vars(estimator))
    del earlier["transform_layer"]
    other = RealMLPClassifier.__new__(RealMLPClassifier)
    other.__setstate__(pickle.loads(pickle.dumps(earlier)))
    assert (other.predict_proba(X) == estimator.predict_proba(X)).all()
    assert other.get_params() == estimator.get_params()


class Small(MLPClassifier):
    """With arguments of its own."""

    def __init__(self, units=4, alpha=0.1):
        super().__init__(units, alpha=alpha, max_iter=3, random_state=0)
        self.units = units


def test_subclasses_with_other_arguments():
    X, y = CLASSES
    estimator = clone(Small(5)).fit(X, y)
    assert estimator.get_params() == {"units": 5, "alpha": 0.1}
    assert estimator.network_.size == [6, 5, 3]
    other = pickle.loads(pickle.dumps(estimator))
    assert (other.predict_proba(X) == estimator.predict_proba(X)).all()
    earlier = {**vars(estimator)}
    del earlier["transform_layer"]
    other.__setstate__(earlier)
    assert other.transform(X).shape == (90, 5)


TABLES = {
    "classes": (RealMLPClassifier(**SMALL, calibrate="temperature"), CLASSES[1]),
    "strings": (RealMLPClassifier(**SMALL, cv=2), np.array(["a", "b", "c"])[CLASSES[1]]),
    "values": (RealMLPRegressor(**SMALL, clamp_output=True), VALUES[1]),
    "deviations": (RealMLPRegressor(**SMALL, loss="gaussian_nll", n_refit=1), VALUES[1]),
    "quantiles": (RealMLPRegressor(**SMALL, loss="pinball", quantiles=(0.1, 0.9)), VALUES[1]),
}


def make_table():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(CLASSES[0], columns=list("abcdef"))
    table["kind"] = pandas.Categorical(np.where(table["a"] > 0, "high", "low"))
    table["street"] = [f"street {i % 20}" for i in range(90)]
    table.loc[::7, ["b", "street"]] = None
    return table


@pytest.mark.parametrize("name", TABLES)
def test_states_of_estimators_for_tables(name):
    (estimator, y), X = TABLES[name], make_table()
    estimator.fit(X, y)
    state = estimator.__getstate__()
    modules = {kind.__module__ for kind in collect_types(state, set())}
    assert not any(module.startswith("cmlp") for module in modules), modules
    for other in (pickle.loads(pickle.dumps(estimator)), copy.copy(estimator),
                  copy.deepcopy(estimator)):  # fmt: skip
        np.testing.assert_array_equal(other.predict(X), estimator.predict(X))
        assert set(vars(other)) == set(vars(estimator))
        assert other.get_params() == estimator.get_params()
        assert [h.epochs for h in other.histories_] == [h.epochs for h in estimator.histories_]
        assert type(other.histories_[0]) is History
        for network, history in zip(other.networks_, other.histories_, strict=True):
            assert network.state.history is history
        assert other.best_epochs_ == estimator.best_epochs_
        assert other.feature_names_in_.tolist() == estimator.feature_names_in_.tolist()
        if hasattr(estimator, "oof_prediction_"):
            np.testing.assert_array_equal(other.oof_prediction_, estimator.oof_prediction_)


def test_labels_that_files_do_not_store_are_pickled():
    labels = np.array([np.datetime64("2020-01-01") + i for i in CLASSES[1]])
    estimator = RealMLPClassifier(**SMALL).fit(CLASSES[0], labels)
    other = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(other.predict(CLASSES[0]), estimator.predict(CLASSES[0]))


TRUSTED = {
    "MLPClassifier": ["cmlp.sklearn.estimators.MLPClassifier"],
    "MLPRegressor": ["cmlp.sklearn.estimators.MLPRegressor"],
    "RealMLPClassifier": ["cmlp.tabular.estimators.RealMLPClassifier"],
    "RealMLPRegressor": ["cmlp.tabular.estimators.RealMLPRegressor"],
}


@pytest.mark.parametrize("name", ["adam", "adaptive", "lbfgs", "quantiles", "multilabel"])
def test_skops_files(name, tmp_path):
    io = pytest.importorskip("skops.io")
    estimator, (X, y) = ESTIMATORS[name]
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, y)
    path = tmp_path / "model.skops"
    io.dump(pipeline, path)
    trusted = TRUSTED[type(estimator).__name__]
    assert io.get_untrusted_types(file=path) == trusted
    other = io.load(path, trusted=trusted)
    assert (other.predict(X) == pipeline.predict(X)).all()
    if name != "lbfgs":
        other[-1].partial_fit(X, y)
        pipeline[-1].partial_fit(X, y)
        assert (other[-1].coefs_[0] == pipeline[-1].coefs_[0]).all()


@pytest.mark.parametrize("name", TABLES)
def test_skops_files_of_estimators_for_tables(name, tmp_path):
    io = pytest.importorskip("skops.io")
    (estimator, y), X = TABLES[name], make_table()
    estimator.fit(X, y)
    path = tmp_path / "model.skops"
    io.dump(estimator, path)
    trusted = TRUSTED[type(estimator).__name__]
    assert io.get_untrusted_types(file=path) == trusted
    np.testing.assert_array_equal(io.load(path, trusted=trusted).predict(X), estimator.predict(X))
