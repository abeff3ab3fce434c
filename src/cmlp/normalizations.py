"""Normalisations: what a layer's input sums go through before the activation.

Both bring them to mean 0 and variance 1, and then multiply by a scale of each unit's own,
which is learned beside the bias.
"""

from dataclasses import dataclass
from typing import ClassVar

from cmlp.checks import check_fraction, check_positive, look_up


@dataclass(frozen=True)
class BatchNorm:
    """Over the samples of a batch, and, after training, by running statistics.

    Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.

    Parameters
    ----------
    momentum : float, default 0.1
        How far the running mean and variance go towards each batch's, as in PyTorch.
    eps : float, default 1e-5
        Added to the variance.
    """

    name: ClassVar[str] = "batch"

    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self):
        check_fraction("momentum", self.momentum)
        check_positive("eps", self.eps)

    @property
    def header(self):
        """Its name and parameters."""
        return [self.name, self.momentum, self.eps]


@dataclass(frozen=True)
class LayerNorm:
    """Over the units of a layer, for each sample by itself.

    Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016, eq. 4.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.
    """

    name: ClassVar[str] = "layer"

    eps: float = 1e-5

    def __post_init__(self):
        check_positive("eps", self.eps)

    @property
    def header(self):
        """Its name and parameters."""
        return [self.name, self.eps]


NORMALIZATIONS = {kind.name: kind for kind in (BatchNorm, LayerNorm)}


def checked_normalization(normalization):
    """Return a `BatchNorm`, a `LayerNorm` or None, given one, a name or a header."""
    if normalization is None or isinstance(normalization, (BatchNorm, LayerNorm)):
        return normalization
    if isinstance(normalization, list) and normalization:
        name, *parameters = normalization
        return look_up("normalization", name, NORMALIZATIONS)(*parameters)
    return look_up("normalization", normalization, NORMALIZATIONS)()
