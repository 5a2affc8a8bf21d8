"""The last nights of one region as one Dataset of sums, and the score that stands for a night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import parse_duration
from hybridcast.errors import InputError
from hybridcast.nightly.records import RegionNight
from hybridcast.verification import scores

#: The scores that can stand for a night: more is better for each of them.
SCORES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "FSS": scores.fractions_skill_score,
    "CSI": scores.csi,
    "ETS": scores.equitable_threat_score,
    "correlation": scores.correlation,
}
#: Some nowcasts give 0.7 mm/h as 0.699999988.
NEAR = 1e-5


@dataclass(frozen=True)
class Headline:
    """One score at one lead time, threshold and scale, by which a night is judged."""

    score: str = "FSS"
    threshold: float = 1.0
    """mm h-1."""
    scale: float = 20.0
    """Side of the windows of FSS, km."""
    lead_time: str = "60min"

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        if self.score not in SCORES:
            raise InputError(
                f"score {self.score!r}", "a night is judged by a known score", f"Choose one of {[*SCORES]}"
            )
        parse_duration(self.lead_time, "lead_time")

    @property
    def lead(self) -> np.timedelta64:
        """The lead time."""
        return parse_duration(self.lead_time, "lead_time")

    @property
    def words(self) -> str:
        """Say which score it is: ``FSS at 1 mm/h, 20 km and 60 min``."""
        parts = [] if self.score == "correlation" else [f"{self.threshold:g} mm/h"]
        parts += [f"{self.scale:g} km"] if self.score == "FSS" else []
        minutes = f"{minutes_of(self.lead):g} min"
        return f"{self.score} at {', '.join(parts)} and {minutes}" if parts else f"{self.score} at {minutes}"

    def at(self, sums: xr.Dataset) -> xr.Dataset | None:
        """Select its lead time, threshold and scale; None where the sums have not all three."""
        wanted: dict[str, Any] = {"lead_time": self.lead, "threshold": self.threshold}
        if self.score == "FSS":
            wanted["scale"] = self.scale
        for name, label in wanted.items():
            if name not in sums.dims:
                return None
            place = place_of(sums[name].values, label)
            if place is None:
                return None
            sums = sums.isel({name: place})
        return sums

    def values(self, sums: xr.Dataset) -> xr.DataArray:
        """Return the score of sums that `at` selected; NaN where it is not defined."""
        return SCORES[self.score](sums)


def minutes_of(lead: Any) -> float:
    """Return a lead time in minutes."""
    return float(lead / np.timedelta64(1, "m"))


def place_of(labels: NDArray[Any], label: Any) -> int | None:
    """Return the place of `label` among `labels`, None if it is not there."""
    found = np.flatnonzero(labels == label if labels.dtype.kind == "m" else np.abs(labels - label) < NEAR)
    return int(found[0]) if found.size else None


def nights_of(night: RegionNight, history: xr.Dataset, days: int) -> xr.Dataset | None:
    """Put the sums of one region's nights into one Dataset, tonight the last.

    Parameters
    ----------
    night
        Tonight. Its sums count, whatever `history` has for its date.
    history
        As `hybridcast.nightly.store.history` gives it; days without any case are left out.
    days
        How many days before tonight are looked back to.

    Returns
    -------
    Dataset or None
        Dims ``("date", "nowcaster", "lead_time", ...)``, dates rising; nowcasters, lead times and thresholds are those
        of tonight, with sums of zero where another night lacks one. None if no night has any case.
    """
    past = _past(night, history, days)
    tonight = None if night.sums is None or not _any_case(night.sums) else night.sums.drop_attrs()
    if tonight is None:
        return past
    now = tonight.expand_dims(date=[night.date])
    if past is None:
        return now
    names = [name for name in now.data_vars if name in past]
    both = xr.concat(
        [past[names], now[names]], "date", join="right", fill_value=0.0, coords="minimal", compat="override"
    )
    return both.fillna(0.0)


def _past(night: RegionNight, history: xr.Dataset, days: int) -> xr.Dataset | None:
    if "region" not in history.dims or night.region not in history["region"].values:
        return None
    here = history.sel(region=night.region, drop=True).drop_attrs()
    first = str(np.datetime64(night.date, "D") - np.timedelta64(days, "D"))
    dates = here["date"].values.astype(str)
    earlier = here.isel(date=np.flatnonzero((dates >= first) & (dates < night.date))).assign_coords(
        date=dates[(dates >= first) & (dates < night.date)]
    )
    if not earlier.sizes["date"]:
        return None
    cases = earlier["cases"].fillna(0).sum([dim for dim in earlier["cases"].dims if dim != "date"])
    kept = earlier.isel(date=np.flatnonzero(cases.values > 0)).sortby("date")
    return kept if kept.sizes["date"] else None


def _any_case(sums: xr.Dataset) -> bool:
    return bool((sums["cases"] > 0).any())
