"""Classifier and regressor for tables with numbers, categories and missing values.

`RealMLPClassifier` and `RealMLPRegressor` are scikit-learn estimators; `TableEncoder` is their
preprocessing.

Reads pandas, Polars and PyArrow tables, NumPy arrays and nested lists. None of the table libraries
is required, and none is imported here. Requires scikit-learn, the extra ``tabular``.
"""

from cmlp._utils.validation import import_optional

# Before the encoder imports scikit-learn, so that the error says what to install.
import_optional("sklearn", "cmlp.tabular", "scikit-learn", "tabular")

from cmlp.tabular.encoding import TableEncoder
from cmlp.tabular.estimators import RealMLPClassifier, RealMLPRegressor

__all__ = ["RealMLPClassifier", "RealMLPRegressor", "TableEncoder"]
