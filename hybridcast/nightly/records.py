"""What a night gave: the results that pass from the run to the report and the alarm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

State = Literal["good", "partial", "dry", "no data", "failed"]
"""How a day went: all verified; something missing; verified without rain; nothing to verify; an error."""


@dataclass(frozen=True)
class WorstCase:
    """A forecast that went most wrong, with what came."""

    issue_time: np.datetime64
    lead_time: np.timedelta64
    nowcaster: str
    score: float
    """Fractions skill score at 1 mm/h and 20 km of that case."""
    forecast: xr.DataArray
    """`precipitation_rate`, dims ``("y", "x")``, mm h-1."""
    observed: xr.DataArray
    """The radar then, dims ``("y", "x")``."""


@dataclass(frozen=True)
class RegionNight:
    """One region on one day."""

    region: str
    date: str
    """The day, UTC, as 2018-05-12."""
    state: State
    notes: tuple[str, ...]
    """What was missing or late, in plain words."""
    expected: int
    """Issue times configured."""
    done: int
    """Issue times verified."""
    seconds: float
    nowcasters: tuple[str, ...]
    sums: xr.Dataset | None
    """The day's total, named as in `hybridcast.verification.statistics`, dims ``("nowcaster", "lead_time", ...)``; None
    where nothing was verified."""
    hours: xr.Dataset | None
    """The same of rain summed over whole hours (`hybridcast.verification.hours`): lead times 1 h, 2 h."""
    worst: tuple[WorstCase, ...]
