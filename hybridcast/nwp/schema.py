"""Schema of NWP fields: one Dataset for one NWP model, with one or more of its runs.

- dims ``("reference_time", "lead_time", "y", "x")``, float32; NaN where a run has no such lead time, or a field no
  value;
- ``reference_time``: start of a run, ``datetime64[ns]`` UTC; ``lead_time``: ``timedelta64[ns]``, increasing, from zero
  or later;
- of an ensemble, each member is a run of its own: its start is repeated, and the coordinate ``member``, dims
  ``("reference_time",)``, has its number. The control, or else the lowest number, stands for a run where one field is
  needed; all members count where fractions of the runs are;
- ``y``, ``x`` and the CF grid mapping ``spatial_ref`` like those of a precipitation field (`hybridcast.core.field`):
  metres of a projection, or degrees on a (rotated) grid of longitude and latitude;
- at least one of the variables in `VARIABLES`. A ``precipitation_rate`` is the mean over the step that starts at the
  previous lead time of the run and ends at the valid time. ``x_wind`` and ``y_wind`` point towards growing ``x`` and
  ``y``, regardless of the order of the axes. The attribute ``vertical_level`` states the height or pressure of a
  variable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.durations import parse_duration
from hybridcast.core.field import GRID_MAPPING, HIGHEST_RATE, check_axis, with_crs
from hybridcast.core.times import as_times
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError

DIMS = ("reference_time", "lead_time", "y", "x")
#: Coordinate of the numbers of ensemble members, along ``reference_time``.
MEMBER = "member"
RATE = "precipitation_rate"
WIND = ("x_wind", "y_wind")
HUMIDITY = "relative_humidity"
CAPE = "atmosphere_convective_available_potential_energy"

#: Largest spacing of cells, m: that of global models on 3 degrees.
COARSEST = 350_000.0
#: Precipitation accumulated since some time, mm; found in files only, a rate is computed from it.
AMOUNT = "precipitation_amount"
#: Parts of the precipitation amount, mm; found in files only, see `hybridcast.nwp.components`.
RAIN, SNOW, GRAUPEL, HAIL = "rainfall_amount", "snowfall_amount", "graupel_fall_amount", "hail_fall_amount"
SOLID = "solid_precipitation_amount"
CONVECTIVE, STRATIFORM = "convective_precipitation_amount", "stratiform_precipitation_amount"
CONVECTIVE_RAIN, STRATIFORM_RAIN = "convective_rainfall_amount", "stratiform_rainfall_amount"
CONVECTIVE_SNOW, STRATIFORM_SNOW = "convective_snowfall_amount", "stratiform_snowfall_amount"
#: Precipitation amount over the step of a mean rate, mm; found in files only.
STEP_AMOUNT = "precipitation_amount_of_mean_rate"
#: Names of the amounts in files.
AMOUNTS = (
    *(AMOUNT, STEP_AMOUNT, RAIN, SNOW, GRAUPEL, HAIL, SOLID, CONVECTIVE, STRATIFORM),
    *(CONVECTIVE_RAIN, STRATIFORM_RAIN, CONVECTIVE_SNOW, STRATIFORM_SNOW),
)
#: Wind towards east and north; found in files only, it is rotated to the axes of the grid.
EARTH_WIND = ("eastward_wind", "northward_wind")
#: Latitude and longitude of the cells of grids without rows and columns, degrees; found in files only.
PLACES = ("latitude", "longitude")


@dataclass(frozen=True)
class Variable:
    """Description of a variable of the schema."""

    units: str
    """Units of the values."""
    low: float
    """Lower bound; values below it have other units or are a code for missing values."""
    high: float
    """Upper bound; values above it have other units or are a code for missing values."""
    long_name: str
    """CF attribute ``long_name``."""
    standard_name: str
    """CF attribute ``standard_name``."""


def _variable(name: str, units: str, low: float, high: float, long_name: str, standard: str = "") -> Variable:
    return Variable(units, low, high, long_name, standard or name)


VARIABLES = {
    RATE: _variable(RATE, "mm h-1", 0, HIGHEST_RATE, "precipitation rate", "lwe_precipitation_rate"),
    "x_wind": _variable("x_wind", "m s-1", -200, 200, "wind along x"),
    "y_wind": _variable("y_wind", "m s-1", -200, 200, "wind along y"),
    "air_temperature": _variable("air_temperature", "K", 150, 350, "temperature"),
    HUMIDITY: _variable(HUMIDITY, "1", 0, 2, "relative humidity"),
    CAPE: _variable(CAPE, "J kg-1", -1, 20_000, "convective available potential energy"),
    "wind_speed_of_gust": _variable("wind_speed_of_gust", "m s-1", 0, 200, "gust"),
}


def nwp_fields(
    variables: dict[str, NDArray[np.float32]],
    *,
    reference_time: ArrayLike,
    lead_time: ArrayLike,
    y: ArrayLike,
    x: ArrayLike,
    crs: pyproj.CRS | str | None,
    vertical_levels: dict[str, str] | None = None,
    member: ArrayLike | None = None,
    attrs: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Build NWP fields from arrays.

    Parameters
    ----------
    variables
        Arrays of shape ``(reference_time, lead_time, y, x)`` by their names in `VARIABLES`, in the units given there;
        masked values become NaN. DataArrays that state other units are converted.
    reference_time
        Starts of the runs, ``datetime64``, `datetime` or text in ISO 8601, in UTC unless they have a zone.
    lead_time
        Lead times, ``timedelta64``, `timedelta` or text such as ``"6h"``.
    y, x
        Cell centres: metres of the projection, or degrees if `crs` is geographic.
    crs
        Anything that `pyproj.CRS` accepts; None for a local grid whose position is unknown.
    vertical_levels
        Height or pressure of variables by name, such as ``"10 m above ground"`` or ``"700 hPa"``.
    member
        Numbers of the ensemble members, whole numbers of the shape of `reference_time`, whose starts are then repeated;
        None without an ensemble.
    attrs
        Further attributes, such as the name of the NWP model.

    Returns
    -------
    Dataset
        NWP fields, checked by `check_nwp`.

    Raises
    ------
    InputError
        If the arrays do not follow the schema.

    Examples
    --------
    >>> runs = np.array(["2020-01-01T00", "2020-01-01T06"], "datetime64[h]")
    >>> wind = np.full((2, 3, 4, 5), 10, np.float32)
    >>> nwp = nwp_fields({"x_wind": wind, "y_wind": wind}, reference_time=runs,
    ...                  lead_time=np.arange(3) * np.timedelta64(1, "h"), y=np.arange(4) * 2500.0,
    ...                  x=np.arange(5) * 2500.0, crs="EPSG:3035", vertical_levels={"x_wind": "700 hPa"})
    >>> dict(nwp.sizes), nwp.x_wind.attrs["vertical_level"]
    ({'reference_time': 2, 'lead_time': 3, 'y': 4, 'x': 5}, '700 hPa')
    """
    unknown = sorted(set(variables) - set(VARIABLES))
    if unknown:
        raise InputError(f"variables {', '.join(unknown)}", f"known are {', '.join(VARIABLES)}", "Rename them")
    coords = {
        "reference_time": as_times(reference_time),
        "lead_time": _as_lead_times(lead_time),
        "y": np.asarray(y, np.float64),
        "x": np.asarray(x, np.float64),
    }
    shape = tuple(axis.size for axis in coords.values())
    variables = {name: _in_units(values, name) for name, values in variables.items()}
    wrong = {name: np.shape(values) for name, values in variables.items() if np.shape(values) != shape}
    if wrong:
        raise InputError(f"shapes are {wrong}", f"all are {shape}, {DIMS}", "Transpose them, fill lead times with NaN")
    arrays = {name: (DIMS, np.ma.filled(np.ma.asarray(v, np.float32), np.nan)) for name, v in variables.items()}
    data = xr.Dataset(arrays, coords=coords, attrs=attrs or {})
    if member is not None:
        data = data.assign_coords({MEMBER: ("reference_time", np.asarray(member))})
    return check_nwp(add_metadata(add_crs(data, crs), vertical_levels or {}))


