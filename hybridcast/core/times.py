"""Times as people write them, to ``datetime64[ns]`` in UTC; what cannot be one time only is refused.

ISO 8601 texts, `datetime`, `pandas.Timestamp`, ``numpy.datetime64`` and cftime of the standard calendar are accepted;
times with a zone are converted, times without one are in UTC. Numbers are refused, as their unit and origin are not
known, and so are texts such as ``202406011100``, which numpy takes for a year.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.errors import InputError

_ISO = re.compile(r"(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}-?W\d{2}-?\d)(?:[Tt ]\S.*)?")
_CALENDARS = {"standard", "gregorian", "proleptic_gregorian"}


def as_datetime64(time: Any) -> np.datetime64:
    """Return a time as ``datetime64[ns]`` in UTC.

    Parameters
    ----------
    time
        Text in ISO 8601, `datetime.datetime` or `pandas.Timestamp`, `datetime.date`, ``numpy.datetime64``, or a cftime
        object of the standard calendar; in UTC if it has no time zone.

    Raises
    ------
    InputError
        If it is anything else, or not between the years 1678 and 2262.

    Examples
    --------
    >>> as_datetime64("2024-06-01T13:00+02:00")
    np.datetime64('2024-06-01T11:00:00.000000000')
    """
    if isinstance(time, np.ndarray | xr.DataArray) and time.ndim == 0:
        time = time.values if isinstance(time, xr.DataArray) else time
        time = time[()]
    if time is pd.NaT or (isinstance(time, np.datetime64) and np.isnat(time)):
        raise _refusal("NaT")
    if isinstance(time, np.datetime64):
        return cast(np.datetime64, _to_nanoseconds(time))
    if isinstance(time, bytes | str):
        return as_datetime64(_parse(time.decode("latin-1") if isinstance(time, bytes) else time))
    if getattr(time, "calendar", None) in _CALENDARS:  # cftime
        return as_datetime64(time.isoformat())
    if not isinstance(time, date):
        raise _refusal(repr(time))
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return cast(np.datetime64, _to_nanoseconds(np.datetime64(cast(Any, time))))


def as_times(times: ArrayLike | Iterable[Any]) -> NDArray[np.datetime64]:
    """Return one or several times as ``datetime64[ns]`` in UTC, shape ``(time,)``; see `as_datetime64`."""
    if isinstance(times, np.ma.MaskedArray) and np.ma.is_masked(times):
        raise InputError("a time is masked", "every frame has a time", "Give the time of each frame")
    given = np.atleast_1d(np.asarray(times))
    if given.ndim > 1:
        raise InputError(f"times have the shape {given.shape}", "times have one dimension", "Give a list of times")
    if given.dtype.kind == "M":
        return np.asarray(_to_nanoseconds(given))
    if given.dtype.kind not in "OUS":
        raise _refusal(f"times of type {given.dtype}")
    return np.array([as_datetime64(time) for time in given.ravel()], dtype="datetime64[ns]").reshape(given.shape)


def _parse(text: str) -> datetime:
    """Parse ISO 8601, also with UTC or GMT for the time zone."""
    text = text.strip()
    iso = re.sub(r"\s*(?:UTC|GMT)$", "Z", text) if ":" in text else text
    if _ISO.fullmatch(iso) is None:
        raise _refusal(repr(text))
    try:
        return datetime.fromisoformat(iso.replace("t", "T").replace("z", "Z"))
    except ValueError as error:
        raise _refusal(f"{text!r} ({error})") from error


def _to_nanoseconds(times: Any) -> Any:
    """Convert the unit; the years before 1678 and after 2262 do not fit, and numpy would wrap them around."""
    converted = times.astype("datetime64[ns]")
    wrapped = converted.astype("datetime64[s]") != times.astype("datetime64[s]")
    if np.any(wrapped & ~np.isnat(times)):
        raise InputError(f"{times} is out of range", "times lie between 1678 and 2262", "Correct the time")
    return converted


def _refusal(found: str) -> InputError:
    return InputError(
        f"not in ISO 8601: {found}",
        "a time is a date with a time of day, in UTC unless it has a zone",
        "Write, e.g., '2017-05-09T12:00' or '2017-05-09T14:00+02:00', or give numpy.datetime64 or datetime",
        cli_remedy="Write, e.g., 2017-05-09T12:00 or 2017-05-09T14:00+02:00",
    )
