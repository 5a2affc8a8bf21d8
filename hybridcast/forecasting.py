"""Forecast from recent radar frames and other sources."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast._version import __version__
from hybridcast.core.device import with_device
from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.field import check_precipitation
from hybridcast.core.forecast_files import Packing, check_target, load_forecast, save_forecast
from hybridcast.core.forecast_schema import add_unknown_fraction
from hybridcast.core.lazy_values import load_values
from hybridcast.core.listing import list_first
from hybridcast.core.memory import check_fits
from hybridcast.core.packed_frames import holds_any, pack_frames
from hybridcast.core.source_report import SourceReport, render_reports
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE, LeadTimes, Mask
from hybridcast.core.zarr_folders import is_large
from hybridcast.errors import InputError, InputWarning
from hybridcast.motion.screening import REJECTED, REJECTED_FRACTION, Rejection, screen_frames
from hybridcast.nowcasters.base import DescribesSettings, MakesBands, MakesMembers, Nowcaster, TakesSources
from hybridcast.nwp.availability import DELAY
from hybridcast.predictors.sources import Sources, select_sources
from hybridcast.settings import check_whole
from hybridcast.stations.adjustment import adjust_radar
from hybridcast_kernels.devices import Device

#: Length of the radar history that a forecast uses; no method needs more, and it bounds what is loaded of an archive.
INPUT_HISTORY = np.timedelta64(2, "h")
#: Shortest default interval between lead times; a radar of 2 min would otherwise result in sixty lead times in 2 h.
MIN_STEP = np.timedelta64(5, "m")
#: Largest number of members of an ensemble; more are a slip, and their numbers alone would fill the memory.
MAX_MEMBERS = 10_000
#: Largest seed of the members of an ensemble, the largest that random numbers of every library accept.
MAX_SEED = 2**32 - 1


def forecast(
    radar: xr.DataArray,
    *,
    lead_time: Duration = "2h",
    step: Duration | None = None,
    issue_time: datetime | str | np.datetime64 | None = None,
    nowcaster: Nowcaster | str | Path = "default",
    thresholds: Sequence[float] | None = None,
    device: Device = "auto",
    stations: xr.Dataset | None = None,
    nwp: xr.Dataset | None = None,
    nwp_delay: Duration = DELAY,
    terrain: xr.Dataset | None = None,
    members: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    packing: Packing = "float16",
) -> xr.Dataset:
    """Forecast precipitation from recent radar frames and, where given, from other sources.

    Sources that are late, stale, or elsewhere are left out, and ``attrs["sources_left_out"]`` states the reason. So are
    frames, or areas of them, that a radar cannot have seen, such as an outage that is coded as dry (see
    `hybridcast.motion.screening`).

    Parameters
    ----------
    radar
        Precipitation field, as `open_radar` returns it: mm h-1, dims ``(time, y, x)``, NaN outside coverage. Missing
        frames are skipped; a single frame is forecast to stay where it is.
    lead_time
        Longest lead time, such as ``"2h"`` or ``"90min"``.
    step
        Interval between lead times. By default the time step of the radar or the smallest multiple of it that is at
        least 5 min (5 min for a single frame).
    issue_time
        Time of issue; nothing after it is used. By default the time of the last frame. If the radar is late, its last
        frame is advected for that much longer, and ``attrs["status"]`` records it.
    nowcaster
        ``"default"``: the trained model that comes with the package, a blend of scale filter, boosted
        trees and a network; or the folder of a model made by ``hybridcast train``; or any nowcaster, such as
        `Advection()`.
    thresholds
        Rates (mm h-1) at which a trained model returns exceedance probabilities, a subset of those it was trained for;
        by default 0.1, 1 and 5.
    device
        "cpu", "cuda", or "auto": the setting of `nowcaster`, and a GPU if one works.
    stations
        Reports of gauges and weather stations, as `open_stations` returns them. Reports that had ended by the issue
        time and pass quality control adjust the radar. ``attrs["clock_offset_minutes"]`` of the reports is the time by
        which the stations record rain later than the radar (see `hybridcast.stations.clock`).
    nwp
        Fields of numerical weather prediction, as `open_nwp` returns them. The newest runs available at the issue time
        are used; their wind moves the rain where there is no echo.
    nwp_delay
        Time from the start of an NWP run until it is available.
    terrain
        Heights, as `open_terrain` returns them.
    members
        Number of members of an ensemble to make beside the deterministic field, at most 10 000: equally likely
        scenarios of the rain, from which the uncertainty of sums, areas and regions follows. By default 0, none.
    seed
        Seed of the members, 0 to 2^32 - 1. The same seed gives the same members for any number of threads, and the
        first `k` of `n` members are those of ``members=k`` (not of `LindaP`).
    out
        Zarr folder to write the forecast to, such as ``"forecast.zarr"``, as `save_forecast` does. By default nothing
        is written.
    packing
        How members are stored in `out`, see `save_forecast`.

    Returns
    -------
    Dataset
        `precipitation_rate`, dims ``("lead_time", "y", "x")``, mm h-1, NaN where unknown; `unknown_fraction`, dims
        ``("lead_time",)``, the fraction of the grid that is unknown; and the motion `u` and `v`, m s-1, of nowcasters
        that use one. A trained model adds `probability_of_exceedance`, dims ``("threshold", "lead_time", "y", "x")``;
        `precipitation_rate_advected`, the result of advection alone; `member_weight`, dims
        ``("member", "threshold", "lead_time")``; and `source_weight`, dims ``("source", "lead_time")``, the weights of
        radar and NWP where both are known. Rain advected in from outside radar coverage is taken from NWP. Attributes
        record how the forecast was made.

        With `members` there is `precipitation_rate_ensemble`, dims ``("realization", "lead_time", "y", "x")``, mm h-1,
        NaN where the rate of every member is unknown. It may be a dask array of one chunk for each lead time, whose
        members are made when they are computed, so take one lead time after the other, as `save_forecast` does.

        Above 4 million cells the fields of a trained model without NWP are dask arrays too, of one chunk for each band
        of 64 rows at all lead times, so that the forecast may be larger than the memory. A band is made when it is
        computed, for all fields that are computed together: take ``result.compute()`` rather than one after the other.
        Where a client of dask.distributed is active, its workers make bands and members.

        With `out` it is the forecast as it was written, opened by `load_forecast` with ``lazy=True``: dask arrays, from
        which every selection is read when it is computed.

    Raises
    ------
    InputError
        If the field violates the contract, times do not fit, `members` or `seed` are out of range, the nowcaster makes
        no members, or `device` is "cuda" and either no GPU works or the nowcaster cannot use one; if the forecast does
        not fit into the memory, or `out` is no Zarr folder that can be written. The message states the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> from hybridcast import precipitation
    >>> times = np.datetime64("2020-01-01") + np.arange(3) * np.timedelta64(10, "m")
    >>> dry = precipitation(np.zeros((3, 40, 50)), time=times, y=np.arange(40) * 1e3, x=np.arange(50) * 1e3, crs=None)
    >>> forecast(dry, lead_time="1h").sizes["lead_time"]
    6
    """
    chosen = with_members(_load_nowcaster(nowcaster, thresholds), members, seed)
    if out is not None:
        check_target(out, packing)
    selected = _select_recent(radar, issue_time)
    leads = build_lead_times(radar, lead_time, step)
    lazy = is_large(selected) and isinstance(chosen, MakesBands)
    if not lazy or nwp is not None:
        check_memory(chosen, selected, leads)
    loaded = pack_frames(selected) if lazy and selected.chunks else check_precipitation(load_values(selected))
    recent, rejections = screen_frames(loaded)
    chosen = with_device(chosen, device)
    delay = parse_duration(nwp_delay, "nwp_delay")
    sources = select_sources(recent, nwp=nwp, terrain=terrain, stations=stations, delay=delay)
    recent, adjustment = _adjust(recent, sources)
    chosen, reports = _with_sources(chosen, sources)
    make = chosen.forecast_lazily if lazy and isinstance(chosen, MakesBands) else chosen.forecast
    result = add_unknown_fraction(make(recent, leads))
    drawn = {"members": int(members), "seed": int(seed)} if members else {}
    present = holds_any(recent)
    reports = [*_report_radar(recent, present, rejections), *reports]
    described = _describe_forecast(recent, present, chosen, drawn) | _describe_sources(sources, reports)
    result = result.assign_attrs(described | result.attrs | adjustment)
    return result if out is None else load_forecast(save_forecast(result, out, packing=packing), lazy=True)


def check_memory(nowcaster: Nowcaster, radar: xr.DataArray, leads: LeadTimes, *, in_bands: str = "") -> None:
    """Raise `InputError` if the fields of a forecast, without members, are larger than the memory left.

    `in_bands` is a remedy where they could be made in bands of rows.
    """
    fields, remedy = leads.size, "Take a part of the grid, or fewer lead times (step=)"
    if isinstance(nowcaster, MakesBands):
        fields *= nowcaster.count_fields()
        remedy = in_bands if in_bands and is_large(radar) else remedy
    rows, columns = radar.sizes["y"], radar.sizes["x"]
    check_fits(f"{fields} fields of {rows} x {columns} cells", 4 * fields * rows * columns / 1e6, remedy)


def with_members(nowcaster: Nowcaster, members: int, seed: int = 0) -> Nowcaster:
    """Return the nowcaster whose forecasts have this number of members; the same nowcaster for 0.

    Raises
    ------
    InputError
        If `members` or `seed` are out of range, or the nowcaster makes no members.
    """
    count, seed = check_whole("members", members, MAX_MEMBERS), check_whole("seed", seed, MAX_SEED)
    if count == 0:
        return nowcaster
    if isinstance(nowcaster, MakesMembers):
        return nowcaster.with_members(count, seed)
    raise InputError(
        f"members = {count} of {nowcaster.name}",
        "it makes no members of an ensemble",
        "Leave out members, or choose a nowcaster that makes them: the trained model (the default), "
        "ScaleFilterEnsemble(), Steps() or LindaP()",
        cli_remedy="Leave out --members, or choose a --nowcaster that makes them: default, scale-filter-ensemble, "
        "steps or linda-p",
    )


def _adjust(recent: xr.DataArray, sources: Sources) -> tuple[xr.DataArray, dict[str, str]]:
    """Return the radar, adjusted to station reports if there are any, and the attribute on the adjustment."""
    if sources.stations is None:
        return recent, {}
    adjusted, report = adjust_radar(recent, sources.stations, offset=sources.clock_offset)
    return adjusted, {"radar_adjustment": str(report)}


def _with_sources(nowcaster: Nowcaster, sources: Sources) -> tuple[Nowcaster, list[SourceReport]]:
    """Return the nowcaster with the sources that it takes, and reports on the sources."""
    if isinstance(nowcaster, TakesSources):
        return nowcaster.with_sources(sources), list(sources.reports)
    ignored = [name for name, data in (("nwp", sources.nwp), ("terrain", sources.terrain)) if data is not None]
    kept = [report for report in sources.reports if not (report.is_used and report.source in ignored)]
    return nowcaster, kept + [
        SourceReport(name, name, False, reason=f"{nowcaster.name} takes none") for name in ignored
    ]


def _describe_sources(sources: Sources, reports: Sequence[SourceReport]) -> dict[str, str]:
    """Return the attributes that name the sources used, and those left out with the reason."""
    names = "sources_used", "sources_left_out"
    attrs = {name: render_reports(reports, used=name == "sources_used") for name in names}
    uses_nwp = any(report.source == "nwp" and report.is_used for report in reports)
    if sources.nwp is not None and uses_nwp and sources.nwp.attrs.get("simulated"):
        attrs["simulated"] = str(sources.nwp.attrs["simulated"])
    return attrs


def _report_radar(recent: xr.DataArray, present: Mask, rejections: Sequence[Rejection]) -> list[SourceReport]:
    """Return reports on the radar, its missing and rejected frames, and the files that were left out.

    `present` says which of the frames hold any value.
    """
    reports = [SourceReport("radar", "radar")] if present.any() else []
    rejected = {rejection.time for rejection in rejections}
    for time in recent["time"].values[~present]:
        if time not in rejected:
            reports.append(SourceReport("radar", f"radar frame {iso_time(time)}", False, reason="missing"))
    reports += [SourceReport("radar", f"radar frame {rejection}", False) for rejection in rejections]
    for attribute, label in (("unreadable_files", "unreadable"), ("forecasts_left_out", "forecasts, no observations")):
        if attribute in recent.attrs:
            reports.append(
                SourceReport(
                    "radar", f"{label}: {list_first(str(recent.attrs[attribute]).split('; '), 5, '; ')}", False
                )
            )
    return reports


def _load_nowcaster(given: Nowcaster | str | Path, thresholds: Sequence[float] | None) -> Nowcaster:
    """Return a nowcaster as it is, or the nowcaster of a trained model."""
    if isinstance(given, str | Path):
        from hybridcast.fusion.hybrid import load_hybrid

        return load_hybrid(given, thresholds)
    if isinstance(given, type) or not isinstance(given, Nowcaster):
        raise InputError(
            f"nowcaster is {given!r}",
            "it is a nowcaster, an object, or the folder of a trained model",
            "Pass, for example, hybridcast.Advection(), or leave it out for the trained model of the package",
        )
    if thresholds is not None:
        raise InputError(
            f"thresholds = {thresholds!r} for {given.name}",
            "only a trained model gives probabilities",
            "Leave out thresholds, or nowcaster",
        )
    return given


def _select_recent(radar: xr.DataArray, issue_time: datetime | str | np.datetime64 | None) -> xr.DataArray:
    """Select the frames available at the issue time; if the radar is late, missing frames are added up to it."""
    if not isinstance(radar, xr.DataArray) or "time" not in radar.coords or radar.sizes.get("time", 0) == 0:
        return check_precipitation(radar)  # raises an error
    times = radar["time"].values
    if not np.issubdtype(times.dtype, np.datetime64) or (times[1:] < times[:-1]).any():
        return check_precipitation(radar)  # raises an error
    if issue_time is None:
        return radar.sel(time=slice(times[-1] - INPUT_HISTORY, None))
    issue = as_datetime64(issue_time)
    recent = radar.sel(time=slice(issue - INPUT_HISTORY, issue))
    if recent.sizes["time"] == 0:
        raise InputError(
            f"issue time {iso_time(issue)} has no frame in the two hours before it",
            "a forecast starts from recent frames",
            f"Choose an issue time from {iso_time(times[0])} to {iso_time(times[-1])}",
        )
    step = time_step(times) or MIN_STEP
    last = recent["time"].values[-1]
    if last == issue:
        return recent
    if (issue - last) % step != np.timedelta64(0):
        raise InputError(
            f"issue time {iso_time(issue)} lies between frames",
            f"it is a whole number of time steps ({step / np.timedelta64(1, 'm'):g} min) after a frame",
            f"Choose {iso_time(last)}",
        )
    return recent.reindex(time=np.arange(recent["time"].values[0], issue + step, step))


def build_lead_times(radar: xr.DataArray, lead_time: Duration, step: Duration | None = None) -> LeadTimes:
    """Return the lead times of a forecast from one step to the longest lead time, ``timedelta64[ns]``.

    The parameters are those of `forecast`.
    """
    longest = parse_duration(lead_time, "lead_time")
    radar_step = time_step(radar["time"].values)
    if step is not None:
        every = parse_duration(step, "step")
    elif radar_step is not None:
        every = radar_step * max(1, int(-(-MIN_STEP // radar_step)))
    else:
        every = MIN_STEP
    if every > longest:
        raise InputError(
            f"step {every / np.timedelta64(1, 'm'):g} min, lead_time {longest / np.timedelta64(1, 'm'):g} min",
            "there is at least one step",
            "Give a longer lead_time or a shorter step",
            cli_remedy="Give a longer --lead-time or a shorter --step",
        )
    leads = (np.arange(1, int(longest / every) + 1) * every).astype("timedelta64[ns]")
    if leads[-1] != longest:
        warnings.warn(
            f"the last lead time is {leads[-1] / MINUTE:g} min, not {longest / MINUTE:g} min, which is no multiple of "
            f"the step, {every / MINUTE:g} min",
            InputWarning,
            stacklevel=3,
        )
    return leads


def _describe_forecast(
    recent: xr.DataArray, present: Mask, nowcaster: Nowcaster, drawn: dict[str, int]
) -> dict[str, Any]:
    """Return the attributes that record how a forecast was made; `drawn` are number and seed of its members.

    `present` says which of the frames hold any value.
    """
    attrs, used = recent.attrs, recent["time"].values[present]
    settings = _describe_settings(nowcaster) | drawn
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Conventions": "CF-1.10",
        "title": "Precipitation nowcast",
        "institution": str(attrs.get("institution", "unknown")),
        "source": f"{nowcaster.name}; radar: {attrs.get('source', 'unknown')}",
        "history": f"{now} hybridcast {__version__} forecast",
        "references": "Germann and Zawadzki (2002), Mon. Wea. Rev. 130, 2859-2873",
        "comment": "NaN is unknown: air that comes from outside radar coverage",
        "hybridcast_version": __version__,
        "settings": json.dumps(settings, default=str),
        "frames_used": ", ".join(iso_time(time) for time in used) or "none",
        **{name: attrs[name] for name in (REJECTED, REJECTED_FRACTION) if name in attrs},
    }


def _describe_settings(nowcaster: Nowcaster) -> dict[str, Any]:
    """Return the settings of a nowcaster by name."""
    if isinstance(nowcaster, DescribesSettings):
        return nowcaster.describe_settings()
    return asdict(nowcaster) if is_dataclass(nowcaster) and not isinstance(nowcaster, type) else {}


__all__ = ["build_lead_times", "check_memory", "forecast", "with_members"]
