"""The contract of a precipitation field, and conversions to it.

A precipitation field is an ``xarray.DataArray`` named ``precipitation_rate`` with

- dims ``("time", "y", "x")``, float32, ``units="mm h-1"``, NaN outside radar coverage and nowhere else;
- ``time``: regular UTC steps, where a missing frame is a frame of NaN;
- ``y`` and ``x``: evenly spaced cell centres in either direction, in metres of a projection, or in degrees on a grid of
  longitude and latitude;
- a scalar coordinate ``spatial_ref`` with the CF grid mapping (absent on a local grid of unknown location).

The contract is checked once, by `check_precipitation`, where data enter the package; all other code relies on it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.arrays import as_floats, refuse_stored_codes
from hybridcast.core.axes import as_axis, step_tolerance
from hybridcast.core.crs import metres_per_unit
from hybridcast.core.map_scale import map_scale
from hybridcast.core.time_steps import time_step
from hybridcast.core.times import as_times
from hybridcast.core.types import Array
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError, InputWarning

RATE = "precipitation_rate"
UNITS = "mm h-1"
GRID_MAPPING = "spatial_ref"
DIMS = ("time", "y", "x")
T = TypeVar("T", xr.DataArray, NDArray[Any], float)
EARTH_RADIUS = 6_371_008.8  # m, mean radius of GRS80 (IUGG)

#: Higher rates (mm/h) indicate wrong units: the most intense minute on record (31.2 mm) corresponds to 1872 mm/h.
HIGHEST_RATE = 2500.0
#: A warning is issued if more than this fraction of the wet cells exceeds this rate (mm/h).
SUSPICIOUS_RATE, SUSPICIOUS_FRACTION = 150.0, 0.1
#: A warning is issued if the median of the wet cells is above the first and the maximum below the second of these.
DECIBELS = 10.0, 80.0
_MIN_WET = 1000
#: A grid spacing outside these bounds (m) indicates wrong units.
SPACING_BOUNDS = (10.0, 100_000.0)

_ATTRIBUTES = {
    "standard_name": "lwe_precipitation_rate",
    "long_name": "precipitation rate",
    "units": UNITS,
    "cell_methods": "time: mean",
}


# --- building -------------------------------------------------------------------------------------------------


def precipitation(
    values: Any,
    *,
    time: ArrayLike,
    y: ArrayLike,
    x: ArrayLike,
    crs: pyproj.CRS | str | None,
    attrs: dict[str, Any] | None = None,
) -> xr.DataArray:
    """Build a precipitation field from an array of rain rates.

    Parameters
    ----------
    values
        Rain rate, mm h-1, shape ``(time, y, x)``, or ``(y, x)`` with one time. NaN, or masked in a masked array, where
        nothing was observed.
    time
        Times, shape ``(time,)``: ``datetime64``, `datetime`, or text in ISO 8601, in UTC unless they have a zone.
    y, x
        Cell centres in the order of the rows and columns, shape ``(y,)`` and ``(x,)``: metres of the projection, or
        degrees if `crs` is geographic. Longitudes may jump at the date line or at Greenwich.
    crs
        Coordinate reference system, in any form that `pyproj.CRS` accepts; None for a local grid in metres whose
        location on Earth is unknown.
    attrs
        Additional attributes, such as ``source``.

    Returns
    -------
    DataArray
        Precipitation field that keeps the contract of this module.

    Raises
    ------
    InputError
        If `time` cannot be converted to times, shapes do not match, `crs` is unknown, or a DataArray states other
        units, or holds the codes of a file that was not decoded.

    Examples
    --------
    >>> field = precipitation(np.zeros((1, 3, 4)), time=[np.datetime64("2020-01-01")],
    ...                       y=[0, 1000, 2000], x=[0, 1000, 2000, 3000], crs="EPSG:3857")
    >>> field.dims, field.dtype, field.attrs["units"]
    (('time', 'y', 'x'), dtype('float32'), 'mm h-1')
    """
    crs = _as_crs(crs)
    units = "degrees" if crs is not None and crs.is_geographic else "m"
    axes = {axis: as_axis(given, axis, units) for axis, given in (("y", y), ("x", x))}
    times = as_times(time)
    rates = as_floats(_as_rates(values, y) if isinstance(values, xr.DataArray) else values, np.float32)
    if rates.ndim == 2:
        rates = rates[None]
    _check_shape(rates.shape, (times.size, axes["y"].size, axes["x"].size))
    field = xr.DataArray(
        rates,
        dims=DIMS,
        coords={"time": times, **axes},
        name=RATE,
        attrs={**_ATTRIBUTES, **(attrs or {})},
    )
    return with_crs(field, crs)


def _as_rates(values: xr.DataArray, y: ArrayLike) -> Any:
    """Return the values of a DataArray with the dims in order, after checks of what it states about itself."""
    refuse_stored_codes(values)
    if values.attrs.get("units"):
        _check_units(values)
    if set(values.dims) <= set(DIMS):
        values = values.transpose(*(dim for dim in DIMS if dim in values.dims))
    rows = values.dims[-2] if values.ndim > 1 else None
    if rows in values.coords:
        _check_order(np.asarray(values[rows].values), np.asarray(y))
    return values.data


def _check_order(stated: NDArray[Any], given: NDArray[Any]) -> None:
    """Raise `InputError` if the rows are given upside down."""
    if stated.size < 2 or stated.shape != given.shape or stated.dtype.kind not in "iuf":
        return
    if np.allclose(stated, given[::-1]) and not np.allclose(stated, given):
        raise InputError(
            f"y runs from {given[0]:g} to {given[-1]:g}, but the rows from {stated[0]:g} to {stated[-1]:g}",
            "y is in the order of the rows",
            "Give the y of the values as it is, in either direction",
        )


def _check_shape(found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found == expected:
        return
    times, rows, columns = expected
    remedy = "Give each of time, y and x in full"
    if sorted(found) == sorted(expected):
        order = tuple(found.index(size) for size in expected) if len(set(found)) == 3 else (0, 2, 1)
        remedy = f"Their axes are in another order: give values.transpose{order}"
    raise InputError(
        f"values have the shape {found}, but there are {times} times, {rows} y and {columns} x",
        "values have the shape (time, y, x)",
        remedy,
    )


def _as_crs(crs: pyproj.CRS | str | None) -> pyproj.CRS | None:
    if crs is None:
        return None
    try:
        return _require_map(pyproj.CRS.from_user_input(crs))
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"{error}", "the CRS is one that pyproj reads", "Give, e.g., 'EPSG:3035'") from error


def _require_map(crs: pyproj.CRS) -> pyproj.CRS:
    """Return a CRS whose axes are metres of a map, or degrees; raise `InputError` for any other."""
    if not crs.is_geographic and not crs.is_projected:
        raise InputError(
            f"the CRS {crs.name!r} is {crs.type_name}",
            "the CRS is a projection, or longitude and latitude",
            "Give, e.g., 'EPSG:3035', or None for a local grid in metres",
        )
    if metres_per_unit(crs) != 1.0:
        raise InputError(
            f"the CRS {crs.name!r} has axes in units of {metres_per_unit(crs):g} m",
            "x, y and their CRS are in metres",
            "Convert x and y to metres, and the CRS with hybridcast.core.crs.to_metres(crs)",
        )
    return crs


def with_crs(field: xr.DataArray, crs: pyproj.CRS | str | None) -> xr.DataArray:
    """Return the field with a CRS and the corresponding CF attributes of `x`, `y` and `time`."""
    field = field.copy(deep=False)
    crs = _as_crs(crs)
    geographic = crs is not None and crs.is_geographic
    if crs is not None:
        field = field.assign_coords({GRID_MAPPING: ((), np.int32(0), _grid_mapping(crs))})
        field.attrs["grid_mapping"] = GRID_MAPPING
    for axis, name, degrees in (("x", "longitude", "degrees_east"), ("y", "latitude", "degrees_north")):
        standard_name = name if geographic else f"projection_{axis}_coordinate"
        units = degrees if geographic else "m"
        field[axis].attrs = {"standard_name": standard_name, "units": units, "axis": axis.upper()}
    if "time" in field.coords:
        field["time"].attrs = {"standard_name": "time", "axis": "T"}
    return field


def _grid_mapping(crs: pyproj.CRS) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # CF cannot express all of a WKT; crs_wkt keeps the rest
        attrs: dict[str, Any] = crs.to_cf()
    if attrs.get("grid_mapping_name") == "polar_stereographic" and "standard_parallel" in attrs:
        # required by CF, but omitted by pyproj if the standard parallel implies it
        attrs.setdefault("latitude_of_projection_origin", float(np.copysign(90.0, attrs["standard_parallel"])))
    return {"long_name": "coordinate reference system", **attrs}


# --- checking -------------------------------------------------------------------------------------------------


def check_precipitation(field: xr.DataArray) -> xr.DataArray:
    """Check that `field` keeps the contract, and return it in canonical order and type.

    Values are checked if they are in memory; those of a lazy (dask) array are not checked until they are loaded.

    Parameters
    ----------
    field
        DataArray with dims ``time``, ``y``, ``x`` in any order and ``units`` of mm h-1 (also spelled ``mm/h`` or
        ``mm hr-1``).

    Returns
    -------
    DataArray
        Field of type float32 with dims ``("time", "y", "x")``. It shares memory with `field` if possible.

    Raises
    ------
    InputError
        If the field violates the contract; the message names the value found, the rule, and the remedy.
    """
    if not isinstance(field, xr.DataArray):
        raise InputError(
            f"found {type(field).__name__}",
            "a precipitation field is an xarray.DataArray",
            "Open radar files with open_radar(paths), or build one with hybridcast.precipitation(values, ...)",
        )
    check_frames(field)
    _check_time(field)
    field = field.transpose(*DIMS)
    if field.dtype != np.float32:
        field = field.astype(np.float32, keep_attrs=True)
    if field.name != RATE or field.attrs.get("units") != UNITS:
        field = field.rename(RATE).assign_attrs(units=UNITS)
    return field


def check_frames(field: xr.DataArray) -> None:
    """Check dims, units, x, y and values in memory, that is, all of the contract but the times; raise `InputError`."""
    _check_dims(field)
    _check_units(field)
    for axis in ("x", "y"):
        check_axis(field, axis)
    refuse_stored_codes(field)
    if field.chunks is None:
        _check_values(field)


def _check_dims(field: xr.DataArray) -> None:
    if set(field.dims) != set(DIMS):
        raise InputError(
            f"dims are {tuple(field.dims)}",
            f"a precipitation field has the dims {DIMS}",
            "Rename them with .rename(...), select along the others, add a time with .expand_dims(time=[...])",
        )
    for dim in DIMS:
        if dim not in field.coords:
            raise InputError(f"{dim!r} has no coordinate", "time, y and x carry coordinates", f"Assign {dim!r}")
        if field.sizes[dim] == 0:
            raise InputError(f"{dim!r} has length 0", "a field holds at least one value", "Select data that exist")


def _check_units(field: xr.DataArray) -> None:
    units = str(field.attrs.get("units", ""))
    if units == UNITS:
        return
    if not units:
        raise InputError(
            "the field has no units",
            f"a rain rate states units of {UNITS!r}",
            "Set field.attrs['units'] = 'mm h-1', or convert with rate_from_dbz or rate_from_accumulation first",
        )
    if rate_factor(units) != 1.0:
        remedy = "Convert with hybridcast.as_rate(field)"
        if units.lower() == "dbz":
            remedy = "Convert with hybridcast.rate_from_dbz(field)"
        elif rate_factor(units) is None:
            remedy = "Convert with hybridcast.rate_from_accumulation(field, interval) if it is a sum over an interval"
        raise InputError(f"units are {units!r}", f"a precipitation field is in {UNITS!r}", remedy)


def check_axis(field: xr.DataArray | xr.Dataset, axis: str, *, coarsest: float = SPACING_BOUNDS[1]) -> None:
    """Check that an axis, "x" or "y", is finite, evenly spaced, and in metres or, on a geographic grid, degrees.

    `coarsest` is the largest spacing allowed, m.
    """
    values = np.asarray(field[axis].values, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            f"{axis!r} has missing or two-dimensional values",
            "x and y are one-dimensional and finite",
            "Give the projection's own x and y; two-dimensional longitude and latitude are not a regular grid",
        )
    crs = crs_of(field)
    geographic = crs is not None and crs.is_geographic
    units = str(field[axis].attrs.get("units", "m"))
    if not geographic and units not in {"m", "metre", "meter", "metres", "meters"}:
        raise InputError(
            f"{axis!r} is in {units!r}", "x and y are in metres", f"Multiply {axis!r} and set its units to 'm'"
        )
    if geographic:
        _check_degrees(values, axis)
    if values.size > 1:
        _check_spacing(values, axis, "degrees" if geographic else "m", coarsest)


def _check_degrees(values: NDArray[np.float64], axis: str) -> None:
    highest = 90.0 if axis == "y" else 540.0  # longitudes may go on beyond the date line
    if np.abs(values).max() > highest + 1e-6:
        raise InputError(
            f"{axis!r} runs from {values[0]:g} to {values[-1]:g} degrees",
            f"{'latitude' if axis == 'y' else 'longitude'} lies within {highest:g} degrees",
            "Give longitude for x and latitude for y; metres: give the CRS of the projection",
        )


def _check_spacing(values: NDArray[np.float64], axis: str, units: str, coarsest: float) -> None:
    """Check that an axis in metres ("m") or degrees is evenly spaced, with a plausible spacing."""
    steps = np.diff(values)
    spacing = float(np.median(steps))
    if spacing == 0 or np.abs(steps - spacing).max() > step_tolerance(values, spacing):
        raise InputError(
            f"{axis!r} steps from {steps.min():g} to {steps.max():g}",
            "a grid is evenly spaced within 1 %",
            "Regrid the data onto an even grid first",
        )
    metres = 1.0 if units == "m" else 111_000.0
    low, high = (bound / metres for bound in (SPACING_BOUNDS[0], coarsest))
    if not low <= abs(spacing) <= high:
        raise InputError(
            f"the spacing of {axis!r} is {abs(spacing):g}",
            f"it lies between {low:g} and {high:g} {units}",
            f"Check the units of {axis!r}: kilometres or a bare index would look like this",
        )


def _check_time(field: xr.DataArray) -> None:
    if not np.issubdtype(field["time"].dtype, np.datetime64):
        raise InputError(
            f"time is of type {field['time'].dtype}", "time is datetime64 in UTC", "Convert it with pandas.to_datetime"
        )
    time_step(field["time"].values)


def _check_values(field: xr.DataArray) -> None:
    if not np.issubdtype(field.dtype, np.number):
        raise InputError(f"values are of type {field.dtype}", "rain rates are numbers", "Convert them to float32")
    # fmin and fmax ignore NaN; if all values are NaN they return NaN, for which every comparison below is false
    low, high = np.fmin.reduce(field.values, axis=None), np.fmax.reduce(field.values, axis=None)
    if low < 0:
        raise InputError(
            f"the lowest value is {low:g}",
            "a rain rate is not negative",
            "Set codes of 'not observed' to NaN, and those of 'no echo' to 0; decibels: convert with "
            "hybridcast.rate_from_dbz",
        )
    if high > HIGHEST_RATE:
        raise InputError(
            f"the highest value is {high:g}",
            f"no rain rate exceeds {HIGHEST_RATE:g} mm/h",
            "Check the units and the missing-value code; clip outliers with .clip(max=...)",
        )
    if high > SUSPICIOUS_RATE:
        _warn_of_units(field, float(high))
    elif DECIBELS[0] < high < DECIBELS[1]:
        _warn_of_decibels(field)


def _warn_of_units(field: xr.DataArray, high: float) -> None:
    """Warn if a large fraction of the wet cells is more intense than the core of any storm."""
    wet, downpour = np.count_nonzero(field.values >= 0.1), np.count_nonzero(field.values >= SUSPICIOUS_RATE)
    if downpour > SUSPICIOUS_FRACTION * wet:
        warnings.warn(
            f"{downpour / wet:.0%} of the wet cells have {SUSPICIOUS_RATE:g} mm/h or more (up to {high:.0f}): are the "
            "units really mm/h, and no hundredths of it, no sum, no reflectivity?",
            InputWarning,
            stacklevel=4,
        )


def _warn_of_decibels(field: xr.DataArray) -> None:
    """Warn if half of the wet cells have the rate of a downpour, as reflectivity would that was taken for a rate.

    In real composites the median of the wet cells is at most 5 mm/h, in reflectivity it is 15 to 25 dBZ.
    """
    values = field.values.ravel()
    some = values[:: 1 + values.size // 1_000_000]
    wet = some[some >= 0.1]
    if wet.size >= _MIN_WET and np.count_nonzero(wet > DECIBELS[0]) > wet.size / 2:  # cheaper than the median
        warnings.warn(
            f"half of the wet cells have more than {np.median(wet):.0f} mm/h, and none {DECIBELS[1]:g}: are the values "
            "decibels (dBZ)? Then convert them with hybridcast.rate_from_dbz",
            InputWarning,
            stacklevel=4,
        )


# --- place ----------------------------------------------------------------------------------------------------


def crs_of(data: xr.DataArray | xr.Dataset) -> pyproj.CRS | None:
    """Return the CRS of a field or forecast; None for a local grid."""
    if GRID_MAPPING not in data.coords:
        return None
    attrs = data[GRID_MAPPING].attrs
    return pyproj.CRS.from_wkt(attrs["crs_wkt"]) if "crs_wkt" in attrs else pyproj.CRS.from_cf(attrs)


def metres_per_cell(data: xr.DataArray | xr.Dataset) -> tuple[Array, Array]:
    """Return the signed steps between cells in metres on Earth, ``(dy, dx)``, float32.

    Each is of shape ``(1, 1)``, ``(y, 1)`` or ``(y, x)``, so that it broadcasts to the cells. On a grid of longitude
    and latitude, also a rotated one, dx decreases with the cosine of latitude; on a map, the steps are those of the map
    times its scale (`hybridcast.core.map_scale`). A single row or column has step 1.
    """
    y = np.asarray(data["y"].values, dtype=np.float64)
    x = np.asarray(data["x"].values, dtype=np.float64)
    dy, dx = (np.full((1, 1), _signed_step(axis)) for axis in (y, x))
    crs = crs_of(data)
    if crs is not None and crs.is_geographic:
        metres_per_degree = EARTH_RADIUS * np.pi / 180
        parallel = np.cos(np.deg2rad(np.clip(y, -89.9, 89.9)))[:, None]
        dy, dx = dy * metres_per_degree, dx * (metres_per_degree * parallel)
    elif crs is not None:
        along_y, along_x = map_scale(crs, x, y)
        return np.float32(dy) * along_y, np.float32(dx) * along_x
    return dy.astype(np.float32), dx.astype(np.float32)


def _signed_step(axis: NDArray[np.float64]) -> float:
    return float(axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0


def check_same_grid(a: xr.DataArray | xr.Dataset, b: xr.DataArray | xr.Dataset, what: str) -> None:
    """Raise `InputError` unless `a` and `b` have the same x, y and CRS; `what` names the two in the message."""
    for axis in ("y", "x"):
        if a.sizes[axis] != b.sizes[axis]:
            raise InputError(
                f"{axis!r} has {a.sizes[axis]} and {b.sizes[axis]} cells",
                f"{what} share one grid",
                "Regrid one of them",
                cli_remedy="Give the files of one grid only",
            )
        va, vb = a[axis].values, b[axis].values
        tolerance = step_tolerance(va, np.diff(va).mean()) if va.size > 1 else 1e-3
        if not np.allclose(va, vb, rtol=0, atol=tolerance):
            raise InputError(
                f"{axis!r} starts at {va[0]:g} and {vb[0]:g}",
                f"{what} share one grid",
                "Regrid one of them",
                cli_remedy="Give the files of one grid only",
            )
    if crs_of(a) != crs_of(b):
        raise InputError(
            "the CRS differ",
            f"{what} share one projection",
            "Reproject one of them",
            cli_remedy="Give the files of one projection only",
        )


# --- conversions ----------------------------------------------------------------------------------------------


#: Numbers from here on, of either sign, are codes and no reflectivity, dBZ.
_NO_REFLECTIVITY = 200.0
#: Units of numpy's timedelta64 of no certain length.
_NO_LENGTH = frozenset({"generic", "Y", "M"})


def rate_from_dbz(dbz: T, a: float = 200.0, b: float = 1.6) -> T:
    """Convert reflectivity (dBZ) to rain rate (mm h-1) by Z = a R^b; rates below 0.01 mm/h become zero.

    Arrays of any number type, masked arrays, lists and numbers are accepted, and lazy arrays stay lazy; what is masked
    becomes NaN. The default parameters are those of Marshall, Langille and Palmer (1947). FMI uses 223 and 1.53,
    MeteoSwiss 316 and 1.5, DWD 256 and 1.42.

    Raises
    ------
    InputError
        If `dbz` are no numbers, state that they are a rate, an amount or the linear reflectivity, or hold codes such as
        -9999, of which nothing says whether they are dry or missing; of a lazy array, when it is computed. Minus
        infinity is dry.

    Examples
    --------
    >>> float(rate_from_dbz(23.0103).round(3))
    1.0
    """
    dbz = _check_quantity(_require_quantity(dbz, "reflectivity in dBZ", _is_no_logarithm), _refuse_codes)
    # one exponential is forty times as fast as two powers; the factors are Python numbers, which keep float32
    rate = np.exp(dbz * (math.log(10.0) / (10.0 * b)) - math.log(a) / b)
    rate = rate.where(~(rate < 0.01), 0.0) if isinstance(rate, xr.DataArray) else _dry_below(rate)
    return cast(T, _with_rate_units(rate, dbz))


def dbz_from_rate(rate: T, a: float = 200.0, b: float = 1.6) -> T:
    """Convert rain rate (mm h-1) to reflectivity (dBZ) by Z = a R^b; rates below 0.01 mm/h are raised to 0.01 mm/h.

    This is the inverse of `rate_from_dbz`, with the same parameters.

    Raises
    ------
    InputError
        If `rate` are no numbers, state another quantity, or are negative; of a lazy array, when it is computed.
    """
    rate = _check_quantity(
        _require_quantity(rate, "a rate in mm h-1", lambda units: rate_factor(units) != 1.0), _refuse_negative
    )
    dbz = 10.0 * (np.log10(a) + b * np.log10(np.maximum(rate, 0.01)))
    if isinstance(dbz, xr.DataArray):
        dbz = dbz.rename("equivalent_reflectivity_factor").assign_attrs(
            units="dBZ", standard_name="equivalent_reflectivity_factor", long_name="equivalent reflectivity factor"
        )
    return cast(T, dbz)


def rate_from_accumulation(amount: T, interval: np.timedelta64) -> T:
    """Convert the amount of rain (mm, or kg m-2) in an interval to its mean rate (mm h-1).

    Arrays of any number type, masked arrays, lists and numbers are accepted, and lazy arrays stay lazy; what is masked
    becomes NaN.

    Raises
    ------
    InputError
        If the interval is no positive duration, or `amount` are no numbers or state other units.

    Examples
    --------
    >>> float(rate_from_accumulation(0.5, np.timedelta64(5, "m")))
    6.0
    """
    amount = _require_quantity(amount, "an amount in mm", _is_no_amount_in_mm)
    hours = float(_require_interval(interval) / np.timedelta64(1, "h"))
    return cast(T, _with_rate_units(amount / hours, amount))


def _require_interval(interval: Any) -> np.timedelta64:
    if isinstance(interval, np.timedelta64 | timedelta):
        interval = np.timedelta64(interval)
        if np.datetime_data(interval)[0] not in _NO_LENGTH and interval > np.timedelta64(0):  # NaT is not
            return cast(np.timedelta64, interval)
    raise InputError(
        f"the interval is {interval!r}",
        "rain is summed over a positive time",
        "Give it as timedelta64, e.g. numpy.timedelta64(5, 'm')",
    )


def as_rate(field: xr.DataArray) -> xr.DataArray:
    """Convert a rain rate to mm h-1 from any other unit, such as ``m s-1``, ``kg m-2 s-1`` or ``mm d-1``."""
    refuse_stored_codes(field)
    units = str(field.attrs.get("units", ""))
    factor = rate_factor(units)
    if factor is None:
        raise InputError(
            f"units are {units!r}",
            "only rates convert without more knowledge",
            "Use rate_from_dbz for reflectivity, rate_from_accumulation for sums",
        )
    return field if factor == 1.0 and units == UNITS else cast(xr.DataArray, _with_rate_units(field * factor, field))


def rate_factor(units: str) -> float | None:
    """Return the factor from `units` to mm h-1 (1 kg m-2 of water is 1 mm); None if `units` are not of a rain rate."""
    conversion = unit_conversion(units, UNITS)
    return None if conversion is None else round(conversion[0], 9)


def _require_quantity(values: Any, meant: str, is_other: Callable[[str], bool]) -> Any:
    """Return plain numbers, NaN where masked; `InputError` if a DataArray states units of another quantity."""
    if not isinstance(values, xr.DataArray):
        return as_floats(values)
    refuse_stored_codes(values)
    units = str(values.attrs.get("units", ""))
    if units and is_other(units):
        raise InputError(
            f"{values.name!r} is in {units!r}",
            f"this conversion is from {meant}",
            "Convert the values, and correct their units",
        )
    return values


def _is_no_logarithm(units: str) -> bool:
    rain = unit_conversion(units, "mm") is not None or rate_factor(units) is not None
    return rain or unit_conversion(units, "mm6 m-3") is not None


def _check_quantity(quantity: Any, check: Callable[[Any], Any]) -> Any:
    """Return numbers after a check, which raises an error; a lazy array is checked when it is computed."""
    values = quantity.data if isinstance(quantity, xr.DataArray) else quantity
    if not hasattr(values, "dask"):
        check(values)
        return quantity
    checked = values.map_blocks(check, dtype=values.dtype, meta=values._meta)
    return quantity.copy(data=checked) if isinstance(quantity, xr.DataArray) else checked


def _refuse_codes(dbz: Any) -> Any:
    """Raise `InputError` for numbers that are no reflectivity: dry and missing have codes in many files."""
    codes = np.isfinite(dbz) & (np.abs(dbz) >= _NO_REFLECTIVITY)
    if codes.any():
        raise InputError(
            f"a reflectivity of {np.asarray(dbz)[codes].flat[0]:g} dBZ",
            f"reflectivities lie within {_NO_REFLECTIVITY:g} dBZ",
            "Set the code of missing values to NaN, and that of dry ones to -inf",
        )
    return dbz


def _refuse_negative(rate: Any) -> Any:
    negative = np.asarray(rate) < 0
    if negative.any():
        raise InputError(
            f"a rain rate of {np.asarray(rate)[negative].flat[0]:g} mm/h",
            "rain rates are 0 or more",
            "Set the code of missing values to NaN",
        )
    return rate


def _is_no_amount_in_mm(units: str) -> bool:
    conversion = unit_conversion(units, "mm")
    return units.lower() == "dbz" or rate_factor(units) is not None or conversion not in (None, (1.0, 0.0))


def _dry_below(rate: Any, lowest: float = 0.01) -> Any:
    return np.where(rate < lowest, np.zeros((), rate.dtype), rate)[()]


def _with_rate_units(rate: Any, source: Any) -> Any:
    if not isinstance(rate, xr.DataArray):
        return rate
    kept = {k: v for k, v in source.attrs.items() if k not in _ATTRIBUTES}
    return rate.rename(RATE).assign_attrs({**kept, **_ATTRIBUTES})
