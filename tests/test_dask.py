"""cmlp.dask on clusters of processes: the bits of training, lost workers, lazy predictions."""

import pickle
import subprocess
import sys
import threading
import warnings

import dask.array as da
import dask.dataframe as dd
import distributed
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from conftest import assert_same_state
from dask_clusters import Killer, get_context, make_killing_schedule, run_worker, start_cluster
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import cmlp.datasets
import cmlp.sklearn
from cmlp import SGD, Adam, Network, TrainingDiverged, callbacks, fit_many, schedules
from cmlp.dask import MLPClassifier, MLPRegressor
from cmlp.dask.partitions import make_seed
from cmlp.tabular import RealMLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

RNG = np.random.default_rng(0)
X = RNG.random((96, 10), dtype=np.float32)
LABELS = np.array(["ant", "bee", "cat"])[X[:, :3].argmax(axis=1)]
TARGETS = X[:, :2] @ np.array([[1.0, 0.5], [-2.0, 1.0]]) + 0.1
SIZES = (40, 24, 32)
WEIGHTS = RNG.integers(1, 4, 96).astype(float)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = tmp_path_factory.mktemp("workers")
    with start_cluster(path, 2) as cluster, distributed.Client(cluster) as client:
        yield client


def split(array, sizes=SIZES):
    """Return a Dask array with these chunks along the rows."""
    return da.from_array(array, chunks=(sizes, *array.shape[1:]))


def forget_sizes(array):
    """Return the same array with unknown chunk sizes."""
    return array[da.from_array(np.ones(array.shape[0], bool), chunks=array.chunks[0])]


