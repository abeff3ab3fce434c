"""Networks as ONNX models, out and in, by the package ``onnx``.

What is read is a chain: products (Gemm, or MatMul and Add), normalisations over batches, and
between them functions of single elements, which are recognised by their values, however many
nodes they take.
"""

import os

import numpy as np

from cmlp._core import kernels
from cmlp.activations import ACTIVATIONS, celu, elu, leaky_relu
from cmlp.checks import check_whole, optional, sequence_of
from cmlp.files.atomic import replacing
from cmlp.files.layers import layers_of, usual_loss
from cmlp.parameters import aligned_zeros, padded_width

OLDEST_OPSET = 13
LAYER_NORM_OPSET, GELU_OPSET = 17, 20


def package():
    """Return the package; raises `ImportError` without it."""
    return optional("onnx", "ONNX", "onnx", "onnx")


class Graph:
    """The nodes and constants of a model while it is made."""

    def __init__(self, opset):
        self.onnx, self.opset = package(), opset
        self.nodes, self.constants = [], []

    def node(self, kind, *inputs, output=None, **attributes):
        """Add a node of one output; returns its name."""
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(
                kind, inputs, [output], name=f"{kind}_{output}", **attributes
            )
        )
        return output

    def constant(self, value, kind=np.float32):
        """Add a constant; returns its name."""
        name = f"c{len(self.constants)}"
        array = np.asarray(value, kind)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def scaled(self, x, factor):
        """Return x times a number."""
        return self.node("Mul", x, self.constant(factor))


def sigmoid_of(graph, z, slope):
    """Return z times the sigmoid of a slope."""
    return graph.node("Mul", z, graph.node("Sigmoid", slope))


def write_celu(graph, z, k):
    """Add celu."""
    return graph.node("Celu", z, alpha=k)


def write_gelu(graph, z, k):
    """Add gelu by the error function."""
    if graph.opset >= GELU_OPSET:
        return graph.node("Gelu", z)
    half = graph.scaled(z, 0.5)
    erf = graph.node("Erf", graph.scaled(z, 0.5**0.5))
    return graph.node("Mul", half, graph.node("Add", erf, graph.constant(1.0)))


def write_gelu_tanh(graph, z, k):
    """Add its approximation, z sigmoid(2 sqrt(2/pi) (z + 0.044715 z^3))."""
    if graph.opset >= GELU_OPSET:
        return graph.node("Gelu", z, approximate="tanh")
    cube = graph.node("Mul", graph.node("Mul", z, z), z)
    sum_ = graph.node("Add", z, graph.scaled(cube, 0.044715))
    return sigmoid_of(graph, z, graph.scaled(sum_, 2 * (2 / np.pi) ** 0.5))


def write_clip(graph, z, k):
    """Add hard_tanh."""
    return graph.node("Clip", z, graph.constant(-1.0), graph.constant(1.0))


def write_mish(graph, z, k):
    """Add mish."""
    return graph.node("Mul", z, graph.node("Tanh", graph.node("Softplus", z)))


# Of each activation what adds its nodes, given the graph, the input and the parameter.
WRITERS = {
    "identity": lambda graph, z, k: z,
    "sigmoid": lambda graph, z, k: graph.node("Sigmoid", z),
    "hard_sigmoid": lambda graph, z, k: graph.node("HardSigmoid", z, alpha=1 / 6, beta=0.5),
    "tanh": lambda graph, z, k: graph.node("Tanh", z),
    "hard_tanh": write_clip,
    "relu": lambda graph, z, k: graph.node("Relu", z),
    "leaky_relu": lambda graph, z, k: graph.node("LeakyRelu", z, alpha=k),
    "elu": lambda graph, z, k: graph.node("Elu", z, alpha=k),
    "selu": lambda graph, z, k: graph.node("Selu", z),
    "celu": write_celu,
    "gelu": write_gelu,
    "gelu_tanh": write_gelu_tanh,
    "silu": lambda graph, z, k: sigmoid_of(graph, z, z),
    "mish": write_mish,
    "softplus": lambda graph, z, k: graph.node("Softplus", z),
    "softsign": lambda graph, z, k: graph.node("Softsign", z),
    "softmax": lambda graph, z, k: graph.node("Softmax", z, axis=1),
}


