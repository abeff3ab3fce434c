"""Initializers: their statistics and what else `init` may be."""

import numpy as np
import pytest

from cmlp import Network, initializers

VARIANCES = {
    "glorot_uniform": 2 / 1500,
    "glorot_normal": 2 / 1500,
    "he_uniform": 2 / 1000,
    "he_normal": 2 / 1000,
    "lecun_uniform": 1 / 1000,
    "lecun_normal": 1 / 1000,
    "orthogonal": 1 / 1000,
    "reference": 1,
    "zeros": 0,
}


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_variances(name):
    net = Network([1000, 500], init=name, seed=0)
    assert net.weight[0].var() == pytest.approx(VARIANCES[name], rel=0.02)
    assert bool(net.bias[0].any()) == (name == "reference")


@pytest.mark.parametrize("sizes", [(30, 50), (50, 30), (40, 40)])
def test_orthogonal(sizes):
    w = Network(sizes, init="orthogonal", dtype="float64", seed=0).weight[0]
    gram = w @ w.T if sizes[0] >= sizes[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(sizes)), atol=1e-13)


def test_auto_goes_by_the_activation():
    net = Network([1000, 500, 10], activation="relu", seed=0)
    assert net.weight[0].var() == pytest.approx(2 / 1000, rel=0.02)


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
        ("hee_normal", ValueError, "init='hee_normal' is unknown .did you mean 'he_normal'"),
        (np.nan, ValueError, "init must be finite, got nan"),
        (None, TypeError, "init must be a number, got None"),
        (lambda rng, i, o: np.zeros((i, o)), ValueError, r"init must return .* shape \(4, 3\)"),
        (lambda rng, i, o: np.full((o, i), np.inf), ValueError, "init must return finite weights"),
    ],
)
def test_bad_initializers(init, error, message):
    with pytest.raises(error, match=message):
        Network([3, 4, 2], init=init)
