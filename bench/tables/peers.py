"""The estimators that `bench.tabular` compares, written as their users would write them.

A peer is a function ``make(task, seed, threads)`` that imports its package and returns an object
with ``fit(X, y)`` and ``predict(X)``, which returns class probabilities of shape (n_samples,
n_classes) or real predictions of shape (n_samples,). X is a pandas frame with category columns and
NaN, as `sources.load_table` returns it. Classes are 0, 1, ...
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.tables.sources import CLASSIFICATION

VALIDATION_FRACTION = 0.2

# The arguments of LGBM_TD_* and XGB_TD_* in pytabkit 1.7.3 (models/sklearn/default_params.py and
# models/alg_interfaces), under the names of the packages themselves.
TREES, PATIENCE = 1000, 300
LIGHTGBM_ARGUMENTS = {
    "classification": {
        "learning_rate": 0.04, "subsample": 0.75, "bagging_freq": 1, "num_leaves": 50,
        "min_data_in_leaf": 40, "min_sum_hessian_in_leaf": 1e-7, "max_bin": 255,
    },
    "regression": {
        "learning_rate": 0.05, "subsample": 0.7, "bagging_freq": 1, "num_leaves": 100,
        "min_data_in_leaf": 3, "min_sum_hessian_in_leaf": 1e-7, "max_bin": 255,
    },
}  # fmt: skip
XGBOOST_ARGUMENTS = {
    "classification": {
        "eta": 0.08, "min_child_weight": 5e-6, "lambda": 0.0, "max_depth": 6,
        "colsample_bylevel": 0.9, "subsample": 0.65, "tree_method": "hist", "max_bin": 256,
    },
    "regression": {
        "eta": 0.05, "min_child_weight": 2.0, "lambda": 0.0, "max_depth": 9, "subsample": 0.7,
        "tree_method": "hist", "max_bin": 256,
    },
}  # fmt: skip

# The variants of cmlp.tabular and pytabkit.
TD, TD_S = "TD", "TD-S"


class Estimator:
    """An estimator with scikit-learn's API."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator.fit(X, y)

    def predict(self, X):
        if hasattr(self.estimator, "predict_proba"):
            return self.estimator.predict_proba(X)
        return self.estimator.predict(X)


class Imputed(Estimator):
    """An estimator that does not support NaN in numeric columns: medians are put in their place."""

    def fit(self, X, y):
        self.medians = X.select_dtypes("number").median().fillna(0.0)
        super().fit(X.fillna(self.medians), y)

    def predict(self, X):
        return super().predict(X.fillna(self.medians))


class BoostedTrees:
    """Boosted trees whose number is that with the lowest validation error.

    As in pytabkit, the error is the error rate or the RMSE on 20 % of the training set, and the
    last of equal minima counts.

    Parameters
    ----------
    task : {"classification", "regression"}
    seed, threads : int
    """

    def __init__(self, task, seed, threads):
        self.task, self.seed, self.threads = task, seed, threads

    def fit(self, X, y):
        from sklearn.model_selection import train_test_split

        is_classification = self.task == CLASSIFICATION
        self.n_classes = int(y.max()) + 1 if is_classification else 0
        parts = train_test_split(
            X, y, test_size=VALIDATION_FRACTION, random_state=self.seed,
            stratify=y if is_classification else None,
        )  # fmt: skip
        errors = self.train(*parts)
        self.n_trees = len(errors) - int(np.argmin(errors[::-1]))

    def predict(self, X):
        predictions = self.predict_trees(X)
        if self.n_classes == 2:
            return np.column_stack([1 - predictions, predictions])
        return predictions


class LightGBM(BoostedTrees):
    def train(self, X, X_valid, y, y_valid):
        """Train all trees; return the validation error after each."""
        import lightgbm

        objectives = {
            0: ("mean_squared_error", "rmse"),
            2: ("binary", "binary_error"),
        }
        objective, metric = objectives.get(self.n_classes, ("multiclass", "multi_error"))
        arguments = {
            **LIGHTGBM_ARGUMENTS[self.task], "objective": objective, "metric": metric,
            "early_stopping_round": PATIENCE, "verbosity": -1, "num_threads": self.threads,
            "data_random_seed": self.seed + 1, "bagging_seed": self.seed + 3,
        }  # fmt: skip
        if self.n_classes > 2:
            arguments["num_class"] = self.n_classes
        found = {}
        self.booster = lightgbm.train(
            arguments,
            lightgbm.Dataset(X, y),
            num_boost_round=TREES,
            valid_sets=[lightgbm.Dataset(X_valid, y_valid)],
            valid_names=["valid"],
            callbacks=[lightgbm.record_evaluation(found)],
        )
        return found["valid"][metric]

    def predict_trees(self, X):
        return self.booster.predict(X, num_iteration=self.n_trees)


