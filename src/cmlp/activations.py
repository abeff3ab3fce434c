"""Activation functions.

A name selects an activation with its default parameter; `leaky_relu`, `elu` and `celu` return
one with another parameter. `parametric` and `prelu` return one with a factor for each unit that
training learns. With z the pre-activation:

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
``"prelu"``          z if z >= 0, else alpha z; hidden layers only          He 2015
``"parametric_f"``   z + alpha (f(z) - z) for the name f of one of the      Holzmüller 2024
                     above but identity and softmax; hidden layers only
===================  =====================================================  =================

References
----------
Rumelhart, Hinton and Williams, Nature 323, 1986, eq. 2. LeCun et al., "Efficient BackProp",
1998, section 4.4. Collobert, PhD thesis, Paris 6, 2004. Nair and Hinton, ICML 2010. Maas,
Hannun and Ng, ICML workshop 2013, section 2. Clevert, Unterthiner and Hochreiter, ICLR 2016,
eq. 15. Klambauer et al., NeurIPS 2017, eq. 2. Barron, arXiv:1704.07483, 2017, eq. 2. Hendrycks
and Gimpel, arXiv:1606.08415, 2016, section 2. Elfwing, Uchibe and Doya, Neural Networks 107,
2018, eq. 5. Misra, BMVC 2020, eq. 1. Dugas et al., NeurIPS 2000, section 3. Glorot and Bengio,
AISTATS 2010, section 3. Bridle, Neurocomputing, 1990, section 2.2. He et al., ICCV 2015, eq. 1.
Holzmüller, Grinsztajn and Steinwart, NeurIPS 2024, section 3.
"""

from dataclasses import dataclass, replace

from cmlp._core import kernels
from cmlp._utils.fields import Record
from cmlp._utils.validation import check_finite_number, check_non_negative, check_positive, look_up

__all__ = ["Activation", "celu", "elu", "leaky_relu", "parametric", "prelu"]


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
    base : Activation or None
        The function f of a parametric activation; relu for prelu. None for other activations.
    alpha : float
        First value of the learned factors of a parametric activation.
    """

    name: str
    init: str = "glorot_uniform"
    hidden: bool = True
    parameter: float = 0.0
    base: "Activation | None" = None
    alpha: float = 0.0

    @property
    def code(self):
        """The code in the kernel table, of `base` if the activation is parametric."""
        return kernels.ACTIVATIONS[(self.base or self).name].code

    @property
    def parametric(self):
        """How the kernels use the learned factors; 0 if there are none."""
        if self.base is None:
            return 0
        return kernels.INVERSE_BLEND if self.name == "prelu" else kernels.BLEND

    @property
    def threshold(self):
        """A classifier with a single output predicts class 1 if the output is at least this."""
        return kernels.ACTIVATIONS[(self.base or self).name].threshold

    @property
    def header(self):
        """The name, or a list with the parameters that differ from the defaults, for files.

        The list is [name, parameter] or, for parametric activations, ["prelu", alpha] or
        ["parametric", header of `base`, alpha].
        """
        if self == (ACTIVATIONS | PARAMETRIC).get(self.name):
            return self.name
        if self.base is None:
            return [self.name, self.parameter]
        return (
            ["prelu", self.alpha]
            if self.name == "prelu"
            else ["parametric", self.base.header, self.alpha]
        )


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


def prelu(slope=0.25):
    """Return the rectifier whose slope for negative z each unit learns.

    He et al., "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", ICCV 2015, eq. 1.

    Parameters
    ----------
    slope : float, default 0.25
        First value of the slopes, the tensors `alpha`; finite.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not a finite number.
    """
    check_finite_number("slope", slope)
    relu = ACTIVATIONS["relu"]
    return replace(relu, name="prelu", base=relu, alpha=float(slope))


def parametric(activation, alpha=1.0):
    """Return the activation z + alpha (f(z) - z), whose alpha each unit learns.

    Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS 2024, section 3.

    Parameters
    ----------
    activation : str, Activation, or (str, float)
        The function f, one that hidden layers may use, neither identity nor parametric.
    alpha : float, default 1
        First value of the tensors `alpha`; finite. 1 is f, 0 the identity.

    Raises
    ------
    TypeError, ValueError
        If `activation` is none of these, or `alpha` is not a finite number.
    """
    allowed = {name: a for name, a in ACTIVATIONS.items() if a.hidden and name != "identity"}
    base = resolve_activation("activation", activation, allowed)
    check_finite_number("alpha", alpha)
    return replace(base, name=f"parametric_{base.name}", base=base, alpha=float(alpha))


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
    activation : Activation, str, or sequence
        An activation, its name, its name and parameter, or a list as `Activation.header`.
    table : dict of str to Activation
        The allowed activations by name.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, unknown, or has an invalid parameter.
    """
    if isinstance(activation, (list, tuple)) and len(activation) in (2, 3):
        name, *values = activation
        learned = {"prelu": prelu, "parametric": parametric}
        makers = WITH_PARAMETER | learned if len(values) == 1 else {"parametric": parametric}
        activation = look_up(argument, name, makers)(*values)
    if isinstance(activation, Activation):
        look_up(argument, activation.name, table)
        return activation
    return look_up(argument, activation, table)


# The parametric activations with default factors, by name; hidden layers may use them.
PARAMETRIC = {
    each.name: each
    for each in (
        prelu(),
        *(parametric(a) for a in ACTIVATIONS.values() if a.hidden and a.name != "identity"),
    )
}