def _as_lead_times(lead_time: Any) -> NDArray[np.timedelta64]:
    """Return lead times of text, `timedelta`, pandas or numpy; zero is the analysis."""
    given = np.atleast_1d(np.asarray(lead_time))
    if given.dtype.kind not in "mOU" or given.dtype == np.dtype("m8"):
        raise InputError(
            f"lead times of type {given.dtype}",
            "lead times are timedelta64",
            "Give, for example, np.arange(3) * np.timedelta64(1, 'h')",
        )
    if given.dtype.kind == "m":
        return given.astype("timedelta64[ns]")
    zero = {"0h", "0min", "0s"}
    leads = [
        np.timedelta64(0, "ns") if not lead or lead in zero else parse_duration(lead, "lead_time") for lead in given
    ]
    return np.array(leads, "timedelta64[ns]")


def _in_units(values: Any, name: str) -> Any:
    """Return the values of a DataArray in the units of the schema, with the dims in order; others as they are."""
    if not isinstance(values, xr.DataArray):
        return values
    units, ours = str(values.attrs.get("units", "")), VARIABLES[name].units
    conversion = unit_conversion(units, ours) if units else (1.0, 0.0)
    if conversion is None:
        raise InputError(f"{name} is in {units!r}", f"its units are {ours!r}", "Convert it, and correct its units")
    values = values.transpose(*DIMS) if set(values.dims) == set(DIMS) else values
    return values.values * conversion[0] + conversion[1]


