"""Files of radar, stations and NWP: found by their patterns, downloaded, and read, in the worker process."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from hybridcast.core.file_kinds import UNFINISHED
from hybridcast.core.files import atomic_write
from hybridcast.core.locations import CopyFolder
from hybridcast.core.patterns import explain_absence, find_local, find_remote, select_around
from hybridcast.core.remote import RemoteFile, download, exists, get_name, has_magic, is_url, open_remote
from hybridcast.core.time_steps import iso_time
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import HybridcastError, InputError, InputWarning, NoFramesError, ReadError
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.nwp import open_nwp
from hybridcast.radar import KeptFrames, open_radar
from hybridcast.stations import open_stations
from hybridcast.terrain import open_terrain
from hybridcast.watch.arrivals import Entry, make_signature
from hybridcast.watch.config import WatchedRegion

#: Latest time of frames that are read; a frame of the future is known, and not used before its time.
_LATEST = np.datetime64("2200-01-01", "ns")
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Files that were found, and what hindered finding others."""

    entries: list[Entry]
    problems: list[str]


@dataclass(frozen=True)
class Content:
    """What is in a radar file."""

    path: str
    """Where the file is on the disk."""
    frames: dict[str, str]
    """Digest of each frame, by its time."""
    refusal: str | None = None
    """Why it cannot be read; None if it was read."""


# --- finding --------------------------------------------------------------------------------------------------


def find_radar(
    region: WatchedRegion,
    periods: Sequence[tuple[np.datetime64, np.datetime64]],
    probe_from: np.datetime64,
    known: frozenset[str],
) -> Found:
    """Find the radar files of periods.

    Parameters
    ----------
    region
        The region.
    periods
        First and last time of each.
    probe_from
        Of a server that cannot list its files, only those are asked for whose time is not before this.
    known
        Keys of the files that are known; a server is not asked for them again.
    """
    pattern = region.region.radar_pattern
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for first, last in periods:
        if is_url(pattern):
            step = region.optional_duration("radar_step")
            start = first if has_magic(pattern) else max(first, probe_from)
            found = _find_on_server(pattern, start, last, step, known, problems)
        else:
            found = _find_on_disk(pattern, first, last)
        entries |= {entry.key: entry for entry in found}
    if not entries and not problems and not is_url(pattern):
        problems.append(_explain_nothing_new(pattern, find_local(pattern, *periods[-1])))
    return Found(list(entries.values()), problems)


def _explain_nothing_new(pattern: str, files: list[Path]) -> str:
    """Return why a pattern gives no frame of the last hours, though `files` may match it."""
    if not files:
        return explain_absence(pattern)
    times = [time for file in files if (time := parse_time_in_name(file.name)) is not None]
    newest = f"the newest name says {iso_time(max(times))}" if times else "none has changed in that time"
    hint = "Times in names are UTC; an archive is replayed by --replay 60x"
    return f"none of {len(files)} files that match {pattern} is of the last hours: {newest}. {hint}"


def _find_on_disk(pattern: str, first: np.datetime64, last: np.datetime64) -> list[Entry]:
    entries = []
    for path in select_around(find_local(pattern, first, last), first, last):
        if path.suffix.lower() in UNFINISHED:
            continue
        try:
            size, modified, changed = _stat(path)
        except OSError:  # it was removed or renamed since
            continue
        if parse_time_in_name(path.name) is not None or np.datetime64(modified, "ns") >= first:
            entries.append(Entry(str(path), make_signature(size, modified, changed)))
    return entries


def _stat(path: Path) -> tuple[int, int, int]:
    """Return size, time of change of the content and time of change of a file, or of what is in a folder."""
    parts = [path, *(part for part in path.rglob("*") if part.is_file())] if path.is_dir() else [path]
    found = [part.stat() for part in parts]
    return (
        sum(one.st_size for one in found),
        max(one.st_mtime_ns for one in found),
        max(one.st_ctime_ns for one in found),
    )


def _find_on_server(
    pattern: str,
    first: np.datetime64,
    last: np.datetime64,
    step: np.timedelta64 | None,
    known: frozenset[str],
    problems: list[str],
) -> list[Entry]:
    entries = []
    try:
        for remote in find_remote(pattern, first, last, step):
            key = _make_key(remote)
            named = parse_time_in_name(get_name(remote.url, _has_time))
            if has_magic(pattern) and named is not None and not first <= named <= last:
                continue
            if key in known or has_magic(pattern) or exists(remote):
                entries.append(Entry(key, "on the server", remote.url))
    except (HybridcastError, OSError) as error:
        problems.append(str(error))
    except Exception as error:  # fsspec's file systems raise errors of many libraries
        problems.append(f"{pattern}: {type(error).__name__}: {error}")
    return entries


def _make_key(remote: RemoteFile) -> str:
    """Return the address of a file without passwords, with a digest of the query where there is one."""
    query = remote.url.partition("?")[2]
    return f"{remote.address}#{_digest(query)}" if query else remote.address


def _has_time(name: str) -> bool:
    return parse_time_in_name(name) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fetch(url: str, folder: Path, *, again: bool = False) -> Path:
    """Download a file into a folder of its own below `folder`, whole or not at all, unless it is there; return it."""
    remote = open_remote(url)
    name = get_name(url, _has_time)
    target = folder / _digest(url) / name
    if target.is_file() and not again:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    copies = CopyFolder()
    try:
        copy = download(remote, name, copies)
        with atomic_write(target) as part:
            shutil.copyfile(copy, part)
    finally:
        copies.remove()
    return target


