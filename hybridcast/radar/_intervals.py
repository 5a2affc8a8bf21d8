"""Interval in which the amounts of a CF file fell, from any of the places where files state it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.cf import require_one_length
from hybridcast.core.intervals import read_cell_methods, read_interval_attributes
from hybridcast.core.types import MINUTE
from hybridcast.errors import ReadError

_NOT_STATED = "holds an amount, but not the time it fell in. "
_HOW = (
    "State it: interval=..., such as '5min', bounds of time (CF 7.1), or data[name].attrs"
    "['accumulation_interval_minutes'] = 5 of data = xarray.open_dataset(path), then data.to_netcdf(new_path)"
)
_CLI_HOW = "State it: --radar-interval, such as 5min, or an attribute accumulation_interval_minutes of the variable"
#: Descriptions of amounts that are not those of one interval.
_RUNNING = re.compile(r"\bsince\b|\b(storm|event|running|season\w*)[- ](total|sum|accumul)", re.IGNORECASE)
#: Descriptions of times that are the starts of intervals.
_STARTS = re.compile(
    r"\b(start|begin(ning)?) of (the |each )?(\w+ )?(interval|period|accumulation|integration|measurement)|"
    r"\b(interval|period|accumulation)\w* (start|begin)",
    re.IGNORECASE,
)
#: Nouns of sums; of amounts, rain itself is one.
_SUMS, _AMOUNTS = r"accum\w*|sums?|totals?", r"accum\w*|sums?|totals?|amounts?|rain\w*|precip\w*"
_LENGTH = r"(?P<length>hourly|(?<![\d.])[1-9]\d*[- ]?(?:min(?:utes?)?|h(?:ours?|r)?))\b"
_DAILY = re.compile(r"\b(?P<length>daily)\b", re.IGNORECASE)
_NAMED_LENGTHS = {"hourly": np.timedelta64(1, "h"), "daily": np.timedelta64(24, "h")}
_AVERAGED = re.compile(r"\btime\s*:\s*(mean|sum)\b")
_IN_NAME = re.compile(r"(?<![a-z\d])(\d+)_?(min|minutes?|h|hr|hours?)(?![a-z\d])")


Times = NDArray[np.datetime64]


class Interval(NamedTuple):
    """Interval of amounts."""

    length: np.timedelta64
    ends: NDArray[np.datetime64]
    """End of the interval of each frame."""


def read_interval(
    data: xr.Dataset, variable: xr.DataArray, known: Mapping[str, np.timedelta64 | None], path: Path
) -> Interval:
    """Return the interval over which amounts are accumulated, and the ends of the intervals.

    It follows from the bounds of time, an attribute such as ``accumulation_interval_minutes``, the unit (``mm/5min``),
    ``cell_methods``, or, with one frame, ``time_coverage_start`` and ``time_coverage_end``. Without bounds, the time
    stamps are taken as ends.

    Parameters
    ----------
    data
        The dataset.
    variable
        Amounts, with the dimension time.
    known
        Intervals that are known otherwise, by what states them, such as the unit; None if it states none.
    path
        The file, for error messages.

    Raises
    ------
    ReadError
        If the interval is not stated, or in two ways that differ.
    """
    stated = {where: length for where, length in known.items() if length is not None}
    bounds = _read_bounds(data, variable)
    if bounds is not None:
        stated["the bounds of time"] = require_one_length(bounds[1] - bounds[0], path)
    else:
        _refuse_running(variable, path)
    for attrs in (variable.attrs, data.attrs):
        stated |= {f"the attribute {name!r}": length for name, length in read_interval_attributes(attrs)}
    described = _read_summing_words(str(variable.attrs.get("long_name", "")), _AMOUNTS)
    if described is not None:
        stated["its description"] = described
    if stated:
        stated |= _read_name(str(variable.name))
    length = _require_agreement(stated, path) or _read_less_certain(data, variable, path)
    return Interval(length, _shift_starts(variable["time"], length) if bounds is None else bounds[1])


def read_averaging(data: xr.Dataset, variable: xr.DataArray) -> Interval | None:
    """Return the interval over which rates are means or sums, by ``cell_methods``; None if they are not, or of unknown.

    It is that of the bounds of time, or, of sums, that which ``cell_methods`` or the description state.
    """
    methods, words = (str(variable.attrs.get(name, "")) for name in ("cell_methods", "long_name"))
    summed = _read_summing_words(words)
    if summed is not None:
        return Interval(summed, _shift_starts(variable["time"], summed))
    if not _AVERAGED.search(methods):
        return None
    bounds = _read_bounds(data, variable)
    if bounds is not None:
        lengths = np.unique(bounds[1] - bounds[0])
        return Interval(lengths[0], bounds[1]) if lengths.size == 1 and lengths[0] > np.timedelta64(0) else None
    length = read_cell_methods(methods)
    return None if length is None else Interval(length, _shift_starts(variable["time"], length))


def _read_summing_words(text: str, nouns: str = _SUMS) -> np.timedelta64 | None:
    """Return the interval of "daily rain", "1-hour accumulation" or "sum over 30 min"; None of other or several."""
    before = re.compile(rf"\b{_LENGTH}\s(?:\w+\s)?(?:{nouns})\b", re.IGNORECASE)
    after = re.compile(
        rf"\b(?:{nouns})(?:\s\w+)?\s(?:in|over|of|per|during)\s(?:the\s)?(?:(?:last|past)\s)?{_LENGTH}", re.IGNORECASE
    )
    found = {match["length"].lower() for pattern in (before, after, _DAILY) for match in pattern.finditer(text)}
    lengths = {_NAMED_LENGTHS.get(words) or _read_spelled(words) for words in found}
    return lengths.pop() if len(lengths) == 1 else None


def _read_spelled(words: str) -> np.timedelta64:
    return np.timedelta64(int(re.sub(r"\D", "", words)), "m" if "m" in words else "h")


def _read_bounds(data: xr.Dataset, variable: xr.DataArray) -> tuple[Times, Times] | None:
    """Return the starts and ends of the intervals; None without bounds of time."""
    time = variable["time"]
    name = time.attrs.get("bounds", time.encoding.get("bounds"))
    if name not in data.variables:
        return None
    starts, ends = np.moveaxis(np.atleast_2d(data[name].values), -1, 0)
    return starts, ends


def _shift_starts(time: xr.DataArray, length: np.timedelta64) -> Times:
    """Return the ends of intervals: the times, unless they are described as the starts."""
    described = f"{time.attrs.get('long_name', '')} {time.attrs.get('comment', '')}"
    return np.asarray(time.values + length if _STARTS.search(described) else time.values)


def _refuse_running(variable: xr.DataArray, path: Path) -> None:
    """Raise `ReadError` for amounts since a fixed time, of which each holds the one before."""
    described = str(variable.attrs.get("long_name", ""))
    if _RUNNING.search(described):
        raise ReadError(
            path,
            f"{variable.name!r} is described as {described!r}: each amount holds those before it. Give the amounts of "
            "each interval, their differences, with the description corrected",
        )


def _read_name(name: str) -> dict[str, np.timedelta64]:
    """Return the interval in the name of a variable, if it is only one: `precipitation_amount_1hour_Accumulation`."""
    found = {(int(number), unit) for number, unit in _IN_NAME.findall(name.lower())}
    if len(found) != 1:
        return {}
    number, unit = found.pop()
    return {f"its name {name!r}": np.timedelta64(number, "m" if unit.startswith("m") else "h")}


def _require_agreement(stated: Mapping[str, np.timedelta64], path: Path) -> np.timedelta64 | None:
    lengths = {length.astype("m8[ns]") for length in stated.values()}
    if len(lengths) > 1:
        listed = ", ".join(f"{length / MINUTE:g} min ({where})" for where, length in stated.items())
        raise ReadError(path, f"states different intervals of its amounts: {listed}. Correct one of them")
    return lengths.pop() if lengths else None


def _read_less_certain(data: xr.Dataset, variable: xr.DataArray, path: Path) -> np.timedelta64:
    """Return the interval from ``cell_methods``, else from the times that one frame covers.

    The interval in ``cell_methods`` is, by CF, that of the original data. It is used if it is not shorter than the
    time step.
    """
    times = variable["time"].values
    length = read_cell_methods(str(variable.attrs.get("cell_methods", "")))
    step = np.diff(times).min() if times.size > 1 else None
    if length is not None and step is not None and length < step:
        raise ReadError(
            path,
            f"cell_methods state an interval of {length / MINUTE:g} min, which is not the time step "
            f"({step / MINUTE:g} min). {_HOW}",
        )
    length = length or (_read_coverage(data, times[0]) if times.size == 1 else None)
    if length is None:
        raise ReadError(path, _NOT_STATED + _HOW, cli_reason=_NOT_STATED + _CLI_HOW)
    return length


def _read_coverage(data: xr.Dataset, time: np.datetime64) -> np.timedelta64 | None:
    """Return the time that one frame covers, by ACDD, if the frame is stamped with its end."""
    try:
        ends = [data.attrs[f"time_coverage_{end}"] for end in ("start", "end")]
        start, end = (pd.Timestamp(text).tz_localize(None) for text in ends)
    except (KeyError, TypeError, ValueError):
        return None
    length = np.timedelta64(end - start).astype("m8[ns]")
    return length if length > np.timedelta64(0) and end.to_datetime64() == time else None
