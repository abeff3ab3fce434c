"""Layers of networks: frozen layers, and networks that consist of other networks' layers."""

import pickle

import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import LBFGS, MLP, SGD, Adam, AdamW, BatchNorm, Lion, Network
from cmlp.callbacks import Checkpoint
from cmlp.layers import Dense, Embedding, OneHot, Periodic, Scale
from cmlp.optimizers import OPTIMIZERS
from cmlp.sklearn import MLPClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 7)) * 2 + 1
Y = (X[:, 0] > 1).astype(int) + (X[:, 1] > 1)


def network(**options):
    defaults = {"activation": ["relu", "prelu", "tanh"], "loss": "cross_entropy", "seed": 0,
                "normalization": ["batch", None, "layer"], "dropout": [0, 0.1, 0]}  # fmt: skip
    return Network([7, 12, 9, 6, 3], **{**defaults, **options})


def list_changed(net, before):
    """Return the numbers of the dense layers of which an array differs from `before`."""
    return {int(key.rsplit("_", 1)[1]) for key, array in net.state.to_arrays().items()
            if not np.array_equal(array, before[key])}  # fmt: skip


def copy_arrays(net):
    return {key: array.copy() for key, array in net.state.to_arrays().items()}


# Frozen layers.


@pytest.mark.parametrize(
    ("layers", "frozen"),
    [(0, [0]), (-1, [3]), (np.int64(1), [1]), ([0, -2], [0, 2]), (range(2), [0, 1]),
     (slice(1, None), [1, 2, 3]), (slice(None, -1), [0, 1, 2]), (np.array([2]), [2]),
     ("hidden", [0, 1, 2])],
    ids=str,
)  # fmt: skip
def test_selection_of_layers(layers, frozen):
    net = network()
    assert net.freeze(layers) is net
    assert net.frozen == frozen
    assert [layer.frozen for layer in net.layers] == [l in frozen for l in range(4)]
    assert net.unfreeze(frozen[0]).frozen == frozen[1:]
    assert net.unfreeze().frozen == []


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [(4, ValueError, "at most 3; got 4"), (-5, ValueError, "at least -4; got -5"),
     ("all", ValueError, "layers must be .*'hidden' or 'input'; got 'all'"),
     ([], ValueError, "at least one layer"), (slice(9, 10), ValueError, "at least one layer"),
     ("input", ValueError, "at least one layer"), (1.0, TypeError, "layers must be"),
     (True, TypeError, "whole number"), ([0.5], TypeError, "whole number"),
     (None, TypeError, "layers must be")],
    ids=str,
)  # fmt: skip
def test_bad_selections_change_nothing(layers, error, message):
    net = network().freeze(1)
    with pytest.raises(error, match=message):
        net.freeze(layers)
    assert net.frozen == [1]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "plain", "average", "lbfgs"])
@pytest.mark.parametrize("layers", [[0, 2], "hidden", [1, 3]], ids=str)
def test_frozen_layers_do_not_change(name, layers):
    net = network()
    net.fit(X, Y, epochs=1)
    net.freeze(layers)
    before = copy_arrays(net)
    optimizer = {"plain": SGD(0.1), "average": Adam(average=0.9, weight_decay=0.1, l1=0.01),
                 "lbfgs": LBFGS(weight_decay=0.01)}.get(name, name)  # fmt: skip
    net.fit(X, Y, epochs=2, batch_size=16, optimizer=optimizer)
    assert list_changed(net, before) == {0, 1, 2, 3} - set(net.frozen)


