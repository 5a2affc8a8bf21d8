"""The radar of one region on one day: its files, whether they have changed, and their frames."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.grid import coarsen
from hybridcast.core.patterns import find_local, select_around
from hybridcast.core.remote import is_url
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.types import HOUR, MINUTE, Mask
from hybridcast.datasets.registry import fetch
from hybridcast.errors import InputError, InputWarning, NoFramesError
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.nightly.config import RegionSettings
from hybridcast.radar import open_radar

Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class DataFingerprint:
    """Hashes of a set of files; the data are the same if `content` is the same."""

    quick: str
    """Hash of the names, sizes and modification times."""
    content: str
    """Hash of the names and contents."""


def data_window(region: RegionSettings, date: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last time of the frames of a day.

    The window starts two hours before the first issue time and ends at the longest lead time of the last one.
    """
    times = region.issue_times(date)
    return times[0] - INPUT_HISTORY, times[-1] + region.lead_ns


def find_files(region: RegionSettings, date: str) -> list[Path]:
    """Return the radar files of a day, sorted; an empty list if there are none.

    Files whose names have a time are included only if they are around the day.
    """
    first, last = data_window(region, date)
    if region.dataset is not None:
        files = fetch(region.dataset, radar_only=True)
    else:
        if is_url(str(region.radar)):
            found, rule = f"region {region.name!r}: radar is a URL", "nights are verified with the files of a folder"
            raise InputError(found, rule, "Keep the files that 'hybridcast watch' downloads, or mirror them")
        files = find_local(region.radar_pattern, first, last)
    return select_around(files, first, last)


def find_gauge_files(region: RegionSettings, date: str) -> list[Path]:
    """Return the files of gauges of a day, sorted; an empty list if there are none."""
    if region.gauges is None:
        return []
    return find_local(region.gauges.replace("{date}", "%Y%m%d"), *data_window(region, date))


def compute_data_fingerprint(files: list[Path], known: DataFingerprint | None = None) -> DataFingerprint:
    """Compute the hashes of files; contents are read only if the quick hash differs from that of `known`."""
    parts = [part for file in files for part in _iterate_files(file)]
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
    return DataFingerprint(quick.hexdigest(), content.hexdigest())


def _iterate_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(part for part in path.rglob("*") if part.is_file())
    else:
        yield path


@dataclass(frozen=True)
class DayRadar:
    """The radar frames of a day."""

    field: xr.DataArray
    """Frames at regular times over the whole window, NaN where a frame is missing; in memory."""
    unreadable: tuple[str, ...]
    """Names of files that could not be read."""

    @property
    def has_data(self) -> Mask:
        """Which frames have any value."""
        return np.array([bool(np.isfinite(frame).any()) for frame in self.field.values])


def read_radar(region: RegionSettings, date: str, files: list[Path]) -> DayRadar | None:
    """Read the frames of a day on coarse cells, file by file; None if the files have no frame of that day.

    Raises
    ------
    ReadError
        If no file can be read.
    InputError
        If grids differ, times are doubled, no cell is within the bounds, or lead times are not at frames.
    """
    first, last = data_window(region, date)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # reported by `unreadable`
        try:
            field = open_radar(
                files, region.format, times=(first, last), each=partial(_crop_and_coarsen, region=region)
            )
        except NoFramesError:
            return None
    step = time_step(field["time"].values) or region.step_ns
    if region.step_ns % step != np.timedelta64(0):
        minutes = step / MINUTE
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


def _crop_and_coarsen(field: xr.DataArray, region: RegionSettings) -> xr.DataArray:
    """Return the part of the field within the region's bounds, on the region's cells."""
    for axis, bounds in (("x", region.x), ("y", region.y)):
        if bounds is not None:
            values = field[axis].values
            field = field.isel({axis: (values >= min(bounds)) & (values <= max(bounds))})
    if not field.size:
        raise InputError(f"no cell is within x = {region.x}, y = {region.y}", "bounds lie on the grid", "Correct them")
    field = field.compute(scheduler="synchronous")  # one block of a large file at a time
    return coarsen(field, region.spacing) if region.spacing else field


def align_to_frames(wanted: Times, frames: Times) -> Times:
    """Return issue times moved to the next frame, for a radar whose times are not round."""
    step = time_step(frames)
    if step is None:
        return wanted
    late = (wanted - frames[0]) % step
    return np.unique(np.where(late > np.timedelta64(0), wanted + (step - late), wanted))


# --- missing data ---------------------------------------------------------------------------------------------


def format_times(times: Times, step: np.timedelta64, date: str, max_spans: int = 4) -> str:
    """Return times as text such as ``03:05 to 03:55, 12:00``; with the date if it is not `date`."""
    if not times.size:
        return ""
    breaks = np.flatnonzero(np.diff(times) > step) + 1
    spans = [_format_span(part, date) for part in np.split(times, breaks)]
    more = f" and {len(spans) - max_spans} more gaps" if len(spans) > max_spans else ""
    return ", ".join(spans[:max_spans]) + more


def _format_span(times: Times, date: str) -> str:
    first, last = (iso_time(time)[:16].replace("T", " ").removeprefix(f"{date} ") for time in (times[0], times[-1]))
    return first if first == last else f"{first} to {last}"


def describe_gaps(radar: DayRadar, issue_times: Times) -> list[str]:
    """Return descriptions of unreadable files and missing frames from the first issue time on."""
    notes = []
    if radar.unreadable:
        count = len(radar.unreadable)
        files = "1 file" if count == 1 else f"{count} files"
        names = ", ".join(radar.unreadable[:3]) + (" ..." if count > 3 else "")
        notes.append(f"{files} could not be read, so these frames are missing: {names}")
    times = radar.field["time"].values
    needed = times >= issue_times[0]
    missing = times[needed & ~radar.has_data]
    if missing.size:
        spans = format_times(missing, time_step(times) or HOUR, str(issue_times[0])[:10])
        notes.append(f"{missing.size} of {int(needed.sum())} radar frames are missing ({spans} UTC)")
    return notes
