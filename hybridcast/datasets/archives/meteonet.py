"""A download of Météo-France's MeteoNet, laid out for training.

What is looked for below its folder, at any depth, once its tar files are extracted (MeteoNet documents the layout at
https://meteofrance.github.io/meteonet/english/data/summary/):

- ``rainfall_NW_2016_01.1.npz``: radar, 5 min, a third of a month in each, and ``radar_coords_NW.npz``;
- ``NW2016.csv`` (or ``NW_Ground_Stations_2016.csv``): stations, 6 min, a year in each;
- ``arome_PRECIP_NW_20160101000000.grib``, and the same with ``10m`` and ``2m``: a run of 00 UTC, to 24 h, and
  ``arpege`` likewise; ``.nc`` too, if it follows CF;
- ``NW_masks.grib``: the relief.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write
from hybridcast.datasets.archives.frames import CHUNK_FRAMES, HUNDREDTHS, Named, write_stores
from hybridcast.datasets.archives.listing import Region, write_lists
from hybridcast.datasets.archives.others import by_run_day, write_runs, write_table_by_month
from hybridcast.datasets.archives.records import Report, Work, lay_out
from hybridcast.errors import InputError
from hybridcast.radar.meteonet_npz import COMPOSITE, read_blocks

ZONES = ("NW", "SE")
MODELS = ("arome", "arpege")
LICENCE = "Etalab Open Licence 2.0"
#: Files of a model: rain, wind and what is at 2 m. The pressure is of no use here, nor are ARPEGE's levels.
_LEVELS = ("PRECIP", "10m", "2m")


def archive_meteonet(
    root: str | Path,
    out: str | Path,
    *,
    zones: Sequence[str] | None = None,
    model: str = "arome",
    report: Report = lambda line: None,
) -> Path:
    """Lay out a MeteoNet download as Zarr, Parquet and NetCDF, a day in each, with a list of events for training.

    Files are read one after the other, radar by the hour, stations by the month, so that it needs little memory. What
    is done is not done again: call it again after it was stopped, or when there are more files.

    Parameters
    ----------
    root
        Folder with what was downloaded and extracted.
    out
        Folder of the archive; it is made.
    zones
        ``"NW"``, ``"SE"``; by default those of which there is radar.
    model
        ``"arome"`` or ``"arpege"``: an archive has one of them.
    report
        Told a line for each piece of work.

    Returns
    -------
    Path
        ``events.toml``, for `hybridcast.datasets.events.load_events` and ``hybridcast train --archive``;
        ``manifest.json`` beside it says what was read, what was missing and what could not be read.

    Raises
    ------
    InputError
        If there is no radar of a zone, or its files still lie in tar files.
    """
    root, out = Path(root).expanduser(), Path(out).expanduser()
    if model not in MODELS:
        raise InputError(f"model {model!r}", f"MeteoNet has {' and '.join(MODELS)}", "Choose one of them")
    files = _files_below(root)
    there = [zone for zone in ZONES if _radar_of(files, zone)]
    wanted = list(zones) if zones else there
    for zone in wanted or list(ZONES):
        if zone not in there:
            raise InputError(f"no radar of {zone} in {str(root)!r}", f"there is rainfall_{zone}_*.npz", _remedy(files))
    for zone in wanted:
        events = write_lists(_out_folder(out), _zone(files, zone, out, model, report))
    return events


def _files_below(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{str(root)!r} is no folder", "it holds what was downloaded", "Give the folder")
    return sorted(path for path in root.rglob("*") if path.is_file())


def _remedy(files: Iterable[Path]) -> str:
    packed = [path.name for path in files if path.suffix in (".gz", ".tar")]
    return f"Extract {packed[0]} and what is in it first" if packed else "Give the folder of the download"


def _out_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {str(out)!r} ({error.strerror})", "it is a folder", "Choose another") from error
    return out


def _of_zone(path: Path, zone: str) -> bool:
    return re.search(rf"(?<![A-Za-z]){zone}(?![A-Za-z])", path.name) is not None


def _radar_of(files: Iterable[Path], zone: str) -> list[Path]:
    """Return the radar files of a zone, each name once, in the order of time."""
    found = {path.name: path for path in files if (match := COMPOSITE.match(path.name)) and match[1] == zone}
    return [found[name] for name in sorted(found)]


def _zone(files: list[Path], zone: str, out: Path, model: str, report: Report) -> Region:
    folder = out / zone
    folder.mkdir(exist_ok=True)
    return Region(
        zone,
        f"meteonet-{zone}",
        LICENCE,
        radar=lay_out(_radar_works(files, zone, folder), folder, report),
        stations=lay_out(_station_works(files, zone, folder), folder, report),
        nwp=lay_out(_model_works(files, zone, folder, model), folder, report),
        model=f"{model}-*",
        terrain=_relief(files, zone, out),
    )


def _radar_works(files: list[Path], zone: str, folder: Path) -> list[Work]:
    coordinates = next((path for path in files if path.name == f"radar_coords_{zone}.npz"), None)

    def work(path: Path) -> Work:
        def make() -> dict[str, Any]:
            blocks = _by_day(path, coordinates)
            return {"days": write_stores(blocks, folder / "radar", path.stem, HUNDREDTHS)}

        return Work("radar", path.stem, (path,), make)

    return [work(path) for path in _radar_of(files, zone)]


def _by_day(path: Path, coordinates: Path | None) -> Iterator[Named]:
    for block in read_blocks(path, CHUNK_FRAMES, coordinates):
        days = block["time"].values.astype("datetime64[D]")
        for day in sorted(set(days)):
            yield Named(str(day), block.isel(time=days == day))


def _station_works(files: list[Path], zone: str, folder: Path) -> list[Work]:
    def work(path: Path) -> Work:
        return Work("stations", path.stem, (path,), lambda: write_table_by_month(path, folder / "stations", path.stem))

    return [work(path) for path in files if path.suffix == ".csv" and _of_zone(path, zone)]


def _model_works(files: list[Path], zone: str, folder: Path, model: str) -> list[Work]:
    kinds = tuple(f"{model}_{level}_" for level in _LEVELS)
    named = [
        path
        for path in files
        if path.name.startswith(kinds) and path.suffix in (".grib", ".nc") and _of_zone(path, zone)
    ]

    def work(day: str, paths: list[Path]) -> Work:
        name = f"{model}-{day}"
        return Work("nwp", name, tuple(paths), lambda: write_runs(paths, folder / "nwp", name))

    return [work(day, paths) for day, paths in by_run_day(named).items()]


def _relief(files: list[Path], zone: str, out: Path) -> str | None:
    """Copy the masks of a zone; give their place in the archive, None if there are none."""
    masks = next((path for path in files if path.name == f"{zone}_masks.grib"), None)
    if masks is None:
        return None
    with atomic_write(out / zone / "terrain.grib") as part:
        shutil.copyfile(masks, part)
    return f"{zone}/terrain.grib"
