"""Readers of file formats: selected by name or by content, with errors that name the file.

Radar, stations and NWP each have a package with one module for each format; this module holds what they share.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hybridcast.core.compression import COMPRESSED_MAGICS as COMPRESSED_MAGICS
from hybridcast.core.compression import read_at_most
from hybridcast.core.file_kinds import UNFINISHED, describe, is_text
from hybridcast.core.listing import list_first
from hybridcast.core.locations import SEPARATOR, Location, prefetch
from hybridcast.errors import HybridcastError, InputError, InputWarning, ReadError, UnknownFormatError

log = logging.getLogger(__name__)

PathLike = str | Path


class Format(Protocol):
    """Interface that all formats share; a format is usually a module, and reads ONE file."""

    NAME: str
    """Name of the format in ``format=``."""
    DESCRIPTION: str
    """Description in one line: the producer of the files and their content."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether a file has this format.

        Parameters
        ----------
        path
            The file, or a folder, whose content is read only if the first bytes are not sufficient.
        head
            First bytes of the file, uncompressed; empty for a folder.
        """
        ...


F = TypeVar("F", bound=Format)
Content = TypeVar("Content")


# --- formats --------------------------------------------------------------------------------------------------


def load_readers(package: str, built_in: Sequence[str], group: str | None = None) -> dict[str, Any]:
    """Return formats by name.

    Parameters
    ----------
    package
        Name of the package that contains the built-in formats.
    built_in
        Names of their modules, in the order in which they are tried.
    group
        Group of entry points by which other packages add formats. They come first and can replace built-in formats of
        the same name.
    """
    found = {entry.name: entry.load() for entry in importlib.metadata.entry_points(group=group)} if group else {}
    for module in built_in:
        reader = importlib.import_module(f"{package}.{module}")
        found.setdefault(reader.NAME, reader)
    return found


def choose_reader(
    path: Path,
    format: str | F | None,
    readers: Mapping[str, F],
    kind: str,
    advice: str,
    *,
    cli_advice: str | None = None,
) -> F:
    """Return the requested format, or the first one that recognises a file.

    Parameters
    ----------
    path
        File or folder to read.
    format
        Name of a format, or the format itself; None to detect it from the content of the file.
    readers
        Known formats by name.
    kind
        Kind of the formats in error messages, such as ``"radar"``.
    advice
        What to do with a file of unknown format, the end of the error message.
    cli_advice
        The same in terms of the command line; by default `advice`.

    Raises
    ------
    ReadError
        If it is empty, an unfinished download, or no file; `UnknownFormatError` if no format recognises it.
    InputError
        If no format has the requested name.
    """
    chosen = get_reader(format, readers)
    _refuse_unreadable(path)
    if chosen is not None:
        return chosen
    head = read_head(path)
    reader = detect_reader(path, head, readers)
    if reader is not None:
        return reader
    if path.is_dir():
        raise ReadError(path, f"a folder, and no Zarr store. Give the files in it, such as '{path / '*'}'")
    what = describe(path, head)
    if what is not None:
        raise UnknownFormatError(path, f"no known {kind} format: {what}")
    known = f"no known {kind} format (starts with {head[:12]!r}); known are {', '.join(readers)}"
    if kind != "station" and is_text(head):
        known += "; tables of stations go to open_stations (--stations)"
    raise UnknownFormatError(path, f"{known}{advice}", cli_reason=f"{known}{cli_advice or advice}")


def get_reader(format: str | F | None, readers: Mapping[str, F]) -> F | None:
    """Return the format with a name, a format itself, or None for None; `InputError` for an unknown name."""
    if not isinstance(format, str):
        return format
    if format not in readers:
        raise InputError(f"format {format!r}", "the format is a known one", f"Choose one of {', '.join(readers)}")
    return readers[format]


def detect_reader(path: Path, head: bytes, readers: Mapping[str, F]) -> F | None:
    """Return the first format that recognises a file, or None."""
    return next((reader for reader in readers.values() if _recognises(reader, path, head)), None)


def _recognises(reader: Format, path: Path, head: bytes) -> bool:
    try:
        return reader.recognises(path, head)
    except Exception:  # libraries may fail on a damaged file, and another format may recognise it
        log.debug("%s cannot tell whether it reads %s", reader.NAME, path, exc_info=True)
        return False


def _refuse_unreadable(path: Path) -> None:
    """Raise `ReadError` for what is no file or folder with content, and for unfinished downloads."""
    if path.is_symlink() and not path.exists():
        raise ReadError(
            path, f"a link to {path.readlink()}, which does not exist. Copy the file itself, or its target too"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ReadError(path, "a pipe, a socket or a device, and no file. Write its content to a file first")
    if path.is_file() and path.stat().st_size == 0:
        raise UnknownFormatError(path, "the file is empty (0 bytes)")
    if path.is_dir() and not any(path.iterdir()):
        raise ReadError(path, "the folder is empty")
    if path.suffix.lower() in UNFINISHED and path.is_file():
        raise ReadError(
            path,
            f"an unfinished download ({path.suffix}). Wait until it is complete; rename it if it is, or leave it out",
        )


# --- several files --------------------------------------------------------------------------------------------


def read_files(
    files: Sequence[Path], read: Callable[[Path], Content], *, strict: bool
) -> tuple[dict[Path, Content], list[ReadError]]:
    """Read files one by one, skipping those that cannot be read if others can.

    Parameters
    ----------
    files
        Files to read.
    read
        Reads one file, by `read_file`; raises `ReadError` if that is impossible.
    strict
        Whether to raise at the first file that cannot be read.

    Returns
    -------
    dict, list
        The content of each file that could be read, in the order of `files`, and the errors of the others.

    Raises
    ------
    ReadError
        For the first file that cannot be read, if `strict`, or if no file can be read.
    """
    prefetch(files)
    contents: dict[Path, Content] = {}
    unreadable: list[ReadError] = []
    for path in files:
        try:
            contents[path] = read(path)
        except ReadError as error:
            if len(files) == 1 or (strict and not _is_unknown_member(error)):
                raise
            unreadable.append(error)
    unreadable = _leave_out_foreign(list(contents), unreadable)
    if strict and contents and unreadable:
        raise unreadable[0]
    if not contents:
        first, others = unreadable[0], len(unreadable) - 1
        more = f" (and none of the other {others} files can be read)"
        raise ReadError(first.path, first.reason + more, cli_reason=first.cli_reason + more)
    return contents, unreadable


def read_file(path: Path, read: Callable[[Path], Content]) -> Content:
    """Read one file: itself, or a copy of it if it is a `Location`, which then is named in errors and warnings."""
    if not isinstance(path, Location):
        return read(path)
    local: Path = path
    try:
        local = path.local()
        with _renamed_warnings(local, path):
            return read(local)
    except ReadError as error:
        error.rename(local, path)
        raise


@contextmanager
def _renamed_warnings(old: Path, new: Path) -> Iterator[None]:
    """Hold back the warnings about a copy, and issue them with the path by which the user knows the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        try:
            yield
        finally:
            held = list(caught)
    for one in held:
        if isinstance(one.message, InputWarning):
            one.message.rename(old, new)
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _is_unknown_member(error: ReadError) -> bool:
    return isinstance(error, UnknownFormatError) and isinstance(error.path, Location) and SEPARATOR in str(error.path)


