"""Schedules: their factors, PyTorch's where it is installed, and the rates of the engine."""

import math

import numpy as np
import pytest

from cmlp import SGD, Adam, Network, schedules

PER_EPOCH, EPOCHS = 7, 12
ALL = [
    schedules.Constant(),
    schedules.Step(3, 0.5),
    schedules.Exponential(0.9),
    schedules.InverseScaling(),
    schedules.Polynomial(2.0, 0.1, 1.5),
    schedules.Cosine(0.05, 2, 1),
    schedules.CosineLog(),
    schedules.FlatCosine(0.3),
    schedules.OneCycle(),
    schedules.ReduceOnPlateau("loss"),
]
CONSTANT_WITHOUT_RECORDS = {schedules.Constant, schedules.ReduceOnPlateau}


def factors(schedule):
    """Return the factors of all steps of a call of `fit`."""
    running = schedules.start_schedule(schedule)
    return np.concatenate([
        running.factors(
            np.arange(e * PER_EPOCH, (e + 1) * PER_EPOCH, dtype=float), e, PER_EPOCH, EPOCHS
        )
        for e in range(EPOCHS)
    ])  # fmt: skip


def test_each_schedule_has_a_case():
    kinds = {k for k in vars(schedules).values() if isinstance(k, type)
             and issubclass(k, schedules.Schedule) and k is not schedules.Schedule}  # fmt: skip
    assert {type(case) for case in ALL} == kinds


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_factors_are_between_0_and_1(schedule):
    found = factors(schedule)
    assert found.shape == (PER_EPOCH * EPOCHS,)
    assert (np.isfinite(found) & (found >= 0) & (found <= 1)).all()
    assert (len(set(found)) > 1) == (type(schedule) not in CONSTANT_WITHOUT_RECORDS)


