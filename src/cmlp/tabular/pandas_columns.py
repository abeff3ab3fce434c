"""Columns of pandas data frames. pandas is not imported: a data frame exists only if it is."""

import sys

import numpy as np

from cmlp.tabular.arrow_columns import make_arrow_column
from cmlp.tabular.categories import make_type_error
from cmlp.tabular.columns import Column, NumberColumn, ObjectColumn


class PandasColumn(Column):
    """A column of strings, or of one of pandas' own types of numbers and booleans.

    Parameters
    ----------
    label : str
    series : pandas.Series
    """

    def __init__(self, label, series):
        is_string = isinstance(series.dtype, sys.modules["pandas"].StringDtype)
        super().__init__(label, is_string or series.dtype.kind == "b")
        self.series, self.is_string = series, is_string

    def read_floats(self):
        """Return the numbers as float64, pandas.NA as NaN."""
        if self.is_string:
            return super().read_floats()
        return self.series.to_numpy(dtype=np.float64, na_value=np.nan)

    def read_codes(self):
        """Return the result of pandas.factorize."""
        codes, values = sys.modules["pandas"].factorize(self.series)
        return codes, values.tolist()


class PandasCategoricalColumn(Column):
    """A column of the dtype ``category``.

    Parameters
    ----------
    label : str
    series : pandas.Series
    """

    def __init__(self, label, series):
        super().__init__(label, True)
        self.series = series

    def read_codes(self):
        """Return the codes and the categories of pandas."""
        return self.series.cat.codes.to_numpy(), self.series.cat.categories.tolist()


def make_pandas_column(label, series):
    """Return the `Column` that reads a pandas.Series; raise TypeError for unsupported dtypes."""
    pandas, dtype = sys.modules["pandas"], series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return PandasCategoricalColumn(label, series)
    if isinstance(dtype, pandas.ArrowDtype):
        return make_arrow_column(label, series.array.__arrow_array__())
    if isinstance(dtype, pandas.StringDtype):
        return PandasColumn(label, series)
    is_numpy = isinstance(dtype, np.dtype)
    if dtype.kind in "biuf":
        return NumberColumn(label, series.to_numpy()) if is_numpy else PandasColumn(label, series)
    if dtype.kind == "O" and (is_numpy or isinstance(dtype, pandas.SparseDtype)):
        return ObjectColumn(label, np.asarray(series, object).tolist())
    is_date = dtype.kind in "mM" or isinstance(dtype, pandas.PeriodDtype)
    raise make_type_error(label, str(dtype), is_date)
