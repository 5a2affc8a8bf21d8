"""The command ``forecast``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.markup import escape

from hybridcast.cli.options import (
    FILMS,
    PICTURES,
    NwpAccumulation,
    NwpFiles,
    NwpMember,
    NwpRun,
    RadarFormat,
    StationFiles,
    StationsInterval,
    StationsRain,
    StationsTimeFormat,
    TerrainFile,
    check_choice,
    check_suffix,
    err,
    out,
    parse_length,
    parse_numbers,
    parse_time,
    say,
    say_written,
    step,
)
from hybridcast.core.extras import extra
from hybridcast.errors import InputError, InputWarning

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from hybridcast.core.forecast_files import Packing
    from hybridcast.motion.estimate import MotionMethod
    from hybridcast.nowcasters.base import Nowcaster
    from hybridcast.settings import Settings
    from hybridcast_kernels.devices import Device

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...", help="Radar files in any order: paths, URLs, tar or zip files, or a glob in quotes."
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Where to write: a NetCDF file (.nc), or a Zarr folder (.zarr), written faster and, if the grid is "
        "large, while it is made: for many members and for continents. An existing forecast is replaced.",
    ),
]
Plot = Annotated[
    Path | None, typer.Option(help="Picture of the forecast to write: .png, .pdf or .svg; .gif or .mp4 for a film.")
]
LeadTime = Annotated[str, typer.Option(help="The longest lead time, such as 2h or 90min.")]
LeadStep = Annotated[str | None, typer.Option("--step", help="Interval between lead times; by default the radar's.")]
IssueTime = Annotated[
    str | None,
    typer.Option(help="Issue time, UTC, such as 2017-05-09T12:00; by default the last frame. Later data are not used."),
]
NowcasterName = Annotated[
    str,
    typer.Option(
        "--nowcaster",
        help="default (with the trained model of the package), the folder of a model that 'hybridcast train' wrote, "
        "advection, scale-filter, scale-filter-ensemble or persistence; of pysteps: extrapolation, s-prog, anvil, "
        "linda, linda-p or steps.",
    ),
]
Thresholds = Annotated[
    str | None,
    typer.Option(
        help="Rate thresholds of the probabilities of a trained model, mm/h, with commas; by default 0.1,1,5."
    ),
]
Members = Annotated[
    int,
    typer.Option(
        help="Number of equally likely scenarios to write beside the forecast: variable precipitation_rate_ensemble. "
        "20 to 100 are usual; by default none.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the members: the same seed gives the same members.")]
MembersPacking = Annotated[
    str,
    typer.Option(
        "--packing",
        help="How members are stored: float16 (three digits), float32 (exact, twice as large), or packed (steps of "
        "0.01 mm/h, the smallest).",
    ),
]
NwpDelay = Annotated[str, typer.Option(help="Time from the start of an NWP run until it is available.")]
Motion = Annotated[
    str,
    typer.Option(help="Motion method: dense, dis; of pysteps: lucaskanade, vet, darts, proesmans or farneback."),
]
RadarStep = Annotated[
    str | None,
    typer.Option(help="Time step of the radar, such as 5min; by default the usual time between frames."),
]
RadarInterval = Annotated[
    str | None,
    typer.Option(help="Interval of the amounts of radar files that do not state it, such as 5min (NetCDF, GeoTIFF)."),
]
DeviceName = Annotated[str, typer.Option("--device", help="auto (a GPU if one works), cpu or cuda.")]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="TOML file with the tables [motion], [advection] and [scale_filter].")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at an unreadable file instead of leaving it out.")]


def forecast(
    files: Files,
    output: Output = Path("forecast.nc"),
    plot: Plot = None,
    lead_time: LeadTime = "2h",
    lead_step: LeadStep = None,
    issue_time: IssueTime = None,
    format_: RadarFormat = None,
    radar_step: RadarStep = None,
    radar_interval: RadarInterval = None,
    nowcaster: NowcasterName = "default",
    thresholds: Thresholds = None,
    stations: StationFiles = None,
    stations_interval: StationsInterval = None,
    stations_time_format: StationsTimeFormat = None,
    stations_rain: StationsRain = None,
    nwp: NwpFiles = None,
    nwp_delay: NwpDelay = "3h",
    nwp_member: NwpMember = None,
    nwp_accumulation: NwpAccumulation = None,
    nwp_run: NwpRun = None,
    terrain: TerrainFile = None,
    members: Members = 0,
    seed: Seed = 0,
    packing: MembersPacking = "float16",
    motion: Motion = "dense",
    device: DeviceName = "auto",
    settings: SettingsFile = None,
    strict: Strict = False,
) -> None:
    """Forecast precipitation from radar files, and optionally from stations and NWP.

    The forecast has the rain rate and, with a trained model, exceedance probabilities. Stations adjust the radar, and
    NWP adds the rain that comes from outside radar coverage. Of an archive of radar, only the two hours before the
    issue time are read; what is left out or repaired is noted.

    A probability answers for one place and time. For amounts of an hour, of a catchment or of a city, ask for
    --members: scenarios of the rain, each consistent in space and time. Count in how many of them the amount is
    reached; in Python, hybridcast.ensembles does. The first members of many are those of few, but for linda-p.

    Examples:

        hybridcast forecast 'radar/*.pgm.gz' -o forecast.nc --plot forecast.gif
        hybridcast forecast 'radar/*.nc' --nwp 'arome/*.grib2' --stations gauges.csv --lead-time 3h
        hybridcast forecast 'radar/*.h5' --nowcaster mymodel --thresholds 0.5,2,10
        hybridcast forecast 'radar/*.h5' --members 20 --seed 1 -o forecast.zarr
        hybridcast forecast 'https://example.org/radar/*.h5' RV2212141300.tar.bz2
    """
    from hybridcast.core.forecast_files import ZARR, save_forecast
    from hybridcast.core.forecast_schema import load_fields
    from hybridcast.forecasting import forecast as make_forecast
    from hybridcast.forecasting import with_members
    from hybridcast.settings import Settings, load_settings
    from hybridcast.stations import open_stations
    from hybridcast.terrain import open_terrain

    check_suffix(output, (".nc", ".zarr"), "--output")
    if plot is not None:
        check_suffix(plot, (*PICTURES, *FILMS), "--plot")
        with extra("plot", f"--plot {plot}"):
            import matplotlib  # noqa: F401  (an error before anything is read)
    leads = parse_length(lead_time, "--lead-time"), parse_length(lead_step, "--step")
    issue, delay = parse_time(issue_time, "--issue-time"), parse_length(nwp_delay, "--nwp-delay")
    chosen = _choose_nowcaster(nowcaster, motion, load_settings(settings) if settings else Settings(), thresholds)
    with_members(chosen, members, seed)  # an error before anything is read
    numbers = _choose_packing(packing)
    with step("reading radar"):
        steps = {
            "step": parse_length(radar_step, "--radar-step"),
            "interval": parse_length(radar_interval, "--radar-interval"),
        }
        radar = _open_recent(files, format_, issue, steps, strict=strict)
    with step("reading other sources"):
        tables: dict[str, Any] = {
            "interval": parse_length(stations_interval, "--stations-interval"),
            "time_format": stations_time_format,
            "rain": stations_rain,
        }
        reports = open_stations(stations, strict=strict, **tables) if stations else None
        runs = _open_nwp(nwp, nwp_member, nwp_accumulation, nwp_run, strict=strict) if nwp else None
        heights = open_terrain(terrain, radar) if terrain else None
    in_parts = output.suffix.lower() == ZARR
    if not in_parts:
        _check_memory(chosen, radar, leads, with_nwp=runs is not None)
    with step(f"forecasting and writing {output}" if in_parts else "forecasting"):
        result = make_forecast(
            radar,
            lead_time=leads[0],
            step=leads[1],
            issue_time=issue,
            nowcaster=chosen,
            device=_choose_device(device),
            stations=reports,
            nwp=runs,
            nwp_delay=delay,
            terrain=heights,
            members=members,
            seed=seed,
            out=output if in_parts else None,
            packing=numbers,
        )
        result = result if in_parts else load_fields(result)
    if not in_parts:
        with step(f"making {members} members and writing {output}" if members else f"writing {output}"):
            save_forecast(result, output, packing=numbers)
    if plot is not None:
        with step(f"drawing {plot}"):
            _draw(result, plot)
    _report(result)
    say_written(output, *([] if plot is None else [plot]))


def _open_recent(
    files: list[str], format_: str | None, issue: np.datetime64 | None, steps: dict[str, Any], *, strict: bool
) -> xr.DataArray:
    """Return the frames that a forecast at the issue time looks at."""
    from hybridcast.forecasting import INPUT_HISTORY
    from hybridcast.radar import open_radar

    wanted: dict[str, Any] = {"history": INPUT_HISTORY} if issue is None else {"times": (issue - INPUT_HISTORY, issue)}
    radar = open_radar(files, format_, strict=strict, **wanted, **steps)
    if "files_outside_period" in radar.attrs:
        first, last = (str(time)[:16].replace("T", " ") for time in radar["time"].values[[0, -1]])
        say(f"radar: frames from {first} to {last} UTC; {radar.attrs['files_outside_period']} other files not used")
    return radar


def _check_memory(chosen: Nowcaster, radar: xr.DataArray, leads: tuple[Any, Any], *, with_nwp: bool) -> None:
    """Refuse a forecast whose file is written at the end, and whose fields do not fit into the memory."""
    from hybridcast.forecasting import build_lead_times, check_memory

    with warnings.catch_warnings(action="ignore", category=InputWarning):  # given when the forecast is made
        lead_times = build_lead_times(radar, *leads)
    remedy = "" if with_nwp else "Write to a Zarr folder, -o forecast.zarr, which is made in parts"
    check_memory(chosen, radar, lead_times, in_bands=remedy)


def _open_nwp(
    files: list[str], member: str | None, accumulation: str | None, run: str | None, *, strict: bool
) -> xr.Dataset:
    from hybridcast.nwp import open_nwp

    start = parse_time(run, "--nwp-run")
    return open_nwp(files, member=member, accumulation=accumulation, run=start, strict=strict)


def _choose_nowcaster(name: str, motion: str, settings: Settings, thresholds: str | None) -> Nowcaster:
    """Return the nowcaster with this name, or that of the trained model in this folder."""
    from dataclasses import replace

    from hybridcast.fusion.hybrid import load_hybrid
    from hybridcast.registry import nowcasters_along

    method = _choose_motion(motion, settings)
    untrained = nowcasters_along(method, settings)
    if name != "default" and not Path(name).is_dir():
        check_choice(name, ["default", *untrained], "--nowcaster")
    if name not in untrained:
        return replace(load_hybrid(name, _parse_thresholds(thresholds)), motion=method)
    if thresholds is not None:
        rule = "only a trained model gives probabilities"
        raise InputError(f"--thresholds for {name}", rule, "Leave it out, or --nowcaster")
    return untrained[name]()


def _choose_motion(name: str, settings: Settings) -> MotionMethod:
    from hybridcast.registry import motion_methods

    methods = motion_methods(settings)
    check_choice(name, methods, "--motion")
    return methods[name]()


def _choose_device(name: str) -> Device:
    check_choice(name, ("auto", "cpu", "cuda"), "--device")
    return cast("Device", name)


def _choose_packing(name: str) -> Packing:
    from hybridcast.core.forecast_files import Packing

    check_choice(name, get_args(Packing), "--packing")
    return cast("Packing", name)


def _parse_thresholds(text: str | None) -> list[float] | None:
    if text is None:
        return None
    return parse_numbers(text, "--thresholds", "they are numbers with commas between", "0.1,1,5")


def _draw(result: xr.Dataset, path: Path) -> None:
    from hybridcast.plots import animate_forecast, plot_forecast, save_figure

    if path.suffix.lower() in FILMS:
        animate_forecast(result, path)
    else:
        save_figure(plot_forecast(result), path)


def _report(result: xr.Dataset) -> None:
    """Print what the forecast is, its sources, and what was left out or repaired."""
    issued = str(result["reference_time"].values)[:16].replace("T", " ")
    leads = result["lead_time"].values
    longest = leads[-1].astype("timedelta64[m]").astype(int)
    unknown = float(result["unknown_fraction"][-1])
    members = f"{result.sizes['realization']} members, " if "realization" in result.sizes else ""
    out.print(
        f"issued {issued} UTC by {result.attrs['nowcaster']}: {leads.size} lead times to +{longest} min, "
        f"{members}{unknown:.0%} of the grid unknown at the last",
        highlight=False,
        soft_wrap=True,
    )
    for line in _describe_sources(result.attrs):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    for name in ("status", "motion_status", "fallback"):
        if result.attrs.get(name, "ok") not in {"ok", "estimated"}:
            err.print(f"[yellow]note:[/] {escape(result.attrs[name])}", highlight=False, soft_wrap=True)


def _describe_sources(attrs: dict[str, Any]) -> list[str]:
    """Return lines about the sources that were used and left out, if there are others than the radar."""
    sources = {"sources": attrs["sources_used"], "left out": attrs["sources_left_out"]}
    lines = [f"{name}: {value}" for name, value in sources.items() if value not in {"radar", "none"}]
    return [*lines, attrs["radar_adjustment"]] if "radar_adjustment" in attrs else lines
