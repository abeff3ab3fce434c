"""Optimizers against their formulas in the oracle, whatever the data, dtype and threads."""

import numpy as np
import oracle
import pytest

from cmlp import SGD, Adam, Network, spec

CASES = [SGD(0.1), Adam(), Adam(lr=0.02, betas=(0.8, 0.99), eps=1e-4), Adam(betas=(0.0, 0.0))]


def test_each_optimizer_has_a_case():
    assert {type(case) for case in CASES} == set(spec.OPTIMIZERS.values())
    assert set(oracle.OPTIMIZERS) == set(spec.OPTIMIZERS)


@pytest.mark.parametrize("optimizer", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_forty_steps_equal_the_oracle(isa, rng, optimizer, dtype, batch_size):
    X, y = rng.normal(size=(40, 9)), rng.random((40, 3))
    net = Network([9, 21, 3], activation="tanh", loss="quadratic", dtype=dtype, seed=3)
    weights = [np.array(w, float) for w in net.weight]
    biases = [np.array(b, float) for b in net.bias]
    step = oracle.OPTIMIZERS[optimizer.name](*weights, *biases, **vars(optimizer))
    epochs = max(1, 40 * batch_size // 40)
    for _ in range(epochs):
        for start in range(0, 40, batch_size):
            part = slice(start, start + batch_size)
            names = [*net.activation, net.output]
            _, nabla_w, nabla_b = oracle.gradient(
                weights, biases, names, "quadratic", X[part], y[part]
            )
            step(*nabla_w, *nabla_b)
    net.fit(X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, shuffle=False)
    # Where a gradient is near zero, Adam's step is a quotient of roundings in float32.
    tolerance = {"float32": 2e-4 if optimizer.name == "sgd" else 2e-2, "float64": 1e-9}[dtype]
    for got, expected in zip([*net.weight, *net.bias], [*weights, *biases], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch_size", [3, 300])
def test_any_number_of_threads_gives_the_same_bits(rng, batch_size):
    X, y = rng.random((300, 784), dtype=np.float32), rng.integers(0, 10, 300)
    nets = [Network([784, 1024, 10], activation="relu", seed=0) for _ in range(4)]
    for threads, net in enumerate(nets, 1):
        net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=Adam(), threads=threads)
    for net in nets[1:]:
        assert all((a == b).all() for a, b in zip(net.weight, nets[0].weight, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 0}, ValueError, "lr must be positive and finite"),
        ({"lr": "fast"}, TypeError, "lr must be a number, got 'fast'"),
        ({"betas": 0.9}, TypeError, "betas must be two numbers, got 0.9"),
        ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must be at least 0 and below 1, got 1.0"),
        ({"betas": (-0.1, 0.9)}, ValueError, r"betas\[0\] must be at least 0"),
        ({"betas": (0.9, None)}, TypeError, r"betas\[1\] must be a number, got None"),
        ({"betas": (np.nan, 0.9)}, ValueError, r"betas\[0\] must be at least 0"),
        ({"eps": 0.0}, ValueError, "eps must be positive and finite"),
    ],
)
def test_bad_hyperparameters(arguments, error, message):
    with pytest.raises(error, match=message):
        Adam(**arguments)
