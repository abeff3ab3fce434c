"""Find a CBLAS on this machine and pass the addresses of its functions to `blas.pyx`.

If the environment variable `CMLP_BLAS` is set, it is the path of a library, or ``none``.
Otherwise the search order is: the OpenBLAS that NumPy's wheel bundles, then system libraries.
The search runs once, when the first network is created.
"""

import ctypes
import functools
import os
import sys
from typing import NamedTuple

import numpy as np

from cmlp._core import blas

# Pattern of a symbol's name, and whether a library with such symbols has 64-bit integers, in
# search order.
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
    """A CBLAS that was found.

    Attributes
    ----------
    path : str
    name : str
        ``"OpenBLAS"``, ``"MKL"`` or ``"CBLAS"``.
    core : str
        CPU core whose kernels it uses, as reported by the library.
    ilp64 : bool
        Whether its integers have 64 bits.
    sgemm, dgemm, set_threads, get_threads : int
        Addresses of functions; 0 if the library has no such function.
    """

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
    """Find a CBLAS and install it; later calls return the same result.

    Returns
    -------
    Hooks or None
        None if no CBLAS is found, or `CMLP_BLAS` is ``none``.

    Raises
    ------
    ValueError
        If `CMLP_BLAS` is a path that does not exist, is not a library, or lacks a symbol.
    """
    found = find(os.environ.get("CMLP_BLAS", ""))
    install(found)
    return found


def install(found):
    """Let the engine use a CBLAS.

    Parameters
    ----------
    found : Hooks or None
        None: use no BLAS.
    """
    if found is None:
        blas.install(0, 0, False)
    else:
        blas.install(found.sgemm, found.dgemm, found.ilp64, found.set_threads, found.get_threads)


def find(wanted=""):
    """Find a CBLAS.

    Parameters
    ----------
    wanted : str, default ""
        Path of a library; ``"none"``; or empty: search.

    Returns
    -------
    Hooks or None
        None if no CBLAS is found, or `wanted` is ``"none"``.

    Raises
    ------
    ValueError
        If `wanted` is a path that does not exist, is not a library, or lacks a symbol.
    """
    if wanted == "none":
        return None
    if wanted:
        if not os.path.exists(wanted):
            raise ValueError(
                f"CMLP_BLAS={wanted!r} does not exist; it must be the path of a CBLAS library, "
                "or 'none'"
            )
        return open_library(wanted)
    for path in (*find_numpy_libraries(), *SYSTEM_LIBRARIES.get(sys.platform, ())):
        try:
            return open_library(path)
        except ValueError:
            continue
    return None


def find_numpy_libraries():
    """Return a list of the paths of the BLAS libraries that NumPy's wheel bundles."""
    package = os.path.dirname(np.__file__)
    directories = (
        os.path.join(os.path.dirname(package), "numpy.libs"),
        os.path.join(package, ".dylibs"),
    )
    return [
        os.path.join(directory, name)
        for directory in directories
        if os.path.isdir(directory)
        for name in sorted(os.listdir(directory))
        if "openblas" in name
    ]


def open_library(path):
    """Load a CBLAS and look up its functions.

    Parameters
    ----------
    path : str

    Returns
    -------
    Hooks

    Raises
    ------
    ValueError
        If the path cannot be loaded as a library, or lacks a symbol.
    """
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ValueError(f"CMLP_BLAS={path!r} cannot be loaded as a library: {error}") from None
    for spelling, ilp64 in SPELLINGS:
        sgemm, dgemm = (find_address(library, spelling.format(f"cblas_{t}gemm")) for t in "sd")
        if sgemm and dgemm:
            return describe_library(library, path, spelling, ilp64, sgemm, dgemm)
    missing = "cblas_dgemm" if find_address(library, "cblas_sgemm") else "cblas_sgemm"
    raise ValueError(f"CMLP_BLAS={path!r} has no symbol {missing} (nor one with the suffix 64_)")


def describe_library(library, path, spelling, ilp64, sgemm, dgemm):
    """Return the `Hooks` of a loaded library.

    OpenBLAS and MKL are recognized by symbols that only they have.

    Parameters
    ----------
    library : ctypes.CDLL
    path : str
        Path of the library.
    spelling : str
        Pattern of its symbols, from `SPELLINGS`.
    ilp64 : bool
        Whether its integers have 64 bits.
    sgemm, dgemm : int
        Addresses of the two functions.

    Returns
    -------
    Hooks
    """
    corename = getattr(library, spelling.format("openblas_get_corename"), None)
    if corename is not None:
        corename.restype = ctypes.c_char_p
        name, core = "OpenBLAS", corename().decode()
        calls = ("openblas_set_num_threads", "openblas_get_num_threads")
        threads = [find_address(library, spelling.format(call)) for call in calls]
    elif find_address(library, "MKL_Set_Num_Threads"):
        name, core = "MKL", "chosen by MKL"
        threads = [find_address(library, c) for c in ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads")]
    else:
        name, core, threads = "CBLAS", "unknown", [0, 0]
    return Hooks(path, name, core, ilp64, sgemm, dgemm, *threads)


def find_address(library, symbol):
    """Return the address of a symbol as an int; 0 if the library does not have it."""
    try:
        return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
    except AttributeError:
        return 0
