"""A network as exports see it: plain layers, normalisation over batches folded into them."""

from dataclasses import dataclass

import numpy as np

from cmlp.activations import Activation
from cmlp.normalizations import BatchNorm, LayerNorm


@dataclass
class Layer:
    """One layer.

    Attributes
    ----------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
        Where the layer is normalised, added after that.
    activation : cmlp.activations.Activation
    scale : ndarray of float64, shape (outputs,), or None
        What the sums, normalised over the layer, are multiplied by.
    epsilon : float
        Of that normalisation.
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation
    scale: np.ndarray | None = None
    epsilon: float = 0.0


def layers_of(network):
    """Return the layers of a network, as it predicts."""
    architecture = network._architecture
    kinds = (*architecture.normalization, None)
    found = []
    for l, (kind, activation) in enumerate(zip(kinds, architecture.activations, strict=True)):
        weight = np.array(network.weight[l], np.float64)
        bias = np.array(network.bias[l][:, 0], np.float64)
        layer = Layer(weight, bias, activation)
        if isinstance(kind, BatchNorm):
            scale = np.array(network.scale[l], np.float64)[:, 0]
            mean, variance = (
                np.array(a[l], np.float64)[:, 0]
                for a in (network.running_mean, network.running_variance)
            )
            gain = scale / np.sqrt(variance + kind.eps)
            layer.weight, layer.bias = weight * gain[:, None], bias - mean * gain
        elif isinstance(kind, LayerNorm):
            layer.scale = np.array(network.scale[l][:, 0], np.float64)
            layer.epsilon = kind.eps
        found.append(layer)
    return found


def usual_loss(output):
    """Return the loss that belongs to an output, for networks that come without one."""
    return {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}.get(output, "mse")
