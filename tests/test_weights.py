"""Weights of samples and classes: an integer weight equals that number of copies."""

import numpy as np
import pytest

from cmlp import SGD, Network
from cmlp._core.training import shuffle

SIZES = [6, 9, 3]


def trained(X, y, *, sizes=SIZES, loss="cross_entropy", epochs=3, batch_size=1000, **options):
    """Return the parameters after some full-batch epochs, and the losses."""
    net = Network(sizes, activation="tanh", loss=loss, dtype="float64", seed=1)
    history = net.fit(X, y, epochs=epochs, batch_size=batch_size, optimizer=SGD(0.1), **options)
    parameters = np.concatenate([a.ravel() for a in (*net.weight, *net.bias)])
    return np.concatenate([parameters, history["loss"]])


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 6)), rng.integers(0, 3, 40)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "quadratic", "hinge"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_weight_of_n_equals_n_copies(isa, rng, data, loss, threads, sparse):
    X, y = data
    times = rng.integers(0, 4, len(X))
    options = {"loss": loss, "threads": threads, "sparse": sparse}
    want = trained(np.repeat(X, times, axis=0), np.repeat(y, times), **options)
    got = trained(X, y, sample_weight=times, **options)
    np.testing.assert_allclose(got, want, rtol=1e-9)
    np.testing.assert_allclose(trained(X, y, sample_weight=0.1 * times, **options), want, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_a_sample_of_weight_zero_does_not_count_in_its_batch(data, batch_size):
    X, y = data
    weight = np.arange(40) % 4 != 1
    got = trained(X, y, batch_size=batch_size, sample_weight=weight, shuffle=False)
    net = Network(SIZES, activation="tanh", loss="cross_entropy", dtype="float64", seed=1)
    for start in [*range(0, 40, batch_size)] * 3:
        keep = np.flatnonzero(weight[start : start + batch_size]) + start
        if len(keep):
            net.fit(X[keep], y[keep], epochs=1, batch_size=40, optimizer=SGD(0.1))
    want = np.concatenate([a.ravel() for a in (*net.weight, *net.bias)])
    np.testing.assert_allclose(got[:-3], want, rtol=1e-9)


def test_class_weights_are_sample_weights(data):
    X, y = data
    weights = np.array([0.5, 2.0, 3.0])
    want = trained(X, y, sample_weight=weights[y])
    for class_weight in (weights, [0.5, 2, 3], {0: 0.5, 1: 2, 2: 3}):
        assert (trained(X, y, class_weight=class_weight) == want).all()
        assert (trained(X, np.eye(3)[y], class_weight=class_weight) == want).all()
    assert (trained(X, y, class_weight={2: 3})
            == trained(X, y, sample_weight=np.array([1, 1, 3.0])[y])).all()  # fmt: skip
    both = trained(X, y, class_weight=weights, sample_weight=np.arange(40))
    assert (both == trained(X, y, sample_weight=weights[y] * np.arange(40))).all()


def test_balanced_weights_are_inverse_to_the_frequency(data):
    X, _ = data
    y = np.repeat([0, 1, 2], [30, 8, 2])
    weights = 40 / (3 * np.array([30, 8, 2]))
    assert (trained(X, y, class_weight="balanced") == trained(X, y, class_weight=weights)).all()
    one = np.repeat([0, 1], [30, 10])
    options = {"sizes": [6, 1], "loss": "binary_cross_entropy"}
    assert (trained(X, one, class_weight="balanced", **options)
            == trained(X, one, class_weight=[40 / 60, 2.0], **options)).all()  # fmt: skip


def test_the_validation_loss_is_weighted(data):
    X, y = data
    net = Network(SIZES, loss="cross_entropy", seed=0)
    weight = np.where(np.arange(40) < 20, 1.0, 3.0)
    history = net.fit(X, y, epochs=1, validation_split=0.5, sample_weight=weight)
    order = np.empty(40, np.uint32)
    shuffle(order, 0, 2**32 - 1)  # the order that validation_split takes the first half of
    held = order[:20]
    p = net(X[held])[np.arange(20), y[held]]
    want = -(weight[held] * np.log(p)).sum() / weight[held].sum()
    assert history["val_loss"] == [pytest.approx(want, rel=1e-5)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sample_weight": np.ones(39)}, ValueError, r"sample_weight must have shape \(40,\); got"),
        ({"sample_weight": np.ones((40, 1))}, ValueError, "sample_weight must have shape"),
        ({"sample_weight": -np.ones(40)}, ValueError, "sample_weight must be finite and not neg"),
        ({"sample_weight": np.full(40, np.nan)}, ValueError, "sample_weight must be finite"),
        ({"sample_weight": np.zeros(40)}, ValueError, "the weights of all samples are zero"),
        ({"sample_weight": "all"}, TypeError, "sample_weight must hold real numbers"),
        ({"class_weight": "even"}, ValueError, "class_weight must be 'balanced', a dict or an"),
        ({"class_weight": {3: 1}}, ValueError, "class_weight must have classes from 0 to 2; got 3"),
        ({"class_weight": [1, 2]}, ValueError, r"class_weight must have shape \(3,\)"),
        ({"class_weight": [1, 2, np.inf]}, ValueError, "class_weight must be finite"),
    ],
)
def test_bad_weights_leave_the_network_as_it_was(data, options, error, message):
    net = Network(SIZES, loss="cross_entropy", seed=0)
    before = [w.copy() for w in net.weight]
    with pytest.raises(error, match=message):
        net.fit(*data, **options)
    assert all((w == b).all() for w, b in zip(net.weight, before, strict=True))


def test_class_weights_need_classes(rng):
    net = Network([2, 3], loss="mse", seed=0)
    with pytest.raises(ValueError, match="y must hold labels or one-hot rows"):
        net.fit(rng.normal(size=(5, 2)), rng.normal(size=(5, 3)), class_weight="balanced")
