"""Compile the C files that networks export, and run their functions."""

import ctypes
import shutil
import subprocess

import numpy as np

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def compile_libraries(paths, compilers, flags=()):
    """Return one library of all files for each compiler; the compilers run at the same time.

    Parameters
    ----------
    paths : list of Path
        C files whose functions have different names.
    compilers : list of str
    flags : sequence of str
        Options after `FLAGS`.

    Returns
    -------
    list of ctypes.CDLL
    """
    libraries = [paths[0].with_suffix(f".{name}{len(flags)}.so") for name in compilers]
    processes = [
        subprocess.Popen([name, *FLAGS, *flags, "-shared", "-fPIC", *paths, "-o", library, "-lm"])
        for name, library in zip(compilers, libraries, strict=True)
    ]
    assert [process.wait() for process in processes] == [0] * len(processes)
    return [ctypes.CDLL(str(library)) for library in libraries]


def compile_library(path, compiler):
    """Return the library of one C file."""
    return compile_libraries([path], [compiler])[0]


def run_c(library, name, X, outputs):
    """Return the outputs of the exported network `name`, shape (n_samples, outputs)."""
    predict = getattr(library, f"{name}_predict")
    pointer = ctypes.POINTER(ctypes.c_float)
    out = np.zeros((len(X), outputs), np.float32)
    for x, y in zip(np.ascontiguousarray(X, np.float32), out, strict=True):
        predict(x.ctypes.data_as(pointer), y.ctypes.data_as(pointer))
    return out
