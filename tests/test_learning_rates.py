"""The learning rate range test."""

import numpy as np
import pytest

import cmlp
from cmlp import LBFGS, SGD, Adam, Network, find_learning_rate
from cmlp.learning_rates import LearningRateTest, find_decrease, smooth


@pytest.fixture
def data(rng):
    X = rng.normal(size=(200, 5)).astype(np.float32)
    return X, X @ rng.normal(size=5)


def network(**options):
    return Network([5, 16, 1], activation="relu", loss="mse", seed=0, **options)


def test_the_network_is_unchanged(data):
    net, other = network(dropout=0.1), network(dropout=0.1)
    for each in (net, other):
        each.partial_fit(*data, optimizer=Adam(1e-2))
    found = find_learning_rate(net, *data, optimizer=Adam(1e-2))
    for each in (net, other):
        each.partial_fit(*data)
    assert (net.state.parameters.block == other.state.parameters.block).all()
    assert net.state.epoch == other.state.epoch == 2
    assert len(found.lrs) == len(found.losses) == len(found.smoothed)


def test_learning_rates_and_losses_are_those_of_training(data):
    found = find_learning_rate(network(), *data, optimizer=SGD(5.0), min_lr=1e-3, max_lr=1e-1,
                               steps=20, batch_size=16)  # fmt: skip
    np.testing.assert_allclose(found.lrs, np.geomspace(1e-3, 1e-1, 20))
    losses = []

    class Record(cmlp.callbacks.Callback):
        def on_batch_end(self, network, epoch, step, loss):
            losses.append(loss)

    network().fit(*data, epochs=2, batch_size=16, optimizer=SGD(1e-3), callbacks=Record(),
                  schedule=lambda step, _: 100 ** (min(step, 19) / 19))  # fmt: skip
    np.testing.assert_allclose(found.losses, losses[:20], rtol=1e-6)


@pytest.mark.parametrize(("optimizer", "allowed"), [("sgd", (1e-3, 1)), ("adam", (1e-4, 1e-1))])
def test_the_suggestion_trains(data, optimizer, allowed):
    found = find_learning_rate(network(), *data, optimizer=optimizer)
    assert allowed[0] < found.suggestion < allowed[1]
    assert found.suggestion == found.valley
    assert found.minimum * 10 in found.lrs
    assert found.steepest in found.lrs
    assert "suggestion=" in repr(found)
    kind = SGD if optimizer == "sgd" else Adam
    history = network().fit(*data, epochs=30, optimizer=kind(found.suggestion))
    assert history["loss"][-1] < 0.1 * history["loss"][0]


def test_divergence_ends_the_test(data):
    found = find_learning_rate(network(), *data, optimizer=SGD(), min_lr=1e-4, max_lr=1e6)
    assert len(found.lrs) < 100
    assert np.isfinite(found.losses).all()
    assert found.suggestion < 1


def test_batches_of_an_iterable(data):
    X, y = data
    batches = [(X[i : i + 20], y[i : i + 20]) for i in range(0, 200, 20)]
    assert len(find_learning_rate(network(), batches, steps=30).lrs) <= 30


def test_suggestions_are_within_the_longest_decrease():
    losses = np.array([5.5, 5, 5, 4, 3, 1.5, 1, 6, 7])
    assert find_decrease(losses) == (1, 6)
    assert find_decrease(np.ones(5)) == (0, 0)
    found = LearningRateTest(10.0 ** np.arange(-8, 1), losses, 0)
    suggestions = [found.valley, found.steepest, found.minimum]
    assert suggestions == pytest.approx([1e-5, 1e-4, 1e-3])
    np.testing.assert_allclose(smooth([1.0, 1.0, 1.0], 0.9), 1)


def test_plot(data):
    pytest.importorskip("matplotlib").use("agg")
    found = LearningRateTest(np.geomspace(1e-5, 1, 50), np.r_[np.linspace(2, 1, 40), [9.0] * 10], 0)
    ax = found.plot()
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "learning rate"
    assert found.plot(ax) is ax


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_lr": 0}, ValueError, "min_lr must be positive and finite; got 0"),
        ({"max_lr": 1e-8}, ValueError, "max_lr must be greater than min_lr, 1e-07; got 1e-08"),
        ({"steps": 5}, ValueError, "steps must be at least 10; got 5"),
        ({"smoothing": 1}, ValueError, "smoothing must be at least 0 and below 1; got 1"),
        ({"optimizer": LBFGS()}, ValueError, "optimizer must have a learning rate; got LBFGS"),
        ({"epochs": 3}, TypeError, "find_learning_rate has no argument 'epochs'"),
        ({"batch": 3}, TypeError, "unexpected keyword argument 'batch'"),
    ],
)
def test_bad_arguments(data, options, error, message):
    with pytest.raises(error, match=message):
        find_learning_rate(network(), *data, **options)
    with pytest.raises(TypeError, match="network must be a Network; got str"):
        find_learning_rate("net", *data)
