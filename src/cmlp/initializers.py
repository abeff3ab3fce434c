"""Initial weights of a layer.

Each initializer is a function of a random number generator, the number of inputs and the number
of outputs that returns the weights, shape (outputs, inputs). With i inputs and o outputs:

====================  ==================================================================
name                  distribution
====================  ==================================================================
``"reference"``       standard normal; the biases are uniform in [0, 1)
``"glorot_uniform"``  uniform, variance 2 / (i + o)
``"glorot_normal"``   normal, variance 2 / (i + o)
``"he_uniform"``      uniform, variance 2 / i
``"he_normal"``       normal, variance 2 / i
``"lecun_uniform"``   uniform, variance 1 / i
``"lecun_normal"``    normal, variance 1 / i
``"orthogonal"``      random matrix with orthonormal rows, or columns if i < o
``"zeros"``           0
====================  ==================================================================

The means are 0. Biases start at 0, except with ``"reference"``.

References
----------
Glorot and Bengio, AISTATS 2010, eq. 16. He et al., ICCV 2015, eq. 10. LeCun et al., "Efficient
BackProp", 1998, section 4.6. Saxe, McClelland and Ganguli, ICLR 2014, section 3 (orthogonal).
"""

import math

import numpy as np

from cmlp._utils.validation import check_finite_number, look_up


def uniform(rng, inputs, outputs, variance):
    """Draw weights, shape (outputs, inputs), uniform with mean 0 and the given variance."""
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (outputs, inputs))


def normal(rng, inputs, outputs, variance):
    """Draw weights, shape (outputs, inputs), normal with mean 0 and the given variance."""
    return math.sqrt(variance) * rng.standard_normal((outputs, inputs))


def orthogonal(rng, inputs, outputs):
    """Draw a random orthogonal matrix, shape (outputs, inputs).

    The rows are orthonormal, or the columns if there are fewer columns than rows. Multiplying
    the columns of Q by the signs of R's diagonal makes the distribution uniform (Mezzadri, "How
    to generate random matrices from the classical compact groups", Notices of the AMS 54(5),
    2007, section 5).
    """
    long, short = max(inputs, outputs), min(inputs, outputs)
    q, r = np.linalg.qr(rng.standard_normal((long, short)))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if outputs >= inputs else q.T


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


def resolve_initializer(init):
    """Return a validated initializer: a name, a float or a callable.

    Parameters
    ----------
    init : str, float or callable
        See `draw_layer`.

    Raises
    ------
    TypeError
        If it is not a name, a number or a callable.
    ValueError
        If the name is unknown or the number not finite.
    """
    if callable(init):
        return init
    if isinstance(init, str):
        look_up("init", init, {"auto": None, **INITIALIZERS})
        return init
    check_finite_number("init", init)
    return float(init)


def draw_layer(rng, init, activation, inputs, outputs):
    """Draw the initial parameters of a layer.

    Parameters
    ----------
    rng : numpy.random.Generator
    init : str, float or callable
        A name of the table above or ``"auto"``, the initializer of the activation; the value of
        all weights; or a function of `rng`, `inputs` and `outputs` that returns the weights.
    activation : cmlp.activations.Activation
    inputs, outputs : int

    Returns
    -------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs, 1)

    Raises
    ------
    ValueError
        If a callable does not return finite weights of that shape.
    """
    if callable(init):
        weight = np.asarray(init(rng, inputs, outputs), np.float64)
        if weight.shape != (outputs, inputs) or not np.isfinite(weight).all():
            raise ValueError(
                f"init must return finite weights of shape ({outputs}, {inputs}); "
                f"got shape {weight.shape}"
            )
    elif isinstance(init, float):
        weight = np.full((outputs, inputs), init)
    else:
        name = activation.init if init == "auto" else init
        weight = INITIALIZERS[name](rng, inputs, outputs)
    bias = rng.random((outputs, 1)) if init == "reference" else np.zeros((outputs, 1))
    return weight, bias
