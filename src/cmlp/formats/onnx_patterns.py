"""Activations as patterns of ONNX nodes.

`PATTERNS` lists for each activation how exporters write it: the operator of that name, or several
nodes, as opsets without the operator need them. The patterns are those of PyTorch's two exporters,
skl2onnx, Keras and `onnx_export`, for opsets from 13 on. A model is read by them alone: operators,
attributes and constants must match.

How to add a pattern
--------------------
Add it to the list of its activation. A `Pattern` has an operator, its inputs and its attributes.
An input is `Z`, the pre-activation; a number, a constant that must have this value; another
pattern; or `AnyOf` several. The order of inputs does not matter if the operator is commutative.
"""

import math
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from cmlp.activations import ACTIVATIONS, WITH_PARAMETER
from cmlp.formats.onnx_graph import STANDARD_DOMAINS

COMMUTATIVE = {"Add", "Max", "Min", "Mul"}

# Relative difference of a constant from the pattern's number: it may be rounded to float32.
TOLERANCE = 1e-6

# Default values of the attributes that patterns have.
DEFAULTS: dict[str, dict] = {
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "Gelu": {"approximate": b"none"},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Softmax": {"axis": -1},
    "Swish": {"alpha": 1.0},
}


class Placeholder:
    """An input or attribute of a pattern that is not a number."""


Z = Placeholder()  # the pre-activation
PARAMETER = Placeholder()  # a number: the activation's parameter
UNBOUNDED = Placeholder()  # no upper bound: missing, or a value that no float32 exceeds


class AnyOf(tuple):
    """Alternatives of an input or values of an attribute."""

    __slots__ = ()


@dataclass(frozen=True)
class Pattern:
    """A node.

    Attributes
    ----------
    operator : str
    inputs : tuple
        Of Placeholder, float, Pattern or AnyOf.
    attributes : dict
        From name to float, bytes, Placeholder or AnyOf; the node must have no others.
    """

    operator: str
    inputs: tuple
    attributes: dict = field(default_factory=dict)


def node(operator, *inputs, **attributes):
    """Return a `Pattern`."""
    return Pattern(operator, inputs, attributes)


def multiply(*factors):
    """Return the alternatives for a product of three factors by two nodes."""
    return AnyOf(
        node("Mul", factor, node("Mul", *(other for other in factors if other is not factor)))
        for factor in factors
    )


SIGMOID = AnyOf((
    node("Sigmoid", Z),
    node("Reciprocal", node("Add", 1.0, node("Exp", node("Neg", Z)))),
    node("Div", 1.0, node("Add", 1.0, node("Exp", node("Neg", Z)))),
))  # fmt: skip

SOFTPLUS = AnyOf((
    node("Softplus", Z),
    # PyTorch's threshold, beyond which softplus(z) = z in float32
    node("Where", node("Greater", Z, 20.0), Z, node("Softplus", Z)),
))  # fmt: skip

# 1 + erf(z / sqrt(2))
GELU_FACTOR = node("Add", 1.0, node("Erf", AnyOf((
    node("Mul", Z, math.sqrt(0.5)), node("Div", Z, math.sqrt(2.0)),
))))  # fmt: skip

# z + 0.044715 z^3
GELU_POLYNOMIAL = node("Add", Z, node("Mul", 0.044715, AnyOf((
    node("Pow", Z, 3.0), node("Mul", Z, node("Mul", Z, Z)),
))))  # fmt: skip
GELU_SCALE = math.sqrt(2 / math.pi)

# max(min(z + 3, 6), 0)
RELU6 = AnyOf((
    node("Clip", node("Add", Z, 3.0), 0.0, 6.0),
    node("Min", 6.0, node("Relu", node("Add", Z, 3.0))),
))  # fmt: skip

PATTERNS = {
    "identity": [],  # a layer without activation
    "sigmoid": [SIGMOID],
    "hard_sigmoid": [
        node("HardSigmoid", Z, alpha=1 / 6, beta=0.5),
        node("Div", RELU6, 6.0),
        node("Mul", RELU6, 1 / 6),
    ],
    "tanh": [node("Tanh", Z)],
    "hard_tanh": [
        node("Clip", Z, -1.0, 1.0),
        node("Max", -1.0, node("Min", 1.0, Z)),
        node("Min", 1.0, node("Max", -1.0, Z)),
    ],
    "relu": [
        node("Relu", Z),
        node("Max", Z, 0.0),
        node("Clip", Z, 0.0, UNBOUNDED),
    ],
    "leaky_relu": [node("LeakyRelu", Z, alpha=PARAMETER), node("PRelu", Z, PARAMETER)],
    "elu": [node("Elu", Z, alpha=PARAMETER)],
    "selu": [node("Selu", Z, **DEFAULTS["Selu"])],
    "celu": [node("Celu", Z, alpha=PARAMETER)],
    "gelu": [node("Gelu", Z, approximate=b"none"), multiply(0.5, Z, GELU_FACTOR)],
    "gelu_tanh": [
        node("Gelu", Z, approximate=b"tanh"),
        multiply(0.5, Z, node("Add", 1.0, node("Tanh", node("Mul", GELU_SCALE, GELU_POLYNOMIAL)))),
        node("Mul", Z, node("Sigmoid", node("Mul", 2 * GELU_SCALE, GELU_POLYNOMIAL))),
    ],
    "silu": [node("Mul", Z, SIGMOID), node("Swish", Z, alpha=1.0)],
    "mish": [node("Mish", Z), node("Mul", Z, node("Tanh", SOFTPLUS))],
    "softplus": [SOFTPLUS],
    "softsign": [node("Softsign", Z), node("Div", Z, node("Add", 1.0, node("Abs", Z)))],
    # The rows of a matrix: before opset 13 all axes from this one on, from then on this one.
    "softmax": [node("Softmax", Z, axis=AnyOf((1, -1)))],
}


