"""Events, on which models are trained and scored, listed in a TOML file; ``data/events.toml`` lists real ones.

An event is a continuous period of radar of one region (a radar network). Events of one region are left out together to
test how a method performs in other regions.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.grid import coarsen
from hybridcast.core.time_steps import regular_times, time_step
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.datasets.registry import fetch, is_obtainable, load_registry, packaged_path
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import open_radar
from hybridcast.settings import parse_table, read_toml

#: Size of the cells of training and evaluation, m; finer detail is lost after half an hour.
SPACING = 2000.0
#: Minimum fraction of valid cells with at least 1 mm/h for an issue time to be used.
MIN_WET_FRACTION = 0.003
#: Minimum interval between issue times; closer ones are nearly the same case.
MIN_INTERVAL = np.timedelta64(30, "m")
#: Number of frames of a lazy field that are loaded at once.
_FRAMES = 24


@dataclass(frozen=True)
class Event:
    """One event, as described by an entry ``[[event]]`` of an events file."""

    name: str
    """Unique name."""
    region: str
    """Name of the radar network."""
    dataset: str | None = None
    """Name in the registry of data sets; either this or `radar` is given."""
    radar: str | None = None
    """Glob of radar files."""
    format: str | None = None
    """Format of the radar files; by default it is detected from their content."""
    nwp: str | None = None
    """Glob of files of NWP runs."""
    terrain: str | None = None
    """File of terrain heights."""
    stations: str | None = None
    """Glob of station files."""
    split: str | None = None
    """``"day"`` makes an event of each day (UTC)."""
    days: tuple[str, ...] = ()
    """Days (UTC) of which each is an event, such as ``2016-05-14``; the files need not be opened to find them."""
    x: tuple[float, float] | None = None
    """Bounds of the part that is used along x, in the units of the grid."""
    y: tuple[float, float] | None = None
    """The same along y."""
    history: str = "30min"
    """Minimum length of the radar sequence before an issue time."""
    longest: str = "2h"
    """Maximum lead time at which forecasts are scored."""
    day: str | None = field(default=None, metadata={"key": None})
    """The only day (UTC) of the archive that is used; set by `split` and `days`."""

    def __post_init__(self) -> None:
        """Check that the event has exactly one source of radar, and is split by day or not at all."""
        if (self.dataset is None) == (self.radar is None):
            raise InputError(
                f"event {self.name!r} has dataset {self.dataset!r} and radar {self.radar!r}",
                "an event has one source",
                "Give either dataset, a name that `hybridcast fetch --list` shows, or radar, a glob of files",
            )
        if self.split not in (None, "day"):
            raise InputError(
                f"event {self.name!r}: split = {self.split!r}", "it is 'day'", "Correct it, or leave it out"
            )
        for day in self.days:
            _check_day(self.name, day)

    @property
    def licence(self) -> str:
        """Licence of its data."""
        return load_registry()[self.dataset].licence if self.dataset in load_registry() else "not stated"

    @property
    def licence_source(self) -> str:
        """How that licence is known; empty if it has not been verified."""
        return load_registry()[self.dataset].licence_source if self.dataset in load_registry() else ""


def _check_day(name: str, day: str) -> None:
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise InputError(
            f"event {name!r}: days holds {day!r}", "a day is written as 2016-05-14", "Correct it"
        ) from error


def load_events(path: str | Path | None = None) -> list[Event]:
    """Read a list of events; by default the real ones of the package.

    The days of an archive with ``split = "day"`` are taken from the names of its files if all of them contain a time;
    only the files of a day are then read for its event. Otherwise the whole archive is opened, and must not have long
    gaps.

    Of the package's own list, events of data sets that have no public address and are not on the local mirror are left
    out, with an `InputWarning`.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown, or a name occurs twice.
    """
    own = path is None
    path = packaged_path("events.toml") if path is None else Path(path).expanduser()
    events = [_read_event(entry, path) for entry in read_toml(path, "events").get("event", [])]
    names = [event.name for event in events]
    if not events or len(set(names)) != len(names):
        raise InputError(
            f"{path} holds the events {names}", "there is one at least, and each name comes once", "Correct the file"
        )
    if own:
        events = _without_unobtainable(events)
    return [day for event in events for day in _split_days(event)]


def _without_unobtainable(events: list[Event]) -> list[Event]:
    """Return the events whose data can be had here, and warn of the others."""
    kept = [event for event in events if event.dataset is None or is_obtainable(event.dataset)]
    gone = [event.name for event in events if event not in kept]
    if gone:
        warnings.warn(
            f"events without a public address that are not on the local mirror are left out: {', '.join(gone)}; put "
            "their files there and set HYBRIDCAST_DATA_MIRROR (hybridcast fetch NAME says where they belong)",
            InputWarning,
            stacklevel=3,
        )
    return kept


def _read_event(entry: dict[str, Any], path: Path) -> Event:
    """Read an entry; relative paths are relative to the folder of the file."""
    event = parse_table(Event, entry, f"{path}, event {entry.get('name', '')}".rstrip())
    given = {name: getattr(event, name) for name in ("radar", "nwp", "terrain", "stations")}
    paths: dict[str, Any] = {name: str(path.parent / one) for name, one in given.items() if one is not None}
    return replace(event, **paths)


def _split_days(event: Event) -> list[Event]:
    if event.days:
        return _part_by_day(event, event.days)
    if event.split is None:
        return [event]
    spans = _find_spans(event.radar, event.format)
    if spans:
        times = np.array([time for span in spans for time in (span.first, span.last)])
    else:
        times = _open_whole(event.dataset, event.radar, event.format)["time"].values
    days = np.unique(times.astype("datetime64[D]")).astype(str)
    return _part_by_day(event, days.tolist())


def _part_by_day(event: Event, days: Sequence[str]) -> list[Event]:
    """Return an event for each day; names are without the year if it is the same, and the month if the name has it."""
    same_year = len({day[:4] for day in days}) == 1
    made = []
    for day in days:
        rest = day[8:] if event.name.endswith(day[:7]) else day[5:] if same_year else day
        made.append(replace(event, name=f"{event.name}-{rest}", day=day, split=None, days=()))
    return made


class _Span(NamedTuple):
    """A file, with the times of its first and last frame."""

    path: str
    first: np.datetime64
    last: np.datetime64


@lru_cache(maxsize=4)
def _find_spans(radar: str | None, format_: str | None) -> tuple[_Span, ...]:
    """Return the files of a glob with the times in their names; empty if a name contains no time.

    The difference between the time in a name and those of the frames is taken from the first file that can be read.
    """
    files = [] if radar is None else sorted(glob.glob(radar))
    named = [parse_time_in_name(Path(file).name) for file in files]
    if len(files) < 2 or any(time is None for time in named):
        return ()
    for file, name in zip(files, named, strict=True):
        try:
            stamps = open_radar(file, format_)["time"].values
        except ReadError:
            continue  # a damaged file is reported when its day is read
        begin, end = stamps[0] - name, stamps[-1] - name
        return tuple(_Span(path, time + begin, time + end) for path, time in zip(files, named, strict=True))
    return ()


@lru_cache(maxsize=2)
def _open_whole(dataset: str | None, radar: str | None, format_: str | None) -> xr.DataArray:
    files = sorted(glob.glob(str(radar))) if dataset is None else fetch(dataset, radar_only=True)
    return open_radar(files, format_)


def _open_event(event: Event) -> xr.DataArray:
    """Open the radar of an event; only the files of its day if their names contain times."""
    spans = () if event.day is None else _find_spans(event.radar, event.format)
    if not spans:
        radar = _open_whole(event.dataset, event.radar, event.format)
        return radar if event.day is None else radar.sel(time=event.day)
    begin = np.datetime64(event.day, "ns")
    end = begin + np.timedelta64(1, "D") - np.timedelta64(1, "ns")
    files = [span.path for span in spans if span.first <= end and span.last >= begin]
    return open_radar(files, event.format, times=(begin, end))


def load_event_radar(event: Event, spacing: float = SPACING) -> xr.DataArray:
    """Load the radar of an event on coarser cells and at regular times.

    Parameters
    ----------
    event
        The event.
    spacing
        Approximate size of the cells, m.

    Returns
    -------
    DataArray
        Precipitation field in memory, mm h-1, dims ``(time, y, x)``.

    Raises
    ------
    InputError
        If no data lie within the bounds and the day of the event.
    """
    radar = _open_event(event)
    for axis, bounds in (("x", event.x), ("y", event.y)):
        if bounds is not None:
            values = radar[axis].values
            radar = radar.isel({axis: (values >= min(bounds)) & (values <= max(bounds))})
    if not radar.size:
        raise InputError(
            f"event {event.name!r} is empty", "its bounds and its day lie within the data", "Correct x, y or the source"
        )
    return _coarsen_in_parts(regular_times(radar), spacing)


def _coarsen_in_parts(radar: xr.DataArray, spacing: float) -> xr.DataArray:
    """Load a field on coarser cells, a lazy field in parts, so that memory never holds a whole day on fine cells."""
    count = radar.sizes["time"] if radar.chunks is None else _FRAMES
    parts = [coarsen(radar[k : k + count].compute(), spacing) for k in range(0, radar.sizes["time"], count)]
    return parts[0] if len(parts) == 1 else xr.concat(parts, dim="time", coords="minimal", compat="override")


def issue_times(
    radar: xr.DataArray,
    event: Event,
    *,
    min_interval: np.timedelta64 = MIN_INTERVAL,
    max_count: int = 12,
    min_wet_fraction: float = MIN_WET_FRACTION,
) -> NDArray[np.datetime64]:
    """Choose issue times at regular intervals, with enough frames before and after, and with some rain.

    Parameters
    ----------
    radar
        Result of `load_event_radar`.
    event
        The event, of which `history` and `longest` are used.
    min_interval
        Minimum interval between issue times.
    max_count
        Maximum number of issue times; more are thinned out evenly.
    min_wet_fraction
        Minimum fraction of the valid cells with at least 1 mm/h.

    Returns
    -------
    ndarray
        ``datetime64[ns]``, shape ``(issue_time,)``; empty if the event is too short or too dry.
    """
    times = radar["time"].values
    step = time_step(times)
    if step is None:
        return times[:0]
    first = times[0] + max(2 * step, pd.Timedelta(event.history).to_timedelta64())
    last = times[-1] - pd.Timedelta(event.longest).to_timedelta64()
    every = step * max(1, int(-(-min_interval // step)))
    known = radar.notnull().sum(("y", "x"))
    wet = ((radar >= 1.0).sum(("y", "x")) / known.clip(min=1)).values
    chosen = [t for t in np.arange(first, last + step, every) if t <= last and wet[times == t] >= min_wet_fraction]
    return np.array(chosen[:: -(-len(chosen) // max_count) if chosen else 1], dtype="datetime64[ns]")
