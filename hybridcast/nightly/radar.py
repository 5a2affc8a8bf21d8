"""The radar of one region on one day: which files, whether they are the same as before, and their frames."""

from __future__ import annotations

import glob
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import iso_time, time_step
from hybridcast.core.grid import coarsen
from hybridcast.core.types import HOUR
from hybridcast.datasets.registry import fetch
from hybridcast.errors import InputError, InputWarning, NoFramesError
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.nightly.config import RegionSettings
from hybridcast.radar import open_radar
from hybridcast.radar._files import parse_time_in_name

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class DataState:
    """Which files there are; two states are of the same data if `content` is the same."""

    quick: str
    """From names, sizes and times of change."""
    content: str
    """From the content of all files."""


def window_of(region: RegionSettings, date: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and last time at which frames count: two hours before the first issue time, to the last lead."""
    times = region.issue_times(date)
    return times[0] - INPUT_HISTORY, times[-1] + region.lead_ns


def find_files(region: RegionSettings, date: str) -> list[Path]:
    """Find the radar files of a day, sorted; none if there are none.

    Of files whose names tell a time only those around the day are taken.
    """
    first, last = window_of(region, date)
    if region.dataset is not None:
        files = fetch(region.dataset, radar_only=True)
    else:
        hours = pd.date_range(pd.Timestamp(first).floor("h"), last, freq="h")
        pattern = str(region.radar).replace("{date}", "%Y%m%d")
        globs = dict.fromkeys(hour.strftime(pattern) for hour in hours) if "%" in pattern else [pattern]
        files = sorted({Path(found) for one in globs for found in glob.glob(one, recursive=True)})
    return _around(files, first, last)


def _around(files: list[Path], first: np.datetime64, last: np.datetime64) -> list[Path]:
    """Leave out files whose names tell that they are of another time; one may hold all up to the next one's time."""
    named = {file: parse_time_in_name(file.name) for file in files}
    times = np.unique(np.array([time for time in named.values() if time is not None], dtype="datetime64[ns]"))
    reach = max(HOUR, np.median(np.diff(times))) if times.size > 1 else np.timedelta64(1, "D")
    return [file for file, time in named.items() if time is None or first - reach <= time <= last + reach]


def data_state(files: list[Path], known: DataState | None = None) -> DataState:
    """Describe files; their content is read only if they are not as they were when `known` was made."""
    parts = [part for file in files for part in _files_in(file)]
    quick = hashlib.sha256()
    for part in parts:
        status = part.stat()
        quick.update(f"{part} {status.st_size} {status.st_mtime_ns}\n".encode())
    if known is not None and known.quick == quick.hexdigest():
        return known
    content = hashlib.sha256()
    for part in parts:
        with part.open("rb") as stream:
            content.update(f"{part.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return DataState(quick.hexdigest(), content.hexdigest())


def _files_in(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(part for part in path.rglob("*") if part.is_file())
    else:
        yield path


@dataclass(frozen=True)
class DayRadar:
    """What was read."""

    field: xr.DataArray
    """Frames on regular times over the whole window, NaN where one is missing; in memory."""
    unreadable: tuple[str, ...]
    """Names of files that could not be read."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which frames hold any value."""
        return np.array([bool(np.isfinite(frame).any()) for frame in self.field.values])


def read_radar(region: RegionSettings, date: str, files: list[Path]) -> DayRadar | None:
    """Read the frames of a day, each file on coarse cells as soon as it is read; None where no frame is of that day.

    Raises
    ------
    ReadError
        If no file can be read.
    InputError
        If grids differ, times are doubled, the bounds hold no cell, or lead times are not at frames.
    """
    first, last = window_of(region, date)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # told by `unreadable`
        try:
            field = open_radar(files, region.format, times=(first, last), each=partial(_prepared, region=region))
        except NoFramesError:
            return None
    step = time_step(field["time"].values) or region.step_ns
    if region.step_ns % step != np.timedelta64(0):
        minutes = step / np.timedelta64(1, "m")
        raise InputError(
            f"step = {region.step!r}, the radar's is {minutes:g} min",
            "lead times are at frames of the radar",
            f"Set step to a multiple of {minutes:g}min",
        )
    start = field["time"].values[0]
    every = np.arange(start - (start - first) // step * step, last + np.timedelta64(1, "ns"), step)
    lost = str(field.attrs.get("unreadable_files", ""))
    names = tuple(Path(name).name for name in lost.split("; ") if name)
    return DayRadar(field.compute().reindex(time=every), names)


def _prepared(field: xr.DataArray, region: RegionSettings) -> xr.DataArray:
    """Cut out the part that counts, on its cells."""
    for axis, bounds in (("x", region.x), ("y", region.y)):
        if bounds is not None:
            values = field[axis].values
            field = field.isel({axis: (values >= min(bounds)) & (values <= max(bounds))})
    if not field.size:
        raise InputError(f"no cell is within x = {region.x}, y = {region.y}", "bounds lie on the grid", "Correct them")
    field = field.compute(scheduler="synchronous")  # one block of a large file at a time
    return coarsen(field, region.spacing) if region.spacing else field


def at_frames(wanted: Times, frames: Times) -> Times:
    """Move issue times to the next frame, where the radar's times are odd ones."""
    step = time_step(frames)
    if step is None:
        return wanted
    late = (wanted - frames[0]) % step
    return np.unique(np.where(late > np.timedelta64(0), wanted + (step - late), wanted))


# --- what is missing ------------------------------------------------------------------------------------------


def spans(times: Times, step: np.timedelta64, date: str, most: int = 4) -> str:
    """Say times in few words: ``03:05 to 03:55, 12:00``; with the date where it is not `date`."""
    if not times.size:
        return ""
    breaks = np.flatnonzero(np.diff(times) > step) + 1
    said = [_span(part, date) for part in np.split(times, breaks)]
    more = f" and {len(said) - most} more gaps" if len(said) > most else ""
    return ", ".join(said[:most]) + more


def _span(times: Times, date: str) -> str:
    first, last = (iso_time(time)[:16].replace("T", " ").removeprefix(f"{date} ") for time in (times[0], times[-1]))
    return first if first == last else f"{first} to {last}"


def gaps(radar: DayRadar, issue_times: Times) -> list[str]:
    """Say which files and frames are missing; frames before the first issue time are not counted."""
    notes = []
    if radar.unreadable:
        count = len(radar.unreadable)
        what = "1 file could" if count == 1 else f"{count} files could"
        names = ", ".join(radar.unreadable[:3]) + (" ..." if count > 3 else "")
        notes.append(f"{what} not be read, so these frames are missing: {names}")
    times, seen = radar.field["time"].values, radar.seen
    needed = times >= issue_times[0]
    missing = times[needed & ~seen]
    if missing.size:
        said = spans(missing, time_step(times) or HOUR, str(issue_times[0])[:10])
        notes.append(f"{missing.size} of {int(needed.sum())} radar frames are missing ({said} UTC)")
    return notes
