"""Initializers: the first weights of a layer.

Each is a function of a generator, the inputs and the outputs, which returns the weights,
(outputs, inputs); biases begin as zeros, but for the reference's. Glorot and Bengio, AISTATS
2010, eq. 16; He et al., ICCV 2015, eq. 10; LeCun et al., "Efficient BackProp", 1998, section
4.6; Saxe, McClelland and Ganguli, ICLR 2014, section 3 (orthogonal).
"""

import math

import numpy as np

from cmlp.checks import check_number, look_up


def uniform(rng, inputs, outputs, variance):
    """Draw uniform weights of mean zero and the given variance."""
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (outputs, inputs))


def normal(rng, inputs, outputs, variance):
    """Draw normal weights of mean zero and the given variance."""
    return math.sqrt(variance) * rng.standard_normal((outputs, inputs))


def orthogonal(rng, inputs, outputs, gain=1.0):
    """Draw weights whose rows, or columns where those are fewer, are orthonormal times a gain.

    The signs of R's diagonal make the distribution uniform (Mezzadri, Notices of the AMS
    54(5), 2007, section 5).
    """
    long, short = max(inputs, outputs), min(inputs, outputs)
    q, r = np.linalg.qr(rng.standard_normal((long, short)))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return gain * (q if outputs >= inputs else q.T)


INITIALIZERS = {
    "reference": lambda rng, i, o: rng.standard_normal((o, i)),
    "glorot_uniform": lambda rng, i, o: uniform(rng, i, o, 2 / (i + o)),
    "glorot_normal": lambda rng, i, o: normal(rng, i, o, 2 / (i + o)),
    "he_uniform": lambda rng, i, o: uniform(rng, i, o, 2 / i),
    "he_normal": lambda rng, i, o: normal(rng, i, o, 2 / i),
    "lecun_uniform": lambda rng, i, o: uniform(rng, i, o, 1 / i),
    "lecun_normal": lambda rng, i, o: normal(rng, i, o, 1 / i),
    "orthogonal": orthogonal,
    "zeros": lambda rng, i, o: np.zeros((o, i)),
}


def checked_initializer(init):
    """Return a name, a number or a callable, checked.

    Raises
    ------
    TypeError, ValueError
        If it is none of those, or the name is unknown.
    """
    if callable(init):
        return init
    if isinstance(init, str):
        look_up("init", init, {"auto": None, **INITIALIZERS})
        return init
    check_number("init", init)
    if not math.isfinite(init):
        raise ValueError(f"init must be finite, got {init!r}")
    return float(init)


def initial(rng, init, activation, inputs, outputs):
    """Draw one layer: weights (outputs, inputs) and biases (outputs, 1), float64.

    Parameters
    ----------
    rng : numpy.random.Generator
    init : str, float or callable
        A number is the value of all weights; a callable takes `rng`, `inputs` and `outputs`.
    activation : cmlp.activations.Activation
    inputs, outputs : int
    """
    if callable(init):
        weight = np.asarray(init(rng, inputs, outputs), np.float64)
        if weight.shape != (outputs, inputs) or not np.isfinite(weight).all():
            raise ValueError(
                f"init must return finite weights of shape ({outputs}, {inputs}), "
                f"got shape {weight.shape}"
            )
    elif isinstance(init, float):
        weight = np.full((outputs, inputs), init)
    else:
        name = activation.init if init == "auto" else init
        weight = INITIALIZERS[name](rng, inputs, outputs)
    bias = rng.random((outputs, 1)) if init == "reference" else np.zeros((outputs, 1))
    return weight, bias
