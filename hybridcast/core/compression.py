"""Single compressed files: gzip, bzip2, xz and Zstandard, known by their first bytes regardless of the name."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hybridcast.core.extras import extra
from hybridcast.errors import ReadError


def _open_zstandard(path: Path, mode: str = "rb") -> Any:
    with extra("parquet", "a file compressed by Zstandard"):
        import pyarrow  # it brings the codec, and takes long to import

    return pyarrow.input_stream(str(path), compression="zstd")


_OPENERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7z": lzma.open,
    b"\x28\xb5\x2f": _open_zstandard,
}
COMPRESSED_MAGICS = tuple(_OPENERS)
"""The first two or three bytes of the compressed files that can be read."""

MAX_UNCOMPRESSED = 2 * 2**30
"""Largest size in bytes to which one file may unfold; a larger one is an error, or meant to fill the disk."""
_BLOCK = 2**20
_DAMAGES = (EOFError, zlib.error, lzma.LZMAError)


def is_compressed(path: Path) -> bool:
    """Return whether a file begins like one of the known compressions."""
    with path.open("rb") as file:
        return file.read(3).startswith(COMPRESSED_MAGICS)


@contextmanager
def open_uncompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its content, uncompressed where it is compressed.

    Raises
    ------
    ReadError
        If the file cannot be read, or turns out to be truncated or damaged while it is read.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(3)
            opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
            if opener is None:
                raw.seek(0)
                yield raw
                return
        with opener(path, "rb") as plain:
            yield plain
    except _DAMAGES as error:
        raise ReadError(path, f"the compressed file is truncated or damaged ({error})") from error
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(path, _explain(error, path)) from error


def describe_full_disk() -> str:
    """Return what is to be done if a temporary copy does not fit on the disk."""
    return f"no space is left in {tempfile.gettempdir()} for a copy. Free some, or set TMPDIR to a larger folder"


def _explain(error: OSError, path: Path) -> str:
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return describe_full_disk()
    if isinstance(error, PermissionError):
        return f"{reason}: it may not be read by you. Change its permissions, e.g. with 'chmod u+r'"
    if isinstance(error, IsADirectoryError):
        return f"a folder. Give the files in it, such as '{path / '*'}'"
    return reason


def read_at_most(path: Path, size: int = -1) -> bytes:
    """Return the first `size` bytes of the content of a file, or all of it; `ReadError` above `MAX_UNCOMPRESSED`."""
    with open_uncompressed(path) as file:
        if size >= 0:
            return bytes(file.read(size))
        content = bytes(file.read(MAX_UNCOMPRESSED + 1)) if is_compressed(path) else file.read()
    if len(content) > MAX_UNCOMPRESSED and is_compressed(path):
        raise _too_large(path)
    return content


@contextmanager
def uncompressed_file(path: Path) -> Iterator[Path]:
    """Yield the path of the content of a file for libraries that read from disk: itself, or a temporary copy of it."""
    if not path.is_file() or not is_compressed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hybridcast-") as folder:
        target = Path(folder) / path.stem
        with open_uncompressed(path) as source, target.open("wb") as out:
            if copy_until(source, out, MAX_UNCOMPRESSED) > MAX_UNCOMPRESSED:
                raise _too_large(path)
        yield target


def copy_until(source: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy a stream until it ends or more than `limit` bytes are copied; return the number of bytes.

    Of a damaged stream all is copied that comes before the damage.
    """
    read = getattr(source, "read1", source.read)
    copied = 0
    while copied <= limit and (block := read(_BLOCK)):
        copied += target.write(block)
    return copied


def _too_large(path: Path) -> ReadError:
    limit = MAX_UNCOMPRESSED / 2**30
    return ReadError(
        path, f"unfolds to more than {limit:g} GiB, as only damaged or malicious files do. Unpack it if you trust it"
    )
