"""Sphinx's settings: `make docs` builds docs/_build/html, and a warning is an error."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import objstress  # noqa: E402

project = "objstress"
author = "the objstress developers"
copyright = f"2026, {author}"
version = release = objstress.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "from_code",
    "mathml",
]
exclude_patterns = ["_build"]

# Docstrings put code between single backticks.
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
# Notebooks are kept with their outputs; tests/test_notebooks.py runs them.
nb_render_markdown_format = "myst"  # tables
nb_execution_mode = "off"
nb_merge_streams = True

smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"objstress {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sphinx = False
