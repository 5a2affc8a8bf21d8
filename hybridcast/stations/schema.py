"""Schema of station reports: gauges, weather stations and microwave links as one CF discrete-sampling dataset.

Station reports are an ``xarray.Dataset`` (CF, ``featureType = "timeSeries"``) with

- dims ``("station", "time")``; the names in ``station`` are texts and unique;
- ``time``: UTC, in order, the END of the interval that a value refers to. Gaps are allowed, and the intervals of one
  station do not overlap. Stations may report at different times: where a station has no report at a time of another, it
  has NaN;
- ``attrs["interval_minutes"]``: the length of that interval, the same for all values;
- the position along ``station``: ``latitude`` and ``longitude`` (WGS84 degrees), or ``x`` and ``y`` (metres of the
  radar's own projection, or of its local grid); ``altitude`` (m) where it is known; ``sensor``, ``"gauge"`` or
  ``"link"``;
- ``precipitation_rate``: mm h-1, the mean over the interval, float32, NaN where there is no value; values above the
  world record for the interval are no rain, and NaN;
- optionally ``air_temperature`` (K), ``relative_humidity`` (1), ``air_pressure_at_mean_sea_level`` (Pa),
  ``wind_speed`` (m s-1) and ``wind_from_direction`` (degree), at the end of the interval.

The schema is checked once, by `check_stations`, where data enter; later code relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.arrays import as_floats
from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.field import HIGHEST_RATE, RATE, UNITS
from hybridcast.core.times import as_datetime64, as_times
from hybridcast.core.types import HOUR, MINUTE, Array, Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError

DIMS = ("station", "time")
INTERVAL = "interval_minutes"
#: Attribute that names the stations of which nothing is used, with the reasons.
LEFT_OUT = "stations_left_out"
NO_DELAY = np.timedelta64(0, "m")
#: Envelope of the world records of rain: mm in an hour, and the power of the hours (World Meteorological Organization,
#: Guide to Hydrological Practices, WMO-No. 168).
RECORDS = 422.0, 0.475
POSITIONS = (("latitude", "longitude"), ("y", "x"))

#: Variables of the schema: their CF attributes, and the bounds outside which the units must be wrong.
VARIABLES: Mapping[str, tuple[dict[str, str], tuple[float, float]]] = {
    RATE: (
        {
            "standard_name": "lwe_precipitation_rate",
            "long_name": "precipitation rate",
            "units": UNITS,
            "cell_methods": "time: mean",
        },
        (0.0, HIGHEST_RATE),
    ),
    "air_temperature": ({"standard_name": "air_temperature", "units": "K"}, (150.0, 350.0)),
    "relative_humidity": ({"standard_name": "relative_humidity", "units": "1"}, (0.0, 1.2)),
    "air_pressure_at_mean_sea_level": (
        {"standard_name": "air_pressure_at_mean_sea_level", "units": "Pa"},
        (8e4, 1.2e5),
    ),
    "wind_speed": ({"standard_name": "wind_speed", "units": "m s-1"}, (0.0, 150.0)),
    "wind_from_direction": ({"standard_name": "wind_from_direction", "units": "degree"}, (0.0, 360.0)),
}
_NUMBERS = frozenset({"latitude", "longitude", "x", "y", "altitude"})
_COORDINATES = {
    "station": {"long_name": "station", "cf_role": "timeseries_id"},
    "time": {"standard_name": "time", "axis": "T", "long_name": "end of the interval"},
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m"},
    "y": {"standard_name": "projection_y_coordinate", "units": "m"},
    "altitude": {"standard_name": "altitude", "units": "m", "positive": "up"},
    "sensor": {"long_name": "kind of sensor"},
}


# --- building -------------------------------------------------------------------------------------------------


def station_reports(
    rates: ArrayLike,
    *,
    station: ArrayLike,
    time: ArrayLike,
    interval: Duration,
    coords: Mapping[str, ArrayLike],
    other_variables: Mapping[str, ArrayLike] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Build station reports from arrays; physically impossible values become NaN and are counted.

    Parameters
    ----------
    rates
        Rain rate, mm h-1, mean over `interval`, shape ``(station, time)``; NaN, None or masked where there is no
        report. Arrays of numpy (also masked), tables of pandas (also of nullable types) and lists are accepted; a
        DataArray with these dims, and a table with the times as its index, are put in this order.
    station
        Names, shape ``(station,)``.
    time
        ENDS of the intervals, ``datetime64``, `datetime` or texts in ISO 8601, UTC unless they state a zone, shape
        ``(time,)``.
    interval
        Length of the interval that each value is the mean over, such as ``"10min"`` or ``np.timedelta64(10, "m")``.
    coords
        Coordinates along ``station``: ``latitude`` and ``longitude`` (degrees) or ``x`` and ``y`` (m); optionally
        ``altitude`` (m), ``sensor``, and others of any name, such as the ends of a link's path.
    other_variables
        Further variables of the schema, shape ``(station, time)``.
    attrs
        Attributes such as ``source`` and ``license``.

    Returns
    -------
    Dataset
        See the schema in the module's documentation. If values were negative, rates above the world record for their
        interval, or others far outside the bounds of their variable, ``attrs["impossible_values"]`` counts them by
        variable.

    Raises
    ------
    InputError
        If something does not fit the schema.

    Examples
    --------
    >>> reports = station_reports([[0.0, 6.0]], station=["A"], interval=np.timedelta64(5, "m"),
    ...                           time=["2020-01-01T00:05", "2020-01-01T00:10"],
    ...                           coords={"latitude": [57.7], "longitude": [12.0]})
    >>> reports.precipitation_rate.values.tolist(), reports.sensor.values.tolist(), reports.attrs["interval_minutes"]
    ([[0.0, 6.0]], ['gauge'], 5.0)
    """
    interval = parse_duration(interval, "interval")
    names, times = _as_names(station), as_times(time)
    given = {
        name: _in_order(values, name, names, times) for name, values in {RATE: rates, **(other_variables or {})}.items()
    }
    impossible: dict[str, int] = {}
    bounds = {name: limits for name, (_, limits) in VARIABLES.items()} | {RATE: (0.0, record_rate(interval))}
    data = {
        name: (
            DIMS,
            _mask_impossible(name, values, bounds.get(name, (-np.inf, np.inf)), impossible),
            VARIABLES[name][0] if name in VARIABLES else {},
        )
        for name, values in given.items()
    }
    along = {"sensor": np.full(names.size, "gauge", object), **coords}
    if "longitude" in along:
        along["longitude"] = _centre_longitude(along["longitude"])
    described = {
        name: ("station", _as_coordinate(name, values, names.size), _COORDINATES.get(name, {}))
        for name, values in along.items()
    }
    reports = xr.Dataset(
        data,
        coords={"station": names, "time": times, **described},
        attrs={
            "Conventions": "CF-1.10",
            "featureType": "timeSeries",
            "title": "station reports",
            "history": "made by hybridcast",
            **(attrs or {}),
            INTERVAL: float(interval / MINUTE),
        },
    )
    for name in DIMS:
        reports[name].attrs = dict(_COORDINATES[name])
    if impossible:
        reports.attrs["impossible_values"] = ", ".join(f"{name}: {count}" for name, count in impossible.items())
    return check_stations(reports)


