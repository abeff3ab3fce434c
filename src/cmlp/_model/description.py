"""Descriptions of the layers of a network, for tables and diagrams."""

from typing import NamedTuple

from cmlp._model.layers import Dense, InputDropout, InputNoise
from cmlp._model.quantized import QuantizedState


class LayerDescription(NamedTuple):
    """A layer of a network in words and numbers.

    Attributes
    ----------
    dense_index : int or None
        Index of a dense layer, as of ``weight[dense_index]``; None for input layers.
    kind : str
        ``"Dense"`` or the class of the input layer.
    inputs, outputs : int
    activation : str
        With its parameter, if that is not the default; empty for input layers.
    normalization : str
        ``"batch"``, ``"layer"``, the repr of one with other parameters, or empty.
    dropout : float
    parameters, nbytes : int
        Number of parameters, without running statistics, and their bytes; those of 8-bit integers
        include the scales of the weights.
    detail : str
        The repr of an input layer, or empty.
    """

    dense_index: int | None
    kind: str
    inputs: int
    outputs: int
    activation: str
    normalization: str
    dropout: float
    parameters: int
    nbytes: int
    detail: str


def describe_layers(state):
    """Return the descriptions of all layers, in their order; a list of LayerDescription.

    Parameters
    ----------
    state : ModelState or QuantizedState
    """
    if isinstance(state, QuantizedState):
        return [describe_quantized(l, layer) for l, layer in enumerate(state.layers)]
    architecture, columns, index, found = state.architecture, state.architecture.inputs, 0, []
    for layer in architecture.layers:
        inputs, columns = columns, layer.count_outputs(columns)
        count = sum(rows * width for rows, width in layer.tensors(inputs).values())
        is_dense = isinstance(layer, Dense)
        found.append(LayerDescription(
            index if is_dense else None, type(layer).__name__, inputs, columns,
            describe_activation(layer.activation) if is_dense else "",
            describe_normalization(layer.normalization) if is_dense else "",
            get_dropout(layer), count, count * architecture.dtype.itemsize,
            "" if is_dense else repr(layer),
        ))  # fmt: skip
        index += is_dense
    return found


def describe_quantized(index, layer):
    """Return the description of a `QuantizedLayer`."""
    arrays = [layer.weight, layer.bias]
    outputs, inputs = layer.weight.shape
    if layer.normalization is not None:
        arrays += [layer.normalization.scale, layer.normalization.shift]
    nbytes = sum(array.nbytes for array in arrays) + layer.weight_scale.nbytes
    return LayerDescription(
        index, "Dense", inputs, outputs, describe_activation(layer.activation),
        "" if layer.normalization is None else "layer", 0.0,
        sum(array.size for array in arrays), nbytes, "",
    )  # fmt: skip


def describe_activation(activation):
    """Return the name of an activation, with its parameter if that is not the default."""
    if isinstance(activation.header, str):
        return activation.name
    return f"{activation.name}({activation.alpha if activation.base else activation.parameter:g})"


def describe_normalization(normalization):
    """Return the name of a normalization, its repr if it is not the default, or an empty string."""
    if normalization is None:
        return ""
    is_default = normalization == type(normalization)()
    return normalization.name if is_default else repr(normalization)


def get_dropout(layer):
    """Return the rate of a layer's dropout."""
    if isinstance(layer, InputDropout):
        return layer.rate
    return layer.dropout if isinstance(layer, Dense) else 0.0


def describe_noise(architecture):
    """Return the noise and the dropout of the network's inputs, a list of str."""
    found = []
    for layer in architecture.layers:
        if isinstance(layer, InputNoise):
            found.append(f"noise {layer.deviation:g}")
        if isinstance(layer, InputDropout):
            found.append(f"dropout {layer.rate:g}")
    return found
