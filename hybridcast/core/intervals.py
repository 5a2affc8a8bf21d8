"""Interval of amounts as attributes of files state it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hybridcast.core.units import unit_conversion

_WORDS = r"(?:accum|accumulation|acc|integration)_?(?:time|interval|period|duration|length)?"
#: Names of attributes that hold the interval in the unit that the name states.
_NAMED = re.compile(rf"^{_WORDS}_(?P<unit>min|minutes|h|hours|s|seconds)$")
#: Names of attributes that hold the interval with its unit: "5 min" or "PT5M".
_UNNAMED = re.compile(rf"^{_WORDS}$")
_DURATION = re.compile(r"^\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]+)\s*$", re.IGNORECASE)
_SUM = re.compile(r"\b(?:time|step|lead_time|forecast_period)\s*:\s*sum\b(?P<rest>[^:]*(?::[^:()]*)?)")


def read_interval_attributes(attrs: Mapping[Hashable, Any]) -> Iterator[tuple[str, np.timedelta64]]:
    """Yield the names and values of attributes such as ``accumulation_interval_minutes`` or ``accumulation_time``."""
    for key, value in attrs.items():
        name = str(key).lower()
        named = _NAMED.match(name)
        length = _from_number(value, named["unit"]) if named else _parse_duration(str(value))
        if length is not None and (named or _UNNAMED.match(name)):
            yield str(key), length


def read_cell_methods(text: str) -> np.timedelta64 | None:
    """Return the interval of "time: sum (interval: 5 minutes)", also if it is a comment or follows "over"."""
    found = _SUM.search(text)
    if found is None:
        return None
    words = re.sub(r"\b(interval|comment|over|of|last|previous|the|in)\b|[():,]", " ", found["rest"])
    return _parse_duration(words.strip())


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
