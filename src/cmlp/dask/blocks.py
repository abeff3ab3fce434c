"""Dask arrays and data frames as aligned lists of blocks, which are never collected."""

from math import isnan
from typing import Any, NamedTuple

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask import is_dask_collection
from dask.dataframe.dispatch import make_meta

FRAMES = dd.DataFrame, dd.Series


class Blocks(NamedTuple):
    """The blocks of X, y and the sample weights; block i of each has the same rows.

    Attributes
    ----------
    parts : list
        A tuple of the blocks of X, y and the sample weights (None without) for each partition, or
        a dask.delayed.Delayed of one.
    columns : pandas.DataFrame or None
        An empty data frame with the columns of X, if X is a data frame.
    dtype : numpy.dtype or None
        float32 if X is float32, else float64, as in scikit-learn; None for a table.
    """

    parts: list
    columns: Any
    dtype: np.dtype | None

    @classmethod
    def align(cls, X, y, sample_weight=None, is_table=False):
        """Return the blocks of Dask collections.

        Parameters
        ----------
        X : dask.array.Array of shape (n_samples, n_features), or dask.dataframe.DataFrame
        y : Dask array, series or data frame with n_samples rows
        sample_weight : Dask array or series of n_samples numbers, optional
        is_table : bool, default False
            Whether X may hold other things than numbers.

        Raises
        ------
        TypeError
            If one of them is not a Dask collection, or X is not numeric.
        ValueError
            If one has another number of dimensions, or other chunks along the rows than X.
        """
        parts = {"X": split_rows("X", X, (2,)), "y": split_rows("y", y, (1, 2))}
        if sample_weight is not None:
            parts["sample_weight"] = split_rows("sample_weight", sample_weight, (1,))
        for name, (blocks, sizes) in parts.items():
            check_alignment(name, blocks, sizes, *parts["X"])
        given = [value for value in (X, y, sample_weight) if value is not None]
        if all(isinstance(value, FRAMES) for value in given):
            joined = join_frames(*given)
        else:
            weights = parts.get("sample_weight", ([None] * len(parts["X"][0]), None))
            joined = list(zip(parts["X"][0], parts["y"][0], weights[0], strict=True))
        columns = make_meta(X) if isinstance(X, FRAMES) else None
        return cls(joined, columns, None if is_table else choose_dtype(X))


def join_frames(*frames):
    """Return a Delayed of a tuple of the blocks of data frames for each partition.

    Dask optimizes a data frame with its filters and repartitions. Those of X and y would get
    other partitions if they were computed apart.
    """
    joined = dd.map_partitions(
        pack_blocks, *frames, meta=(None, object), align_dataframes=False, enforce_metadata=False
    )
    return joined.to_delayed()


def pack_blocks(X, y, sample_weight=None):
    """Return the blocks of a partition as a tuple."""
    return X, y, sample_weight


def split_rows(name, value, dimensions):
    """Return a Dask collection as blocks of whole rows, and their sizes.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    value : Dask array, series or data frame
        An array with several chunks of columns is rechunked to one.
    dimensions : tuple of int
        Allowed numbers of dimensions.

    Returns
    -------
    blocks : list of Delayed
    sizes : tuple of (int or nan), or None for data frames
        NaN where Dask does not know the size of a chunk.
    """
    if not (is_dask_collection(value) and isinstance(value, (da.Array, *FRAMES))):
        raise TypeError(
            f"{name} must be a Dask array or data frame; got {type(value).__name__}; "
            "to_local() returns an estimator for other data"
        )
    if value.ndim not in dimensions:
        allowed = " or ".join(map(str, dimensions))
        raise ValueError(f"{name} must have {allowed} dimensions; got {value.ndim}")
    if isinstance(value, FRAMES):
        return value.to_delayed(), None
    if value.ndim == 2 and value.numblocks[1] != 1:
        value = value.rechunk({1: -1})
    return list(value.to_delayed().ravel()), value.chunks[0]


def check_alignment(name, blocks, sizes, X_blocks, X_sizes):
    """Raise `ValueError` unless blocks and their known sizes are those of X."""
    are_known = sizes and X_sizes and not any(map(isnan, (*sizes, *X_sizes)))
    if len(blocks) != len(X_blocks) or (are_known and sizes != X_sizes):
        found = [show_sizes(len(b), s) for b, s in ((X_blocks, X_sizes), (blocks, sizes))]
        raise ValueError(
            f"X and {name} must have the same chunks along the rows; got {found[0]} of X and "
            f"{found[1]} of {name}"
        )


def show_sizes(count, sizes):
    """Return a description of blocks for a message."""
    if sizes is None or any(map(isnan, sizes)):
        return f"{count} partitions of unknown sizes"
    shown = ", ".join(map(str, sizes[:5])) + (", ..." if count > 5 else "")
    return f"{count} chunks ({shown})"


def choose_dtype(X):
    """Return the dtype of the arithmetic: float32 if X is float32, else float64.

    Raises
    ------
    TypeError
        If X, or a column of it, is not numeric.
    """
    if isinstance(X, FRAMES):
        wrong = [n for n, dtype in X.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
        if wrong:
            raise TypeError(
                f"X must have numeric columns; got {X.dtypes[wrong[0]]} in {wrong[0]!r}"
            )
        dtypes = set(map(str, X.dtypes))
    else:
        if X.dtype.kind not in "biuf":
            raise TypeError(f"X must hold real numbers; got {X.dtype}")
        dtypes = {str(X.dtype)}
    return np.dtype(np.float32 if dtypes == {"float32"} else np.float64)
