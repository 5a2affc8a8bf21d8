"""Times of ODIM files, and which of their data are forecasts.

The standard has no lead time. A file has its nominal time (``what/date``, ``what/time``), and each data group the time
in which it was measured (``startdate`` to ``endtime``). What was measured began before the nominal time; what begins
after it, or is said to be simulated (``how/simulated``, as in the members of DWD's RV and WN and in those of FMI-PPN),
is a forecast. An interval that begins AT the nominal time is an observation of a service that names files after their
first minute, unless something says that it is the first step of a forecast.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.netcdf import decode_text
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE
from hybridcast.errors import ReadError
from hybridcast.radar._forecast_attributes import is_lead_name, is_positive, is_positive_in_name
from hybridcast.radar._odim_layers import Layer

#: A scan begins this much after the nominal time at most: 3 s at DWD, up to a minute elsewhere.
_LATE_START = np.timedelta64(150, "s")
#: An amount ends this much after the nominal time at most, as the scans of a composite do; 5 min at OPERA.
_LATE_END = np.timedelta64(10, "m")
#: Names of forecasts: the lead time in minutes at the end, as ``composite_rv_20250923_1200_005-hd5``.
_LEAD_IN_NAME = re.compile(r"_(\d{3})(?:-hd5|\.h5|\.hdf5?|$)")
_FORECAST_PRODUCT = re.compile(r"forecast|nowcast|extrapolat|prognos|^(?:RV|WN|RQ|RS)(?![A-Za-z0-9])", re.IGNORECASE)
#: Names of lead times that elsewhere may be times; these are longer.
_LEAD_TIMES, _LONGEST_LEAD = ("forecast_time", "prediction_time"), 8
_FORECAST_WORD = re.compile(r"forecast|nowcast|extrapolat|prognos", re.IGNORECASE)
#: Attributes that tell what made the data.
_MAKERS = (("how", "task"), ("how", "software"), ("how", "system"), ("what", "prodname"), ("what", "product"))


class Span(NamedTuple):
    """Times of a data group; None where the file has none."""

    nominal: np.datetime64 | None
    """Nominal time of the file."""
    start: np.datetime64 | None
    """When the data begin."""
    end: np.datetime64 | None
    """When they end."""


def read_span(layer: Layer) -> Span:
    """Return the times of a data group; `ReadError` if one is there and malformed."""
    nominal, start, end = (_read_time(layer, f"{kind}date", f"{kind}time") for kind in ("", "start", "end"))
    return Span(nominal, start, end)


def _read_time(layer: Layer, date: str, time: str) -> np.datetime64 | None:
    day, clock = layer.find("what", date), layer.find("what", time)
    if day is None or clock is None:
        return None
    return parse_time(layer, _digits(day, 8), _digits(clock, 6))


def _digits(value: Any, width: int) -> str:
    """Return an attribute as digits; numbers have lost their leading zeros, texts may have separators."""
    item = np.ravel(value)[0] if np.size(value) else ""
    if isinstance(item, int | float | np.number):
        return f"{int(item):0{width}d}"
    return re.sub(r"[-:]", "", decode_text(item)).partition(".")[0]


def parse_time(layer: Layer, day: str, clock: str) -> np.datetime64:
    """Return the time of YYYYMMDD and HHmmss or HHmm; 240000 is the next midnight, and second 60 the next minute."""
    parts = re.fullmatch(r"(\d{2})(\d{2})(\d{2})?", clock)
    try:
        midnight = datetime.strptime(day, "%Y%m%d")
    except ValueError:
        midnight = None
    if parts is None or midnight is None:
        raise ReadError(layer.path, f"the time {day!r} {clock!r} is not of the form YYYYMMDD and HHmmss")
    hour, minute, second = (int(part or 0) for part in parts.groups())
    seconds = 3600 * hour + 60 * minute + second
    if minute > 59 or second > 60 or seconds > 86400:
        raise ReadError(layer.path, f"{clock!r} is no time of day (HHmmss)")
    return as_datetime64(midnight + timedelta(seconds=seconds))


# --- forecasts --------------------------------------------------------------------------------------------------


def split_forecasts(layers: Sequence[Layer]) -> tuple[list[Layer], str]:
    """Return the data groups that are observations, and the lead times of the others as text.

    Raises
    ------
    ReadError
        If it cannot be known whether a data group is a forecast, as its start is missing.
    """
    spans = [read_span(layer) for layer in layers]
    is_named = _names_a_forecast(layers[0]) or any(_is_later(span) or _ends_at_nominal(span) for span in spans)
    forecast = [_is_forecast(layer, span, is_named) for layer, span in zip(layers, spans, strict=True)]
    leads = [_lead_minutes(span) for span, found in zip(spans, forecast, strict=True) if found]
    return [layer for layer, found in zip(layers, forecast, strict=True) if not found], describe_leads(leads)


def _is_forecast(layer: Layer, span: Span, is_named: bool) -> bool:
    """Return whether a data group is a forecast; with `is_named` so is what begins at the nominal time."""
    simulated = layer.flag("how", "simulated")
    if simulated or _states_lead_time(layer):
        return True
    if span.nominal is None or span.end is None or span.end <= span.nominal + _LATE_START:
        return False
    if span.start is None:
        raise ReadError(
            layer.path,
            f"{layer.name} ends at {span.end}, after the nominal time {span.nominal}, and its starttime is missing: it "
            "may be a forecast. Add what/startdate and what/starttime",
        )
    if abs(span.start - span.nominal) <= _LATE_START:
        return is_named and simulated is not False
    return _is_later(span) or (layer.quantity == "ACRR" and bool(span.end > span.nominal + _LATE_END))


def _is_later(span: Span) -> bool:
    return span.nominal is not None and span.start is not None and bool(span.start > span.nominal + _LATE_START)


def _ends_at_nominal(span: Span) -> bool:
    """Return whether an interval ends at the nominal time, as the analysis of a forecast does."""
    if span.nominal is None or span.start is None or span.end is None:
        return False
    return bool(abs(span.end - span.nominal) <= _LATE_START < span.nominal - span.start)


def _names_a_forecast(layer: Layer) -> bool:
    lead = _LEAD_IN_NAME.search(layer.path.name)
    product = layer.text("what", "prodname") or layer.text("what", "product")
    return (lead is not None and int(lead[1]) > 0) or _FORECAST_PRODUCT.search(product) is not None


def _states_lead_time(layer: Layer) -> bool:
    groups = [parent[group].attrs for parent in layer.chain for group in ("what", "how") if group in parent]
    leads = [decode_text(attrs[name]) for attrs in groups for name in attrs if is_lead_name(name)]
    leads += [text for name in _LEAD_TIMES for attrs in groups if (text := decode_text(attrs.get(name, "")))]
    above = any(is_positive(lead) for lead in leads if len(lead) < _LONGEST_LEAD)
    return above or is_positive_in_name(layer.path.name)


def find_forecaster(layer: Layer) -> str:
    """Return what in a file speaks of forecasts, such as ``how/task``, as text; empty if nothing does."""
    stated = {f"{group}/{key}": layer.text(group, key) for group, key in _MAKERS}
    return ", ".join(f"{name} is {text!r}" for name, text in stated.items() if _FORECAST_WORD.search(text))


def _lead_minutes(span: Span) -> float | None:
    if span.nominal is None or span.end is None:
        return None
    return float((span.end - span.nominal) / MINUTE)


def describe_leads(minutes: Sequence[float | None]) -> str:
    """Return lead times as text, such as ``+5 to +120 min``; empty without any."""
    if not minutes:
        return ""
    known = sorted({round(lead) for lead in minutes if lead is not None})
    if not known or known[-1] <= 0:
        return "simulated, as the file says"
    return f"+{known[0]} min" if len(known) == 1 else f"+{known[0]} to +{known[-1]} min"


# --- times of frames ----------------------------------------------------------------------------------------------


def frame_times(layers: Sequence[Layer]) -> NDArray[np.datetime64]:
    """Return the time of each frame: nominal for one frame of a rate, otherwise the end of its interval."""
    spans = [read_span(layer) for layer in layers]
    if len(layers) == 1 and layers[0].quantity != "ACRR":
        keys, times = "date and time", [spans[0].nominal]
    else:
        keys, times = "enddate and endtime", [span.end for span in spans]
    if any(time is None for time in times):
        raise ReadError(layers[0].path, f"{keys} are missing in its group 'what'")
    return np.array(times, dtype="datetime64[ns]")


def read_interval(layer: Layer) -> np.timedelta64:
    """Return the time in which an amount fell; `ReadError` if it is not stated."""
    _, start, end = read_span(layer)
    if start is None or end is None or end <= start:
        raise ReadError(layer.path, f"an amount of rain (ACRR) summed from {start} to {end}, which is no interval")
    return np.timedelta64(end - start)
