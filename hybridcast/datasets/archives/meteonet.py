"""Archives from a download of Météo-France's MeteoNet.

These files are found at any depth below its folder, once its tar files are extracted (the layout is documented at
https://meteofrance.github.io/meteonet/english/data/summary/):

- ``rainfall_NW_2016_01.1.npz``: radar, 5 min, a third of a month in each, and ``radar_coords_NW.npz``;
- ``NW2016.csv`` (or ``NW_Ground_Stations_2016.csv``): stations, 6 min, a year in each;
- ``arome_PRECIP_NW_20160101000000.grib``, and the same with ``10m`` and ``2m``: a run of 00 UTC to 24 h; the same for
  ``arpege``; ``.nc`` files too, if they follow CF;
- ``NW_masks.grib``: terrain heights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hybridcast.core.files import atomic_write
from hybridcast.datasets.archives.frames import CHUNK_FRAMES, HUNDREDTHS, StoreFrames, write_stores
from hybridcast.datasets.archives.listing import ArchivedRegion, write_lists
from hybridcast.datasets.archives.nwp_files import group_by_run_day, write_runs
from hybridcast.datasets.archives.records import Report, Task, run_tasks
from hybridcast.datasets.archives.station_files import write_station_table
from hybridcast.errors import InputError
from hybridcast.radar.meteonet_npz import COMPOSITE, read_blocks

ZONES = ("NW", "SE")
NWP_MODELS = ("arome", "arpege")
LICENCE = "Etalab Open Licence 2.0"
#: Kinds of NWP files used: rain, wind at 10 m, and fields at 2 m. Pressure and the levels of ARPEGE are not used.
_KINDS = ("PRECIP", "10m", "2m")


def archive_meteonet(
    root: str | Path,
    out: str | Path,
    *,
    zones: Sequence[str] | None = None,
    nwp: str = "arome",
    report: Report = lambda line: None,
) -> Path:
    """Convert a MeteoNet download to Zarr, Parquet and NetCDF, one day in each, with a list of events for training.

    Files are read one after the other, radar by the hour and stations by the month, so that little memory is needed.
    Finished work is not repeated: call the function again after an interruption, or with more files.

    Parameters
    ----------
    root
        Folder of the extracted download.
    out
        Folder of the archive; created if it does not exist.
    zones
        ``"NW"``, ``"SE"``; by default those with radar.
    nwp
        NWP model, ``"arome"`` or ``"arpege"``; an archive has one of them.
    report
        Function that receives a line of progress for each task.

    Returns
    -------
    Path
        ``events.toml``, for `hybridcast.datasets.load_events` and ``hybridcast train --archive``; ``manifest.json``
        beside it lists files read, missing data and unreadable files.

    Raises
    ------
    InputError
        If the radar of a zone is missing, or its files are still in tar files.
    """
    root, out = Path(root).expanduser(), Path(out).expanduser()
    if nwp not in NWP_MODELS:
        raise InputError(f"NWP model {nwp!r}", f"MeteoNet has {' and '.join(NWP_MODELS)}", "Choose one of them")
    files = _list_files(root)
    with_radar = [zone for zone in ZONES if _find_radar(files, zone)]
    wanted = list(zones) if zones else with_radar
    for zone in wanted or list(ZONES):
        if zone not in with_radar:
            raise InputError(f"no radar of {zone} in {str(root)!r}", f"there is rainfall_{zone}_*.npz", _remedy(files))
    for zone in wanted:
        events = write_lists(_create_folder(out), _archive_zone(files, zone, out, nwp, report))
    return events


def _list_files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{str(root)!r} is no folder", "it holds what was downloaded", "Give the folder")
    return sorted(path for path in root.rglob("*") if path.is_file())


def _remedy(files: Iterable[Path]) -> str:
    packed = [path.name for path in files if path.suffix in (".gz", ".tar")]
    return f"Extract {packed[0]} and what is in it first" if packed else "Give the folder of the download"


def _create_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {str(out)!r} ({error.strerror})", "it is a folder", "Choose another") from error
    return out


def _belongs_to_zone(path: Path, zone: str) -> bool:
    return re.search(rf"(?<![A-Za-z]){zone}(?![A-Za-z])", path.name) is not None


def _find_radar(files: Iterable[Path], zone: str) -> list[Path]:
    """Return the radar files of a zone in the order of time, each name once."""
    found = {path.name: path for path in files if (match := COMPOSITE.match(path.name)) and match[1] == zone}
    return [found[name] for name in sorted(found)]


def _archive_zone(files: list[Path], zone: str, out: Path, nwp: str, report: Report) -> ArchivedRegion:
    folder = out / zone
    folder.mkdir(exist_ok=True)
    return ArchivedRegion(
        zone,
        f"meteonet-{zone}",
        LICENCE,
        radar=run_tasks(_radar_tasks(files, zone, folder), folder, report),
        stations=run_tasks(_station_tasks(files, zone, folder), folder, report),
        nwp=run_tasks(_nwp_tasks(files, zone, folder, nwp), folder, report),
        nwp_pattern=f"{nwp}-*",
        terrain=_copy_terrain(files, zone, out),
    )


def _radar_tasks(files: list[Path], zone: str, folder: Path) -> list[Task]:
    coordinates = next((path for path in files if path.name == f"radar_coords_{zone}.npz"), None)

    def task(path: Path) -> Task:
        def run() -> dict[str, Any]:
            blocks = _split_days(path, coordinates)
            return {"days": write_stores(blocks, folder / "radar", path.stem, HUNDREDTHS)}

        return Task("radar", path.stem, (path,), run)

    return [task(path) for path in _find_radar(files, zone)]


def _split_days(path: Path, coordinates: Path | None) -> Iterator[StoreFrames]:
    for block in read_blocks(path, CHUNK_FRAMES, coordinates):
        days = block["time"].values.astype("datetime64[D]")
        for day in sorted(set(days)):
            yield StoreFrames(str(day), block.isel(time=days == day))


def _station_tasks(files: list[Path], zone: str, folder: Path) -> list[Task]:
    def task(path: Path) -> Task:
        return Task("stations", path.stem, (path,), lambda: write_station_table(path, folder / "stations", path.stem))

    return [task(path) for path in files if path.suffix == ".csv" and _belongs_to_zone(path, zone)]


def _nwp_tasks(files: list[Path], zone: str, folder: Path, nwp: str) -> list[Task]:
    kinds = tuple(f"{nwp}_{kind}_" for kind in _KINDS)
    named = [
        path
        for path in files
        if path.name.startswith(kinds) and path.suffix in (".grib", ".nc") and _belongs_to_zone(path, zone)
    ]

    def task(day: str, paths: list[Path]) -> Task:
        name = f"{nwp}-{day}"
        return Task("nwp", name, tuple(paths), lambda: write_runs(paths, folder / "nwp", name))

    return [task(day, paths) for day, paths in group_by_run_day(named).items()]


def _copy_terrain(files: list[Path], zone: str, out: Path) -> str | None:
    """Copy the masks of a zone, and return their path in the archive; None if they are missing."""
    masks = next((path for path in files if path.name == f"{zone}_masks.grib"), None)
    if masks is None:
        return None
    with atomic_write(out / zone / "terrain.grib") as part:
        shutil.copyfile(masks, part)
    return f"{zone}/terrain.grib"