def test_steps_and_powers():
    steps = np.arange(PER_EPOCH * EPOCHS)
    epochs = steps // PER_EPOCH
    np.testing.assert_allclose(factors(schedules.Constant(0.3)), 0.3)
    np.testing.assert_allclose(factors(schedules.Step(5, 0.2)), 0.2 ** (epochs // 5))
    np.testing.assert_allclose(factors(schedules.Exponential(0.8)), 0.8**epochs)
    np.testing.assert_allclose(factors(schedules.InverseScaling(0.7)), (steps + 1.0) ** -0.7)
    line = factors(schedules.Polynomial(1.0, 0.2))
    np.testing.assert_allclose(line, 1 - 0.8 * steps / len(steps))
    np.testing.assert_allclose(
        factors(schedules.Polynomial(3.0)), (1 - steps / len(steps)) ** 3, atol=1e-12
    )


def test_cosine_warms_up_and_restarts():
    found = factors(schedules.Cosine(0.1, warmup=2))
    np.testing.assert_allclose(found[:14], (np.arange(14) + 1) / 14)
    np.testing.assert_allclose(
        found[14:], [0.1 + 0.45 * (1 + math.cos(math.pi * i / 70)) for i in range(70)]
    )
    twice = factors(schedules.Cosine(restarts=1))
    np.testing.assert_allclose(twice[:42], twice[42:])
    assert twice[0] == 1
    assert twice[41] < 0.01


def test_equal_to_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    lr = torch.optim.lr_scheduler
    total = PER_EPOCH * EPOCHS
    cases = [
        (schedules.Step(3, 0.5), lambda o: lr.StepLR(o, 3, 0.5), PER_EPOCH),
        (schedules.Exponential(0.9), lambda o: lr.ExponentialLR(o, 0.9), PER_EPOCH),
        (schedules.Polynomial(2.0), lambda o: lr.PolynomialLR(o, total, 2.0), 1),
        (schedules.Cosine(), lambda o: lr.CosineAnnealingLR(o, total), 1),
        (schedules.OneCycle(), lambda o: lr.OneCycleLR(o, 1.0, total, cycle_momentum=False), 1),
    ]
    for ours, make, each in cases:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        theirs, want = make(optimizer), []
        for step in range(total):
            want.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if (step + 1) % each == 0:
                theirs.step()
        np.testing.assert_allclose(factors(ours), want, atol=1e-9, err_msg=str(ours))


def test_reduce_on_plateau():
    running = schedules.ReduceOnPlateau(patience=1, factor=0.5, cooldown=1, least=0.2).begin()
    seen = []
    for loss in [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]:
        running.observe({"val_loss": loss})
        seen.append(running.factors(np.zeros(1), 0, 1, 1)[0])
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]
    rising = schedules.ReduceOnPlateau("val_accuracy", patience=0).begin()
    for accuracy, want in ((0.5, 1), (0.6, 1), (0.6, 0.1)):
        rising.observe({"val_accuracy": accuracy})
        assert rising.factor == pytest.approx(want)
    with pytest.raises(ValueError, match=r"monitor must be in the history, .*; got 'val_loss'"):
        schedules.ReduceOnPlateau().begin().observe({"loss": 1.0})


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_engine_uses_the_rate_of_each_step(rng, optimizer, batch_size, sparse):
    X, y = rng.normal(size=(20, 5)), rng.integers(0, 3, 20)
    calls = []

    def schedule(step, epoch):
        calls.append((step, epoch))
        return 1 / (1 + step) if step % 3 else 0.0

    net, by_hand = (Network([5, 8, 3], loss="cross_entropy", dtype="float64", seed=0)
                    for _ in range(2))  # fmt: skip
    history = net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=optimizer, shuffle=False,
                      schedule=schedule, sparse=sparse)  # fmt: skip
    steps = -(-20 // batch_size)
    assert calls == [(step, step // steps) for step in range(2 * steps)]
    last = 2 * steps - 1
    assert history["lr"][1] == pytest.approx(
        optimizer.lr * (1 / (1 + last) if last % 3 else 0), abs=1e-15
    )
    if isinstance(optimizer, SGD):
        for step in range(2 * steps):
            batch = slice(step % steps * batch_size, (step % steps + 1) * batch_size)
            if step % 3:
                by_hand.fit(X[batch], y[batch], epochs=1, batch_size=20, shuffle=False,
                            optimizer=SGD(0.1 / (1 + step)))  # fmt: skip
        for got, want in zip(net.weight, by_hand.weight, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.Step(0), ValueError, "every must be at least 1; got 0"),
        (lambda: schedules.Step(2.5), TypeError, "every must be a whole number; got 2.5"),
        (lambda: schedules.Exponential(-1), ValueError, "factor must be positive and finite"),
        (lambda: schedules.Cosine(end=2), ValueError, "end must be from 0 to 1; got 2"),
        (lambda: schedules.Cosine(restarts=-1), ValueError, "restarts must be at least 0; got -1"),
        (lambda: schedules.Polynomial(power=np.nan), ValueError, "power must be finite and not"),
        (lambda: schedules.OneCycle(rise="x"), TypeError, "rise must be a number; got 'x'"),
        (lambda: schedules.ReduceOnPlateau(3), TypeError, "monitor must be a name of the history"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("cosin", ValueError, r"schedule must be one of .* \(did you mean 'cosine'\?\)"),
        (3, TypeError, "schedule must be one of cmlp.schedules or a callable"),
        (schedules.Cosine, TypeError, "schedule must be one of cmlp.schedules or a callable"),
        (lambda step, epoch: -1.0, ValueError, "schedule must return a factor that is finite"),
        (lambda step, epoch: np.nan, ValueError, "schedule must return a factor that is finite"),
    ],
)
def test_bad_schedules_leave_the_network_as_it_was(schedule, error, message):
    net = Network([3, 2], seed=0)
    before = net.weight[0].copy()
    with pytest.raises(error, match=message):
        net.fit(np.ones((4, 3)), [0, 1, 0, 1], schedule=schedule)
    assert (net.weight[0] == before).all()
