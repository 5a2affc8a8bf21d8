"""The command ``plot``: a forecast or radar files as maps, probabilities, motion, a meteogram or a film."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from hybridcast.cli.options import (
    FILMS,
    PICTURES,
    check_choice,
    check_suffix,
    parse_numbers,
    parse_time,
    say,
    say_written,
)
from hybridcast.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

KINDS = ("maps", "probabilities", "members", "motion", "meteogram")

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="A forecast that 'hybridcast forecast' wrote (.nc or .zarr); or radar files, or a glob in quotes.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf or .svg; .gif or .mp4 for a film.")
]
Observed = Annotated[
    list[str] | None,
    typer.Option(help="Radar files of the hours after the issue time, to draw beside the forecast; a glob in quotes."),
]
Kind = Annotated[
    str,
    typer.Option(
        help="maps of the rate by lead time; probabilities: maps of the probability to reach --threshold; members of "
        "an ensemble at one of --lead-times; motion: arrows; meteogram: the forecast at --at or --xy, with its "
        "uncertainty."
    ),
]
Threshold = Annotated[float, typer.Option(help="Rate threshold of --kind probabilities, mm/h.")]
LeadTimes = Annotated[
    str | None,
    typer.Option(
        help="Lead times in minutes with commas, such as 30,60,90,120; by default four up to the last, of --kind "
        "members the last."
    ),
]
Members = Annotated[int, typer.Option(min=1, help="Number of members that --kind members draws.")]
Realization = Annotated[
    int | None,
    typer.Option(min=0, help="Number of a member that maps and films show instead of the deterministic field."),
]
At = Annotated[
    str | None, typer.Option(metavar="LAT,LON", help="Latitude and longitude of --kind meteogram, in degrees.")
]
Xy = Annotated[
    str | None, typer.Option(metavar="X,Y", help="Coordinates of --kind meteogram in the units of the grid.")
]
Time = Annotated[str | None, typer.Option(help="Time of the radar frame to draw, UTC; by default the last.")]
Coast = Annotated[bool, typer.Option(help="Draw coastlines and borders.")]


@dataclass(frozen=True)
class _Options:
    """Options of the pictures of a forecast."""

    kind: str
    threshold: float
    lead_times: list[np.timedelta64] | None
    members: int
    realization: int | None
    at: str | None
    xy: str | None
    coast: bool


def plot(
    files: Files,
    output: Output = Path("plot.png"),
    observed: Observed = None,
    kind: Kind = "maps",
    threshold: Threshold = 1.0,
    lead_times: LeadTimes = None,
    members: Members = 6,
    realization: Realization = None,
    at: At = None,
    xy: Xy = None,
    time: Time = None,
    coast: Coast = True,
) -> None:
    """Draw a forecast or radar frames.

    White is dry, grey is unknown: outside radar coverage. Only a forecast from a trained model has probabilities, and
    only one made with --members has members.

    Examples:

        hybridcast plot forecast.nc -o forecast.png --observed 'later/*.h5'
        hybridcast plot forecast.nc -o heavy.png --kind probabilities --threshold 5
        hybridcast plot forecast.nc -o scenarios.png --kind members --lead-times 60
        hybridcast plot forecast.nc -o helsinki.png --kind meteogram --at 60.17,24.94
        hybridcast plot forecast.nc -o film.gif
        hybridcast plot 'radar/*.h5' -o radar.png --kind motion
    """
    from hybridcast.radar import open_radar

    check_suffix(output, (*PICTURES, *FILMS), "-o")
    check_choice(kind, KINDS, "--kind")
    forecast = _load_forecast(files)
    if forecast is None:
        _draw_radar(files, output, kind, time, coast=coast)
    else:
        leads = _parse_lead_times(lead_times)
        options = _Options(kind, threshold, leads, members, realization, at, xy, coast)
        _draw_forecast(forecast, open_radar(observed) if observed else None, output, options)
    say_written(output)


def _load_forecast(files: list[str]) -> xr.Dataset | None:
    """Return the forecast in the single file; None if the files are radar."""
    from hybridcast.core.forecast_files import ZARR, load_forecast

    path = Path(files[0]).expanduser()
    suffix = path.suffix.lower()
    is_candidate = (suffix in {".nc", ".nc4"} and path.is_file()) or (suffix == ZARR and path.is_dir())
    if len(files) != 1 or not is_candidate:
        return None
    try:
        return load_forecast(path)
    except InputError:
        return None  # it has to be radar then; the reader's message explains otherwise


def _draw_radar(files: list[str], output: Path, kind: str, time: str | None, *, coast: bool) -> None:
    """Draw a frame of the radar, or the motion up to it."""
    from hybridcast.motion.estimate import estimate_motion
    from hybridcast.plots import plot_motion, plot_precipitation, save_figure

    if kind not in {"maps", "motion"} or output.suffix.lower() in FILMS:
        found = f"{files[0]} is radar"
        rule = "probabilities, members, meteograms and films are drawn of a forecast"
        raise InputError(found, rule, "Make one with 'hybridcast forecast', or choose --kind maps or motion")
    recent = _read_recent(files, time)
    last = recent.isel(time=-1)
    if kind == "motion":
        save_figure(plot_motion(estimate_motion(recent), last, coast=coast), output)
    else:
        save_figure(plot_precipitation(last, coast=coast), output)


def _read_recent(files: list[str], time: str | None) -> xr.DataArray:
    """Return the last four frames up to `time`."""
    from hybridcast.core.time_steps import iso_time
    from hybridcast.forecasting import INPUT_HISTORY
    from hybridcast.radar import open_radar

    last = parse_time(time, "--time")
    if last is None:
        radar = open_radar(files, history=INPUT_HISTORY)
    else:
        radar = open_radar(files, times=(last - INPUT_HISTORY, last))
    recent = radar.isel(time=slice(-4, None)).compute()
    if last is not None and recent["time"].values[-1] != last:
        say(f"note: the last frame before --time is {iso_time(recent['time'].values[-1])}")
    return recent


def _draw_forecast(forecast: xr.Dataset, observed: xr.DataArray | None, output: Path, options: _Options) -> None:
    from hybridcast.plots import animate_forecast, save_figure

    if output.suffix.lower() not in FILMS:
        save_figure(_make_figure(forecast, observed, options), output)
    elif options.kind == "maps":
        animate_forecast(forecast, output, observed, realization=options.realization, coast=options.coast)
    else:
        raise InputError(f"-o {output} with --kind {options.kind}", "a film is of maps", "Write a .png")


def _make_figure(forecast: xr.Dataset, observed: xr.DataArray | None, options: _Options) -> Figure:
    from hybridcast import plots

    coast, lead_times = options.coast, options.lead_times
    if options.kind == "members":
        lead = _single_lead_time(lead_times)
        return plots.plot_members(forecast, observed, lead_time=lead, count=options.members, coast=coast)
    if options.kind == "meteogram":
        return plots.plot_meteogram(forecast, observed, **_parse_point(options.at, options.xy))
    if options.kind == "motion":
        return plots.plot_motion(forecast, coast=coast)
    if options.kind == "probabilities":
        return plots.plot_probability(
            forecast, observed, threshold=options.threshold, lead_times=lead_times, coast=coast
        )
    return plots.plot_forecast(forecast, observed, lead_times=lead_times, realization=options.realization, coast=coast)


def _single_lead_time(lead_times: list[np.timedelta64] | None) -> np.timedelta64 | None:
    if lead_times is None:
        return None
    if len(lead_times) != 1:
        found = f"--lead-times with {len(lead_times)} of them"
        raise InputError(found, "members are drawn at one lead time", "Write --lead-times 60")
    return lead_times[0]


def _parse_point(at: str | None, xy: str | None) -> dict[str, float]:
    """Return the point as arguments of `plot_meteogram`."""
    if (at is None) == (xy is None):
        raise InputError(f"--at {at}, --xy {xy}", "a meteogram is of one point", "Give --at 60.17,24.94, or --xy X,Y")
    option, text, names = ("--at", at, ("latitude", "longitude")) if at is not None else ("--xy", xy, ("x", "y"))
    rule, example = "it is two numbers with a comma between", "60.17,24.94"
    numbers = parse_numbers(str(text), option, rule, example)
    if len(numbers) != 2:
        raise InputError(f"{option} {text}", rule, f"Write {example}")
    return dict(zip(names, numbers, strict=True))


def _parse_lead_times(text: str | None) -> list[np.timedelta64] | None:
    if text is None:
        return None
    minutes = parse_numbers(text, "--lead-times", "they are minutes with commas between", "30,60,90,120")
    return [np.timedelta64(round(60 * value), "s").astype("timedelta64[ns]") for value in minutes]