def write(network, path, opset, input_dtype, labels):
    """Write a network as an ONNX model; see `Network.to_onnx`."""
    onnx = package()
    newest = onnx.defs.onnx_opset_version()
    opset = check_whole("opset", opset, OLDEST_OPSET)
    if opset > newest:
        raise ValueError(f"opset must be at most {newest}, which this onnx knows, got {opset}")
    kinds = {"float32": onnx.TensorProto.FLOAT, "uint8": onnx.TensorProto.UINT8}
    if input_dtype not in kinds:
        raise ValueError(f"input_dtype must be 'float32' or 'uint8', got {input_dtype!r}")
    graph = Graph(opset)
    x = "X"
    if input_dtype == "uint8":
        x = graph.node("Cast", x, to=onnx.TensorProto.FLOAT)
        x = graph.node("Div", x, graph.constant(255.0))
    for layer in layers_of(network):
        x = write_layer(graph, x, layer)
    graph.node("Identity", x, output="outputs")
    size = network.size
    outputs = [onnx.helper.make_tensor_value_info("outputs", onnx.TensorProto.FLOAT,
                                                  ["samples", size[-1]])]  # fmt: skip
    if labels is not None and labels is not False:
        outputs.append(write_labels(graph, network, labels))
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "cmlp",
            [onnx.helper.make_tensor_value_info("X", kinds[input_dtype], ["samples", size[0]])],
            outputs, graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", opset)], producer_name="cmlp",
    )  # fmt: skip
    made.ir_version = min(made.ir_version, onnx.helper.find_min_ir_version_for(made.opset_import))
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as file:
        file.write(made.SerializeToString())


def write_layer(graph, x, layer):
    """Add the nodes of a layer; returns the name of its outputs."""
    weight = graph.constant(layer.weight)
    if layer.scale is None:
        z = graph.node("Gemm", x, weight, graph.constant(layer.bias), transB=1)
    else:
        z = graph.node("Gemm", x, weight, transB=1)
        z = write_layer_norm(graph, z, layer)
    return WRITERS[layer.activation.name](graph, z, layer.activation.parameter)


def write_layer_norm(graph, z, layer):
    """Add a normalisation over the layer."""
    scale, shift = graph.constant(layer.scale), graph.constant(layer.bias)
    if graph.opset >= LAYER_NORM_OPSET:
        return graph.node("LayerNormalization", z, scale, shift, axis=-1, epsilon=layer.epsilon)
    z = graph.node("Sub", z, graph.node("ReduceMean", z, axes=[1], keepdims=1))
    variance = graph.node("ReduceMean", graph.node("Mul", z, z), axes=[1], keepdims=1)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(layer.epsilon)))
    return graph.node("Add", graph.node("Mul", graph.node("Div", z, deviation), scale), shift)


def write_labels(graph, network, labels):
    """Add the output ``label``; returns its description."""
    onnx = graph.onnx
    if not network.is_classifier:
        raise ValueError("labels are for classifiers")
    classes = max(network.size[-1], 2)
    if labels is True:
        labels = range(classes)
    labels = sequence_of("labels", labels, "names, one for each class")
    if len(labels) != classes:
        raise ValueError(f"labels must have {classes} items, one for each class, got {len(labels)}")
    text = isinstance(labels[0], str)
    if not all(isinstance(label, str if text else (int, np.integer)) for label in labels):
        raise TypeError(f"labels must be all str or all int, got {labels!r}")
    kind = onnx.TensorProto.STRING if text else onnx.TensorProto.INT64
    if network.size[-1] > 1:
        index = graph.node("ArgMax", "outputs", axis=1, keepdims=0)
    else:
        limit = 0.5 if network._architecture.has_probabilities else 0.0
        flat = graph.node("Squeeze", "outputs", graph.constant([1], np.int64))
        yes = graph.node("Less", flat, graph.constant(limit))
        index = graph.node("Cast", graph.node("Not", yes), to=onnx.TensorProto.INT64)
    names = graph.constant(labels, object if text else np.int64)
    graph.node("Gather", names, index, output="label")
    return onnx.helper.make_tensor_value_info("label", kind, ["samples"])


# What functions of single elements may be made of.
ELEMENTWISE = {
    "Abs", "Add", "Cast", "Celu", "Clip", "Constant", "Div", "Dropout", "Elu", "Erf", "Exp",
    "Flatten", "Gelu", "HardSigmoid", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul",
    "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Reshape", "Selu", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
}  # fmt: skip

PRODUCTS = {"Gemm", "MatMul"}


def read(path, output, make, loss, dtype):
    """Return the network of a model, made by `make`; see `Network.from_onnx`."""
    onnx = package()
    try:
        made = onnx.load(os.fspath(path))
        onnx.checker.check_model(made)
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken model shows in many ways
        raise ValueError(f"{path} is not an ONNX model: {error}") from None
    return network_of(Model(made, os.fspath(path), output).layers(), make, loss, dtype)


