"""Metrics that are functions of targets and predictions, and the direction of monitors."""

import functools
import pickle

import numpy as np
import pytest

from cmlp import SGD, Network, callbacks, fit_many, losses, schedules
from cmlp.metrics import Metric, split_metrics


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 5)).astype(np.float32)
    return X, (X[:, :2].argmax(1) + (X[:, 2] > 1)).astype(int)


def network(**options):
    arguments = {"activation": "tanh", "loss": "cross_entropy", "seed": 0, **options}
    return Network(arguments.pop("sizes", [5, 7, 3]), **arguments)


def agreement(y_true, y_pred):
    assert y_true.shape == y_pred.shape == (len(y_true),)
    assert y_true.dtype.kind == y_pred.dtype.kind == "i"
    return np.mean(y_true == y_pred)


def brier(y_true, y_pred):
    return ((y_pred - np.eye(3)[y_true]) ** 2).sum(1).mean()


def test_a_function_has_the_value_of_the_metric_that_it_restates(data):
    X, y = data
    net = network()
    metrics = ["accuracy", agreement, Metric(brier, needs="proba")]
    history = net.fit(X, y, epochs=3, validation_data=(X, y), metrics=metrics)
    assert history["val_agreement"] == history["agreement"] == history["val_accuracy"]
    assert history["agreement"][-1] == net.score(X, y) == net.score(X, y, metric=agreement)
    assert history["brier"][-1] == history["val_brier"][-1]
    assert history["brier"][-1] == pytest.approx(brier(y, net.predict_proba(X)))
    assert history["accuracy"] != history["agreement"]  # from the outputs before each step
    plain = network()
    plain.fit(X, y, epochs=3, validation_data=(X, y), metrics="accuracy")
    assert (plain.weight[0] == net.weight[0]).all()


def test_a_split_evaluates_the_two_parts(data):
    X, y = data
    rows = np.arange(60) < 20
    net = network()
    history = net.fit(X, y, epochs=2, validation_split=rows, metrics=agreement)
    assert history["agreement"][-1] == net.score(X[~rows], y[~rows])
    assert history["val_agreement"][-1] == net.score(X[rows], y[rows])
    only = network().fit(
        X, y, epochs=2, validation_split=rows, metrics=Metric(agreement, train=False)
    )
    assert "agreement" not in only
    assert only["val_agreement"] == history["val_agreement"]


def shapes(y_true, y_pred):
    return len(y_true.shape) * 10 + len(y_pred.shape)


@pytest.mark.parametrize(
    ("options", "make_y", "needs", "wanted"),
    [
        ({"sizes": [5, 4, 1], "loss": "binary_cross_entropy"}, lambda y: y > 0, "predictions", 11),
        ({"sizes": [5, 4, 1], "loss": "binary_cross_entropy"}, lambda y: y > 0, "proba", 11),
        ({"sizes": [5, 4, 1], "loss": "hinge"}, lambda y: y > 0, "outputs", 11),
        ({}, lambda y: y, "proba", 12),
        ({}, lambda y: np.eye(3)[y], "predictions", 11),
        ({"loss": "binary_cross_entropy"}, lambda y: np.eye(3)[y], "predictions", 22),
        ({"sizes": [5, 4, 1], "loss": "mse"}, lambda y: y * 0.5, "predictions", 11),
        ({"sizes": [5, 4, 2], "loss": "mse"}, lambda y: np.c_[y, y], "predictions", 22),
        ({"sizes": [5, 4, 3], "loss": losses.pinball((0.1, 0.5, 0.9))}, lambda y: y, "predictions",
         11),
        ({"sizes": [5, 4, 2], "loss": "gaussian_nll"}, lambda y: y, "predictions", 11),
    ],
)  # fmt: skip
def test_shapes_of_targets_and_predictions(data, options, make_y, needs, wanted):
    X, y = data
    metric = Metric(shapes, needs=needs)
    net = network(**options)
    assert net.fit(X, make_y(y), epochs=1, metrics=metric)["shapes"] == [wanted]
    assert net.score(X, make_y(y), metric=metric) == wanted


def test_predictions_of_a_poisson_loss_are_rates(data):
    X, y = data
    net = network(sizes=[5, 4, 1], loss="poisson")
    found = net.fit(X, y, epochs=1, metrics=lambda_mean)["lambda_mean"]
    assert found == [pytest.approx(net.predict(X).mean())]


def lambda_mean(y_true, y_pred):
    return y_pred.mean()


