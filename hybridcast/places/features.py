"""Features of GeoJSON and of vector files, with the CRS that their source states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyproj
import shapely

from hybridcast.core.extras import extra
from hybridcast.ensembles.polygons import (
    LONGITUDE_LATITUDE,
    Feature,
    as_crs,
    iterate_features,
    read_json,
    stated_crs,
)
from hybridcast.errors import InputError, ReadError
from hybridcast.settings import check_known

GEOJSON = (".geojson", ".json")
"""Suffixes of GeoJSON, which is read without further packages."""
_REMEDY = "Give GeoJSON, a GeoPackage or another vector file, a places.toml, or an object with __geo_interface__"


class Features(NamedTuple):
    """Features of one source."""

    features: list[Feature]
    crs: pyproj.CRS | None
    """The CRS that the source states; None if it states none."""


def read_features(given: Any, layer: str | None, label: str) -> Features:
    """Return the features of a file, of GeoJSON as a mapping, or of an object with ``__geo_interface__``.

    Parameters
    ----------
    given
        Path, mapping (of GeoJSON, or of names to geometries), object, or a list of objects.
    layer
        Layer of a file with several.
    label
        Property that names the features; that of the names of a mapping of names to geometries.

    Raises
    ------
    InputError
        If it is none of these, or a file has several layers.
    ReadError
        If a file cannot be read.
    DependencyError
        If a file needs pyogrio, which is not installed.
    """
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        return _from_geojson(read_json(path)) if path.suffix.lower() in GEOJSON else read_vector_file(path, layer)
    if hasattr(given, "__geo_interface__"):
        stated = getattr(given, "crs", None)
        found = _from_geojson(given.__geo_interface__)
        return found if stated is None else found._replace(crs=as_crs(stated))
    if isinstance(given, Mapping) and isinstance(given.get("type"), str):
        return _from_geojson(given)
    if isinstance(given, Mapping):
        named = [(str(name), read_features(one, layer, label)) for name, one in given.items()]
        return _merge([_name(found, name, label) for name, found in named])
    if isinstance(given, Sequence):
        return _merge([read_features(one, layer, label) for one in given])
    raise InputError(f"places are {type(given).__name__}", "places are points and areas", _REMEDY)


def _from_geojson(geojson: Any) -> Features:
    if not isinstance(geojson, Mapping):
        raise InputError(f"GeoJSON holds {type(geojson).__name__}", "it is an object", _REMEDY)
    stated = stated_crs(geojson)
    return Features(list(iterate_features(geojson)), as_crs(LONGITUDE_LATITUDE) if stated is None else stated)


def _merge(parts: list[Features]) -> Features:
    stated = {part.crs for part in parts}
    if len(stated) > 1:
        raise InputError(
            f"places state {len(stated)} CRS", "places of one source are in one CRS", "Convert them to one"
        )
    return Features([feature for part in parts for feature in part.features], stated.pop() if stated else None)


def _name(found: Features, name: str, label: str) -> Features:
    """Return features with a name; of one that was none, its geometry."""
    named = [feature._replace(properties={**feature.properties, label: name}) for feature in found.features]
    return found._replace(features=named)


# --- vector files ---------------------------------------------------------------------------------------------


def read_vector_file(path: Path, layer: str | None) -> Features:
    """Return the features of a layer of a file that GDAL reads: GeoPackage, Shapefile, FlatGeobuf and others."""
    with extra("places", f"reading {path}", "GeoJSON and places.toml need none"):
        import pyogrio
    if not path.exists():
        raise ReadError(path, "no such file or directory")
    try:
        chosen = _choose_layer(path, layer, pyogrio.list_layers(path))
        meta, _, shapes, columns = pyogrio.raw.read(path, layer=chosen)
        geometries = [None if one is None else one.__geo_interface__ for one in shapely.from_wkb(shapes)]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, shapely.errors.ShapelyError) as error:
        raise ReadError(path, f"no vector file that GDAL reads ({error})") from error
    rows = zip(*columns, strict=True) if len(columns) else ((),) * len(geometries)
    names = [str(field) for field in meta["fields"]]
    properties = (dict(zip(names, row, strict=True)) for row in rows)
    found = [Feature(geometry, one, None) for geometry, one in zip(geometries, properties, strict=True)]
    return Features(found, as_crs(meta["crs"]) if meta["crs"] else None)


def _choose_layer(path: Path, layer: str | None, layers: Any) -> str:
    """Return the layer to read: the named one, or the only one with geometries."""
    names = [str(name) for name, geometry in layers if geometry is not None]
    if layer is not None:
        check_known(layer, names, f"{path}: layer")
        return layer
    if len(names) != 1:
        raise InputError(
            f"{path} has {len(names)} layers of geometries ({', '.join(names)})",
            "places are read from one layer",
            "Choose it with layer=...",
            cli_remedy="Choose it with --layer",
        )
    return names[0]
