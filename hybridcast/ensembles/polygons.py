"""Polygons of regions from GeoJSON, files of it, and objects with ``__geo_interface__``, on the grid of a field."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.axes import unroll
from hybridcast.core.field import crs_of
from hybridcast.core.types import Doubles
from hybridcast.errors import InputError, ReadError

#: Longest piece of an edge that stays straight on another map, in degrees and in metres: the sagitta is a few metres.
PIECE_DEGREES, PIECE_METRES = 0.1, 10_000.0
_REMEDY = "Give GeoJSON, or an object with __geo_interface__, such as a geometry of shapely"
#: Longitude and latitude of WGS 84, which GeoJSON prescribes (RFC 7946).
LONGITUDE_LATITUDE = "OGC:CRS84"

Ring: TypeAlias = Doubles
"""Corners in order, shape ``(corner, 2)``: x and y, or longitude and latitude."""
Polygon: TypeAlias = list[Ring]
"""The outer ring, and those of holes."""


class Feature(NamedTuple):
    """A geometry with its properties."""

    geometry: Any
    """Geometry as in GeoJSON."""
    properties: Mapping[str, Any]
    number: Any
    """``id`` of the feature; None if it has none."""


class Region(NamedTuple):
    """A named region of one or more polygons."""

    name: str | None
    polygons: list[Polygon]


class Regions(NamedTuple):
    """Regions, and the CRS that their source states; None if it states none."""

    regions: list[Region]
    crs: pyproj.CRS | None


# --- reading --------------------------------------------------------------------------------------------------


def read_regions(given: Any, label: str = "name") -> Regions:
    """Return the regions of anything that holds polygons.

    Parameters
    ----------
    given
        A mapping of names to geometries; GeoJSON as a mapping; an object with ``__geo_interface__`` (shapely,
        geopandas, fiona); the path of a GeoJSON file; or a list of these.
    label
        Property of features that names them.

    Raises
    ------
    InputError
        If there is no polygon, or a geometry is none.
    ReadError
        If a file cannot be read as GeoJSON.
    """
    if isinstance(given, str | Path):
        return read_regions(read_json(Path(given).expanduser()), label)
    if hasattr(given, "__geo_interface__"):
        found = read_regions(given.__geo_interface__, label)
        stated = getattr(given, "crs", None)
        return found if stated is None else found._replace(crs=as_crs(stated))
    if isinstance(given, Mapping) and isinstance(given.get("type"), str):
        return Regions(_require_some(_read_features(given, label)), stated_crs(given))
    if isinstance(given, Mapping):
        return _merge([_rename(read_regions(one, label), str(name)) for name, one in given.items()])
    if isinstance(given, Sequence):
        return _merge([read_regions(one, label) for one in given])
    raise InputError(f"regions are {type(given).__name__}", "regions are polygons", _REMEDY)


def read_json(path: Path) -> Any:
    """Return the content of a file of GeoJSON; `ReadError` if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(path, error.strerror or str(error)) from error
    except ValueError as error:
        reason = "no GeoJSON. Convert it, e.g. by 'ogr2ogr regions.geojson FILE', or pass what geopandas reads of it"
        raise ReadError(path, reason) from error


def _merge(parts: list[Regions]) -> Regions:
    stated = {part.crs for part in parts}
    if len(stated) > 1:
        raise InputError(f"regions state {len(stated)} CRS", "regions are in one CRS", "Convert them to one")
    return Regions(_require_some(region for part in parts for region in part.regions), stated.pop() if stated else None)


def _rename(found: Regions, name: str) -> Regions:
    """Return all polygons as one region of this name."""
    return found._replace(regions=[Region(name, [polygon for one in found.regions for polygon in one.polygons])])


def _require_some(regions: Iterator[Region]) -> list[Region]:
    found = list(regions)
    if not found:
        raise InputError("there is no polygon", "regions are polygons", _REMEDY)
    return found


def _read_features(geojson: Mapping[str, Any], label: str) -> Iterator[Region]:
    for feature in iterate_features(geojson):
        name = feature.properties.get(label, feature.number)
        yield Region(None if name is None else str(name), list(read_polygons(feature.geometry)))


def iterate_features(geojson: Mapping[str, Any]) -> Iterator[Feature]:
    """Yield the features of GeoJSON; a bare geometry is one without properties."""
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        for feature in geojson.get("features") or ():
            yield from iterate_features(feature)
    elif kind == "Feature":
        yield Feature(geojson.get("geometry"), geojson.get("properties") or {}, geojson.get("id"))
    else:
        yield Feature(geojson, {}, None)


def read_polygons(geometry: Any) -> Iterator[Polygon]:
    """Yield the polygons of a geometry of GeoJSON; `InputError` if it is none of polygons."""
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind == "Polygon":
        yield _read_polygon(geometry.get("coordinates"))
    elif kind == "MultiPolygon":
        yield from map(_read_polygon, geometry.get("coordinates") or (None,))
    elif kind == "GeometryCollection":
        for part in geometry.get("geometries") or (None,):
            yield from read_polygons(part)
    else:
        raise InputError(f"a geometry is {kind}", "a region is a Polygon or a MultiPolygon", _REMEDY)


