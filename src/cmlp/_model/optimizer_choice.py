"""Optimizers by their names and by their descriptions in files."""

from cmlp._utils.validation import look_up
from cmlp.lbfgs import LBFGS
from cmlp.optimizers import OPTIMIZERS, Adam, Optimizer


def resolve_optimizer(optimizer):
    """Return an optimizer, given as an object or by name; None selects ``Adam()``.

    Raises
    ------
    TypeError, ValueError
        If it is not an instance of an optimizer class of cmlp, or not the name of one.
    """
    if optimizer is None:
        return Adam()
    if isinstance(optimizer, str):
        return look_up("optimizer", optimizer, {**OPTIMIZERS, "lbfgs": LBFGS})()
    if not isinstance(optimizer, (Optimizer, LBFGS)):
        names = ", ".join([kind.__name__ for kind in OPTIMIZERS.values()] + ["LBFGS"])
        raise TypeError(
            f"optimizer must be a name or an instance of one of {names}; got {optimizer!r}"
        )
    return optimizer


def parse_optimizer(text):
    """Return the optimizer that `Record.describe` has described.

    Raises
    ------
    ValueError
        If the text is not such a description.
    """
    import ast  # few calls need it

    try:
        call = ast.parse(text, mode="eval").body
        kind = OPTIMIZERS[call.func.id.lower()]
        return kind(**{each.arg: ast.literal_eval(each.value) for each in call.keywords})
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"the text of an optimizer must be a call of its class; got {text!r}") \
            from error  # fmt: skip
