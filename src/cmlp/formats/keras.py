"""Keras models: chains of dense layers."""

import numpy as np

from cmlp.activations import ACTIVATIONS, celu, elu, leaky_relu, parametric, prelu
from cmlp.formats.builder import SequenceBuilder
from cmlp.formats.finite import check_finite
from cmlp.formats.folding import refuse_encoders
from cmlp.normalizations import BatchNorm, LayerNorm

# Activation -> name of Keras's function; or name of the layer, in keras.layers or `keras_layers`,
# and its argument for the activation's parameter.
LAYERS = {
    "identity": "linear",
    "leaky_relu": ("LeakyReLU", "negative_slope"),
    "elu": ("ELU", "alpha"),
    "celu": ("CELU", "alpha"),
    "gelu_tanh": ("GeluTanh", None),
    **{name: name for name in (
        "sigmoid", "hard_sigmoid", "tanh", "hard_tanh", "relu", "selu", "gelu", "silu", "mish",
        "softplus", "softsign", "softmax",
    )},
}  # fmt: skip

# Keras's name of an activation -> cmlp's name, if they differ.
RENAMED = {"linear": "identity", "swish": "silu"}

FUNCTIONS = ", ".join(
    name for name in (*RENAMED, *ACTIVATIONS) if name not in (*RENAMED.values(), "gelu_tanh")
)

# Layers whose weights a model has only when it is built.
BUILT = ("Dense", "BatchNormalization", "LayerNormalization", "PReLU")

# Layers that do not change a prediction for rows.
IGNORED = ("InputLayer", "Flatten", "Identity")

SUPPORTED = (
    "Dense, BatchNormalization, LayerNormalization, Dropout, GaussianNoise of the inputs, "
    "Activation, ReLU (without threshold and max_value), LeakyReLU, ELU, PReLU, Softmax, "
    f"{', '.join(IGNORED)}"
)


def write(state, target=None):
    """Return a model with the same outputs as the network; see `cmlp.Network.to_keras`.

    Parameters
    ----------
    state : ModelState
    target : None
        Not used.

    Returns
    -------
    keras.Sequential

    Raises
    ------
    ValueError
        If the network has input layers, or a parameter is not finite.
    """
    import keras

    architecture, arrays = state.architecture, state.to_arrays()
    refuse_encoders(architecture, "to_keras()")
    check_finite(arrays, architecture.dtype)
    options = {"dtype": architecture.dtype.name}
    layers, weights = [], []

    def add(layer, *names, trainable=True):
        layer.trainable = trainable
        layers.append(layer)
        weights.append([arrays[name].T if name.startswith("weight") else arrays[name][:, 0]
                        for name in names])  # fmt: skip

    if architecture.input_noise:
        add(keras.layers.GaussianNoise(architecture.input_noise, **options))
    if architecture.input_dropout:
        add(keras.layers.Dropout(architecture.input_dropout, **options))
    for l, layer in enumerate(architecture.dense):
        normalization, trainable = layer.normalization, not layer.frozen
        dense = keras.layers.Dense(layer.units, use_bias=normalization is None, **options)
        names = [f"weight_{l}", *([f"bias_{l}"] if normalization is None else [])]
        add(dense, *names, trainable=trainable)
        names = [f"scale_{l}", f"bias_{l}"]
        if isinstance(normalization, BatchNorm):
            names += [f"running_mean_{l}", f"running_variance_{l}"]
            momentum, eps = 1 - normalization.momentum, normalization.eps
            normalize = keras.layers.BatchNormalization(momentum=momentum, epsilon=eps, **options)
            add(normalize, *names, trainable=trainable)
        elif normalization is not None:
            normalize = keras.layers.LayerNormalization(epsilon=normalization.eps, **options)
            add(normalize, *names, trainable=trainable)
        if layer.activation.name != "identity":
            alpha = [f"alpha_{l}"] if layer.activation.parametric else []
            add(make_activation(layer.activation, options), *alpha, trainable=trainable)
        if layer.dropout:
            add(keras.layers.Dropout(layer.dropout, **options))
    model = keras.Sequential([keras.Input((architecture.inputs,), **options), *layers])
    for layer, values in zip(layers, weights, strict=True):
        if values:
            layer.set_weights([np.array(value) for value in values])
    return model


def make_activation(activation, options):
    """Return the layer of an `Activation`; `options` has the dtype."""
    from keras import layers

    from cmlp.formats import keras_layers

    if activation.name == "prelu":
        return layers.PReLU(**options)
    if activation.base is not None:
        return keras_layers.Parametric(make_activation(activation.base, options), **options)
    entry = LAYERS[activation.name]
    if isinstance(entry, str):
        return layers.Activation(entry, **options)
    name, argument = entry
    kind = getattr(keras_layers, name, None) or getattr(layers, name)
    return kind(**({argument: activation.parameter} if argument else {}), **options)


def read(model, loss=None):
    """Return the state of a network from a model; see `cmlp.Network.from_keras`.

    Parameters
    ----------
    model : keras.Model
        A `keras.Sequential`, or a functional model whose graph is a chain of layers.
    loss : str, Loss or callable, optional
        By default the loss that suits the output activation.

    Returns
    -------
    ModelState

    Raises
    ------
    TypeError
        If `model` has no layers.
    ValueError
        If `model` is not a chain of layers, or a layer is not supported; the message names it.
    """
    if not hasattr(model, "layers"):
        raise TypeError(f"model must be a keras.Sequential; got {model!r}")
    builder = SequenceBuilder("Dense", "use_bias=False")
    for index, layer in enumerate(list_layers(model)):
        add_layer(builder, index, layer)
    return builder.build(loss)


