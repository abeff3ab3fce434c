"""Exports and imports have the outputs of the network: ONNX, C, PyTorch, Keras, scikit-learn."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from c_libraries import COMPILERS, FLAGS, compile_libraries, compile_library, run_c
from conftest import draw_parameters
from sklearn import neural_network
from sklearn.datasets import make_classification

from cmlp import MLP, LayerNorm, Network, activations, losses
from cmlp.activations import ACTIVATIONS
from cmlp.formats import c_functions, c_source, keras, onnx_export, torch
from cmlp.losses import LOSSES

# Every table with an entry for each activation.
ACTIVATION_TABLES = {
    "c": c_functions.ACTIVATION_CODE,
    "onnx": onnx_export.ACTIVATION_NODES,
    "torch": torch.MODULES,
    "keras": keras.LAYERS,
}


def network(name, rng, **options):
    """Return a network with this activation in all layers and values on all of its pieces."""
    with_parameter = activations.WITH_PARAMETER.get(name)
    kind = with_parameter(0.3) if with_parameter else name
    output = "softmax" if name == "softmax" else kind
    options = {"loss": "cross_entropy" if name == "softmax" else "mse", **options}
    hidden = "tanh" if name == "softmax" else kind
    net = Network([7, 12, 9, 4], activation=hidden, output=output, seed=0, **options)
    return draw_parameters(net, rng)


@pytest.mark.parametrize("name", ACTIVATION_TABLES)
def test_every_format_has_every_activation(name):
    assert set(ACTIVATION_TABLES[name]) == set(ACTIVATIONS)


def run_onnx(path, X, output="outputs"):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run([output], {"X": X})[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_onnx_runtime_computes_the_same_outputs(tmp_path, rng, name, opset):
    net, path = network(name, rng), tmp_path / "net.onnx"
    net.to_onnx(path, opset=opset)
    onnx.checker.check_model(str(path), full_check=True)
    for n in (1, 50):
        X = rng.normal(size=(n, 7)).astype(np.float32) * 2
        np.testing.assert_allclose(run_onnx(path, X), net(X), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("normalization", ["batch", "layer", ["batch", LayerNorm(1e-3)]], ids=str)
@pytest.mark.parametrize("opset", [13, 17])
def test_normalizations_in_onnx(tmp_path, rng, normalization, opset):
    net = network("relu", rng, normalization=normalization, dropout=0.5)
    net.to_onnx(tmp_path / "net.onnx", opset=opset)
    X = rng.normal(size=(20, 7)).astype(np.float32)
    np.testing.assert_allclose(run_onnx(tmp_path / "net.onnx", X), net(X), rtol=1e-5, atol=2e-6)


def test_bytes_and_labels_in_onnx(tmp_path, rng):
    net, path = network("softmax", rng), tmp_path / "net.onnx"
    X = rng.integers(0, 256, (30, 7), dtype=np.uint8)
    net.to_onnx(path, input_dtype="uint8", labels=["a", "b", "c", "d"])
    np.testing.assert_allclose(run_onnx(path, X), net(X), atol=1e-6)
    want = np.array(["a", "b", "c", "d"])[net.predict(X)]
    assert (run_onnx(path, X, "label") == want).all()
    net.to_onnx(path, input_dtype="uint8", labels=True)
    assert (run_onnx(path, X, "label") == net.predict(X)).all()


def list_single_output_classifiers():
    """Return the (loss, output) for which a network with one output is a classifier."""
    return [
        (name, output)
        for name, loss in LOSSES.items()
        for output in (loss.outputs or ("sigmoid", "identity"))
        if output != "softmax" and (output == "sigmoid" or loss.scores)
    ]


@pytest.mark.parametrize(("loss", "output"), list_single_output_classifiers())
def test_the_class_of_a_single_output(tmp_path, rng, compilers, loss, output):
    net = Network([7, 5, 1], loss=loss, output=output, seed=0)
    net.bias[1] = -net.weight[1] @ np.full((5, 1), 0.5)  # outputs on both sides of the threshold
    X = rng.normal(size=(30, 7)).astype(np.float32)
    threshold = 0.5 if output == "sigmoid" else 0.0
    is_class_1 = net(X)[:, 0] >= threshold
    assert 0 < is_class_1.sum() < 30
    assert (net.predict(X) == is_class_1).all()
    net.to_onnx(tmp_path / "net.onnx", labels=[10, 20])
    found = run_onnx(tmp_path / "net.onnx", X, "label")
    assert (found == np.where(is_class_1, 20, 10)).all()
    net.to_c(tmp_path / "model.c")
    library = compile_library(tmp_path / "model.c", compilers[0])
    pointer = ctypes.POINTER(ctypes.c_float)
    classes = [library.model_classify(x.ctypes.data_as(pointer)) for x in X]
    assert (classes == is_class_1).all()


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_labels_of_multilabel_networks(tmp_path, rng, compilers, loss):
    X = rng.normal(size=(30, 7)).astype(np.float32)
    net = Network([7, 5, 4], loss=loss, seed=0)
    net.fit(X, X[:, :4] > 0.5, epochs=20)
    labels = net.predict(X)
    assert 0 < labels.sum() < labels.size
    net.to_onnx(tmp_path / "net.onnx", labels=True)
    found = run_onnx(tmp_path / "net.onnx", X, "label")
    assert found.dtype == np.int64
    assert (found == labels).all()
    with pytest.raises(ValueError, match="labels must be True or None for a multilabel network"):
        net.to_onnx(tmp_path / "net.onnx", labels=["a", "b", "c", "d"])
    net.to_c(tmp_path / "model.c")
    library = compile_library(tmp_path / "model.c", compilers[0])
    found = np.empty((30, 4), np.int32)
    for x, row in zip(X, found, strict=True):
        library.model_classify(
            x.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            row.ctypes.data_as(ctypes.POINTER(ctypes.c_int)),
        )
    assert (found == labels).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("opset", [13, 20])
def test_exported_onnx_models_are_imported(tmp_path, rng, name, opset):
    net, path = network(name, rng, dtype="float64"), tmp_path / "net.onnx"
    net.to_onnx(path, opset=opset)
    other = Network.from_onnx(path, dtype="float64")
    assert other.size == net.size
    layers = zip(net.state.architecture.dense, other.state.architecture.dense, strict=True)
    for ours, theirs in layers:
        assert theirs.activation.name == ours.activation.name
        assert theirs.activation.parameter == pytest.approx(ours.activation.parameter, rel=1e-4)
    X = rng.normal(size=(9, 7))
    np.testing.assert_allclose(other(X), net(X), atol=1e-5)


def test_the_scaling_of_bytes_is_folded_by_the_import(tmp_path, rng):
    net, path = network("relu", rng, normalization="batch"), tmp_path / "net.onnx"
    net.to_onnx(path, input_dtype="uint8")
    other = Network.from_onnx(path)
    X = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    np.testing.assert_allclose(other(X.astype(np.float32)), net(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_onnx_models_of_scikit_learn(tmp_path, activation):
    from skl2onnx import to_onnx

    X, y = make_classification(80, 7, n_informative=5, n_classes=3, random_state=0)
    X = X.astype(np.float32)
    for kind, targets in ((neural_network.MLPClassifier, y), (neural_network.MLPRegressor, y)):
        estimator = kind(
            hidden_layer_sizes=(6, 5), activation=activation, max_iter=20, random_state=0
        )
        with pytest.warns(Warning, match="Maximum iterations"):
            estimator.fit(X, targets)
        path = tmp_path / "model.onnx"
        path.write_bytes(
            to_onnx(estimator, X[:1], options={"zipmap": False} if kind is
                    neural_network.MLPClassifier else None).SerializeToString()
        )  # fmt: skip
        net = Network.from_onnx(path)
        out = net(X)
        want = estimator.predict_proba(X) if hasattr(estimator, "classes_") else (
            estimator.predict(X)[:, None])  # fmt: skip
        np.testing.assert_allclose(out, want, atol=2e-6)


def model_of(nodes, outputs, constants, inputs=(("X", [None, 3]),)):
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(k, i, o, name=n, **a) for k, i, o, n, a in nodes], "test",
        [onnx.helper.make_tensor_value_info(n, kind, s) for n, s in inputs],
        [onnx.helper.make_tensor_value_info(n, kind, ["n", "m"]) for n in outputs],
        [onnx.numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in constants.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])


W, V = np.arange(6).reshape(3, 2) / 6, np.ones((2, 2))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("MatMul", ["X", "W"], ["a"], "product", {}), ("Sin", ["a"], ["Y"], "wave", {})],
         r"the node 'wave' \(Sin\) is not supported"),
        ([("MatMul", ["X", "W"], ["a"], "product", {}), ("Exp", ["a"], ["Y"], "growth", {})],
         r"the node 'growth' \(Exp\)"),
        ([("MatMul", ["X", "W"], ["a"], "product", {}),
          ("MatMul", ["a", "a"], ["Y"], "square", {})],
         r"the node 'square' \(MatMul\)"),
        ([("Relu", ["X"], ["Y"], "only", {})], "no product with constant weights"),
        ([("Relu", ["X"], ["a"], "early", {}), ("MatMul", ["a", "W"], ["Y"], "product", {})],
         "only affine functions may precede the first layer, up to 'a'"),
        ([("MatMul", ["X", "W"], ["a"], "product", {}),
          ("Add", ["a", "X"], ["Y"], "shortcut", {})],
         r"the node 'shortcut' \(Add\) .* it reads \['a', 'X'\]"),
    ],
)  # fmt: skip
def test_models_that_are_not_chains_are_refused(tmp_path, nodes, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, ["Y"], {"W": W, "V": V}).SerializeToString())
    with pytest.raises(ValueError, match=message):
        Network.from_onnx(path)


def test_chains_of_other_nodes(tmp_path, rng):
    nodes = [
        ("Sub", ["X", "m"], ["c"], "center", {}), ("Div", ["c", "s"], ["n"], "scale", {}),
        ("MatMul", ["n", "W"], ["a"], "p", {}), ("Add", ["b", "a"], ["z"], "q", {}),
        ("BatchNormalization", ["z", "g", "b", "m2", "v"], ["h"], "bn", {}),
        ("Sigmoid", ["h"], ["t"], "sig", {}), ("Mul", ["h", "t"], ["r"], "swish", {}),
        ("Gemm", ["r", "V", "b"], ["Y"], "last", {"alpha": 0.5, "beta": 2.0}),
    ]  # fmt: skip
    constants = {"W": W, "V": V, "m": [1, 2, 3], "s": [2.0], "b": [0.5, -1], "g": [1, 3],
                 "m2": [0.1, 0.2], "v": [1.5, 0.5]}  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, ["Y"], constants).SerializeToString())
    net = Network.from_onnx(path)
    assert net.activation == ("silu",)
    X = rng.normal(size=(6, 3)).astype(np.float32)
    np.testing.assert_allclose(net(X), run_onnx(path, X, "Y"), atol=2e-6)


def test_bad_arguments_of_onnx(tmp_path, rng):
    net = network("softmax", rng)
    path = tmp_path / "net.onnx"
    for options, message in (
        ({"opset": 9}, "opset must be at least 13"),
        ({"opset": 999}, "opset must be at most"),
        ({"input_dtype": "int8"}, "input_dtype must be 'float32' or 'uint8'; got 'int8'"),
        ({"labels": ["a"]}, "labels must have 4 items, one for each class; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            net.to_onnx(path, **options)
    with pytest.raises(ValueError, match=r"path must end in .onnx; got '.*net.txt'"):
        net.to_onnx(tmp_path / "net.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="labels must be a sequence of names, one for each class"):
        net.to_onnx(path, labels=4)
    with pytest.raises(TypeError, match="labels must be all str or all int"):
        net.to_onnx(path, labels=["a", 1, 2, 3])
    with pytest.raises(FileNotFoundError, match="path must be in an existing directory; got"):
        net.to_onnx(tmp_path / "nowhere" / "net.onnx")
    with pytest.raises(
        ValueError, match="labels must be None for a network that is not a classifier; got True"
    ):
        network("relu", rng).to_onnx(path, labels=True)
    assert not path.exists()
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match="is not an ONNX model"):
        Network.from_onnx(path)
    with pytest.raises(FileNotFoundError):
        Network.from_onnx(tmp_path / "nowhere.onnx")
    net.to_onnx(path)
    with pytest.raises(
        ValueError, match="output must be a tensor of the model, such as outputs; got 'y'"
    ):
        Network.from_onnx(path, output="y")
    assert type(MLP.from_onnx(path)) is Network


# Activations that need no function of math.h.
WITHOUT_MATH = {"identity", "hard_sigmoid", "hard_tanh", "relu", "leaky_relu", "softsign"}


@pytest.fixture(scope="session")
def compilers():
    """Return the names of the installed C compilers."""
    if not COMPILERS:
        pytest.skip("no C compiler is installed")
    return COMPILERS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_c_computes_the_same_outputs(tmp_path, rng, compilers, name):
    net, paths = network(name, rng), []
    for own_math in (False, True):
        paths.append(tmp_path / f"digits_{own_math}.c")
        net.to_c(paths[-1], name=paths[-1].stem, own_math=own_math)
        needs_library = not own_math and name not in WITHOUT_MATH
        assert ("math.h" in paths[-1].read_text()) == needs_library
    X = rng.normal(size=(40, 7)) * 2
    for library in compile_libraries(paths, compilers):
        for path in paths:
            out = run_c(library, path.stem, X, 4)
            np.testing.assert_allclose(out, net(X), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_c_with_normalization(tmp_path, rng, compilers, normalization):
    net, path = network("gelu", rng, normalization=normalization), tmp_path / "model.c"
    net.to_c(path)
    X = rng.normal(size=(40, 7))
    for library in compile_libraries([path], compilers):
        np.testing.assert_allclose(run_c(library, "model", X, 4), net(X), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("sizes", [[7, 4], [7, 1], [7, 5, 1], [7, 5, 6, 3, 2]])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_classes_in_c(tmp_path, rng, compilers, sizes, weights):
    loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
    net, path = Network(sizes, activation="tanh", loss=loss, seed=0), tmp_path / "model.c"
    net.to_c(path, weights=weights)
    X = rng.normal(size=(60, 7)).astype(np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    for library in compile_libraries([path], compilers):
        answers = [library.model_classify(x.ctypes.data_as(pointer)) for x in X]
        assert np.mean(answers == net.predict(X)) >= (1 if weights == "float32" else 0.9)
    assert f"#define MODEL_INPUTS {sizes[0]}" in path.with_suffix(".h").read_text()


def test_8_bit_weights_keep_the_accuracy(tmp_path, digits, compilers):
    (X, y), (X_test, y_test) = digits
    net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X, y, epochs=3)
    path = tmp_path / "model.c"
    net.to_c(path, weights="int8")
    X_test, y_test = X_test[:4000].reshape(-1, 784), y_test[:4000]
    out = run_c(compile_library(path, compilers[0]), "model", X_test / np.float32(255), 10)
    assert abs((out.argmax(axis=1) == y_test).mean() - net.score(X_test, y_test)) < 0.003


def test_size_of_the_code_for_a_microcontroller(tmp_path):
    arm = shutil.which("arm-none-eabi-gcc")
    if arm is None:
        pytest.skip("arm-none-eabi-gcc is not installed (Debian: gcc-arm-none-eabi)")
    net, flash = Network([784, 16, 10], activation="relu", loss="cross_entropy", seed=0), {}
    for weights in ("float32", "int8"):
        path = tmp_path / f"{weights}.c"
        net.to_c(path, weights=weights, own_math=True)
        done = path.with_suffix(".o")
        # Freestanding: the file needs neither math.h nor a C library.
        flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os",
                 "-ffreestanding"]  # fmt: skip
        subprocess.run([arm, *FLAGS[:-1], *flags, "-c", str(path), "-o", str(done)], check=True)
        sizes = subprocess.run(["arm-none-eabi-size", str(done)], capture_output=True, text=True,
                               check=True).stdout.splitlines()[1].split()  # fmt: skip
        assert sizes[1:3] == ["0", "0"]  # no writable memory
        flash[weights] = int(sizes[0])
    parameters = 784 * 16 + 16 * 10
    assert 4 * parameters < flash["float32"] < 4 * parameters + 2000
    assert parameters < flash["int8"] < parameters + 2000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "model.cpp"}, "path must end in .c; got"),
        ({"name": "my net"}, "name must be an identifier of C; got 'my net'"),
        ({"weights": "int4"}, "weights must be one of .*; got 'int4'"),
        ({"own_math": "yes"}, "own_math must be True or False"),
    ],
)
def test_bad_arguments_of_c(tmp_path, rng, options, message):
    path = tmp_path / options.pop("path", "model.c")
    with pytest.raises((TypeError, ValueError), match=message):
        network("relu", rng).to_c(path, **options)
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_missing_directory_names_the_source_of_c(tmp_path, rng):
    with pytest.raises(FileNotFoundError, match=r"in an existing directory; got '.*model\.c'"):
        network("relu", rng).to_c(tmp_path / "nowhere" / "model.c")


@pytest.mark.parametrize("path", [5, None])
@pytest.mark.parametrize(
    "method", ["save", "load", "resume", "to_c", "to_html", "to_onnx", "from_onnx"]
)
def test_paths_that_are_no_paths(rng, method, path):
    if "onnx" in method:
        pytest.importorskip("onnx")
    with pytest.raises(TypeError, match=f"path must be a str or os.PathLike; got {path}"):
        getattr(network("relu", rng), method)(path)


def test_float_constants_of_c():
    for value in (0, 1, -2.5, 1e-30, 3e38, np.pi, 1 / 3, 123456789.0):
        text = c_source.render_float(value)
        assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text)
        assert np.float32(text[:-1]) == np.float32(value)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_computes_the_same_outputs(rng, name, normalization, dtype):
    theirs = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = network(name, rng, normalization=normalization, dtype=dtype, dropout=0.2,
                  input_dropout=0.1)  # fmt: skip
    module = net.to_torch()
    X = rng.normal(size=(20, 7)).astype(dtype)
    with theirs.no_grad():
        out = module(theirs.tensor(X)).numpy()
    tolerance = 3e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(out, net(X), atol=tolerance, rtol=tolerance)
    back = Network.from_torch(module)
    assert (back(X) == net(X)).all()
    assert back.state.architecture.layers == net.state.architecture.layers
    assert back.dtype == net.dtype


def test_modules_that_cmlp_did_not_make(rng):
    nn = pytest.importorskip("torch.nn", reason="PyTorch is not installed")
    import torch as theirs

    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.SiLU()),
        nn.Dropout(0.1), nn.Linear(5, 4, bias=False), nn.LayerNorm(4, bias=False), nn.GELU(),
        nn.Linear(4, 3), nn.Softmax(1),
    ).double()  # fmt: skip
    module[1][1].running_mean[:] = theirs.arange(5)
    module.eval()
    net = Network.from_torch(module)
    X = rng.normal(size=(9, 6))
    with theirs.no_grad():
        want = module(theirs.tensor(X)).numpy()
    np.testing.assert_allclose(net(X), want, atol=1e-12)
    assert net.loss == "cross_entropy"
    smoothed = losses.cross_entropy(0.1)
    assert Network.from_torch(module, loss=smoothed).state.architecture.loss == smoothed
    for wrong, message in (
        (nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1)),
         r"layer 1: Conv1d\(.*\) is not supported; supported layers are Linear, BatchNorm1d"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "layer 0: ReLU must follow a Linear layer"),
        (nn.Sequential(nn.BatchNorm1d(2)), "layer 0: BatchNorm1d must follow a Linear layer"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()),
         r"layer 2: Tanh is a second activation \('tanh'\) after the same Linear layer"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)),
         "layer 2: BatchNorm1d must directly follow a Linear layer"),
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU(), nn.Linear(2, 1)),
         r"layer 1: LayerNorm must follow a Linear layer without bias \(bias=False\)"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softplus(beta=2.0)), "layer 1: Softplus"),
        (nn.Sequential(nn.Linear(2, 2), nn.Hardtanh(0.0, 1.0)), "layer 1: Hardtanh"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)),
         "layer 1: BatchNorm1d.* is not supported"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "neither normalization nor dropout"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), "neither normalization nor dropout"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(0)),
         "dim of layer 1: Softmax must be 1 or -1, the outputs of each row; got 0"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax()), "dim of layer 1: .* or -1, .*; got None"),
        (nn.Sequential(nn.Linear(2, 2), nn.LogSoftmax(1)),
         r"LogSoftmax is not supported; leave it out, .* or use Softmax\(1\)"),
        (nn.Sequential(), "the model must have at least one Linear layer"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Network.from_torch(wrong)


# PyTorch deprecates the exporter that needs no further packages.
@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_models_that_pytorch_exports(tmp_path, rng):
    theirs = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = theirs.nn
    for activation in (nn.ReLU(), nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Mish(),
                       nn.Hardtanh(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.Softplus()):  # fmt: skip
        module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), activation, nn.Linear(5, 3),
                               nn.Softmax(1)).eval()  # fmt: skip
        path = tmp_path / "model.onnx"
        X = theirs.tensor(rng.normal(size=(8, 6)), dtype=theirs.float32)
        theirs.onnx.export(module, (X,), str(path), dynamo=False, input_names=["X"],
                           dynamic_axes={"X": {0: "n"}})  # fmt: skip
        with theirs.no_grad():
            want = module(X).numpy()
        np.testing.assert_allclose(Network.from_onnx(path)(X.numpy()), want, atol=2e-6)


# Keras converts PyTorch's tensors in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_models_of_keras(rng):
    theirs = pytest.importorskip("keras", reason="Keras is not installed")
    layers = theirs.layers
    model = theirs.Sequential([
        layers.Input((6,)), layers.Dense(8), layers.BatchNormalization(), layers.Activation("relu"),
        layers.Dropout(0.2), layers.Dense(7, activation="gelu"),
        layers.Dense(5, use_bias=False), layers.LayerNormalization(), layers.LeakyReLU(0.1),
        layers.Dense(4, activation="swish"), layers.Dense(3, activation="softmax"),
    ])  # fmt: skip
    model.layers[1].set_weights([rng.uniform(0.5, 2, 8) for _ in range(4)])
    X = rng.normal(size=(20, 6)).astype(np.float32)
    net = Network.from_keras(model)
    np.testing.assert_allclose(net(X), model.predict(X, verbose=0), atol=2e-6)
    assert net.activation == ("relu", "gelu", "leaky_relu", "silu")
    assert net.loss == "cross_entropy"
    with pytest.raises(TypeError, match=r"model must be a keras\.Sequential; got 3"):
        Network.from_keras(3)
    wrong = theirs.Sequential([layers.Input((6, 1)), layers.Conv1D(2, 2)])
    with pytest.raises(ValueError, match=r"layer 0: Conv1D .* is not supported"):
        Network.from_keras(wrong)
