"""The API reference names everything public, and the docstrings that it shows are complete."""

import doctest
import importlib
import importlib.util
import inspect
import re

import pytest
import reference

ENTRIES = reference.read_entries()
NAMED = [(module, name) for module, name, _ in ENTRIES]

# Their modules need PyTorch and Keras.
OF_FRAMEWORKS = ("cmlp.formats.torch_modules", "cmlp.formats.keras_layers")
IMPORTABLE = [entry for entry in ENTRIES if entry[0] not in OF_FRAMEWORKS]

# Errors of numpydoc's validation; `python -m numpydoc.validate --help` refers to their list.
CHECKS = (
    "GL03", "GL05", "GL06", "GL07", "GL08", "GL10",  # sections, their names and order; no docstring
    "SS01", "SS03", "SS04", "SS05",  # the summary: present, with a period, on one line, imperative
    "PR01", "PR02", "PR05", "PR06", "PR10",  # the parameters are those of the signature
    "RT01", "YD01",  # what is returned
)  # fmt: skip


@pytest.mark.parametrize("module", reference.MODULES)
def test_every_public_name_is_in_the_reference(module):
    imported = importlib.import_module(module)
    named = {id(getattr(importlib.import_module(m), name)) for m, name, _ in IMPORTABLE}
    missing = [
        name
        for name in imported.__all__
        if id(getattr(imported, name)) not in named
        and not inspect.ismodule(getattr(imported, name))
        and not name.startswith("__")
    ]
    assert not missing


def test_every_public_module_has_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in reference.PAGES.glob("*.rst"))
    for module in reference.MODULES[1:]:
        if module != "cmlp.learning_rates":  # its names are on the page of networks
            assert f".. automodule:: {module}\n" in text, module


def test_every_name_of_the_reference_exists_and_occurs_once():
    for module, name, _ in IMPORTABLE:
        assert hasattr(importlib.import_module(module), name), (module, name)
    assert len(NAMED) == len(set(NAMED))


def test_entries_follow_the_module_and_the_template():
    text = """\
.. currentmodule:: a.b

.. autosummary::
   :toctree: generated/

   First

.. autosummary::
   :toctree: generated/
   :template: autosummary/record.rst

   Second

.. note::

   Third
"""
    assert list(reference.list_entries(text)) == [("a.b", "First", True), ("a.b", "Second", False)]


def test_the_page_of_networks_groups_all_members():
    template = reference.DOCS / "_templates" / "autosummary" / "network.rst"
    grouped = re.findall(r"^   Network\.(\w+)$", template.read_text(encoding="utf-8"), re.MULTILINE)
    members = [path for path, _ in reference.list_documented([("cmlp", "Network", True)])][1:]
    assert sorted(grouped) == sorted(path.removeprefix("cmlp.Network.") for path in members)


def is_accepted(code, doc, value):
    """Return whether numpydoc's error is none here.

    Exceptions and results have attributes, and are made by cmlp alone. ``...`` and ``**options``
    are the parameters of another class, which the docstring names. A summary that says what is
    returned needs no section for it.
    """
    if code == "PR01" and inspect.isclass(value) and "Parameters" not in doc:
        return "Attributes\n" in doc
    if code in ("PR01", "PR02"):
        return "..." in doc or "**options" in doc
    if code == "RT01":
        return doc.startswith(("Return ", "Whether "))
    return False


@pytest.mark.documentation
def test_docstrings_are_complete():
    validation = pytest.importorskip("numpydoc.validate")
    problems = []
    for path, value in reference.list_documented(IMPORTABLE):
        try:
            result = validation.validate(path)
        except StopIteration:  # numpydoc does not find the source of a property made by a function
            continue
        doc = inspect.getdoc(value) or ""
        problems += [
            f"{path}: {code} {message}"
            for code, message in result["errors"]
            if code in CHECKS and not is_accepted(code, doc, value)
        ]
    assert not problems, "\n".join(problems)


@pytest.mark.documentation
def test_examples_of_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder = doctest.DocTestFinder(recurse=False)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=options)
    with_examples = set()
    reports = []
    for path, value in reference.list_documented(IMPORTABLE):
        value = getattr(value, "__func__", value)
        for test in finder.find(value, path, module=False, globs={}):
            if test.examples:
                with_examples.add(path)
                runner.run(test, out=reports.append)
    assert not runner.failures, "".join(reports)
    assert not MUST_HAVE_EXAMPLES - with_examples


MUST_HAVE_EXAMPLES = {
    "cmlp.Network",
    "cmlp.Network.fit",
    "cmlp.Network.gradient",
    "cmlp.Network.jacobian",
    "cmlp.Network.quantize",
    "cmlp.fit_many",
    "cmlp.find_learning_rate",
    "cmlp.callbacks.EarlyStopping",
    "cmlp.callbacks.Checkpoint",
    "cmlp.sklearn.MLPClassifier",
    "cmlp.sklearn.MLPRegressor",
    "cmlp.tabular.RealMLPClassifier",
    "cmlp.tabular.RealMLPRegressor",
}
