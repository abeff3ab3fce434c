"""Activations in float64, by operators that ONNX Runtime computes in float64.

Erf is in float32: the outputs of gelu differ from those in float64 by up to 1e-7 of z.
"""

import numpy as np
from onnx import TensorProto

# Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, section 2: alpha, lambda.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def add_parts(graph, z, add_negative):
    """Add max(z, 0) + f(min(z, 0)), where `add_negative` adds f."""
    zero = graph.add_constant(0.0)
    negative = add_negative(graph.add_node("Min", z, zero))
    return graph.add_node("Add", graph.add_node("Max", z, zero), negative)


def add_exponential(graph, z, alpha, divisor=1.0):
    """Add max(z, 0) + alpha (exp(min(z, 0) / divisor) - 1)."""

    def add_negative(z):
        if divisor != 1:
            z = graph.multiply(z, 1 / divisor)
        power = graph.add_node("Exp", z)
        return graph.multiply(graph.add_node("Sub", power, graph.add_constant(1.0)), alpha)

    return add_parts(graph, z, add_negative)


def add_prelu(graph, z, alpha):
    """Add max(z, 0) + alpha min(z, 0) with a factor, or one for each unit."""
    return add_parts(graph, z, lambda negative: graph.multiply(negative, alpha))


def add_softplus(graph, z, k):
    """Add softplus: max(z, 0) + log(1 + exp(-abs(z)))."""
    power = graph.add_node("Exp", graph.add_node("Neg", graph.add_node("Abs", z)))
    logarithm = graph.add_node("Log", graph.add_node("Add", power, graph.add_constant(1.0)))
    return graph.add_node("Add", graph.add_node("Max", z, graph.add_constant(0.0)), logarithm)


def add_softsign(graph, z, k):
    """Add softsign."""
    size = graph.add_node("Add", graph.add_node("Abs", z), graph.add_constant(1.0))
    return graph.add_node("Div", z, size)


def add_hard_sigmoid(graph, z, k):
    """Add hard_sigmoid."""
    line = graph.add_node("Add", graph.multiply(z, 1 / 6), graph.add_constant(0.5))
    return graph.add_node("Clip", line, graph.add_constant(0.0), graph.add_constant(1.0))


def add_gelu(graph, z, k):
    """Add gelu, with the error function in float32."""
    erf = graph.add_node("Cast", graph.multiply(z, 0.5**0.5), to=TensorProto.FLOAT)
    erf = graph.add_node("Cast", graph.add_node("Erf", erf), to=TensorProto.DOUBLE)
    factor = graph.add_node("Add", erf, graph.add_constant(1.0))
    return graph.add_node("Mul", graph.multiply(z, 0.5), factor)


def add_gelu_tanh(graph, z, k):
    """Add gelu_tanh: z sigmoid(2 sqrt(2/pi) (z + 0.044715 z^3))."""
    cube = graph.add_node("Mul", graph.add_node("Mul", z, z), z)
    polynomial = graph.add_node("Add", z, graph.multiply(cube, 0.044715))
    gate = graph.add_node("Sigmoid", graph.multiply(polynomial, 2 * (2 / np.pi) ** 0.5))
    return graph.add_node("Mul", z, gate)


def add_mish(graph, z, k):
    """Add mish."""
    return graph.add_node("Mul", z, graph.add_node("Tanh", add_softplus(graph, z, k)))


# Activation -> function as in `onnx_export.ACTIVATION_NODES`, where these nodes differ.
DOUBLE_NODES = {
    "hard_sigmoid": add_hard_sigmoid,
    "leaky_relu": add_prelu,
    "elu": add_exponential,
    "selu": lambda graph, z, k: graph.multiply(
        add_exponential(graph, z, SELU_ALPHA), SELU_SCALE
    ),
    "celu": lambda graph, z, k: add_exponential(graph, z, k, k),
    "gelu": add_gelu,
    "gelu_tanh": add_gelu_tanh,
    "mish": add_mish,
    "softplus": add_softplus,
    "softsign": add_softsign,
}  # fmt: skip
