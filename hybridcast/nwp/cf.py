"""NWP fields in any NetCDF file or Zarr folder that follows the CF conventions.

A variable is identified by its ``standard_name``, or by its name if that is one of the schema. The run is the
coordinate ``forecast_reference_time``; the lead time is ``forecast_period``, or the valid time minus the run. An amount
is accumulated over the bounds of its time, or, without bounds, since the start of the run. Eastward and northward winds
are rotated to the axes of the grid.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import xarray as xr

from hybridcast.core.cf import AMOUNTS, RATES, is_cf, open_cf, read_axis, read_crs, rename_horizontal
from hybridcast.core.crs import to_metres
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError
from hybridcast.nwp.assembly import FileGrid, Piece
from hybridcast.nwp.schema import AMOUNT, CAPE, EARTH_WIND, RATE, VARIABLES
from hybridcast.nwp.units import convert_units

NAME = "cf"
DESCRIPTION = "NWP fields in any NetCDF or Zarr that follows the CF conventions"

_NAMES: dict[str, str] = dict.fromkeys(RATES, RATE) | dict.fromkeys(AMOUNTS, AMOUNT)
_NAMES |= {name: name for name in (*VARIABLES, *EARTH_WIND)}
_NAMES |= {f"{CAPE}_wrt_surface": CAPE}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is NetCDF, by its magic number, or a folder is Zarr, by its metadata."""
    return is_cf(path, head)


class _Times(NamedTuple):
    """Names of the coordinates of time; None for a coordinate that does not exist."""

    run: Hashable | None
    """Coordinate of the start of the run."""
    lead: Hashable | None
    """Coordinate of the lead time."""
    valid: Hashable | None
    """Coordinate of the valid time."""


def read(path: Path) -> list[Piece]:
    """Read all variables of the schema."""
    with open_cf(path) as data:
        pieces: list[Piece] = []
        for name, variable in data.data_vars.items():
            identified = _NAMES.get(str(variable.attrs.get("standard_name", "")), _NAMES.get(str(name)))
            if identified is not None and variable.ndim >= 2:
                pieces += _read_pieces(data, variable, identified, path)
        if not pieces:
            listed = ", ".join(f"{v.name} ({v.attrs.get('standard_name')})" for v in data.data_vars.values())
            raise ReadError(
                path,
                f"no variable with a standard_name of {', '.join(_NAMES)}; it holds {listed}. Set standard_name and "
                "units of what you have, or give arrays to hybridcast.nwp.nwp_fields",
            )
        return pieces


def _read_pieces(data: xr.Dataset, variable: xr.DataArray, name: str, path: Path) -> Iterator[Piece]:
    variable = rename_horizontal(variable, path)
    crs = read_crs(data, variable, path)
    grid = FileGrid(
        np.asarray(read_axis(variable["y"], crs, path)),
        np.asarray(read_axis(variable["x"], crs, path)),
        None if crs is None else to_metres(crs),
    )
    times, units = _find_times(variable, path), str(variable.attrs.get("units", ""))
    others = [dim for dim in variable.dims if dim not in ("y", "x")]
    for index in np.ndindex(*(variable.sizes[dim] for dim in others)):
        at = dict(zip(others, index, strict=True))
        plane = variable.isel(at)
        run, end = _read_run_and_lead(plane, times, path)
        start = _read_start(data, times, at, run) if name in (AMOUNT, RATE) else end
        values = convert_units(name, np.asarray(plane.transpose("y", "x").values, np.float32), units, path)
        yield Piece(name, _read_level(plane, path), run, start, end, values, grid)


def _find_times(variable: xr.DataArray, path: Path) -> _Times:
    """Find the coordinates of time by their ``standard_name``, or by a name equal to it or to that of the schema."""

    def find(standard: str, ours: str) -> Hashable | None:
        found = [name for name, c in variable.coords.items() if c.attrs.get("standard_name") == standard]
        return next((name for name in (*found, standard, ours) if name in variable.coords), None)

    times = _Times(
        find("forecast_reference_time", "reference_time"), find("forecast_period", "lead_time"), find("time", "time")
    )
    if times.run is None and (times.lead is None or times.valid is None):
        raise ReadError(path, f"{variable.name!r} has no forecast_reference_time. Add that coordinate: the run's start")
    if times.lead is None and times.valid is None:
        raise ReadError(path, f"{variable.name!r} has neither forecast_period nor time. Add one of these coordinates")
    return times


def _read_run_and_lead(plane: xr.DataArray, times: _Times, path: Path) -> tuple[np.datetime64, np.timedelta64]:
    if times.run is None:
        lead = _read_duration(plane[times.lead], path)
        return _read_time(plane[times.valid]) - lead, lead
    run = _read_time(plane[times.run])
    return run, _read_time(plane[times.valid]) - run if times.lead is None else _read_duration(plane[times.lead], path)


def _read_time(coordinate: xr.DataArray) -> np.datetime64:
    return cast(np.datetime64, coordinate.values.astype("M8[ns]")[()])


def _read_duration(coordinate: xr.DataArray, path: Path) -> np.timedelta64:
    if np.issubdtype(coordinate.dtype, np.timedelta64):
        return cast(np.timedelta64, coordinate.values.astype("m8[ns]")[()])
    units = str(coordinate.attrs.get("units", ""))
    conversion = unit_conversion(units, "s")
    if conversion is None:
        raise ReadError(path, f"{coordinate.name!r} is in {units!r}, which is no unit of time. Correct its units")
    seconds = round(float(coordinate) * conversion[0])
    return cast(np.timedelta64, np.timedelta64(seconds, "s").astype("m8[ns]"))


def _read_start(data: xr.Dataset, times: _Times, at: dict[Hashable, int], run: np.datetime64) -> np.timedelta64:
    """Return the start of a step from the bounds of its time; without bounds, the start of the run."""
    for name in (times.lead, times.valid):
        bounds = data[name].attrs.get("bounds", data[name].encoding.get("bounds")) if name in data.variables else None
        if bounds not in data.variables:
            continue
        both = data[bounds].isel({dim: k for dim, k in at.items() if dim in data[bounds].dims}).values.ravel()
        if np.issubdtype(both.dtype, np.datetime64):
            return cast(np.timedelta64, both[0].astype("M8[ns]") - run)
        if np.issubdtype(both.dtype, np.timedelta64):
            return cast(np.timedelta64, both[0].astype("m8[ns]"))
    return np.timedelta64(0, "ns")


def _read_level(plane: xr.DataArray, path: Path) -> str:
    """Return the vertical level from a scalar coordinate of pressure or height, or from the schema's attribute."""
    for name, coordinate in plane.coords.items():
        standard, units = coordinate.attrs.get("standard_name"), coordinate.attrs.get("units")
        if coordinate.ndim or standard not in ("air_pressure", "height"):
            continue
        number = float(coordinate)
        if standard == "height":
            return f"{number:g} m above ground"
        if units not in ("Pa", "hPa", "mbar"):
            raise ReadError(path, f"{name!r} is in {units!r}; pressure is in Pa or hPa")
        return f"{number / 100 if units == 'Pa' else number:g} hPa"
    return str(plane.attrs.get("vertical_level", ""))
