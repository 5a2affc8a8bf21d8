"""Results of a night, which pass from the run to the report, the alarm and the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

State = Literal["good", "partial", "dry", "no data", "failed"]
"""Outcome of a day: all verified, something missing, verified without rain, nothing to verify, or an error."""


@dataclass(frozen=True)
class WorstCase:
    """One of the worst forecasts of a day, with the observation."""

    issue_time: np.datetime64
    lead_time: np.timedelta64
    nowcaster: str
    score: float
    """Fractions skill score at 1 mm/h and 20 km."""
    forecast: xr.DataArray
    """`precipitation_rate`, dims ``("y", "x")``, mm h-1."""
    observed: xr.DataArray
    """Radar at the valid time, dims ``("y", "x")``, mm h-1."""


@dataclass(frozen=True)
class RegionNight:
    """Verification of one region on one day."""

    region: str
    date: str
    """The day, UTC, such as ``2018-05-12``."""
    state: State
    notes: tuple[str, ...]
    """Descriptions of what was missing or late."""
    expected: int
    """Number of configured issue times."""
    done: int
    """Number of verified issue times."""
    seconds: float
    """Duration of the run, s."""
    nowcasters: tuple[str, ...]
    statistics: xr.Dataset | None
    """Statistics of the day as in `hybridcast.verification.statistics`, dims ``("nowcaster", "lead_time", ...)``; None
    if nothing was verified."""
    hourly: xr.Dataset | None
    """The same for rain of whole hours (`hybridcast.verification.hours`), with lead times of 1 h, 2 h and so on."""
    worst: tuple[WorstCase, ...]
    """The cases with the lowest scores, the worst first."""
    warnings: xr.Dataset | None = None
    """Statistics of warnings at places as in `hybridcast.verification.warnings`, dims
    ``("nowcaster", "observer", "place", "level", ...)``; None without places."""
