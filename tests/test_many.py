"""fit_many: the bits of `fit`, options, errors, Ctrl-C."""

import os
import signal
import threading

import numpy as np
import pytest
from conftest import Deadline, assert_same_state
from scipy import sparse

from cmlp import SGD, Adam, Network, TrainingDiverged, callbacks, fit_many, schedules


@pytest.fixture
def data(rng):
    return rng.random((80, 70)) * (rng.random((80, 70)) < 0.2), rng.integers(0, 3, 80)


def networks(count=5):
    return [Network([70, 9 + seed, 3], loss="cross_entropy", seed=seed, dropout=0.1 * (seed % 2),
                    dtype=["float32", "float64"][seed % 2]) for seed in range(count)]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_each_network_ends_with_the_bits_of_fit(data, threads, kind):
    X, y = data
    options = {"epochs": 3, "batch_size": 8, "optimizer": Adam(), "validation_data": (X, y),
               "schedule": schedules.ReduceOnPlateau(patience=0), "early_stopping": 1,
               "metrics": "f1", "class_weight": "balanced"}  # fmt: skip
    together, alone = networks(), networks()
    histories = fit_many(together, kind(X), y, threads=threads, **options)
    for net, other, history in zip(together, alone, histories, strict=True):
        want = other.fit(kind(X), y, **options)
        assert_same_state(net, other)
        assert history["val_f1"] == want["val_f1"]


def test_options_for_each_network(data):
    options = {"epochs": [1, 2, 3], "batch_size": [4, 8, 16],
               "optimizer": [SGD(0.1), Adam(), None],
               "schedule": [None, schedules.Cosine(), None]}  # fmt: skip
    together, alone = networks(3), networks(3)
    histories = fit_many(together, *data, **options)
    assert [len(history.epochs) for history in histories] == [1, 2, 3]
    for i, net in enumerate(alone):
        net.fit(*data, **{name: values[i] for name, values in options.items()})
        assert_same_state(net, together[i])


def test_functions_are_shared_and_callback_instances_are_copied(data):
    seen, stopping = [], callbacks.EarlyStopping("loss", patience=100)
    nets = networks(3)
    fit_many(nets, *data, epochs=2, early_stopping=stopping,
             callbacks=lambda net, epoch, record: seen.append((net.seed, epoch)))  # fmt: skip
    assert sorted(seen) == [(s, e) for s in range(3) for e in range(2)]
    assert not hasattr(stopping, "best")


def test_errors(data):
    X, y = data
    nets = networks(3)
    with pytest.raises(ValueError, match="networks must be different objects"):
        fit_many([nets[0], nets[0]], X, y)
    with pytest.raises(TypeError, match="networks must be instances of Network; got 'a'"):
        fit_many(["a", "b"], X, y)
    for wrong in (nets[0], "ab"):
        with pytest.raises(TypeError, match="networks must be a sequence of Network; got"):
            fit_many(wrong, X, y)
    with pytest.raises(TypeError, match="fit_many has no argument 'epoch'"):
        fit_many(nets, X, y, epoch=3)
    with pytest.raises(ValueError, match="epochs must be one for all or a list of 3; got 2"):
        fit_many(nets, X, y, epochs=[1, 2])
    with pytest.raises(ValueError, match="X must have 5 columns"):
        fit_many([*nets, Network([5, 3])], X, y)
    before = networks(3)
    with pytest.raises(ValueError, match=r"y must have .* samples, like X"):
        fit_many(nets, X, y[:3])
    for net, other in zip(nets, before, strict=True):
        assert_same_state(net, other)
    assert fit_many([], X, y) == []


def test_resumed_networks_train_together(tmp_path, data):
    def options(i):
        return {"optimizer": Adam(), "callbacks": callbacks.Checkpoint(tmp_path / f"{i}.npz")}

    whole = networks(2)
    for i, net in enumerate(whole):
        net.fit(*data, epochs=2, **options(i))
    resumed = [Network.resume(tmp_path / f"{i}.npz") for i in range(2)]
    with pytest.raises(ValueError, match="must continue with fit, not with partial_fit"):
        resumed[0].partial_fit(*data, optimizer=Adam())
    histories = fit_many(resumed, *data, epochs=4, **options("both"))
    assert [len(history.epochs) for history in histories] == [4, 4]
    for net, other in zip(resumed, networks(2), strict=True):
        other.fit(*data, epochs=4, **options("alone"))
        assert_same_state(net, other)


def test_a_network_that_diverges(data):
    X, y = data[0], data[1].astype(float)
    nets = [Network([70, 5, 1], activation="relu", loss="mse", seed=s) for s in range(3)]
    rates = [SGD(0.01), SGD(1e20), SGD(0.01)]
    with pytest.raises(TrainingDiverged):
        fit_many(nets, X, y, optimizer=rates)
    found = fit_many(nets, X, y, optimizer=rates, epochs=2, return_exceptions=True)
    assert isinstance(found[1], TrainingDiverged)
    assert len(found[0].epochs) == len(found[2].epochs) == 2


def test_interruption_ends_all(data, ctrl_c):
    nets = networks(4)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fit_many(nets, *data, epochs=10_000_000, threads=2, callbacks=Deadline())
    timer.cancel()
    for net in nets:
        assert np.isfinite(net.state.parameters.block).all()
        assert net.score(*data) == (net.predict(data[0]) == data[1]).mean()
    again = [net.copy() for net in nets]
    for trained in (nets, again):
        fit_many(trained, *data, epochs=2, threads=2)
    for net, other in zip(nets, again, strict=True):
        assert_same_state(net, other)
