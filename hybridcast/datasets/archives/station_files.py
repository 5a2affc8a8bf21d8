"""Stations of an archive: Parquet files of reports, one day in each."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
import xarray as xr

from hybridcast.core.files import safe_filename
from hybridcast.datasets.archives.records import Record
from hybridcast.errors import ReadError
from hybridcast.stations import open_stations, save_stations


def write_stations(
    path: Path, folder: Path, name: str, open_reports: Callable[[Path], xr.Dataset] = open_stations
) -> Record:
    """Write the reports of a file to ``folder/DAY/NAME.parquet``, day by day, and return a record."""
    reports = open_reports(path)
    days = np.unique(reports["time"].values.astype("datetime64[D]"))
    for day in days:
        _write_reports(reports, day, folder, name)
    return {"days": [str(day) for day in days]}


def _write_reports(reports: xr.Dataset, day: np.datetime64, folder: Path, name: str) -> None:
    target = folder / str(day)
    target.mkdir(parents=True, exist_ok=True)
    of_day = reports.isel(time=reports["time"].values.astype("datetime64[D]") == day)
    save_stations(of_day, target / f"{safe_filename(name)}.parquet")


def write_station_table(path: Path, folder: Path, name: str) -> Record:
    """Write the reports of a CSV file of years like `write_stations`, with at most a month in memory."""
    days: set[str] = set()
    with tempfile.TemporaryDirectory(dir=_create(folder), prefix=".months-") as months:
        for month in split_months(path, Path(months)):
            days.update(write_stations(month, folder, name)["days"])
    return {"days": sorted(days)}


def split_months(path: Path, folder: Path) -> list[Path]:
    """Split a CSV file by the month in its column ``date``, for any order of its rows; return the parts.

    Raises
    ------
    ReadError
        If the column is missing, or a row is truncated.
    """
    files: dict[str, TextIO] = {}
    try:
        with path.open(encoding="utf-8", newline="") as table:
            header = table.readline()
            column = _find_date_column(header, path)
            for line in table:
                fields = line.split(",", column + 1)
                if len(fields) <= column:
                    raise ReadError(path, f"a row has {len(fields)} columns: {line[:60]!r}")
                month = fields[column].strip('" ').replace("-", "")[:6]
                if month not in files:
                    files[month] = _open_part(folder / f"{safe_filename(month)}.csv", header)
                files[month].write(line)
    except UnicodeDecodeError as error:
        raise ReadError(path, f"no text ({error})") from error
    finally:
        for file in files.values():
            file.close()
    return [folder / f"{safe_filename(month)}.csv" for month in sorted(files)]


def _find_date_column(header: str, path: Path) -> int:
    names = next(csv.reader([header.strip()]), [])
    if "date" not in names:
        raise ReadError(path, f"no column is called date; they are {', '.join(names)}")
    return names.index("date")


def _open_part(path: Path, header: str) -> TextIO:
    file = path.open("w", encoding="utf-8", newline="")
    file.write(header)
    return file


def _create(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
