"""Arguments of arguments, such as ``optimizer__lr``, for scikit-learn's searches."""

from dataclasses import fields, replace

from cmlp._utils.fields import Record
from cmlp._utils.validation import look_up
from cmlp.normalizations import NORMALIZATIONS
from cmlp.optimizers import OPTIMIZERS
from cmlp.schedules import NAMES

NAMED = {
    "optimizer": {name: kind() for name, kind in OPTIMIZERS.items()},
    "normalization": {name: kind() for name, kind in NORMALIZATIONS.items()},
    **dict.fromkeys(("schedule", "decay_schedule", "dropout_schedule"), NAMES),
}


def get_named(name, value):
    """Return the object that an argument names; other values are returned as they are."""
    return NAMED[name].get(value, value) if isinstance(value, str) else value


def replace_arguments(name, value, values):
    """Return the object `value` of an argument with other arguments, a dict."""
    value = get_named(name, value)
    if not isinstance(value, Record):
        raise ValueError(
            f"{name} must be an object of cmlp or its name to set "
            f"{name}__{next(iter(values))}; got {value!r}"
        )
    for argument in values:
        look_up(f"an argument of {name}", argument, {each.name: None for each in fields(value)})
    return replace(value, **values)


class NestedArguments:
    """Give an estimator the arguments of its optimizer, normalization and schedules.

    These are frozen: `set_params` replaces them.
    """

    def get_params(self, deep=True):
        """Return the arguments of the estimator, a dict.

        Parameters
        ----------
        deep : bool, default True
            Whether to return those of `optimizer`, `normalization` and the schedules too, as
            ``optimizer__lr``.
        """
        params = super().get_params(deep)
        for name in NAMED if deep else ():
            value = get_named(name, params.get(name))  # a subclass may not have it
            if isinstance(value, Record):
                params |= {f"{name}__{each.name}": getattr(value, each.name)
                           for each in fields(value)}  # fmt: skip
        return params

    def set_params(self, **params):
        """Set arguments of the estimator, and of its optimizer, normalization and schedules.

        Parameters
        ----------
        **params
            ``optimizer__lr=0.01`` replaces `optimizer` by one that differs in `lr`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If there is no such argument, or its value is not allowed.
        """
        nested = {key: value for key, value in params.items()
                  if "__" in key and key.partition("__")[0] in NAMED}  # fmt: skip
        own = {key: value for key, value in params.items() if key not in nested}
        changes: dict[str, dict] = {}
        for key, value in nested.items():
            name, _, argument = key.partition("__")
            changes.setdefault(name, {})[argument] = value
        replaced = {
            name: replace_arguments(name, own.get(name, getattr(self, name)), values)
            for name, values in changes.items()
        }
        super().set_params(**own)
        for name, value in replaced.items():
            setattr(self, name, value)
        return self
