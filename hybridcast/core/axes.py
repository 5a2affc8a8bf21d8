"""Axes of a grid as people hand them in, to one-dimensional cell centres in metres or degrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.arrays import as_floats
from hybridcast.core.types import Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError


def as_axis(values: Any, name: str, units: str) -> Doubles:
    """Return the cell centres along one axis.

    Parameters
    ----------
    values
        Cell centres, shape ``(n,)``; a DataArray with units is converted.
    name
        ``"x"`` or ``"y"``.
    units
        Units of the result, ``"m"`` or ``"degrees"``. Longitudes that jump by a turn, at the date line or at Greenwich,
        are continued beyond 180 or 360 degrees.

    Raises
    ------
    InputError
        If the axis is two-dimensional, or in units of another kind.
    """
    stated = str(values.attrs.get("units", "")) if isinstance(values, xr.DataArray) else ""
    axis = np.asarray(as_floats(values.values if isinstance(values, xr.DataArray) else values, np.float64))
    if axis.ndim != 1:
        raise _refuse_mesh(axis, name)
    if stated and stated != units:
        conversion = unit_conversion(stated, units)
        if conversion is None:
            raise InputError(
                f"{name!r} is in {stated!r}",
                f"with this CRS {name!r} is in {units}",
                "Give the CRS of these axes: 'EPSG:4326' for longitude and latitude, or the one of the projection",
            )
        axis = axis * conversion[0]
    return unroll(axis) if units == "degrees" and name == "x" else axis


def unroll(longitude: Doubles) -> Doubles:
    """Return longitudes without jumps of a turn between neighbours.

    Examples
    --------
    >>> unroll(np.array([179.8, -180.0, -179.8])).tolist()
    [179.8, 180.0, 180.2]
    """
    turns = np.cumsum(np.round(np.diff(longitude, prepend=longitude[:1]) / 360.0))
    return longitude - 360.0 * turns


def nearest_turn(longitude: Doubles, axis: Doubles) -> Doubles:
    """Return longitudes moved by whole turns to within half a turn of the middle of an axis of longitudes.

    Examples
    --------
    >>> nearest_turn(np.array([-179.8, 170.0]), np.array([179.0, 181.0])).tolist()
    [180.2, 170.0]
    """
    return np.asarray(longitude - 360.0 * np.round((longitude - axis.mean()) / 360.0))


def _refuse_mesh(axis: Doubles, name: str) -> InputError:
    """Return the error for an axis that is no row of numbers; a mesh of a regular grid has its rows in it."""
    remedy = "Give the x and y of the projection; places alone are no regular grid, unless regridded to one"
    if axis.ndim == 2 and axis.size and np.allclose(axis, axis[:1] if name == "x" else axis[:, :1], 0, 1e-6):
        remedy = f"It is the mesh of a regular grid: give {name}={'lon[0]' if name == 'x' else 'lat[:, 0]'}"
    return InputError(f"{name!r} has the shape {axis.shape}", "x and y are one-dimensional", remedy)


def step_tolerance(axis: Doubles, spacing: float) -> float:
    """Return how much steps of an even axis may differ: 1 % of the spacing, and the rounding of float32.

    Northings of millions of metres, and longitudes, are often stored as float32, which has seven digits.
    """
    return 0.01 * abs(spacing) + 2.0 * float(np.spacing(np.float32(np.abs(axis).max())))