def _leave_out_foreign(read: Sequence[Path], unreadable: list[ReadError]) -> list[ReadError]:
    """Warn of the members of containers that do not belong to the files that were read, and return the other errors.

    They have another suffix: notes, metadata and pictures are often packed with the data.
    """
    suffixes = {path.suffix for path in read}
    foreign = [error for error in unreadable if _is_unknown_member(error) and error.path.suffix not in suffixes]
    if not read or not foreign:
        return unreadable
    names = list_first([error.path for error in foreign], 3)
    warnings.warn(f"left out, of no known format beside others in a container: {names}", InputWarning, stacklevel=4)
    return [error for error in unreadable if error not in foreign]


def warn_unreadable(unreadable: Sequence[ReadError], consequence: str) -> dict[str, str]:
    """Warn about each file that was skipped, and return the attribute ``unreadable_files`` that lists them.

    The warning points to the caller of the function that calls this one. Without such files the result is empty.
    """
    for error in unreadable:
        text = InputWarning(f"{consequence}: {error}", f"{consequence}: {error.for_command_line}")
        warnings.warn(text, stacklevel=3)
    return {"unreadable_files": "; ".join(str(error) for error in unreadable)} if unreadable else {}


@contextmanager
def read_errors(path: Path, name: str) -> Iterator[None]:
    """Convert all errors while a file is read to a `ReadError` that names the file."""
    try:
        yield
    except InputError as error:  # the fault is in this file, so the others can be used without it
        raise ReadError(path, str(error), cli_reason=error.for_command_line) from error
    except HybridcastError:
        raise
    except Exception as error:  # format libraries raise many kinds of errors on a damaged file
        log.debug("reading %s failed", path, exc_info=True)
        raise ReadError(path, f"cannot be read as {name} ({type(error).__name__}: {error})") from error


# --- content and names of files -------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    """Read a whole file, uncompressed where it is compressed, regardless of its name."""
    return read_at_most(path)


def read_head(path: Path, size: int = 4096) -> bytes:
    """Read the first bytes of a file, uncompressed; empty for a folder."""
    return b"" if path.is_dir() else read_at_most(path, size)
