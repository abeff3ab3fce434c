"""Sparse input: compressed rows and SciPy matrices give the bits of dense rows."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from conftest import PRINT_PEAK_MEMORY, assert_same_state, measures_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from cmlp import SGD, Adam, Network
from cmlp._core.inputs import Rows
from cmlp._training import inputs


def mostly_zero(rng, shape, kind="f4", density=0.2):
    """Return an array with about this fraction of non-zero elements and some rows of zeros."""
    values = rng.integers(1, 256, shape) if kind == "u1" else rng.normal(size=shape)
    X = np.where(rng.random(shape) < density, values, 0).astype(kind)
    X[:: max(2, shape[0] // 3)] = 0
    return X


def trained(X, y, sizes, *, sparse, dtype="float32", batch_size=7, threads=1, optimizer=None):
    """Return all parameters after two epochs, and the losses."""
    net = Network(sizes, activation="tanh", loss="cross_entropy", dtype=dtype, seed=1)
    history = net.fit(
        X, y, epochs=2, batch_size=batch_size, optimizer=optimizer or SGD(0.05), sparse=sparse,
        threads=threads,
    )  # fmt: skip
    return np.concatenate([*(a.ravel() for a in (*net.weight, *net.bias)), history["loss"]])


@given(
    samples=st.integers(1, 40),
    inputs=st.sampled_from([1, 7, 16, 33, 200]),
    hidden=st.sampled_from([1, 16, 30, 33, 64, 130, 300]),
    batch_size=st.sampled_from([1, 2, 5, 10, 40]),
    kind=st.sampled_from(["u1", "f4", "f8", "i4"]),
    dtype=st.sampled_from(["float32", "float64"]),
    threads=st.sampled_from([1, 3]),
    density=st.sampled_from([0.0, 0.1, 0.9]),
)
@settings(max_examples=80)
def test_zeros_are_skipped_without_changing_a_bit(
    samples, inputs, hidden, batch_size, kind, dtype, threads, density
):
    rng = np.random.default_rng(0)
    X = mostly_zero(rng, (samples, inputs), kind, density)
    y = rng.integers(0, 3, samples)
    options = {"dtype": dtype, "batch_size": batch_size, "threads": threads}
    dense = trained(X, y, [inputs, hidden, 3], sparse=False, **options)
    assert (trained(X, y, [inputs, hidden, 3], sparse=True, **options) == dense).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 10, 100, 300])
@pytest.mark.parametrize("hidden", [30, 100, 256, 512])
def test_every_isa_skips_zeros_without_changing_a_bit(
    isa, use_blas, rng, hidden, batch_size, dtype
):
    # Layers and batches that reach every branch of the sparse kernels: see policy.h.
    use_blas("none")  # a BLAS sums in another order
    X, y = mostly_zero(rng, (300, 500), "u1"), rng.integers(0, 10, 300)
    options = {"batch_size": batch_size, "dtype": dtype}
    dense = trained(X, y, [500, hidden, 10], sparse=False, **options)
    assert (trained(X, y, [500, hidden, 10], sparse=True, **options) == dense).all()


@pytest.mark.parametrize("batch_size", [3, 200])
def test_any_number_of_threads_gives_the_same_bits(rng, batch_size):
    # Enough work for four threads; the large batch is updated column by column.
    X, y = mostly_zero(rng, (600, 800)), rng.integers(0, 10, 600)
    sizes = [800, 4096, 10] if batch_size == 3 else [800, 512, 10]
    one = trained(X, y, sizes, sparse=True, batch_size=batch_size)
    for threads in (2, 3, 4):
        got = trained(X, y, sizes, sparse=True, batch_size=batch_size, threads=threads)
        assert (got == one).all()


@pytest.mark.parametrize("make", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
@pytest.mark.parametrize("kind", ["u1", "f4", "f8", "i2", "bool"])
def test_scipy_matrices_give_the_bits_of_dense_arrays(rng, make, kind):
    X, y = mostly_zero(rng, (50, 30), kind), rng.integers(0, 3, 50)
    matrix = getattr(scipy.sparse, make)(X)
    assert (trained(matrix, y, [30, 8, 3], sparse="auto")
            == trained(X, y, [30, 8, 3], sparse=False)).all()  # fmt: skip
    net = Network([30, 8, 3], seed=0)
    assert (net(matrix) == net(X)).all()
    assert (net.predict(matrix) == net.predict(X)).all()
    assert net.score(matrix, y) == net.score(X, y)


def test_scipy_matrices_with_long_indices_unsorted_and_repeated_elements(rng):
    X, y = mostly_zero(rng, (20, 12)), np.arange(20) % 3
    want = Network([12, 5, 3], seed=0)(X)
    csr = scipy.sparse.csr_matrix(X)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    assert (Network([12, 5, 3], seed=0)(csr) == want).all()
    backwards = csr.copy()
    for begin, end in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        backwards.indices[begin:end] = csr.indices[begin:end][::-1]
        backwards.data[begin:end] = csr.data[begin:end][::-1]
    np.testing.assert_allclose(Network([12, 5, 3], seed=0)(backwards), want, rtol=1e-5)
    halves = scipy.sparse.csr_matrix(
        (np.repeat(csr.data, 2) / 2, np.repeat(csr.indices, 2), 2 * csr.indptr), csr.shape
    )
    np.testing.assert_allclose(Network([12, 5, 3], seed=0)(halves), want, rtol=1e-5)
    backwards.has_sorted_indices = backwards.has_canonical_format = True  # which is wrong
    for batch_size in (5, 20):
        nets = [Network([12, 100, 3], seed=0) for _ in range(2)]
        for net, data in zip(nets, (backwards, X), strict=True):
            net.fit(data, y, epochs=2, batch_size=batch_size, sparse=True)
        assert_same_state(*nets)
    assert (backwards.indices[: csr.indptr[1]] == csr.indices[: csr.indptr[1]][::-1]).all()


def test_validation_with_sparse_data(rng):
    X, y = mostly_zero(rng, (200, 80)), rng.integers(0, 3, 200)
    histories = [
        Network([80, 9, 3], seed=0).fit(data, y, epochs=2, validation_split=0.3, sparse=sparse)
        for data, sparse in ((X, False), (X, True), (scipy.sparse.csr_array(X), "auto"))
    ]
    assert histories[0]["val_loss"] == histories[1]["val_loss"] == histories[2]["val_loss"]
    assert len(set(histories[0]["val_loss"])) == 2


@pytest.mark.parametrize(
    ("columns", "density", "sparse", "compressed"),
    [
        (100, 0.2, "auto", True), (100, 0.5, "auto", False), (20, 0.2, "auto", False),
        (20, 0.9, True, True), (100, 0.1, False, False),
    ],
)  # fmt: skip
def test_compression_depends_on_density_and_width(isa, rng, columns, density, sparse, compressed):
    X = mostly_zero(rng, (500, columns), density=density)
    architecture = Network([columns, 8, 3]).state.architecture
    rows = inputs.prepare_rows(X, architecture, batch_size=8, sparse=sparse, threads=1)
    assert rows.is_sparse == compressed


@pytest.mark.parametrize(
    ("hidden", "batch_size", "dtype", "wide"),
    [
        (64, 32, "float32", True), (63, 32, "float32", False), (30, 32, "float32", False),
        (30, 32, "float64", False), (32, 32, "float64", True), (64, 31, "float32", False),
    ],
)  # fmt: skip
def test_wide_layers_and_batches_compress_denser_rows(isa, rng, hidden, batch_size, dtype, wide):
    X = mostly_zero(rng, (500, 100), density=0.5)
    architecture = Network([100, hidden, 3], dtype=dtype).state.architecture
    rows = inputs.prepare_rows(X, architecture, batch_size=batch_size, threads=1)
    assert rows.is_sparse == (wide and isa != "baseline")


@pytest.mark.parametrize("kind", ["u1", "f4", "f8"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 15, 64, 100, 70_000])
def test_compressing_loses_nothing(isa, rng, kind, threads, width):
    X = mostly_zero(rng, (23, width), kind, 0.3 if width < 1000 else 0.001)
    X[5] = 1
    rows = Rows(X).compress(threads)
    values, columns, start = rows.arrays
    got = scipy.sparse.csr_array((values, columns.astype(np.int64), start), X.shape)
    assert (got.toarray() == X).all()
    assert got.nnz == (X != 0).sum()
    assert rows.compute_density() == (X != 0).mean()


@measures_memory
def test_a_wide_matrix_takes_memory_for_its_elements_only():
    # 200,000 x 50,000 with 50 elements in a row; a dense array would take 40 GB.
    code = """
