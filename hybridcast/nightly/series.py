"""The statistics of one region over the last nights, and the score by which a night is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import parse_duration
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError
from hybridcast.nightly.records import RegionNight
from hybridcast.verification import scores

SCORES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "FSS": scores.fractions_skill_score,
    "CSI": scores.csi,
    "ETS": scores.equitable_threat_score,
    "correlation": scores.correlation,
}
"""Scores by which a night can be judged; for all of them higher is better."""
TOLERANCE = 1e-5
"""Tolerance of thresholds and scales: some nowcasters write 0.7 mm/h as 0.699999988."""


@dataclass(frozen=True)
class HeadlineScore:
    """One score at one lead time, threshold and scale, by which a night is judged."""

    score: str = "FSS"
    """One of `SCORES`."""
    threshold: float = 1.0
    """Rate threshold, mm h-1."""
    scale: float = 20.0
    """Side of the windows of FSS, km."""
    lead_time: str = "60min"

    def __post_init__(self) -> None:
        """Check the name of the score and the lead time."""
        if self.score not in SCORES:
            raise InputError(
                f"score {self.score!r}", "a night is judged by a known score", f"Choose one of {[*SCORES]}"
            )
        parse_duration(self.lead_time, "lead_time")

    @property
    def lead(self) -> np.timedelta64:
        """The lead time as ``timedelta64[ns]``."""
        return parse_duration(self.lead_time, "lead_time")

    @property
    def label(self) -> str:
        """Name of the score with its threshold, scale and lead time: ``FSS at 1 mm/h, 20 km and 60 min``."""
        parts = [] if self.score == "correlation" else [f"{self.threshold:g} mm/h"]
        parts += [f"{self.scale:g} km"] if self.score == "FSS" else []
        minutes = f"{to_minutes(self.lead):g} min"
        return f"{self.score} at {', '.join(parts)} and {minutes}" if parts else f"{self.score} at {minutes}"

    def select(self, statistics: xr.Dataset) -> xr.Dataset | None:
        """Return the statistics at the lead time, threshold and scale; None if one of the three is absent."""
        wanted: dict[str, Any] = {"lead_time": self.lead, "threshold": self.threshold}
        if self.score == "FSS":
            wanted["scale"] = self.scale
        for dim, label in wanted.items():
            index = find_index(statistics[dim].values, label) if dim in statistics.dims else None
            if index is None:
                return None
            statistics = statistics.isel({dim: index})
        return statistics

    def compute(self, statistics: xr.Dataset) -> xr.DataArray:
        """Return the score of statistics that `select` returned; NaN where it is not defined."""
        return SCORES[self.score](statistics)


def to_minutes(lead: Any) -> float:
    """Return a lead time in minutes."""
    return float(lead / MINUTE)


def find_index(labels: NDArray[Any], label: Any) -> int | None:
    """Return the index of `label` among `labels`, within `TOLERANCE`; None if it is absent."""
    found = np.flatnonzero(labels == label if labels.dtype.kind == "m" else np.abs(labels - label) < TOLERANCE)
    return int(found[0]) if found.size else None


def collect_nights(night: RegionNight, history: xr.Dataset, days: int) -> xr.Dataset | None:
    """Return the statistics of one region's nights, tonight the last.

    Parameters
    ----------
    night
        Tonight. Its statistics are used, whatever `history` has for its date.
    history
        Statistics as `hybridcast.nightly.store.read_history` returns them; days without any case are left out.
    days
        Number of days before tonight to include.

    Returns
    -------
    Dataset or None
        Dims ``("date", "nowcaster", "lead_time", ...)``, dates increasing; nowcasters, lead times and thresholds are
        those of tonight, with statistics of zero where another night lacks one. None if no night has any case.
    """
    past = _select_past(night, history, days)
    if night.statistics is None or not bool((night.statistics["cases"] > 0).any()):
        return past
    tonight = night.statistics.drop_attrs().expand_dims(date=[night.date])
    if past is None:
        return tonight
    names = [name for name in tonight.data_vars if name in past]
    both = xr.concat(
        [past[names], tonight[names]], "date", join="right", fill_value=0.0, coords="minimal", compat="override"
    )
    return both.fillna(0.0)


def _select_past(night: RegionNight, history: xr.Dataset, days: int) -> xr.Dataset | None:
    """Return the statistics of the region's earlier nights with a case; None if there are none."""
    if "region" not in history.dims or night.region not in history["region"].values:
        return None
    region = history.sel(region=night.region, drop=True).drop_attrs()
    first = str(np.datetime64(night.date, "D") - np.timedelta64(days, "D"))
    dates = region["date"].values.astype(str)
    earlier = (dates >= first) & (dates < night.date)
    if not earlier.any():
        return None
    past = region.isel(date=np.flatnonzero(earlier)).assign_coords(date=dates[earlier])
    cases = past["cases"].fillna(0).sum([dim for dim in past["cases"].dims if dim != "date"])
    with_cases = past.isel(date=np.flatnonzero(cases.values > 0)).sortby("date")
    return with_cases if with_cases.sizes["date"] else None
