"""Frames of several files put together to one field: one product, each time once, on regular steps.

Nothing is merged in silence: frames of two grids, quantities or intervals, two different frames of one time, and sums
that overlap are refused, with the names of the files.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import check_same_grid
from hybridcast.core.time_steps import MAX_JITTER, MIN_FRAME_FRACTION, iso_time, regular_times, usual_step
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError, InputWarning

Times = NDArray[np.datetime64]
Frames = dict[Path, xr.DataArray]
FileOf = Callable[[np.datetime64], str]

#: Formats in which ``source`` is free text, that may state times.
_GENERAL_FORMATS = {"bom-netcdf", "cf", "geotiff", "nwcsaf-netcdf", "opensense-netcdf"}
#: Dates and times within a text.
_TIMES = re.compile(r"\d{6,}|\d{1,4}([-/.:])\d{1,2}(\1\d{1,4})?(?:[T ]\d{1,2}:\d{2}(:\d{2})?)?Z?")
#: Numbers, months, days and zones, as titles of each frame have them.
_NUMBERS = re.compile(
    r"[\d:/.TZ-]*\d[\d:/.TZ-]*|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*\b",
    re.IGNORECASE,
)
#: Differences between an interval and a time step up to this are those of rounded times.
_TOLERANCE = np.timedelta64(90, "s")


def assemble(
    frames: Frames, step: np.timedelta64 | None, stamps: Mapping[Path, Times], lost: Mapping[Path, Times | None]
) -> xr.DataArray:
    """Put the frames of files together.

    Parameters
    ----------
    frames
        Frames of each file, none of them empty; the dict is emptied, so that no frame is in memory twice.
    step
        Time step; by default the usual one.
    stamps
        Times of all frames of each file whose times could be read, also of those that are not in `frames`.
    lost
        Files that could not be read, with their times if these are known. Their frames become NaN.

    Returns
    -------
    DataArray
        Frames at regular times, dims ``(time, y, x)``.

    Raises
    ------
    InputError
        If products are mixed, two frames of one time differ, times are not on regular steps, or sums overlap.
    """
    file_of = _name_files({path: frame["time"].values for path, frame in frames.items()})
    check_one_product(frames)
    field = _drop_near_doubles(_concatenate(_drop_doubles(frames)), file_of)
    _refuse_overlapping_sums(field, file_of)
    field = regular_times(_add_lost_frames(field, stamps, lost), step, file_of=file_of)
    _note_gaps_between_sums(field)
    return field


def _name_files(stamps: Mapping[Path, Times]) -> FileOf:
    """Return a function that returns the name of the file whose frame is nearest to a time."""
    times = np.concatenate(list(stamps.values()))
    names = [path.name for path, of_file in stamps.items() for _ in of_file]
    return lambda time: names[int(np.argmin(np.abs(times - time)))]


def _name_two(a: np.datetime64, b: np.datetime64, file_of: FileOf) -> str:
    """Return the names of the files of two times."""
    first, second = file_of(a), file_of(b)
    return f"two frames of {first}" if first == second else f"{first} and {second}"


# --- one product ----------------------------------------------------------------------------------------------


def check_one_product(frames: Frames) -> None:
    """Raise `InputError`, naming one file of each, unless all frames are of one grid, quantity, interval and source."""
    paths = sorted(frames, key=lambda path: frames[path]["time"].values[0])
    for path in paths[1:]:
        _check_alike(paths[0], frames[paths[0]], path, frames[path])
    described = {path: frames[path].attrs for path in paths}
    _note_titles(described)
    _note_relations(described)


def _check_alike(first: Path, a: xr.DataArray, path: Path, b: xr.DataArray) -> None:
    check_same_grid(a, b, f"the frames of {first.name} and {path.name}")
    for describe in (_describe_quantity, _describe_variable, _describe_source):
        found = describe(a.attrs), describe(b.attrs)
        if found[0] != found[1]:
            raise InputError(
                f"{first.name} holds {found[0]}, {path.name} {found[1]}",
                "a sequence is of one product",
                "Give the files of one of them only",
            )


def _describe_quantity(attrs: Mapping[Any, Any]) -> str:
    interval = find_interval(attrs)
    if interval is not None:
        return f"sums over {interval / MINUTE:g} min"
    return "rates from reflectivity" if "z_r_relation" in attrs else "rain rates"


def _describe_variable(attrs: Mapping[Any, Any]) -> str:
    """Return the variable that was read, of formats for files of any origin."""
    return f"the variable {attrs['variable']!r}" if "variable" in attrs else ""


def _note_titles(described: Mapping[Path, Mapping[Any, Any]]) -> None:
    """Warn if files of any origin differ in their titles or sources, which are free text, but for numbers."""
    for name in ("title", "source", "institution"):
        titles = {_NUMBERS.sub("", str(attrs[name])): path for path, attrs in described.items() if name in attrs}
        if len(titles) > 1 and any(attrs.get("format") in _GENERAL_FORMATS for attrs in described.values()):
            first, second = list(titles.items())[:2]
            warnings.warn(
                f"{first[1].name} and {second[1].name} differ in their {name}, {first[0][:80]!r} and "
                f"{second[0][:80]!r}: are they of one product?",
                InputWarning,
                stacklevel=5,
            )
            return


def _note_relations(described: Mapping[Path, Mapping[Any, Any]]) -> None:
    """Warn if reflectivity of files was converted by different relations, as those that they state."""
    relations = {str(attrs["z_r_relation"]): path for path, attrs in described.items() if "z_r_relation" in attrs}
    if len(relations) > 1:
        (one, first), (other, second) = list(relations.items())[:2]
        warnings.warn(
            f"{first.name} is converted by {one}, {second.name} by {other}: rates change between them",
            InputWarning,
            stacklevel=5,
        )


def _describe_source(attrs: Mapping[Any, Any]) -> str:
    """Return the product, without dates and times such as those of processing; empty where it is free text.

    Short numbers stay: in ODIM they are those of radars and services (``WMO:06234``).
    """
    return "" if attrs.get("format") in _GENERAL_FORMATS else _TIMES.sub("", str(attrs.get("source", "")))


def find_interval(attrs: Mapping[Any, Any]) -> np.timedelta64 | None:
    """Return the interval over which amounts were summed; None if the frames are no amounts.

    Raises
    ------
    InputError
        If the attribute is no number of minutes above zero.
    """
    minutes = attrs.get("accumulation_interval_minutes")
    if minutes is None:
        return None
    try:
        interval = np.timedelta64(round(float(minutes) * 60e9), "ns")
    except (TypeError, ValueError, OverflowError):
        interval = np.timedelta64("NaT")
    if not interval > np.timedelta64(0):
        rule = "it is the number of minutes over which rain was summed"
        raise InputError(f"accumulation_interval_minutes is {minutes!r}", rule, "Correct the attribute")
    return interval


# --- each time once -------------------------------------------------------------------------------------------


def _drop_doubles(frames: Frames) -> Frames:
    """Leave out frames that another file, or the same, holds equally at the same time; `InputError` if they differ."""
    seen: dict[np.datetime64, tuple[Path, int]] = {}
    doubles: list[tuple[Path, Path, np.datetime64]] = []
    kept: dict[Path, list[int]] = {path: [] for path in frames}
    for path, field in frames.items():
        for index, time in enumerate(field["time"].values):
            first, at = seen.setdefault(time, (path, index))
            if (first, at) == (path, index):
                kept[path].append(index)
            else:
                _refuse_different(first, frames[first][at], path, field[index])
                doubles.append((first, path, time))
    _warn_of_doubles(doubles)
    for path, indices in kept.items():
        if len(indices) < frames[path].sizes["time"]:
            frames[path] = frames[path].isel(time=indices)
    return {path: frames.pop(path) for path, indices in kept.items() if indices}


def _refuse_different(first: Path, a: xr.DataArray, path: Path, b: xr.DataArray) -> None:
    if np.array_equal(a.values, b.values, equal_nan=True):
        return
    time = iso_time(a["time"].values.reshape(1)[0])
    if first == path:
        found, remedy = f"{path} holds two different frames of {time}", "Correct the times in the file"
    else:
        found, remedy = f"{first} and {path} hold different frames of {time}", "Leave out one of the two files"
    raise InputError(found, "each time comes once", remedy)


def _warn_of_doubles(doubles: list[tuple[Path, Path, np.datetime64]]) -> None:
    if doubles:
        first, path, time = doubles[0]
        more = f", and {len(doubles) - 1} more" if len(doubles) > 1 else ""
        warnings.warn(
            f"equal frames of one time are used once: {iso_time(time)} in {first} and {path}{more}",
            InputWarning,
            stacklevel=5,
        )


def _drop_near_doubles(field: xr.DataArray, file_of: FileOf) -> xr.DataArray:
    """Leave out frames that come seconds after an equal one, such as one sent again; `InputError` if they differ."""
    times = field["time"].values
    near = _find_near_doubles(times)
    for index in near:
        a, b = times[index - 1], times[index]
        found = f"{_name_two(a, b, file_of)} are {(b - a) / np.timedelta64(1, 's'):g} s apart, at {iso_time(a)}"
        if not np.array_equal(field[index - 1].values, field[index].values, equal_nan=True):
            raise InputError(f"{found}, and differ", "each time comes once", "Leave out one of the two files")
        warnings.warn(f"{found}, and equal: they are used once", InputWarning, stacklevel=5)
    return field.isel(time=np.setdiff1d(np.arange(times.size), near)) if near.size else field


def _find_near_doubles(times: Times) -> NDArray[np.intp]:
    """Return the indices of the frames that are seconds after another one."""
    steps = np.diff(times)
    usual = steps[steps > MAX_JITTER]
    if usual.size == 0:
        return np.array([], dtype=np.intp)
    return np.flatnonzero(steps < min(MAX_JITTER, np.median(usual) / 10)) + 1


# --- sums -----------------------------------------------------------------------------------------------------


def _refuse_overlapping_sums(field: xr.DataArray, file_of: FileOf) -> None:
    """Raise `InputError` for sums over longer than the time between frames, which are smoothed and late as rates."""
    interval = find_interval(field.attrs)
    times = field["time"].values
    if interval is None or times.size < 2:
        return
    at = int(np.argmin(np.diff(times)))
    shortest = times[at + 1] - times[at]
    if interval - shortest > min(_TOLERANCE, interval / 5):
        minutes = interval / MINUTE
        raise InputError(
            f"sums over {minutes:g} min overlap: {_name_two(times[at], times[at + 1], file_of)} are "
            f"{shortest / MINUTE:g} min apart",
            "rates cannot be told from overlapping sums",
            f"Give the product of rain rates or of shorter sums, or only the files that are {minutes:g} min apart",
        )


def _note_gaps_between_sums(field: xr.DataArray) -> None:
    """Warn if sums do not cover the time between the frames."""
    interval, times = find_interval(field.attrs), field["time"].values
    if interval is not None and times.size > 1 and times[1] - times[0] - interval > _TOLERANCE:
        step = (times[1] - times[0]) / MINUTE
        warnings.warn(
            f"sums over {interval / MINUTE:g} min every {step:g} min: rain between them is not in the data",
            InputWarning,
            stacklevel=4,
        )


# --- concatenation --------------------------------------------------------------------------------------------


def _concatenate(frames: Frames) -> xr.DataArray:
    """Concatenate frames of one grid in time order; `frames` is emptied."""
    paths = sorted(frames, key=lambda path: frames[path]["time"].values[0])
    first = frames[paths[0]]
    attrs = _merge_attributes(frames)
    if len(paths) == 1:
        field = first
    elif any(frame.chunks is not None for frame in frames.values()):
        # the grids are equal within a hundredth of a cell, so that of the first file is used
        alike = [frames[path].assign_coords(y=first["y"], x=first["x"]) for path in paths]
        field = xr.concat(alike, dim="time", combine_attrs="override", coords="minimal", compat="override")
    else:
        field = _concatenate_in_memory(frames, paths)
    in_order = (np.diff(field["time"].values) > np.timedelta64(0)).all()
    return (field if in_order else field.sortby("time")).assign_attrs(attrs)


def _merge_attributes(frames: Frames) -> dict[str, Any]:
    """Return the attributes that are no longer those of the first file."""
    clipped = [int(frame.attrs["clipped_cells"]) for frame in frames.values() if "clipped_cells" in frame.attrs]
    return {"clipped_cells": sum(clipped)} if clipped else {}


def _concatenate_in_memory(frames: Frames, paths: list[Path]) -> xr.DataArray:
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


# --- lost frames ----------------------------------------------------------------------------------------------


def _add_lost_frames(
    field: xr.DataArray, read: Mapping[Path, Times], lost: Mapping[Path, Times | None]
) -> xr.DataArray:
    """Add a frame of NaN for each file that could not be read, if its time is known or in its name.

    Without them, missing frames at the ends would not be noticed, and the time step could be wrong.
    """
    known = field["time"].values
    missing = _find_lost_times(read, lost)
    missing = missing[[np.abs(known - time).min() > MAX_JITTER for time in missing]]
    every = np.union1d(known, missing)
    if missing.size == 0 or every.size < 2:
        return field
    step = usual_step(every)
    late = (missing - known[0]) % step
    missing = missing[np.minimum(late, step - late) <= min(step / 10, MAX_JITTER)]
    if known.size < MIN_FRAME_FRACTION * (np.ptp(every) / step + 1):
        missing = missing[(missing > known[0]) & (missing < known[-1])]  # the others are from another day
    return field.reindex(time=np.union1d(known, missing))


def _find_lost_times(read: Mapping[Path, Times], lost: Mapping[Path, Times | None]) -> Times:
    """Return the times of lost files that are known, and those in the names of the others."""
    firsts = {path: stamps[0] for path, stamps in read.items() if stamps.size}
    known = [stamps for stamps in lost.values() if stamps is not None]
    named = _infer_times(firsts, [path for path, stamps in lost.items() if stamps is None])
    return np.concatenate([named, *known])


def _infer_times(read: Mapping[Path, np.datetime64], lost: Iterable[Path]) -> Times:
    """Return the times in the names of `lost`, if the names of all readable files differ from their times equally."""
    named = {path: parse_time_in_name(path.name) for path in (*read, *lost)}
    offsets = np.array([time - stamp for path, stamp in read.items() if (time := named[path]) is not None])
    if offsets.size == 0 or offsets.size < len(read) or np.ptp(offsets) > 2 * MAX_JITTER:
        return np.array([], dtype="datetime64[ns]")
    offset = np.sort(offsets)[offsets.size // 2]
    times = [time - offset for path in lost if (time := named[path]) is not None]
    return np.array(times, dtype="datetime64[ns]")
