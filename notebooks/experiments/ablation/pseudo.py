"""What pseudo-NWP adds on the real events, by its quality and by lead time to three hours.

No model made these fields: they are later radar, spoiled the way a model errs (`hybridcast.datasets.pseudo_nwp`). So
the tables
show how a method uses model fields of a given quality, not how good a model is; every storm that is not invented was
real. The learned fusion was trained on pseudo-NWP of the same kind, from other regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ablation.words import change, short
from hybridcast.core.field import NAME
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.core.types import LeadTimes
from hybridcast.datasets.events import Event, load_event_radar
from hybridcast.datasets.pseudo_nwp import PRESETS, simulate_runs_before
from hybridcast.fusion.hybrid import Hybrid, load_hybrid
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.nowcasters.pysteps import LinearBlending
from hybridcast.nowcasters.skill_blend import SkillWeightedBlend
from hybridcast.nwp import regrid_to_radar, select_available_runs
from hybridcast.predictors.nwp import nwp_field_times
from hybridcast.predictors.sources import select_sources
from hybridcast.verification.evaluation import EvaluationSettings, Progress, evaluate
from hybridcast.verification.tables import summarize

#: How many whole hours before the issue time runs started, at least: by then they are there.
AGES = (3, 6)
#: How far ahead.
LONGEST = 3
#: The score that answers the question.
SCORE = "CSI 1, equal area"
BASELINE = "linear blend"


@dataclass(frozen=True)
class Simulated:
    """A quality of pseudo-NWP for an event."""

    event: Event
    quality: str
    step: int = 15
    """Of its rates, min."""
    seed: int = 0

    def runs(self, recent: xr.DataArray) -> xr.Dataset:
        """Return the runs that would have been there at the last time of `recent`."""
        issue = recent["time"].values[-1]
        return select_available_runs(_runs(self, issue), issue)

    def on_grid(self, recent: xr.DataArray, leads: LeadTimes) -> xr.Dataset:
        """Return the same on the radar's grid, at the times of the last hour and the valid times."""
        return regrid_to_radar(self.runs(recent), recent, nwp_field_times(recent, leads))


@lru_cache(maxsize=2)
def _runs(simulated: Simulated, issue: np.datetime64) -> xr.Dataset:
    quality = PRESETS[simulated.quality]
    radar, step, seed = _radar(simulated.event), simulated.step, simulated.seed
    return simulate_runs_before(radar, issue, quality, ages=AGES, ahead=LONGEST, step=step, seed=seed)


@lru_cache(maxsize=1)
def _radar(event: Event) -> xr.DataArray:
    return load_event_radar(event)


@dataclass(frozen=True)
class PseudoNwpAlone:
    """The newest run as it is."""

    simulated: Simulated

    @property
    def name(self) -> str:
        """How results name it."""
        return f"pseudo-NWP, {self.simulated.quality}"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        there = self.simulated.on_grid(recent, lead_times).sel(time=recent["time"].values[-1] + lead_times)
        newest = there[NAME].bfill("reference_time").isel(reference_time=0)
        return forecast_dataset(newest.values, recent, lead_times, nowcaster=self.name)


@dataclass(frozen=True)
class Blended:
    """A blend without training: `SkillWeightedBlend`, or the linear blend of pysteps."""

    simulated: Simulated
    of_pysteps: bool = False

    @property
    def name(self) -> str:
        """How results name it."""
        return "linear blend of pysteps" if self.of_pysteps else "blend by recent skill"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        there = self.simulated.on_grid(recent, lead_times)
        blend: Nowcaster = LinearBlending(there) if self.of_pysteps else SkillWeightedBlend(there)
        return blend.forecast(recent, lead_times)


@dataclass(frozen=True)
class Fused:
    """The trained blend, given pseudo-NWP."""

    simulated: Simulated
    hybrid: Hybrid

    @property
    def name(self) -> str:
        """How results name it."""
        return f"{self.hybrid.name} with pseudo-NWP"

    @property
    def fingerprint(self) -> str:
        """Tell it from all others."""
        return f"Fused({self.simulated!r}, {self.hybrid.fingerprint})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        sources = select_sources(recent, nwp=self.simulated.runs(recent))
        return self.hybrid.with_sources(sources).forecast(recent, lead_times)


def compared(event: Event, quality: str, hybrid: Hybrid) -> dict[str, Nowcaster]:
    """Return what is compared on an event with pseudo-NWP of one quality, by name; its names say which it has."""
    simulated = Simulated(event, quality)
    return {
        f"pseudo-NWP {quality}": PseudoNwpAlone(simulated),
        f"{BASELINE} {quality}": Blended(simulated),
        f"pysteps {BASELINE} {quality}": Blended(simulated, of_pysteps=True),
        "hybridcast, radar": hybrid,
        f"hybridcast, radar and pseudo-NWP {quality}": Fused(simulated, hybrid),
    }


def pseudo_ablation(
    events: Sequence[Event],
    models: Mapping[str, Path],
    *,
    work: str | Path,
    cases: int = 2,
    workers: int = 1,
    qualities: Sequence[str] = tuple(PRESETS),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score radar alone, pseudo-NWP alone and blends of both on the events, for each quality.

    Parameters
    ----------
    events
        As `hybridcast.datasets.events.load_events` gives them.
    models
        Region -> folder of a model that was not trained on it.
    work, workers, progress
        See `hybridcast.verification.evaluation.evaluate`.
    cases
        At most so many issue times of an event.
    qualities
        Names in `hybridcast.datasets.pseudo_nwp.PRESETS`.

    Returns
    -------
    dict
        Quality -> what `hybridcast.verification.tables.summarize` returns, with the linear blend as the baseline.
    """
    settings = EvaluationSettings(lead_time=f"{LONGEST}h", max_cases=cases)
    loaded = {region: load_hybrid(folder) for region, folder in models.items()}
    hybrids = {region: replace(one, thresholds=one.model.blend.thresholds) for region, one in loaded.items()}
    found = {}
    for quality in qualities:

        def nowcasters(event: Event, quality: str = quality) -> dict[str, Nowcaster]:
            return compared(event, quality, hybrids[event.region])

        sums = evaluate(events, nowcasters, work=work, settings=settings, workers=workers, progress=progress)
        found[quality] = summarize(sums, baseline=f"{BASELINE} {quality}")
    return found


def pseudo_lines(found: Mapping[str, Any]) -> list[str]:
    """Write what `pseudo_ablation` found as Markdown."""
    lines = []
    for quality, one in found.items():
        leads = " / ".join(f"{minutes:g}" for minutes in one["lead_times_min"])
        counts = [
            sum(event["cases"][k] for event in one["support"].values()) for k in range(len(one["lead_times_min"]))
        ]
        by_lead = " / ".join(f"{count:g}" for count in counts)
        lines += [
            f"Pseudo-NWP, {quality}: {SCORE}, at {leads} min; mean over {len(one['support'])} events, {by_lead} cases.",
            "",
            "| | all points | points with known radar air | FSS 20 km, all | Brier 1, all |",
            "|---|---|---|---|---|",
        ]
        for model in one["nowcasters"]:
            cells = [
                *(short(one["mean"][area][model][SCORE]) for area in ("all", "source")),
                *(short(one["mean"]["all"][model][name]) for name in ("FSS 20 km", "Brier 1")),
            ]
            lines.append(f"| {model} | {' | '.join(cells)} |")
        fused = f"hybridcast, radar and pseudo-NWP {quality}"
        lines += [
            "",
            f"{fused} against the {one['baseline']}, all points: {change(one['difference']['all'][fused][SCORE])} %.",
            "",
        ]
    return lines
