"""`QuantizedState`: all data of a network of 8-bit integers.

The scheme is that of Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, section 2. The inputs of a layer have one scale and
zero point, the weights one scale for each unit (Krishnamoorthi, "Quantizing deep convolutional
networks for efficient inference", arXiv:1806.08342, 2018, section 2.5), and the biases are 32-bit
integers in units of the product of both scales.
"""

from dataclasses import dataclass, replace

import numpy as np

from cmlp._core.quantized import MAX_INPUTS, PIECEWISE_LINEAR, SUM_MAX, QuantizedProgram
from cmlp._model.tasks import check_task
from cmlp._utils.fields import Record
from cmlp._utils.validation import check_integer, check_normal
from cmlp.activations import Activation
from cmlp.normalizations import LayerNorm

# Greatest integers of activations and weights. -128 is not used, so that weights are symmetric.
MAX_OPERAND, MAX_WEIGHT = 255, 127

# How the ranges of activations may be calibrated; _quantization/ranges.py defines them.
METHODS = ("mse", "minmax", "percentile")

# The scale with which the integers of bytes, which mean byte / 255, are the bytes.
BYTE_SCALE = float(np.float32(1 / 255))


@dataclass(frozen=True, eq=False, repr=False)
class Quantizer(Record):
    """How numbers become integers: x is round(x / scale) + zero_point, clipped to 0 to 255.

    Parameters
    ----------
    scale : float
        Rounded to float32, in which it must be a positive normal number.
    zero_point : int
        The integer that represents 0 exactly, from 0 to 255.
    """

    scale: float
    zero_point: int

    def __post_init__(self):
        check_normal("scale", self.scale, np.dtype(np.float32))
        check_integer("zero_point", self.zero_point, 0, MAX_OPERAND)
        object.__setattr__(self, "scale", float(np.float32(self.scale)))

    @classmethod
    def from_range(cls, low, high):
        """Return the quantizer whose integers cover the numbers from `low` to `high`, and 0.

        Jacob et al., section 3.1: the range is moved so that an integer represents 0.
        """
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        limits = np.finfo(np.float32)
        # The scale is normal even if all numbers are 0 or subnormal.
        scale = max(high / MAX_OPERAND - low / MAX_OPERAND, float(limits.tiny))
        if low == high:
            scale = 1.0
        zero_point = int(np.clip(np.rint(-low / scale), 0, MAX_OPERAND))
        return cls(scale, zero_point)

    @property
    def inverse(self):
        """1 / scale, rounded to float32."""
        with np.errstate(over="ignore"):
            return float(min(np.float32(1 / self.scale), np.finfo(np.float32).max))

    @property
    def takes_bytes(self):
        """Whether the integers of uint8 samples are the samples themselves."""
        return self.zero_point == 0 and self.scale == BYTE_SCALE


