"""The cblas hooks, against whatever CBLAS is found or CMLP_BLAS names."""

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
    """The plainest kernels, so that any BLAS is wide enough for the rule to choose it."""
    before = kernels.ISA
    kernels.choose("baseline")
    yield
    kernels.choose(before)


@pytest.fixture
def library(use_blas):
    """The CBLAS that is configured: of CMLP_BLAS, else NumPy's, else the system's."""
    found = use_blas(os.environ.get("CMLP_BLAS", ""))
    assert found is not None or os.environ.get("CMLP_BLAS") == "none"
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_hooked_routine_multiplies(library, dtype, rng):
    a, b = rng.random((7, 5)).astype(dtype), rng.random((5, 9)).astype(dtype)
    c = np.full((7, 9), np.nan, dtype)
    if library is None:
        with pytest.raises(RuntimeError, match="no BLAS is hooked"):
            blas.multiply(a, b, c)
        return
    blas.multiply(a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-6)
    with pytest.raises(ValueError, match=r"shapes \(7, 5\), \(7, 5\) and \(7, 9\) do not match"):
        blas.multiply(a, a, c)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_and_without_the_network_is_the_same(baseline, library, use_blas, data, dtype):
    with_blas = trained(dtype, *data)
    use_blas("none")
    without = trained(dtype, *data)
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(with_blas, without, rtol=0, atol=tolerance)


def counting(library, dtype):
    """Return hooks that count the calls of one routine and hand them on, and the counter."""
    real, name = {"float32": (ctypes.c_float, "sgemm"), "float64": (ctypes.c_double, "dgemm")}[
        dtype
    ]
    whole = ctypes.c_int64 if library.ilp64 else ctypes.c_int
    place = ctypes.c_void_p
    matrix = (place, whole)
    enums, sizes = [ctypes.c_int] * 3, [whole] * 3
    signature = ctypes.CFUNCTYPE(None, *enums, *sizes, real, *matrix, *matrix, real, *matrix)
    routine, calls = signature(getattr(library, name)), []

    @signature
    def counted(*arguments):
        calls.append(arguments[3:6])
        routine(*arguments)

    address = ctypes.cast(counted, place).value
    return library._replace(**{name: address}), calls, counted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_products_go_to_the_blas(baseline, library, data, dtype):
    if library is None:
        return  # `test_none_means_none`
    hooked, calls, _kept_alive = counting(library, dtype)
    want = trained(dtype, *data)
    hooks.install(hooked)
    got = trained(dtype, *data)
    assert (got == want).all()
    # Forward, 64 samples at a time; the greatest of them is the first layer's.
    assert (64, 256, 300) in calls


def test_any_number_of_threads_gives_the_same_bits(baseline, library, data):
    one = trained("float32", *data)
    for threads in (2, 3, 4):
        assert (trained("float32", *data, threads=threads) == one).all()


def test_numpy_gets_its_threads_back(library, data):
    if library is None or not library.get_threads:
        pytest.skip("this BLAS does not tell how many threads it takes")
    threads = ctypes.CFUNCTYPE(ctypes.c_int)(library.get_threads)
    before = threads()
    trained("float32", *data)
    assert threads() == before


def test_numpys_wheel_brings_a_blas():
    [path] = hooks.numpy_libraries()
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


def test_none_means_none():
    assert hooks.find("none") is None