def assert_same_coefs(estimator, other):
    one, two = estimator.network_, other.network_
    for a, b in zip([*one.weight, *one.bias], [*two.weight, *two.bias],
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


# Training.


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
        {"optimizer": Adam(average=0.9), "schedule": schedules.Cosine()},
        {"optimizer": SGD(0.1), "schedule": schedules.ReduceOnPlateau("loss", patience=0)},
        {"batch_norm": True, "class_weight": "balanced", "batch_size": 96},
        {"class_weight": {"ant": 3.0}, "dtype": "float64", "activation": ["tanh", "relu"],
         "hidden_layer_sizes": (9, 5)},
        {"loss": "squared_hinge", "normalization": "layer", "initializer": "he_normal",
         "max_norm": 1.0, "early_stopping": False},
    ],
    ids=lambda arguments: "-".join(arguments) or "adam",
)  # fmt: skip
def test_one_partition_trains_like_the_local_estimator(client, arguments):
    arguments = {"hidden_layer_sizes": 12, "batch_size": 16, "max_iter": 6, **arguments}
    options = {"random_state": 1, "shuffle": False, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = cmlp.sklearn.MLPClassifier(**options).fit(X, LABELS, WEIGHTS)
        spread = MLPClassifier(**options).fit(split(X, (96,)), split(LABELS, (96,)),
                                              split(WEIGHTS, (96,)))  # fmt: skip
    assert_same_coefs(alone, spread)
    assert alone.loss_curve_ == spread.loss_curve_
    assert (alone.n_iter_, alone.t_) == (spread.n_iter_, spread.t_)
    # The optimizer's state too: both continue alike.
    local = spread.to_local().partial_fit(X, LABELS)
    assert_same_coefs(alone.partial_fit(X, LABELS), local)


def simulate(rounds, replicas):
    """Train with `Network.fit` and average with NumPy; return the parameters."""
    twin = cmlp.sklearn.MLPRegressor(
        hidden_layer_sizes=8, solver="sgd", momentum=0, random_state=2, max_iter=1,
        learning_rate_init=1e-30,
    ).fit(X, TARGETS)  # fmt: skip
    random_state = np.random.RandomState(2)
    for coef, intercept in zip(twin.coefs_, twin.intercepts_, strict=True):
        random_state.uniform(size=coef.size + intercept.size)
    seed = random_state.randint(2**31)
    bounds = np.cumsum([0, *SIZES])
    parameters = twin.network_.state.parameters.block.copy()
    for number in range(rounds):
        trained = []
        for group in replicas:
            block = parameters
            for i in group:
                net = Network([10, 8, 2], activation="relu", output="identity",
                              seed=make_seed(seed, i))  # fmt: skip
                net.state.parameters.block[:], net.state.epoch = block, number
                rows = slice(bounds[i], bounds[i + 1])
                net.fit(X[rows], TARGETS[rows], epochs=1, batch_size=7,
                        optimizer=SGD(0.05, penalty=1e-4), sample_weight=WEIGHTS[rows])  # fmt: skip
                block = net.state.parameters.block
            weight = sum(WEIGHTS[bounds[i] : bounds[i + 1]].sum() for i in group)
            trained.append((block, weight))
        while len(trained) > 1:
            (a, first), (b, second), *rest = trained
            share = second / (first + second)
            mean = a * np.float32(1 - share) + b * np.float32(share)
            trained = [(mean, first + second), *rest]
        parameters = trained[0][0]
    return parameters


@pytest.mark.parametrize(("replicas", "groups"), [(None, [[0], [1], [2]]), (2, [[0], [1, 2]])])
def test_averages_equal_those_of_numpy(client, replicas, groups):
    estimator = MLPRegressor(
        hidden_layer_sizes=8, solver="sgd", momentum=0, learning_rate_init=0.05, random_state=2,
        max_iter=3, batch_size=7, replicas=replicas,
    )  # fmt: skip
    estimator.fit(split(X), split(TARGETS), split(WEIGHTS))
    np.testing.assert_array_equal(estimator.network_.state.parameters.block, simulate(3, groups))


def test_local_steps_continue_through_epochs(client):
    options = {"hidden_layer_sizes": 5, "batch_size": 8, "random_state": 0}
    data = split(X, (96,)), split(TARGETS[:, 0], (96,))
    whole = MLPRegressor(max_iter=2, **options).fit(*data)
    parts = MLPRegressor(max_iter=3, local_steps=8, **options).fit(*data)
    assert_same_coefs(whole, parts)


def make_estimator(**options):
    return MLPClassifier(16, random_state=3, batch_size=8, early_stopping=True, dropout=0.1,
                         validation_fraction=0.2, **options)  # fmt: skip


@pytest.fixture(scope="module")
def reference(client):
    """The estimator that two workers train, if neither is lost."""
    return make_estimator(max_iter=14, client=client).fit(split(X), split(LABELS))


@pytest.mark.parametrize(("workers", "threads"), [(1, 2), (3, 1)])
def test_the_same_bits_for_any_number_of_workers(reference, tmp_path, workers, threads):
    with start_cluster(tmp_path, workers, threads) as cluster, distributed.Client(cluster) as other:
        estimator = make_estimator(max_iter=14, client=other).fit(split(X), split(LABELS))
    assert_same_coefs(estimator, reference)
    assert estimator.loss_curve_ == reference.loss_curve_
    assert estimator.validation_scores_ == reference.validation_scores_


def test_the_same_bits_if_workers_are_lost(reference, tmp_path):
    with start_cluster(tmp_path, 0) as cluster, distributed.Client(cluster) as other:
        arguments = cluster.scheduler_address, str(tmp_path)
        workers = [get_context().Process(target=run_worker, args=arguments) for _ in range(3)]
        try:
            for worker in workers:
                worker.start()
            other.wait_for_workers(3)
            killer = Killer(other, 0.03)
            estimator = make_estimator(max_iter=14, client=other, callbacks=[killer])
            estimator.fit(split(X), split(LABELS))
        finally:
            for worker in workers:
                worker.kill()
                worker.join()
    assert len(killer.processes) == 1
    assert_same_coefs(estimator, reference)
    assert estimator.validation_scores_ == reference.validation_scores_


def test_the_same_bits_if_a_worker_dies_within_a_task(reference, tmp_path):
    codes, spread = np.unique(LABELS, return_inverse=True)[1], make_networks()
    with start_cluster(tmp_path / "workers", 2) as cluster, distributed.Client(cluster) as other:
        schedule = make_killing_schedule(str(tmp_path / "killed"), 5)
        estimator = make_estimator(max_iter=14, client=other, schedule=schedule)
        estimator.fit(split(X), split(LABELS))
        other.wait_for_workers(2)
        schedule = make_killing_schedule(str(tmp_path / "killed again"), 1)
        fit_many(spread, X, codes, epochs=3, schedule=[None, schedule, None], client=other)
    assert (tmp_path / "killed").exists()
    assert (tmp_path / "killed again").exists()
    assert_same_coefs(estimator, reference)
    alone = make_networks()
    fit_many(alone, X, codes, epochs=3)
    for net, expected in zip(spread, alone, strict=True):
        assert_same_state(net, expected)


def test_only_small_results_are_collected(client, monkeypatch):
    sizes, gather = [], client.gather
    monkeypatch.setattr(client, "gather", lambda *args: record(gather(*args)))

    def record(result):
        sizes.append(len(pickle.dumps(result)))
        return result

    big = da.random.default_rng(0).random((20_000, 50), chunks=(5_000, 50), dtype=np.float32)
    estimator = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0, client=client)
    estimator.fit(big, big[:, 0]).score(big, big[:, 0])
    assert len(sizes) > 3
    assert max(sizes) < 2_000


