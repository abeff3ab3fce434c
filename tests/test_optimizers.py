"""Optimizers against their formulas in the oracle and PyTorch, for every dtype and ISA."""

import dataclasses

import numpy as np
import oracle
import pytest

from cmlp import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Network,
    RMSprop,
    TrainingDiverged,
    optimizers,
)
from cmlp._core import kernels

# PyTorch has no optimizer of this name.
OF_NO_PEER = {"lion"}

CASES = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.8, dampening=0.3),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    SGD(0.1, weight_decay=0.1),
    Adam(),
    Adam(lr=0.02, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1),
    Adam(betas=(0.0, 0.0)),
    Adam(lr=0.01, amsgrad=True),
    AdamW(lr=0.01, weight_decay=0.2),
    AdamW(lr=0.01, amsgrad=True),
    NAdam(lr=0.01, weight_decay=0.01),
    NAdam(momentum_decay=0.5),
    RMSprop(),
    RMSprop(momentum=0.9, weight_decay=0.01),
    RMSprop(centered=True, momentum=0.5, alpha=0.9, eps=1e-3),
    Adagrad(),
    Adagrad(lr=0.05, lr_decay=0.1, initial_accumulator_value=0.1, weight_decay=0.01, eps=1e-6),
    Adadelta(),
    Adadelta(lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.01),
    Lion(lr=1e-3),
    Lion(lr=1e-3, betas=(0.8, 0.9), weight_decay=0.5),
]


def name_of(optimizer):
    return type(optimizer).__name__.lower()


COMMON = {field.name for field in dataclasses.fields(optimizers.Optimizer)} - {"lr"}


def own_arguments(optimizer):
    """Return the arguments that PyTorch's optimizer of the same name has, too."""
    return {name: value for name, value in vars(optimizer).items() if name not in COMMON}


def test_each_optimizer_has_a_case_an_oracle_and_a_kernel():
    assert {type(case) for case in CASES} == set(optimizers.OPTIMIZERS.values())
    assert set(oracle.OPTIMIZERS) == set(optimizers.OPTIMIZERS)
    kernels_of_cases = {case.kernel for case in CASES} - {"sgd"}
    # Training on shards uses "descent" for plain gradient descent.
    assert kernels_of_cases | {"descent"} == set(kernels.OPTIMIZERS)


def trained(optimizer, X, y, batch_size, epochs, dtype):
    """Return a network after some epochs in order, and its weights and biases before."""
    net = Network([9, 21, 3], activation="tanh", loss="quadratic", dtype=dtype, seed=3)
    before = [np.array(a, float) for a in (*net.weight, *net.bias)]
    net.fit(X, y, epochs=epochs, batch_size=batch_size, optimizer=optimizer, shuffle=False)
    return net, before


