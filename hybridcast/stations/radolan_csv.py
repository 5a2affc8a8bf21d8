"""Hourly gauges of DWD in CSV rows of time, station and rain, as distributed with RADOLAN examples.

Columns: time (UTC), station_id, rainfall_amount (mm in the hour), station_name, longitude, latitude, and x, y (km on
the RADOLAN grid, which follow from the degrees and are not used).

The time stamp, hh:50, is the END of the hour: it is the hour of RADOLAN RW, and the sums of the gauges agree with the
sum of the radar's frames up to it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.stations._tables import first_line, read_csv, reports_from_rows
from hybridcast.stations.table_numbers import parse_amounts
from hybridcast.stations.table_times import parse_times

NAME = "radolan-gauges-csv"
DESCRIPTION = "hourly gauges of DWD beside RADOLAN, CSV"

INTERVAL = np.timedelta64(1, "h")
COLUMNS = ("time", "station_id", "rainfall_amount", "station_name", "longitude", "latitude")


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the first line has the columns of this format."""
    return set(COLUMNS) <= set(first_line(head))


def read(path: Path) -> xr.Dataset:
    """Read all gauges of one file."""
    rows = read_csv(path, COLUMNS, {"station_id": "str", "time": "str"}).rename(columns={"station_id": "station"})
    rows["time"] = parse_times(rows["time"], path)
    rows[RATE] = rate_from_accumulation(parse_amounts(rows["rainfall_amount"], path, "rainfall_amount"), INTERVAL)
    return reports_from_rows(
        rows,
        path,
        interval=INTERVAL,
        variables=(RATE,),
        coords=("latitude", "longitude", "station_name"),
        attrs={"source": "DWD gauges", "institution": "Deutscher Wetterdienst"},
    )
