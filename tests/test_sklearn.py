"""The estimators: scikit-learn's numbers, its checks, its tools, and cmlp's additions."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import shuffle
from sklearn.utils.estimator_checks import parametrize_with_checks

from cmlp import Adam, AdamW, Network, activations, callbacks, schedules
from cmlp._core.inputs import Rows, Targets
from cmlp.sklearn import MLPClassifier, MLPRegressor
from cmlp.sklearn.sources import ScikitSource

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# scikit-learn compares with rtol=1e-7 whether a weight of 2 trains as two samples, and a weight of
# 0 as none. Batch statistics and dropout masks depend on the rows, and float32 is less exact.
WEIGHTED_CHECKS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "depends on rows, or is float32"
    for kind in ("dense", "sparse")
}


def expect_failures(estimator):
    is_inexact = estimator.dropout or estimator.batch_norm or estimator.dtype == "float32"
    return WEIGHTED_CHECKS if is_inexact else {}


@parametrize_with_checks(
    [
        MLPClassifier(max_iter=50),
        MLPRegressor(max_iter=50),
        MLPClassifier(max_iter=50, solver="lbfgs", activation="tanh"),
        MLPRegressor("gaussian_nll", max_iter=50, initializer="glorot_uniform"),
        MLPClassifier(max_iter=50, class_weight="balanced", loss="hinge", normalization="layer"),
        MLPClassifier(max_iter=50, solver="lbfgs", class_weight="balanced", batch_norm=True),
        MLPClassifier(max_iter=50, dropout=0.2, activation="gelu", dtype="float32"),
        MLPClassifier(
            (20, 10),
            ["silu", "tanh"],
            max_iter=50,
            class_weight="balanced",
            optimizer=AdamW(0.01, clip_norm=1.0),
            schedule=schedules.Cosine(),
            threads=1,
        ),
        MLPRegressor(
            max_iter=50,
            dropout=0.1,
            batch_norm=True,
            optimizer=Adam(0.01),
            dtype="float32",
            schedule=schedules.Constant(),
            n_jobs=1,
        ),
    ],
    expected_failed_checks=expect_failures,
)
@pytest.mark.filterwarnings("ignore")
def test_check_estimator(estimator, check):
    check(estimator)


def test_arguments_and_defaults_equal_scikit_learns():
    for ours, theirs in ((MLPClassifier(), neural_network.MLPClassifier()),
                         (MLPRegressor(), neural_network.MLPRegressor())):  # fmt: skip
        given, own = theirs.get_params(), ours.get_params()
        assert {name: own[name] for name in given} == given
        extras = set(own) - set(given)
        assert extras - {"class_weight", "loss", "label_smoothing", "quantiles"} == {
            "optimizer", "schedule", "dropout", "batch_norm", "callbacks", "dtype", "compute_dtype",
            "n_jobs", "threads", "decay_schedule", "dropout_schedule", "input_dropout",
            "input_noise", "max_norm", "initializer", "normalization", "metrics", "transform_layer",
        }  # fmt: skip


CLASSES = make_classification(180, 12, n_informative=6, n_classes=3, random_state=0)
BINARY = make_classification(150, 12, random_state=1)
LABELS = make_multilabel_classification(150, 12, n_classes=4, random_state=0)
VALUES = make_regression(150, 12, noise=1, random_state=0)
SEVERAL = make_regression(150, 12, n_targets=3, random_state=0)
COUNTS = VALUES[0], np.random.default_rng(0).poisson(3, 150)

PROBLEMS = {
    "classes": (CLASSES, neural_network.MLPClassifier, MLPClassifier, {}),
    "binary": (BINARY, neural_network.MLPClassifier, MLPClassifier, {}),
    "multilabel": (LABELS, neural_network.MLPClassifier, MLPClassifier, {}),
    "values": (VALUES, neural_network.MLPRegressor, MLPRegressor, {}),
    "several": ((SEVERAL[0], SEVERAL[1] / 100), neural_network.MLPRegressor, MLPRegressor, {}),
    "counts": (COUNTS, neural_network.MLPRegressor, MLPRegressor, {"loss": "poisson"}),
}
VALUES[1][:] /= 100


def fit_both(problem, weighted=False, convert=None, **options):
    """Fit scikit-learn's estimator and ours with the same arguments; return X, y and both."""
    (X, y), theirs, ours, more = PROBLEMS[problem]
    X = X if convert is None else convert(X)
    options = {"random_state": 3, "max_iter": 6, **more, **options}
    weight = np.random.default_rng(0).random(len(y)) if weighted else None
    fitted = []
    for kind in (theirs, ours):
        estimator = kind(**options)
        fitted.append(estimator.fit(X, y, sample_weight=weight))
    return X, y, *fitted


