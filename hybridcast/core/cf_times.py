"""Times in NetCDF and Zarr: decoding of those that xarray does not decode, or not as meant."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import Doubles
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError

_SINCE = re.compile(r"^\s*(\w+)\s+since\s+(\S+)", re.IGNORECASE)
#: Date, clock and zone from which times count: the year first, and a zone as a number, as names have several meanings.
_EPOCH = re.compile(
    r"^\s*\w+\s+since\s+(\d{1,4}(-\d{1,2}){0,2}|\d{8})([ T]+\d{1,2}(:?\d{1,2}(:?\d{1,2}(\.\d*)?)?)?)?"
    r"\s*(Z|UTC|GMT|UT|[-+]?\d{1,2}(:?\d{2})?)?\s*$",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(r"^\s*day as %Y%m%d\.%f\s*$", re.IGNORECASE)  # CDO's absolute time axis
_ISO = re.compile(r"^\d{4}-\d{2}-\d{2}([T _].*)?$|^\d{8}T\d+")
#: Coarsest resolution, s, at which times stored as floats are read.
_COARSEST = 30.0
#: Whole numbers up to this are exact as 32-bit floats.
_EXACT = 2**24


def decode(data: xr.Dataset, path: Path) -> xr.Dataset:
    """Decode a dataset that was opened with ``decode_cf=False``.

    Times are decoded as `xarray.decode_cf` does, and also if they are absolute (``day as %Y%m%d.%f``), ISO 8601 texts,
    or in a Julian calendar that counts from a date of today's calendar. Times stored as floats are rounded to seconds.

    Raises
    ------
    ReadError
        If times were stored too coarsely to be known, or the dataset cannot be decoded.
    """
    data = data.assign({name: _prepare(data[name].variable, str(name), path) for name in data.variables})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # several fill values, for example
        try:
            decoded = xr.decode_cf(data)
        except Exception as error:  # xarray raises ValueError, OverflowError and others of its own
            reason = str(error).partition(". Try opening")[0]
            raise ReadError(
                path,
                f"its attributes cannot be decoded ({reason}). Correct them; units of time are like 'minutes since "
                "2020-01-01'",
            ) from error
    return decoded.assign({name: made for name in decoded.variables if (made := _finish(decoded[name])) is not None})


def _prepare(variable: xr.Variable, name: str, path: Path) -> xr.Variable:
    """Return a variable whose attributes xarray decodes as they are meant."""
    variable = _check_packing(_numeric_fill_values(variable), name, path)
    if "unit" in variable.attrs and "units" not in variable.attrs:  # as wradlib writes
        variable = variable.copy(deep=False)
        variable.attrs = {**variable.attrs, "units": variable.attrs["unit"]}
    units = str(variable.attrs.get("units", ""))
    if _ABSOLUTE.match(units):
        return xr.Variable(variable.dims, _from_absolute(np.asarray(variable.values, np.float64)))
    since = _SINCE.match(units)
    if since is None or variable.ndim > 2:  # times of cells are not needed
        return variable
    if not _EPOCH.match(units):
        raise ReadError(
            path,
            f"the times {name!r} count from a date or zone that can be read in several ways, {units!r}. Set their "
            "units to, e.g., 'minutes since 2020-02-01 00:00 +01:00'",
        )
    _refuse_coarse(variable, name, since[1], path)
    return _civil_calendar(variable, int(since[2][:4].split("-")[0]), path)


def _numeric_fill_values(variable: xr.Variable) -> xr.Variable:
    """Convert codes for missing values that are texts to numbers, which xarray would ignore."""
    texts = {
        name: value
        for name in ("_FillValue", "missing_value")
        if isinstance(value := variable.attrs.get(name), str) and variable.dtype.kind in "iuf"
    }
    if not texts:
        return variable
    numbers = {name: variable.dtype.type(float(value)) for name, value in texts.items() if _is_number(value)}
    kept = {name: value for name, value in variable.attrs.items() if name not in texts}
    made = variable.copy(deep=False)
    made.attrs = {**kept, **numbers}
    return made


def _check_packing(variable: xr.Variable, name: str, path: Path) -> xr.Variable:
    """Return the variable with floats as scale factor and offset; `ReadError` if they are no numbers to unpack with.

    With an integer as scale factor xarray cannot set missing values to NaN.
    """
    stated = {key: variable.attrs[key] for key in ("scale_factor", "add_offset") if key in variable.attrs}
    floats = all(isinstance(value, np.floating) and np.isfinite(value) for value in stated.values())
    if floats and stated.get("scale_factor") != 0:
        return variable
    texts = {key: str(np.ravel(value)[0]) if np.size(value) == 1 else "" for key, value in stated.items()}
    numbers = {key: np.float64(text) for key, text in texts.items() if _is_number(text) and np.isfinite(float(text))}
    if len(numbers) < len(stated) or numbers.get("scale_factor") == 0:
        raise ReadError(path, f"{name!r} cannot be unpacked with {stated}. Correct these attributes")
    made = variable.copy(deep=False)
    made.attrs = {**variable.attrs, **numbers}
    return made


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_absolute(numbers: Doubles) -> NDArray[np.datetime64]:
    """Convert days as numbers like 20200131.25 to times, rounded to seconds."""
    texts = [f"{int(number):08d}" for number in numbers.ravel()]
    days = np.array([f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in texts], "M8[s]")
    seconds = np.round((numbers.ravel() % 1) * 86400).astype("m8[s]")
    return np.asarray((days + seconds).reshape(numbers.shape), "M8[ns]")


def _refuse_coarse(variable: xr.Variable, name: str, unit: str, path: Path) -> None:
    resolution = _resolution(variable, unit)
    if resolution > _COARSEST:
        raise ReadError(
            path,
            f"the times {name!r} were stored as {variable.dtype} in {variable.attrs['units']!r}, to {resolution:.0f} s "
            "only. Store them as float64, or as whole seconds",
        )


def _resolution(variable: xr.Variable, unit: str) -> float:
    """Return the resolution, s, of times that are stored as floats; 0 if they are exact."""
    if variable.dtype.kind != "f" or variable.size == 0:
        return 0.0
    numbers = np.asarray(variable.values)
    numbers = numbers[np.isfinite(numbers)]
    exact = (numbers == np.round(numbers)).all() and (np.abs(numbers) < _EXACT).all()
    if numbers.size == 0 or exact:
        return 0.0
    conversion = unit_conversion(unit.lower(), "s")  # last, because the units take half a second to load
    return 0.0 if conversion is None else float(np.spacing(np.abs(numbers).max()) * conversion[0])


def _civil_calendar(variable: xr.Variable, epoch: int, path: Path) -> xr.Variable:
    """Return times that claim a Julian calendar, but count from a date of the 20th or 21st century, as civil times.

    NASA's GPM files call the calendar of ``seconds since 1980-01-06`` Julian; a date as recent is always meant in
    today's calendar, whose leap years are the same until 2100.
    """
    calendar = str(variable.attrs.get("calendar", "")).lower()
    if calendar != "julian" or not 1901 <= epoch < 2100:
        return variable
    warnings.warn(f"{path}: its calendar is called julian; its dates were taken as today's", InputWarning, stacklevel=2)
    made = variable.copy(deep=False)
    made.attrs = {**variable.attrs, "calendar": "standard"}
    return made


def _finish(variable: xr.DataArray) -> xr.Variable | None:
    """Return times that were floats rounded to seconds, and ISO 8601 texts as times; None for any other variable."""
    if variable.ndim > 2:
        return None
    if variable.dtype.kind == "M" and np.dtype(variable.encoding.get("dtype", "i8")).kind == "f":
        rounded = (variable.values.astype("M8[ns]") + np.timedelta64(500, "ms")).astype("M8[s]").astype("M8[ns]")
        return _like(variable, rounded)
    if variable.dtype.kind in "OSU" and "time" in str(variable.name).lower() and variable.ndim <= 1:
        times = [_parse_text(text) for text in np.ravel(variable.values)]
        if times and None not in times:
            return _like(variable, np.array(times, "M8[ns]").reshape(variable.shape))
    return None


def _like(variable: xr.DataArray, values: Any) -> xr.Variable:
    return xr.Variable(variable.dims, values, variable.attrs, variable.encoding)


def _parse_text(text: Any) -> np.datetime64 | None:
    """Return a time in ISO 8601, UTC unless it states a zone; None for any other text."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if not isinstance(text, str) or not _ISO.match(text := text.strip("\0 ")):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(time, "ns")


