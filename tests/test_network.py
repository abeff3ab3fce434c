"""Network: training and prediction against the oracle, copies, threads, arguments."""

import copy
import pickle
import re

import numpy as np
import oracle
import pytest
from conftest import assert_same_state, read_data, train_epoch
from hypothesis import given, settings
from hypothesis import strategies as st

import cmlp
from cmlp import SGD, Adam, Network, TrainingDiverged
from cmlp._core import training
from cmlp._training.step_settings import StepSettings


def parameters(net):
    return [w.astype(float) for w in net.weight], [b.astype(float) for b in net.bias]


def names_of(net):
    return [*net.activation, net.output]


WIDTHS = st.one_of(st.integers(1, 36), st.sampled_from([63, 64, 65, 100, 1000]))


@pytest.mark.usefixtures("many_threads")
@given(
    sizes=st.lists(WIDTHS, min_size=2, max_size=4),
    samples=st.integers(1, 23),
    batch_size=st.integers(1, 30),
    dtype=st.sampled_from(["float32", "float64"]),
    kind=st.sampled_from(["u1", "f4", "f8", "i8", "f2", ">f4"]),
    layout=st.sampled_from(["C", "F", "strided", "reversed", "read-only"]),
    threads=st.sampled_from([1, 3]),
)
@settings(max_examples=120)
def test_an_epoch_equals_the_oracle(sizes, samples, batch_size, dtype, kind, layout, threads):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (samples, sizes[0])).astype(kind)
    y = rng.random((samples, sizes[-1]))
    net = Network(sizes, activation="tanh", loss="quadratic", dtype=dtype, seed=3)
    weights, biases = parameters(net)
    want = oracle.sgd(
        weights, biases, names_of(net), "quadratic",
        X / 255 if kind == "u1" else X.astype(float), y, 0.05, batch_size,
    )  # fmt: skip
    history = net.fit(
        laid_out(X, layout), y, epochs=1, batch_size=batch_size, optimizer=SGD(0.05),
        shuffle=False, threads=threads,
    )  # fmt: skip
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    assert history["loss"] == [pytest.approx(want, rel=tolerance, abs=tolerance)]
    for got, expected in zip([*net.weight, *net.bias], [*weights, *biases], strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def laid_out(X, layout):
    """Return X with the same values in another memory layout."""
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided":
        wide = np.zeros((2 * len(X), 2 * X.shape[1] + 1), X.dtype)
        wide[::2, 1::2] = X
        return wide[::2, 1::2]
    if layout == "reversed":
        return X[::-1].copy()[::-1]
    X = X.copy()
    X.setflags(write=layout != "read-only")
    return X


def test_inference_equals_the_oracle(isa, rng):
    net = Network([20, 33, 17, 4], activation=["relu", "tanh"], loss="cross_entropy", seed=0)
    X = rng.normal(size=(1000, 20)).astype(np.float32)
    want = oracle.forward(*parameters(net), names_of(net), X)[1][-1]
    np.testing.assert_allclose(net(X), want, atol=2e-6)
    np.testing.assert_array_equal(net.predict(X), want.argmax(axis=1))
    np.testing.assert_allclose(net.predict_proba(X[:1]), want[:1], atol=2e-6)
    assert net(X[:0]).shape == (0, 4)
    assert net.predict(X).dtype == np.intp


def test_memmap(tmp_path, rng):
    path = tmp_path / "X.bin"
    X = rng.integers(0, 256, (50, 12)).astype(np.uint8)
    X.tofile(path)
    net = Network([12, 5, 3], seed=0)
    mapped = np.memmap(path, np.uint8, "r", shape=X.shape)
    np.testing.assert_array_equal(net(mapped), net(X))
    other = net.copy()
    for each, data in ((net, mapped), (other, X)):
        each.fit(data, np.arange(50) % 3, epochs=1)
    assert_same_state(net, other)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("sizes", [[784, 30, 10], [784, 512, 256, 10]])
def test_any_number_of_threads_gives_the_same_bits(digits, sizes):
    (X, y), _ = digits
    nets = []
    for threads in (1, 2, 3, 4):
        net = Network(sizes, activation="relu", loss="cross_entropy", seed=0)
        net.fit(X[:700], y[:700], epochs=1, batch_size=128, optimizer=SGD(0.05), threads=threads)
        nets.append(np.concatenate([w.ravel() for w in net.weight]))
        assert (nets[0] == nets[-1]).all()


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_divide_the_columns_of_a_small_batch(rng, dtype, batch_size):
    # Layers wide enough for several threads; the last batch of 23 samples is smaller.
    X, y = rng.random((23, 1500)), rng.integers(0, 10, 23)
    start = Network([1500, 1400, 1000, 10], activation=["relu", "tanh"], loss="cross_entropy",
                    dtype=dtype, seed=0)  # fmt: skip
    found = []
    for threads in (1, 2, 3, 4):
        net = start.copy()
        history = net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=SGD(1e-3),
                          threads=threads)  # fmt: skip
        found.append((net.state.parameters.block, history["loss"]))
        assert (found[0][0] == found[-1][0]).all()
        assert found[0][1] == found[-1][1]


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("seconds", [0.0, 1e-3, 1e9])
def test_time_slices_do_not_change_the_results(rng, batch_size, seconds):
    # A step's update of the first layer may be deferred into the next step; it must be complete
    # wherever a time slice ends.
    X, y = rng.random((9_900, 40), dtype=np.float32), rng.integers(0, 10, 9_900)
    net, whole = (Network([40, 300, 10], loss="cross_entropy", seed=0) for _ in range(2))
    slices = 1
    with training.EpochRun(
        net.state.program, *read_data(net, X, y), None, batch_size, StepSettings(0.01), 1
    ) as run:
        while run.run(0, seconds):
            slices += 1
    assert (slices > 5) == (seconds < 1)
    for start in range(0, 9_900, 990):
        data = read_data(whole, X[start : start + 990], y[start : start + 990])
        train_epoch(whole.state.program, *data, None, batch_size, StepSettings(0.01), 1)
    assert_same_state(net, whole)


