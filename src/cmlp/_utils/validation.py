"""Validation of arguments. Each `check_` function raises an error that names the argument."""

import math
import os
from importlib import import_module

import numpy as np

MAX_INT64 = 2**63 - 1


def look_up(argument, name, table):
    """Return ``table[name]``.

    Parameters
    ----------
    argument : str
        The argument's name, for the error message.
    name : str
    table : dict of str to object

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If `name` is not a key of `table`; the message suggests the most similar key.
    """
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a name; got {name!r} ({type(name).__name__})")
    if name not in table:
        near = find_similar(name, table)
        hint = f" (did you mean {near!r}?)" if near else ""
        raise ValueError(f"{argument} must be one of {', '.join(table)}; got {name!r}{hint}")
    return table[name]


def find_similar(name, names, similarity=0.6):
    """Return the most similar of some names, whatever the case, or None.

    Parameters
    ----------
    name : str
    names : iterable of str
    similarity : float, default 0.6
        The least ratio of `difflib`; names that begin with `name` are similar too.
    """
    from difflib import get_close_matches  # only for an error: it slows down the import

    lower = {each.lower(): each for each in reversed([*names])}
    near = get_close_matches(name.lower(), lower, 1, similarity)
    if name:
        near += [each for each in reversed(lower) if each.startswith(name.lower())]
    return lower[near[0]] if near else None


def check_number(argument, value):
    """Raise unless `value` is a real number in the range of float64; a bool is not accepted."""
    real = int, float, np.integer, np.floating
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, real):
        is_array = isinstance(value, np.ndarray)
        shown = f"an array of shape {value.shape}" if is_array else repr(value)
        raise TypeError(f"{argument} must be a number; got {shown} ({type(value).__name__})")
    try:
        float(value)
    except OverflowError:
        raise ValueError(
            f"{argument} must be within the range of float64; got a whole number of "
            f"{value.bit_length()} bits, which is too large"
        ) from None


def check_finite_number(argument, value):
    """Raise unless `value` is a finite number."""
    check_number(argument, value)
    if not math.isfinite(value):
        raise ValueError(f"{argument} must be finite; got {value!r}")


def check_positive(argument, value):
    """Raise unless `value` is a finite number greater than 0."""
    check_number(argument, value)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{argument} must be positive and finite; got {value!r}")


def check_non_negative(argument, value):
    """Raise unless `value` is a finite number and at least 0."""
    check_number(argument, value)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{argument} must be finite and not negative; got {value!r}")


def check_factors(argument, value):
    """Raise unless `value` is a dict from names to finite numbers of at least 0."""
    if not isinstance(value, dict):
        raise TypeError(f"{argument} must be a dict from names to numbers; got {value!r}")
    for name, factor in value.items():
        if not isinstance(name, str):
            raise TypeError(f"{argument} must have names as keys; got {name!r}")
        check_non_negative(f"{argument}[{name!r}]", factor)


def check_fraction(argument, value):
    """Raise unless `value` is a number in the half-open interval [0, 1)."""
    check_number(argument, value)
    if not 0 <= value < 1:
        raise ValueError(f"{argument} must be at least 0 and below 1; got {value!r}")


def check_unit_interval(argument, value):
    """Raise unless `value` is a number in the closed interval [0, 1]."""
    check_number(argument, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{argument} must be from 0 to 1; got {value!r}")


def check_normal(argument, value, dtype):
    """Raise `ValueError` unless `value` is in the range of the normal numbers of a dtype.

    A smaller value would become 0 or lose digits in the dtype, a greater one infinity.

    Parameters
    ----------
    argument : str
        The argument's name, for the error message.
    value : float
        Greater than 0.
    dtype : numpy.dtype
        float32 or float64.
    """
    info = np.finfo(dtype)
    least, greatest = float(info.tiny), float(info.max)
    if not least <= value <= greatest:
        raise ValueError(
            f"{argument} must be from {least:.3g} to {greatest:.3g}, the range of "
            f"{np.dtype(dtype).name}; got {value!r}"
        )


def check_integer(argument, value, minimum=1, maximum=MAX_INT64):
    """Return `value` as an int; raise unless it is an integer from `minimum` to `maximum`.

    A `maximum` of None means no limit; the default is the largest integer of compiled code.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{argument} must be a whole number; got {value!r} ({type(value).__name__})"
        )
    value = int(value)
    shown = value if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if value < minimum:
        raise ValueError(f"{argument} must be at least {minimum}; got {shown}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{argument} must be at most {maximum}; got {shown}")
    return value


def check_count(argument, value):
    """Return `value` as an int; raise unless it is an integer and at least 0."""
    return check_integer(argument, value, 0)


def check_bool(argument, value):
    """Raise `TypeError` unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False; got {value!r}")


def decode_path(path):
    """Return the argument `path` as a str; raise `TypeError` unless it is one of a file."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a str or os.PathLike; got {path!r}")
    return os.fsdecode(path)


def check_unmasked(argument, value):
    """Raise `ValueError` if `value` is a masked array with a masked element, or a list of such."""
    if isinstance(value, (list, tuple)):
        if value and not isinstance(value[0], (int, float)):
            for item in value:
                check_unmasked(argument, item)
    elif isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{argument} must not have masked elements; got {np.ma.count_masked(value)}; "
            "replace them, for example by filled(), or leave out their samples"
        )


def convert_dtype(argument, array, dtype):
    """Return an array of `dtype`, C-contiguous and aligned, copied only if necessary.

    Raises
    ------
    ValueError
        If a finite element is beyond the range of `dtype`.
    """
    try:
        with np.errstate(over="raise"):
            return np.require(array, dtype, ("C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"))
    except FloatingPointError:
        raise ValueError(
            f"{argument} must be within the range of {np.dtype(dtype)}; it holds a number beyond it"
        ) from None


def broadcast_per_layer(argument, value, count):
    """Return a list with one value per hidden layer.

    Parameters
    ----------
    argument : str
        The argument's name, for the error message.
    value : object, or list or tuple of length `count`
        A single value is repeated; a list or tuple must have one item per layer.
    count : int
        Number of hidden layers.

    Raises
    ------
    ValueError
        If `value` is a list or tuple of another length.
    """
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{argument} must be one for all or one for each of {count} hidden layers; "
            f"got {value!r}"
        )
    return list(value)


def to_list(argument, value, what):
    """Return an iterable as a list.

    Parameters
    ----------
    argument : str
        The argument's name, for the error message.
    value : iterable, but not str or bytes
    what : str
        The plural noun for the items, for the error message.

    Raises
    ------
    TypeError
        If `value` is a string, bytes or not iterable.
    """
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TypeError(f"{argument} must be a sequence of {what}; got {value!r}")
    return list(value)


def import_optional(module, what, package, extra):
    """Import and return a module of an optional dependency.

    Parameters
    ----------
    module : str
        The module's dotted name.
    what : str
        The function or class that requires it, for the error message.
    package : str
        The package's name, for the error message.
    extra : str
        The extra of cmlp that installs it.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it. If it lacks another module, such
        as Keras a backend, the message names that.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise ImportError(f"{what} requires {package}, whose import failed: {error}") from error
        raise ImportError(
            f"{what} requires {package}; install it with: pip install 'cmlp[{extra}]'"
        ) from None
