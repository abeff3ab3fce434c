"""C that continues the training: the same numbers as `fit`, on several machines."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
from c_libraries import COMPILERS, FLAGS

from cmlp import SGD, Adam, Network, losses
from cmlp.activations import ACTIVATIONS
from cmlp.layers import Scale

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")

N, BATCH, EPOCHS = 50, 7, 3


def make_data(rng, task, inputs, outputs):
    X = rng.normal(size=(N, inputs)).astype(np.float32)
    y = {
        "regression": lambda: rng.normal(size=(N, outputs)),
        "counts": lambda: rng.poisson(2, (N, outputs)),
        "multilabel": lambda: rng.integers(0, 2, (N, outputs)),
        "multiclass": lambda: rng.integers(0, outputs, N),
        "binary": lambda: rng.integers(0, 2, N),
    }[task]()
    return X, np.ascontiguousarray(y, np.int32 if y.ndim == 1 else np.float32)


def make_network(rng, sizes, X, y, **options):
    """Return a network that has learned for an epoch, which determines its task."""
    net = Network(sizes, seed=0, **options)
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape) * 0.1
    net.fit(X, y, epochs=1, optimizer=SGD(0.01))
    return net


def build(paths):
    """Return one library of files whose functions have different names."""
    library = paths[0].with_suffix(".so")
    command = [COMPILERS[0], *FLAGS, "-O1", "-Wconversion", "-shared", "-fPIC", *map(str, paths)]
    subprocess.run([*command, "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def call(library, function, X, y, *numbers):
    """Call a function that trains; return the loss."""
    found = getattr(library, function)
    found.restype = ctypes.c_float
    *integers, rate = numbers
    return found(pointer(X), pointer(y), len(X), *integers, ctypes.c_float(rate))


def flatten(net):
    return np.concatenate(
        [a.ravel() for pair in zip(net.weight, net.bias, strict=True) for a in pair]
    )


def read_parameters(library, name, count):
    return np.array((ctypes.c_float * count).in_dll(library, f"{name}_parameters"))


def compare(tmp_path, cases, choices=(False,)):
    """Train networks in C and by `fit`, and compare parameters and losses.

    Parameters
    ----------
    tmp_path : Path
    cases : list of (Network, X, y, SGD)
    choices : sequence of bool
        Values of `own_math`.
    """
    paths = []
    for number, (net, _, _, optimizer) in enumerate(cases):
        for own_math in choices:
            paths.append(tmp_path / f"net_{number}_{own_math}.c")
            net.to_c(paths[-1], name=paths[-1].stem, train=True, optimizer=optimizer,
                     batch_size=BATCH, own_math=own_math)  # fmt: skip
    library = build(paths)
    for number, (net, X, y, optimizer) in enumerate(cases):
        before = flatten(net)
        history = net.fit(X, y, epochs=EPOCHS, batch_size=BATCH, shuffle=False,
                          optimizer=optimizer)  # fmt: skip
        for own_math in choices:
            name = f"net_{number}_{own_math}"
            np.testing.assert_array_equal(read_parameters(library, name, before.size), before)
            found = [call(library, f"{name}_train_epoch", X, y, BATCH, optimizer.lr)
                     for _ in range(EPOCHS)]  # fmt: skip
            message = f"{net}, {optimizer}, own_math={own_math}"
            np.testing.assert_allclose(found, history["loss"], atol=1e-5, err_msg=message)
            got = read_parameters(library, name, before.size)
            np.testing.assert_allclose(got, flatten(net), atol=1e-5, err_msg=message)
            assert np.abs(got - before).max() > 1e-3
            out = np.zeros((N, net.size[-1]), np.float32)
            for x, to in zip(X, out, strict=True):
                getattr(library, f"{name}_predict")(pointer(x), pointer(to))
            np.testing.assert_allclose(out, net(X), atol=2e-5, err_msg=message)


def test_all_activations(tmp_path, rng):
    X, y = make_data(rng, "regression", 5, 3)
    compare(tmp_path, [
        (make_network(rng, [5, 8, 6, 3], X, y, activation=[name, "tanh"], loss="mse"), X, y,
         SGD(0.05))
        for name, activation in ACTIVATIONS.items() if activation.hidden
    ], choices=(False, True))  # fmt: skip


def test_all_outputs(tmp_path, rng):
    cases = []
    for name in ACTIVATIONS:
        X, y = make_data(rng, "multiclass" if name == "softmax" else "regression", 5, 3)
        if name == "sigmoid":
            y = 1 / (1 + np.exp(-y))
        net = make_network(rng, [5, 8, 3], X, y, activation="silu", output=name, loss="mse")
        cases.append((net, X, y, SGD(0.05)))
    compare(tmp_path, cases)


@pytest.mark.parametrize("task", ["regression", "counts", "multilabel", "multiclass", "binary"])
def test_all_losses(tmp_path, rng, task):
    choices = {
        "regression": ["mse", "quadratic", "mae", "huber", losses.huber(0.3), "log_cosh",
                       losses.pinball(0.2)],
        "counts": ["poisson", "poisson_deviance"],
        "multilabel": ["binary_cross_entropy", "hinge", losses.binary_cross_entropy(0.2)],
        "multiclass": ["cross_entropy", losses.cross_entropy(0.1), "squared_hinge",
                       ("cross_entropy", "sigmoid"), ("binary_cross_entropy", "softmax"),
                       ("quadratic", "sigmoid")],
        "binary": ["binary_cross_entropy", "hinge", ("mse", "sigmoid")],
    }[task]  # fmt: skip
    cases, outputs = [], 1 if task == "binary" else 3
    for loss in choices:
        loss, output = loss if isinstance(loss, tuple) else (loss, None)
        if loss == "quadratic" and output is None:
            output = "identity"
        X, y = make_data(rng, task, 5, outputs)
        net = make_network(rng, [5, 8, outputs], X, y, activation="relu", loss=loss, output=output)
        assert net.task == ("regression" if task == "counts" else task)
        cases.append((net, X, y, SGD(0.05)))
    compare(tmp_path, cases, choices=(False, True))


def test_all_options_of_the_optimizer(tmp_path, rng):
    optimizers = [
        SGD(0.05, momentum=0.9), SGD(0.05, momentum=0.9, dampening=0.3), SGD(0.1, weight_decay=0.1),
        SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        SGD(0.1, weight_decay=0.1, decay_bias=False),
    ]  # fmt: skip
    X, y = make_data(rng, "multiclass", 5, 3)
    compare(tmp_path, [
        (make_network(rng, [5, 8, 3], X, y, activation="relu", loss="cross_entropy"), X, y, each)
        for each in optimizers
    ])  # fmt: skip


def test_frozen_layers_and_networks_without_hidden_layers(tmp_path, rng):
    cases = []
    for sizes, frozen in (([5, 8, 6, 3], [0]), ([5, 8, 6, 3], [0, 1]), ([5, 8, 3], [1]),
                          ([5, 3], [])):  # fmt: skip
        X, y = make_data(rng, "multiclass", 5, 3)
        net = make_network(rng, sizes, X, y, activation="gelu", loss="cross_entropy")
        if frozen:
            net.freeze(frozen)
        cases.append((net, X, y, SGD(0.1)))
    compare(tmp_path, cases)


def test_velocity_is_reset(tmp_path, rng):
    X, y = make_data(rng, "binary", 5, 1)
    net = make_network(rng, [5, 4, 1], X, y, loss="binary_cross_entropy")
    net.to_c(tmp_path / "model.c", train=True, optimizer=SGD(momentum=0.9, dampening=0.1),
             batch_size=N)  # fmt: skip
    library, count = build([tmp_path / "model.c"]), flatten(net).size
    parameters = (ctypes.c_float * count).in_dll(library, "model_parameters")
    found = []
    for reset in (True, True, False):
        parameters[:] = flatten(net).tolist()
        if reset:
            library.model_reset_velocity()
        call(library, "model_train_step", X, y, 0.1)
        found.append(np.array(parameters))
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[2] - found[1]).max() > 1e-4


def test_bad_arguments_in_c_change_nothing(tmp_path, rng):
    X, y = make_data(rng, "binary", 5, 1)
    net = make_network(rng, [5, 4, 1], X, y, loss="binary_cross_entropy")
    net.to_c(tmp_path / "model.c", train=True, batch_size=BATCH)
    library = build([tmp_path / "model.c"])
    assert call(library, "model_train_step", X[:0], y, 0.1) == -1
    assert call(library, "model_train_step", X, y, 0.1) == -1
    for batch in (0, -3, BATCH + 1):
        assert call(library, "model_train_epoch", X, y, batch, 0.1) == -1
    assert call(library, "model_train_epoch", X[:0], y, 1, 0.1) == -1
    np.testing.assert_array_equal(read_parameters(library, "model", flatten(net).size),
                                  flatten(net))  # fmt: skip
    assert 0 < call(library, "model_train_step", X[:BATCH], y, 0.1) < 2


# --- Other machines -----------------------------------------------------------------------------

DRIVER = """
#include <stdio.h>
#include "model.h"
static float x[50 * MODEL_INPUTS];
static int y[50];
int main(void)
{
    int i;
    if (fread(x, sizeof x, 1, stdin) != 1 || fread(y, sizeof y, 1, stdin) != 1)
        return 1;
    for (i = 0; i < 3; i++)
        printf("%.9g ", (double)model_train_epoch(x, y, 50, 7, 0.05f));
    for (i = 0; i < MODEL_PARAMETERS; i++)
        printf("%.9g ", (double)model_parameters[i]);
    return 0;
}
"""


@pytest.mark.parametrize("machine", [*COMPILERS, "arm"])
def test_programs_without_undefined_behavior_and_on_arm(tmp_path, rng, machine):
    # clang's sanitizers are packages of their own.
    sanitizers = ["-fsanitize=undefined,address"] * (machine == "gcc")
    command, runner = [machine, *FLAGS, *sanitizers], []
    if machine == "arm":
        for tool, package in (("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
                              ("qemu-arm", "qemu-user")):  # fmt: skip
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed (Debian: {package})")
        command, runner = ["arm-linux-gnueabihf-gcc", *FLAGS, "-static"], ["qemu-arm"]
    X, y = make_data(rng, "multiclass", 5, 3)
    net = make_network(rng, [5, 8, 3], X, y, activation="mish", loss="cross_entropy")
    optimizer = SGD(0.05, momentum=0.9)
    net.to_c(tmp_path / "model.c", train=True, optimizer=optimizer, batch_size=BATCH)
    (tmp_path / "main.c").write_text(DRIVER)
    subprocess.run([*command, "main.c", "model.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
    shown = subprocess.run([*runner, tmp_path / "main"], input=X.tobytes() + y.tobytes(),
                           capture_output=True, check=True).stdout  # fmt: skip
    history = net.fit(X, y, epochs=EPOCHS, batch_size=BATCH, shuffle=False, optimizer=optimizer)
    got = np.array(shown.split(), float)
    np.testing.assert_allclose(got[:EPOCHS], history["loss"], atol=1e-5)
    np.testing.assert_allclose(got[EPOCHS:], flatten(net), atol=1e-5)


def test_size_for_a_microcontroller(tmp_path):
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed (Debian: gcc-arm-none-eabi)")
    net = Network([784, 16, 10], activation="relu", loss="cross_entropy", seed=0)
    net.to_c(tmp_path / "model.c", train=True, own_math=True, batch_size=16)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os",
             "-ffreestanding"]  # fmt: skip
    subprocess.run(["arm-none-eabi-gcc", *FLAGS[:-1], *flags, "-c", "model.c"], cwd=tmp_path,
                   check=True)  # fmt: skip
    shown = subprocess.run(["arm-none-eabi-size", "model.o"], cwd=tmp_path, capture_output=True,
                           text=True, check=True).stdout  # fmt: skip
    text, data, bss = map(int, shown.splitlines()[1].split()[:3])
    parameters = 4 * (784 * 16 + 16 + 160 + 10)
    assert text < 2500
    assert data == parameters
    assert bss == 16 * 2 * (16 + 10) * 4  # outputs and deltas of a batch; no gradient of weights


# --- Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ({}, {"train": "yes"}, "train must be True or False"),
        ({}, {"weights": "int8"}, "weights must be 'float32' with train=True; got 'int8'"),
        ({}, {"weights": "int8", "arithmetic": "int8"}, "arithmetic must be 'float32' with train"),
        ({}, {"calibration": [[0.0] * 5]}, "calibration must be None unless arithmetic is 'int8'"),
        ({}, {"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({}, {"batch_size": 2.5}, "batch_size must be a whole number; got 2.5"),
        ({}, {"train": False, "optimizer": SGD()}, "optimizer must be None unless train is True"),
        ({}, {"optimizer": Adam()}, "optimizer must be an SGD with train=True; got Adam"),
        ({}, {"optimizer": "sgd"}, "optimizer must be an SGD with train=True; got 'sgd'"),
        ({}, {"optimizer": SGD(l1=0.1, average=0.9)}, "optimizer must not have l1, average with"),
        ({}, {"optimizer": SGD(accumulate=2)}, "optimizer must not have accumulate with"),
        ({}, {"optimizer": SGD(parametrization="ntk")}, "must not have parametrization with"),
        ({"normalization": "batch"}, {}, r"BatchNorm of layer 0; fold_batch_norm\(\) returns"),
        ({"normalization": "layer"}, {}, "does not support the LayerNorm of layer 0"),
        ({"dropout": 0.1}, {}, "does not support the dropout of layer 0; got 0.1"),
        ({"input_dropout": 0.1}, {}, "does not support InputDropout"),
        ({"input_noise": 0.1}, {}, "does not support InputNoise"),
        ({"max_norm": 2.0}, {}, "does not support the max_norm of layer 0; got 2.0"),
        ({"activation": "prelu"}, {}, "activation of layer 0 must not be parametric.*'prelu'"),
        ({"input_layers": [Scale()]}, {}, "train=True does not support .*; got Scale"),
        ({"loss": "gaussian_nll"}, {}, "loss must be one of .* got gaussian_nll"),
        ({"loss": losses.pinball((0.1, 0.9))}, {}, "got pinball with several quantiles"),
        ({"loss": lambda a, y: (0.0, a)}, {}, "loss must be one of .* got callable"),
    ],
)  # fmt: skip
def test_bad_arguments(tmp_path, network, options, message):
    net = Network([5, 4, 2], seed=0, **({"activation": "relu", "loss": "mse"} | network))
    with pytest.raises((TypeError, ValueError), match=message):
        net.to_c(tmp_path / "model.c", **({"train": True} | options))
    assert not list(tmp_path.iterdir())


def test_headers_name_the_targets(tmp_path):
    for loss, outputs, kind in (("cross_entropy", 3, "int"), ("mse", 3, "float"),
                                ("binary_cross_entropy", 1, "int")):  # fmt: skip
        net = Network([5, 4, outputs], loss=loss, seed=0)
        net.to_c(tmp_path / "model.c", train=True)
        text = (tmp_path / "model.h").read_text()
        assert re.search(rf"float model_train_step\(const float \*x, const {kind} \*y", text)
        assert "#define MODEL_MAX_BATCH 32" in text
