"""An archive as if its frames came now: each is put into a folder at its time, where the loop finds it.

Frames of files that hold several are written one by one, in CF NetCDF; other files are copied as they are.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import InputError, InputWarning
from hybridcast.nightly.config import RegionSettings
from hybridcast.nightly.days import parse_dates
from hybridcast.nightly.radar import find_files
from hybridcast.radar import open_radar
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.json_files import read_json, write_json

_DAY = np.timedelta64(1, "D")
#: Frames that are read from a file at once.
_BLOCK = 12


@dataclass(frozen=True)
class Archived:
    """A frame of an archive."""

    time: np.datetime64
    source: Path | xr.DataArray
    """The file to copy, or the frame itself, with the dim ``time``."""

    def put_into(self, folder: Path) -> None:
        """Write the frame into a folder, whole or not at all."""
        if isinstance(self.source, Path):
            with atomic_write(folder / self.source.name) as part:
                shutil.copyfile(self.source, part)
            return
        stamp = np.datetime_as_string(self.time, unit="s").replace("-", "").replace(":", "")
        data = self.source.drop_encoding().to_dataset(name=RATE).assign_attrs(Conventions="CF-1.11")
        seconds = {"units": "seconds since 1970-01-01T00:00:00", "dtype": "int64"}
        with atomic_write(folder / f"{stamp}Z.nc") as part:
            data.to_netcdf(part, engine="h5netcdf", encoding={"time": seconds})


def parse_speed(text: str) -> float | None:
    """Return the speed of a replay, such as ``60x``; None for ``max``, as fast as forecasts are made.

    Raises
    ------
    InputError
        If it is neither.
    """
    if text == "max":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)x", text)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"--replay {text}", "it is a number of times, or max", "Write --replay 60x, or --replay max")
    return float(match[1])


def find_period(region: RegionSettings, dates: Sequence[str]) -> list[str]:
    """Return the days of a replay: those that are given, or those of the archive.

    Raises
    ------
    InputError
        If the region states no days and none are given, or one is no day.
    """
    days = sorted({day for text in (dates or [region.dates or ""]) if text for day in parse_dates(text)})
    if not days:
        found, rule = f"region {region.name!r} has no dates", "a replay is of days of an archive"
        raise InputError(found, rule, "Give --date, such as 2018-05-12 or 2018-05-10..2018-05-20")
    return days


class Feeder:
    """Puts the frames of an archive into a folder at their times, and goes on from where it was.

    Parameters
    ----------
    region
        The region, an archive.
    days
        The days.
    folder
        Folder of the replay.
    """

    def __init__(self, region: RegionSettings, days: Sequence[str], folder: RegionFolder) -> None:
        folder.arrived.mkdir(exist_ok=True)
        self._region, self._folder = region, folder
        self._position = folder.state / "replay.json"
        done = read_json(self._position)
        self._after = None if done is None else np.datetime64(done["released"], "ns")
        self._days = list(days)
        if done is not None and done.get("days", self._days) != self._days:
            raise InputError(
                f"{folder.path} holds a replay of {done['days'][0]} to {done['days'][-1]}",
                "a replay that was begun goes on with its own days",
                f"Give the same --date, or remove {folder.path} to replay other days",
            )
        self._frames = _iterate(region, days)
        self._next = self._take_next()
        self.released = 0
        if self._next is None and self._after is None:
            raise InputError(
                f"region {region.name!r} on {days[0]} to {days[-1]}", "there are frames", "Choose other days"
            )

    @property
    def start(self) -> np.datetime64:
        """The first time of the clock: that of the first frame, or of the last one that was released before."""
        if self._after is not None:
            return self._after
        assert self._next is not None
        return self._next.time

    @property
    def format(self) -> str | None:
        """Format of the files in the folder, if it has to be stated."""
        is_copy = self._next is not None and isinstance(self._next.source, Path)
        return self._region.format if is_copy else None

    @property
    def finished(self) -> bool:
        """Whether all frames are released."""
        return self._next is None

    def release(self, now: np.datetime64) -> None:
        """Put the frames up to a time into the folder."""
        while self._next is not None and self._next.time <= now:
            self._next.put_into(self._folder.arrived)
            self.released += 1
            write_json(self._position, {"released": str(self._next.time), "days": self._days})
            self._after = self._next.time
            self._next = self._take_next()

    def _take_next(self) -> Archived | None:
        return next((frame for frame in self._frames if self._after is None or frame.time > self._after), None)


def _iterate(region: RegionSettings, days: Sequence[str]) -> Iterator[Archived]:
    """Yield the frames of days in the order of time."""
    files = list(dict.fromkeys(file for day in days for file in find_files(region, day)))
    if not files:
        return
    named = [(parse_time_in_name(file.name), file) for file in files]
    wanted = {np.datetime64(day, "D") for day in days}
    if all(time is not None for time, _ in named) and _open(region, files[0]).sizes["time"] == 1:
        for time, file in sorted((time, file) for time, file in named if time is not None):
            if time.astype("datetime64[D]") in wanted:
                yield Archived(time, file)
        return
    fields = sorted((_open(region, file) for file in files), key=lambda field: field["time"].values[0])
    for field in fields:
        inside = np.isin(field["time"].values.astype("datetime64[D]"), list(wanted))
        yield from _iterate_field(field.isel(time=inside))


def _iterate_field(field: xr.DataArray) -> Iterator[Archived]:
    for first in range(0, field.sizes["time"], _BLOCK):
        block = field[first : first + _BLOCK].compute(scheduler="synchronous")
        for k in range(block.sizes["time"]):
            frame = block.isel(time=slice(k, k + 1))
            yield Archived(frame["time"].values[0], frame)


def _open(region: RegionSettings, file: Path) -> xr.DataArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return open_radar(file, region.format)
