"""Loss functions.

A name selects a loss with its default parameter; `huber`, `cross_entropy`,
`binary_cross_entropy`, `pinball` and `gaussian_nll` return one with another parameter; a Python
callable defines a loss of its own (see `Network`). With a the outputs of a sample, y its targets
and n the number of outputs, the loss of the sample is:

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
``"pinball"``               sum max(q (y - a), (q - 1) (y - a)) / n with the quantile q of an
                            output; q = 1/2; see `pinball`
``"gaussian_nll"``          sum (log(v) + (a - y)^2 / v) / (2 n) with n targets, means a and
                            variances v; see `gaussian_nll`
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
sections 4.3.2 and 4.3.4 (cross-entropies). Koenker and Bassett, Econometrica 46, 1978 (pinball).
Nix and Weigend, ICNN 1994 (gaussian_nll).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from cmlp._core import kernels
from cmlp._utils.fields import Record
from cmlp._utils.validation import (
    check_bool,
    check_fraction,
    check_normal,
    check_number,
    check_positive,
    look_up,
)

__all__ = ["Loss", "binary_cross_entropy", "cross_entropy", "gaussian_nll", "huber", "pinball"]

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
        The delta of `huber`, the label smoothing of `cross_entropy` and `binary_cross_entropy`,
        the eps of `gaussian_nll`, the lowest quantile of `pinball`; 0 and unused for the others.
    quantiles : tuple of float
        The quantiles of `pinball`, increasing; empty for the others.
    non_crossing : bool
        Whether each block of outputs of `pinball` after the first describes the differences from
        the quantiles before; see `pinball`.
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
    quantiles: tuple[float, ...] = ()
    non_crossing: bool = False
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
    def blocks(self):
        """Number of outputs for each value of a target."""
        if self.call:
            return 1
        return max(kernels.LOSSES[self.name].blocks, len(self.quantiles))

    @property
    def point(self):
        """Index of the block of outputs that metrics compare with the targets.

        The means, or the quantile nearest to 1/2: the lower one of two at the same distance.
        """
        # 0.7 - 0.5 and 0.5 - 0.3 differ by rounding errors.
        distances = [round(abs(quantile - 0.5), 12) for quantile in self.quantiles]
        return distances.index(min(distances)) if distances else 0

    @property
    def has_std(self):
        """Whether the outputs describe standard deviations, too."""
        return self.name == "gaussian_nll"

    def count_targets(self, outputs):
        """Return how many values the outputs of a sample predict.

        Raises
        ------
        ValueError
            If that is not a whole number.
        """
        if outputs % self.blocks:
            raise ValueError(
                f"sizes must end with a multiple of {self.blocks} for loss={self.name!r}, which "
                f"has {self.blocks} outputs for each target; got {outputs}"
            )
        return outputs // self.blocks

    def predict(self, outputs):
        """Return the predictions of a regressor for outputs.

        Parameters
        ----------
        outputs : ndarray of shape (n, outputs)

        Returns
        -------
        ndarray of shape (n, outputs), or (n, targets) for means
            The outputs, their exponentials if they are logarithms, the quantiles or the means.
        """
        if self.log_link:
            return np.exp(outputs)
        targets = self.count_targets(outputs.shape[1])
        if self.non_crossing:
            quantiles = outputs.copy()
            quantiles[:, targets:] = np.logaddexp(outputs[:, targets:], outputs.dtype.type(0))
            blocks = quantiles.reshape(len(outputs), self.blocks, targets)
            return blocks.cumsum(axis=1).reshape(outputs.shape)
        return outputs[:, :targets] if self.has_std else outputs

    def predict_point(self, outputs):
        """Return what metrics compare with targets, (n, targets), without the link of `log_link`.

        Parameters
        ----------
        outputs : ndarray of shape (n, outputs)
        """
        if self.blocks == 1:
            return outputs
        targets = self.count_targets(outputs.shape[1])
        first = self.point * targets
        return self.predict(outputs)[:, first : first + targets]

    def check_dtype(self, dtype):
        """Raise `ValueError` if a dtype rounds a parameter to 0 or infinity, or a quantile to 1."""
        if self.parameter:
            check_normal(f"the parameter of {self.name}", self.parameter, dtype)
        for quantile in self.quantiles:
            if dtype.type(quantile) == 1:
                raise ValueError(f"quantiles must be less than 1 in {dtype}; got {quantile!r}")

    def check_std(self):
        """Raise `ValueError` unless the outputs describe standard deviations."""
        if not self.has_std:
            raise ValueError(
                f"return_std must be False unless the loss is 'gaussian_nll'; got True for "
                f"{self.name!r}"
            )

    def predict_std(self, outputs):
        """Return the standard deviations for the outputs of `gaussian_nll`, (n, targets)."""
        logarithms = outputs[:, self.count_targets(outputs.shape[1]) :]
        least = outputs.dtype.type(math.log(self.parameter))
        return np.exp(np.logaddexp(logarithms, least) / 2)

    @property
    def header(self):
        """The name, or a list of name and parameters if these are not the default, for files.

        The list is [name, parameter], ["pinball", quantiles] or ["pinball", quantiles, True].
        """
        if self.call or self == LOSSES[self.name]:
            return self.name
        if not self.quantiles:
            return [self.name, self.parameter]
        return ["pinball", list(self.quantiles), *([True] if self.non_crossing else [])]

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
        Loss("pinball", "identity", ("identity",), parameter=0.5, quantiles=(0.5,)),
        Loss("gaussian_nll", "identity", ("identity",), parameter=1e-6),
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


def binary_cross_entropy(label_smoothing=0.0):
    """Return the binary cross-entropy with label smoothing.

    Each target y is replaced by (1 - s) y + s / 2, with s the smoothing: the loss of an output is
    that of `cross_entropy` with the same smoothing for two classes.

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
    return replace(LOSSES["binary_cross_entropy"], parameter=float(label_smoothing))


