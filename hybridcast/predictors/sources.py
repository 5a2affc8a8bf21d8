"""Data besides radar at an issue time: selection of what was available, and predictors computed from it.

`Sources` holds the NWP runs, terrain and station reports that were available at the issue time. `select_sources` builds
it and records what was left out and why; `compute_source_predictors` computes predictors from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE, check_same_grid, crs_of
from hybridcast.core.grid import coarsen
from hybridcast.core.source_report import SourceReport
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import InputError
from hybridcast.motion.estimate import MotionMethod
from hybridcast.motion.wind_guidance import WindGuidedFlow
from hybridcast.nwp.availability import DELAY, find_available_runs
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import WIND
from hybridcast.nwp.steering import steering_wind
from hybridcast.predictors.nwp import compute_nwp_predictors, nwp_field_times
from hybridcast.predictors.stations import compute_station_predictors
from hybridcast.predictors.terrain import compute_terrain_predictors
from hybridcast.stations.clock import clock_offset
from hybridcast.stations.collocation import NO_OFFSET, collocate
from hybridcast.stations.quality import QualityReport, quality_control
from hybridcast.stations.schema import LEFT_OUT, check_stations, get_interval, select_available_reports
from hybridcast.terrain import terrain_dataset

#: Reports are left out if the last one is older than this and than two of their intervals.
STALE = np.timedelta64(60, "m")
#: Attribute of station reports: minutes by which rain at the stations is later than the time stamps of the radar.
OFFSET = "clock_offset_minutes"


@dataclass(frozen=True)
class Sources:
    """Data besides radar that were available at the issue time; none by default."""

    nwp: xr.Dataset | None = None
    """NWP runs that were available, newest first, on the grid of the NWP model."""
    terrain: xr.Dataset | None = None
    """`surface_altitude` on the radar's grid."""
    stations: xr.Dataset | None = None
    """Station reports whose interval had ended, after quality control."""
    clock_offset: np.timedelta64 = NO_OFFSET
    """Time by which rain at the stations is later than the time stamps of the radar."""
    reports: tuple[SourceReport, ...] = ()
    """Reports on the sources that were given, used or left out."""

    @property
    def has_rain(self) -> bool:
        """Whether there is an NWP run with rain rates."""
        return self.nwp is not None and RATE in self.nwp

    def __bool__(self) -> bool:
        """Whether any source is available."""
        return any(source is not None for source in (self.nwp, self.terrain, self.stations))


@dataclass(frozen=True)
class _Selection:
    """One source after the selection."""

    data: xr.Dataset | None = None
    """Data that were available at the issue time; None without any."""
    reports: tuple[SourceReport, ...] = ()
    """Reports on its parts, used or left out."""

    @classmethod
    def left_out(cls, source: str, reason: str) -> _Selection:
        """Return the selection of a source that is left out as a whole."""
        return cls(None, (SourceReport(source, source, is_used=False, reason=reason),))


def select_sources(
    recent: xr.DataArray,
    *,
    nwp: xr.Dataset | None = None,
    terrain: xr.Dataset | None = None,
    stations: xr.Dataset | None = None,
    delay: np.timedelta64 = DELAY,
) -> Sources:
    """Select the data that were available at the issue time, which is the last time of `recent`.

    Parameters
    ----------
    recent
        Precipitation field up to the issue time.
    nwp
        NWP fields, as returned by `hybridcast.open_nwp`.
    terrain
        Heights on the grid of `recent`, as returned by `hybridcast.open_terrain`.
    stations
        Station reports, as returned by `hybridcast.open_stations`. They are checked against each other and against
        the radar, after correction for the clock offset (see `determine_clock_offset`).
    delay
        Time from the start of an NWP run until its fields are available.

    Raises
    ------
    InputError
        If a source violates its schema, or `terrain` is on another grid.
    """
    runs = _select_nwp_runs(nwp, recent, delay)
    heights = _select_terrain(terrain, recent)
    reports, offset = _select_station_reports(stations, recent)
    return Sources(runs.data, heights.data, reports.data, offset, (*runs.reports, *heights.reports, *reports.reports))


def _select_nwp_runs(nwp: xr.Dataset | None, recent: xr.DataArray, delay: np.timedelta64) -> _Selection:
    if nwp is None:
        return _Selection()
    kept, found = find_available_runs(nwp, recent["time"].values[-1], delay)
    reports = tuple(replace(report, name=f"nwp run {report.name}") for report in found)
    if not kept.sizes["reference_time"]:
        return _Selection(None, reports) if reports else _Selection.left_out("nwp", "holds no run")
    reason = _reason_against_nwp(kept, recent)
    return _Selection(kept, reports) if reason is None else _Selection.left_out("nwp", reason)


