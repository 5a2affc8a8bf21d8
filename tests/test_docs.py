"""The site: it is built without a warning, with every public name, and needs no network to be read."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hybridcast
from helpers.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
MODULES = re.findall(r"^   (hybridcast\.[\w.]+)$", (NOTEBOOKS / "reference" / "modules.rst").read_text("utf-8"), re.M)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does, and return its folder."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(NOTEBOOKS), str(folder / "docs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "docs"


def test_the_reference_lists_every_public_name():
    text = (NOTEBOOKS / "reference" / "index.rst").read_text("utf-8")
    assert re.findall(r"^   (\w+)$", text.partition(".. toctree::")[0], re.M) != []
    listed = set(re.findall(r"^   (\w+)$", text, re.M)) - {"modules"}
    assert listed == set(hybridcast._CONTENTS)


def test_the_version_is_the_same_everywhere():
    version = runpy.run_path(str(ROOT / "hybridcast" / "_version.py"))["__version__"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "hybridcast/_version.py"
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)[1] == version


@pytest.mark.slow
def test_every_name_and_module_has_a_page(site):
    pages = {path.stem for path in (site / "reference" / "generated").glob("*.html")}
    assert {f"hybridcast.{name}" for name in hybridcast._CONTENTS} | set(MODULES) <= pages
    plots = (site / "reference" / "generated" / "hybridcast.plots.html").read_text("utf-8")
    assert "hybridcast.plots.plot_meteogram" in plots


@pytest.mark.slow
def test_every_page_of_the_folder_is_in_the_site(site):
    sources = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix() for path in NOTEBOOKS.rglob("*.md")}
    assert {name for name in sources if not (site / f"{name}.html").is_file()} == set()


@pytest.mark.slow
def test_search_finds_pages(site):
    index = (site / "searchindex.js").read_text("utf-8")
    found = json.loads(re.search(r"Search\.setIndex\((.*)\)", index, re.S)[1])
    pages = [found[kind]["gaug"] for kind in ("terms", "titleterms")]
    numbers = {number for page in pages for number in ([page] if isinstance(page, int) else page)}
    assert {"guide/gauges", "glossary", "cases/05_gauges"} <= {found["docnames"][number] for number in numbers}


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    loaded = r'<(?:script|img|iframe)[^>]*\ssrc="(https?:[^"]+)|<link[^>]*rel="stylesheet"[^>]*href="(https?:[^"]+)'
    for page in (site / "index.html", site / "methods" / "motion.html", site / "cases" / "01_first_nowcast.html"):
        assert re.findall(loaded, Path(page).read_text("utf-8")) == []
    assert "<math" in (site / "methods" / "motion.html").read_text("utf-8")
