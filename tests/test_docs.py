"""The API pages: pdoc builds those of every module that `make docs` names, with every name of the package."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import hybridcast
from helpers.paths import ROOT

pytest.importorskip("pdoc")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
API = re.search(r"^API := (.*)$", MAKEFILE, re.M)[1].split()


def test_pages_are_built(tmp_path):
    modules = [f"hybridcast.{name}" for name in API]
    command = [sys.executable, "-m", "pdoc", "--docformat", "numpy", "--output-directory", str(tmp_path)]
    done = subprocess.run([*command, *modules, "hybridcast"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    front = (tmp_path / "hybridcast.html").read_text(encoding="utf-8")
    assert [name for name in hybridcast._CONTENTS if f'id="{name}"' not in front] == []
    for name in API:
        assert (tmp_path / "hybridcast" / f"{name.replace('.', '/')}.html").is_file()
    assert "plot_meteogram" in (tmp_path / "hybridcast" / "plots.html").read_text(encoding="utf-8")
