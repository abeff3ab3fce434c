"""Networks of 8-bit integers against a restatement of the scheme in NumPy's int64 and float32."""

import copy
import pickle
import threading

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix

import cmlp
from cmlp import Adam, LayerNorm, Network, QuantizedNetwork, activations
from cmlp._core import kernels, quantized
from cmlp._model.quantized import BYTE_SCALE, Quantizer
from cmlp._quantization.ranges import METHODS, Distribution, choose_quantizer
from cmlp._training.inputs import convert_rows
from cmlp.activations import ACTIVATIONS

F = np.float32

# Activations that are clip(z * (slope where z < 0), low, high): slope, low, high.
LINEAR = {
    "identity": (1, -np.inf, np.inf),
    "relu": (1, 0, np.inf),
    "leaky_relu": (0.01, -np.inf, np.inf),
    "hard_tanh": (1, -1, 1),
}


def to_integers(v, zero_point, low=-np.inf, high=np.inf):
    """Return the integers of v = x / scale, float32, within bounds of v."""
    v = np.clip(v, F(max(-zero_point, low)), F(min(255 - zero_point, high)))
    return np.rint(v).astype(np.int64) + zero_point


def sum_layer(layer, q):
    """Return the integers of a layer's pre-activations, exactly."""
    q = q.astype(np.int64) - layer.inputs.zero_point
    return layer.bias.astype(np.int64) + q @ layer.weight.T.astype(np.int64)


def compute_outputs(net, X):
    """Return the outputs of a quantized network for X, float32."""
    first = net.layers[0].inputs
    q = to_integers(X * F(1 / np.float64(first.scale)), first.zero_point)
    for layer, following in zip(net.layers, [*net.layers[1:], None], strict=True):
        sums = sum_layer(layer, q)
        assert abs(sums).max() < 2**31
        name, factor = layer.activation.name, layer.inputs.scale * layer.weight_scale.astype(float)
        if following is None or name not in LINEAR or layer.normalization:
            z = sums.astype(F) * factor.astype(F)
            if layer.normalization:
                z = z.astype(float)
                z -= z.mean(axis=1, keepdims=True)
                z /= np.sqrt((z**2).mean(axis=1, keepdims=True) + layer.normalization.eps)
                z = z * layer.normalization.scale + layer.normalization.shift
            a = oracle.ACTIVATIONS[name](z.astype(float)).astype(F)
            if following is None:
                return a
            q = to_integers(a * F(1 / np.float64(following.inputs.scale)),
                            following.inputs.zero_point)  # fmt: skip
        else:
            inputs = following.inputs
            v = sums.astype(F) * (factor / inputs.scale).astype(F)
            slope, low, high = LINEAR[name]
            inverse = F(1 / np.float64(inputs.scale))
            q = to_integers(np.where(v < 0, v * F(slope), v), inputs.zero_point, F(low) * inverse,
                            F(high) * inverse)  # fmt: skip


def make_network(sizes, rng, **options):
    """Return a network with random biases."""
    net = Network(sizes, seed=0, **options)
    for bias in net.bias:
        bias[:] = rng.normal(size=bias.shape) / 2
    for mean, variance in zip(net.running_mean, net.running_variance, strict=True):
        if mean is not None:
            mean[:], variance[:] = rng.normal(size=mean.shape), rng.uniform(0.5, 2, mean.shape)
    return net


# --- Sums ---------------------------------------------------------------------------------------


@given(
    m=st.integers(1, 20), n=st.integers(1, 70), k=st.integers(1, 70), seed=st.integers(0, 2**32 - 1)
)
def test_sums_are_exact(m, n, k, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (n, k), np.int8)
    start = rng.integers(-(2**20), 2**20, n, np.int32)
    operands = rng.integers(0, 256, (m, k), np.uint8)
    want = start + operands.astype(np.int64) @ weight.T.astype(np.int64)
    before = kernels.ISA
    try:
        for isa in kernels.list_available():
            kernels.choose(isa)
            np.testing.assert_array_equal(quantized.sum_products(weight, start, operands), want)
    finally:
        kernels.choose(before)


