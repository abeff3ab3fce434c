"""Names, defaults, mappings and reprs of the Python interface."""

import sys

import numpy as np
import pytest
from conftest import assert_same_state
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cmlp
from cmlp import SGD, Adam, AdamW, Network, schedules
from cmlp._model.optimizer_choice import parse_optimizer
from cmlp._utils import validation
from cmlp.callbacks import Checkpoint, EarlyStopping
from cmlp.layers import Scale
from cmlp.optimizers import OPTIMIZERS
from cmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def network(**options):
    return Network([4, 8, 2], activation="relu", loss="cross_entropy", seed=0, **options)


# Names.


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_by_name_is_that_with_default_arguments(name):
    by_name, by_object = network(), network()
    by_name.fit(X, Y, epochs=2, optimizer=name)
    by_object.fit(X, Y, epochs=2, optimizer=OPTIMIZERS[name]())
    assert_same_state(by_name, by_object)


@pytest.mark.parametrize(
    ("call", "suggestion"),
    [
        (lambda: network().fit(X, Y, optimizer="Adam"), "did you mean 'adam'"),
        (lambda: network().fit(X, Y, schedule="Cosine", optimizer="sgd"), "did you mean 'cosine'"),
        (lambda: Network([4, 8, 2], activation="Relu"), "did you mean 'relu'"),
        (lambda: Network([4, 8, 2], activation="gelu_tan"), "did you mean 'gelu_tanh'"),
        (lambda: Network([4, 8, 2], loss="MSE"), "did you mean 'mse'"),
        (lambda: Network([4, 8, 2], init="he"), "did you mean 'he_uniform'"),
    ],
)
def test_errors_suggest_the_most_similar_name(call, suggestion):
    with pytest.raises(ValueError, match=suggestion):
        call()


def test_dir_is_the_public_interface():
    assert dir(cmlp) == sorted(cmlp.__all__)
    for name in dir(cmlp):
        getattr(cmlp, name)


# Defaults.


def test_fit_without_an_optimizer_works_out_of_the_box():
    rng = np.random.default_rng(0)
    inputs = rng.random((2000, 100))
    targets = inputs[:, :3].sum(1)
    net = Network([100, 64, 64, 1], activation="relu", loss="mse", seed=0)
    history = net.fit(inputs, targets)
    assert history["loss"][-1] < 0.05
    expected = Network([100, 64, 64, 1], activation="relu", loss="mse", seed=0)
    expected.fit(inputs, targets, optimizer=Adam(lr=1e-3))
    assert_same_state(net, expected)


@pytest.mark.parametrize("optimizer", [SGD(0.05, momentum=0.9), AdamW(lr_factors={"bias": 0.5})])
def test_a_resumed_run_continues_with_the_optimizer_of_its_checkpoint(tmp_path, optimizer):
    path = tmp_path / "run.npz"
    whole = network()
    whole.fit(X, Y, epochs=4, optimizer=optimizer, callbacks=Checkpoint(path))
    network().fit(X, Y, epochs=2, optimizer=optimizer, callbacks=Checkpoint(path))
    resumed = Network.resume(path)
    resumed.fit(X, Y, epochs=4, callbacks=Checkpoint(path))
    assert_same_state(resumed, whole)


def test_partial_fit_continues_with_its_optimizer():
    net, expected = network(), network()
    net.partial_fit(X, Y, optimizer=SGD(0.1, momentum=0.9))
    net.partial_fit(X, Y)
    for _ in range(2):
        expected.partial_fit(X, Y, optimizer=SGD(0.1, momentum=0.9))
    assert_same_state(net, expected)


@pytest.mark.parametrize("text", ["", "Adam", "Adam(lr=print(1))", "Adam(rate=1)", "os.remove(x=1)",
                                  "Adam(lr=-1)"])  # fmt: skip
def test_only_calls_of_optimizers_are_read_from_files(text):
    with pytest.raises(ValueError, match="the text of an optimizer must be a call"):
        parse_optimizer(text)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_descriptions_are_read(kind):
    optimizer = kind(0.25, clip_norm=1.0, decay_factors={"bias": 0.0})
    assert parse_optimizer(optimizer.describe()) == optimizer


# History and reprs.


def test_a_history_is_a_mapping():
    history = network().fit(X, Y, epochs=3, metrics="f1", validation_data=(X, Y))
    assert "loss" in history
    assert "Loss" not in history
    names = ["loss", "f1", "lr", "seconds", "samples_per_second", "val_loss", "val_accuracy",
             "val_f1"]  # fmt: skip
    assert list(history) == list(history.keys()) == names
    assert dict(history) == history.history == history.to_dict()
    assert len(history) == len(names)
    assert len(history.epochs) == len(history["loss"]) == 3
    assert history.get("nothing") is None
    with pytest.raises(KeyError, match="did you mean 'val_loss'"):
        history["val_los"]
    frame = history.to_frame()
    assert list(frame.columns) == names
    assert frame.index.name == "epoch"
    assert frame["loss"].tolist() == history["loss"]
    empty = cmlp.History()
    assert dict(empty) == {}
    assert len(empty.to_frame()) == 0


