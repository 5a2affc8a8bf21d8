"""Grid of ODIM files: the projection, and the cells between the corners.

The corners are the outer corners of the grid, and the first row runs from the upper left to the upper right one
(section 4.2). Deviations that the corners themselves show are followed: corners at the centres of cells, scales in
kilometres, upper corners in the south, corners on either side of the date line.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyproj

from hybridcast.core.axes import unroll
from hybridcast.core.crs import to_metres
from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._odim_layers import Layer

#: Names of the projection, the standard one first; GDAL, RAVE and others write the other ones.
_PROJECTIONS = ("projdef", "proj4", "proj4string", "proj", "projection", "crs_wkt", "epsg")
_CORNERS = ("LL", "LR", "UL", "UR")


def read_grid(layer: Layer) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres, in the order of columns and rows, and the CRS, in metres or degrees."""
    shape = layer.shape
    stated = tuple(layer.number("where", f"{axis}size") or size for axis, size in zip("yx", shape, strict=False))
    if len(shape) != 2 or stated != shape:
        raise ReadError(layer.path, f"the data are {shape}, but {stated} cells are stated (ysize, xsize)")
    crs = _read_crs(layer)
    left, right, top, bottom = _read_edges(layer, crs)
    x = _cell_centres(layer, "x", left, right, shape[1], crs.is_geographic)
    y = _cell_centres(layer, "y", top, bottom, shape[0], crs.is_geographic)
    return x, y, crs


def _read_crs(layer: Layer) -> pyproj.CRS:
    text = layer.text("where", *_PROJECTIONS) or layer.text("how", *_PROJECTIONS)
    if not text:
        raise ReadError(layer.path, "the projection (where/projdef) is missing")
    try:
        return _parse_crs(text)
    except pyproj.exceptions.CRSError as error:
        raise ReadError(layer.path, f"the projection {text!r} is not known to PROJ ({error})") from error


@functools.lru_cache(maxsize=64)  # a sequence has many files with one projection
def _parse_crs(text: str) -> pyproj.CRS:
    """Return the CRS, in metres or degrees, of a PROJ string (also without plus signs), an EPSG code, or WKT."""
    if text.isdigit():
        text = f"EPSG:{text}"
    if "+" not in text and text.startswith("proj="):
        text = " ".join(f"+{word}" for word in text.split())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # +init=epsg:... is old, and clear
        crs = pyproj.CRS.from_user_input(text)
    return to_metres(crs)


@functools.lru_cache(maxsize=64)
def _projection(crs: pyproj.CRS) -> Callable[[Doubles, Doubles], tuple[Doubles, Doubles]]:
    """Return the function from longitude and latitude to x and y."""
    if crs.is_geographic and crs.is_derived:  # a rotated pole, for which Proj returns radians
        return pyproj.Transformer.from_crs(crs.source_crs, crs, always_xy=True).transform
    return pyproj.Proj(crs)


def _read_edges(layer: Layer, crs: pyproj.CRS) -> tuple[float, float, float, float]:
    """Return x of the corners of the first and the last column, and y of those of the first and the last row."""
    places = {corner: [layer.number("where", f"{corner}_{axis}") for axis in ("lon", "lat")] for corner in _CORNERS}
    known: dict[str, Any] = {corner: place for corner, place in places.items() if None not in place}
    if not ({"LL", "UR"} <= set(known) or {"UL", "LR"} <= set(known)):
        raise ReadError(layer.path, "its corners (where/LL_lon and others) are missing")
    x, y = _projection(crs)(*np.transpose(np.array(list(known.values()), dtype=float)))
    if not np.isfinite([x, y]).all():
        raise ReadError(layer.path, f"its corners {known} are not on the map {crs.to_string()!r}")
    corners = dict(zip(known, np.transpose([x, y]), strict=True))
    west, east, upper, lower = (
        np.array([place[axis] for corner, place in corners.items() if corner[letter] == side])
        for axis, letter, side in ((0, 1, "L"), (0, 1, "R"), (1, 0, "U"), (1, 0, "L"))
    )
    _require_rectangle(layer, (west, east), (upper, lower))
    return float(west[0]), float(east[0]), float(upper[0]), float(lower[0])


def _require_rectangle(layer: Layer, *sides: tuple[Doubles, Doubles]) -> None:
    """Raise `ReadError` if the corners, where all four are stated, are no rectangle on the map within a cell."""
    for (one, other), count in zip(sides, reversed(layer.shape), strict=True):
        if max(np.ptp(one), np.ptp(other)) > abs(other[0] - one[0]) / count:
            raise ReadError(
                layer.path, f"its corners are no rectangle on the map: sides at {one.tolist()} and {other.tolist()}"
            )


def _cell_centres(layer: Layer, axis: str, first: float, last: float, count: int, geographic: bool) -> Doubles:
    """Return the centres of `count` cells, symmetric between two corners, in the order of the array.

    By the standard the corners are the outer ones; some producers state the centres of the corner cells. The middle is
    the same, so that cells of the stated size around it are correct in both cases.
    """
    if geographic and axis == "x":
        first, last = (float(part) for part in unroll(np.array([first, last])))
        last += 360.0 if last <= first else 0.0
    scale = _choose_scale(layer, axis, abs(last - first), count, geographic)
    return np.asarray((first + last) / 2 + (np.arange(count) - (count - 1) / 2) * scale * np.sign(last - first))


def _choose_scale(layer: Layer, axis: str, length: float, count: int, geographic: bool) -> float:
    """Return the size of the cells, m or degrees: the stated one, in metres or kilometres, if it fits the corners."""
    stated = layer.number("where", f"{axis}scale")
    for scale in () if stated is None else (stated, stated * 1000.0):
        if scale > 0 and count - 1.5 < length / scale < count + 0.75:
            return scale
    if (geographic or stated is None) and length > 0:  # on grids of degrees the scale is often stated in metres
        return length / count
    size = "unknown size" if stated is None else f"{stated:g}"
    raise ReadError(layer.path, f"{count} cells of {size} in {axis} do not fit between corners {length:g} apart")
