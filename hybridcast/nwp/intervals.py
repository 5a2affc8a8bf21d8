"""Interval of an amount in a NetCDF file, from all places where files state it.

These are, the most certain first: the bounds of the time (CF 7.1), an attribute such as
``accumulation_interval_minutes``, `cell_methods` with an interval (CF 7.3), GRIB attributes of cfgrib, and the words of
names and descriptions, such as "1-hour accumulation" or "since the start of the forecast". Without any of these the
interval is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, cast

import numpy as np
import xarray as xr

from hybridcast.core.cf_times import to_duration
from hybridcast.core.intervals import read_cell_methods, read_interval_attributes
from hybridcast.core.units import unit_conversion

SINCE_START = np.timedelta64(0, "ns")
"""Stands for an amount since the start of the run."""

_NUMBER = r"(\d+(?:\.\d+)?)"
_UNIT = r"(h|hr|hrs|hours?|min|mins|minutes?|s|sec|seconds?|d|days?)"
_SINCE_START = re.compile(
    r"\b(?:since|from)\s+(?:the\s+)?(?:model\s+|forecast\s+|run\s+)?(?:start|beginning|initial|initiali[sz]ation|analysis)"
)
_LENGTHS = (
    re.compile(
        rf"\b(?:last|past|previous|preceding|over|during|within|per)\s+(?:the\s+)?(?:last\s+)?{_NUMBER}\s*-?\s*{_UNIT}\b"
    ),
    re.compile(rf"\b{_NUMBER}\s*-?\s*{_UNIT}\s*-?\s*(?:accum\w*|total|sum|precipitation|rain\w*)\b"),
    re.compile(rf"_{_NUMBER}_?{_UNIT}$"),
)
_ONE_HOUR = re.compile(r"\bhourly\b|\b(?:last|past|previous|preceding)\s+hour\b")
_TEXTS = ("long_name", "description", "comment", "GRIB_name")
_NAMES_SINCE_START = re.compile(r"_acc$")  # MET Norway's MEPS and AROME Arctic: sums since the start of the run


def stated_interval(variable: xr.DataArray, step: np.timedelta64 | None) -> np.timedelta64 | None:
    """Return the interval of an amount that its attributes state.

    Parameters
    ----------
    variable
        The amount.
    step
        Shortest difference between its times; None if there is one time only.

    Returns
    -------
    timedelta64 or None
        The interval, `SINCE_START`, or None if it is not stated. An interval in ``cell_methods`` that is not the step
        of the times is that of the original data, by CF, and states nothing about the sum.
    """
    stated = next((length for _, length in read_interval_attributes(variable.attrs)), None)
    if stated is not None:
        return stated
    length = read_cell_methods(str(variable.attrs.get("cell_methods", "")).lower())
    if length is not None:
        return length if step is None or length == step else None
    if _is_ecmwf_forecast(variable.attrs):
        return SINCE_START
    return _from_words(
        str(variable.name), [str(variable.attrs[key]).lower() for key in _TEXTS if key in variable.attrs]
    )


def _is_ecmwf_forecast(attrs: Mapping[Any, Any]) -> bool:
    """Return whether cfgrib wrote a sum of ECMWF's forecasts, which are since the start of the run."""
    return (
        attrs.get("GRIB_stepType") == "accum"
        and attrs.get("GRIB_centre") == "ecmf"
        and attrs.get("GRIB_dataType") in ("fc", "cf", "pf")
    )


def _from_words(name: str, texts: Iterable[str]) -> np.timedelta64 | None:
    words = [name.lower(), *texts]
    for text in words:
        for pattern in _LENGTHS:
            if found := pattern.search(text):
                return _length(float(found[1]), found[2])
        if _ONE_HOUR.search(text):
            return _length(1.0, "h")
    if any(_SINCE_START.search(text) for text in words) or _NAMES_SINCE_START.search(name):
        return SINCE_START
    return None


def _length(number: float, unit: str) -> np.timedelta64 | None:
    conversion = unit_conversion(unit, "s")
    return None if conversion is None else np.timedelta64(round(number * conversion[0] * 1e9), "ns")


def bounds_start(
    data: xr.Dataset, times: Iterable[Hashable | None], at: Mapping[Hashable, int], run: np.datetime64
) -> np.timedelta64 | None:
    """Return the start of a step by the bounds of its time, from the start of the run; None without bounds."""
    for name in times:
        bounds = data[name].attrs.get("bounds", data[name].encoding.get("bounds")) if name in data.variables else None
        if bounds not in data.variables:
            continue
        both = data[bounds].isel({dim: k for dim, k in at.items() if dim in data[bounds].dims}).values.ravel()
        if np.issubdtype(both.dtype, np.datetime64):
            return np.timedelta64(both[0].astype("M8[ns]") - run)
        length = to_duration(both[0], str(data[name].attrs.get("units", "")))
        if length is not None:
            return cast(np.timedelta64, length[()])
    return None
