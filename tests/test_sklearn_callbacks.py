"""scikit-learn's callbacks, `sklearn.callback`, on the estimators: a task for each epoch."""

import numpy as np
import pytest

pytest.importorskip("sklearn.callback")

from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.tabular import RealMLPClassifier, RealMLPRegressor


@pytest.fixture
def data(rng):
    X = rng.normal(size=(80, 4))
    return X, np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]


class Recorder:
    """Record the tasks, and stop after the epoch `stop`."""

    def __init__(self, stop=None):
        self.events, self.predictions, self.stop = [], [], stop

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        if fitted_estimator is not None:
            found = fitted_estimator.predict(X)
            self.predictions.append(found)
            assert not {"_tasks", "tasks"} & set(vars(fitted_estimator))
        return context.task_name == "epoch" and context.task_id == self.stop


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_each_epoch_is_a_task(data, solver):
    X, y = data
    recorder, options = Recorder(), {"solver": solver, "max_iter": 3, "random_state": 0}
    plain = MLPClassifier(5, **options)
    net = MLPClassifier(5, **options).set_callbacks(recorder)
    with pytest.warns(UserWarning, match=r"[Cc]onverge"):
        plain.fit(X, y)
    with pytest.warns(UserWarning, match=r"[Cc]onverge"):
        net.fit(X, y)
    epochs = 3 + (solver == "lbfgs")  # the last one is empty, as in scikit-learn
    tasks = [(event, "epoch", i) for i in range(epochs) for event in ("begin", "end")]
    assert recorder.events == [
        "setup", ("begin", "fit", 0), *tasks, ("end", "fit", 0), "teardown"
    ]  # fmt: skip
    assert (recorder.predictions[-1] == net.predict(X)).all()
    assert len(recorder.predictions) == epochs + 1
    for coef, other in zip(net.coefs_, plain.coefs_, strict=True):
        assert (coef == other).all()
    assert not {"_tasks", "_callback_fit_ctx"} & set(vars(net))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_stops_training(data, solver):
    net = MLPRegressor(hidden_layer_sizes=5, solver=solver, random_state=0).set_callbacks(
        Recorder(stop=1)
    )
    X = data[0]
    net.fit(X, X[:, 0])
    assert net.n_iter_ == 2
    assert np.isfinite(net.loss_)


def test_callbacks_are_torn_down_after_an_error(data):
    recorder = Recorder()

    def fail(network, epoch, record):
        raise RuntimeError

    net = MLPClassifier(5, callbacks=fail).set_callbacks(recorder)
    with pytest.raises(RuntimeError):
        net.fit(*data)
    assert recorder.events[-1] == "teardown"
    assert not {"_tasks", "_callback_fit_ctx"} & set(vars(net))
    assert clone(net).set_params(callbacks=None, tol=1.0).fit(*data).n_iter_ > 1
    net.set_callbacks()
    assert len(recorder.events) > 5


def test_partial_fit_has_no_tasks(data):
    recorder = Recorder()
    net = MLPClassifier(5).set_callbacks(recorder)
    net.partial_fit(*data, classes=["no", "yes"])
    assert recorder.events == []


def test_scores_of_each_epoch(data):
    monitor = ScoringMonitor(scoring="accuracy")
    net = MLPClassifier(5, max_iter=4, tol=0, random_state=0).set_callbacks(monitor)
    with pytest.warns(UserWarning, match="converged yet"):
        net.fit(*data)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores[-1] == net.score(*data)


@pytest.mark.parametrize(("cv", "n_refit"), [(None, 0), (2, 1)])
def test_networks_of_a_table(data, cv, n_refit):
    X, y = data
    recorder = Recorder()
    options = {"max_epochs": 3, "cv": cv, "n_refit": n_refit, "random_state": 0, "n_jobs": 1}
    model = RealMLPClassifier("fast", **options).set_callbacks(recorder).fit(X, y)
    plain = RealMLPClassifier("fast", **options).fit(X, y)
    assert (model.predict_proba(X) == plain.predict_proba(X)).all()
    ends = [event[1:] for event in recorder.events if event[0] == "end"]
    if cv is None:
        assert ends == [("epoch", 0), ("epoch", 1), ("epoch", 2), ("fit", 0)]
    else:
        assert [task for task in ends if task[0] == "network"] == [("network", i) for i in range(3)]
        assert ends[-1] == ("fit", 0)
    assert (recorder.predictions[-1] == model.predict(X)).all()
    assert all(len(found) == 80 for found in recorder.predictions)
    with pytest.raises(ValueError, match="client must be None with scikit-learn's callbacks"):
        model.fit(X, y, client=object())


@pytest.mark.parametrize("options", [{"normalization": "layer"}, {}])
def test_copies_for_callbacks_have_the_attributes_of_a_fitted_estimator(data, options):
    copies = []

    class Keep(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            copies.append(fitted_estimator)

    net = MLPClassifier(5, max_iter=2, tol=1.0, random_state=0, **options).set_callbacks(Keep())
    with pytest.warns(UserWarning, match="converged yet"):
        net.fit(*data, validation_data=data, shards=2)
    assert len(copies) == 3
    for each in copies:
        assert each.network_.state.history in (None, net.history_)
        assert not {"_is_fitting", "_ranks", "_validation_data"} & set(vars(each))
        for name in ("coefs_", "intercepts_"):
            assert type(getattr(each, name)) is type(getattr(net, name))
        if options:
            with pytest.raises(ValueError, match="do not describe this network"):
                each.coefs_[0]


def test_scores_of_a_regressor_of_tables(data):
    X, monitor = data[0], ScoringMonitor(scoring="r2")
    model = RealMLPRegressor("fast", max_epochs=3, random_state=0).set_callbacks(monitor)
    model.fit(X, X[:, 0])
    log = monitor.get_logs().data
    assert [row["task_name"] for row in log] == ["fit", "epoch", "epoch", "epoch"]
    assert all(np.isfinite(row["r2"]) for row in log)


def test_progress_bars_of_a_search(data, capfd):
    pytest.importorskip("rich")
    model = make_pipeline(
        StandardScaler(), MLPClassifier(3, max_iter=3, tol=1e9, n_iter_no_change=1)
    )
    search = GridSearchCV(model, {"mlpclassifier__alpha": [0.1, 1]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(*data)
    assert "MLPClassifier - fit" in capfd.readouterr().out.replace("\n", "")
