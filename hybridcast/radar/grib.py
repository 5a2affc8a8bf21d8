"""Analyses and observations of precipitation in GRIB 1 and 2: gauge-adjusted sums, radar rates, reflectivity.

Examples are NCEP's Stage IV and RTMA (sums over an hour or more, HRAP grid), the Canadian RDPA, JMA's radar and rain
analyses (levels, run-length packed), and radar analyses of FMI. WMO Manual on Codes (WMO-No. 306), FM 92 GRIB: code
tables 4.2 (parameters), 4.3 (type of generating process), 4.10 (statistical process); edition 1: tables 2 and 5. NCEP,
Office Note 388, table A (generating processes). JMA, technical information 162: parameters 200 (hourly rain of the
analysis, mm) and 201 (radar echo intensity, mm/h) of centre 34; level 0 is missing, level 1 is dry. Local parameters of
DWD by ecCodes.

What a file must state:

- That it is no forecast. In edition 2 the type of generating process is an analysis or an observation, or the values
  end at the reference time. Sums of an analysis may begin at the reference time; edition 1 cannot distinguish them from
  the first hours of a forecast, except by the processes of NCEP (`_OBSERVING`).
- The interval of a sum or a mean, whose end is the time of the frame.

Reflectivity is converted to rain rate by Z = 200 R^1.6 (Marshall and Palmer 1948), as other relations are not stated.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core import grib
from hybridcast.core.field import rate_from_accumulation, rate_from_dbz
from hybridcast.core.types import Array
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError
from hybridcast.radar import mrms_grib2
from hybridcast.radar._frames import Frame, build_field, leave_out_forecasts
from hybridcast.radar._missing import check_reflectivity
from hybridcast.radar._rates import check_rates

NAME = "grib"
DESCRIPTION = "analyses of precipitation in GRIB 1 or 2, such as NCEP Stage IV, RDPA, JMA, FMI"

RATE, AMOUNT, REFLECTIVITY = "rate", "amount", "reflectivity"
Z_R = 200.0, 1.6

#: Quantities by discipline, category and number of edition 2.
_PARAMETERS = {
    (0, 1, 7): RATE,
    (0, 1, 52): RATE,
    (0, 1, 8): AMOUNT,
    (0, 1, 49): AMOUNT,
    (0, 15, 1): REFLECTIVITY,
    (0, 15, 5): AMOUNT,
    (0, 15, 17): RATE,
    (0, 16, 4): REFLECTIVITY,
    (0, 16, 5): REFLECTIVITY,
    (0, 16, 195): REFLECTIVITY,
    (0, 16, 196): REFLECTIVITY,
}
#: Quantities and their units by centre, discipline, category and number in local tables.
_LOCAL = {
    ("rjtd", 0, 1, 200): (AMOUNT, "mm"),
    ("rjtd", 0, 1, 201): (RATE, "mm h-1"),
    ("edzw", 0, 15, 195): (RATE, "kg m-2 h-1"),  # RAD_PRECIP, the radar of the assimilation of DWD
}
#: By number in the international tables 1 to 127 of edition 1, which have the units of edition 2.
_INTERNATIONAL_TABLES, _NUMBERS = 127, {59: RATE, 61: AMOUNT}
#: And by short name of ecCodes in the tables of centres.
_SHORT_NAMES = {
    "tp": AMOUNT,
    "apcp": AMOUNT,
    "prate": RATE,
    "tprate": RATE,
    "refd": REFLECTIVITY,
    "refc": REFLECTIVITY,
}
_UNITS = {RATE: "mm h-1", AMOUNT: "mm"}
#: Units as WMO defines them; ecCodes knows them for some centres only.
_WMO_UNITS = {RATE: "kg m-2 s-1", AMOUNT: "kg m-2"}
_CHOICE = "give a precipitation rate, an amount over an interval, or reflectivity"

_INSTANT, _INTERVAL = {0, 20}, {8}  # product definition templates 4.n of one deterministic field
_MEAN, _SUM = 0, 1  # code table 4.10
_ANALYSES = {0, 8, 12, 16, 17}  # code table 4.3: analysis, observation, post-processed analysis, retrieval, regression
_UNSTATED = 192  # local use, or missing
_NOWCAST = 14
#: Centre and processes whose sums after the reference time are observed: RTMA, Stage II to IV and CCPA of NCEP.
_OBSERVING = {("kwbc", process) for process in (109, 152, 153, 182, 184)}
#: Centre and process of FMI's radar analyses: their values are mm/h, though the parameter is defined in kg m-2 s-1
#: (the largest of a summer day, 7.9, would be 28,000 mm/h).
_MILLIMETRES_PER_HOUR = {("efkl", 107)}
#: Longer steps come from damaged or overflown headers.
_LONGEST = np.timedelta64(5 * 365, "D")
#: Packing makes rounding errors below zero (mm, or mm/h).
_ROUNDING = 0.01


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is GRIB, possibly behind the heading of a bulletin, but not of MRMS."""
    return grib.is_grib(head) and not mrms_grib2.recognises(path, head)


