"""Metrics: the engine's sums against their definitions, and scikit-learn's numbers."""

import numpy as np
import pytest
from sklearn import metrics

from cmlp import Network

OF_CLASSES = ("accuracy", "top_2", "precision", "recall", "f1")
OF_REALS = ("r2", "mae", "mse", "rmse")


def by_definition(name, truth, out):
    """A metric of classes by its definition; outputs (n, classes) or scores of yes (n,)."""
    answers = out.argmax(axis=1) if out.ndim == 2 else (out >= 0.5).astype(int)
    if name == "accuracy":
        return (answers == truth).mean()
    if name == "top_2":
        return np.mean([t in np.argsort(o)[-2:] for t, o in zip(truth, out, strict=True)])
    values = []
    for c in sorted({*truth, *answers}) if out.ndim == 2 else [1]:
        hits = ((answers == c) & (truth == c)).sum()
        p, r = hits / max((answers == c).sum(), 1), hits / max((truth == c).sum(), 1)
        values.append({"precision": p, "recall": r, "f1": 2 * p * r / max(p + r, 1e-300)}[name])
    return np.mean(values)


def of_reals(name, y, out):
    error = y - out
    return {
        "r2": (1 - (error**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean(),
        "mae": np.abs(error).mean(),
        "mse": (error**2).mean(),
        "rmse": np.sqrt((error**2).mean(axis=0)).mean(),
    }[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_metrics_of_classes(isa, rng, dtype):
    # The sixth class neither occurs nor is answered.
    X, y = rng.normal(size=(301, 6)), rng.integers(0, 5, 301)
    net = Network([6, 8, 6], loss="cross_entropy", dtype=dtype, seed=0)
    net.bias[1][5] = -50
    for name in OF_CLASSES:
        want = by_definition(name, y, net(X))
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
        assert net.score(X, np.eye(6)[y], metric=name) == net.score(X, y, metric=name)


def test_metrics_of_yes_and_no(rng):
    X, y = rng.normal(size=(200, 6)), rng.integers(0, 2, 200)
    net = Network([6, 8, 1], loss="binary_cross_entropy", seed=3)
    for name in ("accuracy", "precision", "recall", "f1"):
        want = by_definition(name, y, net(X)[:, 0])
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
    hinge = Network([6, 8, 1], loss="hinge", seed=3)
    assert hinge.score(X, y) == ((hinge(X)[:, 0] >= 0) == y).mean()


@pytest.mark.parametrize("outputs", [1, 3])
def test_metrics_of_reals(isa, rng, outputs):
    # A mean that is large beside the deviation costs no digits.
    X, y = rng.normal(size=(301, 6)), rng.normal(size=(301, outputs)) + 1e6
    net = Network([6, 8, outputs], loss="mse", dtype="float64", seed=0)
    net.bias[1] += 1e6
    for name in OF_REALS:
        want = of_reals(name, y, net(X))
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-9)


def test_rates_are_compared_with_counts(rng):
    X, y = rng.normal(size=(50, 6)), rng.poisson(3, 50)
    net = Network([6, 8, 1], loss="poisson", dtype="float64", seed=0)
    want = of_reals("mae", y[:, None], net.predict(X)[:, None])
    assert net.score(X, y, metric="mae") == pytest.approx(want, rel=1e-12)


def test_scikit_learn_agrees(rng):
    X, y = rng.normal(size=(301, 6)), rng.integers(0, 5, 301)
    net = Network([6, 8, 5], loss="cross_entropy", dtype="float64", seed=0)
    answers = net.predict(X)
    for name in ("precision", "recall", "f1"):
        want = getattr(metrics, f"{name}_score")(y, answers, average="macro", zero_division=0)
        assert net.score(X, y, metric=name) == pytest.approx(want, rel=1e-12)
    want = metrics.top_k_accuracy_score(y, net(X), k=3)
    assert net.score(X, y, metric="top_3") == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_training_adds_up_the_outputs_before_each_step(isa, rng, batch_size):
    X, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
    net, twin = (Network([6, 9, 3], loss="cross_entropy", seed=1) for _ in range(2))
    outs = []
    for start in range(0, 40, batch_size):
        part = slice(start, start + batch_size)
        outs.append(twin(X[part]))
        twin.fit(X[part], y[part], epochs=1, batch_size=batch_size, shuffle=False)
    history = net.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False, metrics=OF_CLASSES,
                      sample_weight=np.ones(40))  # fmt: skip
    for name in OF_CLASSES:
        want = by_definition(name, y, np.concatenate(outs))
        assert history[name] == [pytest.approx(want, rel=1e-12)]
    plain = Network([6, 9, 3], loss="cross_entropy", seed=1)
    plain.fit(X, y, epochs=1, batch_size=batch_size, shuffle=False)
    assert (plain.weight[0] == net.weight[0]).all()


def test_validation_has_them_too(rng):
    X, y = rng.normal(size=(60, 6)), rng.normal(size=60)
    net = Network([6, 9, 1], loss="mse", seed=1)
    history = net.fit(X, y, epochs=2, validation_data=(X, y), metrics=["mae", "r2"])
    assert list(history.epochs[0]) == [
        "loss", "mae", "r2", "lr", "seconds", "samples_per_second", "val_loss", "val_r2", "val_mae",
    ]  # fmt: skip
    assert history["val_mae"][-1] == net.score(X, y, metric="mae")
    held = Network([6, 9, 1], loss="mse", seed=1)
    history = held.fit(X, y, epochs=1, validation_split=0.3, metrics="mae")
    assert 0 < history["val_mae"][0] < 3


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("acuracy", ValueError, "metrics='acuracy' is unknown .did you mean 'accuracy'"),
        (["r2"], ValueError, "metrics='r2' does not suit a classifier"),
        ([3], TypeError, "metrics must be a name, got 3"),
        ("top_0", ValueError, "metrics='top_0' is unknown"),
    ],
)
def test_bad_metrics(names, error, message):
    net = Network([2, 3], loss="cross_entropy")
    with pytest.raises(error, match=message):
        net.fit(np.ones((4, 2)), np.zeros(4), metrics=names)


def test_metrics_suit_the_network():
    X, y = np.ones((4, 2)), np.zeros(4)
    with pytest.raises(ValueError, match="metrics='f1' does not suit a regressor"):
        Network([2, 1], loss="mse").score(X, y, metric="f1")
    with pytest.raises(ValueError, match="needs a classifier with several outputs"):
        Network([2, 1], loss="binary_cross_entropy").score(X, y, metric="top_2")