def _reason_against_nwp(nwp: xr.Dataset, recent: xr.DataArray) -> str | None:
    """Return the reason why the NWP has no value on the grid of the radar; None if it has values."""
    if crs_of(nwp) is None and crs_of(recent) is None:
        check_same_grid(nwp, recent, "NWP and radar without a known place")
        return None if _has_values(nwp) else "it holds no value"
    if crs_of(nwp) is None or crs_of(recent) is None:
        return "the place of the radar is not known" if crs_of(nwp) is not None else "its place is not known"
    few = recent.isel(time=-1)[:: max(1, recent.sizes["y"] // 8), :: max(1, recent.sizes["x"] // 8)]
    on_few_cells = regrid_to_radar(nwp, few, nwp["reference_time"].values[0] + nwp["lead_time"].values)
    return None if _has_values(on_few_cells) else "it lies elsewhere"


def _has_values(nwp: xr.Dataset) -> bool:
    return any(bool(np.isfinite(values.values).any()) for values in nwp.data_vars.values())


def _select_terrain(terrain: xr.Dataset | None, recent: xr.DataArray) -> _Selection:
    if terrain is None:
        return _Selection()
    if "surface_altitude" not in terrain:
        raise InputError(
            f"terrain holds {list(terrain.data_vars)}",
            "it holds surface_altitude (m) on the radar's grid",
            "Use open_terrain(path, radar)",
        )
    check_same_grid(terrain, recent, "terrain and radar")
    if not np.isfinite(terrain["surface_altitude"].values).any():
        return _Selection.left_out("terrain", "no height is known on the radar's grid")
    return _Selection(terrain, (SourceReport("terrain", "terrain"),))


def _select_station_reports(stations: xr.Dataset | None, recent: xr.DataArray) -> tuple[_Selection, np.timedelta64]:
    """Select station reports, and determine their clock offset."""
    if stations is None:
        return _Selection(), NO_OFFSET
    issue = recent["time"].values[-1]
    known = select_available_reports(check_stations(stations), issue)
    known = known.isel(time=known["time"].values >= recent["time"].values[0])
    if "x" not in known.coords and crs_of(recent) is None:
        return _Selection.left_out("stations", "the place of the radar is not known"), NO_OFFSET
    inside = np.isfinite(collocate(known, recent)).all(axis=1)
    if not inside.any():
        reason = f"{known.sizes['station']}, none of them on the radar's grid{_remark_exchanged(known, recent)}"
        return _Selection.left_out("stations", reason), NO_OFFSET
    known = known.isel(station=inside)
    offset = determine_clock_offset(known, recent)
    reports, quality = quality_control(known, recent, offset=offset)
    reported = np.isfinite(reports[RATE].values).any(axis=0)
    if not reported.any():
        reason = f"{quality}; no report is left" if quality.values else _describe_absence(stations, recent)
        return _Selection.left_out("stations", reason), NO_OFFSET
    age = (issue - reports["time"].values[reported][-1]) / MINUTE
    if age > max(STALE / MINUTE, 2 * get_interval(reports) / MINUTE):
        return _Selection.left_out("stations", f"the last report is {age:g} min old"), NO_OFFSET
    count = int(np.isfinite(reports[RATE].values).any(axis=1).sum())
    clock = f", rain {offset / MINUTE:g} min later than by the radar's clock" if offset else ""
    report = SourceReport("stations", f"{count} stations", age=f"{age:g} min old{clock}")
    return _Selection(reports, (report, *_report_not_done(quality), *_report_left_out(stations))), offset


def _describe_absence(stations: xr.Dataset, recent: xr.DataArray) -> str:
    """Return why there is no report to use: what was left out of the files, and of which times the reports are."""
    left_out = str(stations.attrs.get(LEFT_OUT, ""))
    reported = stations["time"].values[np.isfinite(stations[RATE].values).any(axis=0)]
    if not reported.size:
        return left_out or "no report is left, as none has a value"
    first, last, begin, issue = (
        str(time)[:16].replace("T", " ") for time in (*reported[[0, -1]], *recent["time"].values[[0, -1]])
    )
    absent = f"no report from {begin} to {issue} UTC on the radar's grid; all are from {first} to {last} UTC"
    return "; ".join(filter(None, [absent, left_out]))


def _remark_exchanged(stations: xr.Dataset, recent: xr.DataArray) -> str:
    """Return a remark if stations would be on the grid with latitude and longitude exchanged; otherwise nothing."""
    if "latitude" not in stations.coords or (np.abs(stations["longitude"].values) > 90).any():
        return ""
    latitude, longitude = stations["latitude"].values, stations["longitude"].values
    exchanged = stations.assign_coords(latitude=("station", longitude), longitude=("station", latitude))
    count = int(np.isfinite(collocate(exchanged, recent)).all(axis=1).sum())
    return f"; {count} would be with latitude and longitude exchanged" if count else ""


def _report_not_done(quality: QualityReport) -> tuple[SourceReport, ...]:
    """Return a report on the checks of the stations that could not be done, if there are any."""
    reason = "; ".join(quality.not_done)
    return (SourceReport("stations", "checks of stations", is_used=False, reason=reason),) if reason else ()


def _report_left_out(stations: xr.Dataset) -> tuple[SourceReport, ...]:
    """Return a report on the stations that were left out when their files were read, if there are any."""
    reason = stations.attrs.get(LEFT_OUT)
    return (SourceReport("stations", "stations", is_used=False, reason=str(reason)),) if reason else ()


def determine_clock_offset(stations: xr.Dataset, recent: xr.DataArray) -> np.timedelta64:
    """Return the time by which rain at the stations is later than the time stamps of the radar.

    ``attrs["clock_offset_minutes"]`` of the reports is used if present; it is best estimated once, over days of radar,
    by `hybridcast.stations.clock.clock_offset`. Otherwise the offset is estimated from `recent`, and it is zero if
    there is too little rain at the stations for an estimate.
    """
    if OFFSET in stations.attrs:
        return np.timedelta64(round(60 * float(stations.attrs[OFFSET])), "s")
    estimate = clock_offset(stations, recent)
    return np.timedelta64(0, "s") if estimate is None else estimate.offset


def coarsen_sources(sources: Sources, recent: xr.DataArray, coarse: xr.DataArray, spacing: float) -> Sources:
    """Average the sources that are on the radar's grid onto the grid of `coarse`, whose cells measure `spacing` (m).

    NWP fields on a grid of their own are left as they are.
    """
    if coarse.shape[-2:] == recent.shape[-2:]:
        return sources
    terrain, nwp = sources.terrain, sources.nwp
    if terrain is not None:
        terrain = terrain_dataset(coarsen(terrain["surface_altitude"], spacing).values, coarse)
    if nwp is not None and crs_of(nwp) is None:
        nwp = xr.Dataset({name: coarsen(nwp[name], spacing) for name in nwp.data_vars}, attrs=nwp.attrs)
    return replace(sources, terrain=terrain, nwp=nwp)


def compute_source_predictors(
    sources: Sources, recent: xr.DataArray, motion: xr.Dataset, lead_times: NDArray[np.timedelta64]
) -> dict[str, Array] | None:
    """Compute the predictors of all sources; None without any source.

    Parameters
    ----------
    sources
        Sources on the grid of `recent`.
    recent
        Precipitation field up to the issue time, on cells of about 2 km.
    motion
        Motion of the rain, as returned by `hybridcast.estimate_motion`.
    lead_times
        ``timedelta64`` from the last time of `recent`, shape ``(lead,)``.

    Returns
    -------
    dict or None
        Fields by the names in `hybridcast.predictors.registry.SOURCE_PREDICTORS`: float32, shape ``(lead, y, x)``, or
        ``(y, x)`` if they do not depend on the lead time.
    """
    if not sources:
        return None
    fields: dict[str, Array] = {}
    if sources.nwp is not None:
        on_grid = regrid_to_radar(sources.nwp, recent, nwp_field_times(recent, lead_times))
        fields |= compute_nwp_predictors(on_grid, recent, lead_times)
    if sources.terrain is not None:
        u, v = (motion[name].transpose("y", "x").values for name in ("u", "v"))
        fields |= compute_terrain_predictors(sources.terrain, u, v)
    if sources.stations is not None:
        fields |= compute_station_predictors(sources.stations, recent, offset=sources.clock_offset)
    return fields


def compute_guidance_wind(sources: Sources, recent: xr.DataArray) -> xr.Dataset | None:
    """Return the NWP wind at the issue time on the grid of `recent`; None without any."""
    if sources.nwp is None or not set(WIND) <= set(sources.nwp.data_vars):
        return None
    issue = recent["time"].values[-1]
    return steering_wind(regrid_to_radar(sources.nwp[list(WIND)], recent, [issue]), issue)


def add_wind_guidance(method: MotionMethod, sources: Sources, recent: xr.DataArray) -> MotionMethod:
    """Return `method` with the NWP wind as the motion far from echoes; `method` itself if there is no wind."""
    wind = compute_guidance_wind(sources, recent)
    return method if wind is None else WindGuidedFlow(method, wind)


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
