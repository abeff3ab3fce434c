"""Layer specifications: every kind is checked by being listed in `CASES`."""

import json
import pickle

import numpy as np
import pytest
import scipy.sparse

from cmlp import Adam, BatchNorm, LayerNorm, Network, activations
from cmlp._core import kernels
from cmlp._model.architecture import Architecture
from cmlp._model.layers import LAYERS, Dense, InputDropout, InputNoise, layer_from_header
from cmlp._model.state import ModelState

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
}

# Of each kind: values that a header must not have, and the name in the error.
BAD_VALUES = {
    "dense": [
        ({"units": 0}, "units"), ({"units": 2.5}, "units"), ({"activation": "rlu"}, "activation"),
        ({"dropout": 1.0}, "dropout"), ({"max_norm": -1}, "max_norm"),
        ({"normalization": ["instance"]}, "normalization"), ({"heads": 3}, "heads"),
    ],
    "input_noise": [({"deviation": 0}, "deviation"), ({"deviation": "x"}, "deviation")],
    "input_dropout": [({"rate": 1.0}, "rate"), ({"rate": None}, "rate")],
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
    network.fit(rng.normal(size=(40, 3)), rng.integers(0, 2, 40), epochs=2, optimizer=Adam(0.01))
    return network.state.parameters.block


def test_every_kind_has_cases():
    assert CASES.keys() == BAD_VALUES.keys() == LAYERS.keys()


def test_every_input_layer_is_known_to_the_engine():
    of_python = {kind for kind, layer in LAYERS.items() if layer.is_input_layer}
    assert of_python == set(kernels.INPUT_LAYERS)


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
    assert layer.count_outputs(3) == (layer.units if layer.kind == "dense" else 3)


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
    for name in CASES[kind][0].header.keys() - {"kind"}:
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
        ([Dense(2, RELU), InputNoise(0.1), Dense(2, RELU)], "input layers followed by"),
        ([Dense(2, activations.ACTIVATIONS["softmax"]), Dense(2, RELU)], "softmax"),
        ([Dense(2, RELU, dropout=0.5)], "neither normalization nor dropout"),
        ([Dense(2, RELU, normalization=LayerNorm())], "neither normalization nor dropout"),
        ([Dense(1, activations.ACTIVATIONS["softmax"])], "use two outputs"),
    ],
)
def test_layers_that_do_not_fit_together(layers, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_layers(3, layers, loss="mse", init="auto", dtype="float32", seed=0)


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
    is_dense_only = layer.is_input_layer and not kernels.INPUT_LAYERS[layer.kind].has_sparse_form
    for data in (X, scipy.sparse.csr_array(X)):
        network = Network.from_state(ModelState.initialize(architecture_of(layer)))
        if is_dense_only and data is not X:
            with pytest.raises(ValueError, match=f"X must be dense with {layer.kind}"):
                network.fit(data, y)
            continue
        network.fit(data, y, epochs=2, sparse=data is not X)
        networks.append(network.state.parameters.block)
    assert len(networks) == 2 - is_dense_only
    np.testing.assert_array_equal(networks[0], networks[-1])
