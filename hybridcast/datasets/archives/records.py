"""Records of finished tasks: a small JSON file for each task, written when all of its output is on disk.

A task whose record has the same input files is not repeated, so that an interrupted run continues. Tasks with
unreadable files are tried again. The manifest of an archive is compiled from its records.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.core.locations import Location
from hybridcast.errors import InputError, ReadError

Report = Callable[[str], None]
"""Function that receives a line of progress."""
Record = dict[str, Any]
"""Description of the output of a task, as JSON."""


@dataclass(frozen=True)
class Task:
    """A part of the conversion, which is finished or not done at all."""

    kind: str
    """``"radar"``, ``"stations"`` or ``"nwp"``."""
    name: str
    """Name, unique among the tasks of its kind."""
    inputs: tuple[Path, ...]
    """Files that it reads."""
    run: Callable[[], Record] = field(repr=False)
    """Function that writes the output and returns a record: ``days``, and ``unreadable``, ``left_out`` and the like."""


def run_tasks(tasks: Sequence[Task], folder: Path, report: Report) -> list[Record]:
    """Run the tasks that are not finished yet, and return the records of all.

    Parameters
    ----------
    tasks
        Tasks in the order in which they are run.
    folder
        Folder of the region in the archive.
    report
        Function that receives a line for each task.
    """
    records = []
    for number, task in enumerate(tasks, 1):
        path = folder / "records" / task.kind / f"{safe_filename(task.name)}.json"
        record = _load_record(path, task)
        finished_before = record is not None
        if record is None:
            record = _run_task(task)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        summary = _summarize(record, finished_before)
        report(f"{folder.name} {task.kind} {number}/{len(tasks)} {task.name}: {summary}")
        records.append(record)
    return records


def _load_record(path: Path, task: Task) -> Record | None:
    """Return the record of a finished task; None if it has to be run."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no record, or another file
        return None
    unchanged = record.get("inputs") == _list_files(task.inputs) and not record.get("unreadable")
    return record if unchanged else None


def _run_task(task: Task) -> Record:
    started = time.perf_counter()
    try:
        found = task.run()
    except ReadError as error:  # damaged files are normal in long archives, so they are recorded and left out
        found = {"days": [], "unreadable": [describe_unreadable(error)]}
    except InputError as error:  # files of a task that do not fit together
        found = {"days": [], "unreadable": [{"file": task.inputs[0].name, "reason": str(error)}]}
    return {
        "name": task.name,
        "inputs": _list_files(task.inputs),
        "seconds": round(time.perf_counter() - started, 3),
        **found,
    }


def describe_unreadable(error: ReadError) -> Record:
    """Return the entry of a record for a file that cannot be read."""
    return {"file": error.path.name, "reason": error.reason}


def _list_files(inputs: Iterable[Path]) -> list[Record]:
    """Return names and sizes of files; a file of another size counts as changed."""
    return [{"file": path.name, "bytes": _compute_size(path)} for path in inputs]


def _compute_size(path: Path) -> int | None:
    if isinstance(path, Location):  # a file behind a URL is not downloaded for its size
        return path.size
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def _summarize(record: Record, finished_before: bool) -> str:
    if record.get("unreadable") and not record["days"]:
        return f"unreadable, left out ({record['unreadable'][0]['reason']})"
    bad = f", {len(record['unreadable'])} files unreadable" if record.get("unreadable") else ""
    done = "was there" if finished_before else f"{record['seconds']:.1f} s"
    return f"{len(record['days'])} days{bad} ({done})"
