"""Networks of 8-bit integers in files: native formats, ONNX and C keep the integers."""

import ctypes
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from c_libraries import COMPILERS, compile_libraries, compile_library, run_c
from test_formats_native import NATIVE, RAW_ACCESS

from cmlp import LayerNorm, Network, QuantizedNetwork, losses
from cmlp.activations import ACTIVATIONS

F = np.float32


def make_network(rng, name="relu", sizes=(7, 40, 30, 4), **options):
    """Return a quantized network and samples."""
    hidden = "tanh" if name == "softmax" else name
    loss = "cross_entropy" if name == "softmax" else "mse"
    options = {"output": name, "loss": loss, "activation": hidden, **options}
    net = Network(list(sizes), seed=0, **options)
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape)
    for mean, variance in zip(net.running_mean, net.running_variance, strict=True):
        if mean is not None:
            mean[:], variance[:] = rng.normal(size=mean.shape), rng.uniform(0.5, 2, mean.shape)
    X = (rng.normal(size=(60, sizes[0])) * 2).astype(F)
    return net.quantize(X), X


# --- Native files -------------------------------------------------------------------------------


@pytest.fixture(params=NATIVE)
def native(request):
    if NATIVE[request.param].package:
        pytest.importorskip(NATIVE[request.param].package)
    return request.param


def test_a_round_trip_keeps_everything(native, tmp_path, rng):
    q, X = make_network(rng, "sigmoid", normalization=[LayerNorm(1e-3), "batch"], dropout=0.2,
                        loss="binary_cross_entropy")  # fmt: skip
    q.task = "multilabel"
    path = tmp_path / f"net{NATIVE[native].extension}"
    q.save(path)
    twin = QuantizedNetwork.load(path)
    np.testing.assert_array_equal(twin(X), q(X))
    assert (twin.task, repr(twin), twin.state.method) == ("multilabel", repr(q), "percentile")
    for ours, theirs in zip(q.layers, twin.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        assert ours.inputs == theirs.inputs
    before = path.read_bytes()
    twin.save(path)
    assert path.read_bytes() == before


def test_the_training_record_is_kept(native, tmp_path, rng, capsys):
    net = Network([7, 5, 2], loss="mse", activation="relu", seed=0)
    X = rng.normal(size=(20, 7))
    net.fit(X, X[:, :2], epochs=3)
    path = tmp_path / f"net{NATIVE[native].extension}"
    net.quantize(X).save(path)
    assert QuantizedNetwork.load(path).state.training == net.state.training


def test_a_callable_loss_is_passed_to_load(native, tmp_path, rng):
    def loss(outputs, targets):
        return 0.0, outputs

    X = rng.normal(size=(20, 7))
    q = Network([7, 5, 2], loss=loss, activation="relu", seed=0).quantize(X)
    path = tmp_path / f"net{NATIVE[native].extension}"
    q.save(path)
    twin = QuantizedNetwork.load(path, loss=loss)
    np.testing.assert_array_equal(twin(X), q(X))
    assert twin.loss == q.loss == losses.CALLABLE


def test_each_class_reads_its_own_files(native, tmp_path, rng):
    q, _ = make_network(rng)
    path = tmp_path / f"net{NATIVE[native].extension}"
    q.save(path)
    for read in (Network.load, Network.resume):
        with pytest.raises(
            ValueError, match=r"is a quantized network, .* use cmlp.QuantizedNetwork.load\(path\)"
        ):
            read(path)
    Network([3, 2], seed=0).save(path)
    with pytest.raises(
        ValueError, match=r"is not quantized; use Network.load\(path\)\.quantize\(X\)"
    ):
        QuantizedNetwork.load(path)
    with pytest.raises(ValueError, match=r"path must end in .npz or .safetensors"):
        q.save(tmp_path / "net.txt")
    with pytest.raises(FileNotFoundError):
        QuantizedNetwork.load(tmp_path / f"none{NATIVE[native].extension}")


def set_header(key, value):
    def change(header, arrays):
        header["quantization"][key] = value

    return change


def set_element(name, value):
    def change(header, arrays):
        arrays[name] = arrays[name].copy()
        arrays[name].flat[0] = value

    return change


INPUTS = [[0.5, 3], [0.5, 3], [0.5, 3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_header("method", "guess"), "quantization.method must be one of mse, minmax, perc"),
        (set_header("inputs", INPUTS[:2]), "inputs must be a list of 3 items"),
        (set_header("inputs", [*INPUTS[:2], [0.5, 256]]), r"quantization.inputs\[2\]\[1\] must be"),
        (set_header("inputs", [*INPUTS[:2], [0.5, 2.5]]), r"quantization.inputs\[2\]\[1\] must be"),
        (set_header("inputs", [*INPUTS[:2], [-0.5, 2]]), r"quantization.inputs\[2\]\[0\] must be"),
        (set_header("inputs", [*INPUTS[:2], [0.0, 2]]), "scale must be from"),
        (set_header("inputs", [*INPUTS[:2], [1e39, 2]]), "scale must be from"),
        (set_header("inputs", 3), "quantization.inputs must be a list"),
        (set_header("extra", 3), "quantization.'extra' is not a known key"),
        (lambda header, arrays: header.update(quantization=3), "quantization must be an object"),
        (lambda header, arrays: header.update(task="regressions"), "task must be"),
        (set_element("weight_1", -128), "weight_1 must be at least -127; got -128"),
        (set_element("weight_scale_0", 0), "weight_scale_0 must be at least 1.18e-38; got 0"),
        (set_element("weight_scale_0", np.nan), "weight_scale_0 must be finite"),
        (set_element("shift_0", np.inf), "shift_0 must be finite"),
        (set_element("bias_2", 2**31 - 1), "bias_2 must be from -"),
        (set_element("bias_2", -(2**31)), "bias_2 must be from -"),
        (lambda header, arrays: arrays.pop("bias_0"), "bias_0"),
        (lambda header, arrays: arrays.update(more=arrays["bias_0"]), "unknown members"),
        (lambda header, arrays: arrays.update(weight_0=arrays["weight_0"].astype(F)), "weight_0"),
    ],
)
def test_altered_files_are_refused(native, tmp_path, rng, change, message):
    q, _ = make_network(rng, normalization=["layer", None])
    path = tmp_path / f"net{NATIVE[native].extension}"
    q.save(path)
    load, store = RAW_ACCESS[native]
    text, arrays = load(path)
    header = json.loads(text)
    change(header, arrays)
    store(path, json.dumps(header), arrays)
    with pytest.raises(ValueError, match=f"is not a network file: .*{message}"):
        QuantizedNetwork.load(path)


