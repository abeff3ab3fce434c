"""Several ranks: metrics, batches, `partial_fit`, steps of their own, predictions and scores.

test_sharding.py has the bits, the failures and MPI.
"""

import numpy as np
import pytest
from scipy.sparse import csr_array
from test_sharding import ThreadComm, run_ranks

from cmlp import SGD, Adam, Network, RankError, TrainingDiverged, callbacks, schedules
from cmlp.metrics import Metric
from cmlp.sklearn import MLPClassifier, MLPRegressor


@pytest.fixture
def data(rng):
    X = rng.random((500, 40), dtype=np.float32)
    return X, (X[:, :4].sum(axis=1) * 1.2).astype(int) % 5


@pytest.fixture
def values(rng):
    X = rng.random((500, 40), dtype=np.float32)
    return X, 1e3 + X[:, :2] @ np.array([[1, 2], [-1, 3]], np.float32)


def make(kind="classes", units=30, **options):
    if kind == "classes":
        return Network([40, units, 5], activation="relu", loss="cross_entropy", seed=0, **options)
    return Network([40, units, 2], activation="tanh", loss="mse", seed=0, **options)


METRICS = {"classes": ["accuracy", "f1", "top_2"], "values": ["r2", "mae", "mse", "rmse"]}


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_metrics_are_the_same_bits_on_any_number_of_ranks(request, data, values, kind):
    X, y = data if kind == "classes" else values

    def train(**options):
        history = make(kind).fit(X, y, epochs=3, batch_size=50, optimizer=SGD(1e-3),
                                 metrics=METRICS[kind], **options)  # fmt: skip
        return {name: history[name] for name in METRICS[kind]}

    want = train(shards=8)
    for size in (1, 2, 4):
        for found in run_ranks(size, lambda comm: train(shards=8, comm=comm, distribute=True)):
            assert found == want
    # With one batch an epoch, the metrics of the first epoch are the scores before training.
    net = make(kind)
    history = net.copy().fit(X, y, epochs=1, batch_size=500, optimizer=SGD(1e-3), shards=8,
                             metrics=METRICS[kind])  # fmt: skip
    for name in METRICS[kind]:
        assert history[name][0] == pytest.approx(net.score(X, y, metric=name), rel=1e-9)


def test_metrics_of_an_interrupted_epoch_resume(tmp_path, values):
    X, y = values
    path = tmp_path / "run.npz"

    def run(comm, net, epochs):
        history = net.fit(X, y, epochs=epochs, batch_size=50, optimizer=Adam(), comm=comm,
                          distribute=True, shards=8, metrics=METRICS["values"],
                          callbacks=callbacks.Checkpoint(path, 7, unit="steps"))  # fmt: skip
        return [history[name] for name in METRICS["values"]]

    want = run_ranks(2, lambda comm: run(comm, make("values"), 3))[0]
    run_ranks(2, lambda comm: run(comm, make("values"), 2))  # the last one after step 14 of 20
    for got in run_ranks(4, lambda comm: run(comm, Network.resume(path), 3)):
        assert got == want


