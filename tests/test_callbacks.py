"""Callbacks: the order of the calls, stopping, and early stopping."""

import numpy as np
import pytest

from cmlp import SGD, Network, callbacks, schedules


@pytest.fixture
def data(rng):
    return rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 3, 50)


def network():
    return Network([6, 9, 3], activation="tanh", loss="cross_entropy", seed=1)


class Recorder(callbacks.Callback):
    def __init__(self):
        self.events = []

    def on_train_begin(self, network):
        self.events.append("train begins")

    def on_epoch_begin(self, network, epoch):
        self.events.append(("epoch begins", epoch))

    def on_epoch_end(self, network, epoch, record):
        self.events.append(("epoch ends", epoch, record["loss"]))

    def on_train_end(self, network, history):
        self.events.append(("train ends", len(history.epochs)))


class Batches(callbacks.Callback):
    def __init__(self, stop_after=None):
        self.losses, self.stop_after = [], stop_after

    def on_batch_end(self, network, epoch, step, loss):
        self.losses.append((epoch, step, loss))
        return len(self.losses) == self.stop_after


def test_the_order_of_the_calls(data):
    recorder, plain = Recorder(), []
    history = network().fit(
        *data, epochs=2, callbacks=[recorder, lambda *arguments: plain.append(arguments[1:])]
    )
    losses = history["loss"]
    assert recorder.events == [
        "train begins", ("epoch begins", 0), ("epoch ends", 0, losses[0]),
        ("epoch begins", 1), ("epoch ends", 1, losses[1]), ("train ends", 2),
    ]  # fmt: skip
    assert plain == [(0, history.epochs[0]), (1, history.epochs[1])]


def test_a_record_may_be_added_to(data):
    def norm(network, epoch, record):
        record["norm"] = float(np.linalg.norm(network.weight[0]))

    net = network()
    norms = net.fit(*data, epochs=3, callbacks=norm)["norm"]
    assert len(set(norms)) == 3
    assert norms[-1] == float(np.linalg.norm(net.weight[0]))


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batch_callbacks_do_not_change_the_results(data, batch_size, shuffle):
    called, plain, batches = network(), network(), Batches()
    options = {
        "epochs": 2,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "optimizer": SGD(0.1),
        "sample_weight": np.arange(50) % 4 + 1,
        "schedule": lambda step, _: 1 / (1 + step),
    }
    got = called.fit(*data, callbacks=batches, **options)
    want = plain.fit(*data, **options)
    assert all((a == b).all() for a, b in zip(called.weight, plain.weight, strict=True))
    np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-12)
    assert got["lr"] == want["lr"]
    steps = -(-50 // batch_size)
    assert [b[:2] for b in batches.losses] == [(e, s) for e in range(2) for s in range(steps)]


def test_callbacks_stop_training(data):
    assert len(network().fit(*data, epochs=9, callbacks=lambda n, e, r: e == 3).epochs) == 4
    batches = Batches(stop_after=10)
    history = network().fit(*data, epochs=9, batch_size=8, callbacks=batches)
    assert len(history.epochs) == 2
    assert batches.losses[-1][:2] == (1, 2)


def test_early_stopping_restores_the_best_epoch(data):
    X, y = data
    stopping = callbacks.EarlyStopping(patience=2)
    net, weights = network(), []
    history = net.fit(
        X, y, epochs=200, batch_size=5, optimizer=SGD(0.5), validation_split=0.4,
        early_stopping=stopping, callbacks=lambda n, e, r: weights.append(n.weight[0].copy()),
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert (stopping.best, stopping.best_epoch) == (history["val_loss"][best], best)
    assert len(history.epochs) == stopping.stopped_epoch + 1 == best + 4 < 200
    assert (net.weight[0] == weights[best]).all()
    kept = network()
    last = kept.fit(
        X, y, epochs=200, batch_size=5, optimizer=SGD(0.5), validation_split=0.4,
        early_stopping=callbacks.EarlyStopping(patience=2, restore_best=False),
    )  # fmt: skip
    assert last["val_loss"] == history["val_loss"]
    assert (kept.weight[0] == weights[-1]).all()


def test_early_stopping_by_a_number_or_true(data):
    options = {"epochs": 300, "batch_size": 5, "optimizer": SGD(0.5), "validation_split": 0.4}
    usual = network().fit(*data, early_stopping=True, **options)
    assert len(usual.epochs) == int(np.argmin(usual["val_loss"])) + 12
    three = network().fit(*data, early_stopping=3, **options)
    assert len(three.epochs) == int(np.argmin(three["val_loss"])) + 5
    assert len(network().fit(*data, epochs=5, early_stopping=False).epochs) == 5
    rising = callbacks.EarlyStopping("val_accuracy", patience=4, min_delta=0.01)
    history = network().fit(*data, early_stopping=rising, **options)
    assert rising.best == max(history["val_accuracy"][: rising.best_epoch + 1])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"early_stopping": True}, ValueError, "monitor='val_loss' requires validation_data or"),
        (
            {"schedule": schedules.ReduceOnPlateau()},
            ValueError,
            "monitor='val_loss' requires valid",
        ),
        ({"early_stopping": -1}, ValueError, "early_stopping must be at least 0; got -1"),
        ({"early_stopping": "soon"}, TypeError, "early_stopping must be a whole number"),
        ({"callbacks": [3]}, TypeError, "callbacks must be instances of cmlp.callbacks.Callback"),
        ({"callbacks": [Recorder]}, TypeError, "callbacks must be instances of"),
    ],
)
def test_bad_callbacks(data, options, error, message):
    net = network()
    with pytest.raises(error, match=message):
        net.fit(*data, epochs=1, **options)
    assert (net.weight[0] == network().weight[0]).all()


def test_a_quantity_that_is_not_there_is_named(data):
    with pytest.raises(ValueError, match="monitor must be in the history, which has loss, lr"):
        network().fit(*data, epochs=1, early_stopping=callbacks.EarlyStopping("f1"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"monitor": 1}, TypeError, "monitor must be a name of the history; got 1"),
        ({"patience": -1}, ValueError, "patience must be at least 0; got -1"),
        ({"min_delta": -0.1}, ValueError, "min_delta must be finite and not negative; got -0.1"),
    ],
)
def test_bad_early_stopping(arguments, error, message):
    with pytest.raises(error, match=message):
        callbacks.EarlyStopping(**arguments)
