"""Layer specifications: every kind is checked by being listed in `CASES`."""

import json
import pickle
from dataclasses import MISSING, fields

import numpy as np
import pytest
import scipy.sparse

from cmlp import Adam, BatchNorm, LayerNorm, Network, activations
from cmlp._core import kernels
from cmlp._model.architecture import Architecture
from cmlp._model.layers import LAYERS, Dense, Encoder, InputDropout, InputNoise, layer_from_header
from cmlp._model.state import ModelState
from cmlp.layers import Embedding, OneHot, Periodic, Scale

RELU = activations.ACTIVATIONS["relu"]

# Of each kind: specifications that differ in all that a header stores.
CASES = {
    "dense": [
        Dense(5, RELU),
        Dense(5, activations.elu(0.5), dropout=0.25),
        Dense(5, RELU, normalization=BatchNorm(0.2, 1e-3), max_norm=2.0),
        Dense(5, RELU, normalization=LayerNorm(1e-4)),
    ],
    "input_noise": [InputNoise(0.3)],
    "input_dropout": [InputDropout(0.5)],
    "scale": [Scale()],
    "one_hot": [OneHot((1,), (3,)), OneHot((2, 1), (2, 4))],
    "embedding": [Embedding((1, 2), (3, 2), dim=4), Embedding((1,), (3,))],
    "periodic": [
        Periodic(), Periodic((2, 0), frequencies=3, outputs=5, sigma=0.5, type="plr"),
        Periodic(type="pl"), Periodic(type="pblrd"),
    ],
}  # fmt: skip

# Of each kind: values that a header must not have, and the name in the error.
BAD_VALUES = {
    "dense": [
        ({"units": 0}, "units"), ({"units": 2.5}, "units"), ({"activation": "rlu"}, "activation"),
        ({"dropout": 1.0}, "dropout"), ({"max_norm": -1}, "max_norm"),
        ({"normalization": ["instance"]}, "normalization"), ({"heads": 3}, "heads"),
    ],
    "input_noise": [({"deviation": 0}, "deviation"), ({"deviation": "x"}, "deviation")],
    "input_dropout": [({"rate": 1.0}, "rate"), ({"rate": None}, "rate")],
    "scale": [({"columns": [0]}, "columns"), ({"rate": 1}, "rate")],
    "one_hot": [
        ({"columns": [1, 1]}, "columns"), ({"columns": [-1]}, "columns"),
        ({"columns": []}, "columns"), ({"categories": [0]}, "categories"),
        ({"categories": [2, 3]}, "categories"), ({"categories": "3"}, "categories"),
        ({"dim": 3}, "dim"),
    ],
    "embedding": [
        ({"dim": 0}, "dim"), ({"categories": [2]}, "categories"), ({"columns": 1}, "columns"),
    ],
    "periodic": [
        ({"columns": [0, 0]}, "columns"), ({"frequencies": 257}, "frequencies"),
        ({"outputs": 1}, "outputs"), ({"sigma": 0}, "sigma"), ({"type": "pbl"}, "type"),
    ],
}  # fmt: skip

ALL = [pytest.param(layer, id=f"{kind}-{i}")
       for kind, layers in CASES.items() for i, layer in enumerate(layers)]  # fmt: skip


def architecture_of(layer):
    """Return an architecture of 3 inputs that has the layer, and a dense layer at its end."""
    layers = [layer, Dense(2, activations.ACTIVATIONS["softmax"])]
    return Architecture.from_layers(
        3, layers, loss="cross_entropy", init="auto", dtype="float64", seed=0
    )


def trained(network):
    rng = np.random.default_rng(0)
    columns = rng.normal(size=40), rng.integers(0, 4, 40), rng.integers(0, 3, 40)
    X = np.stack(columns, 1).astype(float)
    network.fit(X, rng.integers(0, 2, 40), epochs=2, optimizer=Adam(0.01))
    return network.state.parameters.block


def test_every_kind_has_cases():
    assert CASES.keys() == BAD_VALUES.keys() == LAYERS.keys()


def test_every_input_layer_is_known_to_the_engine():
    of_python = {kind for kind, layer in LAYERS.items() if layer.is_input_layer}
    assert of_python == kernels.INPUT_LAYERS.keys() | kernels.ENCODERS.keys()


@pytest.mark.parametrize("layer", ALL)
def test_a_header_describes_the_layer(layer):
    header = json.loads(json.dumps(layer.header))
    assert header["kind"] == layer.kind
    assert layer_from_header(header) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer


@pytest.mark.parametrize("layer", ALL)
def test_initial_values_have_the_shapes_of_the_tensors(layer):
    shapes = {**layer.tensors(3), **layer.statistics(3)}
    values = layer.draw(np.random.default_rng(0), "auto", 3)
    assert {name: np.shape(value) for name, value in values.items()} == shapes


