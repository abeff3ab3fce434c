"""Optimizers: what turns the gradient of a batch into a step.

Each is a small frozen dataclass, with the arguments, the defaults but for SGD's rate, and
the numbers of PyTorch's of the same name where there is one; `Optimizer` has what all take
beside these, as keywords. What they keep for each parameter begins anew with every call of
`fit`.
"""

from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

from cmlp.checks import (
    check_fraction,
    check_not_negative,
    check_positive,
    check_switch,
    check_whole,
)


@dataclass(frozen=True)
class Optimizer:
    """What all have in common: what is done to gradients first, and to parameters last.

    Parameters
    ----------
    lr : float
        The learning rate; positive and finite.
    l1 : float, default 0
        L1: so much of each parameter's sign is added to its gradient.
    decay_bias : bool, default True
        Whether `l1` and `weight_decay` are also for biases and the scales of normalisations.
    penalty : float, optional
        L2 as scikit-learn's alpha: half of this times the sum of all squared weights, over the
        samples of a batch, is part of the batch's loss, and its gradient of theirs.
    clip_norm : float, optional
        The gradient of all parameters together is scaled down to this norm where it is greater:
        Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1.
    clip_value : float, optional
        Each element of the gradient is brought within -`clip_value` and `clip_value`.
    accumulate : int, default 1
        So many batches make one step, by the mean of their gradients; at the end of an epoch
        fewer may.
    average : float, optional
        The decay of an exponential moving average of the parameters, such as 0.999, which
        validation and, after training, the network have in their place: Polyak and Juditsky,
        SIAM J. Control and Optimization 30, 1992, as Tarvainen and Valpola, NeurIPS 2017,
        section 2, give it.

    Attributes
    ----------
    kernel : str
        What compiled code calls it; ``"sgd"`` is the update without state.
    states : int
        How many numbers it keeps for each parameter.
    keeps : str
        What those are: ``"sum"`` where they are running sums, ``beta`` of which a step keeps, in
        the place of running means, which are ``1 - beta`` times those; else ``"state"``.
    hyper : tuple of float
        What compiled code takes, in its order.
    l2 : float
        How much of each parameter is added to its gradient.
    """

    kernel: ClassVar[str]
    states: ClassVar[int]
    keeps: ClassVar[str] = "state"

    lr: float
    l1: float = field(default=0.0, kw_only=True)
    decay_bias: bool = field(default=True, kw_only=True)
    penalty: float | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    accumulate: int = field(default=1, kw_only=True)
    average: float | None = field(default=None, kw_only=True)

    def __post_init__(self):
        for each in fields(self):
            check_hyperparameter(each.name, getattr(self, each.name))
        if self.penalty is not None and self.l2:
            raise ValueError("penalty and weight_decay exclude each other")

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return ()

    @property
    def shapes(self):
        """Whether something is done to gradients or parameters that plain descent has not."""
        return bool(
            self.l1 or self.l2 or self.clip_norm or self.clip_value or self.average
            or self.accumulate > 1 or self.penalty is not None
        )  # fmt: skip

    @property
    def of_biases(self):
        """The same for biases and scales: without decay, if they are spared it."""
        if self.decay_bias:
            return self
        return replace(self, l1=0.0, weight_decay=0.0)

    @property
    def l2(self):
        """How much of each parameter is added to its gradient."""
        return float(getattr(self, "weight_decay", 0.0))

    @property
    def initial(self):
        """What the first of its states begins with."""
        return 0.0


POSITIVE = ("lr", "eps", "clip_norm", "clip_value")
FRACTIONS = ("alpha", "rho", "average")
SWITCHES = ("nesterov", "amsgrad", "centered", "decay_bias")
OPTIONAL = ("penalty", "clip_norm", "clip_value", "average")


