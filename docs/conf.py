"""Configuration of the site: ``python -m sphinx -W --keep-going docs docs/_build/html``.

The build makes no network request, and neither do its pages: formulas are MathML, and there are no
references to the inventories of other projects.
"""

import importlib.util
import os
import sys
import warnings
from pathlib import Path

import cmlp

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "cmlp"
author = "The cmlp developers"
copyright = author
version = release = cmlp.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "links",
    "members",
    "mathml",
]

root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
templates_path = ["_templates"]
exclude_patterns = ["_build", "auto_examples/**/*.ipynb", "auto_examples/**/*.py.md5"]
default_role = "py:obj"  # a link where the name is an object of the reference, else code
nitpicky = True

# -- Pages in Markdown --------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4  # [text](page.md#heading), as on GitHub
myst_links_external_new_tab = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# -- Reference from docstrings ------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
# Modules that derive from the classes of these packages are documented without them too.
autodoc_mock_imports = [
    name for name in ("torch", "keras") if importlib.util.find_spec(name) is None
]
autoclass_content = "class"

numpydoc_show_class_members = False  # the template of classes lists them
numpydoc_attributes_as_param_list = True
numpydoc_xref_param_type = False

# Names in single backquotes are links where the reference has them. Parameters and names of other
# projects are code; `:class:` and the other explicit roles must have a target.
nitpick_ignore_regex = [("py:obj", r".*")]

# -- Gallery ------------------------------------------------------------------------------------

os.environ.setdefault("MPLBACKEND", "Agg")
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),  # not the texts and lists that plotting functions return
    "download_all_examples": False,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "min_reported_time": 5,
    "nested_sections": False,
    "plot_gallery": "True",
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
    "show_memory": False,
    "show_signature": False,
    "subsection_order": [
        f"../examples/{name}"
        for name in ("basics", "training", "uncertainty", "science", "tables", "deployment")
    ]
    + ["*"],
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
}

# -- HTML ---------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "cmlp"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["cmlp.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "benchmarks": [], "search": []}
html_theme_options = {
    "logo": {"text": "cmlp", "alt_text": "cmlp"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