@pytest.mark.parametrize("k", [1, 3, 255, 4096, quantized.MAX_INPUTS])
@pytest.mark.parametrize("sign", [-1, 1])
def test_greatest_products_do_not_overflow(isa, k, sign):
    weight, operands = np.full((3, k), 127 * sign, np.int8), np.full((7, k), 255, np.uint8)
    limit = 2**31 - 1 - k * 255 * 127
    start = np.array([0, limit * sign, -limit * sign], np.int32)
    sums = quantized.sum_products(weight, start, operands)
    assert (sums == start + np.int64(k) * 255 * 127 * sign).all()


def test_partial_sums_may_wrap_around(isa, rng):
    weight = np.repeat(np.array([[-127, 127]], np.int8), 30_000, axis=1)
    operands = np.full((2, 60_000), 255, np.uint8)
    sums = quantized.sum_products(weight, np.array([-(2**31)], np.int32), operands)
    assert (sums == -(2**31)).all()


# --- Networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_piecewise_linear_networks_have_the_bits_of_the_scheme(isa, rng, name, normalization):
    net = make_network([37, 70, 17, 5], rng, activation=name, output="identity", loss="mse",
                       normalization=normalization)  # fmt: skip
    X = rng.normal(size=(101, 37)).astype(F)
    q = net.quantize(X)
    np.testing.assert_array_equal(q(X), compute_outputs(q, X))
    np.testing.assert_array_equal(q(X[:1]), q(X)[:1])
    assert np.abs(q(X) - net(X)).max() < 0.05 * np.abs(net(X)).max()


@given(
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=4), m=st.integers(1, 30),
    seed=st.integers(0, 2**16), name=st.sampled_from([*LINEAR]),
)  # fmt: skip
def test_shapes(sizes, m, seed, name):
    rng = np.random.default_rng(seed)
    net = make_network(sizes, rng, activation=name, output="identity", loss="mse")
    X = (rng.normal(size=(m, sizes[0])) * 10.0 ** rng.integers(-3, 4)).astype(F)
    q = net.quantize(X)
    np.testing.assert_array_equal(q(X), compute_outputs(q, X))
    np.testing.assert_array_equal(q(-3 * X), compute_outputs(q, -3 * X))  # clipped


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, "layer"])
def test_every_activation(isa, rng, name, normalization):
    hidden = "tanh" if name == "softmax" else name
    loss = "cross_entropy" if name == "softmax" else "mse"
    net = make_network([23, 40, 31, 4], rng, activation=hidden, output=name, loss=loss,
                       normalization=normalization)  # fmt: skip
    X = rng.normal(size=(60, 23)).astype(F)
    q = net.quantize(X)
    # An integer between two layers may differ by 1 where float64 rounds to the other side.
    difference = np.abs(q(X) - compute_outputs(q, X))
    assert np.median(difference) < 1e-6
    assert difference.max() < 0.02
    assert np.abs(q(X) - net(X)).max() < 0.1 * max(1, np.abs(net(X)).max())


def test_a_normalization_in_one_layer_only(isa, rng):
    net = make_network([9, 20, 30, 2], rng, activation=["relu", "gelu"], loss="mse",
                       normalization=[LayerNorm(1e-3), "batch"], dropout=0.5, input_noise=0.1,
                       input_dropout=0.3)  # fmt: skip
    X = rng.normal(size=(60, 9)).astype(F)
    q = net.quantize(X)
    assert np.abs(q(X) - net(X)).max() < 0.1
    assert np.abs(q(X) - compute_outputs(q, X)).max() < 0.02
    assert [layer.normalization is None for layer in q.layers] == [False, True, True]


def test_parameters_of_activations(rng):
    for hidden in (activations.leaky_relu(0.3), activations.leaky_relu(2.0), activations.celu(0.5)):
        net = make_network([9, 30, 2], rng, activation=hidden, loss="mse")
        X = rng.normal(size=(60, 9)).astype(F)
        assert np.abs(net.quantize(X)(X) - net(X)).max() < 0.02 * np.abs(net(X)).max()


def test_the_number_of_threads_does_not_change_a_bit(rng):
    net = make_network([64, 300, 200, 3], rng, activation="gelu", normalization="layer", loss="mse")
    X = rng.normal(size=(2003, 64)).astype(F)
    q = net.quantize(X[:100])
    expected = np.concatenate([q(X[i : i + 61]) for i in range(0, len(X), 61)])
    for threads in (1, 2, 3, 7):
        np.testing.assert_array_equal(q(X, threads=threads), expected)