def find_activation(graph, name):
    """Return the activation that computes a tensor, and the tensor that it is a function of.

    Parameters
    ----------
    graph : cmlp.formats.onnx_graph.Graph
    name : str

    Returns
    -------
    (Activation, str) or None
        None if the tensor matches no pattern.

    Raises
    ------
    ValueError
        If the pattern's parameter is one that no activation may have.
    """
    end = graph.producers[name]
    for activation, patterns in PATTERNS.items():
        for z, parameter in match(graph, AnyOf(patterns), name):
            if parameter is None:
                return ACTIVATIONS[activation], z
            if parameter == np.float32(parameter):
                parameter = float(str(np.float32(parameter)))  # 0.2, not 0.20000000298
            try:
                return WITH_PARAMETER[activation](parameter), z
            except ValueError as error:
                raise graph.make_node_error(end, error) from None
    return None


def match(graph, pattern, operand):
    """Yield (z, parameter) for each way in which an operand matches a pattern.

    `Z` stands for the tensor named z, and `PARAMETER` for the number parameter; each is None if
    the pattern does not have it. The number of ways depends on the pattern's size alone.
    """
    if isinstance(pattern, AnyOf):
        for alternative in pattern:
            yield from match(graph, alternative, operand)
    elif isinstance(pattern, Pattern):
        found = graph.producers.get(operand) if isinstance(operand, str) else None
        if (
            found is not None
            and found.op_type == pattern.operator
            and found.domain in STANDARD_DOMAINS
            and operand == found.output[0]
        ):
            yield from match_node(graph, pattern, found)
    elif pattern is Z:
        if isinstance(operand, str) and not graph.is_constant(operand):
            yield operand, None
    elif pattern is UNBOUNDED and operand is None:
        yield None, None
    else:
        value = graph.get_scalar(operand)
        if value is not None and matches_value(pattern, value):
            yield None, value if pattern is PARAMETER else None


def match_node(graph, pattern, found):
    """Yield (z, parameter) for each way in which a node matches a pattern; see `match`."""
    given = {a.name: get_value(a) for a in found.attribute}
    operands = graph.list_operands(found)
    if found.op_type == "Clip":
        given = {}  # operands
        operands += [None] * (3 - len(operands))
    if len(operands) != len(pattern.inputs) or not set(given) <= set(pattern.attributes):
        return
    parameter = None
    for name, expected in pattern.attributes.items():
        value = given.get(name, DEFAULTS[found.op_type][name])
        if not matches_value(expected, value):
            return
        if expected is PARAMETER:
            parameter = value
    is_commutative = pattern.operator in COMMUTATIVE
    for order in permutations(operands) if is_commutative else [operands]:
        yield from match_inputs(graph, pattern.inputs, list(order), None, parameter)


def match_inputs(graph, patterns, operands, z, parameter):
    """Yield (z, parameter) for each way in which operands match patterns with the same z."""
    if not patterns:
        yield z, parameter
        return
    for found_z, found_parameter in match(graph, patterns[0], operands[0]):
        if z is None or found_z is None or z == found_z:
            yield from match_inputs(
                graph, patterns[1:], operands[1:], found_z if z is None else z,
                found_parameter if parameter is None else parameter,
            )  # fmt: skip


def matches_value(expected, value):
    """Return whether a number, or the bytes of an attribute, agrees with a pattern."""
    if isinstance(expected, AnyOf):
        return any(matches_value(each, value) for each in expected)
    if expected is PARAMETER:
        return isinstance(value, float) and math.isfinite(value)
    if expected is UNBOUNDED:
        return value >= np.finfo(np.float32).max
    if isinstance(expected, bytes):
        return value == expected
    return isinstance(value, (int, float)) and abs(value - expected) <= TOLERANCE * abs(expected)


def get_value(attribute):
    """Return the value of an attribute of a type that patterns may have, else None."""
    values = {attribute.FLOAT: "f", attribute.INT: "i", attribute.STRING: "s"}
    name = values.get(attribute.type)
    return None if name is None else getattr(attribute, name)
