"""Multilayer perceptrons for data in a Dask cluster.

`MLPClassifier` and `MLPRegressor` are those of `cmlp.sklearn`, `RealMLPClassifier` and
`RealMLPRegressor` those of `cmlp.tabular`. `fit` takes Dask arrays and data frames and trains where
their partitions are; `predict` is lazy. Requires Dask with arrays and data frames, distributed and
scikit-learn, the extra ``dask``.
"""

from cmlp._utils.validation import import_optional

# Before the estimators import these packages, so that the error says what to install.
for _module in ("dask.array", "dask.dataframe", "distributed", "sklearn"):
    _package = "scikit-learn" if _module == "sklearn" else _module
    import_optional(_module, "cmlp.dask", _package, "dask")

from cmlp.dask.estimators import MLPClassifier, MLPRegressor
from cmlp.dask.tabular import RealMLPClassifier, RealMLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "RealMLPClassifier", "RealMLPRegressor"]