# --- ONNX ---------------------------------------------------------------------------------------


def run_onnx(path, X, output="outputs", optimizes=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimizes:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )  # fmt: skip
    return session.run([output], {"X": X})[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_onnx_runtime_computes_the_same_outputs(tmp_path, rng, name, opset, normalization):
    q, X = make_network(rng, name, normalization=normalization)
    path = tmp_path / "net.onnx"
    q.to_onnx(path, opset=opset)
    onnx.checker.check_model(str(path), full_check=True)
    # An activation that is between two integers may become the other one.
    for optimizes in (False, True):
        difference = np.abs(run_onnx(path, X, optimizes=optimizes) - q(X))
        assert np.median(difference) < 1e-6
        assert difference.max() < 0.02 * max(1, np.abs(q(X)).max())


def test_onnx_models_have_the_integers(tmp_path, rng):
    q, _ = make_network(rng)
    q.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    for layer in q.layers:
        for integers in (layer.weight, layer.bias):
            assert any(a.dtype == integers.dtype and np.array_equal(a, integers) for a in arrays)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 3
    assert kinds.count("Gemm") == 3
    assert kinds.count("DequantizeLinear") == 3 * 3


def test_bytes_and_labels_in_onnx(tmp_path, rng):
    net = Network([7, 20, 4], activation="relu", loss="cross_entropy", seed=0)
    X = rng.integers(0, 256, (50, 7), np.uint8)
    path = tmp_path / "net.onnx"
    for q in (net.quantize(X), net.quantize(X / 255 + 0.2)):
        q.to_onnx(path, input_dtype="uint8", labels=["a", "b", "c", "d"])
        np.testing.assert_allclose(run_onnx(path, X), q(X), atol=2e-3)
        want = np.array(["a", "b", "c", "d"])[q.predict(X)]
        assert (run_onnx(path, X, "label") == want).mean() > 0.95
    with pytest.raises(ValueError, match="input_dtype must be 'float32' or 'uint8'; got 'int8'"):
        q.to_onnx(path, input_dtype="int8")


# --- C ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_c_computes_the_same_outputs(tmp_path, rng, name):
    expected = {}
    for sizes, normalization in (((7, 40, 30, 4), None), ((7, 40, 4), "layer"), ((7, 4), None)):
        q, X = make_network(rng, name, sizes, normalization=normalization)
        for own_math in (False, True):
            path = tmp_path / f"model_{len(sizes)}_{own_math}.c"
            q.to_c(path, name=path.stem, own_math=own_math)
            expected[path] = q(X), X
    for library in compile_libraries([*expected], COMPILERS):
        for path, (outputs, X) in expected.items():
            # An activation that is between two integers may become the other one.
            difference = np.abs(run_c(library, path.stem, X, 4) - outputs)
            assert np.median(difference) < 2e-6 * max(1, np.abs(outputs).max())
            assert difference.max() < 0.02 * max(1, np.abs(outputs).max())


@pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")
@pytest.mark.parametrize("name", ["identity", "relu", "leaky_relu", "hard_tanh"])
def test_c_computes_the_same_bits(tmp_path, rng, name):
    q, X = make_network(rng, name, output="identity")
    path = tmp_path / "model.c"
    q.to_c(path)
    assert "math.h" not in path.read_text()
    for flags in ((), ("-march=native", "-ffp-contract=fast", "-O3")):
        for library in compile_libraries([path], COMPILERS, flags):
            np.testing.assert_array_equal(run_c(library, "model", X, 4), q(X))


@pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")
@pytest.mark.parametrize("outputs", [1, 4])
def test_classes_in_c(tmp_path, rng, outputs):
    loss = "cross_entropy" if outputs > 1 else "binary_cross_entropy"
    net = Network([7, 20, outputs], activation="relu", loss=loss, seed=0)
    X = rng.normal(size=(60, 7)).astype(F)
    q = net.quantize(X)
    q.to_c(tmp_path / "model.c", name="digits")
    library = compile_library(tmp_path / "model.c", COMPILERS[0])
    pointer = ctypes.POINTER(ctypes.c_float)
    assert [library.digits_classify(x.ctypes.data_as(pointer)) for x in X] == q.predict(X).tolist()
    with pytest.raises(ValueError, match=r"path must end in .c"):
        q.to_c(tmp_path / "model.cpp")
    with pytest.raises(ValueError, match="name must be an identifier of C"):
        q.to_c(tmp_path / "model.c", name="a b")
