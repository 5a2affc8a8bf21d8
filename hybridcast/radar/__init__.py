"""Radar files of any known format, opened as one precipitation field.

A format is a module (or any object) with four names, see `RadarFormat`. Those of hybridcast are listed in
`BUILT_IN`; another package adds its own under the entry point group ``hybridcast.radar_formats``:

    [project.entry-points."hybridcast.radar_formats"]
    my_service = "my_package.my_service_radar"
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import (
    MIN_FRAME_FRACTION,
    as_datetime64,
    check_frames,
    check_precipitation,
    check_same_grid,
    regular_times,
    usual_step,
)
from hybridcast.core.readers import (
    PathLike,
    detect_reader,
    expand_paths,
    get_reader,
    load_readers,
    read_errors,
    refuse_empty,
)
from hybridcast.errors import InputWarning, NoFramesError, ReadError
from hybridcast.radar._files import parse_time_in_name, read_head

__all__ = ["RadarFormat", "formats", "open_radar"]

Time = datetime | str | np.datetime64

#: In this order each is asked whether it recognises a file; the general ones come last.
BUILT_IN = (
    "fmi_pgm",
    "mch_gif",
    "knmi_hdf5",
    "odim_hdf5",
    "radolan",
    "mrms_grib2",
    "meteonet_npz",
    "bom_netcdf",
    "opensense_netcdf",
    "pycomlink_dwd",
    "geotiff",
    "cf",
)


@runtime_checkable
class RadarFormat(Protocol):
    """What a format module offers. It reads ONE file; time order, gaps and bad files are dealt with here."""

    NAME: str
    """How a user names it in ``format=``."""
    DESCRIPTION: str
    """One line for people: whose files, what they hold."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell from the first bytes (uncompressed; empty for a folder) and, if need be, the file, whether it is one."""
        ...

    def read(self, path: Path) -> xr.DataArray:
        """Read all frames of one file as a precipitation field; raise `ReadError` if it is damaged."""
        ...


@functools.cache
def formats() -> dict[str, RadarFormat]:
    """Return all known formats by name, those of other packages first, so that they can replace one of ours."""
    return load_readers("hybridcast.radar", BUILT_IN, "hybridcast.radar_formats")


def open_radar(
    paths: PathLike | Iterable[PathLike],
    format: str | RadarFormat | None = None,
    *,
    times: tuple[Time, Time] | None = None,
    step: np.timedelta64 | None = None,
    each: Callable[[xr.DataArray], xr.DataArray] | None = None,
    strict: bool = False,
) -> xr.DataArray:
    """Open radar files as one precipitation field, frames in time order on regular steps.

    Parameters
    ----------
    paths
        A file, a folder of Zarr, a glob such as ``"*.pgm.gz"``, or several of them, in any order.
    format
        Name of a format (``hybridcast info`` lists them) or an object like `RadarFormat`; by default recognised
        from the content of each file.
    times
        First and last time (UTC) of the frames to keep, both included; by default all. For files that hold more,
        or scattered, frames.
    step
        The time step; by default the most frequent difference between frames. What lies between is missing.
    each
        Applied to the frames of each file, those between `times`, as soon as they are read: a crop, or `coarsened`, so
        that a day is never in memory as fine as on disk.
    strict
        Raise at the first unreadable file. By default, if others can be read, it is reported as an
        `InputWarning`, its frame is missing (all NaN), and ``attrs["unreadable_files"]`` names it.

    Returns
    -------
    DataArray
        The contract of `hybridcast.core.field`: mm h-1, dims ``(time, y, x)``, CRS, NaN outside coverage.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is corrupt, truncated, empty, or of no known format.
    InputError
        If nothing matches `paths`, grids differ between files, times are doubled or irregular, or none is between
        `times` (`NoFramesError`).
    """
    files = expand_paths(paths)
    frames: dict[Path, xr.DataArray] = {}
    stamps: dict[Path, NDArray[np.datetime64]] = {}
    bad: list[ReadError] = []
    wanted = None if times is None else (as_datetime64(times[0]), as_datetime64(times[1]))
    for file in files:
        try:
            stamps[file], frame = _read(file, format, wanted, each)
        except ReadError as error:
            if strict or len(files) == 1:
                raise
            bad.append(error)
        else:
            if frame.sizes["time"]:
                frames[file] = frame
    if stamps and not frames:
        every = np.concatenate(list(stamps.values()))
        raise NoFramesError(
            f"no frame from {wanted and wanted[0]} to {wanted and wanted[1]}",
            f"there are frames from {every.min()} to {every.max()}",
            "Choose times within them (UTC)",
        )
    if not frames:
        raise ReadError(bad[0].path, f"{bad[0].reason} (and none of the other {len(bad) - 1} files can be read)")
    for lost in bad:
        warnings.warn(f"left out, its frame is missing: {lost}", InputWarning, stacklevel=2)
    firsts = {path: of_file[0] for path, of_file in stamps.items() if of_file.size}
    field = _with_lost_frames(_in_time_order(frames), firsts, [lost.path for lost in bad])
    field = regular_times(_between(field, wanted), step)
    if bad:
        field.attrs["unreadable_files"] = "; ".join(str(lost) for lost in bad)
    return check_precipitation(field)


