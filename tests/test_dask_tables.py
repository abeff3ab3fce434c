"""cmlp.dask for tables: encoders, targets and metrics of all partitions, folds, predictions."""

import pickle

import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from conftest import assert_same_state
from dask_clusters import start_cluster
from sklearn.base import clone

from cmlp import SGD, TrainingDiverged, schedules, tabular
from cmlp.dask import RealMLPClassifier, RealMLPRegressor, tables
from cmlp.dask.clients import find_client
from cmlp.dask.cluster import ClusterRun
from cmlp.dask.partitions import Fold, LoadedBlocks, Partition, summarize_blocks
from cmlp.dask.rounds import Plan, Round, compute_settings, list_chunks
from cmlp.dask.scores import ValidationValue
from cmlp.dask.tables import learn_encoder, learn_real_targets
from cmlp.tabular.targets import ClassTargets, RealTargets, weigh_classes

RNG = np.random.default_rng(0)
N_ROWS = 300
SMALL = {"hidden_layer_sizes": (12,), "max_epochs": 3, "batch_size": 16, "random_state": 0}


def make_table(n_rows=N_ROWS, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "size": rng.lognormal(size=n_rows),
        "count": rng.integers(0, 5, n_rows),
        "rare": (np.arange(n_rows) == n_rows - 1) * 3.0,
        "color": rng.choice(["red", "green", "blue"], n_rows),
        "city": pd.Categorical(rng.integers(0, 12, n_rows).astype(str)),
    })  # fmt: skip
    y = np.sin(2 * X["size"]) + X["count"] * (X["color"] == "red") + X["city"].cat.codes * 0.2
    X.loc[rng.random(n_rows) < 0.1, "size"] = np.nan
    X.loc[rng.random(n_rows) < 0.1, "color"] = None
    return X, y


X, Y = make_table()
LABELS = pd.Series(np.where(Y.median() < Y, "high", "low"), index=Y.index)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = tmp_path_factory.mktemp("workers")
    with start_cluster(path, 2) as cluster, distributed.Client(cluster) as client:
        yield client


def split(frame, parts=3):
    return dd.from_pandas(frame, npartitions=parts)


def load(client, *blocks):
    """Return a run and futures of blocks by number."""
    run = ClusterRun(find_client(client))
    futures = client.scatter([LoadedBlocks(*block) for block in blocks])
    return run, dict(enumerate(futures))


def assert_same_encoder(encoder, expected):
    fields, arrays = encoder.to_fields()
    expected_fields, expected_arrays = expected.to_fields()
    assert fields == expected_fields
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected_arrays[name])


# The encoder, the targets and the metrics of all partitions.


