"""Amounts, exceedance probabilities and quantiles from the members of an ensemble.

All functions take members by lead time, compute them lead time by lead time, and stay lazy where the members are: of a
dask array with a chunk for each lead time, a product needs the memory of the lead times of one window.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import Duration, check_lead_times, parse_duration
from hybridcast.core.field import UNITS
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, STEP_MINUTES, lead_time_variable
from hybridcast.core.types import HOUR, MINUTE, Array, Doubles, LeadTimes
from hybridcast.errors import InputError

AMOUNT = "precipitation_amount"
WINDOW_START = "window_start"
"""Coordinate of amounts by lead time: the lead time at which a window starts; it ends at `lead_time`."""
#: In files, times are in the same units as those of forecasts.
_ENCODINGS: dict[str, dict[str, Any]] = {
    "lead_time": {"units": "minutes", "dtype": "float64", "_FillValue": None},
    "time": {"units": "seconds since 1970-01-01T00:00:00", "calendar": "standard", "dtype": "int64"},
}
_ZERO = np.timedelta64(0, "ns")
_Window = tuple[int, int]
"""Numbers of the edges of intervals at which a window starts and ends."""


# --- amounts --------------------------------------------------------------------------------------------------


def accumulate(
    rain: xr.Dataset | xr.DataArray,
    window: Duration | None = None,
    *,
    every: Duration | None = None,
    start: Duration | None = None,
    end: Duration | None = None,
) -> xr.DataArray:
    """Return the amounts of rain in windows of lead time.

    A rate represents the interval that ends at its lead time; the first interval starts at the issue time. Lead times
    may be unevenly spaced.

    Parameters
    ----------
    rain
        Forecast with members; or rates by lead time, mm h-1, such as ``result.precipitation_rate`` or means over
        regions.
    window
        Length of a window, such as ``"1h"``; by default from `start` to `end`.
    every
        Time from the start of a window to that of the next, such as ``"5min"`` for sliding windows; by default
        `window`, so that windows adjoin.
    start
        Lead time at which the first window starts; by default the issue time.
    end
        Lead time at which the last window may end; by default the last one.

    Returns
    -------
    DataArray
        Amounts, mm, with the dims of the rates. `lead_time` and `time` are the ends of the windows, the coordinate
        `window_start` is the lead time at which they start. An amount is unknown if a rate in its window is unknown.

    Raises
    ------
    InputError
        If `rain` has no members or no rates by lead time, lead times are missing, a window does not start and end at
        lead times, or no window fits in.

    Examples
    --------
    >>> rates = xr.DataArray([6.0, 12.0, 0.0], dims="lead_time", attrs={"units": "mm h-1"},
    ...                      coords={"lead_time": np.array([10, 20, 30], "timedelta64[m]")})
    >>> accumulate(rates, "20min", every="10min").values.tolist()
    [3.0, 2.0]
    """
    rates = select_rain(rain)
    _check_rates(rates)
    edges = interval_edges(rates)
    windows = _find_windows(edges, _window_starts(edges, window, every, start, end))
    sums = _sum_windows(rates, np.diff(edges) / HOUR, windows)
    ends = rates.isel(lead_time=[b - 1 for _, b in windows]).copy(data=sums)
    starts = xr.Variable("lead_time", edges[[a for a, _ in windows]], {"long_name": "lead time of the window's start"})
    ends = ends.assign_coords({WINDOW_START: starts, "lead_time": lead_time_variable(ends["lead_time"].values)})
    return ends.rename(AMOUNT).assign_attrs(_amount_attributes(rates))


def select_rain(rain: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the members of a forecast; a DataArray as it is.

    Raises
    ------
    InputError
        If the forecast has no members.
    """
    if isinstance(rain, xr.DataArray):
        return rain
    if ENSEMBLE not in rain:
        raise InputError(
            f"the forecast has {list(rain.data_vars)}",
            "products of an ensemble are made from its members",
            "Forecast with members=20; or, for one field, give the variable, such as result.precipitation_rate",
            cli_remedy="Forecast with --members 20",
        )
    return rain[ENSEMBLE]


def _check_rates(rates: xr.DataArray) -> None:
    units = str(rates.attrs.get("units", ""))
    if units != UNITS:
        raise InputError(
            f"{rates.name} is in {units!r}", f"amounts are summed from rates in {UNITS!r}", "Give the rates"
        )
    if "lead_time" not in rates.dims or "lead_time" not in rates.coords:
        raise InputError(
            f"{rates.name} has the dims {rates.dims}", "amounts are summed over lead times", "Give all lead times"
        )


