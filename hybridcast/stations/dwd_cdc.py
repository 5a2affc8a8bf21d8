"""Rain of DWD's stations from the Climate Data Center (CDC), the text files ``produkt_*`` in its zip files.

Columns are separated by semicolons: ``STATIONS_ID``, ``MESS_DATUM`` and the rain in mm, ``RS_01`` of 1 minute,
``RS_05`` of 5, ``RWS_10`` of 10 minutes, or ``R1`` of an hour; -999 is missing. According to the descriptions of the
data sets of 10 minutes, the time is the END of the interval, in UTC since 2000 and in CET before; those of 1 and 5
minutes are "of the last" minutes too. The hours have no minutes (YYYYMMDDHH) and are taken to end at the full hour;
DWD's hourly sums of synoptic stations end at its minute 50, so they may be 10 minutes late.

Places are in ``*_Beschreibung_Stationen.txt`` or in ``Metadaten_Geographie_*.txt`` of the same zip file, given among
the paths or lying beside the data (`hybridcast.stations.places`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.readers import read_head
from hybridcast.core.types import HOUR
from hybridcast.errors import ReadError
from hybridcast.stations._tables import find_header, read_columns, reports_from_rows
from hybridcast.stations.places import find_places, join_places
from hybridcast.stations.statements import Statements
from hybridcast.stations.table_numbers import parse_amounts
from hybridcast.stations.table_times import parse_own_times

NAME = "dwd-cdc"
DESCRIPTION = "rain of DWD's stations from the Climate Data Center, produkt_*.txt with a file of stations"

_KEYS = ("STATIONS_ID", "MESS_DATUM")
#: Columns of rain, and the minutes of their intervals.
_RAIN = {"RS_01": 1, "RS_05": 5, "RWS_10": 10, "R1": 60}
_MISSING = -999.0
#: Times before this are in CET.
_UTC_SINCE = np.datetime64("2000-01-01", "ns")


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the header has the columns of station and time of the CDC."""
    return _is_header(find_header(head, _is_header).names)


def _is_header(names: Sequence[str]) -> bool:
    return set(_KEYS) <= set(names)


def read(path: Path) -> xr.Dataset:
    """Read one file, whose places lie beside it."""
    return read_stated(path, Statements())


def read_stated(path: Path, stated: Statements) -> xr.Dataset:
    """Read one file, whose places are given or lie beside it."""
    header = find_header(read_head(path), _is_header)
    rain = next((name for name in _RAIN if name in header.names), None)
    if rain is None:
        raise ReadError(path, f"has no rain of an hour or less ({', '.join(_RAIN)}); it has {', '.join(header.names)}")
    rows = read_columns(path, header, {"station": _KEYS[0], "time": _KEYS[1], "rain": rain})
    rows["time"] = parse_own_times(rows["time"], path, "%Y%m%d%H" if rain == "R1" else "%Y%m%d%H%M")
    rows["time"] = rows["time"].where(rows["time"] >= _UTC_SINCE, rows["time"] - HOUR)
    rows = join_places(rows, find_places(path, stated.places), path)
    interval = np.timedelta64(_RAIN[rain], "m")
    amounts = parse_amounts(rows["rain"], path, rain)
    rows[RATE] = rate_from_accumulation(np.where(amounts == _MISSING, np.nan, amounts), interval)
    return reports_from_rows(
        rows,
        path,
        interval=interval,
        variables=(RATE,),
        coords=[name for name in ("latitude", "longitude", "altitude") if name in rows],
        attrs={"source": "DWD Climate Data Center", "institution": "Deutscher Wetterdienst"},
    )
