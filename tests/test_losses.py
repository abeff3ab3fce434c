"""Losses: parameters, large errors, targets, predictions. Gradients are in test_components.py."""

import numpy as np
import oracle
import pytest
from conftest import read_data

from cmlp import SGD, Adam, Network, TrainingDiverged, losses
from cmlp._core import kernels


def test_each_loss_has_a_kernel_and_an_oracle():
    assert set(losses.LOSSES) == set(kernels.LOSSES) == set(oracle.LOSSES)
    assert set(oracle.LOSS_GRADIENTS) == set(oracle.LOSSES)
    blocks = {name: info.blocks for name, info in kernels.LOSSES.items() if info.blocks > 1}
    assert blocks == oracle.BLOCKS


def a_layer(loss, outputs=3, **options):
    return Network([outputs, outputs], loss=loss, dtype="float64", seed=0, **options)


def value_and_gradient(net, x, y):
    """Return the loss of one sample, and its gradient with respect to the output's sums."""
    _, [nabla_b], value = net.backprop(x, y)
    return value, nabla_b[:, 0]


@pytest.mark.parametrize("delta", [0.1, 1.0, 3.5])
def test_huber_has_a_delta(isa, rng, delta):
    net = a_layer(losses.huber(delta))
    for scale in (0.05, 1, 100):
        x, y = scale * rng.normal(size=(2, 3))
        value, gradient = value_and_gradient(net, x, y)
        a = net.forward(x).T
        assert value == pytest.approx(oracle.LOSSES["huber"](a, y[None], delta)[0])
        np.testing.assert_allclose(gradient, oracle.LOSS_GRADIENTS["huber"](a, y[None], delta)[0])


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_is_training_on_smoothed_labels(isa, rng, output, smoothing):
    x, label = rng.normal(size=5), 3
    smoothed = np.full(5, smoothing / 5)
    smoothed[label] += 1 - smoothing
    net = a_layer(losses.cross_entropy(smoothing), 5, output=output)
    plain = a_layer("cross_entropy", 5, output=output)
    value, gradient = value_and_gradient(net, x, label)
    want, expected = value_and_gradient(plain, x, smoothed)
    assert value == pytest.approx(want)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("samples", [1, 40])
def test_binary_label_smoothing_is_training_on_smoothed_targets(isa, rng, output, dtype, samples):
    options = {"output": output, "dtype": dtype, "seed": 0}
    for outputs in (2, 3) if output == "softmax" else (1, 3):
        net, plain = (
            Network([4, outputs], loss=loss, **options)
            for loss in (losses.binary_cross_entropy(0.25), "binary_cross_entropy")
        )
        X, y = rng.normal(size=(samples, 4)), rng.integers(0, 2, (samples, outputs))
        got, want = net.state.parameters.make_zeros(), plain.state.parameters.make_zeros()
        value = net.state.program.gradient(*read_data(net, X, y), got.block, 1)
        smoothed = read_data(plain, X, y * 0.75 + 0.125)
        assert value == plain.state.program.gradient(*smoothed, want.block, 1)
        np.testing.assert_array_equal(got.block, want.block)
        a = net.forward(X.T).T.astype(float)
        expected = oracle.LOSSES["binary_cross_entropy"](a, y, 0.25).mean()
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("outputs", "loss"), [(1, "binary"), (3, "binary"), (3, "multiclass")])
def test_label_smoothing_with_sample_weights(rng, outputs, loss):
    # The weights multiply the smoothed losses: they are repetitions of the samples.
    make = losses.cross_entropy if loss == "multiclass" else losses.binary_cross_entropy
    X, times = rng.normal(size=(40, 4)), rng.integers(0, 4, 40)
    y = rng.integers(0, 2, 40) if outputs == 1 else rng.integers(0, 3, 40)
    nets = [Network([4, outputs], loss=make(0.3), dtype="float64", seed=0) for _ in range(2)]
    weighted = nets[0].fit(X, y, epochs=3, batch_size=40, sample_weight=times)
    X, y = np.repeat(X, times, axis=0), np.repeat(y, times)
    repeated = nets[1].fit(X, y, epochs=3, batch_size=len(X))
    np.testing.assert_allclose(weighted["loss"], repeated["loss"])
    np.testing.assert_allclose(nets[0](X), nets[1](X))


def test_binary_label_smoothing_is_that_of_two_classes(isa, rng):
    X, y = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)
    one = Network([4, 1], loss=losses.binary_cross_entropy(0.2), dtype="float64", seed=0)
    two = Network([4, 2], loss=losses.cross_entropy(0.2), dtype="float64", seed=0)
    two.weight[0][:] = [np.zeros(4), one.weight[0][0]]  # softmax (0, z) = (1 - s, s), s = sigmoid z
    two.bias[0][1] = one.bias[0][0] = 0.3
    for x, label in zip(X, y, strict=True):
        value, gradient = value_and_gradient(one, x, [label])
        want, (_, slope) = value_and_gradient(two, x, label)
        assert value == pytest.approx(want)
        assert gradient[0] == pytest.approx(slope)