def interval_edges(rates: xr.DataArray) -> LeadTimes:
    """Return the issue time as zero and the lead times: the edges of the intervals that rates represent.

    Raises
    ------
    InputError
        If lead times are missing, or a single one does not tell whether some are.
    """
    leads = check_lead_times(rates["lead_time"].values)
    edges = np.concatenate([[_ZERO], leads])
    stated = rates["lead_time"].attrs.get(STEP_MINUTES)
    step = np.append(np.diff(leads), _ZERO).max() if stated is None else np.timedelta64(ceil(6e4 * stated - 1e-3), "ms")
    if np.diff(edges).max() > step:
        raise InputError(
            f"the lead times are {', '.join(_minutes(lead) for lead in leads[:4])}{', ...' * (leads.size > 4)} min, "
            + (f"the step of the forecast is {_minutes(step)} min" if step else "and nothing tells the step"),
            "rates are known from the issue time on, without gaps",
            "Sum before lead times are selected, with start=... for a later window",
        )
    return cast(LeadTimes, edges)


def _window_starts(
    edges: LeadTimes,
    window: Duration | None,
    every: Duration | None,
    start: Duration | None,
    end: Duration | None,
) -> LeadTimes:
    """Return the start and the end of each window as lead times, shape ``(window, 2)``."""
    first = _ZERO if start is None else parse_duration(start, "start", least="0min")
    last = edges[-1] if end is None else parse_duration(end, "end")
    length = last - first if window is None else parse_duration(window, "window")
    step = length if every is None else parse_duration(every, "every")
    if not _ZERO < length <= last - first or last > edges[-1]:
        raise InputError(
            f"a window of {_minutes(length)} min from +{_minutes(first)} to +{_minutes(last)} min",
            f"it lies within the forecast, which ends at +{_minutes(edges[-1])} min",
            "Forecast longer, or choose a shorter window",
        )
    starts = first + np.arange(int((last - first - length) / step) + 1) * step
    return cast(LeadTimes, np.stack([starts, starts + length], axis=1))


def _find_windows(edges: LeadTimes, windows: LeadTimes) -> list[_Window]:
    """Return the windows as numbers of edges; `InputError` if one starts or ends between lead times."""
    between = windows[~np.isin(windows, edges)]
    if between.size:
        near = edges[np.argsort(np.abs(edges - between[0]), kind="stable")[:2]]
        raise InputError(
            f"a window starts or ends at +{_minutes(between[0])} min",
            "windows start and end at the issue time or at lead times",
            f"The nearest are +{' and +'.join(_minutes(edge) for edge in np.sort(near))} min; or forecast with "
            "another step",
        )
    return [(int(a), int(b)) for a, b in np.searchsorted(edges, windows)]


def _sum_windows(rates: xr.DataArray, hours: Doubles, windows: list[_Window]) -> Any:
    """Return the sum of rates times the lengths of their intervals, mm, for each window along ``lead_time``."""
    axis = rates.get_axis_num("lead_time")
    if rates.chunks:
        return _sum_lazily(rates.chunk(lead_time=1).data, hours, windows, axis)
    leads = np.split(rates.values, len(hours), axis)
    sums = [functools.reduce(_add_amount, zip(leads[a:b], hours[a:b], strict=True), None) for a, b in windows]
    return np.concatenate(cast(list[Array], sums), axis)


def _add_amount(total: Array | None, interval: tuple[Array, float]) -> Array:
    """Return the sum with the amount of one more interval, given by its rates and its length, h."""
    rates, length = interval
    amount = rates.astype(np.float32) * np.float32(length)
    return amount if total is None else np.add(total, amount, out=amount)


def _sum_lazily(rates: Any, hours: Doubles, windows: list[_Window], axis: int) -> Any:
    """Return `_sum_windows` of a dask array with a chunk for each lead time.

    Each addition is a task of its own, so that a window needs the memory of its sum and one lead time. Additions of
    dask arrays would be fused into one task for each window, which needs all of its lead times at once.
    """
    from dask.array import Array as LazyArray
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"accumulate-{tokenize(rates, hours, windows)}"
    tasks: dict[tuple[Any, ...], Any] = {}
    for place in np.ndindex(*rates.numblocks[:axis], len(windows), *rates.numblocks[axis + 1 :]):
        first, last = windows[place[axis]]
        total = None
        for lead in range(first, last):
            key = (name if lead == last - 1 else f"{name}-{lead}", *place)
            chunk = (rates.name, *place[:axis], lead, *place[axis + 1 :])
            tasks[key] = (_add_amount, total, (tuple, [chunk, float(hours[lead])]))
            total = key
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[rates])
    chunks = (*rates.chunks[:axis], (1,) * len(windows), *rates.chunks[axis + 1 :])
    return LazyArray(graph, name, chunks, dtype=np.float32)