def test_early_stopping_restores_the_best_parameters(reference, client):
    assert len(reference.validation_scores_) == reference.n_iter_
    assert reference.best_validation_score_ == max(reference.validation_scores_)
    best = int(np.argmax(reference.validation_scores_)) + 1
    again = make_estimator(max_iter=best, client=client).fit(split(X), split(LABELS))
    assert_same_coefs(again, reference)
    stopped = make_estimator(max_iter=50, n_iter_no_change=2, tol=1.0).fit(split(X), split(LABELS))
    assert stopped.n_iter_ < 10


def test_validation_data_is_scored(client):
    estimator = MLPClassifier(8, max_iter=3, random_state=0)
    estimator.fit(split(X), split(LABELS), validation_data=(split(X), split(LABELS)))
    assert estimator.validation_scores_[-1] == estimator.score(split(X), split(LABELS))
    assert len(estimator.history_["val_accuracy"]) == 3
    assert estimator.network_.state.history is estimator.history_
    estimator.set_params(callbacks=[callbacks.EarlyStopping("val_accuracy")])
    with pytest.raises(ValueError, match="requires validation_data or early_stopping=True"):
        estimator.fit(split(X), split(LABELS))
    assert estimator.n_iter_ == 3


def test_partial_fit_and_warm_start_continue(client):
    data, options = (split(X), split(LABELS)), {"hidden_layer_sizes": 6, "random_state": 0}
    whole = MLPClassifier(max_iter=3, **options).fit(*data)
    parts = MLPClassifier(**options)
    with pytest.raises(ValueError, match="classes must be passed"):
        parts.partial_fit(*data)
    for _ in range(3):
        parts.partial_fit(*data, classes=["ant", "bee", "cat"])
    assert_same_coefs(whole, parts)
    warm = MLPClassifier(max_iter=2, warm_start=True, solver="sgd", momentum=0, **options)
    cold = clone(warm).set_params(max_iter=4)
    assert_same_coefs(warm.fit(*data).fit(*data), cold.fit(*data))
    with pytest.raises(ValueError, match="X must have 10 columns, as before; got 9"):
        warm.fit(split(X[:, :9]), data[1])


def test_divergence_raises_the_local_error(client):
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(hidden_layer_sizes=8, solver="sgd", learning_rate_init=1e30).fit(
            split(X), split(TARGETS)
        )


def test_callbacks_stop_training_and_lines_are_printed(client, capsys):
    seen = []
    estimator = MLPClassifier(
        4, verbose=True, max_iter=9,
        callbacks=[lambda net, epoch, record: seen.append(net.predict(X)) or epoch == 1],
    )  # fmt: skip
    estimator.fit(split(X), split(LABELS))
    assert estimator.n_iter_ == len(seen) == 2
    assert (estimator.classes_[seen[-1]] == estimator.predict(X)).all()
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")


# Data.


def test_data_frames(client):
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(10)])
    frame["label"], frame["count"] = LABELS, np.arange(96) % 5
    frame = dd.from_pandas(frame, npartitions=3)
    estimator = MLPClassifier(6, max_iter=2, random_state=0)
    columns = [*(f"c{i}" for i in range(10)), "count"]
    estimator.fit(frame[columns], frame["label"])
    assert list(estimator.feature_names_in_) == columns
    labels, probabilities = (
        estimator.predict(frame[columns]), estimator.predict_proba(frame[columns])
    )  # fmt: skip
    assert isinstance(labels, dd.Series)
    assert list(probabilities.columns) == ["ant", "bee", "cat"]
    local = frame[columns].compute()
    expected = estimator.to_local().predict_proba(local)
    np.testing.assert_array_equal(probabilities.compute(), expected)
    np.testing.assert_array_equal(labels.compute(), estimator.predict(local))
    assert (labels.compute().index == local.index).all()
    assert estimator.score(frame[columns], frame["label"]) == estimator.score(
        local, frame["label"].compute()
    )
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[columns[::-1]])