@pytest.mark.parametrize("layer", ALL)
def test_a_network_with_the_layer_survives_its_header(layer):
    architecture = architecture_of(layer)
    again = Architecture.from_header(json.loads(json.dumps(architecture.header)))
    assert again == architecture
    networks = [Network.from_state(ModelState.initialize(a)) for a in (architecture, again)]
    np.testing.assert_array_equal(*map(trained, networks))


@pytest.mark.parametrize("layer", ALL[1:])
def test_the_layer_changes_training(layer):
    # The first case is the one that the others are compared with.
    plain = CASES["dense"][0] if layer.kind == "dense" else None
    base = architecture_of(plain) if plain else Architecture.from_layers(
        3, [Dense(2, activations.ACTIVATIONS["softmax"])], loss="cross_entropy", init="auto",
        dtype="float64", seed=0,
    )  # fmt: skip
    expected = trained(Network.from_state(ModelState.initialize(base)))
    found = trained(Network.from_state(ModelState.initialize(architecture_of(layer))))
    assert found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values", "name"),
    [(kind, *bad) for kind, all_bad in BAD_VALUES.items() for bad in all_bad],
)
def test_bad_values_are_named(kind, values, name):
    with pytest.raises((TypeError, ValueError), match=name):
        layer_from_header({**CASES[kind][0].header, **values})


@pytest.mark.parametrize("kind", LAYERS)
def test_missing_values_are_named(kind):
    for name in [field.name for field in fields(LAYERS[kind]) if field.default is MISSING]:
        header = {key: value for key, value in CASES[kind][0].header.items() if key != name}
        with pytest.raises(KeyError, match=name):
            layer_from_header(header)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match=r"kind must be one of .*; got 'conv'"):
        layer_from_header({"kind": "conv"})
    with pytest.raises(TypeError, match="a layer must be an object; got 3"):
        layer_from_header(3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one dense layer"),
        ([InputNoise(0.1)], "at least one dense layer"),
        ([Dense(2, RELU), InputNoise(0.1), Dense(2, RELU)], "noise and dropout, encoders"),
        ([Dense(2, activations.ACTIVATIONS["softmax"]), Dense(2, RELU)], "softmax"),
        ([Dense(2, RELU, dropout=0.5)], "neither normalization nor dropout"),
        ([Dense(2, RELU, normalization=LayerNorm())], "neither normalization nor dropout"),
        ([Dense(1, activations.ACTIVATIONS["softmax"])], "use two outputs"),
    ],
)
def test_layers_that_do_not_fit_together(layers, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_layers(3, layers, loss="mse", init="auto", dtype="float32", seed=0)


@pytest.mark.parametrize(
    ("inputs", "layer", "message"),
    [
        (10**9, Scale(), "inputs must be at most 1048576 with input_layers; got 1000000000"),
        (3, OneHot((0,), (2**31 - 1,)), "columns of OneHot must be at most 1048576"),
        (10**6, Periodic(), "columns of Periodic must be at most 1048576"),
        (3, Periodic((3,)), "columns of Periodic must be below 3"),
    ],
)
def test_encoders_that_do_not_fit_the_inputs(inputs, layer, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_layers(
            inputs, [layer, Dense(2, RELU)], loss="mse", init="auto", dtype="float32", seed=0
        )


def test_input_layers_apply_in_their_order():
    orders = [[InputNoise(0.5), InputDropout(0.5)], [InputDropout(0.5), InputNoise(0.5)]]
    blocks = []
    for layers in orders:
        architecture = Architecture.from_layers(
            3, [*layers, Dense(2, activations.ACTIVATIONS["softmax"])], loss="cross_entropy",
            init="auto", dtype="float64", seed=0,
        )  # fmt: skip
        blocks.append(trained(Network.from_state(ModelState.initialize(architecture))))
    assert not np.allclose(*blocks, rtol=1e-6)


@pytest.mark.parametrize("layer", [layer for layers in CASES.values() for layer in layers], ids=str)
def test_sparse_rows_are_trained_like_dense_ones_or_refused(layer):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((40, 3)) < 0.5, rng.normal(size=(40, 3)), 0)
    y, networks = rng.integers(0, 2, 40), []
    if layer.is_input_layer and (
        isinstance(layer, Encoder) or not kernels.INPUT_LAYERS[layer.kind].has_sparse_form
    ):
        network = Network.from_state(ModelState.initialize(architecture_of(layer)))
        with pytest.raises(ValueError, match=f"X must be dense with {layer.kind}"):
            network.fit(scipy.sparse.csr_array(X), y)
        return
    for data in (X, scipy.sparse.csr_array(X)):
        networks.append(Network.from_state(ModelState.initialize(architecture_of(layer))))
        networks[-1].fit(data, y, epochs=2, sparse=data is not X)
    first, second = (network.state.parameters.block for network in networks)
    np.testing.assert_array_equal(first, second)