def test_concurrent_calls(rng):
    net = make_network([64, 300, 3], rng, activation="relu", loss="mse")
    X = rng.normal(size=(3000, 64)).astype(F)
    q = net.quantize(X)
    want, found = q(X), {}

    def predict(i):
        found[i] = [q(X[i:], threads=2) for _ in range(5)]

    workers = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((out == want[i:]).all() for i, outs in found.items() for out in outs)


# --- Samples ------------------------------------------------------------------------------------


def test_kinds_of_samples(isa, rng):
    net = make_network([30, 40, 3], rng, activation="relu", loss="mse")
    X = (rng.integers(-3, 4, (150, 30)) * (rng.random((150, 30)) < 0.3)).astype(F) / 4
    q = net.quantize(X)
    want = q(X)
    wide = np.zeros((300, 61))
    wide[::2, ::2][:, :30] = X
    packed = np.zeros(150, [("x", np.uint8), ("y", F, (30,))])
    packed["y"] = X
    for other in (
        X.astype(np.float64), X[::-1][::-1], np.asfortranarray(X), wide[::2, :60:2],
        packed["y"], X.reshape(150, 5, 6), X.tolist(), X.astype(np.float16),
        csr_array(X), csr_matrix(X.astype(np.float64)), csr_array(X).tocsc(),
    ):  # fmt: skip
        np.testing.assert_array_equal(q(other), want)
    integers = (X * 4).astype(int)
    np.testing.assert_array_equal(q(integers), q(integers.astype(F)))
    read_only = X.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(q(read_only), want)
    rows = csr_array(X)
    rows.indices = rows.indices.astype(np.int64)
    np.testing.assert_array_equal(q(rows), want)
    np.testing.assert_array_equal(q(csr_array(np.zeros((5, 30)))), q(np.zeros((5, 30))))


def test_the_integers_of_bytes_are_the_bytes(isa, rng):
    net = make_network([40, 30, 3], rng, activation="relu", loss="mse")
    X = rng.integers(0, 200, (90, 40), np.uint8)
    q = net.quantize(X)
    assert q.layers[0].inputs == Quantizer(BYTE_SCALE, 0)
    assert (q(X) == compute_outputs(q, X.astype(F) * F(1 / 255))).all()
    np.testing.assert_array_equal(q(X.astype(F) / F(255)), q(X))
    np.testing.assert_array_equal(q(X / 255), q(X))
    np.testing.assert_array_equal(q(csr_array(X)), q(X))
    # Calibrated by numbers of another range, the network still takes bytes.
    other = net.quantize(X.astype(F) / 255 * 2 - 0.3)
    np.testing.assert_array_equal(other(X), other(X.astype(F) * F(1 / 255)))


def test_no_samples_and_one(rng):
    net = make_network([5, 4, 3], rng, activation="relu", loss="cross_entropy")
    q = net.quantize(rng.normal(size=(1, 5)))
    assert q(np.zeros((0, 5))).shape == (0, 3)
    assert q.predict(np.zeros((0, 5))).shape == (0,)
    assert q(np.zeros((1, 5))).shape == (1, 3)
    assert q.predict_proba(csr_array((0, 5))).shape == (0, 3)


@pytest.mark.parametrize("n", [3, 500])
def test_bad_samples_are_refused(rng, n):
    net = make_network([5, 4, 3], rng, activation="relu", loss="mse")
    q = net.quantize(rng.normal(size=(20, 5)))
    X = rng.normal(size=(n, 5))
    for wrong, message in (
        (np.nan, "X must be finite; row 2 holds NaN or infinity"),
        (np.inf, "X must be finite; row 2 holds NaN or infinity"),
        (1e39, "X must be within the range of float32, .*row 2"),
    ):
        bad = X.copy()
        bad[2, 3] = wrong
        for form in (bad, csr_array(bad)):
            with pytest.raises(ValueError, match=message):
                q(form)
            with pytest.raises(ValueError, match=message):
                q.predict(form, threads=2)
    with pytest.raises(ValueError, match="X must have 5 columns"):
        q(X[:, :4])
    with pytest.raises(ValueError, match=r"X must have shape \(n, 5\); got \(5,\)"):
        q(X[0])
    with pytest.raises(TypeError, match="X must hold real numbers"):
        q(X.astype(complex))
    masked = np.ma.masked_array(X, X > 0)
    with pytest.raises(ValueError, match="X must not have masked elements"):
        q(masked)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        q(np.zeros((500, 5)), threads=0)
    np.testing.assert_array_equal(q(X, progress=False), q(X))


