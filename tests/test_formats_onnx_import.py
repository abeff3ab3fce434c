"""The import of ONNX models: patterns of nodes, models that are refused, and large models."""

from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cmlp import Network, activations
from cmlp.activations import ACTIVATIONS
from cmlp.formats import onnx_patterns

W, V = np.arange(6).reshape(3, 2) / 6 - 0.4, np.array([[1, -2], [0.5, 3]])


def build(nodes, constants=(), *, opset=17, shape=("n", 3), kind=TensorProto.FLOAT, output="Y",
          dtype=np.float32):  # fmt: skip
    """Return a model of nodes, each (operator, inputs, output, attributes), which reads X.

    Constants of floating-point numbers get the type `dtype`. A node has the name of its operator
    and of its output.
    """
    tensors = []
    for name, value in dict(constants).items():
        array = np.asarray(value)
        array = array.astype(dtype) if array.dtype.kind == "f" else array
        tensors.append(numpy_helper.from_array(array, name))
    parts = []
    for operator, inputs, target, attributes in nodes:
        outputs = [target] if isinstance(target, str) else target
        name = f"{operator}_{outputs[0]}"
        parts.append(helper.make_node(operator, inputs, outputs, name, **attributes))
    graph = helper.make_graph(
        parts, "test", [helper.make_tensor_value_info("X", kind, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "m"])], tensors,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def load(tmp_path, model, **options):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return Network.from_onnx(path, **options)


def run(model, X):
    model.ir_version = 10  # onnxruntime is older than onnx
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"X": X})[0]


PRODUCT = ("MatMul", ["X", "W"], "z", {})
SIGMOIDS = {
    "operator": [("Sigmoid", ["z"], "s", {})],
    "reciprocal": [("Neg", ["z"], "a", {}), ("Exp", ["a"], "b", {}), ("Add", ["b", "one"], "c", {}),
                   ("Reciprocal", ["c"], "s", {})],
    "quotient": [("Neg", ["z"], "a", {}), ("Exp", ["a"], "b", {}), ("Add", ["one", "b"], "c", {}),
                 ("Div", ["one", "c"], "s", {})],
}  # fmt: skip
ERF = [("Div", ["z", "root2"], "a", {}), ("Erf", ["a"], "b", {}), ("Add", ["one", "b"], "e", {})]
CUBES = {
    "pow": [("Pow", ["z", "three"], "c", {})],
    "mul": [("Mul", ["z", "z"], "q", {}), ("Mul", ["q", "z"], "c", {})],
}
TANH = [
    ("Mul", ["c", "k"], "a", {}), ("Add", ["a", "z"], "b", {}), ("Mul", ["scale", "b"], "d", {}),
    ("Tanh", ["d"], "t", {}), ("Add", ["t", "one"], "e", {}),
]  # fmt: skip
PRODUCTS_OF_THREE = {
    "half of product": [("Mul", ["z", "e"], "p", {}), ("Mul", ["p", "half"], "Y", {})],
    "half z": [("Mul", ["half", "z"], "p", {}), ("Mul", ["e", "p"], "Y", {})],
    "half factor": [("Mul", ["e", "half"], "p", {}), ("Mul", ["z", "p"], "Y", {})],
}
CONSTANTS = {
    "W": W, "one": 1.0, "three": 3.0, "half": 0.5, "root2": 2**0.5, "k": 0.044715,
    "scale": (2 / np.pi) ** 0.5, "zero": 0.0, "six": 6.0, "minus": -1.0, "sixth": 1 / 6,
    "twenty": 20.0, "slope": [0.25], "big": float(np.finfo(np.float32).max),
}  # fmt: skip

