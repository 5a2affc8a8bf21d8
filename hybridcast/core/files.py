"""Atomic writing of files and folders, file names, and digests that identify objects."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hybridcast.errors import InputError


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


#: File mode mask of the process, which `mkstemp` ignores: its files are for their owner only. Reading it sets it
#: for a moment, which files that other threads make would suffer from, so it is read once.
_UMASK = _read_umask()


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file in the folder of `path`, with its suffix, that replaces `path` at the end.

    If writing fails, or the process is killed, `path` remains as it was.

    Raises
    ------
    InputError
        If the folder does not exist or is not writable, or `path` exists and is not a file.
    """
    path = Path(path).expanduser()
    if path.exists() and not path.is_file():
        raise InputError(f"{str(path)!r} is a folder or a device", "a file is written", "Give the name of a file")
    with _explain_failure(path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=f".part{path.suffix}")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_UMASK)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the path of a temporary folder beside `path`, with its suffix, that takes its place at the end.

    If writing fails, or the process is killed while it writes, `path` remains as it was. Between moving an old folder
    aside and moving the new one to its place there is none at `path`.

    Parameters
    ----------
    path
        Folder to write.
    may_replace
        Returns whether an existing folder may be replaced by the new one.

    Raises
    ------
    InputError
        If the folder of `path` does not exist or is not writable, or `path` exists and may not be replaced.
    """
    path = check_folder(path, may_replace)
    with _explain_failure(path.parent):
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-", suffix=f".part{path.suffix}"))
    old = part.with_name(f"{part.name}.old")
    try:
        yield part
        part.chmod(path.stat().st_mode if path.exists() else 0o777 & ~_UMASK)
        _exchange(part, path, old)
    except BaseException:
        _remove_unfinished(part)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_unfinished(folder: Path) -> None:
    """Remove a folder whose writing failed: threads of Zarr may write into it for a moment more, and make it anew."""
    for pause in (0.0, 0.05, 0.3):
        time.sleep(pause)
        shutil.rmtree(folder, ignore_errors=True)


def check_folder(path: str | Path, may_replace: Callable[[Path], bool]) -> Path:
    """Return the full path of a folder that `atomic_folder` may write; `InputError` if it may not."""
    path = Path(path).expanduser().resolve()
    if path.exists() and not (path.is_dir() and may_replace(path)):
        rule = "only a folder of the same kind is replaced"
        raise InputError(f"{str(path)!r} exists and holds something else", rule, "Give another name, or remove it")
    with _explain_failure(path.parent):
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def _exchange(new: Path, path: Path, old: Path) -> None:
    """Move a folder to `path`, and what was there to `old`; if that fails, `path` is what it was."""
    if not path.exists():
        new.rename(path)
        return
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise


@contextlib.contextmanager
def _explain_failure(folder: Path) -> Iterator[None]:
    """Raise `InputError` if the folder does not exist, or nothing can be written into it."""
    if not folder.is_dir():
        raise InputError(f"folder {str(folder)!r} does not exist", "a file is written into a folder", "Create it")
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write into {str(folder)!r} ({error.strerror})",
            "a file is written into a folder of yours",
            "Choose another, or change its permissions",
        ) from error


@runtime_checkable
class HasFingerprint(Protocol):
    """Ability of an object to identify itself by a text instead of its repr."""

    @property
    def fingerprint(self) -> str:
        """Text that differs between any two objects that behave differently."""
        ...


def digest(*parts: Any) -> str:
    """Return a short hexadecimal name that identifies `parts`.

    Objects that have a fingerprint are identified by it, all others by their repr (which for a dataclass contains all
    of its settings), without addresses in memory.
    """
    texts = [part.fingerprint if isinstance(part, HasFingerprint) else _stable_repr(part) for part in parts]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _stable_repr(part: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def safe_filename(name: str) -> str:
    """Return `name` with every character that is unsafe in file names replaced."""
    return re.sub(r"[^\w.+-]+", "-", name)
