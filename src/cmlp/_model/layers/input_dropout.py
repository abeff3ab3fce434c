"""Dropout of the inputs."""

from dataclasses import dataclass
from typing import ClassVar

from cmlp._model.layers.base import Layer
from cmlp._utils.fields import checked_field
from cmlp._utils.validation import check_fraction


@dataclass(frozen=True, eq=False, repr=False)
class InputDropout(Layer):
    """Dropout of elements of the input while training.

    Srivastava et al., "Dropout", JMLR 15, 2014, section 4.

    Parameters
    ----------
    rate : float
        Fraction of the elements that are set to zero; the others are scaled to preserve the mean.
    """

    kind: ClassVar[str] = "input_dropout"

    rate: float = checked_field(check_fraction)