def _read_polygon(rings: Any) -> Polygon:
    if not rings:
        raise InputError("a polygon has no corners", "a region is a Polygon or a MultiPolygon", "Remove it")
    return [_read_ring(ring) for ring in rings]


def _read_ring(corners: Any) -> Ring:
    """Return a ring without the repetition of its first corner at the end."""
    try:
        ring = np.array([corner[:2] for corner in corners], dtype=np.float64)  # a third number is a height
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"a ring is {str(corners)[:40]}", "a ring is a list of places", _REMEDY) from error
    if len(ring) and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise InputError(f"a ring is {ring.tolist()}", "a ring has three finite corners at least", "Remove it")
    return ring


def stated_crs(geojson: Mapping[str, Any]) -> pyproj.CRS | None:
    """Return the CRS that a member ``crs`` names, as GDAL writes it into GeoJSON of another CRS."""
    stated = geojson.get("crs")
    properties = stated.get("properties") if isinstance(stated, Mapping) else None
    return None if stated is None else as_crs(properties.get("name") if isinstance(properties, Mapping) else stated)


def as_crs(given: Any) -> pyproj.CRS:
    """Return a CRS that pyproj reads; `InputError` if it does not."""
    try:
        return pyproj.CRS.from_user_input(given)
    except pyproj.exceptions.CRSError as error:
        rule = "the CRS of regions is one that pyproj reads"
        raise InputError(f"the CRS of the regions is {given!r}", rule, "Give, e.g., crs='EPSG:3035'") from error


# --- on the grid ----------------------------------------------------------------------------------------------


def project_regions(found: Regions, field: xr.DataArray, crs: pyproj.CRS | str | None) -> list[Region]:
    """Return regions in the coordinates of the grid of a field.

    Parameters
    ----------
    found
        Regions of any CRS.
    field
        Field with the coordinates `y` and `x`, and a CRS unless the regions are in coordinates of its grid.
    crs
        CRS of the regions, or ``"grid"``: coordinates of the grid; by default the one that they state, or else
        longitude and latitude.

    Raises
    ------
    InputError
        If the grid has no CRS, or a corner has no place on the map of the grid.
    """
    if isinstance(crs, str) and crs == "grid":
        return found.regions
    target = crs_of(field)
    if target is None:
        raise InputError("the grid has no CRS", "the place of the grid is known", "Give regions with crs='grid'")
    source = found.crs or as_crs(LONGITUDE_LATITUDE) if crs is None else as_crs(crs)
    project = _projection(source, target, np.asarray(field["x"].values, dtype=np.float64))
    return [region._replace(polygons=[project(polygon) for polygon in region.polygons]) for region in found.regions]


def _projection(source: pyproj.CRS, target: pyproj.CRS, x: Doubles) -> Callable[[Polygon], Polygon]:
    """Return the function that moves a polygon from one CRS to another, whose grid has the cell centres `x`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    longest = PIECE_DEGREES if source.is_geographic else PIECE_METRES

    def project(polygon: Polygon) -> Polygon:
        rings = [np.column_stack(transformer.transform(*_divide_edges(ring, longest).T)) for ring in polygon]
        if not all(np.isfinite(ring).all() for ring in rings):
            found = f"a region at {np.round(polygon[0][0], 3).tolist()} reaches beyond the map of the grid"
            raise InputError(found, "all corners have a place on the map", "Clip the region, or give crs=...")
        return _join_longitudes(rings, x) if target.is_geographic else rings

    return project


def _divide_edges(ring: Ring, longest: float) -> Ring:
    """Add corners, so that no edge is longer: a straight edge is a curve on another map."""
    following = np.roll(ring, -1, axis=0)
    pieces = np.maximum(1, np.ceil(np.abs(following - ring).max(axis=1) / longest)).astype(int)
    edge = np.repeat(np.arange(len(ring)), pieces)
    number = np.arange(edge.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    part = (number / pieces[edge])[:, None]
    return np.asarray(ring[edge] + part * (following - ring)[edge])


def _join_longitudes(rings: Polygon, x: Doubles) -> Polygon:
    """Return rings without jumps at the date line, moved as a whole by the turns that bring them next to the grid."""
    joined = [np.column_stack([unroll(ring[:, 0]), ring[:, 1]]) for ring in rings]
    middles = [float(ring[:, 0].min() + ring[:, 0].max()) / 2 for ring in joined]
    outer = middles[0] - 360.0 * np.round((middles[0] - x.mean()) / 360.0)
    turns = [360.0 * np.round((middle - outer) / 360.0) for middle in middles]
    return [ring - [turn, 0.0] for ring, turn in zip(joined, turns, strict=True)]