def _read(
    path: Path,
    format: str | RadarFormat | None,
    times: tuple[np.datetime64, np.datetime64] | None,
    each: Callable[[xr.DataArray], xr.DataArray] | None,
) -> tuple[NDArray[np.datetime64], xr.DataArray]:
    """Return the times of all frames of a file, and those frames that are wanted."""
    reader = _reader_for(path, format)
    with read_errors(path, reader.NAME):
        field = reader.read(path)
        check_frames(field)
        stamps = field["time"].values
        field = _between(field, times)
        if each is not None and field.sizes["time"]:
            field = each(field)
    return stamps, field.assign_attrs(format=reader.NAME)


def _reader_for(path: Path, format: str | RadarFormat | None) -> RadarFormat:
    known = formats()
    chosen = get_reader(format, known)
    refuse_empty(path)
    if chosen is not None:
        return chosen
    head = read_head(path)
    if path.is_dir() and not any(path.iterdir()):
        raise ReadError(path, "the folder is empty")
    reader = detect_reader(path, head, known)
    if reader is not None:
        return reader
    if path.is_dir():
        raise ReadError(path, f"a folder, and no Zarr store. Give the files in it, such as '{path / '*'}'")
    raise ReadError(
        path,
        f"no known radar format (starts with {head[:12]!r}); known are {', '.join(known)}; name one with format=, "
        "or read it yourself and give the values to hybridcast.precipitation(values, time=..., y=..., x=..., crs=...)",
    )


def _in_time_order(frames: dict[Path, xr.DataArray]) -> xr.DataArray:
    """Join frames of one grid in time order; `frames` is emptied on the way, so that no frame is held twice."""
    paths = sorted(frames, key=lambda path: frames[path]["time"].values[0])
    first = frames[paths[0]]
    for path in paths[1:]:
        check_same_grid(first, frames[path], f"the frames of {paths[0].name} and {path.name}")
    if len(paths) == 1:
        field = first
    elif any(frame.chunks is not None for frame in frames.values()):
        # the grid of the first stands for all: they are equal within a hundredth of a cell
        alike = [frames[path].assign_coords(y=first["y"], x=first["x"]) for path in paths]
        field = xr.concat(alike, dim="time", combine_attrs="override", coords="minimal", compat="override")
    else:
        field = _joined(frames, paths)
    in_order = (np.diff(field["time"].values) > np.timedelta64(0)).all()
    return field if in_order else field.sortby("time")


def _joined(frames: dict[Path, xr.DataArray], paths: list[Path]) -> xr.DataArray:
    """Join frames that are in memory, into one array."""
    times = np.concatenate([frames[path]["time"].values for path in paths])
    first = frames[paths[0]]
    values = np.empty((times.size, *first.shape[1:]), dtype=np.float32)
    at = 0
    for path in paths:
        frame = frames.pop(path).values
        values[at : at + len(frame)] = frame
        at += len(frame)
    coords = {name: coord for name, coord in first.coords.items() if name != "time"}
    return xr.DataArray(
        values,
        dims=first.dims,
        coords={**coords, "time": ("time", times, first["time"].attrs)},
        name=first.name,
        attrs=first.attrs,
    )


def _between(field: xr.DataArray, times: tuple[np.datetime64, np.datetime64] | None) -> xr.DataArray:
    if times is None:
        return field
    stamps = field["time"].values
    wanted = (stamps >= times[0]) & (stamps <= times[1])
    return field if wanted.all() else field.isel(time=wanted)


def _with_lost_frames(field: xr.DataArray, read: dict[Path, np.datetime64], lost: Sequence[Path]) -> xr.DataArray:
    """Add a frame of NaN for each file that could not be read but whose name tells its time.

    Without them frames at the ends would go unnoticed, and the step between the others might be mistaken.
    """
    old = field["time"].values
    named = _times_of_lost(read, lost)
    every = np.union1d(old, named)
    if named.size == 0 or every.size < 2 or (np.diff(old) <= np.timedelta64(0)).any():
        return field
    step = usual_step(every)
    named = named[(named - old[0]) % step == np.timedelta64(0)]
    if old.size < MIN_FRAME_FRACTION * (np.ptp(every) / step + 1):
        named = named[(named > old[0]) & (named < old[-1])]  # the others are from another day
    return field.reindex(time=np.union1d(old, named))


def _times_of_lost(read: dict[Path, np.datetime64], lost: Sequence[Path]) -> NDArray[np.datetime64]:
    """Return the times in the names of `lost`, if the names of good files differ from their times by one offset."""
    offsets = {
        None if (stated := parse_time_in_name(path.name)) is None else stated - stamp for path, stamp in read.items()
    }
    offset = offsets.pop()
    if offsets or offset is None:
        return np.array([], dtype="datetime64[ns]")
    times = [named - offset for path in lost if (named := parse_time_in_name(path.name)) is not None]
    return np.array(times, dtype="datetime64[ns]")
