"""The commands ``archive``: years of radar, stations and NWP runs rearranged for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hybridcast.cli.options import (
    NwpFiles,
    RadarFormat,
    StationFiles,
    StationsInterval,
    StationsRain,
    StationsTimeFormat,
    TerrainFile,
    out,
    say,
)

archive = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help="Folder of the archive to write; give the same folder again to continue, or to add a region.",
    ),
]
Download = Annotated[Path, typer.Argument(help="Folder of the download, with its tar files extracted.")]
Zones = Annotated[
    list[str] | None, typer.Option("--zone", help="NW or SE; by default those with radar. Can be repeated.")
]
NwpModel = Annotated[str, typer.Option("--nwp", help="NWP model: arome (2.5 km) or arpege (10 km).")]
RadarFiles = Annotated[
    list[str], typer.Option(help="Radar files of one network, or a glob in quotes; can be repeated.")
]
Region = Annotated[str, typer.Option(help="Name of the radar network, whose events stay together in training.")]
Licence = Annotated[str, typer.Option(help="Licence of the data, for the manifest.")]


@archive.callback()
def _archive() -> None:
    """Rearrange years of radar, stations and NWP runs for training, with one file for each day."""


@archive.command()
def meteonet(root: Download, output: Folder, zone: Zones = None, nwp: NwpModel = "arome") -> None:
    """Rearrange MeteoNet of Météo-France.

    Files are found by their names, in any subfolder: `rainfall_NW_2016_01.1.npz` and `radar_coords_NW.npz` (required),
    `NW2016.csv` (stations), `arome_PRECIP_NW_20160101000000.grib` with `10m` and `2m` (NWP runs), `NW_masks.grib`
    (terrain). Other files of MeteoNet (quality codes, reflectivity, satellite, levels of ARPEGE) are not used and need
    not be downloaded.

    A damaged file is named and left out, and the days in it are missing. A run that was interrupted continues where it
    stopped. OUT/manifest.json lists what was read and what was not.

    Examples:

        hybridcast archive meteonet data archive --zone NW
        hybridcast train --archive archive/events.toml --out mymodel
    """
    from hybridcast.datasets.archives import archive_meteonet

    _report(archive_meteonet(root, output, zones=[name.upper() for name in zone or ()], nwp=nwp, report=say))


@archive.command()
def generic(
    output: Folder,
    radar: RadarFiles,
    stations: StationFiles = None,
    stations_interval: StationsInterval = None,
    stations_time_format: StationsTimeFormat = None,
    stations_rain: StationsRain = None,
    nwp: NwpFiles = None,
    terrain: TerrainFile = None,
    region: Region = "region",
    format_: RadarFormat = None,
    licence: Licence = "not stated",
) -> None:
    """Rearrange any files that hybridcast can read.

    Radar files with a time in their names are combined by day; files of several days are split. Radar files are read
    one at a time. A file of stations has to fit into memory, and so do the NWP runs of a day.

    Examples:

        hybridcast archive generic archive --radar 'radar/**/*.h5' --nwp 'icon/**/*.grib2' --region north
        hybridcast train --archive archive/events.toml --out mymodel
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
        station_options={"interval": stations_interval, "time_format": stations_time_format, "rain": stations_rain},
        report=say,
    )
    _report(events)


def _report(events: Path) -> None:
    """Print the number of days, events and unreadable files of each region of the archive."""
    import json

    manifest = events.parent / "manifest.json"
    regions: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))["regions"]
    for name, region in regions.items():
        with_sources = [
            f"{sum(key in event for event in region['events'])} with {source}"
            for key, source in (("stations", "stations"), ("nwp", "NWP runs"))
        ]
        unreadable = f"; {len(region['unreadable'])} files unreadable" if region["unreadable"] else ""
        out.print(
            f"{name}: {len(region['radar_days'])} days of radar, {len(region['events'])} with rain, of these "
            f"{', '.join(with_sources)}{unreadable}",
            highlight=False,
            soft_wrap=True,
        )
    out.print(f"wrote {events} and {manifest}", highlight=False, soft_wrap=True)
