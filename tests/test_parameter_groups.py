"""Factors of the learning rate and of decay, frozen layers, and the NTK parametrization."""

import numpy as np
import oracle
import pytest
from conftest import assert_same_state
from test_optimizer_options import check, network, steps

from cmlp import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Network,
    RMSprop,
    callbacks,
    fit_many,
)

LR_FACTORS = {"bias": 0.1, "layer_1": 3.0, "weight_0": 0.5}
DECAY_FACTORS = {"bias": 0.0, "weight_1": 2.0}
# Of the two weights and the two biases.
RATES, DECAYS = (0.5, 3.0, 0.1, 0.3), (1.0, 2.0, 0.0, 0.0)
OPTIMIZERS = [
    SGD(0.1, 0.9, weight_decay=0.02), SGD(0.1, weight_decay=0.02), Adam(weight_decay=0.1),
    Adam(amsgrad=True), AdamW(0.01), AdamW(0.01, amsgrad=True), NAdam(weight_decay=0.1),
    RMSprop(weight_decay=0.1, momentum=0.5, centered=True), Adagrad(weight_decay=0.1),
    Adadelta(weight_decay=0.1), Lion(1e-3, weight_decay=0.5),
]  # fmt: skip


def change(optimizer, **options):
    own = {name: value for name, value in vars(optimizer).items() if value is not None}
    return type(optimizer)(**{**own, **options})


def own_arguments(optimizer):
    common = {"l1", "decay_bias", "accumulate", "lr_factors", "decay_factors", "parametrization"}
    return {n: v for n, v in vars(optimizer).items() if n not in common and v is not None}


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 9)), rng.random((40, 3))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_factors(data, optimizer, batch_size):
    arguments = own_arguments(optimizer)
    lr, decay = arguments.pop("lr"), arguments.pop("weight_decay")
    make = oracle.OPTIMIZERS[type(optimizer).__name__.lower()]
    net, updates = network(), None
    for parameters, nablas in steps(net, *data, batch_size, 2):
        updates = updates or [
            make(p, lr=lr * rate, weight_decay=decay * factor, **arguments)
            for p, rate, factor in zip(parameters, RATES, DECAYS, strict=True)
        ]
        for update, g in zip(updates, nablas, strict=True):
            update(g)
    net.fit(*data, epochs=2, batch_size=batch_size, shuffle=False,
            optimizer=change(optimizer, lr_factors=LR_FACTORS, decay_factors=DECAY_FACTORS),
            )  # fmt: skip
    check(net, parameters)


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if type(o) is not Adadelta], ids=str)
def test_ntk_is_the_optimizer_of_scaled_parameters(data, optimizer):
    """With V = sqrt(n) W, the gradient of V is that of W divided by sqrt(n)."""
    arguments = own_arguments(optimizer)
    net, updates, roots = network(), None, (3.0, np.sqrt(21), 1.0, 1.0)
    make = oracle.OPTIMIZERS[type(optimizer).__name__.lower()]
    for parameters, nablas in steps(net, *data, 8, 3):
        if updates is None:
            scaled = [p * root for p, root in zip(parameters, roots, strict=True)]
            updates = [make(v, **arguments) for v in scaled]
        for update, g, v, p, root in zip(updates, nablas, scaled, parameters, roots, strict=True):
            update(g / root)
            p[:] = v / root
    net.fit(*data, epochs=3, batch_size=8, shuffle=False,
            optimizer=change(optimizer, parametrization="ntk"))  # fmt: skip
    check(net, parameters)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("batch_size", [1, 4, 200])
@pytest.mark.parametrize("frozen", ["weight_0", "layer_0", "bias", "layer_2", "weight"])
@pytest.mark.parametrize("options", [{}, {"normalization": "layer", "max_norm": 0.5},
                                     {"compute_dtype": "bfloat16"}], ids=str)  # fmt: skip
def test_frozen_parameters(rng, batch_size, frozen, options):
    """Frozen arrays stay as they are, and the others are trained as without frozen ones."""
    X, y = rng.normal(size=(200, 150)), rng.normal(size=(200, 3))
    optimizer = AdamW(1e-3, weight_decay=0.1, lr_factors={frozen: 0})
    nets = []
    for threads, shards in ((1, None), (2, None), (3, None), (1, 4), (2, 4)):
        net = Network([150, 130, 140, 3], activation="parametric_mish", loss="mse", seed=0,
                      **options)  # fmt: skip
        before = {key: array.copy() for key, array in net.state.to_arrays().items()}
        net.fit(X, y, epochs=1, batch_size=batch_size if shards is None else 8, threads=threads,
                optimizer=optimizer, shards=shards)  # fmt: skip
        nets.append(net)
        for key, array in net.state.to_arrays().items():
            name, layer = key.rsplit("_", 1)
            is_frozen = frozen in (key, name, f"layer_{layer}")
            assert (array == before[key]).all() == is_frozen, key
    assert_same_state(nets[0], nets[1])
    assert_same_state(nets[0], nets[2])
    assert_same_state(nets[3], nets[4])


