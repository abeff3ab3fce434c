"""Schedules of weight decay and dropout, and `drop_last`."""

import math

import numpy as np
import pytest
from conftest import assert_same_state
from test_optimizer_options import check, network, steps

from cmlp import LBFGS, SGD, Adam, AdamW, Lion, Network, callbacks, fit_many, schedules
from cmlp._training.arguments import split_rows
from cmlp._training.sources import make_shuffled_order


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 9)), rng.random((40, 3))


def compute_factors(schedule, total):
    return schedule.factors(np.arange(total, dtype=float), 0, total, 1)


def test_formulas():
    t = np.arange(1000) / 1000
    want = [0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * each))) for each in t]
    np.testing.assert_allclose(compute_factors(schedules.CosineLog(), 1000), want, atol=1e-12)
    assert schedules.CosineLog(1) != schedules.NAMES["coslog4"] == schedules.CosineLog()
    want = [1 if each < 0.5 else 0.5 * (1 + math.cos(math.pi * (each - 0.5) / 0.5)) for each in t]
    np.testing.assert_allclose(compute_factors(schedules.FlatCosine(), 1000), want, atol=1e-12)
    np.testing.assert_allclose(compute_factors(schedules.FlatCosine(0.0), 9),
                               compute_factors(schedules.Cosine(), 9), atol=1e-12)  # fmt: skip
    assert (compute_factors(schedules.FlatCosine(1.0), 9) == 1).all()


@pytest.mark.parametrize("batch_size", [1, 7, 40])
@pytest.mark.parametrize("decay", ["flat_cos", lambda step, epoch: (step % 3) * (epoch + 1)],
                         ids=["flat_cos", "callable"])  # fmt: skip
