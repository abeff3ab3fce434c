"""Calibration: the distributions of all layers' inputs, and the quantized network that follows."""

import numpy as np

from cmlp._core.quantized import compute_layer
from cmlp._model.parameters import aligned_zeros, compute_padded_width
from cmlp._model.quantized import (
    BYTE_SCALE,
    LayerNormalization,
    QuantizedLayer,
    QuantizedState,
    Quantizer,
    check_inputs,
)
from cmlp._quantization.ranges import Distribution, check_method, choose_quantizer
from cmlp._training.inputs import as_matrix, convert_rows, is_scipy_sparse
from cmlp.formats.folding import fold_layers, refuse_encoders

FLOAT32 = np.dtype(np.float32)

# Rows that pass through the network at a time.
BLOCK_ROWS = 1024


def quantize_state(state, X, method, percentile, name="X"):
    """Return the `QuantizedState` of a network; see `cmlp.Network.quantize`.

    Parameters
    ----------
    state : ModelState
    X : array_like or SciPy sparse matrix
        The samples to calibrate with.
    method : str
    percentile : float
    name : str, default "X"
        The argument's name, for error messages.

    Raises
    ------
    TypeError, ValueError
        As `cmlp.Network.quantize`.
    """
    check_method(method, percentile)
    architecture = state.architecture
    refuse_encoders(architecture, "quantize")
    check_inputs(architecture.sizes)
    blocks = RowBlocks(X, architecture.inputs, name)
    layers = fold_layers(state)
    for l, layer in enumerate(layers):
        if layer.alpha is not None:
            raise ValueError(
                f"the activation of layer {l} must not be parametric for 8-bit inference; "
                f"got {layer.activation.name!r}"
            )
    distributions = collect_distributions(layers, blocks, has_histograms=method != "minmax")
    quantizers = [choose_quantizer(each, method, percentile) for each in distributions]
    if blocks.are_bytes:
        quantizers[0] = Quantizer(BYTE_SCALE, 0)
    found = [
        quantize_layer(layer, inputs) for layer, inputs in zip(layers, quantizers, strict=True)
    ]
    return QuantizedState(architecture, found, method, task=state.task, training=state.training)


def quantize_layer(layer, inputs):
    """Return the `QuantizedLayer` of a `FoldedLayer` and the `Quantizer` of its inputs."""
    if layer.scale is None:
        return QuantizedLayer.from_numbers(layer.weight, layer.bias, inputs, layer.activation)
    # A layer normalization adds the bias, its shift, afterwards.
    normalization = LayerNormalization(
        layer.scale.astype(FLOAT32), layer.bias.astype(FLOAT32), layer.eps
    )
    return QuantizedLayer.from_numbers(
        layer.weight, np.zeros_like(layer.bias), inputs, layer.activation, normalization
    )


class RowBlocks:
    """Samples in blocks of float32.

    Parameters
    ----------
    X : array_like or SciPy sparse matrix, shape (n_samples, inputs)
        At least one sample.
    inputs : int
    name : str
        The argument's name, for error messages.

    Attributes
    ----------
    are_bytes : bool
        Whether the samples are dense uint8, which mean their 255th part.

    Raises
    ------
    TypeError, ValueError
        If X does not fit, holds NaN or infinity, or is empty.
    """

    def __init__(self, X, inputs, name):
        rows = convert_rows(X, inputs, FLOAT32, name)
        if len(rows) == 0:
            raise ValueError(f"{name} must have at least one sample; got shape (0, {inputs})")
        self.X = X.tocsr() if is_scipy_sparse(X) else as_matrix(X, inputs, FLOAT32, name)
        self.name = name
        self.are_bytes = self.X.dtype == np.uint8

    def __iter__(self):
        for first in range(0, self.X.shape[0], BLOCK_ROWS):
            block = self.X[first : first + BLOCK_ROWS]
            if is_scipy_sparse(block):
                block = block.toarray()
            factor = np.float32(1 / 255) if self.are_bytes else np.float32(1)
            yield np.ascontiguousarray(block.astype(FLOAT32) * factor)


class FloatLayer:
    """A layer in the form in which calibration computes it, in float32.

    Parameters
    ----------
    layer : FoldedLayer
    """

    def __init__(self, layer):
        self.outputs, inputs = layer.weight.shape
        self.activation = layer.activation
        n = compute_padded_width(self.outputs, FLOAT32)
        is_normalized = layer.scale is not None
        self.weight = aligned_zeros(inputs * n, FLOAT32).reshape(inputs, n)
        self.weight[:, : self.outputs] = layer.weight.T
        self.bias = pad(0 if is_normalized else layer.bias, self.outputs, n)
        self.normalization = None
        if is_normalized:
            scale, shift = (pad(array, self.outputs, n) for array in (layer.scale, layer.bias))
            self.normalization = scale, shift, layer.eps
        self.buffer = aligned_zeros(BLOCK_ROWS * n, FLOAT32).reshape(BLOCK_ROWS, n)

    def compute(self, x):
        """Return the activations for inputs x, float32 (m, columns): a view of a buffer."""
        out = self.buffer[: len(x)]
        compute_layer(
            self.activation, self.outputs, x, self.weight, self.bias, out, self.normalization
        )
        return out


def pad(values, size, n):
    """Return `size` values as float32 of shape (n,), padded with zeros and aligned."""
    array = aligned_zeros(n, FLOAT32)
    array[:size] = values
    return array


def collect_distributions(layers, blocks, has_histograms):
    """Return the `Distribution` of the inputs of each layer, a list.

    Parameters
    ----------
    layers : list of FoldedLayer
    blocks : RowBlocks
        Iterated over once for the ranges, and once for the histograms within them.
    has_histograms : bool

    Raises
    ------
    ValueError
        If an activation is not finite.
    """
    hidden = [FloatLayer(layer) for layer in layers[:-1]]
    distributions = [Distribution() for _ in layers]
    for collect in (Distribution.extend, *([Distribution.count] if has_histograms else [])):
        for x in blocks:
            collect(distributions[0], x)
            for layer, distribution in zip(hidden, distributions[1:], strict=True):
                x = layer.compute(x)
                collect(distribution, x[:, : layer.outputs])
        for l, found in enumerate(distributions):
            if not np.isfinite([found.low, found.high]).all():
                raise ValueError(
                    f"{blocks.name} must be small enough for activations within the range of "
                    f"float32; the inputs of layer {l} are not finite"
                )
    return distributions
