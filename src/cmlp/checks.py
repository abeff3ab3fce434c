"""The checks of arguments that all rooms share."""

import math
from difflib import get_close_matches
from importlib import import_module

import numpy as np


def look_up(argument, name, table):
    """Return `table[name]`; an unknown name raises with the nearest valid one."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a name, got {name!r} ({type(name).__name__})")
    if name not in table:
        near = get_close_matches(name, table, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{argument}={name!r} is unknown{hint}; allowed are {', '.join(table)}")
    return table[name]


def check_number(argument, value):
    """Raise unless `value` is a real number, which a bool is not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{argument} must be a number, got {value!r} ({type(value).__name__})")


def check_positive(argument, value):
    """Raise unless `value` is a positive, finite number."""
    check_number(argument, value)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{argument} must be positive and finite, got {value!r}")


def check_whole(argument, value, least=1):
    """Return `value` as an int; raise unless it is a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{argument} must be a whole number, got {value!r} ({type(value).__name__})"
        )
    if value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")
    return int(value)


def check_fraction(argument, value):
    """Raise unless `value` is a number from 0 to below 1."""
    check_number(argument, value)
    if not 0 <= value < 1:
        raise ValueError(f"{argument} must be at least 0 and below 1, got {value!r}")


def check_not_negative(argument, value):
    """Raise unless `value` is a finite number of at least 0."""
    check_number(argument, value)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{argument} must be finite and not negative, got {value!r}")


def check_switch(argument, value):
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, got {value!r}")


def one_for_each(argument, value, count, what="hidden layers"):
    """Return a list of `count` values, given one for all or a sequence of one for each."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{argument} must be one for all or one for each of {count} {what}, got {value!r}"
        )
    return list(value)


def to_be_small(record, monitor):
    """Return a quantity of a record, or minus it when it is to be great.

    Raises
    ------
    ValueError
        If the record has no such quantity.
    """
    if monitor not in record:
        raise ValueError(
            f"monitor={monitor!r} is not in the history, which has {', '.join(record)}; "
            "val_ quantities need validation_data or validation_split"
        )
    return record[monitor] if monitor.endswith("loss") else -record[monitor]


def sequence_of(argument, value, what):
    """Return a sequence as a list; raise unless it is one.

    Parameters
    ----------
    argument : str
    value : sequence
    what : str
        Of which things, for the error.
    """
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{argument} must be a sequence of {what}, got {value!r}")
    return list(value)


def optional(module, what, package, extra):
    """Return a module of an optional package.

    Raises
    ------
    ImportError
        Without it; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {package}: pip install 'cmlp[{extra}]'") from None
