"""The names on the pages of docs/api, and the docstrings that these pages show."""

import importlib
import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = DOCS / "api"

sys.path.append(str(DOCS / "_ext"))
from members import is_hidden  # noqa: E402

# Every module whose `__all__` users may import from.
MODULES = (
    "cmlp",
    "cmlp.activations",
    "cmlp.callbacks",
    "cmlp.dask",
    "cmlp.datasets",
    "cmlp.errors",
    "cmlp.layers",
    "cmlp.learning_rates",
    "cmlp.losses",
    "cmlp.metrics",
    "cmlp.normalizations",
    "cmlp.optimizers",
    "cmlp.plot",
    "cmlp.reference",
    "cmlp.schedules",
    "cmlp.sklearn",
    "cmlp.tabular",
)


def list_entries(text):
    """Yield (module, name, shows_members) for each entry of the autosummaries of a page."""
    module, template, is_list = None, "", False
    for line in text.splitlines():
        if match := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif line.startswith(".. "):
            is_list, template = line == ".. autosummary::", ""
        elif match := re.fullmatch(r"   :template: (\S+)", line):
            template = match[1]
        elif is_list and (match := re.fullmatch(r"   (\w+)", line)):
            yield module, match[1], template != "autosummary/record.rst"


def read_entries():
    """Return the entries of all pages; (module, name, shows_members) each."""
    return [
        entry
        for page in sorted(PAGES.glob("*.rst"))
        for entry in list_entries(page.read_text(encoding="utf-8"))
    ]


def list_documented(entries):
    """Yield (path, object) of everything that the pages show, methods and properties included.

    Members that are inherited from other packages have the docstrings of these.
    """
    for module, name, shows_members in entries:
        owner = getattr(importlib.import_module(module), name)
        yield f"{module}.{name}", owner
        if not inspect.isclass(owner) or not shows_members:
            continue
        for member in dir(owner):
            value = inspect.getattr_static(owner, member)
            function = getattr(value, "__func__", value)
            if isinstance(value, property):
                function = value.fget
            is_ours = str(getattr(function, "__module__", "")).startswith("cmlp.")
            if is_ours and not member.startswith("_") and not is_hidden(member):
                yield f"{module}.{name}.{member}", value
