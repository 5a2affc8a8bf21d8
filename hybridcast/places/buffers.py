"""Areas within a distance of points, lines and polygons, in metres on Earth."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.geometry

from hybridcast.core.axes import unroll
from hybridcast.core.types import Doubles
from hybridcast.ensembles.polygons import (
    LONGITUDE_LATITUDE,
    PIECE_DEGREES,
    PIECE_METRES,
    Polygon,
    as_crs,
    read_polygons,
)
from hybridcast.errors import InputError


def buffer_geometry(
    geometry: Any, metres: float, crs: pyproj.CRS | None
) -> tuple[tuple[Polygon, ...], pyproj.CRS | None]:
    """Return the polygons around what is within a distance of a geometry, and their CRS.

    The distance is measured on an azimuthal equidistant map whose centre is within a degree of that of the geometry; on
    it distances 500 km from the centre are 0.1 % too long.

    Parameters
    ----------
    geometry
        Geometry as in GeoJSON.
    metres
        Distance, m.
    crs
        CRS of the geometry; None for coordinates of a grid, in metres, which the polygons keep. Otherwise they are in
        longitude and latitude.

    Raises
    ------
    InputError
        If the distance is not above zero, or the geometry is none.
    """
    shape = _to_shape(geometry)
    if not 0 < metres < 1e6:
        raise InputError(f"a buffer is {metres:g} m", "it is above zero and below 1000 km", "Give it in metres")
    if crs is None:
        return _polygons_of(shape.buffer(metres)), None
    to_map = _local_map(crs, *_whole_degrees(shape, crs))
    divided = shapely.segmentize(shape, PIECE_DEGREES if crs.is_geographic else PIECE_METRES)
    flat = shapely.transform(divided, lambda corners: _transform(to_map, corners))
    around = shapely.segmentize(flat.buffer(metres), PIECE_METRES)
    polygons = _polygons_of(around)
    return tuple([_to_degrees(to_map, ring, crs) for ring in polygon] for polygon in polygons), _degrees()


def _to_shape(geometry: Any) -> Any:
    try:
        found = shapely.geometry.shape(geometry)
    except (TypeError, ValueError, KeyError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(
            f"a geometry is {str(geometry)[:60]}", "it is one of GeoJSON", "Correct or remove it"
        ) from error
    if found.is_empty:
        raise InputError("a geometry is empty", "a place is somewhere", "Remove it")
    return shapely.force_2d(found)


def _polygons_of(shape: Any) -> tuple[Polygon, ...]:
    return tuple(read_polygons(shape.__geo_interface__))


def _whole_degrees(shape: Any, crs: pyproj.CRS) -> tuple[float, float]:
    """Return longitude and latitude of the middle of a geometry, rounded, so that near places share a map."""
    west, south, east, north = shape.bounds
    longitude, latitude = _transformer(crs, _degrees()).transform((west + east) / 2, (south + north) / 2)
    if not np.isfinite([longitude, latitude]).all():
        found = f"a geometry is at {(west + east) / 2:g}, {(south + north) / 2:g}"
        raise InputError(found, "it is within the map of its CRS", "Correct the coordinates, or state their CRS")
    return float(np.round(longitude)), float(np.round(latitude))


@functools.cache
def _degrees() -> pyproj.CRS:
    return as_crs(LONGITUDE_LATITUDE)


@functools.lru_cache(maxsize=1024)
def _local_map(crs: pyproj.CRS, longitude: float, latitude: float) -> pyproj.Transformer:
    """Return the transformer from a CRS to the azimuthal equidistant map around a place."""
    centre = {"proj": "aeqd", "lon_0": longitude, "lat_0": latitude, "datum": "WGS84", "units": "m"}
    return _transformer(crs, pyproj.CRS.from_dict(centre))


@functools.lru_cache(maxsize=1024)
def _transformer(source: pyproj.CRS, target: pyproj.CRS) -> pyproj.Transformer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pyproj.Transformer.from_crs(source, target, always_xy=True)


def _transform(transformer: pyproj.Transformer, corners: Doubles) -> Doubles:
    return np.column_stack(transformer.transform(*corners.T))


def _to_degrees(to_map: pyproj.Transformer, ring: Doubles, crs: pyproj.CRS) -> Doubles:
    """Return a ring of the local map in longitude and latitude, without jumps at the date line."""
    corners = np.column_stack(to_map.transform(ring[:, 0], ring[:, 1], direction="INVERSE"))
    longitude, latitude = _transformer(crs, _degrees()).transform(*corners.T)
    return np.column_stack([unroll(np.asarray(longitude)), latitude])