# --- Weights, biases and ranges -----------------------------------------------------------------


def test_the_errors_of_weights_and_biases_are_half_a_unit(rng):
    net = make_network([50, 20, 3], rng, activation="relu", loss="mse")
    for layer, weight, bias in zip(net.quantize(rng.normal(size=(90, 50))).layers, net.weight,
                                   net.bias, strict=True):  # fmt: skip
        scale = layer.weight_scale.astype(float)[:, None]
        assert (np.abs(layer.weight.astype(int)).max(axis=1) == 127).all()
        assert np.abs(layer.weight * scale - weight).max() <= 0.501 * scale.max()
        unit = scale[:, 0] * layer.inputs.scale
        assert (np.abs(layer.bias * unit - bias[:, 0]) <= 0.501 * unit).all()


def test_weights_of_zero_and_extreme_parameters(isa):
    net = Network([6, 5, 4], activation="identity", loss="mse", seed=0)
    X = np.linspace(-1, 1, 60).reshape(10, 6).astype(F)
    for weight, bias in (
        (0, 0),
        (0, 3.25),
        (1e-30, 1e-30),
        (1e-38, 0),
        (1e-20, 100),
        (1e15, -1e15),
    ):
        net.weight[0][:], net.bias[0][:] = weight, bias
        net.weight[1][:], net.bias[1][:] = np.eye(4, 5), 0
        q = net.quantize(X)
        assert np.isfinite(q(X)).all()
        np.testing.assert_array_equal(q(X), compute_outputs(q, X))
        scale = np.abs(net(X)).max()
        assert np.abs(q(X) - net(X)).max() <= 0.02 * scale + 1e-35
    net.weight[0][:] = 0
    net.weight[1][:], net.bias[1][:] = 0, [[1], [-2], [0], [1e-3]]
    np.testing.assert_allclose(net.quantize(X)(X), np.tile(F([1, -2, 0, 1e-3]), (10, 1)), rtol=1e-6)


def test_constant_and_tiny_inputs():
    net = Network([3, 4, 2], activation="relu", loss="mse", seed=0)
    for value in (0, 1, -7.5, 1e-42, -1e-38, 1e30):
        X = np.full((20, 3), value, F)
        for method in METHODS:
            q = net.quantize(X, method=method)
            assert np.abs(q(X) - net(X)).max() <= 0.02 * np.abs(net(X)).max() + 1e-30
    net.bias[0][:] = -100  # no unit is ever active
    q = net.quantize(np.ones((9, 3)))
    assert q.layers[1].inputs == Quantizer(1.0, 0)
    np.testing.assert_allclose(q(np.ones((9, 3))), net(np.ones((9, 3))), atol=1e-6)


def test_too_many_inputs_are_refused():
    net = Network([quantized.MAX_INPUTS + 1, 1], loss="mse", init=0.0, seed=0)
    with pytest.raises(ValueError, match=r"size\[0\] must be at most 65536 for 8-bit integers, .* "
                                         "got 65537"):  # fmt: skip
        net.quantize(np.zeros((1, quantized.MAX_INPUTS + 1), np.uint8))
    net = Network([quantized.MAX_INPUTS, 1], loss="mse", output="identity", init=1.0, seed=0)
    net.bias[0][:] = 3
    X = np.full((2, quantized.MAX_INPUTS), 255, np.uint8)
    np.testing.assert_allclose(net.quantize(X)(X), net(X), rtol=1e-5)


def make_distribution(numbers):
    distribution = Distribution()
    distribution.extend(numbers)
    distribution.count(numbers)
    return distribution


@given(seed=st.integers(0, 2**32 - 1), positive=st.booleans())
def test_ranges(seed, positive):
    rng = np.random.default_rng(seed)
    numbers = rng.standard_t(3, 5000).astype(F)
    numbers = np.maximum(numbers, 0) if positive else numbers
    distribution = make_distribution(numbers)
    errors, found = {}, {}
    for method in METHODS:
        q = found[method] = choose_quantizer(distribution, method, 99.5)
        integers = to_integers(numbers / F(q.scale), q.zero_point)
        errors[method] = (((integers - q.zero_point) * q.scale - numbers) ** 2).sum()
        assert q.zero_point == 0 or not positive
    assert errors["mse"] <= 1.02 * errors["minmax"]
    assert errors["mse"] <= 1.02 * errors["percentile"]
    low, high = min(numbers.min(), 0), numbers.max()
    assert found["minmax"].scale == pytest.approx((high - low) / 255, rel=1e-5)
    low, high = np.percentile(numbers, [0.5, 99.5])
    width = (distribution.high - distribution.low) / 2048
    assert abs(found["percentile"].scale * 255 - (high - min(low, 0))) <= 4 * width


