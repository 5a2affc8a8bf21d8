"""Sums of rain over whole hours, of forecast and observation alike."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.core.field import NAME, time_step
from hybridcast.errors import InputError
from hybridcast.verification.statistics import ENSEMBLE

HOUR = np.timedelta64(1, "h").astype("timedelta64[ns]")


def over_hours(forecast: xr.Dataset, observed: xr.DataArray) -> tuple[xr.Dataset, xr.DataArray]:
    """Average forecast and observation over the first hour, the second, and so on; in mm h-1, so in mm of each hour.

    Parameters
    ----------
    forecast
        With `precipitation_rate`, and perhaps its members, at lead times one step apart from the first step on, a
        whole number of steps an hour.
    observed
        Precipitation field with a frame at each of the valid times: at the end of the interval it stands for.

    Returns
    -------
    tuple
        A forecast whose lead times are whole hours, and what was observed then, as `sums_of` takes them. An hour is
        unknown at a point where one of its frames is. Probabilities of exceedance are left out: those of an hour do
        not follow from those of its frames; members do.

    Raises
    ------
    InputError
        If the lead times do not make up hours.
    """
    leads = forecast["lead_time"].values
    step = time_step(leads.astype("int64").astype("datetime64[ns]")) or leads[0]
    if leads[0] != step or HOUR % step != np.timedelta64(0):
        raise InputError(
            f"the first lead time is {_minutes(leads[0])} min, the step {_minutes(step)} min",
            "lead times start one step after the issue time, and steps make up an hour",
            "Forecast with such a step",
        )
    each = int(HOUR / step)
    whole = forecast.isel(lead_time=slice(0, leads.size // each * each))
    if whole.sizes["lead_time"] == 0:
        raise InputError(f"the longest lead time is {_minutes(leads[-1])} min", "there is an hour", "Forecast longer")
    names = [name for name in (NAME, ENSEMBLE) if name in forecast]
    kept = whole[names].coarsen(lead_time=each).reduce(np.mean)
    ends = whole[["lead_time", "time"]].isel(lead_time=slice(each - 1, None, each))
    hourly = kept.assign_coords(lead_time=ends["lead_time"].values, time=("lead_time", ends["time"].values))
    frames = observed.reindex(time=whole["time"].values).coarsen(time=each).reduce(np.mean)
    return hourly, frames.assign_coords(time=ends["time"].values)


def _minutes(duration: np.timedelta64) -> str:
    return f"{duration / np.timedelta64(1, 'm'):g}"