def read(path: Path) -> xr.DataArray:
    """Read the analyses and observations of a file; the time of a sum is the END of its interval.

    Raises
    ------
    ForecastFileError
        If all of its precipitation is forecast.
    ReadError
        If it has none, is of an ensemble or a percentile, does not state an interval, or is damaged.
    """
    grids: dict[tuple[Any, ...], grib.GribGrid] = {}
    return build_field(path, [_read_frame(found, path, grids) for found in _find_observed(path)])


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the times of the analyses and observations, without their values."""
    return np.sort([found.time for found in _find_observed(path)])


class _Found(NamedTuple):
    """A message of precipitation."""

    message: Any
    kind: str
    start: np.timedelta64
    """Start of its interval from the reference time."""
    end: np.timedelta64
    """End of the interval; equal to the start for instantaneous values."""

    @property
    def time(self) -> np.datetime64:
        """Time of the frame."""
        return grib.reference_time(self.message) + self.end

    @property
    def interval(self) -> np.timedelta64 | None:
        """Length of the interval; None for instantaneous values."""
        return None if self.start == self.end else self.end - self.start


def _find_observed(path: Path) -> list[_Found]:
    """Return the messages of one quantity that are no forecasts."""
    observed: list[_Found] = []
    leads: list[np.timedelta64] = []
    others: list[str] = []
    for message in grib.read_messages(path):
        kind = _find_kind(message)
        if kind is None:
            others.append(str(message["shortName"]))
            continue
        _refuse_members(message, path)
        found = _Found(message, kind, *_read_steps(message, path))
        if _is_observed(found):
            observed.append(found)
        else:
            leads.append(found.end)
    if not observed and not leads:
        raise ReadError(path, f"holds {_count(others)}; {_CHOICE}")
    leave_out_forecasts(path, leads, alone=not observed)
    return _choose_kind(observed)


def _count(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "no message"


def _choose_kind(found: list[_Found]) -> list[_Found]:
    """Keep one quantity of several that describe the same rain: rates before amounts before reflectivity."""
    kinds = {one.kind for one in found}
    best = next(kind for kind in (RATE, AMOUNT, REFLECTIVITY) if kind in kinds)
    return [one for one in found if one.kind == best]


# --- one message ----------------------------------------------------------------------------------------------


def _find_kind(message: Any) -> str | None:
    if int(message["edition"]) == 1:
        international = _NUMBERS.get(int(message["indicatorOfParameter"])) if _is_international(message) else None
        return international or _SHORT_NAMES.get(str(message["shortName"]))
    if (local := _find_local(message)) is not None:
        return local[0]
    kind = _PARAMETERS.get(_find_number(message))
    sum_of_rates = kind == RATE and message.get("typeOfStatisticalProcessing") == _SUM
    return AMOUNT if sum_of_rates else kind


def _find_number(message: Any) -> tuple[int, int, int]:
    discipline, category, number = (int(message[k]) for k in ("discipline", "parameterCategory", "parameterNumber"))
    return discipline, category, number


def _find_local(message: Any) -> tuple[str, str] | None:
    return None if int(message["edition"]) == 1 else _LOCAL.get((str(message["centre"]), *_find_number(message)))


def _is_international(message: Any) -> bool:
    return int(message["edition"]) == 2 or int(message["table2Version"]) <= _INTERNATIONAL_TABLES


def _read_frame(found: _Found, path: Path, grids: dict[tuple[Any, ...], grib.GribGrid]) -> Frame:
    message, kind, interval = found.message, found.kind, found.interval
    if kind == AMOUNT and interval is None:
        raise ReadError(path, f"{message['shortName']} without the interval over which it is summed")
    attrs = {"source": f"{kind} of precipitation in GRIB, centre {message['centre']}"}
    if kind == REFLECTIVITY:
        attrs["z_r_relation"] = f"Z = {Z_R[0]:g} R^{Z_R[1]:g}"
    grid = grib.read_grid(message, path, grids)
    return Frame(kind, found.time, interval, _read_rate(found, path), grid, attrs)


def _refuse_members(message: Any, path: Path) -> None:
    """Raise `ReadError` for members, percentiles and probabilities: a dimension of several fields of one time."""
    if int(message["edition"]) == 1:
        if int(message.get("numberOfForecastsInEnsemble") or 0) or message.get("dataType") in ("pf", "cf", "em", "es"):
            raise ReadError(path, f"{message['shortName']} of an ensemble; give one analysis (grib_copy selects it)")
        return
    template = int(message["productDefinitionTemplateNumber"])
    if template not in _INSTANT | _INTERVAL:
        raise ReadError(
            path,
            f"{message['shortName']} of product definition template 4.{template} (members, percentiles or "
            "probabilities); give one analysis: template 4.0 or 4.8 (grib_copy selects it)",
        )
    statistics = message.get("typeOfStatisticalProcessing")
    if template in _INTERVAL and statistics not in (_MEAN, _SUM) and _find_local(message) is None:
        raise ReadError(path, f"{message['shortName']} is statistic {statistics} of code table 4.10, no sum or mean")


def _read_steps(message: Any, path: Path) -> tuple[np.timedelta64, np.timedelta64]:
    """Return the ends of the interval; `ReadError` if it is negative, as in broken files, or has several parts."""
    start, end = grib.step_range(message)
    within = -_LONGEST <= start <= end <= _LONGEST
    if not within or int(message.get("numberOfTimeRanges") or message.get("numberOfTimeRange") or 1) > 1:
        raise ReadError(
            path, f"{message['shortName']} over {_hours(start)} to {_hours(end)} h, which is no one interval"
        )
    return start, end


def _hours(step: np.timedelta64) -> str:
    return f"{step / np.timedelta64(1, 'h'):g}"


def _is_observed(found: _Found) -> bool:
    """Return whether a message is an analysis or an observation, no forecast."""
    message, zero = found.message, np.timedelta64(0)
    if (str(message["centre"]), int(message["generatingProcessIdentifier"])) in _OBSERVING:
        return True
    if int(message["edition"]) == 1:
        return bool(found.end <= zero) and message.get("dataType") != "fc"
    process = int(message["typeOfGeneratingProcess"])
    if process in _ANALYSES:
        return bool(found.start <= zero)
    return bool(found.end <= zero) and (process == _NOWCAST or process >= _UNSTATED)


def _read_rate(found: _Found, path: Path) -> Array:
    """Return rain rates, mm h-1."""
    message, kind = found.message, found.kind
    values = grib.read_values(message, path)
    if kind == REFLECTIVITY:
        return np.asarray(rate_from_dbz(check_reflectivity(values, path), *Z_R), np.float32)
    units = _find_units(message, kind)
    conversion = unit_conversion(units, _UNITS[kind])
    if conversion is None:
        raise ReadError(path, f"{message['shortName']} in {units!r}, which cannot be converted to {_UNITS[kind]}")
    scale = np.float32(conversion[0])
    _refuse_codes(values, scale, path)
    values = np.maximum(values, np.float32(0)) * scale
    if kind == AMOUNT and found.interval is not None:
        values = rate_from_accumulation(values, found.interval)
    return np.asarray(check_rates(values, path), np.float32)


def _refuse_codes(values: Array, scale: np.float32, path: Path) -> None:
    """Raise `ReadError` if values are negative, beyond rounding errors: codes of missing values without a bit map."""
    lowest = np.fmin.reduce(values, axis=None)
    if lowest * scale < -_ROUNDING:
        raise ReadError(
            path,
            f"holds negative values without a bit map, down to {lowest:g}: codes of missing cells? Write it with "
            f"these missing, e.g. 'cdo setmissval,{lowest:g}'",
        )


def _find_units(message: Any, kind: str) -> str:
    if (str(message["centre"]), int(message["generatingProcessIdentifier"])) in _MILLIMETRES_PER_HOUR:
        return "mm h-1"
    if (local := _find_local(message)) is not None:
        return local[1]
    return _WMO_UNITS[kind] if _is_international(message) else str(message["units"]).replace("**", "")
