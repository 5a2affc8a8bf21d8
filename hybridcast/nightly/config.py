"""The configuration of the nightly run, a TOML file; ``data/regions.toml`` is an example with every key explained.

The table ``[defaults]`` holds the values that all regions share; a region overrides them. Relative paths start at the
folder of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.durations import parse_duration
from hybridcast.core.files import digest
from hybridcast.core.remote import is_url
from hybridcast.core.types import HOUR
from hybridcast.datasets.registry import load_registry, packaged_path
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.days import parse_dates
from hybridcast.nowcasters.base import MakesMembers, Nowcaster
from hybridcast.places import Place, read_places
from hybridcast.places.reading import list_sources
from hybridcast.radar import formats
from hybridcast.registry import TRAINED_NOWCASTERS, baseline_nowcasters, trained_nowcaster
from hybridcast.settings import check_known, parse_table, read_toml
from hybridcast.verification.comparison import FALLBACK, REFERENCE, add_references
from hybridcast.verification.members import BLOCKS
from hybridcast.verification.statistics import FSS_SCALES, STATISTICS_VERSION, THRESHOLDS

SHIPPED = "shipped"
"""Name of the configuration that comes with the package."""
WATCH = "watch"
"""Table of the file, and of each region, that `hybridcast watch` reads."""
WARNINGS_VERSION = 1
"""Version of the statistics of warnings; increment it when they change."""
SHORTEST = "1min"
"""Shortest interval between issue times, and between lead times."""


@dataclass(frozen=True)
class RegionSettings:
    """One region: its radar data, its issue times and lead times, and the nowcasters that are compared."""

    name: str
    dataset: str | None = None
    """Name of a data set in the registry, instead of `radar`."""
    radar: str | None = None
    """Glob of radar files; ``{date}`` is the day as 20180512, and codes such as ``%Y/%m/%d`` are parts of the time. For
    `hybridcast watch` it may be a URL."""
    format: str | None = None
    """Format of the files, if it cannot be detected from their content."""
    x: tuple[float, float] | None = None
    """Bounds of the verified part in x, in the units of the grid."""
    y: tuple[float, float] | None = None
    """Bounds of the verified part in y, in the units of the grid."""
    spacing: float = 2000.0
    """Size of the grid cells, m; 0 for the cells of the radar."""
    every: str = "30min"
    """Interval between issue times."""
    first: str = field(default="00:00", metadata={"key": "from"})
    """First issue time of a day, UTC."""
    last: str = field(default="23:59", metadata={"key": "to"})
    """Latest possible issue time of a day, UTC."""
    lead_time: str = "2h"
    """The longest lead time."""
    step: str = "15min"
    """Interval between lead times, a multiple of the radar's step."""
    nowcasters: tuple[str, ...] = ("hybridcast", "scale-filter")
    """Names of the nowcasters to compare; advection and persistence are always added."""
    members: int = 0
    """Number of members of the nowcasters that make ensembles; with 0 each has as many as by default."""
    model: str = "default"
    """Folder of the trained model of the nowcaster `hybridcast`; "default" is the one in the package."""
    places: str | None = None
    """File of places, as `hybridcast.read_places` reads it, whose warnings are verified against the radar."""
    gauges: str | None = None
    """Glob of files of gauges, as `radar`; places that are named after a gauge are verified against it too."""
    dates: str | None = None
    """Days of an archive, such as ``2018-05-10..2018-05-20``: the region is run on these days only, and on all of them
    if no date is given."""

    def __post_init__(self) -> None:
        """Check the values."""
        where = f"region {self.name!r}"
        _refuse(
            not re.fullmatch(r"\w[\w.+-]*", self.name), f"a region is named {self.name!r}", _NAMES, "Rename the region"
        )
        _check_source(self, where)
        _refuse(
            not 0 <= self.spacing < 1e6, f"{where}: spacing = {self.spacing}", "it is in metres, or 0", "Correct it"
        )
        every, lead, step = (self._duration(key) for key in ("every", "lead_time", "step"))
        _refuse(every > np.timedelta64(1, "D"), f"{where}: every = {self.every!r}", "it is a day at most", "Correct it")
        _refuse(
            step > lead, f"{where}: step = {self.step!r}, lead_time = {self.lead_time!r}", _STEPS, "Correct one of them"
        )
        first, last = parse_clock(self.first, "from", where), parse_clock(self.last, "to", where)
        _refuse(first > last, f"{where}: from {self.first} to {self.last}", "the first comes first", "Swap them")
        _refuse(
            self.gauges is not None and self.places is None,
            f"{where} has gauges {self.gauges!r} and no places",
            "gauges observe places that are named after them",
            "Give places, a file with a place at each gauge",
        )
        _refuse(self.members < 0, f"{where}: members = {self.members}", "it is 0 or more", "Correct it")
        for name in self.nowcasters:
            check_known(name, (*baseline_nowcasters(), *TRAINED_NOWCASTERS), f"{where}: nowcaster")
        if self.dates is not None:
            parse_dates(self.dates)

    def _duration(self, key: str) -> np.timedelta64:
        return parse_duration(getattr(self, key), f"region {self.name!r}: {key}", least=SHORTEST)

    @property
    def radar_pattern(self) -> str:
        """The pattern of radar files, with codes of ``strftime`` only."""
        return str(self.radar).replace("{date}", "%Y%m%d")

    @property
    def all_nowcasters(self) -> tuple[str, ...]:
        """All nowcasters in the order of the configuration; advection and persistence are last unless named."""
        return tuple(dict.fromkeys((*self.nowcasters, REFERENCE, FALLBACK)))

    @property
    def has_hours(self) -> bool:
        """Whether the lead times make up whole hours."""
        return bool(HOUR % self.step_ns == np.timedelta64(0) and self.lead_ns >= HOUR)

    @property
    def lead_ns(self) -> np.timedelta64:
        """The longest lead time as ``timedelta64[ns]``."""
        return self._duration("lead_time")

    @property
    def step_ns(self) -> np.timedelta64:
        """Interval between lead times as ``timedelta64[ns]``."""
        return self._duration("step")

    def issue_times(self, date: str) -> NDArray[np.datetime64]:
        """Return the issue times of a day (UTC), ``datetime64[ns]``."""
        day = np.datetime64(date, "ns")
        first, last = parse_clock(self.first, "from", self.name), parse_clock(self.last, "to", self.name)
        return np.arange(day + first, day + last + np.timedelta64(1, "ns"), self._duration("every"))

    def runs_on(self, date: str) -> bool:
        """Return whether the region is run on a day."""
        return self.dates is None or date in parse_dates(self.dates)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that the statistics depend on, apart from the radar."""
        grid = (self.x, self.y, self.spacing)
        times = (self.every, self.first, self.last, self.lead_time, self.step)
        nowcasters = make_nowcasters(self)
        compared: tuple[object, ...] = (THRESHOLDS, FSS_SCALES, BLOCKS)
        if self.places is not None:
            compared += (WARNINGS_VERSION, self.gauges, describe_places(load_places(self.places)))
        return digest(STATISTICS_VERSION, compared, self.members, grid, times, list(nowcasters), *nowcasters.values())


@dataclass(frozen=True)
class NightlySettings:
    """The whole configuration."""

    region: tuple[RegionSettings, ...]
    """All regions; at least one."""
    store: str = "nightly/store"
    """Folder of the statistics of every night."""
    report: str = "nightly/report"
    """Folder of the reports."""
    workers: int = 1
    """Number of processes, which share the issue times of a day."""
    baseline: str = REFERENCE
    """Name of the nowcaster that the others are compared with in the report."""
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    """Settings of the skill alarm."""

    def __post_init__(self) -> None:
        """Check the values."""
        names = [region.name for region in self.region]
        _refuse(
            not names or len(set(names)) < len(names), f"regions are {names}", "each comes once, one at least", "Rename"
        )
        _refuse(self.workers < 1, f"workers = {self.workers}", "there is one at least", "Correct it")
        for region in self.region:
            check_known(self.baseline, region.all_nowcasters, f"baseline of region {region.name!r}")
            if self.alarm.nowcaster:
                check_known(self.alarm.nowcaster, region.all_nowcasters, f"alarm, nowcaster of region {region.name!r}")


_NAMES = "a name has letters, digits, '_', '.', '+' and '-'"
_STEPS = "there is one lead time at least"


def load_config(path: str | Path) -> NightlySettings:
    """Read a configuration.

    Parameters
    ----------
    path
        TOML file; "shipped" is the one that comes with the package, whose folders are in the current directory.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown (the message has the nearest known one), or a value does not fit.
    """
    file, base = locate_config(path)
    table = read_toml(file, "regions")
    table.pop(WATCH, None)
    defaults = table.pop("defaults", {})
    entries = table.pop("region", [])
    for what, value, kind in (("defaults", defaults, dict), ("region", entries, list)):
        _refuse(
            not isinstance(value, kind), f"{file}: {what} = {value!r}", "it is a table", f"Write [{what}] or [[region]]"
        )
    entries = [_without_watch(defaults | entry) if isinstance(entry, dict) else entry for entry in entries]
    settings = parse_table(NightlySettings, table | {"region": entries}, str(file))
    return _resolve_paths(settings, base)


def locate_config(path: str | Path) -> tuple[Path, Path]:
    """Return the file of a configuration, and the folder at which its relative paths start."""
    if str(path) == SHIPPED:
        return packaged_path("regions.toml"), Path()
    file = Path(path).expanduser()
    return file, file.absolute().parent


def _without_watch(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a region without its table for `hybridcast watch`, which `hybridcast.watch.config` reads."""
    return {key: value for key, value in entry.items() if key != WATCH}


