"""Data besides radar at an issue time: selection of what was available, and predictors computed from it.

`Sources` holds the NWP runs, terrain and station reports that were available at the issue time. `select_sources` builds
it and records what was left out and why; `compute_source_predictors` computes predictors from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME, check_same_grid, crs_of
from hybridcast.core.grid import coarsened
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import InputError
from hybridcast.motion.estimate import MotionMethod
from hybridcast.motion.wind_guidance import GuidedFlow
from hybridcast.nwp.availability import DELAY, select_available_runs
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import RATE, WIND
from hybridcast.nwp.steering import steering_wind
from hybridcast.predictors.nwp import compute_nwp_predictors, nwp_field_times
from hybridcast.predictors.stations import compute_station_predictors
from hybridcast.predictors.terrain import compute_terrain_predictors
from hybridcast.stations.clock import clock_offset
from hybridcast.stations.collocation import collocate
from hybridcast.stations.quality import quality_control
from hybridcast.stations.schema import check_stations, get_interval, select_available_reports
from hybridcast.terrain import terrain_dataset

#: Reports older than this, or than two of their intervals, tell nothing of now.
STALE = np.timedelta64(60, "m")
#: Attribute of station reports: by how many minutes rain is later there than the radar's stamps say.
OFFSET = "clock_offset_minutes"


@dataclass(frozen=True)
class Sources:
    """What was there at the issue time besides radar; nothing by default."""

    nwp: xr.Dataset | None = None
    """Runs of a model that were available, newest first, on the model's grid."""
    terrain: xr.Dataset | None = None
    """`surface_altitude` on the radar's grid."""
    stations: xr.Dataset | None = None
    """Reports that had ended, after quality control."""
    used: tuple[str, ...] = ()
    """Names of what is there, with its age."""
    left_out: tuple[str, ...] = ()
    """Names of what was given and is left out, with the reason."""

    @property
    def has_rain(self) -> bool:
        """Whether a model tells of rain."""
        return self.nwp is not None and RATE in self.nwp

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return any(source is not None for source in (self.nwp, self.terrain, self.stations))


@dataclass(frozen=True)
class _Found:
    """What one source comes to."""

    data: xr.Dataset | None
    used: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def select_sources(
    recent: xr.DataArray,
    *,
    nwp: xr.Dataset | None = None,
    terrain: xr.Dataset | None = None,
    stations: xr.Dataset | None = None,
    delay: np.timedelta64 = DELAY,
) -> Sources:
    """Keep what was there at the issue time, the last time of `recent`.

    Parameters
    ----------
    recent
        Precipitation field up to the issue time.
    nwp
        Model fields, as `hybridcast.open_nwp` gives them.
    terrain
        Heights, as `hybridcast.open_terrain` gives them, on the grid of `recent`.
    stations
        Reports, as `hybridcast.open_stations` gives them. They are checked, against each other and the radar, whose
        clock may be another one: see `determine_clock_offset`.
    delay
        From the start of a model run until it is there.

    Raises
    ------
    InputError
        If a source does not keep its contract, or `terrain` is on another grid.
    """
    parts = {
        "nwp": _runs_at(nwp, recent, delay),
        "terrain": _ground_of(terrain, recent),
        "stations": _reports_at(stations, recent),
    }
    return Sources(
        **{name: part.data for name, part in parts.items()},
        used=tuple(word for part in parts.values() for word in part.used),
        left_out=tuple(word for part in parts.values() for word in part.left_out),
    )


def _runs_at(nwp: xr.Dataset | None, recent: xr.DataArray, delay: np.timedelta64) -> _Found:
    if nwp is None:
        return _Found(None)
    kept = select_available_runs(nwp, recent["time"].values[-1], delay)
    left_out = [f"nwp run {run}" for run in kept.attrs["left_out_runs"].split("; ") if run != "none"]
    if not kept.sizes["reference_time"]:
        return _Found(None, left_out=left_out or ["nwp (holds no run)"])
    reason = _not_over(kept, recent)
    if reason:
        return _Found(None, left_out=[f"nwp ({reason})"])
    return _Found(kept, [f"nwp run {run}" for run in kept.attrs["runs"].split("; ")], left_out)


