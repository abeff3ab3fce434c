"""Robust scaling of numeric columns and the smooth clip of RealMLP."""

import numpy as np

# Columns with greater values are multiplied by this power of two before quantiles are computed,
# which interpolate and subtract: neither overflows then.
LARGE, SHRINK = 2.0**1000, 2.0**-8

# The smooth clip of a number this many times its bound, or more, is the bound: 1 + 1e-18 == 1.
SATURATION = 1e9

GREATEST = float(np.finfo(np.float64).max)


def learn_scale(values, extremes=None):
    """Return median, factor and whether values are missing.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)
        Finite, NaN where missing. Not modified.
    extremes : tuple of float, optional
        Minimum and maximum of the whole column, if `values` is a sample of it.

    Returns
    -------
    median : float
        Of the values that are present; 0 if none is.
    factor : float
        1 / IQR; 2 / (max - min) if the IQR, the distance of the quartiles, is 0; 0 if all values
        are equal. At most the greatest float64.
    has_missing : bool
    """
    present = values[~np.isnan(values)]
    has_missing = len(present) < len(values)
    if len(present) == 0:
        if extremes is None:
            return 0.0, 0.0, has_missing
        present = np.array(extremes)
    lowest, highest = extremes or (float(present.min()), float(present.max()))
    shrink = SHRINK if max(-lowest, highest) > LARGE else 1.0
    present *= shrink
    first, median, third = np.quantile(present, (0.25, 0.5, 0.75), overwrite_input=True).tolist()
    spread = third - first or (highest * shrink - lowest * shrink) / 2
    factor = min(shrink / spread, GREATEST) if spread else 0.0
    return median / shrink, factor, has_missing


def scale(values, median, factor, smooth_clip=None):
    """Scale a column: ``x = (values - median) * factor``, then clip it smoothly.

    Parameters
    ----------
    values : ndarray of float64, shape (n_rows,)
        Finite, NaN where missing. Not modified.
    median, factor : float
        From `learn_scale`.
    smooth_clip : float, optional
        The bound c of the smooth clip ``x / sqrt(1 + (x / c)**2)``; None: none.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        Not NaN: 0, the scaled median, replaces missing values. Infinite only without a smooth
        clip, if the scaled number is.
    """
    if factor == 0:
        return np.zeros(len(values))
    with np.errstate(over="ignore"):
        scaled = values - median
        has_overflowed = np.isinf(scaled)
        scaled *= factor
        if has_overflowed.any():
            halves = values[has_overflowed] / 2 - median / 2
            scaled[has_overflowed] = halves * factor * 2
        if smooth_clip is not None:
            scaled /= smooth_clip
            np.clip(scaled, -SATURATION, SATURATION, out=scaled)
            scaled *= smooth_clip / np.sqrt(1 + scaled * scaled)
    scaled[np.isnan(scaled)] = 0
    return scaled
