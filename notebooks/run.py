"""Execute the notebooks, print their run times, and write rendered copies.

``make notebooks`` runs all of them, ``python notebooks/run.py 01 07`` those whose names begin with 01 or 07. Notebooks
are stored without outputs; the copies, Markdown with small pictures, are written to ``notebooks/cases``. A notebook
whose data cannot be fetched is skipped.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter

HERE = Path(__file__).parent
RENDERED = HERE / "cases"
#: Maximum size of a rendered copy with its pictures, bytes.
LARGEST = 1_000_000
#: Maximum run time of a cell, s.
PATIENCE = 1200


def notebooks(prefixes: list[str] | None = None) -> list[Path]:
    """Return the notebooks whose names begin with one of `prefixes`; all of them by default."""
    every = sorted(HERE.glob("[0-9]*.ipynb"))
    return [path for path in every if not prefixes or path.name.startswith(tuple(prefixes))]


def datasets_of(path: Path) -> list[str]:
    """Return the names of the data sets that a notebook fetches."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return sorted(set(re.findall(r'fetch\("([\w-]+)"', code)))


def missing(path: Path) -> str:
    """Return the data set that a notebook lacks, with the reason; empty if it has all."""
    from hybridcast import fetch
    from hybridcast.errors import FetchError

    for name in datasets_of(path):
        try:
            fetch(name, progress=False)
        except FetchError as error:
            return f"{name}: {error}"
    return ""


def execute(path: Path) -> Any:
    """Run a notebook in an empty folder, and return it with its outputs; an error of a cell is raised."""
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYBRIDCAST_NOTEBOOKS"] = str(HERE)
        options = {"timeout": PATIENCE, "kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
        NotebookClient(book, resources={"metadata": {"path": folder}}, **options).execute()
    return book


def render(book: Any, name: str, folder: Path = RENDERED) -> int:
    """Write a notebook with its outputs as Markdown with pictures, and return its size in bytes."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _plain(output.get("data", {}))
    body, resources = MarkdownExporter().from_notebook_node(
        book, resources={"unique_key": name, "output_files_dir": f"{name}_files"}
    )
    pictures = folder / f"{name}_files"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    for output, content in resources["outputs"].items():
        (folder / output).write_bytes(content)
    (folder / f"{name}.md").write_text(format_page(body, name), encoding="utf-8")
    if not resources["outputs"]:
        pictures.rmdir()
    return len(body.encode()) + sum(map(len, resources["outputs"].values()))


def format_page(body: str, name: str) -> str:
    """Return the page of a notebook from its Markdown: links to other notebooks lead to their pages."""
    body = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](\1.md", body)
    note = "<!-- made by `make notebooks` -->"
    source = f"*The notebook of this page, without outputs: [{name}.ipynb](../{name}.ipynb).*"
    return f"{note}\n\n{body.strip()}\n\n{source}\n"


def _plain(data: dict[str, Any]) -> None:
    """Remove outputs that code hosting sites do not show: styles, and the HTML view of xarray."""
    html = data.get("text/html", "")
    if "xr-" in html:
        del data["text/html"]
    elif html:
        data["text/html"] = re.sub(r"<style.*?</style>\s*", "", html, flags=re.S)


def main() -> int:
    """Run the chosen notebooks; return 1 if one failed or its copy is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", nargs="*", help="beginning of the names of the notebooks to run")
    chosen, failed, passed_over, begin = notebooks(parser.parse_args().prefix), 0, 0, time.perf_counter()
    for path in chosen:
        lacking = missing(path)
        if lacking:
            print(f"{path.name}: skipped, no data: {lacking}", flush=True)
            passed_over += 1
            continue
        start = time.perf_counter()
        try:
            size = render(execute(path), path.stem)
        except CellExecutionError as error:
            print(f"{path.name}: FAILED\n{error}", flush=True)
            failed = 1
            continue
        too_large = size > LARGEST
        failed |= too_large
        took = time.perf_counter() - start
        print(f"{path.name}: {took:.0f} s, {size / 1000:.0f} kB{' TOO LARGE' if too_large else ''}", flush=True)
    skipped = f", {passed_over} SKIPPED without data" if passed_over else ""
    print(f"{len(chosen) - passed_over} of {len(chosen)} notebooks run in {time.perf_counter() - begin:.0f} s{skipped}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
