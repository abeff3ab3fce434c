"""Which members of classes the reference shows, and how it shows those of scikit-learn."""

import re

# For other modules of cmlp, not for users.
INTERNAL = {"describe", "from_epochs", "from_fields", "from_state", "onnx_parser", "to_fields"}

# Packages whose members are not shown where a class of cmlp inherits them.
FRAMEWORKS = ("keras.", "torch.")

PAGE = re.compile(r"``docs/(\w+)\.md``")
ROLE = re.compile(r":(?:term|ref|func|class|meth|mod):`~?([^`<]*?)\s*(?:<[^`]*>)?`")


def is_hidden(name):
    """Return whether the reference hides a member: internal, or of scikit-learn's metadata routing.

    Parameters
    ----------
    name : str
    """
    is_routing = name == "get_metadata_routing" or re.fullmatch(r"set_\w+_request", name)
    return name in INTERNAL or bool(is_routing)


def is_inherited_from_framework(obj):
    """Return whether a member is defined by Keras or PyTorch.

    Parameters
    ----------
    obj : function, property or any other member
    """
    function = getattr(obj, "fget", None) or getattr(obj, "__func__", obj)
    return str(getattr(function, "__module__", "")).startswith(FRAMEWORKS)


def skip_hidden(app, what, name, obj, skip, options):
    """Return True for a member that the reference hides, else None."""
    return True if is_hidden(name) or is_inherited_from_framework(obj) else None


def replace_references(app, what, name, obj, options, lines):
    """Link the pages that docstrings name; replace scikit-learn's references by their text."""
    text = "\n".join(lines)
    if str(getattr(obj, "__module__", "")).startswith("sklearn."):
        text = ROLE.sub(r"\1", text)
    lines[:] = PAGE.sub(r":doc:`/\1`", text).split("\n")


def setup(app):
    """Connect both functions to autodoc, before numpydoc formats the docstrings."""
    app.connect("autodoc-skip-member", skip_hidden)
    app.connect("autodoc-process-docstring", replace_references, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
