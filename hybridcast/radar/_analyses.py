"""Lead times in a CF file: forecasts are refused or left out, analyses (lead time 0) are kept."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.cf_times import parse_time_text, show_durations, to_duration
from hybridcast.errors import ForecastFileError, InputWarning
from hybridcast.radar._forecast_attributes import REFERENCES, UNIT, read_references, refuse_stated_leads
from hybridcast.radar._forecast_words import refuse_words

#: Names of coordinates of lead time where no ``standard_name`` says so: cfgrib, pysteps, WeatherBench, NCL, Herbie, ...
_LEADS = re.compile(
    rf"^((forecast|fcst|fc|nowcast|prediction)_?)?(lead_?times?|leads?|horizon){UNIT}$"
    r"|^(forecast|fcst|nowcast)_?(period|time0?|step|range)(_?(s|sec|seconds|min|mins|minutes|h|hr|hrs|hours?))?$"
    r"|^((forecast|fcst)_?(?P<hours>hours?|minutes?)|step|f?hour|fxx|prediction_timedelta)$",
    re.IGNORECASE,
)
#: Descriptions of lead times, whatever their name.
_LEAD_DESCRIPTION = re.compile(
    r"\blead[- ]?times?\b|\bforecast[- ](hour|period|step|lead|horizon|range)\b|"
    r"\bsince (the )?((start|beginning) of (the )?)?(forecast|nowcast|model|simulation|run|issue|initiali[sz]ation)",
    re.IGNORECASE,
)
_REFERENCE_DESCRIPTION = re.compile(
    r"\b(forecast|nowcast|model)\b.*\b(reference|start|issue|run|initial\w*|base)\b|"
    r"\b(time of (issue|initiali[sz]ation)|issue time|initiali[sz]ation time)\b",
    re.IGNORECASE,
)
_VALID = re.compile(r"^(valid_?time|verification_?time|time)$", re.IGNORECASE)
#: Type of reference times in NetCDF of wgrib2: analyses of several times, whose first is stated.
_SERIES_OF_ANALYSES = 2
#: Variables of two dimensions and this size are places of cells, not times.
_OF_CELLS = 100_000
_ZERO = np.timedelta64(0, "ns")


class _Leads(NamedTuple):
    dims: tuple[Hashable, ...]
    lengths: NDArray[np.timedelta64]
    valid: xr.DataArray | None
    """Valid times, if other coordinates than time state them."""
    known: bool = True
    """Whether `lengths` are right, or only their signs, as their unit is not stated."""


def select_analyses(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Return the frames of a dataset that are no forecasts; all if it states neither lead times nor reference times.

    Frames at or before the reference time are analyses. Of a forecast with a lead time of 0, this one is returned, with
    its valid time; the others are left out with an `InputWarning`.

    Raises
    ------
    ForecastFileError
        If all frames have a lead time above 0, or one that cannot be known.
    """
    attributes = (data.attrs, *(of.attrs for of in data.data_vars.values()))
    is_analysis = refuse_stated_leads(attributes, path)
    leads = _find_leads(data, path)
    if leads is None:
        if not is_analysis:
            refuse_words(data, path)
        return data
    kept = leads.lengths <= _ZERO
    if not kept.any() or (leads.lengths.ndim > 1 and not kept.all()):
        raise ForecastFileError(path, show_durations(leads.lengths))
    if not kept.all():
        left_out = show_durations(leads.lengths[~kept]) if leads.known else "lead times without units"
        warnings.warn(f"{path}: the forecasts in it ({left_out}) were left out", InputWarning, stacklevel=2)
        data = data.isel({leads.dims[0]: np.flatnonzero(kept)})
    return _stamp(data, leads, kept)


def _find_leads(data: xr.Dataset, path: Path) -> _Leads | None:
    reference = _find_reference(data, path)
    without = [] if reference is None else [reference.name]
    lead = _find(data, "forecast_period", _LEADS, _LEAD_DESCRIPTION, without=without)
    valid = _find_valid(data, [c.name for c in (lead, reference) if c is not None])
    if lead is not None and lead.dtype.kind == "M":  # a valid time called "forecast_time"
        lead, valid = None, lead
    if lead is not None:
        lengths = to_duration(lead.values, str(lead.attrs.get("units", "") or _unit_in_name(str(lead.name))))
        valid = _valid_times(reference, lead, lengths, valid)
        return _Leads(lead.dims, _require_lengths(lengths, lead, path), valid, known=lengths is not None)
    if reference is not None and valid is None and reference.name in data.variables:
        raise ForecastFileError(path, f"its only time, {reference.name!r}, is that of issue")
    return None if reference is None or valid is None else _subtract(valid, reference)


def _unit_in_name(name: str) -> str:
    """Return the unit of time in a name such as ``lead_time_minutes``; empty without one."""
    match = _LEADS.match(name)
    return "" if match is None else (match["unit"] or match["hours"] or "").lower()


def _subtract(valid: xr.DataArray, reference: xr.DataArray) -> _Leads:
    """Return valid minus reference times, along the dimension of lead times if they are the same for all runs."""
    difference = (valid - reference).astype("m8[ns]")
    if difference.ndim == 2 and reference.ndim == 1:
        first = difference.isel({reference.dims[0]: 0})
        difference = first if (difference == first).all() else difference
    return _Leads(difference.dims, np.atleast_1d(difference.values), valid)


