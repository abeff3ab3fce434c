"""Divergence is reported with epoch and step, in every kind of training."""

import numpy as np
import pytest

from cmlp import LBFGS, SGD, Adam, Model, Network, TrainingDiverged, callbacks


@pytest.fixture
def data(rng):
    return rng.normal(size=(8, 3)), rng.normal(size=8)


def network(**options):
    given = {"activation": "relu", "loss": "mse", "seed": 0}
    return Network([3, 4, 1], **{**given, **options})


# (optimizer, batch size) whose first step makes parameters infinite.
FATAL = [(SGD(1e38), 8), (SGD(1e38, momentum=0.5), 8), (Adam(1e38), 8), (SGD(1e38, average=0.9), 8),
         (SGD(1e38, accumulate=8), 1)]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "batch_size"), FATAL, ids=repr)
@pytest.mark.parametrize("restore_good", [False, True])
def test_the_last_step_of_training(isa, data, optimizer, batch_size, restore_good):
    net, (X, y) = network(), data
    before = net.state.snapshot()
    observed = []
    with pytest.raises(TrainingDiverged, match="loss or a parameter is not finite") as caught:
        net.fit(X * 1e3, y * 1e3, epochs=1, batch_size=batch_size, optimizer=optimizer,
                restore_good=restore_good, callbacks=lambda *_: observed.append(1))  # fmt: skip
    assert (caught.value.epoch, caught.value.step) == (0, 8 // batch_size - 1)
    assert np.isfinite(net.state.parameters.block).all() == restore_good
    if restore_good:
        assert (net.state.parameters.block == before[0]).all()
    assert observed == []  # no callback is called with such a network


@pytest.mark.parametrize("epochs", [2, 5])
def test_the_last_step_of_an_epoch(data, epochs):
    # The schedule makes the last step of the second epoch fatal.
    kept = []
    net = network()
    with pytest.raises(TrainingDiverged) as caught:
        net.fit(*data, epochs=epochs, batch_size=3, optimizer=SGD(1e-3), restore_good=True,
                schedule=lambda step, _: 1e45 if step == 5 else 1.0,
                callbacks=lambda net, *_: kept.append(net.state.snapshot()))  # fmt: skip
    assert (caught.value.epoch, caught.value.step) == (1, 2)
    assert len(kept) == 1
    assert (net.state.parameters.block == kept[0][0]).all()


def test_batches_of_an_iterable(data):
    batches = [data, (data[0] * 1e3, data[1] * 1e3)]
    with pytest.raises(TrainingDiverged) as caught:
        network().fit(batches, optimizer=SGD(1e34), epochs=1)
    assert (caught.value.epoch, caught.value.step) == (0, 1)


@pytest.mark.parametrize("fatal", [0, 1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_the_gradient_of_a_callable(data, fatal, value):
    # The loss that it returns is finite in every call.
    calls = []

    def loss(outputs, _):
        calls.append(len(calls))
        return 1.0, np.full(outputs.shape, value if calls[-1] == fatal else 0.1)

    net = network(loss=loss)
    with pytest.raises(TrainingDiverged) as caught:
        net.fit(*data, epochs=1, batch_size=2)
    assert (caught.value.epoch, caught.value.step) == (0, fatal)
    assert len(calls) == fatal + 1


def test_running_statistics(data):
    # The variance of the pre-activations overflows float32; the outputs and the loss do not.
    X, y = data
    net = network(normalization="batch", activation="tanh")
    with pytest.raises(TrainingDiverged) as caught:
        net.fit(X * 1e25, y, epochs=1, batch_size=4)
    assert (caught.value.epoch, caught.value.step) == (0, 1)


@pytest.mark.parametrize("scale", [1e20, 1e30])
def test_lbfgs(data, scale):
    net, (X, y) = network(), data
    with pytest.raises(TrainingDiverged) as caught:
        net.fit(X * scale, y, epochs=3, optimizer=LBFGS())
    assert (caught.value.epoch, caught.value.step) == (0, 0)


def test_methods_of_the_reference(data, capsys):
    pairs = [(x * 1e3, y * 1e3) for x, y in zip(*data, strict=True)]
    with pytest.raises(TrainingDiverged, match="in epoch 0, step 0"):
        network().update_mini_batch(pairs, 1e38)
    with pytest.raises(TrainingDiverged, match="in epoch 0, step 0"):
        network().train(pairs, 1, 8, 1e38)
    model = Model(3, 4, 2)
    with pytest.raises(TrainingDiverged, match="in epoch 0, step"):
        model.train(data[0] * 1e30, np.eye(2)[np.arange(8) % 2], 2, 1e30)


@pytest.mark.parametrize("limit", [1.0, 1e-3])
def test_a_gradient_whose_squares_overflow_is_clipped(isa, data, limit):
    # The squares of elements above 1.8e19 overflow float32; the norm is scaled all the same.
    X, y = data[0] * 1e10, data[1] * 1e10
    nets = [network(dtype=dtype) for dtype in ("float32", "float64")]
    for net in nets:
        net.weight[0][:] = nets[0].weight[0]
        net.weight[1][:] = nets[0].weight[1]
    before = nets[0].state.snapshot()[0]
    for net in nets:
        net.fit(X, y, epochs=1, batch_size=8, optimizer=SGD(1.0, clip_norm=limit))
    change = nets[0].state.parameters.block - before
    assert np.sqrt((change.astype(float) ** 2).sum()) == pytest.approx(limit, rel=1e-4)
    for single, double in zip(nets[0].weight, nets[1].weight, strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4 * limit)


def test_a_norm_that_overflows_float64_is_reported(data):
    net = network(dtype="float64", loss="mae", activation="identity")
    with pytest.raises(TrainingDiverged):
        net.fit(data[0] * 1e200, data[1], epochs=1, optimizer=SGD(1.0, clip_norm=1.0))


def test_weights_whose_norm_overflows_do_not_become_zero(isa, data):
    net = network(max_norm=1.0, activation="identity")
    net.weight[0][:] = 1e25
    with pytest.raises(TrainingDiverged):
        net.fit(data[0] * 1e-25, data[1], epochs=1, optimizer=SGD(1e-9))


def test_no_checkpoint_replaces_a_good_one(tmp_path, data):
    path, written = tmp_path / "run.npz", []

    class Recorder(callbacks.Callback):
        wants_batches = True

        def on_batch_end(self, network, epoch, step, loss):
            if path.exists():
                written.append(path.read_bytes())

    net, checkpoint = network(), callbacks.Checkpoint(path, every=1, unit="steps")
    with pytest.raises(TrainingDiverged):
        net.fit(*data, epochs=1, batch_size=2, optimizer=SGD(1e-3),
                schedule=lambda step, _: 1e45 if step == 2 else 1.0,
                callbacks=[Recorder(), checkpoint])  # fmt: skip
    assert path.read_bytes() == written[-1]
    assert np.isfinite(Network.resume(path).weight[0]).all()