def add_crs(data: xr.Dataset, crs: pyproj.CRS | str | None) -> xr.Dataset:
    """Add the grid mapping of a CRS, and the attributes of y and x that follow from it, to a dataset."""
    axes = xr.DataArray(
        np.zeros((data.sizes["y"], data.sizes["x"])), dims=("y", "x"), coords={k: data[k] for k in "yx"}
    )
    placed = with_crs(axes, crs)
    return data.assign_coords({name: placed.coords[name] for name in placed.coords})


def check_grid(y: ArrayLike, x: ArrayLike, crs: pyproj.CRS | str | None) -> None:
    """Check the axes of a grid, as `check_nwp` does; `InputError` if they are uneven or of impossible spacing."""
    axes = xr.Dataset(coords={"y": np.asarray(y, np.float64), "x": np.asarray(x, np.float64)})
    placed = add_crs(axes, crs)
    for axis in ("y", "x"):
        check_axis(placed, axis, coarsest=COARSEST)


def add_metadata(data: xr.Dataset, vertical_levels: dict[str, str]) -> xr.Dataset:
    """Set the attributes of variables and times that CF and the schema require, in place; return the dataset."""
    mapping = {"grid_mapping": GRID_MAPPING} if GRID_MAPPING in data.coords else {}
    for name, variable in data.data_vars.items():
        known = VARIABLES.get(str(name))
        if known is None:
            continue
        level = vertical_levels.get(str(name), variable.attrs.get("vertical_level"))
        attrs = {"standard_name": known.standard_name, "long_name": known.long_name, "units": known.units, **mapping}
        if name == RATE:
            attrs["cell_methods"] = "lead_time: mean"
        variable.attrs = attrs | ({"vertical_level": level} if level else {})
    standards = {"reference_time": "forecast_reference_time", "lead_time": "forecast_period", MEMBER: "realization"}
    for name, standard in standards.items():
        if name in data.coords:
            data[name].attrs = {"standard_name": standard, "long_name": name.replace("_", " ")}
    return data


def check_nwp(nwp: xr.Dataset) -> xr.Dataset:
    """Check that `nwp` follows the schema, and return it with dims in order and float32 values.

    Variables that are not in `VARIABLES` are dropped. Values are checked if they are in memory.

    Parameters
    ----------
    nwp
        Dataset that follows the schema in the module's documentation, with dims in any order.

    Returns
    -------
    Dataset
        float32, dims ``("reference_time", "lead_time", "y", "x")``.

    Raises
    ------
    InputError
        If it does not follow the schema; the message names the value found, the rule, and the remedy.
    """
    if not isinstance(nwp, xr.Dataset):
        raise InputError(
            f"found {type(nwp).__name__}",
            "NWP fields are an xarray.Dataset",
            "Open files with hybridcast.nwp.open_nwp(paths), or build one with hybridcast.nwp.nwp_fields(...)",
        )
    names = [name for name in VARIABLES if name in nwp.data_vars]
    if not names:
        raise InputError(
            f"variables are {list(nwp.data_vars)}",
            f"there is one at least of {', '.join(VARIABLES)}",
            "Rename them to these CF names",
        )
    _check_dims(nwp, names)
    _check_times(nwp)
    for axis in ("y", "x"):
        check_axis(nwp, axis, coarsest=COARSEST)
    if len(set(WIND) & set(names)) == 1:
        raise InputError(f"of the wind there is {set(WIND) & set(names)}", "both parts are there", "Add the other one")
    return nwp[names].map(_check_values, keep_attrs=True).assign_coords(nwp.coords)


