"""validation_split as rows of X, in fit and for each network of fit_many."""

import numpy as np
import pytest
from conftest import assert_same_state

from cmlp import Adam, Network, callbacks, fit_many

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = RNG.integers(0, 3, 60)
ROWS = np.array([50, 3, 17, 4, 58])


def make(seed=0):
    return Network([5, 8, 3], activation="tanh", loss="cross_entropy", dtype="float64", seed=seed)


def as_mask(rows):
    mask = np.zeros(60, bool)
    mask[rows] = True
    return mask


@pytest.mark.parametrize("rows", [ROWS, list(ROWS), as_mask(ROWS), ROWS.astype(np.uint8)])
def test_rows_are_held_out(rows):
    rest = np.setdiff1d(np.arange(60), ROWS)
    expected, found = make(), make()
    history = expected.fit(X[rest], Y[rest], epochs=3, validation_data=(X[ROWS], Y[ROWS]))
    own = found.fit(X, Y, epochs=3, validation_split=rows)
    assert_same_state(found, expected)
    np.testing.assert_allclose(own["val_loss"], history["val_loss"], rtol=1e-12)
    assert own["val_accuracy"] == history["val_accuracy"]


def test_rows_keep_their_order_without_shuffling():
    rest = np.setdiff1d(np.arange(60), ROWS)
    expected, found = make(), make()
    expected.fit(X[rest], Y[rest], epochs=2, shuffle=False)
    found.fit(X, Y, epochs=2, shuffle=False, validation_split=ROWS)
    assert_same_state(found, expected)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros(3, bool), ValueError, "must be a mask of 60 rows, like X; got 3"),
        (np.zeros(60, bool), ValueError, "leaves 60 samples to train on and 0"),
        (np.ones(60, bool), ValueError, "leaves 0 samples to train on and 60"),
        ([1, 2, 1], ValueError, "must hold different rows"),
        ([-1], ValueError, "rows from 0 to 59; got -1 to -1"),
        ([60], ValueError, "rows from 0 to 59; got 60 to 60"),
        ([0.5], TypeError, "must be a number, or rows of X"),
        (np.zeros((2, 2), int), TypeError, r"shape \(n,\); got ndarray of int64, shape \(2, 2\)"),
        ("half", TypeError, "must be a number, or rows of X"),
        (True, TypeError, "must be a number, or rows of X"),
    ],
)
def test_bad_rows_are_refused(rows, error, message):
    net = make()
    with pytest.raises(error, match=f"validation_split.*{message}"):
        net.fit(X, Y, validation_split=rows)
    assert_same_state(net, make())


def test_rows_are_not_given_with_batches_or_validation_data():
    with pytest.raises(ValueError, match="must not be given with an iterable"):
        make().fit([(X, Y)], validation_split=ROWS)
    with pytest.raises(ValueError, match="must not be given together"):
        make().fit(X, Y, validation_split=ROWS, validation_data=(X, Y))


@pytest.mark.parametrize("threads", [1, 2])
def test_each_network_has_its_own_fold_and_callbacks(threads):
    folds = [np.arange(i, 60, 3) for i in range(3)]
    watchers = [[callbacks.EarlyStopping(patience=1)] for _ in folds]
    together, alone = [make(i) for i in range(3)], [make(i) for i in range(3)]
    options = {"epochs": 20, "optimizer": Adam(0.1)}
    fit_many(together, X, Y, validation_split=folds, callbacks=watchers, threads=threads, **options)
    for net, fold, (watcher,) in zip(alone, folds, watchers, strict=True):
        own = callbacks.EarlyStopping(patience=1)
        net.fit(X, Y, validation_split=fold, callbacks=own, **options)
        assert (watcher.best, watcher.best_epoch) == (own.best, own.best_epoch)
    for net, other in zip(together, alone, strict=True):
        assert_same_state(net, other)


def test_a_list_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"validation_split must be one for all or a list of 2"):
        fit_many([make(), make(1)], X, Y, validation_split=[ROWS])
    with pytest.raises(
        ValueError, match=r"callbacks must be .* a list of 2 lists, one for each; got 1"
    ):
        fit_many([make(), make(1)], X, Y, callbacks=[[]])
