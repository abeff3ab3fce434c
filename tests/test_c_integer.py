"""C without floating-point operations: an independent reference, compilers, sizes."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
from c_libraries import COMPILERS, FLAGS

from cmlp import LayerNorm, Network, QuantizedNetwork, losses
from cmlp.activations import ACTIVATIONS, leaky_relu
from cmlp.layers import Embedding

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")

LINEAR = ("identity", "relu", "leaky_relu", "hard_tanh")
OUTPUTS = (*LINEAR, "hard_sigmoid", "sigmoid", "tanh", "softmax")


def make_network(rng, sizes=(7, 40, 30, 4), **options):
    """Return a network with biases other than 0, and samples that are not images."""
    net = Network(list(sizes), seed=0, **({"activation": "relu", "loss": "mse"} | options))
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape)
    for mean, variance in zip(net.running_mean, net.running_variance, strict=True):
        if mean is not None:
            mean[:], variance[:] = rng.normal(size=mean.shape), rng.uniform(0.5, 2, mean.shape)
    return net, (rng.normal(size=(200, sizes[0])) * 2).astype(np.float32)


def build(path, *flags, compiler=COMPILERS[0] if COMPILERS else None):
    library = path.with_suffix(f".{compiler}{len(flags)}.so")
    command = [compiler, *FLAGS, "-Wconversion", *flags, "-shared", "-fPIC"]
    subprocess.run([*command, str(path), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def read_macros(path, prefix="MODEL"):
    """Return the numbers that the header defines, a dict."""
    text = path.with_suffix(".h").read_text()
    found = re.findall(rf"#define {prefix}_(\w+) ([-0-9.e+]+)f?$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def to_bytes(X, macros):
    """Return the integers of samples, as the header describes them."""
    scaled = X.astype(np.float64) / macros["INPUT_SCALE"] + macros["INPUT_ZERO_POINT"]
    return np.floor(scaled + 0.5).clip(0, 255).astype(np.uint8)


def run(library, name, q, outputs):
    """Return the integers that a function writes for each row of q, (n, outputs)."""
    out = np.zeros((len(q), outputs), np.int32)
    for x, y in zip(np.ascontiguousarray(q), out, strict=True):
        getattr(library, name)(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    return out


# --- A reference in Python's integers -----------------------------------------------------------


def scale_exactly(v, factor):
    """Return v * factor, rounded, with the factor rounded to 31 bits; Jacob et al., section 2.2."""
    shift = 0
    while factor and factor < 2**30:
        factor, shift = factor * 2, shift + 1
    while factor >= 2**31 - 0.5:
        factor, shift = factor / 2, shift - 1
    product = abs(int(v)) * round(factor)
    size = (2 * product + 2**shift) // 2 ** (shift + 1)
    return -size if v < 0 else size


def activate(z, name, parameter):
    return {
        "identity": lambda: z, "relu": lambda: max(z, 0.0), "hard_tanh": lambda: min(max(z, -1), 1),
        "leaky_relu": lambda: z if z >= 0 else parameter * z,
    }[name]()  # fmt: skip


def compute_reference(q, X, bits):
    """Return the integers of the last layer's pre-activations of a `QuantizedNetwork`.

    Only for hidden layers that are piecewise linear.
    """
    layers = q.layers
    for l, layer in enumerate(layers):
        sums = (X.astype(int) - layer.inputs.zero_point) @ layer.weight.T.astype(int) + layer.bias
        factors = layer.inputs.scale * layer.weight_scale.astype(float)
        if l == len(layers) - 1:
            return np.array(
                [[scale_exactly(v, f * 2.0**bits) for v, f in zip(row, factors, strict=True)]
                 for row in sums]
            )  # fmt: skip
        following, name = layers[l + 1].inputs, layer.activation.name
        found = np.zeros(sums.shape, int)
        for (row, unit), v in np.ndenumerate(sums):
            slope = layer.activation.parameter if name == "leaky_relu" and v < 0 else 1
            found[row, unit] = scale_exactly(v, factors[unit] * slope / following.scale)
        low, high = -np.inf, np.inf
        if name in ("relu", "hard_tanh"):
            low = 0 if name == "relu" else -np.floor(1 / following.scale + 0.5)
        if name == "hard_tanh":
            high = -low
        X = (found.clip(low, high) + following.zero_point).clip(0, 255)


@pytest.mark.parametrize("name", LINEAR)
def test_integers_are_those_of_the_reference(tmp_path, rng, name):
    for number, sizes in enumerate([(7, 40, 30, 4), (300, 3), (7, 5, 1)]):
        net, X = make_network(rng, sizes, activation=name, output="identity", normalization="batch")
        q, path = net.quantize(X), tmp_path / f"model{number}.c"
        q.to_c(path, arithmetic="int8")
        macros = read_macros(path)
        bits = macros["OUTPUT_FRACTION_BITS"]
        integers = to_bytes(X * 1.3, macros)  # some are clipped
        want = compute_reference(q, integers, bits)
        for compiler in COMPILERS:
            got = run(build(path, compiler=compiler), "model_predict", integers, sizes[-1])
            np.testing.assert_array_equal(got, want)
        assert np.abs(want).max() < 2**30
        np.testing.assert_allclose(got * 2.0**-bits, q(X * 1.3), atol=0.02 * np.abs(q(X)).max())


@pytest.mark.parametrize("name", [n for n, a in ACTIVATIONS.items() if a.hidden])
def test_activations_by_tables(tmp_path, rng, name):
    net, X = make_network(rng, activation=name, output="identity")
    q, path = net.quantize(X), tmp_path / "model.c"
    q.to_c(path, arithmetic="int8")
    macros = read_macros(path)
    got = run(build(path), "model_predict", to_bytes(X, macros), 4) * macros["OUTPUT_SCALE"]
    difference = np.abs(got - q(X))
    # An integer between two layers may become the other one.
    assert np.median(difference) < 1e-3 * np.abs(q(X)).max()
    assert difference.max() < 0.02 * np.abs(q(X)).max()


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_fixed_point_numbers(tmp_path, rng, name):
    loss = "cross_entropy" if name == "softmax" else "mse"
    net, X = make_network(rng, output=name, loss=loss)
    q, path = net.quantize(X), tmp_path / "model.c"
    q.to_c(path, arithmetic="int8")
    macros, library = read_macros(path), build(path)
    integers = to_bytes(X, macros)
    got = run(library, "model_predict", integers, 4) * macros["OUTPUT_SCALE"]
    np.testing.assert_allclose(got, q(X), atol=2e-3 * max(1, np.abs(q(X)).max()))
    assert np.median(np.abs(got - q(X))) < 3e-5
    if name == "softmax":
        assert macros["OUTPUT_FRACTION_BITS"] == 15
        np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-4)
    if name not in LINEAR:
        z = run(library, "model_logits", integers, 4) * macros["LOGIT_SCALE"]
        exact = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh,
                 "hard_sigmoid": lambda z: (z / 6 + 0.5).clip(0, 1),
                 "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=1)[:, None]}[name]  # fmt: skip
        np.testing.assert_allclose(got, exact(z), atol=5e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_classes(tmp_path, rng, task):
    outputs = 1 if task == "binary" else 4
    loss = "cross_entropy" if task == "multiclass" else "binary_cross_entropy"
    net, X = make_network(rng, (7, 20, outputs), loss=loss)
    net.task = task
    net.to_c(tmp_path / "model.c", weights="int8", arithmetic="int8", calibration=X, name="digits")
    library, q = build(tmp_path / "model.c"), net.quantize(X)
    text = (tmp_path / "model.h").read_text()
    q.to_c(tmp_path / "same.c", arithmetic="int8", name="digits")
    assert text == (tmp_path / "same.h").read_text()
    integers = to_bytes(X, read_macros(tmp_path / "model.c", "DIGITS"))
    if task == "multilabel":
        got = run(library, "digits_classify", integers, 4)
        assert (got == q.predict(X)).mean() > 0.99
        assert set(np.unique(got)) == {0, 1}
    else:
        got = [library.digits_classify(ctypes.c_void_p(x.ctypes.data)) for x in integers]
        assert (np.array(got) == q.predict(X)).mean() > 0.98


def test_the_macro_converts_constants(tmp_path, rng):
    net, X = make_network(rng, (2, 3, 1))
    net.quantize(X).to_c(tmp_path / "model.c", arithmetic="int8")
    macros = read_macros(tmp_path / "model.c")
    values = [0.0, 0.7, -0.7, 1e9, -1e9, 0.25]
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void)\n{\n    const uint8_t q[] = {'
        + ", ".join(f"MODEL_INPUT({v!r})" for v in values)
        + "};\n    unsigned i;\n    for (i = 0; i < sizeof q; i++)\n"
        '        printf("%d ", q[i]);\n    return 0;\n}\n'
    )
    flags = [*FLAGS, "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    subprocess.run([COMPILERS[0], *flags, "main.c", "model.c", "-o", "main"], cwd=tmp_path,
                   check=True)  # fmt: skip
    shown = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout
    want = to_bytes(np.array(values), macros)
    np.testing.assert_array_equal([int(n) for n in shown.split()], want)


# --- Extreme parameters -------------------------------------------------------------------------

DRIVER = """
#include <stdio.h>
#include "model.h"
static uint8_t x[MODEL_INPUTS];
static int32_t y[MODEL_OUTPUTS];
int main(void)
{
    uint32_t checksum = 0;
    int n, i;
    while (fread(x, 1, sizeof x, stdin) == sizeof x) {
        model_predict(x, y);
        for (i = 0; i < MODEL_OUTPUTS; i++)
            printf("%ld ", (long)y[i]);
    }
    for (n = 0; n < 8; n++)
        checksum ^= (uint32_t)y[n % MODEL_OUTPUTS];
    printf("%lu", (unsigned long)checksum);
    return 0;
}
"""


def run_program(tmp_path, command, data, runner=()):
    (tmp_path / "main.c").write_text(DRIVER)
    subprocess.run([*command, "main.c", "model.c", "-o", "main"], cwd=tmp_path, check=True)
    return subprocess.run([*runner, tmp_path / "main"], input=data, capture_output=True,
                          check=True).stdout  # fmt: skip


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
def test_no_undefined_behavior_with_extreme_weights(tmp_path, rng, scale, output):
    loss = "cross_entropy" if output == "softmax" else "mse"
    net, X = make_network(rng, (7, 9, 4), output=output, loss=loss, activation=leaky_relu(0.3))
    net.weight[0][:] *= scale
    net.weight[0][1] = 0
    net.weight[1][2] = 0
    net.bias[1][:] *= scale
    q = net.quantize(X)
    q.to_c(tmp_path / "model.c", arithmetic="int8")
    flags = [*FLAGS, "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    integers = to_bytes(X, read_macros(tmp_path / "model.c"))
    shown = run_program(tmp_path, [COMPILERS[0], *flags], integers.tobytes())
    got = np.array(shown.split()[:-1], float).reshape(-1, 4)
    if output == "softmax":
        assert (got.argmax(axis=1) == q(X).argmax(axis=1)).mean() > 0.95
    macros = read_macros(tmp_path / "model.c")
    want = q(X)
    np.testing.assert_allclose(got * macros["OUTPUT_SCALE"], want, atol=0.02 * np.abs(want).max())


# --- Microcontrollers ---------------------------------------------------------------------------


def find_tool(name, package):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return name


TARGETS = {
    "cortex-m0plus": ("arm-none-eabi-gcc", "gcc-arm-none-eabi", ["-mcpu=cortex-m0plus", "-mthumb"]),
    "rv32imc": ("riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf",
                ["-march=rv32imc", "-mabi=ilp32"]),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ["leaky_relu", "gelu", "softsign"])
def test_microcontrollers_need_no_function_of_a_library(tmp_path, rng, target, activation):
    name, package, flags = TARGETS[target]
    compiler = find_tool(name, package)
    for output in OUTPUTS:
        loss = "cross_entropy" if output == "softmax" else "mse"
        net, X = make_network(rng, activation=activation, output=output, loss=loss)
        net.quantize(X).to_c(tmp_path / f"{output}.c", arithmetic="int8")
        text = (tmp_path / f"{output}.c").read_text()
        assert not re.search(r"\b(float|double|int64_t|uint64_t)\b|\d\.\d|<math.h>", text)
    command = [compiler, *FLAGS[:-1], *flags, "-Os", "-ffreestanding", "-c"]
    subprocess.run([*command, *(f"{output}.c" for output in OUTPUTS)], cwd=tmp_path, check=True)
    listed = subprocess.run(
        [name.replace("gcc", "nm"), "-u", *(f"{output}.o" for output in OUTPUTS)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert [line for line in listed.splitlines() if " U " in line] == []


@pytest.mark.parametrize("target", TARGETS)
def test_flash_and_accuracy_of_mnist(tmp_path, digits, target):
    name, package, flags = TARGETS[target]
    compiler = find_tool(name, package)
    (X, y), (X_test, y_test) = digits
    X, X_test = X.reshape(-1, 784), X_test.reshape(-1, 784)
    net = Network([784, 16, 10], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X, y, epochs=8, batch_size=64, threads=1)
    net.to_c(tmp_path / "model.c", weights="int8", arithmetic="int8", calibration=X[:1000])
    command = [compiler, *FLAGS[:-1], *flags, "-Os", "-ffreestanding", "-c", "model.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    shown = subprocess.run([name.replace("gcc", "size"), "model.o"], cwd=tmp_path, check=True,
                           capture_output=True, text=True).stdout  # fmt: skip
    text, data, bss = map(int, shown.splitlines()[1].split()[:3])
    assert (data, bss) == (0, 0)
    assert 784 * 16 + 160 < text <= 16 * 1024
    library = build(tmp_path / "model.c")
    predicted = [library.model_classify(ctypes.c_void_p(x.ctypes.data)) for x in X_test[:3000]]
    accuracy = (np.array(predicted) == y_test[:3000]).mean()
    assert accuracy >= net.score(X_test[:3000], y_test[:3000]) - 0.003
    assert (predicted == net.quantize(X[:1000]).predict(X_test[:3000])).mean() > 0.998


@pytest.mark.parametrize("activation", ["leaky_relu", "silu"])
def test_arm_computes_the_same_bits(tmp_path, rng, activation):
    compiler = find_tool("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
    emulator = find_tool("qemu-arm", "qemu-user")
    net, X = make_network(rng, activation=activation, loss="cross_entropy")
    net.quantize(X).to_c(tmp_path / "model.c", arithmetic="int8")
    data = to_bytes(X, read_macros(tmp_path / "model.c")).tobytes()
    here = run_program(tmp_path, [COMPILERS[0], *FLAGS], data)
    there = run_program(tmp_path, [compiler, *FLAGS, "-static"], data, [emulator])
    assert here == there
    assert len(here.split()) == 4 * len(X) + 1


# A program without a C library: Linux's calls read (3 or 63), write (4 or 64) and exit (1 or 93).
BARE = """
#include "model.h"
#if defined(__riscv)
#define CALL "a7"
#define A0 "a0"
#define A1 "a1"
#define A2 "a2"
#define TRAP "ecall"
enum { READ = 63, WRITE = 64, EXIT = 93 };
#else
#define CALL "r7"
#define A0 "r0"
#define A1 "r1"
#define A2 "r2"
#define TRAP "svc 0"
enum { READ = 3, WRITE = 4, EXIT = 1 };
#endif
static long call(long number, long a, void *b, long c)
{
    register long n __asm__(CALL) = number;
    register long x __asm__(A0) = a;
    register void *y __asm__(A1) = b;
    register long z __asm__(A2) = c;
    __asm__ volatile(TRAP : "+r"(x) : "r"(n), "r"(y), "r"(z) : "memory");
    return x;
}
static uint8_t x[MODEL_INPUTS];
static int32_t y[MODEL_OUTPUTS];
void _start(void);
void _start(void)
{
    while (call(READ, 0, x, sizeof x) == sizeof x) {
        model_predict(x, y);
        call(WRITE, 1, y, sizeof y);
    }
    call(EXIT, 0, 0, 0);
}
"""


@pytest.mark.parametrize(("target", "emulator"), [("cortex-m0plus", "qemu-arm"),
                                                  ("rv32imc", "qemu-riscv32")])  # fmt: skip
def test_microcontrollers_compute_the_same_bits(tmp_path, rng, target, emulator):
    name, package, flags = TARGETS[target]
    compiler, emulator = find_tool(name, package), find_tool(emulator, "qemu-user")
    net, X = make_network(rng, activation=["leaky_relu", "mish"], loss="cross_entropy")
    net.quantize(X).to_c(tmp_path / "model.c", arithmetic="int8")
    (tmp_path / "bare.c").write_text(BARE)
    options = ["-std=gnu99", "-Os", "-fomit-frame-pointer", "-ffreestanding", "-nostdlib"]
    # Relaxed code for RISC-V reads a register that the program would have to set.
    options += ["-Wl,--no-relax"] if target.startswith("rv") else []
    subprocess.run([compiler, *flags, *options, "bare.c", "model.c", "-o", "bare"], cwd=tmp_path,
                   check=True)  # fmt: skip
    data = to_bytes(X, read_macros(tmp_path / "model.c"))
    shown = subprocess.run([emulator, tmp_path / "bare"], input=data.tobytes(), check=True,
                           capture_output=True).stdout  # fmt: skip
    got = np.frombuffer(shown, np.int32).reshape(-1, 4)
    np.testing.assert_array_equal(got, run(build(tmp_path / "model.c"), "model_predict", data, 4))


# --- Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ({}, {"arithmetic": "int4"}, "arithmetic must be one of float32, int8; got 'int4'"),
        ({}, {"weights": "float32"}, "weights must be 'int8' with .*; got 'float32'"),
        ({}, {"calibration": None}, "calibration must be samples .* got None"),
        ({}, {"calibration": np.zeros((5, 3))}, r"calibration must have 7 .* shape \(5, 3\)"),
        ({}, {"calibration": np.full((5, 7), np.nan)}, "calibration must be finite; row 0"),
        ({}, {"calibration": np.zeros((0, 7))}, "calibration must have at least one sample"),
        ({}, {"arithmetic": "float32"}, "calibration must be None unless arithmetic is 'int8'"),
        ({}, {"train": True, "calibration": None}, "arithmetic must be 'float32' with train=True"),
        ({}, {"batch_size": 3}, "batch_size must be None unless train is True; got 3"),
        ({}, {"name": "a b"}, "name must be an identifier of C"),
        ({"normalization": [None, LayerNorm()]}, {}, "layer 1 must not have a layer normalization"),
        ({"activation": ["relu", "prelu"]}, {}, "activation of layer 1 must not be parametric"),
        ({"output": "mish"}, {}, "output layer 2 must be one of .*; got 'mish'"),
        ({"input_layers": [Embedding([0], [3])]}, {}, "input_layers; got Embedding"),
    ],
)  # fmt: skip
def test_bad_arguments(tmp_path, rng, network, options, message):
    net, X = make_network(rng, **network)
    options = {"weights": "int8", "arithmetic": "int8", "calibration": X} | options
    with pytest.raises(ValueError, match=message):
        net.to_c(tmp_path / "model.c", **options)
    assert not list(tmp_path.iterdir())


def test_a_quantized_network_has_its_own_arguments(tmp_path, rng):
    net, X = make_network(rng)
    q = net.quantize(X)
    with pytest.raises(ValueError, match="arithmetic must be one of float32, int8"):
        q.to_c(tmp_path / "model.c", arithmetic="int16")
    with pytest.raises(ValueError, match="weights must be one of int8; got 'float32'"):
        q.to_c(tmp_path / "model.c", weights="float32")
    q.save(tmp_path / "q.npz")
    QuantizedNetwork.load(tmp_path / "q.npz").to_c(tmp_path / "a.c", arithmetic="int8")
    q.to_c(tmp_path / "b.c", weights="int8", arithmetic="int8")
    assert (tmp_path / "a.h").read_text() == (tmp_path / "b.h").read_text()


def test_regressions_with_other_losses_have_the_outputs(tmp_path, rng):
    net, X = make_network(rng, (7, 12, 4), loss=losses.pinball((0.1, 0.9)))
    net.to_c(tmp_path / "model.c", weights="int8", arithmetic="int8", calibration=X)
    macros = read_macros(tmp_path / "model.c")
    got = run(build(tmp_path / "model.c"), "model_predict", to_bytes(X, macros), 4)
    np.testing.assert_allclose(got * macros["OUTPUT_SCALE"], net.quantize(X)(X), atol=0.1)
    assert "classify" not in (tmp_path / "model.h").read_text()
