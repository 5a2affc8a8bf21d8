"""Ground stations of Météo-France's MeteoNet: a CSV file for each month and region, with reports every 6 minutes.

Columns, according to the documentation of MeteoNet: number_sta, lat, lon (degrees), height_sta (m), date, dd (degree),
ff (m s-1), precip (mm in the reporting period, 6 minutes), hu (%), td and t (K), psl (Pa). The date is
``YYYY-MM-DD HH:MM`` or ``YYYYMMDD HH:MM``, UTC.

MeteoNet does not state whether a time stamp is the beginning or the end of the reporting period. It is taken as the
END, because weather stations report the rain that has fallen; otherwise `clock_offset` against the radar would find an
offset of about 6 minutes. The reader has been tested with files written after the documentation, not with real ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.stations._tables import first_line, read_csv, reports_from_rows
from hybridcast.stations.table_numbers import parse_amounts
from hybridcast.stations.table_times import parse_times

NAME = "meteonet-csv"
DESCRIPTION = "Météo-France MeteoNet ground stations, CSV"

INTERVAL = np.timedelta64(6, "m")
COLUMNS = ("number_sta", "lat", "lon", "height_sta", "date", "dd", "ff", "precip", "hu", "td", "t", "psl")
_NAMES = {
    "number_sta": "station",
    "lat": "latitude",
    "lon": "longitude",
    "height_sta": "altitude",
    "dd": "wind_from_direction",
    "ff": "wind_speed",
    "t": "air_temperature",
    "psl": "air_pressure_at_mean_sea_level",
}
_LICENCE = "Licence Ouverte / Open Licence 2.0 (Etalab)"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the first line has the columns of this format."""
    return {"number_sta", "date", "precip"} <= set(first_line(head))


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    rows = read_csv(path, COLUMNS, {"number_sta": "str", "date": "str"}).rename(columns=_NAMES)
    rows["time"] = parse_times(rows["date"], path)
    rows[RATE] = rate_from_accumulation(parse_amounts(rows["precip"], path, "precip"), INTERVAL)
    rows["relative_humidity"] = rows["hu"] / 100
    others = (
        "air_temperature",
        "relative_humidity",
        "air_pressure_at_mean_sea_level",
        "wind_speed",
        "wind_from_direction",
    )
    return reports_from_rows(
        rows,
        path,
        interval=INTERVAL,
        variables=(RATE, *others),
        coords=("latitude", "longitude", "altitude"),
        attrs={"source": "MeteoNet ground stations", "institution": "Météo-France", "license": _LICENCE},
    )
