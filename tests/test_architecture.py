"""The page on architecture: its examples run, and it names every package and no other."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import hybridcast
from helpers.paths import ROOT

PAGE = ROOT / "notebooks" / "architecture.md"


def rooms() -> set[str]:
    """Packages and modules at the top of hybridcast, but for private ones."""
    folder = Path(hybridcast.__file__).parent
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return packages | modules


def test_its_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert result.attempted > 20
    assert result.failed == 0


def test_its_table_has_every_room_and_no_other():
    table = PAGE.read_text(encoding="utf-8").split("|---|---|---|\n")[1].split("\n\n")[0]
    first_column = " ".join(line.split("|")[1] for line in table.splitlines())
    named = set(re.findall(r"`(\w+)`", first_column))
    assert named == rooms() | {"hybridcast_kernels"}


def test_what_it_says_to_read_first_is_there():
    table = PAGE.read_text(encoding="utf-8").split("|---|---|---|\n")[1].split("\n\n")[0]
    for line in table.splitlines():
        room, _, first = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`([\w/]+\.(?:py|md))`", first):
            found = [path for top in ("hybridcast", "kernels") for path in (ROOT / top).rglob(Path(name).name)]
            assert found, f"{room}: {name}"


def test_its_figure_names_every_package():
    figure = (PAGE.parent / "architecture.svg").read_text(encoding="utf-8")
    packages = {path.parent.name for path in Path(hybridcast.__file__).parent.glob("*/__init__.py")}
    assert {name for name in packages if f">{name}<" not in figure} == set()