@pytest.mark.parametrize("optimizer", [SGD(0.05), SGD(0.05, 0.9), AdamW(0.01), Lion()], ids=str)
def test_training_equals_factors_of_zero(optimizer):
    options = {"normalization": None, "dropout": 0.0}
    net, other = network(**options), network(**options)
    net.freeze([0, 2]).fit(X, Y, epochs=3, optimizer=optimizer)
    own = {name: value for name, value in vars(optimizer).items() if value is not None}
    own["lr_factors"] = {"layer_0": 0, "layer_2": 0}
    other.fit(X, Y, epochs=3, optimizer=type(optimizer)(**own))
    if optimizer == SGD(0.05):  # "descent" instead of "momentum"
        np.testing.assert_allclose(net(X), other(X), atol=1e-6)
    else:
        assert_same_state(net, other)
    sharded = network(**options).freeze([0, 2])
    before = copy_arrays(sharded)
    sharded.fit(X, Y, epochs=1, optimizer=optimizer, shards=2)
    assert list_changed(sharded, before) == {1, 3}


def test_all_training_methods_respect_frozen_layers():
    net = Network([7, 5, 4, 2], activation="tanh", seed=0).freeze(1)
    before, pairs = copy_arrays(net), [(x, np.eye(2)[y % 2]) for x, y in zip(X, Y, strict=True)]
    net.update_mini_batch(pairs[:4], 0.5)
    assert list_changed(net, before) == {0, 2}
    for optimizer in (SGD(0.1), Adam(), None):
        before = copy_arrays(net)
        net.apply(net.gradient(X, Y % 2), optimizer)
        assert list_changed(net, before) == {0, 2}
    net.unfreeze().freeze("hidden")
    before = copy_arrays(net)
    net.apply(net.gradient(X, Y % 2))  # with the optimizer of the last call
    net.partial_fit(X, Y % 2)
    assert list_changed(net, before) == {2}
    mlp = MLP([7, 4, 2]).freeze(0)
    before = copy_arrays(mlp)
    mlp.train(pairs, 1, 10, 0.1)
    assert list_changed(mlp, before) == {1}


