"""`TableEncoder`: the preprocessing of RealMLP, from tables to numbers and codes."""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from cmlp._utils.validation import check_positive
from cmlp.tabular.categories import learn_categories, look_up_codes, make_lookup
from cmlp.tabular.fields import EncoderFields, pack_encoder, unpack_encoder
from cmlp.tabular.scaling import learn_scale, scale
from cmlp.tabular.selection import FROM_DTYPE, select_categorical
from cmlp.tabular.tables import (
    NamedColumns,
    list_column_names,
    prepare_table,
    split_columns,
)

# Rows that are scaled at once. A column of the result is written with the stride of a row, so whole
# columns of a large table miss the cache at every row. Scaling 20 columns of 1,000,000 rows took
# 0.27 s in blocks of 4096 rows, 0.19 s of 16384, 0.17 s of 65536, and 0.47 s as a whole (Zen 4,
# best of 9). More columns need more cache, hence not the largest.
BLOCK_ROWS = 16384


class EncodedTable(NamedTuple):
    """A table as numbers and codes.

    Attributes
    ----------
    numeric : ndarray of float32 or float64, shape (n_rows, n_numeric + n_indicators)
        Finite, C-contiguous: the scaled numeric columns, then the indicators of missing values.
    codes : ndarray of int32, shape (n_rows, n_categorical)
        C-contiguous: 0 is a missing or unknown value, k the k-th category of the column.
    """

    numeric: np.ndarray
    codes: np.ndarray


