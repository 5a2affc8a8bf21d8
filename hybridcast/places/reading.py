"""Places from ``places.toml``, GeoJSON, GeoPackage and other vector files, and objects with geometries.

In ``places.toml`` each ``[[place]]`` is a point (``latitude`` and ``longitude``, or ``x`` and ``y`` in ``crs``), a
``line`` or a ``polygon`` (lists of corners), and each ``[[file]]`` a vector file, whose features become places.
``buffer``, in metres, makes an area of what is within that distance. ``[[level]]`` defines a warning level by name;
``levels`` of a place, of a file or of all (at the top) are their names, or texts such as ``"20 mm in 1h"``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj

from hybridcast.ensembles.polygons import LONGITUDE_LATITUDE, Feature, as_crs, read_polygons
from hybridcast.errors import InputError
from hybridcast.places.buffers import buffer_geometry
from hybridcast.places.features import Features, read_features
from hybridcast.places.levels import WarningLevel, check_levels, parse_level
from hybridcast.places.place import Place, check_places, clean_name
from hybridcast.settings import parse_table, read_toml

TOML = ".toml"
GRID = "grid"
"""The CRS of coordinates of the grid of a forecast."""
_SEPARATOR = ";"
"""Stands between the levels in a property of a feature."""
Corners = tuple[tuple[float, float], ...]


class _Options(NamedTuple):
    """What a source states of its features, where they do not."""

    label: str
    buffer: float | None
    levels: tuple[WarningLevel, ...]
    named: Mapping[str, WarningLevel]
    crs: str | pyproj.CRS | None


def read_places(
    source: Any,
    *,
    label: str = "name",
    layer: str | None = None,
    buffer: float | None = None,
    levels: Sequence[str | WarningLevel] = (),
    crs: pyproj.CRS | str | None = None,
) -> tuple[Place, ...]:
    """Return the places of a file or an object.

    Parameters
    ----------
    source
        Path of a ``places.toml``, of GeoJSON, or of a file that GDAL reads, such as a GeoPackage (needs
        ``hybridcast[places]``); GeoJSON as a mapping; a mapping of names to geometries; an object with
        ``__geo_interface__`` (shapely, geopandas); or a list of these. Points are the cell around them, polygons areas;
        lines become areas by a buffer. A feature may have the properties ``buffer``, m, and ``levels``, a list or a
        text such as ``"20 mm in 1h; 5 mm/h"``.
    label
        Property that names the features; features of GeoJSON without it are named by their ``id``.
    layer
        Layer of a file with several.
    buffer
        Distance, m; what is within it is the area of a place.
    levels
        Warning levels of features without their own: texts, or `WarningLevel`.
    crs
        CRS of the coordinates, or ``"grid"`` for those of the grid of the forecast; by default the one that the source
        states, of GeoJSON longitude and latitude (WGS 84).

    Returns
    -------
    tuple of Place
        In the order of the source.

    Raises
    ------
    InputError
        If there is no place, a name is missing or not unique, a geometry is no point or area, the CRS is not known, or
        an option does not fit.
    ReadError
        If a file cannot be read.
    DependencyError
        If pyogrio is needed and not installed.

    Examples
    --------
    >>> office = {"type": "Point", "coordinates": [24.94, 60.17]}
    >>> read_places({"office": office}, levels=["20 mm in 1h"])[0].levels[0].amount
    20.0
    """
    given = tuple(one if isinstance(one, WarningLevel) else parse_level(one) for one in levels)
    if isinstance(source, str | Path) and Path(source).suffix.lower() == TOML:
        if (label, layer, buffer, crs) != ("name", None, None, None):
            found = f"label, layer, buffer or crs with {source}"
            raise InputError(found, "a places.toml states them itself", "Write them into its [[file]] or [[place]]")
        return check_places(_read_place_file(Path(source).expanduser(), given))
    options = _Options(label, buffer, check_levels(given), {}, crs)
    return check_places(_make_places(read_features(source, layer, label), options))


# --- features -------------------------------------------------------------------------------------------------


def _make_places(found: Features, options: _Options) -> list[Place]:
    crs = _choose_crs(found, options.crs)
    return [_make_place(feature, number, crs, options) for number, feature in enumerate(found.features, 1)]


def _choose_crs(found: Features, given: pyproj.CRS | str | None) -> pyproj.CRS | None:
    """Return the CRS of features; None for coordinates of the grid."""
    if isinstance(given, str) and given == GRID:
        return None
    if given is None and found.crs is None:
        raise InputError(
            "places state no CRS",
            "the place of coordinates is known",
            "Give crs='EPSG:4326' or another, or crs='grid' for coordinates of the grid",
            cli_remedy="Give --crs EPSG:4326 or another, or --crs grid for coordinates of the grid",
        )
    return found.crs if given is None else as_crs(given)


def _make_place(feature: Feature, number: int, crs: pyproj.CRS | None, options: _Options) -> Place:
    name = _name_of(feature, number, options.label)
    buffer = feature.properties.get("buffer")
    buffer = options.buffer if _is_missing(buffer) else buffer
    try:
        levels = check_levels(_levels_of(feature.properties.get("levels"), options))
        return _place_at(feature.geometry, name, crs, buffer, levels)
    except InputError as error:
        raise error.located(f"place {name!r}") from error


def _name_of(feature: Feature, number: int, label: str) -> str:
    name = feature.properties.get(label)
    name = feature.number if _is_missing(name) else name
    if _is_missing(name):
        properties = ", ".join(feature.properties) or "none"
        raise InputError(
            f"place {number} has no {label!r} (properties: {properties})",
            "places have names",
            "Choose the property with label=..., or give a mapping of names to geometries",
            cli_remedy="Choose the property with --label",
        )
    return clean_name(f"{name:g}" if isinstance(name, float) else str(name))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not np.isfinite(value))


def _levels_of(given: Any, options: _Options) -> Iterable[WarningLevel]:
    """Return the levels that a property of a feature names; those of its source if it names none."""
    if _is_missing(given):
        return options.levels
    stated = given
    if isinstance(given, str):
        given = _split_levels(given)
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        rule = "levels are a list of texts, or a text with ';' between"
        raise InputError(f"levels = {stated!r}", rule, "Write, for example, '20 mm in 1h; 5 mm/h'")
    return [parse_level(text, options.named) for text in given if text.strip()]


def _split_levels(text: str) -> Any:
    """Return the levels of a text: a list as JSON has it, or texts with a separator between; None for half a list."""
    if not text.lstrip().startswith("["):
        return text.split(_SEPARATOR)
    try:
        return json.loads(text)
    except ValueError:
        return None


def _place_at(geometry: Any, name: str, crs: pyproj.CRS | None, buffer: Any, levels: tuple[WarningLevel, ...]) -> Place:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if buffer is not None:
        if isinstance(buffer, bool) or not isinstance(buffer, int | float | np.number):
            raise InputError(f"buffer = {buffer!r}", "it is a number of metres", "Write, e.g., 1000.0")
        polygons, crs = buffer_geometry(geometry, float(buffer), crs)
        return Place(name, crs, polygons=polygons, levels=levels)
    if kind == "Point" or (kind == "MultiPoint" and len(geometry.get("coordinates", ())) == 1):
        corner = geometry["coordinates"] if kind == "Point" else geometry["coordinates"][0]
        return Place(name, crs, point=_check_point(corner, crs), levels=levels)
    if kind in {"LineString", "MultiLineString", "MultiPoint"}:
        raise InputError(
            f"it is a {kind}",
            "a place is a point or an area",
            "Give buffer=..., the distance within which rain counts, m",
            cli_remedy="Give --buffer, the distance within which rain counts, m",
        )
    return Place(name, crs, polygons=tuple(read_polygons(geometry)), levels=levels)


def _check_point(corner: Any, crs: pyproj.CRS | None) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in corner[:2])
    except (TypeError, ValueError) as error:
        raise InputError(f"it is at {corner!r}", "a point has two coordinates", "Correct it") from error
    if not np.isfinite([x, y]).all():
        raise InputError(f"it is at {corner!r}", "coordinates are finite", "Correct it")
    if crs is not None and crs.is_geographic and not (abs(y) <= 90 and -180 <= x <= 360):
        rule = "latitude is -90 to 90, longitude -180 to 360"
        raise InputError(f"it is at longitude {x:g}, latitude {y:g}", rule, "Exchange them, or state their CRS")
    return x, y


# --- places.toml ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceEntry:
    """A ``[[place]]`` of a ``places.toml``."""

    name: str
    latitude: float | None = None
    longitude: float | None = None
    x: float | None = None
    y: float | None = None
    line: Corners | None = None
    """Corners of a line: longitude and latitude, or x and y in `crs`."""
    polygon: Corners | None = None
    """Corners of an area, likewise."""
    crs: str | None = None
    """CRS of x and y, line or polygon; ``"grid"`` for coordinates of the grid."""
    buffer: float | None = None
    levels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class FileEntry:
    """A ``[[file]]`` of a ``places.toml``: a vector file of places."""

    path: str
    label: str = "name"
    layer: str | None = None
    crs: str | None = None
    buffer: float | None = None
    levels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PlaceFile:
    """The content of a ``places.toml``."""

    place: tuple[PlaceEntry, ...] = ()
    file: tuple[FileEntry, ...] = ()
    level: tuple[WarningLevel, ...] = ()
    levels: tuple[str, ...] = ()
    """Levels of places and files without their own."""


def list_sources(source: str | Path) -> list[Path]:
    """Return the files that the places of a file come from: itself, and those of each ``[[file]]``."""
    path = Path(source).expanduser()
    if path.suffix.lower() != TOML:
        return [path]
    return [path, *(_locate(file, path) for file in _parse_place_file(path).file)]


def _parse_place_file(path: Path) -> PlaceFile:
    return parse_table(PlaceFile, read_toml(path, "places"), str(path))


def _locate(file: FileEntry, path: Path) -> Path:
    """Return the path of a ``[[file]]`` of a ``places.toml``."""
    return path.absolute().parent / Path(file.path).expanduser()


def _read_place_file(path: Path, given: tuple[WarningLevel, ...]) -> list[Place]:
    content = _parse_place_file(path)
    named = {level.name: level for level in check_levels(content.level)}
    usual = tuple(parse_level(text, named) for text in content.levels) or given
    places = []
    for entry in content.place:
        options = _Options("name", entry.buffer, _parse_levels(entry.levels, usual, named), named, entry.crs)
        places += _make_places(_feature_of(entry), options)
    for file in content.file:
        levels = _parse_levels(file.levels, usual, named)
        options = _Options(file.label, file.buffer, levels, named, file.crs)
        places += _make_places(read_features(_locate(file, path), file.layer, file.label), options)
    return places


def _parse_levels(
    texts: tuple[str, ...] | None, usual: tuple[WarningLevel, ...], named: Mapping[str, WarningLevel]
) -> tuple[WarningLevel, ...]:
    return usual if texts is None else tuple(parse_level(text, named) for text in texts)


def _feature_of(entry: PlaceEntry) -> Features:
    """Return a ``[[place]]`` as a feature."""
    in_degrees = entry.latitude is not None or entry.longitude is not None
    given = (in_degrees, entry.x is not None or entry.y is not None, entry.line is not None, entry.polygon is not None)
    where = f"place {entry.name!r}"
    if sum(given) != 1:
        rule = "a place has latitude and longitude, x and y, a line, or a polygon"
        raise InputError(f"{where} has {sum(given)} of them", rule, "Give one of the four")
    if in_degrees and entry.crs is not None:
        raise InputError(f"{where}: crs = {entry.crs!r}", "latitude and longitude are WGS 84", "Remove it")
    geometry = _geometry_of(entry, where)
    if given[1] and entry.crs is None:
        raise InputError(
            f"{where} has x and y without a CRS", "their CRS is known", "Add crs = 'grid', for the grid, or 'EPSG:...'"
        )
    return Features([Feature(geometry, {"name": entry.name}, None)], as_crs(LONGITUDE_LATITUDE))


def _geometry_of(entry: PlaceEntry, where: str) -> dict[str, Any]:
    if entry.line is not None:
        return {"type": "LineString", "coordinates": entry.line}
    if entry.polygon is not None:
        return {"type": "Polygon", "coordinates": [entry.polygon]}
    x, y = (entry.longitude, entry.latitude) if entry.x is None and entry.y is None else (entry.x, entry.y)
    if x is None or y is None:
        raise InputError(f"{where} has one coordinate", "a point has two", "Give latitude and longitude, or x and y")
    return {"type": "Point", "coordinates": [x, y]}
