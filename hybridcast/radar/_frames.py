"""Fields of rain rate from files of several messages or records, each of one time."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import precipitation
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Array, Doubles
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar._rates import limit_rates


class Frame(NamedTuple):
    """Rain rate of one message."""

    kind: str
    """Quantity of the message, of which a field has one."""
    time: np.datetime64
    """Time of the values, or the end of their interval, UTC."""
    interval: np.timedelta64 | None
    """Interval of a sum or mean; None for instantaneous values."""
    rate: Array
    """Rain rate, mm h-1, shape ``(y, x)``, NaN outside coverage."""
    grid: tuple[Doubles, Doubles, pyproj.CRS]
    """Cell centres along y and x, in the order of the rows and columns, and their CRS."""
    attrs: dict[str, Any]


def leave_out_forecasts(path: Path, leads: list[np.timedelta64], *, alone: bool) -> None:
    """Warn about the forecasts in a file of analyses, by their lead times.

    Raises
    ------
    ForecastFileError
        If the forecasts are `alone` in the file.
    """
    if leads and alone:
        raise ForecastFileError(path, describe_leads(leads))
    if leads:
        warnings.warn(f"{path}: its forecasts ({describe_leads(leads)}) are left out", InputWarning, stacklevel=5)


def describe_leads(leads: list[np.timedelta64]) -> str:
    """Return lead times as text, such as ``+60 min`` or ``+60 to +240 min``."""
    first, last = (f"{lead / MINUTE:+g}" for lead in (min(leads), max(leads)))
    return f"{first} min" if first == last else f"{first} to {last} min"


def build_field(path: Path, frames: list[Frame]) -> xr.DataArray:
    """Build a precipitation field from the frames of one file.

    Raises
    ------
    ReadError
            If they are of several quantities, grids or intervals, or if two of one time differ.
    """
    frames = sorted(frames, key=lambda frame: frame.time)
    first = frames[0]
    _refuse_doubled(path, frames)
    for frame in frames[1:]:
        if frame.kind != first.kind:
            raise ReadError(path, f"holds {first.kind} and {frame.kind}; give the messages of one")
        axes = zip(frame.grid[:2], first.grid[:2], strict=True)
        if frame.grid[2] != first.grid[2] or any(not np.array_equal(a, b) for a, b in axes):
            raise ReadError(path, "its messages are on different grids; split the file")
        if frame.interval != first.interval:
            spans = " and ".join(sorted({_describe_interval(one) for one in (first.interval, frame.interval)}))
            raise ReadError(path, f"holds values {spans}; split the file by them")
    attrs = dict(first.attrs)
    if first.interval is not None:
        attrs["accumulation_interval_minutes"] = float(first.interval / MINUTE)
    rates = first.rate[None] if len(frames) == 1 else np.stack([frame.rate for frame in frames])
    times = [frame.time for frame in frames]
    y, x, crs = first.grid
    return precipitation(limit_rates(rates, attrs), time=times, y=y, x=x, crs=crs, attrs=attrs)


def _refuse_doubled(path: Path, frames: list[Frame]) -> None:
    """Raise `ReadError` if two messages of one time and interval differ, such as reflectivity at several heights."""
    for one, other in pairwise(frames):
        equal = np.array_equal(one.rate, other.rate, equal_nan=True)
        if one.time == other.time and one.interval == other.interval and not equal:
            raise ReadError(
                path, f"two different messages of {one.attrs['source']} at {iso_time(one.time)}; give one level"
            )


def _describe_interval(interval: np.timedelta64 | None) -> str:
    return "at an instant" if interval is None else f"over {interval / MINUTE:g} min"