def _amount_attributes(rates: xr.DataArray) -> dict[str, str]:
    methods = f"{rates.attrs.get('cell_methods', '')} time: sum".strip()
    return {
        "standard_name": "lwe_thickness_of_precipitation_amount",
        "long_name": "forecast precipitation amount",
        "units": "mm",
        "cell_methods": methods,
    }


def _minutes(duration: np.timedelta64) -> str:
    return f"{duration / MINUTE:g}"


def to_cf(amounts: xr.DataArray) -> xr.Dataset:
    """Return amounts, or products of them, as a Dataset whose windows are bounds by the CF conventions, for files.

    A DataArray cannot hold bounds, because they have a dim of their own.

    Parameters
    ----------
    amounts
        DataArray with the coordinates `lead_time` and `window_start`, as `accumulate` returns them.

    Returns
    -------
    Dataset
        The variable, with `lead_time_bounds` and, if it has times, `time_bounds`, dims ``("lead_time", "bounds")``,
        instead of `window_start`.

    Raises
    ------
    InputError
        If there are no windows.

    Examples
    --------
    >>> to_cf(accumulate(forecast(radar, members=20), "1h")).to_netcdf("amounts.nc")  # doctest: +SKIP
    """
    if WINDOW_START not in amounts.coords:
        found, rule = f"coordinates are {', '.join(map(str, amounts.coords))}", f"windows have {WINDOW_START!r}"
        raise InputError(found, rule, "Pass amounts from accumulate(...); write others with to_netcdf(...)")
    length = amounts["lead_time"].values - amounts[WINDOW_START].values
    made = amounts.drop_vars(WINDOW_START).to_dataset()
    for name, encoding in _ENCODINGS.items():
        if name in made.coords:
            end = made[name].values
            bounds = (("lead_time", "bounds"), np.stack([end - length, end], axis=1))
            made = made.assign_coords({f"{name}_bounds": bounds})
            made[name].attrs["bounds"] = f"{name}_bounds"
            made[name].encoding = made[f"{name}_bounds"].encoding = encoding  # bounds have the units of their variable
    return made


# --- distribution ---------------------------------------------------------------------------------------------


def exceedance(rain: xr.Dataset | xr.DataArray, thresholds: float | Sequence[float]) -> xr.DataArray:
    """Return the probability to reach thresholds: the fraction of members at or above them.

    Parameters
    ----------
    rain
        Forecast with members; or rates or amounts with the dim ``realization``.
    thresholds
        One or more thresholds in the units of `rain`: mm h-1 of rates, mm of amounts.

    Returns
    -------
    DataArray
        Probability, float32, with the dims of `rain` but ``realization``, and ``threshold`` in front unless
        `thresholds` is one number. NaN where a member is unknown.

    Raises
    ------
    InputError
        If there are no members, or a threshold is not above zero.

    Examples
    --------
    >>> amounts = xr.DataArray([[3.0], [12.0], [25.0], [30.0]], dims=("realization", "region"), attrs={"units": "mm"})
    >>> exceedance(amounts, 20.0).values.tolist()
    [0.5]
    """
    members = _require_members(rain)
    limits = np.atleast_1d(np.asarray(thresholds, dtype=np.float32))
    if limits.ndim != 1 or not limits.size or not (np.isfinite(limits) & (limits > 0)).all():
        raise InputError(f"thresholds = {thresholds}", "thresholds are numbers above zero", "Give, e.g., 20.0")
    found = _along_members(members, exceeding_fraction, limits, "threshold")
    units = str(members.attrs.get("units", ""))
    levels = np.asarray(thresholds, dtype=np.float64).reshape(limits.shape)
    named = {"long_name": _quantity(members), "units": units}
    found = found.assign_coords(threshold=("threshold", levels, named)).rename(PROBABILITY)
    kept = {name: members.attrs[name] for name in ("grid_mapping",) if name in members.attrs}
    long_name = f"probability that the {_quantity(members)} is at or above the threshold"
    found.attrs = {"long_name": long_name, "units": "1", **kept}
    return found if np.ndim(thresholds) else found.isel(threshold=0)