def test_methods_of_calibration(rng):
    net = make_network([8, 60, 1], rng, activation="relu", loss="mse")
    X = rng.normal(size=(3000, 8)).astype(F)
    X[0] *= 40
    scales = {method: net.quantize(X, method=method).layers[1].inputs.scale for method in METHODS}
    assert scales["percentile"] < scales["mse"] <= scales["minmax"]
    q = net.quantize(X)
    assert q.state.method == "percentile"
    assert q.layers[1].inputs.scale == scales["percentile"]
    all_numbers = net.quantize(X, method="percentile", percentile=100).layers[1].inputs.scale
    assert all_numbers == pytest.approx(scales["minmax"], rel=2e-3)
    # Blocks, and the order of the samples, do not matter.
    assert net.quantize(X[::-1]).layers[1].inputs == q.layers[1].inputs
    sparse = net.quantize(csr_array(X))
    assert [layer.inputs for layer in sparse.layers] == [layer.inputs for layer in q.layers]


def test_calibration_computes_the_activations_of_the_network(rng):
    for normalization in (None, "batch", "layer"):
        net = make_network([7, 6, 5], rng, activation="silu", normalization=normalization,
                           loss="mse")  # fmt: skip
        X = rng.normal(size=(1500, 7)).astype(F)
        inputs = net.quantize(X, method="minmax").layers[1].inputs
        hidden = Network([7, 6, 6], activation="silu", normalization=normalization, loss="mse",
                         output="identity", seed=0)  # fmt: skip
        hidden.weight[0][:], hidden.bias[0][:] = net.weight[0], net.bias[0]
        if normalization == "batch":
            hidden.running_mean[0][:] = net.running_mean[0]
            hidden.running_variance[0][:] = net.running_variance[0]
        hidden.weight[1][:] = np.eye(6)
        a = hidden(X)
        assert inputs.scale * 255 == pytest.approx(a.max() - min(a.min(), 0), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "max"}, "method must be one of mse, minmax, percentile; got 'max'"),
        ({"method": 3}, "method must be a name; got 3"),
        ({"percentile": "99"}, "percentile must be a number; got '99'"),
        ({"percentile": 50}, "percentile must be above 50 and at most 100; got 50"),
        ({"percentile": 101.0}, "percentile must be above 50 and at most 100; got 101.0"),
        ({"percentile": np.nan}, "percentile must be above 50"),
    ],
)
def test_bad_arguments(rng, options, message):
    net = make_network([5, 4, 3], rng, loss="mse")
    with pytest.raises((TypeError, ValueError), match=message):
        net.quantize(np.zeros((3, 5)), **options)


def test_bad_samples_and_parameters_of_calibration(rng):
    net = make_network([5, 4, 3], rng, activation="relu", loss="mse")
    with pytest.raises(ValueError, match=r"X must have at least one sample; got shape \(0, 5\)"):
        net.quantize(np.zeros((0, 5)))
    with pytest.raises(ValueError, match="X must have 5 columns"):
        net.quantize(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="X must be finite; row 1"):
        net.quantize([[0] * 5, [np.nan] * 5])
    net.weight[0][:] = 1e30
    with pytest.raises(ValueError, match="the inputs of layer 1 are not finite"):
        net.quantize(np.full((3, 5), 1e30))
    net.weight[0][:] = np.nan
    with pytest.raises(ValueError, match=r"weight\[0\] must be finite"):
        net.quantize(np.zeros((3, 5)))


def test_outputs_that_are_not_finite(rng):
    net = make_network([5, 4, 1], rng, activation="identity", loss="poisson")
    net.weight[1][:] = 1e38
    net.weight[0][:] = 1
    net.bias[0][:] = 0
    q = net.quantize(np.ones((3, 5)), method="minmax")
    with pytest.raises(ValueError, match="X must lead to outputs within the range of float32"):
        q(np.ones((3, 5)))


