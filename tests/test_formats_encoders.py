"""Exports of networks with input layers have the outputs of the network: ONNX, C, PyTorch."""

import ctypes
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from c_libraries import FLAGS, run_c
from hypothesis import given, settings
from hypothesis import strategies as st
from test_encoders import STACKS, make, make_data
from test_formats_export import run_onnx

from cmlp import SGD, Network
from cmlp._model.layers import LAYERS, Encoder
from cmlp.formats import onnx_encoders
from cmlp.layers import Embedding, OneHot, Periodic, Scale

# Numbers that are no codes; in an export, in contrast to `predict`, they are code 0.
NO_CODES = -1.0, 0.5, 1.5, 61.0, np.nan, np.inf, -np.inf


def with_bad_codes(X, columns):
    """Return rows with numbers that are no codes in these columns, and the rows with code 0."""
    bad, good = np.repeat(X[:1], len(NO_CODES), 0), np.repeat(X[:1], len(NO_CODES), 0)
    for column in columns:
        bad[:, column], good[:, column] = NO_CODES, 0
    return bad, good


def test_onnx_has_every_encoder():
    kinds = {kind for kind, layer in LAYERS.items() if issubclass(layer, Encoder)}
    assert set(onnx_encoders.ENCODER_NODES) == kinds


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_onnx(tmp_path, rng, name, dtype):
    net, path = make(STACKS[name], dtype=dtype), tmp_path / "net.onnx"
    X, _ = make_data(rng, 50, np.float32)
    for opset in (13, 17):
        net.to_onnx(path, opset=opset)
        assert {node.domain for node in onnx.load(path).graph.node} == {""}
        np.testing.assert_allclose(run_onnx(path, X), net(X), rtol=3e-5, atol=1e-5)
    assert run_onnx(path, X[:1]).shape == (1, 2)
    assert run_onnx(path, X[:0]).shape == (0, 2)
    bad, good = with_bad_codes(X, net.state.architecture.code_columns)
    np.testing.assert_array_equal(run_onnx(path, bad), run_onnx(path, good))


@st.composite
def draw_stacks(draw):
    """Return layers for six columns, of random kinds on random columns, and the codes they read."""
    columns = draw(st.permutations(range(6)))
    first, second = sorted(draw(st.lists(st.integers(1, 5), min_size=2, max_size=2)))
    counts = draw(st.lists(st.integers(1, 4), min_size=6, max_size=6))
    codes = columns[:first]
    kind = draw(st.sampled_from([OneHot, lambda *arguments: Embedding(*arguments, dim=2)]))
    # Periodic on columns before all codes keeps its indices after the other layer.
    numbers = [column for column in columns[first:second] if column < min(codes)]
    stack = [kind(codes, counts[:first])]
    if numbers:
        options = {"frequencies": draw(st.integers(1, 9)), "outputs": draw(st.integers(2, 3))}
        kinds = st.sampled_from(["pl", "plr", "pbld", "pblrd"])
        stack.append(Periodic(numbers, type=draw(kinds), **options))
    return stack, dict(zip(codes, counts, strict=False))


@given(drawn=draw_stacks())
@settings(max_examples=25)
def test_onnx_with_any_columns(tmp_path_factory, drawn):
    stack, codes = drawn
    net, path = make(stack, dtype="float32"), tmp_path_factory.mktemp("onnx") / "net.onnx"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 6)).astype(np.float32)
    for column, categories in codes.items():
        X[:, column] = rng.integers(0, categories + 1, 20)
    net.to_onnx(path)
    np.testing.assert_allclose(run_onnx(path, X), net(X), rtol=3e-5, atol=1e-5)


def test_angles_of_many_turns(tmp_path, rng):
    net = make([Periodic(frequencies=3, type="plr")], dtype="float32")
    X = (1e4 * rng.normal(size=(50, 6))).astype(np.float32)
    net.to_onnx(tmp_path / "net.onnx")
    np.testing.assert_allclose(run_onnx(tmp_path / "net.onnx", X), net(X), rtol=3e-5, atol=1e-5)


