"""Layers of 8-bit integers in ONNX, as pairs of QuantizeLinear and DequantizeLinear (QDQ).

The nodes compute with numbers that integers represent. A runtime that supports it replaces them by
integer products; others compute the same up to float32's rounding of sums, which may change the
integer of an activation by 1.
"""

import numpy as np

from cmlp.formats.onnx_export import ACTIVATION_NODES, add_bytes, add_layer_norm


def add_layers(graph, state, input_dtype):
    """Add the nodes of all layers of a `QuantizedState`; return the name of the outputs."""
    x, inputs = "X", state.layers[0].inputs
    if input_dtype == "uint8" and inputs.takes_bytes:
        x = add_dequantization(graph, x, inputs)
    else:
        if input_dtype == "uint8":
            x = add_bytes(graph, x)
        x = add_rounding(graph, x, inputs)
    for l, layer in enumerate(state.layers):
        if l:
            x = add_rounding(graph, x, layer.inputs)
        x = add_layer(graph, x, layer)
    return x


def add_rounding(graph, x, quantizer):
    """Add the rounding to the numbers that integers represent; return the name of its output."""
    scale = graph.add_constant(quantizer.scale)
    zero_point = graph.add_constant(quantizer.zero_point, np.uint8)
    integers = graph.add_node("QuantizeLinear", x, scale, zero_point)
    return graph.add_node("DequantizeLinear", integers, scale, zero_point)


def add_dequantization(graph, integers, quantizer):
    """Add the conversion of integers to numbers; return the name of its output."""
    return graph.add_node(
        "DequantizeLinear", integers, graph.add_constant(quantizer.scale),
        graph.add_constant(quantizer.zero_point, np.uint8),
    )  # fmt: skip


def add_constant_integers(graph, integers, scale):
    """Add a constant of integers with a scale for each row; return the name of its numbers."""
    return graph.add_node(
        "DequantizeLinear", graph.add_constant(integers, integers.dtype), graph.add_constant(scale),
        graph.add_constant(np.zeros(len(integers)), integers.dtype), axis=0,
    )  # fmt: skip


def add_layer(graph, x, layer):
    """Add the nodes of a `QuantizedLayer`; return the name of its activations."""
    weight = add_constant_integers(graph, layer.weight, layer.weight_scale)
    if layer.normalization is None:
        bias = add_constant_integers(graph, layer.bias, layer.compute_factor())
        z = graph.add_node("Gemm", x, weight, bias, transB=1)
    else:
        norm = layer.normalization
        z = graph.add_node("Gemm", x, weight, transB=1)
        z = add_layer_norm(graph, z, norm.scale, norm.shift, norm.eps)
    return ACTIVATION_NODES[layer.activation.name](graph, z, layer.activation.parameter)