def test_the_encoder_of_partitions_is_that_of_the_table(client):
    objects = X.assign(
        mixed=[1, 2.0, True, None, 5] * (N_ROWS // 5),
        late=[None] * 100 + [3.5] * 100 + [7] * 100,
        late_text=pd.Series([None] * 200 + ["x", "y"] * 50, dtype=object),
        empty=pd.Series([None] * N_ROWS, dtype=object),
        nothing=np.nan,
    )
    objects["late"] = objects["late"].astype(object)
    parts = objects[:100], objects[100:200], objects[200:]
    run, futures = load(client, *[(part, np.zeros(len(part)), None) for part in parts])
    encoder = learn_encoder(run, futures, N_ROWS, ("from_dtype", 3.0, "float32"), 0)
    assert_same_encoder(encoder, tabular.TableEncoder().fit(objects))


def test_large_tables_are_sampled_but_their_extremes_are_exact(client, monkeypatch):
    monkeypatch.setattr(tables, "SAMPLE_ROWS", 100)
    run, futures = load(client, *[(X[i : i + 100], np.zeros(100), None) for i in (0, 100, 200)])
    encoder = learn_encoder(run, futures, N_ROWS, ("from_dtype", 3.0, "float32"), 0)
    expected = tabular.TableEncoder().fit(X)
    np.testing.assert_allclose(encoder.medians_, expected.medians_, atol=0.5)
    assert encoder.factors_[2] == expected.factors_[2] == 2 / 3  # one value differs from 0
    np.testing.assert_array_equal(encoder.has_missing_, expected.has_missing_)
    assert [*map(list, encoder.categories_)] == [*map(list, expected.categories_)]


@pytest.mark.parametrize("is_vector", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e300])
def test_targets_are_standardized_like_those_of_the_table(client, scale, is_vector):
    y = RNG.standard_normal((N_ROWS, 2)) * scale + [3 * scale, 0]
    y = y[:, 0] if is_vector else y
    weights = RNG.random(N_ROWS)
    bounds = [(0, 10), (10, 200), (200, N_ROWS)]
    run, futures = load(client, *[(X[a:b], y[a:b], weights[a:b]) for a, b in bounds])
    found, expected = learn_real_targets(run, futures, is_vector), RealTargets.learn(y, weights)
    for name in ("mean", "deviation", "lowest", "highest"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    assert found.is_vector == is_vector


def test_each_row_is_held_out_by_one_fold():
    partition = Partition((np.zeros((10, 1)),), 1, np.zeros(10, np.int32), None, None, None, 3)
    held_out, seeds = [], set()
    for i in range(4):
        part = partition.select(Fold(i, 4))
        assert sorted([*part.training, *part.held_out]) == list(range(10))
        held_out += list(part.held_out)
        seeds.add(part.seed)
    assert sorted(held_out) == list(range(10))
    assert len(seeds) == 4
    assert partition.select(Fold(-1, 1)).n_training == 10
    assert sum(partition.select(Fold(i, 20)).held_out is None for i in range(20)) == 10


@pytest.mark.parametrize("metric", ["error", "log_loss", "auc", "rmse", "mae"])
def test_metrics_of_partitions_equal_those_of_scikit_learn(metric):
    rng = np.random.default_rng(1)
    n, is_class = 60, metric in ("error", "log_loss", "auc")
    weights = rng.integers(1, 4, n).astype(float)
    logits = rng.standard_normal((n, 3 if is_class else 2))
    outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) if is_class else logits
    targets = rng.integers(0, 3, n) if is_class else rng.standard_normal((n, 2))

    class Program:
        def infer(self, rows, _targets, order, out, threads):
            out[:] = outputs[rows][order]

    class State:
        architecture = type("Architecture", (), {"outputs": outputs.shape[1],
                                                 "dtype": np.dtype(float)})  # fmt: skip
        program = Program()

    parts = []
    for rows in (slice(0, 20), slice(20, 25), slice(25, 60)):
        count = rows.stop - rows.start
        partition = Partition(
            (outputs[rows],), 3, targets[rows], weights[rows], None, np.arange(count), 0
        )
        partition.__dict__["rows"] = rows
        parts.append(ValidationValue(metric).measure(State, partition, 1))
    expected = {
        "error": lambda: sklearn.metrics.zero_one_loss(
            targets, outputs.argmax(1), sample_weight=weights),
        "log_loss": lambda: sklearn.metrics.log_loss(targets, outputs, sample_weight=weights),
        "auc": lambda: -sklearn.metrics.roc_auc_score(
            targets, outputs, sample_weight=weights, multi_class="ovr"),
        "rmse": lambda: sklearn.metrics.mean_squared_error(
            targets, outputs, sample_weight=weights) ** 0.5,
        "mae": lambda: sklearn.metrics.mean_absolute_error(
            targets, outputs, sample_weight=weights),
    }[metric]()  # fmt: skip
    assert ValidationValue(metric).combine(parts) == pytest.approx(expected, rel=1e-12)


# Training.


def test_training_is_as_accurate_as_on_one_machine(client):
    (table, y), (test, y_test) = make_table(3000), make_table(1000, 1)
    cluster = RealMLPRegressor("fast", random_state=0).fit(split(table, 4), split(y, 4))
    local = tabular.RealMLPRegressor("fast", random_state=0).fit(table, y)
    losses = [1 - estimator.score(test, y_test) for estimator in (cluster, local)]
    assert losses[0] < 1.3 * losses[1]
    assert losses[1] < 0.2


@pytest.mark.parametrize("options", [{}, {"replicas": 2, "local_steps": 5, "cv": 2}])
def test_the_same_bits_for_any_number_of_workers(client, tmp_path, options):
    tests = {}
    frames = split(X, 4), split(LABELS, 4)
    estimator = RealMLPClassifier(**SMALL, **options, n_refit=1)
    tests[2] = clone(estimator).fit(*frames)
    with start_cluster(tmp_path, 1, 2) as cluster, distributed.Client(cluster) as other:
        tests[1] = clone(estimator).set_params(client=other).fit(*frames)
    for a, b in zip(tests[1].networks_, tests[2].networks_, strict=True):
        assert_same_state(a, b)


