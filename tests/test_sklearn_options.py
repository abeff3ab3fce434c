"""Options of `Network` as arguments of the estimators: initialization, regularization, metrics."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmlp import SGD, AdamW, schedules
from cmlp.callbacks import EarlyStopping
from cmlp.metrics import Metric
from cmlp.normalizations import BatchNorm, LayerNorm
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.sklearn.unavailable import get_arrays

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = make_classification(180, 12, n_informative=6, n_classes=3, random_state=0)
VALUES = make_regression(150, 12, noise=1, random_state=0)
VALUES[1][:] /= 100


def fit_initial(**options):
    """Return an estimator whose parameters are the initial ones."""
    X, y = CLASSES
    return MLPClassifier((40, 30), max_iter=1, batch_size=180, learning_rate_init=1e-300,
                         **{"random_state": 0, **options}).fit(X, y)  # fmt: skip


def test_initializers():
    for name, variance in (("he_normal", 2 / 40), ("lecun_uniform", 1 / 40),
                           ("auto", 2 / 40), ("glorot_uniform", 2 / 70)):  # fmt: skip
        estimator = fit_initial(initializer=name)
        assert estimator.coefs_[1].var() == pytest.approx(variance, rel=0.15), name
        assert np.abs(estimator.intercepts_[1]).max() < 1e-200
    orthogonal = fit_initial(initializer="orthogonal").coefs_[1]
    np.testing.assert_allclose(orthogonal.T @ orthogonal, np.eye(30), atol=1e-12)
    assert (fit_initial(initializer=0.25).coefs_[0] == 0.25).all()
    ramp = fit_initial(initializer=lambda rng, i, o: np.arange(i * o).reshape(o, i) / 1e4)
    np.testing.assert_allclose(ramp.coefs_[0].T.ravel(), np.arange(480) / 1e4, atol=1e-200)
    one, same, other = (fit_initial(initializer="he_normal", random_state=i) for i in (1, 1, 2))
    assert (one.coefs_[0] == same.coefs_[0]).all()
    assert (one.coefs_[0] != other.coefs_[0]).any()
    assert one.score(*CLASSES) == fit_initial(initializer="he_normal", random_state=1).score(
        *CLASSES
    )


def test_initial_weights_by_the_data():
    X, y = CLASSES
    estimator = fit_initial(initializer="data")
    hidden = X @ estimator.coefs_[0]
    np.testing.assert_allclose(hidden.var(0), 1, rtol=1e-6)
    fitted = [MLPClassifier(8, initializer="data", random_state=0, max_iter=5, solver=solver)
              .fit(X, y) for solver in ("adam", "adam", "lbfgs")]  # fmt: skip
    assert (fitted[0].coefs_[0] == fitted[1].coefs_[0]).all()
    before = fitted[0].coefs_[0].copy()
    fitted[0].partial_fit(X, y)  # continues
    assert np.abs(fitted[0].coefs_[0] - before).max() < 0.1
    for options, arguments in (({"batch_norm": True}, {}), ({"normalization": ["layer"]}, {}),
                               ({}, {"shards": 2})):  # fmt: skip
        with pytest.raises(ValueError, match="initializer must not be 'data' with"):
            MLPClassifier(8, initializer="data", **options).fit(X, y, **arguments)


def test_normalizations():
    X, y = CLASSES
    options = {"max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}
    one = MLPClassifier(16, normalization="batch", **options).fit(X, y)
    other = MLPClassifier(16, batch_norm=True, **options).fit(X, y)
    assert (one.predict_proba(X) == other.predict_proba(X)).all()
    assert (one.coefs_[0] == other.coefs_[0]).all()
    for kind in ("layer", LayerNorm(1e-3), [None, LayerNorm()], [BatchNorm(0.2), "layer"]):
        estimator = MLPClassifier((16, 8), normalization=kind, **options).fit(X, y)
        assert estimator.score(X, y) > 0.65
        expected = estimator.predict_proba(X)
        np.testing.assert_allclose(estimator.network_.predict_proba(X), expected)
        estimator.coefs_ = [coef.copy() for coef in get_arrays(estimator.coefs_)]
        assert estimator.coefs_[1].shape == (16, 8)
        np.testing.assert_allclose(estimator.predict_proba(X), expected, atol=1e-12)
        estimator.partial_fit(X, y)
    scaled = MLPClassifier(16, normalization="layer", solver="lbfgs", max_iter=30, random_state=0)
    assert scaled.fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match="normalization must be None with batch_norm=True"):
        MLPClassifier(batch_norm=True, normalization="layer").fit(X, y)
    with pytest.raises(ValueError, match="The 'normalization' parameter"):
        MLPClassifier(normalization="instance").fit(X, y)


@pytest.mark.parametrize(
    "options",
    [{"input_noise": 0.5}, {"input_dropout": 0.2}, {"max_norm": 0.5}, {"activation": "prelu"},
     {"activation": "parametric_mish"}, {"dropout": 0.3, "dropout_schedule": "flat_cos"},
     {"optimizer": AdamW(weight_decay=0.5), "decay_schedule": schedules.FlatCosine()},
     {"optimizer": AdamW(lr_factors={"bias": 0.0}, decay_factors={"bias": 0.0})}],
    ids=str,
)  # fmt: skip
def test_options_have_an_effect(options):
    X, y = VALUES
    fixed = {"hidden_layer_sizes": 16, "random_state": 0, "max_iter": 15}
    plain = {name: value for name, value in options.items() if not name.endswith("schedule")}
    if options == plain:
        plain = {}
    one, same = (MLPRegressor(**fixed, **options).fit(X, y) for _ in range(2))
    other = MLPRegressor(**fixed, **plain).fit(X, y)
    assert (one.network_.weight[0] == same.network_.weight[0]).all()
    assert (one.network_.weight[0] != other.network_.weight[0]).any()
    assert np.isfinite(clone(one).fit(X, y).loss_)
    if "max_norm" in options:
        assert np.linalg.norm(one.coefs_[0], axis=0).max() < 0.5 + 1e-9
    if "lr_factors" in repr(options):  # parameter groups
        initial = MLPRegressor(**{**fixed, "max_iter": 1}, **options).fit(X, y)
        assert (one.intercepts_[0] == initial.intercepts_[0]).all()


def test_names_of_schedules():
    X, y = VALUES
    by_name = MLPRegressor(hidden_layer_sizes=8, schedule="cosine", random_state=0, max_iter=5).fit(
        X, y
    )
    other = MLPRegressor(
        hidden_layer_sizes=8, schedule=schedules.Cosine(), random_state=0, max_iter=5
    ).fit(X, y)
    assert by_name.history_["lr"] == other.history_["lr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_noise": -1.0}, "The 'input_noise' parameter"),
        ({"input_dropout": 1.0}, "The 'input_dropout' parameter"),
        ({"max_norm": 0}, "The 'max_norm' parameter"),
        ({"initializer": "he"}, "The 'initializer' parameter"),
        ({"initializer": np.inf}, "init must be .*finite"),
        ({"metrics": "f2"}, "metrics must be one of"),
        ({"metrics": ["rmse"]}, "metrics of a classifier must be one of"),
        ({"metrics": 3}, "The 'metrics' parameter"),
        ({"decay_schedule": schedules.ReduceOnPlateau()}, "decay_schedule must not depend"),
        ({"transform_layer": 0.5}, "The 'transform_layer' parameter"),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(max_iter=2, **options).fit(*CLASSES)


def test_sparse_samples_do_not_have_noise():
    X, y = CLASSES
    with pytest.raises(ValueError, match=r"X must be dense with input_noise; pass X.toarray\(\)"):
        MLPClassifier(input_noise=0.1).fit(sparse.csr_array(X), y)


@pytest.mark.parametrize(
    "options",
    [{"input_noise": 0.1}, {"input_dropout": 0.1}, {"max_norm": 1.0}, {"metrics": "f1"},
     {"decay_schedule": "cosine"}, {"dropout_schedule": "cosine"}],
    ids=str,
)  # fmt: skip
def test_lbfgs_refuses_unsupported_options(options):
    [name] = options
    with pytest.raises(ValueError, match=f"solver='lbfgs' does not support {name}"):
        MLPClassifier(solver="lbfgs", **options).fit(*CLASSES)


def test_metrics_of_each_epoch():
    X, y = CLASSES
    held_out = make_classification(90, 12, n_informative=6, n_classes=3, random_state=0)
    estimator = MLPClassifier(16, metrics=["f1", "top_2"], max_iter=6, random_state=0)
    estimator.fit(X, y, validation_data=held_out)
    history = estimator.history_
    assert {"f1", "top_2", "val_f1", "val_top_2", "val_loss", "val_accuracy"} < {*history}
    expected = f1_score(held_out[1], estimator.predict(held_out[0]), average="macro")
    assert history["val_f1"][-1] == pytest.approx(expected)
    assert history["val_accuracy"] == estimator.validation_scores_
    plain = MLPClassifier(16, max_iter=6, random_state=0).fit(X, y)
    assert plain.loss_curve_ == estimator.loss_curve_  # metrics do not change the results
    stopped = MLPClassifier(16, metrics="recall", early_stopping=True, max_iter=6).fit(X, y)
    assert len(stopped.history_["val_recall"]) == 6
    labels = make_multilabel_classification(100, 5, n_classes=3, random_state=0)
    multilabel = MLPClassifier(8, metrics="f1_samples", max_iter=3).fit(
        *labels, validation_data=labels
    )
    assert "val_f1_samples" in multilabel.history_
    regressor = MLPRegressor(hidden_layer_sizes=8, metrics=["rmse", "r2"], max_iter=3).fit(
        *VALUES, validation_data=VALUES
    )
    error = VALUES[1] - regressor.predict(VALUES[0])
    assert regressor.history_["val_rmse"][-1] == pytest.approx(np.sqrt(np.mean(error**2)))
    regressor.partial_fit(*VALUES)
    assert "rmse" in regressor.history_


def test_arguments_of_arguments():
    X, y = CLASSES
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(8, normalization="batch", max_iter=5,
                                                             decay_schedule="cosine",
                                                             optimizer="adamw"))  # fmt: skip
    assert pipeline.get_params()["mlpclassifier__normalization__momentum"] == 0.1
    grid = {"mlpclassifier__normalization__momentum": [0.1, 0.5],
            "mlpclassifier__decay_schedule__warmup": [0, 0.2]}  # fmt: skip
    grid = {name: values for name, values in grid.items() if name in pipeline.get_params()}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 2 ** len(grid)
    estimator = MLPClassifier(normalization="batch").set_params(normalization__momentum=0.3)
    assert estimator.normalization == BatchNorm(0.3)
    with pytest.raises(ValueError, match="normalization must be an object of cmlp or its name"):
        MLPClassifier().set_params(normalization__momentum=0.3)


def test_metrics_that_are_functions():
    X, y = CLASSES
    labels = np.array(["a", "b"])[(y > 0).astype(int)]
    model = MLPClassifier(8, max_iter=3, random_state=0, metrics=[f1_score, "accuracy"])
    last = model.fit(X, labels, validation_data=(X, labels)).history_.epochs[-1]
    want = f1_score(labels, model.predict(X), pos_label="b")
    assert last["val_f1_score"] == last["f1_score"] == pytest.approx(want)
    assert "val_accuracy" in last
    with pytest.raises(ValueError, match="different names"):
        MLPClassifier(metrics=[f1_score, f1_score]).fit(X, labels)
    regressor = MLPRegressor(
        hidden_layer_sizes=8, max_iter=2, metrics=Metric(log_loss, needs="proba")
    )
    with pytest.raises(ValueError, match="must not need probabilities"):
        regressor.fit(X, X[:, 0])


def test_callbacks_and_schedules_use_the_direction_of_a_metric():
    X, y = VALUES
    values = iter([3.0, 1.0, 2.0, 4.0, 5.0, 1.0, 2.0, 3.0, 4.0])
    cost = Metric(lambda *_: next(values), "cost", greater_is_better=False, train=False)
    stopping = EarlyStopping("val_cost", patience=2)
    model = MLPRegressor(hidden_layer_sizes=4, metrics=cost, callbacks=stopping, max_iter=8)
    model.fit(X, y, validation_data=VALUES)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (1.0, 1, 4)
    plateau = schedules.ReduceOnPlateau("val_cost", patience=0, factor=0.5)
    model.set_params(callbacks=None, schedule=plateau, optimizer=SGD(1e-3), max_iter=4)
    lr = model.fit(X, y, validation_data=VALUES).history_["lr"]
    assert lr == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])
    # Another fit has another direction.
    gain = Metric(lambda y_true, y_pred: 1.0, "cost", greater_is_better=True)
    model.set_params(callbacks=stopping, metrics=gain).fit(X, y, validation_data=VALUES)
    assert stopping.is_minimized is False


@pytest.mark.parametrize("options", [{}, {"metrics": "recall"}])
def test_schedules_and_callbacks_monitor_validation_data(options):
    X, y = CLASSES
    held_out, loss = (X[:40], y[:40]), EarlyStopping(patience=50)
    plateau = schedules.ReduceOnPlateau("val_accuracy", 0.5, 2)
    model = MLPClassifier(8, max_iter=8, optimizer=SGD(1e-6), schedule=plateau, random_state=0,
                          callbacks=loss, **options)  # fmt: skip
    history = model.fit(X, y, validation_data=held_out).history_
    assert history["val_accuracy"] == model.validation_scores_
    assert len(set(history["val_accuracy"])) == 1
    assert history["lr"] == pytest.approx([1e-6] * 4 + [5e-7] * 3 + [2.5e-7])
    assert loss.best == min(history["val_loss"])
    assert history["val_loss"][-1] == pytest.approx(log_loss(y[:40], model.predict_proba(X[:40])))
    model.set_params(early_stopping=True, schedule="reduce_on_plateau").fit(X, y)
    assert len(model.history_["val_loss"]) == 8


@pytest.mark.parametrize("options", [
    {"callbacks": EarlyStopping()}, {"callbacks": [EarlyStopping("val_accuracy")]},
    {"schedule": "reduce_on_plateau"},
], ids=str)  # fmt: skip
def test_monitors_of_validation_data_need_them(options):
    X, y = CLASSES
    model = MLPClassifier(4, max_iter=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    for train in (model.fit, model.partial_fit):
        model.set_params(**options)
        with pytest.raises(ValueError, match="requires validation_data or early_stopping=True"):
            train(X, y)
    assert (model.predict_proba(X) == before).all()


def test_the_history_is_that_of_the_last_fit():
    X, y = CLASSES

    def stop(network, epoch, record):
        if epoch == 2:
            raise KeyboardInterrupt

    model = MLPClassifier(8, max_iter=6, random_state=0, warm_start=True).fit(X, y)
    model.set_params(callbacks=stop)
    for each in (model, clone(model)):
        with pytest.warns(UserWarning, match="interrupted"):
            each.fit(X, y)
        assert each.history_["loss"] == pytest.approx(each.loss_curve_[-3:])
        assert each.network_.state.history is each.history_
        assert each.n_iter_ == 3
    for max_iter in (4, 300):
        model.set_params(callbacks=None, solver="lbfgs", max_iter=max_iter).fit(X, y)
        assert len(model.history_["loss"]) == model.n_iter_
        assert model.history_["loss"][-1] == model.loss_
        assert model.network_.state.history is model.history_
