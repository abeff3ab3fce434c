"""Import of ONNX models that are chains of dense layers.

A chain is read from its output backward, stage by stage: a product with constant weights (Gemm, or
MatMul and Add), batch normalizations, and a function of single elements. The function may
consist of any number of nodes: it is evaluated at test points and identified as the activation that
has the same values. Affine functions of single inputs before the first product are folded into it.
"""

import os
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmlp._core import kernels
from cmlp._model.architecture import Architecture
from cmlp._model.parameters import aligned_zeros, compute_padded_width
from cmlp._model.state import ModelState
from cmlp.activations import ACTIVATIONS, Activation, celu, elu, leaky_relu
from cmlp.losses import choose_default_loss

# Operators that may compute functions of single elements.
ELEMENTWISE = {
    "Abs", "Add", "Cast", "Celu", "Clip", "Constant", "Div", "Dropout", "Elu", "Erf", "Exp",
    "Flatten", "Gelu", "HardSigmoid", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul",
    "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Reshape", "Selu", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
}  # fmt: skip

PRODUCTS = {"Gemm", "MatMul"}


class Stage(NamedTuple):
    """A dense layer of the chain.

    Attributes
    ----------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
    activation : Activation
    input : str
        Name of the tensor that the layer reads.
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation
    input: str


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
    try:
        model = onnx.load(os.fspath(path))
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise
    except Exception as error:  # the package raises many types, protobuf's among them
        raise ValueError(f"{path} is not an ONNX model: {error}") from None
    return make_state(ChainReader(model, os.fspath(path), output).read_stages(), loss, dtype)


def make_state(stages, loss, dtype):
    """Return the state of a network of stages."""
    *hidden, output = [stage.activation for stage in stages]
    architecture = Architecture.from_arguments(
        [stages[0].weight.shape[1], *(len(stage.bias) for stage in stages)], activation=hidden,
        output=output, loss=loss or choose_default_loss(output.name), init="zeros", dtype=dtype,
        seed=0,
    )  # fmt: skip
    arrays = {f"weight_{l}": stage.weight for l, stage in enumerate(stages)}
    arrays |= {f"bias_{l}": stage.bias[:, None] for l, stage in enumerate(stages)}
    return ModelState.from_arrays(architecture, arrays)


class ChainReader:
    """Reads the layers of a model.

    Parameters
    ----------
    model : onnx.ModelProto
    path : str
        For error messages.
    output : str or None
        Name of the tensor with the outputs.
    """

    def __init__(self, model, path, output):
        self.model, self.path = model, path
        graph = model.graph
        self.constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.producers = {name: node for node in graph.node for name in node.output}
        inputs = [i.name for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            raise self.make_error(f"it must have one input; got {inputs}")
        self.input = inputs[0]
        outputs = [o.name for o in graph.output]
        if output is not None and output not in self.producers:
            raise ValueError(
                f"output must be a tensor of the model, such as {', '.join(outputs)}; "
                f"got {output!r}"
            )
        floats = [
            o.name for o in graph.output
            if o.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
        ]  # fmt: skip
        if output is None and not floats:
            raise self.make_error(
                f"it must have a floating-point output; got {outputs}; name a tensor by output="
            )
        self.output = output or floats[-1]

    def make_error(self, reason):
        """Return the error that says why the model cannot be read."""
        return ValueError(f"{self.path} is not a chain of dense layers: {reason}")

    def make_node_error(self, node):
        """Return the error that names an unsupported node."""
        name = node.name or node.output[0]
        return self.make_error(f"the node {name!r} ({node.op_type}) is not supported here")

    def read_stages(self):
        """Return the layers as a list of `Stage`, the first layer first."""
        stages, name = [], self.output
        while (stage := self.read_stage(name)) is not None:
            stages.insert(0, stage)
            name = stage.input
        if not stages:
            raise self.make_error("it has no product with constant weights")
        first = stages[0]
        factor, offset = self.measure_affine(self.input, name, first.weight.shape[1])
        stages[0] = first._replace(
            weight=first.weight * factor, bias=first.bias + first.weight @ offset
        )
        return stages

    def read_stage(self, name):
        """Return the last layer that contributes to the tensor `name`, or None without one."""
        end = name
        while True:
            if name == self.input:
                return None
            node = self.producers.get(name)
            if node is None:
                raise self.make_error(f"no node computes {name!r}")
            if node.op_type in PRODUCTS:
                break
            if node.op_type not in (*ELEMENTWISE, "BatchNormalization"):
                raise self.make_node_error(node)
            name = self.find_source(node)
        weight, bias = self.read_product(node)
        # A separate bias node and batch normalizations precede the activation function.
        start, bias = self.fold_added_bias(node.output[0], bias, end)
        start, weight, bias = self.fold_batch_norms(start, weight, bias, end)
        activation = self.identify_activation(start, end, len(bias))
        return Stage(weight, bias, activation, node.input[0])

    def find_source(self, node):
        """Return the input of a node that leads to the product.

        If several inputs are not constant, the deepest one leads to the product.
        """
        varying = [name for name in node.input if name and name not in self.constants]
        if not varying:
            raise self.make_node_error(node)
        return max(varying, key=self.measure_depth)

    def measure_depth(self, name):
        """Return the number of nodes on the longest path from the input to a tensor."""
        if name == self.input or name in self.constants or name not in self.producers:
            return 0
        inputs = [i for i in self.producers[name].input if i]
        return 1 + max((self.measure_depth(i) for i in inputs), default=0)

    def read_product(self, node):
        """Return the weight (outputs, inputs) and the bias (outputs,) of a product."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight = self.constants.get(node.input[1])
        if weight is None or weight.ndim != 2 or attributes.get("transA"):
            raise self.make_node_error(node)
        weight = weight.astype(np.float64)
        if not attributes.get("transB"):
            weight = weight.T
        weight = weight * attributes.get("alpha", 1.0)
        bias = np.zeros(len(weight))
        if len(node.input) > 2 and node.input[2]:
            constant = self.constants.get(node.input[2])
            if constant is None:
                raise self.make_node_error(node)
            bias = bias + np.reshape(constant, -1) * attributes.get("beta", 1.0)
        return weight, bias

    def find_users(self, name):
        """Return the nodes that read a tensor."""
        return [node for node in self.model.graph.node if name in node.input]

    def fold_added_bias(self, start, bias, end):
        """Fold an Add of a constant to the tensor `start`; return its output and the bias."""
        users = self.find_users(start)
        if start != end and len(users) == 1 and users[0].op_type == "Add":
            others = [self.constants.get(i) for i in users[0].input if i != start]
            if others and others[0] is not None and np.size(others[0]) in (1, len(bias)):
                return users[0].output[0], bias + np.reshape(others[0], -1)
        return start, bias

    def fold_batch_norms(self, start, weight, bias, end):
        """Fold the batch normalizations after the tensor `start` into weight and bias."""
        while start != end:
            users = self.find_users(start)
            if len(users) != 1 or users[0].op_type != "BatchNormalization":
                break
            node = users[0]
            values = [self.constants.get(i) for i in node.input[1:5]]
            if any(value is None for value in values):
                raise self.make_node_error(node)
            scale, shift, mean, variance = (v.astype(np.float64) for v in values)
            eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            gain = scale / np.sqrt(variance + eps)
            weight, bias = weight * gain[:, None], (bias - mean) * gain + shift
            start = node.output[0]
        return start, weight, bias

    def find_nodes_between(self, start, end):
        """Return the nodes that compute the tensor `end` from `start`, in order."""
        needed, pending = [], [end]
        while pending:
            name = pending.pop()
            if name == start or name in self.constants or not name:
                continue
            node = self.producers.get(name)
            if node is None:
                raise self.make_error(f"{end!r} depends on more than {start!r}")
            if node not in needed:
                needed.append(node)
                pending.extend(node.input)
        for node in needed:
            if node.op_type not in ELEMENTWISE:
                raise self.make_node_error(node)
        return [node for node in self.model.graph.node if node in needed]

    def evaluate(self, start, end, values):
        """Return the values of the tensor `end` for values of `start`, (m, n), as (m, any)."""
        nodes = self.find_nodes_between(start, end)
        if not nodes:
            return values
        from onnx.reference import ReferenceEvaluator

        used = {name for node in nodes for name in node.input}
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in self.constants.items()
            if name in used
        ]
        dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
        graph = helper.make_graph(
            nodes, "part", [helper.make_tensor_value_info(start, dtype, values.shape)],
            [helper.make_tensor_value_info(end, TensorProto.UNDEFINED, None)], constants,
        )  # fmt: skip
        part = helper.make_model(graph, opset_imports=self.model.opset_import)
        try:
            [result] = ReferenceEvaluator(part).run(None, {start: values})
        except Exception:  # the evaluator raises many types
            raise self.make_node_error(nodes[0]) from None
        return np.reshape(result, (len(values), -1))

    def measure_affine(self, start, end, width):
        """Return factor and offset, each (width,), of the affine function from `start` to `end`."""
        [element_type] = [
            i.type.tensor_type.elem_type for i in self.model.graph.input if i.name == start
        ]
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(element_type))
        lowest = 3 if dtype.kind == "u" else -3
        probes = np.array([0, 1, lowest, 100])[:, None] * np.ones(width)
        out = np.asarray(self.evaluate(start, end, probes.astype(dtype)), np.float64)
        if out.shape != probes.shape:
            raise self.make_error(f"{end!r} must have the number of columns of the input")
        offset, factor = out[0], out[1] - out[0]
        if not np.allclose(out, offset + probes * factor, rtol=1e-4, atol=1e-6):
            raise self.make_error(
                f"only affine functions may precede the first layer, up to {end!r}"
            )
        return factor, offset

    def identify_activation(self, start, end, width):
        """Return the activation that computes the tensor `end` from `start`."""
        nodes = self.find_nodes_between(start, end)
        if not nodes:
            return ACTIVATIONS["identity"]
        points = np.linspace(-6, 6, 49)
        z = np.stack([np.roll(points, j) for j in range(width)], axis=1)
        out = self.evaluate(start, end, z.astype(np.float32)).astype(np.float64)
        if out.shape != z.shape:
            raise self.make_node_error(nodes[0])
        for activation in propose_activations(z, out):
            if np.allclose(out, activate(activation, z), rtol=1e-5, atol=2e-6):
                return activation
        raise self.make_node_error(nodes[-1])


def propose_activations(z, out):
    """Yield the activations that may have the values `out` at `z`.

    A parameter is computed from the value at the smallest element of `z`.
    """
    yield from ACTIVATIONS.values()
    at = np.unravel_index(np.argmin(z), z.shape)
    lowest, value = float(z[at]), float(out[at])
    slope = value / lowest
    if slope >= 0:
        yield leaky_relu(round(slope, 7))
    if value < 0:
        yield elu(round(value / np.expm1(lowest), 6))
        low, high = 1e-3, 1e3
        for _ in range(80):  # bisection: alpha (exp(z / alpha) - 1) falls as alpha grows
            middle = np.sqrt(low * high)
            if middle * np.expm1(lowest / middle) > value:
                low = middle
            else:
                high = middle
        yield celu(round(float(low), 5))


def activate(activation, z):
    """Return an activation's values at `z`, (m, n) of float64, computed by the kernels."""
    rows, width = z.shape
    padded = compute_padded_width(width, np.dtype(np.float64))
    a = aligned_zeros(rows * padded, np.dtype(np.float64)).reshape(rows, padded)
    a[:, :width] = z
    kernels.activate(activation.name, width, a, None, activation.parameter)
    return a[:, :width]