# (activation, nodes from z to Y): what the exporters of this package, PyTorch, skl2onnx and Keras
# write, and the other patterns of the table.
CASES = [
    *(("sigmoid", [*nodes, ("Identity", ["s"], "Y", {})]) for nodes in SIGMOIDS.values()),
    *(("silu", [*nodes, ("Mul", ["s", "z"], "Y", {})]) for nodes in SIGMOIDS.values()),
    *(("gelu", [*ERF, *nodes]) for nodes in PRODUCTS_OF_THREE.values()),
    *(("gelu_tanh", [*cube, *TANH, *nodes])
      for cube in CUBES.values() for nodes in PRODUCTS_OF_THREE.values()),
    ("hard_sigmoid", [("HardSigmoid", ["z"], "Y", {"alpha": 1 / 6})]),
    ("hard_sigmoid", [("Add", ["z", "three"], "a", {}), ("Clip", ["a", "zero", "six"], "b", {}),
                      ("Div", ["b", "six"], "Y", {})]),
    ("hard_sigmoid", [("Add", ["z", "three"], "a", {}), ("Relu", ["a"], "r", {}),
                      ("Min", ["r", "six"], "b", {}), ("Mul", ["b", "sixth"], "Y", {})]),
    ("hard_tanh", [("Clip", ["z", "minus", "one"], "Y", {})]),
    ("hard_tanh", [("Min", ["z", "one"], "a", {}), ("Max", ["a", "minus"], "Y", {})]),
    ("hard_tanh", [("Max", ["z", "minus"], "a", {}), ("Min", ["one", "a"], "Y", {})]),
    ("relu", [("Relu", ["z"], "Y", {})]),
    ("relu", [("Max", ["zero", "z"], "Y", {})]),
    ("relu", [("Clip", ["z", "zero"], "Y", {})]),
    ("relu", [("Clip", ["z", "zero", "big"], "Y", {})]),
    ("leaky_relu", [("LeakyRelu", ["z"], "Y", {})]),
    ("leaky_relu", [("PRelu", ["z", "slope"], "Y", {})]),
    ("elu", [("Elu", ["z"], "Y", {})]),
    ("elu", [("Elu", ["z"], "Y", {"alpha": 0.7})]),
    ("celu", [("Celu", ["z"], "Y", {"alpha": 0.7})]),
    ("selu", [("Selu", ["z"], "Y", {})]),
    ("tanh", [("Tanh", ["z"], "Y", {})]),
    ("softplus", [("Softplus", ["z"], "Y", {})]),
    ("softplus", [("Softplus", ["z"], "a", {}), ("Greater", ["z", "twenty"], "b", {}),
                  ("Where", ["b", "z", "a"], "Y", {})]),
    ("mish", [("Softplus", ["z"], "a", {}), ("Tanh", ["a"], "b", {}),
              ("Mul", ["b", "z"], "Y", {})]),
    ("mish", [("Mish", ["z"], "Y", {})]),
    ("softsign", [("Softsign", ["z"], "Y", {})]),
    ("softsign", [("Abs", ["z"], "a", {}), ("Add", ["a", "one"], "b", {}),
                  ("Div", ["z", "b"], "Y", {})]),
    ("gelu", [("Gelu", ["z"], "Y", {})]),
    ("gelu_tanh", [("Gelu", ["z"], "Y", {"approximate": "tanh"})]),
    ("softmax", [("Softmax", ["z"], "Y", {})]),
    ("softmax", [("Softmax", ["z"], "Y", {"axis": 1})]),
    ("identity", [("Identity", ["z"], "Y", {})]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "nodes"), CASES, ids=[name for name, _ in CASES])
def test_patterns_are_recognized(tmp_path, rng, name, nodes):
    model = build([PRODUCT, *nodes], CONSTANTS, opset=20)
    net = load(tmp_path, model)
    assert net.output == name
    X = np.float32(20) * rng.normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_allclose(net(X), run(model, X), rtol=1e-5, atol=2e-6)


def test_every_activation_has_a_pattern():
    assert set(onnx_patterns.PATTERNS) == set(ACTIVATIONS)
    assert {name for name, _ in CASES} == set(ACTIVATIONS)


def test_parameters_are_read_from_attributes(tmp_path):
    for node, want in (
        (("LeakyRelu", ["z"], "Y", {"alpha": 0.2}), activations.leaky_relu(0.2)),
        (("Elu", ["z"], "Y", {"alpha": 0.7}), activations.elu(0.7)),
        (("Celu", ["z"], "Y", {"alpha": 1e-3}), activations.celu(1e-3)),
    ):
        assert load(tmp_path, build([PRODUCT, node], CONSTANTS)).state.architecture.output == want