def _not_over(nwp: xr.Dataset, recent: xr.DataArray) -> str:
    """Say why the model tells nothing about the grid of the radar; empty if it does."""
    if crs_of(nwp) is None and crs_of(recent) is None:
        check_same_grid(nwp, recent, "model and radar without a known place")
        known = any(np.isfinite(values.values).any() for values in nwp.data_vars.values())
        return "" if known else "it holds no value"
    if crs_of(nwp) is None or crs_of(recent) is None:
        return "the place of the radar is not known" if crs_of(nwp) is not None else "its place is not known"
    few = recent.isel(time=-1)[:: max(1, recent.sizes["y"] // 8), :: max(1, recent.sizes["x"] // 8)]
    here = regrid_to_radar(nwp, few, nwp["reference_time"].values[0] + nwp["lead_time"].values)
    known = any(np.isfinite(values.values).any() for values in here.data_vars.values())
    return "" if known else "it lies elsewhere"


def _ground_of(terrain: xr.Dataset | None, recent: xr.DataArray) -> _Found:
    if terrain is None:
        return _Found(None)
    if "surface_altitude" not in terrain:
        raise InputError(
            f"terrain holds {list(terrain.data_vars)}",
            "it holds surface_altitude (m) on the radar's grid",
            "Use open_terrain(path, radar)",
        )
    check_same_grid(terrain, recent, "terrain and radar")
    if not np.isfinite(terrain["surface_altitude"].values).any():
        return _Found(None, left_out=["terrain (no height is known on the radar's grid)"])
    return _Found(terrain, ["terrain"])


def _reports_at(stations: xr.Dataset | None, recent: xr.DataArray) -> _Found:
    if stations is None:
        return _Found(None)
    issue = recent["time"].values[-1]
    known = select_available_reports(check_stations(stations), issue)
    known = known.isel(time=known["time"].values >= recent["time"].values[0])
    if "x" not in known.coords and crs_of(recent) is None:
        return _Found(None, left_out=["stations (the place of the radar is not known)"])
    inside = np.isfinite(collocate(known, recent)).all(axis=1)
    if not inside.any():
        return _Found(None, left_out=[f"stations ({known.sizes['station']}, none of them on the radar's grid)"])
    known = known.isel(station=inside)
    later = determine_clock_offset(known, recent)
    reports, quality = quality_control(known, recent, offset=later)
    reported = np.isfinite(reports[NAME].values).any(axis=0)
    if not reported.any():
        return _Found(None, left_out=[f"stations ({quality}; no report is left)"])
    age = (issue - reports["time"].values[reported][-1]) / MINUTE
    if age > max(STALE / MINUTE, 2 * get_interval(reports) / MINUTE):
        return _Found(None, left_out=[f"stations (the last report is {age:g} min old)"])
    count = int(np.isfinite(reports[NAME].values).any(axis=1).sum())
    clock = f", rain {later / MINUTE:g} min later than by the radar's clock" if later else ""
    return _Found(reports.assign_attrs({OFFSET: later / MINUTE}), [f"{count} stations ({age:g} min old{clock})"])


def determine_clock_offset(stations: xr.Dataset, recent: xr.DataArray) -> np.timedelta64:
    """Return how much later rain is at the stations than the radar's stamps say.

    It is what ``attrs["clock_offset_minutes"]`` of the reports says, which is best found once, over days of radar, by
    `hybridcast.stations.clock.clock_offset`; or else what the frames at hand tell, if there is enough rain at stations.
    """
    if OFFSET in stations.attrs:
        return np.timedelta64(round(60 * float(stations.attrs[OFFSET])), "s")
    found = clock_offset(stations, recent)
    return np.timedelta64(0, "s") if found is None else found.offset


def coarsen_sources(sources: Sources, recent: xr.DataArray, coarse: xr.DataArray, spacing: float) -> Sources:
    """Put what lies on the radar's grid onto the coarser cells of `coarse`; other model fields have their own grid."""
    if coarse.shape[-2:] == recent.shape[-2:]:
        return sources
    terrain, nwp = sources.terrain, sources.nwp
    if terrain is not None:
        terrain = terrain_dataset(coarsened(terrain["surface_altitude"], spacing).values, coarse)
    if nwp is not None and crs_of(nwp) is None:
        nwp = xr.Dataset({name: coarsened(nwp[name], spacing) for name in nwp.data_vars}, attrs=nwp.attrs)
    return replace(sources, terrain=terrain, nwp=nwp)


def compute_source_predictors(
    sources: Sources, recent: xr.DataArray, motion: xr.Dataset, lead_times: NDArray[np.timedelta64]
) -> dict[str, Array] | None:
    """Make predictors of all there is; None if there is nothing.

    Parameters
    ----------
    sources
        On the cells of `recent`.
    recent
        Precipitation field up to the issue time, on cells of about 2 km.
    motion
        Its motion.
    lead_times
        ``timedelta64``, from the last time of `recent`.

    Returns
    -------
    dict
        By the names in `hybridcast.predictors.radar.SOURCE_PREDICTORS`: float32, shape ``(lead, y, x)`` or ``(y, x)``.
    """
    if not sources:
        return None
    planes: dict[str, Array] = {}
    if sources.nwp is not None:
        there = regrid_to_radar(sources.nwp, recent, nwp_field_times(recent, lead_times))
        planes |= compute_nwp_predictors(there, recent, lead_times)
    if sources.terrain is not None:
        u, v = (motion[name].transpose("y", "x").values for name in ("u", "v"))
        planes |= compute_terrain_predictors(sources.terrain, u, v)
    if sources.stations is not None:
        planes |= compute_station_predictors(
            sources.stations, recent, offset=determine_clock_offset(sources.stations, recent)
        )
    return planes


def compute_guidance_wind(sources: Sources, recent: xr.DataArray) -> xr.Dataset | None:
    """Return the model's wind at the issue time on the grid of `recent`; None where there is none."""
    if sources.nwp is None or not set(WIND) <= set(sources.nwp.data_vars):
        return None
    issue = recent["time"].values[-1]
    return steering_wind(regrid_to_radar(sources.nwp[list(WIND)], recent, [issue]), issue)


def add_wind_guidance(method: MotionMethod, sources: Sources, recent: xr.DataArray) -> MotionMethod:
    """Let the model's wind, where there is one, fill in where there is no echo."""
    wind = compute_guidance_wind(sources, recent)
    return method if wind is None else GuidedFlow(method, wind)


__all__ = [
    "OFFSET",
    "Sources",
    "add_wind_guidance",
    "coarsen_sources",
    "compute_guidance_wind",
    "compute_source_predictors",
    "determine_clock_offset",
    "select_sources",
]
