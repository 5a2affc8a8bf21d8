"""Forecasts at gauges that were held out: radar as it is, and adjusted by all the other gauges.

At each issue time the gauges are parted into folds. For each fold the radar of the last two hours is adjusted by the
reports of all other gauges that had ended by then and passed quality control among themselves, and what is forecast
from it is read at the gauges of the fold, which it has not seen. At a lead time of 0 it is the adjusted radar itself.
A gauge's report is compared with the mean over its interval, whose frames may in part be radar and in part forecast;
the chance of a rate over the interval is the mean of the chances of its frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import GRID_MAPPING, NAME
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.stations import sample_radar, select_available_reports
from hybridcast.stations.adjustment import AdjustmentSettings, adjust_radar
from hybridcast.stations.quality import quality_control

LEADS = np.array([0, 15, 30, 60]) * np.timedelta64(1, "m")
LEVELS = (0.1, 1.0, 5.0)
SOURCES = ("radar", "radar and gauges")


class Archive(NamedTuple):
    """Radar and gauges that belong together."""

    name: str
    radar: xr.DataArray
    """In memory, on regular times."""
    stations: xr.Dataset
    """Reports as they came."""
    offset: np.timedelta64
    """How much later rain is at the gauges than the radar's stamps say."""


@dataclass(frozen=True)
class HeldOutSettings:
    """How gauges are held out."""

    cases: int = 40
    """At most so many issue times, evenly chosen among those with rain in the radar."""
    folds: int = 4
    seed: int = 0
    """Of the shuffle that parts the gauges, another one for each issue time."""
    adjustment: AdjustmentSettings = field(default_factory=AdjustmentSettings)


class Case(NamedTuple):
    """What was forecast at one issue time."""

    at_gauges: dict[str, xr.Dataset]
    """By source: rates, and chances if there are any, dims ``("lead_time", "station")``."""
    on_grid: dict[str, xr.Dataset]
    """By source, dims ``("lead_time", "y", "x")``."""
    adjusted: bool
    """Whether the gauges changed anything on the grid."""


def forecasts_at(archive: Archive, issue: np.datetime64, nowcaster: Nowcaster, settings: HeldOutSettings) -> Case:
    """Forecast from the radar up to `issue` as it is and adjusted; each gauge is read where it was held out."""
    recent = archive.radar.sel(time=slice(issue - INPUT_HISTORY, issue))
    asked = archive.stations[[NAME]].reindex(time=issue + LEADS)
    asked.attrs = archive.stations.attrs
    as_it_is = _told(recent, nowcaster)
    by_all = _adjusted(recent, archive.stations, archive.offset, settings)
    held = []
    for fold in folds_of(archive.stations.sizes["station"], issue, settings):
        others = archive.stations.isel(station=~fold)
        radar = _adjusted(recent, others, archive.offset, settings)
        told = as_it_is if radar is recent else _told(radar, nowcaster)
        held.append(_at_gauges(told, asked.isel(station=fold), archive.offset))
    with_gauges = xr.concat(held, "station").sel(station=asked["station"].values)
    without, grid = _at_gauges(as_it_is, asked, archive.offset), _on_grid(as_it_is, issue)
    adjusted_grid = grid if by_all is recent else _on_grid(_told(by_all, nowcaster), issue)
    return Case(
        dict(zip(SOURCES, (without, with_gauges), strict=True)),
        dict(zip(SOURCES, (grid, adjusted_grid), strict=True)),
        by_all is not recent,
    )


def folds_of(count: int, issue: np.datetime64, settings: HeldOutSettings) -> Iterator[NDArray[np.bool_]]:
    """Part `count` gauges at random: give for each fold which of them are held out."""
    generator = np.random.default_rng([settings.seed, int(issue.astype("datetime64[m]").astype(np.int64))])
    fold = generator.permutation(count) % settings.folds
    return (fold == number for number in range(settings.folds) if (fold == number).any())


def _adjusted(
    recent: xr.DataArray, stations: xr.Dataset, offset: np.timedelta64, settings: HeldOutSettings
) -> xr.DataArray:
    """Adjust by what was known at the last frame; `recent` itself where that changes nothing."""
    known = select_available_reports(stations, recent["time"].values[-1])
    known = known.isel(time=known["time"].values >= recent["time"].values[0])
    checked, _ = quality_control(known, recent, offset=offset)
    return adjust_radar(recent, checked, offset=offset, settings=settings.adjustment)[0]


def _told(recent: xr.DataArray, nowcaster: Nowcaster) -> xr.Dataset:
    """Return the frames and what is forecast from them in one row of times, with chances if there are any."""
    result = forecast(recent, lead_time=LEADS[-1], nowcaster=nowcaster)
    coords = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    times = np.concatenate([recent["time"].values, result["time"].values])
    dims = ("time", "y", "x")
    told = xr.Dataset({NAME: (dims, np.concatenate([recent.values, result[NAME].values]))}, {**coords, "time": times})
    if PROBABILITY in result:
        seen = np.stack([np.where(np.isnan(recent), np.nan, recent >= np.float32(t)) for t in LEVELS])
        chances = result[PROBABILITY].sel(threshold=list(LEVELS)).values
        told[PROBABILITY] = (("threshold", *dims), np.concatenate([seen.astype(np.float32), chances], axis=1))
        told = told.assign_coords(threshold=list(LEVELS))
    return told


def _at_gauges(told: xr.Dataset, asked: xr.Dataset, offset: np.timedelta64) -> xr.Dataset:
    """Read at the gauges: means over the intervals that end at the valid times."""
    read = xr.Dataset({NAME: sample_radar(asked, told[NAME], offset=offset)})
    if PROBABILITY in told:
        chances = [sample_radar(asked, told[PROBABILITY].sel(threshold=t, drop=True), offset=offset) for t in LEVELS]
        read[PROBABILITY] = xr.concat(chances, xr.Variable("threshold", list(LEVELS)))
    return _by_lead(read)


def _on_grid(told: xr.Dataset, issue: np.datetime64) -> xr.Dataset:
    return _by_lead(told.sel(time=issue + LEADS))


def _by_lead(told: xr.Dataset) -> xr.Dataset:
    return told.assign_coords(lead_time=("time", LEADS.astype("timedelta64[ns]"))).swap_dims(time="lead_time")
