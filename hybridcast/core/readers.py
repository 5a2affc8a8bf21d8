"""Readers of file formats: selection by name or by content, and errors that name the file.

The packages for radar, stations and NWP contain one module for each format; this module contains what they share.
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
    """Reader of one file format, usually a module."""

    NAME: str
    """Name of the format."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether a file has this format, by its first bytes `head` and, if necessary, the whole file."""
        ...


F = TypeVar("F", bound=Format)


def load_readers(package: str, built_in: Sequence[str], group: str | None = None) -> dict[str, Any]:
    """Return readers by name.

    Parameters
    ----------
    package
        Name of the package that contains the built-in readers.
    built_in
        Names of their modules, in the order in which they are tried.
    group
        Group of entry points by which other packages add readers. They come first and can replace built-in readers of
        the same name.
    """
    found = {entry.name: entry.load() for entry in importlib.metadata.entry_points(group=group)} if group else {}
    for module in built_in:
        reader = importlib.import_module(f"{package}.{module}")
        found.setdefault(reader.NAME, reader)
    return found


def expand_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return the files that paths and globs match, each once; raise `InputError` if one of them matches no file."""
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
    """Return the reader with a name; a reader or None is returned as is, an unknown name raises `InputError`."""
    if not isinstance(format, str):
        return format
    if format not in known:
        raise InputError(f"format {format!r}", "the format is a known one", f"Choose one of {', '.join(known)}")
    return known[format]


def detect_reader(path: Path, head: bytes, known: Mapping[str, F]) -> F | None:
    """Return the first reader that recognises a file; None if none does."""
    return next((reader for reader in known.values() if _recognises(reader, path, head)), None)


def _recognises(reader: Format, path: Path, head: bytes) -> bool:
    try:
        return reader.recognises(path, head)
    except Exception:  # libraries may fail on a damaged file that another reader recognises
        log.debug("%s cannot determine whether it reads %s", reader.NAME, path, exc_info=True)
        return False


def refuse_empty(path: Path) -> None:
    """Raise `ReadError` for an empty file."""
    if path.is_file() and path.stat().st_size == 0:
        raise ReadError(path, "the file is empty (0 bytes)")


@contextmanager
def read_errors(path: Path, name: str) -> Iterator[None]:
    """Convert any exception raised while a file is read into a `ReadError` that names the file."""
    try:
        yield
    except InputError as error:  # the fault is in this file, and the other files may be sufficient
        raise ReadError(path, str(error)) from error
    except HybridcastError:
        raise
    except Exception as error:  # libraries fail on damaged files in many ways
        log.debug("reading %s failed", path, exc_info=True)
        raise ReadError(path, f"cannot be read as {name} ({type(error).__name__}: {error})") from error