def test_forms_of_arrays_that_train_alike(client):
    def fit(X, y):
        return MLPClassifier(5, max_iter=2, random_state=0, client=client).fit(X, y)

    rows, labels = np.where(X > 0.8, X, 0), split(LABELS)
    expected = fit(split(rows), labels)
    compressed = split(rows).map_blocks(sparse.csr_matrix)
    unknown = forget_sizes(split(rows))
    columns = split(rows).rechunk({1: 3})
    empty = da.concatenate([split(rows)[:0], split(rows)])
    assert np.isnan(unknown.chunks[0][0])
    for form in (compressed, unknown, columns):
        assert_same_coefs(fit(form, labels), expected)
    assert_same_coefs(fit(split(rows.astype(float)), labels).set_params(dtype="float32"),
                      fit(split(rows.astype(float)), forget_sizes(labels)))  # fmt: skip
    fitted = fit(empty, da.concatenate([labels[:0], labels]))
    assert fitted.n_iter_ == 2
    assert fitted.predict(empty).compute().shape == (96,)


def test_scores_equal_those_of_scikit_learn(client):
    estimator = MLPRegressor(hidden_layer_sizes=6, max_iter=5, random_state=0).fit(
        split(X), split(TARGETS)
    )
    found = estimator.predict(split(X)).compute()
    for weights in (None, WEIGHTS):
        score = estimator.score(split(X), split(TARGETS), None if weights is None
                                else split(weights))  # fmt: skip
        expected = sklearn.metrics.r2_score(TARGETS, found, sample_weight=weights)
        assert score == pytest.approx(expected, rel=1e-12)
    multilabel = (X[:, :2] > 0.5).astype(int)
    classifier = MLPClassifier(6, max_iter=5, random_state=0).fit(split(X), split(multilabel))
    expected = sklearn.metrics.accuracy_score(multilabel, classifier.predict(X))
    assert classifier.score(split(X), split(multilabel)) == expected
    positive = MLPRegressor("poisson", 6, max_iter=5, early_stopping=True, random_state=0)
    positive.fit(split(X), split(TARGETS + 2))
    assert (positive.predict(split(X)) > 0).all().compute()


def test_predictions_are_lazy_and_those_of_the_local_estimator(reference):
    for rows in (split(X), forget_sizes(split(X)), split(X).rechunk({1: 4})):
        labels, probabilities = reference.predict(rows), reference.predict_proba(rows)
        assert isinstance(labels, da.Array)
        assert labels.dtype == LABELS.dtype
        local = reference.to_local()
        assert type(local) is cmlp.sklearn.MLPClassifier
        np.testing.assert_array_equal(labels.compute(), local.predict(X))
        np.testing.assert_array_equal(probabilities.compute(), local.predict_proba(X))
        assert probabilities.shape[1] == 3
    np.testing.assert_array_equal(
        reference.predict_log_proba(split(X)).compute(), reference.predict_log_proba(X)
    )


def test_losses_and_hidden_layers(client):
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcdefghij")), npartitions=3)
    scored = MLPClassifier(6, loss="hinge", max_iter=3, random_state=0, early_stopping=True)
    scored.fit(split(X), split(LABELS))
    assert not hasattr(scored, "predict_proba")
    local = scored.to_local()
    np.testing.assert_array_equal(
        scored.decision_function(split(X)).compute(), local.decision_function(X)
    )
    np.testing.assert_array_equal(scored.predict(split(X)).compute(), local.predict(X))
    assert scored.score(split(X), split(LABELS)) == local.score(X, LABELS)
    np.testing.assert_array_equal(scored.transform(split(X)).compute(), local.transform(X))
    targets = dd.from_pandas(pd.Series(TARGETS[:, 0]), npartitions=3)
    normal = MLPRegressor("gaussian_nll", 6, max_iter=3, random_state=0).fit(frame, targets)
    rows = frame.compute()
    for lazy, expected in zip(normal.predict(frame, return_std=True),
                              normal.predict(rows, return_std=True), strict=True):  # fmt: skip
        np.testing.assert_array_equal(lazy.compute(), expected)
    hidden = normal.set_output(transform="pandas").transform(frame)
    assert list(hidden.columns) == [f"mlpregressor{i}" for i in range(6)]
    pd.testing.assert_frame_equal(hidden.compute(), normal.transform(rows))
    quantiles = MLPRegressor("pinball", 6, quantiles=(0.1, 0.9), max_iter=3, random_state=0)
    found = quantiles.fit(frame, targets).predict(frame).compute()
    np.testing.assert_array_equal(found, quantiles.predict(rows))
    with pytest.raises(ValueError, match="loss must not be 'pinball' for the score"):
        quantiles.score(frame, targets)


