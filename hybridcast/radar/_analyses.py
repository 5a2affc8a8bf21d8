"""Lead times in a CF file: forecasts are refused or left out, analyses (lead time 0) are kept."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.cf_times import show_durations, to_duration
from hybridcast.core.times import as_datetime64
from hybridcast.errors import ForecastFileError, InputError, InputWarning

#: Names of coordinates of lead time where no ``standard_name`` says so: cfgrib, pysteps, WeatherBench, NCL, ...
_LEADS = re.compile(
    r"^(forecast_?)?(lead_?time|leadtimes?)$|^(forecast_(period|hour|time0?)|fcst_?(hour|time|lead)|lead|step|fhour|"
    r"prediction_timedelta)$",
    re.IGNORECASE,
)
_REFERENCES = re.compile(
    r"^init$|^(forecast_)?(reference_?time|ref_?time|init(ial(ization)?)?_?time|issue_?time|analysis_?time|run_?time|"
    r"model_run_time|forecast_?(start|reference)(_?(date|time))?)$",
    re.IGNORECASE,
)
#: Names of attributes of lead time; a "step" may also be the time between frames.
_LEAD_ATTRIBUTES = re.compile(r"^(forecast_)?lead_?time$|^forecast_(period|hour)$|^fcst_?(hour|lead)$", re.IGNORECASE)
#: Words in titles and descriptions of forecasts; not in names of offices.
_WORDS = re.compile(r"\b(fore|now)cast\b(?!\s+(office|cent|service|institut|system|department))", re.IGNORECASE)
#: Variables of two dimensions with as many values are of cells, not of runs and lead times.
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
    _refuse_stated_leads(data, path)
    leads = _find_leads(data, path)
    if leads is None:
        _refuse_words(data, path)
        return data
    kept = leads.lengths <= _ZERO
    if not kept.any() or (leads.lengths.ndim > 1 and not kept.all()):
        raise ForecastFileError(path, show_durations(leads.lengths))
    if not kept.all():
        left_out = show_durations(leads.lengths[~kept]) if leads.known else "lead times without units"
        warnings.warn(f"{path}: the forecasts in it ({left_out}) were left out", InputWarning, stacklevel=2)
        data = data.isel({leads.dims[0]: np.flatnonzero(kept)})
    return _stamp(data, leads, kept)


def _refuse_stated_leads(data: xr.Dataset, path: Path) -> None:
    """Raise `ForecastFileError` if an attribute such as ``forecast_hour`` is above zero."""
    for attrs in (data.attrs, *(of.attrs for of in data.data_vars.values())):
        for name, value in attrs.items():
            number = re.match(r"\+?\d+(\.\d+)?", str(value))
            if _LEAD_ATTRIBUTES.match(str(name)) and number is not None and float(number[0]) > 0:
                raise ForecastFileError(path, f"attribute {name} = {value}")


def _refuse_words(data: xr.Dataset, path: Path) -> None:
    """Raise `ForecastFileError` for a forecast that says so only in words, such as that of pysteps' exporter."""
    for name, of in data.variables.items():
        words = str(of.attrs.get("long_name", ""))
        if (of.dtype.kind == "M" or of.ndim >= 2) and _WORDS.search(words):
            start = re.search(r"since\s+(.*)", str(of.encoding.get("units", "")))
            raise ForecastFileError(path, f"{name!r} is the {words!r}" + (f", from {start[1]}" if start else ""))
    if _WORDS.search(str(data.attrs.get("title", ""))):
        raise ForecastFileError(path, f"its title is {data.attrs['title']!r}, and it states no lead time of 0")


def _find_leads(data: xr.Dataset, path: Path) -> _Leads | None:
    reference = _find_reference(data)
    lead = _find(data, "forecast_period", _LEADS, without=[] if reference is None else [reference.name])
    valid = _find_valid(data, [c.name for c in (lead, reference) if c is not None])
    if lead is not None and lead.dtype.kind == "M":  # a valid time called "forecast_time"
        lead, valid = None, lead
    if lead is not None:
        lengths = to_duration(lead.values, str(lead.attrs.get("units", "")))
        valid = _valid_times(reference, lead, lengths, valid)
        return _Leads(lead.dims, _require_lengths(lengths, lead, path), valid, known=lengths is not None)
    return None if reference is None or valid is None else _subtract(valid, reference)


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
    data: xr.Dataset, standard_name: str, names: re.Pattern[str], without: Iterable[Hashable] = ()
) -> xr.DataArray | None:
    """Return the variable with a ``standard_name``, else the first whose name matches; not one of all cells."""
    small = [name for name, of in data.variables.items() if of.ndim <= 1 or (of.ndim == 2 and of.size < _OF_CELLS)]
    small = [name for name in small if name not in without]
    standard = [name for name in small if data[name].attrs.get("standard_name") == standard_name]
    named = [name for name in small if names.match(str(name)) and "standard_name" not in data[name].attrs]
    return next((data[name] for name in (*standard, *named)), None)


def _find_reference(data: xr.Dataset) -> xr.DataArray | None:
    """Return the reference time: a variable, or an attribute of the file."""
    found = _find(data, "forecast_reference_time", _REFERENCES)
    if found is not None and found.dtype.kind == "M":
        return found
    texts = (str(value) for name, value in data.attrs.items() if _REFERENCES.match(str(name)))
    times = [time for text in texts if (time := _parse(text)) is not None]
    return xr.DataArray(times[0], name="reference_time") if times else None


def _parse(text: str) -> np.datetime64 | None:
    try:
        return as_datetime64(datetime.fromisoformat(text.strip().replace("Z", "+00:00")))
    except (ValueError, InputError):
        return None


def _find_valid(data: xr.Dataset, without: Iterable[Hashable]) -> xr.DataArray | None:
    found = _find(data, "time", re.compile(r"^(valid_?time|verification_?time|time)$", re.IGNORECASE), without)
    return found if found is not None and found.dtype.kind == "M" else None
