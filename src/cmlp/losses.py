"""Losses: what a network is trained to make small.

A name stands for a loss with its usual parameter; `huber` and `cross_entropy` make others, and
so does any callable, for research.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cmlp._core import kernels
from cmlp.checks import check_fraction, check_positive, look_up

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
    call : callable or None
        A loss in Python, of the outputs (m, outputs) of a batch and its targets.
    """

    name: str
    output: str
    outputs: tuple[str, ...] | None = None
    bounds: tuple[float, float] = ANY
    scores: bool = False
    parameter: float = 0.0
    logarithm: bool = False
    call: Callable | None = None

    @property
    def code(self):
        """The number that compiled code knows it by; -1 for one in Python."""
        return -1 if self.call else kernels.LOSSES.index(self.name)

    @property
    def header(self):
        """Its name or, where its parameter is not the usual one, a list of both."""
        usual = self.call or self.parameter == LOSSES[self.name].parameter
        return self.name if usual else [self.name, self.parameter]

    def __call__(self, outputs, targets):
        """Return the mean loss of a batch and its gradient with respect to the outputs.

        For a loss in Python; what it returns is checked.

        Raises
        ------
        ValueError
            If it does not return a number and an array of the outputs' shape.
        """
        returned = self.call(outputs, targets)
        try:
            loss, gradient = returned
            loss, gradient = float(loss), np.asarray(gradient)
        except (TypeError, ValueError) as error:
            raise ValueError(f"loss must return a pair (loss, gradient): {error}") from error
        if gradient.shape != outputs.shape or gradient.dtype.kind != "f":
            raise ValueError(
                f"loss must return a real gradient of the outputs' shape {outputs.shape}, "
                f"got {gradient.shape} of {gradient.dtype}"
            )
        return loss, gradient


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("quadratic", "sigmoid"),
        Loss("mse", "identity"),
        Loss("mae", "identity"),
        Loss("huber", "identity", parameter=1.0),
        Loss("log_cosh", "identity"),
        Loss("poisson", "identity", ("identity",), COUNTS, logarithm=True),
        Loss("poisson_deviance", "identity", ("identity",), COUNTS, logarithm=True),
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
    check_fraction("label_smoothing", label_smoothing)
    return replace(LOSSES["cross_entropy"], parameter=float(label_smoothing))


WITH_PARAMETER = {"huber": huber, "cross_entropy": cross_entropy}


CALLABLE = "callable"


def forgotten(outputs, targets):
    """Stand in for the loss in Python of a network that was read from a file."""
    raise TypeError("the loss of this network was a callable, which no file keeps; "
                    "give it to Network.load(path, loss=...)")  # fmt: skip


def checked_loss(loss):
    """Return a `Loss`, given one, its name, its name and parameter, or a callable."""
    if isinstance(loss, Loss):
        return loss
    if callable(loss) and not isinstance(loss, type):
        return Loss(CALLABLE, "identity", call=loss)
    if isinstance(loss, (list, tuple)) and len(loss) == 2:
        name, parameter = loss
        return look_up("loss", name, WITH_PARAMETER)(parameter)
    return look_up("loss", loss, LOSSES)
