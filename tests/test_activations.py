"""Activations with parameters, one for each layer; files; bad arguments."""

import numpy as np
import oracle
import pytest

from cmlp import SGD, Network, activations
from cmlp._core import kernels


def test_each_activation_has_a_kernel_an_oracle_and_a_formula():
    assert set(activations.ACTIVATIONS) == set(kernels.ACTIVATIONS)
    assert set(oracle.ACTIVATIONS) == set(kernels.ACTIVATIONS)
    assert set(oracle.DERIVATIVES) == set(kernels.ACTIVATIONS) - {"softmax"}
    for name in kernels.ACTIVATIONS:
        assert f'``"{name}"``' in activations.__doc__


FORMULAS = {
    "leaky_relu": lambda z, k: np.where(z < 0, k * z, z),
    "elu": lambda z, k: np.where(z < 0, k * np.expm1(np.minimum(z, 0)), z),
    "celu": lambda z, k: np.where(z < 0, k * np.expm1(np.minimum(z, 0) / k), z),
}


@pytest.mark.parametrize("name", activations.WITH_PARAMETER)
@pytest.mark.parametrize("parameter", [0.05, 0.7, 1.0, 2.5])
def test_values_and_gradients(isa, rng, name, parameter):
    activation = activations.WITH_PARAMETER[name](parameter)
    net = Network(
        [4, 6, 2], activation=activation, output=activation, loss="mse", dtype="float64", seed=1
    )
    x, y = rng.normal(size=(1, 4)), rng.normal(size=(1, 2))

    def outputs():
        hidden = FORMULAS[name](x @ net.weight[0].T + net.bias[0].T, parameter)
        return FORMULAS[name](hidden @ net.weight[1].T + net.bias[1].T, parameter)

    np.testing.assert_allclose(net(x), outputs(), rtol=1e-13)
    nabla_w, _, _ = net.backprop(x[0], y[0])
    for array, nabla in zip(net.weight, nabla_w, strict=True):
        for index in np.ndindex(*array.shape):
            value, losses = array[index], []
            for step in (1e-6, -1e-6):
                array[index] = value + step
                losses.append(((outputs() - y) ** 2).mean())
            array[index] = value
            assert nabla[index] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)


def test_one_for_each_layer(tmp_path, rng):
    layers = [activations.elu(0.5), "relu", activations.leaky_relu(0.2)]
    net = Network([4, 5, 6, 7, 2], activation=layers, loss="mse", seed=0)
    assert net.activation == ("elu", "relu", "leaky_relu")
    assert "activation=[['elu', 0.5], 'relu', ['leaky_relu', 0.2]]" in repr(net)
    X = rng.normal(size=(9, 4))
    net.fit(X, rng.normal(size=(9, 2)), epochs=2, optimizer=SGD(0.01))
    net.save(tmp_path / "net.npz")
    for other in (Network.load(tmp_path / "net.npz"), net.copy()):
        assert (other(X) == net(X)).all()
        assert repr(other) == repr(net)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: activations.leaky_relu(-0.1), ValueError, "slope must be finite and not negative"),
        (lambda: activations.elu(0), ValueError, "alpha must be positive and finite; got 0"),
        (lambda: activations.celu("a"), TypeError, "alpha must be a number; got 'a'"),
        (
            lambda: Network([2, 2, 2], activation=[["relu", 2]]),
            ValueError,
            "activation must be one of .*; got 'relu'",
        ),
        (lambda: Network([2, 2, 2], activation=3), TypeError, "activation must be a name; got 3"),
        (
            lambda: Network([2, 2], output=["mish", 2]),
            ValueError,
            "output must be one of .*; got 'mish'",
        ),
    ],
)
def test_bad_activations(make, error, message):
    with pytest.raises(error, match=message):
        make()
