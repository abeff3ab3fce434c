"""Optimizers: how the gradient of a batch becomes an update of the parameters.

Each optimizer is a frozen dataclass. If PyTorch has one of the same name, it has the same
arguments, the same defaults (except SGD's learning rate) and the same update. `Optimizer` lists
the keyword arguments that all of them except `LBFGS` accept. Every class raises `TypeError` or
`ValueError`, naming the argument, if an argument has the wrong type or is out of its range.

`Network.fit` raises `ValueError` if ``eps`` or ``clip_value`` is below the least normal number of
the network's dtype (1.18e-38 for float32, 2.23e-308 for float64).

`Network.fit` starts with fresh optimizer state; `Network.partial_fit` keeps it between calls.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from cmlp._core import kernels
from cmlp._utils.fields import Record, check_fields, checked_field
from cmlp._utils.validation import (
    check_bool,
    check_factors,
    check_fraction,
    check_integer,
    check_non_negative,
    check_positive,
    look_up,
)

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RMSprop"]


def check_parametrization(argument, value):
    """Raise unless `value` is "standard" or "ntk"."""
    look_up(argument, value, {"standard": None, "ntk": None})


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Record):
    """Base class: gradient processing, penalties and parameter averaging.

    The gradient of the mean loss over a batch is averaged over `accumulate` batches, scaled to
    `clip_norm`, clipped to `clip_value` and regularized by `l1` and ``weight_decay``, in this
    order; then the optimizer updates the parameters.

    Parameters
    ----------
    lr : float
        Learning rate; positive and finite.
    l1 : float, default 0
        L1 coefficient: ``l1 * sign(parameter)`` is added to the gradient. The loss that is
        reported does not include it.
    decay_bias : bool, default True
        Whether `l1` and ``weight_decay`` apply to biases, scales and alphas too, not only to
        weights.
    lr_factors : dict from str to float, optional
        Factors of the learning rate, finite and at least 0, by the name of a kind of parameter
        (``"weight"``, ``"bias"``, ``"scale"``, ``"alpha"``), of a layer (``"layer_0"``), or of
        one array (``"weight_0"``); the factors of all names that fit are multiplied. Arrays with
        the factor 0 are not trained, and cost no time. As in PyTorch's parameter groups,
        decoupled decay takes the factor too.
    decay_factors : dict from str to float, optional
        The same for `l1` and ``weight_decay``.
    parametrization : {"standard", "ntk"}, default "standard"
        ``"ntk"`` trains the weights W of a layer with n inputs as if they were V / sqrt(n) and V
        the parameters, as in Jacot, Gabriel and Hongler, "Neural tangent kernel", NeurIPS 2018,
        section 2. The optimizer's settings are those of V, in which V has n times the decay if it
        is not decoupled; the network has W. Not for Adadelta, nor with `penalty`, `clip_norm`,
        `clip_value` and ``initial_accumulator_value``.
    penalty : float, optional
        L2 penalty as scikit-learn's ``alpha``: ``penalty / 2`` times the sum of squared weights,
        divided by the number of samples in the batch, is added to the batch's loss, and its
        gradient to the gradient. Not together with ``weight_decay``.
    clip_norm : float, optional
        Maximum Euclidean norm of the gradient of all parameters; a larger gradient is scaled
        down to it: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
        networks", ICML 2013, algorithm 1.
    clip_value : float, optional
        Every element of the gradient is clipped to [-clip_value, clip_value].
    accumulate : int, default 1
        Number of batches per step: gradients are accumulated, and their mean is used. The last
        step of an epoch uses the batches that remain.
    average : float, optional
        Decay, such as 0.999, of an exponential moving average of the parameters. Validation
        uses the averaged parameters, and the network has them after training. Polyak and
        Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on
        Control and Optimization 30, 1992; exponential as in Tarvainen and Valpola, "Mean
        teachers are better role models", NeurIPS 2017, section 2.

    Attributes
    ----------
    kernel : str
        Name of the update in the kernel table, or ``"sgd"``, which has no state.
    moment_storage : str
        How the moments are stored: ``"sum"`` if as exponentially decayed sums
        (mean = (1 - beta) * sum), ``"state"`` otherwise.
    hyper_names : tuple of str
        The arguments that the update takes, in the order of csrc/optimizers.h.
    decouples_decay : bool
        Whether the update applies ``weight_decay`` itself instead of adding it to the gradient.
    """

    kernel: ClassVar[str]
    moment_storage: ClassVar[str] = "state"
    hyper_names: ClassVar[tuple[str, ...]] = ()
    decouples_decay: ClassVar[bool] = False

    lr: float = checked_field(check_positive)
    _: KW_ONLY
    l1: float = checked_field(check_non_negative, 0.0)
    decay_bias: bool = checked_field(check_bool, True)
    penalty: float | None = checked_field(check_non_negative, None, optional=True)
    clip_norm: float | None = checked_field(check_positive, None, optional=True)
    clip_value: float | None = checked_field(check_positive, None, optional=True)
    accumulate: int = checked_field(check_integer, 1)
    average: float | None = checked_field(check_fraction, None, optional=True)
    lr_factors: dict[str, float] | None = checked_field(
        check_factors, None, optional=True, added_later=True
    )
    decay_factors: dict[str, float] | None = checked_field(
        check_factors, None, optional=True, added_later=True
    )
    parametrization: str = checked_field(check_parametrization, "standard", added_later=True)

    def __post_init__(self):
        check_fields(self)
        for name in ("lr_factors", "decay_factors"):
            factors = getattr(self, name) or {}
            object.__setattr__(self, name, {key: float(value) for key, value in factors.items()})
        if self.penalty is not None and self.l2:
            raise ValueError("penalty and weight_decay must not be given together")
        if self.parametrization == "ntk":
            self.check_ntk()

    def check_ntk(self):
        """Raise `ValueError` for an option that `parametrization="ntk"` excludes."""
        for name in ("penalty", "clip_norm", "clip_value", "initial_accumulator_value"):
            if getattr(self, name, None):
                raise ValueError(f"{name} must not be given with parametrization='ntk'")
        if self.kernel == "adadelta":
            raise ValueError("parametrization must be 'standard' for Adadelta; got 'ntk'")

    @property
    def states(self):
        """Number of state arrays; each has the layout of the parameters."""
        return 0 if self.kernel == "sgd" else kernels.OPTIMIZERS[self.kernel].states

    @property
    def initial_state(self):
        """Initial value of the first state array; the others start at 0."""
        return 0.0

    @property
    def hyper(self):
        """Hyperparameters of the update, in the order of csrc/optimizers.h; a tuple of float."""
        values = (getattr(self, name) for name in self.hyper_names)
        return tuple(float(x) for v in values for x in (v if isinstance(v, (tuple, list)) else [v]))

    @property
    def l2(self):
        """L2 coefficient: ``l2 * parameter`` is added to the gradient."""
        return 0.0 if self.decouples_decay else float(getattr(self, "weight_decay", 0.0))

    @property
    def decay(self):
        """Coefficient of decoupled decay."""
        return float(self.weight_decay) if self.decouples_decay else 0.0

    @property
    def has_extras(self):
        """Whether gradients are changed or accumulated, or parameters averaged or grouped."""
        is_processed = self.l1 or self.l2 or self.clip_norm or self.clip_value
        is_grouped = self.lr_factors or self.parametrization != "standard"
        return bool(
            is_processed
            or is_grouped
            or self.penalty is not None
            or self.accumulate > 1
            or self.average
        )


def check_betas(argument, value):
    """Raise unless `value` is a tuple or list of two numbers in [0, 1)."""
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise TypeError(f"{argument} must be two numbers; got {value!r}")
    for i, beta in enumerate(value):
        check_fraction(f"{argument}[{i}]", beta)


@dataclass(frozen=True, eq=False, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    With gradient g, velocity v and parameter w: v = momentum * v + (1 - dampening) * g (v = g in
    the first step), w -= lr * v, or w -= lr * (g + momentum * v) with `nesterov`.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Nesterov,
    1983, as in Sutskever et al., "On the importance of initialization and momentum in deep
    learning", ICML 2013, section 2.

    Parameters
    ----------
    lr : float, default 0.1
        Learning rate; positive and finite.
    momentum : float, default 0
        Decay factor of the velocity.
    dampening : float, default 0
        Fraction of a gradient that is not added to the velocity.
    nesterov : bool, default False
        Use Nesterov momentum; requires momentum > 0 and dampening = 0.
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    **options
        Keyword arguments of `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """

    hyper_names: ClassVar[tuple[str, ...]] = ("momentum", "dampening", "nesterov")

    lr: float = checked_field(check_positive, 0.1)
    momentum: float = checked_field(check_non_negative, 0.0)
    dampening: float = checked_field(check_non_negative, 0.0)
    nesterov: bool = checked_field(check_bool, False)
    weight_decay: float = checked_field(check_non_negative, 0.0)

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov must be False unless momentum is above 0 and dampening is 0; got True"
            )

    @property
    def kernel(self):
        """``"sgd"``, whose update is fused into the products, where it suffices."""
        return "momentum" if self.momentum or self.has_extras else "sgd"


