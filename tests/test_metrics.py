"""Metrics: the engine's sums against the oracle and scikit-learn."""

import numpy as np
import oracle
import pytest
import sklearn.metrics
from conftest import read_data

from cmlp import SGD, Network
from cmlp._core.training import shuffle
from cmlp.metrics import CLASSIFICATION, REGRESSION, Metrics

CLASS_NAMES = [*CLASSIFICATION, "top_2"]


def class_metric(name, truth, outputs):
    """Return a metric of labels (n,) and outputs (n, classes), or (n,) of a single output."""
    if name == "top_2":
        return oracle.top_k(truth, outputs, 2)
    if outputs.ndim == 1:
        return oracle.CLASS_METRICS[name](truth, (outputs >= 0.5).astype(int), binary=True)
    return oracle.CLASS_METRICS[name](truth, outputs.argmax(axis=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_metrics_of_several_classes(isa, rng, dtype):
    # The sixth class is in neither the labels nor the predictions.
    X, y = rng.normal(size=(301, 6)), rng.integers(0, 5, 301)
    net = Network([6, 8, 6], loss="cross_entropy", dtype=dtype, seed=0)
    net.bias[1][5] = -50
    for name in CLASS_NAMES:
        want = class_metric(name, y, net(X))
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
        assert net.score(X, np.eye(6)[y], metric=name) == net.score(X, y, metric=name)


def test_metrics_of_two_classes_with_one_output(rng):
    X, y = rng.normal(size=(200, 6)), rng.integers(0, 2, 200)
    net = Network([6, 8, 1], loss="binary_cross_entropy", seed=3)
    for name in CLASSIFICATION:
        want = class_metric(name, y, net(X)[:, 0])
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
    hinge = Network([6, 8, 1], loss="hinge", seed=3)
    assert hinge.score(X, y) == ((hinge(X)[:, 0] >= 0) == y).mean()


@pytest.mark.parametrize("outputs", [1, 3])
def test_metrics_of_real_targets(isa, rng, outputs):
    # A mean that is large compared with the standard deviation costs no digits.
    X, y = rng.normal(size=(301, 6)), rng.normal(size=(301, outputs)) + 1e6
    net = Network([6, 8, outputs], loss="mse", dtype="float64", seed=0)
    net.bias[1] += 1e6
    for name in REGRESSION:
        want = oracle.REAL_METRICS[name](y, net(X))
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-9)


def test_poisson_predictions_are_compared_as_rates(rng):
    X, y = rng.normal(size=(50, 6)), rng.poisson(3, 50)
    net = Network([6, 8, 1], loss="poisson", dtype="float64", seed=0)
    want = oracle.REAL_METRICS["mae"](y[:, None], net.predict(X)[:, None])
    assert net.score(X, y, metric="mae") == pytest.approx(want, rel=1e-12)


def test_scikit_learn_agrees(rng):
    X, y = rng.normal(size=(301, 6)), rng.integers(0, 5, 301)
    net = Network([6, 8, 5], loss="cross_entropy", dtype="float64", seed=0)
    answers = net.predict(X)
    for name in ("precision", "recall", "f1"):
        want = getattr(sklearn.metrics, f"{name}_score")(
            y, answers, average="macro", zero_division=0
        )
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
    want = sklearn.metrics.top_k_accuracy_score(y, net(X), k=3)
    assert net.score(X, y, metric="top_3") == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_training_metrics_are_of_the_outputs_before_each_step(isa, rng, batch_size):
    X, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
    net, twin = (Network([6, 9, 3], loss="cross_entropy", seed=1) for _ in range(2))
    outs = []
    for start in range(0, 40, batch_size):
        part = slice(start, start + batch_size)
        outs.append(twin(X[part]))
        twin.fit(X[part], y[part], epochs=1, batch_size=batch_size, shuffle=False, optimizer=SGD())
    history = net.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False, metrics=CLASS_NAMES,
                      sample_weight=np.ones(40), optimizer=SGD())  # fmt: skip
    for name in CLASS_NAMES:
        want = class_metric(name, y, np.concatenate(outs))
        assert history[name] == [pytest.approx(want, rel=1e-12)]
    plain = Network([6, 9, 3], loss="cross_entropy", seed=1)
    plain.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False, optimizer=SGD())
    assert (plain.weight[0] == net.weight[0]).all()


