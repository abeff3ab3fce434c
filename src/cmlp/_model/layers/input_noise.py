"""Gaussian noise on the inputs."""

from dataclasses import dataclass
from typing import ClassVar

from cmlp._model.layers.base import Layer
from cmlp._utils.fields import checked_field
from cmlp._utils.validation import check_positive


@dataclass(frozen=True, eq=False, repr=False)
class InputNoise(Layer):
    """Normal noise that training adds to the inputs.

    Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation
    7(1), 1995.

    Parameters
    ----------
    deviation : float
        Standard deviation; positive. Bytes are scaled to [0, 1] first.
    """

    kind: ClassVar[str] = "input_noise"

    deviation: float = checked_field(check_positive)
