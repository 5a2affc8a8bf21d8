"""Merging of station reports from several files, and resampling of reports to a longer interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import InputError
from hybridcast.stations.schema import DIMS, INTERVAL, POSITIONS, VARIABLES, check_stations, get_interval


def resample_reports(
    stations: xr.Dataset,
    step: np.timedelta64,
    *,
    min_fraction: float = 1.0,
    end: np.datetime64 | None = None,
) -> xr.Dataset:
    """Resample reports to a longer interval: rain is averaged over whole intervals that end at multiples of `step`.

    Parameters
    ----------
    stations
        Station reports.
    step
        The new interval, a whole multiple of the present one; intervals end at multiples of it since 1970.
    min_fraction
        Minimum fraction of the reports of an interval that must be present for its rain to be known; by default all.
        With less, the mean of the reports present stands for the whole interval.
    end
        A time at which an interval ends, used instead of the multiples of `step`; for example the last report, so
        that the last interval is complete.

    Returns
    -------
    Dataset
        Station reports with the interval `step`; temperature, wind and other variables are those of the last report
        in each interval.

    Raises
    ------
    InputError
        If `step` is no whole multiple of the interval.

    Examples
    --------
    >>> from hybridcast.stations import station_reports
    >>> minutes = np.datetime64("2020-01-01T00:00") + np.arange(1, 16) * np.timedelta64(1, "m")
    >>> reports = station_reports([np.arange(15.0)], station=["A"], time=minutes, interval=np.timedelta64(1, "m"),
    ...                           coords={"x": [0.0], "y": [0.0]})
    >>> resample_reports(reports, np.timedelta64(5, "m")).precipitation_rate.values.tolist()
    [[2.0, 7.0, 12.0]]
    """
    interval = get_interval(stations)
    parts, rest = divmod(np.timedelta64(step).astype("timedelta64[ns]"), interval)
    if rest or parts < 1:
        raise InputError(
            f"a step of {_minutes(step)} min of reports over {_minutes(interval)} min",
            "the step is a whole multiple of the interval",
            "Choose another step",
        )
    if parts == 1 or not stations.sizes["time"]:
        return stations.assign_attrs({INTERVAL: _minutes(step)})
    names = [name for name in VARIABLES if name in stations]
    resamplers = {name: _resampler(stations[name].values, stations["time"].values, step, end) for name in names}
    mean, count = resamplers[RATE].mean(), resamplers[RATE].count()
    tables = {RATE: mean.where(count >= max(1.0, min_fraction * parts - 1e-6))}
    tables |= {name: resamplers[name].last() for name in names if name != RATE}
    data = {name: (DIMS, table.to_numpy(np.float32).T, stations[name].attrs) for name, table in tables.items()}
    result = stations.drop_dims("time").assign_coords(time=("time", mean.index.to_numpy(), stations["time"].attrs))
    return check_stations(result.assign(data).assign_attrs({INTERVAL: _minutes(step)}))


def _resampler(values: Array, times: NDArray[np.datetime64], step: np.timedelta64, end: np.datetime64 | None) -> Any:
    """Return pandas' resampler of values of shape ``(station, time)``."""
    origin: Any = "epoch" if end is None else pd.Timestamp(end)
    table = pd.DataFrame(values.T, index=pd.DatetimeIndex(times))
    return table.resample(pd.Timedelta(step), closed="right", label="right", origin=origin)


def merge_reports(parts: Sequence[xr.Dataset], step: np.timedelta64 | None = None) -> xr.Dataset:
    """Merge station reports into one dataset of all stations and all times.

    Where intervals differ, all reports are resampled to the longest one (or to `step`) with `resample_reports`; an
    interval in which a report is missing becomes NaN. Where two parts have a value for the same station and time, the
    first part takes precedence.

    Parameters
    ----------
    parts
        Station reports.
    step
        The interval of the result; by default the longest of the parts.

    Raises
    ------
    InputError
        If the intervals do not divide the step, or end at different times; or if some parts have degrees and others x
        and y.
    """
    step = max(get_interval(part) for part in parts) if step is None else step
    resampled = [resample_reports(part, step) for part in parts]
    if not any(all(set(pair) <= set(part.coords) for part in parts) for pair in POSITIONS):
        raise InputError(
            "some stations have degrees, others x and y",
            "merged stations have coordinates of one kind",
            "Convert one of them",
        )
    if len(resampled) == 1:
        return resampled[0]
    names = np.array(list(dict.fromkeys(name for part in resampled for name in part["station"].values)), object)
    rows = {name: row for row, name in enumerate(names)}
    merged = _merge_variables(resampled, rows).assign_coords(_merge_coordinates(resampled, rows))
    for dim in DIMS:
        merged[dim].attrs = resampled[0][dim].attrs
    return check_stations(merged.assign_attrs({**_merge_attributes(parts), INTERVAL: _minutes(step)}))


def _merge_variables(parts: Sequence[xr.Dataset], rows: dict[Any, int]) -> xr.Dataset:
    """Merge the variables of all parts; `rows` maps the names of stations to the rows of the result."""
    times = np.unique(np.concatenate([part["time"].values for part in parts]))
    merged = xr.Dataset(coords={"station": np.array(list(rows), object), "time": times})
    for name in VARIABLES:
        if any(name in part for part in parts):
            merged[name] = (DIMS, np.full((len(rows), times.size), np.nan, np.float32), VARIABLES[name][0])
    for part in parts:
        at = np.ix_(
            np.array([rows[name] for name in part["station"].values], np.intp),
            np.searchsorted(times, part["time"].values),
        )
        for name in VARIABLES.keys() & set(part.data_vars):
            values = merged[name].values
            values[at] = np.where(np.isnan(values[at]), part[name].values, values[at])
    return merged


def _merge_coordinates(parts: Sequence[xr.Dataset], rows: dict[Any, int]) -> dict[str, Any]:
    """Merge the coordinates along ``station``; the first part that has one takes precedence."""
    kept = dict.fromkeys(name for part in parts for name, of in part.coords.items() if of.dims == ("station",))
    kept.pop("station", None)
    found: dict[str, Any] = {}
    for name in kept:
        texts = any(part[name].dtype.kind in "OUS" for part in parts if name in part.coords)
        values = np.full(len(rows), "" if texts else np.nan, object if texts else np.float64)
        attrs: dict[str, Any] = {}
        for part in reversed(parts):
            if name in part.coords:
                values[[rows[station] for station in part["station"].values]] = part[name].values
                attrs = part[name].attrs
        found[str(name)] = ("station", values, attrs)
    return found


def _merge_attributes(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Merge attributes: equal values once, different ones as texts separated by semicolons."""
    names = dict.fromkeys(name for part in parts for name in part.attrs)
    found: dict[str, Any] = {}
    for name in names:
        texts = dict.fromkeys(str(part.attrs[name]) for part in parts if name in part.attrs)
        found[name] = "; ".join(texts)
    intervals = sorted({_minutes(get_interval(part)) for part in parts})
    if len(intervals) > 1:
        found["merged_intervals_minutes"] = cast(Any, intervals)
    return found


def _minutes(step: np.timedelta64) -> float:
    return float(step / MINUTE)