@pytest.mark.parametrize("units", [20, 500])  # gradients sent whole, and by halves
@pytest.mark.parametrize("sparse", [False, True])
def test_batches(rng, data, use_blas, sparse, units):
    X, y = data
    weights = rng.random(500)
    X = csr_array(X * (X > 0.7)) if sparse else X
    cuts = [0, 70, 100, 102, 300, 500]
    batches = [(X[a:b], y[a:b], weights[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]

    def train(**options):
        net = make(units=units, dropout=0.2)
        history = net.fit(batches, epochs=2, optimizer=Adam(), metrics="accuracy", **options)
        return net.state.parameters.block.copy(), history["loss"], history["accuracy"]

    want, *records = train(shards=8)
    for size in (1, 2, 4):
        for got, *found in run_ranks(
            size, lambda comm: train(shards=8, comm=comm, distribute=True)
        ):
            np.testing.assert_array_equal(got, want)
            assert found == records
    # One shard is ordinary training, but that shards never use a BLAS.
    use_blas("none")
    np.testing.assert_array_equal(train(shards=1)[0], train()[0])


@pytest.mark.parametrize("reproducible", [True, False])
def test_every_rank_has_its_own_batches_and_some_have_fewer(data, reproducible):
    X, y = data
    cuts = [0, 100, 500]

    def run(comm):
        rows = range(cuts[comm.rank], cuts[comm.rank + 1], 50)
        batches = [(X[i : i + 50], y[i : i + 50]) for i in rows]  # 2 and 8
        net = make()
        history = net.fit(batches, epochs=30, optimizer=Adam(0.01), comm=comm,
                          reproducible=reproducible)  # fmt: skip
        return net.state.parameters.block.copy(), history["loss"]

    (first, losses), (second, others) = run_ranks(2, run)
    np.testing.assert_array_equal(first, second)
    assert losses == others
    assert losses[-1] < 0.5 * losses[0]


def test_wrong_batches_end_all_ranks(data):
    X, y = data

    def run(comm, batches, **options):
        return make().fit(batches, epochs=2, comm=comm, **options)

    whole, part = [(X, y)], [(X[:50], y[:50])]
    for error in run_ranks(2, lambda comm: run(
        comm, part if comm.rank else whole, distribute=True
    )):  # fmt: skip
        with pytest.raises((ValueError, RankError), match=r"the same batches|rank . ended"):
            raise error
    first, second = run_ranks(2, lambda comm: run(comm, [] if comm.rank else whole))
    assert isinstance(first, RankError)
    with pytest.raises(ValueError, match="at least one batch on each rank"):
        raise second


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam()])
def test_partial_fit_continues(data, optimizer):
    X, y = data

    def train(**options):
        net = make()
        for _ in range(3):
            history = net.partial_fit(X, y, batch_size=50, optimizer=optimizer, **options)
        net.partial_fit(X, y, batch_size=50, optimizer=optimizer)  # without shards
        return net.state.parameters.block.copy(), history["loss"]

    want, losses = train(shards=8)
    net = make()
    net.fit(X, y, epochs=3, batch_size=50, optimizer=optimizer, shards=8)
    net.partial_fit(X, y, batch_size=50, optimizer=optimizer)
    if isinstance(optimizer, SGD):  # has no state, which `fit` would begin anew
        np.testing.assert_array_equal(net.state.parameters.block, want)
    for got, found in run_ranks(2, lambda comm: train(shards=8, comm=comm, distribute=True)):
        np.testing.assert_array_equal(got, want)
        assert found == losses


def test_a_network_after_partial_fit_on_shards_is_saved(tmp_path, data):
    for optimizer in (SGD(0.1), Adam()):
        net = make()
        net.partial_fit(*data, optimizer=optimizer, shards=2)
        net.save(tmp_path / "net.npz", optimizer=True)
        loaded = Network.load(tmp_path / "net.npz")
        for network in (net, loaded):
            network.partial_fit(*data, optimizer=optimizer, shards=2)
        np.testing.assert_array_equal(loaded.weight[0], net.weight[0])


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam()])
@pytest.mark.parametrize("distribute", [False, True])
def test_ranks_with_steps_of_their_own_average_their_networks(data, optimizer, distribute):
    # An oracle: two networks, each trained on a half; parameters and state averaged every epoch.
    X, y = data
    halves = [slice(0, 250), slice(250, 500)]

    def run(comm):
        part = slice(None) if distribute else halves[comm.rank]
        net = make()
        net.fit(X[part], y[part], epochs=1, batch_size=100, shuffle=False, optimizer=optimizer,
                comm=comm, sync_every=5, distribute=distribute)  # fmt: skip
        return net.state.parameters.block.copy()

    want = 0
    for half in halves:
        net = make()
        net.fit(X[half], y[half], epochs=1, batch_size=50, shuffle=False, optimizer=optimizer)
        want = want + net.state.parameters.block / 2
    for got in run_ranks(2, run):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reproducible", [True, False])
def test_steps_of_their_own_train_with_few_messages(data, reproducible):
    X, y = data

    def run(comm, **options):
        net = make()
        history = net.fit(X, y, epochs=30, batch_size=50, optimizer=Adam(0.01), comm=comm,
                          distribute=True, metrics="accuracy", reproducible=reproducible,
                          **options)  # fmt: skip
        return net.state.parameters.block.copy(), history, comm.calls

    (first, history, calls), (second, other, _) = run_ranks(2, lambda c: run(c, sync_every=5))
    np.testing.assert_array_equal(first, second)
    assert history["loss"] == other["loss"]
    assert history["accuracy"] == other["accuracy"]
    [(_, usual, steps), _] = run_ranks(2, run)
    assert history["loss"][-1] == pytest.approx(usual["loss"][-1], rel=0.5)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    if reproducible:
        assert calls < 0.5 * steps


