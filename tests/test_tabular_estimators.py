"""RealMLPClassifier and RealMLPRegressor: their networks, best epochs, folds and predictions."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import log_loss, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from cmlp import layers, losses
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor
from cmlp.tabular.networks import InputColumns, make_network, make_optimizer
from cmlp.tabular.settings import CLASSIFICATION, REGRESSION, resolve_settings

RNG = np.random.default_rng(0)
N = 240
TABLE = pd.DataFrame({
    "size": RNG.normal(3, 2, N),
    "rooms": RNG.integers(1, 9, N),
    "kind": pd.Categorical(RNG.choice(["flat", "house", "villa"], N)),
    "street": RNG.choice([f"street {i}" for i in range(20)], N),
    "is_new": RNG.random(N) < 0.5,
})  # fmt: skip
TABLE.loc[::11, "size"] = np.nan
TABLE.loc[::13, "street"] = None
SCORE = TABLE["size"].fillna(0) + 2 * (TABLE["kind"] == "villa") + TABLE["rooms"] / 4
LABELS = np.where(SCORE > 6, "dear", np.where(SCORE > 4, "fair", "cheap"))
PRICES = 1000 + 250 * SCORE.to_numpy()

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 8, "batch_size": 64, "random_state": 0}

# A row with weight 2 is drawn into a batch, and held out, once; two equal rows are not.
WEIGHTED_CHECK = {
    "check_sample_weight_equivalence_on_dense_data": "validates and initializes with random rows",
}


@parametrize_with_checks(
    [
        RealMLPClassifier("fast"),
        RealMLPRegressor(variant="TD-S", hidden_layer_sizes=(32,), max_epochs=64),
    ],
    expected_failed_checks=lambda _: WEIGHTED_CHECK,
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# From table A.1 of the paper: what `resolve_settings` must return.
PAPER = {
    "hidden_layer_sizes": (256, 256, 256), "max_epochs": 256, "batch_size": 256,
    "schedule": "coslog4", "scale_lr_factor": 6, "bias_lr_factor": 0.1, "betas": (0.9, 0.95),
    "epsilon": 1e-8, "smooth_clip": 3,
}  # fmt: skip
PAPER_TD = {
    "numeric_lr_factor": 0.1, "alpha_lr_factor": 0.1, "weight_decay": 0.02, "dropout": 0.15,
    "decay_schedule": "flat_cos", "dropout_schedule": "flat_cos", "parametric_activation": True,
    "numeric_embedding": "pbld", "frequencies": 16, "embedding_outputs": 4, "max_one_hot": 8,
    "frequency_scale": 0.1, "category_dim": 8, "init": "data",
}  # fmt: skip
PAPER_TD_S = {
    "weight_decay": 0, "dropout": 0, "parametric_activation": False, "numeric_embedding": None,
    "max_one_hot": None, "init": "normal",
}  # fmt: skip


@pytest.mark.parametrize(
    ("estimator", "task", "expected"),
    [
        (RealMLPClassifier(), CLASSIFICATION,
         PAPER_TD | {"learning_rate": 0.04, "activation": "selu"}),
        (RealMLPRegressor(), REGRESSION,
         PAPER_TD | {"learning_rate": 0.2, "activation": "mish", "clamp_output": True}),
        (RealMLPClassifier(variant="TD-S"), CLASSIFICATION,
         PAPER_TD_S | {"learning_rate": 0.04, "activation": "selu"}),
        (RealMLPRegressor(variant="TD-S"), REGRESSION,
         PAPER_TD_S | {"learning_rate": 0.07, "activation": "mish", "clamp_output": False}),
    ],
)  # fmt: skip
def test_defaults_are_those_of_the_paper(estimator, task, expected):
    values = resolve_settings(estimator, task).values
    assert {name: values[name] for name in PAPER | expected} == PAPER | expected
    assert RealMLPClassifier().label_smoothing == 0.1


def test_network_and_optimizer_are_those_of_the_settings():
    estimator = RealMLPRegressor(**SMALL).fit(TABLE, PRICES)
    network = estimator.networks_[0]
    kinds = [type(layer) for layer in network.state.architecture.encoders]
    assert kinds == [layers.Embedding, layers.Periodic, layers.OneHot, layers.Scale]
    # 2 numbers, 1 indicator, 3 kinds and is_new; the street's embedding of 8.
    assert network.weight[0].shape == (16, 2 * 4 + 1 + 3 + 1 + 8)
    settings = resolve_settings(estimator, REGRESSION)
    once, twice = (make_optimizer(network, settings, mode) for mode in ("once", "twice"))
    assert (once.lr, once.betas, once.weight_decay) == (0.2, (0.9, 0.95), 0.02)
    assert once.parametrization == "ntk"
    assert once.lr_factors == twice.lr_factors == {
        "input_scale": 6, "bias": 0.1, "alpha": 0.1, "embedding": 1, "frequency": 0.1,
        "phase": 0.1, "periodic_weight": 0.1, "periodic_bias": 0.1,
    }  # fmt: skip
    assert once.decay_factors == {"bias": 0}
    assert twice.decay_factors == twice.lr_factors | {"bias": 0}


def test_the_simple_variant_begins_at_zero():
    estimator = RealMLPRegressor(variant="TD-S", **SMALL).fit(TABLE, PRICES)
    settings = resolve_settings(estimator, REGRESSION)
    columns = InputColumns(estimator.encoder_, settings.max_one_hot)
    network = make_network(columns, settings, 1, estimator._make_loss(), 0, "float32", None)
    X = columns.join(estimator.encoder_.transform(TABLE), np.dtype("float32"))
    assert (network(X) == 0).all()
    assert 0.5 < network.bias[0].std() < 1.5


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_do_not_depend_on_threads(threads):
    arguments = SMALL | {"cv": 3}
    expected = RealMLPClassifier(**arguments, n_jobs=1).fit(TABLE, LABELS)
    found = RealMLPClassifier(**arguments, n_jobs=threads).fit(TABLE, LABELS)
    np.testing.assert_array_equal(found.predict_proba(TABLE), expected.predict_proba(TABLE))
    np.testing.assert_array_equal(found.oof_prediction_, expected.oof_prediction_)


@pytest.mark.parametrize("val_metric", ["error", "log_loss", "auc", "loss"])
def test_the_last_best_epoch_is_kept(val_metric):
    test = np.arange(0, N, 3)
    train = np.setdiff1d(np.arange(N), test)
    estimator = RealMLPClassifier(**SMALL, cv=[(train, test)], val_metric=val_metric)
    estimator.fit(TABLE, LABELS)
    records = estimator.histories_[0].epochs
    name = {"error": "accuracy"}.get(val_metric, val_metric)
    values = np.array([record[f"val_{name}"] for record in records])
    best = values.max() if val_metric in ("error", "auc") else values.min()
    epoch = np.flatnonzero(values == best)[-1]
    assert estimator.best_epochs_ == [epoch]
    probabilities = estimator.predict_proba(TABLE.iloc[test])
    y = LABELS[test]
    expected = {
        "error": np.mean(estimator.predict(TABLE.iloc[test]) == y),
        "log_loss": log_loss(y, probabilities),
        "auc": roc_auc_score(y, probabilities, multi_class="ovr"),
    }  # fmt: skip
    if val_metric in expected:
        np.testing.assert_allclose(best, expected[val_metric], rtol=1e-5)


@pytest.mark.parametrize("val_metric", ["rmse", "mae", "loss"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_best_epoch_of_a_regressor(val_metric, weighted):
    test = np.arange(0, N, 3)
    train = np.setdiff1d(np.arange(N), test)
    weights = RNG.random(N) + 0.1 if weighted else None
    estimator = RealMLPRegressor(
        **SMALL, cv=[(train, test)], val_metric=val_metric, clamp_output=False
    ).fit(TABLE, PRICES, weights)
    name = {"rmse": "rmse" if weighted else "mse"}.get(val_metric, val_metric)
    values = [record[f"val_{name}"] for record in estimator.histories_[0].epochs]
    scale = np.sqrt(np.cov(PRICES, aweights=weights, ddof=0))
    errors = (estimator.predict(TABLE.iloc[test]) - PRICES[test]) / scale
    own = None if weights is None else weights[test]
    squares = np.average(errors**2, weights=own)
    expected = {"rmse": np.sqrt(squares), "mae": np.average(abs(errors), weights=own),
                "mse": squares, "loss": squares}  # fmt: skip
    np.testing.assert_allclose(min(values), expected[name], rtol=1e-4)


def test_folds_are_averaged_and_kept_apart():
    splitter = KFold(4, shuffle=True, random_state=1)
    estimator = RealMLPRegressor(**SMALL, cv=splitter).fit(TABLE, PRICES)
    assert len(estimator.networks_) == len(estimator.histories_) == 4
    X = estimator.encode(TABLE)
    targets = estimator._targets
    each = [
        targets.decode(network.predict(X), clamps=True)[:, 0] for network in estimator.networks_
    ]
    np.testing.assert_allclose(estimator.predict(TABLE), np.mean(each, axis=0))
    for outputs, (_, test) in zip(each, splitter.split(TABLE), strict=True):
        np.testing.assert_array_equal(estimator.oof_prediction_[test], outputs[test])


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_groups_are_kept_together(cv):
    groups = np.arange(N) % 7
    estimator = RealMLPClassifier(**SMALL, cv=cv).fit(TABLE, LABELS, groups=groups)
    found = estimator.oof_prediction_
    X = estimator.encode(TABLE)
    for group in range(7):
        rows = groups == group
        assert any(
            np.allclose(found[rows], network.predict_proba(X)[rows], atol=1e-6)
            for network in estimator.networks_
        )


def test_rows_in_no_fold_have_no_prediction():
    cv = [(np.arange(100, N), np.arange(100))]
    estimator = RealMLPRegressor(**SMALL, cv=cv).fit(TABLE, PRICES)
    assert np.isfinite(estimator.oof_prediction_[:100]).all()
    assert np.isnan(estimator.oof_prediction_[100:]).all()


def test_refitted_networks_replace_those_of_the_folds():
    estimator = RealMLPClassifier(**SMALL, cv=2).fit(TABLE, LABELS)
    refitted = RealMLPClassifier(**SMALL, cv=2, n_refit=3).fit(TABLE, LABELS)
    stop = round(np.mean(estimator.best_epochs_))
    assert refitted.best_epochs_ == [stop] * 3
    assert [len(history.epochs) for history in refitted.histories_] == [stop + 1] * 3
    np.testing.assert_array_equal(refitted.oof_prediction_, estimator.oof_prediction_)
    records = refitted.histories_[0].epochs
    assert "val_loss" not in records[0]


def test_validation_data_are_used_instead_of_rows_of_x():
    X, y, held_out = TABLE[:200], PRICES[:200], (TABLE[200:], PRICES[200:])
    estimator = RealMLPRegressor(**SMALL).fit(X, y, validation_data=held_out)
    assert estimator.histories_[0].epochs[0]["val_loss"] > 0
    with pytest.raises(ValueError, match=r"validation_data must be None with folds"):
        RealMLPRegressor(cv=2).fit(X, y, validation_data=held_out)
    with pytest.raises(ValueError, match=r"validation_data must be a tuple"):
        estimator.fit(X, y, validation_data=held_out[0])
    with pytest.raises(ValueError, match=r"validation_data must have one target for each row"):
        estimator.fit(X, y, validation_data=(held_out[0], y))
    with pytest.raises(
        ValueError, match=r"must hold labels that occur in y; got 'unknown' in row 1"
    ):
        RealMLPClassifier().fit(X, LABELS[:200], validation_data=(X[:2], ["fair", "unknown"]))


def test_tables_of_all_libraries_give_the_same_predictions():
    strings = TABLE.astype({"kind": object})
    expected = RealMLPClassifier(**SMALL).fit(strings, LABELS).predict_proba(strings)
    frame = pl.from_pandas(strings)
    for table in (frame, pa.Table.from_pandas(strings, preserve_index=False)):
        estimator = RealMLPClassifier(**SMALL).fit(table, LABELS)
        np.testing.assert_array_equal(estimator.predict_proba(table), expected)
        assert list(estimator.feature_names_in_) == list(TABLE.columns)
    array = strings.to_numpy()
    estimator = RealMLPClassifier(**SMALL, categorical_features=[2, 3, 4]).fit(array, LABELS)
    np.testing.assert_array_equal(estimator.predict_proba(array), expected)


def test_missing_and_unknown_values_at_predict():
    estimator = RealMLPRegressor(**SMALL).fit(TABLE.dropna(), PRICES[TABLE.notna().all(axis=1)])
    row = TABLE.iloc[[1]]
    unknown = row.assign(street="elsewhere")
    missing = row.assign(street=None, size=np.nan)
    assert np.isfinite(estimator.predict(pd.concat([row, unknown, missing]))).all()
    np.testing.assert_array_equal(
        estimator.predict(unknown), estimator.predict(row.assign(street=None))
    )
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(row.rename(columns={"size": "area"}))
    with pytest.raises(ValueError, match=r"column 'size' of X must hold finite numbers"):
        estimator.predict(row.assign(size=np.inf))


def test_rows_with_weight_zero_do_not_train():
    X, y = TABLE[["size", "rooms"]].fillna(0), PRICES.copy()
    weights = np.ones(N)
    weights[::4] = 0
    arguments = SMALL | {"cv": [(np.arange(100, N), np.arange(100))]}
    expected = RealMLPRegressor(**arguments, clamp_output=False).fit(X, y, weights)
    y[::4] = y[::4][::-1]
    found = RealMLPRegressor(**arguments, clamp_output=False).fit(X, y, weights)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_class_weights_multiply_sample_weights():
    weights = RNG.random(N) + 0.5
    of_class = {"cheap": 1.0, "fair": 2.0, "dear": 0.5}
    expected = RealMLPClassifier(**SMALL).fit(
        TABLE, LABELS, weights * np.vectorize(of_class.get)(LABELS)
    )
    found = RealMLPClassifier(**SMALL, class_weight=of_class).fit(TABLE, LABELS, weights)
    np.testing.assert_array_equal(found.predict_proba(TABLE), expected.predict_proba(TABLE))
    balanced = RealMLPClassifier(**SMALL, class_weight="balanced").fit(TABLE, LABELS)
    assert np.isfinite(balanced.predict_proba(TABLE)).all()


def test_quantiles_do_not_cross():
    levels = (0.1, 0.5, 0.9)
    estimator = RealMLPRegressor(
        hidden_layer_sizes=(32,), max_epochs=64, batch_size=64, loss="pinball", quantiles=levels,
        random_state=0, cv=2,
    ).fit(TABLE, PRICES)  # fmt: skip
    found = estimator.predict(TABLE)
    assert found.shape == estimator.oof_prediction_.shape == (N, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    for column, level in enumerate(levels):
        plain = np.full(N, np.quantile(PRICES, level))
        own = mean_pinball_loss(PRICES, found[:, column], alpha=level)
        assert own < 0.5 * mean_pinball_loss(PRICES, plain, alpha=level)
    single = RealMLPRegressor(**SMALL, loss="pinball", quantiles=0.9).fit(TABLE, PRICES)
    assert single.predict(TABLE).shape == (N,)


def test_standard_deviations():
    y = PRICES + np.where(TABLE["kind"] == "villa", 200, 20) * RNG.standard_normal(N)
    estimator = RealMLPRegressor(
        hidden_layer_sizes=(32,), max_epochs=64, batch_size=64, loss="gaussian_nll",
        random_state=0, cv=2,
    ).fit(TABLE, y)  # fmt: skip
    mean, deviation = estimator.predict(TABLE, return_std=True)
    np.testing.assert_array_equal(mean, estimator.predict(TABLE))
    is_villa = (TABLE["kind"] == "villa").to_numpy()
    assert np.median(deviation[is_villa]) > 1.4 * np.median(deviation[~is_villa])
    X = estimator.encode(TABLE)
    pairs = [network.predict(X, return_std=True) for network in estimator.networks_]
    targets = estimator._targets
    means = np.array([each * targets.deviation + targets.mean for each, _ in pairs])
    squares = np.array([(each * targets.deviation) ** 2 for _, each in pairs]) + means**2
    np.testing.assert_allclose(deviation**2, squares.mean(0) - means.mean(0) ** 2, rtol=1e-6)
    with pytest.raises(ValueError, match="return_std"):
        RealMLPRegressor(**SMALL).fit(TABLE, y).predict(TABLE, return_std=True)


def test_several_targets_and_the_clamp():
    Y = np.stack([PRICES, -2 * PRICES, np.ones(N)], axis=1)
    estimator = RealMLPRegressor(**SMALL).fit(TABLE, Y)
    found = estimator.predict(TABLE)
    assert found.shape == Y.shape
    assert estimator.n_outputs_ == 3
    np.testing.assert_array_equal(found, found.clip(Y.min(0), Y.max(0)))
    np.testing.assert_array_equal(found[:, 2], 1)
    with pytest.raises(ValueError, match="one target with several quantiles"):
        RealMLPRegressor(loss="pinball", quantiles=(0.1, 0.9)).fit(TABLE, Y)


def test_calibration_lowers_the_log_loss_of_the_rows_held_out():
    arguments = {"hidden_layer_sizes": (32,), "max_epochs": 32, "batch_size": 64,
                 "random_state": 0, "cv": 3, "label_smoothing": 0.4}  # fmt: skip
    plain = RealMLPClassifier(**arguments).fit(TABLE, LABELS)
    scaled = RealMLPClassifier(**arguments, calibrate="temperature").fit(TABLE, LABELS)
    assert plain.temperature_ == 1
    logits = np.log(plain.oof_prediction_)

    classes, codes = np.unique(LABELS, return_inverse=True)

    def measure(temperature, rest=0.0):
        p = np.exp(logits / temperature)
        p = np.log(p / p.sum(1, keepdims=True))
        others = (p.sum(1) - p[np.arange(N), codes]) / (len(classes) - 1)
        return -np.mean((1 - rest) * p[np.arange(N), codes] + rest * others)

    best = min(np.geomspace(0.1, 10, 800), key=lambda t: measure(t, 1 / (N + 2)))
    np.testing.assert_allclose(scaled.temperature_, best, rtol=0.02)
    assert measure(best) < measure(1)
    np.testing.assert_allclose(scaled.predict_proba(TABLE).sum(1), 1, rtol=1e-6)


def test_early_stopping_and_time_limit():
    estimator = RealMLPClassifier(**SMALL | {"max_epochs": 400}, early_stopping=3)
    estimator.fit(TABLE, LABELS)
    assert len(estimator.histories_[0].epochs) == estimator.best_epochs_[0] + 5
    late = RealMLPClassifier(**SMALL, time_limit=1e-6, cv=2).fit(TABLE, LABELS)
    assert [len(history.epochs) for history in late.histories_] == [1, 1]


def test_pipelines_searches_and_inspection():
    search = GridSearchCV(
        RealMLPRegressor(**SMALL), {"learning_rate": [0.01, 0.2]}, cv=2,
    ).fit(TABLE, PRICES)  # fmt: skip
    assert search.best_params_["learning_rate"] == 0.2
    pipeline = make_pipeline(FunctionTransformer(), RealMLPRegressor(**SMALL))
    assert cross_val_predict(pipeline, TABLE, PRICES, cv=2).shape == (N,)
    estimator = RealMLPRegressor(**SMALL | {"max_epochs": 40}).fit(TABLE, PRICES)
    importance = permutation_importance(estimator, TABLE, PRICES, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() == 0
    curve = partial_dependence(estimator, TABLE.dropna(), ["size"], grid_resolution=5)
    assert curve["average"][0, -1] > curve["average"][0, 0]
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "networks_")


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll", "pinball"])
@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_files_of_regressors(tmp_path, extension, loss):
    path = tmp_path / f"model.{extension}"
    estimator = RealMLPRegressor(**SMALL, loss=loss, cv=KFold(2)).fit(TABLE, PRICES)
    estimator.save(path)
    again = RealMLPRegressor.load(path)
    np.testing.assert_array_equal(again.predict(TABLE), estimator.predict(TABLE))
    expected = estimator.get_params() | {"cv": None, "hidden_layer_sizes": [16]}
    assert again.get_params() == expected
    assert list(again.feature_names_in_) == list(estimator.feature_names_in_)
    assert again.best_epochs_ == estimator.best_epochs_
    again.save(tmp_path / f"again.{extension}")


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(object), LABELS == "dear",
                                    np.searchsorted(np.unique(LABELS), LABELS) - 1])  # fmt: skip
def test_files_of_classifiers(tmp_path, labels):
    path = tmp_path / "model.npz"
    estimator = RealMLPClassifier(**SMALL, calibrate="temperature").fit(TABLE, labels)
    estimator.save(path)
    again = RealMLPClassifier.load(path)
    found = again.predict(TABLE)
    np.testing.assert_array_equal(found, estimator.predict(TABLE))
    assert found.dtype == estimator.predict(TABLE).dtype
    np.testing.assert_array_equal(again.predict_proba(TABLE), estimator.predict_proba(TABLE))
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.predict_proba(TABLE), estimator.predict_proba(TABLE))
    with pytest.raises(ValueError, match=r"its estimator is a RealMLPClassifier, not a RealMLPR"):
        RealMLPRegressor.load(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class": 3}, "tabular.class must be a string"),
        ({"arguments": {"depth": 3}}, "tabular.arguments.depth is not a known key"),
        ({"networks": []}, "at least one"),
        ({"networks": [{}]}, "its header has no"),
        ({"best_epochs": [1, 2]}, "equal lengths"),
        ({"max_one_hot": 1}, "inputs and 3 outputs|codes"),
        ({"temperature": 0}, "tabular.temperature must be"),
        ({"labels": {"dtype": "<U5", "values": ["a", "b"]}}, "3 inputs|2 outputs"),
        ({"labels": {"dtype": "<U5", "values": ["b", "a", "c"]}}, "ascending"),
        ({"labels": {"dtype": "V8", "values": [1]}}, "labels must be numbers or strings"),
        ({"labels": {"dtype": "<U1", "values": [{}]}}, "labels must be numbers or strings"),
        ({"encoder": {}}, "tabular.encoder.categorical_features is missing"),
        ({"unknown": 1}, "not a known key"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, reason):
    path = tmp_path / "model.npz"
    RealMLPClassifier(**SMALL).fit(TABLE, LABELS).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    header["tabular"] |= change
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    if change == {"max_one_hot": 1}:
        estimator = RealMLPClassifier.load(path)  # the codes are in other columns
        with pytest.raises(ValueError, match="must have the codes of categories"):
            estimator.predict(TABLE)
        return
    with pytest.raises(ValueError, match=rf"model.npz is not a network file: .*(?:{reason})"):
        RealMLPClassifier.load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "slow"}, "preset must be one of fast, default, best"),
        ({"variant": "td"}, "variant must be one of TD, TD-S"),
        ({"loss": "l2"}, "loss must be one of mse"),
        ({"learning_rate": -1}, "learning_rate must be positive"),
        ({"n_jobs": 0}, "n_jobs must not be 0"),
        ({"n_jobs": "all"}, "n_jobs must be an integer"),
        ({"cv": 1}, "cv must be at least 2"),
        ({"hidden_layer_sizes": 5}, "hidden_layer_sizes must be a sequence"),
        ({"activation": "rlu"}, "activation must be one of"),
        ({"val_metric": "error"}, "val_metric must be one of rmse, mae, loss"),
        ({"val_metric": "rmse", "loss": "pinball"}, "val_metric must be one of loss"),
        ({"time_limit": -1}, "time_limit must be positive"),
        ({"betas": 3}, "betas must be two numbers"),
        ({"dtype": "int8"}, "dtype must be float32 or float64"),
        ({"compute_dtype": "float16"}, "compute_dtype must be"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"loss": "pinball", "quantiles": (0.9, 0.1)}, "quantiles must be"),
        ({"numeric_embedding": "sine"}, "numeric_embedding must be one of"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"early_stopping": 0}, "early_stopping must be at least 1"),
        ({"n_refit": -1}, "n_refit must be at least 0"),
        ({"weight_decay_mode": "thrice"}, "weight_decay_mode must be one of once, twice"),
        ({"init": "zeros"}, "init must be one of data, normal"),
        ({"clamp_output": 1}, "clamp_output must be"),
    ],
)
def test_invalid_arguments_are_named(arguments, message):
    estimator = RealMLPRegressor(**SMALL | arguments)
    with pytest.raises((TypeError, ValueError), match=message):
        estimator.fit(TABLE, PRICES)
    assert not hasattr(estimator, "networks_")


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (TABLE, PRICES[:-1], {}, "inconsistent numbers of samples"),
        (TABLE, np.where(PRICES > 1500, np.nan, PRICES), {}, "y must not hold NaN or infinity"),
        (TABLE, PRICES.astype(str), {}, "y must hold real numbers"),
        (TABLE, np.where(PRICES > 1500, 1e308, -1e308), {}, "y must be at most 1e.307 in size"),
        (TABLE, PRICES, {"sample_weight": -np.ones(N)}, "sample_weight must be finite"),
        (TABLE, PRICES, {"sample_weight": np.ones(3)}, "sample_weight must have shape"),
        (TABLE, PRICES, {"groups": np.ones(N)}, "groups must be None without cv"),
        (TABLE[:1], PRICES[:1], {}, "X must have at least 2 samples"),
    ],
)
def test_invalid_data_are_named(X, y, options, message):
    with pytest.raises(ValueError, match=message):
        RealMLPRegressor(**SMALL).fit(X, y, **options)


def test_a_loss_of_cmlp_may_have_a_parameter(tmp_path, rng):
    X = rng.normal(size=(400, 3))
    options = {"max_epochs": 6, "random_state": 0}
    fitted = [RealMLPRegressor("fast", loss=loss, **options).fit(X, X[:, 0])
              for loss in ("huber", losses.huber(), losses.huber(0.1))]  # fmt: skip
    by_name, default, other = [model.predict(X) for model in fitted]
    assert (by_name == default).all()
    assert (by_name != other).any()
    fitted[2].save(tmp_path / "model.npz")
    assert (RealMLPRegressor.load(tmp_path / "model.npz").predict(X) == other).all()
    with pytest.raises(TypeError, match="loss must be a name; got Loss"):
        RealMLPRegressor("fast", loss=losses.pinball(0.3)).fit(X, X[:, 0])


def test_the_name_of_the_target_is_stored(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    model = RealMLPRegressor("fast", max_epochs=1, random_state=0)
    model.fit(frame[["a"]], frame["b"]).save(tmp_path / "model.npz")
    assert RealMLPRegressor.load(tmp_path / "model.npz").target_name_ == "b"
    assert pickle.loads(pickle.dumps(model)).target_name_ == "b"
    model.fit(frame[["a"]], frame["b"].to_numpy()).save(tmp_path / "model.npz")
    assert RealMLPRegressor.load(tmp_path / "model.npz").target_name_ is None
