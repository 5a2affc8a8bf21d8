"""Radar files of any known format, opened as one precipitation field.

A format is a module (or any object) with the attributes of `RadarFormat`. Those of hybridcast are listed in
`BUILT_IN`; another package registers its own under the entry point group ``hybridcast.radar_formats``:

    [project.entry-points."hybridcast.radar_formats"]
    my_service = "my_package.my_service_radar"
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

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
    Format,
    PathLike,
    choose_reader,
    expand_paths,
    load_readers,
    parse_time_in_name,
    read_errors,
    read_files,
    warn_unreadable,
)
from hybridcast.errors import NoFramesError

__all__ = ["RadarFormat", "formats", "open_radar"]

Time = datetime | str | np.datetime64

#: Modules of the built-in formats, in the order in which they are tried; general formats come last.
BUILT_IN = (
    "fmi_pgm",
    "mch_gif",
    "knmi_hdf5",
    "odim_hdf5",
    "radolan",
    "radolan_ascii",
    "mrms_grib2",
    "grib",
    "meteonet_npz",
    "bom_netcdf",
    "opensense_netcdf",
    "pycomlink_dwd",
    "geotiff",
    "cf",
)


@runtime_checkable
class RadarFormat(Format, Protocol):
    """Interface of a radar format. It reads ONE file; the order of times, gaps and bad files are handled elsewhere."""

    def read(self, path: Path) -> xr.DataArray:
        """Read all frames of one file as a precipitation field; raise `ReadError` if it is damaged."""
        ...


@functools.cache
def formats() -> dict[str, RadarFormat]:
    """Return all known formats by name; those of other packages come first, so that they can replace a built-in one."""
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
        A file, a Zarr folder, a glob such as ``"*.pgm.gz"``, or several of them, in any order.
    format
        Name of a format (``hybridcast info`` lists them) or an object like `RadarFormat`; by default detected from
        the content of each file.
    times
        First and last time (UTC) of the frames to keep, both included; by default all frames are kept.
    step
        Time step of the result; by default the most frequent difference between frames. Steps without a frame are NaN.
    each
        Function applied to the frames of each file (those within `times`) as soon as they are read, such as a crop or
        `coarsen`, so that memory never holds all frames at full resolution.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, an `InputWarning` is issued,
        the frame of the file is missing (all NaN), and ``attrs["unreadable_files"]`` lists the file.

    Returns
    -------
    DataArray
        Precipitation field, see `hybridcast.core.field`: mm h-1, dims ``(time, y, x)``, CRS, NaN outside coverage.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is corrupt, truncated, empty, or of no known format.
    InputError
        If nothing matches `paths`, grids differ between files, times are doubled or irregular, or no frame is within
        `times` (`NoFramesError`).
    """
    period = None if times is None else (as_datetime64(times[0]), as_datetime64(times[1]))
    contents, unreadable = read_files(
        expand_paths(paths), lambda path: _read(path, format, period, each), strict=strict
    )
    stamps = {path: content.stamps for path, content in contents.items()}
    frames = {path: content.frames for path, content in contents.items() if content.frames.sizes["time"]}
    del contents  # so that `_concatenate` can release frames as it copies them
    if not frames:
        every = np.concatenate(list(stamps.values()))
        raise NoFramesError(
            f"no frame from {period and period[0]} to {period and period[1]}",
            f"there are frames from {every.min()} to {every.max()}",
            "Choose times within them (UTC)",
        )
    attrs = warn_unreadable(unreadable, "left out, its frame is missing")
    firsts = {path: of_file[0] for path, of_file in stamps.items() if of_file.size}
    field = _add_lost_frames(_concatenate(frames), firsts, [error.path for error in unreadable])
    field = regular_times(_select_period(field, period), step)
    field.attrs.update(attrs)
    return check_precipitation(field)