def test_steps_of_their_own_resume_at_the_end_of_an_epoch(tmp_path, data):
    path = tmp_path / "run.npz"

    def run(comm, net, epochs):
        net.fit(*data, epochs=epochs, batch_size=50, optimizer=Adam(), comm=comm, distribute=True,
                sync_every=3, callbacks=callbacks.Checkpoint(path))  # fmt: skip
        return net.state.parameters.block.copy()

    want = run_ranks(2, lambda comm: run(comm, make(), 4))[0]
    run_ranks(2, lambda comm: run(comm, make(), 2))
    for got in run_ranks(2, lambda comm: run(comm, Network.resume(path), 4)):
        np.testing.assert_array_equal(got, want)
    run_ranks(2, lambda comm: run(comm, make(), 2))
    for error in run_ranks(4, lambda comm: run(comm, Network.resume(path), 4)):
        assert "shards must be 2" in str(error) or isinstance(error, RankError)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"comm": None, "distribute": False}, "sync_every requires comm"),
    ({"shards": 8}, "shards must be None"),
    ({"batch_size": 1, "epochs": 1, "distribute": False}, "at least one sample on each rank"),
    ({"callbacks": callbacks.Checkpoint("run.npz", 7, unit="steps")}, "must not observe steps"),
    ({"sync_every": 0}, "sync_every must be"),
])  # fmt: skip
def test_wrong_arguments_of_sync_every(data, arguments, message):
    def run(comm):
        part = slice(0, 300) if comm.rank else slice(0, 10)
        options = {"comm": comm, "distribute": True, "sync_every": 2, **arguments}
        return make().fit(data[0][part], data[1][part], **options)

    for error in run_ranks(2, run):
        with pytest.raises(ValueError, match=message):
            raise error


@pytest.mark.parametrize("options", [{}, {"reproducible": False}, {"sync_every": 3}])
def test_divergence_names_the_rank(data, options):
    X, y = data

    def run(comm):
        part = X[:250].copy()
        if comm.rank == 1:
            part[200] = 1e38
        net = Network([40, 30, 1], activation="relu", loss="mse", seed=0)
        net.fit(part, y[:250], epochs=3, comm=comm, shuffle=False, **options)

    for error in run_ranks(2, run):
        assert isinstance(error, TrainingDiverged)
        assert error.rank == 1
        assert "not finite on rank 1 in epoch" in str(error)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_predictions(request, kind, size):
    X, y = request.getfixturevalue("data" if kind == "classes" else "values")
    net = make(kind)
    net.fit(X, y, epochs=1, optimizer=SGD(1e-6))

    def check(method, given, want):
        for found in run_ranks(size, lambda comm: method(given, comm=comm)):
            np.testing.assert_array_equal(found, want)

    for given in (X, csr_array(X), X.tolist()):
        check(net.predict, given, net.predict(X))
    if kind == "classes":
        check(net.predict_proba, X, net.predict_proba(X))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("kind", "metric"), [(kind, name) for kind in METRICS for name in METRICS[kind]]
)
def test_scores(request, kind, metric, size):
    X, y = request.getfixturevalue("data" if kind == "classes" else "values")
    net, cuts = make(kind), np.arange(size + 1) * 500 // size
    want = [pytest.approx(net.score(X, y, metric=metric), rel=1e-9)] * size

    def score_part(comm):
        part = slice(cuts[comm.rank], cuts[comm.rank + 1])
        return net.score(X[part], y[part], metric=metric, comm=comm)

    assert run_ranks(size, score_part) == want
    assert want == run_ranks(
        size, lambda comm: net.score(X, y, metric=metric, comm=comm, distribute=True)
    )


