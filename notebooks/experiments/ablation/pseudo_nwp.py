"""Contribution of pseudo-NWP on the real events, by its quality and for lead times up to three hours.

The fields are not forecasts of an NWP system but later radar with simulated forecast errors
(`hybridcast.datasets.pseudo_nwp`). The tables show how a method uses NWP fields of a given quality, not how good an NWP
system is; every storm that is not invented was real. The trained blend was trained with pseudo-NWP of the same kind,
from other regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ablation.formatting import format_change, format_values
from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.core.types import LeadTimes
from hybridcast.datasets import PRESETS, Event, load_event_radar, simulate_runs_before
from hybridcast.fusion.hybrid import Hybrid, load_hybrid
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.nowcasters.pysteps import LinearBlending
from hybridcast.nowcasters.skill_blend import SkillWeightedBlend
from hybridcast.nwp import regrid_to_radar, select_available_runs
from hybridcast.predictors.nwp import nwp_field_times
from hybridcast.predictors.sources import select_sources
from hybridcast.verification.evaluation import EvaluationSettings, Progress, evaluate
from hybridcast.verification.tables import summarize

#: Minimum ages of the runs at the issue time, h; such runs are available by then.
AGES = (3, 6)
#: Maximum lead time, h.
LEAD_HOURS = 3
#: Score on which the conclusion rests.
SCORE = "CSI 1, equal area"
BASELINE = "linear blend"


@dataclass(frozen=True)
class SimulatedNwp:
    """Pseudo-NWP of one quality for an event."""

    event: Event
    """Event whose later radar is used."""
    quality: str
    """Name in `hybridcast.datasets.PRESETS`."""
    step: int = 15
    """Time step of its rates, min."""
    seed: int = 0
    """Seed of its errors."""

    def runs(self, recent: xr.DataArray) -> xr.Dataset:
        """Return the runs available at the last time of `recent`."""
        issue = recent["time"].values[-1]
        return select_available_runs(_simulate(self, issue), issue)

    def on_grid(self, recent: xr.DataArray, leads: LeadTimes) -> xr.Dataset:
        """Return these runs on the radar grid, at the times of the last hour and the valid times."""
        return regrid_to_radar(self.runs(recent), recent, nwp_field_times(recent, leads))


@lru_cache(maxsize=2)
def _simulate(simulated: SimulatedNwp, issue: np.datetime64) -> xr.Dataset:
    return simulate_runs_before(
        _load_radar(simulated.event),
        issue,
        PRESETS[simulated.quality],
        ages=AGES,
        lead_hours=LEAD_HOURS,
        step=simulated.step,
        seed=simulated.seed,
    )


@lru_cache(maxsize=1)
def _load_radar(event: Event) -> xr.DataArray:
    return load_event_radar(event)


@dataclass(frozen=True)
class PseudoNwpAlone:
    """Nowcaster that returns the rates of the newest run."""

    simulated: SimulatedNwp

    @property
    def name(self) -> str:
        """Name in results."""
        return f"pseudo-NWP, {self.simulated.quality}"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        runs = self.simulated.on_grid(recent, lead_times).sel(time=recent["time"].values[-1] + lead_times)
        newest = runs[RATE].bfill("reference_time").isel(reference_time=0)
        return forecast_dataset(newest.values, recent, lead_times, nowcaster=self.name)


@dataclass(frozen=True)
class UntrainedBlend:
    """Blend of radar and pseudo-NWP without training: `SkillWeightedBlend`, or the linear blend of pysteps."""

    simulated: SimulatedNwp
    of_pysteps: bool = False

    @property
    def name(self) -> str:
        """Name in results."""
        return "linear blend of pysteps" if self.of_pysteps else "blend by recent skill"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        runs = self.simulated.on_grid(recent, lead_times)
        blend: Nowcaster = LinearBlending(runs) if self.of_pysteps else SkillWeightedBlend(runs)
        return blend.forecast(recent, lead_times)


@dataclass(frozen=True)
class HybridWithPseudoNwp:
    """The trained blend with pseudo-NWP."""

    simulated: SimulatedNwp
    hybrid: Hybrid

    @property
    def name(self) -> str:
        """Name in results."""
        return f"{self.hybrid.name} with pseudo-NWP"

    @property
    def fingerprint(self) -> str:
        """Text that depends on everything that its forecasts depend on."""
        return f"HybridWithPseudoNwp({self.simulated!r}, {self.hybrid.fingerprint})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`."""
        sources = select_sources(recent, nwp=self.simulated.runs(recent))
        return self.hybrid.with_sources(sources).forecast(recent, lead_times)