def pinball(quantiles=0.5, non_crossing=False):
    """Return the pinball loss of quantile regression.

    A network for t targets and k quantiles has t k outputs: first t outputs for the lowest quantile
    q of each target, then t outputs for the next one, and so on. The loss of a sample is the mean
    over its outputs a of max(q (y - a), (q - 1) (y - a)). `Network.predict` returns the quantiles
    in the order of the outputs, (n, k) for one target; metrics compare the targets with the
    quantile nearest to 1/2, the lower one of two at the same distance.

    Quantiles that are trained independently may cross: the 0.9 quantile of a sample may be less
    than its 0.1 quantile. With `non_crossing`, an output describes the lowest quantile, and each
    further quantile is the one before plus the softplus of its output, log(1 + exp(a)). A softplus
    is never negative and rounding is monotonic, so the quantiles of a sample never decrease,
    whatever the parameters are. `Network.predict` and metrics apply this; a call of the network,
    and exports, return the outputs. The parametrization is that of Park et al., "Learning quantile
    functions without quantile crossing for distribution-free time series forecasting",
    AISTATS 2022.

    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Parameters
    ----------
    quantiles : float or sequence of float, default 0.5
        Between 0 and 1, without these, and increasing.
    non_crossing : bool, default False
        Whether the quantiles of a sample never decrease, by construction; without effect for one
        quantile.

    Raises
    ------
    TypeError, ValueError
        If a quantile is not a number, or not as described.
    """
    check_bool("non_crossing", non_crossing)
    values = to_quantiles(quantiles)
    return replace(
        LOSSES["pinball"], parameter=values[0], quantiles=values,
        non_crossing=non_crossing and len(values) > 1,
    )  # fmt: skip


def to_quantiles(quantiles):
    """Return the argument `quantiles` of `pinball` as a tuple of float; raise as `pinball` does."""
    given = quantiles.tolist() if hasattr(quantiles, "tolist") else quantiles
    values = given if isinstance(given, (list, tuple)) else [given]
    for value in values:
        try:
            check_number("quantiles", value)
        except TypeError:
            raise TypeError(
                f"quantiles must be a number or a sequence of numbers; got {quantiles!r}"
            ) from None
        if not 0 < value < 1:
            raise ValueError(f"quantiles must be greater than 0 and less than 1; got {value!r}")
    values = tuple(float(value) for value in values)
    if not values or any(low >= high for low, high in pairwise(values)):
        raise ValueError(f"quantiles must be at least one and increase; got {quantiles!r}")
    return values


def gaussian_nll(eps=1e-6):
    """Return the negative log-likelihood of normal distributions, which the outputs describe.

    A network for t targets has 2 t outputs: first t means m, then t logarithms s of variances. The
    variances are v = exp(s) + `eps`. The loss of a sample is the mean over its targets of
    (log(v) + (m - y)^2 / v) / 2, the negative log-likelihood without the constant log(2 pi) / 2.
    `Network.predict` returns the means and, with ``return_std=True``, the standard deviations;
    metrics compare the means with the targets.

    PyTorch's `GaussianNLLLoss` replaces variances below its `eps` by `eps`. Adding it instead makes
    the loss differentiable everywhere and finite for every finite s.

    Nix and Weigend, "Estimating the mean and variance of the target probability distribution",
    ICNN 1994.

    Parameters
    ----------
    eps : float, default 1e-6
        Lower limit of the variances, in the unit of the squared targets; positive and finite.

    Raises
    ------
    TypeError, ValueError
        If `eps` is not a number, or not positive and finite.
    """
    check_positive("eps", eps)
    return replace(LOSSES["gaussian_nll"], parameter=float(eps))


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
    loss : Loss, str, sequence or callable
        A loss, its name, its name and parameters as in `Loss.header`, or a loss in Python.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, unknown, or has an invalid parameter.
    """
    if isinstance(loss, Loss):
        return loss
    if callable(loss) and not isinstance(loss, type):
        return Loss(CALLABLE, "identity", call=loss)
    if isinstance(loss, (list, tuple)) and len(loss) in (2, 3):
        name, *values = loss
        makers = WITH_PARAMETER if len(values) == 1 else {"pinball": pinball}
        return look_up("loss", name, makers)(*values)
    return look_up("loss", loss, LOSSES)


def choose_default_loss(output):
    """Return the name of the default loss for a network imported from a format without losses.

    Parameters
    ----------
    output : str
        The name of the last layer's activation.
    """
    return {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}.get(output, "mse")