def test_wrong_predictions_end_all_ranks(data):
    X, y = data
    net = make()
    first, second = run_ranks(2, lambda comm: net.predict(X[comm.rank :], comm=comm))
    assert isinstance(first, RankError)
    with pytest.raises(ValueError, match="the same samples on all ranks; got 499 on rank 1"):
        raise second
    wrong = X.copy()
    wrong[400] = np.nan
    first, second = run_ranks(2, lambda comm: net.predict(wrong, comm=comm))
    assert isinstance(first, RankError)
    assert isinstance(second, ValueError)
    with pytest.raises(ValueError, match="distribute=True requires comm"):
        net.score(X, y, distribute=True)
    with pytest.raises(TypeError, match="object has no Get_rank"):
        net.predict(X, comm=object())
    first, second = run_ranks(
        2, lambda comm: net.score(X, y[comm.rank :], comm=comm, distribute=True)
    )
    assert isinstance(first, RankError)
    assert isinstance(second, ValueError)


def test_one_rank_needs_no_messages(data):
    [comm] = ThreadComm.make(1)
    np.testing.assert_array_equal(make().predict(data[0], comm=comm), make().predict(data[0]))
    assert comm.calls == 0


@pytest.fixture
def labels(data):
    return data[0], np.array(["a", "b", "c", "d", "e"])[data[1]]


ESTIMATORS = [
    {"random_state": 0}, {"random_state": 0, "solver": "sgd", "learning_rate": "adaptive"},
    {"random_state": 0, "early_stopping": True}, {"random_state": 0, "optimizer": SGD(0.1)},
    {"random_state": 0, "dropout": 0.2, "batch_size": 50},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("arguments", ESTIMATORS)
@pytest.mark.parametrize("name", ["labels", "values"])
def test_estimators(request, name, arguments):
    kind = {"labels": MLPClassifier, "values": MLPRegressor}[name]
    X, y = request.getfixturevalue(name)

    def train(**options):
        estimator = kind(hidden_layer_sizes=(20,), max_iter=5, **arguments).fit(X, y, **options)
        return estimator.network_.state.parameters.block.copy(), estimator.loss_curve_

    want, losses = train(shards=8)
    for size in (1, 2, 4):
        for got, found in run_ranks(size, lambda comm: train(comm=comm, distribute=True)):
            np.testing.assert_array_equal(got, want)
            assert found == losses


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, {"reproducible": False}, {"sync_every": 2}])
def test_estimators_whose_ranks_have_other_classes(labels, options):
    X, y = labels
    order = np.argsort(y, kind="stable")
    parts = order[:260], order[260:]
    assert set(y[parts[0]]) != set(y)

    def train(comm):
        estimator = MLPClassifier(20, max_iter=60, batch_size=50, early_stopping=True,
                                  learning_rate_init=0.01, n_iter_no_change=60)  # fmt: skip
        estimator.fit(X[parts[comm.rank]], y[parts[comm.rank]], comm=comm, **options)
        return estimator

    first, second = run_ranks(2, train)
    assert list(first.classes_) == list(second.classes_) == ["a", "b", "c", "d", "e"]
    for got, want in zip(first.coefs_, second.coefs_, strict=True):
        np.testing.assert_array_equal(got, want)
    assert first.loss_curve_ == second.loss_curve_
    assert first.validation_scores_ == second.validation_scores_
    assert first.score(X, y) > 0.6


def test_estimators_with_wrong_arguments_end_all_ranks(labels):
    def train(comm, rank_1, **arguments):
        wrong = rank_1 if comm.rank == 1 else {}
        return MLPClassifier(**{"hidden_layer_sizes": 10, "max_iter": 2, **arguments, **wrong}).fit(
            *labels, comm=comm, distribute=True
        )

    first, second = run_ranks(2, lambda comm: train(comm, {"batch_size": 33}))
    assert isinstance(first, RankError)
    with pytest.raises(ValueError, match="batch_size must be the same on all ranks"):
        raise second
    first, second = run_ranks(2, lambda comm: train(comm, {"hidden_layer_sizes": "wide"}))
    assert isinstance(first, RankError)
    assert isinstance(second, ValueError)
    for error in run_ranks(2, lambda comm: train(comm, {}, solver="lbfgs")):
        with pytest.raises((ValueError, RankError), match=r"does not support comm|rank"):
            raise error
    for error in run_ranks(2, lambda comm: train(comm, {}, batch_norm=True)):
        with pytest.raises((ValueError, RankError), match=r"normalization='batch'|rank"):
            raise error
    with pytest.raises(ValueError, match="requires comm"):
        MLPClassifier().fit(*labels, distribute=True)


