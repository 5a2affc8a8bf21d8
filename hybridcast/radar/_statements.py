"""Statements of a CF variable that contradict reading its values as rain in UTC: each is refused, none is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.errors import ReadError
from hybridcast.radar._missing import is_reflectivity

#: Descriptions and methods of fields that are no rain, though their units and even their standard name are.
_STATISTIC = re.compile(
    r"anomal|climatological|percentile|quantile|\bstandard.?(deviation|error)|\bvariance\b|\buncertainty\b|\bprobability\b|"
    r"\bspread\b|\bbias\b(?!.?(correct|adjust|free))|\broot.mean|\breturn (level|period)",
    re.IGNORECASE,
)
_EXTREME = re.compile(r"\b(maximum|minimum)\b(?!.(range|distance|likelihood|elevation|height))", re.IGNORECASE)
#: The same in the names of variables, whose words are separated by underscores.
_STATISTIC_NAME = re.compile(
    r"(^|_)(p\d\d(?=_|$)|q\d\d(?=_|$)|pct\w*|percentile\w*|quantile\w*|spread|std\w*|variance|bias(?!_?(corr|adj))|rmse|mae|anom\w*|clim\w*|"
    r"threshold\w*|prob\w*|return_\w+)(_|\d|$)",
    re.IGNORECASE,
)
_EXTREME_NAME = re.compile(r"(^|_)(max|maximum|minimum)(_|$)", re.IGNORECASE)
_METHODS = re.compile(
    r"\btime\s*:\s*(maximum|minimum|median|mid_range|mode)\b|:\s*(standard_deviation|variance|range)\b", re.IGNORECASE
)
#: Layers that come with rain.
_BESIDE = re.compile(r"\bquality\b|\bmask\b|\berror\b|\bflags?\b", re.IGNORECASE)
#: Transformations as pysteps names them.
_UNTRANSFORMED = {"", "none", "no", "false", "linear", "identity"}
#: Attributes with a factor that no convention applies, as in HDF4 and files of single institutes.
_FACTORS = re.compile(
    r"^(multiplier|factor|slope|gain|(scale|scaling|conversion|multiplication)_?factor|scal(e|ing))$", re.IGNORECASE
)
#: A factor in words: "rain rate (x100)", "in 1/100 mm", "hundredths of mm", "mm/h * 10".
FACTOR_IN_WORDS = re.compile(
    r"(?<![a-z0-9])(?<!\d\s)[x*×]\s?10+\b|(?<!\d)1/10+\b|\b(tenths?|hundredths?|thousandths?)\b",
    re.IGNORECASE,
)
_SCALED_UNITS = re.compile(r"^[\d.]|^10\^")
_LOCAL = re.compile(r"(?i:\blocal\s+(standard\s+|solar\s+|summer\s+)?time\b)|\b(C?EST|C?EDT|PST|CET|CEST|JST|AEST)\b")
_ZONE = re.compile(r"^time_?zone$|^tz$", re.IGNORECASE)
_UTC = re.compile(r"^\s*((utc|gmt|z|zulu|ut|etc/utc)\s*)?([-+]?0+(:?00)?)?\s*$", re.IGNORECASE)


def refuse_other_than_rain(variable: xr.DataArray, path: Path) -> None:
    """Raise `ReadError` if a variable says that it is a statistic of rain, or rain transformed or multiplied."""
    described, methods = (str(variable.attrs.get(name, "")) for name in ("long_name", "cell_methods"))
    transform = str(variable.attrs.get("transform", "")).strip()
    extreme = not is_reflectivity(variable)  # of which the maximum of a column is a product
    name = str(variable.name)
    found = {
        f"described as {described!r}": _STATISTIC.search(described) or (extreme and _EXTREME.search(described)),
        "by its name a statistic": _STATISTIC_NAME.search(name) or (extreme and _EXTREME_NAME.search(name)),
        f"of the cell_methods {methods!r}": _METHODS.search(methods),
        f"transformed (attribute transform = {transform!r})": transform.lower() not in _UNTRANSFORMED,
    }
    for words, is_found in found.items():
        if is_found:
            raise ReadError(
                path,
                f"{variable.name!r} is {words}, which is no rain of one time. Give the variable of rain, or "
                "correct this",
            )
    _refuse_factors(variable, path)


def refuse_described_band(described: str, band: int, path: Path) -> None:
    """Raise `ReadError` if a band of a raster is described as a statistic of rain, or as something beside it."""
    if _STATISTIC.search(described) or _BESIDE.search(described):
        raise ReadError(
            path,
            f"band {band} is described as {described!r}, which is no rain of one time. Give the file with the rain, or "
            "correct the description",
        )


def _refuse_factors(variable: xr.DataArray, path: Path) -> None:
    units, described = str(variable.attrs.get("units", "")), str(variable.attrs.get("long_name", ""))
    stated = [f"the attribute {name} = {value}" for name, value in variable.attrs.items() if _is_factor(name, value)]
    in_words = FACTOR_IN_WORDS.search(described)
    if in_words and not _SCALED_UNITS.match(units) and "scale_factor" not in variable.encoding:
        stated.append(f"the description {described!r}")
    if stated:
        name = str(variable.name)
        found = (
            f"{name!r} in {units!r} has {stated[0]}, a factor that may have been applied or not. Remove it if its "
            "values are in these units; else write it as scale_factor, e.g. "
        )
        raise ReadError(
            path,
            f"{found}data = xarray.open_dataset(path, mask_and_scale=False); data[{name!r}].attrs['scale_factor'] = "
            "0.01; data.to_netcdf(new_path)",
            cli_reason=f"{found}ncatted -a scale_factor,{name},c,f,0.01 {path} NEW.nc",
        )


def _is_factor(name: object, value: object) -> bool:
    if not _FACTORS.match(str(name)):
        return False
    try:
        return float(np.ravel(np.asarray(value))[0]) != 1.0
    except (TypeError, ValueError, IndexError):
        return False


def refuse_local_times(data: xr.Dataset, variable: xr.DataArray, path: Path) -> None:
    """Raise `ReadError` if the times of a variable, or the file, say that they are in a time zone other than UTC."""
    times = variable.coords.get("time")
    of_time = {} if times is None else times.attrs
    refuse_zones({**data.attrs, **of_time}, path)
    if "climatology" in of_time:  # CF 7.4
        raise ReadError(path, "its times are those of a climatology, of no one time. Give the rain of single times")
    described = f"{of_time.get('long_name', '')} {of_time.get('comment', '')}".strip()
    if _LOCAL.search(described):
        raise _local_error(f"they are described as {described!r}", path)


def refuse_zones(attrs: Mapping[Any, Any], path: Path) -> None:
    """Raise `ReadError` if an attribute such as ``time_zone`` is another than UTC."""
    for name, value in attrs.items():
        if _ZONE.match(str(name)) and not _UTC.match(str(value)):
            raise _local_error(f"{name} = {value}", path)


def _local_error(found: str, path: Path) -> ReadError:
    remedy = "Convert them, or correct this if they are in UTC"
    return ReadError(path, f"its times may be local ({found}); times are in UTC. {remedy}")