def test_labels_and_bytes_in_onnx(tmp_path, rng):
    options = {"sizes": (6, 5, 3), "loss": "cross_entropy", "dtype": "float32"}
    net, path = make(STACKS["realmlp"], **options), tmp_path / "net.onnx"
    X, _ = make_data(rng, 50, np.float32)
    net.to_onnx(path, labels=["a", "b", "c"])
    assert (run_onnx(path, X, "label") == np.array(["a", "b", "c"])[net.predict(X)]).all()
    with pytest.raises(ValueError, match="input_dtype must be 'float32' with OneHot or Embedding"):
        net.to_onnx(path, input_dtype="uint8")
    net = make(STACKS["deep"], dtype="float32")
    net.to_onnx(path, input_dtype="uint8")
    X = rng.integers(0, 256, (20, 6), dtype=np.uint8)
    np.testing.assert_allclose(run_onnx(path, X), net(X), rtol=3e-5, atol=1e-5)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Return networks by name, and the library of their C files."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    folder = tmp_path_factory.mktemp("c")
    networks = {}
    for name, stack in STACKS.items():
        networks[name] = make(stack, dtype="float64" if name == "plr" else "float32")
        networks[name].to_c(folder / f"{name}.c", name=name, own_math=name == "pbld")
    shallow = {"sizes": (6, 3), "loss": "cross_entropy"}
    networks["shallow"] = make(STACKS["realmlp"], **shallow)
    networks["shallow"].to_c(folder / "shallow.c", name="shallow", own_math=True)
    networks["bytes"] = make(STACKS["realmlp"], dtype="float32")
    networks["bytes"].to_c(folder / "bytes.c", name="bytes", weights="int8")
    # The encoders themselves need no function of math.h.
    assert "math.h" not in (folder / "pbld.c").read_text()
    sources = sorted(map(str, folder.glob("*.c")))
    path = str(folder / "library.so")
    subprocess.run(
        [compiler, *FLAGS, "-O0", "-shared", "-fPIC", *sources, "-o", path, "-lm"], check=True
    )
    return networks, ctypes.CDLL(path)


@pytest.mark.parametrize("name", [*STACKS, "shallow", "bytes"])
def test_c(library, rng, name):
    net, functions = library[0][name], library[1]
    X, _ = make_data(rng, 50, np.float32)
    outputs = net.state.architecture.outputs
    tolerance = 0.05 if name == "bytes" else 2e-5  # 8-bit weights of the dense layers
    np.testing.assert_allclose(run_c(functions, name, X, outputs), net(X),
                               rtol=tolerance, atol=tolerance)  # fmt: skip
    bad, good = with_bad_codes(X, net.state.architecture.code_columns)
    np.testing.assert_array_equal(
        run_c(functions, name, bad, outputs), run_c(functions, name, good, outputs)
    )
    if name == "shallow":
        pointer = ctypes.POINTER(ctypes.c_float)
        classes = [functions.shallow_classify(x.ctypes.data_as(pointer)) for x in X]
        np.testing.assert_array_equal(classes, net.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_pytorch(rng, name, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = make(STACKS[name], dtype=dtype)
    module = net.to_torch()
    X, _ = make_data(rng, 50, dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.tensor(X)), net(X), rtol=tolerance, atol=tolerance)
        bad, good = with_bad_codes(X, net.state.architecture.code_columns)
        np.testing.assert_array_equal(module(torch.tensor(bad)), module(torch.tensor(good)))
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == sum(array.size for array in net.state.to_arrays().values())
    other = net.copy().to_torch()
    other.load_state_dict(module.state_dict())
    with pytest.raises(ValueError, match=r"layer 0: .* is not supported"):
        Network.from_torch(module)


def test_pytorch_trains_the_encoders(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = make_data(rng, 60)
    net = make(STACKS["realmlp"])
    module = net.to_torch()
    loss = torch.nn.functional.mse_loss(module(torch.tensor(X)), torch.tensor(y))
    loss.backward()
    gradients = [parameter.grad.square().sum() for parameter in module.parameters()]
    # The engine's gradient, from a step of plain gradient descent.
    before = [np.array(array) for array in net.state.parameters.views.values()]
    net.fit(X, y, epochs=1, batch_size=60, optimizer=SGD(1.0))
    after = net.state.parameters.views.values()
    ours = sorted(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True))
    np.testing.assert_allclose(sorted(float(g) for g in gradients), ours, rtol=1e-9)


def test_bad_parameters(tmp_path):
    net = make([Scale(), Periodic([1])], dtype="float64")
    tensors = {tensor.name: view for tensor, view in net.state.parameters.views.items()}
    tensors["frequency"][0, 0] = 1e300
    for call in (net.to_onnx, net.to_c):
        with pytest.raises(ValueError, match=r"frequency\[0\] must be finite in float32; got 1e"):
            call(tmp_path / ("net.onnx" if call == net.to_onnx else "net.c"))
    assert list(tmp_path.iterdir()) == []


def test_the_import_of_onnx_names_the_first_node_of_an_encoder(tmp_path):
    make([OneHot([1], [3]), Embedding([6], [2])], sizes=(6, 2)).to_onnx(tmp_path / "net.onnx")
    assert onnxruntime.InferenceSession(tmp_path / "net.onnx") is not None
    with pytest.raises(ValueError, match=r"the node .* is not supported here"):
        Network.from_onnx(tmp_path / "net.onnx")