import numpy as np, scipy.sparse
from cmlp import Network, SGD
n, width, each = 200_000, 50_000, 50
rng = np.random.default_rng(0)
columns = rng.integers(0, width, n * each, dtype=np.int32)
X = scipy.sparse.csr_matrix(
    (np.ones(n * each, np.float32), columns, np.arange(0, n * each + 1, each)), (n, width))
y = (columns[::each] > width // 2).astype(int)
net = Network([width, 16, 2], activation="relu", loss="cross_entropy", seed=0)
net.fit(X, y, epochs=1, batch_size=64, optimizer=SGD(0.5))
assert net.predict(X).shape == (n,)
"""
    code += PRINT_PEAK_MEMORY
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700  # MiB: the elements take 80, the weights 3


def csr(values=(1.0, 2.0), columns=(0, 1), start=(0, 1, 2), shape=(2, 3)):
    matrix = scipy.sparse.csr_matrix((2, 3), dtype=np.float32)
    matrix.data, matrix.indices = np.array(values, np.float32), np.array(columns, np.int32)
    matrix.indptr = np.array(start, np.int32)
    return matrix


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (csr(columns=(0, 3)), {}, r"column indices must be in \[0, 3\); got 0 to 3"),
        (csr(columns=(-1, 1)), {}, r"column indices must be in \[0, 3\); got -1 to 1"),
        (csr(start=(0, 2, 1)), {}, "indptr must start at 0, be non-decreasing"),
        (csr(start=(0, 1, 9)), {}, "indptr must start at 0, be non-decreasing and end at nnz"),
        (csr(values=(np.nan, 1)), {}, "X must be finite; row 0 holds NaN"),
        (csr(values=(1, np.inf)), {}, "X must be finite; row 1 holds NaN"),
        (scipy.sparse.csr_matrix((2, 4)), {}, r"X must have 3 columns .* got shape \(2, 4\)"),
        (csr(), {"sparse": False}, "sparse must be 'auto' or True for a sparse X"),
        (np.ones((2, 3)), {"sparse": "yes"}, "sparse must be 'auto', True or False; got 'yes'"),
        (np.ones((2, 3)), {"sparse": 1}, "sparse must be 'auto', True or False; got 1"),
    ],
)
def test_bad_input_leaves_the_network_as_it_was(X, options, message):
    net = Network([3, 4, 2], seed=0)
    before = [w.copy() for w in net.weight]
    with pytest.raises(ValueError, match=message):
        net.fit(X, [0, 1], **options)
    assert all((w == b).all() for w, b in zip(net.weight, before, strict=True))


def test_adam_on_sparse_rows(rng):
    X, y = mostly_zero(rng, (64, 70)), rng.integers(0, 10, 64)
    options = {"optimizer": Adam(0.01), "dtype": "float64"}
    dense = trained(X, y, [70, 40, 10], sparse=False, **options)
    got = trained(X, y, [70, 40, 10], sparse=True, **options)
    np.testing.assert_allclose(got, dense, rtol=1e-10, atol=1e-12)
