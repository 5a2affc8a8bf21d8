"""Damaged global heaps of HDF5 files, in which the HDF5 library loops without end or takes all memory.

HDF5 File Format Specification, version 3, section III.E (global heap): a collection starts with ``GCOL`` and has
objects with a header of 16 bytes each, the last of them of index 0, the free space. The library goes to the next object
by the size of the one before, so that a free space of size 0, as a block of zeros leaves it, is read again and again.
And it asks for as much memory as a collection or an object says that it is long.
"""

from __future__ import annotations

import functools
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

_OBJECT = struct.Struct("<HHIQ")
_HEADER = 16
#: Larger files (bytes) are not searched, because it would take longer than to read what is wanted of them.
_LARGEST = 256 * 2**20


def has_damaged_heap(path: Path) -> bool:
    """Return whether the library would loop without end, or ask for any amount of memory, in a heap of a file."""
    status = path.stat()
    return 0 < status.st_size <= _LARGEST and _search(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)  # a file is opened several times, by each format that may recognise it
def _search(path: Path, size: int, mtime: int) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(end > size or is_damaged(bytes(data[start:end])) for start, end in _find_collections(data))


def _find_collections(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    for match in re.finditer(rb"GCOL\x01\x00\x00\x00", data):
        start = match.start()
        yield start, start + int.from_bytes(data[start + 8 : start + _HEADER], "little")


def is_damaged(collection: bytes) -> bool:
    """Return whether an object of a collection has no size, so that none comes after it, or is longer than the rest."""
    place = _HEADER
    while place + _OBJECT.size <= len(collection):
        index, _, _, length = _OBJECT.unpack_from(collection, place)
        step = length if index == 0 else _OBJECT.size + (length + 7) // 8 * 8
        if step == 0:
            return True
        place += step
    return place > len(collection)
