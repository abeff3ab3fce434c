"""Keras's Sequential models of dense layers, read."""

import numpy as np

from cmlp.activations import ACTIVATIONS, elu, leaky_relu
from cmlp.files.layers import usual_loss
from cmlp.files.sequence import Sequence
from cmlp.normalizations import BatchNorm, LayerNorm

# Keras's functions by cmlp's names, where those differ; None: none that a network can have.
FUNCTIONS = {"linear": "identity", "swish": "silu"}

# Layers that do nothing to a prediction of rows.
SILENT = ("InputLayer", "Flatten", "Identity")


def activation_of(function, place):
    """Return the activation of one of Keras's functions."""
    name = getattr(function, "__name__", str(function))
    if name == "leaky_relu":
        return leaky_relu(0.2)
    name = FUNCTIONS.get(name, name)
    if name not in ACTIVATIONS or name == "celu":
        raise ValueError(f"layer {place}: the activation {name!r} is none that a network can have")
    if name == "gelu":
        probe = np.asarray(function(np.array([1.5], np.float32)))[0]
        return ACTIVATIONS["gelu" if abs(probe - 1.39978919) < 2e-5 else "gelu_tanh"]
    return ACTIVATIONS[name]


def activation_of_layer(layer, place):
    """Return the activation of one of Keras's layers, or None where it is none."""
    kind = type(layer).__name__
    if kind == "Activation":
        return activation_of(layer.activation, place)
    if kind == "ReLU" and not layer.threshold and layer.max_value is None:
        slope = float(layer.negative_slope)
        return leaky_relu(slope) if slope else ACTIVATIONS["relu"]
    if kind == "LeakyReLU":
        return leaky_relu(float(layer.negative_slope))
    if kind == "ELU":
        return elu(float(layer.alpha))
    return ACTIVATIONS["softmax"] if kind == "Softmax" else None


def read(model, make, loss):
    """Return the network of a model, made by `make`; see `Network.from_keras`."""
    if not hasattr(model, "layers"):
        raise TypeError(f"model must be a Sequential of Keras's, got {model!r}")
    sequence = Sequence()
    for place, layer in enumerate(model.layers):
        kind = type(layer).__name__
        weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
        if kind == "Dense":
            bias = weights[1] if layer.use_bias else None
            sequence.dense(weights[0].T, bias, str(layer.dtype))
            if (activation := activation_of(layer.activation, place)).name != "identity":
                sequence.activation(place, activation)
        elif kind == "BatchNormalization":
            scale = weights.pop(0) if layer.scale else None
            shift = weights.pop(0) if layer.center else None
            sequence.batch_norm(place, BatchNorm(1 - layer.momentum, layer.epsilon), scale, shift,
                                *weights)  # fmt: skip
        elif kind == "LayerNormalization":
            scale = weights.pop(0) if layer.scale else None
            shift = weights.pop(0) if layer.center else None
            sequence.layer_norm(place, LayerNorm(layer.epsilon), scale, shift)
        elif kind == "Dropout":
            sequence.dropout(place, float(layer.rate))
        elif (activation := activation_of_layer(layer, place)) is not None:
            sequence.activation(place, activation)
        elif kind not in SILENT:
            raise ValueError(
                f"layer {place}, {layer.name} ({kind}), is none that a network can have"
            )
    return sequence.network(make, loss or usual_loss(sequence.output_name))
