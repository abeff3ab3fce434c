"""Arrays as they come: changed while they are in use, masked, unaligned."""

import contextlib
import threading

import numpy as np
import pytest
from conftest import assert_same_state, read_data

from cmlp import LBFGS, Adam, Network, fit_many
from cmlp._core import inputs as core_inputs
from cmlp._training.evaluation import compute_outputs
from cmlp._training.inputs import prepare_rows

sparse = pytest.importorskip("scipy.sparse")

X0, Y0 = np.arange(12.0).reshape(4, 3) / 12, np.array([0, 1, 1, 0])


def classifier(dtype="float32", **options):
    return Network([3, 4, 2], loss="cross_entropy", dtype=dtype, seed=0, **options)


# Memory that the caller changes while it is in use.


@pytest.mark.parametrize("part", ["y", "validation", "sample_weight"])
def test_labels_and_weights_are_copied(part):
    y, y_valid = Y0.astype(np.int32), Y0.astype(np.int32)
    weight = np.ones(4)
    net, twin = classifier(), classifier()
    array, value = {"y": (y, 2**30), "validation": (y_valid, -(2**30)),
                    "sample_weight": (weight, np.nan)}[part]  # fmt: skip

    def change(network, epoch, record):
        array[:] = value

    options = {"epochs": 3, "batch_size": 2, "metrics": ("accuracy", "top_1")}
    changed = net.fit(X0, y, validation_data=(X0, y_valid), sample_weight=weight, callbacks=change,
                      **options)  # fmt: skip
    same = twin.fit(X0, Y0, validation_data=(X0, Y0), sample_weight=np.ones(4), **options)
    assert_same_state(net, twin)
    assert changed["val_loss"] == same["val_loss"]


def wide_matrix(rng, rows=40, columns=200, index=np.int32, density=0.3):
    dense = rng.random((rows, columns)).astype(np.float32)
    dense[rng.random(dense.shape) > density] = 0
    X = sparse.csr_array(dense)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


CHANGES = {
    "beyond": lambda X: X.indices.__setitem__(slice(None), 2**30),
    "negative": lambda X: X.indices.__setitem__(slice(None), -5),
    "last": lambda X: X.indices.__setitem__(X.indptr[1:] - 1, X.shape[1]),
    "unsorted": lambda X: X.indices.__setitem__(slice(None), X.indices[::-1].copy()),
    "equal": lambda X: X.indices.__setitem__(slice(None), 7),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("batch_size", [1, 4, 40])
def test_column_indices_that_change_are_an_error(rng, change, index, batch_size):
    X, y = wide_matrix(rng, index=index), rng.integers(0, 3, 40)
    net = Network([200, 8, 3], loss="cross_entropy", seed=0)
    with pytest.raises(ValueError, match="X must not change while it is in use; its column"):
        net.fit(X, y, epochs=3, batch_size=batch_size, callbacks=lambda *_: CHANGES[change](X))
    assert np.isfinite(net.state.parameters.block).all()


@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [(Adam(), "mse"), (LBFGS(), "mse"), (Adam(), lambda a, y: (0.0, np.zeros_like(a)))],
)
def test_column_indices_of_validation_data_that_change_are_an_error(rng, optimizer, loss):
    X, V = wide_matrix(rng), wide_matrix(rng)
    y = rng.random((40, 3))
    net = Network([200, 8, 3], loss=loss, seed=0)
    with pytest.raises(ValueError, match="X must not change while it is in use"):
        net.fit(X, y, epochs=3, optimizer=optimizer, validation_data=(V, y),
                callbacks=lambda *_: CHANGES["beyond"](V))  # fmt: skip


def test_wide_indices_are_not_truncated(rng):
    X = wide_matrix(rng, index=np.int64)
    rows, _ = read_data(Network([200, 2], seed=0), X, np.zeros(40, int))
    X.indices[3] += 2**32
    with pytest.raises(ValueError, match="X must not change"):
        Network([200, 2], seed=0).state.program.infer(rows, None, None, np.empty((40, 2), "f4"), 1)