def test_the_best_round_is_restored(client):
    estimator = RealMLPRegressor(**(SMALL | {"max_epochs": 8}), learning_rate=1.0)
    estimator.set_params(validation_fraction=0.3).fit(split(X), split(Y))
    values = [record["val_rmse"] for record in estimator.histories_[0].epochs]
    assert estimator.best_epochs_ == [int(np.argmin(values))]
    held_out = estimator.set_params(max_epochs=estimator.best_epochs_[0] + 1)
    assert estimator.networks_[0].state.epoch == 8
    assert len(held_out.histories_[0].epochs) == 8


def test_validation_data_weights_classes_and_calibration(client):
    other, y_other = make_table(80, 2)
    labels = pd.Series(np.where(y_other > Y.median(), "high", "low"))
    estimator = RealMLPClassifier(
        **SMALL, class_weight="balanced", calibrate="temperature", val_metric="loss"
    )
    weights = pd.Series(RNG.random(N_ROWS), index=X.index)
    pair = split(other, 2), split(labels, 2)
    estimator.fit(split(X), split(LABELS), split(weights), validation_data=pair)
    assert estimator.temperature_ != 1
    assert "val_loss" in estimator.histories_[0].epochs[0]
    np.testing.assert_array_equal(estimator.classes_, ["high", "low"])


def test_filters_keep_rows_and_targets_together(client, tmp_path):
    X.assign(y=Y).to_parquet(tmp_path / "table.parquet")
    frame = dd.read_parquet(tmp_path / "table.parquet").repartition(npartitions=4)
    frame = frame[frame["size"] > 1]
    kept = X["size"] > 1
    weights = frame["count"] + 1.0
    options = SMALL | {"max_epochs": 40, "init": "normal"}
    estimator = RealMLPRegressor(**options).fit(frame[[*X.columns]], frame["y"], weights)
    found = estimator.score(frame[[*X.columns]], frame["y"], weights)
    local = estimator.to_local()
    assert found == pytest.approx(local.score(X[kept], Y[kept], X["count"][kept] + 1.0))
    assert found > 0.5