def check_hyperparameter(name, value):
    """Raise unless the value is one that an argument of this name may have."""
    if name in OPTIONAL and value is None:
        return
    if name in SWITCHES:
        check_switch(name, value)
    elif name == "accumulate":
        check_whole(name, value)
    elif name in POSITIVE:
        check_positive(name, value)
    elif name == "betas":
        if not (isinstance(value, (tuple, list)) and len(value) == 2):
            raise TypeError(f"betas must be two numbers, got {value!r}")
        for i, beta in enumerate(value):
            check_fraction(f"betas[{i}]", beta)
    elif name in FRACTIONS:
        check_fraction(name, value)
    else:
        check_not_negative(name, value)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: each batch subtracts `lr` times its mean gradient.

    With momentum, Polyak (1964) and Nesterov (1983) in the form of Sutskever et al., "On the
    importance of initialization and momentum in deep learning", ICML 2013, section 2.

    Parameters
    ----------
    lr : float, default 0.1
        The learning rate; positive and finite.
    momentum : float, default 0
        What a step keeps of the running sum of gradients.
    dampening : float, default 0
        What is left out of a gradient that joins the sum.
    nesterov : bool, default False
        Whether the gradient counts once more beside the sum.
    weight_decay : float, default 0
        L2: so much of each parameter is added to its gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of its range; Nesterov's form needs a momentum
        and no dampening.
    """

    lr: float = 0.1
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov=True needs a momentum above 0 and a dampening of 0")

    @property
    def kernel(self):
        """Plain where nothing is kept and gradients are taken as they come."""
        return "momentum" if self.momentum or self.shapes else "sgd"

    @property
    def states(self):
        """The running sum, unless it is plain."""
        return int(self.kernel == "momentum")

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return self.momentum, self.dampening, self.nesterov


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; with
    `amsgrad`, Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018,
    algorithm 2.

    Parameters
    ----------
    lr : float, default 0.001
        The learning rate; positive and finite.
    betas : tuple of two float, default (0.9, 0.999)
        What of the two means a step keeps; each at least 0 and below 1.
    eps : float, default 1e-8
        Added to the root of the mean square; positive and finite.
    weight_decay : float, default 0
        L2: so much of each parameter is added to its gradient.
    amsgrad : bool, default False
        Whether the greatest mean square so far counts instead of the latest.

    Raises
    ------
    TypeError, ValueError
        If an argument is no number, or out of its range.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    keeps: ClassVar[str] = "sum"

    @property
    def kernel(self):
        """AMSGrad keeps one number more."""
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def states(self):
        """The two means, and the greatest mean square."""
        return 3 if self.amsgrad else 2

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return (*self.betas, self.eps)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose weight decay is decoupled from the gradient.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Parameters
    ----------
    lr, betas, eps, amsgrad
        As in `Adam`.
    weight_decay : float, default 0.01
        Each step first takes `lr` times so much of each parameter away.
    """

    weight_decay: float = 1e-2

    @property
    def kernel(self):
        """AMSGrad's kernel can do both."""
        return "amsgrad" if self.amsgrad else "adamw"

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return (*self.betas, self.eps, self.weight_decay)

    @property
    def l2(self):
        """The gradient is left as it is."""
        return 0.0


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 8.

    Parameters
    ----------
    lr : float, default 0.002
    betas, eps, weight_decay
        As in `Adam`.
    momentum_decay : float, default 0.004
        How fast the first beta grows towards its value.
    """

    kernel: ClassVar[str] = "nadam"
    states: ClassVar[int] = 2
    keeps: ClassVar[str] = "sum"

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return (*self.betas, self.eps, self.momentum_decay)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps scaled by a running mean of the squared gradient.

    Hinton, "Neural networks for machine learning", lecture 6e, 2012; centered as Graves,
    "Generating sequences with recurrent neural networks", arXiv:1308.0850, 2013, eq. 40.

    Parameters
    ----------
    lr : float, default 0.01
    alpha : float, default 0.99
        What of the mean a step keeps; at least 0 and below 1.
    eps : float, default 1e-8
    weight_decay : float, default 0
        L2: so much of each parameter is added to its gradient.
    momentum : float, default 0
        What a step keeps of the running sum of scaled gradients.
    centered : bool, default False
        Whether the variance counts instead of the mean square.
    """

    kernel: ClassVar[str] = "rmsprop"
    states: ClassVar[int] = 3

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return self.alpha, self.eps, self.momentum, self.centered


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients.

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011, section 1.1.

    Parameters
    ----------
    lr : float, default 0.01
    lr_decay : float, default 0
        The rate of step t, from 0, is divided by 1 + t lr_decay.
    weight_decay : float, default 0
        L2: so much of each parameter is added to its gradient.
    initial_accumulator_value : float, default 0
        What the sum begins with.
    eps : float, default 1e-10
    """

    kernel: ClassVar[str] = "adagrad"
    states: ClassVar[int] = 1

    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return self.lr_decay, self.eps

    @property
    def initial(self):
        """What the sum begins with."""
        return self.initial_accumulator_value


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in the units of the parameters, without a learning rate to choose.

    Zeiler, "Adadelta: an adaptive learning rate method", arXiv:1212.5701, 2012, algorithm 1.

    Parameters
    ----------
    lr : float, default 1.0
        What a step is multiplied by.
    rho : float, default 0.9
        What of the two means a step keeps; at least 0 and below 1.
    eps : float, default 1e-6
    weight_decay : float, default 0
        L2: so much of each parameter is added to its gradient.
    """

    kernel: ClassVar[str] = "adadelta"
    states: ClassVar[int] = 2

    lr: float = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return self.rho, self.eps


@dataclass(frozen=True)
class Lion(Optimizer):
    """Steps of one size, by the sign of a running mean of the gradient.

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.

    Parameters
    ----------
    lr : float, default 1e-4
    betas : tuple of two float, default (0.9, 0.99)
        What the step's direction, and what the mean, keep of the mean before.
    weight_decay : float, default 0
        Decoupled: each step also takes `lr` times so much of each parameter away.
    """

    kernel: ClassVar[str] = "lion"
    states: ClassVar[int] = 1

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    @property
    def hyper(self):
        """The numbers that compiled code takes, in its order."""
        return (*self.betas, self.weight_decay)

    @property
    def l2(self):
        """The gradient is left as it is."""
        return 0.0


OPTIMIZERS = {
    kind.__name__.lower(): kind
    for kind in (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Adadelta, Lion)
}
