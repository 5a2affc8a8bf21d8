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

import numpy as np
import xarray as xr

from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.field import check_precipitation
from hybridcast.core.paths import open_paths
from hybridcast.core.readers import PathLike, load_readers, warn_unreadable
from hybridcast.core.times import as_datetime64
from hybridcast.radar.assembly import assemble
from hybridcast.radar.kept_frames import KeptFrames
from hybridcast.radar.selection import (
    Period,
    RadarFormat,
    ReadsTimes,
    Request,
    are_near,
    no_frames_error,
    note_forecasts,
    note_names,
    read_frames,
)

__all__ = ["KeptFrames", "RadarFormat", "ReadsTimes", "formats", "open_radar"]

Time = datetime | str | np.datetime64

#: Modules of the built-in formats, in the order in which they are tried; general formats come last.
BUILT_IN = (
    "fmi_pgm",
    "mch_gif",
    "knmi_hdf5",
    "odim_hdf5",
    "radolan",
    "radolan_ascii",
    "nimrod",
    "mrms_grib2",
    "grib",
    "meteonet_npz",
    "taasrad_npz",
    "nowcastnet_png",
    "bom_netcdf",
    "opensense_netcdf",
    "pycomlink_dwd",
    "imerg_hdf5",
    "nwcsaf_netcdf",
    "goes_rrqpe",
    "geotiff",
    "cf",
)


@functools.cache
def formats() -> dict[str, RadarFormat]:
    """Return all known formats by name; those of other packages come first, so that they can replace a built-in one."""
    return load_readers("hybridcast.radar", BUILT_IN, "hybridcast.radar_formats")


def open_radar(
    paths: PathLike | Iterable[PathLike],
    format: str | RadarFormat | None = None,
    *,
    times: tuple[Time, Time] | None = None,
    history: Duration | None = None,
    step: np.timedelta64 | None = None,
    interval: Duration | None = None,
    each: Callable[[xr.DataArray], xr.DataArray] | None = None,
    strict: bool = False,
    kept: KeptFrames | None = None,
) -> xr.DataArray:
    """Open radar files as one precipitation field, frames in time order on regular steps.

    Parameters
    ----------
    paths
        A file, a Zarr folder, a glob such as ``"*.pgm.gz"``, a tar or zip, a URL, or several of them, in any order
        (`hybridcast.core.paths.expand_paths`).
    format
        Name of a format (``hybridcast info`` lists them) or an object like `RadarFormat`; by default detected from
        the content of each file.
    times
        First and last time (UTC) of the frames to keep, both included; by default all frames are kept.
    history
        Length of the sequence up to the last frame (within `times`), such as ``"2h"``; by default all frames are kept.
        The frames of other files are not decoded if their format can read times alone.
    step
        Time step of the result; by default the most frequent difference between frames. Steps without a frame are NaN.
    interval
        Interval in which the amounts of CF and GeoTIFF files fell, such as ``"5min"``, if the files do not state it.
    each
        Function applied to the frames of each file (those within `times`) as soon as they are read, such as a crop or
        `coarsen`, so that memory never holds all frames at full resolution.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, an `InputWarning` is issued,
        the frame of the file is missing (all NaN), and ``attrs["unreadable_files"]`` lists the file.
    kept
        Frames that were decoded before, for a program that opens most of the same files again and again; by default
        all files are read.

    Returns
    -------
    DataArray
        Precipitation field, see `hybridcast.core.field`: mm h-1, dims ``(time, y, x)``, CRS, NaN outside coverage.
        Files that hold forecasts are left out, and listed in ``attrs["forecasts_left_out"]``. Times that differ from
        regular steps by seconds are rounded to them, and a frame that two files hold equally is used once, each with an
        `InputWarning`. ``attrs["files_outside_period"]`` is the number of files without a frame in the period that
        `times` and `history` select.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is corrupt, truncated, empty, or of no known format;
        `ForecastFileError` if all files are forecasts.
    InputError
        If nothing matches `paths`; if files differ in grid, quantity, interval of the amount or product, or hold
        different frames of one time; if amounts overlap, because their interval is longer than the time between frames;
        if times are irregular; or if no frame is within `times` (`NoFramesError`).
    """
    request = Request(
        format=format,
        formats=formats(),
        period=None if times is None else (as_datetime64(times[0]), as_datetime64(times[1])),
        history=None if history is None else parse_duration(history, "history"),
        each=each,
        strict=strict,
        interval=None if interval is None else parse_duration(interval, "interval"),
        kept=kept,
    )
    far: list[str] = []

    def keep(names: Sequence[str]) -> list[bool]:
        near = are_near(names, request)
        far.extend(name for name, is_near in zip(names, near, strict=True) if not is_near)
        return near

    with open_paths(paths, keep) as files:
        found = read_frames(files, request)
    note_names({path: str(frame.attrs.get("format")) for path, frame in found.frames.items()})
    attrs = note_forecasts(found.forecasts) | warn_unreadable(found.unreadable, "left out, its frame is missing")
    field = assemble(found.frames, step, found.stamps, found.lost)
    field.attrs.update(attrs)
    if found.outside or far:
        field.attrs["files_outside_period"] = found.outside + len(far)
    return check_precipitation(_select_period(field, request.period))


def _select_period(field: xr.DataArray, period: Period | None) -> xr.DataArray:
    """Return the frames within a period; times were rounded after the frames were selected."""
    if period is None:
        return field
    inside = (field["time"].values >= period[0]) & (field["time"].values <= period[1])
    if not inside.any():
        raise no_frames_error(field["time"].values, period)
    return field if inside.all() else field.isel(time=inside)