def _require_lengths(
    lengths: NDArray[np.timedelta64] | None, lead: xr.DataArray, path: Path
) -> NDArray[np.timedelta64]:
    if lengths is not None:
        return np.atleast_1d(lengths)
    numbers = np.atleast_1d(lead.values)
    if numbers.dtype.kind in "iuf" and (numbers == 0).any():  # zero in any unit; the others are left out
        return np.asarray(np.sign(numbers).astype("m8[h]"), "m8[ns]")
    shown = ", ".join(str(value) for value in np.ravel(lead.values)[:5])
    raise ForecastFileError(path, f"{lead.name!r} = {shown} {lead.attrs.get('units', 'without units')}")


def _valid_times(
    reference: xr.DataArray | None, lead: xr.DataArray, lengths: Any, valid: xr.DataArray | None
) -> xr.DataArray | None:
    if valid is not None or reference is None or lengths is None:
        return valid
    return reference + lead.copy(data=lengths)


def _stamp(data: xr.Dataset, leads: _Leads, kept: NDArray[np.bool_]) -> xr.Dataset:
    """Return the analyses with the coordinate time as their only time."""
    if leads.valid is None:
        return data
    valid = leads.valid.isel({dim: np.flatnonzero(kept) for dim in leads.dims[:1] if dim in leads.valid.dims})
    single = [dim for dim in leads.dims if data.sizes[dim] == 1 and set(valid.dims) - {dim}]
    data, valid = (
        data.squeeze(single, drop=True),
        valid.squeeze([dim for dim in single if dim in valid.dims], drop=True),
    )
    data = data.drop_vars([name for name in data.coords if data[name].dtype.kind in "mM"])
    if valid.ndim == 1:
        data = data.drop_vars(valid.dims, errors="ignore").rename({valid.dims[0]: "time"})
    attrs = {"standard_name": "time"} | {name: value for name, value in valid.attrs.items() if name == "bounds"}
    return data.assign_coords(time=xr.Variable(("time",) * valid.ndim, valid.values.astype("M8[ns]"), attrs))


# --- coordinates of time --------------------------------------------------------------------------------------


def _find(
    data: xr.Dataset,
    standard_name: str,
    names: re.Pattern[str],
    described: re.Pattern[str] | None = None,
    without: Iterable[Hashable] = (),
) -> xr.DataArray | None:
    """Return the variable with a ``standard_name``, else the first whose name or description matches; not of cells."""
    small = [name for name, of in data.variables.items() if of.ndim <= 1 or (of.ndim == 2 and of.size < _OF_CELLS)]
    small = [name for name in small if name not in without]
    standard = [name for name in small if data[name].attrs.get("standard_name") == standard_name]
    others = [name for name in small if "standard_name" not in data[name].attrs]
    named = [name for name in others if names.match(str(name))]
    told = [name for name in others if described and described.search(str(data[name].attrs.get("long_name", "")))]
    told = [name for name in told if data[name].ndim <= 1 and not _VALID.match(str(name))]
    return next((data[name] for name in (*standard, *named, *told)), None)


def _find_reference(data: xr.Dataset, path: Path) -> xr.DataArray | None:
    """Return the reference time: a variable, or an attribute of the file or of its times."""
    found = _find(data, "forecast_reference_time", REFERENCES, _REFERENCE_DESCRIPTION)
    if found is not None and not _is_offset_base(data, found):
        made = _to_times(found)
        if made is not None:
            return made
    times = [time for attrs in _list_attributes(data) for time in read_references(attrs, path)]
    return xr.DataArray(times[0], name="reference_time") if times else None


def _is_offset_base(data: xr.Dataset, found: xr.DataArray) -> bool:
    """Return whether a base time is what times count from, as in files of ARM, not the start of a forecast."""
    return found.name == "base_time" and ("time_offset" in data.variables or "poch" in str(found.attrs))


def _to_times(variable: xr.DataArray) -> xr.DataArray | None:
    """Return reference times, also those written as numbers such as 202001010000; None if they are no times."""
    if variable.dtype.kind == "M":
        return variable
    times = [parse_time_text(value) for value in np.ravel(variable.values)] if variable.ndim < 2 else []
    known = [time for time in times if time is not None]
    if not known or len(known) < len(times):
        return None
    return variable.copy(data=np.array(known, "M8[ns]").reshape(variable.shape))


def _list_attributes(data: xr.Dataset) -> list[Mapping[Any, Any]]:
    """Return the attributes that may state a reference time: of the file, and of its times, as wgrib2 writes them."""
    of_times = [of.attrs for of in data.variables.values() if of.dtype.kind == "M" and of.ndim <= 1]
    return [data.attrs, *(attrs for attrs in of_times if attrs.get("reference_time_type") != _SERIES_OF_ANALYSES)]


def _find_valid(data: xr.Dataset, without: Iterable[Hashable]) -> xr.DataArray | None:
    found = _find(data, "time", _VALID, without=without)
    return found if found is not None and found.dtype.kind == "M" else None
