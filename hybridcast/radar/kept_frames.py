"""Frames of files that are read again and again, as by a loop that makes a forecast of every new frame."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple, TypeAlias

import xarray as xr

from hybridcast.core.readers import Format

FileKey: TypeAlias = tuple[object, ...]


class KeptFile(NamedTuple):
    """A file that was decoded."""

    reader: Format
    frames: xr.DataArray


class KeptFrames:
    """Decoded frames of files, of which those used last stay in memory; for `hybridcast.open_radar`.

    A file is the same if its path, size and times of change are. Warnings of its reader come at the first reading only.

    Parameters
    ----------
    most_bytes
        Limit of the memory; a file that would take a quarter of it is not kept.

    Examples
    --------
    >>> kept = KeptFrames()
    >>> radar = open_radar("radar/*.h5", history="2h", kept=kept)  # doctest: +SKIP
    """

    def __init__(self, most_bytes: int = 2**28) -> None:
        self._most_bytes = most_bytes
        self._files: OrderedDict[FileKey, KeptFile] = OrderedDict()
        self._used: set[FileKey] = set()

    def forget_unused(self) -> None:
        """Forget the files that were not used since the last call."""
        for key in [key for key in self._files if key not in self._used]:
            del self._files[key]
        self._used.clear()

    def find(self, path: Path, *how: object) -> KeptFile | None:
        """Return what is kept of a file; None if it has changed, or is not kept.

        Parameters
        ----------
        path
            The file.
        how
            What else the frames depend on.
        """
        key = identify(path, *how)
        found = None if key is None else self._files.get(key)
        if found is None or key is None:
            return None
        self._files.move_to_end(key)
        self._used.add(key)
        return found._replace(frames=found.frames.copy(deep=True))

    def keep(self, file: KeptFile, key: FileKey | None, path: Path, *how: object) -> xr.DataArray:
        """Keep a file that was decoded, if it is not too large, and return its frames; others make room for it.

        Parameters
        ----------
        file
            What was decoded.
        key
            What `identify` returned before it was decoded: a file that was replaced meanwhile is not kept.
        path, how
            As for `find`.
        """
        if key is None or 4 * file.frames.nbytes > self._most_bytes:
            return file.frames
        loaded = file.frames.compute()
        if identify(path, *how) != key:
            return loaded
        self._files[key] = file._replace(frames=loaded.copy(deep=True))
        self._used.add(key)
        while sum(one.frames.nbytes for one in self._files.values()) > self._most_bytes:
            self._files.popitem(last=False)
        return loaded


def identify(path: Path, *how: object) -> FileKey | None:
    """Return what identifies the content of a file; None for a folder, whose parts may change."""
    if not path.is_file():
        return None
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, *how