class Model:
    """A model that is read."""

    def __init__(self, made, path, output):
        self.onnx, self.made, self.path = package(), made, path
        graph = made.graph
        self.constants = {c.name: self.onnx.numpy_helper.to_array(c) for c in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = self.onnx.numpy_helper.to_array(
                    node.attribute[0].t
                )
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.makers = {name: node for node in graph.node for name in node.output}
        inputs = [i.name for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            raise self.unfit(f"it has the inputs {inputs}, not one")
        self.input = inputs[0]
        found = [o.name for o in graph.output]
        if output is not None and output not in self.makers:
            raise ValueError(f"output={output!r} is unknown; the model has {', '.join(found)}")
        floats = [
            o.name for o in graph.output
            if o.type.tensor_type.elem_type
            in (self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.DOUBLE)
        ]  # fmt: skip
        if output is None and not floats:
            raise self.unfit(f"no output of {found} is a tensor of reals; name one by output=")
        self.output = output or floats[-1]

    def unfit(self, reason):
        """Return the error that says why it cannot be read."""
        return ValueError(f"{self.path} is not a chain of dense layers: {reason}")

    def cannot(self, node):
        """Return the error that names a node."""
        return self.unfit(f"the node {node.name or node.output[0]!r} ({node.op_type})")

    def layers(self):
        """Return a list of (weight, bias, activation), first to last."""
        found, name = [], self.output
        while True:
            stage = self.stage(name)
            if stage is None:
                break
            found.insert(0, stage[:3])
            name = stage[3]
        if not found:
            raise self.unfit("it has no product with constant weights")
        factor, offset = self.affine(self.input, name, found[0][0].shape[1])
        weight, bias, activation = found[0]
        found[0] = weight * factor, bias + weight @ offset, activation
        return found

    def stage(self, name):
        """Return weight, bias, activation and input name of the last product before `name`."""
        end = name
        while True:
            if name == self.input:
                return None
            node = self.makers.get(name)
            if node is None:
                raise self.unfit(f"{name!r} comes from nowhere")
            if node.op_type in PRODUCTS:
                break
            if node.op_type not in (*ELEMENTWISE, "BatchNormalization"):
                raise self.cannot(node)
            name = self.source(node)
        weight, bias = self.product(node)
        # A bias by a node of its own, and normalisations, follow before any function.
        start = node.output[0]
        start, bias = self.added(start, bias, end)
        start, weight, bias = self.normalized(start, weight, bias, end)
        activation = self.function(start, end, len(bias))
        return weight, bias, activation, node.input[0]

    def source(self, node):
        """Return the input of a node that is no constant, of several the first that leads back."""
        varying = [name for name in node.input if name and name not in self.constants]
        if not varying:
            raise self.cannot(node)
        best = varying[0]
        for name in varying:  # where a function forks, the longer way has the product
            if self.depth(name) > self.depth(best):
                best = name
        return best

    def depth(self, name):
        """Return how many nodes lead to a name."""
        if name == self.input or name in self.constants or name not in self.makers:
            return 0
        return 1 + max((self.depth(i) for i in self.makers[name].input if i), default=0)

    def product(self, node):
        """Return the weight (outputs, inputs) and the bias of a product."""
        attributes = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        weight = self.constants.get(node.input[1])
        if weight is None or weight.ndim != 2 or attributes.get("transA"):
            raise self.cannot(node)
        weight = weight.astype(np.float64)
        if not attributes.get("transB"):
            weight = weight.T
        weight = weight * attributes.get("alpha", 1.0)
        bias = np.zeros(len(weight))
        if len(node.input) > 2 and node.input[2]:
            constant = self.constants.get(node.input[2])
            if constant is None:
                raise self.cannot(node)
            bias = bias + np.reshape(constant, -1) * attributes.get("beta", 1.0)
        return weight, bias

    def users(self, name):
        """Return the nodes that take a name."""
        return [node for node in self.made.graph.node if name in node.input]

    def added(self, start, bias, end):
        """Take an Add of a constant into the bias."""
        users = self.users(start)
        if start != end and len(users) == 1 and users[0].op_type == "Add":
            others = [self.constants.get(i) for i in users[0].input if i != start]
            if others and others[0] is not None and np.size(others[0]) in (1, len(bias)):
                return users[0].output[0], bias + np.reshape(others[0], -1)
        return start, bias

    def normalized(self, start, weight, bias, end):
        """Take normalisations over batches into weight and bias."""
        while start != end:
            users = self.users(start)
            if len(users) != 1 or users[0].op_type != "BatchNormalization":
                break
            node = users[0]
            values = [self.constants.get(i) for i in node.input[1:5]]
            if any(value is None for value in values):
                raise self.cannot(node)
            scale, shift, mean, variance = (v.astype(np.float64) for v in values)
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            gain = scale / np.sqrt(variance + epsilon)
            weight, bias = weight * gain[:, None], (bias - mean) * gain + shift
            start = node.output[0]
        return start, weight, bias

    def between(self, start, end):
        """Return the nodes that make `end` of `start`, in order."""
        needed, wanted = [], [end]
        while wanted:
            name = wanted.pop()
            if name == start or name in self.constants or not name:
                continue
            node = self.makers.get(name)
            if node is None:
                raise self.unfit(f"{end!r} depends on more than {start!r}")
            if node not in needed:
                needed.append(node)
                wanted.extend(node.input)
        for node in needed:
            if node.op_type not in ELEMENTWISE:
                raise self.cannot(node)
        return [node for node in self.made.graph.node if node in needed]

    def evaluated(self, start, end, values):
        """Return what the model makes of values (m, n) between two names."""
        nodes = self.between(start, end)
        if not nodes:
            return values
        from onnx.reference import ReferenceEvaluator

        onnx = self.onnx
        used = {name for node in nodes for name in node.input}
        constants = [
            onnx.numpy_helper.from_array(array, name)
            for name, array in self.constants.items()
            if name in used
        ]
        kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        graph = onnx.helper.make_graph(
            nodes, "part", [onnx.helper.make_tensor_value_info(start, kind, values.shape)],
            [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.UNDEFINED, None)], constants,
        )  # fmt: skip
        part = onnx.helper.make_model(graph, opset_imports=self.made.opset_import)
        try:
            [result] = ReferenceEvaluator(part).run(None, {start: values})
        except Exception:  # whatever it cannot compute
            raise self.cannot(nodes[0]) from None
        return np.reshape(result, (len(values), -1))

    def affine(self, start, end, width):
        """Return factor and offset of each input, by which the model begins."""
        kind = next(i for i in self.made.graph.input if i.name == start).type.tensor_type.elem_type
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(kind)
        least = 3 if np.dtype(dtype).kind == "u" else -3
        probes = np.array([0, 1, least, 100])[:, None] * np.ones(width)
        out = np.asarray(self.evaluated(start, end, probes.astype(dtype)), np.float64)
        if out.shape != probes.shape:
            raise self.unfit(f"{end!r} is not as wide as the input")
        offset, factor = out[0], out[1] - out[0]
        if not np.allclose(out, offset + probes * factor, rtol=1e-4, atol=1e-6):
            raise self.unfit(f"what precedes the first layer, up to {end!r}, is not affine")
        return factor, offset

    def function(self, start, end, width):
        """Return the activation whose values the model gives between two names."""
        nodes = self.between(start, end)
        if not nodes:
            return ACTIVATIONS["identity"]
        line = np.linspace(-6, 6, 49)
        rows = np.stack([np.roll(line, j)[: len(line)] for j in range(width)], axis=1)
        out = self.evaluated(start, end, rows.astype(np.float32)).astype(np.float64)
        if out.shape != rows.shape:
            raise self.cannot(nodes[0])
        for activation in candidates(rows, out):
            want = values_of(activation, rows)
            if np.allclose(out, want, rtol=1e-5, atol=2e-6):
                return activation
        raise self.cannot(nodes[-1])


def candidates(z, out):
    """Yield activations that might give `out` for `z`, those with a parameter guessed."""
    yield from ACTIVATIONS.values()
    at = np.unravel_index(np.argmin(z), z.shape)
    least, greatest = float(out[at]), float(z[at])
    slope = least / greatest
    if slope >= 0:
        yield leaky_relu(round(slope, 7))
    if least < 0:
        yield elu(round(least / np.expm1(greatest), 6))
        low, high = 1e-3, 1e3
        for _ in range(80):  # alpha (exp(z / alpha) - 1) falls as alpha grows
            middle = np.sqrt(low * high)
            low, high = (middle, high) if middle * np.expm1(greatest / middle) > least else (
                low, middle)  # fmt: skip
        yield celu(round(float(low), 5))


def values_of(activation, z):
    """Return an activation's values, by the engine's kernels."""
    rows, width = z.shape
    padded = padded_width(width, np.dtype(np.float64))
    a = aligned_zeros(rows * padded, np.dtype(np.float64)).reshape(rows, padded)
    a[:, :width] = z
    kernels.activate(activation.name, width, a, None, activation.parameter)
    return a[:, :width]


def network_of(layers, make, loss, dtype):
    """Return a network of layers (weight, bias, activation)."""
    sizes = [layers[0][0].shape[1], *(len(bias) for _, bias, _ in layers)]
    *hidden, output = [activation for _, _, activation in layers]
    net = make(sizes, activation=hidden, output=output, loss=loss or usual_loss(output.name),
                  init="zeros", dtype=dtype, seed=0)  # fmt: skip
    net.weight = [weight for weight, _, _ in layers]
    net.bias = [bias[:, None] for _, bias, _ in layers]
    return net