def test_row_starts_are_copied(rng):
    X, y = wide_matrix(rng, index=np.int64), rng.integers(0, 3, 40)
    Z = X.copy()
    assert X.indptr.dtype == np.int64
    net, twin = (Network([200, 8, 3], loss="cross_entropy", seed=0) for _ in range(2))
    net.fit(X, y, epochs=3, callbacks=lambda *_: X.indptr.__setitem__(slice(None), 2**40))
    twin.fit(Z, y, epochs=3)
    assert_same_state(net, twin)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_an_array_or_targets_that_change_are_read_as_they_are(rng, kind):
    X, y = (rng.random((40, 100)) * 5).astype(kind), rng.random((40, 3)).astype(np.float32)
    net = Network([100, 8, 3], loss="mse", seed=0)

    def change(network, epoch, record):
        X[:] = rng.permutation(X)
        y[:] = rng.permutation(y)

    history = net.fit(X, y, epochs=5, batch_size=7, callbacks=change, metrics="r2")
    assert np.isfinite(history["loss"]).all()


def test_rows_that_change_while_they_are_compressed(rng):
    # Another thread sets zeros and non-zeros; every outcome is allowed but a crash, columns beyond
    # the width, and elements that were not written.
    X = np.zeros((4000, 100), np.float32)
    rows, stop = core_inputs.Rows(X), threading.Event()

    def change():
        while not stop.is_set():
            X[:] = 1
            X[:] = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            with contextlib.suppress(ValueError):
                values, columns, _ = rows.compress(2).arrays
                assert (columns < 100).all()
                assert np.isin(values, [0, 1]).all()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("entries", [15, 16, 17, 31, 32, 33, 64, 65])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_longest_row_fits_into_the_workspace(rng, entries, batch_size):
    # The workspace has as many entries as a batch of the longest row. One entry less, and the last
    # column index of these rows would be overwritten by the first value, which is a stored 0.
    dense = np.zeros((6, 200), np.float32)
    dense[:, 100 : 100 + entries] = rng.random((6, entries)) + 1
    X = sparse.csr_array(dense)
    X.data[X.indptr[:-1]] = 0
    assert X.nnz == 6 * entries
    nets = [Network([200, 8, 3], loss="mse", seed=0) for _ in range(2)]
    for net, rows in zip(nets, (X, X.toarray()), strict=True):
        net.fit(rows, np.ones((6, 3)), epochs=2, batch_size=batch_size, sparse="auto")
    assert_same_state(*nets)


# Masked arrays.


def masked(array, where=(0, 0)):
    array = np.ma.array(array)
    array[where] = np.ma.masked
    return array


@pytest.mark.parametrize("samples", [4, 3000])
def test_masked_elements_are_refused(samples):
    X, y = np.ones((samples, 3)), np.arange(samples) % 2
    net = classifier()
    for call in (
        lambda: net(masked(X)),
        lambda: net.predict(masked(X.astype("f4"))),
        lambda: net.predict_proba(list(masked(X))),
        lambda: net.predict([list(row) for row in masked(X)]),
        lambda: net.fit(masked(X), y),
        lambda: net.fit(X, masked(y, 0)),
        lambda: net.fit(X, masked(np.eye(2)[y])),
        lambda: net.fit(X, y, sample_weight=masked(np.ones(samples), 0)),
        lambda: net.fit(X, y, class_weight=masked(np.ones(2), 0)),
        lambda: net.fit(X, y, validation_data=(masked(X), y)),
        lambda: net.fit(X, y, validation_data=(X, masked(y, 0))),
        lambda: net.fit([(X, masked(y, 0))]),
        lambda: net.partial_fit(masked(X), y),
        lambda: net.score(X, masked(y, 0)),
        lambda: net.forward(masked(X.T)),
        lambda: net.backprop(masked(X[0], 0), 1),
        lambda: net.backprop(X[0], masked([0.0, 1.0], 0)),
        lambda: net.evaluate([(masked(X[0], 0), 1)]),
        lambda: fit_many([net], masked(X), y),
        lambda: net.weight.__setitem__(0, masked(net.weight[0])),
        lambda: Network([3, 2], loss=lambda a, y: (0.0, a)).fit(X, masked(np.eye(2)[y])),
    ):
        with pytest.raises(ValueError, match="must not have masked elements; got"):
            call()
    assert_same_state(net, classifier())
    assert (net(np.ma.array(X)) == net(X)).all()


