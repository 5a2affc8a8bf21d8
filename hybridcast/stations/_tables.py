"""Functions shared by the table formats, which have one row for each station and time."""

from __future__ import annotations

import codecs
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.readers import read_bytes
from hybridcast.errors import ReadError
from hybridcast.stations.schema import station_reports

#: The first bytes of a Parquet file.
PARQUET_MAGIC = b"PAR1"


def first_line(head: bytes, separator: str = ",") -> list[str]:
    """Return the fields of the first line of a CSV file."""
    line = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode("latin-1")
    return [field.strip().strip('"') for field in line.split(separator)]


def read_csv(path: Path, columns: Sequence[str], types: Mapping[str, str], separator: str = ",") -> Any:
    """Read `columns` of a CSV file (plain, gzip or bzip2); raise `ReadError` if some are missing."""
    try:
        content = io.BytesIO(read_bytes(path))
        return pd.read_csv(
            content, sep=separator, skipinitialspace=True, usecols=list(columns), dtype=types, encoding_errors="replace"
        )
    except ReadError:
        raise
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ReadError(path, f"damaged, or not the CSV it looks like ({error})") from error


def parse_times(texts: Any, path: Path) -> Any:
    """Parse times in ISO 8601 or similar, UTC; raise `ReadError` if one is invalid, or lacks its minutes."""
    times = pd.to_datetime(texts.where(texts.str.len() >= len("YYYYMMDD HH:MM")), errors="coerce", utc=True)
    if times.isna().any():
        raise ReadError(path, f"has {int(times.isna().sum())} rows without a time that can be read")
    return times.dt.tz_localize(None).astype("datetime64[ns]")


def reports_from_rows(
    rows: Any,
    path: Path,
    *,
    interval: np.timedelta64,
    variables: Sequence[str],
    coords: Sequence[str],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Build station reports from rows with the columns station, time, `variables` and `coords`.

    Of rows with the same station and time the first is used; the coordinates of a station are those of its last row.
    """
    if rows.empty:
        raise ReadError(path, "holds no row")
    rows = rows.drop_duplicates(["station", "time"])
    wide = rows.pivot(index="station", columns="time", values=list(variables))
    position = rows.groupby("station")[list(coords)].last()
    rain, *others = (wide[name].to_numpy(np.float32) for name in variables)
    return station_reports(
        rain,
        station=wide.index.to_numpy(),
        time=wide[variables[0]].columns.to_numpy(),
        interval=interval,
        coords={name: position[name].to_numpy() for name in coords},
        other_variables=dict(zip(variables[1:], others, strict=True)),
        attrs=attrs,
    )
