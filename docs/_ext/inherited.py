"""Methods that the estimators inherit from scikit-learn: its references have no target here."""

import re

ROLE = re.compile(r":(?:term|ref|func|class|meth|mod):`~?([^`<]*?)\s*(?:<[^`]*>)?`")


def is_of_metadata_routing(app, what, name, obj, skip, options):
    """Return True for scikit-learn's methods of metadata routing, which have no page here."""
    routing = name == "get_metadata_routing" or re.fullmatch(r"set_\w+_request", name)
    return True if routing else None


def replace_roles(app, what, name, obj, options, lines):
    """Replace references in docstrings that scikit-learn has written by their text."""
    if str(getattr(obj, "__module__", "")).startswith("sklearn."):
        lines[:] = ROLE.sub(r"\1", "\n".join(lines)).split("\n")


def setup(app):
    """Connect both functions to autodoc, before numpydoc formats the docstrings."""
    app.connect("autodoc-skip-member", is_of_metadata_routing)
    app.connect("autodoc-process-docstring", replace_roles, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