# --- Tasks and scores ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "options", "metrics"),
    [
        (3, {"loss": "cross_entropy"}, ["accuracy", "f1", "top_2"]),
        (1, {"loss": "binary_cross_entropy"}, ["accuracy", "recall"]),
        (1, {"loss": "hinge"}, ["accuracy"]),
        (3, {"loss": "binary_cross_entropy"}, ["accuracy", "f1_samples"]),
        (2, {"loss": "mse"}, ["r2", "mae", "rmse"]),
        (1, {"loss": "poisson"}, ["r2", "mae"]),
    ],
)
def test_tasks_and_scores(rng, outputs, options, metrics):
    X = rng.normal(size=(300, 6)).astype(F)
    if metrics[0] == "r2":
        y = np.abs(X[:, :outputs])
    elif "f1_samples" in metrics:
        y = (X[:, :outputs] > 0).astype(int)
    else:
        y = (X[:, :2] > 0).sum(axis=1) if outputs > 1 else (X[:, 0] > 0).astype(int)
    net = Network([6, 40, outputs], activation="relu", seed=0, **options)
    net.fit(X, y, epochs=20, optimizer=Adam(0.01))
    q = net.quantize(X)
    assert (q.task, q.is_classifier, q.score_name) == (net.task, net.is_classifier, net.score_name)
    prediction = q.predict(X)
    assert prediction.shape == net.predict(X).shape
    assert prediction.dtype == net.predict(X).dtype
    for metric in metrics:
        assert q.score(X, y, metric=metric) == pytest.approx(net.score(X, y, metric=metric),
                                                             abs=0.03)  # fmt: skip
    if q.is_classifier:
        right = prediction == (y if y.ndim == prediction.ndim else y.argmax(axis=1))
        want = right.all(axis=1).mean() if right.ndim == 2 else right.mean()
    else:
        y, prediction = y.reshape(300, -1), prediction.reshape(300, -1)
        want = np.mean(1 - ((y - prediction) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0))
    assert q.score(X, y) == pytest.approx(want, abs=1e-6)


def test_targets_and_metrics_of_another_task(rng):
    X = rng.normal(size=(30, 6))
    q = Network([6, 4, 3], loss="cross_entropy", seed=0).quantize(X)
    with pytest.raises(ValueError, match="metrics of a classifier must be one of"):
        q.score(X, np.zeros(30), metric="r2")
    with pytest.raises(ValueError, match="y must hold labels from 0 to 2"):
        q.score(X, np.full(30, 7))
    with pytest.raises(ValueError, match="X must have at least one sample"):
        q.score(X[:0], [])
    with pytest.raises(ValueError, match="task must be 'multiclass'"):
        q.task = "regression"
    q = Network([6, 4, 3], loss="mse", seed=0).quantize(X)
    with pytest.raises(TypeError, match="output must be 'softmax' or 'sigmoid' for predict_proba"):
        q.predict_proba(X)
    q = Network([6, 4, 3], loss="binary_cross_entropy", seed=0).quantize(X)
    assert q.predict(X).shape == (30,)
    q.task = "multilabel"
    assert q.predict(X).shape == (30, 3)
    assert q.score(X, q.predict(X), metric="f1", average="micro") == 1


def test_a_callable_loss(rng):
    def loss(outputs, targets):
        return float(((outputs - targets) ** 2).mean()), 2 * (outputs - targets) / outputs.size

    X = rng.normal(size=(30, 6))
    net = Network([6, 4, 1], loss=loss, activation="relu", seed=0)
    q = net.quantize(X)
    assert q.score(X, net(X)) > 0.9


def test_float64_networks(rng):
    net = make_network([9, 20, 3], rng, activation="relu", loss="cross_entropy", dtype="float64")
    X = rng.normal(size=(40, 9))
    q = net.quantize(X)
    assert q(X).dtype == q.dtype == np.float32
    assert np.abs(q(X) - net(X)).max() < 0.02
    assert q.score(X, net.predict(X)) > 0.9
    net.weight[0][:] = 1e300
    with pytest.raises(ValueError, match=r"weight\[0\] must be finite in float32"):
        net.quantize(X)


def test_accuracy_on_digits(digits):
    (X, y), (X_test, y_test) = digits
    net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
    net.fit(X, y, epochs=3)
    expected = net.score(X_test, y_test)
    for method in METHODS:
        for calibration in (X[:500], X[:500].astype(F) / 255):
            q = net.quantize(calibration, method=method)
            assert abs(q.score(X_test, y_test) - expected) < 0.003


