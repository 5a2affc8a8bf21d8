"""The command ``places``: what a forecast says of places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from hybridcast.cli.options import check_suffix, out, parse_numbers, say, say_written, step
from hybridcast.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".csv", ".parquet", ".json")
#: Most places that are listed on the screen.
_MOST = 20

Forecast = Annotated[Path, typer.Argument(help="A forecast that 'hybridcast forecast' wrote (.nc or .zarr).")]
PlacesFile = Annotated[
    Path,
    typer.Option(
        "--places",
        help="places.toml, GeoJSON, or a vector file such as a GeoPackage (pip install 'hybridcast[places]').",
    ),
]
Outputs = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="File to write: .csv, .parquet or .json; can be repeated."),
]
Radar = Annotated[
    list[str] | None,
    typer.Option(
        help="Radar files that the forecast was made from: rain before the issue time counts in the sums then; a glob "
        "in quotes; can be repeated."
    ),
]
Thresholds = Annotated[
    str | None, typer.Option(help="Rates in mm/h with commas, whose probabilities are wanted, such as 0.1,1,5.")
]
Levels = Annotated[
    list[str] | None,
    typer.Option("--level", help="Warning level of places without their own: '20 mm in 1h' or '5 mm/h'; repeatable."),
]
Label = Annotated[str, typer.Option(help="Property of the features that names the places.")]
Layer = Annotated[str | None, typer.Option(help="Layer of a vector file with several.")]
Buffer = Annotated[float | None, typer.Option(help="Distance around each place within which rain counts, m.")]
Crs = Annotated[
    str | None,
    typer.Option(help="CRS of the places, such as EPSG:3067, or grid, if the file does not state it."),
]


def places(
    forecast: Forecast,
    places_file: PlacesFile,
    output: Outputs = None,
    radar: Radar = None,
    thresholds: Thresholds = None,
    level: Levels = None,
    label: Label = "name",
    layer: Layer = None,
    buffer: Buffer = None,
    crs: Crs = None,
) -> None:
    """Say what a forecast means for places: minutes to rain, amounts, probabilities, warning levels.

    Points, and areas such as catchments or districts. A forecast made with --members has the uncertainty of all; from
    one without, what is missing is said. Empty values are unknown, never dry.

    A places.toml:

        levels = ["20 mm in 1h", "slippery"]   # of all places without their own

        [[level]]
        name = "slippery"
        rate = 5.0               # mm/h
        raise_at = 0.4           # probability that raises a warning
        clear_at = 0.2           # and below which it is cleared
        statistic = "maximum"    # of an area: anywhere in it

        [[place]]
        name = "airport"
        latitude = 60.32
        longitude = 24.96

        [[place]]
        name = "A4, west"
        line = [[24.1, 60.2], [24.6, 60.25]]   # longitude, latitude
        buffer = 2000.0                        # m

        [[file]]
        path = "catchments.gpkg"
        label = "river"

    Examples:

        hybridcast places forecast.zarr --places places.toml
        hybridcast places forecast.zarr --places places.toml --radar 'radar/*.h5' -o places.csv -o places.json
        hybridcast places forecast.zarr --places districts.gpkg --label district --level '30 mm in 1h' -o places.parquet

    Exit status: 0 written, 1 an error, with what to change.
    """
    from hybridcast.core.forecast_files import load_forecast
    from hybridcast.places import at_places, read_places, write_places

    for path in output or ():
        check_suffix(path, SUFFIXES, "-o")
    rates = None if thresholds is None else parse_numbers(thresholds, "--thresholds", "they are rates, mm/h", "0.1,1,5")
    found = read_places(places_file, label=label, layer=layer, buffer=buffer, levels=level or (), crs=crs)
    with step("reading"):
        result = load_forecast(forecast)
        observed = open_recent_radar(radar, result)
    with step("places"):
        table = at_places(result, found, radar=observed, thresholds=rates)
    list_places(table)
    for path in output or ():
        say_written(write_places(table, path))


def open_recent_radar(files: list[str] | None, result: xr.Dataset) -> xr.DataArray | None:
    """Return the frames of the two hours up to the issue time."""
    from hybridcast.forecasting import INPUT_HISTORY
    from hybridcast.radar import open_radar

    if not files:
        return None
    if "reference_time" not in result.coords:
        found = "the forecast has no reference_time"
        raise InputError(found, "radar is put before the issue time", "Leave out --radar")
    (issue,) = result["reference_time"].values.reshape(1)
    return open_radar(files, times=(issue - INPUT_HISTORY, issue)).load()


def list_places(table: xr.Dataset) -> None:
    """Print a line for each place, and what is missing."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for name in ("place", "rain", "in min", "to min", "warning level", "probability"):
        shown.add_column(name, justify="left" if name in {"place", "warning level"} else "right")
    for number in range(min(table.sizes["place"], _MOST)):
        shown.add_row(*_describe_place(table.isel(place=number, statistic=0)))
    out.print(shown)
    if table.sizes["place"] > _MOST:
        out.print(f"and {table.sizes['place'] - _MOST} more places", highlight=False)
    if table.attrs["missing"]:
        say(f"note: {table.attrs['missing']}")


def _describe_place(place: xr.Dataset) -> tuple[str, ...]:
    """Return the row of one place: the chance of rain, when it comes and ends, and its likeliest warning level."""
    from rich.markup import escape

    name = escape(str(place["place"].values))
    if str(place["position"].values) == "outside":
        return name, "outside the grid", "", "", "", ""
    chance, onset, end = (float(place[name]) for name in ("probability_of_rain", "minutes_to_rain", "minutes_to_end"))
    if 0.5 in place["quantile"].values:
        middle = place.sel(quantile=0.5)
        onset = _first(float(middle["minutes_to_rain_quantile"]), onset)
        end = _first(float(middle["minutes_to_end_quantile"]), end)
    level, probability = _likeliest(place)
    return name, _percent(chance), _whole(onset), _whole(end), escape(level), _percent(probability)


def _likeliest(place: xr.Dataset) -> tuple[str, float]:
    probabilities = place["warning_probability"].values
    if not place.sizes.get("level", 0) or not (probabilities == probabilities).any():
        return "", float("nan")
    row = int(np.nanargmax(probabilities))
    return str(place["level"].values[row]), float(probabilities[row])


def _first(value: float, other: float) -> float:
    return value if value == value else other


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value == value else "unknown"


def _whole(value: float) -> str:
    return f"{value:.0f}" if value == value else "-"
