"""Nowcasters: one protocol, from recent radar frames to a forecast."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.errors import InputError
from hybridcast.field import GRID_MAPPING, NAME, UNITS

LeadTimes = NDArray[np.timedelta64]


class Nowcaster(Protocol):
    """What makes a forecast; `forecast(model=...)` takes any object like this one."""

    @property
    def name(self) -> str:
        """How results name it."""
        ...

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames, the last one at the issue time; see `forecast_dataset`."""
        ...


def forecast_dataset(rate: ArrayLike, recent: xr.DataArray, lead_times: LeadTimes, **attrs: Any) -> xr.Dataset:
    """Label forecast rain rates.

    Parameters
    ----------
    rate
        mm h-1, shape ``(lead_time, y, x)``, NaN where unknown.
    recent
        The field the forecast was made from; its last frame is the issue time.
    lead_times
        ``timedelta64``, shape ``(lead_time,)``.

    Returns
    -------
    Dataset
        `precipitation_rate` with dims ``("lead_time", "y", "x")``, valid times in `time`, the issue time in the
        scalar `reference_time`.
    """
    reference = recent["time"].values[-1]
    leads = check_lead_times(lead_times)
    coords: dict[str, Any] = {
        name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords
    }
    coords["lead_time"] = ("lead_time", leads, {"standard_name": "forecast_period", "long_name": "lead time"})
    coords["reference_time"] = ((), reference, {"standard_name": "forecast_reference_time", "long_name": "issue time"})
    coords["time"] = ("lead_time", reference + leads, {"standard_name": "time", "long_name": "valid time"})
    described = {"standard_name": "lwe_precipitation_rate", "long_name": "forecast precipitation rate", "units": UNITS}
    if GRID_MAPPING in coords:
        described["grid_mapping"] = GRID_MAPPING
    values = np.asarray(rate, dtype=np.float32)
    return xr.Dataset({NAME: (("lead_time", "y", "x"), values, described)}, coords=coords, attrs=attrs)


def check_lead_times(lead_times: ArrayLike) -> LeadTimes:
    """Give lead times as ``timedelta64[ns]``, increasing and above zero; raise `InputError` if they are not."""
    leads = np.atleast_1d(np.asarray(lead_times))
    if not np.issubdtype(leads.dtype, np.timedelta64):
        raise InputError(
            f"lead times are of type {leads.dtype}",
            "they are timedelta64",
            "Give, for example, np.arange(5, 125, 5) * np.timedelta64(1, 'm')",
        )
    leads = leads.astype("timedelta64[ns]")
    if leads.size == 0 or leads[0] <= np.timedelta64(0) or (np.diff(leads) <= np.timedelta64(0)).any():
        raise InputError(
            f"lead times are {leads.astype('timedelta64[s]')}", "they are above zero and increase", "Sort them"
        )
    return leads
