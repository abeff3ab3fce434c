"""The graph of an ONNX model: constants, producers of tensors, attributes, and errors."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cmlp._utils.validation import decode_path

# Before opset 7 elementwise operators did not broadcast and Dropout trained by default.
MIN_OPSET = 7

# Values of a node's domain that mean the operators of ONNX itself.
STANDARD_DOMAINS = ("", "ai.onnx")

# Attributes of Constant, beside `value`, that hold numbers.
CONSTANT_ATTRIBUTES = ("value_float", "value_floats", "value_int", "value_ints")


def load_graph(path):
    """Return the `Graph` of a file.

    Raises
    ------
    ValueError
        If the file is not an ONNX model.
    FileNotFoundError
        If there is no such file.
    """
    path = decode_path(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise
    except Exception as error:  # the package raises many types, protobuf's among them
        raise ValueError(f"{path} is not an ONNX model: {error}") from None
    return Graph(model, path)


class Graph:
    """A graph whose nodes are in topological order, which the package's checker ensures.

    Names of tensors are resolved first: an Identity, or a Dropout that does not train, gives a
    tensor another name. All methods take and return resolved names.

    Parameters
    ----------
    model : onnx.ModelProto
    path : str
        For error messages.

    Attributes
    ----------
    producers : dict from str to onnx.NodeProto
        The node that computes a tensor.
    input : onnx.ValueInfoProto
    outputs : list of onnx.ValueInfoProto
    """

    def __init__(self, model, path):
        self.path = path
        opsets = {o.domain: o.version for o in model.opset_import}
        opset = max((opsets.get(domain, 0) for domain in STANDARD_DOMAINS), default=0)
        if opset < MIN_OPSET:
            raise self.make_error(f"its opset must be at least {MIN_OPSET}; got {opset}")
        self._aliases = {}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {}
        for node in model.graph.node:
            self._add_node(node)
        inputs = [i for i in model.graph.input if i.name not in self._constants]
        if len(inputs) != 1:
            raise self.make_error(f"it must have one input; got {[i.name for i in inputs]}")
        [self.input] = inputs
        self.outputs = list(model.graph.output)

    def _add_node(self, node):
        self.producers.update({name: node for name in node.output if name})
        if node.domain not in STANDARD_DOMAINS or not node.output or not node.output[0]:
            return
        target, source = node.output[0], self.resolve(node.input[0]) if node.input else ""
        if node.op_type == "Constant":
            self._add_constant(node)
        elif node.op_type == "Identity" or (node.op_type == "Dropout" and self._is_inactive(node)):
            self._aliases[target] = source
        elif node.op_type in ("Cast", "Transpose") and source in self._constants:
            folded = fold_node(node, self.get_constant(source))
            if folded is not None:
                self._constants[target] = folded

    def _add_constant(self, node):
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            if attribute.name == "value":
                self._constants[node.output[0]] = value
            elif attribute.name in CONSTANT_ATTRIBUTES:
                dtype = np.float32 if "float" in attribute.name else np.int64
                self._constants[node.output[0]] = np.array(value, dtype)

    def _is_inactive(self, node):
        """Return whether a Dropout does not train; opsets before 12 have no input for that."""
        training = self.resolve(node.input[2]) if len(node.input) > 2 else ""
        return not training or (
            training in self._constants and not self.get_constant(training).any()
        )

    def resolve(self, name):
        """Return the first name of a tensor."""
        # Aliases refer to resolved names, as the nodes are in topological order.
        return self._aliases.get(name, name)

    def is_constant(self, name):
        """Return whether a tensor is constant."""
        return name in self._constants

    def get_constant(self, name):
        """Return a constant as an array."""
        value = self._constants[name]
        if isinstance(value, TensorProto):
            try:
                value = numpy_helper.to_array(value)
            except Exception as error:  # the package raises many types
                raise self.make_error(f"the constant {name!r} is invalid: {error}") from None
            self._constants[name] = value
        return value

    def get_scalar(self, operand):
        """Return a constant with one element as a float, or None for other operands."""
        if isinstance(operand, float):
            return operand
        if operand is None or not self.is_constant(operand):
            return None
        array = self.get_constant(operand)
        is_scalar = array.size == 1 and array.ndim <= 2 and array.dtype.kind == "f"
        return float(array.reshape(())) if is_scalar else None

    def list_operands(self, node):
        """Return the inputs of a node.

        Returns
        -------
        list of str, float or None
            Names; None for an optional input that is missing; a number for one that earlier
            opsets have as an attribute.
        """
        operands = [self.resolve(name) if name else None for name in node.input]
        if node.op_type == "Clip" and len(operands) == 1:
            values = {a.name: a.f for a in node.attribute if a.name in ("min", "max")}
            operands += [values.get("min"), values.get("max")]
        return operands

    def read_attributes(self, node, **defaults):
        """Return the attributes of a node; raise ValueError for one that has no default here."""
        found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for name in found:
            if name not in defaults:
                raise self.make_node_error(node, f"its attribute {name!r} is not supported")
        return {**defaults, **found}

    def make_error(self, reason):
        """Return the error that says why the model cannot be read."""
        return ValueError(f"{self.path} is not a chain of dense layers: {reason}")

    def make_node_error(self, node, reason):
        """Return the error that names an unsupported node and the reason."""
        name = node.name or next(iter(node.output), "")
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        return self.make_error(f"the node {name!r} ({kind}) is not supported here: {reason}")


def fold_node(node, array):
    """Return the output of a Cast or Transpose of a constant; None if it is not supported."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        if node.op_type == "Transpose":
            return array.transpose(attributes.get("perm"))
        if (
            attributes["to"] in (TensorProto.FLOAT, TensorProto.DOUBLE)
            and array.dtype.kind in "fiu"
        ):
            return array.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    except (KeyError, ValueError):  # attributes that are missing or do not fit
        pass
    return None