def test_small_predictions_equal_large_ones(rng):
    net = Network([20, 16, 3], seed=0)
    for kind in ("u1", "f4", "f8"):
        X = (rng.random((5, 20)) * 200).astype(kind)
        assert net.state.program.predict_few(X) is not None
        assert (net(X) == net(X[:, :, None])).all()
        np.testing.assert_array_equal(net(X[:1]), net(X)[:1])
    for other in (X[:, ::-1], X[:, :4], X[0], X.astype("i4"), X[:0], X.tolist(), "X", None):
        assert net.state.program.predict_few(other) is None
    for wrong, row in ((np.nan, 3), (np.inf, 0), (-np.inf, 4)):
        X = rng.random((5, 20))
        X[row, 7] = wrong
        with pytest.raises(ValueError, match=f"X must be finite; row {row} holds NaN"):
            net(X)
        many = np.tile(rng.random((5, 20)), (200, 1))
        many[900 + row, 7] = wrong
        with pytest.raises(ValueError, match=f"X must be finite; row {900 + row} holds NaN"):
            net.predict(many)


def test_show_config_prints_the_plan_of_a_network(capsys):
    cmlp.show_config(Network([784, 30, 10]), batch_size=1)
    shown = capsys.readouterr().out
    assert "batch:    1 samples, 1 thread\n" in shown
    assert "layer 1:  784 -> 30, kernels, update and forward in one pass\n" in shown
    cmlp.show_config(Network([784, 30, 10]), batch_size=64)
    assert "layer 2:  30 -> 10, kernels\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        cmlp.show_config(Network([784, 30, 10]), batch_size=0)


def test_seeds(rng):
    X, y = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)

    def trained(seed):
        net = Network([5, 8, 3], seed=seed)
        net.fit(X, y, epochs=3, batch_size=8)
        return net.weight[0].copy()

    assert (trained(7) == trained(7)).all()
    assert (trained(7) != trained(8)).any()
    before = np.random.get_state()[1].copy()
    trained(None)
    assert (np.random.get_state()[1] == before).all()


