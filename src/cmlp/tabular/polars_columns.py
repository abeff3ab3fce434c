"""Columns of Polars data frames. Polars is not imported: a data frame exists only if it is."""

import sys

import numpy as np

from cmlp.tabular.categories import make_type_error
from cmlp.tabular.columns import Column, ObjectColumn


class PolarsColumn(Column):
    """A column of numbers, booleans, strings or nulls.

    Parameters
    ----------
    label : str
    series : polars.Series
    is_categorical : bool
    """

    def __init__(self, label, series, is_categorical):
        super().__init__(label, is_categorical)
        self.series = series

    def read_floats(self):
        """Return the numbers as float64, nulls as NaN."""
        polars = sys.modules["polars"]
        if self.series.dtype == polars.String:
            return super().read_floats()
        return self.series.cast(polars.Float64).to_numpy()

    def read_codes(self):
        """Return the indices of the values that polars.Series.unique has found."""
        polars = sys.modules["polars"]
        values = self.series.drop_nulls().unique()
        if len(values) == 0:
            return np.full(len(self.series), -1, np.intp), []
        codes = self.series.replace_strict(
            values, np.arange(len(values)), default=-1, return_dtype=polars.Int64
        )
        return codes.to_numpy(), values.to_list()


def make_polars_column(label, series):
    """Return the `Column` that reads a polars.Series; raise TypeError for unsupported dtypes."""
    polars, dtype = sys.modules["polars"], series.dtype
    if dtype == polars.Object:
        return ObjectColumn(label, series.to_list())
    if dtype in (polars.Categorical, polars.Enum):
        return PolarsColumn(label, series.cast(polars.String), True)
    if dtype == polars.Decimal:
        return PolarsColumn(label, series.cast(polars.Float64), False)
    is_categorical = dtype in (polars.String, polars.Boolean)
    if is_categorical or dtype.is_numeric() or dtype == polars.Null:
        return PolarsColumn(label, series, is_categorical)
    raise make_type_error(label, str(dtype), dtype.is_temporal())
