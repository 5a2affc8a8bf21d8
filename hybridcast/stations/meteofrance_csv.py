"""Rain of Météo-France's stations from meteo.data.gouv.fr: hourly (``H_*.csv``) and of 6 minutes (``MN_*.csv``).

Columns are separated by semicolons: ``NUM_POSTE``, ``LAT``, ``LON``, ``ALTI``, ``AAAAMMJJHH`` with ``RR1`` (mm in an
hour) and ``T``, ``U``, ``FF``, ``DD``; or ``AAAAMMJJHHMN`` with ``RR`` (mm in 6 minutes). Times are UTC. The
description of the columns does not say which end of the interval they are; hours and 6 minutes of the same stations
agree if both are ENDS, and of no station if they were beginnings. ``QRR1`` and ``QRR`` are codes of quality, of which 2
is doubtful: such rain is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.readers import read_head
from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError
from hybridcast.stations._tables import convert_columns, find_header, read_columns, reports_from_rows
from hybridcast.stations.table_numbers import parse_amounts, parse_numbers
from hybridcast.stations.table_times import parse_own_times

NAME = "meteofrance-csv"
DESCRIPTION = "Météo-France stations of meteo.data.gouv.fr, hourly or of 6 minutes, CSV"

#: Column of time: its format, the column of rain, and the minutes of the interval.
_KINDS = {"AAAAMMJJHH": ("%Y%m%d%H", "RR1", 60), "AAAAMMJJHHMN": ("%Y%m%d%H%M", "RR", 6)}
_PLACES = {"latitude": "LAT", "longitude": "LON", "altitude": "ALTI"}
_DOUBTFUL = "2"
#: Other columns: our name, factor and offset to its units.
_OTHERS = {
    "T": ("air_temperature", 1.0, 273.15),
    "U": ("relative_humidity", 0.01, 0.0),
    "FF": ("wind_speed", 1.0, 0.0),
    "DD": ("wind_from_direction", 1.0, 0.0),
}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the header has the columns of post and time of Météo-France."""
    return _is_header(find_header(head, _is_header).names)


def _is_header(names: Sequence[str]) -> bool:
    return "NUM_POSTE" in names and any(time in names for time in _KINDS)


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    header = find_header(read_head(path), _is_header)
    time = next((name for name in _KINDS if name in header.names), None)
    if time is None:
        raise ReadError(path, f"has none of the columns of time {', '.join(_KINDS)}; daily files have no time of day")
    time_format, rain, minutes = _KINDS[time]
    kept = {name: name for name in (rain, f"Q{rain}", *_OTHERS) if name in header.names}
    rows = read_columns(path, header, {"station": "NUM_POSTE", "time": time, **_PLACES, **kept})
    rows["time"] = parse_own_times(rows["time"], path, time_format)
    interval = np.timedelta64(minutes, "m")
    rows[RATE] = rate_from_accumulation(_read_amounts(rows, rain, path), interval)
    others = convert_columns(rows, _OTHERS, path)
    for ours in _PLACES:
        rows[ours] = parse_numbers(rows[ours], path, ours)
    return reports_from_rows(
        rows,
        path,
        interval=interval,
        variables=(RATE, *others),
        coords=tuple(_PLACES),
        attrs={"source": "Météo-France stations", "institution": "Météo-France"},
    )


def _read_amounts(rows: Any, rain: str, path: Path) -> Doubles:
    """Return the rain, NaN where its code of quality is doubtful."""
    if rain not in rows:
        raise ReadError(path, f"has no column {rain}, so no rain")
    amounts = parse_amounts(rows[rain], path, rain)
    quality = f"Q{rain}"
    return np.where(rows[quality] == _DOUBTFUL, np.nan, amounts) if quality in rows else amounts