def test_estimators_refuse_masked_elements():
    estimators = pytest.importorskip("cmlp.sklearn")
    X, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    fitted = estimators.MLPRegressor(hidden_layer_sizes=3, max_iter=400, tol=1).fit(X, y)
    for make in (estimators.MLPClassifier, estimators.MLPRegressor):
        for name, call in {
            "X": lambda e: e.fit(masked(X), y),
            "y": lambda e: e.fit(X, masked(y, 0)),
            "sample_weight": lambda e: e.fit(X, y, masked(np.ones(20), 0)),
            "X ": lambda e: fitted.partial_fit(masked(X), y),
            "X  ": lambda e: fitted.predict(masked(X)),
            "X   ": lambda e: fitted.score(masked(X), y),
            "y ": lambda e: fitted.score(X, masked(y, 0)),
            "sample_weight ": lambda e: fitted.score(X, y, masked(np.ones(20), 0)),
            "validation_data": lambda e: e.fit(X, y, validation_data=(X, masked(y, 0))),
        }.items():
            with pytest.raises(ValueError, match=f"{name.strip()} must not have masked elements"):
                call(make(hidden_layer_sizes=3, max_iter=2))


# Unaligned arrays.


def unaligned(array):
    array = np.ascontiguousarray(array)
    copied = np.frombuffer(b"\0" + array.tobytes(), offset=1, dtype=array.dtype)
    copied = copied.reshape(array.shape)
    assert not copied.flags.aligned or array.itemsize == 1
    return copied


KINDS = [np.uint8, np.float32, np.float64, np.int16, np.float16, ">f4"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"sparse": True}, {"shuffle": False}])
def test_unaligned_arrays_equal_their_copy(isa, rng, kind, dtype, options):
    X, y = (rng.random((300, 67)) * 3).astype(kind), rng.random((300, 2))
    weight = rng.random(300)
    nets = [Network([67, 33, 2], loss="mse", dtype=dtype, seed=0) for _ in range(2)]
    for net, form in zip(nets, (np.ascontiguousarray, unaligned), strict=True):
        net.fit(form(X), form(y), sample_weight=form(weight), validation_data=(form(X), form(y)),
                epochs=2, **options)  # fmt: skip
    assert_same_state(*nets)
    net = nets[0]
    assert (net(unaligned(X)) == net(X)).all()
    assert (net(unaligned(X[:1])) == net(X[:1])).all()
    assert net.score(unaligned(X), unaligned(y)) == net.score(X, y)
    assert (net.forward(unaligned(X.T)) == net.forward(X.T)).all()


def test_fields_of_packed_records(rng):
    records = np.zeros(
        100, np.dtype([("flag", "u1"), ("x", "f4", 3), ("label", "i4"), ("w", "f8")])
    )
    records["x"], records["w"] = rng.random((100, 3)), rng.random(100)
    records["label"] = rng.integers(0, 2, 100)
    nets = classifier(), classifier()
    for net, form in zip(nets, (np.array, lambda field: field), strict=True):
        net.fit(form(records["x"]), form(records["label"]), sample_weight=form(records["w"]))
    assert_same_state(*nets)
    assert not records["x"].flags.aligned


def test_unaligned_sparse_matrices(rng):
    X, y = wide_matrix(rng), rng.integers(0, 3, 40)
    nets = [Network([200, 8, 3], loss="cross_entropy", seed=0) for _ in range(2)]
    Z = X.copy()
    Z.data, Z.indices, Z.indptr = (unaligned(a) for a in (Z.data, Z.indices, Z.indptr))
    for net, rows in zip(nets, (X, Z), strict=True):
        net.fit(rows, y, epochs=2)
    assert_same_state(*nets)


def test_an_unaligned_memory_map_is_read_batch_by_batch(tmp_path, rng):
    X, path = rng.random((100, 5), dtype=np.float32), tmp_path / "rows"
    path.write_bytes(b"\0" + X.tobytes())
    mapped = np.memmap(path, np.float32, "r+", offset=1, shape=X.shape)
    net = Network([5, 2], seed=0)
    assert (net(mapped) == net(X)).all()
    rows = prepare_rows(mapped, net.state.architecture, batch_size=10)
    X[7] = mapped[7] = 3  # the rows are those of the map, not of a copy
    assert (compute_outputs(net.state, rows) == net(X)).all()


def test_estimators_accept_unaligned_arrays(rng):
    estimators = pytest.importorskip("cmlp.sklearn")
    X, y, weight = rng.random((50, 3)), rng.random(50), rng.random(50)
    for dtype in (None, "float32"):
        options = {"dtype": dtype, "hidden_layer_sizes": 3, "random_state": 0, "tol": 0.1}
        want = estimators.MLPRegressor(**options).fit(X, y, weight)
        got = estimators.MLPRegressor(**options)
        got.fit(*(unaligned(a) for a in (X, y, weight)))
        assert (got.predict(unaligned(X)) == want.predict(X)).all()
