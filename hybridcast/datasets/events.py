"""Events: what is trained on and scored. A list of them is a TOML file; ``data/events.toml`` lists the real ones.

An event is a stretch of radar that belongs together; events of one region (a radar network) are left out together when
a method has to show that it works elsewhere.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import regular_times, time_step
from hybridcast.core.grid import coarsen
from hybridcast.core.readers import parse_time_in_name
from hybridcast.datasets.registry import fetch, load_registry, packaged_path
from hybridcast.errors import InputError, ReadError
from hybridcast.radar import open_radar
from hybridcast.settings import parse_table, read_toml

#: Cells of the learned stage and of the evaluation, m: finer detail is gone after half an hour.
SPACING = 2000.0
#: An issue time is worth it if this share of what is seen has 1 mm/h or more.
MIN_WET_FRACTION = 0.003
#: Issue times closer than this tell the same story.
MIN_INTERVAL = np.timedelta64(30, "m")
#: Frames of a lazy field that are loaded together.
_FRAMES = 24


@dataclass(frozen=True)
class Event:
    """One event, as an entry ``[[event]]`` of an events file has it."""

    name: str
    region: str
    """The radar network."""
    dataset: str | None = None
    """A name in the registry of data sets; or else `radar`."""
    radar: str | None = None
    """A glob of radar files."""
    format: str | None = None
    """Their format, where their content does not tell it."""
    nwp: str | None = None
    """A glob of files of model runs."""
    terrain: str | None = None
    """A file of heights."""
    stations: str | None = None
    """A glob of files of stations."""
    split: str | None = None
    """``"day"``: each day of it is an event."""
    x: tuple[float, float] | None = None
    """Bounds of the part that counts, in the units of the grid."""
    y: tuple[float, float] | None = None
    history: str = "30min"
    """How long the radar has to be there before an issue time."""
    longest: str = "2h"
    """The longest lead time it is scored at."""
    day: str | None = field(default=None, metadata={"key": None})
    """The only day (UTC) of the archive that counts; set by splitting."""

    def __post_init__(self) -> None:
        """Refuse an event without a source, or with two."""
        if (self.dataset is None) == (self.radar is None):
            raise InputError(
                f"event {self.name!r} has dataset {self.dataset!r} and radar {self.radar!r}",
                "an event has one source",
                "Give either dataset, a name that `hybridcast fetch --list` shows, or radar, a glob of files",
            )

    @property
    def licence(self) -> str:
        """Licence of its data."""
        return load_registry()[self.dataset].licence if self.dataset in load_registry() else "not stated"


def load_events(path: str | Path | None = None) -> list[Event]:
    """Read a list of events; by default the real ones that come with the package.

    The days of an archive with ``split = "day"`` are told by the names of its files, if all of these hold a time; then
    the files of a day are read when that day is. Else the whole archive is opened, and must not have long gaps.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown, or a name comes twice.
    """
    path = packaged_path("events.toml") if path is None else Path(path).expanduser()
    events = [_event(entry, path) for entry in read_toml(path, "events").get("event", [])]
    names = [event.name for event in events]
    if not events or len(set(names)) != len(names):
        raise InputError(
            f"{path} holds the events {names}", "there is one at least, and each name comes once", "Correct the file"
        )
    return [day for event in events for day in _days(event)]


def _event(entry: dict[str, Any], path: Path) -> Event:
    event = parse_table(Event, entry, f"{path}, event {entry.get('name', '')}".rstrip())

    def beside(given: str | None) -> str | None:
        return given if given is None or Path(given).is_absolute() else str(path.parent / given)

    names = ("radar", "nwp", "terrain", "stations")
    radar, nwp, terrain, stations = (beside(getattr(event, name)) for name in names)
    return replace(event, radar=radar, nwp=nwp, terrain=terrain, stations=stations)


def _days(event: Event) -> list[Event]:
    if event.split is None:
        return [event]
    if event.split != "day":
        raise InputError(f"event {event.name!r}: split = {event.split!r}", "it is 'day'", "Correct it, or leave it out")
    spans = _spans(event.radar, event.format)
    if spans:
        times = np.array([moment for one in spans for moment in (one.first, one.last)])
    else:
        times = _open(event.dataset, event.radar, event.format)["time"].values
    days = np.unique(times.astype("datetime64[D]")).astype(str)
    same_year = len({day[:4] for day in days}) == 1
    return [replace(event, name=f"{event.name}-{day[5:] if same_year else day}", day=day, split=None) for day in days]


class _Span(NamedTuple):
    """A file, and what time its frames are of."""

    path: str
    first: np.datetime64
    last: np.datetime64


@lru_cache(maxsize=4)
def _spans(radar: str | None, format_: str | None) -> tuple[_Span, ...]:
    """Return the files of a glob with their times, told by their names; none if one of these holds no time.

    How the time in a name and the times of the frames differ is learned from the first file that can be read.
    """
    files = [] if radar is None else sorted(glob.glob(radar))
    named = [parse_time_in_name(Path(file).name) for file in files]
    if len(files) < 2 or any(time is None for time in named):
        return ()
    for file, name in zip(files, named, strict=True):
        try:
            stamps = open_radar(file, format_)["time"].values
        except ReadError:
            continue  # damaged: it is reported when its day is read
        begin, end = stamps[0] - name, stamps[-1] - name
        return tuple(_Span(path, time + begin, time + end) for path, time in zip(files, named, strict=True))
    return ()


@lru_cache(maxsize=2)
def _open(dataset: str | None, radar: str | None, format_: str | None) -> xr.DataArray:
    files = sorted(glob.glob(str(radar))) if dataset is None else fetch(dataset, radar_only=True)
    return open_radar(files, format_)


def _radar(event: Event) -> xr.DataArray:
    """Open the radar of an event; of its day alone where names of files tell which of them hold that."""
    spans = () if event.day is None else _spans(event.radar, event.format)
    if not spans:
        radar = _open(event.dataset, event.radar, event.format)
        return radar if event.day is None else radar.sel(time=event.day)
    begin = np.datetime64(event.day, "ns")
    end = begin + np.timedelta64(1, "D") - np.timedelta64(1, "ns")
    files = [one.path for one in spans if one.first <= end and one.last >= begin]
    return open_radar(files, event.format, times=(begin, end))


def load_event_radar(event: Event, spacing: float = SPACING) -> xr.DataArray:
    """Load the radar of an event, on cells of about `spacing` (m), on regular times.

    Returns
    -------
    DataArray
        A precipitation field in memory.
    """
    radar = _radar(event)
    for axis, bounds in (("x", event.x), ("y", event.y)):
        if bounds is not None:
            values = radar[axis].values
            radar = radar.isel({axis: (values >= min(bounds)) & (values <= max(bounds))})
    if not radar.size:
        raise InputError(
            f"event {event.name!r} is empty", "its bounds and its day lie within the data", "Correct x, y or the source"
        )
    return _coarse(regular_times(radar), spacing)


def _coarse(radar: xr.DataArray, spacing: float) -> xr.DataArray:
    """Load a field on coarser cells, a lazy one by parts: a day is never in memory as fine as on disk."""
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
    """Choose issue times: evenly spaced, enough frames before and after, some rain.

    Parameters
    ----------
    radar
        What `load_event_radar` gave.
    apart
        At least this far from one to the next.
    most
        At most so many, evenly picked.
    min_wet_fraction
        Share of the seen cells with 1 mm/h or more.

    Returns
    -------
    ndarray
        ``datetime64[ns]``; none where the event is too short or too dry.
    """
    times = radar["time"].values
    step = time_step(times)
    if step is None:
        return times[:0]
    first = times[0] + max(2 * step, pd.Timedelta(event.history).to_timedelta64())
    last = times[-1] - pd.Timedelta(event.longest).to_timedelta64()
    every = step * max(1, int(-(-min_interval // step)))
    seen = radar.notnull().sum(("y", "x"))
    wet = ((radar >= 1.0).sum(("y", "x")) / seen.clip(min=1)).values
    chosen = [t for t in np.arange(first, last + step, every) if t <= last and wet[times == t] >= min_wet_fraction]
    return np.array(chosen[:: -(-len(chosen) // max_count) if chosen else 1], dtype="datetime64[ns]")