@pytest.mark.parametrize("optimizer", CASES, ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_forty_steps_equal_the_oracle(isa, rng, optimizer, batch_size):
    X, y = rng.normal(size=(40, 9)), rng.random((40, 3))
    epochs = batch_size if batch_size == 40 else 1 + batch_size // 2
    net, parameters = trained(optimizer, X, y, batch_size, epochs, "float64")
    step = oracle.OPTIMIZERS[name_of(optimizer)](*parameters, **own_arguments(optimizer))
    for _ in range(epochs):
        for start in range(0, 40, batch_size):
            batch = slice(start, start + batch_size)
            _, nabla_w, nabla_b = oracle.gradient(
                parameters[:2], parameters[2:], [*net.activation, net.output], "quadratic",
                X[batch], y[batch],
            )  # fmt: skip
            step(*nabla_w, *nabla_b)
    for got, expected in zip([*net.weight, *net.bias], parameters, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("optimizer", CASES, ids=str)
def test_float32_follows_float64(isa, rng, optimizer):
    X, y = rng.normal(size=(40, 9)), rng.random((40, 3))
    wide, before = trained(optimizer, X, y, 10, 1, "float64")
    narrow, _ = trained(optimizer, X, y, 10, 1, "float32")
    for a, b, start in zip([*narrow.weight, *narrow.bias], [*wide.weight, *wide.bias], before,
                           strict=True):  # fmt: skip
        # The sign of a gradient near zero depends on rounding, and so does a step of fixed size.
        assert np.abs(a - b).mean() < 0.02 * np.abs(b - start).mean() + 1e-6


@pytest.mark.parametrize("optimizer", [c for c in CASES if name_of(c) not in OF_NO_PEER], ids=str)
def test_forty_steps_equal_pytorch(rng, optimizer):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = rng.normal(size=(40, 9)), rng.random((40, 3))
    net, before = trained(optimizer, X, y, 40, 40, "float64")
    tensors = [torch.tensor(p, requires_grad=True) for p in before]
    theirs = getattr(torch.optim, type(optimizer).__name__)(tensors, **own_arguments(optimizer))
    for _ in range(40):
        theirs.zero_grad()
        hidden = torch.tanh(torch.tensor(X) @ tensors[0].T + tensors[2].T)
        out = torch.sigmoid(hidden @ tensors[1].T + tensors[3].T)
        ((out - torch.tensor(y)) ** 2).sum(1).mean().mul(0.5).backward()
        theirs.step()
    for got, expected in zip([*net.weight, *net.bias], tensors, strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("batch_size", [3, 300])
@pytest.mark.parametrize("optimizer", [Adam(), RMSprop(centered=True), NAdam()], ids=str)
def test_any_number_of_threads_gives_the_same_bits(rng, optimizer, batch_size):
    X, y = rng.random((300, 784), dtype=np.float32), rng.integers(0, 10, 300)
    nets = [Network([784, 1024, 10], activation="relu", seed=0) for _ in range(4)]
    for threads, net in enumerate(nets, 1):
        net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=optimizer, threads=threads)
    for net in nets[1:]:
        assert all((a == b).all() for a, b in zip(net.weight, nets[0].weight, strict=True))


@pytest.mark.parametrize("optimizer", CASES, ids=str)
def test_padding_stays_zero(rng, optimizer):
    net, _ = trained(optimizer, rng.normal(size=(40, 9)), rng.random((40, 3)), 8, 2, "float32")
    parameters = net.state.parameters.make_zeros()
    assert parameters.block.size > sum(view.size for view in parameters.views.values())
    parameters.block[:] = net.state.parameters.block
    for view in parameters.views.values():
        assert view.any()
        view[:] = 0
    assert not parameters.block.any()


def test_divergence_is_named():
    X = np.full((8, 3), 1e3)
    net = Network([3, 4, 1], activation="relu", loss="mse", seed=0)
    with pytest.raises(TrainingDiverged, match="not finite in epoch"):
        net.fit(X, np.ones(8), epochs=200, batch_size=2, optimizer=SGD(1e3, momentum=0.9))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0), ValueError, "lr must be positive and finite; got 0"),
        (lambda: SGD(momentum=-1), ValueError, "momentum must be finite and not negative; got -1"),
        (lambda: SGD(momentum=np.inf), ValueError, "momentum must be finite and not negative"),
        (lambda: SGD(nesterov=1), TypeError, "nesterov must be True or False; got 1"),
        (
            lambda: SGD(nesterov=True),
            ValueError,
            "nesterov must be False unless momentum is above 0",
        ),
        (lambda: SGD(0.1, 0.9, 0.1, True), ValueError, "unless momentum .* dampening is 0"),
        (lambda: SGD(weight_decay="much"), TypeError, "weight_decay must be a number; got 'much'"),
        (lambda: Adam(lr="fast"), TypeError, "lr must be a number; got 'fast'"),
        (lambda: Adam(betas=0.9), TypeError, "betas must be two numbers; got 0.9"),
        (lambda: Adam(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be at least 0 and below 1"),
        (lambda: Adam(betas=(0.9, None)), TypeError, r"betas\[1\] must be a number; got None"),
        (lambda: Adam(betas=(np.nan, 0.9)), ValueError, r"betas\[0\] must be at least 0"),
        (lambda: Adam(eps=0.0), ValueError, "eps must be positive and finite; got 0.0"),
        (lambda: Adam(amsgrad=None), TypeError, "amsgrad must be True or False; got None"),
        (lambda: NAdam(momentum_decay=-0.1), ValueError, "momentum_decay must be finite and not"),
        (lambda: RMSprop(alpha=1), ValueError, "alpha must be at least 0 and below 1; got 1"),
        (lambda: RMSprop(centered="yes"), TypeError, "centered must be True or False; got 'yes'"),
        (lambda: Adagrad(lr_decay=np.nan), ValueError, "lr_decay must be finite and not negative"),
        (lambda: Adadelta(rho=-0.1), ValueError, "rho must be at least 0 and below 1; got -0.1"),
        (lambda: Lion(betas=(0.9,)), TypeError, "betas must be two numbers"),
    ],
)
def test_bad_hyperparameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


WITH_EPS = [Adam, AdamW, NAdam, RMSprop, Adagrad, Adadelta]


@pytest.mark.parametrize("kind", WITH_EPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_eps_that_vanishes_in_the_dtype_is_refused(kind, dtype):
    net = Network([3, 4, 2], dtype=dtype, seed=0)
    before = net.state.snapshot()[0]
    too_small = float(np.finfo(dtype).tiny) / 2
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match=rf"eps must be from .*, the range of {dtype}; got"):
            train(np.ones((4, 3)), np.zeros(4), optimizer=kind(eps=too_small))
    assert (net.state.parameters.block == before).all()
    assert net.state.optimizer is None


@pytest.mark.parametrize(
    "optimizer", [*(kind(eps=2.3e-308, weight_decay=0) for kind in WITH_EPS),
     Adam(eps=2.3e-308, amsgrad=True)],
    ids=lambda o: o.kernel,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_least_eps_with_gradients_of_zero(isa, optimizer, dtype):
    # The first layer's weights have no gradient, as X is 0.
    if dtype == "float32":
        optimizer = dataclasses.replace(optimizer, eps=1.2e-38)
    net = Network([3, 4, 2], dtype=dtype, seed=0)
    before = np.array(net.weight[0])
    net.fit(np.zeros((4, 3)), np.zeros(4), optimizer=optimizer, epochs=2)
    assert (net.weight[0] == before).all()
    assert (net.bias[0] != 0).all()


def test_a_clip_value_that_vanishes_in_the_dtype_is_refused():
    # It would become 0, which means no limit.
    data, optimizer = (np.ones((4, 3)), np.zeros(4)), SGD(0.1, clip_value=1e-50)
    with pytest.raises(ValueError, match=r"clip_value must be from 1.18e-38 to 3.4e\+38, the"):
        Network([3, 2], seed=0).fit(*data, optimizer=optimizer)
    Network([3, 2], dtype="float64", seed=0).fit(*data, optimizer=optimizer)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_lion_only_decays_where_gradients_are_zero(isa, decay):
    net = Network([3, 4, 2], dtype="float64", seed=0)
    before = np.array(net.weight[0])
    net.fit(np.zeros((4, 3)), np.zeros(4), optimizer=Lion(0.1, weight_decay=decay), epochs=3)
    np.testing.assert_allclose(net.weight[0], before * (1 - 0.1 * decay) ** 3, rtol=1e-14)
    assert (net.bias[0] != 0).all()
