"""NWP fields in any NetCDF file or Zarr folder that follows the CF conventions.

A variable is identified by its ``standard_name``, or by its name if that is one of the schema or one that cfgrib gives.
The run is the coordinate ``forecast_reference_time``, or a global attribute; the lead time is ``forecast_period``, or
the valid time minus the run. For the interval of an amount see `hybridcast.nwp.intervals`. Eastward and northward winds
are rotated to the axes of the grid.

Ensemble members (``realization``), percentiles and vertical levels may be dimensions or scalar coordinates; any other
dimension is refused. Fields may be on the axes of a projection, or on cells with a longitude and latitude each.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import xarray as xr

from hybridcast.core.cf import RATES, is_cf, open_cf, place
from hybridcast.core.cf_times import to_duration
from hybridcast.core.files import digest
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Array, Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp.ensemble import MEAN, PERCENTILE
from hybridcast.nwp.intervals import SINCE_START, bounds_start, stated_interval
from hybridcast.nwp.pieces import NOTHING_STATED, UNKNOWN_START, FileGrid, Piece, ScatteredCells, Stated
from hybridcast.nwp.schema import (
    AMOUNT,
    AMOUNTS,
    CAPE,
    CONVECTIVE,
    CONVECTIVE_RAIN,
    CONVECTIVE_SNOW,
    EARTH_WIND,
    GRAUPEL,
    RAIN,
    RATE,
    SNOW,
    STRATIFORM,
    STRATIFORM_RAIN,
    STRATIFORM_SNOW,
    VARIABLES,
    WIND,
)
from hybridcast.nwp.units import convert_units

NAME = "cf"
DESCRIPTION = "NWP fields in any NetCDF or Zarr that follows the CF conventions"

_NAMES: dict[str, str] = dict.fromkeys(RATES, RATE)
_NAMES |= {
    "precipitation_amount": AMOUNT,
    "lwe_thickness_of_precipitation_amount": AMOUNT,
    "rainfall_amount": RAIN,
    "thickness_of_rainfall_amount": RAIN,
    "snowfall_amount": SNOW,
    "lwe_thickness_of_snowfall_amount": SNOW,
    "graupel_fall_amount": GRAUPEL,
    "graupel_and_hail_fall_amount": GRAUPEL,
    "convective_precipitation_amount": CONVECTIVE,
    "lwe_thickness_of_convective_precipitation_amount": CONVECTIVE,
    "stratiform_precipitation_amount": STRATIFORM,
    "large_scale_precipitation_amount": STRATIFORM,
    "lwe_thickness_of_stratiform_precipitation_amount": STRATIFORM,
    "lwe_thickness_of_large_scale_precipitation_amount": STRATIFORM,
    "convective_rainfall_amount": CONVECTIVE_RAIN,
    "stratiform_rainfall_amount": STRATIFORM_RAIN,
    "convective_snowfall_amount": CONVECTIVE_SNOW,
    "lwe_thickness_of_convective_snowfall_amount": CONVECTIVE_SNOW,
    "stratiform_snowfall_amount": STRATIFORM_SNOW,
    "lwe_thickness_of_stratiform_snowfall_amount": STRATIFORM_SNOW,
}
_NAMES |= {name: name for name in (*VARIABLES, *EARTH_WIND)}
_NAMES |= {f"{CAPE}_wrt_surface": CAPE}
#: Variables by the names that cfgrib gives them.
_CFGRIB = {"tp": AMOUNT, "cp": CONVECTIVE, "lsp": STRATIFORM, "prate": RATE, "tprate": RATE, "t2m": "air_temperature"}
_CFGRIB |= {"u10": EARTH_WIND[0], "v10": EARTH_WIND[1], "cape": CAPE}
_MEMBERS = re.compile(r"realization|member|ensemble(_?member)?|ens|number|perturbation", re.IGNORECASE)
_PERCENTILES = re.compile(r"percentiles?|quantiles?", re.IGNORECASE)
#: Global attributes that hold the start of the run, in ISO 8601; the last one is WRF's.
_RUN_ATTRIBUTES = (
    *("forecast_reference_time", "reference_time", "initialization_time", "init_time", "model_run_time", "run_time"),
    *("analysis_time", "SIMULATION_START_DATE"),
)
#: Methods over time other than sums and means, by CF appendix E.
_METHODS = r"maximum|minimum|median|mode|range|standard_deviation|variance|mid_range"
#: Value of cells that were never written (netCDF, NC_FILL_FLOAT), often not declared.
_NEVER_WRITTEN = 9.9692e36


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


def read(path: Path, stated: Stated = NOTHING_STATED) -> list[Piece]:
    """Read all variables of the schema."""
    with open_cf(path) as data:
        stated = _add_run_of_attributes(stated, data)
        pieces: list[Piece] = []
        for variable in data.data_vars.values():
            name = _identify(variable)
            if name is not None and variable.ndim >= 1:
                pieces += _read_pieces(data, variable, name, path, stated)
        if not pieces:
            listed = ", ".join(f"{v.name} ({v.attrs.get('standard_name')})" for v in data.data_vars.values())
            raise ReadError(
                path,
                f"no variable with a standard_name of {', '.join(_NAMES)}; it holds {listed}. Set standard_name and "
                "units of what you have, or give arrays to hybridcast.nwp.nwp_fields",
            )
        return pieces


def _identify(variable: xr.DataArray) -> str | None:
    """Return the variable of the schema, or part of it; None if it is none."""
    standard, own = str(variable.attrs.get("standard_name", "")), str(variable.name)
    name = _NAMES.get(standard, _NAMES.get(own))
    if name is None and standard in ("", "unknown"):
        name = _CFGRIB.get(own)
    if name in EARTH_WIND and variable.attrs.get("GRIB_uvRelativeToGrid") == 1:
        return WIND[EARTH_WIND.index(name)]  # cfgrib calls wind eastward on any grid
    return name


def _read_pieces(data: xr.Dataset, variable: xr.DataArray, name: str, path: Path, stated: Stated) -> Iterator[Piece]:
    variable, grid = _place(data, variable.compute(), path)  # at once: planes may share a chunk of the file
    horizontal = ("y", "x") if isinstance(grid, FileGrid) else ("cell",)
    times, units = _find_times(variable, path, stated), str(variable.attrs.get("units", ""))
    others = [dim for dim in variable.dims if dim not in horizontal]
    _refuse_unknown_dims(variable, others, times, path)
    interval = stated_interval(variable, _time_step(variable, times)) if name in (*AMOUNTS, RATE) else None
    for index in np.ndindex(*(variable.sizes[dim] for dim in others)):
        at = dict(zip(others, index, strict=True))
        plane = variable.isel(at)
        run, end = _read_run_and_lead(plane, times, path, stated)
        values = convert_units(name, _read_values(plane.transpose(*horizontal)), units, path)
        start = _read_start(data, name, times, at, (run, end), interval)
        member, statistic = _read_member(plane, at), _read_statistic(plane, name, at)
        yield Piece(name, _read_level(plane, name, path), run, start, end, values, grid, member, statistic, path)


def _read_values(plane: xr.DataArray) -> Array:
    values = np.asarray(plane.values)
    never = np.abs(values - _NEVER_WRITTEN) < 1e33 if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    return np.where(never, np.nan, values).astype(np.float32)


# --- dimensions -------------------------------------------------------------------------------------------------


def _refuse_unknown_dims(variable: xr.DataArray, dims: list[Hashable], times: _Times, path: Path) -> None:
    """Raise `ReadError` if a dimension is none of time, members, percentiles or vertical levels."""
    known = {dim for name in times if name is not None for dim in variable[name].dims}
    for dim in dims:
        if dim in known or variable.sizes[dim] == 1 or _kind(variable, dim) is not None:
            continue
        raise ReadError(
            path,
            f"{variable.name!r} has {variable.sizes[dim]} values along {dim!r}, which is neither time, nor members, "
            f"percentiles or vertical levels. Select one and write it: data.isel({dim}=0).to_netcdf(new_path)",
        )


def _kind(variable: xr.DataArray, dim: Hashable) -> str | None:
    """Return what a dimension, or a scalar coordinate, counts: "member", "percentile" or "level"."""
    attrs = variable[dim].attrs if dim in variable.coords else {}
    standard, units = str(attrs.get("standard_name", "")), str(attrs.get("units", ""))
    if standard == "realization" or _MEMBERS.fullmatch(str(dim)):
        return "member"
    if _PERCENTILES.fullmatch(str(dim)):
        return "percentile"
    is_vertical = str(attrs.get("axis", "")).upper() == "Z" or attrs.get("positive") in ("up", "down")
    if is_vertical or standard in ("air_pressure", "height") or _unit_of_level(str(dim), units) is not None:
        return "level"
    return None


def _unit_of_level(name: str, units: str) -> str | None:
    """Return "hPa" or "m above ground" for the units of a vertical coordinate; None for other coordinates."""
    if units and unit_conversion(units, "hPa") is not None:
        return "hPa"
    named = re.match(r"height|level|altitude", name, re.IGNORECASE)
    return "m above ground" if named and units and unit_conversion(units, "m") is not None else None


def _find(plane: xr.DataArray, kind: str, at: dict[Hashable, int]) -> tuple[Hashable, float] | None:
    """Return the name and the value of the coordinate of a kind; of a dimension without numbers, the position."""
    for name in plane.coords:
        if plane[name].ndim == 0 and plane[name].dtype.kind in "iuf" and _kind(plane, name) == kind:
            return name, float(plane[name])
    return next(((dim, float(k)) for dim, k in at.items() if _kind(plane, dim) == kind), None)


def _read_member(plane: xr.DataArray, at: dict[Hashable, int]) -> int | None:
    found = _find(plane, "member", at)
    return None if found is None or not np.isfinite(found[1]) else int(found[1])


def _read_statistic(plane: xr.DataArray, name: str, at: dict[Hashable, int]) -> str:
    """Return the statistic of the ensemble or of the step, from a percentile or from ``cell_methods``."""
    found = _find(plane, "percentile", at)
    if found is not None:
        fraction = str(found[0]).lower().startswith("quantile") and found[1] <= 1
        return f"{PERCENTILE}{100 * found[1] if fraction else found[1]:g}"
    methods = str(plane.attrs.get("cell_methods", "")).lower()
    if re.search(r"\brealization:\s*mean\b", methods):
        return MEAN
    if match := re.search(r"\brealization:\s*(\w+)", methods):
        return f"{match[1]} of the ensemble"
    match = re.search(rf"\b(?:time|lead_time|forecast_period|step):\s*({_METHODS})\b", methods)
    return f"{match[1]} of the step" if match and name != "wind_speed_of_gust" else ""


# --- places -----------------------------------------------------------------------------------------------------


def _place(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, FileGrid | ScatteredCells]:
    """Return the variable with horizontal dims y and x, or cell, and its grid.

    Axes of a projection come first, then places of each cell, then axes without a CRS.
    """
    failed: ReadError | None = None
    grid = None
    try:
        placed, grid = _place_on_axes(data, variable, path)
        if grid.crs is not None and grid.crs.is_geographic and not grid.crs.is_derived and not _is_even(grid):
            return _stack_cells(placed, ("y", "x"), *(a.ravel() for a in np.meshgrid(grid.x, grid.y)))
        if grid.crs is not None:
            return placed, grid
    except ReadError as error:
        failed = error
    cells = _find_cells(data, variable)
    if cells is not None:
        return _stack_cells(variable, *cells)
    if failed is not None:
        raise failed
    assert grid is not None  # a local grid
    return placed, grid


def _place_on_axes(data: xr.Dataset, variable: xr.DataArray, path: Path) -> tuple[xr.DataArray, FileGrid]:
    placed = place(data, variable, path)
    return placed.variable, FileGrid(placed.y, placed.x, placed.crs)


def _is_even(grid: FileGrid) -> bool:
    """Return whether rows and columns are evenly spaced; those of Gaussian grids are not."""
    steps = (np.diff(axis) for axis in (grid.y, grid.x) if axis.size > 2)
    return all(np.abs(step - step.mean()).max() <= 0.01 * abs(step.mean()) for step in steps)


def _find_cells(data: xr.Dataset, variable: xr.DataArray) -> tuple[tuple[Hashable, ...], Doubles, Doubles] | None:
    """Return the dims along which each cell has a longitude and latitude of its own, and these in degrees; or None."""
    found: dict[str, xr.DataArray] = {}
    for name in data.variables:
        kind = _kind_of_place(data[name])
        place = data[name].squeeze(drop=True)
        if kind is not None and 1 <= place.ndim <= 2 and set(place.dims) <= set(variable.dims):
            found.setdefault(kind, place)
    if len(found) < 2 or set(found["longitude"].dims) != set(found["latitude"].dims):
        return None
    dims = found["longitude"].dims
    longitude, latitude = (_degrees(found[kind].transpose(*dims)) for kind in ("longitude", "latitude"))
    return dims, longitude, latitude


def _kind_of_place(variable: xr.DataArray) -> str | None:
    """Return "longitude" or "latitude" if a variable is that, by its standard name, units or name."""
    standard, units = variable.attrs.get("standard_name"), str(variable.attrs.get("units", "")).lower()
    for kind, unit, names in (
        ("longitude", ("degrees_east", "degree_east"), ("lon", "longitude", "xlong", "nav_lon", "clon")),
        ("latitude", ("degrees_north", "degree_north"), ("lat", "latitude", "xlat", "nav_lat", "clat")),
    ):
        if standard == kind or units in unit or (standard is None and str(variable.name).lower() in names):
            return kind
    return None


def _degrees(variable: xr.DataArray) -> Doubles:
    conversion = unit_conversion(str(variable.attrs.get("units", "degrees")), "degrees")
    return np.asarray(variable.values, np.float64).ravel() * (1.0 if conversion is None else conversion[0])


def _stack_cells(
    variable: xr.DataArray, dims: tuple[Hashable, ...], longitude: Doubles, latitude: Doubles
) -> tuple[xr.DataArray, ScatteredCells]:
    inside = [name for name in variable.coords if set(dims) & set(variable[name].dims)]
    flat = variable.drop_vars(inside).stack(cell=dims, create_index=False)
    return flat, ScatteredCells(digest(longitude.tobytes(), latitude.tobytes()), longitude.size, longitude, latitude)


# --- time -------------------------------------------------------------------------------------------------------


def _find_times(variable: xr.DataArray, path: Path, stated: Stated) -> _Times:
    """Find the coordinates of time by their ``standard_name``, or by a name equal to it or to that of the schema."""

    def find(standard: str, ours: str) -> Hashable | None:
        found = [name for name, c in variable.coords.items() if c.attrs.get("standard_name") == standard]
        return next((name for name in (*found, standard, ours) if name in variable.coords), None)

    times = _Times(
        find("forecast_reference_time", "reference_time"), find("forecast_period", "lead_time"), find("time", "time")
    )
    if times.run is None and stated.run is None and (times.lead is None or times.valid is None):
        missing = f"{variable.name!r} has no forecast_reference_time, so the start of the run is not known."
        raise ReadError(
            path,
            f"{missing} Add that coordinate: the run's start, or state it: run='2024-06-01T00'",
            cli_reason=f"{missing} State it: --nwp-run 2024-06-01T00",
        )
    if times.lead is None and times.valid is None:
        raise ReadError(path, f"{variable.name!r} has neither forecast_period nor time. Add one of these coordinates")
    return times


def _add_run_of_attributes(stated: Stated, data: xr.Dataset) -> Stated:
    """Return what is stated, with the start of the run from a global attribute, if the user states none."""
    texts = [str(data.attrs[name]).replace("_", "T") for name in _RUN_ATTRIBUTES if name in data.attrs]
    for text in texts if stated.run is None else ():
        try:
            return replace(stated, run=as_datetime64(text.removesuffix(" UTC").strip()))
        except InputError:
            continue
    return stated


def _time_step(variable: xr.DataArray, times: _Times) -> np.timedelta64 | None:
    """Return the shortest difference between the lead or valid times of a variable; None if it has one only."""
    for name in (times.lead, times.valid):
        if name is not None and variable[name].ndim == 1 and variable[name].size > 1:
            values = variable[name].values
            return np.timedelta64(np.diff(values).min()) if values.dtype.kind in "mM" else None
    return None


def _read_run_and_lead(
    plane: xr.DataArray, times: _Times, path: Path, stated: Stated
) -> tuple[np.datetime64, np.timedelta64]:
    if times.run is None and stated.run is None:
        lead = _read_duration(plane[times.lead], path)
        return _read_time(plane[times.valid]) - lead, lead
    run = _read_time(plane[times.run]) if times.run is not None else cast(np.datetime64, stated.run)
    return run, _read_time(plane[times.valid]) - run if times.lead is None else _read_duration(plane[times.lead], path)


def _read_time(coordinate: xr.DataArray) -> np.datetime64:
    return cast(np.datetime64, coordinate.values.astype("M8[ns]")[()])


def _read_duration(coordinate: xr.DataArray, path: Path) -> np.timedelta64:
    units = str(coordinate.attrs.get("units", ""))
    duration = to_duration(coordinate.values, units)
    if duration is None:
        raise ReadError(path, f"{coordinate.name!r} is in {units!r}, which is no unit of time. Correct its units")
    return cast(np.timedelta64, duration[()])


def _read_start(
    data: xr.Dataset,
    name: str,
    times: _Times,
    at: dict[Hashable, int],
    step: tuple[np.datetime64, np.timedelta64],
    interval: np.timedelta64 | None,
) -> np.timedelta64:
    """Return the start of the step of a sum or mean that ends at the run and lead time `step`."""
    run, end = step
    if name not in (*AMOUNTS, RATE):
        return end
    bound = bounds_start(data, (times.lead, times.valid), at, run)
    if bound is not None:
        return bound
    if name == RATE:
        return end
    if interval is None:
        return UNKNOWN_START
    return interval if interval == SINCE_START else end - interval


def _read_level(plane: xr.DataArray, name: str, path: Path) -> str:
    """Return the vertical level from a coordinate of pressure or height, or from the schema's attribute."""
    found = _find(plane, "level", {})
    if name in (*AMOUNTS, RATE):
        return "surface"
    if found is None:
        return str(plane.attrs.get("vertical_level", ""))
    units = str(plane[found[0]].attrs.get("units", ""))
    unit = _unit_of_level(str(found[0]), units)
    if plane[found[0]].attrs.get("standard_name") == "air_pressure" and unit is None:
        raise ReadError(path, f"{found[0]!r} is in {units!r}; pressure is in Pa or hPa")
    if unit is None:
        return (
            f"{found[1]:g} m above ground"
            if plane[found[0]].attrs.get("standard_name") == "height"
            else f"{found[0]} {found[1]:g}"
        )
    scale, _ = unit_conversion(units, unit.split()[0]) or (1.0, 0.0)
    return f"{found[1] * scale:g} {unit}"
