"""Normalizations of the pre-activations of a layer.

Both subtract a mean and divide by a standard deviation, multiply by a learned scale per unit and
add the bias: scale * (z - mean) / sqrt(variance + eps) + bias. Scales start at 1.

Pre-activations that are all equal have variance 0. They are normalized to 0 (up to the rounding of
their mean, multiplied by 1 / sqrt(eps)), so the output depends on the bias alone. Because of `eps`
no result and no gradient is NaN; `eps` must not be below the least normal number of the network's
dtype (1.18e-38 for float32, 2.23e-308 for float64).
"""

from dataclasses import dataclass
from typing import ClassVar

from cmlp._utils.fields import Record, check_fields, checked_field
from cmlp._utils.validation import check_fraction, check_positive, look_up

__all__ = ["BatchNorm", "LayerNorm"]


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(Record):
    """Normalize each unit over the samples of a batch.

    Inference uses running estimates of mean and variance, which every training step updates.
    In a batch of one sample every variance is 0: the step updates the layer's biases and the
    layers above, but neither the layer's weights nor anything below.

    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift", ICML 2015, algorithms 1 and 2.

    Parameters
    ----------
    momentum : float, default 0.1
        Weight of a batch's statistics in the running estimates, as in PyTorch:
        running = (1 - momentum) * running + momentum * batch, with the unbiased variance of
        the batch. At least 0 and below 1.
    eps : float, default 1e-5
        Added to the variance; positive and finite.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of its range.
    """

    name: ClassVar[str] = "batch"

    momentum: float = checked_field(check_fraction, 0.1)
    eps: float = checked_field(check_positive, 1e-5)

    def __post_init__(self):
        check_fields(self)

    @property
    def header(self):
        """The name and the arguments, a list as stored in files."""
        return [self.name, self.momentum, self.eps]


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(Record):
    """Normalize each sample over the units of a layer.

    Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016, eq. 4.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance; positive and finite.

    Raises
    ------
    TypeError, ValueError
        If `eps` is not a number, or not positive and finite.
    """

    name: ClassVar[str] = "layer"

    eps: float = checked_field(check_positive, 1e-5)

    def __post_init__(self):
        check_fields(self)

    @property
    def header(self):
        """The name and the argument, a list as stored in files."""
        return [self.name, self.eps]


NORMALIZATIONS = {kind.name: kind for kind in (BatchNorm, LayerNorm)}


def resolve_normalization(normalization):
    """Return the normalization that an argument selects, or None.

    Parameters
    ----------
    normalization : BatchNorm, LayerNorm, str, list or None
        A normalization, its name, or its header: a list of its name and arguments.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, unknown, or has an invalid argument.
    """
    if normalization is None or isinstance(normalization, (BatchNorm, LayerNorm)):
        return normalization
    if isinstance(normalization, list) and normalization:
        name, *arguments = normalization
        return look_up("normalization", name, NORMALIZATIONS)(*arguments)
    return look_up("normalization", normalization, NORMALIZATIONS)()
