"""Schemas: the allowed values of a file, declared once and checked as a whole.

A schema is an object with a method ``check(name, value)``, which returns the value converted to
the type that the program uses, or raises a ValueError that names the field, the allowed values and
the value in the file.
"""

import math
from reprlib import Repr

import numpy as np

# Greatest integer that a float64, and so the JSON of every language, represents exactly.
MAX_INTEGER = 2**53

# Writes values in messages, shortened: a file may hold a string of any length.
SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 60
SHORT.maxlong = 30


def make_error(name, allowed, value):
    """Return the ValueError of a field that is not what its schema allows."""
    return ValueError(f"{name} must be {allowed}; got {SHORT.repr(value)}")


class Integer:
    """A whole number from `minimum` to `maximum`."""

    def __init__(self, minimum=0, maximum=MAX_INTEGER):
        self.minimum, self.maximum = minimum, maximum

    def check(self, name, value):
        """Return the value as an int."""
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not (is_integer and self.minimum <= value <= self.maximum):
            raise make_error(name, f"a whole number from {self.minimum} to {self.maximum}", value)
        return int(value)


class Real:
    """A number that is at least `minimum`, below `limit`, and finite unless allowed otherwise."""

    def __init__(self, minimum=-math.inf, limit=math.inf, may_be_infinite=False, may_be_nan=False):
        self.minimum, self.limit, self.may_be_infinite, self.may_be_nan = (
            minimum,
            limit,
            may_be_infinite,
            may_be_nan,
        )

    def check(self, name, value):
        """Return the value as a float."""
        number = math.nan
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number:
            try:
                number = float(value)
            except OverflowError:
                is_number = False
        if math.isnan(number):
            is_allowed = self.may_be_nan
        elif math.isinf(number):
            is_allowed = self.may_be_infinite
        else:
            is_allowed = self.minimum <= number < self.limit
        if not (is_number and is_allowed):
            raise make_error(name, self._describe(), value)
        return number

    def _describe(self):
        text = "a number" if self.may_be_infinite else "a finite number"
        bounds = []
        if self.minimum > -math.inf:
            bounds.append(f"of at least {self.minimum}")
        if self.limit < math.inf:
            bounds.append(f"below {self.limit}")
        return " ".join([text, " and ".join(bounds)]).strip()


class Boolean:
    """True or false."""

    def check(self, name, value):
        """Return the value."""
        if not isinstance(value, bool):
            raise make_error(name, "true or false", value)
        return value


class Text:
    """A string, or one of `choices`."""

    def __init__(self, choices=()):
        self.choices = choices

    def check(self, name, value):
        """Return the value."""
        if not isinstance(value, str) or (self.choices and value not in self.choices):
            allowed = f"one of {', '.join(self.choices)}" if self.choices else "a string"
            raise make_error(name, allowed, value)
        return value


class Nullable:
    """Null, or what another schema allows."""

    def __init__(self, schema):
        self.schema = schema

    def check(self, name, value):
        """Return None or the converted value."""
        return None if value is None else self.schema.check(name, value)


class Items:
    """A list whose items all have the same schema."""

    def __init__(self, schema):
        self.schema = schema

    def check(self, name, value):
        """Return the list of converted items."""
        if not isinstance(value, (list, tuple)):
            raise make_error(name, "a list", value)
        return [self.schema.check(f"{name}[{i}]", item) for i, item in enumerate(value)]


class Group:
    """A list of fixed length with one schema for each item."""

    def __init__(self, schemas):
        self.schemas = schemas

    def check(self, name, value):
        """Return the tuple of converted items."""
        if not isinstance(value, (list, tuple)) or len(value) != len(self.schemas):
            raise make_error(name, f"a list of {len(self.schemas)} items", value)
        return tuple(
            schema.check(f"{name}[{i}]", item)
            for i, (schema, item) in enumerate(zip(self.schemas, value, strict=True))
        )


class Fields:
    """An object with the keys of `required`, possibly those of `optional`, and their schemas.

    Parameters
    ----------
    required, optional : dict from str to schema
    others : schema, optional
        Schema of all other keys; None: there must be no other keys.
    """

    def __init__(self, required, optional, others=None):
        self.required, self.optional, self.others = required, optional, others

    def check(self, name, value):
        """Return the dict of converted values."""
        if not isinstance(value, dict):
            raise make_error(name or "it", "an object", value)
        prefix = f"{name}." if name else ""
        for key in self.required:
            if key not in value:
                raise ValueError(f"{prefix}{key} is missing")
        known, found = {**self.required, **self.optional}, {}
        for key, item in value.items():
            schema = known.get(key, self.others)
            if schema is None:
                raise ValueError(f"{prefix}{SHORT.repr(key)} is not a known key")
            found[key] = schema.check(f"{prefix}{key}", item)
        return found


class Anything:
    """Any value: its owner checks it."""

    def check(self, name, value):
        """Return the value."""
        return value


class FiniteArray:
    """An ndarray of given shape and dtype without NaN and infinity."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype

    def check(self, name, value):
        """Return the array."""
        if not isinstance(value, np.ndarray):
            raise make_error(name, "an array", value)
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ValueError(
                f"{name} must have shape {self.shape} and dtype {np.dtype(self.dtype)}; "
                f"got {value.shape} and {value.dtype}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite; it has NaN or infinity")
        return value
