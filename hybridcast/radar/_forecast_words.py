"""Words by which a CF file says that it holds a forecast, where it states no lead time.

Names of variables, titles and attributes about the product are taken at their word. Free text, such as a summary, may
speak of forecasts that others make from the file, so it gives a warning only.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.cf_times import parse_time_text
from hybridcast.errors import ForecastFileError, InputWarning
from hybridcast.radar._forecast_attributes import OFFICE, WORDS, refuse_products

#: Words in names, such as "precip_forecast", "nowcast_time" or "fcst_rain".
_IN_NAME = re.compile(r"(^|[^a-z])(forecast|nowcast|fcst|predict(ed|ion))([^a-z]|$)", re.IGNORECASE)
_FREE_TEXT = ("title", "source", "summary", "description", "comment", "long_name")
_FREE_WORDS = re.compile(
    rf"\b(fore|now)cast(s|ed|ing)?{OFFICE.replace('|system', '')}|\bNWP\b|\bnumerical weather|\bmodel (output|run)",
    re.IGNORECASE,
)


def refuse_words(data: xr.Dataset, path: Path) -> None:
    """Raise `ForecastFileError` for a forecast that says so only in words, such as that of pysteps' exporter.

    Free text that speaks of forecasts, and frames later than the making of the file, give an `InputWarning`.
    """
    described = [of for of in data.variables.items() if of[1].dtype.kind == "M" or of[1].ndim >= 2]
    for name, of in described:
        _refuse_description(name, of, path)
    for attrs in (data.attrs, *(of.attrs for _, of in described)):
        refuse_products(attrs, path)
    _warn_of_free_text(data.attrs, path)
    _warn_of_making(data, path)


def _refuse_description(name: Hashable, of: xr.Variable, path: Path) -> None:
    words = str(of.attrs.get("long_name", ""))
    if WORDS.search(words):
        start = re.search(r"since\s+(.*)", str(of.encoding.get("units", "")))
        raise ForecastFileError(path, f"{name!r} is the {words!r}" + (f", from {start[1]}" if start else ""))
    if _IN_NAME.search(str(name)):
        raise ForecastFileError(path, f"by the name of {name!r}, and it states no lead time of 0")


def _warn_of_free_text(attrs: Mapping[Any, Any], path: Path) -> None:
    texts = {key: str(attrs[key]) for key in _FREE_TEXT if key in attrs}
    found = [f"its {key} is {text[:200]!r}" for key, text in texts.items() if _FREE_WORDS.search(text)]
    if found:
        warnings.warn(
            f"{path}: {'; '.join(found)}, but it states no lead time: read as observations. Leave it out if it is a "
            "forecast",
            InputWarning,
            stacklevel=2,
        )


def _warn_of_making(data: xr.Dataset, path: Path) -> None:
    """Warn if all frames are later than the making of the file, as those of forecasts are."""
    made = parse_time_text(data.attrs.get("date_created"))
    times = data.variables.get("time")
    if made is None or times is None or times.dtype.kind != "M" or times.size == 0 or times.ndim > 1:
        return
    first = np.asarray(times.values, "M8[ns]").min()
    if "T" in str(data.attrs["date_created"]) and first > made + np.timedelta64(1, "m"):
        warnings.warn(
            f"{path}: its frames are later than {made.astype('M8[s]')}, when it was made (date_created): a forecast, "
            "or local times?",
            InputWarning,
            stacklevel=2,
        )
