"""Dataclasses that are cheap to import, fields with a validator, and arguments as attributes."""

import inspect
from dataclasses import MISSING, field, fields
from functools import cache

import numpy as np


def checked_field(check, default=MISSING, *, optional=False, added_later=False, **options):
    """Return a dataclass field with a validator in its metadata; see `check_fields`.

    Parameters
    ----------
    check : callable
        Called as ``check(name, value)``; raises if the value is not allowed. Its return value
        is ignored.
    default : object, optional
        The field's default value; without one the field is required.
    optional : bool, default False
        Whether None is allowed too; `check` is not called with it.
    added_later : bool, default False
        Whether `Record.describe` leaves the field out if it has its default value or is empty,
        because files of earlier versions do not have it.
    **options
        Further keyword arguments of `dataclasses.field`, such as ``kw_only``.
    """
    metadata = {"check": check, "optional": optional, "added_later": added_later}
    return field(default=default, metadata=metadata, **options)


def check_fields(instance):
    """Validate every `checked_field` of a dataclass instance, in the order of the fields.

    NumPy's numbers become Python's, which have the same repr everywhere and can be written as JSON.

    Raises
    ------
    TypeError, ValueError
        Raised by the first validator that does not accept its value.
    """
    for each in fields(instance):
        check = each.metadata.get("check")
        value = getattr(instance, each.name)
        if check is not None and not (value is None and each.metadata["optional"]):
            check(each.name, value)
            if isinstance(value, (np.number, tuple)):
                object.__setattr__(instance, each.name, to_python(value))


def to_python(value):
    """Return a number of NumPy, or those of a tuple, as a number of Python."""
    if isinstance(value, tuple):
        return tuple(to_python(item) for item in value)
    if isinstance(value, np.number):
        return int(value) if isinstance(value, np.integer) else float(value)
    return value


class Record:
    """Comparison, hash and repr of a frozen dataclass.

    Subclasses are decorated with ``@dataclass(frozen=True, eq=False, repr=False)``. Generating
    these methods for each class took a quarter of the time of `import cmlp`.
    """

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return list_values(self) == list_values(other)

    def __hash__(self):
        return hash(tuple(to_hashable(value) for value in list_values(self)))

    def __repr__(self):
        return self._show(lambda field, value: value not in (field.default, {}))

    def describe(self):
        """Return the call that makes an equal instance, with all arguments: the text for files."""
        return self._show(
            lambda field, value: (
                not field.metadata.get("added_later") or value not in (field.default, {})
            )
        )

    def _show(self, is_shown):
        values = zip(fields(self), list_values(self), strict=True)
        shown = [f"{field.name}={value!r}" for field, value in values if is_shown(field, value)]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def to_hashable(value):
    """Return a value, or the sorted items of a dict."""
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def list_values(instance):
    """Return the values of a dataclass instance in the order of its fields."""
    return [getattr(instance, field.name) for field in fields(instance)]


@cache
def list_defaults(kind):
    """Return the default values of the arguments of a class and of its bases, a dict."""
    found = {}
    for base in reversed(kind.__mro__[:-1]):
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def store_arguments(estimator, arguments):
    """Set the arguments of `__init__`, which are its ``locals()``, as attributes."""
    for name, value in arguments.items():
        if name != "self":
            setattr(estimator, name, value)
