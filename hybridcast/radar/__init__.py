"""Radar files of any known format, opened as one precipitation field.

A format is a module (or any object) with four names, see `RadarFormat`. Those of hybridcast are listed in
`BUILT_IN`; another package adds its own under the entry point group ``hybridcast.radar_formats``:

    [project.entry-points."hybridcast.radar_formats"]
    my_service = "my_package.my_service_radar"
"""

from __future__ import annotations

import functools
import glob
import importlib
import importlib.metadata
import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
import xarray as xr

from hybridcast.errors import HybridcastError, InputError, InputWarning, ReadError
from hybridcast.field import check_precipitation, check_same_grid, regular_times
from hybridcast.radar._files import head_of, time_in_name

__all__ = ["RadarFormat", "formats", "open_radar"]

log = logging.getLogger(__name__)

PathLike = str | Path

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
    """Give all known formats by name, those of other packages first, so that they can replace one of ours."""
    found: dict[str, RadarFormat] = {}
    for entry in importlib.metadata.entry_points(group="hybridcast.radar_formats"):
        found[entry.name] = entry.load()
    for module in BUILT_IN:
        reader = cast(RadarFormat, importlib.import_module(f"hybridcast.radar.{module}"))
        found.setdefault(reader.NAME, reader)
    return found


def open_radar(
    paths: PathLike | Iterable[PathLike], format: str | RadarFormat | None = None, *, strict: bool = False
) -> xr.DataArray:
    """Open radar files as one precipitation field, frames in time order on regular steps.

    Parameters
    ----------
    paths
        A file, a folder of Zarr, a glob such as ``"*.pgm.gz"``, or several of them, in any order.
    format
        Name of a format (``hybridcast info`` lists them) or an object like `RadarFormat`; by default recognised
        from the content of each file.
    strict
        Raise at the first unreadable file. By default, if others can be read, it is reported as an
        `InputWarning`, its frame is missing (all NaN), and ``attrs["unreadable_files"]`` names it.

    Returns
    -------
    DataArray
        The contract of `hybridcast.field`: mm h-1, dims ``(time, y, x)``, CRS, NaN outside coverage.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is corrupt, truncated, empty, or of no known format.
    InputError
        If nothing matches `paths`, grids differ between files, or times are doubled or irregular.
    """
    files = _expand(paths)
    frames: dict[Path, xr.DataArray] = {}
    bad: list[ReadError] = []
    for file in files:
        try:
            frames[file] = _read(file, format)
        except ReadError as error:
            if strict or len(files) == 1:
                raise
            bad.append(error)
    if not frames:
        raise ReadError(bad[0].path, f"{bad[0].reason} (and none of the other {len(bad) - 1} files can be read)")
    for error in bad:
        warnings.warn(f"left out, its frame is missing: {error}", InputWarning, stacklevel=2)
    field = _in_time_order(frames)
    field = _with_lost_frames(field, frames, [error.path for error in bad])
    if bad:
        field.attrs["unreadable_files"] = "; ".join(str(error) for error in bad)
    return check_precipitation(field)


def _expand(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for item in given:
        path = Path(item).expanduser()
        if path.exists():
            files.append(path)
            continue
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if not matches:
            raise InputError(f"no file matches {str(item)!r}", "radar files exist", "Check the path or the glob")
        files.extend(matches)
    if not files:
        raise InputError(
            "no paths given", "at least one radar file is needed", "Give a file, a glob or a list of files"
        )
    return list(dict.fromkeys(files))


def _read(path: Path, format: str | RadarFormat | None) -> xr.DataArray:
    reader = _reader_for(path, format)
    try:
        field = reader.read(path)
    except HybridcastError:
        raise
    except Exception as error:  # the many ways in which format libraries fail on a damaged file
        log.debug("reading %s failed", path, exc_info=True)
        raise ReadError(path, f"cannot be read as {reader.NAME} ({type(error).__name__}: {error})") from error
    field = field.assign_attrs(format=reader.NAME)
    return field


def _reader_for(path: Path, format: str | RadarFormat | None) -> RadarFormat:
    known = formats()
    if isinstance(format, str):
        if format not in known:
            raise InputError(f"format {format!r}", "the format is a known one", f"Choose one of {', '.join(known)}")
        _refuse_empty(path)
        return known[format]
    _refuse_empty(path)
    if format is not None:
        return format
    head = head_of(path)
    for reader in known.values():
        if reader.recognises(path, head):
            return reader
    raise ReadError(
        path, f"no known radar format (starts with {head[:12]!r}); known are {', '.join(known)}; name one with format="
    )


def _refuse_empty(path: Path) -> None:
    if path.is_file() and path.stat().st_size == 0:
        raise ReadError(path, "the file is empty (0 bytes)")


def _in_time_order(frames: dict[Path, xr.DataArray]) -> xr.DataArray:
    (first_path, first), *others = frames.items()
    for path, other in others:
        check_same_grid(first, other, f"the frames of {first_path.name} and {path.name}")
    if not others:
        field = first.sortby("time")
    else:
        # the grid of the first stands for all: they are equal within a hundredth of a cell
        aligned = [first, *(other.assign_coords(y=first["y"], x=first["x"]) for _, other in others)]
        field = xr.concat(aligned, dim="time", combine_attrs="override", coords="minimal", compat="override")
        field = field.sortby("time")
    return regular_times(field)


def _with_lost_frames(field: xr.DataArray, read: dict[Path, xr.DataArray], lost: Sequence[Path]) -> xr.DataArray:
    """Add frames of NaN at the ends of the sequence for files there that could not be read.

    Their times come from their names, trusted only if the names of the good files differ from their own times
    by one constant offset. Inside the sequence the gap has been filled already.
    """
    offsets = {
        named - frame["time"].values[0] if (named := time_in_name(path.name)) is not None else None
        for path, frame in read.items()
    }
    if not lost or len(offsets) != 1 or None in offsets or field.sizes["time"] < 2:
        return field
    offset = cast(np.timedelta64, offsets.pop())
    named = [time_in_name(path.name) for path in lost]
    times = [time - offset for time in named if time is not None]
    old = field["time"].values
    step = old[1] - old[0]
    times = [time for time in times if (time - old[0]) % step == np.timedelta64(0)]
    first, last = min([*times, old[0]]), max([*times, old[-1]])
    return field.reindex(time=np.arange(first, last + step, step))