@dataclass(frozen=True, eq=False)
class LayerNormalization:
    """Layer normalization of pre-activations, computed in float32.

    Attributes
    ----------
    scale, shift : ndarray of float32, shape (outputs,)
    eps : float
    """

    scale: np.ndarray
    shift: np.ndarray
    eps: float


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A dense layer of 8-bit integers; its arrays are read-only.

    For integers q of the inputs, the integers of its pre-activations are
    ``bias + (q - inputs.zero_point) @ weight.T``, in units of ``inputs.scale * weight_scale``.

    Attributes
    ----------
    weight : ndarray of int8, shape (outputs, inputs)
        From -127 to 127.
    weight_scale : ndarray of float32, shape (outputs,)
        Scale of each unit's weights.
    bias : ndarray of int32, shape (outputs,)
    inputs : Quantizer
        Scale and zero point of the inputs.
    activation : cmlp.activations.Activation
    normalization : LayerNormalization or None
    """

    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray
    inputs: Quantizer
    activation: Activation
    normalization: LayerNormalization | None = None

    def __post_init__(self):
        for array in (self.weight, self.weight_scale, self.bias):
            array.flags.writeable = False

    @classmethod
    def from_numbers(cls, weight, bias, inputs, activation, normalization=None):
        """Quantize the weights and the bias of a layer.

        Each unit's greatest weight becomes 127, unless its bias, in the same units, would then
        exceed `get_max_bias`.

        Parameters
        ----------
        weight : ndarray of float64, shape (outputs, inputs)
        bias : ndarray of float64, shape (outputs,)
        inputs : Quantizer
        activation, normalization
            As the attributes.
        """
        limit, info = get_max_bias(weight.shape[1]), np.finfo(np.float32)
        step = np.maximum(
            np.abs(weight).max(axis=1) / MAX_WEIGHT, np.abs(bias) / (inputs.scale * limit)
        )
        step[step == 0] = 1
        # Both the scale and its product with the inputs' scale are normal numbers.
        step = np.clip(step, max(info.tiny, info.tiny / inputs.scale), info.max).astype(np.float32)
        exact = step.astype(np.float64)
        integers = np.ascontiguousarray(np.rint(weight / exact[:, None]), np.int8)
        biases = np.rint(bias / (inputs.scale * exact)).clip(-limit, limit).astype(np.int32)
        return cls(integers, step, biases, inputs, activation, normalization)

    @property
    def is_piecewise_linear(self):
        """Whether the next layer's integers can be computed from the sums directly."""
        return self.normalization is None and self.activation.name in PIECEWISE_LINEAR

    def compute_start(self):
        """Return bias - inputs.zero_point * (sum of the weights): int32, shape (outputs,).

        It may wrap around; the sums that start from it do not.
        """
        sums = self.weight.sum(axis=1, dtype=np.int64)
        return (self.bias - self.inputs.zero_point * sums).astype(np.int32)

    def compute_factor(self, following=None):
        """Return the factor of the pre-activations' integers, float32 of shape (outputs,).

        Parameters
        ----------
        following : Quantizer, optional
            If given, the factor leads to pre-activations divided by its scale.
        """
        factor = self.inputs.scale * self.weight_scale.astype(np.float64)
        if following is not None:
            factor /= following.scale
        return np.minimum(factor, np.finfo(np.float32).max).astype(np.float32)


def get_max_bias(inputs):
    """Return the greatest integer of a bias for which no sum of a layer exceeds int32."""
    return SUM_MAX - inputs * MAX_OPERAND * MAX_WEIGHT


def check_inputs(sizes):
    """Raise ValueError if the sums of a layer could exceed int32.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, then number of units of each layer.
    """
    for l, size in enumerate(sizes[:-1]):
        if size > MAX_INPUTS:
            raise ValueError(
                f"size[{l}] must be at most {MAX_INPUTS} for 8-bit integers, so that sums of "
                f"products fit into 32 bits; got {size}"
            )


