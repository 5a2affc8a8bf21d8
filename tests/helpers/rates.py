"""A format for tests whose files are a few bytes, ``rate`` and a number; the time is in the name of the file."""

from __future__ import annotations

import numpy as np

from hybridcast.core.field import precipitation
from hybridcast.core.readers import read_bytes
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import ReadError

NAME = "rate"
DESCRIPTION = "a number in a text file"
START = np.datetime64("2024-06-01T12:00", "ns")


def recognises(path, head):
    """Return whether a file starts with the word rate."""
    return head.startswith(b"rate")


def read(path):
    """Read a frame of 2 x 3 cells that all have the rate."""
    content = read_bytes(path).decode()
    if not content.endswith(";"):
        raise ReadError(path, "it is cut")
    time = parse_time_in_name(path.name)
    if time is None:
        raise ReadError(path, "no time in its name")
    rate = np.full((1, 2, 3), float(content[4:-1]))
    return precipitation(rate, time=[time], y=[0, 1000], x=[0, 1000, 2000], crs="EPSG:3035")


def name(minute: int) -> str:
    """Return the name of the file of a minute after 12:00."""
    return f"rain_20240601_{12 + minute // 60:02d}{minute % 60:02d}.txt"


def content(minute: int) -> bytes:
    """Return the content of the file of a minute: its number is the rate."""
    return b"rate %d;" % minute


def files(*minutes: int) -> dict[str, bytes]:
    """Return the files of some minutes by name."""
    return {name(minute): content(minute) for minute in minutes}


def rates(field) -> list[float]:
    """Return the rate of each frame of a field."""
    return field[:, 0, 0].values.tolist()
