"""Oracle of `cmlp.tabular`: scaling and codes by plain loops, and helpers of its tests."""

import json
import math

import numpy as np

from cmlp.tabular import TableEncoder


def assert_same(encoded, expected):
    for a, b in zip(encoded, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def restore(encoder):
    """Return an encoder that went through JSON."""
    fields, arrays = encoder.to_fields()
    return TableEncoder.from_fields(json.loads(json.dumps(fields)), arrays)


def compute_quantile(ordered, fraction):
    """Return a quantile of sorted numbers by linear interpolation."""
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def compute_numeric(column, clip):
    """Return a scaled column and, if values are missing, its indicator, by plain loops."""
    ordered = sorted(value for value in column if value is not None)
    median = factor = 0.0
    if ordered:
        median = compute_quantile(ordered, 0.5)
        spread = compute_quantile(ordered, 0.75) - compute_quantile(ordered, 0.25)
        spread = spread or (ordered[-1] - ordered[0]) / 2
        factor = 1 / spread if spread else 0.0
    scaled = [0.0 if value is None else (value - median) * factor for value in column]
    if clip is not None:
        scaled = [x / math.sqrt(1 + (x / clip) ** 2) for x in scaled]
    return scaled, [1 if value is None else -1 for value in column]


def compute_codes(column, known=None):
    """Return the codes of a categorical column by plain loops."""
    values = {value for value in (known or column) if value is not None}
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    return [0 if v is None or v not in ordered else ordered.index(v) + 1 for v in column]
