"""What the format modules share: bytes from (compressed) files, HDF5 files, times from names, a limit on rates."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE
from hybridcast.errors import ReadError

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}

#: Digits in a file's name that give a time, the longest first: 2017-05-09 10:45(:00), 17-05-09 10:45, year and day.
_TIMES_IN_NAMES = (
    (re.compile(r"(?<!\d)((?:19|20)\d{6})[-_T]?(\d{4})(?:\d{2})?(?!\d)"), "%Y%m%d%H%M"),
    (re.compile(r"(?<!\d)(\d{6})(\d{4})(?!\d)"), "%y%m%d%H%M"),
    (re.compile(r"(?<!\d)(\d{5})(\d{4})(?!\d)"), "%y%j%H%M"),
)


def read_bytes(path: Path) -> bytes:
    """Read a whole file, uncompressing gzip and bzip2 by their magic numbers, whatever its name says."""
    return _read(path, -1)


def read_head(path: Path, size: int = 4096) -> bytes:
    """Read the first bytes of a file, uncompressed; empty for a folder."""
    return b"" if path.is_dir() else _read(path, size)


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as raw:
            magic = raw.read(3)
            opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
            if opener is None:
                raw.seek(0)
                return raw.read(size)
        with opener(path, "rb") as plain:
            return bytes(plain.read(size))
    except (EOFError, zlib.error) as error:
        raise ReadError(path, f"the compressed file is truncated or damaged ({error})") from error
    except OSError as error:
        raise ReadError(path, str(error)) from error


def parse_time_in_name(name: str) -> np.datetime64 | None:
    """Find a time in the name of a file; None if there is none.

    Examples
    --------
    >>> parse_time_in_name("201705091045_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz")
    np.datetime64('2017-05-09T10:45:00.000000000')
    >>> parse_time_in_name("AQC161932050V_00005.801.gif")
    np.datetime64('2016-07-11T20:50:00.000000000')
    """
    for pattern, code in _TIMES_IN_NAMES:
        match = pattern.search(name)
        if match:
            try:
                return np.datetime64(datetime.strptime("".join(match.groups()), code), "ns")
            except ValueError:
                continue
    return None


HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file (compressed as a whole or not) for reading; `ReadError` if its structure is damaged."""
    import h5py

    with path.open("rb") as raw:
        plain = raw.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    try:
        file = h5py.File(path if plain else io.BytesIO(read_bytes(path)), "r")
    except OSError as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(path, f"the HDF5 file is truncated or damaged ({error})") from error
    with file:
        yield file


def limit_rates(rate: NDArray[Any], attrs: dict[str, Any]) -> NDArray[Any]:
    """Clip rates above `hybridcast.core.field.HIGHEST_RATE` to it, and count them in ``attrs["clipped_cells"]``.

    They are artefacts (interference, hail), in cells that the radar sees: missing would say that it does not.
    """
    high = int(np.count_nonzero(rate > HIGHEST_RATE))
    if high == 0:
        return rate
    attrs["clipped_cells"] = high
    return np.asarray(np.minimum(rate, rate.dtype.type(HIGHEST_RATE)))