RELU = ("Relu", ["z"], "Y", {})


@pytest.mark.parametrize(
    ("nodes", "node"),
    [
        # Not the activation that they resemble.
        ([PRODUCT, ("Clip", ["z", "zero", "six"], "Y", {})], "Clip"),
        ([PRODUCT, ("Clip", ["z", "zero", "hundred"], "Y", {})], "Clip"),
        ([PRODUCT, ("Clip", ["z", "", "six"], "Y", {})], "Clip"),
        ([PRODUCT, ("Clip", ["z"], "Y", {})], "Clip"),
        ([PRODUCT, ("Max", ["z", "minus6"], "Y", {})], "Max"),
        ([PRODUCT, ("Max", ["z", "zero", "one"], "Y", {})], "Max"),
        ([PRODUCT, ("Min", ["z", "zero"], "Y", {})], "Min"),
        ([PRODUCT, ("ThresholdedRelu", ["z"], "Y", {"alpha": 0.1})], "ThresholdedRelu"),
        ([PRODUCT, ("HardSigmoid", ["z"], "Y", {})], "HardSigmoid"),
        ([PRODUCT, ("HardSwish", ["z"], "Y", {})], "HardSwish"),
        ([PRODUCT, ("Selu", ["z"], "Y", {"gamma": 1.0})], "Selu"),
        ([PRODUCT, ("LeakyRelu", ["z"], "Y", {"alpha": -0.1})], "LeakyRelu"),
        ([PRODUCT, ("Elu", ["z"], "Y", {"alpha": 0.0})], "Elu"),
        ([PRODUCT, ("PRelu", ["z", "slopes"], "Y", {})], "PRelu"),
        ([PRODUCT, ("Softmax", ["z"], "Y", {"axis": 0})], "Softmax"),
        ([PRODUCT, ("LogSoftmax", ["z"], "Y", {})], "LogSoftmax"),
        ([PRODUCT, ("Sigmoid", ["z"], "s", {}), ("Mul", ["s", "s"], "Y", {})], "Mul"),
        ([PRODUCT, ("Sigmoid", ["z"], "s", {}), ("Tanh", ["z"], "t", {}),
          ("Mul", ["s", "t"], "Y", {})], "Mul"),
        ([PRODUCT, ("Neg", ["z"], "n", {}), ("Sigmoid", ["n"], "s", {}),
          ("Mul", ["z", "s"], "Y", {})], "Mul"),
        ([PRODUCT, ("Neg", ["z"], "n", {}), ("Abs", ["n"], "a", {}), ("Add", ["a", "one"], "b", {}),
          ("Div", ["z", "b"], "Y", {})], "Div"),
        ([PRODUCT, ("Relu", ["z"], "r", {}), ("Tanh", ["r"], "Y", {})], "Tanh"),
        ([PRODUCT, ("Softplus", ["z"], "a", {}), ("Greater", ["z", "one"], "b", {}),
          ("Where", ["b", "z", "a"], "Y", {})], "Where"),
        # What surrounds the layers.
        ([("Clip", ["X", "zero", "six"], "a", {}), ("MatMul", ["a", "W"], "z", {}), RELU], "Clip"),
        ([("Flatten", ["X"], "a", {"axis": 0}), ("MatMul", ["a", "W3"], "z", {}), RELU], "Flatten"),
        ([("Transpose", ["X"], "a", {}), ("MatMul", ["a", "W"], "z", {}), RELU], "Transpose"),
        ([("Reshape", ["X", "one_row"], "a", {}), ("MatMul", ["a", "W"], "z", {}), RELU],
         "Reshape"),
        ([PRODUCT, ("Relu", ["z"], "r", {}), ("Mul", ["r", "six"], "Y", {})], "Mul"),
        ([PRODUCT, ("Softmax", ["z"], "s", {}), ("MatMul", ["s", "V"], "Y", {})], "MatMul"),
        ([PRODUCT, ("Dropout", ["z", "half", "true"], "d", {}), ("Relu", ["d"], "Y", {})],
         "Dropout"),
        ([PRODUCT, ("Cast", ["z"], "a", {"to": TensorProto.FLOAT16}),
          ("Cast", ["a"], "b", {"to": TensorProto.FLOAT}), ("Relu", ["b"], "Y", {})], "Cast"),
        ([PRODUCT, ("Cast", ["z"], "a", {"to": TensorProto.INT32}),
          ("Cast", ["a"], "b", {"to": TensorProto.FLOAT}), ("Relu", ["b"], "Y", {})], "Cast"),
        # Products and their constants.
        ([("MatMul", ["X", "V"], "z", {}), RELU], "MatMul"),
        ([("MatMul", ["W", "X"], "z", {}), RELU], "MatMul"),
        ([("MatMul", ["X", "nan"], "z", {}), RELU], "MatMul"),
        ([("MatMul", ["X", "row"], "z", {}), RELU], "MatMul"),
        ([PRODUCT, ("Relu", ["z"], "r", {}), ("MatMul", ["r", "W"], "Y", {})], "MatMul"),
        ([("Gemm", ["X", "W", "column"], "z", {}), RELU], "Gemm"),
        ([("Gemm", ["X", "W", "three_biases"], "z", {}), RELU], "Gemm"),
        ([("Gemm", ["X", "W", "inf"], "z", {}), RELU], "Gemm"),
        ([("Gemm", ["X", "W"], "z", {"transA": 1}), RELU], "Gemm"),
        ([("Gemm", ["X", "W"], "z", {"transB": 1}), RELU], "Gemm"),
        ([PRODUCT, ("Add", ["z", "column"], "a", {}), ("Relu", ["a"], "Y", {})], "Add"),
        ([PRODUCT, ("Add", ["z", "three_biases"], "a", {}), ("Relu", ["a"], "Y", {})], "Add"),
        ([PRODUCT, ("Div", ["z", "zero"], "a", {}), ("Relu", ["a"], "Y", {})], "Div"),
        ([PRODUCT, ("Div", ["one", "z"], "a", {}), ("Relu", ["a"], "Y", {})], "Div"),
        ([PRODUCT, ("BatchNormalization", ["z", "pair", "pair", "pair", "negative"], "a", {}),
          ("Relu", ["a"], "Y", {})], "BatchNormalization"),
        ([PRODUCT, ("BatchNormalization", ["z", "pair", "pair", "pair", "pair"], ["a", "m", "v"],
                    {"training_mode": 1}), ("Relu", ["a"], "Y", {})], "BatchNormalization"),
    ],
)  # fmt: skip
def test_other_functions_are_refused_by_name(tmp_path, nodes, node):
    constants = {
        **CONSTANTS, "hundred": 100.0, "minus6": -6.0, "slopes": [0.1, 0.2], "V": V,
        "W3": np.ones((3, 2)), "one_row": np.array([1, -1]), "true": np.array(True),
        "nan": np.where(W > 0, W, np.nan), "row": np.ones(3), "column": [[1.0], [2.0]],
        "three_biases": np.ones(3), "inf": [1.0, np.inf], "pair": [1.0, 2.0],
        "negative": [1.0, -1e-6],
    }  # fmt: skip
    with pytest.raises(
        ValueError, match=rf"is not a chain of dense layers: .*'{node}_\w' \({node}\)"
    ):
        load(tmp_path, build(nodes, constants))