def _as_names(station: ArrayLike) -> NDArray[Any]:
    """Return the names of stations as texts."""
    names = np.atleast_1d(np.ma.getdata(station).astype(object))
    if names.ndim > 1 or pd.isna(names).any() or np.ma.getmaskarray(np.ma.asarray(station)).any():
        raise InputError(f"stations are {names.tolist()}", "each station has a name", "Give a list of names")
    return names.astype(str).astype(object)


def _in_order(values: Any, name: str, names: NDArray[Any], times: NDArray[np.datetime64]) -> Any:
    """Return values of shape ``(station, time)``; `InputError` if they state other units, or are of another shape."""
    if isinstance(values, xr.DataArray):
        _check_units(values, name)
        values = values.transpose(*DIMS).values if set(values.dims) == set(DIMS) else values.values
    if isinstance(values, pd.DataFrame) and isinstance(values.index, pd.DatetimeIndex):
        values = values.T
    shape, expected = np.shape(values), (names.size, times.size)
    if shape != expected:
        transposed = "Transpose them" if shape == expected[::-1] else "Give a row for each station"
        raise InputError(
            f"{name} has the shape {shape}, with {names.size} stations and {times.size} times",
            f"values have the shape (station, time), {expected}",
            transposed,
        )
    return values


def _check_units(values: xr.DataArray, name: str) -> None:
    units, ours = str(values.attrs.get("units", "")), VARIABLES[name][0]["units"] if name in VARIABLES else ""
    if units and ours and unit_conversion(units, ours) != (1.0, 0.0):
        raise InputError(
            f"{name} is in {units!r}",
            f"it is in {ours!r}",
            "Convert it (sums of rain with hybridcast.rate_from_accumulation), and correct its units",
        )