def test_estimators_are_cloned_and_pickled(reference, client):
    other = pickle.loads(pickle.dumps(reference))
    assert other.client is None
    np.testing.assert_array_equal(other.predict(X), reference.predict(X))
    copy = clone(reference)
    assert copy.client is client
    assert not hasattr(copy, "coefs_")


WITHOUT_NAN = X.copy()
WITHOUT_NAN[50, 3] = np.nan


@pytest.mark.parametrize(
    ("arguments", "data", "error", "message"),
    [
        ({}, (X, split(LABELS)), TypeError, "X must be a Dask array or data frame; got ndarray"),
        ({}, (split(X), LABELS), TypeError, "y must be a Dask array or data frame; got ndarray"),
        ({}, (split(X), split(LABELS, (48, 48))), ValueError,
         r"X and y must have the same chunks along the rows; got 3 chunks \(40, 24, 32\) of X"),
        ({}, (split(X), split(LABELS, (40, 32, 24))), ValueError, "X and y must have the same"),
        ({}, (forget_sizes(split(X)), split(LABELS, (40, 32, 24))), ValueError,
         "X and y must have the same number of rows; got"),
        ({}, (split(X)[:, 0], split(LABELS)), ValueError, "X must have 2 dimensions; got 1"),
        ({}, (split(LABELS[:, None]), split(LABELS)), TypeError, "X must hold real numbers"),
        ({}, (split(WITHOUT_NAN), split(LABELS)), ValueError,
         "X of partition 1 must be finite; row 10 holds NaN or infinity"),
        ({}, (split(X), split(TARGETS[:, 0])), ValueError, "y must hold labels of"),
        ({}, (split(X)[:0], split(LABELS)[:0]), ValueError, "X must have samples; got 1 empty"),
        ({}, (split(X), split(LABELS), split(-WEIGHTS)), ValueError,
         "sample_weight of partition \\d must be finite and not negative"),
        ({}, (split(X), split(LABELS), split(0 * WEIGHTS)), ValueError, "sample_weight must be"),
        ({"solver": "lbfgs"}, (split(X), split(LABELS)), ValueError, "solver must be 'adam' or"),
        ({"local_steps": 0}, (split(X), split(LABELS)), ValueError, "'local_steps' parameter"),
        ({"initializer": "data"}, (split(X), split(LABELS)), ValueError,
         "initializer must not be 'data' on a cluster"),
        ({"metrics": "f1"}, (split(X), split(LABELS)), ValueError, "metrics must be None on a"),
        ({"decay_schedule": "cosine"}, (split(X), split(LABELS)), ValueError,
         "decay_schedule must be None on a cluster"),
        ({"normalization": "layer", "batch_norm": True}, (split(X), split(LABELS)), ValueError,
         "normalization must be None with batch_norm=True"),
        ({"client": "here"}, (split(X), split(LABELS)), ValueError, "'client' parameter"),
        ({"callbacks": callbacks.Checkpoint("x.npz")}, (split(X), split(LABELS)), ValueError,
         "callbacks must not need steps within a round or checkpoints"),
        ({"early_stopping": True, "validation_fraction": 0.001}, (split(X), split(LABELS)),
         ValueError, "The validation set is too small"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(client, arguments, data, error, message):
    estimator = MLPClassifier(3, **arguments)
    before = dict(vars(estimator))
    with pytest.raises(error, match=message):
        estimator.fit(*data)
    assert vars(estimator) == before


def fit_without_client():
    with pytest.raises(ValueError, match=r"client must be a distributed\.Client, unless"):
        MLPRegressor().fit(split(X), split(TARGETS))


def test_a_missing_client_is_named():
    process = get_context().Process(target=fit_without_client)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_grid_search_of_scikit_learn(client):
    codes = np.unique(LABELS, return_inverse=True)[1]
    grid = {"alpha": [1e-4, 10.0], "hidden_layer_sizes": [(2,), (16,)]}
    estimator = cmlp.sklearn.MLPClassifier(random_state=0, max_iter=15)
    search = GridSearchCV(estimator, grid, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = clone(search).fit(X, codes)
        with joblib.parallel_backend("dask"):
            spread = search.fit(X, codes)
    assert spread.best_params_ == alone.best_params_
    assert (spread.best_estimator_.coefs_[0] == alone.best_estimator_.coefs_[0]).all()


def test_cmlp_does_not_import_dask():
    code = "import sys, cmlp, cmlp.sklearn; assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("missing", ["dask.array", "distributed"])
def test_import_without_dask_says_what_to_install(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "cmlp.dask")
    with pytest.raises(ImportError, match=rf"requires {missing}; .* pip install 'cmlp\[dask\]'"):
        import cmlp.dask  # noqa: F401


# Several networks.


def make_networks():
    return [Network([10, 5 + seed, 3], loss="cross_entropy", seed=seed, dropout=0.1 * seed)
            for seed in range(3)]  # fmt: skip


def augment(X):
    """Return images of 2 x 5 pixels to distort, which have been drawn before they are sent."""
    images = cmlp.datasets.augment(X, shape=(2, 5))
    images.draw()
    return images


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, augment])
def test_fit_many_on_a_cluster_has_the_bits_of_fit_many(client, kind):
    codes = np.unique(LABELS, return_inverse=True)[1]
    options = {"epochs": [1, 2, 3], "optimizer": Adam(), "batch_size": 8, "early_stopping": 1,
               "validation_data": (X, codes), "sample_weight": WEIGHTS}  # fmt: skip
    spread, alone = make_networks(), make_networks()
    weights = [net.weight[0] for net in spread]
    histories = fit_many(spread, kind(X), codes, client=client, **options)
    expected = fit_many(alone, kind(X), codes, **options)
    for i in range(3):
        assert_same_state(spread[i], alone[i])
        assert histories[i]["val_loss"] == expected[i]["val_loss"]
        assert (spread[i].weight[0] == weights[i]).all()
        assert spread[i].state.epoch == alone[i].state.epoch
        assert spread[i].state.training["loss"] == alone[i].state.training["loss"]


def test_errors_of_fit_many_on_a_cluster(client):
    codes = np.unique(LABELS, return_inverse=True)[1]
    spread, alone = make_networks(), make_networks()
    options = {"optimizer": [SGD(1e30), SGD(0.1), SGD(0.1)], "return_exceptions": True}
    histories = fit_many(spread, X, codes, client=client, **options)
    fit_many(alone, X, codes, **options)
    assert isinstance(histories[0], TrainingDiverged)
    for net, other in zip(spread, alone, strict=True):
        np.testing.assert_array_equal(net.weight[0], other.weight[0])
    with pytest.raises(TrainingDiverged):
        fit_many(make_networks(), X, codes, client=client, optimizer=SGD(1e30))
    lock = threading.Lock()
    with pytest.raises(TypeError, match="callbacks must be picklable with client"):
        fit_many(make_networks(), X, codes, client=client,
                 callbacks=lambda net, epoch, record: lock.locked())  # fmt: skip
    with pytest.raises(ValueError, match="threads must be None with client; got 2"):
        fit_many(make_networks(), X, codes, client=client, threads=2)
    with pytest.raises(TypeError, match="X must be an array for fit_many; got a Dask collection"):
        fit_many(make_networks(), split(X), codes, client=client)
    with pytest.raises(ValueError, match="X must have 10 columns"):
        fit_many(make_networks(), X[:, 1:], codes, client=client)
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client; got str"):
        fit_many(make_networks(), X, codes, client="here")


def test_warnings_for_too_few_rounds(client):
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPClassifier(3, max_iter=1).fit(split(X), split(LABELS))


def test_folds_of_a_tabular_estimator_train_on_the_cluster(client):
    options = {"hidden_layer_sizes": (8,), "max_epochs": 4, "batch_size": 16, "random_state": 0,
               "cv": 3, "val_metric": "log_loss", "n_refit": 2}  # fmt: skip
    here = RealMLPClassifier(**options).fit(X, LABELS)
    there = RealMLPClassifier(**options).fit(X, LABELS, client=client)
    np.testing.assert_array_equal(there.predict_proba(X), here.predict_proba(X))
    np.testing.assert_array_equal(there.oof_prediction_, here.oof_prediction_)
    assert there.best_epochs_ == here.best_epochs_
    with pytest.raises(ValueError, match="time_limit must be None with client"):
        RealMLPClassifier(time_limit=1).fit(X, LABELS, client=client)


def test_estimators_of_a_cluster_do_not_have_callbacks_of_scikit_learn():
    for kind in (MLPClassifier, MLPRegressor):
        assert not hasattr(kind(), "set_callbacks")
