"""Network.initialize: pre-activations of unit variance, biases, errors that change nothing."""

import numpy as np
import pytest
import scipy.sparse

from cmlp import Network, callbacks, layers

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(3, [1, 20, 0.1], (400, 3)), RNG.integers(0, 10, 400)])
ENCODERS = [layers.Embedding([3], [9]), layers.Periodic([0, 1, 2]), layers.Scale()]


def make(**options):
    options = {"activation": "parametric_mish", "loss": "mse", "dtype": "float64", "seed": 3,
               **options}  # fmt: skip
    return Network([4, 30, 20, 2], **options)


def compute_pre_activations(net, samples):
    """Return x W^T of each layer, by networks that end with it."""
    found = []
    for depth in range(1, len(net.weight) + 1):
        part = Network(net.size[: depth + 1], activation=list(net.activation[: depth - 1]),
                       loss="mse", dtype=net.dtype, seed=0,
                       input_layers=net.state.architecture.encoders)  # fmt: skip
        arrays = net.state.to_arrays()
        for name, view in part.state.to_arrays().items():
            view[:] = arrays[name]
        part.bias[-1] = np.zeros_like(part.bias[-1])
        found.append(part(samples))
    return found


@pytest.mark.parametrize("encoders", [(), ENCODERS])
@pytest.mark.parametrize("activation", ["parametric_mish", "selu", "relu"])
def test_pre_activations_have_unit_variance(encoders, activation):
    net = make(input_layers=encoders, activation=activation).initialize(X)
    for outputs in compute_pre_activations(net, X):
        np.testing.assert_allclose(outputs.var(0), 1, rtol=1e-9)
    directions = net.weight[1] / np.linalg.norm(net.weight[1], axis=1, keepdims=True)
    assert abs(directions.mean()) < 0.05


def test_biases():
    net = make().initialize(X, bias="mean")
    for outputs, bias in zip(compute_pre_activations(net, X), net.bias, strict=True):
        np.testing.assert_allclose(bias[:, 0], -outputs.mean(0), atol=1e-9)
    net = make().initialize(X, bias="zeros")
    assert not any(bias.any() for bias in net.bias)
    net = make().initialize(X)
    for outputs, bias in zip(compute_pre_activations(net, X), net.bias, strict=True):
        # A convex combination of five values: within their range, and less spread than one.
        assert (-bias[:, 0] <= outputs.max(0)).all()
        assert (-bias[:, 0] >= outputs.min(0)).all()
    wide = Network([4, 5000, 1], loss="mse", dtype="float64", seed=0).initialize(X)
    outputs = compute_pre_activations(wide, X)[0]
    deviations = wide.bias[0][:, 0] + outputs.mean(0)
    # The sum of the squares of five uniform shares has the mean 1 / 3.
    assert deviations.var() == pytest.approx(1 / 3, rel=0.1)


def test_the_seed_determines_the_parameters_on_any_number_of_threads():
    blocks = [
        make(seed=seed, dtype="float32").initialize(X, threads=threads).state.parameters.block
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    ]
    np.testing.assert_array_equal(blocks[0], blocks[1])
    assert not np.allclose(blocks[0], blocks[2])


def test_many_rows_are_sampled():
    rows = RNG.normal(size=(20000, 4))
    net = make().initialize(rows)
    for outputs in compute_pre_activations(net, rows):
        np.testing.assert_allclose(outputs.var(0), 1, rtol=0.1)


def test_constant_columns_sparse_rows_and_bytes():
    net = make().initialize(np.ones((10, 4)))
    assert all(np.isfinite(weight).all() for weight in net.weight)
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_allclose(make().initialize(sparse).weight[2], make().initialize(X).weight[2])
    data = RNG.integers(0, 256, (50, 4)).astype(np.uint8)
    np.testing.assert_allclose(
        make().initialize(data).weight[0], make().initialize(data / 255).weight[0]
    )


@pytest.mark.parametrize(
    ("options", "samples", "bias", "message"),
    [
        ({}, X, "he", "bias must be one of he.5, mean, zeros; got 'he'"),
        ({}, X[:, :3], "mean", "X must have .*4"),
        ({}, X[:0], "mean", "X must have at least one sample"),
        ({}, np.where(X > 4, np.nan, X), "mean", "X must be finite|NaN"),
        ({"normalization": "batch"}, X, "mean", "normalization must be None"),
        ({"dtype": "float32"}, np.full((9, 4), 3e38), "mean", "X must be small enough"),
        ({"input_layers": [layers.OneHot([3], [2])]}, X, "mean", "must have the codes"),
    ],
)
def test_errors_change_nothing(options, samples, bias, message):
    net = make(**options)
    before = net.state.parameters.block.copy()
    with pytest.raises(ValueError, match=message):
        net.initialize(samples, bias=bias)
    np.testing.assert_array_equal(net.state.parameters.block, before)


def test_a_resumed_network_is_not_initialized(tmp_path):
    path = tmp_path / "run.npz"
    net = make()
    net.fit(X / 50, X[:, :2] / 50, epochs=1, callbacks=callbacks.Checkpoint(path))
    with pytest.raises(ValueError, match="must not be initialized"):
        Network.resume(path).initialize(X)