@pytest.mark.parametrize("kind", [SGD, AdamW, Lion])
def test_decay_schedule(isa, data, batch_size, decay, kind):
    per_epoch = -(-40 // batch_size)
    factors = np.array([decay(s, s // per_epoch) for s in range(2 * per_epoch)], float) if callable(
        decay
    ) else compute_factors(schedules.FlatCosine(), 2 * per_epoch)  # fmt: skip
    net = network()
    moments = [[0, 0] for _ in range(4)]
    for step, (parameters, nablas) in enumerate(steps(net, *data, batch_size, 2)):
        wd = 0.5 * factors[step]
        for p, g, m in zip(parameters, nablas, moments, strict=True):
            if kind is SGD:
                p -= 0.01 * (g + wd * p)
            elif kind is Lion:
                p -= 0.01 * (wd * p + np.sign(0.9 * m[0] + 0.1 * g))
                m[0] = 0.99 * m[0] + 0.01 * g
            else:
                p *= 1 - 0.01 * wd
                m[:] = 0.9 * m[0] + 0.1 * g, 0.999 * m[1] + 0.001 * g * g
                root = np.sqrt(m[1] / (1 - 0.999 ** (step + 1))) + 1e-8
                p -= 0.01 * m[0] / (1 - 0.9 ** (step + 1)) / root
    net.fit(*data, epochs=2, batch_size=batch_size, shuffle=False, decay_schedule=decay,
            optimizer=kind(0.01, weight_decay=0.5))  # fmt: skip
    check(net, parameters)


@pytest.mark.parametrize("activation", ["relu", "tanh", "mish", "parametric_mish"])
@pytest.mark.parametrize("shards", [None, 4])
def test_dropout_schedule(data, activation, shards):
    X, y = data

    def make(dropout):
        return Network([9, 130, 60, 3], activation=activation, dropout=dropout, loss="mse", seed=2)

    def train(net, epochs, **options):
        net.fit(X, y, epochs=epochs, batch_size=8, optimizer=SGD(0.01), shards=shards, **options)
        return net

    plain, ones = train(make(0.5), 2), train(make(0.5), 2, dropout_schedule=schedules.Constant())
    assert_same_state(plain, ones)
    off = train(make(0.5), 2, dropout_schedule=lambda step, epoch: 0.0)
    assert_same_state(off, train(make(0.0), 2))
    # One epoch with half the rate, one without dropout, one with all of it.
    found = train(make(0.5), 3, dropout_schedule=lambda step, epoch: (0.5, 0.0, 1.0)[epoch])
    want = make(0.5)
    for rate in (0.25, 0.0, 0.5):
        part = make(rate)
        part.state.parameters.block[:] = want.state.parameters.block
        part.state.epoch = want.state.epoch
        want = train(part, 1)
    assert_same_state(found, want)
    assert not (found.weight[0] == plain.weight[0]).all()
    # The schedule is not in effect after the call.
    assert_same_state(train(off, 1), train(train(make(0.5), 2, dropout_schedule=lambda *_: 0), 1))


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("split", [0.0, 0.2])
def test_drop_last(rng, shuffle, split):
    X, y = rng.normal(size=(103, 9)), rng.random((103, 3))
    net, whole = network(), network()
    options = {"batch_size": 20, "shuffle": shuffle, "optimizer": Adam(0.01), "epochs": 3,
               "validation_split": split}  # fmt: skip
    history = net.fit(X, y, drop_last=True, threads=2, **options)
    n = 103 - round(103 * split)
    assert len(history["loss"]) == 3
    # Equal to training on the first batches of each epoch's order.
    for epoch in range(3):
        subset = split_rows(3, 103, split)[0]
        order = make_shuffled_order(3, epoch, n) if shuffle else np.arange(n)
        order = (order if subset is None else subset[order])[: n // 20 * 20]
        whole.partial_fit(X[order], y[order], batch_size=20, shuffle=False, optimizer=Adam(0.01))
    assert_same_state(net, whole)


def test_checkpoints_and_fit_many(tmp_path, data):
    path = tmp_path / "run.npz"
    options = {
        "optimizer": AdamW(0.01, weight_decay=0.3), "schedule": "coslog4",
        "decay_schedule": "flat_cos", "dropout_schedule": "flat_cos", "batch_size": 7,
        "drop_last": True,
    }  # fmt: skip

    def make():
        return Network([9, 21, 3], dropout=0.3, activation="tanh", loss="mse", seed=3)

    whole = make()
    whole.fit(*data, epochs=4, **options)

    class Stop(callbacks.Callback):
        place = 2, 3

        def on_batch_end(self, network, epoch, step, loss):
            if (epoch, step) == self.place:
                raise KeyboardInterrupt

    watchers = [callbacks.Checkpoint(path, 2, unit="steps"), Stop()]
    with pytest.raises(KeyboardInterrupt):
        make().fit(*data, epochs=4, callbacks=watchers, **options)
    Stop.place = None
    resumed = Network.resume(path)
    for name, kind in (("decay_schedule", "FlatCosine"), ("schedule", "CosineLog"),
                       ("dropout_schedule", "FlatCosine")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} must be '{kind}'"):
            resumed.fit(*data, epochs=4, callbacks=watchers, **{**options, name: None})
    resumed.fit(*data, epochs=4, callbacks=watchers, **options)
    assert (resumed.state.parameters.block == whole.state.parameters.block).all()
    nets = [make(), make()]
    fit_many(nets, *data, epochs=4, **options)
    for net in nets:
        assert (net.state.parameters.block == whole.state.parameters.block).all()


def test_refused_arguments(data):
    net = Network([9, 21, 3], dropout=0.5, activation="tanh", loss="mse", seed=3)
    before = net.copy()
    for options, error, message in (
        ({"decay_schedule": 3}, TypeError, "decay_schedule must be one of cmlp.schedules or"),
        ({"dropout_schedule": "cos"}, ValueError, r"dropout_schedule must be one of .*'cosine'"),
        ({"schedule": "coslog"}, ValueError, "schedule must be one of .*'coslog4'"),
        ({"decay_schedule": "reduce_on_plateau"}, ValueError,
         "decay_schedule must not depend on the results of epochs"),
        ({"dropout_schedule": lambda step, epoch: 2.0}, ValueError,
         r"dropout times the factor of dropout_schedule must be below 1; got 1\.0"),
        ({"dropout_schedule": lambda step, epoch: -1}, ValueError,
         "dropout_schedule must return a factor that is finite and not negative"),
        ({"drop_last": True, "batch_size": 41}, ValueError,
         "batch_size must be at most the number of samples to train on, 40, with drop_last"),
        ({"drop_last": 1}, TypeError, "drop_last must be True or False; got 1"),
        ({"drop_last": True, "shards": 2}, ValueError, "shards and comm do not support drop_last"),
        ({"drop_last": True, "optimizer": LBFGS()}, ValueError, "LBFGS does not support drop_last"),
        ({"decay_schedule": "cosine", "optimizer": LBFGS()}, ValueError,
         "LBFGS supports neither schedules"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            net.fit(*data, **options)
        assert_same_state(net, before)
    with pytest.raises(ValueError, match="drop_last must not be given with an iterable"):
        net.fit([data], drop_last=True)
    with pytest.raises(ValueError, match=r"X must have a length, .* for a schedule"):
        net.fit(lambda: iter([data]), dropout_schedule="flat_cos")
