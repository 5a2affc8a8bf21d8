"""Coastlines, borders, land and places, in the coordinates of a map page."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
import xarray as xr

from hybridcast.core.axes import nearest_turn
from hybridcast.core.field import crs_of
from hybridcast.core.types import Doubles
from hybridcast.datasets.outlines import find_borders, find_coast, find_land
from hybridcast.errors import ReadError
from hybridcast.places import Place
from hybridcast.webmap.canvas import Canvas
from hybridcast.webmap.scripts import read_script, write_script

AROUND = 0.6, 1.2
"""Height and width of the strip around a picture in which land is drawn, relative to the longer side."""
COARSER = 3.0
"""How much coarser lines are that do not touch the picture."""
VERSION = 2
"""Version of the outlines; increment it when they change."""
_DIGITS = 3
_LATITUDES = 85.0


def write_outlines(path: Path, canvas: Canvas) -> None:
    """Write land, coastlines and borders around a picture, unless they are there; empty lists for a local grid."""
    around = [VERSION, *canvas.south_west, *canvas.north_east]
    if _read_extent(path) == around:
        return
    shapes: dict[str, Any] = {"land": [], "coast": [], "borders": []}
    if not canvas.is_local:
        box = _surroundings(canvas)
        land = (_simplify(polygon, canvas, least=3) for polygon in find_land(box))
        shapes = {
            "land": [polygon for polygon in land if polygon],
            "coast": _simplify(find_coast(box), canvas),
            "borders": _simplify(find_borders(box), canvas),
        }
    write_script(path, "outlines", {"around": around, **shapes})


def _read_extent(path: Path) -> Any:
    """Return the extent of the outlines in a file; None if there is none."""
    try:
        status = path.stat()
        return _read_version(path, status.st_mtime_ns, status.st_size)
    except (OSError, ReadError, TypeError, KeyError):
        return None


@functools.lru_cache(maxsize=16)  # the file is large, and looked at whenever a forecast is shown
def _read_version(path: Path, modified: int, size: int) -> Any:
    return read_script(path)["around"]


def _surroundings(canvas: Canvas) -> tuple[float, float, float, float]:
    """Return a box around the picture: west, south, east and north edge, degrees."""
    (south, west), (north, east) = canvas.south_west, canvas.north_east
    narrowing = np.cos(np.deg2rad((south + north) / 2))
    longer = max(north - south, (east - west) * narrowing)
    high, wide = AROUND[0] * longer, AROUND[1] * longer / narrowing
    return west - wide, max(south - high, -_LATITUDES), east + wide, min(north + high, _LATITUDES)


def _simplify(lines: Iterable[Doubles], canvas: Canvas, least: int = 2) -> list[list[list[float]]]:
    """Return lines as latitude and longitude of the points that are needed to be right by half a pixel."""
    (south, west), (north, east) = canvas.south_west, canvas.north_east
    found = []
    for line in lines:
        (left, bottom), (right, top) = line.min(axis=0), line.max(axis=0)
        touches = left <= east and right >= west and bottom <= north and top >= south
        tolerance = 0.5 * (north - south) / canvas.shape[0] * (1.0 if touches else COARSER)
        narrowing = np.cos(np.deg2rad(np.clip(line[:, 1].mean(), -_LATITUDES, _LATITUDES)))
        whole = shapely.linestrings(line * (narrowing, 1.0))
        kept = shapely.get_coordinates(shapely.simplify(whole, tolerance, preserve_topology=False)) / (narrowing, 1.0)
        if len(kept) >= least:
            found.append(_to_list(kept))
    return found


def _to_list(points: Doubles) -> list[list[float]]:
    """Return points of longitude and latitude, or x and y, as those of a map page."""
    return [[round(float(y), _DIGITS), round(float(x), _DIGITS)] for x, y in points]


def locate_places(places: Sequence[Place], field: xr.DataArray | xr.Dataset, canvas: Canvas) -> list[dict[str, Any]]:
    """Return the point, or the outer rings and holes of the polygons, of each place."""
    return [_locate(place, crs_of(field), canvas) for place in places]


def _locate(place: Place, of_grid: pyproj.CRS | None, canvas: Canvas) -> dict[str, Any]:
    crs = place.crs or of_grid
    convert = None if crs is None else pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    middle = np.array([(canvas.south_west[1] + canvas.north_east[1]) / 2])

    def project(points: Doubles) -> list[list[float]]:
        if convert is None:
            return _to_list(points)
        longitude, latitude = convert.transform(points[:, 0], points[:, 1])
        return _to_list(np.column_stack([nearest_turn(np.asarray(longitude), middle), latitude]))

    if place.point is not None:
        return {"point": project(np.array([place.point], dtype=np.float64))[0]}
    return {"polygons": [[project(np.asarray(ring)) for ring in polygon] for polygon in place.polygons]}