def build_nowcasters(event: Event, quality: str, hybrid: Hybrid) -> dict[str, Nowcaster]:
    """Return the nowcasters compared on an event with pseudo-NWP of one quality, by name."""
    simulated = SimulatedNwp(event, quality)
    return {
        f"pseudo-NWP {quality}": PseudoNwpAlone(simulated),
        f"{BASELINE} {quality}": UntrainedBlend(simulated),
        f"pysteps {BASELINE} {quality}": UntrainedBlend(simulated, of_pysteps=True),
        "hybridcast, radar": hybrid,
        f"hybridcast, radar and pseudo-NWP {quality}": HybridWithPseudoNwp(simulated, hybrid),
    }


def evaluate_pseudo_nwp(
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
        Events from `hybridcast.datasets.load_events`.
    models
        Folder of a model that was not trained on the region, by region.
    work, workers, progress
        See `hybridcast.verification.evaluation.evaluate`.
    cases
        Maximum number of issue times of an event.
    qualities
        Names in `hybridcast.datasets.PRESETS`.

    Returns
    -------
    dict
        Result of `hybridcast.verification.tables.summarize` by quality, with the linear blend as the baseline.
    """
    settings = EvaluationSettings(lead_time=f"{LEAD_HOURS}h", max_cases=cases)
    loaded = {region: load_hybrid(folder) for region, folder in models.items()}
    hybrids = {region: replace(one, thresholds=one.model.blend.thresholds) for region, one in loaded.items()}
    found = {}
    for quality in qualities:

        def nowcasters(event: Event, quality: str = quality) -> dict[str, Nowcaster]:
            return build_nowcasters(event, quality, hybrids[event.region])

        statistics = evaluate(events, nowcasters, work=work, settings=settings, workers=workers, progress=progress)
        found[quality] = summarize(statistics, baseline=f"{BASELINE} {quality}")
    return found


def format_pseudo_nwp(found: Mapping[str, Any]) -> list[str]:
    """Format the result of `evaluate_pseudo_nwp` as lines of Markdown."""
    return [line for quality, one in found.items() for line in _format_quality(quality, one)]


def _format_quality(quality: str, one: Mapping[str, Any]) -> list[str]:
    leads = " / ".join(f"{minutes:g}" for minutes in one["lead_times_min"])
    by_event = [event["cases"] for event in one["support"].values()]
    counts = " / ".join(f"{sum(cases):g}" for cases in zip(*by_event, strict=True))
    fused = f"hybridcast, radar and pseudo-NWP {quality}"
    change = format_change(one["difference"]["all"][fused][SCORE])
    return [
        f"Pseudo-NWP, {quality}: {SCORE}, at {leads} min; mean over {len(by_event)} events, {counts} cases.",
        "",
        "| | all points | points with known radar air | FSS 20 km, all | Brier 1, all |",
        "|---|---|---|---|---|",
        *(_format_row(name, one["mean"]) for name in one["nowcasters"]),
        "",
        f"{fused} against the {one['baseline']}, all points: {change} %.",
        "",
    ]


def _format_row(name: str, mean: Mapping[str, Any]) -> str:
    columns = [("all", SCORE), ("source", SCORE), ("all", "FSS 20 km"), ("all", "Brier 1")]
    return f"| {name} | {' | '.join(format_values(mean[area][name][score]) for area, score in columns)} |"