class TableEncoder(
    TransformerMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,  # type: ignore[call-arg] # no set_output(): two arrays
):
    """Encode the numeric and the categorical columns of a table for a network.

    A numeric column is centered at its median and multiplied by 1 / IQR, the distance of its
    quartiles, then clipped smoothly: ``x / sqrt(1 + (x / c)**2)`` [1]_. A missing value becomes 0,
    which is the median. A column with missing values in `fit` also has an indicator: +1 where the
    value is missing, else -1. A categorical column becomes integer codes.

    Parameters
    ----------
    categorical_features : {"from_dtype"}, array-like of bool, int or str, or None, \
            default "from_dtype"
        The categorical columns, as in scikit-learn's HistGradientBoostingClassifier: a mask, their
        indices, their names, or None if there are none. ``"from_dtype"`` selects the columns of
        strings, booleans and categories (pandas ``category``, Polars ``Categorical`` and ``Enum``,
        dictionaries of Arrow). A column of Python objects is numeric if all values that are
        present are numbers, but not booleans, and at least one is present.
    smooth_clip : float or None, default 3.0
        The bound c of the smooth clip; None for no clip.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of the scaled numbers. Medians and factors are always computed in float64.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (n_features,)
        Defined only if all column names are strings.
    numeric_columns_, categorical_columns_ : ndarray of int
        Indices of the numeric and of the categorical columns, in ascending order.
    medians_ : ndarray of float64, shape (n_numeric,)
    factors_ : ndarray of float64, shape (n_numeric,)
        1 / IQR; 2 / (max - min) if the IQR is 0; 0 if all values are equal.
    has_missing_ : ndarray of bool, shape (n_numeric,)
        Whether the numeric column had missing values, and so has an indicator.
    categories_ : list of ndarray of object, length n_categorical
        The values of each categorical column as str, int, float or bool, in ascending order,
        numbers before strings.
    cardinalities_ : ndarray of int, shape (n_categorical,)
        The number of categories of each categorical column. Code 0 is not counted: codes are at
        most the cardinality.

    Notes
    -----
    Missing values are NaN, None, pandas.NA, pandas.NaT, and nulls of Polars and Arrow. Equal
    numbers of different types are the same category.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs
       and Boosted Trees on Tabular Data", NeurIPS 2024, arXiv:2407.04491, section 3.

    Examples
    --------
    >>> from cmlp.tabular import TableEncoder
    >>> encoder = TableEncoder().fit([[1.0, "a"], [2.0, "b"], [3.0, "a"], [None, None]])
    >>> encoder.transform([[2.0, "b"], [3.0, "c"]])
    EncodedTable(numeric=array([[ 0.       , -1.       ],
           [ 0.9486833, -1.       ]], dtype=float32), codes=array([[2],
           [0]], dtype=int32))
    """

    def __init__(self, categorical_features=FROM_DTYPE, *, smooth_clip=3.0, dtype="float32"):
        self.categorical_features = categorical_features
        self.smooth_clip = smooth_clip
        self.dtype = dtype

    def fit(self, X, y=None):
        """Learn the scale of the numeric columns and the categories of the others.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
        y : None
            Ignored.

        Returns
        -------
        TableEncoder
            The encoder itself.

        Raises
        ------
        TypeError
            If X is sparse or not a table, or a column holds dates, complex numbers, lists or other
            unsupported types.
        ValueError
            If X has no rows or columns, a numeric column holds strings or infinity, or an
            argument of the encoder is invalid.
        """
        self._check_parameters()
        X = self._check_table(X, reset=True)
        columns = split_columns(X)
        is_categorical = select_categorical(
            self.categorical_features, list_column_names(X), columns
        )
        scales, categories = [], []
        for column, is_code in zip(columns, is_categorical, strict=True):
            if is_code:
                categories.append(learn_categories(*column.factorize()))
            else:
                scales.append(learn_scale(column.to_floats()))
        medians, factors, has_missing = zip(*scales, strict=True) if scales else ((), (), ())
        self._set_fitted(
            is_categorical,
            np.array(medians, np.float64),
            np.array(factors, np.float64),
            np.array(has_missing, bool),
            categories,
        )
        return self

    def transform(self, X):
        """Encode a table.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, pyarrow.Table, dict, array-like; (n_rows, n_features)
            Columns in the same order as in `fit`.

        Returns
        -------
        EncodedTable
            A named tuple of `numeric` and `codes`.

        Raises
        ------
        TypeError, ValueError
            As `fit`, and if the columns are not those of `fit` or, without a smooth clip, a scaled
            number is beyond the range of `dtype`.
        """
        check_is_fitted(self)
        dtype = self._check_parameters()
        X = self._check_table(X, reset=False)
        columns = split_columns(X)
        numeric = self._scale_columns([columns[i] for i in self.numeric_columns_], len(X), dtype)
        codes = np.empty((len(X), len(self.categorical_columns_)), np.int32)
        for i, index in enumerate(self.categorical_columns_):
            codes[:, i] = look_up_codes(*columns[index].factorize(), self._lookups[i])
        return EncodedTable(numeric, codes)

    def _check_table(self, X, reset):
        """Return a table as `prepare_table` does; set or check number and names of its columns."""
        X = prepare_table(X)
        if not isinstance(X, NamedColumns):
            return validate_data(self, X, reset=reset, skip_check_array=True)
        names = list(X.columns)
        if reset:
            self.n_features_in_, self.feature_names_in_ = len(names), np.array(names, object)
        elif len(names) != self.n_features_in_ or names != list(
            getattr(self, "feature_names_in_", names)
        ):
            raise ValueError(
                f"X must have the columns of fit, in the same order; got {', '.join(names)}"
            )
        return X

    def _scale_columns(self, columns, n_rows, dtype):
        """Return `numeric` of the numeric columns, a list of Column."""
        floats = [column.to_floats() for column in columns]
        with_indicator = np.flatnonzero(self.has_missing_)
        numeric = np.empty((n_rows, len(columns) + len(with_indicator)), dtype)
        for start in range(0, n_rows, BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            for i, column in enumerate(columns):
                values = floats[i][start:stop]
                scaled = scale(values, self.medians_[i], self.factors_[i], self.smooth_clip)
                check_range(column.label, scaled, values, start, dtype)
                numeric[start:stop, i] = scaled
            for k, i in enumerate(with_indicator, len(columns)):
                numeric[start:stop, k] = np.where(np.isnan(floats[i][start:stop]), 1, -1)
        return numeric

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of `numeric`, followed by those of `codes`.

        Parameters
        ----------
        input_features : array-like of str, optional
            The names of the columns of X; must be those of `fit` if it had names. By default those
            names or ``x0``, ``x1``, ...

        Returns
        -------
        ndarray of object
            An indicator is named as scikit-learn's MissingIndicator names it:
            ``missingindicator_`` and the name of the column.
        """
        check_is_fitted(self)
        names = np.asarray(_check_feature_names_in(self, input_features), object)
        numeric = names[self.numeric_columns_]
        indicators = [f"missingindicator_{name}" for name in numeric[self.has_missing_]]
        return np.array([*numeric, *indicators, *names[self.categorical_columns_]], object)

    def to_fields(self):
        """Return the fitted encoder as plain values and arrays, to be stored in a file.

        Returns
        -------
        fields : dict
            JSON can represent it.
        arrays : dict of str to ndarray
            ``medians`` and ``factors``.
        """
        check_is_fitted(self)
        encoder = EncoderFields(
            self.categorical_features,
            self.smooth_clip,
            self._check_parameters().name,
            getattr(self, "feature_names_in_", None),
            np.isin(np.arange(self.n_features_in_), self.categorical_columns_),
            self.has_missing_,
            [categories.tolist() for categories in self.categories_],
            self.medians_,
            self.factors_,
        )
        return pack_encoder(encoder)

    @classmethod
    def from_fields(cls, fields, arrays):
        """Return the encoder that `to_fields` has stored.

        Parameters
        ----------
        fields : dict
        arrays : dict of str to ndarray

        Returns
        -------
        TableEncoder
            Encodes tables as the stored encoder did. `categorical_features` is a list if it was
            another array-like.

        Raises
        ------
        ValueError, TypeError
            If a field or an array is invalid; the message names it.
        """
        return cls.from_state(unpack_encoder(fields, arrays))

    @classmethod
    def from_state(cls, stored):
        """Return the fitted encoder with the state of `EncoderFields`."""
        encoder = cls(
            stored.categorical_features, smooth_clip=stored.smooth_clip, dtype=stored.dtype
        )
        encoder._check_parameters()
        encoder.n_features_in_ = len(stored.is_categorical)
        if stored.names is not None:
            encoder.feature_names_in_ = np.array(stored.names, object)
        encoder._set_fitted(
            stored.is_categorical,
            stored.medians,
            stored.factors,
            stored.has_missing,
            stored.categories,
        )
        return encoder

    def _check_parameters(self):
        """Return `dtype` as a numpy.dtype; raise if it or `smooth_clip` is invalid."""
        if self.smooth_clip is not None:
            check_positive("smooth_clip", self.smooth_clip)
        try:
            dtype = np.dtype(self.dtype)
        except (TypeError, ValueError, SyntaxError):
            raise TypeError(f"dtype must be float32 or float64; got {self.dtype!r}") from None
        if dtype not in (np.float32, np.float64) or not dtype.isnative or self.dtype is None:
            raise ValueError(f"dtype must be float32 or float64; got {self.dtype!r}")
        return dtype

    def _set_fitted(self, is_categorical, medians, factors, has_missing, categories):
        self.numeric_columns_ = np.flatnonzero(~is_categorical)
        self.categorical_columns_ = np.flatnonzero(is_categorical)
        self.medians_, self.factors_, self.has_missing_ = medians, factors, has_missing
        self.cardinalities_ = np.array([len(values) for values in categories], np.intp)
        self._lookups = [make_lookup(values) for values in categories]
        self.categories_ = []
        for values in categories:
            self.categories_.append(np.empty(len(values), object))
            self.categories_[-1][:] = values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def check_range(label, scaled, values, first_row, dtype):
    """Raise ValueError if a scaled number is beyond the range of a dtype.

    Parameters
    ----------
    label : str
        The column, for the error message.
    scaled, values : ndarray of float64, shape (n_rows,)
        Rows of the scaled column, and of the column itself.
    first_row : int
        The index of the first of these rows in the table.
    dtype : numpy.dtype
        float32 or float64.
    """
    greatest = max(float(scaled.max()), -float(scaled.min()))
    if greatest > np.finfo(dtype).max:
        row = np.abs(scaled).argmax()
        raise ValueError(
            f"{label} must be within the range of {dtype} when scaled; got {values[row]} in row "
            f"{first_row + row}; set smooth_clip to limit it"
        )
