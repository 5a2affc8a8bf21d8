"""Model fields in any NetCDF file or Zarr folder that follows the CF conventions.

A variable is known by its ``standard_name``, or by its name if that is one of the contract. The run is the coordinate
``forecast_reference_time``, the lead time ``forecast_period``, or the valid time less the run. An amount fell within
the bounds of its time; without bounds, since the start of the run. Winds named eastward and northward are turned to
the grid.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import xarray as xr

from hybridcast.errors import ReadError
from hybridcast.nwp.assembly import AMOUNT, EARTH_WIND, FileGrid, Piece
from hybridcast.nwp.schema import CAPE, RATE, VARIABLES
from hybridcast.nwp.units import convert_units
from hybridcast.radar._crs import to_metres
from hybridcast.radar.cf import AMOUNTS, RATES, find_dimension, open_cf, read_axis, read_crs
from hybridcast.radar.cf import recognises as recognises

NAME = "cf"
DESCRIPTION = "model fields in any NetCDF or Zarr that follows the CF conventions"

_NAMES: dict[str, str] = dict.fromkeys(RATES, RATE) | dict.fromkeys(AMOUNTS, AMOUNT)
_NAMES |= {name: name for name in (*VARIABLES, *EARTH_WIND)}
_NAMES |= {f"{CAPE}_wrt_surface": CAPE}


class _Times(NamedTuple):
    """Names of the coordinates of run, lead time and valid time; None where there is none."""

    run: Hashable | None
    lead: Hashable | None
    valid: Hashable | None


def read(path: Path) -> list[Piece]:
    """Read all variables that the contract knows."""
    with open_cf(path) as data:
        pieces: list[Piece] = []
        for name, variable in data.data_vars.items():
            known = _NAMES.get(str(variable.attrs.get("standard_name", "")), _NAMES.get(str(name)))
            if known is not None and variable.ndim >= 2:
                pieces += _pieces(data, variable, known, path)
        if not pieces:
            listed = ", ".join(f"{v.name} ({v.attrs.get('standard_name')})" for v in data.data_vars.values())
            raise ReadError(
                path,
                f"no variable with a standard_name of {', '.join(_NAMES)}; it holds {listed}. Set standard_name and "
                "units of what you have, or give arrays to hybridcast.nwp.nwp_fields",
            )
        return pieces


def _pieces(data: xr.Dataset, variable: xr.DataArray, name: str, path: Path) -> Iterator[Piece]:
    import cf_xarray  # noqa: F401 (adds .cf to xarray objects)

    guessed = variable.cf.guess_coord_axis()
    axes = {find_dimension(guessed, key, other, path): ours for key, other, ours in _AXES}
    variable = variable.rename({old: new for old, new in axes.items() if old != new})
    crs = read_crs(data, variable, path)
    grid = FileGrid(
        np.asarray(read_axis(variable["y"], crs, path)),
        np.asarray(read_axis(variable["x"], crs, path)),
        None if crs is None else to_metres(crs),
    )
    times, units = _times(variable, path), str(variable.attrs.get("units", ""))
    others = [dim for dim in variable.dims if dim not in ("y", "x")]
    for index in np.ndindex(*(variable.sizes[dim] for dim in others)):
        at = dict(zip(others, index, strict=True))
        one = variable.isel(at)
        run, end = _run_and_lead(one, times, path)
        start = _start(data, one, times, at, run) if name in (AMOUNT, RATE) else end
        values = convert_units(name, np.asarray(one.transpose("y", "x").values, np.float32), units, path)
        yield Piece(name, _level(one, path), run, start, end, values, grid)


_AXES = (("X", "longitude", "x"), ("Y", "latitude", "y"))


def _times(variable: xr.DataArray, path: Path) -> _Times:
    """Find the coordinates of time by their standard names, else as names of their own, else by our names."""

    def named(standard: str, ours: str) -> Hashable | None:
        found = [name for name, c in variable.coords.items() if c.attrs.get("standard_name") == standard]
        return next((name for name in (*found, standard, ours) if name in variable.coords), None)

    times = _Times(
        named("forecast_reference_time", "reference_time"), named("forecast_period", "lead_time"), named("time", "time")
    )
    if times.run is None and (times.lead is None or times.valid is None):
        raise ReadError(path, f"{variable.name!r} has no forecast_reference_time. Add that coordinate: the run's start")
    if times.lead is None and times.valid is None:
        raise ReadError(path, f"{variable.name!r} has neither forecast_period nor time. Add one of these coordinates")
    return times


def _run_and_lead(one: xr.DataArray, times: _Times, path: Path) -> tuple[np.datetime64, np.timedelta64]:
    if times.run is None:
        lead = _duration(one[times.lead], path)
        return _moment(one[times.valid]) - lead, lead
    run = _moment(one[times.run])
    return run, _moment(one[times.valid]) - run if times.lead is None else _duration(one[times.lead], path)


def _moment(coordinate: xr.DataArray) -> np.datetime64:
    return cast(np.datetime64, coordinate.values.astype("M8[ns]")[()])


def _duration(coordinate: xr.DataArray, path: Path) -> np.timedelta64:
    if np.issubdtype(coordinate.dtype, np.timedelta64):
        return cast(np.timedelta64, coordinate.values.astype("m8[ns]")[()])
    units = str(coordinate.attrs.get("units", ""))
    seconds = {"s": 1, "seconds": 1, "minutes": 60, "min": 60, "hours": 3600, "hour": 3600, "h": 3600, "days": 86400}
    if units not in seconds:
        raise ReadError(path, f"{coordinate.name!r} is in {units!r}; known are {', '.join(seconds)}")
    return cast(np.timedelta64, np.timedelta64(round(float(coordinate) * seconds[units]), "s").astype("m8[ns]"))


def _start(
    data: xr.Dataset, one: xr.DataArray, times: _Times, at: dict[Hashable, int], run: np.datetime64
) -> np.timedelta64:
    """Return the start of a step by the bounds of its time; the start of the run where there are none."""
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


def _level(one: xr.DataArray, path: Path) -> str:
    """Name the level by a scalar coordinate of pressure or height, or by the attribute that the contract has."""
    for name, coordinate in one.coords.items():
        standard, units = coordinate.attrs.get("standard_name"), coordinate.attrs.get("units")
        if coordinate.ndim or standard not in ("air_pressure", "height"):
            continue
        number = float(coordinate)
        if standard == "height":
            return f"{number:g} m above ground"
        if units not in ("Pa", "hPa", "mbar"):
            raise ReadError(path, f"{name!r} is in {units!r}; pressure is in Pa or hPa")
        return f"{number / 100 if units == 'Pa' else number:g} hPa"
    return str(one.attrs.get("level", ""))