def list_layers(model):
    """Return the layers of a model in the order in which they are computed.

    Raises
    ------
    ValueError
        If they are not a chain of distinct layers with one input and one output.
    """
    kinds = [base.__name__ for base in type(model).__mro__]
    if "Sequential" in kinds:
        return model.layers
    if "Functional" in kinds and len(model.inputs) == len(model.outputs) == 1:
        # The calls of each layer: none of the input, several of a shared layer. A call that joins
        # branches has several tensors.
        nodes = [layer["inbound_nodes"] for layer in model.get_config().get("layers", ())]
        if nodes and all(
            len(calls) <= 1 and str(calls).count("__keras_tensor__") == len(calls)
            for calls in nodes
        ):
            return model.operations  # `model.layers` lacks those that are not layers
    raise ValueError(
        "model must be a keras.Sequential, or a functional model that is a chain of distinct "
        f"layers with one input and one output; got {model!r}"
    )


def add_layer(builder, index, layer):
    """Add a layer to a `SequenceBuilder`; `index` is its position in the model."""
    kind = type(layer).__name__
    label = f"layer {index}: {kind}"
    if not hasattr(layer, "get_weights"):
        raise ValueError(f"{label} is an operation, not a layer; supported layers are {SUPPORTED}")
    if kind in BUILT and not layer.built:
        raise ValueError(
            f"model must be built; {label} has no weights: build the model or add an Input"
        )
    weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
    if kind == "Dense":
        bias = weights[1] if layer.use_bias else None
        builder.add_dense(weights[0].T, bias, str(layer.dtype))
        activation = convert_function(layer.activation, label)
        if activation.name != "identity":
            builder.add_activation(label, activation)
    elif kind == "BatchNormalization":
        scale, shift = pop_affine(layer, weights)
        # Rounded, as 1 - (1 - 0.1) is not 0.1.
        normalization = BatchNorm(round(1 - layer.momentum, 15), layer.epsilon)
        builder.add_batch_norm(label, normalization, scale, shift, *weights)
    elif kind == "LayerNormalization":
        builder.add_layer_norm(label, LayerNorm(layer.epsilon), *pop_affine(layer, weights))
    elif kind == "Dropout":
        builder.add_dropout(float(layer.rate))
    elif kind == "GaussianNoise" and not builder.layers:
        builder.input_noise = float(layer.stddev)
    elif kind == "PReLU":
        builder.add_activation(label, prelu(), weights[0].reshape(-1))
    elif kind == "Parametric" and hasattr(layer, "f"):
        activation = convert_activation_layer(layer.f, label)
        if activation is None:
            raise ValueError(f"{label} with {layer.f!r} is not supported")
        builder.add_activation(label, parametric(activation), weights[0])
    elif (activation := convert_activation_layer(layer, label)) is not None:
        builder.add_activation(label, activation)
    elif kind not in IGNORED:
        raise ValueError(f"{label} {layer.name!r} is not supported; "
                         f"supported layers are {SUPPORTED}")  # fmt: skip


def pop_affine(layer, weights):
    """Remove scale and shift of a normalization from its weights; return them or None for each."""
    scale = weights.pop(0) if layer.scale else None
    shift = weights.pop(0) if layer.center else None
    return scale, shift


def convert_function(function, label):
    """Return the activation of an activation function of Keras."""
    name = getattr(function, "__name__", str(function))
    if name == "leaky_relu":
        return leaky_relu(0.2)  # the function's default
    name = RENAMED.get(name, name)
    if name not in ACTIVATIONS:
        raise ValueError(
            f"{label} with activation {name!r} is not supported; supported activations are "
            f"{FUNCTIONS}"
        )
    if name == "gelu":
        # A model does not store the function's argument `approximate`; the value at 1.5 shows it.
        value = np.asarray(function(np.array([1.5], np.float32)))[0]
        return ACTIVATIONS["gelu" if abs(value - 1.39978919) < 2e-5 else "gelu_tanh"]
    return ACTIVATIONS[name]


def convert_activation_layer(layer, label):
    """Return the activation of an activation layer of Keras, or None for other layers."""
    kind = type(layer).__name__
    if kind == "Activation":
        return convert_function(layer.activation, label)
    if kind == "ReLU" and not layer.threshold and layer.max_value is None:
        slope = float(layer.negative_slope)
        return leaky_relu(slope) if slope else ACTIVATIONS["relu"]
    if kind == "LeakyReLU":
        return leaky_relu(float(layer.negative_slope))
    if kind == "ELU":
        return elu(float(layer.alpha))
    if kind == "CELU" and hasattr(layer, "alpha"):
        return celu(float(layer.alpha))
    if kind == "GeluTanh":
        return ACTIVATIONS["gelu_tanh"]
    if kind == "Softmax" and layer.axis not in (1, -1):
        raise ValueError(
            f"axis of {label} must be 1 or -1, the outputs of each row; got {layer.axis!r}"
        )
    return ACTIVATIONS["softmax"] if kind == "Softmax" else None
