"""Preprocessing of tables with numeric and categorical columns: `TableEncoder`.

Reads pandas, Polars and PyArrow tables, NumPy arrays and nested lists. None of the table libraries
is required, and none is imported here. Requires scikit-learn, the extra ``tabular``.
"""

from cmlp._utils.validation import import_optional

# Before the encoder imports scikit-learn, so that the error says what to install.
import_optional("sklearn", "cmlp.tabular", "scikit-learn", "tabular")

from cmlp.tabular.encoding import TableEncoder

__all__ = ["TableEncoder"]