# --- radar ----------------------------------------------------------------------------------------------------


def read_content(region: WatchedRegion, entry: Entry, downloads: Path, first: np.datetime64) -> Content:
    """Read a radar file whole, and return the times and digests of its frames from a time on."""
    path = entry.key if entry.url is None else ""
    try:
        path = path or str(fetch(str(entry.url), downloads))
        field = _open_radar(region, [Path(path)], first, _LATEST, strict=True)
    except NoFramesError:
        return Content(path, {})
    except HybridcastError as error:
        if entry.url is not None and path:  # the next try downloads it again
            Path(path).unlink(missing_ok=True)
        return Content(path, {}, error.for_command_line)
    several = field.sizes["time"] > 1
    frames = {}
    for time, values in zip(field["time"].values, field.values, strict=True):
        if several and not np.isfinite(values).any():  # a gap between the frames of the file
            continue
        frames[str(time)] = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=12).hexdigest()
    return Content(path, frames)


def _open_radar(
    region: WatchedRegion,
    files: Sequence[Path],
    first: np.datetime64,
    last: np.datetime64,
    *,
    strict: bool,
    kept: KeptFrames | None = None,
) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return open_radar(
            files,
            region.region.format,
            times=(first, last),
            step=region.optional_duration("radar_step") if len(files) > 1 else None,
            interval=region.watch.radar_interval,
            strict=strict,
            kept=kept,
        )


_frames: defaultdict[str, KeptFrames] = defaultdict(KeptFrames)
"""Frames of the last forecast of each region, most of which the next one uses too."""


def open_recent(region: WatchedRegion, files: Iterable[str], issue: np.datetime64, left_out: list[str]) -> xr.DataArray:
    """Return the frames of files that a forecast uses; files that are gone are added to `left_out`."""
    paths = [Path(file) for file in files]
    here = [path for path in paths if path.exists()]
    left_out += [f"{path}: gone since it came" for path in paths if path not in here]
    if not here:
        raise InputError("no radar file is left", "there is at least one", "Keep the files for three hours")
    kept = _frames[region.name]
    radar = _open_radar(region, here, issue - INPUT_HISTORY, issue, strict=False, kept=kept)
    kept.forget_unused()
    return radar


# --- other sources --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OtherSources:
    """Data besides radar; None where there are none, or they cannot be read."""

    stations: xr.Dataset | None = None
    nwp: xr.Dataset | None = None
    terrain: xr.Dataset | None = None


def open_others(
    region: WatchedRegion, radar: xr.DataArray, issue: np.datetime64, downloads: Path, left_out: list[str]
) -> OtherSources:
    """Open the files of stations, NWP and terrain that are there; what cannot be read is added to `left_out`."""
    watch = region.watch

    def attempt(name: str, open_source: Callable[[], T]) -> T | None:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", InputWarning)
                opened = open_source()
            left_out.extend(f"{name}: {one.message}" for one in caught if isinstance(one.message, InputWarning))
        except (HybridcastError, OSError) as error:
            left_out.append(f"{name}: {error}")
            return None
        return opened

    tables: dict[str, Any] = {
        "interval": watch.stations_interval,
        "time_format": watch.stations_time_format,
        "rain": watch.stations_rain,
    }
    age = region.duration("nwp_age")
    return OtherSources(
        stations=attempt(
            "stations",
            lambda: open_stations(
                _find_others(watch.stations, issue - INPUT_HISTORY, issue, downloads, again=True), **tables
            ),
        )
        if watch.stations
        else None,
        nwp=attempt(
            "nwp", lambda: _open_nwp(region, _find_others(watch.nwp, issue - age, issue, downloads, again=False))
        )
        if watch.nwp
        else None,
        terrain=attempt("terrain", lambda: open_terrain(str(watch.terrain), radar)) if watch.terrain else None,
    )


def _find_others(
    patterns: Sequence[str], first: np.datetime64, last: np.datetime64, downloads: Path, *, again: bool
) -> list[Path]:
    """Return the files of patterns on the disk, downloaded if need be.

    Reports of stations may be added to a file, so those of a server are downloaded `again`; fields of NWP are not,
    unless the address is always the same.
    """
    files: list[Path] = []
    for pattern in patterns:
        if is_url(pattern):
            anew = again or not ("%" in pattern or has_magic(pattern))
            listed = has_magic(pattern)
            found = [one for one in find_remote(pattern, first, last) if listed or exists(one)]
            files += [fetch(one.url, downloads, again=anew) for one in found]
        else:
            files += [path for path in find_local(pattern, first, last) if path.suffix.lower() not in UNFINISHED]
    if not files:
        local = [pattern for pattern in patterns if not is_url(pattern)]
        reason = explain_absence(local[0]) if local else f"no file on the server matches {', '.join(patterns)}"
        raise ReadError(patterns[0], reason)
    return select_around(files, first, last)


_nwp: dict[tuple[Any, ...], xr.Dataset] = {}
"""The NWP that was read last, which is the same for many forecasts."""


def _open_nwp(region: WatchedRegion, files: Sequence[Path]) -> xr.Dataset:
    watch = region.watch
    key = (region.name, watch.nwp_member, watch.nwp_accumulation, *((str(path), _stat(path)) for path in files))
    if key not in _nwp:
        opened = open_nwp(files, member=watch.nwp_member, accumulation=watch.nwp_accumulation).load()
        _nwp.clear()
        _nwp[key] = opened
    return _nwp[key]
