"""Numbers beyond the range of their type, parameters that are not finite, odd arguments."""

import copy

import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import LBFGS, MLP, SGD, Adam, Model, Network, callbacks, fit_many, schedules
from cmlp._training.arguments import split_rows
from cmlp.errors import NonFiniteParameters, TrainingDiverged

sparse = pytest.importorskip("scipy.sparse")

X0, Y0 = np.arange(12.0).reshape(4, 3) / 12, np.array([0, 1, 1, 0])


def classifier(dtype="float32", **options):
    return Network([3, 4, 2], loss="cross_entropy", dtype=dtype, seed=0, **options)


# Numbers beyond the range of the network's dtype.

HUGE = [1e39, -1e39, 3.4028236e38, np.finfo(np.float64).max]


@pytest.mark.parametrize("value", HUGE)
def test_numbers_beyond_float32_are_named(value):
    X = X0.copy()
    X[2, 1] = value
    net, message = classifier(), "X must be within the range of float32.*; row 2 holds"
    samples = {"few": X, "many": np.concatenate([X, np.ones((3000, 3))]),
               "sparse": sparse.csr_array(X)}  # fmt: skip
    for rows in samples.values():
        for method in (net, net.predict, net.predict_proba):
            with pytest.raises(ValueError, match=message):
                method(rows)
        labels = np.zeros(rows.shape[0], int)
        for method in (net.fit, net.score, net.partial_fit):
            with pytest.raises(ValueError, match=message):
                method(rows, labels)
    with pytest.raises(ValueError, match="X of validation_data must be within the range"):
        net.fit(X0, Y0, validation_data=(X, Y0))
    with pytest.raises(ValueError, match="X must be within the range"):
        fit_many([net], X, Y0)
    with pytest.raises(ValueError, match="X of batch 1 must be within the range"):
        net.fit([(X0, Y0), (X, Y0)])
    double = classifier("float64")
    assert np.isfinite(double.predict_proba(X)).all()


def test_the_greatest_float32_is_not_refused():
    limit = np.finfo(np.float32).max
    for value in (limit, np.nextafter(2.0**128 - 2.0**103, 0), -float(limit)):
        X = np.full((1, 3), value)
        net = classifier()
        net.weight[0][:] = 1e-38
        assert np.isfinite(net.predict_proba(X)).all()


@pytest.mark.parametrize("value", [2.0**128 - 2.0**103, 1e39, np.nan, np.inf])
@pytest.mark.parametrize("make", [np.float64, ">f8", np.longdouble])
def test_the_reason_is_stated(value, make):
    X = np.full((2, 3), value).astype(make)
    reason = "range of float32" if np.isfinite(value) else "must be finite; row 0 holds NaN or inf"
    with pytest.raises(ValueError, match=reason):
        classifier()(X)


@pytest.mark.parametrize("value", [1e39, np.nan])
def test_the_methods_of_the_reference_refuse_them_too(value):
    x, y = np.array([[0.1], [value], [0.2]]), np.array([[0.0], [1.0]])
    good = np.ones((3, 1))
    net = MLP([3, 4, 2], seed=0)
    before = net.copy()
    for call in (
        lambda: net.forward(x),
        lambda: net.backprop(x, y),
        lambda: net.backprop(good, np.array([[value], [0]])),
        lambda: net.update_mini_batch([(good, y), (x, y)], 0.1),
        lambda: net.train([(good, y), (x, y)], 1, 2, 0.1),
        lambda: net.evaluate([(x, 1)]),
        lambda: Model(3, 4, 2).forward(np.array([[0.1, 1e39, 0.1]])),
    ):
        with pytest.raises(ValueError, match=r"must be (finite|within the range of float32)"):
            call()
    assert_same_state(net, before)