def parse_time_text(value: Any) -> np.datetime64 | None:
    """Return a time (UTC) that an attribute states; None for any other value.

    It is in ISO 8601, also with other separators or followed by UTC, or made of 10, 12 or 14 digits.

    Examples
    --------
    >>> parse_time_text("2020-01-01_06:00:00"), parse_time_text(202001010600), parse_time_text("version 6")
    (np.datetime64('2020-01-01T06:00:00.000000000'), np.datetime64('2020-01-01T06:00:00.000000000'), None)
    """
    text = decode_attribute(value)
    digits = re.fullmatch(r"((?:19|20)\d{2})(\d{2})(\d{2})[T_ ]?(\d{2})(\d{2})?(\d{2})?Z?", text)
    if digits is not None:
        year, month, day, hour, minute, second = digits.groups("00")
        return _parse_text(f"{year}-{month}-{day}T{hour}:{minute}:{second}")
    date = re.match(r"(\d{4})([-./])(\d{2})\2(\d{2})(?:[T_ ]+(.*))?$", text)
    if date is None:
        return None
    clock = re.sub(r"\s*(UTC|GMT)$", "Z", date[5] or "00:00")
    return _parse_text(f"{date[1]}-{date[3]}-{date[4]}T{clock}")


def decode_attribute(value: Any) -> str:
    """Return an attribute as text without blanks around it; whole numbers without a decimal point."""
    item = value.item() if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1 else value
    if isinstance(item, bytes):
        item = item.decode("latin-1")
    if isinstance(item, float) and item.is_integer():
        item = int(item)
    return str(item).strip("\0 ")


def to_duration(values: Any, units: str) -> NDArray[np.timedelta64] | None:
    """Return durations, from ``timedelta64`` or from numbers in `units`; None if these are no units of time."""
    values = np.asarray(values)
    if values.dtype.kind == "m":
        return np.asarray(values, "m8[ns]")
    conversion = unit_conversion(units, "s")
    if conversion is None or values.dtype.kind not in "iuf":
        return None
    return np.asarray(np.round(values * (conversion[0] * 1e9)), "m8[ns]")


def show_durations(durations: NDArray[np.timedelta64]) -> str:
    """Return durations as text, such as ``"+60 min"`` or ``"+5 to +120 min"``."""
    minutes = np.unique(np.ravel(durations) / np.timedelta64(1, "m"))
    ends = sorted({float(minutes[0]), float(minutes[-1])})
    return " to ".join(f"{minute:+g}" for minute in ends) + " min"