def test_names():
    assert Metric(agreement).name == "agreement"
    assert Metric(functools.partial(brier)).name == "brier"
    names, functions = split_metrics(["f1", agreement, Metric(brier, "b")])
    assert (names, [each.name for each in functions]) == (["f1"], ["agreement", "b"])
    assert pickle.loads(pickle.dumps(Metric(agreement, "a"))).name == "a"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Metric("f1"), TypeError, "function must be a callable of .y_true, y_pred"),
        (lambda: Metric(lambda y, p: 0), ValueError, "name must be given for a function without"),
        (lambda: Metric(agreement, "val_x"), ValueError, "name must not be empty, begin with val_"),
        (lambda: Metric(agreement, "accuracy"), ValueError, "name must not be empty"),
        (lambda: Metric(agreement, "lr"), ValueError, "name must not be empty"),
        (lambda: Metric(agreement, "top_3"), ValueError, "name must not be empty"),
        (lambda: Metric(agreement, 3), TypeError, "name must be a string; got 3"),
        (lambda: Metric(agreement, needs="probability"), ValueError, "needs must be one of"),
        (lambda: Metric(agreement, greater_is_better=1), TypeError, "greater_is_better must be"),
        (lambda: Metric(agreement, train="no"), TypeError, "train must be True or False"),
        (lambda: split_metrics([agreement, agreement]), ValueError, "must have different names"),
        (lambda: split_metrics(3), TypeError, "metrics must be a sequence of names and functions"),
    ],
)
def test_bad_metrics(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_scorers_are_not_functions():
    metrics = pytest.importorskip("sklearn.metrics")
    with pytest.raises(TypeError, match=r"function must be a callable .* got a scorer"):
        Metric(metrics.get_scorer("f1"), "f1_scorer")


@pytest.mark.parametrize(
    ("options", "y", "fit", "message"),
    [
        ({"sizes": [5, 3, 1], "loss": "mse"}, None, {"metrics": Metric(brier, needs="proba")},
         "metrics must not need probabilities of a network with output='identity'"),
        ({}, None, {"metrics": agreement, "shards": 2}, "metrics that are functions require valid"),
        ({}, None, {"metrics": Metric(agreement, train=False)}, "metrics that are functions requi"),
        ({}, None, {"metrics": lambda y, p: 0}, "name must be given for a function without one"),
    ],
)  # fmt: skip
def test_bad_calls_change_nothing(data, options, y, fit, message):
    net = network(**options)
    before = net.state.parameters.block.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(*data, epochs=1, **fit)
    assert (net.state.parameters.block == before).all()


def test_a_metric_must_return_a_number(data):
    with pytest.raises(TypeError, match="metric 'pair' must return a number; got"):
        network().fit(*data, epochs=1, metrics=Metric(lambda y, p: [0, 1], "pair"))
    with pytest.raises(ZeroDivisionError) as caught:
        network().fit(*data, epochs=1, metrics=Metric(lambda y, p: 1 / 0, "quotient"))
    assert caught.value.__notes__ == ["raised by metric 'quotient' in cmlp"]


def test_batches_of_an_iterable_and_shards_have_validation_metrics_only(data):
    for X, y, options in [([data], None, {}), (*data, {"shards": 2})]:
        history = network().fit(X, y, epochs=2, validation_data=data, metrics=agreement, **options)
        assert "agreement" not in history
        assert history["val_agreement"] == history["val_accuracy"]


def test_several_networks_and_chunks(data):
    nets = [network(seed=seed) for seed in range(2)]
    histories = fit_many(nets, *data, epochs=2, metrics=[agreement])
    assert [h["agreement"][-1] for h in histories] == [net.score(*data) for net in nets]
    net = network()
    assert net.partial_fit(*data, metrics=agreement)["agreement"] == [net.score(*data)]


def test_early_stopping_and_schedules_use_the_direction_of_a_metric(data):
    values = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0])

    def cost(y_true, y_pred):
        return next(values)

    stopping = callbacks.EarlyStopping("cost", patience=2)
    network().fit(*data, epochs=8, early_stopping=stopping,
                  metrics=Metric(cost, greater_is_better=False))  # fmt: skip
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1.0, 1, 4)
    plateau = schedules.ReduceOnPlateau("cost", patience=0, factor=0.5)
    values = iter([1.0, 2.0, 3.0, 4.0])
    history = network().fit(*data, epochs=4, schedule=plateau, optimizer=SGD(1.0),
                            metrics=Metric(cost, greater_is_better=False))  # fmt: skip
    assert history["lr"] == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("val_mae", "auto", 1.0), ("val_error", "auto", 1.0), ("loss", "auto", 1.0),
     ("val_r2", "auto", 3.0), ("val_r2", "min", 1.0), ("loss", "max", 3.0)],
)  # fmt: skip
def test_directions_of_names(monitor, mode, best):
    stopping = callbacks.EarlyStopping(monitor, mode=mode, restore_best=False)
    stopping.on_train_begin(None)
    for epoch, value in enumerate([2.0, 1.0, 3.0]):
        stopping.on_epoch_end(None, epoch, {monitor: value})
    assert stopping.best == best


def test_a_bad_mode_is_refused():
    for make in (callbacks.EarlyStopping, schedules.ReduceOnPlateau):
        with pytest.raises(ValueError, match="mode must be one of auto, min, max; got 'least'"):
            make(mode="least")


def test_a_resumed_run_needs_the_functions_again(data, tmp_path):
    path = tmp_path / "run.npz"
    options = {"epochs": 4, "metrics": ["f1", agreement], "optimizer": SGD(0.5)}
    whole = network()
    history = whole.fit(*data, **options)
    network().fit(*data, **options | {"epochs": 2}, callbacks=callbacks.Checkpoint(path))
    resumed = Network.resume(path)
    with pytest.raises(ValueError, match=r"the functions in metrics must be \['agreement'\]"):
        resumed.fit(*data, **options | {"metrics": "f1"}, callbacks=callbacks.Checkpoint(path))
    again = resumed.fit(*data, **options, callbacks=callbacks.Checkpoint(path))
    assert again["agreement"] == history["agreement"]
    assert again["f1"] == history["f1"]


def test_functions_of_scikit_learn(data):
    metrics = pytest.importorskip("sklearn.metrics")
    X, y = data
    roc = Metric(functools.partial(metrics.roc_auc_score, multi_class="ovr"), needs="proba")
    net = network()
    history = net.fit(X, y, epochs=2, metrics=[metrics.balanced_accuracy_score, roc])
    assert history["roc_auc_score"][-1] == net.score(X, y, metric=roc)
    quantized = net.quantize(X)
    assert quantized.score(X, y, metric=metrics.accuracy_score) == quantized.score(X, y)