@pytest.mark.parametrize("dtype", ["float64", ">f8", "longdouble"])
def test_targets_beyond_float32_are_named(dtype):
    net = Network([3, 4, 2], loss="mse", seed=0)
    y = np.full((4, 2), 1e39).astype(dtype)
    with pytest.raises(ValueError, match="y must be within the range of float32"):
        net.fit(X0, y)
    with pytest.raises(ValueError, match="y of validation_data must be within the range"):
        net.fit(X0, np.ones((4, 2)), validation_data=(X0, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_beyond_the_range_are_refused(dtype):
    net = classifier(dtype)
    limits = np.finfo(dtype)
    for weight in (limits.max, limits.tiny / 4):
        for options in ({"sample_weight": np.full(4, weight)}, {"class_weight": [weight, weight]}):
            with pytest.raises(ValueError, match=f"must be within the range of {dtype}"):
                net.fit(X0, Y0, **options)
    net.fit(X0, Y0, sample_weight=np.full(4, limits.max / 8))
    net.fit(X0, Y0, sample_weight=np.full(4, limits.tiny))


def test_estimators_refuse_numbers_beyond_their_dtype():
    estimators = pytest.importorskip("cmlp.sklearn")
    X, y = X0.copy(), np.arange(4.0)
    X[1, 1] = 1e39
    options = {"dtype": "float32", "hidden_layer_sizes": 3, "max_iter": 2}
    regressor = estimators.MLPRegressor(**options)
    with pytest.raises(ValueError, match="X must be within the range of float32"):
        regressor.fit(X, y)
    with pytest.raises(ValueError, match="y must be within the range of float32"):
        regressor.fit(X0, y * 1e39)
    with pytest.raises(ValueError, match="weights of all samples must be within the range"):
        regressor.fit(X0, y, np.full(4, 1e39))
    with pytest.warns(UserWarning, match="converged"):
        regressor.fit(X0, y)
    with pytest.raises(ValueError, match="X must be within the range of float32"):
        regressor.predict(X)


# Parameters that are not finite.


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("name", ["weight", "bias", "scale", "running_mean", "running_variance"])
@pytest.mark.parametrize("value", [1e300, np.nan, -np.inf])
def test_parameters_that_are_not_finite_are_named(tmp_path, name, value):
    net = Network([3, 4, 4, 2], activation="relu", loss="mse", normalization="batch", seed=0)
    good = net.copy()
    getattr(net, name)[1][1:3] = value
    message = rf"{name}\[1\] must be finite in float"
    for call in (
        lambda: net.fit(X0, np.ones((4, 2))),
        lambda: net.fit(X0, np.ones((4, 2)), optimizer=LBFGS()),
        lambda: net.partial_fit(X0, np.ones((4, 2)), optimizer=Adam()),
    ):
        with pytest.raises(NonFiniteParameters, match=message) as caught:
            call()
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, TrainingDiverged)
        assert str(copy.copy(caught.value)) == str(caught.value)
    for call in (net.save, net.to_c):
        with pytest.raises(ValueError, match=message):
            call(tmp_path / ("net.npz" if call == net.save else "net.c"))
    assert not list(tmp_path.iterdir())
    good.save(tmp_path / "net.npz")


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("samples", [1, 5, 3000])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "hard_tanh", "gelu"])
def test_predictions_name_the_layer_that_is_not_finite(samples, activation):
    net = Network([3, 4, 4, 2], activation=activation, loss="cross_entropy", seed=0)
    net.weight[1][:] = np.nan
    X = np.ones((samples, 3), np.float32)
    for call in (net, net.predict, net.predict_proba, lambda X: net.forward(X.T)):
        with pytest.raises(NonFiniteParameters, match=r"weight\[1\] must be finite in float"):
            call(X)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("n_samples", [1, 3, 700])
def test_parameters_behind_a_saturated_output(isa, rng, activation, layer, value, n_samples):
    # A sigmoid of infinity is 1: only the pre-activation, or the weight, tells.
    net = Network([16, 8, 3], activation=activation, seed=0)
    net.weight[layer][2, 1] = value
    X = rng.normal(size=(n_samples, 16)).astype(np.float32)
    for predict in (net, net.predict, net.predict_proba, lambda X: net.predict(X.tolist()),
                    lambda X: net.predict(X, threads=2),
                    lambda X: net.score(X, np.zeros(len(X), int))):  # fmt: skip
        with pytest.raises(NonFiniteParameters, match=rf"weight\[{layer}\] must be finite"):
            predict(X)


def test_pre_activations_of_finite_parameters_may_overflow(isa):
    # They are infinite, the outputs are not, and no parameter is at fault.
    net = Network([2, 3, 1], activation="tanh", seed=0)
    net.weight[0][:] = 3e38
    assert np.isfinite(net(np.full((1, 2), 10, np.float32))).all()
    assert np.isfinite(net(np.full((600, 2), 10, np.float32))).all()


@pytest.mark.parametrize("samples", [1, 3000])
def test_outputs_beyond_the_range_are_an_error(samples):
    net = Network([3, 2], loss="mse", seed=0)
    net.weight[0][:] = 1e30
    X = np.ones((samples, 3), np.float32)
    assert np.isfinite(net(X)).all()
    X[-1] = 1e30
    with pytest.raises(ValueError, match=f"those of row {samples - 1} are not finite"):
        net(X)


def test_assigning_refuses_numbers_beyond_the_range():
    net = classifier()
    before = net.copy()
    for value in (np.full((4, 3), 1e39), np.full((4, 3), 2.0**128)):
        with pytest.raises(ValueError, match="an array of weight must be within the range"):
            net.weight[0] = value
        with pytest.raises(ValueError, match="an array of weight must be within the range"):
            net.weight = [value, net.weight[1]]
    with pytest.raises(ValueError, match="init must be within the range of float32"):
        Network([3, 2], init=1e39)
    assert_same_state(net, before)


