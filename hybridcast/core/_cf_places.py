"""Places in CF files that are stated twice, or whose meaning depends on the units of the axes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.types import Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError

#: False eastings above this, km, cannot be meant in kilometres.
_LONGEST = 20_000.0
_OFFSETS = ("false_easting", "false_northing")
#: Attributes that state the figure of the earth.
_FIGURE = {
    *("semi_major_axis", "semi_minor_axis", "inverse_flattening", "earth_radius", "reference_ellipsoid_name"),
    *(
        "horizontal_datum_name",
        "geographic_crs_name",
        "crs_wkt",
        "spatial_ref",
        "proj4",
        "proj4_params",
        "proj4_string",
    ),
}
#: Cells by which two statements of a place may differ, such as by the corner and the centre of a cell.
_NEAR = 1.5
#: Fraction of the rows or columns from which on a difference is no matter of the figure of the earth.
_FAR = 0.1


def offsets_in_metres(mapping: Mapping[str, Any], units: str) -> Mapping[str, Any]:
    """Return a grid mapping with false easting and northing in metres; CF (appendix F) has them in units of the axes.

    Many files state them in metres beside axes in kilometres: what would be longer than the earth in kilometres is in
    metres.
    """
    conversion = unit_conversion(units, "m") if units else None
    if conversion is None or conversion[0] == 1.0 or {"crs_wkt", "spatial_ref"} & set(mapping):
        return mapping
    offsets = {name: float(np.ravel(mapping[name])[0]) for name in _OFFSETS if name in mapping}
    if any(abs(offset) * conversion[0] > _LONGEST * 1e3 for offset in offsets.values()):
        return mapping
    return {**mapping, **{name: offset * conversion[0] for name, offset in offsets.items()}}


def warn_without_figure(mapping: Mapping[str, Any], crs: pyproj.CRS) -> None:
    """Warn, once, if a map states no figure of the earth."""
    if "grid_mapping_name" in mapping and not crs.is_geographic and not _FIGURE & set(mapping):
        warnings.warn(
            f"the grid mapping {mapping.get('grid_mapping_name')} states no figure of the earth: WGS 84 is taken; on a "
            "sphere places differ by up to 20 km. Add semi_major_axis and inverse_flattening, or earth_radius, to it",
            InputWarning,
            stacklevel=2,
        )


def check_places(
    places: tuple[xr.DataArray, xr.DataArray],
    dims: tuple[Any, Any],
    y: Doubles,
    x: Doubles,
    crs: pyproj.CRS,
    path: Path,
) -> None:
    """Compare axes with the longitude and latitude of the corner cells.

    Parameters
    ----------
    places
        Longitude and latitude of all cells.
    dims
        Their dimensions along y and x.
    y, x
        Axes, in metres or degrees.
    crs
        Their CRS.
    path
        The file, for messages.

    Raises
    ------
    ReadError
        If they differ by much, such as where rows are in the other order; an `InputWarning` tells of less.
    """
    if min(y.size, x.size) < 2:
        return
    rows, columns = np.array([0, 0, -1, -1]), np.array([0, -1, 0, -1])
    at = {dims[0]: xr.DataArray(rows, dims="corner"), dims[1]: xr.DataArray(columns, dims="corner")}
    longitude, latitude = (np.asarray(place.isel(at).values, np.float64) for place in places)
    stated = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    across, along = (stated[0] - x[columns]) / (x[1] - x[0]), (stated[1] - y[rows]) / (y[1] - y[0])
    if crs.is_geographic:
        turn = 360.0 / (x[1] - x[0])
        across -= turn * np.round(across / turn)
    apart = np.hypot(across, along)
    apart = apart[np.isfinite(apart)]
    if apart.size == 0 or apart.max() <= _NEAR:
        return
    found = f"its axes and its longitudes and latitudes of all cells differ by up to {apart.max():.1f} cells"
    if apart.max() > max(_NEAR, _FAR * max(y.size, x.size)):
        raise ReadError(path, f"{found}: one is wrong. Correct x and y or their grid mapping, or remove the other")
    warnings.warn(f"{path}: {found}; the axes are used", InputWarning, stacklevel=2)
