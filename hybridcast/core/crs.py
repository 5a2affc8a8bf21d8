"""CRS of files, with axes in metres."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyproj

from hybridcast.core.types import Doubles


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


def centre_longitude(longitude: Doubles) -> Doubles:
    """Shift an axis of longitude by a multiple of 360 degrees, so that its middle is between -180 and 180."""
    turns = float(np.floor((longitude.mean() + 180.0) / 360.0))
    return longitude - 360.0 * turns