# Arguments.


@pytest.mark.parametrize("rows", [1, 3000])
@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "S3", "U3", "c16", "V8"])
def test_predictions_refuse_what_are_no_numbers(rows, dtype):
    with pytest.raises(TypeError, match="X must hold real numbers"):
        classifier().predict(np.zeros((rows, 3), dtype))


def test_released_buffers_are_refused():
    view = memoryview(np.ones((1, 3)))
    view.release()
    with pytest.raises((ValueError, TypeError), match="X"):
        classifier().predict(view)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_whole_numbers_beyond_float64_are_named(value):
    net = classifier()
    X, y = np.array([[value, 0, 0]] * 4, object), np.array([value] * 4, object)
    for call, name in (
        (lambda: net.predict(X), "X"),
        (lambda: net.fit(X, Y0), "X"),
        (lambda: net.fit(X0, y), "y"),
        (lambda: net.fit(X0, Y0, sample_weight=y), "sample_weight"),
        (lambda: net.forward(X.T), "x"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be within the range of float64"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.fit(X0, Y0, batch_size=2**70), "batch_size must be at most 9223372036854"),
        (lambda net: net.fit(X0, Y0, batch_size=-(2**70)), "batch_size must be at least 1"),
        (lambda net: net.partial_fit(X0, Y0, batch_size=2**63), "batch_size must be at most"),
        (lambda net: net.fit(X0, Y0, epochs=2**32), "epochs must be at most 4294967295"),
        (lambda net: Adam(accumulate=2**64), "accumulate must be at most"),
        (lambda net: SGD(lr=10**400), "lr must be within the range of float64"),
        (lambda net: classifier(dropout=10**400), "must be within the range of float64"),
    ],
)
def test_huge_arguments_are_named(call, message):
    net = classifier()
    with pytest.raises(ValueError, match=message):
        call(net)
    assert_same_state(net, classifier())


def test_a_huge_number_of_threads_is_reduced(monkeypatch):
    net, twin = classifier(), classifier()
    net.fit(X0, Y0, threads=2**40)
    twin.fit(X0, Y0, threads=1)
    assert_same_state(net, twin)
    assert (net.predict(list(X0), threads=10**5000) == net.predict(X0)).all()
    monkeypatch.setenv("CMLP_NUM_THREADS", str(2**40))
    assert net.score(X0, Y0) == twin.score(X0, Y0, threads=1)


def test_the_largest_batch_is_all_samples():
    net, twin = classifier(), classifier()
    net.fit(X0, Y0, batch_size=2**63 - 1)
    twin.fit(X0, Y0, batch_size=4)
    assert_same_state(net, twin)


@pytest.mark.parametrize("real", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("whole", [np.int8, np.uint16, np.int64, np.uint64])
def test_numbers_of_numpy_equal_those_of_python(tmp_path, real, whole):
    def trained(real, whole, path):
        net = Network(
            [whole(3), whole(4), whole(2)],
            loss="cross_entropy",
            dropout=real(0.25),
            input_dropout=real(0.5),
            max_norm=real(2),
            seed=whole(7),
            init=real(0.5),
        )
        history = net.fit(
            X0, Y0, epochs=whole(3), batch_size=whole(2), validation_split=real(0.25),
            optimizer=Adam(lr=real(0.5), betas=(real(0.5), real(0.75)), accumulate=whole(2)),
            schedule=schedules.Step(every=whole(2), factor=real(0.5)),
            early_stopping=callbacks.EarlyStopping(patience=whole(9), min_delta=real(0)),
            callbacks=callbacks.Checkpoint(path, every=whole(1), keep=whole(1)),
            threads=whole(1),
        )  # fmt: skip
        net.save(path.with_suffix(".saved.npz"))
        return net, history, str(net.state.training["optimizer"])

    net, history, shown = trained(real, whole, tmp_path / "a.npz")
    twin, same, also_shown = trained(float, int, tmp_path / "b.npz")
    assert_same_state(net, twin)
    assert history["val_loss"] == same["val_loss"]
    assert shown == also_shown
    assert "np." not in shown


@pytest.mark.parametrize("fraction", ["0.5", None, True, 0.5j, np.complex64(0.5)])
def test_the_validation_split_must_be_a_number(fraction):
    with pytest.raises(TypeError, match="validation_split must be a number"):
        classifier().fit(X0, Y0, validation_split=fraction)


@pytest.mark.parametrize(
    ("n", "fraction"), [(4, 0.5), (10, 0.1), (997, 0.3), (10, np.float32(0.2))]
)
def test_no_row_is_in_both_parts_of_a_split(n, fraction):
    training, held_out = split_rows(0, n, fraction)
    assert len(held_out) == round(n * float(fraction))
    assert sorted([*training, *held_out]) == list(range(n))
