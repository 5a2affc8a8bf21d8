"""Which radar files and frames have come: what is known of each file, on the disk, and what is to be read next.

A file is read when it has not changed for a moment, and again when it changes. A file that cannot be read is tried
again after a while, in case it was not complete, or at once when it changes. One that ends the process that reads it is
set aside after two tries, until it changes. Of two files with a frame of one time, the one that came first counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hybridcast.watch.json_files import write_json

MAX_TRIES = 2
"""Number of times that a file may end the process that reads it, or a frame that of its forecast."""
FIRST_RETRY, LAST_RETRY = np.timedelta64(10, "s"), np.timedelta64(10, "m")
"""Time after which a file that could not be read is tried again; doubled each time, up to the last."""
_VERSION = 1
FileState = Literal["taken", "unreadable", "set aside"]


@dataclass(frozen=True)
class Entry:
    """A file that was found."""

    key: str
    """Its path; or its address on a server, without passwords."""
    signature: str
    """Text that changes when the file does."""
    url: str | None = None
    """The complete URL of a file on a server."""


@dataclass
class FileRecord:
    """What is known of a file."""

    signature: str
    state: FileState = "taken"
    reason: str = ""
    """Why it is not taken."""
    path: str = ""
    """Where it is on the disk."""
    crashes: int = 0
    """Number of times that it ended the process that read it. The end of the loop itself is not counted: it may have
    been killed for no fault of the file."""
    refusals: int = 0
    """Number of times that it could not be read."""
    retry: str = ""
    """Time of the next try, if it could not be read."""
    frames: dict[str, str] = field(default_factory=dict)
    """Digest of each frame, by its time."""


@dataclass(frozen=True)
class Frame:
    """A frame that counts."""

    path: str
    """Its file on the disk."""
    digest: str
    """Digest of its values."""


@dataclass(frozen=True)
class Frames:
    """The frames that have come."""

    frames: dict[np.datetime64, Frame]
    """In the order of time."""
    doubled: int = 0
    """Number of frames that another file holds equally."""
    different: tuple[str, ...] = ()
    """Files left out because another frame of the same time came before theirs, with the reason."""


class Arrivals:
    """The files that have come, on the disk after every change.

    Parameters
    ----------
    path
        File of the records; what is in it is read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looks: dict[str, tuple[str, np.datetime64]] = {}
        self.files = _load(path)

    def save(self) -> None:
        """Write the records."""
        files = {key: asdict(record) for key, record in self.files.items()}
        write_json(self._path, {"version": _VERSION, "files": files})

    def select_due(self, found: Iterable[Entry], now: np.datetime64, settle: np.timedelta64) -> list[Entry]:
        """Return the files that are to be read now: new, changed or to be tried again, and not changing any more."""
        entries = {entry.key: entry for entry in found}
        self._looks = {key: look for key, look in self._looks.items() if key in entries}
        return [
            entry for entry in entries.values() if self._is_due(entry, now) and self._is_settled(entry, now, settle)
        ]

    def _is_due(self, entry: Entry, now: np.datetime64) -> bool:
        known = self.files.get(entry.key)
        if known is None or known.signature != entry.signature:
            return True
        wait = np.datetime64(known.retry, "ns") - now if known.state == "unreadable" and known.retry else None
        # after a jump of the clock the time of the next try may be far off
        return wait is not None and not np.timedelta64(0) < wait <= LAST_RETRY

    def _is_settled(self, entry: Entry, now: np.datetime64, settle: np.timedelta64) -> bool:
        """Return whether a file was the same a moment ago; at the first look, whether it was written before."""
        if entry.url is not None:
            return True
        look = self._looks.get(entry.key)
        if look is None or look[0] != entry.signature:
            self._looks[entry.key] = (entry.signature, now)
            return bool(now - get_change_time(entry.signature) >= settle)
        return bool(now - look[1] >= settle or now < look[1])

    def take(self, entry: Entry, path: str, frames: Mapping[str, str]) -> None:
        """Note that a file was read, and its frames."""
        self.files[entry.key] = FileRecord(entry.signature, path=path, frames=dict(frames))

    def refuse(self, entry: Entry, reason: str, now: np.datetime64) -> None:
        """Note that a file cannot be read (yet)."""
        record = self._start_record(entry)
        record.state, record.reason, record.crashes = "unreadable", reason, 0
        record.refusals += 1
        record.retry = str(now + min(FIRST_RETRY * 2 ** min(record.refusals - 1, 10), LAST_RETRY))

    def blame(self, entry: Entry, reason: str, now: np.datetime64) -> None:
        """Note that reading a file ended the process, or took too long."""
        record = self._start_record(entry)
        record.crashes += 1
        record.reason, record.retry = reason, str(now)
        record.state = "set aside" if record.crashes >= MAX_TRIES else "unreadable"

    def _start_record(self, entry: Entry) -> FileRecord:
        """Return the record of a file; a new one if the file has changed."""
        known = self.files.get(entry.key)
        if known is None or known.signature != entry.signature:
            known = self.files[entry.key] = FileRecord(entry.signature)
        return known

    def find_frames(self) -> Frames:
        """Return the frames of the files that were taken."""
        chosen: dict[str, tuple[str, str]] = {}
        doubled, different = 0, []
        for key, record in self.files.items():
            if record.state != "taken":
                continue
            clash = [t for t, digest in record.frames.items() if t in chosen and chosen[t][1] != digest]
            if clash:
                different.append(f"{key}: another frame of {clash[0]} came before, in {chosen[clash[0]][0]}")
                continue
            doubled += sum(time in chosen for time in record.frames)
            chosen = {time: (record.path, digest) for time, digest in record.frames.items()} | chosen
        frames: dict[np.datetime64, Frame] = {
            np.datetime64(time, "ns"): Frame(*chosen[time]) for time in sorted(chosen)
        }
        return Frames(frames, doubled, tuple(different))

    def find_problems(self) -> list[str]:
        """Return the files that were not taken, with the reason."""
        return [f"{key}: {r.state}: {r.reason}" for key, r in self.files.items() if r.state != "taken"]

    def forget(self, found: Iterable[Entry], before: np.datetime64) -> list[str]:
        """Forget files that are not found any more and have no frame after a time; return their paths on the disk."""
        here = {entry.key for entry in found}
        gone = [
            key
            for key, record in self.files.items()
            if key not in here and all(np.datetime64(time) < before for time in record.frames)
        ]
        return [self.files.pop(key).path for key in gone]


def make_signature(size: int, modified: int, changed: int) -> str:
    """Return the signature of a file on the disk, from its size and its times in ns."""
    return f"{size}-{modified}-{changed}"


def get_change_time(signature: str) -> np.datetime64:
    """Return the time at which a file on the disk was last written, by the clock of its computer."""
    return np.datetime64(int(signature.split("-")[1]), "ns")


def _load(path: Path) -> dict[str, FileRecord]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            return {}
        return {key: FileRecord(**record) for key, record in content["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):  # of another version; the files are read again
        return {}
