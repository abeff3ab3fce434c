"""Ranges of numbers that the integers of a layer's inputs cover."""

import numpy as np

from cmlp._model.quantized import MAX_OPERAND, Quantizer
from cmlp._utils.validation import check_number, look_up

# Bins of the histogram of a layer's inputs: eight for each of 256 integers.
BINS = 2048

# The ranges that the search for the least error tries: fractions of the range of the data.
FRACTIONS = np.arange(1, 101) / 100


class Distribution:
    """The range and the histogram of the inputs of a layer.

    Zeros are counted apart, because an integer represents them exactly.

    Attributes
    ----------
    low, high : float
        Least and greatest number; 0 lies between them.
    counts : ndarray of int64, shape (BINS,)
        Numbers other than 0 in each bin of the range.
    zeros : int
    """

    def __init__(self):
        self.low = self.high = 0.0
        self.counts, self.zeros = np.zeros(BINS, np.int64), 0

    def extend(self, numbers):
        """Extend the range to that of an array."""
        # NumPy's functions return NaN if there is one.
        self.low = float(np.minimum(self.low, numbers.min()))
        self.high = float(np.maximum(self.high, numbers.max()))

    def count(self, numbers):
        """Add the elements of an array, which are within the range, to the histogram."""
        if self.low < self.high:
            others = numbers[numbers != 0]
            self.zeros += numbers.size - others.size
            # In float64, in which the bins of any range of float32 differ.
            bins = (others.astype(np.float64) - self.low) * (BINS / (self.high - self.low))
            bins = np.minimum(bins.astype(np.int64), BINS - 1)
            self.counts += np.bincount(bins, minlength=BINS)

    @property
    def centers(self):
        """The middle of each bin."""
        return self.low + (np.arange(BINS) + 0.5) * ((self.high - self.low) / BINS)


def use_all(distribution, percentile):
    """Return the range of all numbers."""
    return distribution.low, distribution.high


def cut_tails(distribution, percentile):
    """Return the range between two percentiles of the numbers."""
    values = np.append(distribution.centers, 0.0)
    weights = np.append(distribution.counts, distribution.zeros)
    order = np.argsort(values)
    values, cumulated = values[order], np.cumsum(weights[order])
    tail = (1 - percentile / 100) * cumulated[-1]
    low = values[np.searchsorted(cumulated, tail, "right")] if distribution.low < 0 else 0.0
    high = values[np.searchsorted(cumulated, cumulated[-1] - tail)]
    return min(low, 0.0), max(high, 0.0)


def minimize_error(distribution, percentile):
    """Return the range with the least mean squared error of rounding and clipping together.

    Each end of the range is a fraction of the data's; they are searched for in turn.
    """
    low, high = distribution.low, distribution.high
    for _ in range(2):
        high = min(distribution.high * FRACTIONS[::-1],
                   key=lambda end: compute_error(distribution, low, end))  # fmt: skip
        if distribution.low < 0:
            low = min(distribution.low * FRACTIONS[::-1],
                      key=lambda end: compute_error(distribution, end, high))  # fmt: skip
    return low, high


def compute_error(distribution, low, high):
    """Return the sum of the squared errors of the integers that cover a range."""
    quantizer = Quantizer.from_range(low, high)
    centers, zero_point = distribution.centers, quantizer.zero_point
    integers = np.rint(centers / quantizer.scale).clip(-zero_point, MAX_OPERAND - zero_point)
    return distribution.counts @ (centers - integers * quantizer.scale) ** 2


# Method -> function of (distribution, percentile) that returns low and high.
METHODS = {"mse": minimize_error, "minmax": use_all, "percentile": cut_tails}


def check_method(method, percentile):
    """Raise TypeError or ValueError unless the arguments of `Network.quantize` are valid."""
    look_up("method", method, METHODS)
    check_number("percentile", percentile)
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile must be above 50 and at most 100; got {percentile!r}")


def choose_quantizer(distribution, method, percentile):
    """Return the `Quantizer` of a layer's inputs.

    Parameters
    ----------
    distribution : Distribution
    method : str
        A key of `METHODS`.
    percentile : float
    """
    if distribution.low == distribution.high:  # all are 0
        return Quantizer.from_range(0, 0)
    return Quantizer.from_range(*METHODS[method](distribution, percentile))
