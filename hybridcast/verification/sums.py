"""Rain sums of members against those of the radar, where an evaluation keeps few lead times.

A sum needs every frame of the radar, scores of rates need a few lead times. So ensembles are forecast at a fine step,
and what is kept of them beside the rates at the lead times is the mean over each interval between them (`STEP_MEANS`).
Sums over one or several of these intervals follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.ensembles import accumulate
from hybridcast.forecasting import MIN_STEP
from hybridcast.verification.statistics import compute_ensemble_statistics

STEP_MEANS = f"{ENSEMBLE}_step_mean"
"""Name of the mean rate of each member from one lead time to the next, mm h-1."""


def find_fine_step(radar: xr.DataArray, step: Duration) -> np.timedelta64 | None:
    """Return the shortest time step for sums: 5 min or more, a multiple of the radar's step that divides `step`.

    None if there is none, because the radar has a single frame or a step that does not divide `step`.
    """
    whole, own = parse_duration(step, "step"), time_step(radar["time"].values)
    if own is None:
        return None
    steps = own * np.arange(1, int(whole / own) + 1)
    fitting = steps[(steps >= MIN_STEP) & (whole % steps == np.timedelta64(0))]
    return np.timedelta64(fitting[0]) if fitting.size else None


def mean_over_steps(rates: xr.DataArray, step: Duration) -> xr.DataArray:
    """Return the mean rates from one multiple of `step` to the next, mm h-1, labelled by the end; lazy if `rates` are.

    `rates` have lead times from one interval of theirs after the issue time on. A mean is unknown if a rate is.
    """
    hours = np.float32(parse_duration(step, "step") / HOUR)
    return (accumulate(rates, step) / hours).assign_attrs(rates.attrs)


def compute_sum_statistics(
    forecasts: Mapping[str, xr.Dataset],
    radar: xr.DataArray,
    *,
    valid: xr.DataArray,
    windows: Sequence[Duration],
    blocks: Sequence[float],
) -> xr.Dataset | None:
    """Compute the statistics of members for sums over successive windows, mm, of the forecasts that have `STEP_MEANS`.

    Parameters
    ----------
    forecasts
        Forecasts by name of their nowcaster, at the same lead times.
    radar
        Observed frames.
    valid
        Boolean, dims ``("lead_time", "y", "x")``: points to compare at the end of a window. Those known to all of the
        ensembles and to every frame of the radar in the window count.
    windows
        Lengths of the windows. One that is no multiple of the step of the lead times, or longer than the forecast, is
        left out.
    blocks
        Sides of the blocks, km.

    Returns
    -------
    Dataset
        Dims ``("accumulation", "nowcaster", "block", "lead_time", ...)``: the length of the windows in minutes, and
        their ends. Statistics are zero at lead times at which no window ends. None without any sum.
    """
    members = {name: forecast[STEP_MEANS] for name, forecast in forecasts.items() if STEP_MEANS in forecast}
    if not members:
        return None
    observed = _observe_steps(radar, next(iter(members.values())))
    lengths = [parse_duration(window, "window") for window in windows]
    leads = observed["lead_time"].values
    parts = {
        length / MINUTE: _compare_sums(members, observed, length, valid, blocks)
        for length in lengths
        if length % leads[0] == np.timedelta64(0) and length <= leads[-1]
    }
    if not parts:
        return None
    return xr.concat(
        list(parts.values()), xr.Variable("accumulation", list(parts)), join="outer", fill_value=0.0
    ).reindex(lead_time=leads, fill_value=0.0)


def _observe_steps(radar: xr.DataArray, means: xr.DataArray) -> xr.DataArray:
    """Return the mean rates of the radar over the intervals of `means`, with their lead times."""
    leads = means["lead_time"].values
    fine = find_fine_step(radar, leads[0]) or leads[0]
    frames = np.arange(fine, leads[-1] + fine, fine)
    issue = means["time"].values[0] - leads[0]
    rates = radar.reindex(time=issue + frames).rename(time="lead_time").assign_coords(lead_time=frames)
    return mean_over_steps(rates, leads[0])


def _compare_sums(
    members: Mapping[str, xr.DataArray],
    observed: xr.DataArray,
    window: np.timedelta64,
    valid: xr.DataArray,
    blocks: Sequence[float],
) -> xr.Dataset:
    """Return the statistics of all ensembles for one length of windows, on the points known to all of them."""
    truth = accumulate(observed, window)
    sums = {name: accumulate(rates, window) for name, rates in members.items()}
    known = valid.sel(lead_time=truth["lead_time"]).transpose(*truth.dims).values
    for each in sums.values():
        known = known & each.notnull().all("realization").transpose(*truth.dims).values
    statistics = [
        compute_ensemble_statistics(each, truth, valid=truth.copy(data=known), blocks=blocks) for each in sums.values()
    ]
    return xr.concat(statistics, xr.Variable("nowcaster", list(sums)), join="outer", fill_value=0.0)
