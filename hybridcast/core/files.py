"""Atomic writing of files, file names, and digests that identify objects."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hybridcast.errors import InputError


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
    if not path.parent.is_dir():
        raise InputError(f"folder {str(path.parent)!r} does not exist", "a file is written into a folder", "Create it")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=f".part{path.suffix}")
    except OSError as error:
        raise InputError(
            f"cannot write into {str(path.parent)!r} ({error.strerror})",
            "a file is written into a folder of yours",
            "Choose another, or change its permissions",
        ) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """Return the file mode mask of the process, which `mkstemp` ignores: its files are readable by their owner only."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