def assert_same_fit(X, theirs, ours, tolerance=1e-6):
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_,
                    strict=True):  # fmt: skip
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=tolerance)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=tolerance * 10)
    for name in ("loss_", "best_loss_", "best_validation_score_"):
        if hasattr(theirs, name) and getattr(theirs, name) is not None:
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=tolerance)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, atol=tolerance)
        if theirs.validation_scores_ is not None:
            np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_each_problem_and_solver(problem, solver):
    if problem == "several" and solver == "lbfgs":
        pytest.skip("scikit-learn computes 3 times the gradient of its loss")
    rate = 0.01 if solver == "sgd" else 0.001
    X, _, theirs, ours = fit_both(problem, solver=solver, learning_rate_init=rate, batch_size=32)
    assert_same_fit(X, theirs, ours, 1e-5 if solver == "lbfgs" else 1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0, "max_iter": 12},
        {"nesterovs_momentum": False},
        {"momentum": 0.0},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 30, "tol": 0.01},
        {"shuffle": False},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"activation": "logistic"},
        {"activation": "tanh", "hidden_layer_sizes": (7, 5)},
        {"activation": "identity", "hidden_layer_sizes": ()},
        {"batch_size": "auto"},
        {"batch_size": 50},
        {"batch_size": 1},
        {"n_iter_no_change": 2, "tol": 0.5, "max_iter": 50},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("problem", ["classes", "values"])
def test_each_option(problem, options, weighted):
    # scikit-learn clips the loss of a wrong prediction with probability near 1: the steps must be
    # small enough not to cause one.
    rate = 0.001 if options.get("batch_size") == 1 else 0.01
    X, _, theirs, ours = fit_both(
        problem, weighted, solver="sgd", learning_rate_init=rate, **options
    )
    assert_same_fit(X, theirs, ours)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_samples(kind):
    def thinned(X):
        return kind(np.where(np.abs(X) > 1, X, 0))

    X, _, theirs, ours = fit_both("classes", convert=thinned)
    assert_same_fit(X, theirs, ours)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize(
    "y",
    [
        np.arange(30) % 3 - 1,
        np.array([7, 2] * 15),
        np.full(30, 4),
        np.arange(30),
        (np.arange(30) % 2).astype(np.uint8),
        np.arange(30) % 2 == 0,
        np.array(["b", "a", "c"] * 10),
        np.arange(30.0) % 3,
    ],
)
def test_labels_are_those_of_scikit_learn(y):
    X = np.random.default_rng(0).random((30, 2))
    ours, theirs = (
        estimator(max_iter=2, random_state=0).fit(X, y)
        for estimator in (MLPClassifier, neural_network.MLPClassifier)
    )
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_equal(vars(ours._label_binarizer), vars(theirs._label_binarizer))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_allclose(ours.coefs_[1], theirs.coefs_[1], rtol=1e-6, atol=1e-9)


def test_warm_start_and_partial_fit_continue():
    X, y = CLASSES
    for solver in ("sgd", "adam"):
        pair = []
        for kind in (neural_network.MLPClassifier, MLPClassifier):
            estimator = kind(solver=solver, random_state=1, warm_start=True, max_iter=3)
            estimator.fit(X, y).fit(X, y)
            for start in range(0, 180, 60):
                estimator.partial_fit(X[start : start + 60], y[start : start + 60])
            pair.append(estimator)
        assert_same_fit(X, *pair)


