"""Import of ONNX models that are chains of dense layers.

The nodes from the input to the output are collected first, from the output backward. They are then
read forward: a product with constant weights begins a layer; affine functions of single columns,
batch normalization among them, are folded into the product before them or, after an activation,
into the next one; `onnx_patterns` recognizes the activations. Every other node is refused. Both
passes are loops over the nodes, without recursion.
"""

from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto

from cmlp._model.architecture import Architecture, resolve_dtype
from cmlp._model.state import ModelState
from cmlp.activations import ACTIVATIONS, Activation
from cmlp.formats.finite import check_finite
from cmlp.formats.onnx_graph import STANDARD_DOMAINS, load_graph
from cmlp.formats.onnx_patterns import find_activation
from cmlp.formats.onnx_tensors import read_affine, read_product, read_shape
from cmlp.losses import choose_default_loss

PRODUCTS = ("Gemm", "MatMul")

# Types that a layer may compute with.
FLOATS = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}

# Significant bits of the numbers that an input may have.
PRECISION = {
    TensorProto.FLOAT16: 11, TensorProto.BFLOAT16: 8, TensorProto.FLOAT: 24,
    TensorProto.DOUBLE: 53, TensorProto.INT8: 8, TensorProto.UINT8: 8, TensorProto.INT16: 16,
    TensorProto.UINT16: 16, TensorProto.INT32: 32, TensorProto.UINT32: 32, TensorProto.INT64: 64,
    TensorProto.UINT64: 64,
}  # fmt: skip


def read(path, loss=None, output=None, dtype="float32"):
    """Return the state of a network from an ONNX model; see `cmlp.Network.from_onnx`.

    Parameters
    ----------
    path : str or os.PathLike
    loss : str, Loss or callable, optional
        By default the loss that suits the output activation.
    output : str, optional
        Name of the tensor with the outputs; by default the last output of floating-point type.
    dtype : str, default "float32"
        dtype of the network.

    Returns
    -------
    ModelState

    Raises
    ------
    ValueError
        If the file is not an ONNX model or not a supported chain; the message names the node.
    FileNotFoundError
        If the file does not exist.
    """
    graph = load_graph(path)
    reader = ChainReader(graph, resolve_dtype(dtype))
    links = collect_links(graph, choose_output(graph, output))
    if not any(link.node.op_type in PRODUCTS for link in links):
        raise graph.make_error("it has no product with constant weights")
    for link in links:
        reader.add_link(link)
    return make_state(graph, reader.finish(), loss, dtype)


def make_state(graph, stages, loss, dtype):
    """Return the state of a network of stages."""
    *hidden, output = [stage.activation or ACTIVATIONS["identity"] for stage in stages]
    architecture = Architecture.from_arguments(
        [stages[0].weight.shape[1], *(len(stage.weight) for stage in stages)], activation=hidden,
        output=output, loss=loss or choose_default_loss(output.name), init="zeros", dtype=dtype,
        seed=0,
    )  # fmt: skip
    arrays = {}
    for l, stage in enumerate(stages):
        arrays[f"weight_{l}"], bias = stage.fold()
        arrays[f"bias_{l}"] = bias[:, None]
    check_finite(arrays, architecture.dtype, graph.make_error)
    return ModelState.from_arrays(architecture, arrays)


class Link(NamedTuple):
    """A step of the chain from the input to the output.

    Attributes
    ----------
    node : onnx.NodeProto
        The node, or the last one of an activation.
    source : str
        Name of the tensor that the step reads.
    activation : Activation or None
    """

    node: NodeProto
    source: str
    activation: Activation | None


def choose_output(graph, output):
    """Return the name of the tensor with the outputs; arguments and errors are those of `read`."""
    names = [o.name for o in graph.outputs]
    if output is not None:
        if output not in graph.producers:
            raise ValueError(
                f"output must be a tensor of the model, such as {', '.join(names)}; got {output!r}"
            )
        return graph.resolve(output)
    floats = [o.name for o in graph.outputs if o.type.tensor_type.elem_type in FLOATS]
    if not floats:
        raise graph.make_error(
            f"it must have a floating-point output; got {names}; name a tensor by output="
        )
    return graph.resolve(floats[-1])


