"""
A network for a microcontroller
===============================

`net.to_c <cmlp.Network.to_c>` writes a network as one C99 file without dependencies and
without allocation. This example exports networks of several sizes with weights of 32
and of 8 bits, compiles them for an Arm Cortex-M4 to see how much flash memory they
take, and compiles them for this computer to compare their outputs with those of Python.
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

X, y = datasets.make_digits(10_000, seed=0)
X_test, y_test = datasets.make_digits(2_000, seed=1)
X_test = X_test.reshape(len(X_test), 784)

hidden = [4, 8, 16, 32, 64]
nets = [
    Network([784, n, 10], activation="relu", loss="cross_entropy", seed=0)
    for n in hidden
]
fit_many(nets, X, y, epochs=10, batch_size=32, optimizer=Adam(2e-3), schedule="cosine")

# %%
# C files
# -------
# Each call writes a source and a header. ``own_math=True`` includes functions such as
# ``exp`` in the file, so that it links without the math library.

directory = tempfile.TemporaryDirectory()
folder = Path(directory.name)
sources = {}
for n, net in zip(hidden, nets, strict=True):
    for weights in ["float32", "int8"]:
        name = f"digits_{n}_{weights}"
        sources[n, weights] = folder / f"{name}.c"
        net.to_c(sources[n, weights], name=name, weights=weights, own_math=True)

print((folder / "digits_16_int8.h").read_text())

# %%
# Flash memory
# ------------
# The GNU toolchain for Arm compiles each file; ``size`` states code and constants, both
# of which are in flash memory. Where the toolchain is not installed, as on most
# computers, the page shows what GCC 12.2 gave.

KNOWN = {
    (4, "float32"): 13252,
    (8, "float32"): 25972,
    (16, "float32"): 51412,
    (32, "float32"): 102292,
    (64, "float32"): 204052,
    (4, "int8"): 3808,
    (8, "int8"): 7016,
    (16, "int8"): 13432,
    (32, "int8"): 26264,
    (64, "int8"): 51932,
}
FLAGS = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os"]


def measure_flash(source):
    """Return the bytes of code and constants of a C file on a Cortex-M4."""
    compiled = source.with_suffix(".o")
    subprocess.run(
        ["arm-none-eabi-gcc", *FLAGS, "-c", source, "-o", compiled], check=True
    )
    run = subprocess.run(
        ["arm-none-eabi-size", compiled], check=True, capture_output=True
    )
    code_and_constants, data, *_ = map(int, run.stdout.split(b"\n")[1].split()[:3])
    return code_and_constants + data


if shutil.which("arm-none-eabi-gcc"):
    flash = {key: measure_flash(source) for key, source in sources.items()}
    print("sizes by the installed arm-none-eabi-gcc")
else:
    flash = KNOWN
    print("arm-none-eabi-gcc is not installed: sizes by its version 12.2")

# %%
# The same numbers
# ----------------
# A C compiler for this computer makes a library of all files, and ``ctypes`` calls it
# for each image. The outputs differ from those of Python by rounding, or by the 8 bits
# of the weights. Without a C compiler, the accuracy is that of Python.


def load_library():
    """Return the compiled files, or None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "digits.so"
    command = [
        compiler,
        "-std=c99",
        "-O2",
        "-shared",
        "-fPIC",
        *sources.values(),
        "-o",
        library,
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def run_c(library, name, images):
    """Return the outputs for images, shape (n_images, 10)."""
    predict = getattr(library, f"{name}_predict")
    pointer = np.ctypeslib.ndpointer(np.float32, flags="C")
    predict.argtypes = [pointer, pointer]
    outputs = np.empty((len(images), 10), np.float32)
    for image, output in zip(images, outputs, strict=True):
        predict(image, output)
    return outputs


library = load_library()
inputs = X_test[:1000].astype(np.float32) / 255  # C takes pixels in [0, 1]
accuracy = {}
print("hidden  weights    flash  accuracy  largest difference of a probability")
for n, net in zip(hidden, nets, strict=True):
    expected = net(inputs)
    for weights in ["float32", "int8"]:
        outputs = (
            run_c(library, f"digits_{n}_{weights}", inputs) if library else expected
        )
        difference = (
            f"{np.abs(outputs - expected).max():.0e}" if library else "no C compiler"
        )
        score = accuracy[n, weights] = np.mean(outputs.argmax(axis=1) == y_test[:1000])
        print(f"{n:6}  {weights:7} {flash[n, weights]:8,}    {score:.3f}  {difference}")

# %%
# Accuracy by flash memory
# ------------------------
# With 8 bits, a network takes a quarter of the memory at the same accuracy: 16 hidden
# units fit into 16 kB, instead of 4 with 32 bits.

figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for weights, color, style in [("float32", "C2", "s-"), ("int8", "C0", "o-")]:
    x = [flash[n, weights] for n in hidden]
    ax.plot(
        x, [accuracy[n, weights] for n in hidden], style, color=color, label=weights
    )
    for n in hidden:
        ax.annotate(
            f"784-{n}-10",
            (flash[n, weights], accuracy[n, weights]),
            (6, -12),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
kilobytes = [4, 8, 16, 32, 64, 128, 256]
ax.set_xscale("log")
ax.set_xticks([1024 * each for each in kilobytes], [f"{each} kB" for each in kilobytes])
ax.minorticks_off()
ax.grid(axis="x", linestyle=":")
ax.set(xlabel="flash memory on a Cortex-M4", ylabel="test accuracy", xlim=(3000, 3e5))
ax.legend(title="weights")
plt.show()

directory.cleanup()
