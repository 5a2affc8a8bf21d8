"""Formats of files: known by name, recognised by content, read with errors that name the file.

Radar, stations and model fields each have a package of modules, one for each format; what holds for all is here.
"""

from __future__ import annotations

import glob
import importlib
import importlib.metadata
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hybridcast.errors import HybridcastError, InputError, ReadError

log = logging.getLogger(__name__)

PathLike = str | Path


class Format(Protocol):
    """What all formats have."""

    NAME: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell from the first bytes and, if need be, the file, whether it is one."""
        ...


F = TypeVar("F", bound=Format)


def load_readers(package: str, built_in: Sequence[str], group: str | None = None) -> dict[str, Any]:
    """Return formats by name: first the entry points of `group`, which can replace one of ours, then our modules."""
    found = {entry.name: entry.load() for entry in importlib.metadata.entry_points(group=group)} if group else {}
    for module in built_in:
        reader = importlib.import_module(f"{package}.{module}")
        found.setdefault(reader.NAME, reader)
    return found


def expand(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return the files that paths and globs name, each once; `InputError` if one names none."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for item in given:
        path = Path(item).expanduser()
        if path.exists():
            files.append(path)
            continue
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if not matches:
            raise InputError(f"no file matches {str(item)!r}", "the files exist", "Check the path or the glob")
        files.extend(matches)
    if not files:
        raise InputError("no paths given", "at least one file is needed", "Give a file, a glob or a list of files")
    return list(dict.fromkeys(files))


def get_reader(format: str | F | None, known: Mapping[str, F]) -> F | None:
    """Return the format asked for, by its name or itself; None if none is; `InputError` if none has that name."""
    if not isinstance(format, str):
        return format
    if format not in known:
        raise InputError(f"format {format!r}", "the format is a known one", f"Choose one of {', '.join(known)}")
    return known[format]


def detect_reader(path: Path, head: bytes, known: Mapping[str, F]) -> F | None:
    """Return the first format that recognises a file; None if none does."""
    return next((reader for reader in known.values() if _recognises(reader, path, head)), None)


def _recognises(reader: Format, path: Path, head: bytes) -> bool:
    try:
        return reader.recognises(path, head)
    except Exception:  # a damaged file may fail the libraries that look into it; the next format may know it
        log.debug("%s cannot tell whether it reads %s", reader.NAME, path, exc_info=True)
        return False


def refuse_empty(path: Path) -> None:
    """Raise `ReadError` for a file without a byte."""
    if path.is_file() and path.stat().st_size == 0:
        raise ReadError(path, "the file is empty (0 bytes)")


@contextmanager
def read_errors(path: Path, name: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a `ReadError` that names it."""
    try:
        yield
    except InputError as error:  # what is wrong is in this file, so the others may do without it
        raise ReadError(path, str(error)) from error
    except HybridcastError:
        raise
    except Exception as error:  # the many ways in which format libraries fail on a damaged file
        log.debug("reading %s failed", path, exc_info=True)
        raise ReadError(path, f"cannot be read as {name} ({type(error).__name__}: {error})") from error
