"""Finds a CBLAS on this machine and hands its addresses to `blas.pyx`.

The search goes by `CMLP_BLAS`, a path or ``none``; then the OpenBLAS that NumPy's
wheel bundles; then a system library.  It runs once, when the first network is made.
"""

import ctypes
import functools
import os
import sys
from typing import NamedTuple

import numpy as np

from cmlp._core import blas

# How a routine may be spelt, and whether its integers then have 64 bits.
SPELLINGS = (
    ("scipy_{}64_", True),
    ("{}64_", True),
    ("{}_64", True),
    ("scipy_{}", False),
    ("{}", False),
)

SYSTEM_LIBRARIES = {
    "darwin": ("/System/Library/Frameworks/Accelerate.framework/Accelerate",),
    "linux": (
        "libopenblas.so.0",
        "libmkl_rt.so.2",
        "libblis.so.4",
        "libcblas.so.3",
        "libblas.so.3",
    ),
}


class Hooks(NamedTuple):
    """A CBLAS that was found: where, its name, core, integers and addresses."""

    path: str
    name: str
    core: str
    ilp64: bool
    sgemm: int
    dgemm: int
    set_threads: int = 0
    get_threads: int = 0


@functools.cache
def use():
    """Find a CBLAS, once, and hand it to the engine.

    Returns
    -------
    Hooks or None
        None where there is no CBLAS, or `CMLP_BLAS` is ``none``.

    Raises
    ------
    ValueError
        If `CMLP_BLAS` is a path that does not exist, is not a library, or lacks a symbol.
    """
    found = find(os.environ.get("CMLP_BLAS", ""))
    install(found)
    return found


def install(found):
    """Hand the addresses of `Hooks`, or of nothing, to the engine."""
    if found is None:
        blas.install(0, 0, False)
    else:
        blas.install(found.sgemm, found.dgemm, found.ilp64, found.set_threads, found.get_threads)


def find(wanted=""):
    """Look for the CBLAS at the path `wanted`, or wherever one may be; see `use`."""
    if wanted == "none":
        return None
    if wanted:
        if not os.path.exists(wanted):
            raise ValueError(
                f"CMLP_BLAS={wanted!r} does not exist; give the path of a CBLAS, or 'none'"
            )
        return open_library(wanted)
    for path in (*numpy_libraries(), *SYSTEM_LIBRARIES.get(sys.platform, ())):
        try:
            return open_library(path)
        except ValueError:
            continue
    return None


def numpy_libraries():
    """Return the paths of the BLAS libraries that NumPy's wheel bundles, if any."""
    package = os.path.dirname(np.__file__)
    folders = (os.path.join(os.path.dirname(package), "numpy.libs"),
               os.path.join(package, ".dylibs"))  # fmt: skip
    return [
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if "openblas" in name
    ]


def open_library(path):
    """Read a CBLAS's addresses; a `ValueError` names the path and what it lacks."""
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ValueError(f"CMLP_BLAS={path!r} cannot be loaded as a library: {error}") from None
    for spelling, ilp64 in SPELLINGS:
        sgemm, dgemm = (address(library, spelling.format(f"cblas_{t}gemm")) for t in "sd")
        if sgemm and dgemm:
            return describe(library, path, spelling, ilp64, sgemm, dgemm)
    missing = "cblas_dgemm" if address(library, "cblas_sgemm") else "cblas_sgemm"
    raise ValueError(f"CMLP_BLAS={path!r} has no symbol {missing} (nor one with the suffix 64_)")


def describe(library, path, spelling, ilp64, sgemm, dgemm):
    """Tell OpenBLAS, MKL and others apart by the symbols that they have."""
    corename = getattr(library, spelling.format("openblas_get_corename"), None)
    if corename is not None:
        corename.restype = ctypes.c_char_p
        name, core = "OpenBLAS", corename().decode()
        calls = ("openblas_set_num_threads", "openblas_get_num_threads")
        threads = [address(library, spelling.format(call)) for call in calls]
    elif address(library, "MKL_Set_Num_Threads"):
        name, core = "MKL", "chosen by MKL"
        threads = [address(library, c) for c in ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads")]
    else:
        name, core, threads = "CBLAS", "unknown", [0, 0]
    return Hooks(path, name, core, ilp64, sgemm, dgemm, *threads)


def address(library, symbol):
    """Return the address of a symbol, 0 where the library has none of that name."""
    try:
        return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
    except AttributeError:
        return 0
