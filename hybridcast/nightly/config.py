"""What the nightly run does, as a TOML file: ``data/regions.toml`` is one, with every key explained.

A table ``[defaults]`` holds what all regions share; a region overrides it. Relative paths start at the folder of the
file. Other sources of a region (stations, model runs) will be fields of `RegionSettings` beside `radar`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.durations import parse_duration
from hybridcast.core.files import digest
from hybridcast.datasets.registry import load_registry, packaged_path
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.days import dates_of
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.radar import formats
from hybridcast.registry import TRAINED_NOWCASTERS, baseline_nowcasters, trained_nowcaster
from hybridcast.settings import from_table, read_toml
from hybridcast.verification.comparison import FALLBACK, REFERENCE, add_references
from hybridcast.verification.statistics import FSS_SCALES, STATISTICS_VERSION, THRESHOLDS

#: The name of the configuration that comes with the package.
SHIPPED = "shipped"
#: As often as this at most, and lead times no closer.
LEAST = "1min"


@dataclass(frozen=True)
class RegionSettings:
    """One region: where its radar is, when forecasts are issued, what is compared."""

    name: str
    dataset: str | None = None
    """A name in the registry of data sets; or else `radar`."""
    radar: str | None = None
    """A glob of radar files; ``{date}`` stands for the day as 20180512, codes as ``%Y/%m/%d`` for parts of the time."""
    format: str | None = None
    """Format of the files, where their content does not tell it."""
    x: tuple[float, float] | None = None
    """Bounds of the part that counts, in the units of the grid."""
    y: tuple[float, float] | None = None
    spacing: float = 2000.0
    """Size of the cells, m; 0 for those of the radar."""
    every: str = "30min"
    """From one issue time to the next."""
    first: str = field(default="00:00", metadata={"key": "from"})
    """First issue time of a day, UTC."""
    last: str = field(default="23:59", metadata={"key": "to"})
    """No issue time after this."""
    lead_time: str = "2h"
    """The longest lead time."""
    step: str = "15min"
    """From one lead time to the next; a whole number of the radar's steps."""
    nowcasters: tuple[str, ...] = ("hybridcast", "scales")
    """What is compared, beside advection and persistence, which always are."""
    model: str = "default"
    """Folder of the trained model that `hybridcast` is; "default" comes with the package."""
    dates: str | None = None
    """The days of an archive, as ``2018-05-10..2018-05-20``: run when no date is asked for, and no others ever."""

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
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
        first, last = clock(self.first, "from", where), clock(self.last, "to", where)
        _refuse(first > last, f"{where}: from {self.first} to {self.last}", "the first comes first", "Swap them")
        for name in self.nowcasters:
            check_known(name, (*baseline_nowcasters(), *TRAINED_NOWCASTERS), f"{where}: nowcaster")
        if self.dates is not None:
            dates_of(self.dates)

    def _duration(self, key: str) -> np.timedelta64:
        return parse_duration(getattr(self, key), f"region {self.name!r}: {key}", least=LEAST)

    @property
    def all_nowcasters(self) -> tuple[str, ...]:
        """Everything compared, in the order of the configuration, persistence and advection last if not named."""
        return tuple(dict.fromkeys((*self.nowcasters, REFERENCE, FALLBACK)))

    @property
    def has_hours(self) -> bool:
        """Whether lead times make up whole hours."""
        return bool(HOUR % self.step_ns == np.timedelta64(0) and self.lead_ns >= HOUR)

    @property
    def lead_ns(self) -> np.timedelta64:
        """The longest lead time."""
        return self._duration("lead_time")

    @property
    def step_ns(self) -> np.timedelta64:
        """From one lead time to the next."""
        return self._duration("step")

    def issue_times(self, date: str) -> NDArray[np.datetime64]:
        """Return the issue times of a day (UTC), ``datetime64[ns]``."""
        day = np.datetime64(date, "ns")
        first, last = clock(self.first, "from", self.name), clock(self.last, "to", self.name)
        return np.arange(day + first, day + last + np.timedelta64(1, "ns"), self._duration("every"))

    def has(self, date: str) -> bool:
        """Tell whether it is run on a day."""
        return self.dates is None or date in dates_of(self.dates)

    @property
    def fingerprint(self) -> str:
        """Tell what its numbers depend on, apart from the radar."""
        place = (self.x, self.y, self.spacing)
        times = (self.every, self.first, self.last, self.lead_time, self.step)
        nowcasters = nowcasters_of(self)
        return digest(STATISTICS_VERSION, THRESHOLDS, FSS_SCALES, place, times, list(nowcasters), *nowcasters.values())