def test_metrics_that_are_functions(data, tmp_path):
    X, y = data
    path = tmp_path / "log.csv"

    def agreement(y_true, y_pred):
        return np.mean(y_true == y_pred)

    def train(comm):
        net = make()
        history = net.fit(X, y, epochs=2, batch_size=50, comm=comm, distribute=True,
                          validation_data=(X[:60], y[:60]), metrics=agreement,
                          callbacks=callbacks.CSVLogger(path))  # fmt: skip
        rank = comm.Get_rank()
        own = slice(200) if rank == 0 else slice(200, None)
        scores = [net.score(X, y, metric=agreement, comm=comm, distribute=True),
                  net.score(X[own], y[own], metric=agreement, comm=comm),
                  net.score(X, y)]  # fmt: skip
        return history.to_dict(), scores

    first, second = run_ranks(2, train)
    assert first[0]["val_agreement"] == second[0]["val_agreement"] == first[0]["val_accuracy"]
    assert "agreement" not in first[0]
    for _, scores in (first, second):
        assert len(set(scores)) == 1
    assert len(path.read_text().splitlines()) == 3  # by rank 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["loss", "accuracy", "f1", "agreement"])
@pytest.mark.parametrize("options", [{}, {"reproducible": False}])
def test_the_validation_data_of_rank_0_count_for_estimators(labels, name, options):
    X, y = labels

    def agreement(y_true, y_pred):
        return np.mean(y_true == y_pred)

    metrics = {"f1": "f1", "agreement": agreement}.get(name)

    def train(comm):
        own = slice(200) if comm.rank == 0 else slice(200, None)
        stopping = callbacks.EarlyStopping(f"val_{name}", patience=4)
        schedule = schedules.ReduceOnPlateau(f"val_{name}", 0.5, 0)
        model = MLPClassifier(10, max_iter=20, random_state=0, learning_rate_init=0.1,
                              metrics=metrics, callbacks=stopping, schedule=schedule)  # fmt: skip
        data = X[own], y[own]
        model.fit(*data, comm=comm, validation_data=data, **options)
        history = [{k: v for k, v in record.items() if "second" not in k}
                   for record in model.history_.epochs]  # fmt: skip
        return model.coefs_, history, stopping.best

    first, second = run_ranks(2, train)
    for got, want in zip(first[0], second[0], strict=True):
        np.testing.assert_array_equal(got, want)
    assert first[1:] == second[1:]
    assert len({record["lr"] for record in first[1]}) > 1


@pytest.mark.parametrize(("wrong", "message"), [
    ({"metrics": "recall"}, "metrics must be the same"),
    ({"metrics": [Metric(np.equal, "other")]}, "the functions in metrics must be the same"),
    ({"validation_data": None}, "whether validation data are given must be the same"),
    ({"callbacks": callbacks.EarlyStopping()}, "monitor val_loss must be the same"),
    ({"schedule": "cosine"}, "schedule must be the same"),
])  # fmt: skip
def test_estimators_that_validate_differently_end_all_ranks(labels, wrong, message):
    def train(comm):
        given = {"validation_data": labels, **(wrong if comm.rank == 1 else {})}
        validation_data = given.pop("validation_data")
        return MLPClassifier(10, max_iter=2, **given).fit(
            *labels, comm=comm, distribute=True, validation_data=validation_data
        )

    first, second = run_ranks(2, train)
    assert isinstance(first, RankError)
    with pytest.raises(ValueError, match=message):
        raise second


def test_callbacks_of_estimators_observe_steps_only_if_all_ranks_take_them(labels):
    class Steps(callbacks.Callback):
        def on_batch_end(self, network, epoch, step, loss):
            pass

    def train(comm, ranks, **options):
        observers = [Steps()] if comm.rank in ranks else None
        return MLPClassifier(10, max_iter=2, callbacks=observers).fit(
            *labels, comm=comm, distribute=True, **options
        )

    _, error = run_ranks(2, lambda comm: train(comm, [1]))
    with pytest.raises(ValueError, match="whether callbacks observe steps must be the same"):
        raise error
    for error in run_ranks(2, lambda comm: train(comm, [0, 1], sync_every=2)):
        with pytest.raises((ValueError, RankError), match=r"must not observe steps|rank"):
            raise error