class _FileContent(NamedTuple):
    stamps: NDArray[np.datetime64]
    """Times of all frames of the file."""
    frames: xr.DataArray
    """The frames within the requested period."""


def _read(
    path: Path,
    format: str | RadarFormat | None,
    period: tuple[np.datetime64, np.datetime64] | None,
    each: Callable[[xr.DataArray], xr.DataArray] | None,
) -> _FileContent:
    reader = choose_reader(path, format, formats(), "radar", _ADVICE)
    with read_errors(path, reader.NAME):
        field = reader.read(path)
        check_frames(field)
        stamps = field["time"].values
        field = _select_period(field, period)
        if each is not None and field.sizes["time"]:
            field = each(field)
    return _FileContent(stamps, field.assign_attrs(format=reader.NAME))


_ADVICE = (
    "; name one with format=, or read it yourself and give the values to "
    "hybridcast.precipitation(values, time=..., y=..., x=..., crs=...)"
)


def _concatenate(frames: dict[Path, xr.DataArray]) -> xr.DataArray:
    """Concatenate frames of one grid in time order; `frames` is emptied, so that no frame is in memory twice."""
    paths = sorted(frames, key=lambda path: frames[path]["time"].values[0])
    first = frames[paths[0]]
    for path in paths[1:]:
        check_same_grid(first, frames[path], f"the frames of {paths[0].name} and {path.name}")
    if len(paths) == 1:
        field = first
    elif any(frame.chunks is not None for frame in frames.values()):
        # the grids are equal within a hundredth of a cell, so that of the first file is used
        alike = [frames[path].assign_coords(y=first["y"], x=first["x"]) for path in paths]
        field = xr.concat(alike, dim="time", combine_attrs="override", coords="minimal", compat="override")
    else:
        field = _concatenate_in_memory(frames, paths)
    in_order = (np.diff(field["time"].values) > np.timedelta64(0)).all()
    return field if in_order else field.sortby("time")


def _concatenate_in_memory(frames: dict[Path, xr.DataArray], paths: list[Path]) -> xr.DataArray:
    """Copy frames into one array, releasing each after it is copied."""
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


def _select_period(field: xr.DataArray, period: tuple[np.datetime64, np.datetime64] | None) -> xr.DataArray:
    if period is None:
        return field
    stamps = field["time"].values
    inside = (stamps >= period[0]) & (stamps <= period[1])
    return field if inside.all() else field.isel(time=inside)


def _add_lost_frames(field: xr.DataArray, read: dict[Path, np.datetime64], lost: Sequence[Path]) -> xr.DataArray:
    """Add a frame of NaN for each file that could not be read but has a time in its name.

    Without them, missing frames at the ends would not be noticed, and the time step could be wrong.
    """
    known = field["time"].values
    missing = _infer_lost_times(read, lost)
    every = np.union1d(known, missing)
    if missing.size == 0 or every.size < 2 or (np.diff(known) <= np.timedelta64(0)).any():
        return field
    step = usual_step(every)
    missing = missing[(missing - known[0]) % step == np.timedelta64(0)]
    if known.size < MIN_FRAME_FRACTION * (np.ptp(every) / step + 1):
        missing = missing[(missing > known[0]) & (missing < known[-1])]  # the others are from another day
    return field.reindex(time=np.union1d(known, missing))


def _infer_lost_times(read: dict[Path, np.datetime64], lost: Sequence[Path]) -> NDArray[np.datetime64]:
    """Return the times in the names of `lost`, if the names of all readable files differ from their times equally."""
    in_names = {path: parse_time_in_name(path.name) for path in (*read, *lost)}
    offsets = {None if (time := in_names[path]) is None else time - stamp for path, stamp in read.items()}
    offset = offsets.pop()
    if offsets or offset is None:
        return np.array([], dtype="datetime64[ns]")
    times = [time - offset for path in lost if (time := in_names[path]) is not None]
    return np.array(times, dtype="datetime64[ns]")