def test_the_default_smooths_nothing(isa, rng):
    X, y = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)
    nets = [
        Network([4, 8, 1], loss=loss, seed=0)
        for loss in ("binary_cross_entropy", losses.binary_cross_entropy())
    ]
    for net in nets:
        net.fit(X, y, epochs=2)
    assert repr(nets[0]) == repr(nets[1])
    for first, second in zip(*(net.state.to_arrays().values() for net in nets), strict=True):
        np.testing.assert_array_equal(first, second)


# exp(1e4) overflows, as it should: a rate of that size is an error of the model.
FINITE = [name for name in losses.LOSSES if not name.startswith("poisson")]


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_errors_have_finite_losses(isa, name, dtype):
    blocks = losses.LOSSES[name].blocks
    net = Network([3, 3 * blocks], loss=name, dtype=dtype, init="zeros", seed=0)
    net.bias[0][:] = [[1e4], [-1e4], [0]] * blocks
    _, [gradient], value = net.backprop(np.ones(3), [0, 1, 0])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if name == "log_cosh":  # |d| - log 2 far from zero
        assert value == pytest.approx((2e4 + 1 - 2 * np.log(2)) / 3, rel=1e-6)


def test_the_hinges_classify(rng):
    X = rng.normal(size=(300, 4)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    for name in ("hinge", "squared_hinge"):
        for outputs in (1, 2):
            net = Network([4, outputs], loss=name, seed=0)
            net.fit(X, y, epochs=30, optimizer=SGD(0.1))
            assert net.is_classifier
            assert net.score(X, y) > 0.95
            assert set(net.predict(X)) == {0, 1}
            with pytest.raises(TypeError, match="output must be 'softmax' or 'sigmoid'"):
                net.predict_proba(X)


def test_the_poisson_loss_predicts_rates(rng):
    X = rng.normal(size=(2000, 2))
    rates = np.exp(0.7 * X[:, 0] - 0.2 * X[:, 1] + 0.5)
    net = Network([2, 1], loss="poisson", dtype="float64", seed=0)
    net.fit(X, rng.poisson(rates), epochs=60, optimizer=Adam(0.01))
    np.testing.assert_allclose(net.weight[0], [[0.7, -0.2]], atol=0.06)
    np.testing.assert_allclose(net.predict(X), np.exp(net(X)[:, 0]))
    assert net.score(X, rates) > 0.97


def test_files_and_copies_store_the_parameter_of_a_loss(tmp_path):
    net = Network([4, 3], loss=losses.huber(0.25), seed=0)
    assert (net.loss, repr(net.copy())) == ("huber", repr(net))
    assert "loss=['huber', 0.25]" in repr(net)
    net.save(tmp_path / "net.npz")
    again = Network.load(tmp_path / "net.npz")
    x, y = np.ones(4), np.full(3, 5.0)
    assert again.backprop(x, y)[2] == net.backprop(x, y)[2]
    assert again.backprop(x, y)[2] != Network([4, 3], loss="huber", seed=0).backprop(x, y)[2]
    assert Network([4, 3], loss=("huber", 0.25), seed=0).backprop(x, y)[2] == net.backprop(x, y)[2]
    net = Network([4, 1], loss=losses.binary_cross_entropy(0.1), seed=0)
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    assert again.state.architecture.loss == losses.binary_cross_entropy(0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.huber(0), ValueError, "delta must be positive and finite; got 0"),
        (lambda: losses.huber("1"), TypeError, "delta must be a number; got '1'"),
        (lambda: losses.cross_entropy(1), ValueError, "label_smoothing must be at least 0 and"),
        (lambda: losses.cross_entropy(None), TypeError, "label_smoothing must be a number"),
        (lambda: losses.binary_cross_entropy(-0.1), ValueError, "label_smoothing must be at least"),
        (lambda: losses.binary_cross_entropy("1"), TypeError, "label_smoothing must be a number"),
        (
            lambda: Network([2, 2], loss="hubert"),
            ValueError,
            r"got 'hubert' \(did you mean 'huber'",
        ),
        (lambda: Network([2, 2], loss=("mse", 1)), ValueError, "loss must be one of .*; got 'mse'"),
        (lambda: Network([2, 2], loss=3), TypeError, "loss must be a name; got 3"),
        (
            lambda: Network([2, 2], loss="hinge", output="softmax"),
            ValueError,
            "output must be one of .* for loss=",
        ),
    ],
)
def test_bad_losses(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_targets_out_of_bounds_are_named():
    X = np.ones((2, 2))
    with pytest.raises(ValueError, match="y must not be negative for poisson; got values from -1"):
        Network([2, 1], loss="poisson").fit(X, [-1, 2])
    with pytest.raises(ValueError, match="y must lie between 0 and 1 for hinge; got values from"):
        Network([2, 1], loss="hinge").fit(X, [-1, 1])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_gradient_is_the_oracles(rng, name):
    loss = losses.LOSSES[name]
    net = Network([3, 3 * loss.blocks], output=(loss.outputs or ("identity",))[-1], loss=loss,
                  dtype="float64", seed=0)  # fmt: skip
    x, least = rng.normal(size=3), loss.bounds[0]
    y = rng.random(3) if least == 0 else rng.normal(size=3)
    a = net.forward(x).T
    # Through the activation: from the gradient with respect to outputs to that of the sums.
    z = net.weight[0] @ x + net.bias[0][:, 0]
    slope = oracle.LOSS_GRADIENTS[name](a, y[None])[0]
    if net.output == "softmax":
        expected = a[0] * (slope - (a[0] * slope).sum())
    else:
        expected = slope * oracle.DERIVATIVES[net.output](z, a[0])
    _, gradient = value_and_gradient(net, x, y)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "leaky_relu", "gelu"])
