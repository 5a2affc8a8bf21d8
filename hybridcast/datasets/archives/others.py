"""Stations and model runs of an archive: Parquet files of reports and NetCDF files of runs, a day in each."""

from __future__ import annotations

import csv
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.files import safe_filename
from hybridcast.core.readers import parse_time_in_name
from hybridcast.datasets.archives.records import Record, unreadable
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import open_nwp
from hybridcast.nwp.writing import save_nwp
from hybridcast.stations import open_stations, save_stations

#: Of a run, a day's file holds the lead times from this long before the day until as long after it.
MARGIN = np.timedelta64(3, "h")
_DAY = np.timedelta64(1, "D")


# --- stations -------------------------------------------------------------------------------------------------


def write_stations(path: Path, folder: Path, name: str) -> Record:
    """Write the reports of a file to ``folder/DAY/NAME.parquet``, day by day; give a record."""
    reports = open_stations(path)
    days = _days_of(reports["time"].values)
    for day in days:
        _write_reports(reports, day, folder, name)
    return {"days": [str(day) for day in days]}


def _write_reports(reports: xr.Dataset, day: np.datetime64, folder: Path, name: str) -> None:
    target = folder / str(day)
    target.mkdir(parents=True, exist_ok=True)
    of_day = reports.isel(time=reports["time"].values.astype("datetime64[D]") == day)
    save_stations(of_day, target / f"{safe_filename(name)}.parquet")


def write_table_by_month(path: Path, folder: Path, name: str) -> Record:
    """Write the reports of a CSV file of years, as `write_stations` does, with no more than a month in memory."""
    days: set[str] = set()
    with tempfile.TemporaryDirectory(dir=_made(folder), prefix=".months-") as months:
        for month in months_of(path, Path(months)):
            days.update(write_stations(month, folder, name)["days"])
    return {"days": sorted(days)}


def months_of(path: Path, folder: Path) -> list[Path]:
    """Part a CSV file by the month in its column ``date``, whatever the order of its rows; give the parts.

    Raises
    ------
    ReadError
        If it has no such column, or a row is cut off.
    """
    files: dict[str, TextIO] = {}
    try:
        with path.open(encoding="utf-8", newline="") as table:
            header = table.readline()
            column = _column(header, path)
            for line in table:
                fields = line.split(",", column + 1)
                if len(fields) <= column:
                    raise ReadError(path, f"a row has {len(fields)} columns: {line[:60]!r}")
                month = fields[column].strip('" ').replace("-", "")[:6]
                if month not in files:
                    files[month] = _begun(folder / f"{safe_filename(month)}.csv", header)
                files[month].write(line)
    except UnicodeDecodeError as error:
        raise ReadError(path, f"no text ({error})") from error
    finally:
        for file in files.values():
            file.close()
    return [folder / f"{safe_filename(month)}.csv" for month in sorted(files)]


def _column(header: str, path: Path) -> int:
    names = next(csv.reader([header.strip()]), [])
    if "date" not in names:
        raise ReadError(path, f"no column is called date; they are {', '.join(names)}")
    return names.index("date")


def _begun(path: Path, header: str) -> TextIO:
    file = path.open("w", encoding="utf-8", newline="")
    file.write(header)
    return file


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- model runs -----------------------------------------------------------------------------------------------


def write_runs(paths: Iterable[Path], folder: Path, name: str) -> Record:
    """Write model runs to ``folder/DAY/NAME.nc`` for each day that they tell of; give a record.

    What the record calls ``unreadable`` is missing in them. Of a run, a day's file holds the day and three hours on
    either side, so that a forecast late in the day has what it needs.
    """
    files = list(paths)
    bad: list[Record] = []
    nwp: xr.Dataset | None = None
    with _quiet():
        while files and nwp is None:
            try:
                nwp = open_nwp(files, strict=True)
            except ReadError as error:
                if error.path not in files:
                    raise
                bad.append(unreadable(error))
                files.remove(error.path)
    if nwp is None:
        return {"days": [], "unreadable": bad}
    days = []
    valid = nwp["reference_time"].values[:, None] + nwp["lead_time"].values
    for day in _days_of(valid.ravel()):
        start = day.astype("datetime64[ns]")
        inside = (valid > start) & (valid < start + _DAY)
        if not inside.any():
            continue
        wanted = (valid >= start - MARGIN) & (valid <= start + _DAY + MARGIN)
        of_day = nwp.isel(reference_time=inside.any(axis=1), lead_time=wanted[inside.any(axis=1)].any(axis=0))
        save_nwp(of_day, _made(folder / str(day)) / f"{safe_filename(name)}.nc")
        days.append(str(day))
    return {"days": days, "variables": sorted(map(str, nwp.data_vars)), **({"unreadable": bad} if bad else {})}


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing is said by the record
        yield


def by_run_day(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files of model runs by the day on which the run starts: by the time in their names, else by content.

    Files that cannot be read are groups of their own.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        named = parse_time_in_name(path.name)
        groups[_start_of(path) if named is None else str(named.astype("datetime64[D]"))].append(path)
    return dict(sorted(groups.items()))


def _start_of(path: Path) -> str:
    try:
        with _quiet():
            return str(open_nwp(path)["reference_time"].values.min().astype("datetime64[D]"))
    except (ReadError, InputError):
        return path.stem


def _days_of(times: NDArray[np.datetime64]) -> list[np.datetime64]:
    return list(np.unique(times.astype("datetime64[D]")))
