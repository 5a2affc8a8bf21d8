"""Units of rain as radar files spell them: rates, amounts, amounts in a stated time, and reflectivity."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np

from hybridcast.core.field import rate_factor
from hybridcast.core.units import unit_conversion

_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
#: A unit with a factor before it, as UDUNITS writes it: "0.1 mm", "1/100 mm", "10^-2 mm".
_SCALED = re.compile(
    rf"^(?:1\s*/\s*(?P<parts>{_NUMBER})|10\^(?P<power>-?\d+)|(?P<times>{_NUMBER}))\s*\*?\s*(?P<unit>[a-z].*)$"
)
_TIME = r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>min|minutes?|h|hr|hours?)"
#: An amount in a time, as "mm/5min", "mm per 5 min" or "mm (5 min)-1".
_IN_TIME = (
    re.compile(rf"^(?P<depth>.+?)\s*(?:/|\bper\b)\s*\(?\s*{_TIME}\s*\)?$"),
    re.compile(rf"^(?P<depth>.+?)\s*\(?\s*{_TIME}\s*\)?\s*(?:\^|\*\*)?-1$"),
)


class RainUnits(NamedTuple):
    """Meaning of a unit."""

    kind: Literal["rate", "amount", "reflectivity"]
    factor: float
    """Factor from values to mm h-1 (rate) or mm (amount); 1 for reflectivity, in dBZ."""
    interval: np.timedelta64 | None = None
    """Interval of the amount, if the unit states it."""


def read_rain_units(units: str) -> RainUnits | None:
    """Return the meaning of a unit of rain or reflectivity; None for any other.

    Examples
    --------
    >>> read_rain_units("0.1 mm/h").factor, read_rain_units("mm/5min").interval
    (0.1, np.timedelta64(300,'s'))
    """
    units = units.strip()
    if units.lower() == "dbz":
        return RainUnits("reflectivity", 1.0)
    return _read_depth_in_time(units) or _read_rate(units) or _read_amount(units)


def _read_depth_in_time(units: str) -> RainUnits | None:
    match = next((found for pattern in _IN_TIME if (found := pattern.match(units))), None)
    depth = _read_amount(match["depth"]) if match else None
    if match is None or depth is None or float(match["number"]) <= 0:
        return None
    seconds = float(match["number"]) * (60 if match["unit"].startswith("m") else 3600)
    return depth._replace(interval=np.timedelta64(round(seconds), "s"))


def _read_rate(units: str) -> RainUnits | None:
    scale, plain = _split_scale(units)
    factor = rate_factor(plain)
    return RainUnits("rate", scale * factor) if factor and scale else None


def _read_amount(units: str) -> RainUnits | None:
    scale, plain = _split_scale(units)
    conversion = unit_conversion(plain, "mm")
    return RainUnits("amount", float(f"{scale * conversion[0]:.9g}")) if conversion and scale else None


def _split_scale(units: str) -> tuple[float, str]:
    match = _SCALED.match(units.strip())
    if match is None:
        return 1.0, units.strip()
    if match["parts"]:
        parts = float(match["parts"])
        return (1 / parts if parts else 0.0), match["unit"]
    return (10.0 ** int(match["power"]) if match["power"] else float(match["times"])), match["unit"]