def test_a_missing_pandas_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_frame requires pandas; .* pip install pandas"):
        cmlp.History().to_frame()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Adam(), "Adam()"),
        (Adam(0.01, clip_norm=1.0), "Adam(lr=0.01, clip_norm=1.0)"),
        (AdamW(lr_factors={"bias": 0.1}), "AdamW(lr_factors={'bias': 0.1})"),
        (schedules.Cosine(warmup=0.1), "Cosine(warmup=0.1)"),
    ],
)
def test_reprs_show_what_differs_from_the_defaults(value, text):
    assert repr(value) == text
    names = vars(cmlp) | vars(schedules)
    assert eval(text, dict(names)) == value


# Arguments of an estimator's optimizer and schedule.


def test_a_search_over_the_optimizer():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0))
    grid = {
        "mlpclassifier__optimizer": ["adam"],
        "mlpclassifier__optimizer__lr": [1e-7, 0.01],
        "mlpclassifier__schedule": ["cosine"],
        "mlpclassifier__schedule__end": [0.1],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    best = search.best_estimator_[-1]
    assert best.optimizer == Adam(0.01)
    assert best.schedule == schedules.Cosine(end=0.1)
    assert search.best_params_["mlpclassifier__optimizer__lr"] == 0.01


def test_arguments_of_arguments():
    optimizer = Adam(0.5)
    estimator = MLPRegressor(optimizer=optimizer)
    assert estimator.get_params()["optimizer__lr"] == 0.5
    assert "optimizer__lr" not in estimator.get_params(deep=False)
    other = clone(estimator).set_params(optimizer__lr=0.25, alpha=0.0)
    assert (other.optimizer, other.alpha) == (Adam(0.25), 0.0)
    assert estimator.optimizer is optimizer
    for params, message in (
        ({"optimizer__rate": 1}, "an argument of optimizer must be one of lr, "),
        ({"optimizer__lr": -1}, "lr must be positive"),
        ({"schedule__end": 0.1}, "schedule must be an object of cmlp or its name"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.set_params(**params)
        assert estimator.optimizer is optimizer


def test_all_arguments_are_set_or_none():
    estimator = MLPRegressor(optimizer=Adam(0.5), alpha=0.1)
    with pytest.raises(ValueError, match="lr must be positive"):
        estimator.set_params(alpha=2.0, optimizer__lr=-1)
    assert estimator.alpha == 0.1
    estimator.set_params(optimizer__lr=0.2, optimizer="sgd")
    assert estimator.optimizer == SGD(0.2)


def test_an_estimator_takes_names():
    by_name, by_object = (
        MLPClassifier((8,), optimizer=o, schedule=s, max_iter=3, random_state=0).fit(X, Y)
        for o, s in (("nadam", "cosine"), (cmlp.NAdam(), schedules.Cosine()))
    )
    assert_same_state(by_name.network_, by_object.network_)
    with pytest.raises(ValueError, match="optimizer"):
        MLPClassifier(optimizer="adamant").fit(X, Y)


def test_messages_name_the_argument(rng, monkeypatch):
    X, y = rng.normal(size=(20, 4)), rng.normal(size=20)
    net = Network([4, 8, 1], loss="mse", seed=0)
    with pytest.raises(ValueError, match="labels from 0 to 1 if class_weight is given"):
        net.fit(X, y, class_weight="balanced")
    with pytest.raises(TypeError, match="shuffle must be"):
        net.fit(X, y, shuffle="yes")
    with pytest.raises(TypeError, match=r"X must hold real numbers; got strings \(<U1\)"):
        net.fit([["a"] * 4] * 20, y)
    with pytest.raises(TypeError, match="weight must be a sequence of arrays"):
        net.weight = 3
    with pytest.raises(ValueError, match="those of metrics the argument metrics"):
        net.fit(X, y, validation_split=0.5, early_stopping=EarlyStopping("val_mae"))

    def import_without_backend(name):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(validation, "import_module", import_without_backend)
    with pytest.raises(ImportError, match="Keras, whose import failed: No module named 'tensor"):
        validation.import_optional("keras", "to_keras()", "Keras", "keras")


def test_layers_are_counted_from_0(capsys):
    Network([2, 3, 1], input_layers=[Scale()], loss="mse").summary()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["input", "0", "1"]


@pytest.mark.parametrize("dtype", ["(2,f4", "0x)f4,", "float31", "f4,f4", [1]])
def test_wrong_dtypes(dtype):
    with pytest.raises((TypeError, ValueError), match="dtype must be float32 or float64"):
        Network([2, 1], dtype=dtype)