def test_assigning_parameters_takes_effect():
    net = Network([3, 4, 2], seed=0)
    x = np.ones((1, 3), np.float32)
    net.weight[0][:] = 0
    net.bias[0] = np.full((4, 1), 2.0)
    net.weight = [np.zeros((4, 3)), np.ones((2, 4))]
    net.bias[1] -= net.bias[1]
    sums = 4 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(net(x), 1 / (1 + np.exp(-sums)) * np.ones((1, 2)), rtol=1e-6)
    net.weight[1] = net.weight[1][::-1]
    with pytest.raises(ValueError, match=r"weight must have shape \(4, 3\); got \(3, 4\)"):
        net.weight[0] = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"^bias must be 2 arrays; got 1"):
        net.bias = [np.zeros((4, 1))]
    with pytest.raises(TypeError, match="one array for each layer"):
        net.weight.append(np.zeros(3))


def test_labels_and_targets_agree(rng):
    X, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    nets = [Network([4, 6, 3], loss="cross_entropy", seed=0) for _ in range(4)]
    targets = (labels, labels.astype(float), list(labels), oracle.one_hot(labels, 3))
    for net, y in zip(nets, targets, strict=True):
        net.fit(X, y, epochs=2, batch_size=7)
        assert (net.weight[0] == nets[0].weight[0]).all()
        assert net.score(X, y) == nets[0].score(X, labels)


def test_regression(rng):
    X = rng.normal(size=(500, 3))
    y = X @ [1.0, -2, 0.5] + 1
    net = Network([3, 16, 1], activation="tanh", loss="mse", seed=0)
    history = net.fit(X, y, epochs=100, optimizer=SGD(0.1), validation_split=0.2)
    assert net.predict(X).shape == (500,)
    assert net.score(X, y) > 0.99
    assert history["val_r2"][-1] > 0.99
    with pytest.raises(TypeError, match="output must be 'softmax' or 'sigmoid'"):
        net.predict_proba(X)


def test_history_and_validation(digits):
    (X, y), (X_test, y_test) = digits
    net = Network([784, 16, 10], loss="cross_entropy", seed=0)
    history = net.fit(X[:2000], y[:2000], epochs=3, validation_data=(X_test[:500], y_test[:500]))
    assert len(history.epochs) == 3
    assert history["val_accuracy"][-1] == net.score(X_test[:500], y_test[:500])
    assert set(history.to_dict()) == {
        "loss", "lr", "seconds", "samples_per_second", "val_loss", "val_accuracy"
    }  # fmt: skip
    assert history["loss"][0] > history["loss"][-1]
    weights, biases = parameters(net)
    X, y = X_test[:500].reshape(-1, 784) / 255, oracle.one_hot(y_test[:500], 10)
    want = oracle.mean_loss(weights, biases, names_of(net), "cross_entropy", X, y)
    assert history["val_loss"][-1] == pytest.approx(want, rel=1e-5)


