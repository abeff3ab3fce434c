"""The gallery: each example has a title, compiles, and imports what the site's build has.

The site's build executes the examples.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.rglob("plot_*.py"))

# Packages of the extra that builds the site; scikit-learn needs SciPy.
PACKAGES = {"cmlp", "matplotlib", "numpy", "pandas", "scipy", "sklearn"}

pytestmark = pytest.mark.skipif(not EXAMPLES, reason="requires a checkout with examples/")


def list_imports(tree):
    """Return the names of the packages that a module imports anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_has_a_title_compiles_and_imports_known_packages(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    compile(tree, path.name, "exec")
    title, rule, blank, first = ast.get_docstring(tree).split("\n")[:4]
    assert re.fullmatch("=+", rule)
    assert len(rule) == len(title)
    assert (blank, bool(first)) == ("", True)
    assert list_imports(tree) - set(sys.stdlib_module_names) <= PACKAGES
    # Headings within a page are as long as the line below them.
    for heading, rule in re.findall(r"^# %%\n# (.+)\n# (-+)$", text, re.MULTILINE):
        assert len(heading) == len(rule), heading
    assert "plt.show()" in text or "plt" not in text


@pytest.mark.parametrize("folder", sorted({path.parent for path in EXAMPLES}), ids=lambda p: p.name)
def test_each_section_has_a_header(folder):
    lines = (folder / "GALLERY_HEADER.rst").read_text(encoding="utf-8").split("\n")
    assert len(lines[0]) == len(lines[1])
    assert set(lines[1]) <= set("=-")
