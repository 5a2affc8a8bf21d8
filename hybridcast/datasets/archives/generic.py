"""Archives from any radar files that hybridcast can read, with stations, NWP runs and terrain heights beside them."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import check_same_grid
from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.core.paths import expand_paths
from hybridcast.core.readers import PathLike
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.datasets.archives.frames import StoreFrames, iterate_blocks, write_stores
from hybridcast.datasets.archives.listing import ArchivedRegion, write_lists
from hybridcast.datasets.archives.nwp_files import group_by_run_day, write_runs
from hybridcast.datasets.archives.records import Record, Report, Task, describe_unreadable, run_tasks
from hybridcast.datasets.archives.station_files import write_stations
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations, separate_places

Paths = PathLike | Iterable[PathLike]

#: Files that cover more than this are split by days.
_MAX_DURATION = np.timedelta64(25, "h")


def archive_radar(
    radar: Paths,
    out: PathLike,
    *,
    region: str = "region",
    stations: Paths | None = None,
    nwp: Paths | None = None,
    terrain: PathLike | None = None,
    format: str | None = None,
    licence: str = "not stated",
    station_options: Mapping[str, Any] | None = None,
    report: Report = lambda line: None,
) -> Path:
    """Convert radar, stations and NWP runs to Zarr, Parquet and NetCDF, one day in each, with a list of events.

    Radar files are read one after the other. Files whose names contain a time make a store for each day in the names; a
    file of several days is split by days. Finished work is not repeated. Unreadable files are recorded and left out. An
    archive may have several regions: call the function once for each, with the same `out`.

    Parameters
    ----------
    radar
        Radar files of one network, a glob, or several of them, in any format of `open_radar`.
    out
        Folder of the archive; created if it does not exist.
    region
        Name of the radar network.
    stations
        Files of gauges or stations, in any format of `open_stations`, and of their places; each has to fit in memory.
    nwp
        Files of the runs of one NWP model, in any format of `open_nwp`; those of a run's day have to fit in memory.
    terrain
        File of terrain heights, which is copied.
    format
        Format of the radar files; by default it is detected from their content.
    licence
        Licence of the data, for the manifest.
    station_options
        Arguments of `open_stations` for tables that do not state all: `interval`, `time_format`, `rain`.
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
        If a path or a glob matches nothing, or the folder cannot be created.
    """
    out = Path(out).expanduser()
    name = safe_filename(region)
    files = expand_paths(radar)
    gauges = [] if stations is None else expand_paths(stations)
    runs = [] if nwp is None else expand_paths(nwp)
    heights = None if terrain is None else _check_exists(Path(terrain).expanduser())
    folder = out / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {str(folder)!r} ({error})", "it is a folder", "Choose another") from error
    of_nwp = [_nwp_task(day, day_runs, folder / "nwp") for day, day_runs in group_by_run_day(runs).items()]
    about = ArchivedRegion(
        name,
        region,
        licence,
        radar=run_tasks(_radar_tasks(files, folder / "radar", format), folder, report),
        stations=run_tasks(_station_tasks(gauges, folder / "stations", station_options or {}), folder, report),
        nwp=run_tasks(of_nwp, folder, report),
        terrain=_copy_terrain(heights, out, name),
    )
    return write_lists(out, about)


def _check_exists(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"no file {str(path)!r}", "the file of heights exists", "Check the path")
    return path


def _copy_terrain(heights: Path | None, out: Path, name: str) -> str | None:
    """Copy a file of heights into the archive, and return its path; a folder (Zarr) is not copied."""
    if heights is None or heights.is_dir():
        return None if heights is None else str(heights.absolute())
    with atomic_write(out / name / f"terrain{heights.suffix}") as part:
        shutil.copyfile(heights, part)
    return f"{name}/terrain{heights.suffix}"


# --- radar ----------------------------------------------------------------------------------------------------


def _radar_tasks(files: Iterable[Path], folder: Path, format: str | None) -> list[Task]:
    """Group files by the day in their names; a file without a time in its name is a group of its own."""
    groups: dict[str, list[tuple[np.datetime64, Path]]] = {}
    for path in files:
        named = parse_time_in_name(path.name)
        day = path.stem if named is None else str(named.astype("datetime64[D]"))
        groups.setdefault(day, []).append((np.datetime64(0, "ns") if named is None else named, path))
    return [_radar_task(day, [path for _, path in sorted(group)], folder, format) for day, group in groups.items()]


def _radar_task(name: str, paths: list[Path], folder: Path, format: str | None) -> Task:
    def run() -> Record:
        bad: list[Record] = []
        days = write_stores(_read_frames(safe_filename(name), paths, format, bad), folder, safe_filename(name))
        return {"days": days, **({"unreadable": bad} if bad else {})}

    return Task("radar", name, tuple(paths), run)


def _read_frames(name: str, paths: list[Path], format: str | None, bad: list[Record]) -> Iterator[StoreFrames]:
    """Read file after file; unreadable files and files on another grid than the first are added to `bad`."""
    first: xr.DataArray | None = None
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)
                field = open_radar(path, format)
            first = field[:0] if first is None else first
            check_same_grid(first, field, "the files of a day")
        except ReadError as error:
            bad.append(describe_unreadable(error))
            continue
        except InputError as error:
            bad.append({"file": path.name, "reason": str(error)})
            continue
        times = field["time"].values
        long = times[-1] - times[0] > _MAX_DURATION
        for block in iterate_blocks(field):
            days = block["time"].values.astype("datetime64[D]")
            if not long:
                yield StoreFrames(name, block)
                continue
            for day in sorted(set(days)):
                yield StoreFrames(f"{name}-{day}", block.isel(time=days == day))


# --- stations and NWP -----------------------------------------------------------------------------------------------


def _station_tasks(files: Sequence[Path], folder: Path, options: Mapping[str, Any]) -> list[Task]:
    reports, places = separate_places(files) if files else ([], [])

    def open_one(path: Path) -> xr.Dataset:
        return open_stations([path, *places], **options)

    def task(path: Path) -> Task:
        return Task("stations", path.stem, (path,), lambda: write_stations(path, folder, path.stem, open_one))

    return [task(path) for path in reports]


def _nwp_task(day: str, paths: list[Path], folder: Path) -> Task:
    return Task("nwp", day, tuple(paths), lambda: write_runs(paths, folder, f"run-{day}"))


__all__ = ["archive_radar"]
