"""The protocol that every format implements.

A format is a file format or another framework's model type. Its module has one or both of

``write(state, target=None, **options)``
    Store `state`, a `cmlp._model.state.ModelState`, in the file `target`; a format without
    files ignores `target` and returns the object that it makes.
``read(source, **options)``
    Return the `ModelState` of `source`, a path or another framework's object.

Both validate their options and raise the errors that `docs/formats.md` and the docstrings of
`Network`'s methods state. Formats do not depend on `Network`: they receive and return states.

CONTRIBUTING.md tells how to add a format.
"""

from dataclasses import dataclass
from importlib import import_module

from cmlp._utils.fields import Record
from cmlp._utils.validation import import_optional


@dataclass(frozen=True, eq=False, repr=False)
class Format(Record):
    """An entry of the registry.

    Attributes
    ----------
    name : str
        As in `Network.to_<name>`, `Network.from_<name>` and ``cmlp export --to <name>``.
    module_name : str
        Module of this package that implements the format. It is imported at first use.
    extension : str or None
        Extension of its files, with the dot; None if the format has no files.
    package : str or None
        Module of the optional package that it requires.
    package_title : str or None
        The name of that package for error messages.
    extra : str or None
        Extra of cmlp that installs the package.
    reads, writes : bool
        Whether the module has `read` and `write`.
    is_native : bool
        Whether the format stores the whole state: optimizer, training record and checkpoint too.
    """

    name: str
    module_name: str
    extension: str | None = None
    package: str | None = None
    package_title: str | None = None
    extra: str | None = None
    reads: bool = False
    writes: bool = False
    is_native: bool = False

    def write(self, state, target=None, **options):
        """Call the module's `write`; raise ImportError if the optional package is missing."""
        return self._import_module("to").write(state, target, **options)

    def read(self, source, **options):
        """Call the module's `read`; raise ImportError if the optional package is missing."""
        return self._import_module("from").read(source, **options)

    def write_archive(self, path, header, arrays):
        """Call the `write_archive` of a native format's module."""
        self._import_module("to").write_archive(path, header, arrays)

    def open_archive(self, path):
        """Call the `open_archive` of a native format's module."""
        return self._import_module("from").open_archive(path)

    def _import_module(self, direction):
        if self.package is not None:
            caller = f"{direction}_{self.name}()"
            what = f"the {self.extension} format" if self.is_native else caller
            import_optional(self.package, what, self.package_title, self.extra)
        return import_module(f"cmlp.formats.{self.module_name}")
