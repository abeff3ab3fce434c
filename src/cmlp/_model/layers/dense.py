"""The dense layer: affine map, normalization, activation, dropout."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cmlp._model.layers.base import Layer
from cmlp._utils.fields import checked_field
from cmlp._utils.validation import check_bool, check_fraction, check_integer, check_positive
from cmlp.activations import ACTIVATIONS, PARAMETRIC, Activation, resolve_activation
from cmlp.initializers import draw_layer
from cmlp.normalizations import BatchNorm, LayerNorm, resolve_normalization


def check_activation(argument, value):
    """Raise `TypeError` unless `value` is an `Activation`."""
    if not isinstance(value, Activation):
        raise TypeError(f"{argument} must be an Activation; got {value!r}")


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Layer):
    """f(normalize(x W^T) + b) for rows x, with dropout of the outputs while training.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : Activation or str
        The function f; a parametric one adds the tensor `alpha`.
    normalization : BatchNorm, LayerNorm, str or None
        Normalization of the pre-activations x W^T; adds the tensor `scale`.
    dropout : float, default 0
        Fraction of the outputs that training sets to zero.
    max_norm : float or None
        Maximum norm of the weights into one unit; None: no limit.
    frozen : bool, default False
        Whether training leaves the parameters and the running statistics as they are.
    """

    kind: ClassVar[str] = "dense"
    is_input_layer: ClassVar[bool] = False

    units: int = checked_field(check_integer)
    activation: Activation = checked_field(check_activation)
    normalization: BatchNorm | LayerNorm | None = None
    dropout: float = checked_field(check_fraction, 0.0)
    max_norm: float | None = checked_field(check_positive, None, optional=True)
    frozen: bool = checked_field(check_bool, False)

    def __post_init__(self):
        if not isinstance(self.activation, Activation):
            activation = resolve_activation("activation", self.activation, ACTIVATIONS | PARAMETRIC)
            object.__setattr__(self, "activation", activation)
        object.__setattr__(self, "normalization", resolve_normalization(self.normalization))
        super().__post_init__()

    @property
    def label(self):
        """Name of the activation."""
        return self.activation.name

    def count_outputs(self, inputs):
        """Return the number of units."""
        return self.units

    def tensors(self, inputs):
        """Return the shapes of weight, bias and, if the layer has them, scale and alpha."""
        shapes = {"weight": (self.units, inputs), "bias": (self.units, 1)}
        if self.normalization is not None:
            shapes["scale"] = (self.units, 1)
        if self.activation.parametric:
            shapes["alpha"] = (self.units, 1)
        return shapes

    def statistics(self, inputs):
        """Return the shapes of the running statistics of a batch normalization."""
        if not isinstance(self.normalization, BatchNorm):
            return {}
        return {"running_mean": (self.units, 1), "running_variance": (self.units, 1)}

    def draw(self, rng, init, inputs):
        """Return initial weights and biases; scales and running variances are one."""
        weight, bias = draw_layer(rng, init, self.activation, inputs, self.units)
        values = {"weight": weight, "bias": bias}
        if self.normalization is not None:
            values["scale"] = np.ones((self.units, 1))
        if self.activation.parametric:
            values["alpha"] = np.full((self.units, 1), self.activation.alpha)
        if self.statistics(inputs):
            values["running_mean"] = np.zeros((self.units, 1))
            values["running_variance"] = np.ones((self.units, 1))
        return values