def test_inputs_that_do_not_fit(tmp_path):
    nodes = [PRODUCT, RELU]
    for options, message in (
        ({"shape": ("n", 4)}, r"weights are for 3 columns, its input has 4"),
        ({"shape": (3,)}, r"must have a row for each sample; its shape is \[3\]"),
        ({"shape": ("n", 2, 3)}, r"must be a matrix; its shape is \[None, 2, 3\]"),
        ({"kind": TensorProto.UINT8}, r"a Cast to float or double must precede it"),
        ({"kind": TensorProto.STRING}, r"its input 'X' must hold numbers"),
        ({"kind": 999}, r"model\.onnx is not"),
        ({"kind": TensorProto.DOUBLE}, r"'W' must be float64; got float32"),
        ({"opset": 6}, r"its opset must be at least 7; got 6"),
    ):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, build(nodes, {"W": W}, **options))
    model = build([("Add", ["X", "X2"], "a", {}), ("MatMul", ["a", "W"], "z", {}), RELU], {"W": W})
    model.graph.input.append(helper.make_tensor_value_info("X2", TensorProto.FLOAT, ["n", 3]))
    with pytest.raises(ValueError, match=r"it must have one input; got \['X', 'X2'\]"):
        load(tmp_path, model)
    model = build(nodes, {"W": W})
    model.graph.initializer[0].data_type = 999
    with pytest.raises(ValueError, match=r"model\.onnx is not"):
        load(tmp_path, model)
    huge = {"W": np.full((3, 2), 1e39)}
    with pytest.raises(ValueError, match=r"weight\[0\] must be finite in float32; got 1e\+39"):
        load(tmp_path, build(nodes, huge, kind=TensorProto.DOUBLE, dtype=np.float64))
    assert load(tmp_path, build(nodes, huge, kind=TensorProto.DOUBLE, dtype=np.float64),
                dtype="float64").weight[0].max() == 1e39  # fmt: skip


