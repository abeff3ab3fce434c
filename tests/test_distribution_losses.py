"""Losses whose outputs describe a distribution: gradients, targets, predictions, metrics, files."""

import numpy as np
import oracle
import pytest
import sklearn.metrics
from conftest import assert_same_state, read_data
from test_sharding import run_ranks

from cmlp import SGD, Adam, Network, losses
from cmlp.callbacks import Checkpoint
from cmlp.quantized import QuantizedNetwork


def compute_gradient(net, X, y):
    """Return the mean loss, and the gradient with respect to the weights of a single layer."""
    gradient = net.state.parameters.make_zeros()
    value = net.state.program.gradient(*read_data(net, X, y), gradient.block, 1)
    [weight] = [view for tensor, view in gradient.views.items() if tensor.name == "weight"]
    return value, np.array(weight)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", [1, 2, 3, 8, 16, 17, 40])
def test_gaussian_nll_is_the_oracles(isa, rng, dtype, targets):
    eps, m = 0.01, 9
    loss = losses.gaussian_nll(eps)
    net = Network([4, 2 * targets], loss=loss, dtype=dtype, seed=0)
    X, y = rng.normal(size=(m, 4)), rng.normal(size=(m, targets))
    a = net(X).astype(float)
    value, gradient = compute_gradient(net, X, y)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert value == pytest.approx(oracle.LOSSES["gaussian_nll"](a, y, eps).mean(), rel=tolerance)
    slope = oracle.LOSS_GRADIENTS["gaussian_nll"](a, y, eps)
    np.testing.assert_allclose(gradient, slope.T @ X / m, rtol=10 * tolerance, atol=tolerance)


