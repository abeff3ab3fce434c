"""Constants of ONNX nodes as weights, biases and affine functions, in float64."""

import numpy as np


def read_shape(graph):
    """Return the shape of a graph's input, a list of int or, for sizes that vary, None."""
    kind = graph.input.type.tensor_type
    if not kind.HasField("shape"):
        return [None, None]
    shape = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if len(shape) < 2:
        raise graph.make_error(
            f"its input {graph.input.name!r} must have a row for each sample; its shape is {shape}"
        )
    return shape


def read_product(graph, node, source, dtype):
    """Return the weight and the bias of a Gemm or MatMul node.

    Parameters
    ----------
    graph : cmlp.formats.onnx_graph.Graph
    node : onnx.NodeProto
    source : str
        The input of the layer.
    dtype : str
        dtype of the tensor `source`.

    Returns
    -------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
    """
    operands = graph.list_operands(node)
    if source != operands[0]:
        raise graph.make_node_error(node, "the layer's input must be its first input")
    if node.op_type == "Gemm":
        attributes = graph.read_attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    else:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        graph.read_attributes(node)
    if attributes["transA"]:
        raise graph.make_node_error(node, "it transposes the layer's input")
    weight = get_finite(graph, node, operands[1], dtype)
    if weight.ndim != 2 or 0 in weight.shape:
        raise graph.make_node_error(node, f"its weights must be a matrix; got {weight.shape}")
    weight = (weight if attributes["transB"] else weight.T) * attributes["alpha"]
    bias = np.zeros(len(weight))
    if len(operands) > 2 and operands[2] is not None:
        shift = get_row(graph, node, operands[2], dtype)
        if np.size(shift) not in (1, len(bias)):
            raise graph.make_node_error(
                node, f"its bias must be for {len(bias)} columns; got {np.size(shift)}"
            )
        bias = bias + shift * attributes["beta"]
    return weight, bias


def read_affine(graph, node, source):
    """Return factor and offset of a node that computes ``factor * source + offset``.

    Parameters
    ----------
    graph : cmlp.formats.onnx_graph.Graph
    node : onnx.NodeProto
        Add, Sub, Mul, Div, Neg, BatchNormalization, or Scaler of the domain ai.onnx.ml.
    source : str

    Returns
    -------
    factor, offset : float, or ndarray of float64, shape (columns,)
    """
    if node.op_type == "BatchNormalization":
        return read_batch_norm(graph, node, source)
    if node.op_type == "Scaler":
        attributes = graph.read_attributes(node, offset=(0.0,), scale=(1.0,))
        scale, mean = (squeeze(np.array(attributes[k], np.float64)) for k in ("scale", "offset"))
        if not (np.isfinite(scale).all() and np.isfinite(mean).all()):
            raise graph.make_node_error(node, "its attributes must be finite")
        return scale, -scale * mean
    graph.read_attributes(node)
    operands = graph.list_operands(node)
    if node.op_type == "Neg":
        return -1.0, 0.0
    is_first = source == operands[0]
    constant = get_row(graph, node, operands[1 if is_first else 0])
    if node.op_type == "Add":
        return 1.0, constant
    if node.op_type == "Mul":
        return constant, 0.0
    if node.op_type == "Sub":
        return (1.0, -constant) if is_first else (-1.0, constant)
    if not is_first or not np.all(constant):
        raise graph.make_node_error(node, "its divisor must be a constant without zeros")
    return 1.0 / constant, 0.0


def read_batch_norm(graph, node, source):
    """Return factor and offset of a BatchNormalization node."""
    attributes = graph.read_attributes(node, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    if attributes["training_mode"] or not attributes["spatial"]:
        raise graph.make_node_error(node, "it must be in inference mode")
    operands = graph.list_operands(node)
    if operands[0] != source:
        raise graph.make_node_error(node, "the layer must be its first input")
    scale, shift, mean, variance = (
        get_finite(graph, node, name).reshape(-1) for name in operands[1:5]
    )
    if not len(scale) == len(shift) == len(mean) == len(variance):
        raise graph.make_node_error(node, "its constants must have the same length")
    if (variance < 0).any() or (variance + attributes["epsilon"] <= 0).any():
        raise graph.make_node_error(node, f"its variances must be positive; got {variance.min():g}")
    gain = scale / np.sqrt(variance + attributes["epsilon"])
    return gain, shift - mean * gain


def get_row(graph, node, name, dtype=None):
    """Return a constant that broadcasts to the rows of a matrix.

    Returns
    -------
    float, or ndarray of float64, shape (columns,)
    """
    array = get_finite(graph, node, name, dtype)
    if array.size == 0 or array.ndim > 2 or (array.ndim == 2 and len(array) != 1):
        raise graph.make_node_error(
            node, f"the constant {name!r} must be a number or a row; its shape is {array.shape}"
        )
    return squeeze(array.reshape(-1))


def squeeze(vector):
    """Return a vector with one element as a float, any other one as it is."""
    return float(vector[0]) if len(vector) == 1 else vector


def get_finite(graph, node, name, dtype=None):
    """Return a constant input of a node as float64.

    Raises
    ------
    ValueError
        If it is not constant, has another dtype than `dtype`, or has an element that is not
        finite.
    """
    if name is None or not graph.is_constant(name):
        raise graph.make_node_error(node, f"its input {name!r} must be constant")
    array = graph.get_constant(name)
    if array.dtype not in (np.float32, np.float64) or dtype not in (None, array.dtype.name):
        raise graph.make_node_error(
            node, f"the constant {name!r} must be {dtype or 'float32 or float64'}; got "
                  f"{array.dtype}"
        )  # fmt: skip
    if not np.isfinite(array).all():
        raise graph.make_node_error(node, f"the constant {name!r} must be finite")
    return array.astype(np.float64)