def test_schedules_count_the_steps_of_all_rounds():
    class Recorder:
        def factors(self, steps, epoch, steps_per_epoch, epochs):
            self.seen = [*getattr(self, "seen", []), *steps]
            return np.ones(len(steps))

    partition = Partition((np.zeros((95, 1)),), 1, np.zeros(95, np.int32), None, None, None, 3)
    for local_steps, drop_last, per_round in ((5, True, 5), (None, True, 9), (14, False, 14)):
        schedule = Recorder()
        plan = Plan(None, SGD(), 10, True, local_steps, 6, 1, None, drop_last=drop_last)
        for number in range(6):
            turn = Round(number, number, 0.1, 1.0, schedule)
            for order, _, _, steps, first in list_chunks(partition, plan, number):
                compute_settings(plan, turn, first, -(-len(order) // 10), steps)
        assert schedule.seen == list(range(6 * per_round))


@pytest.mark.parametrize("class_weight", ["balanced", {"b": 2.0}])
def test_class_weights_are_those_of_the_local_estimator(class_weight):
    labels = np.where(np.arange(300) % 4 == 0, "b", "a")
    weights = np.where(labels == "b", 3.0, 1.0)
    summary = summarize_blocks(LoadedBlocks(np.zeros((300, 1)), labels, weights), "", True)
    estimator = RealMLPClassifier(class_weight=class_weight)
    found = estimator._weigh_classes(ClassTargets(np.array(["a", "b"])), [summary])
    expected = weigh_classes(class_weight, labels, np.ones(300))
    np.testing.assert_allclose(found[(labels == "b").astype(int)], expected)


def test_an_interrupt_ends_all_folds(client, monkeypatch):
    calls = []

    def interrupt(run, turn, validates):
        calls.append(turn)
        raise KeyboardInterrupt

    monkeypatch.setattr(ClusterRun, "run_round", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RealMLPClassifier(**SMALL, cv=3).fit(split(X), split(LABELS))
    assert len(calls) == 1


def test_records_have_the_last_learning_rate_of_a_round(client):
    options = SMALL | {"max_epochs": 4}
    cluster = RealMLPClassifier(**options).fit(split(X, 1), split(LABELS, 1))
    local = tabular.RealMLPClassifier(**options).fit(X, LABELS)
    np.testing.assert_allclose(cluster.histories_[0]["lr"], local.histories_[0]["lr"], rtol=1e-12)


def test_few_values_are_not_lost_in_a_sample(client, monkeypatch):
    monkeypatch.setattr(tables, "SAMPLE_ROWS", 20)
    table = pd.DataFrame({"few": np.nan, "all": np.arange(400.0)})
    table.loc[[7, 300], "few"] = [1.0, 5.0]
    run, futures = load(client, *[(table[i : i + 200], np.zeros(200), None) for i in (0, 200)])
    encoder = learn_encoder(run, futures, 400, ("from_dtype", 3.0, "float32"), 0)
    assert encoder.factors_[0] == 0.5  # of the range, or of the quartiles 2 and 4
    assert 1 <= encoder.medians_[0] <= 5


def test_limits_end_training(client, capsys):
    estimator = RealMLPClassifier(
        **(SMALL | {"max_epochs": 500}), time_limit=1.0, cv=2, verbose=1
    ).fit(split(X, 2), split(LABELS, 2))
    assert all(len(history.epochs) < 500 for history in estimator.histories_)
    assert "Round 1: loss = " in capsys.readouterr().out
    estimator = RealMLPClassifier(**(SMALL | {"max_epochs": 60}), early_stopping=2)
    estimator.fit(split(X, 2), split(LABELS, 2))
    assert len(estimator.histories_[0].epochs) == min(60, estimator.best_epochs_[0] + 4)


def test_empty_partitions_and_arrays(client):
    frame = split(X)
    frame = dd.concat([frame[frame["count"] > 10], frame])
    labels = split(LABELS)
    labels = dd.concat([labels[labels == ""], labels])
    weights = split(pd.Series(1.0, X.index))
    weights = dd.concat([weights[weights > 1], weights])
    estimator = RealMLPClassifier(**SMALL).fit(frame, labels, weights)
    assert len(estimator.predict(frame).compute()) == N_ROWS

    array = da.from_array(X[["size", "count"]].to_numpy(), chunks=(100, 2))
    targets = da.from_array(np.stack([Y, -Y], 1), chunks=(100, 2))
    regressor = RealMLPRegressor(**SMALL).fit(array, targets)
    predictions = regressor.predict(array)
    assert predictions.shape == (N_ROWS, 2)
    assert regressor.n_outputs_ == 2


# Predictions.


def test_predictions_are_lazy_and_those_of_the_local_estimator(client, tmp_path):
    classifier = RealMLPClassifier(**SMALL).fit(split(X), split(LABELS))
    local, frame = classifier.to_local(), split(X)
    assert type(local) is tabular.RealMLPClassifier
    found = classifier.predict_proba(frame)
    assert isinstance(found, dd.DataFrame)
    expected = local.predict_proba(X)
    np.testing.assert_array_equal(found.compute().to_numpy(), expected)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)
    np.testing.assert_array_equal(classifier.predict(frame).compute(), local.predict(X))
    np.testing.assert_allclose(
        classifier.predict_log_proba(frame).compute(), np.log(expected), rtol=1e-6
    )
    assert classifier.score(frame, split(LABELS)) == pytest.approx(local.score(X, LABELS))
    np.testing.assert_array_equal(classifier.transform(frame).compute(), local.transform(X))
    classifier.save(tmp_path / "model.npz")
    loaded = tabular.RealMLPClassifier.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    loaded = RealMLPClassifier.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(frame).compute(), local.predict(X))
    copy = pickle.loads(pickle.dumps(classifier))
    assert copy.client is None
    np.testing.assert_array_equal(copy.predict_proba(X), expected)


def test_quantiles_and_deviations(client):
    frame = split(X)
    estimator = RealMLPRegressor(**SMALL, loss="pinball", quantiles=(0.2, 0.8))
    found = estimator.fit(frame, split(Y)).predict(frame).compute()
    np.testing.assert_array_equal(found, estimator.to_local().predict(X))
    with pytest.raises(ValueError, match="loss must not be 'pinball' for the score"):
        estimator.score(frame, split(Y))
    estimator = RealMLPRegressor(**SMALL, loss="gaussian_nll").fit(frame, split(Y))
    mean, std = estimator.predict(frame, return_std=True)
    expected = estimator.predict(X, return_std=True)
    np.testing.assert_array_equal(mean.compute(), expected[0])
    np.testing.assert_array_equal(std.compute(), expected[1])


# Wrong input.


@pytest.mark.parametrize(
    ("arguments", "change", "error", "message"),
    [
        ({"cv": [([0], [1])]}, {}, TypeError, "cv must be a whole number"),
        ({"cv": 2}, {"validation_data": True}, ValueError, "validation_data must be None with cv"),
        ({"replicas": 0}, {}, ValueError, "replicas must be at least 1"),
        ({"validation_fraction": 0.0}, {}, ValueError, r"validation_fraction must be in \(0, 1\)"),
        ({"val_metric": "rmse"}, {}, ValueError, "val_metric must be"),
        ({"calibrate": "platt"}, {}, ValueError, "calibrate must be"),
        ({"decay_schedule": schedules.ReduceOnPlateau("loss")}, {}, ValueError,
         "decay_schedule must not depend on the results of epochs"),
        ({}, {"X": X.assign(size=np.inf)}, ValueError,
         r"column 'size' of X must hold finite numbers.* \(partition \d\)"),
        ({}, {"X": X.assign(day=pd.Timestamp("2026-01-01"))}, TypeError, "column 'day' of X"),
        ({}, {"y": LABELS.to_frame().assign(b="x")}, ValueError, "y must"),
        ({}, {"y": split(LABELS, 2)}, ValueError, "X and y must have the same chunks"),
        ({}, {"X": X.to_numpy()}, TypeError, "X must be a Dask array or data frame"),
        ({}, {"weights": pd.Series(0.0, X.index)}, ValueError, "sample_weight must be positive"),
        ({"class_weight": "even"}, {}, ValueError, "class_weight must be a dict, 'balanced'"),
        ({"class_weight": {"high": -1}}, {}, ValueError, "class_weight.* must be finite and not"),
        ({}, {"y": LABELS.map({"high": 1.0, "low": np.nan})}, ValueError,
         "y must hold labels, none of them missing; got NaN in partition"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(client, arguments, change, error, message):
    estimator = RealMLPClassifier(**SMALL).set_params(**arguments)
    parts = {"X": X, "y": LABELS} | change
    frames = {
        name: split(value) if isinstance(value, (pd.DataFrame, pd.Series)) else value
        for name, value in parts.items()
    }
    options = {"validation_data": (frames["X"], frames["y"])} if "validation_data" in change else {}
    with pytest.raises(error, match=message):
        estimator.fit(frames["X"], frames["y"], frames.get("weights"), **options)
    assert not hasattr(estimator, "networks_")


def test_scores_of_wrong_data_are_refused(client):
    frame, y = split(X), split(Y)
    estimator = RealMLPRegressor(**SMALL).fit(frame, y)
    for target, weights, message in (
        (split(Y.where(Y.min() < Y)), None, "y must hold finite numbers"),
        (split(Y.to_frame().assign(b=1.0)), None, r"y must have the shape \(100,\); got"),
        (y, split(pd.Series(0.0, X.index)), "X must have samples whose sample_weight is positive"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.score(frame, target, weights)
    array = da.from_array(X[["size", "count"]].fillna(0).to_numpy(), chunks=(100, 2))
    masked = da.ma.masked_where(array[:, 0] > 1, array[:, 0])
    with pytest.raises((TypeError, ValueError), match=r"y of partition \d must not have masked"):
        RealMLPRegressor(**SMALL).fit(array, masked)


def test_unknown_labels_and_divergence_leave_the_estimator_as_it_was(client):
    estimator = RealMLPClassifier(**SMALL).fit(split(X), split(LABELS))
    before = estimator.networks_[0].state.to_arrays()
    strange = split(LABELS.replace("low", "none"))
    with pytest.raises(ValueError, match=r"partition \d must hold labels that occur in y"):
        estimator.fit(split(X), split(LABELS), validation_data=(split(X), strange))
    estimator.set_params(learning_rate=1e30)
    with pytest.raises(TrainingDiverged):
        estimator.fit(split(X), split(LABELS))
    for name, array in estimator.networks_[0].state.to_arrays().items():
        np.testing.assert_array_equal(array, before[name])
