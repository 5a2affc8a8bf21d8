"""The command archive: years of radar, stations and model runs laid out for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hybridcast.cli.options import out, say

archive = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Lay out years of radar, stations and model runs, to train from: a day in each file.",
)

_OUT = "Folder of the archive to write; give the same again to go on, or to add a region."


@archive.command()
def meteonet(
    root: Annotated[Path, typer.Argument(help="Folder of the download, its tar files extracted.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help=_OUT)],
    zone: Annotated[
        list[str] | None, typer.Option(help="NW or SE; by default those of which there is radar. May be given twice.")
    ] = None,
    nwp: Annotated[str, typer.Option(help="arome (2.5 km) or arpege (10 km): an archive has one of them.")] = "arome",
) -> None:
    """Lay out Météo-France's MeteoNet.

    Files are found by their names, at any depth: rainfall_NW_2016_01.1.npz and radar_coords_NW.npz (needed), NW2016.csv
    (stations), arome_PRECIP_NW_20160101000000.grib with 10m and 2m (model runs), NW_masks.grib (relief). What MeteoNet
    has besides (quality codes, reflectivity, satellite, levels of ARPEGE) is not used, and need not be downloaded.

    A file that is damaged is named and left out; the days that it holds are missing. A run that was stopped goes on
    where it was. OUT/manifest.json says what was read and what was not.

    Example: hybridcast archive meteonet data archive --zone NW

    Then: hybridcast train --archive archive/events.toml --out mymodel
    """
    from hybridcast.datasets.archives import archive_meteonet

    _told(archive_meteonet(root, output, zones=[name.upper() for name in zone or ()], model=nwp, report=say))


@archive.command()
def generic(
    output: Annotated[Path, typer.Argument(metavar="OUT", help=_OUT)],
    radar: Annotated[
        list[str], typer.Option(help="Radar files of one network, a glob in quotes; may be given several times.")
    ],
    stations: Annotated[
        list[str] | None, typer.Option(help="Files of gauges or stations, or a glob; may be given several times.")
    ] = None,
    nwp: Annotated[
        list[str] | None, typer.Option(help="Files of one model's runs, or a glob; may be given several times.")
    ] = None,
    terrain: Annotated[Path | None, typer.Option(help="File of heights: GeoTIFF, NetCDF, GRIB.")] = None,
    region: Annotated[str, typer.Option(help="Name of the radar network; what is left out together.")] = "region",
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of the radar files; by default told from their content.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the manifest.")] = "not stated",
) -> None:
    """Lay out any files that can be read.

    Radar files whose names tell a time are put together by the day that is named; files of many days are parted. They
    are read one at a time. Files of stations have to fit in memory one by one, those of a model's runs by the day.

    Example: hybridcast archive generic archive --radar 'radar/**/*.h5' --nwp 'icon/**/*.grib2' --region north

    Then: hybridcast train --archive archive/events.toml --out mymodel
    """
    from hybridcast.datasets.archives import archive_radar

    events = archive_radar(
        radar,
        output,
        region=region,
        stations=stations,
        nwp=nwp,
        terrain=terrain,
        format=format_,
        licence=licence,
        report=say,
    )
    _told(events)


def _told(events: Path) -> None:
    import json

    regions: dict[str, Any] = json.loads((events.parent / "manifest.json").read_text(encoding="utf-8"))["regions"]
    for name, about in regions.items():
        days, listed = len(about["radar_days"]), len(about["events"])
        others = [
            f"{sum(kind in event for event in about['events'])} with {word}"
            for kind, word in (("stations", "stations"), ("nwp", "model runs"))
        ]
        lost = f"; {len(about['unreadable'])} files unreadable" if about["unreadable"] else ""
        out.print(
            f"{name}: {days} days of radar, {listed} with rain, of these {', '.join(others)}{lost}", highlight=False
        )
    out.print(f"wrote {events} and {events.parent / 'manifest.json'}", highlight=False, soft_wrap=True)
