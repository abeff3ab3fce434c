"""Activation functions.

A name selects an activation with its default parameter; `leaky_relu`, `elu` and `celu` return
one with another parameter. With z the pre-activation:

===================  =====================================================  =================
name                 value                                                  source
===================  =====================================================  =================
``"identity"``       z
``"sigmoid"``        1 / (1 + exp(-z))                                      Rumelhart 1986
``"hard_sigmoid"``   min(max(z / 6 + 1/2, 0), 1)                            as in PyTorch, Keras
``"tanh"``           tanh(z)                                                LeCun 1998
``"hard_tanh"``      min(max(z, -1), 1)                                     Collobert 2004
``"relu"``           max(z, 0)                                              Nair 2010
``"leaky_relu"``     z if z >= 0, else slope z; slope = 0.01                Maas 2013
``"elu"``            z if z >= 0, else alpha (exp(z) - 1); alpha = 1        Clevert 2016
``"selu"``           1.0507 elu(z) with alpha = 1.6733                      Klambauer 2017
``"celu"``           z if z >= 0, else alpha (exp(z / alpha) - 1);          Barron 2017
                     alpha = 1
``"gelu"``           z (1 + erf(z / sqrt(2))) / 2                           Hendrycks 2016
``"gelu_tanh"``      z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2      Hendrycks 2016
``"silu"``           z sigmoid(z)                                           Elfwing 2018
``"mish"``           z tanh(log(1 + exp(z)))                                Misra 2020
``"softplus"``       log(1 + exp(z))                                        Dugas 2001
``"softsign"``       z / (1 + abs(z))                                       Glorot 2010
``"softmax"``        exp(z_j) / sum_k exp(z_k) over the units of the        Bridle 1990
                     layer; output layer only
===================  =====================================================  =================

References
----------
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
from cmlp._utils.fields import Record
from cmlp._utils.validation import check_non_negative, check_positive, look_up


@dataclass(frozen=True, eq=False, repr=False)
class Activation(Record):
    """An activation function: a name of the kernel table and a parameter.

    Attributes
    ----------
    name : str
    init : str
        The initializer that ``init="auto"`` selects for a layer with this activation.
    hidden : bool
        Whether hidden layers may use it; the output layer may use any activation.
    parameter : float
        The slope of `leaky_relu`, the alpha of `elu` and `celu`; 0 and unused for the others.
    """

    name: str
    init: str = "glorot_uniform"
    hidden: bool = True
    parameter: float = 0.0

    @property
    def code(self):
        """The code of the activation in the kernel table."""
        return kernels.ACTIVATIONS[self.name].code

    @property
    def threshold(self):
        """A classifier with a single output predicts class 1 if the output is at least this."""
        return kernels.ACTIVATIONS[self.name].threshold

    @property
    def header(self):
        """The name, or [name, parameter] if the parameter is not the default, for files."""
        is_default = self.parameter == ACTIVATIONS[self.name].parameter
        return self.name if is_default else [self.name, self.parameter]


ACTIVATIONS = {
    activation.name: activation
    for activation in (
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
    """Return the leaky rectifier: z if z >= 0, else `slope` z.

    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models",
    ICML workshop on deep learning for audio, speech and language processing, 2013, section 2.

    Parameters
    ----------
    slope : float, default 0.01
        The slope for negative z; finite and at least 0.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not a number, or negative or not finite.
    """
    check_non_negative("slope", slope)
    return replace(ACTIVATIONS["leaky_relu"], parameter=float(slope))


def elu(alpha=1.0):
    """Return the exponential linear unit: z if z >= 0, else `alpha` (exp(z) - 1).

    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units (ELUs)", ICLR 2016, eq. 15.

    Parameters
    ----------
    alpha : float, default 1
        Minus the limit for z towards minus infinity; positive and finite.

    Raises
    ------
    TypeError, ValueError
        If `alpha` is not a number, or not positive and finite.
    """
    check_positive("alpha", alpha)
    return replace(ACTIVATIONS["elu"], parameter=float(alpha))


def celu(alpha=1.0):
    """Return the continuously differentiable ELU: z if z >= 0, else `alpha` (exp(z / `alpha`) - 1).

    Barron, "Continuously differentiable exponential linear units", arXiv:1704.07483, 2017,
    eq. 2.

    Parameters
    ----------
    alpha : float, default 1
        Minus the limit for z towards minus infinity; positive and finite.

    Raises
    ------
    TypeError, ValueError
        If `alpha` is not a number, or not positive and finite.
    """
    check_positive("alpha", alpha)
    return replace(ACTIVATIONS["celu"], parameter=float(alpha))


# Name of an activation with a parameter, by the kernel table -> the function above.
WITH_PARAMETER = {
    name: globals()[name] for name, info in kernels.ACTIVATIONS.items() if info.parameters
}


def resolve_activation(argument, activation, table=ACTIVATIONS):
    """Return the `Activation` that an argument selects.

    Parameters
    ----------
    argument : str
        The argument's name, for error messages.
    activation : Activation, str, or (str, float)
        An activation, its name, or its name and parameter.
    table : dict of str to Activation
        The allowed activations by name.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, unknown, or has an invalid parameter.
    """
    if isinstance(activation, Activation):
        look_up(argument, activation.name, table)
        return activation
    if isinstance(activation, (list, tuple)) and len(activation) == 2:
        name, parameter = activation
        return look_up(argument, name, WITH_PARAMETER)(parameter)
    return look_up(argument, activation, table)