@pytest.mark.parametrize(
    "options",
    [{}, {"solver": "sgd", "learning_rate": "invscaling"}, {"optimizer": Adam(average=0.9)}],
    ids=str,
)
def test_partial_fit_continues_after_pickling(options):
    X, y = CLASSES
    one, other = (MLPClassifier(random_state=1, **options) for _ in range(2))
    for estimator in (one, other):
        for _ in range(3):
            estimator.partial_fit(X, y, classes=[0, 1, 2])
    other = pickle.loads(pickle.dumps(other))
    for estimator in (one, other):
        estimator.partial_fit(X, y)
    assert (one.coefs_[0] == other.coefs_[0]).all()


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_dtypes(dtype, given):
    X, y = VALUES[0].astype(given), VALUES[1].astype(given)
    estimator = MLPRegressor(dtype=dtype, random_state=0, max_iter=5).fit(X, y)
    assert estimator.network_.dtype == (dtype or given)
    assert estimator.coefs_[0].dtype == given
    assert estimator.predict(X).dtype == given
    assert estimator.predict(sparse.csr_array(X)).dtype == given


def test_assigning_to_coefs_changes_predictions_and_network():
    X, y = VALUES
    estimator = MLPRegressor(random_state=0, max_iter=5).fit(X, y)
    estimator.coefs_[-1][:] = 0
    estimator.intercepts_[-1][:] = 2.5
    assert (estimator.predict(X) == 2.5).all()
    estimator.coefs_ = [np.zeros_like(coef) for coef in estimator.coefs_]
    estimator.intercepts_ = [np.full_like(i, 3) for i in estimator.intercepts_]
    assert (estimator.predict(X) == 3).all()
    estimator.intercepts_ = [np.full_like(i, 4) for i in estimator.intercepts_]
    assert (estimator.network_.predict(X) == 4).all()
    estimator.intercepts_ = [np.full_like(i, 5) for i in estimator.intercepts_]
    assert (pickle.loads(pickle.dumps(estimator)).predict(X) == 5).all()
    assert not hasattr(MLPRegressor(), "network_")


def test_additional_arguments():
    X, y = CLASSES
    seen = []
    estimator = MLPClassifier(
        (16, 8), activation=["gelu", activations.leaky_relu(0.2)], optimizer=Adam(0.01),
        schedule=schedules.Cosine(), dropout=[0.1, 0.0], batch_norm=True, class_weight="balanced",
        callbacks=[lambda net, epoch, record: seen.append(epoch)], dtype="float32", threads=1,
        random_state=0, max_iter=30, tol=0, n_iter_no_change=100, batch_size=20,
    )  # fmt: skip
    estimator.fit(X, y, validation_data=(X, y))
    assert seen == list(range(30))
    assert estimator.score(X, y) > 0.85
    assert estimator.validation_scores_[-1] == estimator.score(X, y)
    assert len(estimator.history_.epochs) == 30
    assert estimator.history_["val_accuracy"] == estimator.validation_scores_
    assert estimator.history_["lr"][0] > estimator.history_["lr"][-1]
    again = clone(estimator).fit(X, y)
    assert (again.predict_proba(X) == estimator.predict_proba(X)).all()
    estimator.set_params(callbacks=None)  # a lambda cannot be pickled
    assert (pickle.loads(pickle.dumps(estimator)).predict_proba(X)
            == estimator.predict_proba(X)).all()  # fmt: skip


def test_alpha_is_the_penalty_of_optimizers_without_decay():
    X, y = CLASSES
    for optimizer, counts in ((Adam(), True), (Adam(weight_decay=0.1), False), (AdamW(), False),
                              (Adam(penalty=0.5), False)):  # fmt: skip
        fitted = [MLPClassifier(optimizer=optimizer, alpha=alpha, random_state=0, max_iter=3)
                  .fit(X, y).coefs_[0] for alpha in (0.0, 10.0)]  # fmt: skip
        assert (fitted[0] != fitted[1]).any() == counts


