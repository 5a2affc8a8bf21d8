"""Rain of whole hours: averages of forecast and observation alike."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.errors import InputError


def average_over_hours(forecast: xr.Dataset, observed: xr.DataArray) -> tuple[xr.Dataset, xr.DataArray]:
    """Average forecast and observation over the first hour, the second hour and so on.

    The averages are in mm h-1, so their values are the rain of each hour in mm.

    Parameters
    ----------
    forecast
        Dataset with `precipitation_rate`, and possibly its members. Lead times are one step apart and start one step
        after the issue time; an hour is a whole number of steps.
    observed
        Precipitation field with a frame at each valid time, which is the end of the interval that the frame represents.

    Returns
    -------
    tuple
        A forecast whose lead times are whole hours, and the observation at their ends, as `compute_statistics` takes
        them. A point is unknown in an hour if it is unknown in one of its frames. Probabilities of exceedance are left
        out, because those of an hour do not follow from those of its frames; members are kept.

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
    steps = int(HOUR / step)
    whole = forecast.isel(lead_time=slice(0, leads.size // steps * steps))
    if whole.sizes["lead_time"] == 0:
        raise InputError(f"the longest lead time is {_minutes(leads[-1])} min", "there is an hour", "Forecast longer")
    names = [name for name in (RATE, ENSEMBLE) if name in forecast]
    averaged = whole[names].coarsen(lead_time=steps).reduce(np.mean)
    ends = whole[["lead_time", "time"]].isel(lead_time=slice(steps - 1, None, steps))
    hourly = averaged.assign_coords(lead_time=ends["lead_time"].values, time=("lead_time", ends["time"].values))
    frames = observed.reindex(time=whole["time"].values).coarsen(time=steps).reduce(np.mean)
    return hourly, frames.assign_coords(time=ends["time"].values)


def _minutes(duration: np.timedelta64) -> str:
    return f"{duration / MINUTE:g}"
