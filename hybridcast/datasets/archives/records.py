"""Records of what was laid out: a small JSON for each piece of work, written when all that it makes is on disk.

A piece whose record has the same inputs is not done again, so that a run that was stopped goes on where it was. What
could not be read is tried again. The manifest of an archive is made of its records.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.errors import InputError, ReadError

Report = Callable[[str], None]
Record = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A piece of work, done whole or not at all."""

    kind: str
    """``"radar"``, ``"stations"`` or ``"nwp"``."""
    name: str
    """Another one for each piece of its kind."""
    inputs: tuple[Path, ...]
    """The files that it reads."""
    make: Callable[[], Record] = field(repr=False)
    """Writes its files, and gives a record: ``days``, and ``unreadable``, ``left_out`` and the like."""


def lay_out(works: Sequence[Work], folder: Path, report: Report) -> list[Record]:
    """Do all pieces that are not yet done; give their records.

    Parameters
    ----------
    works
        In the order in which they are done.
    folder
        Where the archive of the region is.
    report
        Told a line for each piece.
    """
    records = []
    for number, work in enumerate(works, 1):
        path = folder / "records" / work.kind / f"{safe_filename(work.name)}.json"
        record, before = _there(path, work), True
        if record is None:
            record, before = _made(work), False
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                part.write_text(json.dumps(record, indent=1), encoding="utf-8")
        report(f"{folder.name} {work.kind} {number}/{len(works)} {work.name}: {_told(record, before)}")
        records.append(record)
    return records


def _there(path: Path, work: Work) -> Record | None:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or not one of ours
        return None
    same = record.get("inputs") == _listed(work.inputs) and not record.get("unreadable")
    return record if same else None


def _made(work: Work) -> Record:
    started = time.perf_counter()
    try:
        found = work.make()
    except ReadError as error:  # damaged files are normal in long archives: named, and gone on
        found = {"days": [], "unreadable": [unreadable(error)]}
    except InputError as error:  # files of a piece that do not go together
        found = {"days": [], "unreadable": [{"file": work.inputs[0].name, "reason": str(error)}]}
    return {
        "name": work.name,
        "inputs": _listed(work.inputs),
        "seconds": round(time.perf_counter() - started, 3),
        **found,
    }


def unreadable(error: ReadError) -> Record:
    """Say which file cannot be read, and why."""
    return {"file": error.path.name, "reason": error.reason}


def _listed(inputs: Iterable[Path]) -> list[Record]:
    """Name files with their sizes: a file whose size has changed is another one."""
    return [{"file": path.name, "bytes": _size(path)} for path in inputs]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def _told(record: Record, before: bool) -> str:
    if record.get("unreadable") and not record["days"]:
        return f"unreadable, left out ({record['unreadable'][0]['reason']})"
    bad = f", {len(record['unreadable'])} files unreadable" if record.get("unreadable") else ""
    done = "was there" if before else f"{record['seconds']:.1f} s"
    return f"{len(record['days'])} days{bad} ({done})"
