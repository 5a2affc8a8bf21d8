"""The site: ``make docs`` builds it from this folder into ``out/docs``, without a network, with warnings as errors.

``INTERSPHINX=1 make docs`` also links names of xarray, numpy and pandas to their pages, which needs a network.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from docutils.utils.math import latex2mathml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

project = "hybridcast"
author = "The hybridcast developers"
project_copyright = author
version = release = runpy.run_path(str(ROOT / "hybridcast" / "_version.py"))["__version__"]

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["experiments/*/__pycache__", "*.ipynb"]
root_doc = "index"

# Pages are Markdown, which every forge displays too; headings have the anchors that a forge gives them.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The reference comes from the docstrings. Names in backticks are links where the site has a page of them.
default_role = "obj"
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
maximum_signature_line_length = 100
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
add_module_names = False
python_use_unqualified_type_names = True
suppress_warnings = ["ref.python"]  # a name in backticks may be that of several objects: it is then no link

intersphinx_mapping = {}
if os.environ.get("INTERSPHINX"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
    }

html_theme = "pydata_sphinx_theme"
html_title = "hybridcast"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "hybridcast"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
#: Pages without pages below them need no list of these.
ALONE = ["index", "getting_started", "architecture", "decisions", "glossary", "coming_from_pysteps", "troubleshooting"]
html_sidebars = {name: [] for name in [*ALONE, "contributing", "changelog"]}
html_context = {"default_mode": "light"}
copybutton_prompt_text = ">>> "

#: Pages of the site for files outside this folder, which a forge shows in their place.
PAGES_OF_FILES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def keep_values_together(app: Any, name: str, source: list[str]) -> None:
    """Keep the values of a cell, such as .5 / .4 / .3, on one line: tables that are too wide are scrolled."""
    rows = re.compile(r"^\|.*\|$", re.M)
    between = re.compile(r"(?<=[\d\]%-]) / (?=[-+.\d])")
    source[0] = rows.sub(lambda row: between.sub("\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}", row[0]), source[0])


def link_pages(app: Any, name: str, source: list[str]) -> None:
    """Let links to files outside this folder lead to their pages in the site."""
    up = "../" * name.count("/")
    for file, page in PAGES_OF_FILES.items():
        source[0] = re.sub(rf"\]\((?:\.\./)+{re.escape(file)}", f"]({up}{page}", source[0])


def write_mathml(self: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers show without a script or a network."""
    is_block = node.tagname == "math_block"
    formula = latex2mathml.tex2mathml(node.astext(), as_block=is_block)
    self.body.append(f'<div class="math">{formula}</div>' if is_block else formula)
    raise SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Add the formulas and the links to Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(write_mathml, None), block_renderers=(write_mathml, None))
    app.connect("source-read", link_pages)
    app.connect("source-read", keep_values_together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


html_math_renderer = "mathml"