def _check_values(variable: xr.DataArray) -> xr.DataArray:
    known = VARIABLES[str(variable.name)]
    units = str(variable.attrs.get("units", ""))
    if units != known.units:
        raise InputError(f"{variable.name} is in {units!r}", f"its units are {known.units!r}", "Convert it, and say so")
    variable = variable.transpose(*DIMS).astype(np.float32, keep_attrs=True)
    if variable.chunks is None and variable.size:
        low, high = np.fmin.reduce(variable.values, axis=None), np.fmax.reduce(variable.values, axis=None)
        if low < known.low or high > known.high:
            raise InputError(
                f"{variable.name} runs from {low:g} to {high:g} {units}",
                f"it lies between {known.low:g} and {known.high:g}",
                "Check its units, and set a code for missing values to NaN",
            )
    return variable


def _check_dims(nwp: xr.Dataset, names: list[str]) -> None:
    for name in names:
        if set(nwp[name].dims) != set(DIMS):
            raise InputError(
                f"{name} has the dims {nwp[name].dims}",
                f"NWP fields have the dims {DIMS}",
                "Rename them, select one member and one level, add a run with .expand_dims(reference_time=[...])",
            )
    for dim in DIMS:
        if dim not in nwp.coords:
            raise InputError(f"{dim!r} has no coordinate", f"{DIMS} carry coordinates", f"Assign {dim!r}")
        if nwp.sizes[dim] == 0 and dim != "reference_time":
            raise InputError(f"{dim!r} has length 0", "a field holds at least one value", "Select data that exist")


def _check_times(nwp: xr.Dataset) -> None:
    for name, kind in (("reference_time", np.datetime64), ("lead_time", np.timedelta64)):
        values = nwp[name].values
        if not np.issubdtype(values.dtype, kind):
            raise InputError(f"{name} is of type {values.dtype}", f"it is {kind.__name__}", "Convert it")
        if np.isnat(values).any():
            raise InputError(f"{name} is {values}", "none is missing", "Drop those without a time")
    _check_unique(nwp)
    leads = nwp["lead_time"].values
    if (np.diff(leads) <= np.timedelta64(0)).any() or (leads < np.timedelta64(0)).any():
        raise InputError(
            f"lead times are {leads}", "they rise, from zero or more", "Sort them with .sortby('lead_time')"
        )


def _check_unique(nwp: xr.Dataset) -> None:
    """Raise `InputError` unless each lead time, and each run or member of a run, comes once."""
    runs = list(zip(nwp["reference_time"].values.tolist(), members(nwp), strict=True))
    if len(set(runs)) != len(runs):
        raise InputError(
            f"reference_time is {nwp['reference_time'].values}",
            "each run comes once, or each member of it",
            f"Drop those doubled, or number the members in a coordinate {MEMBER!r} along reference_time",
        )
    leads = nwp["lead_time"].values
    if np.unique(leads).size != leads.size:
        raise InputError(f"lead_time is {leads}", "each comes once", "Drop those doubled")


def members(nwp: xr.Dataset) -> list[int | None]:
    """Return the number of the ensemble member of each run; None for runs without an ensemble."""
    if MEMBER not in nwp.coords:
        return [None] * nwp.sizes["reference_time"]
    numbers = nwp[MEMBER]
    if numbers.dims != ("reference_time",) or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(
            f"{MEMBER} has the dims {numbers.dims} and the type {numbers.dtype}",
            "it has a whole number for each reference_time",
            "Stack members and runs into reference_time",
        )
    return [int(number) for number in numbers.values]


def order_newest_first(nwp: xr.Dataset) -> NDArray[np.intp]:
    """Return the positions of the runs, the newest first, and of the members of one run the lowest number first."""
    starts = nwp["reference_time"].values.astype("datetime64[ns]").astype(np.int64)
    numbers = [number or 0 for number in members(nwp)]
    return np.lexsort((np.abs(numbers), -starts))


def sort_newest_first(nwp: xr.Dataset) -> xr.Dataset:
    """Return the fields in the order of `order_newest_first`, without a copy if they are in it."""
    order = order_newest_first(nwp)
    return nwp if (np.diff(order) == 1).all() else nwp.isel(reference_time=order)
