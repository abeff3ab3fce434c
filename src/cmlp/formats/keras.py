"""Keras models: `keras.Sequential` of dense layers. Keras is not imported."""

import numpy as np

from cmlp.activations import ACTIVATIONS, elu, leaky_relu
from cmlp.formats.builder import SequenceBuilder
from cmlp.normalizations import BatchNorm, LayerNorm

# Keras's name of an activation -> cmlp's name, if they differ.
RENAMED = {"linear": "identity", "swish": "silu"}

# Refused although Keras has the same function: version 0.1.0 did not accept it.
REFUSED = ("celu",)

FUNCTIONS = ", ".join(
    name
    for name in (*RENAMED, *ACTIVATIONS)
    if name not in (*REFUSED, *RENAMED.values(), "gelu_tanh")
)

# Layers that do not change a prediction for rows.
IGNORED = ("InputLayer", "Flatten", "Identity")

SUPPORTED = (
    "Dense, BatchNormalization, LayerNormalization, Dropout, Activation, ReLU (without threshold "
    f"and max_value), LeakyReLU, ELU, Softmax, {', '.join(IGNORED)}"
)


def read(model, loss=None):
    """Return the state of a network from a model; see `cmlp.Network.from_keras`.

    Parameters
    ----------
    model : keras.Sequential
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
        If a layer is not supported; the message names it.
    """
    if not hasattr(model, "layers"):
        raise TypeError(f"model must be a keras.Sequential; got {model!r}")
    builder = SequenceBuilder("Dense", "use_bias=False")
    for index, layer in enumerate(model.layers):
        add_layer(builder, index, layer)
    return builder.build(loss)


def add_layer(builder, index, layer):
    """Add a layer to a `SequenceBuilder`; `index` is its position in the model."""
    kind = type(layer).__name__
    label = f"layer {index}: {kind}"
    weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
    if kind == "Dense":
        bias = weights[1] if layer.use_bias else None
        builder.add_dense(weights[0].T, bias, str(layer.dtype))
        activation = convert_function(layer.activation, label)
        if activation.name != "identity":
            builder.add_activation(label, activation)
    elif kind == "BatchNormalization":
        scale, shift = pop_affine(layer, weights)
        normalization = BatchNorm(1 - layer.momentum, layer.epsilon)
        builder.add_batch_norm(label, normalization, scale, shift, *weights)
    elif kind == "LayerNormalization":
        builder.add_layer_norm(label, LayerNorm(layer.epsilon), *pop_affine(layer, weights))
    elif kind == "Dropout":
        builder.add_dropout(float(layer.rate))
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
    if name not in ACTIVATIONS or name in REFUSED:
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
    return ACTIVATIONS["softmax"] if kind == "Softmax" else None