def test_a_frozen_layer_is_a_fixed_feature_map(data):
    """Training above a frozen layer equals training on the layer's outputs."""
    X, y = data
    net = Network([9, 21, 14, 3], activation="tanh", loss="mse", dtype="float64", seed=3)
    upper = Network([21, 14, 3], activation="tanh", loss="mse", dtype="float64", seed=3)
    for l in range(2):
        upper.weight[l], upper.bias[l] = net.weight[l + 1], net.bias[l + 1]
    features = np.tanh(X @ net.weight[0].T + net.bias[0].T)
    optimizer = Adam(0.01, lr_factors={"layer_0": 0})
    net.fit(X, y, epochs=3, batch_size=10, optimizer=optimizer, shuffle=False)
    upper.fit(features, y, epochs=3, batch_size=10, optimizer=Adam(0.01), shuffle=False)
    for l in range(2):
        np.testing.assert_allclose(net.weight[l + 1], upper.weight[l], atol=1e-12)


def test_the_norm_of_the_gradient_leaves_out_frozen_parameters(data):
    X, y = data
    clipped, scaled = network(), network()
    frozen = {"weight_0": 0, "bias": 0}
    clipped.fit(
        X, y, epochs=1, batch_size=40, optimizer=SGD(1.0, clip_norm=1e-3, lr_factors=frozen)
    )
    assert np.linalg.norm(clipped.weight[1] - scaled.weight[1]) == pytest.approx(1e-3, rel=1e-9)


def test_everything_frozen(data):
    net = network()
    before = net.copy()
    history = net.fit(*data, epochs=2, optimizer=Adam(lr_factors={"layer_0": 0, "layer_1": 0}))
    assert (net.state.parameters.block == before.state.parameters.block).all()
    assert history["loss"][0] == pytest.approx(history["loss"][1])


def test_files_checkpoints_and_fit_many(tmp_path, data):
    optimizer = AdamW(0.01, lr_factors={"bias": 0.5}, decay_factors={"bias": 0.0},
                      parametrization="ntk")  # fmt: skip
    assert optimizer == change(optimizer)
    assert hash(optimizer) == hash(change(optimizer))
    assert "lr_factors={'bias': 0.5}" in repr(optimizer)
    assert "factors" not in repr(Adam())
    whole, path = network(), tmp_path / "run.npz"
    whole.fit(*data, epochs=4, optimizer=optimizer)
    net = network()
    net.fit(*data, epochs=2, optimizer=optimizer, callbacks=callbacks.Checkpoint(path))
    resumed = Network.resume(path)
    with pytest.raises(ValueError, match="optimizer must be"):
        resumed.fit(*data, epochs=4, optimizer=AdamW(0.01))
    resumed.fit(*data, epochs=4, optimizer=optimizer, callbacks=callbacks.Checkpoint(path))
    assert_same_state(resumed, whole)
    nets = [network(), network()]
    fit_many(nets, *data, epochs=4, optimizer=optimizer)
    assert (nets[1].state.parameters.block == whole.state.parameters.block).all()
    net = network()
    net.partial_fit(*data, optimizer=optimizer)
    net.save(tmp_path / "net.npz", optimizer=True)
    loaded = Network.load(tmp_path / "net.npz")
    for each in (net, loaded):
        each.partial_fit(*data, optimizer=change(optimizer))
    assert_same_state(net, loaded)


def test_refused_arguments(data):
    net = network()
    before = net.copy()
    for factors, message in (
        ({"weights": 1}, "lr_factors must have names of weight, layer_0, weight_0, .*'weights'"),
        ({"layer_2": 1}, "lr_factors must have names of .* got 'layer_2'"),
        ({"alpha": 1}, "got 'alpha'"),
    ):
        with pytest.raises(ValueError, match=message):
            net.fit(*data, optimizer=Adam(lr_factors=factors))
    assert_same_state(net, before)
    with pytest.raises(ValueError, match=r"lr_factors\['bias'\] must be .* got -1"):
        Adam(lr_factors={"bias": -1})
    with pytest.raises(TypeError, match="decay_factors must be a dict from names to numbers"):
        Adam(decay_factors=[1])
    with pytest.raises(TypeError, match="decay_factors must have names as keys; got 0"):
        Adam(decay_factors={0: 1})
    with pytest.raises(ValueError, match="parametrization must be one of standard, ntk"):
        Adam(parametrization="mup")
    for optimizer, options in ((Adam, {"penalty": 1}), (SGD, {"clip_norm": 1}),
                               (Lion, {"clip_value": 1}),
                               (Adagrad, {"initial_accumulator_value": 1})):  # fmt: skip
        with pytest.raises(ValueError, match="must not be given with parametrization='ntk'"):
            optimizer(parametrization="ntk", **options)
    with pytest.raises(ValueError, match="must be 'standard' for Adadelta"):
        Adadelta(parametrization="ntk")
    with pytest.raises(TypeError):
        LBFGS(lr_factors={"bias": 1})
