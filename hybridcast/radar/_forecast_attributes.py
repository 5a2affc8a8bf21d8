"""Attributes and names by which files of any format state that they hold forecasts: leads, starts, and products."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.cf_times import parse_time_text
from hybridcast.errors import ForecastFileError

#: Unit at the end of a name, such as ``lead_time_minutes``.
UNIT = r"(_?(?P<unit>s|sec|seconds|min|mins|minutes|h|hr|hrs|hours?|days))?"
#: Names of coordinates and attributes of the start of a forecast.
REFERENCES = re.compile(
    r"^init$|^((forecast|nowcast|fcst|model)_?)?(reference_?(date_?)?time|ref_?time|init(ial(i[sz]ation)?)?_?time|"
    r"issued?_?(time|at)|analysis_?time|run(_?time)?|cycle(_?time)?)$"
    r"|^(forecast|nowcast|simulation)_?(start|reference|origin|base|issued?)(_?(date|time))*$|^(base_?time|reference_date)$",
    re.IGNORECASE,
)
#: Attributes that can only be meant as the start of a forecast, so that one which cannot be read is refused.
_SURE_REFERENCE = re.compile(r"^(forecast|nowcast|fcst|model|init|issue)", re.IGNORECASE)
#: Names of attributes of lead time; a "step" may also be the time between frames.
_LEAD_ATTRIBUTES = re.compile(
    rf"^((forecast|fcst|nowcast)_?)?lead(_?times?)?{UNIT}$"
    rf"|^(forecast|fcst|nowcast)_?(period|hours?|minutes?|lead|horizon|step){UNIT.replace('<unit>', '<other>')}$",
    re.IGNORECASE,
)
#: Lead times in attributes: a number, also in an ISO 8601 duration that is not zero.
_POSITIVE = re.compile(r"^\s*(\+?\d*\.?\d*[1-9]|P(?=[^1-9]*[1-9]))", re.IGNORECASE)
#: Lead times in names: 20200101T0015Z-PT0000H15M-rainfall_rate.nc (Met Office), rain_202001010000+015min.nc, and
#: nowcast_202001010000_f030.tif, rain_202001010000_pysteps_+030.h5,
#: T_PANV23_C_OKPR_20240601120000.ft10.hdf (CHMI); +0100 is a time zone.
_LEADS_IN_NAMES = (
    re.compile(r"^\d{8}T\d{4}Z-(PT(?:\d+H)?(?:\d+M)?)(?![A-Z\d])"),
    re.compile(r"\d{10,14}Z?[-_]?(\+\d{2,3}(?:min|m|hr?)?|\+\d{4}(?:min|m|hr?)|f(?:c|\+)?\d{2,3})(?![\dA-Za-z])"),
    re.compile(r"\d{12,14}\.(ft\d{2,3})(?![\dA-Za-z])"),
    re.compile(r"[-_](\+\d{2,3}(?:min|m|hr?)?)(?![\dA-Za-z])"),
)
#: What follows words in titles that are no names of offices.
OFFICE = r"\b(?!\s+(office|cent|service|institut|system|department|saf))"
#: Words in titles and descriptions of forecasts, in languages of weather services.
WORDS = re.compile(
    rf"\b(fore|now)casts?{OFFICE}|vorhersage(?!zentral|dienst)|\bpr[ée]visions?\b|\bprevisi[oó]n(es)?\b|\bprevisioni?e?\b|"
    r"\bpron[oó]sticos?\b|\bprognos|voorspelling|\bennuste",
    re.IGNORECASE,
)
#: Attributes of a file or variable that say what it is.
_PRODUCT = re.compile(
    r"^(title|source|(product|data|field)(_?(type|name|kind|category))?|type(_?of_?data)?|processing_?type|tifftag_imagedescription)$",
    re.I,
)
#: Types of GRIB fields (``mars`` key dataType) that are forecasts, as cfgrib writes them.
_GRIB_FORECASTS = {"fc", "cf", "pf", "em", "es", "ep", "fcmean", "fcmax", "fcmin"}


def refuse_stated_leads(attributes: Iterable[Mapping[Any, Any]], path: Path) -> bool:
    """Return whether an attribute such as ``forecast_hour``, or the name of the file, states a lead time of zero.

    Raises
    ------
    ForecastFileError
        If one is above zero.
    """
    stated = [(name, value) for attrs in attributes for name, value in list_leads(attrs)]
    for name, value in stated:
        if is_positive(value):
            raise ForecastFileError(path, f"attribute {name} = {value}")
    in_name = find_lead_in_name(path.name)
    if is_positive_in_name(path.name):
        raise ForecastFileError(path, f"its name states a lead time, {in_name}")
    return bool(stated) or in_name is not None


def list_leads(attrs: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of attributes of lead time."""
    for name, value in attrs.items():
        if is_lead_name(name) and re.search(r"\d", str(value)):
            yield str(name), value


def is_lead_name(name: object) -> bool:
    """Return whether an attribute of a name, such as ``forecast_hour``, is a lead time."""
    return _LEAD_ATTRIBUTES.match(str(name)) is not None


def is_positive(lead: Any) -> bool:
    """Return whether a lead time, a number or text such as "30 min" or "PT15M", is above zero."""
    text = lead.decode("latin-1") if isinstance(lead, bytes) else str(lead)
    return _POSITIVE.match(text) is not None


def find_lead_in_name(name: str) -> str | None:
    """Return the lead time that the name of a file states, also one of zero; None if it states none.

    Examples
    --------
    >>> find_lead_in_name("rain_202001010000+015min.nc"), find_lead_in_name("rain_202001010015.nc")
    ('+015min', None)
    """
    found = (pattern.search(name) for pattern in _LEADS_IN_NAMES)
    return next((match[1] for match in found if match is not None), None)


def is_positive_in_name(name: str) -> bool:
    """Return whether the name of a file states a lead time above zero."""
    return re.search("[1-9]", find_lead_in_name(name) or "") is not None


def read_references(attrs: Mapping[Any, Any], path: Path) -> Iterator[np.datetime64]:
    """Yield the times of issue that attributes state; `ForecastFileError` for one that cannot be read."""
    for name, value in attrs.items():
        if not REFERENCES.match(str(name)):
            continue
        time = parse_time_text(value)
        if time is not None:
            yield time
        elif _SURE_REFERENCE.match(str(name)) and re.search(r"\d", str(value)):
            raise ForecastFileError(path, f"attribute {name} = {value}, a time of issue that cannot be read")


def refuse_products(attrs: Mapping[Any, Any], path: Path) -> None:
    """Raise `ForecastFileError` if an attribute about the product, such as ``product_type``, says that it is one."""
    for key, value in attrs.items():
        product = _PRODUCT.match(str(key)) and (WORDS.search(str(value)) or str(value).lower() in ("fc", "fcst"))
        if product or (str(key) == "GRIB_dataType" and value in _GRIB_FORECASTS):
            raise ForecastFileError(path, f"its {key} is {value!r}, and it states no lead time of 0")