class QuantizedState:
    """Architecture, task and layers of a network of 8-bit integers.

    Parameters
    ----------
    architecture : Architecture
        Of the network that was quantized.
    layers : sequence of QuantizedLayer
        One for each dense layer, with batch normalization folded in.
    method : str
        How the ranges of the activations were calibrated.
    task : str, optional
        By default the first task that the architecture can have.
    training : dict, optional
        Record of the training run of the network that was quantized.

    Attributes
    ----------
    architecture : Architecture
        With dtype float32, the type of the outputs.
    program : cmlp._core.quantized.QuantizedProgram
        The compiled form of the network.

    Raises
    ------
    ValueError
        If a layer has too many inputs, or the network cannot have the task.
    """

    def __init__(self, architecture, layers, method, *, task=None, training=None):
        self.architecture = replace(architecture, dtype=np.dtype(np.float32))
        check_inputs(self.architecture.sizes)
        self.layers, self.method, self.training = tuple(layers), method, training
        self.task = self.architecture.tasks[0] if task is None else task
        check_task(self.architecture.tasks, self.task)
        self.program = QuantizedProgram(self.layers)

    is_classifier = property(lambda self: self.task != "regression")
    is_classifier.__doc__ = "Whether predictions are classes or labels."

    @property
    def score_name(self):
        """Metric that `score` returns: ``"accuracy"`` or ``"r2"``."""
        return "accuracy" if self.is_classifier else "r2"

    @staticmethod
    def list_shapes(architecture):
        """Return shape and dtype of each array by its name in a file, a dict."""
        int8, int32, float32 = map(np.dtype, (np.int8, np.int32, np.float32))
        found = {}
        for l, (layer, inputs) in enumerate(
            zip(architecture.dense, architecture.sizes, strict=False)
        ):
            column = (layer.units, 1)
            found[f"weight_{l}"] = (layer.units, inputs), int8
            found[f"weight_scale_{l}"] = column, float32
            found[f"bias_{l}"] = column, int32
            if isinstance(layer.normalization, LayerNorm):
                found[f"scale_{l}"] = found[f"shift_{l}"] = column, float32
        return found

    def to_arrays(self):
        """Return all arrays by their names in a file, a dict; see `list_shapes`."""
        found = {}
        for l, layer in enumerate(self.layers):
            found[f"weight_{l}"] = layer.weight
            found[f"weight_scale_{l}"] = layer.weight_scale[:, None]
            found[f"bias_{l}"] = layer.bias[:, None]
            if layer.normalization is not None:
                found[f"scale_{l}"] = layer.normalization.scale[:, None]
                found[f"shift_{l}"] = layer.normalization.shift[:, None]
        return found

    @classmethod
    def from_arrays(cls, architecture, arrays, quantizers, method, *, task=None, training=None):
        """Return a state with the given arrays.

        Parameters
        ----------
        architecture : Architecture
        arrays : dict from str to ndarray
            Of the shapes and dtypes of `list_shapes`.
        quantizers : sequence of Quantizer
            Of the inputs of each layer.
        method, task, training
            As in the constructor.

        Raises
        ------
        ValueError
            If the number of quantizers, a scale or an integer is not valid.
        """
        if len(quantizers) != len(architecture.dense):
            raise ValueError(
                f"inputs must be a list of {len(architecture.dense)} items, one for each layer; "
                f"got {len(quantizers)}"
            )
        layers = []
        for l, (dense, inputs) in enumerate(zip(architecture.dense, quantizers, strict=True)):
            flat = {name: array.reshape(-1) for name, array in arrays.items()
                    if name.endswith(f"_{l}")}  # fmt: skip
            check_layer_arrays(l, arrays[f"weight_{l}"], flat)
            normalization = None
            if isinstance(dense.normalization, LayerNorm):
                normalization = LayerNormalization(
                    flat[f"scale_{l}"], flat[f"shift_{l}"], dense.normalization.eps
                )
            layers.append(
                QuantizedLayer(
                    np.array(arrays[f"weight_{l}"], order="C"),
                    np.array(flat[f"weight_scale_{l}"]), np.array(flat[f"bias_{l}"]), inputs,
                    dense.activation, normalization,
                )
            )  # fmt: skip
        return cls(architecture, layers, method, task=task, training=training)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name != "program"}

    def __setstate__(self, attributes):
        self.__dict__.update(attributes)
        self.program = QuantizedProgram(self.layers)


def check_layer_arrays(l, weight, flat):
    """Raise ValueError if an array of layer `l` has a number that quantization does not produce."""
    for name, array in flat.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite; it has NaN or infinity")
    least = np.finfo(np.float32).tiny
    if not (flat[f"weight_scale_{l}"] >= least).all():
        raise ValueError(
            f"weight_scale_{l} must be at least {least:.3g}; "
            f"got {flat[f'weight_scale_{l}'].min():.3g}"
        )
    if weight.min() < -MAX_WEIGHT:
        raise ValueError(f"weight_{l} must be at least {-MAX_WEIGHT}; got {weight.min()}")
    limit = get_max_bias(weight.shape[1])
    greatest = np.abs(flat[f"bias_{l}"].astype(np.int64)).max()
    if greatest > limit:
        raise ValueError(f"bias_{l} must be from {-limit} to {limit}; got a size of {greatest}")