def test_lbfgs_refuses_unsupported_arguments():
    X, y = CLASSES
    for name, value in (("optimizer", Adam()), ("schedule", schedules.Cosine()),
                        ("callbacks", []), ("dropout", 0.5)):  # fmt: skip
        with pytest.raises(ValueError, match=f"solver='lbfgs' does not support {name}"):
            MLPClassifier(solver="lbfgs", **{name: value}).fit(X, y)
    with pytest.raises(ValueError, match="solver='lbfgs' does not support validation_data"):
        MLPClassifier(solver="lbfgs").fit(X, y, validation_data=(X, y))
    estimator = MLPClassifier(solver="lbfgs", batch_norm=True, random_state=0, max_iter=30)
    assert estimator.fit(X, y).score(X, y) > 0.9


def test_class_weights():
    X, y = BINARY
    weight = np.where(y == 1, 3.0, 1.0)
    options = {"random_state": 0, "max_iter": 5}
    one = MLPClassifier(class_weight={0: 1, 1: 3}, **options).fit(X, y)
    other = MLPClassifier(**options).fit(X, y, sample_weight=weight)
    assert (one.coefs_[0] == other.coefs_[0]).all()
    X, y = CLASSES
    names = np.array(["a", "b", "c"])[y]
    one = MLPClassifier(class_weight={"a": 2, "b": 1, "c": 1}, **options).fit(X, names)
    other = MLPClassifier(**options).fit(X, names, sample_weight=np.where(y == 0, 2.0, 1))
    assert (one.coefs_[0] == other.coefs_[0]).all()
    with pytest.raises(ValueError, match="class_weight is not supported for multilabel"):
        MLPClassifier(class_weight={0: 2}).fit(*LABELS)
    with pytest.raises(ValueError, match="class_weight is not supported for multilabel"):
        MLPClassifier(class_weight="balanced").fit(*LABELS)


def test_balanced_classes_count_sample_weights():
    X, y = CLASSES
    sample_weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    sample_weight[y == 2] = 0
    sample_weight[y == 0] *= 10
    totals = np.bincount(y, sample_weight)
    assert totals[2] == 0
    by_class = totals.sum() / 2 / np.where(totals > 0, totals, 1)
    options = {"random_state": 0, "max_iter": 5}
    one = MLPClassifier(class_weight="balanced", **options).fit(X, y, sample_weight)
    other = MLPClassifier(**options).fit(X, y, sample_weight * by_class[y])
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0], atol=1e-9)
    assert not one.__sklearn_tags__().classifier_tags.multi_label
    assert other.__sklearn_tags__().classifier_tags.multi_label


def test_early_stopping_uses_validation_data_and_restores_the_best():
    X, y = CLASSES
    estimator = MLPClassifier(
        early_stopping=True, random_state=0, max_iter=60, n_iter_no_change=3,
        learning_rate_init=0.1,
    )  # fmt: skip
    estimator.fit(X[:100], y[:100], validation_data=(X[100:], y[100:]))
    assert estimator.score(X[100:], y[100:]) == estimator.best_validation_score_
    assert estimator.best_validation_score_ == max(estimator.validation_scores_)
    assert estimator.validation_scores_[-1] < estimator.best_validation_score_
    assert estimator.n_iter_ == len(estimator.validation_scores_) < 60


def test_divergence_restores_the_best_of_early_stopping():
    X, y = CLASSES
    estimator = MLPClassifier(
        early_stopping=True, random_state=0, schedule=lambda step, epoch: 1e200 if epoch > 3 else 1
    )
    with pytest.warns(ConvergenceWarning, match="diverged"):
        estimator.fit(X[:100], y[:100], validation_data=(X[100:], y[100:]))
    assert np.isnan(estimator.validation_scores_[-1])
    assert estimator.score(X[100:], y[100:]) == estimator.best_validation_score_


def test_interruption_ends_training_with_a_warning():
    def interrupt(network, epoch, record):
        if epoch == 2:
            raise KeyboardInterrupt

    X, y = CLASSES
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator = MLPClassifier(callbacks=interrupt, random_state=0).fit(X, y)
    expected = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    assert estimator.n_iter_ == 3
    assert (estimator.coefs_[0] == expected.coefs_[0]).all()


