"""Loss functions.

A name selects a loss with its default parameter; `huber` and `cross_entropy` return one with
another parameter; a Python callable defines a loss of its own (see `Network`). With a the
outputs of a sample, y its targets and n the number of outputs, the loss of the sample is:

==========================  ==============================================================
name                        loss of a sample
==========================  ==============================================================
``"quadratic"``             sum (a - y)^2 / 2
``"mse"``                   sum (a - y)^2 / n
``"mae"``                   sum abs(a - y) / n
``"huber"``                 sum h(abs(a - y)) / n with h(e) = e^2 / 2 if e <= delta, else
                            delta (e - delta / 2); delta = 1
``"log_cosh"``              sum log(cosh(a - y)) / n
``"poisson"``               sum (exp(a) - y a) / n
``"poisson_deviance"``      sum (exp(a) - y + y (log(y) - a)), half the deviance
``"cross_entropy"``         -sum y log(a)
``"binary_cross_entropy"``  -sum (y log(a) + (1 - y) log(1 - a))
``"hinge"``                 sum max(0, 1 - t a) / n with t = 2 y - 1
``"squared_hinge"``         sum max(0, 1 - t a)^2 / n with t = 2 y - 1
==========================  ==============================================================

The loss of a batch is the mean over its samples, each multiplied by its weight if there are
sample or class weights. The outputs of the Poisson losses are logarithms of rates; the targets
of the hinge losses are 0 and 1.

The exponential of the Poisson losses overflows for an output above 88.7 in float32, or 709.7 in
float64. The loss is then infinite and training raises `TrainingDiverged`; `Network.predict` returns
infinity.

References
----------
Huber, Annals of Mathematical Statistics 35, 1964, p. 74. McCullagh and Nelder, "Generalized
linear models", 1989, section 2.3.3 (deviance). Cortes and Vapnik, Machine Learning 20, 1995
(hinge; each output against the rest). Bishop, "Pattern recognition and machine learning", 2006,
sections 4.3.2 and 4.3.4 (cross-entropies).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cmlp._core import kernels
from cmlp._utils.fields import Record
from cmlp._utils.validation import check_fraction, check_positive, look_up

UNBOUNDED, UNIT_INTERVAL, NON_NEGATIVE = (-math.inf, math.inf), (0.0, 1.0), (0.0, math.inf)


@dataclass(frozen=True, eq=False, repr=False)
class Loss(Record):
    """A loss function: a name of the kernel table and a parameter, or a Python callable.

    Attributes
    ----------
    name : str
    output : str
        The default activation of the last layer.
    outputs : tuple of str or None
        The allowed activations of the last layer; None: all.
    bounds : tuple of two float
        The closed interval of allowed targets; an output that is a probability restricts it to
        [0, 1] (see `Architecture.target_bounds`).
    scores : bool
        Whether the outputs are decision scores of classes, positive for membership, rather
        than probabilities.
    parameter : float
        The delta of `huber`, the label smoothing of `cross_entropy`; 0 and unused for the others.
    call : callable or None
        A loss in Python: called with the outputs of a batch, shape (m, outputs), and its
        targets; returns the mean loss and its gradient with respect to the outputs. The targets of
        one output have the shape (m, 1); those of several outputs have the shape of the rows of y.
    """

    name: str
    output: str
    outputs: tuple[str, ...] | None = None
    bounds: tuple[float, float] = UNBOUNDED
    scores: bool = False
    parameter: float = 0.0
    call: Callable | None = None

    @property
    def code(self):
        """The code of the loss in the kernel table; -1 for a Python callable."""
        return -1 if self.call else kernels.LOSSES[self.name].code

    @property
    def has_class_targets(self):
        """Whether the targets are classes, labels or their probabilities, never real values."""
        return self.bounds == UNIT_INTERVAL

    @property
    def log_link(self):
        """Whether an output is the logarithm of the predicted value."""
        return not self.call and kernels.LOSSES[self.name].log_link

    @property
    def header(self):
        """The name, or [name, parameter] if the parameter is not the default, for files."""
        is_default = self.call or self.parameter == LOSSES[self.name].parameter
        return self.name if is_default else [self.name, self.parameter]

    def __call__(self, outputs, targets):
        """Call a loss in Python and validate its result.

        Parameters
        ----------
        outputs : ndarray of shape (m, outputs)
        targets : ndarray
            The targets of the same m samples.

        Returns
        -------
        loss : float
            The mean loss of the batch.
        gradient : ndarray of shape (m, outputs)
            The gradient of the mean loss with respect to the outputs.

        Raises
        ------
        ValueError
            If the callable does not return a number and a real array of that shape.
        """
        returned = self.call(outputs, targets)
        try:
            loss, gradient = returned
            loss, gradient = float(loss), np.asarray(gradient)
        except (TypeError, ValueError) as error:
            raise ValueError(f"loss must return a pair (loss, gradient): {error}") from error
        if gradient.shape != outputs.shape or gradient.dtype.kind != "f":
            raise ValueError(
                f"loss must return a real gradient of the outputs' shape {outputs.shape}; "
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
        Loss("poisson", "identity", ("identity",), NON_NEGATIVE),
        Loss("poisson_deviance", "identity", ("identity",), NON_NEGATIVE),
        Loss("cross_entropy", "softmax", ("softmax", "sigmoid"), UNIT_INTERVAL),
        Loss("binary_cross_entropy", "sigmoid", ("sigmoid", "softmax"), UNIT_INTERVAL),
        Loss("hinge", "identity", ("identity", "tanh"), UNIT_INTERVAL, scores=True),
        Loss("squared_hinge", "identity", ("identity", "tanh"), UNIT_INTERVAL, scores=True),
    )
}


def huber(delta=1.0):
    """Return the Huber loss: quadratic for errors up to `delta`, linear above.

    With e the absolute error of an output, e^2 / 2 if e <= `delta`, else
    `delta` (e - `delta` / 2); the mean over batch and outputs, as in PyTorch.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35,
    1964, p. 74.

    Parameters
    ----------
    delta : float, default 1
        Positive and finite; in the unit of the targets.

    Raises
    ------
    TypeError, ValueError
        If `delta` is not a number, or not positive and finite.
    """
    check_positive("delta", delta)
    return replace(LOSSES["huber"], parameter=float(delta))


def cross_entropy(label_smoothing=0.0):
    """Return the cross-entropy with label smoothing.

    Each target y is replaced by (1 - s) y + s / n, with s the smoothing and n the number of
    classes; the loss is the sum over the classes and the mean over the batch.

    Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
    section 7.

    Parameters
    ----------
    label_smoothing : float, default 0
        At least 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        If `label_smoothing` is not a number, or outside of [0, 1).
    """
    check_fraction("label_smoothing", label_smoothing)
    return replace(LOSSES["cross_entropy"], parameter=float(label_smoothing))


# Name of a loss with a parameter, by the kernel table -> the function above.
WITH_PARAMETER = {name: globals()[name] for name, info in kernels.LOSSES.items() if info.parameters}

# The name of every loss that is a Python callable, in `Network.loss` and in files.
CALLABLE = "callable"


def raise_missing_loss(outputs, targets):
    """Raise `TypeError`: the loss of a network whose Python loss was not stored in its file."""
    raise TypeError(
        "the loss of this network was a Python callable, which files do not store; "
        "give it to Network.load(path, loss=...)"
    )


def resolve_loss(loss):
    """Return the `Loss` that an argument selects.

    Parameters
    ----------
    loss : Loss, str, (str, float) or callable
        A loss, its name, its name and parameter, or a loss in Python.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, unknown, or has an invalid parameter.
    """
    if isinstance(loss, Loss):
        return loss
    if callable(loss) and not isinstance(loss, type):
        return Loss(CALLABLE, "identity", call=loss)
    if isinstance(loss, (list, tuple)) and len(loss) == 2:
        name, parameter = loss
        return look_up("loss", name, WITH_PARAMETER)(parameter)
    return look_up("loss", loss, LOSSES)


def choose_default_loss(output):
    """Return the name of the default loss for a network imported from a format without losses.

    Parameters
    ----------
    output : str
        The name of the last layer's activation.
    """
    return {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}.get(output, "mse")
