"""Losses: what a network is trained to make small.

A name stands for a loss with its usual parameter; `huber` and `cross_entropy` make others.
"""

import math
from dataclasses import dataclass, replace

from cmlp._core import kernels
from cmlp.spec import check_number, check_positive, look_up

ANY, SHARES, COUNTS = (-math.inf, math.inf), (0.0, 1.0), (0.0, math.inf)


@dataclass(frozen=True)
class Loss:
    """A loss function.

    Attributes
    ----------
    name : str
    output : str
        The last layer's activation where none is given.
    outputs : tuple of str or None
        The last layer's activations that it makes sense for; None allows all.
    bounds : tuple of two float
        Between which targets lie.
    scores : bool
        Whether the outputs are scores of classes, positive for yes, but no probabilities.
    parameter : float
        Huber's delta, the smoothing of the labels.
    logarithm : bool
        Whether an output is the logarithm of what is predicted.
    """

    name: str
    output: str
    outputs: tuple[str, ...] | None = None
    bounds: tuple[float, float] = ANY
    scores: bool = False
    parameter: float = 0.0
    logarithm: bool = False

    @property
    def code(self):
        """The number that compiled code knows it by."""
        return kernels.LOSSES.index(self.name)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("quadratic", "sigmoid"),
        Loss("mse", "identity"),
        Loss("mae", "identity"),
        Loss("huber", "identity", parameter=1.0),
        Loss("log_cosh", "identity"),
        Loss("poisson", "identity", ("identity",), COUNTS, logarithm=True),
        Loss("cross_entropy", "softmax", ("softmax", "sigmoid"), SHARES),
        Loss("binary_cross_entropy", "sigmoid", ("sigmoid", "softmax"), SHARES),
        Loss("hinge", "identity", ("identity", "tanh"), SHARES, scores=True),
        Loss("squared_hinge", "identity", ("identity", "tanh"), SHARES, scores=True),
    )
}


def huber(delta=1.0):
    """Return Huber's loss: half the square of an error, and linear where it exceeds `delta`.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35,
    1964, p. 74; the mean over batch and outputs, as PyTorch's.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a positive, finite number.
    """
    check_positive("delta", delta)
    return replace(LOSSES["huber"], parameter=float(delta))


def cross_entropy(label_smoothing=0.0):
    """Return the cross-entropy with targets of which a part is shared out among all classes.

    Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.

    Raises
    ------
    TypeError, ValueError
        If `label_smoothing` is not a number from 0 to below 1.
    """
    check_number("label_smoothing", label_smoothing)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing!r}")
    return replace(LOSSES["cross_entropy"], parameter=float(label_smoothing))


WITH_PARAMETER = {"huber": huber, "cross_entropy": cross_entropy}


def checked_loss(loss):
    """Return a `Loss`, given one, its name, or its name and parameter."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, (list, tuple)) and len(loss) == 2:
        name, parameter = loss
        return look_up("loss", name, WITH_PARAMETER)(parameter)
    return look_up("loss", loss, LOSSES)