def quantiles(rain: xr.Dataset | xr.DataArray, levels: float | Sequence[float]) -> xr.DataArray:
    """Return quantiles of the members, interpolated linearly between neighbours.

    Of n members the k-th lowest is the quantile (k - 1) / (n - 1) (Hyndman and Fan 1996, definition 7,
    doi:10.1080/00031305.1996.10473566).

    Parameters
    ----------
    rain
        Forecast with members; or rates or amounts with the dim ``realization``.
    levels
        One or more levels from 0 to 1; 0.5 is the median.

    Returns
    -------
    DataArray
        Quantiles, float32, with the dims of `rain` but ``realization``, and ``quantile`` in front unless `levels` is
        one number. NaN where a member is unknown.

    Raises
    ------
    InputError
        If there are no members, or a level is not between 0 and 1.

    Examples
    --------
    >>> amounts = xr.DataArray([[3.0], [12.0], [25.0]], dims=("realization", "region"), attrs={"units": "mm"})
    >>> quantiles(amounts, [0.5, 1.0]).values.tolist()
    [[12.0], [25.0]]
    """
    members = _require_members(rain)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 1)).all():
        raise InputError(f"levels = {levels}", "levels of quantiles are between 0 and 1", "Give, e.g., [0.1, 0.5, 0.9]")
    found = _along_members(members, _quantiles, wanted, "quantile").rename(members.name)
    found = found.assign_coords(quantile=("quantile", wanted, {"long_name": "level of the quantile", "units": "1"}))
    found.attrs = {**members.attrs, "long_name": f"quantile of the {_quantity(members)}"}
    return found if np.ndim(levels) else found.isel(quantile=0)


def _require_members(rain: xr.Dataset | xr.DataArray) -> xr.DataArray:
    members = select_rain(rain)
    if "realization" not in members.dims:
        raise InputError(
            f"{members.name} has the dims {members.dims}",
            "a distribution is that of members, along the dim 'realization'",
            "Forecast with members=20, and give the forecast",
        )
    return members


def _quantity(rain: xr.DataArray) -> str:
    return "precipitation amount" if rain.attrs.get("units") == "mm" else "precipitation rate"


def _along_members(
    members: xr.DataArray, function: Callable[[Array, Any], Array], levels: NDArray[Any], dim: str
) -> xr.DataArray:
    """Apply a function of members and levels, arrays with the members and the levels in front, to each chunk."""
    found: xr.DataArray = xr.apply_ufunc(
        lambda values: np.moveaxis(function(np.moveaxis(values, -1, 0), levels), 0, -1),
        members.chunk(realization=-1) if members.chunks else members,
        input_core_dims=[["realization"]],
        output_core_dims=[[dim]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {dim: levels.size}},
    )
    return found.transpose(dim, ...)


def exceeding_fraction(members: Array, thresholds: NDArray[Any]) -> Array:
    """Return the fraction of members that reach each threshold.

    Parameters
    ----------
    members
        Shape ``(realization, ...)``.
    thresholds
        In the units of the members, shape ``(threshold,)``.

    Returns
    -------
    ndarray
        Fractions, shape ``(threshold, ...)``; NaN where a member is unknown.
    """
    members = members.astype(np.float32, copy=False)
    fractions = np.empty((thresholds.size, *members.shape[1:]), np.float32)
    for k, threshold in enumerate(thresholds.astype(np.float32)):  # as rates are: 0.7 mm/h reaches a threshold of 0.7
        fractions[k] = (members >= threshold).mean(axis=0, dtype=np.float32)
    fractions[:, np.isnan(members).any(axis=0)] = np.nan
    return fractions


def _quantiles(members: Array, levels: Doubles) -> Array:
    """Return quantiles along the first axis, shape ``(level, ...)``; NaN where a member is unknown."""
    ordered = np.sort(members.astype(np.float32, copy=False), axis=0)  # NaN last
    position = levels * (len(members) - 1)
    low = np.floor(position).astype(int)
    high = np.ceil(position).astype(int)
    weight = (position - low).astype(np.float32).reshape(-1, *[1] * (members.ndim - 1))
    found = (1 - weight) * ordered[low] + weight * ordered[high]
    found[:, np.isnan(ordered[-1])] = np.nan
    return cast(Array, found)