def _as_coordinate(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    """Return a coordinate of the stations; numbers that are masked or None become NaN."""
    numbers = name in _NUMBERS or isinstance(values, np.ma.MaskedArray)
    found = np.asarray(as_floats(values, np.float64) if numbers else values)
    if found.shape != (count,):
        raise InputError(
            f"{name} has the shape {found.shape}, with {count} stations",
            "a coordinate has a value for each",
            "Give all",
        )
    return found


def record_rate(interval: np.timedelta64) -> float:
    """Return the highest mean rate (mm h-1) on record over `interval`, at most `HIGHEST_RATE`.

    Examples
    --------
    >>> [round(record_rate(np.timedelta64(minutes, "m"))) for minutes in (1, 10, 60, 1440)]
    [2500, 1081, 422, 80]
    """
    hours = float(interval / HOUR)
    return min(HIGHEST_RATE, RECORDS[0] * hours ** (RECORDS[1] - 1)) if hours > 0 else HIGHEST_RATE


def _centre_longitude(values: ArrayLike) -> Doubles:
    """Return longitudes from 0 to 360 degrees as -180 to 180; others stay, so that the check finds them."""
    given: Doubles = as_floats(values, np.float64)
    return np.where((given > 180) & (given <= 360), given - 360, given)


def _mask_impossible(name: str, values: ArrayLike, bounds: tuple[float, float], impossible: dict[str, int]) -> Array:
    """Return `values` as float32, NaN where they are outside `bounds`; count these in `impossible`."""
    given = np.array(as_floats(values, np.float32))
    low, high = bounds
    given[(given < 0) & (given > -1e-4) & (low == 0)] = 0.0  # rounding errors of packed values
    wrong = (given < low) | (given > high)
    given[wrong] = np.nan
    if wrong.any():
        impossible[name] = int(wrong.sum())
    return given


# --- checking -------------------------------------------------------------------------------------------------


def check_stations(stations: xr.Dataset) -> xr.Dataset:
    """Check that `stations` follows the schema and return it with float32 values and dims in order.

    Raises
    ------
    InputError
        If it does not; the message names the value found, the rule, and the remedy.
    """
    if not isinstance(stations, xr.Dataset) or RATE not in stations:
        raise InputError(
            f"found {type(stations).__name__}" if not isinstance(stations, xr.Dataset) else f"there is no {RATE!r}",
            f"station reports are an xarray.Dataset with {RATE!r}",
            "Open files with open_stations(paths), or build one with station_reports(...)",
        )
    _check_dims(stations)
    interval = get_interval(stations)
    _check_time(stations, interval)
    _check_positions(stations)
    for name in VARIABLES.keys() & set(stations.data_vars):
        _check_values(stations[name])
        if stations[name].dtype != np.float32 or stations[name].dims != DIMS:
            stations = stations.assign({name: stations[name].transpose(*DIMS).astype(np.float32)})
    if "sensor" not in stations.coords:
        stations = stations.assign_coords(sensor=("station", np.full(stations.sizes["station"], "gauge", object)))
    return stations


def _check_dims(stations: xr.Dataset) -> None:
    dims = stations[RATE].dims
    if set(dims) != set(DIMS) or any(dim not in stations.coords for dim in DIMS):
        raise InputError(f"dims are {dims}", f"station reports have the dims {DIMS} with coordinates", "Rename them")
    names = stations["station"].values
    if np.unique(names.astype(str)).size != names.size:
        found, counts = np.unique(names.astype(str), return_counts=True)
        raise InputError(
            f"station {found[counts > 1][0]!r} comes {counts.max()} times",
            "each station comes once",
            "Rename or drop one",
        )
    units = str(stations[RATE].attrs.get("units", ""))
    if units not in (UNITS, "mm/h"):
        raise InputError(
            f"units are {units!r}", f"{RATE} is in {UNITS!r}", "Convert sums with hybridcast.rate_from_accumulation"
        )


def get_interval(stations: xr.Dataset) -> np.timedelta64:
    """Return the length of the interval that each value is the mean over, from ``attrs["interval_minutes"]``."""
    minutes = stations.attrs.get(INTERVAL)
    if minutes is None or not 0 < float(minutes) <= 1440:
        raise InputError(
            f"attrs[{INTERVAL!r}] is {minutes!r}",
            "station reports state the minutes that a value is the mean over, up to a day",
            f"Set stations.attrs[{INTERVAL!r}]",
        )
    return np.timedelta64(round(float(minutes) * 60e9), "ns")


def _check_time(stations: xr.Dataset, interval: np.timedelta64) -> None:
    times = stations["time"].values
    if not np.issubdtype(times.dtype, np.datetime64) or np.isnat(times).any():
        raise InputError(f"time is of type {times.dtype}, or missing", "time is datetime64 in UTC", "Convert it")
    steps = np.diff(times)
    if (steps <= np.timedelta64(0)).any():
        late = times[1:][steps <= np.timedelta64(0)][0]
        raise InputError(f"{late} comes after a later time, or twice", "times are in order", "Sort the times")
    if (steps < interval).any():
        _check_overlaps(stations, interval)


def _check_overlaps(stations: xr.Dataset, interval: np.timedelta64) -> None:
    """Raise `InputError` if two reports of one station overlap; those of different stations may."""
    times = stations["time"].values
    for row, known in enumerate(np.isfinite(stations[RATE].transpose(*DIMS).values)):
        own = times[known]
        overlapping = np.diff(own) < interval
        if overlapping.any():
            raise InputError(
                f"at {own[1:][overlapping][0]} less than {interval / MINUTE:g} min have gone by since the report of "
                f"{stations['station'].values[row]} before",
                "the intervals of a station do not overlap",
                "Correct attrs['interval_minutes'], or select reports that do not overlap",
            )


def _check_positions(stations: xr.Dataset) -> None:
    if not any(set(pair) <= set(stations.coords) for pair in POSITIONS):
        raise InputError(
            f"coordinates are {sorted(map(str, stations.coords))}",
            "stations have latitude and longitude, or x and y of the radar's projection",
            "Assign them along 'station'",
        )
    for name, limit in (("latitude", 90.0), ("longitude", 360.0)):
        beyond = np.abs(stations[name].values) > limit if name in stations.coords else np.zeros(0, bool)
        if beyond.any():
            first = int(np.argmax(beyond))
            raise InputError(
                f"{name} {stations[name].values[first]:g} of {stations['station'].values[first]} beyond {limit:g}",
                "positions are in degrees",
                f"Correct {name} (are latitude and longitude exchanged, or metres?), or give x and y",
                cli_remedy=f"Correct {name} (are latitude and longitude exchanged, or metres?)",
            )


def _check_values(values: xr.DataArray) -> None:
    low, high = VARIABLES[str(values.name)][1]
    if not np.issubdtype(values.dtype, np.number):
        raise InputError(f"{values.name} is of type {values.dtype}", "values are numbers", "Convert them to float32")
    found = (
        np.fmin.reduce(values.values, axis=None, initial=np.nan),
        np.fmax.reduce(values.values, axis=None, initial=np.nan),
    )
    if found[0] < low or found[1] > high:
        raise InputError(
            f"{values.name} goes from {found[0]:g} to {found[1]:g}",
            f"it lies between {low:g} and {high:g} {VARIABLES[str(values.name)][0]['units']}",
            "Set codes of missing values to NaN, and check the units",
        )


# --- choosing -------------------------------------------------------------------------------------------------


def select_available_reports(
    stations: xr.Dataset, time: str | np.datetime64, delay: np.timedelta64 = NO_DELAY
) -> xr.Dataset:
    """Select the reports available at `time`: those whose interval ended at ``time - delay`` or earlier.

    Parameters
    ----------
    stations
        Station reports.
    time
        UTC.
    delay
        Time between the end of an interval and the arrival of its report.

    Examples
    --------
    >>> reports = station_reports([[0.0, 6.0]], station=["A"], interval=np.timedelta64(5, "m"),
    ...                           time=["2020-01-01T00:05", "2020-01-01T00:10"], coords={"x": [0.0], "y": [0.0]})
    >>> select_available_reports(reports, "2020-01-01T00:09").precipitation_rate.values.tolist()
    [[0.0]]
    """
    return stations.isel(time=stations["time"].values <= as_datetime64(time) - delay)


def compute_amounts(stations: xr.Dataset) -> xr.DataArray:
    """Compute the amount of rain (mm) that fell in each interval, dims ``("station", "time")``."""
    hours = np.float32(get_interval(stations) / HOUR)
    return (stations[RATE] * hours).rename("precipitation_amount").assign_attrs(units="mm")
