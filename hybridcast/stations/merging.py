"""Reports of several files as one dataset, and reports on a longer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME
from hybridcast.errors import InputError
from hybridcast.stations.schema import DIMS, INTERVAL, PLACES, VARIABLES, check_stations, get_interval


def resample_reports(
    stations: xr.Dataset,
    step: np.timedelta64,
    *,
    least_share: float = 1.0,
    ending: np.datetime64 | None = None,
) -> xr.Dataset:
    """Bring reports onto a longer step: means of rain over whole intervals that end at multiples of `step`.

    Parameters
    ----------
    stations
        Station reports.
    step
        A whole multiple of their interval; intervals end at multiples of it since 1970.
    least_share
        The share of the reports in a step that have to be there; by default all of them, so that the rain of a step is
        known only if each part of it is. What is missing then counts as much as what is there on average.
    ending
        A time at which a step ends, instead of those multiples: the last report, so that no step is cut short by it.

    Returns
    -------
    Dataset
        Station reports with the interval `step`; temperature, wind and the like are those of the last report in it.

    Raises
    ------
    InputError
        If `step` is no whole multiple of the interval.

    Examples
    --------
    >>> from hybridcast.stations import station_reports
    >>> minutes = np.datetime64("2020-01-01T00:00") + np.arange(1, 16) * np.timedelta64(1, "m")
    >>> reports = station_reports([np.arange(15.0)], station=["A"], time=minutes, interval=np.timedelta64(1, "m"),
    ...                           places={"x": [0.0], "y": [0.0]})
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
    steps = {name: _steps(stations[name].values, stations["time"].values, step, ending) for name in names}
    mean, count = steps[NAME].mean(), steps[NAME].count()
    known = {NAME: mean.where(count >= max(1.0, least_share * parts - 1e-6))}
    known |= {name: steps[name].last() for name in names if name != NAME}
    data = {name: (DIMS, table.to_numpy(np.float32).T, stations[name].attrs) for name, table in known.items()}
    merged = stations.drop_dims("time").assign_coords(time=("time", mean.index.to_numpy(), stations["time"].attrs))
    return check_stations(merged.assign(data).assign_attrs({INTERVAL: _minutes(step)}))


def _steps(
    values: NDArray[np.float32], times: NDArray[np.datetime64], step: np.timedelta64, ending: np.datetime64 | None
) -> Any:
    """Return pandas' resampler of values of the shape ``(station, time)``."""
    origin: Any = "epoch" if ending is None else pd.Timestamp(ending)
    table = pd.DataFrame(values.T, index=pd.DatetimeIndex(times))
    return table.resample(pd.Timedelta(step), closed="right", label="right", origin=origin)


def merge_reports(parts: Sequence[xr.Dataset], step: np.timedelta64 | None = None) -> xr.Dataset:
    """Join station reports: all stations, all times.

    Where intervals differ, all are brought onto the longest (or onto `step`) with `resample_reports`: a step of which a
    report is missing is NaN. Where two have a value for one station and time, the first one's is taken.

    Parameters
    ----------
    parts
        Station reports.
    step
        The step of the result; by default the longest interval.

    Raises
    ------
    InputError
        If intervals are no whole parts of the step, or end at different times; or if places are given in different
        ways.
    """
    step = max(get_interval(part) for part in parts) if step is None else step
    shown = [resample_reports(part, step) for part in parts]
    if not any(all(set(pair) <= set(part.coords) for part in parts) for pair in PLACES):
        raise InputError(
            "some stations have degrees, others x and y",
            "joined stations have places of one kind",
            "Convert one of them",
        )
    if len(shown) == 1:
        return shown[0]
    names = np.array(list(dict.fromkeys(name for part in shown for name in part["station"].values)), object)
    times = np.unique(np.concatenate([part["time"].values for part in shown]))
    rows = {name: row for row, name in enumerate(names)}
    whole = xr.Dataset(coords={"station": names, "time": times})
    for name in VARIABLES:
        if any(name in part for part in shown):
            whole[name] = (DIMS, np.full((names.size, times.size), np.nan, np.float32), VARIABLES[name][0])
    for part in shown:
        at = np.ix_(
            np.array([rows[name] for name in part["station"].values], np.intp),
            np.searchsorted(times, part["time"].values),
        )
        for name in VARIABLES.keys() & set(part.data_vars):
            values = whole[name].values
            values[at] = np.where(np.isnan(values[at]), part[name].values, values[at])
    whole = whole.assign_coords(_joined_places(shown, rows))
    for dim in DIMS:
        whole[dim].attrs = shown[0][dim].attrs
    return check_stations(whole.assign_attrs({**_joined_attributes(parts), INTERVAL: _minutes(step)}))


def _joined_places(parts: Sequence[xr.Dataset], rows: dict[Any, int]) -> dict[str, Any]:
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


def _joined_attributes(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Return the attributes that all parts share; those that differ, in words, one after the other."""
    names = dict.fromkeys(name for part in parts for name in part.attrs)
    found: dict[str, Any] = {}
    for name in names:
        texts = dict.fromkeys(str(part.attrs[name]) for part in parts if name in part.attrs)
        found[name] = "; ".join(texts)
    intervals = sorted({_minutes(get_interval(part)) for part in parts})
    if len(intervals) > 1:
        found["joined_intervals_minutes"] = cast(Any, intervals)
    return found


def _minutes(step: np.timedelta64) -> float:
    return float(step / np.timedelta64(1, "m"))
