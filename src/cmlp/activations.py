"""Activations: what a layer makes of its input sums.

A name stands for an activation with its usual parameter; `leaky_relu`, `elu` and `celu` make
others. With z an input sum:

===================  =====================================================  =================
name                 value                                                  source
===================  =====================================================  =================
``"identity"``       z
``"sigmoid"``        1 / (1 + exp(-z))                                      Rumelhart 1986
``"hard_sigmoid"``   z / 6 + 1/2, kept within 0 and 1                       as PyTorch, Keras
``"tanh"``           tanh z                                                 LeCun 1998
``"hard_tanh"``      z, kept within -1 and 1                                Collobert 2004
``"relu"``           max(0, z)                                              Nair 2010
``"leaky_relu"``     z, below 0 slope z; slope 0.01                         Maas 2013
``"elu"``            z, below 0 alpha (exp z - 1); alpha 1                  Clevert 2016
``"selu"``           1.0507 times elu of alpha 1.6733                       Klambauer 2017
``"celu"``           z, below 0 alpha (exp(z / alpha) - 1); alpha 1         Barron 2017
``"gelu"``           z (1 + erf(z / sqrt 2)) / 2                            Hendrycks 2016
``"gelu_tanh"``      z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2        Hendrycks 2016
``"silu"``           z sigmoid(z)                                           Elfwing 2018
``"mish"``           z tanh(log(1 + exp z))                                 Misra 2020
``"softplus"``       log(1 + exp z)                                         Dugas 2001
``"softsign"``       z / (1 + abs(z))                                       Glorot 2010
``"softmax"``        exp z over their sum in the layer; of outputs alone    Bridle 1990
===================  =====================================================  =================

Rumelhart, Hinton and Williams, Nature 323, 1986, eq. 2. LeCun et al., "Efficient BackProp",
1998, section 4.4. Collobert, PhD thesis, Paris 6, 2004. Nair and Hinton, ICML 2010. Maas,
Hannun and Ng, ICML workshop 2013, section 2. Clevert, Unterthiner and Hochreiter, ICLR 2016,
eq. 15. Klambauer et al., NeurIPS 2017, eq. 2. Barron, arXiv:1704.07483, 2017, eq. 2. Hendrycks
and Gimpel, arXiv:1606.08415, 2016, section 2. Elfwing, Uchibe and Doya, Neural Networks 107,
2018, eq. 5. Misra, BMVC 2020, eq. 1. Dugas et al., NeurIPS 2000, section 3. Glorot and Bengio,
AISTATS 2010, section 3. Bridle, Neurocomputing, 1990, section 2.2.
"""

from dataclasses import dataclass, replace

from cmlp._core import kernels
from cmlp.checks import check_not_negative, check_positive, look_up


@dataclass(frozen=True)
class Activation:
    """An activation function.

    Attributes
    ----------
    name : str
    init : str
        The initializer that suits it.
    hidden : bool
        Whether a hidden layer may have it.
    parameter : float
        Its slope or alpha, where it has one.
    """

    name: str
    init: str = "glorot_uniform"
    hidden: bool = True
    parameter: float = 0.0

    @property
    def code(self):
        """The number that compiled code knows it by."""
        return kernels.ACTIVATIONS.index(self.name)

    @property
    def header(self):
        """Its name or, where its parameter is not the usual one, a list of both."""
        usual = self.parameter == ACTIVATIONS[self.name].parameter
        return self.name if usual else [self.name, self.parameter]


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("identity"),
        Activation("sigmoid"),
        Activation("hard_sigmoid"),
        Activation("tanh"),
        Activation("hard_tanh"),
        Activation("relu", init="he_normal"),
        Activation("leaky_relu", init="he_normal", parameter=0.01),
        Activation("elu", init="he_normal", parameter=1.0),
        Activation("selu", init="lecun_normal"),
        Activation("celu", init="he_normal", parameter=1.0),
        Activation("gelu", init="he_normal"),
        Activation("gelu_tanh", init="he_normal"),
        Activation("silu", init="he_normal"),
        Activation("mish", init="he_normal"),
        Activation("softplus"),
        Activation("softsign"),
        Activation("softmax", hidden=False),
    )
}


def leaky_relu(slope=0.01):
    """Return the leaky rectifier of this slope below zero, which is not negative."""
    check_not_negative("slope", slope)
    return replace(ACTIVATIONS["leaky_relu"], parameter=float(slope))


def elu(alpha=1.0):
    """Return the exponential linear unit that falls to -`alpha`, which is positive."""
    check_positive("alpha", alpha)
    return replace(ACTIVATIONS["elu"], parameter=float(alpha))


def celu(alpha=1.0):
    """Return the continuously differentiable one that falls to -`alpha`, which is positive."""
    check_positive("alpha", alpha)
    return replace(ACTIVATIONS["celu"], parameter=float(alpha))


WITH_PARAMETER = {"leaky_relu": leaky_relu, "elu": elu, "celu": celu}


def checked_activation(argument, activation, table=ACTIVATIONS):
    """Return an `Activation`, given one, its name, or its name and parameter."""
    if isinstance(activation, Activation):
        look_up(argument, activation.name, table)
        return activation
    if isinstance(activation, (list, tuple)) and len(activation) == 2:
        name, parameter = activation
        return look_up(argument, name, WITH_PARAMETER)(parameter)
    return look_up(argument, activation, table)
