"""
A network for a microcontroller
===============================

`net.to_c <cmlp.Network.to_c>` writes a network as one C99 file without dependencies and
without allocation: with weights of 32 bits, of 8 bits, or with integer operations only,
for devices without a floating-point unit. This example exports networks of several
sizes, compiles them for an Arm Cortex-M4 to see how much flash memory they take, and
compiles them for this computer to compare their outputs with those of Python.
:doc:`/microcontrollers` has the details.
"""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets, fit_many

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Networks
# --------
# Five networks with 4 to 64 hidden units.

X, y = datasets.make_digits(8_000, seed=0)
X_test, y_test = datasets.make_digits(1_000, seed=1)

hidden = [4, 8, 16, 32, 64]
nets = [
    Network([784, n, 10], activation="relu", loss="cross_entropy", seed=0)
    for n in hidden
]
fit_many(nets, X, y, epochs=8, batch_size=32, optimizer=Adam(2e-3), schedule="cosine")

# %%
# C files
# -------
# Each call writes a source and a header. ``own_math=True`` includes functions such as
# ``exp`` in the file, so that it links without the math library. Integer arithmetic
# needs some samples, from which the ranges of all integers follow.

directory = tempfile.TemporaryDirectory()
folder = Path(directory.name)
options = {
    "float32": {"own_math": True},
    "int8": {"weights": "int8", "own_math": True},
    "integer": {"weights": "int8", "arithmetic": "int8", "calibration": X[:500]},
}
sources = {}
for n, net in zip(hidden, nets, strict=True):
    for kind, arguments in options.items():
        sources[n, kind] = folder / f"{kind}_{n}.c"
        net.to_c(sources[n, kind], name=f"{kind}_{n}", **arguments)

print((folder / "int8_16.h").read_text())

# %%
# Flash memory
# ------------
# The GNU toolchain for Arm compiles each file; ``size`` states the bytes of code and
# constants, which are in flash memory. Where the toolchain is not installed, as on most
# computers, the page shows the sizes that its version 12.2 gave.

KNOWN = {
    "float32": [13252, 25972, 51412, 102292, 204052],
    "int8": [3808, 7016, 13432, 26264, 51932],
    "integer": [4120, 7328, 13756, 26604, 52300],
}


def measure_flash(source):
    """Return the bytes of code and constants of a C file on a Cortex-M4."""
    compiled = source.with_suffix(".o")
    options = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
    command = ["arm-none-eabi-gcc", *options, "-Os", "-c", source, "-o", compiled]
    subprocess.run(command, check=True)
    run = subprocess.run(["arm-none-eabi-size", compiled], check=True, stdout=-1)
    code_and_constants, data, *_ = map(int, run.stdout.split(b"\n")[1].split()[:3])
    return code_and_constants + data


if shutil.which("arm-none-eabi-gcc"):
    flash = {key: measure_flash(source) for key, source in sources.items()}
    print("sizes by the installed arm-none-eabi-gcc")
else:
    flash = {(n, kind): KNOWN[kind][i] for i, n in enumerate(hidden) for kind in KNOWN}
    print("arm-none-eabi-gcc is not installed: sizes by its version 12.2")

# %%
# The same numbers
# ----------------
# A C compiler for this computer makes a library of all files, and ``ctypes`` calls it
# for each image. The outputs differ from those of Python by rounding, or by the 8 bits.
# Functions with integer arithmetic read bytes and write 32768 times the probabilities.
# Without a C compiler, the accuracy is that of Python.


def load_library():
    """Return the compiled files, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "digits.so"
    options = ["-std=c99", "-O1", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, *sources.values(), "-o", library], check=True)
    return ctypes.CDLL(str(library))


def run_c(library, n, kind):
    """Return the probabilities of the test images, shape (n_images, 10)."""
    predict = getattr(library, f"{kind}_{n}_predict")
    is_integer = kind == "integer"
    inputs = X_test.reshape(len(X_test), 784)
    inputs = inputs if is_integer else inputs.astype(np.float32) / 255
    outputs = np.empty((len(inputs), 10), np.int32 if is_integer else np.float32)
    predict.argtypes = [np.ctypeslib.ndpointer(a.dtype) for a in (inputs, outputs)]
    for image, output in zip(inputs, outputs, strict=True):
        predict(image, output)
    return outputs / 32768 if is_integer else outputs


library = load_library()
accuracy = {}
print("hidden  kind       flash  accuracy  largest difference of a probability")
for n, net in zip(hidden, nets, strict=True):
    expected = net(X_test)
    for kind in options:
        outputs = run_c(library, n, kind) if library else expected
        difference = f"{np.abs(outputs - expected).max():.0e}" if library else "-"
        score = accuracy[n, kind] = np.mean(outputs.argmax(axis=1) == y_test)
        print(f"{n:6}  {kind:7} {flash[n, kind]:8,}     {score:.3f}  {difference}")

# %%
# Accuracy by flash memory
# ------------------------
# With 8 bits, a network takes a quarter of the memory at the same accuracy: 16 hidden
# units fit into 16 kB, instead of 4 with 32 bits. Integer operations change
# the accuracy by a few images in a thousand.

labels = {
    "float32": "32-bit weights",
    "int8": "8-bit weights",
    "integer": "8-bit weights, integer operations only",
}
styles = {"float32": ("C2", "s-"), "int8": ("C0", "o-"), "integer": ("C1", "x:")}
figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for kind, (color, style) in styles.items():
    x, height = zip(*[(flash[n, kind], accuracy[n, kind]) for n in hidden], strict=True)
    ax.plot(x, height, style, color=color, label=labels[kind], markersize=8)
    for n, *point in zip(hidden, x, height, strict=True):
        if kind != "integer":
            ax.annotate(f"784-{n}-10", point, (7, -13), textcoords="offset points")
kilobytes = [4, 8, 16, 32, 64, 128, 256]
ax.set_xscale("log")
ax.set_xticks([1024 * each for each in kilobytes], [f"{each} kB" for each in kilobytes])
ax.minorticks_off()
ax.grid(axis="x", linestyle=":")
ax.set(xlabel="flash memory on a Cortex-M4", ylabel="test accuracy", xlim=(3000, 4e5))
ax.legend()
plt.show()

directory.cleanup()