@dataclass(frozen=True, eq=False, repr=False)
class Adam(Optimizer):
    """Adam: adaptive moment estimation.

    With bias-corrected estimates m and v of the gradient's first and second moment, the
    parameter w becomes w - lr * m / (sqrt(v) + eps).

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; with
    `amsgrad`, Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018,
    algorithm 2.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate; positive and finite.
    betas : tuple of two float, default (0.9, 0.999)
        Decay factors of the two moment estimates; each at least 0 and below 1.
    eps : float, default 1e-8
        Added to the denominator; positive and finite.
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    amsgrad : bool, default False
        Use the maximum of all second-moment estimates so far.
    **options
        Keyword arguments of `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """

    moment_storage: ClassVar[str] = "sum"
    hyper_names: ClassVar[tuple[str, ...]] = ("betas", "eps")

    lr: float = checked_field(check_positive, 1e-3)
    betas: tuple[float, float] = checked_field(check_betas, (0.9, 0.999))
    eps: float = checked_field(check_positive, 1e-8)
    weight_decay: float = checked_field(check_non_negative, 0.0)
    amsgrad: bool = checked_field(check_bool, False)

    @property
    def kernel(self):
        """``"adam"``, or ``"amsgrad"``, which stores the maximum as a third state array."""
        return "amsgrad" if self.amsgrad else "adam"