def resolve_path(path: str, base: Path) -> str:
    """Return a path or glob that starts at `base` if it is relative; a URL as it is."""
    return path if is_url(path) else str(base / Path(path).expanduser())


def _resolve_paths(settings: NightlySettings, base: Path) -> NightlySettings:
    """Return the settings with relative paths starting at `base`."""

    def resolve(path: str) -> str:
        return resolve_path(path, base)

    regions = tuple(
        replace(
            region,
            radar=None if region.radar is None else resolve(region.radar),
            places=None if region.places is None else resolve(region.places),
            gauges=None if region.gauges is None else resolve(region.gauges),
            model="default" if region.model == "default" else resolve(region.model),
        )
        for region in settings.region
    )
    return replace(settings, region=regions, store=resolve(settings.store), report=resolve(settings.report))


def load_places(path: str) -> tuple[Place, ...]:
    """Return the places of a region, which are read again when their file, or one that it names, has changed."""
    return _load_version(path, tuple(map(_read_time, _list_version(path, _read_time(Path(path))))))


def _read_time(file: Path) -> int:
    """Return the time of change of a file, ns; 0 if it does not exist."""
    return file.stat().st_mtime_ns if file.exists() else 0


@lru_cache(maxsize=16)
def _list_version(path: str, modified: int) -> tuple[Path, ...]:
    return tuple(list_sources(path))


