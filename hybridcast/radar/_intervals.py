"""Interval in which the amounts of a CF file fell, from any of the places where files state it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.cf import require_one_length
from hybridcast.core.types import MINUTE
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError

_WORDS = r"(?:accum|accumulation|acc|integration)_?(?:time|interval|period|duration|length)?"
#: Names of attributes that hold the interval in the unit that the name states.
_NAMED = re.compile(rf"^{_WORDS}_(?P<unit>min|minutes|h|hours|s|seconds)$")
#: Names of attributes that hold the interval with its unit: "5 min" or "PT5M".
_UNNAMED = re.compile(rf"^{_WORDS}$")
_DURATION = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]+)\s*$", re.IGNORECASE)
_SUM = re.compile(r"\btime\s*:\s*sum\b(?P<rest>[^:]*(?::[^:()]*)?)")
_HOW = (
    "State it: bounds of time (CF 7.1), or data[name].attrs['accumulation_interval_minutes'] = 5 of data = "
    "xarray.open_dataset(path), then data.to_netcdf(new_path)"
)


class Interval(NamedTuple):
    """Interval of amounts."""

    length: np.timedelta64
    ends: NDArray[np.datetime64]
    """End of the interval of each frame."""


def read_interval(data: xr.Dataset, variable: xr.DataArray, units: np.timedelta64 | None, path: Path) -> Interval:
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
    units
        Interval that the unit states, if it does.
    path
        The file, for error messages.

    Raises
    ------
    ReadError
        If the interval is not stated, or in two ways that differ.
    """
    time = variable["time"]
    bounds = time.attrs.get("bounds", time.encoding.get("bounds"))
    ends = time.values
    stated: dict[str, np.timedelta64] = {} if units is None else {"its units": units}
    if bounds in data.variables:
        starts, ends = np.moveaxis(np.atleast_2d(data[bounds].values), -1, 0)
        stated["the bounds of time"] = require_one_length(ends - starts, path)
    for attrs in (variable.attrs, data.attrs):
        stated |= {f"the attribute {name!r}": length for name, length in _read_attributes(attrs)}
    return Interval(_require_agreement(stated, path) or _read_less_certain(data, variable, path), ends)


def _require_agreement(stated: Mapping[str, np.timedelta64], path: Path) -> np.timedelta64 | None:
    lengths = set(stated.values())
    if len(lengths) > 1:
        listed = ", ".join(f"{length / MINUTE:g} min ({where})" for where, length in stated.items())
        raise ReadError(path, f"states different intervals of its amounts: {listed}. Correct one of them")
    return lengths.pop() if lengths else None


def _read_attributes(attrs: Mapping[Hashable, Any]) -> Iterator[tuple[str, np.timedelta64]]:
    for key, value in attrs.items():
        name = str(key).lower()
        named = _NAMED.match(name)
        length = _from_number(value, named["unit"]) if named else _parse_duration(str(value))
        if length is not None and (named or _UNNAMED.match(name)):
            yield str(key), length


def _from_number(value: Any, unit: str) -> np.timedelta64 | None:
    try:
        return _to_timedelta(float(value), unit)
    except (TypeError, ValueError):
        return None


def _parse_duration(text: str) -> np.timedelta64 | None:
    """Return a duration such as "5 minutes" or, in ISO 8601, "PT5M"; None for any other text."""
    match = _DURATION.match(text)
    if match:
        return _to_timedelta(float(match["number"]), match["unit"])
    if not text.strip().upper().startswith("P"):
        return None
    try:
        return np.timedelta64(pd.Timedelta(text.strip().upper()).value, "ns")
    except ValueError:
        return None


def _to_timedelta(number: float, unit: str) -> np.timedelta64 | None:
    conversion = unit_conversion(unit.lower(), "s")
    if conversion is None or not 0 < number * conversion[0] < 1e9:
        return None
    return np.timedelta64(round(number * conversion[0] * 1e9), "ns")


def _read_less_certain(data: xr.Dataset, variable: xr.DataArray, path: Path) -> np.timedelta64:
    """Return the interval from ``cell_methods``, else from the times that one frame covers.

    The interval in ``cell_methods`` is, by CF, that of the original data. It is used if it is not shorter than the
    time step.
    """
    times = variable["time"].values
    length = _read_cell_methods(str(variable.attrs.get("cell_methods", "")))
    step = np.diff(times).min() if times.size > 1 else None
    if length is not None and step is not None and length < step:
        raise ReadError(
            path,
            f"cell_methods state an interval of {length / MINUTE:g} min, which is not the time step "
            f"({step / MINUTE:g} min). {_HOW}",
        )
    length = length or (_read_coverage(data, times[0]) if times.size == 1 else None)
    if length is None:
        raise ReadError(path, f"holds an amount, but not the time it fell in. {_HOW}")
    return length


def _read_cell_methods(text: str) -> np.timedelta64 | None:
    """Return the interval of "time: sum (interval: 5 minutes)", also if it is a comment or follows "over"."""
    found = _SUM.search(text)
    if found is None:
        return None
    words = re.sub(r"\b(interval|comment|over|of|last|previous|the|in)\b|[():,]", " ", found["rest"])
    return _parse_duration(words.strip())


def _read_coverage(data: xr.Dataset, time: np.datetime64) -> np.timedelta64 | None:
    """Return the time that one frame covers, by ACDD, if the frame is stamped with its end."""
    try:
        ends = [data.attrs[f"time_coverage_{end}"] for end in ("start", "end")]
        start, end = (pd.Timestamp(text).tz_localize(None) for text in ends)
    except (KeyError, TypeError, ValueError):
        return None
    length = np.timedelta64(end - start).astype("m8[ns]")
    return length if length > np.timedelta64(0) and end.to_datetime64() == time else None
