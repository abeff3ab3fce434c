"""A network's parameters as scikit-learn's `coefs_` and `intercepts_`, and back.

Tools that read `coefs_` and `intercepts_` compute ``activation(x coef + intercept)``. The arrays of
a layer with batch normalization are therefore folded: they contain its running statistics and its
scale, and are copies. Arrays of other layers are views of the network's parameters.
"""

import numpy as np

from cmlp.formats.folding import fold_layers
from cmlp.normalizations import BatchNorm

# Smallest gain (scale / standard deviation) of a unit that `load_parameters` divides weights by.
# A unit with a smaller one, such as a scale of 0, gets new statistics.
MIN_GAIN = 1e-6


def expose_parameters(network, dtype):
    """Return arrays of scikit-learn's layout that describe a network's predictions.

    Parameters
    ----------
    network : cmlp.Network
    dtype : numpy.dtype

    Returns
    -------
    coefs : list of ndarray, shape (inputs, outputs) each
    intercepts : list of ndarray, shape (outputs,) each
        Both are views of the network's parameters where the dtypes agree and there is no
        normalization. Other arrays are read-only copies: writing to them could not change the
        network.
    """
    weights, biases = list(network.weight), list(network.bias)
    normalized = find_normalized(network)
    if normalized:
        layers = fold_layers(network.state)
        for l in normalized:
            weights[l], biases[l] = layers[l].weight, layers[l].bias[:, None]
    coefs = [weight.T.astype(dtype, copy=False) for weight in weights]
    intercepts = [bias[:, 0].astype(dtype, copy=False) for bias in biases]
    block = network.state.parameters.block
    for array in coefs + intercepts:
        if not np.may_share_memory(array, block):
            array.flags.writeable = False
    return coefs, intercepts


def load_parameters(network, coefs, intercepts):
    """Change a network so that it predicts what folded arrays of scikit-learn's layout describe.

    Normalized layers keep their scales and running statistics, and get the weights that have these
    arrays when they are folded. Training therefore continues from the same statistics.

    Parameters
    ----------
    network : cmlp.Network
    coefs, intercepts : list of ndarray
        As `expose_parameters` returns them.
    """
    weights = [np.asarray(coef).T for coef in coefs]
    biases = [np.asarray(intercept)[:, None] for intercept in intercepts]
    architecture = network.state.architecture
    for l in find_normalized(network):
        mean, variance = network.running_mean[l], network.running_variance[l]
        eps, scale = architecture.normalization[l].eps, network.scale[l]
        gain = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)
        is_unusable = ~(np.abs(gain) >= MIN_GAIN)
        mean[is_unusable], variance[is_unusable], gain[is_unusable] = 0, 1, 1
        scale[is_unusable] = np.sqrt(1 + eps)
        weights[l] = weights[l] / gain
        biases[l] = biases[l] + mean * gain
    network.weight, network.bias = weights, biases


def find_normalized(network):
    """Return the indices of the layers with batch normalization, a list of int."""
    kinds = network.state.architecture.normalization
    return [l for l, kind in enumerate(kinds) if isinstance(kind, BatchNorm)]
