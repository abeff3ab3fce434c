"""Export to ONNX.

The model has the input ``X`` and the outputs ``outputs`` and, on request, ``label``.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmlp._utils.validation import check_integer, decode_path, to_list
from cmlp.activations import ACTIVATIONS
from cmlp.formats.atomic import replace_file
from cmlp.formats.folding import fold_encoders, fold_layers
from cmlp.formats.onnx_double import DOUBLE_NODES, add_prelu
from cmlp.formats.onnx_encoders import add_encoder

MIN_OPSET = 13
# First opsets with the operators LayerNormalization and Gelu.
LAYER_NORM_OPSET, GELU_OPSET = 17, 20


def add_layers(graph, state, input_dtype):
    """Add the nodes of all layers of a `ModelState`; return the name of the outputs."""
    if input_dtype == "uint8" and state.architecture.code_columns:
        raise ValueError(
            "input_dtype must be 'float32' with OneHot or Embedding, as bytes are divided by 255; "
            "got 'uint8'"
        )
    return add_network(graph, add_bytes(graph, "X") if input_dtype == "uint8" else "X", state)


def add_network(graph, x, state, activates_outputs=True):
    """Add the nodes of a `ModelState` that reads the tensor `x`; return the name of the outputs.

    Without `activates_outputs` these are the pre-activations of the last layer.
    """
    for encoder in fold_encoders(state):
        x = add_encoder(graph, x, encoder)
    layers = fold_layers(state)
    if not activates_outputs:
        layers[-1].activation = ACTIVATIONS["identity"]
    for layer in layers:
        x = add_layer(graph, x, layer)
    return x


def write(state, path, opset=17, input_dtype="float32", labels=None, add_layers=add_layers):
    """Write a network as an ONNX model, atomically; see `cmlp.Network.to_onnx`.

    Parameters
    ----------
    state : ModelState or QuantizedState
    path : str or os.PathLike
    opset : int, default 17
    input_dtype : {"float32", "uint8"}, default "float32"
    labels : sequence of int or str, or bool, optional
    add_layers : callable
        The function of this name for the kind of `state`.

    Raises
    ------
    TypeError, ValueError
        If an option is invalid.
    FileNotFoundError
        If the directory of `path` does not exist.
    """
    opset = check_opset(opset)
    input_types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    if input_dtype not in input_types:
        raise ValueError(f"input_dtype must be 'float32' or 'uint8'; got {input_dtype!r}")
    graph = GraphBuilder(opset)
    graph.add_node("Identity", add_layers(graph, state, input_dtype), output="outputs")
    architecture = state.architecture
    outputs = [
        helper.make_tensor_value_info(
            "outputs", TensorProto.FLOAT, ["samples", architecture.outputs]
        )
    ]
    if labels is not None and labels is not False:
        outputs.append(add_labels(graph, state, labels))
    inputs = [
        helper.make_tensor_value_info(
            "X", input_types[input_dtype], ["samples", architecture.inputs]
        )
    ]
    write_model(graph, inputs, outputs, path)


def check_opset(opset):
    """Return `opset` as an int; raise if it is too old or newer than the installed onnx."""
    newest = onnx.defs.onnx_opset_version()
    opset = check_integer("opset", opset, MIN_OPSET)
    if opset > newest:
        raise ValueError(
            f"opset must be at most {newest}, the newest of the installed onnx; got {opset}"
        )
    return opset


def write_model(graph, inputs, outputs, path, **domains):
    """Write a model, atomically.

    Parameters
    ----------
    graph : GraphBuilder
    inputs, outputs : list of onnx.ValueInfoProto
    path : str or os.PathLike
    **domains : int
        Opsets of other domains than the standard one.

    Raises
    ------
    ValueError
        If `path` does not end in ``.onnx``.
    """
    if not decode_path(path).endswith(".onnx"):
        raise ValueError(f"path must end in .onnx; got {decode_path(path)!r}")
    opsets = {"": graph.opset, **domains}
    model = helper.make_model(
        helper.make_graph(graph.nodes, "cmlp", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid(*each) for each in opsets.items()],
        producer_name="cmlp",
    )  # fmt: skip
    model.ir_version = min(model.ir_version, helper.find_min_ir_version_for(model.opset_import))
    onnx.checker.check_model(model, full_check=True)
    with replace_file(path) as file:
        file.write(model.SerializeToString())


class GraphBuilder:
    """Collects the nodes and constants of a model.

    Parameters
    ----------
    opset : int
    prefix : str, default ""
        Of the names of all tensors that get no name.

    Attributes
    ----------
    opset : int
    dtype : numpy.dtype
        Of the constants, if none is given: float32.
    nodes : list of onnx.NodeProto
    constants : list of onnx.TensorProto
    """

    dtype = np.dtype(np.float32)

    def __init__(self, opset, prefix=""):
        self.opset, self.prefix = opset, prefix
        self.nodes, self.constants = [], []

    def add_node(self, operator, *inputs, output=None, **attributes):
        """Add a node with one output; return the name of the output."""
        output = output or f"{self.prefix}t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=f"{operator}_{output}", **attributes)
        )
        return output

    def add_constant(self, value, dtype=None):
        """Add a constant; return its name."""
        name = f"{self.prefix}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype or self.dtype), name))
        return name

    def select_columns(self, x, columns):
        """Add the columns of `x` with these indices; return the name of the output."""
        return self.add_node("Gather", x, self.add_constant(columns, np.int64), axis=1)

    def multiply(self, x, factor):
        """Add the product of `x` and a number; return the name of the output."""
        return self.add_node("Mul", x, self.add_constant(factor))


def add_bytes(graph, x):
    """Add the conversion of bytes to numbers, their 255th part."""
    return graph.add_node(
        "Div", graph.add_node("Cast", x, to=TensorProto.FLOAT), graph.add_constant(255.0)
    )


def multiply_by_sigmoid(graph, z, x):
    """Add z sigmoid(x)."""
    return graph.add_node("Mul", z, graph.add_node("Sigmoid", x))


def add_hard_tanh(graph, z, k):
    """Add hard_tanh."""
    return graph.add_node("Clip", z, graph.add_constant(-1.0), graph.add_constant(1.0))


def add_gelu(graph, z, k):
    """Add gelu; in opsets without the operator Gelu, by the error function."""
    if graph.opset >= GELU_OPSET:
        return graph.add_node("Gelu", z)
    half = graph.multiply(z, 0.5)
    erf = graph.add_node("Erf", graph.multiply(z, 0.5**0.5))
    return graph.add_node("Mul", half, graph.add_node("Add", erf, graph.add_constant(1.0)))


def add_gelu_tanh(graph, z, k):
    """Add gelu_tanh; without the operator Gelu, z sigmoid(2 sqrt(2/pi) (z + 0.044715 z^3))."""
    if graph.opset >= GELU_OPSET:
        return graph.add_node("Gelu", z, approximate="tanh")
    cube = graph.add_node("Mul", graph.add_node("Mul", z, z), z)
    polynomial = graph.add_node("Add", z, graph.multiply(cube, 0.044715))
    return multiply_by_sigmoid(graph, z, graph.multiply(polynomial, 2 * (2 / np.pi) ** 0.5))


def add_mish(graph, z, k):
    """Add mish."""
    return graph.add_node("Mul", z, graph.add_node("Tanh", graph.add_node("Softplus", z)))


# Activation -> function of (graph, input name, parameter) that adds its nodes and returns the
# name of their output.
ACTIVATION_NODES = {
    "identity": lambda graph, z, k: z,
    "sigmoid": lambda graph, z, k: graph.add_node("Sigmoid", z),
    "hard_sigmoid": lambda graph, z, k: graph.add_node("HardSigmoid", z, alpha=1 / 6, beta=0.5),
    "tanh": lambda graph, z, k: graph.add_node("Tanh", z),
    "hard_tanh": add_hard_tanh,
    "relu": lambda graph, z, k: graph.add_node("Relu", z),
    "leaky_relu": lambda graph, z, k: graph.add_node("LeakyRelu", z, alpha=k),
    "elu": lambda graph, z, k: graph.add_node("Elu", z, alpha=k),
    "selu": lambda graph, z, k: graph.add_node("Selu", z),
    "celu": lambda graph, z, k: graph.add_node("Celu", z, alpha=k),
    "gelu": add_gelu,
    "gelu_tanh": add_gelu_tanh,
    "silu": lambda graph, z, k: multiply_by_sigmoid(graph, z, z),
    "mish": add_mish,
    "softplus": lambda graph, z, k: graph.add_node("Softplus", z),
    "softsign": lambda graph, z, k: graph.add_node("Softsign", z),
    "softmax": lambda graph, z, k: graph.add_node("Softmax", z, axis=1),
}


def add_layer(graph, x, layer):
    """Add the nodes of a `FoldedLayer`; return the name of its outputs."""
    weight = graph.add_constant(layer.weight)
    if layer.scale is None:
        z = graph.add_node("Gemm", x, weight, graph.add_constant(layer.bias), transB=1)
    else:
        z = graph.add_node("Gemm", x, weight, transB=1)
        z = add_layer_norm(graph, z, layer.scale, layer.bias, layer.eps)
    return add_activation(graph, z, layer)


def add_function(graph, z, activation):
    """Add an `Activation` without learned factors; return the name of its outputs."""
    name, k = activation.name, activation.parameter
    nodes = DOUBLE_NODES if graph.dtype == np.float64 and name in DOUBLE_NODES else ACTIVATION_NODES
    return nodes[name](graph, z, k)


def add_predictions(graph, outputs, loss, n_outputs):
    """Add the predictions of a regressor; return their name.

    Parameters
    ----------
    graph : GraphBuilder
    outputs : str
        Name of the network's outputs, (samples, n_outputs).
    loss : cmlp.losses.Loss
        `Loss.predict` has the definition.
    n_outputs : int
    """
    targets = loss.count_targets(n_outputs)
    if loss.log_link:
        return graph.add_node("Exp", outputs)
    if loss.has_std:
        return graph.select_columns(outputs, range(targets))
    if not loss.non_crossing or loss.blocks == 1:
        return outputs
    steps = add_function(
        graph, graph.select_columns(outputs, range(targets, n_outputs)), ACTIVATIONS["softplus"]
    )
    lowest = graph.select_columns(outputs, range(targets))
    steps = graph.add_node("Concat", lowest, steps, axis=1)
    if targets > 1:
        blocks = graph.add_constant([-1, loss.blocks, targets], np.int64)
        steps = graph.add_node("Reshape", steps, blocks)
    quantiles = graph.add_node("CumSum", steps, graph.add_constant(1, np.int64))
    if targets == 1:
        return quantiles
    return graph.add_node("Reshape", quantiles, graph.add_constant([-1, n_outputs], np.int64))


def add_activation(graph, z, layer):
    """Add the activation of a `FoldedLayer`; return the name of its outputs."""
    if layer.activation.name == "prelu":
        if graph.dtype == np.float64:
            return add_prelu(graph, z, layer.alpha)
        return graph.add_node("PRelu", z, graph.add_constant(layer.alpha))
    f = layer.activation.base or layer.activation
    a = add_function(graph, z, f)
    if layer.alpha is None:
        return a
    change = graph.add_node("Mul", graph.add_node("Sub", a, z), graph.add_constant(layer.alpha))
    return graph.add_node("Add", z, change)


def add_layer_norm(graph, z, scale, shift, eps):
    """Add layer normalization; return the name of its outputs."""
    scale, shift = graph.add_constant(scale), graph.add_constant(shift)
    if graph.opset >= LAYER_NORM_OPSET:
        return graph.add_node("LayerNormalization", z, scale, shift, axis=-1, epsilon=eps)
    z = graph.add_node("Sub", z, graph.add_node("ReduceMean", z, axes=[1], keepdims=1))
    square = graph.add_node("Mul", z, z)
    variance = graph.add_node("ReduceMean", square, axes=[1], keepdims=1)
    deviation = graph.add_node("Sqrt", graph.add_node("Add", variance, graph.add_constant(eps)))
    normalized = graph.add_node("Div", z, deviation)
    return graph.add_node("Add", graph.add_node("Mul", normalized, scale), shift)


def add_labels(graph, state, labels):
    """Add the output ``label``, the name of the predicted class; return its description.

    If the task is multilabel, it has 0 and 1 for each label.
    """
    architecture = state.architecture
    if not state.is_classifier:
        raise ValueError(
            f"labels must be None for a network that is not a classifier; got {labels!r}"
        )
    if state.task == "multilabel":
        if labels is not True:
            raise ValueError(
                "labels must be True or None for a multilabel network, whose labels are 0 and 1 "
                f"for each output; got {labels!r}"
            )
        is_absent = graph.add_node(
            "Less", "outputs", graph.add_constant(architecture.decision_threshold)
        )
        graph.add_node(
            "Cast", graph.add_node("Not", is_absent), output="label", to=TensorProto.INT64
        )
        return helper.make_tensor_value_info(
            "label", TensorProto.INT64, ["samples", architecture.outputs]
        )
    classes = max(architecture.outputs, 2)
    if labels is True:
        labels = range(classes)
    labels = to_list("labels", labels, "names, one for each class")
    if len(labels) != classes:
        raise ValueError(f"labels must have {classes} items, one for each class; got {len(labels)}")
    is_text = isinstance(labels[0], str)
    if not all(isinstance(label, str if is_text else (int, np.integer)) for label in labels):
        raise TypeError(f"labels must be all str or all int; got {labels!r}")
    if architecture.outputs > 1:
        index = graph.add_node("ArgMax", "outputs", axis=1, keepdims=0)
    else:
        flat = graph.add_node("Squeeze", "outputs", graph.add_constant([1], np.int64))
        threshold = graph.add_constant(architecture.decision_threshold)
        is_class_0 = graph.add_node("Less", flat, threshold)
        index = graph.add_node("Cast", graph.add_node("Not", is_class_0), to=TensorProto.INT64)
    names = graph.add_constant(labels, object if is_text else np.int64)
    graph.add_node("Gather", names, index, output="label")
    dtype = TensorProto.STRING if is_text else TensorProto.INT64
    return helper.make_tensor_value_info("label", dtype, ["samples"])
