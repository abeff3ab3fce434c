"""The controls of a web page for tables: a number field and a slider, or categories, per column."""

import math
from numbers import Integral, Real

import numpy as np

from cmlp._utils.validation import check_finite_number, find_similar, to_list

# Of a column without a range: a standardized number is rarely outside.
DEFAULT_RANGE = -3.0, 3.0

# Greatest number of steps of a slider, and least difference between its ends.
MAX_STEPS = 200
LEAST_SPAN = 1e-300

# Greatest number of names of inputs that an error message lists.
MAX_LISTED_NAMES = 8


def check_text(argument, value):
    """Return a str or an integer as text that UTF-8 can encode.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or not valid Unicode.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, Integral)):
        raise TypeError(f"{argument} must be text or whole numbers; got {value!r}")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} must be valid Unicode; got {value!r}") from None
    return str(value)


def check_texts(argument, values, count, what):
    """Return a sequence of `count` different texts as a list of str.

    Parameters
    ----------
    argument : str
    values : sequence of str or int
    count : int
    what : str
        What each of them names, for the error message.

    Raises
    ------
    TypeError, ValueError
        If it is not such a sequence.
    """
    texts = [check_text(argument, value) for value in to_list(argument, values, "names")]
    if len(texts) != count:
        raise ValueError(
            f"{argument} must have {count} items, one for each {what}; got {len(texts)}"
        )
    seen = set()
    for text in texts:
        if text in seen:
            raise ValueError(f"{argument} must be different; got {text!r} twice")
        seen.add(text)
    return texts


def spread(argument, given, names, is_item):
    """Return an option for columns as a list with an item, or None, for each.

    Parameters
    ----------
    argument : str
    given : dict from name to item, sequence of items, one item, or None
    names : list of str
        Of the columns.
    is_item : callable
        Returns whether a value is an item, rather than a sequence of items.

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, or the number of items is another one.
    """
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if given is None:
        return [None] * len(names)
    if isinstance(given, dict):
        for name in given:
            if str(name) not in names:
                raise ValueError(
                    f"{argument} must have names of inputs as keys; got {name!r}"
                    f"{describe_names(str(name), names)}"
                )
        by_name = {str(name): value for name, value in given.items()}
        return [by_name.get(name) for name in names]
    if is_item(given):
        return [given] * len(names)
    items = to_list(argument, given, "items, one for each input, or a dict")
    if len(items) != len(names):
        raise ValueError(
            f"{argument} must have {len(names)} items, one for each input; got {len(items)}"
        )
    return items


def describe_names(name, names):
    """Return the end of a message on an unknown name: the most similar name, and the first ones."""
    near = find_similar(name, names)
    hint = f" (did you mean {near!r}?)" if near else ""
    shown = ", ".join(names[:MAX_LISTED_NAMES])
    more = len(names) - MAX_LISTED_NAMES
    return f"{hint}, and the inputs are {shown}{f' and {more:,} others' if more > 0 else ''}"


def is_range(value):
    """Return whether a value is one range, and not a sequence of ranges."""
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Real)


def check_range(name, value):
    """Return a range (low, high) as floats; raise unless high - low >= LEAST_SPAN is finite."""
    argument = f"ranges[{name!r}]"
    items = to_list(argument, value, "two numbers, low and high")
    if len(items) != 2:
        raise ValueError(f"{argument} must be two numbers, low and high; got {value!r}")
    for item in items:
        check_finite_number(argument, item)
    low, high = map(float, items)
    if low >= high:
        raise ValueError(f"{argument} must be (low, high) with low < high; got {value!r}")
    # The step of a slider must be a normal number.
    if not LEAST_SPAN <= high - low < math.inf:
        raise ValueError(
            f"{argument} must be (low, high) with a finite high - low of at least {LEAST_SPAN:g}; "
            f"got {value!r}"
        )
    return low, high


def choose_step(low, high):
    """Return the step of a slider: 1, 2 or 5 times a power of ten, at most `MAX_STEPS` of them."""
    least = (high - low) / MAX_STEPS
    power = 10.0 ** math.floor(math.log10(least))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * 0.999)


def make_number(name, given_range, value, default_range=None, default_value=None):
    """Return the fields of a control for numbers.

    Parameters
    ----------
    name : str
    given_range : (float, float) or None
    value : float or None
        At first.
    default_range, default_value : optional
        If `given_range` or `value` is None; by default `DEFAULT_RANGE` and 0, or the middle of the
        range if 0 is outside. A value outside of the default range widens it.

    Raises
    ------
    TypeError, ValueError
        If a number is not finite, or the range is empty.
    """
    default_range = default_range or DEFAULT_RANGE
    low, high = check_range(name, default_range if given_range is None else given_range)
    if value is not None:
        check_finite_number(f"values[{name!r}]", value)
        if given_range is None:
            low, high = widen(low, high, value)
    step = choose_step(low, high)
    if value is None:
        value = 0.0 if default_value is None else default_value
        if not low <= value <= high:
            value = (low + high) / 2
        value = float(f"{round(value / step) * step:.12g}")
        value = min(max(value, low), high)
    return {"name": name, "low": low, "high": high, "step": step, "value": float(value)}


def widen(low, high, value):
    """Return a range (low, high), wider if the value is outside and the result is finite."""
    wider = min(low, value - abs(value)), max(high, value + abs(value))
    if low <= value <= high or not math.isfinite(wider[1] - wider[0]):
        return low, high
    return wider


def make_choice(name, categories, value):
    """Return the fields of a control for categories, whose codes are 1, 2, ...

    Parameters
    ----------
    name : str
    categories : list of str
    value : str or None
        The category at first; by default the first one.

    Raises
    ------
    ValueError
        If it is not one of the categories.
    """
    code = 1 if categories else 0
    if value is not None:
        if str(value) not in categories:
            raise ValueError(
                f"values[{name!r}] must be one of {', '.join(categories)}; got {value!r}"
            )
        code = categories.index(str(value)) + 1
    return {"name": name, "options": categories, "value": code}


def make_controls(names, codes, ranges, values, categories, defaults=None):
    """Return the controls of a network without preprocessing, a list of dict.

    Parameters
    ----------
    names : list of str
        Of the inputs, without duplicates.
    codes : dict from int to int
        Number of categories of each input that holds codes.
    ranges, values, categories
        As in `Network.to_html`.
    defaults : list of (low, high, value), optional
        For inputs without a range and a value.

    Raises
    ------
    TypeError, ValueError
        If an option does not fit.
    """
    is_named = isinstance(ranges, dict)
    ranges = spread("ranges", ranges, names, is_range)
    values = spread("values", values, names, lambda value: isinstance(value, Real))
    texts = spread("categories", categories, names, lambda value: False)
    found = []
    for i, (name, given, value, options) in enumerate(
        zip(names, ranges, values, texts, strict=True)
    ):
        if i in codes:
            if is_named and given is not None:
                raise ValueError(f"ranges must not name inputs that hold codes; got {name!r}")
            argument = f"categories[{name!r}]"
            count = codes[i]
            if options is None:
                options = range(1, count + 1)
            options = check_texts(argument, options, count, "category")
            found.append(make_choice(name, options, value))
            continue
        if options is not None:
            raise ValueError(
                f"categories must be given for inputs that hold codes only; got {name!r}"
            )
        default = defaults[i] if defaults else (*DEFAULT_RANGE, None)
        found.append(make_number(name, given, value, default[:2], default[2]))
    return found