@dataclass(frozen=True)
class NightlySettings:
    """The whole configuration."""

    region: tuple[RegionSettings, ...]
    store: str = "nightly/store"
    """Folder of the sums of every night."""
    report: str = "nightly/report"
    """Folder of the reports."""
    workers: int = 1
    """Processes that work on issue times."""
    baseline: str = REFERENCE
    """The nowcaster that others are compared with in the report."""
    alarm: AlarmSettings = field(default_factory=AlarmSettings)

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        names = [region.name for region in self.region]
        _refuse(
            not names or len(set(names)) < len(names), f"regions are {names}", "each comes once, one at least", "Rename"
        )
        _refuse(self.workers < 1, f"workers = {self.workers}", "there is one at least", "Correct it")
        for region in self.region:
            check_known(self.baseline, region.all_nowcasters, f"baseline of region {region.name!r}")
            if self.alarm.nowcaster:
                check_known(self.alarm.nowcaster, region.all_nowcasters, f"alarm, nowcaster of region {region.name!r}")


HOUR = np.timedelta64(1, "h").astype("timedelta64[ns]")
_NAMES = "a name has letters, digits, '_', '.', '+' and '-'"
_STEPS = "there is one lead time at least"


def load_config(path: str | Path) -> NightlySettings:
    """Read a configuration; "shipped" is the one that comes with the package, with its folders in the current one.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown (the nearest right one is named), or a value does not fit.
    """
    shipped = str(path) == SHIPPED
    file = packaged_path("regions.toml") if shipped else Path(path).expanduser()
    table = read_toml(file, "regions")
    defaults = table.pop("defaults", {})
    entries = table.pop("region", [])
    for what, value, kind in (("defaults", defaults, dict), ("region", entries, list)):
        _refuse(
            not isinstance(value, kind), f"{file}: {what} = {value!r}", "it is a table", f"Write [{what}] or [[region]]"
        )
    entries = [defaults | entry if isinstance(entry, dict) else entry for entry in entries]
    settings = from_table(NightlySettings, table | {"region": entries}, str(file))
    base = Path() if shipped else file.absolute().parent
    return _resolved(settings, base)


def _resolved(settings: NightlySettings, base: Path) -> NightlySettings:
    """Make relative paths start at `base`."""

    def resolve(path: str) -> str:
        return str(base / Path(path).expanduser())

    regions = tuple(
        replace(
            region,
            radar=None if region.radar is None else resolve(region.radar),
            model="default" if region.model == "default" else resolve(region.model),
        )
        for region in settings.region
    )
    return replace(settings, region=regions, store=resolve(settings.store), report=resolve(settings.report))


@lru_cache(maxsize=16)
def nowcasters_of(region: RegionSettings) -> dict[str, Nowcaster]:
    """Make the nowcasters of a region, by name."""
    known: dict[str, Callable[[], Nowcaster]] = baseline_nowcasters()
    names = region.all_nowcasters
    made = {
        name: trained_nowcaster(name, region.model) if name in TRAINED_NOWCASTERS else known[name]() for name in names
    }
    every = add_references(made)
    return {name: every[name] for name in names}


# --- parts ----------------------------------------------------------------------------------------------------


def clock(text: str, key: str, where: str) -> np.timedelta64:
    """Read a time of the day such as ``06:30``."""
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise InputError(f"{where}: {key} = {text!r}", "it is a time of the day, UTC", "Write, for example, '06:30'")
    return np.timedelta64(int(match[1]) * 60 + int(match[2]), "m")


def check_known(name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that is none of `known`, with the nearest right one."""
    import difflib

    names = list(dict.fromkeys(known))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        remedy = f"Did you mean {near[0]!r}" if near else f"Choose one of {', '.join(names)}"
        raise InputError(f"{what} {name!r}", "it is a known one", remedy)


def _check_source(region: RegionSettings, where: str) -> None:
    _refuse(
        (region.dataset is None) == (region.radar is None),
        f"{where} has dataset {region.dataset!r} and radar {region.radar!r}",
        "a region has one source",
        "Give either dataset, a name that `hybridcast fetch --list` shows, or radar, a glob of files",
    )
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