@pytest.mark.parametrize("n", [1, 2, 3, 40, 1000])
def test_orders_are_those_of_scikit_learn(n):
    rows = Rows(np.zeros((n, 2)))
    source = ScikitSource(rows, Targets(np.zeros((n, 1))), 1, np.random.RandomState(5))
    random_state, expected, order = np.random.RandomState(5), np.arange(n), None
    for _ in range(3):
        expected = shuffle(expected, random_state=random_state)
        order = source.draw_order(0, 0, order)
        if n > 1:
            assert order.dtype == np.uint32
            assert (order == expected).all()
    assert source.random_state.randint(2**31) == random_state.randint(2**31)


@pytest.mark.parametrize(
    "options",
    [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "invscaling"},
     {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
     {"batch_size": 50}, {"shuffle": False}, {"dropout": 0.3}, {"batch_norm": True},
     {"optimizer": Adam(average=0.9)}, {"schedule": schedules.Cosine()}, {"tol": 1.0}],
    ids=str,
)  # fmt: skip
def test_a_callback_does_not_change_the_results(options):
    # Without callbacks, epochs follow each other within one run of the engine.
    X, y = CLASSES
    options = {"max_iter": 30, "random_state": 0, **options}
    alone = MLPClassifier(**options).fit(X, y)
    watched = MLPClassifier(**options, callbacks=lambda network, epoch, record: None).fit(X, y)
    assert alone.loss_curve_ == watched.loss_curve_
    assert (alone.n_iter_, alone.t_) == (watched.n_iter_, watched.t_)
    assert alone.network_.state.epoch == watched.network_.state.epoch == alone.n_iter_
    for one, other in zip(alone.coefs_, watched.coefs_, strict=True):
        assert (one == other).all()
    for one, other in zip(alone.history_.epochs, watched.history_.epochs, strict=True):
        assert list(one) == list(other)
        assert (one["loss"], one["lr"]) == (other["loss"], other["lr"])
    for estimator in (alone, watched):
        estimator.partial_fit(X, y)
    assert alone.loss_ == watched.loss_


def test_verbose(capsys):
    X, y = CLASSES
    MLPClassifier(max_iter=2, verbose=True, random_state=0).fit(X, y)
    theirs = capsys.readouterr().out
    neural_network.MLPClassifier(max_iter=2, verbose=True, random_state=0).fit(X, y)
    assert capsys.readouterr().out == theirs
    MLPClassifier(max_iter=2, verbose=2, random_state=0).fit(X, y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "samples" in err
    MLPClassifier(max_iter=30, verbose=2, n_iter_no_change=1, tol=10).fit(X, y)
    MLPClassifier(max_iter=2, verbose=2, early_stopping=True).fit(X, y)
    assert capsys.readouterr().out == ""
    MLPRegressor(max_iter=2, verbose=2, solver="lbfgs").fit(X, y)  # has no bar
    assert "Iteration 1, loss = " in capsys.readouterr().out


def test_warnings_and_errors():
    X, y = CLASSES
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        MLPClassifier(max_iter=2, batch_size=1000).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(max_iter=100, tol=10, n_iter_no_change=1).fit(X, y)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver="sgd", learning_rate_init=1e3).fit(X * 1e5, y)
    with pytest.raises(ValueError, match="The 'activation' parameter of MLPClassifier must be"):
        MLPClassifier(activation="rellu").fit(X, y)
    with pytest.raises(ValueError, match="The 'dropout' parameter"):
        MLPClassifier(dropout=1.0).fit(X, y)
    with pytest.raises(ValueError, match="n_jobs must not be 0"):
        MLPClassifier(n_jobs=0).fit(X, y)
    with pytest.raises(TypeError, match=r"validation_data must be a pair \(X, y\)"):
        MLPClassifier().fit(X, y, validation_data=3)
    with pytest.raises(ValueError, match="The 'dtype' parameter"):
        MLPClassifier(dtype="float16").fit(X, y)


def test_prediction_of_few_samples_checks_them():
    X, y = CLASSES
    estimator = MLPClassifier(max_iter=3).fit(X, y)
    with pytest.raises(ValueError, match="has 5 features, but MLPClassifier is expecting 12"):
        estimator.predict(X[:1, :5])
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict_proba(np.full((1, 12), np.nan))
    assert estimator.predict(X[:1]) == estimator.predict(X)[:1]
    assert (estimator.predict_log_proba(X) == np.log(estimator.predict_proba(X))).all()


