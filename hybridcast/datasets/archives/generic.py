"""Any radar files that can be read, and stations, model runs and heights beside them, laid out for training."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import check_same_grid
from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.core.readers import PathLike, expand_paths, parse_time_in_name
from hybridcast.datasets.archives.frames import Named, blocks_of, write_stores
from hybridcast.datasets.archives.listing import Region, write_lists
from hybridcast.datasets.archives.others import by_run_day, write_runs, write_stations
from hybridcast.datasets.archives.records import Record, Report, Work, lay_out, unreadable
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import open_radar

Paths = PathLike | Iterable[PathLike]

#: A store holds frames of a day; a file that goes beyond this is parted by days.
_LONGEST = np.timedelta64(25, "h")


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
    report: Report = lambda line: None,
) -> Path:
    """Lay out radar, stations and model runs as Zarr, Parquet and NetCDF, a day in each, with a list of events.

    Radar files are read one after the other; those whose names tell a time make a store for each day that is named. A
    file of several days is parted by days. What is done is not done again; a file that cannot be read is named, and
    what it holds is missing. An archive may have several regions: call it once for each, with the same `out`.

    Parameters
    ----------
    radar
        Files, a glob, or several of them, in any format that `open_radar` reads, of one radar network.
    out
        Folder of the archive; it is made.
    region
        Name of the radar network.
    stations
        Files of gauges or stations, of any format that `open_stations` reads; each has to fit in memory.
    nwp
        Files of one model's runs, of any format that `open_nwp` reads; those of a run's day have to fit in memory.
    terrain
        A file of heights; it is copied.
    format
        Format of the radar files, where their content does not tell it.
    licence
        Of the data, for the manifest.
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
        If a path or a glob matches nothing, or the folder cannot be made.
    """
    out = Path(out).expanduser()
    name = safe_filename(region)
    files = expand_paths(radar)
    gauges = [] if stations is None else expand_paths(stations)
    runs = [] if nwp is None else expand_paths(nwp)
    heights = None if terrain is None else _there(Path(terrain).expanduser())
    folder = out / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {str(folder)!r} ({error})", "it is a folder", "Choose another") from error
    model = [_model_work(day, paths, folder / "nwp") for day, paths in by_run_day(runs).items()]
    about = Region(
        name,
        region,
        licence,
        radar=lay_out(_radar_works(files, folder / "radar", format), folder, report),
        stations=lay_out(_station_works(gauges, folder / "stations"), folder, report),
        nwp=lay_out(model, folder, report),
        terrain=_copied(heights, out, name),
    )
    return write_lists(out, about)


def _there(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"no file {str(path)!r}", "the file of heights exists", "Check the path")
    return path


def _copied(heights: Path | None, out: Path, name: str) -> str | None:
    """Copy a file of heights into the archive; a folder (Zarr) stays where it is."""
    if heights is None or heights.is_dir():
        return None if heights is None else str(heights.absolute())
    with atomic_write(out / name / f"terrain{heights.suffix}") as part:
        shutil.copyfile(heights, part)
    return f"{name}/terrain{heights.suffix}"


# --- radar ----------------------------------------------------------------------------------------------------


def _radar_works(files: Iterable[Path], folder: Path, format: str | None) -> list[Work]:
    """Group files by the day in their names; one without is a group of its own."""
    groups: dict[str, list[tuple[np.datetime64, Path]]] = {}
    for path in files:
        named = parse_time_in_name(path.name)
        day = path.stem if named is None else str(named.astype("datetime64[D]"))
        groups.setdefault(day, []).append((np.datetime64(0, "ns") if named is None else named, path))
    return [_radar_work(day, [path for _, path in sorted(group)], folder, format) for day, group in groups.items()]


def _radar_work(name: str, paths: list[Path], folder: Path, format: str | None) -> Work:
    def make() -> Record:
        bad: list[Record] = []
        days = write_stores(_frames(safe_filename(name), paths, format, bad), folder, safe_filename(name))
        return {"days": days, **({"unreadable": bad} if bad else {})}

    return Work("radar", name, tuple(paths), make)


def _frames(name: str, paths: list[Path], format: str | None, bad: list[Record]) -> Iterator[Named]:
    """Read file after file; those that cannot be read, or have another grid than the first, are added to `bad`."""
    first: xr.DataArray | None = None
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)
                field = open_radar(path, format)
            first = field[:0] if first is None else first
            check_same_grid(first, field, "the files of a day")
        except ReadError as error:
            bad.append(unreadable(error))
            continue
        except InputError as error:
            bad.append({"file": path.name, "reason": str(error)})
            continue
        times = field["time"].values
        long = times[-1] - times[0] > _LONGEST
        for block in blocks_of(field):
            days = block["time"].values.astype("datetime64[D]")
            if not long:
                yield Named(name, block)
                continue
            for day in sorted(set(days)):
                yield Named(f"{name}-{day}", block.isel(time=days == day))


# --- the others -----------------------------------------------------------------------------------------------


def _station_works(files: Iterable[Path], folder: Path) -> list[Work]:
    def work(path: Path) -> Work:
        return Work("stations", path.stem, (path,), lambda: write_stations(path, folder, path.stem))

    return [work(path) for path in files]


def _model_work(day: str, paths: list[Path], folder: Path) -> Work:
    return Work("nwp", day, tuple(paths), lambda: write_runs(paths, folder, f"run-{day}"))


__all__ = ["archive_radar"]
