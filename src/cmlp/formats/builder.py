"""Construction of a network from a sequence of another framework's layers."""

from dataclasses import dataclass

import numpy as np

from cmlp._model.architecture import Architecture
from cmlp._model.state import ModelState
from cmlp.activations import ACTIVATIONS, Activation
from cmlp.formats.finite import check_finite
from cmlp.losses import choose_default_loss
from cmlp.normalizations import BatchNorm, LayerNorm


@dataclass
class BuiltLayer:
    """A dense layer and the layers after it, up to the next dense layer.

    Attributes
    ----------
    weight : ndarray, shape (outputs, inputs)
    bias : ndarray, shape (outputs,)
    scale : ndarray, shape (outputs,), or None
    mean, variance : ndarray, shape (outputs,), or None
        Running statistics of batch normalization.
    normalization : BatchNorm, LayerNorm or None
    activation : Activation or None
    alpha : ndarray, shape (outputs,), or None
        Factors of a parametric activation.
    dropout : float
    """

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray | None = None
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None
    normalization: BatchNorm | LayerNorm | None = None
    activation: Activation | None = None
    alpha: np.ndarray | None = None
    dropout: float = 0.0


class SequenceBuilder:
    """Collects layers in order and builds a network from them.

    The arguments `label` are names of the source's layers for error messages, such as
    ``"layer 3: LayerNorm"``.

    Parameters
    ----------
    dense_name : str
        The framework's name for a dense layer: ``"Linear"``.
    no_bias : str
        The framework's argument for a dense layer without bias: ``"bias=False"``.
    """

    def __init__(self, dense_name, no_bias):
        self.dense_name, self.no_bias = dense_name, no_bias
        self.layers, self.input_dropout, self.input_noise = [], 0.0, 0.0
        self.dtype = "float32"

    def add_dense(self, weight, bias, dtype):
        """Add a dense layer.

        Parameters
        ----------
        weight : ndarray, shape (outputs, inputs)
        bias : ndarray, shape (outputs,), or None
        dtype : str
            The dtype of the source; all but float64 become float32.
        """
        self.dtype = "float64" if dtype == "float64" else "float32"
        self.layers.append(BuiltLayer(weight, np.zeros(len(weight)) if bias is None else bias))

    def add_batch_norm(self, label, normalization, scale, shift, mean, variance):
        """Add batch normalization to the last dense layer.

        Parameters
        ----------
        label : str
        normalization : BatchNorm
        scale, shift : ndarray, shape (outputs,), or None
        mean, variance : ndarray, shape (outputs,)
            The running statistics.
        """
        layer = self._get_unfinished_layer(label)
        if (np.asarray(variance) < 0).any():
            raise ValueError(f"{label} must have variances of at least 0; got {variance.min():g}")
        # The network's layer has no bias before the normalization; a bias only moves the mean.
        layer.mean, layer.variance = mean - layer.bias, variance
        self._set_normalization(layer, normalization, scale, shift)

    def add_layer_norm(self, label, normalization, scale, shift):
        """Add layer normalization to the last dense layer, which must not have a bias.

        Parameters
        ----------
        label : str
        normalization : LayerNorm
        scale, shift : ndarray, shape (outputs,), or None
        """
        layer = self._get_unfinished_layer(label)
        if layer.bias.any():
            raise ValueError(
                f"{label} must follow a {self.dense_name} layer without bias ({self.no_bias})"
            )
        self._set_normalization(layer, normalization, scale, shift)

    def add_activation(self, label, activation, alpha=None):
        """Add an activation to the last dense layer.

        Parameters
        ----------
        label : str
        activation : Activation
        alpha : ndarray, shape (outputs,) or (1,), optional
            Factors of a parametric activation.
        """
        layer = self._get_last_layer(label)
        if layer.activation is not None:
            raise ValueError(
                f"{label} is a second activation ({activation.name!r}) after the same "
                f"{self.dense_name} layer; at most one is supported"
            )
        layer.activation = activation
        if alpha is not None:
            layer.alpha = np.broadcast_to(alpha, len(layer.weight))

    def add_dropout(self, rate):
        """Add dropout of the last dense layer's outputs, or of the inputs if there is none yet."""
        if self.layers:
            self.layers[-1].dropout = rate
        else:
            self.input_dropout = rate

    def build(self, loss=None):
        """Return the network.

        Parameters
        ----------
        loss : str, Loss or callable, optional
            By default the loss that suits the output activation.

        Returns
        -------
        ModelState

        Raises
        ------
        TypeError, ValueError
            If a network cannot have these layers or this loss, or a parameter is not finite.
        """
        if not self.layers:
            raise ValueError(f"the model must have at least one {self.dense_name} layer; got none")
        last = self.layers[-1]
        if last.normalization is not None or last.dropout:
            raise ValueError(
                f"the last {self.dense_name} layer must have neither normalization nor dropout"
            )
        *hidden, output = [layer.activation or ACTIVATIONS["identity"] for layer in self.layers]
        architecture = Architecture.from_arguments(
            [*(layer.weight.shape[1] for layer in self.layers), len(last.weight)],
            activation=hidden, output=output, loss=loss or choose_default_loss(output.name),
            init="zeros", dtype=self.dtype,
            dropout=[layer.dropout for layer in self.layers[:-1]],
            input_dropout=self.input_dropout, input_noise=self.input_noise,
            normalization=[layer.normalization for layer in self.layers[:-1]], seed=0,
        )  # fmt: skip
        arrays = self._collect_arrays()
        check_finite(arrays, architecture.dtype)
        return ModelState.from_arrays(architecture, arrays)

    def _collect_arrays(self):
        arrays = {}
        for l, layer in enumerate(self.layers):
            arrays[f"weight_{l}"] = layer.weight
            vectors = {
                "bias": layer.bias, "scale": layer.scale, "running_mean": layer.mean,
                "running_variance": layer.variance, "alpha": layer.alpha,
            }  # fmt: skip
            for name, vector in vectors.items():
                if vector is not None:
                    arrays[f"{name}_{l}"] = vector[:, None]
        return arrays

    def _get_last_layer(self, label):
        if not self.layers:
            raise ValueError(f"{label} must follow a {self.dense_name} layer")
        return self.layers[-1]

    def _get_unfinished_layer(self, label):
        layer = self._get_last_layer(label)
        if layer.activation is not None or layer.normalization is not None or layer.dropout:
            raise ValueError(f"{label} must directly follow a {self.dense_name} layer")
        return layer

    def _set_normalization(self, layer, normalization, scale, shift):
        outputs = len(layer.weight)
        layer.normalization = normalization
        layer.scale = np.ones(outputs) if scale is None else scale
        layer.bias = np.zeros(outputs) if shift is None else shift
