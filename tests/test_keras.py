"""`to_keras` and `from_keras`: every activation, normalization and dtype, there and back."""

import numpy as np
import pytest

from cmlp import BatchNorm, LayerNorm, Network, activations, layers
from cmlp.activations import ACTIVATIONS, PARAMETRIC, celu, elu, leaky_relu

# Keras converts PyTorch's tensors in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::UserWarning")

# Keras multiplies float64 matrices in float32 if its backend is not TensorFlow.
TOLERANCE = 2e-5
HIDDEN = [*(name for name, activation in ACTIVATIONS.items() if activation.hidden), *PARAMETRIC,
          leaky_relu(0.3), elu(0.7), celu(0.6), activations.parametric(celu(0.5))]  # fmt: skip


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="Keras is not installed")


def network(rng, **options):
    """Return a network with values in all of its arrays."""
    net = Network([6, 9, 7, 4], **{"loss": "mse", "output": "identity", "seed": 0, **options})
    for key, array in net.state.to_arrays().items():
        if not key.startswith("weight"):
            array[:] = rng.uniform(0.3, 1.5, array.shape)
    return net


def predict(model, X):
    """Return the outputs; `model.predict` would convert X to keras.config.floatx()."""
    import keras

    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(X), training=False))


def check(net, model, rng):
    X = rng.normal(size=(30, 6)).astype(net.dtype) * 3
    found = predict(model, X)
    assert found.dtype == net.dtype
    np.testing.assert_allclose(found, net(X), atol=TOLERANCE, rtol=1e-5)
    twin = Network.from_keras(model, loss=net.loss)
    assert twin.state.architecture.layers == net.state.architecture.layers
    assert (twin.dtype, twin.output, twin.loss) == (net.dtype, net.output, net.loss)
    for key, array in net.state.to_arrays().items():
        np.testing.assert_array_equal(twin.state.to_arrays()[key], array)


@pytest.mark.parametrize("activation", HIDDEN, ids=str)
def test_activations(keras, rng, activation):
    for dtype in ("float32", "float64"):
        net = network(rng, activation=activation, dtype=dtype)
        check(net, net.to_keras(), rng)


@pytest.mark.parametrize("output", [*ACTIVATIONS], ids=str)
def test_outputs(keras, rng, output):
    loss = "cross_entropy" if output == "softmax" else "mse"
    net = network(rng, output=output, activation="relu", loss=loss)
    check(net, net.to_keras(), rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "normalization",
    ["batch", "layer", ["layer", BatchNorm(0.03, 1e-3)], [None, LayerNorm(1e-2)]], ids=str,
)  # fmt: skip
def test_normalization_noise_and_dropout(keras, rng, dtype, normalization):
    net = network(rng, activation=["gelu_tanh", "prelu"], normalization=normalization, dtype=dtype,
                  dropout=[0.2, 0.1], input_dropout=0.3, input_noise=0.5)  # fmt: skip
    model = net.to_keras()
    names = [type(layer).__name__ for layer in model.layers]
    assert names[:3] == ["GaussianNoise", "Dropout", "Dense"]
    check(net, model, rng)


def test_models_can_be_saved_and_trained(keras, rng, tmp_path):
    net = network(rng, activation=["parametric_mish", celu(0.4)], normalization=["batch", None])
    model, path, X = net.to_keras(), tmp_path / "net.keras", rng.normal(size=(20, 6))
    model.save(path)
    np.testing.assert_array_equal(predict(keras.saving.load_model(path), X), predict(model, X))
    before = net.weight[0].copy()
    model.compile("sgd", "mse")
    model.fit(X, rng.normal(size=(20, 4)), epochs=1, verbose=0)
    assert (net.weight[0] == before).all()
    assert Network.from_keras(model).alpha[0].std() > 0


def test_frozen_layers_are_not_trainable(keras, rng):
    net = network(rng, activation="prelu", normalization=["batch", None]).freeze(0)
    model = net.to_keras()
    assert [layer.trainable for layer in model.layers] == [False] * 3 + [True] * 3
    X = rng.normal(size=(9, 6)).astype(np.float32)
    np.testing.assert_allclose(predict(model, X), net(X), atol=TOLERANCE)


def test_refusals(keras):
    net = Network([3, 4, 1], loss="mse", input_layers=[layers.Scale()], seed=0)
    with pytest.raises(
        ValueError, match=r"to_keras\(\) does not support .*input_layers; got Scale"
    ):
        net.to_keras()
    net = Network([3, 4, 1], loss="mse", seed=0)
    net.weight[1][0, 2] = np.inf
    with pytest.raises(ValueError, match=r"weight\[1\] must be finite"):
        net.to_keras()
    wrong = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2),
                              keras.layers.GaussianNoise(0.1), keras.layers.Dense(1)])  # fmt: skip
    with pytest.raises(ValueError, match=r"layer 1: GaussianNoise .* is not supported"):
        Network.from_keras(wrong)


def test_functional_models_that_are_chains(keras, rng):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, "tanh")(keras.layers.Flatten()(inputs))
    last = keras.layers.Dense(3)
    model = keras.Model(inputs, keras.layers.Softmax()(last(hidden)))
    last(keras.layers.Dense(5)(inputs))  # in another graph
    X = rng.normal(size=(9, 6)).astype(np.float32)
    net = Network.from_keras(model)
    assert net.size == [6, 5, 3]
    np.testing.assert_allclose(predict(model, X), net(X), atol=TOLERANCE)


@pytest.mark.parametrize("name", ["shared", "branches", "inputs", "outputs", "subclass"])
def test_models_that_are_no_chains_are_refused(keras, name):
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

    first, second, dense = keras.Input((4,)), keras.Input((4,)), keras.layers.Dense(4, "relu")
    model = {
        "shared": lambda: keras.Model(first, dense(dense(first))),
        "branches": lambda: keras.Model(first, keras.layers.Add()([dense(first), first])),
        "inputs": lambda: keras.Model([first, second], dense(first + second)),
        "outputs": lambda: keras.Model(first, [dense(first), keras.layers.Dense(2)(first)]),
        "subclass": Subclass,
    }[name]()
    with pytest.raises(ValueError, match=r"model must be a keras\.Sequential, or a functional"):
        Network.from_keras(model)


def test_parts_of_chains_that_are_refused(keras):
    inputs, dense = keras.Input((4,)), keras.layers.Dense(3)
    for model, message in (
        (keras.Model(inputs, keras.ops.relu(dense(inputs))), "layer 2: Relu is an operation"),
        (keras.Model(inputs, keras.layers.Softmax(0)(dense(inputs))),
         "axis of layer 2: Softmax must be 1 or -1, the outputs of each row; got 0"),
        (keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)]),
         "model must be built; layer 0: Dense has no weights: build the model or add an Input"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Network.from_keras(model)