@lru_cache(maxsize=16)
def _load_version(path: str, modified: tuple[int, ...]) -> tuple[Place, ...]:
    return read_places(path)


def describe_places(places: tuple[Place, ...]) -> str:
    """Return all that identifies places: names, coordinates and warning levels."""
    parts = [
        (
            place.name,
            place.crs and place.crs.srs,
            place.point,
            [ring.tolist() for polygon in place.polygons for ring in polygon],
        )
        for place in places
    ]
    return repr((parts, [place.levels for place in places]))


@lru_cache(maxsize=16)
def make_nowcasters(region: RegionSettings) -> dict[str, Nowcaster]:
    """Create the nowcasters of a region, by name."""
    known: dict[str, Callable[[], Nowcaster]] = baseline_nowcasters()
    names = region.all_nowcasters
    made = {
        name: trained_nowcaster(name, region.model) if name in TRAINED_NOWCASTERS else known[name]() for name in names
    }
    every = add_references(made)
    return {name: _make_ensemble(every[name], region.members) for name in names}


def _make_ensemble(nowcaster: Nowcaster, members: int) -> Nowcaster:
    """Return the nowcaster with this number of members, if it makes any."""
    return nowcaster.with_members(members, 0) if members and isinstance(nowcaster, MakesMembers) else nowcaster


# --- parts ----------------------------------------------------------------------------------------------------


def parse_clock(text: str, key: str, where: str) -> np.timedelta64:
    """Return a time of the day such as ``06:30`` as the time since midnight."""
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise InputError(f"{where}: {key} = {text!r}", "it is a time of the day, UTC", "Write, for example, '06:30'")
    return np.timedelta64(int(match[1]) * 60 + int(match[2]), "m")


def _check_source(region: RegionSettings, where: str) -> None:
    _refuse(
        (region.dataset is None) == (region.radar is None),
        f"{where} has dataset {region.dataset!r} and radar {region.radar!r}",
        "a region has one source",
        "Give either dataset, a name that `hybridcast fetch --list` shows, or radar, a glob of files",
    )
    _refuse(region.radar == "", f"{where}: radar = ''", "it is a glob of files", "Write, for example, 'radar/*.h5'")
    if region.dataset is not None:
        check_known(
            region.dataset, [name for name, entry in load_registry().items() if entry.radar], f"{where}: dataset"
        )
    if region.format is not None:
        check_known(region.format, formats(), f"{where}: format")
    braces = set(re.findall(r"\{.*?\}", region.radar or "")) - {"{date}"}
    _refuse(
        bool(braces),
        f"{where}: radar has {', '.join(sorted(braces))}",
        "{date} alone is known",
        "Write %H and the like",
    )


def _refuse(wrong: bool | np.bool_, found: str, rule: str, remedy: str) -> None:
    if wrong:
        raise InputError(found, rule, remedy)