def test_from_sklearn(tmp_path):
    X, y = CLASSES
    for kind in (neural_network.MLPClassifier, MLPClassifier):
        estimator = kind((9, 7), activation="logistic", random_state=0, max_iter=5).fit(X, y)
        net = Network.from_sklearn(estimator)
        np.testing.assert_allclose(net(X), estimator.predict_proba(X), atol=1e-12)
        net.save(tmp_path / "net.npz")
        net.fit(X, y, epochs=1)
    assert estimator.network_.size == [12, 9, 7, 3]
    for kind in (neural_network.MLPRegressor, MLPRegressor):
        counts = kind(loss="poisson", random_state=0, max_iter=5).fit(*COUNTS)
        np.testing.assert_allclose(Network.from_sklearn(counts).predict(COUNTS[0]),
                                   counts.predict(COUNTS[0]), rtol=1e-12)  # fmt: skip
    with pytest.raises(TypeError, match="estimator must be an MLPClassifier or an MLPRegressor"):
        Network.from_sklearn(StandardScaler().fit(X))


def run_tools(kind):
    """Return the results of scikit-learn's tools with an estimator of a kind."""
    X, y = CLASSES
    estimator = kind(8, random_state=0, max_iter=15, learning_rate_init=0.01)
    pipeline = make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), slice(0, 6))], remainder="passthrough"),
        estimator,
    )
    name = f"{kind.__name__.lower()}__alpha"
    search = GridSearchCV(pipeline, {name: [1e-4, 100.0]}, cv=2, n_jobs=2).fit(X, y)
    scores = cross_validate(estimator, X, y, cv=2, n_jobs=2, return_train_score=True)
    calibrated = CalibratedClassifierCV(estimator, cv=2).fit(X, y)
    importance = permutation_importance(estimator.fit(X, y), X, y, n_repeats=2, random_state=0)
    return {
        "best_params": list(search.best_params_.values()),
        "grid": search.cv_results_["mean_test_score"],
        "test_score": scores["test_score"],
        "train_score": scores["train_score"],
        "probabilities": calibrated.predict_proba(X),
        "importances": importance.importances,
    }


def test_tools_give_the_results_of_scikit_learns_estimator():
    theirs, ours = run_tools(neural_network.MLPClassifier), run_tools(MLPClassifier)
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-4, err_msg=name)
    assert len(set(theirs["grid"])) == 2  # the two values of alpha differ


LOAD = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    estimator, X, want = pickle.load(file)
assert (estimator.predict(X) == want).all()
estimator.partial_fit(X, want)
"""


def test_unpickling_in_another_process(tmp_path):
    X, y = CLASSES
    estimator = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    path = tmp_path / "estimator.pickle"
    path.write_bytes(pickle.dumps((estimator, X, estimator.predict(X))))
    subprocess.run([sys.executable, "-c", LOAD, path], check=True)


def test_callbacks_stop_training():
    X, y = CLASSES
    stopping = [callbacks.Function(lambda net, epoch, record: epoch == 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MLPClassifier(callbacks=stopping).fit(X, y).n_iter_ == 3


def test_import_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "cmlp.sklearn")
    with pytest.raises(ImportError, match=r"requires scikit-learn; .* 'cmlp\[sklearn\]'"):
        import cmlp.sklearn  # noqa: F401


@pytest.mark.parametrize("source", [MLPClassifier, neural_network.MLPClassifier])
def test_the_network_of_a_multilabel_estimator_has_the_same_score(source):
    X, Y = make_multilabel_classification(200, random_state=0)
    estimator = source(16, max_iter=30, random_state=0).fit(X, Y)
    network = Network.from_sklearn(estimator)
    assert network.task == "multilabel"
    for each in (network, *([estimator.network_] if source is MLPClassifier else [])):
        np.testing.assert_array_equal(each.predict(X), estimator.predict(X))
        assert each.score(X, Y) == estimator.score(X, Y)
        want = f1_score(Y, estimator.predict(X), average="macro")
        assert each.score(X, Y, metric="f1") == pytest.approx(want)
    again = pickle.loads(pickle.dumps(estimator))
    assert Network.from_sklearn(again).task == "multilabel"