class XGBoost(BoostedTrees):
    def convert(self, X, y=None):
        import xgboost

        return xgboost.DMatrix(X, y, enable_categorical=True, nthread=self.threads)

    def train(self, X, X_valid, y, y_valid):
        """Train all trees; return the validation error after each."""
        import xgboost

        objectives = {0: ("reg:squarederror", "rmse"), 2: ("binary:logistic", "error")}
        objective, metric = objectives.get(self.n_classes, ("multi:softprob", "merror"))
        arguments = {
            **XGBOOST_ARGUMENTS[self.task], "objective": objective, "eval_metric": metric,
            "verbosity": 0, "nthread": self.threads, "seed": self.seed,
        }  # fmt: skip
        if self.n_classes > 2:
            arguments["num_class"] = self.n_classes
        found = {}
        self.booster = xgboost.train(
            arguments,
            self.convert(X, y),
            num_boost_round=TREES,
            evals=[(self.convert(X_valid, y_valid), "valid")],
            evals_result=found,
            early_stopping_rounds=PATIENCE,
            verbose_eval=False,
        )
        return found["valid"][metric]

    def predict_trees(self, X):
        return self.booster.predict(self.convert(X), iteration_range=(0, self.n_trees))


def make_cmlp(**arguments):
    def make(task, seed, threads):
        import cmlp.tabular

        name = "RealMLPClassifier" if task == CLASSIFICATION else "RealMLPRegressor"
        return Estimator(
            getattr(cmlp.tabular, name)(random_state=seed, n_jobs=threads, **arguments)
        )  # fmt: skip

    return make


def make_pytabkit(name):
    def make(task, seed, threads):
        import pytabkit

        kind = "Classifier" if task == CLASSIFICATION else "Regressor"
        estimator = getattr(pytabkit, f"{name}_{kind}")(
            device="cpu", random_state=seed, n_cv=1, n_refit=0, n_threads=threads, verbosity=0
        )
        return Imputed(estimator)

    return make


def make_sklearn_mlp(task, seed, threads):
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer([
        ("numeric", make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(),
        ), make_column_selector(dtype_include="number")),
        ("categorical", OneHotEncoder(handle_unknown="ignore", sparse_output=False),
         make_column_selector(dtype_include="category")),
    ])  # fmt: skip
    if task == CLASSIFICATION:
        return Estimator(make_pipeline(columns, MLPClassifier(random_state=seed)))
    # With targets of large mean, such as prices, 200 epochs do not even reach the mean.
    network = TransformedTargetRegressor(
        MLPRegressor(random_state=seed), transformer=StandardScaler()
    )
    return Estimator(make_pipeline(columns, network))


def make_sklearn_trees(task, seed, threads):
    from sklearn import ensemble

    name = "Classifier" if task == CLASSIFICATION else "Regressor"
    estimator = getattr(ensemble, f"HistGradientBoosting{name}")
    return Estimator(estimator(categorical_features="from_dtype", random_state=seed))


def make_lightgbm(task, seed, threads):
    import lightgbm  # noqa: F401

    return LightGBM(task, seed, threads)


def make_xgboost(task, seed, threads):
    import xgboost  # noqa: F401

    return XGBoost(task, seed, threads)


@dataclass(frozen=True)
class Peer:
    """An entry of `PEERS`.

    Attributes
    ----------
    title : str
        The name in reports.
    package : str
        The package on PyPI whose version is recorded.
    make : callable
        See the module's docstring.
    """

    title: str
    package: str
    make: Any


PEERS = {
    "cmlp-td": Peer("cmlp RealMLP-TD", "cmlp", make_cmlp()),
    "cmlp-td-s": Peer("cmlp RealMLP-TD-S", "cmlp", make_cmlp(variant=TD_S)),
    "cmlp-bfloat16": Peer("cmlp RealMLP-TD bf16", "cmlp", make_cmlp(compute_dtype="bfloat16")),
    "cmlp-fast": Peer("cmlp RealMLP fast", "cmlp", make_cmlp(preset="fast")),
    "cmlp-best": Peer("cmlp RealMLP best", "cmlp", make_cmlp(preset="best")),
    "pytabkit-td": Peer("pytabkit RealMLP-TD", "pytabkit", make_pytabkit("RealMLP_TD")),
    "pytabkit-td-s": Peer("pytabkit RealMLP-TD-S", "pytabkit", make_pytabkit("RealMLP_TD_S")),
    "sklearn-mlp": Peer("scikit-learn MLP", "scikit-learn", make_sklearn_mlp),
    "sklearn-trees": Peer("HistGradientBoosting", "scikit-learn", make_sklearn_trees),
    "lightgbm": Peer("LightGBM-TD", "lightgbm", make_lightgbm),
    "xgboost": Peer("XGBoost-TD", "xgboost", make_xgboost),
}