@pytest.mark.parametrize("name", [name for name in losses.LOSSES if name not in oracle.BLOCKS])
def test_a_single_output_is_the_oracles(isa, rng, name, output):
    # More samples than the head computes at a time, and no multiple of them.
    loss, m = losses.LOSSES[name], 150
    if output not in (loss.outputs or (output,)):
        output = "sigmoid" if "sigmoid" in loss.outputs else loss.outputs[-1]
    net = Network([3, 1], output=output, loss=loss, dtype="float64", seed=0)
    X, y = rng.normal(size=(m, 3)), rng.random(m)
    a, z = net.forward(X.T).T, X @ net.weight[0].T + net.bias[0].T
    slope = oracle.LOSS_GRADIENTS[name](a, y[:, None]) * oracle.DERIVATIVES[output](z, a)
    gradient = net.state.parameters.make_zeros()
    value = net.state.program.gradient(*read_data(net, X, y), gradient.block, 1)
    assert value == pytest.approx(oracle.LOSSES[name](a, y[:, None]).mean(), rel=1e-9)
    got = {tensor.name: view for tensor, view in gradient.views.items()}
    np.testing.assert_allclose(got["weight"], slope.T @ X / m, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got["bias"].ravel(), slope.mean(axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["poisson", "poisson_deviance"])
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 88.7), ("float64", 709.7)])
def test_the_rate_of_a_poisson_loss_overflows(isa, loss, dtype, limit):
    X, y = np.ones((2, 1)), np.ones(2)
    net = Network([1, 1], loss=loss, dtype=dtype)
    net.weight[0][:], net.bias[0][:] = 0, limit
    assert np.isfinite(net.predict(X)).all()
    assert np.isfinite(net.backprop([1.0], [1.0])[2])
    net.bias[0][:] = limit + 0.2
    with np.errstate(over="ignore"):
        assert (net.predict(X) == np.inf).all()
    with pytest.raises(TrainingDiverged, match="not finite in epoch 0, step 0"):
        net.fit(X, y, epochs=1, optimizer=SGD(1e-300 if dtype == "float64" else 1e-37))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_with_a_large_logit_at_any_position(isa, dtype):
    # Its exponential overflows unless the maximum over all of a row's vectors is subtracted.
    n = 70
    net = Network([n, n], loss="cross_entropy", dtype=dtype, seed=0)
    net.weight[0][:], net.bias[0][:] = np.eye(n) * 1000, 0
    np.testing.assert_allclose(net(np.eye(n)), np.eye(n))
    rows, targets = read_data(net, np.eye(n), np.arange(n))
    gradient = net.state.parameters.make_zeros()
    assert net.state.program.gradient(rows, targets, gradient.block, 1) == 0
    assert not gradient.block.any()
    rows, targets = read_data(net, np.eye(n), np.arange(1, n + 1) % n)
    assert net.state.program.gradient(rows, targets, gradient.block, 1) == 1000
    assert np.isfinite(gradient.block).all()


@pytest.mark.parametrize("scale", [-1000, 1000])
def test_a_sigmoid_with_a_large_logit(isa, scale):
    net = Network([1, 1], loss="binary_cross_entropy", seed=0)
    net.weight[0][:], net.bias[0][:] = scale, 0
    assert net.backprop([1.0], [0.0])[2] == max(scale, 0)
    assert net.backprop([1.0], [1.0])[2] == max(-scale, 0)
