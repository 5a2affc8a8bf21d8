"""Every notebook runs from its first cell to its last, what it claims is asserted in it, and it is stored small."""

from __future__ import annotations

import importlib.util
import sys

import nbformat
import pytest

from helpers.paths import ROOT

spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "notebooks" / "run.py")
runner = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = runner
spec.loader.exec_module(runner)
NOTEBOOKS = runner.notebooks()


@pytest.fixture(autouse=True)
def where(monkeypatch):
    """The kernel imports the packages from where the tests do."""
    paths = [str(ROOT), str(ROOT / "kernels"), *filter(None, [__import__("os").environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_runs(path, tmp_path):
    lacking = runner.missing(path)
    if lacking:
        pytest.skip(f"real data missing: {lacking}")
    book = runner.execute(path)
    assert runner.render(book, path.stem, tmp_path) < runner.LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_is_stored_without_outputs_and_claims_are_asserted(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert any("assert " in cell.source for cell in code)
    assert sum(cell.cell_type == "markdown" for cell in book.cells) >= 3
    assert path.stat().st_size < 30_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_rendered_copy_is_there_and_small(path):
    copy = runner.RENDERED / f"{path.stem}.md"
    pictures = list((runner.RENDERED / f"{path.stem}_files").glob("*"))
    assert copy.stat().st_size + sum(picture.stat().st_size for picture in pictures) < runner.LARGEST
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0]
    assert title in copy.read_text(encoding="utf-8")


def test_a_failing_cell_is_an_error(tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2, 'it is not'")])
    nbformat.write(book, tmp_path / "99_wrong.ipynb")
    with pytest.raises(runner.CellExecutionError, match="it is not"):
        runner.execute(tmp_path / "99_wrong.ipynb")


def test_data_sets_are_found_and_a_missing_one_is_named(tmp_path, monkeypatch):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('radar = fetch("no-such-event")')])
    nbformat.write(book, tmp_path / "99_wrong.ipynb")
    assert runner.datasets_of(tmp_path / "99_wrong.ipynb") == ["no-such-event"]
