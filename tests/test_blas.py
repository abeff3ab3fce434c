"""The CBLAS hooks, with the library that is found or that CMLP_BLAS names."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from cmlp import SGD, Network
from cmlp._core import blas, hooks, kernels


def trained(dtype, X, y, threads=1):
    net = Network([300, 256, 200, 10], activation="relu", loss="cross_entropy", dtype=dtype, seed=0)
    net.fit(X, y, epochs=2, batch_size=128, optimizer=SGD(0.05), threads=threads)
    return np.concatenate([w.ravel() for w in net.weight] + [net(X).ravel()])


@pytest.fixture
def data(rng):
    return rng.random((1000, 300)), rng.integers(0, 10, 1000)


@pytest.fixture
def baseline():
    """Use the baseline kernels: the engine calls a BLAS with no others."""
    before = kernels.ISA
    kernels.choose("baseline")
    yield
    kernels.choose(before)


@pytest.fixture
def library(use_blas):
    """Use the CBLAS that CMLP_BLAS names, NumPy's or the system's; skip the test without one."""
    found = use_blas(os.environ.get("CMLP_BLAS", ""))
    if found is None:
        pytest.skip("no CBLAS is found, or CMLP_BLAS is 'none'")
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_hooked_routine_multiplies(library, dtype, rng):
    a, b = rng.random((7, 5)).astype(dtype), rng.random((5, 9)).astype(dtype)
    c = np.full((7, 9), np.nan, dtype)
    blas.multiply(a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"must have shapes .*; got \(7, 5\), \(7, 5\) and \(7, 9\)"
    ):
        blas.multiply(a, a, c)


def test_without_a_library_nothing_multiplies(use_blas):
    assert use_blas("none") is None
    with pytest.raises(RuntimeError, match="none is installed"):
        blas.multiply(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_agrees_with_and_without_a_blas(baseline, library, use_blas, data, dtype):
    with_blas = trained(dtype, *data)
    use_blas("none")
    without = trained(dtype, *data)
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(with_blas, without, rtol=0, atol=tolerance)


def record_calls(library, dtype):
    """Return hooks that record the sizes (m, n, k) of each call, the records, and the routine.

    The caller keeps a reference to the routine while the hooks are in use.
    """
    real, name = {"float32": (ctypes.c_float, "sgemm"), "float64": (ctypes.c_double, "dgemm")}[
        dtype
    ]
    whole = ctypes.c_int64 if library.ilp64 else ctypes.c_int
    matrix = (ctypes.c_void_p, whole)
    enums, sizes = [ctypes.c_int] * 3, [whole] * 3
    signature = ctypes.CFUNCTYPE(None, *enums, *sizes, real, *matrix, *matrix, real, *matrix)
    routine, calls = signature(getattr(library, name)), []

    @signature
    def recorded(*arguments):
        calls.append(arguments[3:6])
        routine(*arguments)

    address = ctypes.cast(recorded, ctypes.c_void_p).value
    return library._replace(**{name: address}), calls, recorded


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_products_go_to_the_blas(baseline, library, data, dtype):
    hooked, calls, _routine = record_calls(library, dtype)
    want = trained(dtype, *data)
    hooks.install(hooked)
    got = trained(dtype, *data)
    assert (got == want).all()
    # The first layer's forward product, in chunks of 64 samples.
    assert (64, 256, 300) in calls


def test_any_number_of_threads_gives_the_same_bits(baseline, library, data):
    one = trained("float32", *data)
    for threads in (2, 3, 4):
        assert (trained("float32", *data, threads=threads) == one).all()


def test_training_restores_the_threads_of_the_blas(library, data):
    if not library.get_threads:
        pytest.skip("this BLAS does not report its number of threads")
    threads = ctypes.CFUNCTYPE(ctypes.c_int)(library.get_threads)
    before = threads()
    trained("float32", *data)
    assert threads() == before


def test_the_openblas_of_numpys_wheels_is_found():
    built_with = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if built_with != "scipy-openblas":  # macOS wheels use Accelerate, distributions their own
        pytest.skip(f"this NumPy was built with {built_with}")
    [path] = hooks.find_numpy_libraries()
    found = hooks.open_library(path)
    assert (found.name, found.ilp64) == ("OpenBLAS", True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("no library"), "cannot be loaded as a library"),
    ],
)
def test_a_wrong_path_is_named(tmp_path, make, message):
    path = tmp_path / "libblas.so"
    make(path)
    code = "import cmlp; cmlp.Network([2, 2])"
    env = {**os.environ, "CMLP_BLAS": str(path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ValueError: CMLP_BLAS={str(path)!r} {message}")


def test_a_library_without_cblas_is_named():
    path = kernels.__file__
    with pytest.raises(ValueError, match=f"{path}.* has no symbol cblas_sgemm"):
        hooks.find(path)
