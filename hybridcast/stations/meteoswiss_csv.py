"""Automatic stations of MeteoSwiss' open data (``ogd-smn``, ``ogd-smn-precip``), CSV, and the file of latest values.

According to the documentation of the open data (opendatadocs.meteoswiss.ch, general/download), columns are separated by
semicolons, the encoding is Windows-1252, times are ``dd.mm.yyyy HH:MM`` in UTC, and missing values are empty. The time
of a 10-minute value (granularity ``t``, rain ``rre150z0``) is the END of its interval: 16:00 is 15:50:01 to 16:00:00;
that of an hourly value (``h``, rain ``rre150h0``) the end of its last 10 minutes, since 2018. Hourly values before were
summed up for other minutes, and are left out. Daily and longer values are refused: they say nothing of the last hours.

The file of latest values (``VQHA80.csv``) has the columns ``Station/Location`` and ``Date``, as YYYYMMDDHHMM in UTC,
and hyphens for missing values.

Places are in ``ogd-smn_meta_stations.csv``, given among the paths or lying beside the data
(`hybridcast.stations.places`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.readers import read_head
from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations._tables import convert_columns, find_header, read_columns, reports_from_rows
from hybridcast.stations.places import find_places, join_places
from hybridcast.stations.statements import Statements
from hybridcast.stations.table_numbers import parse_amounts
from hybridcast.stations.table_times import parse_own_times

NAME = "meteoswiss-csv"
DESCRIPTION = "MeteoSwiss open data of automatic stations, CSV with its file of stations"

#: Names of the columns of station and time: of the open data, and of the file of latest values.
_KEYS = (("station_abbr", "reference_timestamp"), ("Station/Location", "Date"))
#: Columns of rain, and the minutes of their intervals.
_RAIN = {"rre150z0": 10, "rre150h0": 60}
#: First day of hourly values whose time is the end of the hour.
_HOURS_END = np.datetime64("2018-01-01T01:00", "ns")
#: Other columns of 10-minute values: our name, factor and offset to its units.
_OTHERS = {
    "tre200s0": ("air_temperature", 1.0, 273.15),
    "ure200s0": ("relative_humidity", 0.01, 0.0),
    "pp0qffs0": ("air_pressure_at_mean_sea_level", 100.0, 0.0),
    "dkl010z0": ("wind_from_direction", 1.0, 0.0),
}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the header has the columns of station and time of MeteoSwiss."""
    return _is_header(find_header(head, _is_header).names)


def _is_header(names: Sequence[str]) -> bool:
    return any(set(keys) <= set(names) for keys in _KEYS)


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file, whose places lie beside it."""
    return read_stated(path, Statements())


def read_stated(path: Path, stated: Statements) -> xr.Dataset:
    """Read all stations of one file, whose places are given or lie beside it."""
    header = find_header(read_head(path), _is_header)
    station, time = next(keys for keys in _KEYS if set(keys) <= set(header.names))
    rain = next((name for name in _RAIN if name in header.names), None)
    if rain is None:
        raise ReadError(
            path,
            f"has no rain of 10 minutes or an hour ({', '.join(_RAIN)}). Take the files _t_ or _h_ of stations with it",
        )
    others = [name for name in _OTHERS if name in header.names]
    rows = read_columns(path, header, {"station": station, "time": time, **{n: n for n in (rain, *others)}})
    rows["time"] = parse_own_times(rows["time"], path, "%d.%m.%Y %H:%M" if station == _KEYS[0][0] else "%Y%m%d%H%M")
    interval = np.timedelta64(_RAIN[rain], "m")
    rows = _leave_out_old_hours(rows, path) if interval > np.timedelta64(10, "m") else rows
    rows = join_places(rows, find_places(path, stated.places), path)
    rows[RATE] = rate_from_accumulation(parse_amounts(rows[rain], path, rain), interval)
    variables = convert_columns(rows, _OTHERS, path)
    return reports_from_rows(
        rows,
        path,
        interval=interval,
        variables=(RATE, *variables),
        coords=[name for name in ("latitude", "longitude", "altitude") if name in rows],
        attrs={"source": "MeteoSwiss", "institution": "Federal Office of Meteorology and Climatology MeteoSwiss"},
    )


def _leave_out_old_hours(rows: Any, path: Path) -> Any:
    """Return the hours whose time is their end."""
    kept = rows[rows["time"] >= _HOURS_END]
    if kept.empty:
        raise ReadError(
            path, "holds hours before 2018 only, which do not end at their times. Take the 10-minute values"
        )
    if len(kept) < len(rows):
        warnings.warn(
            InputWarning(
                f"{path}: left out {len(rows) - len(kept)} hours before 2018, which do not end at their times"
            ),
            stacklevel=2,
        )
    return kept.reset_index(drop=True)