@dataclass(frozen=True, eq=False, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Parameters
    ----------
    lr, betas, eps, amsgrad
        As for `Adam`.
    weight_decay : float, default 0.01
        Decoupled: each step first multiplies the parameters by 1 - lr * weight_decay.
    **options
        Keyword arguments of `Optimizer`.
    """

    decouples_decay: ClassVar[bool] = True

    weight_decay: float = checked_field(check_non_negative, 1e-2)

    @property
    def kernel(self):
        """``"adamw"``, or ``"amsgrad"``, which supports decoupled decay too."""
        return "amsgrad" if self.amsgrad else "adamw"


@dataclass(frozen=True, eq=False, repr=False)
class NAdam(Optimizer):
    """Adam with Nesterov momentum.

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 8.

    Parameters
    ----------
    lr : float, default 0.002
        Learning rate; positive and finite.
    betas, eps, weight_decay
        As for `Adam`.
    momentum_decay : float, default 0.004
        Rate of the momentum schedule: the momentum of step t, counted from 1, is
        betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay)).
    **options
        Keyword arguments of `Optimizer`.
    """

    kernel: ClassVar[str] = "nadam"
    moment_storage: ClassVar[str] = "sum"
    hyper_names: ClassVar[tuple[str, ...]] = ("betas", "eps", "momentum_decay")

    lr: float = checked_field(check_positive, 2e-3)
    betas: tuple[float, float] = checked_field(check_betas, (0.9, 0.999))
    eps: float = checked_field(check_positive, 1e-8)
    weight_decay: float = checked_field(check_non_negative, 0.0)
    momentum_decay: float = checked_field(check_non_negative, 4e-3)


@dataclass(frozen=True, eq=False, repr=False)
class RMSprop(Optimizer):
    """RMSprop: the gradient is divided by the root of a moving average of its square.

    Hinton, "Neural networks for machine learning", lecture 6e, 2012; `centered` as in Graves,
    "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013, eq. 40.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate; positive and finite.
    alpha : float, default 0.99
        Decay factor of the moving average; at least 0 and below 1.
    eps : float, default 1e-8
        Added to the denominator; positive and finite.
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    momentum : float, default 0
        Decay factor of the velocity, the sum of scaled gradients.
    centered : bool, default False
        Divide by the estimated standard deviation of the gradient instead.
    **options
        Keyword arguments of `Optimizer`.
    """

    kernel: ClassVar[str] = "rmsprop"
    hyper_names: ClassVar[tuple[str, ...]] = ("alpha", "eps", "momentum", "centered")

    lr: float = checked_field(check_positive, 1e-2)
    alpha: float = checked_field(check_fraction, 0.99)
    eps: float = checked_field(check_positive, 1e-8)
    weight_decay: float = checked_field(check_non_negative, 0.0)
    momentum: float = checked_field(check_non_negative, 0.0)
    centered: bool = checked_field(check_bool, False)


@dataclass(frozen=True, eq=False, repr=False)
class Adagrad(Optimizer):
    """Adagrad: the gradient is divided by the root of the sum of all squared gradients.

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011, section 1.1.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate; positive and finite.
    lr_decay : float, default 0
        The learning rate of step t, counted from 0, is lr / (1 + t * lr_decay).
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    initial_accumulator_value : float, default 0
        Initial value of the sum of squares.
    eps : float, default 1e-10
        Added to the denominator; positive and finite.
    **options
        Keyword arguments of `Optimizer`.
    """

    kernel: ClassVar[str] = "adagrad"
    hyper_names: ClassVar[tuple[str, ...]] = ("lr_decay", "eps")

    lr: float = checked_field(check_positive, 1e-2)
    lr_decay: float = checked_field(check_non_negative, 0.0)
    weight_decay: float = checked_field(check_non_negative, 0.0)
    initial_accumulator_value: float = checked_field(check_non_negative, 0.0)
    eps: float = checked_field(check_positive, 1e-10)

    @property
    def initial_state(self):
        """Initial value of the sum of squares."""
        return self.initial_accumulator_value


@dataclass(frozen=True, eq=False, repr=False)
class Adadelta(Optimizer):
    """Adadelta: updates scaled by the root mean squares of earlier updates and gradients.

    Zeiler, "Adadelta: an adaptive learning rate method", arXiv:1212.5701, 2012, algorithm 1.

    Parameters
    ----------
    lr : float, default 1.0
        Factor of the update; positive and finite.
    rho : float, default 0.9
        Decay factor of the two moving averages; at least 0 and below 1.
    eps : float, default 1e-6
        Added to both averages; positive and finite.
    weight_decay : float, default 0
        L2 coefficient: ``weight_decay * parameter`` is added to the gradient.
    **options
        Keyword arguments of `Optimizer`.
    """

    kernel: ClassVar[str] = "adadelta"
    hyper_names: ClassVar[tuple[str, ...]] = ("rho", "eps")

    lr: float = checked_field(check_positive, 1.0)
    rho: float = checked_field(check_fraction, 0.9)
    eps: float = checked_field(check_positive, 1e-6)
    weight_decay: float = checked_field(check_non_negative, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class Lion(Optimizer):
    """Lion: the update is the learning rate times the sign of interpolated momentum.

    With gradient g, momentum m and parameter w: w = (1 - lr * weight_decay) * w -
    lr * sign(b0 * m + (1 - b0) * g), then m = b1 * m + (1 - b1) * g, b0 and b1 being the betas.
    The sign of 0 is 0: a parameter whose gradients have all been 0 is only decayed.

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.

    Parameters
    ----------
    lr : float, default 1e-4
        Learning rate; positive and finite.
    betas : tuple of two float, default (0.9, 0.99)
        Decay factors of the momentum, in the update and in the state; each at least 0 and
        below 1.
    weight_decay : float, default 0
        Decoupled: each step also multiplies the parameters by 1 - lr * weight_decay.
    **options
        Keyword arguments of `Optimizer`.
    """

    kernel: ClassVar[str] = "lion"
    hyper_names: ClassVar[tuple[str, ...]] = ("betas",)
    decouples_decay: ClassVar[bool] = True

    lr: float = checked_field(check_positive, 1e-4)
    betas: tuple[float, float] = checked_field(check_betas, (0.9, 0.99))
    weight_decay: float = checked_field(check_non_negative, 0.0)


OPTIMIZERS = {
    kind.__name__.lower(): kind
    for kind in (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Adadelta, Lion)
}