def collect_links(graph, name):
    """Return the steps from the input to the tensor `name`, a list of `Link`."""
    links = []
    while name != graph.input.name:
        node = graph.producers.get(name)
        if node is None:
            raise graph.make_error(f"no node computes {name!r} from the input")
        if name != node.output[0]:
            raise graph.make_node_error(node, f"{name!r} is not its first output")
        found = find_activation(graph, name)
        activation, source = found if found else (None, find_source(graph, node))
        links.append(Link(node, source, activation))
        name = source
    return links[::-1]


def find_source(graph, node):
    """Return the only input of a node that is not constant."""
    operands = [o for o in graph.list_operands(node) if isinstance(o, str)]
    varying = [name for name in operands if not graph.is_constant(name)]
    if len(varying) != 1:
        raise graph.make_node_error(
            node, f"it must read one tensor that is not constant, or belong to an activation; it "
                  f"reads {varying}"
        )  # fmt: skip
    return varying[0]


class Stage:
    """A dense layer of the chain, with the affine function of its outputs.

    Parameters
    ----------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
    """

    def __init__(self, weight, bias):
        self.weight = weight
        self.affine = Affine(np.ones(len(weight)), bias)
        self.activation = None

    def fold(self):
        """Return the weight and the bias of the layer as the network has them."""
        return self.weight * self.affine.factor[:, None], self.affine.offset


class Affine(NamedTuple):
    """The function ``factor * x + offset`` of each column.

    Attributes
    ----------
    factor, offset : float or ndarray of float64, shape (columns,)
    """

    factor: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0

    def then(self, other):
        """Return the function that applies another one to the values of this one."""
        return Affine(self.factor * other.factor, self.offset * other.factor + other.offset)