def test_a_network_without_trained_layers_is_not_trained():
    net = network().freeze(slice(None))
    before = copy_arrays(net)
    pairs = [(X[0], np.eye(3)[0])]
    for call in (
        lambda: net.fit(X, Y), lambda: net.fit(X, Y, optimizer=LBFGS()),
        lambda: net.partial_fit(X, Y, optimizer=SGD()), lambda: net.apply(net.gradient(X, Y)),
        lambda: net.update_mini_batch(pairs, 0.1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must have a layer that is not frozen"):
            call()
    assert list_changed(net, before) == set()


@pytest.mark.parametrize("optimizer", [SGD(0.05, dampening=0.5), Adam(0.01)], ids=str)
def test_partial_fit_continues_when_layers_are_frozen(tmp_path, optimizer):
    net = network(normalization=None)
    net.partial_fit(X, Y, optimizer=optimizer)
    state = net.state.optimizer
    net.freeze("hidden")
    before = copy_arrays(net)
    net.partial_fit(X, Y)
    assert net.state.optimizer is state
    assert list_changed(net, before) == {3}
    net.unfreeze()
    net.save(tmp_path / "net.npz", optimizer=True)  # with fewer frozen layers than in training
    before, twins = copy_arrays(net), [pickle.loads(pickle.dumps(net)), net.copy()]
    twins.append(Network.load(tmp_path / "net.npz"))
    net.partial_fit(X, Y)
    assert list_changed(net, before) == {0, 1, 2, 3}
    for twin in twins:
        twin.partial_fit(X, Y)
        assert_same_state(net, twin)


def test_files_copies_and_checkpoints_have_the_frozen_layers(tmp_path):
    net = network(dtype="float64").freeze([0, 2])
    net.partial_fit(X, Y, optimizer=SGD(0.1))
    twins = [net.copy(), pickle.loads(pickle.dumps(net))]
    for name, options in (("a.npz", {}), ("b.npz", {"optimizer": True}), ("c.safetensors", {})):
        net.save(tmp_path / name, **options)
        twins.append(Network.load(tmp_path / name))
    for twin in twins:
        assert twin.frozen == [0, 2]
        assert_same_state(net, twin)
        before = copy_arrays(twin)
        twin.partial_fit(X, Y)
        assert list_changed(twin, before) == {1, 3}
    with_state = [twins[0], twins[1], twins[3]]
    assert_same_state(with_state[0], with_state[1])
    assert_same_state(with_state[0], with_state[2])


def test_a_resumed_run_has_the_frozen_layers(tmp_path):
    path, stops = tmp_path / "run.npz", [True, False]

    def stop(network, epoch, record):
        if epoch == 1 and stops.pop(0):
            raise RuntimeError("stop")

    options = {"epochs": 4, "optimizer": SGD(0.1), "callbacks": [Checkpoint(path), stop]}
    whole = network().freeze("hidden")
    with pytest.raises(RuntimeError, match="stop"):
        whole.copy().fit(X, Y, **options)
    resumed = Network.resume(path)
    assert resumed.frozen == [0, 1, 2]
    with pytest.raises(ValueError, match="frozen layers that it has"):
        resumed.unfreeze()
    resumed.fit(X, Y, **options)
    whole.fit(X, Y, **{**options, "callbacks": ()})
    assert_same_state(resumed, whole)


def test_a_callback_may_unfreeze_layers():
    frozen = []

    def unfreeze(network, epoch, record):
        frozen.append(network.frozen)
        if network.frozen:
            network.unfreeze(network.frozen[-1])

    net = network().freeze("hidden")
    before = copy_arrays(net)
    net.fit(X, Y, epochs=1, callbacks=unfreeze)
    assert list_changed(net, before) == {3}
    before = copy_arrays(net)
    net.fit(X, Y, epochs=2, callbacks=unfreeze)
    assert frozen == [[0, 1, 2], [0, 1], [0]]
    assert list_changed(net, before) == {1, 2, 3}


def test_input_layers():
    codes = np.c_[X, RNG.integers(0, 4, (90, 2))]
    layers = [Embedding([7], [3], dim=2), OneHot([9], [3]), Periodic([0], frequencies=3, outputs=2),
              Scale()]  # fmt: skip
    net = Network([9, 6, 5, 2], input_layers=layers, loss="mse", activation="relu", seed=0)
    keys = {"embedding_0", "frequency_0", "phase_0", "periodic_weight_0", "periodic_bias_0",
            "input_scale_0"}  # fmt: skip

    def train(net):
        before = copy_arrays(net)
        net.fit(codes, codes[:, :2], epochs=1)
        return {k for k, array in net.state.to_arrays().items() if (array != before[k]).any()}

    hidden = {"weight_0", "bias_0", "weight_1", "bias_1"}
    assert [layer.frozen for layer in net.freeze("input").input_layers] == [True, False, True, True]
    assert train(net) == hidden | {"weight_2", "bias_2"}
    assert train(net.unfreeze().freeze("hidden")) == {"weight_2", "bias_2"}
    assert train(net.unfreeze(slice(None))) == hidden | {"weight_2", "bias_2"}
    assert train(net.unfreeze()) == keys | hidden | {"weight_2", "bias_2"}
    head = Network.from_layers([*net.input_layers, *net.layers[:1], Dense(4, "identity")])
    assert head.size == [9, 6, 4]
    np.testing.assert_array_equal(head.transform(codes, layer=0), net.transform(codes, layer=0))
    frozen = Network([2, 3, 1], input_layers=[Scale(frozen=True)], loss="mse", seed=0)
    assert frozen.input_layers[0].frozen


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("batch_size", [1, 7, 64, 300])
@pytest.mark.parametrize("layers", [[0, 1], [1], 0], ids=repr)
def test_frozen_batch_normalization_uses_running_statistics(layers, batch_size):
    rng = np.random.default_rng(0)
    X, y = rng.normal(2, 3, size=(300, 7)), rng.integers(0, 3, 300)
    net = Network([7, 40, 20, 3], activation="tanh", loss="cross_entropy", dtype="float64", seed=0,
                  normalization=["batch", "batch"] if layers == [0, 1] else
                  [None, "batch"] if layers == [1] else ["batch", None])  # fmt: skip
    net.fit(X[:100] / 2, y[:100], epochs=2, optimizer=Adam(0.01))
    folded = net.fold_batch_norm()
    before = net.state.statistics.block.copy()
    for each in (net, folded):
        each.freeze(layers)
        each.fit(X, y, epochs=3, batch_size=batch_size, optimizer=SGD(0.01), threads=3)
    assert (net.state.statistics.block == before).all()
    np.testing.assert_allclose(net(X), folded(X), rtol=1e-9, atol=1e-11)
    trained = [l for l in range(3) if l not in net.frozen]
    for l in trained:
        np.testing.assert_allclose(net.weight[l], folded.weight[l], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        net.gradient(X, y).weight[trained[0]], folded.gradient(X, y).weight[trained[0]],
        rtol=1e-9, atol=1e-12,
    )  # fmt: skip
    copies = [net.copy(), net.copy()]
    for each, threads in zip(copies, (1, 3), strict=True):
        each.fit(X, y, batch_size=batch_size, epochs=2, threads=threads)
    assert (copies[0].state.parameters.block == copies[1].state.parameters.block).all()


@pytest.mark.usefixtures("many_threads")
def test_gradients_of_frozen_batch_normalization():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 30)), rng.integers(0, 3, 40)
    net = Network([30, 60, 50, 3], activation="tanh", loss="cross_entropy", dtype="float64",
                  normalization="batch", seed=0)  # fmt: skip
    net.fit(X, y, epochs=2, optimizer=Adam(0.01))
    net.vjp(X * np.nan, np.ones((40, 3)), threads=1)  # leaves NaN in buffers
    net.freeze([0])
    gradients = [net.gradient(X, y, threads=threads) for threads in (1, 3)]
    assert (gradients[0].tensors.block == gradients[1].tensors.block).all()
    for name, view in gradients[0].to_dict().items():
        parameter, index = net.state.to_arrays()[name], tuple(size // 2 for size in view.shape)
        before, values = parameter[index], []
        for step in (1e-6, -1e-6):
            parameter[index] = before + step
            values.append(net.gradient(X, y).loss)
        parameter[index] = before
        assert view[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-8)
    net.fit(X, y, epochs=2, optimizer=LBFGS())


@pytest.mark.parametrize("shards", [1, 4])
def test_frozen_batch_normalization_on_shards(shards):
    net = Network([7, 12, 3], loss="cross_entropy", normalization="batch", dtype="float64", seed=0)
    with pytest.raises(ValueError, match="do not support normalization='batch'"):
        net.fit(X, Y, shards=shards)
    net.fit(X, Y, epochs=2)
    folded = net.fold_batch_norm().freeze(0)
    net.freeze(0)
    for each in net, folded:
        each.fit(X, Y, epochs=2, shards=shards, optimizer=SGD(0.1))
    np.testing.assert_allclose(net.weight[1], folded.weight[1], rtol=1e-10)


def test_a_layer_that_is_frozen_has_the_averages_that_predictions_use():
    net = Network([7, 12, 3], loss="cross_entropy", dtype="float64", seed=0)
    optimizer = Adam(0.05, average=0.9)
    for _ in range(3):
        net.partial_fit(X, Y, optimizer=optimizer)
    net.freeze(0)
    before = net.weight[0].copy()
    seen = []
    net.partial_fit(X, Y, optimizer=optimizer, metrics=[])
    net.fit(X, Y, epochs=2, optimizer=optimizer,
            callbacks=lambda network, *_: seen.append(network.weight[0].copy()))  # fmt: skip
    for weight in (*seen, net.weight[0]):
        np.testing.assert_array_equal(weight, before)


def test_errors_leave_the_network_as_it_is():
    net = Network([7, 12, 3], loss="cross_entropy", seed=0)
    net.partial_fit(X, Y, optimizer="adam")
    optimizer, epoch, gradient = net.state.optimizer, net.state.epoch, net.gradient(X, Y)
    net.freeze(slice(None))
    for call in (lambda: net.apply(gradient, SGD(0.1)),
                 lambda: net.partial_fit(X, Y, optimizer=SGD(0.1)),
                 lambda: net.update_mini_batch([(X[0], 1)], 0.1)):  # fmt: skip
        with pytest.raises(ValueError, match="must have a layer that is not frozen"):
            call()
        assert (net.state.optimizer, net.state.epoch) == (optimizer, epoch)
    with pytest.raises(ValueError, match="must not be frozen"):
        net.initialize(X)


def test_frozen_layers_of_an_estimator():
    estimator = MLPClassifier((6, 5), batch_norm=True, max_iter=3, random_state=0, warm_start=True,
                              n_iter_no_change=50)  # fmt: skip
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(X, Y)
    net = estimator.network_.freeze(0)
    before = copy_arrays(net)
    estimator.partial_fit(X, Y)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(X, Y)
    assert estimator.network_ is net
    assert list_changed(net, before) == {1, 2}


def test_frozen_layers_of_a_module_of_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    module = network(normalization=["batch", None, None]).freeze([0, -1]).to_torch()
    names = {name.split(".")[0] for name, p in module.named_parameters() if not p.requires_grad}
    assert names == {"0", "1", str(len(module) - 2)}


def test_repr_and_summary(capsys):
    net = network().freeze(0)
    assert repr(net.layers[0]) == "<Dense 7 -> 12, relu, BatchNorm(), frozen>"
    assert repr(net.layers[1]) == "<Dense 12 -> 9, prelu, dropout=0.1>"
    net.summary()
    assert [line.endswith("frozen") for line in capsys.readouterr().out.splitlines()[1:5]] == [
        True, False, False, False,
    ]  # fmt: skip
    with pytest.raises(AttributeError, match="use freeze and unfreeze"):
        net.frozen = [1]


# Networks of given layers.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_all_layers_is_a_copy(dtype):
    net = network(dtype=dtype, input_noise=0.1, input_dropout=0.2, max_norm=2.0,
                  normalization=["batch", BatchNorm(0.2, 1e-3), "layer"])  # fmt: skip
    net.fit(X, Y, epochs=2)
    net.freeze(1)
    twin = Network.from_layers([*net.input_layers, *net.layers], seed=0)
    assert str(twin) == str(net)
    assert twin.state.architecture.layers == net.state.architecture.layers
    assert (twin.task, twin.loss, twin.frozen) == (net.task, net.loss, [1])
    assert_same_state(twin, net)
    twin.weight[0][:] = 0
    assert net.weight[0].any()


def test_transfer_learning():
    net = Network([7, 20, 10, 3], activation="relu", loss="cross_entropy", normalization="batch",
                  seed=0)  # fmt: skip
    net.fit(X, Y, epochs=3)
    folded = net.fold_batch_norm()
    assert folded.state.architecture.options == {}
    np.testing.assert_allclose(folded(X), net(X), atol=1e-6)
    other = Network.from_layers([*folded.layers[:2], Dense(8, "gelu", "layer", 0.1),
                                 Dense(1, "sigmoid")], seed=3)  # fmt: skip
    assert other.size == [7, 20, 10, 8, 1]
    assert (other.loss, other.output) == ("binary_cross_entropy", "sigmoid")
    features = folded.transform(X, layer=1)
    np.testing.assert_array_equal(other.transform(X, layer=1), features)
    other.freeze([0, 1]).fit(X, Y > 0, epochs=60, batch_size=16, optimizer=Adam(0.01))
    np.testing.assert_array_equal(other.transform(X, layer=1), features)
    assert other.score(X, Y > 0) > 0.9
    again = Network.from_layers([Dense(7, "tanh"), *net.layers], inputs=4, seed=0)
    assert again.size == [4, 7, 20, 10, 3]
    assert again.loss == "cross_entropy"


def test_dtypes_and_arguments_of_networks_of_layers():
    single, double = network(), network(dtype="float64")
    assert Network.from_layers(double.layers).dtype == np.float64
    assert Network.from_layers(double.layers, dtype="float32").dtype == np.float32
    mixed = [*single.layers[:2], *double.layers[2:]]
    assert Network.from_layers(mixed, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="dtype must be given for layers of float32 and float64"):
        Network.from_layers(mixed)
    net = Network.from_layers([Dense(2, "identity")], inputs=3, init="zeros", loss="huber", seed=1)
    assert (net.loss, net.seed, net.dtype) == ("huber", 1, np.float32)
    assert not net.weight[0].any()
    rounded = Network([70, 64, 64, 3], compute_dtype="bfloat16", seed=0)
    assert Network.from_layers(rounded.layers).compute_dtype == "bfloat16"
    assert Network.from_layers(rounded.layers, compute_dtype="float32").compute_dtype == "float32"
    assert Network.from_layers(rounded.layers, dtype="float64").compute_dtype == "float64"
    assert type(MLP.from_layers(net.layers)) is Network
    multilabel = network(loss="binary_cross_entropy")
    multilabel.task = "multilabel"
    assert Network.from_layers(multilabel.layers).task == "multilabel"


@pytest.mark.parametrize(
    ("layers", "options", "error", "message"),
    [
        (lambda net: net.layers[::2], {}, ValueError,
         r"layers\[1\], <Dense 9 -> 6, tanh.*>, must read the 12 outputs of layers\[0\], "
         r"<Dense 7 -> 12, relu.*>; it reads 9"),
        (lambda net: [Dense(8, "relu"), *net.layers], {"inputs": 7}, ValueError, "it reads 7"),
        (lambda net: [], {}, ValueError, "at least one layer"),
        (lambda net: net, {}, TypeError, "layers must be a sequence of layers"),
        (lambda net: [*net.layers, "softmax"], {}, TypeError, r"layers\[4\] must be a layer"),
        (lambda net: [net.weight[0]], {}, TypeError, r"layers\[0\] must be a layer"),
        (lambda net: [Dense(2, "relu")], {}, ValueError, "inputs must be a whole number"),
        (lambda net: [Dense(2, "relu")], {"inputs": 0}, ValueError, "inputs must be at least 1"),
        (lambda net: net.layers, {"inputs": 9}, ValueError, r"inputs must be 7, .*got 9"),
        (lambda net: [*net.layers, Dense(2, "relu")], {}, ValueError,
         r"layers\[3\], <Dense 6 -> 3, softmax>, must be the last"),
        (lambda net: net.layers[:1], {}, ValueError, "neither normalization nor dropout"),
        (lambda net: [net.layers[0], Scale(), Dense(2, "relu")], {}, ValueError, "in this order"),
        (lambda net: net.layers, {"loss": "hinge"}, ValueError, "output must be one of"),
        (lambda net: [OneHot([7], [2]), Dense(2, "relu")], {"inputs": 7}, ValueError, "below 7"),
        (lambda net: [OneHot([0], [2])], {"inputs": 7}, ValueError, "at least one dense layer"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused(layers, options, error, message):
    with pytest.raises(error, match=message):
        Network.from_layers(layers(network()), **options)


def test_dense_takes_names():
    assert Dense(3, "relu") == network().layers[0].specification.__class__(3, "relu")
    assert Dense(3, "relu", "batch").normalization == BatchNorm()
    for bad in ({"activation": "rely"}, {"normalization": "bacth"}, {"frozen": 1}, {"units": 0}):
        with pytest.raises((TypeError, ValueError)):
            Dense(**{"units": 3, "activation": "relu", **bad})