def test_operators_of_other_domains_are_refused(tmp_path):
    model = build([PRODUCT, RELU], {"W": W})
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ValueError, match=r"'Relu_Y' \(com.example.Relu\) is not supported"):
        load(tmp_path, model)


def test_affine_functions_are_folded(tmp_path, rng):
    nodes = [
        ("Sub", ["X", "mean"], "a", {}), ("Mul", ["a", "row"], "b", {}),
        ("MatMul", ["b", "W"], "c", {}), ("Add", ["bias", "c"], "d", {}), ("Neg", ["d"], "e", {}),
        ("BatchNormalization", ["e", "g", "bias", "m", "v"], "f", {"epsilon": 1e-3}),
        ("Tanh", ["f"], "h", {}), ("BatchNormalization", ["h", "g", "m", "bias", "v"], "i", {}),
        ("Dropout", ["i"], "j", {}), ("Sub", ["one", "j"], "k", {}),
        ("Gemm", ["k", "V", "bias"], "l", {"alpha": 0.5, "beta": 2.0, "transB": 1}),
        ("Div", ["l", "half"], "Y", {}),
    ]  # fmt: skip
    constants = {"mean": [1.0, 2.0, 3.0], "row": [[0.5, -1.0, 2.0]], "W": W, "bias": [0.5, -1.0],
                 "g": [1.5, -2.0], "m": [0.1, 0.2], "v": [1.5, 0.5], "one": [[1.0]], "V": V,
                 "half": 0.5}  # fmt: skip
    model = build(nodes, constants)
    net = load(tmp_path, model)
    X = rng.normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(net(X), run(model, X), rtol=1e-5, atol=5e-6)
    assert (net.activation, net.output) == (("tanh",), "identity")


def test_images_are_flattened(tmp_path, rng):
    X = rng.integers(0, 256, (5, 1, 2, 3), dtype=np.uint8)
    weight = rng.normal(size=(6, 2))
    for flat in (("Flatten", ["b"], "c", {}), ("Reshape", ["b", "shape"], "c", {})):
        model = build(
            [("Cast", ["X"], "a", {"to": TensorProto.FLOAT}), ("Div", ["a", "scale"], "b", {}),
             flat, ("MatMul", ["c", "W"], "Y", {})],
            {"scale": 255.0, "W": weight, "shape": np.array([-1, 6])}, shape=("n", 1, 2, 3),
            kind=TensorProto.UINT8,
        )  # fmt: skip
        net = load(tmp_path, model)
        rows = X.reshape(5, 6).astype(np.float32)
        np.testing.assert_allclose(net(rows), run(model, X), rtol=1e-5, atol=1e-6)


