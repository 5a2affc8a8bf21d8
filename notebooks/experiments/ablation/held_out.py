"""Forecasts at gauges that were held out, from the radar as it is and from the radar adjusted by all other gauges.

At each issue time the gauges are divided into folds. For each fold the radar of the last two hours is adjusted by the
reports of all other gauges that had ended by then and passed quality control without the fold. The forecast from the
adjusted radar is evaluated at the gauges of the fold. At a lead time of 0 it is the adjusted radar itself. The report
of a gauge is compared with the mean over its interval, whose frames may in part be observed and in part forecast; the
probability over the interval is the mean of the probabilities of its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr

from hybridcast.core.field import GRID_MAPPING, RATE
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.types import Mask
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.stations import sample_radar, select_available_reports
from hybridcast.stations.adjustment import AdjustmentSettings, adjust_radar
from hybridcast.stations.quality import quality_control

LEADS = np.array([0, 15, 30, 60]) * np.timedelta64(1, "m")
#: Thresholds of probabilities, mm/h.
THRESHOLDS = (0.1, 1.0, 5.0)
SOURCES = ("radar", "radar and gauges")


class GaugeArchive(NamedTuple):
    """Radar and gauges of the same area and period."""

    name: str
    """Name of the data set."""
    radar: xr.DataArray
    """Precipitation field in memory, at regular times."""
    stations: xr.Dataset
    """Station reports without quality control."""
    offset: np.timedelta64
    """Offset of the clocks of the gauges from those of the radar, positive if rain reaches the gauges later."""


@dataclass(frozen=True)
class HeldOutSettings:
    """Settings of the cross-validation with held-out gauges."""

    cases: int = 40
    """Maximum number of issue times, evenly chosen among those with rain in the radar."""
    folds: int = 4
    """Number of groups of gauges."""
    seed: int = 0
    """Seed of the random division into folds, which differs between issue times."""
    adjustment: AdjustmentSettings = field(default_factory=AdjustmentSettings)
    """Settings of the radar adjustment."""


class HeldOutCase(NamedTuple):
    """Forecasts of one issue time."""

    at_gauges: dict[str, xr.Dataset]
    """Rain rates and, if the nowcaster has them, probabilities, by source; dims ``("lead_time", "station")``."""
    on_grid: dict[str, xr.Dataset]
    """The same on the radar grid, dims ``("lead_time", "y", "x")``."""
    adjusted: bool
    """Whether the gauges changed the radar."""


def forecast_held_out(
    archive: GaugeArchive, issue: np.datetime64, nowcaster: Nowcaster, settings: HeldOutSettings
) -> HeldOutCase:
    """Forecast from the radar up to `issue` with and without adjustment by gauges that are held out fold by fold."""
    recent = archive.radar.sel(time=slice(issue - INPUT_HISTORY, issue))
    valid = archive.stations[[RATE]].reindex(time=issue + LEADS)
    valid.attrs = archive.stations.attrs
    unadjusted = _extend(recent, nowcaster)
    by_all = _adjust(recent, archive.stations, archive.offset, settings)
    held_out = []
    for fold in draw_folds(archive.stations.sizes["station"], issue, settings):
        radar = _adjust(recent, archive.stations.isel(station=~fold), archive.offset, settings)
        extended = unadjusted if radar is recent else _extend(radar, nowcaster)
        held_out.append(_sample_gauges(extended, valid.isel(station=fold), archive.offset))
    with_gauges = xr.concat(held_out, "station").sel(station=valid["station"].values)
    without, grid = _sample_gauges(unadjusted, valid, archive.offset), _select_leads(unadjusted, issue)
    adjusted_grid = grid if by_all is recent else _select_leads(_extend(by_all, nowcaster), issue)
    return HeldOutCase(
        dict(zip(SOURCES, (without, with_gauges), strict=True)),
        dict(zip(SOURCES, (grid, adjusted_grid), strict=True)),
        by_all is not recent,
    )


def draw_folds(count: int, issue: np.datetime64, settings: HeldOutSettings) -> Iterator[Mask]:
    """Divide `count` gauges at random, and yield for each fold the mask of the gauges that are held out."""
    generator = np.random.default_rng([settings.seed, int(issue.astype("datetime64[m]").astype(np.int64))])
    fold = generator.permutation(count) % settings.folds
    return (fold == number for number in range(settings.folds) if (fold == number).any())


def _adjust(
    recent: xr.DataArray, stations: xr.Dataset, offset: np.timedelta64, settings: HeldOutSettings
) -> xr.DataArray:
    """Adjust the radar by the reports available at its last frame; return `recent` itself if nothing changes."""
    available = select_available_reports(stations, recent["time"].values[-1])
    available = available.isel(time=available["time"].values >= recent["time"].values[0])
    checked, _ = quality_control(available, recent, offset=offset)
    return adjust_radar(recent, checked, offset=offset, settings=settings.adjustment)[0]


def _extend(recent: xr.DataArray, nowcaster: Nowcaster) -> xr.Dataset:
    """Return the radar frames followed by the forecast along `time`, with probabilities if the nowcaster has them."""
    result = forecast(recent, lead_time=LEADS[-1], nowcaster=nowcaster)
    coords = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    times = np.concatenate([recent["time"].values, result["time"].values])
    dims = ("time", "y", "x")
    rates = np.concatenate([recent.values, result[RATE].values])
    extended = xr.Dataset({RATE: (dims, rates)}, {**coords, "time": times})
    if PROBABILITY not in result:
        return extended
    observed = np.stack([np.where(np.isnan(recent), np.nan, recent >= np.float32(t)) for t in THRESHOLDS])
    forecasted = result[PROBABILITY].sel(threshold=list(THRESHOLDS)).values
    probabilities = np.concatenate([observed.astype(np.float32), forecasted], axis=1)
    extended[PROBABILITY] = (("threshold", *dims), probabilities)
    return extended.assign_coords(threshold=list(THRESHOLDS))


def _sample_gauges(extended: xr.Dataset, valid: xr.Dataset, offset: np.timedelta64) -> xr.Dataset:
    """Return means at the gauges over the intervals that end at the valid times."""
    sampled = xr.Dataset({RATE: sample_radar(valid, extended[RATE], offset=offset)})
    if PROBABILITY in extended:
        by_threshold = [
            sample_radar(valid, extended[PROBABILITY].sel(threshold=threshold, drop=True), offset=offset)
            for threshold in THRESHOLDS
        ]
        sampled[PROBABILITY] = xr.concat(by_threshold, xr.Variable("threshold", list(THRESHOLDS)))
    return _index_by_lead(sampled)


def _select_leads(extended: xr.Dataset, issue: np.datetime64) -> xr.Dataset:
    return _index_by_lead(extended.sel(time=issue + LEADS))


def _index_by_lead(data: xr.Dataset) -> xr.Dataset:
    return data.assign_coords(lead_time=("time", LEADS.astype("timedelta64[ns]"))).swap_dims(time="lead_time")
