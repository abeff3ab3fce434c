"""A network in the form that exports use: dense layers with batch normalization folded in.

Input layers (noise, dropout) and dropout act in training only, so exports leave them out.
"""

from dataclasses import dataclass

import numpy as np

from cmlp.activations import Activation
from cmlp.formats.finite import check_finite
from cmlp.normalizations import BatchNorm, LayerNorm


@dataclass
class FoldedLayer:
    """A dense layer for prediction.

    Without layer normalization it computes ``activation(x W^T + bias)``; with it,
    ``activation(scale * normalize(x W^T) + bias)``.

    Attributes
    ----------
    weight : ndarray of float64, shape (outputs, inputs)
    bias : ndarray of float64, shape (outputs,)
    activation : cmlp.activations.Activation
    scale : ndarray of float64, shape (outputs,), or None
        None without layer normalization.
    eps : float
        Added to the variance by the layer normalization.
    alpha : ndarray of float64, shape (outputs,), or None
        Factors of a parametric activation.
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation
    scale: np.ndarray | None = None
    eps: float = 0.0
    alpha: np.ndarray | None = None


def refuse_encoders(architecture):
    """Raise `ValueError` if a network has input layers that a format cannot describe."""
    if architecture.encoders:
        kinds = ", ".join(type(layer).__name__ for layer in architecture.encoders)
        raise ValueError(f"a network with input_layers can only be saved with save; got {kinds}")


def fold_layers(state):
    """Return the layers that a network's predictions use.

    Parameters
    ----------
    state : ModelState

    Returns
    -------
    list of FoldedLayer

    Raises
    ------
    ValueError
        If a parameter is not finite, or is not in float32 after folding; if there are encoders.
    """
    refuse_encoders(state.architecture)
    arrays = {name: np.array(array, np.float64) for name, array in state.to_arrays().items()}
    check_finite(arrays, np.float64)
    layers = []
    for l, dense in enumerate(state.architecture.dense):
        layer = FoldedLayer(arrays[f"weight_{l}"], arrays[f"bias_{l}"][:, 0], dense.activation)
        if isinstance(dense.normalization, BatchNorm):
            mean = arrays[f"running_mean_{l}"][:, 0]
            variance = arrays[f"running_variance_{l}"][:, 0]
            gain = arrays[f"scale_{l}"][:, 0] / np.sqrt(variance + dense.normalization.eps)
            layer.weight = layer.weight * gain[:, None]
            layer.bias = layer.bias - mean * gain
        elif isinstance(dense.normalization, LayerNorm):
            layer.scale = arrays[f"scale_{l}"][:, 0]
            layer.eps = dense.normalization.eps
        if dense.activation.parametric:
            layer.alpha = arrays[f"alpha_{l}"][:, 0]
        names = {"weight": layer.weight, "bias": layer.bias, "scale": layer.scale,
                 "alpha": layer.alpha}  # fmt: skip
        check_finite({f"{n}_{l}": a for n, a in names.items() if a is not None}, np.float32)
        check_parameter(l, layer.activation)
        layers.append(layer)
    return layers


def check_parameter(l, activation):
    """Raise ValueError unless the parameter of a layer's activation is a number of float32."""
    with np.errstate(over="ignore", under="ignore"):
        stored = np.float32(activation.parameter)
    if not np.isfinite(stored) or (stored == 0) != (activation.parameter == 0):
        raise ValueError(
            f"the parameter of {activation.name} of layer {l} must be in the range of float32; "
            f"got {activation.parameter:g}"
        )