def test_validation_has_the_same_metrics(rng):
    X, y = rng.normal(size=(60, 6)), rng.normal(size=60)
    net = Network([6, 9, 1], loss="mse", seed=1)
    history = net.fit(X, y, epochs=2, validation_data=(X, y), metrics=["mae", "r2"])
    assert list(history.epochs[0]) == [
        "loss", "mae", "r2", "lr", "seconds", "samples_per_second", "val_loss", "val_r2", "val_mae",
    ]  # fmt: skip
    assert history["val_mae"][-1] == net.score(X, y, metric="mae")
    held = Network([6, 9, 1], loss="mse", seed=1)
    order = np.empty(60, np.uint32)
    shuffle(order, 1, 2**32 - 1)  # the order that validation_split takes the first 30% of
    history = held.fit(X, y, epochs=1, validation_split=0.3, metrics="mae")
    want = held.score(X[order[:18]], y[order[:18]], metric="mae")
    assert history["val_mae"] == [pytest.approx(want, rel=1e-12)]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            "acuracy",
            ValueError,
            "metrics must be one of .*; got 'acuracy' .did you mean 'accuracy'",
        ),
        (["r2"], ValueError, "metrics of a classifier must be one of .*; got 'r2'"),
        ([3], TypeError, "metrics must be a name; got 3"),
        ("top_0", ValueError, "metrics must be one of .*; got 'top_0'"),
    ],
)
def test_bad_metrics(names, error, message):
    net = Network([2, 3], loss="cross_entropy")
    with pytest.raises(error, match=message):
        net.fit(np.ones((4, 2)), np.zeros(4), metrics=names)


def test_metrics_suit_the_network():
    X, y = np.ones((4, 2)), np.zeros(4)
    with pytest.raises(ValueError, match=r"metrics of a regressor must be one of .*; got 'f1'"):
        Network([2, 1], loss="mse").score(X, y, metric="f1")
    with pytest.raises(ValueError, match="unless the task is multiclass"):
        Network([2, 1], loss="binary_cross_entropy").score(X, y, metric="top_2")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_and_nan_do_not_count_as_hits(isa, dtype):
    # The outputs are the inputs: distinct, all equal, equal at the top or below it, and zeros of
    # both signs.
    outputs = np.array([[3, 1, 2], [1, 1, 1], [2, 2, 1], [1, 2, 2], [0.0, -0.0, -1], [1, 5, 5]])
    net = Network([3, 3], loss="hinge", output="identity", dtype=dtype)
    net.weight[0][:], net.bias[0][:] = np.eye(3), 0
    for label in range(3):
        y = np.full(len(outputs), label)
        for k in (1, 2, 3, 7):
            want = oracle.top_k(y, outputs, k)
            assert net.score(outputs, y, metric=f"top_{k}") == pytest.approx(want, rel=1e-12)
        want = (net.predict(outputs) == y).mean()
        assert net.score(outputs, y, metric="accuracy") == want
        assert net.score(outputs, y, metric="top_1") <= want


def test_equal_outputs_score_no_hits(rng):
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    net = Network([4, 5, 3], loss="cross_entropy", seed=0)
    net.weight[1][:], net.bias[1][:] = 0, 0
    scores = [net.score(X, y, metric=f"top_{k}") for k in (1, 2, 3)]
    assert scores == [0, 0, 1]
    assert net.score(X, y) == pytest.approx(1 / 3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_sample_with_nan_is_a_miss(isa, place):
    # np.argmax, which predict calls, takes the first NaN as the greatest; hits agree with it.
    net = Network([3, 3], loss="hinge", output="identity")
    net.bias[0][place] = np.nan
    rows, targets = read_data(net, np.ones((3, 3), np.float32), np.arange(3))
    metrics = Metrics(["top_3", "top_9"], "multiclass", 3)
    net.state.program.infer(rows, targets, None, None, 1, sums=metrics.sums)
    assert metrics.arrays["hits"].tolist() == (np.arange(3) == place).tolist()
    assert metrics.results() == {"top_3": 0, "top_9": 0}


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_an_output_at_the_threshold_means_class_1(isa, loss):
    net = Network([2, 1], loss=loss)
    net.weight[0][:], net.bias[0][:] = 0, 0
    X = np.ones((3, 2))
    assert net.predict(X).tolist() == [1, 1, 1]
    assert net.score(X, [1, 1, 1]) == net.score(X, [1, 1, 1], metric="recall") == 1
    assert net.score(X, [0, 0, 1]) == pytest.approx(1 / 3)
    assert net.score(X, np.full((3, 1), 0.5)) == 1  # a target of 1/2 means class 1 too
