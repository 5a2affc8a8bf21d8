"""The settings of `hybridcast watch`: the tables ``[watch]`` of the configuration of the nightly run.

A region says where its radar is, for both. ``[watch]`` holds the values that all regions share, and a table
``[region.watch]`` below a region overrides them. Relative paths start at the folder of the file. ``data/regions.toml``
is an example with every key explained.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hybridcast.core.durations import parse_duration
from hybridcast.core.forecast_files import Packing
from hybridcast.core.remote import is_url
from hybridcast.errors import InputError, InputWarning
from hybridcast.forecasting import MAX_MEMBERS, MAX_SEED
from hybridcast.nightly.config import (
    WATCH,
    RegionSettings,
    load_config,
    locate_config,
    resolve_path,
)
from hybridcast.registry import TRAINED_NOWCASTERS, baseline_nowcasters
from hybridcast.settings import check_known, check_whole, parse_table, read_toml
from hybridcast.watch.products import FORMATS, PICTURES, PLACES_FILES
from hybridcast.webmap import PageSettings


@dataclass(frozen=True)
class HookSettings:
    """A command to run, or a URL to post to, when something has happened."""

    command: tuple[str, ...] | None = None
    """The command and its arguments; it gets the message, JSON, on its standard input."""
    url: str | None = None
    """A URL, to which the message, JSON, is posted."""
    token: str | None = None
    """Name of an environment variable, whose value is sent as a bearer token."""
    timeout: str = "30s"
    """Longest duration of the command, or of waiting for the server."""
    give_up: str = "24h"
    """Time after which a message that cannot be delivered is dropped."""

    def __post_init__(self) -> None:
        """Check the values."""
        if (self.command is None) == (self.url is None):
            found = f"a hook has the command {self.command} and the URL {self.url!r}"
            raise InputError(found, "it has one of them", "Give either command, an array of words, or url")
        if self.command is not None and not self.command:
            raise InputError(
                "command = []", "a command has a name", 'Write, for example, command = ["/usr/bin/logger"]'
            )
        if self.url is not None and not re.match(r"https?://.", self.url):
            raise InputError(f"url = {self.url!r}", "it begins with https:// or http://", "Correct it")
        for key in ("timeout", "give_up"):
            parse_duration(getattr(self, key), key, least="1s")

    @property
    def timeout_s(self) -> float:
        """Longest duration, s."""
        return seconds(self.timeout)

    @property
    def give_up_s(self) -> float:
        """Time after which a message is dropped, s."""
        return seconds(self.give_up)


@dataclass(frozen=True)
class WatchSettings:
    """How forecasts are made of a region as its radar comes in."""

    out: str = "watch"
    """Folder of everything that is written, with a folder for each region."""
    poll: str = "5s"
    """Time between looks for new files."""
    settle: str = "2s"
    """Time for which a file on the disk has not changed before it is read."""
    wait: str = "10min"
    """Time after the end of a frame's interval for which the frame is waited for."""
    longest_outage: str = "30min"
    """Time without any frame after which no forecast is made."""
    catch_up: str = "30min"
    """Age up to which frames that came while nothing ran get a forecast each; older ones are history only."""
    alert_age: str = "20min"
    """Age of the newest forecast above which the state is failing."""
    radar_step: str | None = None
    """Time step of the radar; by default the usual time between frames. Needed for URLs with minutes (``%M``)."""
    radar_interval: str | None = None
    """Interval of the amounts of radar files that do not state it."""
    stations: tuple[str, ...] = ()
    """Patterns or URLs of files of gauges or stations, and of their places."""
    stations_interval: str | None = None
    """Interval of amounts in tables of gauges that do not state it."""
    stations_time_format: str | None = None
    """Format of times in tables of gauges that do not prove it."""
    stations_rain: str | None = None
    """Column of rain in tables of gauges."""
    nwp: tuple[str, ...] = ()
    """Patterns or URLs of files of NWP runs."""
    nwp_age: str = "24h"
    """Age of the oldest NWP runs that are looked for."""
    nwp_delay: str = "3h"
    """Time from the start of an NWP run until it is there, in a replay; live, a run is there when its files are."""
    nwp_member: str | None = None
    """Which of an NWP ensemble is read."""
    nwp_accumulation: str | None = None
    """Interval of NWP amounts whose files do not state it."""
    terrain: str | None = None
    """File of terrain heights."""
    nowcaster: str = "hybridcast"
    """Name of the nowcaster."""
    lead_time: str = "2h"
    """The longest lead time."""
    step: str | None = None
    """Interval between lead times; by default the radar's."""
    members: int = 20
    """Number of members of the ensemble; 0 for none."""
    seed: int = 0
    """Seed of the members."""
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rate thresholds of the probabilities of a trained model, mm h-1."""
    file: str = "forecast.zarr"
    """Name of the forecast in its folder: forecast.zarr, which is written faster, or forecast.nc."""
    packing: str = "float16"
    """How members are stored, see `hybridcast.save_forecast`."""
    pictures: tuple[str, ...] = ("maps", "probabilities")
    """Pictures to draw."""
    places_files: tuple[str, ...] = ("csv", "json")
    """Kinds of files of what the forecast says of the places of the region: csv, json, parquet."""
    map: bool = False
    """Whether a map page for browsers is written, index.html in the folder of the region."""
    map_tiles: str | None = None
    """URL of map tiles, with ``{z}``, ``{x}`` and ``{y}``; by default none."""
    map_attribution: str = ""
    """Who made the radar data and the tiles, shown on the map."""
    timeout: str = "5min"
    """Longest duration of a forecast with its products; the process is replaced after it."""
    keep: str = "48h"
    """Age, relative to the newest one, up to which forecasts are kept."""
    metrics: str | None = None
    """File of metrics for Prometheus; by default metrics.prom in the folder of the region."""
    on_forecast: HookSettings | None = None
    """What to do when a forecast has been made."""
    on_warning: HookSettings | None = None
    """What to do when a warning at a place is raised or cleared."""

    def __post_init__(self) -> None:
        """Check the values."""
        for key in _DURATIONS:
            if getattr(self, key) is not None:
                parse_duration(getattr(self, key), key, least="100ms" if key in ("poll", "settle") else "1s")
        check_whole("members", self.members, MAX_MEMBERS)
        check_whole("seed", self.seed, MAX_SEED)
        check_known(self.nowcaster, (*baseline_nowcasters(), *TRAINED_NOWCASTERS), "nowcaster")
        check_known(self.file, FORMATS, "file")
        check_known(self.packing, get_args(Packing), "packing")
        for name in self.pictures:
            check_known(name, PICTURES, "pictures")
        for name in self.places_files:
            check_known(name, PLACES_FILES, "places_files")
        if not self.thresholds or not all(0 < low < high for low, high in pairwise((*self.thresholds, math.inf))):
            found, rule = f"thresholds = {list(self.thresholds)}", "they are above zero and increase, one at least"
            raise InputError(found, rule, "Write, for example, [0.1, 1.0, 5.0]")
        PageSettings(tiles=self.map_tiles)
        if "members" in self.pictures and not self.members:
            raise InputError("pictures of members, members = 0", "there are members to draw", "Leave one of them out")


_DURATIONS = (
    "poll",
    "settle",
    "wait",
    "longest_outage",
    "catch_up",
    "alert_age",
    "radar_step",
    "radar_interval",
    "stations_interval",
    "nwp_age",
    "nwp_delay",
    "lead_time",
    "step",
    "timeout",
    "keep",
)


REPLAY = "-replay"
"""What follows the name of a region in that of the folder of its replays."""


@dataclass(frozen=True)
class WatchedRegion:
    """A region of the configuration, and how it is watched."""

    region: RegionSettings
    watch: WatchSettings
    folder: Path = field(default=Path())
    """Folder of everything that is written about it."""

    @property
    def name(self) -> str:
        """Name of the region."""
        return self.region.name

    def duration(self, key: str) -> np.timedelta64:
        """Return a setting that is a duration as ``timedelta64[ns]``."""
        return parse_duration(getattr(self.watch, key), key)

    def optional_duration(self, key: str) -> np.timedelta64 | None:
        """Return a setting that is a duration, or None if it is not set."""
        return None if getattr(self.watch, key) is None else self.duration(key)

    def in_replay(self) -> WatchedRegion:
        """Return the region with a folder of its own for replays, beside that of the live forecasts."""
        folder = self.folder.with_name(f"{self.folder.name}{REPLAY}")
        return replace(self, folder=folder, watch=replace(self.watch, metrics=None))

    def with_radar(self, radar: str, format: str | None) -> WatchedRegion:
        """Return the region with other radar files."""
        return replace(self, region=replace(self.region, dataset=None, radar=radar, format=format))


def seconds(duration: str) -> float:
    """Return a duration such as ``30s`` in seconds."""
    return float(parse_duration(duration, "duration") / np.timedelta64(1, "s"))


def load_watch(path: str | Path, names: Sequence[str] = ()) -> list[WatchedRegion]:
    """Read the regions that are watched.

    Parameters
    ----------
    path
        Configuration of the nightly run; "shipped" is the one that comes with the package.
    names
        Names of the regions; by default all.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown, a value does not fit, or a region is not configured.
    """
    file, base = locate_config(path)
    settings = load_config(path)
    for name in names:
        check_known(name, [region.name for region in settings.region], "region")
    table = read_toml(file, "regions")
    shared = _get_table(table, f"{file}")
    own = {
        entry["name"]: table.get("defaults", {}).get(WATCH, {}) | _get_table(entry, f"region {entry['name']}")
        for entry in table["region"]
    }
    for entry in table["region"]:
        if not names or entry["name"] in names:
            _note_ignored(entry, shared | own[entry["name"]], f"{file}")
    warned = [region for region in settings.region if "on_warning" in shared | own[region.name]]
    if warned and all(region.places is None for region in warned):
        found = f"{file}: on_warning is set, and none of its regions has places"
        raise InputError(found, "warnings are raised at places", "Give a region places = 'places.toml'")
    regions = [_make_region(region, shared | own[region.name], base) for region in settings.region]
    _check_apart(regions, f"{file}")
    return [region for region in regions if not names or region.name in names]


def _locate_command(hook: HookSettings | None, base: Path) -> HookSettings | None:
    """Return a hook whose command, if it is a relative path, starts at `base`."""
    if hook is None or hook.command is None:
        return hook
    name, *arguments = hook.command
    return replace(hook, command=(resolve_path(name, base) if os.sep in name else name, *arguments))


def check_commands(watch: WatchSettings) -> None:
    """Raise `InputError` if the command of a hook cannot be run on this machine, before anything has to be told."""
    for key, hook in (("on_forecast", watch.on_forecast), ("on_warning", watch.on_warning)):
        name = None if hook is None or hook.command is None else hook.command[0]
        if name is not None and shutil.which(name) is None:
            found, rule = f"{key}: command {name!r}", "it is a program that can be run"
            raise InputError(found, rule, f"Correct the path, or make it executable: chmod +x {name}")


def _note_ignored(entry: dict[str, Any], watch: dict[str, Any], where: str) -> None:
    """Warn of settings of a region that only the nightly run takes from there."""
    ignored = [key for key in ("members", "lead_time") if key in entry and key not in watch]
    if ignored:
        warnings.warn(
            f"{where}: region {entry['name']!r}: {', '.join(ignored)} of [[region]] "
            f"{'is' if len(ignored) == 1 else 'are'} for the nightly run; write [region.watch] for 'watch'",
            InputWarning,
            stacklevel=4,
        )


def _check_apart(regions: Sequence[WatchedRegion], where: str) -> None:
    """Raise `InputError` if what is written about two regions would have one name."""
    metrics = Counter(region.watch.metrics for region in regions if region.watch.metrics is not None)
    shared = [path for path, count in metrics.items() if count > 1]
    if shared:
        raise InputError(
            f"{where}: metrics = {shared[0]!r} of {metrics[shared[0]]} regions",
            "each region writes a file of its own, which holds only its metrics",
            "Move metrics to [region.watch], with another name for each, or leave it out",
        )
    names = {region.name for region in regions}
    for name in names:
        if f"{name}{REPLAY}" in names:
            found, rule = f"{where}: regions {name!r} and '{name}{REPLAY}'", f"a replay writes into NAME{REPLAY}"
            raise InputError(found, rule, "Rename one of them")


def _get_table(table: dict[str, Any], where: str) -> dict[str, Any]:
    found = table.get(WATCH, {})
    if not isinstance(found, dict):
        raise InputError(f"{where}: watch = {found!r}", "it is a table", f"Write [{WATCH}] or [region.{WATCH}]")
    return found


def _make_region(region: RegionSettings, table: dict[str, Any], base: Path) -> WatchedRegion:
    watch = parse_table(WatchSettings, table, f"watch, region {region.name}")
    patterns = [pattern for pattern in (region.radar_pattern,) if is_url(pattern) and "%M" in pattern]
    if patterns and watch.radar_step is None:
        found = f"region {region.name!r}: radar = {patterns[0]!r}"
        raise InputError(found, "a server is asked at the times of frames", "Give radar_step, such as '5min'")

    def resolve(key: str) -> Any:
        value = getattr(watch, key)
        many = isinstance(value, tuple)
        paths = [resolve_path(one, base) for one in (value if many else [value] if value is not None else [])]
        return tuple(paths) if many else (paths[0] if paths else None)

    if watch.map and region.places is not None and "json" not in watch.places_files:
        found = f"region {region.name!r}: map = true, places_files = {list(watch.places_files)}"
        raise InputError(found, "the map shows places from places.json", "Add 'json' to places_files")
    watch = replace(watch, **{key: resolve(key) for key in ("out", "stations", "nwp", "terrain", "metrics")})
    watch = replace(
        watch,
        on_forecast=_locate_command(watch.on_forecast, base),
        on_warning=_locate_command(watch.on_warning, base),
    )
    return WatchedRegion(region, watch, Path(watch.out) / region.name)