# --- The object ---------------------------------------------------------------------------------


def test_attributes(rng, capsys):
    net = make_network([9, 20, 3], rng, activation="relu", loss="cross_entropy", dropout=0.1)
    q = net.quantize(rng.normal(size=(40, 9)))
    assert isinstance(q, cmlp.QuantizedNetwork)
    assert (q.size, q.num_layers, q.activation, q.output, q.loss) == (
        [9, 20, 3], 2, ("relu",), "softmax", "cross_entropy"
    )  # fmt: skip
    assert repr(q).startswith("QuantizedNetwork([9, 20, 3], activation='relu'")
    q.summary()
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:5] == ["1", "9", "->", "20", "relu"]
    size = 9 * 20 + 20 * 8 + 20 * 3 + 3 * 8
    assert printed[-1] == (f"multiclass, 8-bit integers, calibrated by percentile, {size:,} bytes")
    weight = q.layers[0].weight
    assert (weight.dtype, weight.shape, q.layers[0].bias.dtype) == (np.int8, (20, 9), np.int32)
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 3
    for name in ("fit", "partial_fit", "train", "quantize"):
        assert not hasattr(q, name)
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; it only predicts"):
            getattr(q, name)
    with pytest.raises(AttributeError, match=r"no attribute 'weight'; layers\[0\].weight"):
        q.weight  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'forward'; call the network"):
        q.forward  # noqa: B018
    with pytest.raises(AttributeError):
        q.wieght = 3
    with pytest.raises(TypeError, match=r"state must be a QuantizedState, .*; got Network"):
        QuantizedNetwork(net)


def test_the_configuration_names_the_products(rng, capsys):
    net = make_network([9, 20, 20, 3], rng, activation=["relu", "gelu"], loss="mse")
    cmlp.show_config(net.quantize(rng.normal(size=(40, 9))), 64)
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines == [
        "batch:    64 samples, 1 thread",
        "layer 1:  9 -> 20, 8-bit integers",
        "layer 2:  20 -> 20, 8-bit integers, activation in float32",
        "layer 3:  20 -> 3, 8-bit integers, activation in float32",
    ]


def test_copies_and_pickles(rng):
    net = make_network([9, 20, 3], rng, activation="gelu", normalization="layer", loss="mse")
    X = rng.normal(size=(40, 9))
    q = net.quantize(X)
    for other in (q.copy(), copy.deepcopy(q), pickle.loads(pickle.dumps(q))):
        assert type(other) is QuantizedNetwork
        assert other.state is not q.state
        np.testing.assert_array_equal(other(X), q(X))
    assert copy.copy(q).state is q.state


def test_the_network_does_not_change(rng):
    net = make_network([9, 20, 3], rng, activation="relu", normalization="batch", loss="mse")
    X = rng.normal(size=(40, 9)).astype(F)
    before, outputs = net.state.snapshot(), net(X)
    q = net.quantize(X)
    expected = q(X)
    for old, new in zip(before, net.state.snapshot(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(net(X), outputs)
    net.weight[0][:] = 0
    np.testing.assert_array_equal(q(X), expected)


def test_the_network_of_an_estimator(rng):
    from cmlp.sklearn import MLPClassifier

    X = rng.normal(size=(200, 5)).astype(F)
    y = np.where(X[:, 0] > 0, "yes", "no")
    estimator = MLPClassifier(20, max_iter=300, tol=0.01, random_state=0).fit(X, y)
    q = estimator.network_.quantize(X)
    assert (estimator.classes_[q.predict(X)] == estimator.predict(X)).mean() > 0.97


def test_bars_of_predictions(rng, capsys):
    net = make_network([9, 20, 3], rng, activation="relu", loss="mse")
    X = rng.normal(size=(40, 9))
    q = net.quantize(X)
    np.testing.assert_array_equal(q(X, progress=True), q(X))
    assert "40.0/40.0" in capsys.readouterr().err


def test_column_indices_that_change(rng):
    net = make_network([9, 20, 3], rng, activation="relu", loss="mse")
    X = csr_array(rng.normal(size=(40, 9)))
    q = net.quantize(X)
    rows = convert_rows(X, 9, np.dtype(F))
    X.indices[5] = 2**31 - 1
    with pytest.raises(ValueError, match="X must not change while it is in use"):
        q.state.program.infer(rows, np.empty((40, 3), F), 1)
