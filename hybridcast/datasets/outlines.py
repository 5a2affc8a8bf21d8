"""Coastlines, borders and land of Natural Earth, 1:10 million (public domain), from the file in the package.

``data/make_outlines.py`` makes the file. Coordinates are rounded to 0.0036 degrees of longitude and 0.0017 degrees of
latitude, 400 m and less.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.axes import unroll
from hybridcast.core.types import Doubles, Mask
from hybridcast.datasets.registry import packaged_path

Lines = list[Doubles]
"""Longitude and latitude of the points of each line, degrees, shape ``(point, 2)``."""
Box = tuple[float, float, float, float]
"""West, south, east and north edge, degrees; longitudes may go on beyond 180."""
_TURNS = (-360.0, 0.0, 360.0)
#: Straight edges of land where the source cuts it, which are no coast.
_DATE_LINE, _SOUTH_END = 179.99, -89.9


class _Outlines(NamedTuple):
    """The content of the file."""

    lines: Lines
    boxes: Doubles
    """West, south, east and north end of each line, shape ``(line, 4)``."""
    rings: list[NDArray[np.int32]]
    """Numbers of the lines of each ring of land; the complement (``~number``) of a line that is reversed."""
    polygons: list[NDArray[np.int32]]
    """Numbers of the rings of each polygon, the outer one first."""
    is_border: Mask
    """Which lines are borders; all others are coast."""


@functools.lru_cache(maxsize=1)
def _load() -> _Outlines:
    with np.load(packaged_path("outlines.npz")) as file:
        stored = dict(file)
    starts = np.cumsum(stored["line_sizes"])[:-1]
    lines = [
        np.cumsum(steps, axis=1).T * stored["scale"] + stored["origin"]
        for steps in np.split(stored["steps"].astype(np.int64), starts, axis=1)
    ]
    rings = np.split(stored["ring_lines"], np.cumsum(stored["ring_sizes"])[:-1])
    count = len(rings)
    polygons = np.split(np.arange(count, dtype=np.int32), np.cumsum(stored["polygon_sizes"])[:-1])
    boxes = _find_boxes(lines)
    is_border = np.zeros(len(lines), bool)
    is_border[stored["borders"]] = True
    return _Outlines(lines, boxes, rings, polygons, is_border)


def _find_boxes(lines: Lines) -> Doubles:
    """Return the west, south, east and north end of lines, shape ``(line, 4)``."""
    return np.array([[*line.min(axis=0), *line.max(axis=0)] for line in lines])


def find_coast(box: Box) -> Lines:
    """Return the coastlines that touch a box."""
    return [part for line in _select(~_load().is_border, box) for part in _drop_cuts(line)]


def find_borders(box: Box) -> Lines:
    """Return the borders between countries that touch a box."""
    return list(_select(_load().is_border, box))


def find_land(box: Box) -> list[Lines]:
    """Return the polygons of land within a box: closed rings, the outer one and those of its holes."""
    outlines = _load()
    found = []
    for polygon in outlines.polygons:
        rings = [_join(outlines.lines, outlines.rings[number]) for number in polygon]
        boxes = _find_boxes(rings)
        for turn in _TURNS:
            moved = [_turn(ring, turn) for ring, near in zip(rings, _touches(boxes, turn, box), strict=True) if near]
            clipped = [ring for ring in (clip_ring(one, box) for one in moved) if len(ring) > 2]
            if clipped:
                found.append(clipped)
    return found


def _select(wanted: Mask, box: Box) -> Iterator[Doubles]:
    """Yield those of the wanted lines that touch a box, moved by whole turns to where they do."""
    outlines = _load()
    numbers = np.flatnonzero(wanted)
    touches = np.stack([_touches(outlines.boxes[numbers], turn, box) for turn in _TURNS], axis=1)
    for line, turn in np.argwhere(touches):
        yield _turn(outlines.lines[numbers[line]], _TURNS[turn])


def _turn(line: Doubles, turn: float) -> Doubles:
    """Return a line moved by degrees of longitude."""
    return np.asarray(line + np.array([turn, 0.0]))


def _touches(boxes: Doubles, turn: float, box: Box) -> Mask:
    """Return which boxes, shape ``(line, 4)``, touch another one when they are moved by degrees of longitude."""
    west, south, east, north = box
    left, bottom, right, top = boxes.T
    return np.asarray((left + turn <= east) & (right + turn >= west) & (bottom <= north) & (top >= south))


def _drop_cuts(line: Doubles) -> Lines:
    """Return the parts of a coastline that are no edge of the map of the source."""
    longitude, latitude = np.abs(np.mod(line[:, 0] + 180.0, 360.0) - 180.0), line[:, 1]
    at_end = (longitude > _DATE_LINE) | (latitude < _SOUTH_END)
    cut = at_end[:-1] & at_end[1:]
    if not cut.any():
        return [line]
    parts = np.split(np.arange(len(line)), np.flatnonzero(cut) + 1)
    return [line[part] for part in parts if part.size > 1]


def _join(lines: Lines, numbers: NDArray[np.int32]) -> Doubles:
    """Return a ring from its lines, each of which begins where the one before ends, perhaps a turn apart.

    A ring around the south pole, that of Antarctica, is closed along the edge of the map.
    """
    ring = np.concatenate([(lines[one] if one >= 0 else lines[~one][::-1])[1:] for one in numbers.tolist()])
    ring = np.column_stack([unroll(ring[:, 0]), ring[:, 1]])
    around = abs(ring[-1, 0] - ring[0, 0]) > 180.0
    return np.vstack([ring, [(ring[-1, 0], -90.0), (ring[0, 0], -90.0)]]) if around else ring


def clip_ring(ring: Doubles, box: Box) -> Doubles:
    """Return the part of a ring within a box, by cutting it at one edge after the other (Sutherland and Hodgman 1974).

    Examples
    --------
    >>> clip_ring(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]), (1.0, -1.0, 9.0, 2.0)).tolist()
    [[1.0, 2.0], [1.0, 0.0], [4.0, 0.0], [4.0, 2.0]]
    """
    west, south, east, north = box
    for axis, edge, sign in ((0, west, 1), (0, east, -1), (1, south, 1), (1, north, -1)):
        if not len(ring):
            return ring
        inside = sign * (ring[:, axis] - edge) >= 0
        before, was_inside = np.roll(ring, 1, axis=0), np.roll(inside, 1)
        crosses = inside != was_inside
        step = ring[:, axis] - before[:, axis]
        part = np.where(crosses, (edge - before[:, axis]) / np.where(step == 0, 1.0, step), 0.0)
        crossings = before + part[:, None] * (ring - before)
        both = np.stack([crossings, ring], axis=1).reshape(-1, 2)
        ring = both[np.stack([crosses, inside], axis=1).ravel()]
    return ring