def test_gaussian_nll_is_pytorchs_above_its_eps(rng):
    torch = pytest.importorskip("torch")
    net = Network([4, 6], loss="gaussian_nll", dtype="float64", seed=0)
    X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    outputs = torch.tensor(net(X), requires_grad=True)
    mean, variance = outputs[:, :3], outputs[:, 3:].exp()
    want = torch.nn.GaussianNLLLoss()(mean, torch.tensor(y), variance)
    want.backward()
    value, gradient = compute_gradient(net, X, y)
    assert value == pytest.approx(want.item(), abs=1e-4)  # the variances differ by eps
    np.testing.assert_allclose(gradient, outputs.grad.numpy().T @ X, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("logarithm", [-1e30, -200, -30, 0, 30, 200, 1e30])
@pytest.mark.parametrize("error", [0, 3e-3, 1e3])
def test_the_log_variance_has_a_lower_limit_and_no_upper_one(isa, dtype, logarithm, error):
    net = Network([1, 2], loss="gaussian_nll", dtype=dtype, init="zeros", seed=0)
    net.bias[0][:] = [[error], [logarithm]]
    _, [gradient], value = net.backprop([1.0], [0.0])
    limited = max(logarithm, np.log(1e-6))
    log_variance = limited + np.log1p(np.exp(-abs(logarithm - np.log(1e-6))))
    square = error**2 * np.exp(-log_variance)
    assert value == pytest.approx((log_variance + square) / 2, rel=1e-5)
    assert gradient[0, 0] == pytest.approx(error * np.exp(-log_variance), rel=1e-5)
    factor = np.exp(min(logarithm - log_variance, 0))
    assert gradient[1, 0] == pytest.approx((1 - square) / 2 * factor, rel=1e-4, abs=1e-30)


def test_gaussian_nll_learns_mean_and_noise(rng):
    X = rng.uniform(-1, 1, size=(4000, 1))
    std = np.exp(X[:, 0] - 1)
    y = 2 * X[:, 0] + std * rng.normal(size=4000)
    net = Network([1, 32, 2], activation="tanh", loss="gaussian_nll", seed=0)
    history = net.fit(X, y, epochs=60, batch_size=100, optimizer=Adam(0.005), metrics="mae",
                      validation_data=(X, y))  # fmt: skip
    mean, found = net.predict(X, return_std=True)
    assert mean.shape == found.shape == (4000,)
    np.testing.assert_array_equal(mean, net.predict(X))
    np.testing.assert_array_equal(mean, net(X)[:, 0])
    np.testing.assert_allclose(found, np.sqrt(oracle.variance(net(X))[:, 0]), rtol=1e-5)
    assert np.abs(mean - 2 * X[:, 0]).mean() < 0.05
    assert np.abs(found / std - 1).mean() < 0.1
    assert net.score(X, y) == pytest.approx(
        1 - ((y - mean) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    )
    assert history["val_mae"][-1] == pytest.approx(np.abs(y - mean).mean(), rel=1e-4)


def test_gaussian_nll_of_several_targets(rng):
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 3))
    net = Network([4, 8, 6], loss="gaussian_nll", dtype="float64", seed=0)
    history = net.fit(X, y, epochs=2, sample_weight=rng.random(60), metrics=["r2", "rmse"])
    mean, std = net.predict(X, return_std=True)
    assert mean.shape == std.shape == (60, 3)
    np.testing.assert_array_equal(mean, net(X)[:, :3])
    np.testing.assert_allclose(std, np.sqrt(oracle.variance(net(X))))
    r2 = 1 - ((y - mean) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert net.score(X, y) == pytest.approx(r2.mean())
    assert {"loss", "r2", "rmse"} <= set(history.to_dict())
    with pytest.raises(ValueError, match=r"y must have shape \(60,\) or \(60, 3\); got \(60, 6\)"):
        net.fit(X, np.hstack([y, y]))


QUANTILES = (0.1, 0.5, 0.75, 0.9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", [1, 2, 3, 8, 13])
@pytest.mark.parametrize(
    "quantiles", [(0.9,), (0.25, 0.5), QUANTILES, tuple(np.linspace(0.05, 0.95, 19))]
)
def test_pinball_is_the_oracles(isa, rng, dtype, targets, quantiles):
    m, n = 9, targets * len(quantiles)
    net = Network([4, n], loss=losses.pinball(quantiles), dtype=dtype, seed=0)
    X, y = rng.normal(size=(m, 4)), rng.normal(size=(m, targets))
    a = net(X).astype(float)
    value, gradient = compute_gradient(net, X, y)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert value == pytest.approx(oracle.LOSSES["pinball"](a, y, quantiles).mean(), rel=tolerance)
    slope = oracle.LOSS_GRADIENTS["pinball"](a, y, quantiles)
    np.testing.assert_allclose(gradient, slope.T @ X / m, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", [1, 2, 7, 16])
@pytest.mark.parametrize("quantiles", [(0.25, 0.5), QUANTILES])
def test_non_crossing_pinball_has_the_gradient_of_the_oracle(isa, rng, dtype, targets, quantiles):
    m, n = 9, targets * len(quantiles)
    loss = losses.pinball(quantiles, non_crossing=True)
    net = Network([4, n], loss=loss, dtype=dtype, seed=0)
    X, y = rng.normal(size=(m, 4)), rng.normal(size=(m, targets)) + 1
    a = net(X).astype(float)

    def compute_losses(a):
        return oracle.LOSSES["pinball"](oracle.add_increments(a, quantiles), y, quantiles)

    value, gradient = compute_gradient(net, X, y)
    is_exact = dtype == "float64"
    assert value == pytest.approx(compute_losses(a).mean(), rel=1e-12 if is_exact else 1e-5)
    slope, step = np.empty((m, n)), 1e-6
    for j in range(n):
        change = step * (np.arange(n) == j)
        slope[:, j] = (compute_losses(a + change) - compute_losses(a - change)) / (2 * step)
    np.testing.assert_allclose(gradient, slope.T @ X / m, atol=1e-8 if is_exact else 1e-5)


def test_pinball_of_the_median_is_half_the_absolute_error(rng):
    X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    for outputs in (1, 3):
        pinball, mae = (
            Network([4, outputs], loss=loss, dtype="float64", seed=0) for loss in ("pinball", "mae")
        )
        value, gradient = compute_gradient(pinball, X, y[:, :outputs])
        want, expected = compute_gradient(mae, X, y[:, :outputs])
        assert value == pytest.approx(want / 2)
        np.testing.assert_allclose(gradient, expected / 2, atol=1e-15)


@pytest.mark.parametrize("non_crossing", [False, True])
def test_pinball_is_scikit_learns(rng, non_crossing):
    X, y, weights = rng.normal(size=(50, 4)), rng.normal(size=(50, 2)), rng.random(50)
    net = Network([4, 8, 8], loss=losses.pinball(QUANTILES, non_crossing), dtype="float64", seed=0)
    found = np.split(net.predict(X), 4, axis=1)
    for sample_weight in (None, weights):
        history = net.copy().fit(
            X, y, epochs=1, batch_size=50, sample_weight=sample_weight, validation_data=(X, y),
            optimizer=SGD(1e-30),
        )  # fmt: skip
        for name, other in (("loss", sample_weight), ("val_loss", None)):
            want = [
                sklearn.metrics.mean_pinball_loss(y, each, alpha=alpha, sample_weight=other)
                for alpha, each in zip(QUANTILES, found, strict=True)
            ]
            assert history[name] == [pytest.approx(np.mean(want), rel=1e-12)]


@pytest.mark.parametrize("non_crossing", [False, True])
def test_pinball_learns_quantiles(rng, non_crossing):
    X = rng.uniform(-1, 1, size=(4000, 1))
    y = 2 * X[:, 0] + np.exp(X[:, 0]) * rng.exponential(size=4000)
    loss = losses.pinball(QUANTILES, non_crossing)
    net = Network([1, 32, 4], activation="tanh", loss=loss, seed=0)
    net.fit(X, y, epochs=60, batch_size=100, optimizer=Adam(0.003))
    found = net.predict(X)
    assert found.shape == (4000, 4)
    np.testing.assert_allclose((y[:, None] < found).mean(axis=0), QUANTILES, atol=0.03)
    want = 2 * X - np.exp(X) * np.log1p(-np.array(QUANTILES))
    assert (np.abs(found - want).mean(axis=0) < [0.1, 0.1, 0.15, 0.25]).all()
    if non_crossing:
        assert (np.diff(found) >= 0).all()


def test_quantiles_of_non_crossing_outputs_increase(rng):
    quantiles = (0.1, 0.5, 0.9)
    loss = losses.pinball(quantiles, non_crossing=True)
    for targets in (1, 2):
        net = Network([4, 3 * targets], loss=loss, init="reference", seed=0)
        X = 10 * rng.normal(size=(500, 4))
        found = net.predict(X).reshape(500, 3, targets)
        assert (np.diff(found, axis=1) >= 0).all()
        assert (np.diff(net(X).reshape(500, 3, targets), axis=1) < 0).any()
        want = oracle.add_increments(net(X).astype(float), quantiles)
        np.testing.assert_allclose(found.reshape(500, -1), want, rtol=1e-5)


@pytest.mark.parametrize("non_crossing", [False, True])
@pytest.mark.parametrize(
    ("quantiles", "point"), [((0.9,), 0), ((0.1, 0.4, 0.9), 1), ((0.3, 0.7), 0), ((0.1, 0.5), 1)]
)
def test_metrics_compare_the_quantile_nearest_to_the_median(rng, quantiles, point, non_crossing):
    X, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    loss = losses.pinball(quantiles, non_crossing)
    net = Network([4, 8, 2 * len(quantiles)], loss=loss, dtype="float64", seed=0)
    history = net.fit(X, y, epochs=1, validation_data=(X, y), metrics=["mae", "rmse"])
    found = net.predict(X).reshape(60, len(quantiles), 2)[:, point]
    r2 = 1 - ((y - found) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert net.score(X, y) == history["val_r2"][-1] == pytest.approx(r2.mean())
    assert history["val_mae"][-1] == pytest.approx(np.abs(y - found).mean())


def test_targets_of_several_quantiles(rng):
    X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    nets = [Network([4, 8, 3], loss=("pinball", (0.1, 0.5, 0.9)), seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(X, y[:, None], epochs=2)
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(X))
    _, nabla_b, _ = nets[0].backprop(X[0], y[:1])
    assert nabla_b[-1].shape == (3, 1)
    with pytest.raises(ValueError, match=r"y must have shape \(60,\) or \(60, 1\); got \(60, 3\)"):
        nets[0].fit(X, np.column_stack([y, y, y]))


DISTRIBUTIONS = [
    losses.gaussian_nll(0.25),
    "gaussian_nll",
    losses.pinball((0.1, 0.9)),
    losses.pinball((0.25, 0.5), non_crossing=True),
]


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_files_and_exports_of_a_distribution(tmp_path, rng, loss):
    X, y = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=30)
    net = Network([4, 8, 2], loss=loss, seed=0)
    net.fit(X, y, epochs=1)
    for name in ("net.npz", "net.safetensors"):
        net.save(tmp_path / name)
        again = Network.load(tmp_path / name)
        assert again.state.architecture.loss == net.state.architecture.loss
        assert repr(again) == repr(net)
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        np.testing.assert_array_equal(again.copy().predict(X), net.predict(X))
        assert again.backprop(X[0], y[:1])[2] == net.backprop(X[0], y[:1])[2]
    resolved = net.state.architecture.loss
    quantized = net.quantize(X)
    quantized.save(tmp_path / "quantized.npz")
    found = QuantizedNetwork.load(tmp_path / "quantized.npz").predict(X)
    np.testing.assert_array_equal(found, resolved.predict(quantized(X)).squeeze())
    point = found[:, resolved.point] if found.ndim == 2 else found
    assert quantized.score(X, y) == pytest.approx(
        1 - ((y - point) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-5
    )
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    net.to_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    [name] = [each.name for each in session.get_inputs()]
    np.testing.assert_allclose(session.run(["outputs"], {name: X})[0], net(X), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_threads_and_ranks_change_no_bit(many_threads, rng, loss, dtype):
    X, y, weights = rng.normal(size=(200, 4)), rng.normal(size=(200, 3)), rng.random(200)

    def train(**options):
        net = Network([4, 300, 6], loss=loss, dtype=dtype, seed=0)
        history = net.fit(
            X, y, epochs=2, batch_size=64, optimizer=Adam(), sample_weight=weights,
            validation_data=(X, y), metrics=["mae", "r2"], **options,
        )  # fmt: skip
        keys = ("loss", "val_loss", "mae", "val_r2")
        return net.state.parameters.block.copy(), [history[key] for key in keys]

    want, records = train(threads=1)
    got, found = train(threads=4)
    np.testing.assert_array_equal(got, want)
    assert found == records
    want, records = train(shards=4)
    for got, found in run_ranks(2, lambda comm: train(shards=4, comm=comm, distribute=True)):
        np.testing.assert_array_equal(got, want)
        assert found == records


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_predictions_and_scores_of_ranks(rng, loss):
    X, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    net = Network([4, 8, 6], loss=loss, seed=0)
    options = {"return_std": True} if net.loss == "gaussian_nll" else {}
    want = np.array(net.predict(X, **options))
    for found in run_ranks(2, lambda comm: net.predict(X, comm=comm, **options)):
        np.testing.assert_array_equal(np.array(found), want)
    for score in run_ranks(2, lambda comm: net.score(X, y, comm=comm, distribute=True)):
        assert score == pytest.approx(net.score(X, y), rel=1e-5)


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_a_resumed_run_has_the_same_loss(tmp_path, rng, loss):
    X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    options = {"batch_size": 20, "optimizer": Adam(), "validation_data": (X, y),
               "callbacks": Checkpoint(tmp_path / "run.npz")}  # fmt: skip
    whole, part = (Network([4, 8, 2], loss=loss, seed=0) for _ in range(2))
    history = whole.fit(X, y, epochs=4, **options)
    part.fit(X, y, epochs=2, **options)
    resumed = Network.resume(tmp_path / "run.npz")
    assert resumed.fit(X, y, epochs=4, **options)["val_loss"] == history["val_loss"]
    assert_same_state(resumed, whole)


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_sample_weights_are_repetitions(rng, loss):
    X, y, times = rng.normal(size=(40, 4)), rng.normal(size=(40, 2)), rng.integers(0, 4, 40)
    nets = [Network([4, 8, 4], loss=loss, dtype="float64", seed=0) for _ in range(2)]
    weighted = nets[0].fit(X, y, epochs=3, batch_size=40, sample_weight=times)
    X, y = np.repeat(X, times, axis=0), np.repeat(y, times, axis=0)
    repeated = nets[1].fit(X, y, epochs=3, batch_size=len(X))
    np.testing.assert_allclose(weighted["loss"], repeated["loss"])
    np.testing.assert_allclose(nets[0](X), nets[1](X))


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_evaluate_compares_labels_with_the_predicted_targets(rng, loss):
    X, labels = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    net = Network([4, 8, 6], loss=loss, init="reference", seed=0)
    if net.loss == "pinball":
        found = net.predict(X).reshape(60, 2, 3)[:, net.state.architecture.loss.point]
    else:
        found = net.predict(X)
    right = (found.argmax(axis=1) == labels).sum()
    assert net.evaluate(list(zip(X, labels, strict=True))) == right


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
def test_shards_and_batches_of_a_distribution(rng, loss):
    X, y = rng.normal(size=(64, 4)), rng.normal(size=64)
    net = Network([4, 8, 2], loss=loss, dtype="float64", seed=0)
    options = {"epochs": 3, "batch_size": 64, "metrics": "r2"}
    history = net.copy().fit(X, y, **options)
    sharded = net.copy().fit(X, y, shards=4, **options)
    np.testing.assert_allclose(sharded["loss"], history["loss"])
    np.testing.assert_allclose(sharded["r2"], history["r2"])
    parts = net.copy().fit([(X[:32], y[:32]), (X[32:], y[32:, None])], epochs=2)
    assert np.isfinite(parts["loss"]).all()


def test_bad_distributions(rng):
    X = rng.normal(size=(5, 4))
    with pytest.raises(ValueError, match="sizes must end with a multiple of 2 for loss='gauss"):
        Network([4, 3], loss="gaussian_nll")
    with pytest.raises(ValueError, match="output must be one of identity for loss='gaussian_nll'"):
        Network([4, 2], loss="gaussian_nll", output="sigmoid")
    with pytest.raises(ValueError, match="eps must be positive and finite; got 0"):
        losses.gaussian_nll(0)
    with pytest.raises(ValueError, match="return_std must be False unless the loss is 'gaussian_n"):
        Network([4, 2], loss="mse").predict(X, return_std=True)
    with pytest.raises(ValueError, match="sizes must end with a multiple of 3 for loss='pinball'"):
        Network([4, 4], loss=losses.pinball((0.1, 0.5, 0.9)))
    with pytest.raises(ValueError, match="output must be one of identity for loss='pinball'"):
        Network([4, 2], loss="pinball", output="sigmoid")
    with pytest.raises(ValueError, match="quantiles must be greater than 0 and less than 1; got 1"):
        losses.pinball((0.5, 1))
    for quantiles in ((0.5, 0.5), (0.9, 0.1), ()):
        with pytest.raises(ValueError, match="quantiles must be at least one and increase; got"):
            losses.pinball(quantiles)
    for quantiles in ("0.5", ["0.5"], None, [True], {0.1, 0.9}, [[0.1], [0.2, 0.3]], [0.5j]):
        with pytest.raises(TypeError, match="quantiles must be a number or a sequence of numbers;"):
            losses.pinball(quantiles)
    assert losses.pinball(np.array([0.25, 0.5])) == losses.pinball([0.25, 0.5])
    assert losses.pinball(np.float32(0.25)) == losses.pinball((0.25,), non_crossing=True)
    with pytest.raises(ValueError, match="quantiles must be less than 1 in float32; got 0"):
        Network([4, 2], loss=losses.pinball((0.5, 1 - 1e-9)))
    Network([4, 2], loss=losses.pinball((0.5, 1 - 1e-9)), dtype="float64")
    with pytest.raises(TypeError, match="non_crossing must be True or False; got 1"):
        losses.pinball((0.1, 0.9), 1)
    with pytest.raises(ValueError, match="loss must be one of pinball; got 'huber'"):
        Network([4, 2], loss=("huber", 1, True))
    with pytest.raises(ValueError, match="the parameter of gaussian_nll must be from"):
        Network([4, 2], loss=losses.gaussian_nll(1e-50))
    header = Network([4, 2], loss="gaussian_nll", seed=0).state.architecture.header
    header["layers"][0]["units"] = 3
    with pytest.raises(ValueError, match="multiple of 2"):
        type(Network([4, 2], seed=0).state.architecture).from_header(header)
