"""Initial weights and biases that depend on the training data."""

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.layers import Dense
from cmlp._model.state import ModelState
from cmlp._training.inputs import convert_samples, raise_if_not_transformable
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import convert_dtype, look_up
from cmlp.activations import ACTIVATIONS

# Rows that the statistics are taken of at most.
MAX_ROWS = 8192

# Key of the random numbers beside the network's seed; `ModelState.initialize` has the seed alone.
STREAM = 1

# A unit whose deviation is less than this fraction of its greatest pre-activation is constant.
LEAST_DEVIATION = 1e-5

# Pre-activations that a bias combines.
COMBINED = 5


def combine_samples(rng, outputs):
    """Return minus a random convex combination of five pre-activations of each unit.

    Steinwart, "A sober look at neural network initializations", arXiv:1903.11482, 2019, section 4
    ("he+5").

    Parameters
    ----------
    rng : numpy.random.Generator
    outputs : ndarray, shape (n_samples, units)
    """
    n_samples, units = outputs.shape
    samples = rng.integers(n_samples, size=(COMBINED, units))
    shares = rng.standard_exponential((COMBINED, units))
    return -(outputs[samples, np.arange(units)] * shares).sum(0) / shares.sum(0)


# Value of the argument `bias` -> function of a generator and pre-activations (n_samples, units).
BIASES = {
    "he+5": combine_samples,
    "mean": lambda rng, outputs: -outputs.mean(0, np.float64),
    "zeros": lambda rng, outputs: np.zeros(outputs.shape[1]),
}


def initialize_from_data(state, X, bias, threads):
    """Set weights and biases of all dense layers by the pre-activations of samples.

    Parameters
    ----------
    state : ModelState
        Changed in place.
    X : array_like
    bias : str
        Key of `BIASES`.
    threads : int or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the state is unchanged.
    """
    draw_bias = look_up("bias", bias, BIASES)
    architecture, threads = state.architecture, resolve_threads(threads)
    if any(layer.normalization is not None for layer in architecture.dense):
        raise ValueError("normalization must be None for a network that is initialized from data")
    if state.parameters.frozen:
        raise ValueError("the layers of a network that is initialized must not be frozen")
    if state.checkpoint is not None:
        raise ValueError("a network that resumes a checkpoint must not be initialized")
    rows = convert_samples(X, architecture)
    if len(rows) == 0:
        raise ValueError(f"X must have at least one sample; got shape (0, {rows.width})")
    raise_if_not_transformable(rows, architecture)
    rng = np.random.Generator(np.random.Philox(key=[architecture.seed, STREAM]))
    order = rng.permutation(len(rows))[:MAX_ROWS].astype(np.uint32)
    values = state.to_arrays()
    for position in range(len(architecture.dense)):
        compute = make_probe(architecture, position, values, rows, order, threads)
        weight, outputs = draw_unit_variance(rng, values[f"weight_{position}"].shape, compute)
        bias = draw_bias(rng, outputs)[:, None]
        values |= {f"weight_{position}": weight, f"bias_{position}": bias}
    values = {
        name: convert_dtype(name, value, architecture.dtype) for name, value in values.items()
    }
    for name, view in state.to_arrays().items():
        view[:] = values[name]


def draw_unit_variance(rng, shape, compute):
    """Draw normal weights and scale them so that each unit's pre-activations have variance 1.

    Mishkin and Matas, "All you need is a good init", ICLR 2016, section 2, for each unit instead of
    each layer, as in Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024, appendix B.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple (units, inputs)
    compute : callable
        As `make_probe` returns it.

    Returns
    -------
    weight : ndarray, shape (units, inputs)
        Those of a unit whose pre-activations are constant have the variance 1 / inputs.
    outputs : ndarray, shape (n_samples, units)
        The pre-activations.
    """
    weight = rng.standard_normal(shape) / np.sqrt(shape[1])
    outputs = compute(weight)
    deviation = outputs.std(0, dtype=np.float64)
    is_constant = deviation <= LEAST_DEVIATION * np.abs(outputs).max(0)
    factor = 1 / np.where(is_constant, 1, deviation)
    return weight * factor[:, None], outputs * factor


def make_probe(architecture, position, values, rows, order, threads):
    """Return a function from the weights of a dense layer to the pre-activations x W^T.

    Parameters
    ----------
    architecture : Architecture
    position : int
        Index of the dense layer.
    values : dict from str to ndarray
        Parameters of the layers before it, by their names in a file.
    rows : Rows
    order : ndarray of uint32
        Indices of the rows.
    threads : int
    """
    dense = architecture.dense
    last = Dense(dense[position].units, ACTIVATIONS["identity"])
    probe = ModelState(Architecture.from_layers(
        architecture.inputs, [*architecture.encoders, *dense[:position], last], loss="mse",
        init="zeros", dtype=architecture.dtype, seed=0,
    ))  # fmt: skip

    def compute(weight):
        arrays = values | {f"weight_{position}": weight, f"bias_{position}": 0}
        for name, view in probe.to_arrays().items():
            view[:] = arrays[name]
        out = np.empty((len(order), last.units), architecture.dtype)
        probe.program.infer(rows, None, order, out, threads, False)
        if not np.isfinite(out).all():
            raise ValueError(f"X must be small enough for outputs within the range of {out.dtype}")
        return out

    return compute
