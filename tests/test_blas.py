"""The CBLAS hooks, with the library that is found or that CMLP_BLAS names."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import assert_same_state, read_data

from cmlp import LBFGS, SGD, Network, fit_many
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


def record_calls(library, dtype, ilp64=None):
    """Return hooks that record the sizes (m, n, k) of each call, the records, and the routine.

    The caller keeps a reference to the routine while the hooks are in use. `ilp64`: whether the
    integers of these hooks have 64 bits; None: like the library's.
    """
    ilp64 = library.ilp64 if ilp64 is None else ilp64
    real, name = {"float32": (ctypes.c_float, "sgemm"), "float64": (ctypes.c_double, "dgemm")}[
        dtype
    ]

    def describe_signature(whole):
        matrix = (ctypes.c_void_p, whole)
        enums, sizes = [ctypes.c_int] * 3, [whole] * 3
        return ctypes.CFUNCTYPE(None, *enums, *sizes, real, *matrix, *matrix, real, *matrix)

    integers = {True: ctypes.c_int64, False: ctypes.c_int}
    routine, calls = describe_signature(integers[library.ilp64])(getattr(library, name)), []

    @describe_signature(integers[ilp64])
    def recorded(*arguments):
        calls.append(arguments[3:6])
        routine(*arguments)

    address = ctypes.cast(recorded, ctypes.c_void_p).value
    return library._replace(**{name: address}, ilp64=ilp64), calls, recorded


@pytest.mark.usefixtures("many_threads")
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


@pytest.fixture
def two_threads(library):
    """Set the number of threads of the BLAS to 2; a function that returns the current number."""
    if not library.get_threads:
        pytest.skip("this BLAS does not report its number of threads")
    count = ctypes.CFUNCTYPE(ctypes.c_int)(library.get_threads)
    set_count = ctypes.CFUNCTYPE(None, ctypes.c_int)(library.set_threads)
    before = count()
    set_count(2)
    yield count
    set_count(before)


def interrupted(done):
    raise KeyboardInterrupt


def test_the_blas_runs_on_one_thread_in_the_engine_and_gets_its_threads_back(
    baseline, two_threads, data
):
    assert two_threads() == 2
    net = Network([300, 256, 10], activation="relu", loss="cross_entropy", seed=0)
    rows, _ = read_data(net, *data)
    out, seen = np.empty((1000, 10), np.float32), []
    options = {"batch_size": 128, "epochs": 1}
    net.state.program.infer(rows, None, None, out, 1, tick=lambda done: seen.append(two_threads()))
    assert set(seen) == {1}
    for call in (
        lambda: net.fit(*data, **options),
        lambda: net(data[0]),
        lambda: net.score(*data),
        lambda: net.fit(*data, **options, optimizer=LBFGS()),
        lambda: blas.multiply(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2))),
    ):
        call()
        assert two_threads() == 2
    with pytest.raises(KeyboardInterrupt):
        net.state.program.infer(rows, None, None, out, 1, tick=interrupted)
    assert two_threads() == 2


def test_two_calls_at_once_restore_the_threads_of_the_blas(baseline, two_threads, data):
    networks = [Network([300, 256, 10], loss="cross_entropy", seed=s) for s in range(4)]
    fit_many(networks, *data, batch_size=128, epochs=3, threads=4)
    assert two_threads() == 2


def overlapping_rows(rng, dtype):
    values = rng.standard_normal(2000).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(values, 400)
    return {
        "windows": windows[:512],
        "one row": np.broadcast_to(values[:400], (512, 400)),
        "half": np.lib.stride_tricks.as_strided(
            values, (8, 400), (200 * values.itemsize, values.itemsize)
        ),
        "reversed": windows[511::-1],
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["windows", "one row", "half", "reversed"])
def test_rows_that_overlap_equal_their_copy(baseline, library, rng, dtype, kind, capfd):
    X = overlapping_rows(rng, dtype)[kind]
    y = rng.standard_normal((len(X), 3))
    net = Network([400, 700, 3], activation="relu", loss="mse", seed=0, dtype=dtype)
    assert "BLAS" in net.state.program.plan(len(X), 1)[1]
    assert (net(X) == net(X.copy())).all()
    twin = net.copy()
    for shuffle in (False, True):
        for network, rows in ((net, X), (twin, X.copy())):
            network.fit(rows, y, epochs=2, batch_size=64, shuffle=shuffle, optimizer=SGD(1e-3))
    assert_same_state(net, twin)
    for network, rows in ((net, X), (twin, X.copy())):
        network.fit(rows, y, epochs=2, optimizer=LBFGS())
    assert_same_state(net, twin)
    assert capfd.readouterr().err == ""  # OpenBLAS reports illegal arguments there


def test_a_stride_beyond_32_bits_is_not_truncated(baseline, library, rng, tmp_path):
    # Eight rows, 8 GiB + 4 KiB apart, in a sparse file.
    stride = 2**33 + 4096
    try:
        memory = np.memmap(tmp_path / "rows", np.uint8, "w+", shape=(8 * stride,))
    except OSError:
        pytest.skip("the file system has no files of 64 GiB")
    X = np.lib.stride_tricks.as_strided(memory.view(np.float32), (8, 400), (stride, 4))
    X[:] = rng.standard_normal((8, 400))
    net = Network([400, 700, 3], activation="relu", loss="mse", seed=0)
    hooked, calls, _routine = record_calls(library, "float32", ilp64=False)
    hooks.install(hooked)
    assert (net(X) == net(X.copy())).all()
    assert (8, 704, 400) in calls


def test_gemm_refuses_what_cblas_does_not_take(library):
    b, c = np.ones((5, 3)), np.zeros((4, 3))
    overlapping = np.lib.stride_tricks.as_strided(np.ones(40), (4, 5), (24, 8))
    with pytest.raises(ValueError, match="a must have rows that do not overlap, 5 elements"):
        blas.multiply(overlapping, b, c)
    far = np.lib.stride_tricks.as_strided(np.ones(5), (2, 5), (2**35, 8))
    hooks.install(library._replace(ilp64=False))  # refused before it would be called
    with pytest.raises(ValueError, match="in the range of the BLAS; got strides 34359738368"):
        blas.multiply(far, b, c[:2])
    assert (c == 0).all()


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
