"""Options of all optimizers: decay, penalty, clipping, accumulation, averages."""

import numpy as np
import oracle
import pytest
from conftest import assert_same_state, read_data

from cmlp import SGD, Adam, AdamW, Lion, Network, RMSprop
from cmlp._training.arguments import FitOptions, prepare_training
from cmlp.callbacks import Callback

SIZES = [9, 21, 3]
NAMES = ["tanh", "sigmoid"]


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 9)), rng.random((40, 3))


def network(dtype="float64"):
    return Network(SIZES, activation="tanh", loss="quadratic", dtype=dtype, seed=3)


def steps(net, X, y, batch_size, epochs):
    """Yield the parameters and gradients of each step; the caller updates the parameters."""
    parameters = [np.array(a, float) for a in (*net.weight, *net.bias)]
    for _ in range(epochs):
        for start in range(0, len(X), batch_size):
            batch = slice(start, start + batch_size)
            _, nabla_w, nabla_b = oracle.gradient(
                parameters[:2], parameters[2:], NAMES, "quadratic", X[batch], y[batch]
            )
            yield parameters, [*nabla_w, *nabla_b]


def check(net, parameters):
    for got, want in zip([*net.weight, *net.bias], parameters, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
@pytest.mark.parametrize("decay_bias", [True, False])
def test_decay(isa, data, batch_size, decay_bias):
    optimizer = SGD(0.1, weight_decay=0.02, l1=0.01, decay_bias=decay_bias)
    net = network()
    for parameters, nablas in steps(net, *data, batch_size, 2):
        for i, (p, g) in enumerate(zip(parameters, nablas, strict=True)):
            decays = i < 2 or decay_bias
            p -= 0.1 * (g + decays * (0.02 * p + 0.01 * np.sign(p)))
    net.fit(*data, epochs=2, batch_size=batch_size, optimizer=optimizer, shuffle=False)
    check(net, parameters)


@pytest.mark.parametrize("optimizer", [AdamW(0.01, decay_bias=False),
                                       AdamW(0.01, amsgrad=True, decay_bias=False),
                                       Lion(1e-3, weight_decay=0.5, decay_bias=False)],
                         ids=lambda o: o.kernel)  # fmt: skip
def test_decoupled_decay_excludes_biases(data, optimizer):
    name = type(optimizer).__name__.lower()
    arguments = {n: v for n, v in vars(optimizer).items() if n in (
        "lr", "betas", "eps", "weight_decay", "amsgrad")}  # fmt: skip
    decays = [optimizer.weight_decay] * 2 + [0] * 2
    net = network()
    updates = None
    for parameters, nablas in steps(net, *data, 8, 2):
        if updates is None:
            updates = [oracle.OPTIMIZERS[name](p, **{**arguments, "weight_decay": decay})
                       for p, decay in zip(parameters, decays, strict=True)]  # fmt: skip
        for update, g in zip(updates, nablas, strict=True):
            update(g)
    net.fit(*data, epochs=2, batch_size=8, optimizer=optimizer, shuffle=False)
    check(net, parameters)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_penalty_is_divided_by_the_weight_of_a_batch(isa, data, batch_size, threads):
    X, y = data
    weight, net, total = np.arange(40) % 3 + 0.5, network(), 0.0
    parameters = [np.array(a, float) for a in (*net.weight, *net.bias)]
    for start in range(0, 40, batch_size):
        batch = slice(start, start + batch_size)
        count = weight[batch].sum()
        loss, gradients = 0, [0] * 4
        for i in range(start, min(start + batch_size, 40)):
            value, nabla_w, nabla_b = oracle.gradient(
                parameters[:2], parameters[2:], NAMES, "quadratic", X[i : i + 1], y[i : i + 1]
            )
            loss += weight[i] * value / count
            nablas = [*nabla_w, *nabla_b]
            gradients = [g + weight[i] / count * n for g, n in zip(gradients, nablas, strict=True)]
        loss += 0.3 / 2 / count * sum((w**2).sum() for w in parameters[:2])
        total += loss * len(X[batch])
        for l, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            p -= 0.1 * (g + (l < 2) * 0.3 / count * p)
    history = net.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False, threads=threads,
                      optimizer=SGD(0.1, penalty=0.3), sample_weight=weight)  # fmt: skip
    check(net, parameters)
    assert history["loss"] == [pytest.approx(total / 40, rel=1e-12)]


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_clipping_by_norm(isa, data, batch_size):
    net, clipped = network(), 0
    for parameters, nablas in steps(net, *data, batch_size, 2):
        norm = np.sqrt(sum((g**2).sum() for g in nablas))
        clipped += norm > 0.05
        for p, g in zip(parameters, nablas, strict=True):
            p -= 0.5 * (g * min(1, 0.05 / norm) + 0.01 * p)
    assert clipped > 0
    net.fit(*data, epochs=2, batch_size=batch_size, shuffle=False,
            optimizer=SGD(0.5, clip_norm=0.05, weight_decay=0.01))  # fmt: skip
    check(net, parameters)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_norm_includes_the_scales_of_normalized_layers(isa, data, normalization, threads):
    net = Network(SIZES, activation="tanh", loss="quadratic", normalization=normalization,
                  dtype="float64", seed=3)  # fmt: skip
    net.weight[1][:] *= 10
    gradient = net.state.parameters.make_zeros()
    net.state.program.gradient(*read_data(net, *data), gradient.block, 1)
    parts = {name: [view for tensor, view in gradient.views.items() if tensor.name == name]
             for name in ("weight", "bias", "scale")}  # fmt: skip
    squares = {name: sum((view**2).sum() for view in views) for name, views in parts.items()}
    assert squares["scale"] > 0.01 * sum(squares.values())
    before = net.state.parameters.block.copy()
    net.fit(*data, epochs=1, batch_size=40, shuffle=False, threads=threads,
            optimizer=SGD(1.0, clip_norm=1e-3))  # fmt: skip
    change = before - net.state.parameters.block
    want = gradient.block * (1e-3 / np.sqrt(sum(squares.values())))
    np.testing.assert_allclose(change, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_clipping_by_value(isa, data, batch_size):
    net = network()
    for parameters, nablas in steps(net, *data, batch_size, 2):
        for p, g in zip(parameters, nablas, strict=True):
            p -= 0.5 * np.clip(g, -0.02, 0.02)
    net.fit(*data, epochs=2, batch_size=batch_size, shuffle=False,
            optimizer=SGD(0.5, clip_value=0.02))  # fmt: skip
    check(net, parameters)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("accumulate", [2, 4, 100])
def test_accumulation(isa, data, batch_size, accumulate):
    # Every batch of a group has equal weight; the last group of an epoch may be smaller.
    net = network()
    parameters = [np.array(a, float) for a in (*net.weight, *net.bias)]
    starts = range(0, 40, batch_size)
    for _ in range(2):
        for first in range(0, len(starts), accumulate):
            group = starts[first : first + accumulate]
            total = [0, 0, 0, 0]
            for start in group:
                batch = slice(start, start + batch_size)
                _, nabla_w, nabla_b = oracle.gradient(
                    parameters[:2], parameters[2:], NAMES, "quadratic", data[0][batch],
                    data[1][batch],
                )  # fmt: skip
                total = [a + b for a, b in zip(total, [*nabla_w, *nabla_b], strict=True)]
            for p, g in zip(parameters, total, strict=True):
                p -= 0.2 * g / len(group)
    net.fit(*data, epochs=2, batch_size=batch_size, shuffle=False,
            optimizer=SGD(0.2, accumulate=accumulate))  # fmt: skip
    check(net, parameters)


@pytest.mark.parametrize("optimizer", [SGD(0.2, average=0.9), SGD(0.2, momentum=0.5, average=0.9)],
                         ids=["sgd", "momentum"])  # fmt: skip
@pytest.mark.parametrize("batch_size", [1, 8])
def test_averages(isa, data, optimizer, batch_size):
    net, raw = network(), network()
    means, seen = None, []
    velocity = [0, 0, 0, 0]
    for parameters, nablas in steps(net, *data, batch_size, 3):
        if means is None:
            means = [p.copy() for p in parameters]
        for i, (p, g, mean) in enumerate(zip(parameters, nablas, means, strict=True)):
            velocity[i] = optimizer.momentum * velocity[i] + g
            p -= 0.2 * velocity[i]
            mean += 0.1 * (p - mean)
    plain = SGD(0.2, momentum=optimizer.momentum)
    raw.fit(*data, epochs=3, batch_size=batch_size, optimizer=plain, shuffle=False)
    check(raw, parameters)
    history = net.fit(
        *data, epochs=3, batch_size=batch_size, optimizer=optimizer, shuffle=False,
        validation_data=data, callbacks=lambda net, *_: seen.append(net.weight[0].copy()),
    )  # fmt: skip
    check(net, means)
    assert (seen[-1] == net.weight[0]).all()
    assert history["val_r2"][-1] == net.score(*data)


@pytest.mark.parametrize("source", ["validation", "callback", "schedule"])
def test_an_exception_while_averages_are_in_use(data, source):
    # The network has the trained parameters afterwards, and the optimizer state the averages.
    class Failing(Callback):
        def on_epoch_end(self, network, epoch, record):
            raise ArithmeticError

    class Schedule:
        def factors(self, steps, epoch, steps_per_epoch, epochs):
            return np.ones(len(steps))

        def observe(self, record):
            raise ArithmeticError

    net, raw = network(), network()
    raw.fit(*data, epochs=1, batch_size=8, optimizer=SGD(0.2), shuffle=False)
    optimizer = SGD(0.2, average=0.9)
    run = prepare_training(net, *data, FitOptions(epochs=3, batch_size=8, optimizer=optimizer,
                                                  shuffle=False))  # fmt: skip
    if source == "validation":
        run.validate = lambda: 1 / 0
    elif source == "callback":
        run.callbacks.append(Failing())
    else:
        run.schedule = Schedule()
    with pytest.raises(ArithmeticError):
        run.run()
    np.testing.assert_allclose(net.weight[0], raw.weight[0], rtol=0, atol=1e-14)
    averages = run.optimizer_state.blocks["average"]
    assert (averages != net.state.parameters.block).any()
    assert not run.optimizer_state.is_averaged


@pytest.mark.parametrize("batch_size", [3, 300])
def test_any_number_of_threads_gives_the_same_bits(rng, batch_size):
    X, y = rng.random((300, 784), dtype=np.float32), rng.integers(0, 10, 300)
    nets = [Network([784, 1024, 10], activation="relu", seed=0) for _ in range(4)]
    optimizer = RMSprop(0.01, clip_norm=0.01, average=0.9, l1=1e-4, accumulate=2)
    for threads, net in enumerate(nets, 1):
        net.fit(X, y, epochs=1, batch_size=batch_size, optimizer=optimizer, threads=threads)
        assert all((a == b).all() for a, b in zip(net.weight, nets[0].weight, strict=True))


def test_a_schedule_and_batch_callbacks_combine_with_all_options(data):
    options = {"epochs": 2, "batch_size": 3, "shuffle": False,
               "schedule": lambda step, _: 1 / (1 + step),
               "optimizer": Adam(0.05, accumulate=3, clip_norm=0.1, average=0.8)}  # fmt: skip
    steps = []

    class Batches(Callback):
        def on_batch_end(self, network, epoch, step, loss):
            steps.append((epoch, step))

    called, plain = network(), network()
    called.fit(*data, callbacks=Batches(), **options)
    plain.fit(*data, **options)
    assert steps == [(epoch, step) for epoch in range(2) for step in range(14)]
    assert_same_state(called, plain)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(l1=-1), ValueError, "l1 must be finite and not negative; got -1"),
        (lambda: SGD(clip_norm=0), ValueError, "clip_norm must be positive and finite; got 0"),
        (lambda: Adam(clip_value=np.inf), ValueError, "clip_value must be positive and finite"),
        (lambda: Adam(accumulate=0), ValueError, "accumulate must be at least 1; got 0"),
        (lambda: Adam(accumulate=1.5), TypeError, "accumulate must be a whole number; got 1.5"),
        (lambda: Adam(average=1), ValueError, "average must be at least 0 and below 1; got 1"),
        (lambda: SGD(penalty=-1), ValueError, "penalty must be finite and not negative; got -1"),
        (lambda: Adam(penalty=1, weight_decay=1), ValueError, "must not be given together"),
        (lambda: Adam(decay_bias=None), TypeError, "decay_bias must be True or False; got None"),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()
