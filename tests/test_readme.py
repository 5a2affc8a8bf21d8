"""The README keeps its word: its Python runs, its names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from hybridcast import cli
from hybridcast.datasets import fetch
from hybridcast.errors import FetchError
from hybridcast.radar import formats

README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("code", PYTHON, ids=[code.splitlines()[0][:40] for code in PYTHON])
def test_python_of_the_readme_runs(code, tmp_path, monkeypatch):
    for name in re.findall(r'fetch\("(.*?)"\)', code):
        try:
            fetch(name, progress=False)
        except FetchError as error:
            pytest.skip(f"real data missing: {error}")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    if "save_forecast" in code:
        assert Path("forecast.nc").stat().st_size > 10_000


def test_the_table_of_formats_is_the_list_of_formats():
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.M)
    assert sorted(named) == sorted(formats())


def test_commands_of_the_readme_exist():
    named = set(re.findall(r"hybridcast (fetch|forecast|demo|info|[a-z]+) ", README))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert {"fetch", "forecast", "info"} <= named & known
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M), target
