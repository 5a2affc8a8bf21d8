"""Which files of a sequence are decoded: those with frames in a period, found by the times in their headers.

The time in the name of a file is not trusted for this: it may be that of processing, or local.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import check_frames
from hybridcast.core.listing import list_first
from hybridcast.core.locations import SEPARATOR, Location, RemoteLocation
from hybridcast.core.readers import Format, choose_reader, read_errors, read_file, read_files
from hybridcast.core.time_steps import MAX_JITTER, iso_time
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import HOUR, Mask
from hybridcast.errors import ForecastFileError, InputError, InputWarning, NoFramesError, ReadError
from hybridcast.radar.assembly import find_interval
from hybridcast.radar.kept_frames import KeptFile, KeptFrames, identify

Times = NDArray[np.datetime64]
Period = tuple[np.datetime64, np.datetime64]
Content = TypeVar("Content")

#: A single frame that follows the others after more than this is not taken for the newest one.
_LONGEST_OUTAGE = np.timedelta64(1, "D")
#: Times in names may be as much as this from UTC.
DAY = np.timedelta64(1, "D")
#: Times before this are those of a clock that was not set.
_FIRST_TIME = np.datetime64("1971-01-01", "ns")

#: Words in the names of files of any origin that may be forecasts.
_FORECAST_NAME = re.compile(r"(?<![a-z])(forecasts?|nowcasts?|fcst|prediction)(?![a-z])", re.IGNORECASE)
#: Formats that hold files of any origin.
GENERAL_FORMATS = frozenset({"cf", "geotiff"})

#: What to do with a file of unknown format.
ADVICE = (
    "; name one with format=, or read it yourself and give the values to "
    "hybridcast.precipitation(values, time=..., y=..., x=..., crs=...)"
)
CLI_ADVICE = "; name one with --format, or convert it to a known one, such as NetCDF that follows the CF conventions"


@runtime_checkable
class RadarFormat(Format, Protocol):
    """Interface of a radar format. It reads ONE file; the order of times, gaps and bad files are handled elsewhere."""

    def read(self, path: Path) -> xr.DataArray:
        """Read all frames of one file as a precipitation field; raise `ReadError` if it is damaged."""
        ...


@runtime_checkable
class ReadsTimes(Protocol):
    """Ability of a radar format to read the times of a file without decoding its frames."""

    def read_times(self, path: Path) -> Times:
        """Return the times that `read` would return, shape ``(time,)``; raise its errors about times and forecasts."""
        ...


@runtime_checkable
class TakesInterval(Protocol):
    """Ability of a radar format to read amounts whose files do not state the interval in which they fell."""

    def read_amounts(self, path: Path, interval: np.timedelta64) -> xr.DataArray:
        """Do as `read`; `interval` is that of amounts; `ReadError` if the file states another."""
        ...


@dataclass(frozen=True)
class Request:
    """Frames that are wanted of a sequence of files."""

    format: str | RadarFormat | None
    """Name of a format, or the format; None to detect it."""
    formats: Mapping[str, RadarFormat]
    """Known formats."""
    period: Period | None = None
    """First and last time."""
    history: np.timedelta64 | None = None
    """Length of the period up to the last frame (within `period`)."""
    each: Callable[[xr.DataArray], xr.DataArray] | None = None
    """Function applied to the frames of each file."""
    strict: bool = False
    """Whether to raise at the first unreadable file."""
    interval: np.timedelta64 | None = None
    """Interval of amounts whose files do not state it."""
    kept: KeptFrames | None = None
    """Frames of files that were read before; None to keep none."""

    @property
    def decoding(self) -> tuple[object, ...]:
        """What the frames of a file depend on besides its content."""
        return (self.format if self.format is None or isinstance(self.format, str) else id(self.format), self.interval)

    @property
    def selects(self) -> bool:
        """Whether frames of some files may not be wanted."""
        return self.period is not None or self.history is not None


class FramesOfFiles(NamedTuple):
    """Frames of the files that were decoded, and what is known of the others."""

    frames: dict[Path, xr.DataArray]
    """The wanted frames of each file that has any."""
    stamps: dict[Path, Times]
    """Times of all frames of each file of observations that could be opened."""
    unreadable: list[ReadError]
    """Errors of the files that could not be read."""
    lost: dict[Path, Times | None]
    """Those files, with their times if they are known."""
    forecasts: list[ForecastFileError]
    """Errors of the files that hold forecasts."""
    outside: int
    """Number of files that have no wanted frame."""


class _Scan(NamedTuple):
    """A file whose times are known."""

    reader: RadarFormat
    stamps: Times
    """Times of all of its frames."""
    frames: xr.DataArray | None = None
    """Its frames; None if they have not been decoded."""
    is_final: bool = False
    """Whether `frames` holds only wanted frames, to which `Request.each` has been applied."""


def read_frames(files: Sequence[Path], request: Request) -> FramesOfFiles:
    """Read the wanted frames of files.

    Raises
    ------
    ReadError
        If no file, or with `Request.strict` any file, can be read; `ForecastFileError` if all of them are forecasts.
    NoFramesError
        If no frame is in the period.
    """
    forecasts: list[ForecastFileError] = []
    near = _skip_downloads(files, request)
    scans, unreadable = _read_observations(near, lambda path: _scan(path, request), forecasts, request)
    stamps = {path: scan.stamps for path, scan in scans.items()}
    period = _choose_period(stamps, request)
    needed = [path for path in scans if period is None or _are_within(stamps[path], period).any()]
    if not needed:
        raise no_frames_error(np.concatenate(list(stamps.values())), period)
    _warn_of_future(stamps, needed)
    _warn_of_other_formats({path: scan.reader.NAME for path, scan in scans.items()}, needed)
    frames, damaged = _read_observations(
        needed, lambda path: _read_wanted(path, scans[path], period, request), forecasts, request
    )
    frames = {path: of_file for path, of_file in frames.items() if of_file.sizes["time"]}
    if not frames:
        raise no_frames_error(np.concatenate(list(stamps.values())), period)
    lost: dict[Path, Times | None] = {error.path: None for error in unreadable}
    lost |= {error.path: stamps[error.path] for error in damaged}
    outside = len(files) - len(near) + len(scans) - len(needed)
    return FramesOfFiles(frames, stamps, [*unreadable, *damaged], lost, forecasts, outside)


def are_near(names: Sequence[str], request: Request) -> list[bool]:
    """Return which files behind URLs are near the wanted period by the times in their names; others stay there.

    Times in names may be local, so a day beside a stated period counts as near; and a file may reach to the time of the
    next one. If none is near, the first and the last are kept, to tell what there is.
    """
    named = [parse_time_in_name(name) for name in names]
    times = np.unique(np.array([time for time in named if time is not None], dtype="datetime64[ns]"))
    if times.size < 2 or not request.selects:
        return [True] * len(names)
    reach = max(HOUR, np.median(np.diff(times)))
    if request.period is not None:
        first, last = request.period[0] - DAY - reach, request.period[1] + DAY
    else:
        first, last = times[-1] - (request.history or DAY) - reach, times[-1]
    near = [time is None or bool(first <= time <= last) for time in named]
    return near if any(near) else [time in (times[0], times[-1]) for time in named]


def _skip_downloads(files: Sequence[Path], request: Request) -> Sequence[Path]:
    """Return the files without those behind URLs that are not near."""
    remote = [path for path in files if isinstance(path, RemoteLocation)]
    near = are_near([path.name for path in remote], request)
    far = {path for path, is_near in zip(remote, near, strict=True) if not is_near}
    return [path for path in files if path not in far]


def _read_observations(
    files: Sequence[Path], read: Callable[[Path], Content], forecasts: list[ForecastFileError], request: Request
) -> tuple[dict[Path, Content], list[ReadError]]:
    """Read files as `read_files` does, and add the errors of those that hold forecasts to `forecasts`."""

    def read_observation(path: Path) -> Content | None:
        try:
            return read(path)
        except ForecastFileError as error:
            if len(files) == 1:
                raise
            forecasts.append(error)
            return None

    opened, unreadable = read_files(files, read_observation, strict=request.strict)
    contents = {path: content for path, content in opened.items() if content is not None}
    if not contents:
        raise ForecastFileError(forecasts[0].path, f"{forecasts[0].leads}; none of the {len(files)} files is better")
    return contents, unreadable


def _scan(path: Path, request: Request) -> _Scan:
    return read_file(path, lambda copy: _scan_copy(copy, request))


def _scan_copy(path: Path, request: Request) -> _Scan:
    """Return the times of a file; its frames too, if they are needed or their format has no other way."""
    found = None if request.kept is None else request.kept.find(path, *request.decoding)
    if found is not None:
        return _Scan(cast(RadarFormat, found.reader), found.frames["time"].values, found.frames)
    reader = choose_reader(path, request.format, request.formats, "radar", ADVICE, cli_advice=CLI_ADVICE)
    with read_errors(path, reader.NAME):
        if request.selects and isinstance(reader, ReadsTimes):
            return _Scan(reader, _check_stamps(path, reader.read_times(path)))
        frames = _decode(path, reader, request)
        stamps = frames["time"].values
        if request.history is not None:
            return _Scan(reader, stamps, frames)
        return _Scan(reader, stamps, _select(frames, request.period, request), is_final=True)


def _read_wanted(path: Path, scan: _Scan, period: Period | None, request: Request) -> xr.DataArray:
    """Return the wanted frames of a file."""
    if scan.frames is not None and scan.is_final:
        return scan.frames
    return read_file(path, lambda copy: _select_in_copy(copy, scan, period, request))


def _select_in_copy(path: Path, scan: _Scan, period: Period | None, request: Request) -> xr.DataArray:
    with read_errors(path, scan.reader.NAME):
        frames = _decode(path, scan.reader, request) if scan.frames is None else scan.frames
        return _select(frames, period, request)


def _decode(path: Path, reader: RadarFormat, request: Request) -> xr.DataArray:
    key = None if request.kept is None else identify(path, *request.decoding)
    if request.interval is not None and isinstance(reader, TakesInterval):
        field = reader.read_amounts(path, request.interval)
    else:
        field = reader.read(path)
    check_frames(field)
    find_interval(field.attrs)  # raises an error if it is none
    _check_stamps(path, field["time"].values)
    field = field.assign_attrs(format=reader.NAME)
    if request.kept is None:
        return field
    return request.kept.keep(KeptFile(reader, field), key, path, *request.decoding)


def _select(frames: xr.DataArray, period: Period | None, request: Request) -> xr.DataArray:
    """Return the frames within a period, after `Request.each`."""
    if period is not None:
        inside = _are_within(frames["time"].values, period)
        frames = frames if inside.all() else frames.isel(time=inside)
    return request.each(frames) if request.each is not None and frames.sizes["time"] else frames


# --- times ----------------------------------------------------------------------------------------------------


def _check_stamps(path: Path, stamps: Times) -> Times:
    """Return the times; `ReadError` for a missing time, and for that of a clock that was not set."""
    if np.isnat(stamps).any():
        raise ReadError(path, "a frame has no time (NaT)")
    if stamps.size and stamps.min() < _FIRST_TIME:
        raise ReadError(
            path, f"its time is {iso_time(stamps.min())}: a clock that was not set, or a wrong unit of time"
        )
    return stamps


def _are_within(stamps: Times, period: Period) -> Mask:
    """Return which times are in a period, or so little outside that they may be rounded into it."""
    return np.asarray((stamps >= period[0] - MAX_JITTER) & (stamps <= period[1] + MAX_JITTER))


def _choose_period(stamps: Mapping[Path, Times], request: Request) -> Period | None:
    """Return the first and the last time that are wanted."""
    if request.history is None:
        return request.period
    every = np.unique(np.concatenate(list(stamps.values())))
    inside = every if request.period is None else every[_are_within(every, request.period)]
    if not inside.size:
        raise no_frames_error(np.concatenate(list(stamps.values())), request.period)
    _refuse_lone(inside, stamps)
    first = inside[-1] - request.history
    return first if request.period is None else max(first, request.period[0]), inside[-1]


def _refuse_lone(times: Times, stamps: Mapping[Path, Times]) -> None:
    """Raise `InputError` if the last frame is more than a day later than all others: its time may be wrong."""
    if times.size > 1 and times[-1] - times[-2] > _LONGEST_OUTAGE:
        last, before = times[-1], times[-2]
        raise InputError(
            f"the last frame, {iso_time(last)} in {_find_file(stamps, last)}, comes {(last - before) / HOUR:.0f} hours "
            f"after the one before it, {iso_time(before)} in {_find_file(stamps, before)}",
            "a forecast starts from recent frames",
            f"If its time is wrong, leave this file out, or give times=(first, '{before}'); if it is right, give this "
            "file only",
            cli_remedy=f"If its time is wrong, leave this file out, or give --issue-time {str(before)[:16]}; if it is "
            "right, give this file only",
        )


def _find_file(stamps: Mapping[Path, Times], time: np.datetime64) -> Path:
    return next(path for path, of_file in stamps.items() if time in of_file)


def no_frames_error(times: Times, period: Period | None) -> NoFramesError:
    """Return the error of frames with these times, of which none is within a period."""
    first, last = iso_time(times.min()), iso_time(times.max())
    return NoFramesError(
        "no frame" if period is None else f"no frame from {iso_time(period[0])} to {iso_time(period[1])}",
        f"there are frames from {first} to {last}",
        "Choose times within them (UTC)",
        cli_remedy=f"Give a time from {first} to {last}, in UTC (--issue-time, or --time of a plot)",
    )


def _warn_of_future(stamps: Mapping[Path, Times], files: Iterable[Path]) -> None:
    """Warn of frames later than now: their times may be local times."""
    path = max(files, key=lambda path: stamps[path].max())
    ahead = stamps[path].max() - np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")
    if ahead > HOUR:
        warnings.warn(
            f"{path}: its time, {iso_time(stamps[path].max())}, is {ahead / HOUR:.1f} hours ahead of this machine's "
            "clock: is it UTC?",
            InputWarning,
            stacklevel=4,
        )


def _warn_of_other_formats(formats: Mapping[Path, str], used: Sequence[Path]) -> None:
    """Warn of files of other formats than those used: another radar may have been given by mistake."""
    others = [path for path, name in formats.items() if name not in {formats[path] for path in used}]
    if others:
        warnings.warn(
            f"not used, as their times are others: {len(others)} files of another format, such as {others[0]} "
            f"({formats[others[0]]})",
            InputWarning,
            stacklevel=4,
        )


def note_names(formats: Mapping[Path, str]) -> None:
    """Warn, once, of files of any origin that are called forecasts, though nothing in them says that they are."""
    named = [path for path, name in formats.items() if name in GENERAL_FORMATS and _FORECAST_NAME.search(path.name)]
    if named:
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        warnings.warn(
            f"{named[0]}{more}: called a forecast, but nothing in it states a lead time above zero: read as an "
            "observation. Leave it out if it is none",
            InputWarning,
            stacklevel=3,
        )


def note_forecasts(forecasts: Sequence[ForecastFileError]) -> dict[str, str]:
    """Warn once about the files that hold forecasts, and return the attribute that lists them."""
    if not forecasts:
        return {}
    listed = _list_by_container(forecasts)
    warnings.warn(f"left out, forecasts are no observations: {list_first(listed, 3)}", InputWarning, stacklevel=3)
    return {"forecasts_left_out": "; ".join(listed)}


def _list_by_container(forecasts: Sequence[ForecastFileError]) -> list[str]:
    """Return a text for each file, but one for all files of a container, which may hold dozens."""
    groups: dict[str, list[ForecastFileError]] = {}
    for error in forecasts:
        is_member = isinstance(error.path, Location) and SEPARATOR in str(error.path)
        groups.setdefault(str(error.path).rpartition(SEPARATOR)[0] if is_member else "", []).append(error)
    return [text for container, errors in groups.items() for text in _describe_forecasts(container, errors)]


def _describe_forecasts(container: str, errors: Sequence[ForecastFileError]) -> list[str]:
    if not container or len(errors) == 1:
        return [f"{error.path} ({error.leads})" for error in errors]
    first, last = (f"{error.path.name} ({error.leads})" for error in (errors[0], errors[-1]))
    return [f"{container}: {len(errors)} files, {first} to {last}"]
