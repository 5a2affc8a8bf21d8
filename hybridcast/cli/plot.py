"""The command that draws: a forecast or radar files, as maps, chances, motion, a place or a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from hybridcast.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FILMS = (".gif", ".mp4")
PICTURES = (".png", ".pdf", ".svg")
KINDS = ("maps", "chances", "motion", "place")


def plot(
    files: Annotated[
        list[str],
        typer.Argument(
            help="A forecast that 'hybridcast forecast' wrote; or radar files, or a glob in quotes.", metavar="FILE..."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write: .png, .pdf, .svg; .gif or .mp4 for a film.")
    ] = Path("plot.png"),
    observed: Annotated[
        list[str] | None,
        typer.Option(help="Radar files of the hours after the forecast, beside which it is drawn; a glob in quotes."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="maps of the rate by lead time; chances: maps of the probability of --threshold; motion: arrows; "
            "place: the forecast at --at or --xy, with its uncertainty."
        ),
    ] = "maps",
    threshold: Annotated[float, typer.Option(help="mm/h, of --kind chances.")] = 1.0,
    lead_times: Annotated[
        str | None, typer.Option(help="Minutes with commas, such as 30,60,90,120; by default four up to the last.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="LAT,LON", help="Latitude and longitude in degrees, of --kind place.")
    ] = None,
    xy: Annotated[
        str | None, typer.Option(metavar="X,Y", help="The place in the units of the grid, instead of --at.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Of radar files: the frame to draw, UTC; by default the last.")
    ] = None,
    coast: Annotated[
        bool, typer.Option(help="Coastlines and borders, where cartopy is installed: pip install 'hybridcast\\[maps]'.")
    ] = True,
) -> None:
    """Draw a forecast, or radar.

    White is dry, grey is unknown: what the radar does not see. A forecast from a trained model has chances too.

    Examples:

    hybridcast plot forecast.nc -o forecast.png --observed 'later/*.h5'

    hybridcast plot forecast.nc -o chances.png --kind chances --threshold 5

    hybridcast plot forecast.nc -o helsinki.png --kind place --at 60.17,24.94

    hybridcast plot forecast.nc -o film.gif

    hybridcast plot 'radar/*.h5' -o radar.png --kind motion
    """
    suffix = output.suffix.lower()
    if suffix not in (*PICTURES, *FILMS):
        raise InputError(
            f"-o {output}", f"it ends in {', '.join((*PICTURES, *FILMS))}", f"Write {output.with_suffix('.png')}"
        )
    if kind not in KINDS:
        raise InputError(f"--kind {kind}", "it is a known one", f"Choose one of {', '.join(KINDS)}")
    forecast = _forecast_in(files)
    if forecast is None:
        _draw_radar(files, output, kind, time, coast=coast)
    else:
        options = {"threshold": threshold, "at": at, "xy": xy, "coast": coast, "lead_times": _minutes(lead_times)}
        _draw_forecast(forecast, _opened(observed), output, kind, options)
    typer.echo(f"wrote {output} ({output.expanduser().stat().st_size / 1e6:.1f} MB)")


# --- parts ----------------------------------------------------------------------------------------------------


def _forecast_in(files: list[str]) -> xr.Dataset | None:
    """Return the forecast that the one file holds; None if the files are radar."""
    from hybridcast.forecasting import load_forecast

    path = Path(files[0]).expanduser()
    if len(files) != 1 or path.suffix.lower() not in {".nc", ".nc4"} or not path.is_file():
        return None
    try:
        return load_forecast(path)
    except InputError:
        return None  # then it has to be radar, whose reader says what is wrong


def _opened(files: list[str] | None) -> xr.DataArray | None:
    from hybridcast.radar import open_radar

    return open_radar(files) if files else None


def _draw_radar(files: list[str], output: Path, kind: str, time: str | None, *, coast: bool) -> None:
    """Draw one frame, with the motion up to it if that is asked for."""
    from hybridcast.core.field import as_datetime64, iso_time
    from hybridcast.motion.estimate import estimate_motion
    from hybridcast.plots import plot_motion, plot_precipitation, save_figure
    from hybridcast.radar import open_radar

    if kind not in {"maps", "motion"} or output.suffix.lower() in FILMS:
        found = f"{files[0]} is radar"
        rule = "chances, places and films are drawn of a forecast"
        raise InputError(found, rule, "Make one with 'hybridcast forecast', or choose --kind maps or motion")
    radar = open_radar(files)
    if time is not None:
        radar = radar.sel(time=slice(None, as_datetime64(time)))
    if not radar.sizes["time"]:
        raise InputError(f"--time {time}", "there is a frame at it or before it", "Choose a later one")
    recent = radar.isel(time=slice(-4, None)).compute()
    if time is not None and recent["time"].values[-1] != as_datetime64(time):
        typer.echo(f"note: the last frame before --time is {iso_time(recent['time'].values[-1])}", err=True)
    last = recent.isel(time=-1)
    figure = (
        plot_motion(estimate_motion(recent), last, coast=coast)
        if kind == "motion"
        else plot_precipitation(last, coast=coast)
    )
    save_figure(figure, output)


def _draw_forecast(
    forecast: xr.Dataset, observed: xr.DataArray | None, output: Path, kind: str, options: dict[str, Any]
) -> None:
    from hybridcast import plots

    coast = options["coast"]
    if output.suffix.lower() in FILMS:
        if kind != "maps":
            raise InputError(f"-o {output} with --kind {kind}", "a film is of maps", "Write a .png")
        plots.animate_forecast(forecast, output, observed, coast=coast)
        return
    if kind == "place":
        figure = plots.plot_meteogram(forecast, observed, **_place(options["at"], options["xy"]))
    elif kind == "motion":
        figure = plots.plot_motion(forecast, coast=coast)
    elif kind == "chances":
        figure = plots.plot_probability(
            forecast, observed, threshold=options["threshold"], lead_times=options["lead_times"], coast=coast
        )
    else:
        figure = plots.plot_forecast(forecast, observed, lead_times=options["lead_times"], coast=coast)
    plots.save_figure(figure, output)


def _place(at: str | None, xy: str | None) -> dict[str, float]:
    """Return the place as `plot_meteogram` takes it."""
    if (at is None) == (xy is None):
        raise InputError(f"--at {at}, --xy {xy}", "--kind place needs one place", "Give --at 60.17,24.94, or --xy X,Y")
    names = ("latitude", "longitude") if at is not None else ("x", "y")
    try:
        first, second = (float(word) for word in str(at if at is not None else xy).split(","))
    except ValueError as error:
        raise InputError(
            f"the place {at or xy!r}", "it is two numbers with a comma between", "Write 60.17,24.94"
        ) from error
    return dict(zip(names, (first, second), strict=True))


def _minutes(text: str | None) -> list[np.timedelta64] | None:
    """Return lead times in minutes as timedelta64."""
    if text is None:
        return None
    try:
        return [np.timedelta64(round(60 * float(word)), "s").astype("timedelta64[ns]") for word in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--lead-times {text}", "they are minutes with commas between", "Write 30,60,90,120"
        ) from error
