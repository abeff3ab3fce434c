"""Initializers: variances, orthogonality, numbers and callables as `init`."""

import numpy as np
import oracle
import pytest

from cmlp import Network, activations, initializers


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
@pytest.mark.parametrize("sizes", [(1000, 500), (500, 1000)])
def test_variances(name, sizes):
    net = Network(sizes, init=name, seed=0)
    weight = net.weight[0]
    assert weight.var() == pytest.approx(oracle.INITIALIZER_VARIANCES[name](*sizes), rel=0.02)
    assert abs(weight.mean()) <= 4 * weight.std() / np.sqrt(weight.size)
    assert bool(net.bias[0].any()) == (name == "reference")


@pytest.mark.parametrize("sizes", [(30, 50), (50, 30), (40, 40)])
def test_orthogonal(sizes):
    w = Network(sizes, init="orthogonal", dtype="float64", seed=0).weight[0]
    gram = w @ w.T if sizes[0] >= sizes[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(sizes)), atol=1e-13)


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_auto_takes_the_initializer_of_the_activation(name):
    loss = "cross_entropy" if name == "softmax" else "mse"
    auto, named = (
        Network([20, 10], output=name, loss=loss, init=init, seed=0)
        for init in ("auto", activations.ACTIVATIONS[name].init)
    )
    assert (auto.weight[0] == named.weight[0]).all()


@pytest.mark.parametrize(
    ("name", "variance"), [("relu", 2 / 1000), ("selu", 1 / 1000), ("tanh", 2 / 1500)]
)
def test_auto_of_common_activations(name, variance):
    net = Network([1000, 500, 10], activation=name, seed=0)
    assert net.weight[0].var() == pytest.approx(variance, rel=0.02)


def test_numbers_and_callables(tmp_path):
    assert (Network([3, 4, 2], init=0.5).weight[1] == 0.5).all()

    def counting(rng, inputs, outputs):
        return np.arange(inputs * outputs).reshape(outputs, inputs) + rng.random()

    net = Network([3, 4, 2], init=counting, seed=1)
    np.testing.assert_allclose(np.diff(net.weight[0].ravel()), 1, rtol=1e-6)
    assert (Network([3, 4, 2], init=counting, seed=1).weight[0] == net.weight[0]).all()
    net.save(tmp_path / "net.npz")
    assert (Network.load(tmp_path / "net.npz").weight[0] == net.weight[0]).all()


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        (
            "hee_normal",
            ValueError,
            "init must be one of .*; got 'hee_normal' .did you mean 'he_normal'",
        ),
        (np.nan, ValueError, "init must be finite; got nan"),
        (None, TypeError, "init must be a number; got None"),
        (lambda rng, i, o: np.zeros((i, o)), ValueError, r"init must return .* shape \(4, 3\)"),
        (lambda rng, i, o: np.full((o, i), np.inf), ValueError, "init must return finite weights"),
    ],
)
def test_bad_initializers(init, error, message):
    with pytest.raises(error, match=message):
        Network([3, 4, 2], init=init)