def test_copies_are_independent(rng):
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    net = Network([4, 6, 3], seed=5)
    net.fit(X, y, epochs=1)
    twins = [net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    net.fit(X, y, epochs=1)
    for twin in twins:
        assert (twin.weight[0] != net.weight[0]).any()
        twin.fit(X, y, epochs=1)
        assert (twin.weight[0] == net.weight[0]).all()


@pytest.mark.parametrize(
    "make_copy",
    [Network.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
@pytest.mark.parametrize("optimizer", [Adam(), Adam(average=0.9)], ids=str)
def test_copies_have_the_optimizer_of_partial_fit(rng, make_copy, optimizer):
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    net = Network([4, 6, 3], loss="cross_entropy", normalization="batch", seed=5)
    net.partial_fit(X, y, optimizer=optimizer)
    twin = make_copy(net)
    for each in (net, twin):
        each.partial_fit(X, y, optimizer=optimizer)
    assert_same_state(net, twin)
    twin.partial_fit(X, y, optimizer=optimizer)
    assert (twin.weight[0] != net.weight[0]).any()


def test_repr_and_summary(capsys):
    net = Network([4, 6, 3], activation="relu", loss="cross_entropy", seed=1)
    assert repr(net) == (
        "Network([4, 6, 3], activation='relu', output='softmax', loss='cross_entropy', "
        "dtype='float32', seed=1)"
    )
    net.summary()
    assert "51 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([3],), ValueError, "sizes must have the inputs and at least one layer"),
        (("784",), TypeError, "sizes must be a sequence of integers; got '784'"),
        (([3, 0],), ValueError, r"sizes\[1\] must be at least 1; got 0"),
        (([3, 2.5],), TypeError, r"sizes\[1\] must be a whole number; got 2.5"),
        (([3, 2], {"loss": "cross-entropy"}), ValueError, "did you mean 'cross_entropy'"),
        (([3, 2, 2], {"activation": "rellu"}), ValueError, "did you mean 'relu'"),
        (
            ([3, 2, 2], {"activation": "softmax"}),
            ValueError,
            "activation must be one of .*; got 'softmax'",
        ),
        (([3, 2, 2], {"activation": ["relu"] * 2}), ValueError, "each of 1 hidden layers"),
        (
            ([3, 2], {"loss": "cross_entropy", "output": "tanh"}),
            ValueError,
            "output must be one of .* for loss=",
        ),
        (
            ([3, 1], {"loss": "cross_entropy"}),
            ValueError,
            "with one output, for which it is always 1",
        ),
        (([3, 2], {"dtype": "float16"}), ValueError, "dtype must be float32 or float64"),
        (([3, 2], {"dtype": "real"}), TypeError, "dtype must be float32 or float64"),
        (([3, 2], {"seed": -1}), ValueError, "seed must be at least 0"),
        (([3, 2], {"init": "hee"}), ValueError, "init must be one of .*; got 'hee'"),
    ],
)
def test_bad_networks(arguments, error, message):
    sizes, options = arguments if len(arguments) == 2 else (arguments[0], {})
    with pytest.raises(error, match=message):
        Network(sizes, **options)


X0, Y0 = np.ones((4, 3)), np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("X", "y", "options", "error", "message"),
    [
        (np.ones((4, 2)), Y0, {}, ValueError, "X must have 3 columns as the network has inputs"),
        (np.ones(3), Y0, {}, ValueError, r"X.reshape\(1, -1\)"),
        (np.ones((0, 3)), Y0[:0], {}, ValueError, "X must have at least one sample"),
        ([["a", "b", "c"]] * 4, Y0, {}, TypeError, "X must hold real numbers"),
        ([[1, 2], [3]], Y0, {}, ValueError, "X must be an array"),
        (X0 * 1j, Y0, {}, TypeError, "X must hold real numbers"),
        (np.where(np.eye(4, 3), np.nan, X0), Y0, {}, ValueError, "X must be finite; row 0"),
        (np.where(np.eye(4, 3, -3), np.inf, X0), Y0, {}, ValueError, "X must be finite; row 3"),
        (X0, Y0[:3], {}, ValueError, "y must have 4 samples, like X"),
        (X0, [0, 1, 2, 0], {}, ValueError, "labels from 0 to 1; got 0 to 2"),
        (X0, [0, -1, 0, 0], {}, ValueError, "labels from 0 to 1; got -1 to 0"),
        (X0, [0, 0.5, 0, 0], {}, ValueError, "read as labels, which must be whole"),
        (X0, np.full((4, 2), np.nan), {}, ValueError, "y must be finite"),
        (X0, np.full((4, 2), 1.5), {}, ValueError, "y must lie between 0 and 1 for cross_entropy"),
        (X0, np.ones((4, 3)), {}, ValueError, r"y must have shape \(4,\) or \(4, 2\)"),
        (X0, Y0, {"epochs": -1}, ValueError, "epochs must be at least 0"),
        (X0, Y0, {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        (X0, Y0, {"batch_size": 2.0}, TypeError, "batch_size must be a whole number"),
        (X0, Y0, {"threads": 0}, ValueError, "threads must be at least 1"),
        (
            X0,
            Y0,
            {"optimizer": 1},
            TypeError,
            "optimizer must be a name or an instance of one of SGD",
        ),
        (X0, Y0, {"progress": "bar"}, TypeError, "progress must be True, False or None"),
        (
            X0,
            Y0,
            {"validation_data": 3},
            TypeError,
            r"validation_data must be a pair \(X, y\); got int",
        ),
        (X0, Y0, {"validation_data": (X0, Y0, 1)}, TypeError, r"got tuple of 3 items"),
        (X0, Y0, {"validation_data": (X0[:, :2], Y0)}, ValueError, "X of validation_data must"),
        (X0, Y0, {"validation_split": 1.0}, ValueError, r"validation_split must be in \[0, 1\)"),
        (X0, Y0, {"validation_split": 0.01}, ValueError, "leaves 4 to train on and 0"),
    ],
)
def test_bad_input_leaves_the_network_as_it_was(X, y, options, error, message):
    net = Network([3, 4, 2], loss="cross_entropy", seed=0)
    before = [w.copy() for w in net.weight]
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    assert all((w == b).all() for w, b in zip(net.weight, before, strict=True))


@pytest.mark.parametrize("lr", [0, -1, np.nan, np.inf])
def test_bad_rates(lr):
    with pytest.raises(ValueError, match="lr must be positive and finite"):
        SGD(lr)


def test_divergence_is_named():
    net = Network([3, 4, 1], activation="relu", loss="mse", seed=0)
    with pytest.raises(TrainingDiverged, match="not finite in epoch 0, step") as caught:
        net.fit(X0 * 1e3, Y0, epochs=50, batch_size=2, optimizer=SGD(1e6))
    assert isinstance(caught.value, ArithmeticError)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", cmlp.__version__)


@pytest.mark.parametrize("method", ["__call__", "predict", "predict_proba"])
@pytest.mark.parametrize("samples", [5, 2000])
def test_samples_that_are_not_finite_are_named(method, samples):
    net = Network([3, 2], loss="cross_entropy", seed=0)
    X = np.ones((samples, 3), np.float32)
    X[3, 1], X[4, 2] = np.nan, np.inf
    with pytest.raises(ValueError, match="X must be finite; row 3 holds NaN or infinity"):
        getattr(net, method)(X)


class Own(Network):
    kind = "own"

    def __init__(self, *arguments, **options):
        self.created = True
        super().__init__(*arguments, **options)
        self.kind = "other"


FIXED = ["activation", "dtype", "init", "is_classifier", "loss", "num_layers", "output",
         "running_mean", "running_variance", "scale", "score_name", "seed", "size",
         "state"]  # fmt: skip


@pytest.mark.parametrize("make", [Network, cmlp.MLP, Own])
def test_assignments_without_effect_are_refused(make):
    net = make([3, 4, 2], seed=0)
    for name in FIXED:
        before = getattr(net, name)
        with pytest.raises(AttributeError, match=f"^{name} cannot be assigned to; "):
            setattr(net, name, before)
    net.size[0] = 7
    assert net.size == [3, 4, 2]
    net.weight = [2 * w for w in net.weight]
    net.weight[0] = np.ones((4, 3))
    net.bias[1][:] = 5
    assert (net.weight[0] == 1).all()


@pytest.mark.parametrize("make", [Network, cmlp.MLP])
def test_unknown_attributes_are_refused(make):
    net = make([3, 4, 2], seed=0)
    for name in ("blah", "wieght", "_blah"):
        with pytest.raises(AttributeError, match=f"{make.__name__} has no attribute '{name}'; a s"):
            setattr(net, name, 3)
    with pytest.raises(AttributeError):
        net.fit = None


def test_subclasses_have_attributes_of_their_own():
    net = Own([3, 2], seed=0)
    net.blah = [1]
    for twin in (net.copy(), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert type(twin) is Own
        assert (twin.created, twin.kind, twin.blah) == (True, "other", [1])
        assert_same_state(twin, net)
    # A pickle of an earlier revision, which had everything in its dict.
    earlier = Own.__new__(Own)
    earlier.__setstate__({**vars(net), "state": net.state, "size": [3, 2], "loss": "quadratic",
                          "is_classifier": True, "_has_probabilities": True})  # fmt: skip
    assert (earlier.kind, earlier.size) == ("other", [3, 2])
    assert "loss" not in vars(earlier)
