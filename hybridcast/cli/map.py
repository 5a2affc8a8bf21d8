"""The commands ``map`` and ``serve``: a forecast on a map in a browser, and a server for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridcast.cli.options import out, say, say_written, step
from hybridcast.cli.places import open_recent_radar

Forecast = Annotated[Path, typer.Argument(help="A forecast that 'hybridcast forecast' wrote (.nc or .zarr).")]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder of the page; made if it does not exist.")]
Radar = Annotated[
    list[str] | None,
    typer.Option(help="Radar files that the forecast was made from, of which the last hour is shown; repeatable."),
]
Places = Annotated[
    Path | None, typer.Option(help="Places to show, with their warning levels: see 'hybridcast places --help'.")
]
Title = Annotated[str, typer.Option(help="Name of the region, shown on the page.")]
Tiles = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Map tiles of yours or of a provider, such as https://tiles.example.org/{z}/{x}/{y}.png; by default "
        "coastlines and borders that come with the package.",
    ),
]
Attribution = Annotated[str, typer.Option(help="Who made the radar data and the tiles, shown on the page.")]

Served = Annotated[Path, typer.Argument(help="Folder of a map page: of 'map', 'demo', or a region of 'watch'.")]
Host = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers in.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for any that is free.")]


def map_(
    forecast: Forecast,
    folder: Folder = Path("map"),
    radar: Radar = None,
    places: Places = None,
    title: Title = "",
    tiles: Tiles = None,
    attribution: Attribution = "",
) -> None:
    """Write a map page of a forecast: rain, probabilities, members, meteograms and places in a browser.

    Open index.html by a double click, or put the folder on any web server; no network and no other program is needed.
    Written again into the same folder, also pages that are open show the new forecast.

    Examples:

        hybridcast map forecast.nc -o out --radar 'radar/*.h5'
        hybridcast map out/forecast.nc -o out --places places.toml && hybridcast serve out
    """
    from hybridcast.core.forecast_files import load_forecast
    from hybridcast.webmap import PageSettings, write_map

    settings = PageSettings(tiles=tiles, attribution=attribution)
    with step("reading"):
        result = load_forecast(forecast)
        observed = open_recent_radar(radar, result)
    with step("drawing"):
        index = write_map(result, folder, radar=observed, places=places, title=title, file=forecast, settings=settings)
    say_written(folder)
    out.print(f"open {index} in a browser", highlight=False, soft_wrap=True)


def serve(folder: Served, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve a map page and an API of its newest forecast, to this computer only unless told otherwise.

    The page follows new forecasts of 'hybridcast watch' (with map = true), 'map' or 'demo'. Nothing can be written,
    and nothing outside the folder is reachable. For other computers, put a web server with TLS in front.

    The API says what the newest forecast means for a point or an area, as JSON; /api explains and tries it:

        /latest
        /position?lat=60.17&lon=24.94
        /area?polygon=24.8,60.1;25.2,60.1;25.2,60.3

    Needs the extra 'serve': pip install 'hybridcast[serve]'. The page alone needs no server of ours.

    Examples:

        hybridcast demo -o out && hybridcast serve out
        hybridcast serve watch/north --port 8080
    """
    from hybridcast.webmap.server import run_server

    run_server(folder, host, port, say)