def test_constants_may_be_nodes(tmp_path, rng):
    weight = numpy_helper.from_array(W.T.astype(np.float64), "w")
    nodes = [
        ("Constant", [], "W64", {"value": weight}), ("Transpose", ["W64"], "t", {"perm": [1, 0]}),
        ("Cast", ["t"], "W", {"to": TensorProto.FLOAT}),
        ("Constant", [], "z0", {"value_float": 0.0}), PRODUCT, ("Max", ["z", "z0"], "Y", {}),
    ]  # fmt: skip
    model = build(nodes)
    X = rng.normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(load(tmp_path, model)(X), run(model, X), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_casts_must_keep_the_precision_of_the_network(tmp_path, dtype):
    model = build([PRODUCT, ("Cast", ["z"], "Y", {"to": TensorProto.FLOAT})], {"W": W},
                  kind=TensorProto.DOUBLE, dtype=np.float64)  # fmt: skip
    if dtype == "float32":
        assert load(tmp_path, model).size == [3, 2]
    else:
        with pytest.raises(ValueError, match=r"\(Cast\) .* it loses precision"):
            load(tmp_path, model, dtype=dtype)


def test_deep_models_take_linear_time(tmp_path):
    # A product of 2^20 factors, and of 2^5000: the test does not end if the time is exponential.
    for n in (20, 5000):
        nodes = [("Mul", [f"a{i}", f"a{i}"], f"a{i + 1}", {}) for i in range(n)]
        with pytest.raises(ValueError, match=r"\(Mul\) is not supported"):
            load(tmp_path, build([("MatMul", ["X", "W"], "a0", {}), *nodes], {"W": W},
                                 output=f"a{n}"))  # fmt: skip
    nodes = [PRODUCT, *(("Identity" if i % 2 else "Neg", [f"a{i}"], f"a{i + 1}", {})
                        for i in range(5000)), ("Relu", ["a5000"], "Y", {})]  # fmt: skip
    nodes[0] = ("MatMul", ["X", "W"], "a0", {})
    assert load(tmp_path, build(nodes, {"W": W})).output == "relu"
    path = tmp_path / "net.onnx"
    for sizes in ([4] * 19, [4] * 400):
        net = Network(sizes, activation="silu", loss="mse", seed=0)
        net.to_onnx(path)
        twin = Network.from_onnx(path)
        assert twin.activation == net.activation
        assert all((a == b).all() for a, b in zip(net.weight, twin.weight, strict=True))


# PyTorch's exporters with the opsets that they write: the one by TorchScript, and the one by
# torch.export if the package that it needs is installed.
EXPORTERS = [("script", opset) for opset in (13, 15, 18, 20)]
if find_spec("onnxscript"):
    EXPORTERS += [("dynamo", opset) for opset in (18, 20)]


@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
# PyTorch deprecates the exporter that needs no further packages.
@pytest.mark.filterwarnings("default")
def test_every_activation_that_pytorch_exports(tmp_path, rng, exporter, opset):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    path = tmp_path / "model.onnx"
    X = torch.tensor(10 * rng.normal(size=(8, 6)), dtype=torch.float32)
    options = {"dynamo": False, "dynamic_axes": {"X": {0: "n"}}}
    if exporter == "dynamo":
        options = {"dynamo": True, "verbose": False, "external_data": False}
    for name in ACTIVATIONS:
        kind = activations.WITH_PARAMETER.get(name, lambda alpha, name=name: name)(0.3)
        net = Network([6, 5, 3], output=kind, loss="cross_entropy" if name == "softmax" else "mse",
                      seed=0)  # fmt: skip
        torch.onnx.export(net.to_torch(), (X,), str(path), input_names=["X"], opset_version=opset,
                          **options)  # fmt: skip
        twin = Network.from_onnx(path)
        assert twin.state.architecture.output == net.state.architecture.output
        np.testing.assert_allclose(twin(X.numpy()), net(X.numpy()), rtol=1e-6, atol=1e-6)
