"""Damage to files, as transfer, disks and writers cause it: at random, but the same for the same seed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

GZIP_MAGIC = b"\x1f\x8b"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
#: Bytes within which most formats have their header.
HEAD = 1024
#: Values that attributes and numbers of text files are replaced with.
NASTY_NUMBERS = (0.0, -1.0, 1e30, -1e30, np.nan, np.inf, 255.0, 65535.0, -9999.0, 1e-30, 2.5)
NASTY_TEXTS = (b"", b"\x00", b"nan", b"-9999", b"99999999999999999999", b"30.02.2024 25:61", b"\xff\xfe", b"mm", b'"')

Mutation = Callable[[bytes, np.random.Generator], bytes]


# --- bytes ----------------------------------------------------------------------------------------------------


def flip_anywhere(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with up to 32 of them changed."""
    return _flip(data, random, len(data))


def flip_in_head(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with up to 32 of the first ones changed, where headers are."""
    return _flip(data, random, min(HEAD, len(data)))


def _flip(data: bytes, random: np.random.Generator, length: int) -> bytes:
    changed = bytearray(data)
    for place in random.integers(0, length, random.integers(1, 33)):
        changed[place] = random.integers(0, 256)
    return bytes(changed)


def truncate(data: bytes, random: np.random.Generator) -> bytes:
    """Return the first bytes only."""
    return data[: random.integers(1, len(data))]


def blank(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with a block set to zero, as a disk leaves it."""
    start, length = random.integers(0, len(data)), random.integers(1, 4096)
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def remove(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes without a block."""
    start, length = random.integers(0, len(data)), random.integers(1, 4096)
    return data[:start] + data[start + length :]


def double(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with a block that comes twice."""
    start, length = random.integers(0, len(data)), random.integers(1, 4096)
    return data[: start + length] + data[start:]


def insert_text(data: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes with a piece of text over a part of the head, as in text formats."""
    text = NASTY_TEXTS[random.integers(len(NASTY_TEXTS))]
    start = random.integers(0, min(HEAD, len(data)))
    return data[:start] + text + data[start + random.integers(0, 12) :]


BYTES: tuple[Mutation, ...] = (flip_anywhere, flip_in_head, truncate, blank, remove, double, insert_text)


# --- attributes of HDF5 ---------------------------------------------------------------------------------------


def change_attribute(path: Path, random: np.random.Generator) -> None:
    """Replace or delete an attribute of the file, or of a group or variable in it, in place."""
    with h5py.File(path, "r+") as file:
        holders = [file, *_descendants(file)]
        owned = [(holder, name) for holder in holders for name in holder.attrs if not name.startswith("_Netcdf4")]
        holder, name = owned[random.integers(len(owned))]
        kind = random.integers(4)
        if kind == 0:
            del holder.attrs[name]
        elif kind == 1:
            holder.attrs[name] = NASTY_NUMBERS[random.integers(len(NASTY_NUMBERS))]
        elif kind == 2:
            holder.attrs[name] = np.bytes_(NASTY_TEXTS[random.integers(len(NASTY_TEXTS))] or b" ")
        else:
            holder.attrs[name] = np.array(random.normal(size=3) * 1e3)


def _descendants(file: Any) -> list[Any]:
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item))
    return found


def mutate(source: Path, target: Path, seed: int) -> str:
    """Write a damaged copy of a file, and return what was done to it."""
    random = np.random.default_rng(seed)
    data = source.read_bytes()
    if data.startswith(GZIP_MAGIC) and random.random() < 0.7:  # damage behind the checksum of gzip, by its writer
        data = gzip.decompress(data)
    if data.startswith(HDF5_MAGIC) and random.random() < 0.5:
        target.write_bytes(data)
        try:
            change_attribute(target, random)
        except (OSError, TypeError, ValueError, RuntimeError, KeyError):
            target.write_bytes(data)  # h5py cannot store every value in every attribute: the file stays as it was
        return "change_attribute"
    mutation = BYTES[random.integers(len(BYTES))]
    target.write_bytes(mutation(data, random))
    return mutation.__name__
