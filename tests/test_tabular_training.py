"""RealMLP: splitters, time limits, weights of folds, scores, and arguments of NumPy's types."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import (
    GroupKFold,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from test_tabular_estimators import LABELS, PRICES, SMALL, TABLE, N

from cmlp.tabular import RealMLPClassifier, RealMLPRegressor

ROWS = np.arange(N)


def fit(cv, **options):
    return RealMLPRegressor(**SMALL | options, cv=cv).fit(TABLE, PRICES)


@pytest.mark.parametrize(
    "splitter", [TimeSeriesSplit(3), ShuffleSplit(2, train_size=0.3, test_size=0.3, random_state=0)]
)
def test_the_rows_of_a_splitter_are_trained_on(splitter):
    estimator = fit(splitter)
    for network, (train, test) in zip(estimator.networks_, splitter.split(TABLE), strict=True):
        alone = fit([(train, test)])
        if network is estimator.networks_[0]:  # the other seeds differ
            np.testing.assert_array_equal(network.weight[0], alone.networks_[0].weight[0])
        complement = fit([(np.setdiff1d(ROWS, test), test)])
        are_equal = np.array_equal(alone.networks_[0].weight[0], complement.networks_[0].weight[0])
        assert are_equal == (len(train) + len(test) == N)
        assert alone.networks_[0].state.training["samples"] == len(train) - len(train) % min(
            64, len(train)
        )


def test_masks_are_rows():
    of_masks = fit([(ROWS < 150, ROWS >= 180)])
    of_rows = fit([(ROWS[:150], ROWS[180:])])
    np.testing.assert_array_equal(of_masks.predict(TABLE), of_rows.predict(TABLE))
    assert np.isnan(of_masks.oof_prediction_[:180]).all()


def test_rows_to_train_on_may_repeat():
    twice = fit([(np.r_[ROWS[:100], ROWS[:100]], ROWS[200:])])
    assert twice.networks_[0].state.training["samples"] == 192


@pytest.mark.parametrize(
    ("cv", "error", "message"),
    [
        ([([0, 1], [N])], ValueError, r"cv\[0\]\[1\] must be different rows from 0 to 239.*240"),
        ([([0, 1], [])], ValueError, r"cv\[0\]\[1\] must be different rows"),
        ([([], [3])], ValueError, r"cv\[0\]\[0\] must be rows"),
        ([([0, 1], [3, 3])], ValueError, r"cv\[0\]\[1\] must be different rows"),
        ([(ROWS[:9] < 3, [3])], ValueError, r"cv\[0\]\[0\] must be rows .* as indices or a mask"),
        (np.arange(3), TypeError, "cv must be an integer, a splitter or pairs of rows"),
        (N + 1, ValueError, "cv must be at most the number of samples, 240; got 241"),
        ([], ValueError, "cv must have at least one fold|no split"),
    ],
)
def test_folds_that_do_not_fit_are_named(cv, error, message):
    with pytest.raises(error, match=message):
        fit(cv)


def test_the_best_preset_of_few_rows_and_with_validation_data():
    with pytest.raises(ValueError, match="cv must be at most the number of samples, 6; got 8"):
        RealMLPRegressor("best").fit(TABLE[:6], PRICES[:6])
    with pytest.raises(ValueError, match=r"validation_data must be None with folds.*; got cv=8"):
        RealMLPRegressor("best").fit(TABLE, PRICES, validation_data=(TABLE, PRICES))
    with pytest.raises(ValueError, match="cv must be at most the number of groups, 2; got 3"):
        RealMLPRegressor(cv=3).fit(TABLE, PRICES, groups=ROWS % 2)


def test_networks_share_the_time_limit():
    options = {"max_epochs": 100_000, "n_jobs": 1, "time_limit": 0.9}
    estimator = fit(2, n_refit=1, **options)
    epochs = [len(history.epochs) for history in estimator.histories_]
    assert 1 < epochs[0] < 100_000
    assert estimator.best_epochs_ == [epochs[0] - 1]
    lengths = [len(history.epochs) for history in fit(3, **options).histories_]
    assert min(lengths) > max(lengths) / 20  # by the time of each on a busy machine


def test_folds_without_weights_are_named():
    weights = np.ones(N)
    weights[:60] = 0
    message = "sample_weight must be positive for some row that fold 0 uses to validate; all 60 are"
    with pytest.raises(ValueError, match=message):
        RealMLPRegressor(**SMALL, cv=[(ROWS[60:], ROWS[:60])]).fit(TABLE, PRICES, weights)
    with pytest.raises(ValueError, match="fold 0 uses to train"):
        RealMLPRegressor(**SMALL, cv=[(ROWS[:60], ROWS[60:])]).fit(TABLE, PRICES, weights)
    with pytest.raises(ValueError, match="sample_weight must hold numbers; got 'a'"):
        RealMLPRegressor(**SMALL).fit(TABLE, PRICES, sample_weight="a")
    for class_weight, message in (
        ({"fair": -1}, r"class_weight\['fair'\] must be finite and not negative"),
        ("bal", "class_weight must be a dict, 'balanced' or None; got 'bal'"),
    ):
        with pytest.raises(ValueError, match=message):
            RealMLPClassifier(**SMALL, class_weight=class_weight).fit(TABLE, LABELS)


def test_scores_of_quantiles():
    levels = (0.2, 0.8)
    estimator = RealMLPRegressor(**SMALL | {"max_epochs": 40}, loss="pinball", quantiles=levels)
    found = estimator.fit(TABLE, PRICES).predict(TABLE)
    expected = [
        d2_pinball_score(PRICES, found[:, i], alpha=level) for i, level in enumerate(levels)
    ]
    assert estimator.score(TABLE, PRICES) == pytest.approx(np.mean(expected))
    assert np.isfinite(cross_val_score(estimator, TABLE, PRICES, cv=2)).all()
    with pytest.raises(ValueError, match=r"quantiles must be 0.5 unless loss='pinball'"):
        RealMLPRegressor(**SMALL, quantiles=(0.1, 0.9)).fit(TABLE, PRICES)


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_targets_of_any_size(unit):
    expected = fit(None).predict(TABLE)
    found = RealMLPRegressor(**SMALL).fit(TABLE, PRICES * unit).predict(TABLE) / unit
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_perfect_predictions_are_not_made_certain():
    estimator = RealMLPClassifier(
        hidden_layer_sizes=(32,), max_epochs=64, batch_size=64, random_state=0,
        calibrate="temperature",
    )  # fmt: skip
    y = np.where(TABLE["is_new"], "new", "old")
    probabilities = estimator.fit(TABLE, y).predict_proba(TABLE)
    assert estimator.score(TABLE, y) == 1
    assert 0.5 < probabilities.max() < 0.9999
    np.testing.assert_allclose(estimator.predict_log_proba(TABLE), np.log(probabilities))


def test_arguments_of_numpy_types():
    estimator = RealMLPRegressor(
        hidden_layer_sizes=np.array([8, 4]), parametric_activation=np.True_, max_epochs=np.int64(2),
        batch_size=np.int32(64), learning_rate=np.float32(0.1), random_state=0, verbose=False,
    ).fit(TABLE, PRICES)  # fmt: skip
    assert estimator.networks_[0].size[1:] == [8, 4, 1]


def test_dicts_and_arrays_are_saved(tmp_path):
    mask = np.array([False, False, True, True, True])
    estimator = RealMLPClassifier(
        **SMALL, class_weight={"fair": 2.0}, categorical_features=mask
    ).fit(TABLE, LABELS)  # fmt: skip
    estimator.save(tmp_path / "model.npz")
    again = RealMLPClassifier.load(tmp_path / "model.npz")
    assert again.class_weight == {"fair": 2.0}
    assert again.categorical_features == mask.tolist()
    again.fit(TABLE, LABELS)
    np.testing.assert_array_equal(again.predict_proba(TABLE), estimator.predict_proba(TABLE))


def test_metadata_are_routed():
    weights = np.random.default_rng(0).random(N) + 0.1
    groups = ROWS % 6
    estimator = RealMLPRegressor(**SMALL, cv=GroupKFold(2))
    with config_context(enable_metadata_routing=True):
        estimator.set_fit_request(sample_weight=True, groups=True).set_score_request(
            sample_weight=True
        )
        found = cross_validate(
            estimator, TABLE, PRICES, cv=GroupKFold(3), return_estimator=True,
            params={"sample_weight": weights, "groups": groups},
        )  # fmt: skip
    train, test = next(GroupKFold(3).split(TABLE, PRICES, groups))
    expected = RealMLPRegressor(**SMALL, cv=GroupKFold(2)).fit(
        TABLE.iloc[train], PRICES[train], weights[train], groups=groups[train]
    )
    score = expected.score(TABLE.iloc[test], PRICES[test], weights[test])
    assert found["test_score"][0] == pytest.approx(score)
