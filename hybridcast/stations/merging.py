"""Merging of station reports from several files, and resampling of reports to a longer interval."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hybridcast.core.field import RATE
from hybridcast.core.types import HOUR, MINUTE, Array
from hybridcast.errors import InputError, InputWarning
from hybridcast.stations.schema import DIMS, INTERVAL, LEFT_OUT, POSITIONS, VARIABLES, check_stations, get_interval

#: Stations with the longest interval set that of all from this fraction of the stations on.
MIN_SHARE = 0.05


def resample_reports(
    stations: xr.Dataset,
    step: np.timedelta64,
    *,
    min_fraction: float = 1.0,
    end: np.datetime64 | None = None,
) -> xr.Dataset:
    """Resample reports to a longer interval: rain is averaged over whole intervals that end at multiples of `step`.

    A report that lies across the end of an interval, as of a station whose clock is out of step with the others, counts
    in both intervals by its share.

    Parameters
    ----------
    stations
        Station reports.
    step
        The new interval, a whole multiple of the present one; intervals end at multiples of it since 1970.
    min_fraction
        Minimum fraction of an interval that reports must cover for its rain to be known; by default all of it. With
        less, the mean of the reports present stands for the whole interval.
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
    ends, mean = _average(stations, step, min_fraction, end)
    data: dict[str, Any] = {RATE: (DIMS, mean, stations[RATE].attrs)}
    for name in VARIABLES.keys() & set(stations.data_vars) - {RATE}:
        data[name] = (DIMS, _last_in(stations[name].values, stations["time"].values, ends, step), stations[name].attrs)
    result = stations.drop_dims("time").assign_coords(time=("time", ends, stations["time"].attrs))
    return check_stations(result.assign(data).assign_attrs({INTERVAL: _minutes(step)}))


def _average(
    stations: xr.Dataset, step: np.timedelta64, min_fraction: float, end: np.datetime64 | None
) -> tuple[NDArray[np.datetime64], Array]:
    """Return the ends of the intervals of `step`, and the mean rates over them, shape ``(station, interval)``."""
    times: Any = stations["time"].values.astype("datetime64[ns]")
    interval = get_interval(stations)
    origin: Any = np.datetime64(0, "ns") if end is None else end.astype("datetime64[ns]")
    into = -((origin - times) // step)  # the interval, counted from the origin, in which a report ends
    before_end = origin + into * step - times  # from the end of the report to the end of that interval
    outside = np.clip(interval - (step - before_end), np.timedelta64(0), interval)  # its part in the interval before
    first = int(into.min())
    count = int(into.max()) - first + 1
    shares = _share_matrix(into - first, outside / interval, count)
    rates = stations[RATE].values
    known = np.isfinite(rates)
    weight = known @ shares
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (np.where(known, rates, 0).astype(np.float64) @ shares) / weight
    enough = weight >= max(min_fraction * (step / interval), 1.0) - 1e-6
    ends = origin + (first + np.arange(count)) * step
    return ends, np.where(enough, mean, np.nan).astype(np.float32)


def _share_matrix(into: NDArray[Any], outside: NDArray[Any], count: int) -> csr_array:
    """Return the share of each report in each interval, shape ``(report, interval)``."""
    reports = np.arange(into.size)
    earlier = (outside > 0) & (into > 0)
    rows = np.concatenate([reports, reports[earlier]])
    columns = np.concatenate([into, into[earlier] - 1])
    return csr_array((np.concatenate([1 - outside, outside[earlier]]), (rows, columns)), shape=(into.size, count))


def _last_in(values: Array, times: NDArray[np.datetime64], ends: NDArray[np.datetime64], step: np.timedelta64) -> Array:
    """Return the last known value of each station in the intervals of `step` before `ends`."""
    table = pd.DataFrame(values.T, index=pd.DatetimeIndex(times))
    resampler = table.resample(pd.Timedelta(step), closed="right", label="right", origin=pd.Timestamp(ends[0]))
    last: Array = resampler.last().reindex(pd.DatetimeIndex(ends)).to_numpy(np.float32).T
    return last


def merge_reports(parts: Sequence[xr.Dataset], step: np.timedelta64 | None = None) -> xr.Dataset:
    """Merge station reports into one dataset of all stations and all times.

    Where intervals differ, all reports are resampled to `step` with `resample_reports`; an interval in which a report
    is missing becomes NaN. Where two parts have a value for the same station and time, the first part takes precedence.

    Parameters
    ----------
    parts
        Station reports.
    step
        The interval of the result; by default the shortest multiple of all intervals up to an hour, or else the longest
        of them. Parts with longer intervals, with such that do not divide it, or with the longest one where less than
        a twentieth of the stations have it, are left out with an `InputWarning`, and ``attrs["stations_left_out"]``
        states it.

    Raises
    ------
    InputError
        If the intervals do not divide the step; or if some parts have degrees and others x and y.
    """
    if step is None:
        parts, step = _choose_step(parts)
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


def _choose_step(parts: Sequence[xr.Dataset]) -> tuple[Sequence[xr.Dataset], np.timedelta64]:
    """Return the parts that can be brought onto one interval, and that interval."""
    short = [part for part in parts if get_interval(part) <= HOUR] or parts
    short = _drop_few_long(short)
    step = _common_step([get_interval(part) for part in short])
    kept = [part for part in short if step % get_interval(part) == np.timedelta64(0)]
    others = [part for part in parts if not any(part is one for one in kept)]
    if not others:
        return parts, step
    count = sum(part.sizes["station"] for part in others)
    minutes = ", ".join(f"{_minutes(interval):g}" for interval in sorted({get_interval(part) for part in others}))
    text = f"{count} stations with intervals of {minutes} min, beside others that meet at {_minutes(step):g} min"
    warnings.warn(InputWarning(f"left out: {text}; give step= to have all over one interval"), stacklevel=3)
    left_out = "; ".join(filter(None, [kept[0].attrs.get(LEFT_OUT, ""), text]))
    return [kept[0].assign_attrs({LEFT_OUT: left_out}), *kept[1:]], step


def _drop_few_long(parts: Sequence[xr.Dataset]) -> Sequence[xr.Dataset]:
    """Return the parts without the longest intervals if few stations have these, so that all others keep theirs."""
    longest = max(get_interval(part) for part in parts)
    count = {
        long: sum(p.sizes["station"] for p in parts if (get_interval(p) == longest) == long) for long in (True, False)
    }
    if count[True] >= MIN_SHARE * (count[True] + count[False]):
        return parts
    return _drop_few_long([part for part in parts if get_interval(part) < longest])


def _common_step(intervals: Sequence[np.timedelta64]) -> np.timedelta64:
    """Return the shortest multiple of all intervals, up to an hour; the longest of them where there is none."""
    multiple = np.lcm.reduce([interval.astype("timedelta64[s]").astype(int) for interval in intervals])
    longest = max(intervals)
    common = np.timedelta64(int(multiple), "s").astype("timedelta64[ns]")
    return common if common <= max(longest, HOUR) else longest


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
