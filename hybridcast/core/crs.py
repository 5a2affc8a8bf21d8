"""CRS of files, with axes in metres."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyproj

from hybridcast.core.types import Doubles

#: Attributes that hold a CRS as text or number, as GDAL, ESRI, rioxarray, THREDDS and many institutes write them.
_CRS_ATTRIBUTES = (
    "crs_wkt",
    "spatial_ref",
    "esri_pe_string",
    "proj4",
    "proj4_params",
    "proj4_string",
    "proj4string",
    "proj4text",
    "proj_string",
    "proj_params",
    "projection",
    "epsg_code",
    "epsg",
    "srid",
    "crs",
)
#: A PROJ string, a WKT, an authority with its code, or the code alone; not a name such as "Mercator".
_CRS_TEXT = re.compile(r"^\s*(\+\w+|\w+\s*\[|(epsg|esri|ogc|urn:ogc[\w:.]*)\s*:|\d{4,6}\s*$)", re.IGNORECASE)

_ORIGIN = ("longitude_of_projection_origin", "latitude_of_projection_origin")
_CONE = ("standard_parallel", "longitude_of_central_meridian", "latitude_of_projection_origin")
#: Parameters without which a grid mapping has no known place (CF, appendix F); those that are zero by default are not.
_REQUIRED = {
    "albers_conical_equal_area": _CONE,
    "azimuthal_equidistant": _ORIGIN,
    "geostationary": ("perspective_point_height", "longitude_of_projection_origin"),
    "lambert_azimuthal_equal_area": _ORIGIN,
    "lambert_conformal_conic": _CONE,
    "orthographic": _ORIGIN,
    "rotated_latitude_longitude": ("grid_north_pole_latitude", "grid_north_pole_longitude"),
    "stereographic": _ORIGIN,
    "transverse_mercator": ("longitude_of_central_meridian",),
}


#: Parameters one of which states the scale of a map whose latitude of origin is a pole.
_TRUE_SCALE = {"standard_parallel", "scale_factor_at_projection_origin"}


def crs_from_cf(attrs: Mapping[str, Any]) -> pyproj.CRS:
    """Read the CRS from the attributes of a CF grid mapping variable."""
    return _crs_from_cf(tuple((name, _to_hashable(value)) for name, value in attrs.items()))


@functools.lru_cache(maxsize=64)  # without a WKT pyproj takes half a second, and a sequence has many files
def _crs_from_cf(attrs: tuple[tuple[str, Any], ...]) -> pyproj.CRS:
    return pyproj.CRS.from_cf({name: list(value) if isinstance(value, tuple) else value for name, value in attrs})


def _to_hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


def crs_from_mapping(attrs: Mapping[str, Any]) -> pyproj.CRS | None:
    """Return the CRS of a grid mapping variable: by CF, else by a text or code that one of its attributes holds.

    None if neither can be read, or parameters are missing without which the place is not known.
    """
    if missing_parameters(attrs):
        return crs_from_attributes(attrs)
    try:
        return crs_from_cf(attrs)
    except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError):
        return crs_from_attributes(attrs)


def missing_parameters(attrs: Mapping[str, Any]) -> list[str]:
    """Return the parameters that a grid mapping lacks, without which the place is not known; none beside a WKT."""
    if {"crs_wkt", "spatial_ref"} & set(attrs):
        return []
    name = str(attrs.get("grid_mapping_name"))
    unscaled = name == "polar_stereographic" and not _TRUE_SCALE & set(attrs)
    return [key for key in _REQUIRED.get(name, ()) if key not in attrs] + ["standard_parallel"] * unscaled


def crs_from_attributes(attrs: Mapping[str, Any]) -> pyproj.CRS | None:
    """Return the CRS that an attribute such as ``proj4``, ``epsg`` or ``spatial_ref`` holds; None if none does."""
    lower = {name.lower(): value for name, value in attrs.items()}
    texts = (str(_to_hashable(lower[name])) for name in _CRS_ATTRIBUTES if name in lower)
    return next((crs for text in texts if (crs := _parse_crs(text)) is not None), None)


def find_crs_text(attrs: Mapping[str, Any]) -> str | None:
    """Return the text of an attribute that is meant as a CRS, whether it can be read or not; None if there is none."""
    lower = {name.lower(): str(_to_hashable(value)) for name, value in attrs.items()}
    return next((lower[name] for name in _CRS_ATTRIBUTES if _CRS_TEXT.match(lower.get(name, ""))), None)


def _parse_crs(text: str) -> pyproj.CRS | None:
    if not _CRS_TEXT.match(text):
        return None
    try:
        return pyproj.CRS.from_user_input(int(text) if text.strip().isdigit() else text)
    except pyproj.exceptions.CRSError:
        return None


def metres_per_unit(crs: pyproj.CRS) -> float:
    """Return the unit of a projection's axes in metres; 1 if it is degrees or not stated."""
    if crs.is_geographic or not crs.axis_info:
        return 1.0
    return float(crs.axis_info[0].unit_conversion_factor or 1.0)


@functools.lru_cache(maxsize=64)
def to_metres(crs: pyproj.CRS) -> pyproj.CRS:
    """Return the same projection with axes in metres."""
    if metres_per_unit(crs) == 1.0:
        return crs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a PROJ string loses names, not numbers
        parameters = crs.to_dict()
    parameters.pop("to_meter", None)
    return pyproj.CRS.from_dict({**parameters, "units": "m"})


@functools.lru_cache(maxsize=64)
def satellite_height(crs: pyproj.CRS) -> float | None:
    """Return the height above the ellipsoid, m, of a geostationary projection; None for any other CRS."""
    operation = crs.coordinate_operation
    if operation is None or "geostationary" not in operation.method_name.lower():
        return None
    return next(float(p.value) for p in operation.params if p.name.lower() == "satellite height")


def centre_longitude(longitude: Doubles) -> Doubles:
    """Shift an axis of longitude by a multiple of 360 degrees, so that its middle is between -180 and 180."""
    turns = float(np.floor((longitude.mean() + 180.0) / 360.0))
    return longitude - 360.0 * turns


def unroll_longitude(longitude: Doubles) -> Doubles:
    """Remove jumps of 360 degrees from an axis of longitude, and centre it unless it runs around the globe.

    Examples
    --------
    >>> unroll_longitude(np.array([350.0, 0.0, 10.0])), unroll_longitude(np.array([190.0, 191.0]))
    (array([-10.,   0.,  10.]), array([-170., -169.]))
    """
    unrolled = np.asarray(np.unwrap(longitude, period=360.0))
    return unrolled if is_around_globe(unrolled) else centre_longitude(unrolled)


def is_around_globe(longitude: Doubles) -> bool:
    """Return whether an axis of longitude covers all 360 degrees."""
    return longitude.size > 1 and bool(np.ptp(longitude) + abs(longitude[1] - longitude[0]) > 359.9)
