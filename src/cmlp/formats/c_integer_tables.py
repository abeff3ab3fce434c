"""Tables of activations for integer-only exports.

The next layer's integer as a function of a pre-activation z, round(f(z) / scale) + zero_point from
0 to 255, is constant between at most a few hundred values of z. A table holds these values and the
integers between them: unlike a table of 256 equidistant pre-activations, it has no error besides
the rounding of z.
"""

import math

import numpy as np

from cmlp._model.quantized import MAX_OPERAND


def compute_sigmoid(z):
    """Return 1 / (1 + exp(-z)), without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1.0) / (1 + e)


def compute_softplus(z):
    """Return log(1 + exp(z)), without overflow."""
    return np.logaddexp(z, 0.0)


def compute_elu(z, alpha=1.0):
    """Return alpha (exp(z) - 1) for negative z, and z for others."""
    return np.where(z < 0, alpha * np.expm1(np.minimum(z, 0)), z)


def compute_normal(z):
    """Return the distribution function of the standard normal distribution."""
    return 0.5 * np.array([math.erfc(-x) for x in (z / math.sqrt(2)).ravel()]).reshape(z.shape)


# Activation -> function of z and the activation's parameter, in float64; `cmlp.activations` has the
# formulas. Those that are piecewise linear in `cmlp._core.quantized` need no table.
NUMPY_ACTIVATIONS = {
    "sigmoid": lambda z, k: compute_sigmoid(z),
    "hard_sigmoid": lambda z, k: np.clip(z / 6 + 0.5, 0, 1),
    "tanh": lambda z, k: np.tanh(z),
    "elu": compute_elu,
    "selu": lambda z, k: 1.05070098735548049342 * compute_elu(z, 1.67326324235437728482),
    "celu": lambda z, k: np.where(z < 0, k * np.expm1(np.minimum(z, 0) / k), z),
    "gelu": lambda z, k: z * compute_normal(z),
    "gelu_tanh": lambda z, k: z * compute_sigmoid(
        2 * math.sqrt(2 / math.pi) * (z + 0.044715 * np.clip(z, -1e6, 1e6) ** 3)
    ),
    "silu": lambda z, k: z * compute_sigmoid(z),
    "mish": lambda z, k: z * np.tanh(compute_softplus(z)),
    "softplus": lambda z, k: compute_softplus(z),
    "softsign": lambda z, k: z / (1 + np.abs(z)),
}  # fmt: skip

# Beyond 2^LEAST_RANGE every activation is monotonic.
LEAST_RANGE, GREATEST_RANGE = 3, 160

# Least distance of two values of z in a table of 16 bits; for less, the tables have 32.
LEAST_STEPS = 8


class LevelTable:
    """The integers of an activation as a function of the pre-activation.

    Parameters
    ----------
    activation : cmlp.activations.Activation
        A key of `NUMPY_ACTIVATIONS`.
    quantizer : Quantizer
        Of the next layer's inputs.
    bits : int
        Of the integers t of the pre-activations with which the search compares: 16 or 20.

    Attributes
    ----------
    unit : float
        A pre-activation is t * unit; a power of two.
    start : ndarray of int, increasing
        The integers t from which on another level applies.
    level : ndarray of int, shape (len(start) + 1,)
        The levels, from 0 to 255.
    """

    def __init__(self, activation, quantizer, bits):
        self.activation, self.quantizer = activation, quantizer
        self.unit = 2.0 ** (self.find_range() - bits + 1)
        t = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
        levels = self.compute_levels(t * self.unit)
        changes = np.flatnonzero(np.diff(levels)) + 1
        self.start, self.level = t[changes], levels[np.r_[0, changes]]

    def compute_levels(self, z):
        """Return the levels of pre-activations, an array of int."""
        function = NUMPY_ACTIVATIONS[self.activation.name]
        numbers = function(np.asarray(z, float), self.activation.parameter)
        levels = np.rint(numbers / self.quantizer.scale) + self.quantizer.zero_point
        return levels.clip(0, MAX_OPERAND).astype(int)

    def find_range(self):
        """Return the least k for which the levels below -2^k and those above 2^k are constant."""
        ends = 2.0 ** np.arange(LEAST_RANGE, GREATEST_RANGE)
        levels = np.stack([self.compute_levels(-ends), self.compute_levels(ends)])
        changes = np.flatnonzero((levels != levels[:, -1:]).any(axis=0))
        return LEAST_RANGE + (changes[-1] + 1 if len(changes) else 0)

    @property
    def is_coarse(self):
        """Whether the integers t distinguish less than `LEAST_STEPS` values of some level."""
        return len(self.start) > 1 and np.diff(self.start).min() < LEAST_STEPS