class ChainReader:
    """Reads the steps of a chain, first to last, into stages.

    Parameters
    ----------
    graph : Graph
    dtype : numpy.dtype
        dtype of the network.

    Attributes
    ----------
    stages : list of Stage
    shape : list of int or None
        Shape of the tensor that the next step reads; None for an unknown size.
    element_type : int
        Its element type, of `TensorProto`.
    affine : Affine or None
        An affine function that the next product applies first.
    """

    def __init__(self, graph, dtype):
        self.graph, self.stages, self.affine = graph, [], None
        self.bits = PRECISION[TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT]
        self.shape, self.element_type = read_shape(graph), graph.input.type.tensor_type.elem_type
        if self.element_type not in PRECISION:
            raise graph.make_error(f"its input {graph.input.name!r} must hold numbers")
        self.last = None  # the last node

    def add_link(self, link):
        """Read a step."""
        self.last, name = link.node, link.node.op_type
        if link.activation is not None:
            self.add_activation(link)
        elif link.node.domain == "ai.onnx.ml" and name == "Scaler":
            self.set_type(link, TensorProto.FLOAT)
            self.add_affine(link)
        elif link.node.domain in STANDARD_DOMAINS and name in METHODS:
            METHODS[name](self, link)
        else:
            raise self.make_error(
                link, "it is neither an activation of cmlp nor an affine function"
            )

    def finish(self):
        """Return the stages."""
        if self.affine is not None:
            raise self.graph.make_node_error(self.last, "no layer follows")
        return self.stages

    def make_error(self, link, reason):
        """Return the error that names the node of a step."""
        return self.graph.make_node_error(link.node, reason)

    @property
    def columns(self):
        """Number of columns of the tensor that the next step reads; None if it is unknown."""
        return self.shape[-1]

    def add_activation(self, link):
        """Set the activation of the last stage."""
        self.check_float(link)
        if not self.stages:
            raise self.make_error(
                link,
                f"only affine functions may precede the first layer, up to {link.node.output[0]!r}",
            )
        stage = self.stages[-1]
        if stage.activation is not None:
            raise self.make_error(
                link, f"it follows the activation {stage.activation.name!r} of the same layer"
            )
        stage.activation = link.activation

    def add_affine(self, link):
        """Apply an affine function of single columns to the last stage or to the next one."""
        self.check_float(link)
        factor, offset = read_affine(self.graph, link.node, link.source)
        for values in (factor, offset):
            if np.ndim(values):
                if len(self.shape) != 2:
                    raise self.make_error(link, "it must follow the Flatten of the input")
                if self.columns is None:
                    self.shape[-1] = len(values)
                if len(values) != self.columns:
                    raise self.make_error(
                        link, f"it has constants for {len(values)} columns, its input has "
                              f"{self.columns}"
                    )  # fmt: skip
        affine = Affine(factor, offset)
        if self.stages and self.stages[-1].activation is None:
            self.stages[-1].affine = self.stages[-1].affine.then(affine)
        else:
            self.affine = (self.affine or Affine()).then(affine)

    def add_product(self, link):
        """Begin a stage."""
        self.check_float(link)
        weight, bias = read_product(self.graph, link.node, link.source, FLOATS[self.element_type])
        if len(self.shape) != 2:
            raise self.make_error(link, f"its input must be a matrix; its shape is {self.shape}")
        if self.columns not in (None, weight.shape[1]):
            raise self.make_error(
                link, f"its weights are for {weight.shape[1]} columns, its input has {self.columns}"
            )
        if self.stages and not (self.stages[-1].activation or ACTIVATIONS["identity"]).hidden:
            raise self.make_error(
                link, f"{self.stages[-1].activation.name} must be the last layer's activation"
            )
        if self.affine is not None:
            bias = bias + weight @ np.broadcast_to(self.affine.offset, weight.shape[1:])
            weight = weight * self.affine.factor
            self.affine = None
        self.stages.append(Stage(weight, bias))
        self.shape = [self.shape[0], len(weight)]

    def cast(self, link):
        """Convert the elements to another type."""
        attributes = self.graph.read_attributes(link.node, to=None, saturate=1, round_mode=b"up")
        self.set_type(link, attributes["to"])

    def set_type(self, link, element_type):
        """Set the element type, if the numbers do not lose precision that the network has."""
        if element_type != self.element_type and (
            element_type not in FLOATS
            or PRECISION[element_type] < min(PRECISION[self.element_type], self.bits)
        ):
            raise self.make_error(link, "it loses precision")
        self.element_type = element_type

    def flatten(self, link):
        """Make rows of an input with more than two dimensions."""
        axis = self.graph.read_attributes(link.node, axis=1)["axis"]
        if axis not in (1, 1 - len(self.shape)):
            raise self.make_error(link, f"its axis must be 1; got {axis}")
        self.shape = [self.shape[0], self.count_columns()]

    def reshape(self, link):
        """Make rows of an input; a reshape must not change the number of rows."""
        attributes = self.graph.read_attributes(link.node, allowzero=0)
        shape = self.graph.list_operands(link.node)[1]
        target = self.graph.get_constant(shape).tolist() if self.graph.is_constant(shape) else None
        samples, columns = self.shape[0], self.count_columns()
        is_pair = isinstance(target, list) and [type(n) for n in target] == [int, int]
        if is_pair and not attributes["allowzero"] and columns is not None:
            rows, width = target
            keeps_rows = rows == 0 or (samples is not None and rows == samples)
            if (width == columns and (keeps_rows or rows == -1)) or (width == -1 and keeps_rows):
                self.shape = [samples, columns]
                return
        raise self.make_error(link, f"its shape must be (-1, {columns}); got {target}")

    def count_columns(self):
        """Return the number of columns of the tensor's rows; None if it is unknown."""
        sizes = self.shape[1:]
        return None if None in sizes else int(np.prod(sizes, dtype=object))

    def check_float(self, link):
        """Raise ValueError unless the tensor holds float32 or float64."""
        if self.element_type not in FLOATS:
            raise self.make_error(link, "a Cast to float or double must precede it")


# Operator -> method of `ChainReader` that reads it.
METHODS = {
    **dict.fromkeys(PRODUCTS, ChainReader.add_product),
    **dict.fromkeys(
        ("Add", "BatchNormalization", "Div", "Mul", "Neg", "Sub"), ChainReader.add_affine
    ),
    "Cast": ChainReader.cast,
    "Flatten": ChainReader.flatten,
    "Reshape": ChainReader.reshape,
}
