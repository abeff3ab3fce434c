"""What a network is made of: activations and initializers.

Each kind has one table, keyed by name.  The numbers that compiled code knows an
activation by come from the kernels' own list, so that they cannot drift apart.
The checks of arguments that all rooms share stand here too.
"""

import math
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from cmlp._core import kernels


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes
    ----------
    name : str
    init : str
        The initializer that suits it.
    hidden : bool
        Whether a hidden layer may have it.
    """

    name: str
    init: str = "glorot_uniform"
    hidden: bool = True

    @property
    def code(self):
        """The number that compiled code knows it by."""
        return kernels.ACTIVATIONS.index(self.name)


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("identity"),
        Activation("sigmoid"),
        Activation("hard_sigmoid"),
        Activation("tanh"),
        Activation("hard_tanh"),
        Activation("relu", init="he_normal"),
        Activation("leaky_relu", init="he_normal"),
        Activation("elu", init="he_normal"),
        Activation("selu", init="lecun_normal"),
        Activation("celu", init="he_normal"),
        Activation("gelu", init="he_normal"),
        Activation("gelu_tanh", init="he_normal"),
        Activation("silu", init="he_normal"),
        Activation("mish", init="he_normal"),
        Activation("softplus"),
        Activation("softsign"),
        Activation("softmax", hidden=False),
    )
}

# Weights by (generator, inputs, outputs), drawn as (outputs, inputs); biases are zero
# but for the reference's.  Glorot and Bengio, AISTATS 2010, eq. 16; He et al., ICCV
# 2015, eq. 10; LeCun et al., "Efficient BackProp", 1998, section 4.6.
INITIALIZERS = {
    "reference": lambda rng, i, o: rng.standard_normal((o, i)),
    "glorot_uniform": lambda rng, i, o: uniform(rng, i, o, 2 / (i + o)),
    "glorot_normal": lambda rng, i, o: normal(rng, i, o, 2 / (i + o)),
    "he_uniform": lambda rng, i, o: uniform(rng, i, o, 2 / i),
    "he_normal": lambda rng, i, o: normal(rng, i, o, 2 / i),
    "lecun_uniform": lambda rng, i, o: uniform(rng, i, o, 1 / i),
    "lecun_normal": lambda rng, i, o: normal(rng, i, o, 1 / i),
    "zeros": lambda rng, i, o: np.zeros((o, i)),
}


def uniform(rng, inputs, outputs, variance):
    """Draw uniform weights of mean zero and the given variance."""
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (outputs, inputs))


def normal(rng, inputs, outputs, variance):
    """Draw normal weights of mean zero and the given variance."""
    return math.sqrt(variance) * rng.standard_normal((outputs, inputs))


def initial(rng, init, activation, inputs, outputs):
    """Draw one layer: weights (outputs, inputs) and biases (outputs, 1), float64."""
    name = ACTIVATIONS[activation].init if init == "auto" else init
    weight = INITIALIZERS[name](rng, inputs, outputs)
    bias = rng.random((outputs, 1)) if init == "reference" else np.zeros((outputs, 1))
    return weight, bias


def look_up(argument, name, table):
    """Return `table[name]`; an unknown name raises with the nearest valid one."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a name, got {name!r} ({type(name).__name__})")
    if name not in table:
        near = get_close_matches(name, table, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{argument}={name!r} is unknown{hint}; allowed are {', '.join(table)}")
    return table[name]


def check_number(argument, value):
    """Raise unless `value` is a real number, which a bool is not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{argument} must be a number, got {value!r} ({type(value).__name__})")


def check_positive(argument, value):
    """Raise unless `value` is a positive, finite number."""
    check_number(argument, value)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{argument} must be positive and finite, got {value!r}")


def check_whole(argument, value, least=1):
    """Return `value` as an int; raise unless it is a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{argument} must be a whole number, got {value!r} ({type(value).__name__})"
        )
    if value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")
    return int(value)
