"""Station files of any known format, opened as one dataset of reports, and the processing of reports.

- `hybridcast.stations.schema` describes station reports;
- `hybridcast.stations.table` reads tables of gauges, with what their names and rows say of times, rain and intervals;
- `hybridcast.stations.merging` resamples and merges them;
- `hybridcast.stations.collocation` and `hybridcast.stations.interpolation` relate them to the radar's grid;
- `hybridcast.stations.clock` estimates the offset between the clocks of radar and stations;
- `hybridcast.stations.quality` rejects erroneous reports;
- `hybridcast.stations.links` converts signal levels of microwave links to rain rates;
- `hybridcast.stations.adjustment` adjusts the radar by gauges.

A format is a module (or any object) with the attributes of `StationFormat`. Those of hybridcast are listed in
`BUILT_IN`; another package registers its own under the entry point group ``hybridcast.station_formats``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr

from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.locations import try_local
from hybridcast.core.paths import open_paths
from hybridcast.core.readers import (
    Format,
    PathLike,
    choose_reader,
    load_readers,
    read_errors,
    read_file,
    read_files,
    read_head,
    warn_unreadable,
)
from hybridcast.errors import ReadError, UnknownFormatError
from hybridcast.stations.collocation import collocate, sample_radar
from hybridcast.stations.merging import merge_reports, resample_reports
from hybridcast.stations.parquet import save_stations
from hybridcast.stations.places import is_file_of_places
from hybridcast.stations.schema import check_stations, get_interval, select_available_reports, station_reports
from hybridcast.stations.statements import Statements
from hybridcast.stations.table import describe_unknown

__all__ = [
    "StatedFormat",
    "StationFormat",
    "check_stations",
    "collocate",
    "formats",
    "get_interval",
    "merge_reports",
    "open_stations",
    "resample_reports",
    "sample_radar",
    "save_stations",
    "select_available_reports",
    "separate_places",
    "station_reports",
]


#: Modules of the built-in formats, in the order in which they are tried; general formats come last.
BUILT_IN = (
    "opensense_gauges",
    "opensense_links",
    "meteonet_csv",
    "radolan_csv",
    "meteoswiss_csv",
    "dwd_cdc",
    "meteofrance_csv",
    "knmi_text",
    "smhi_csv",
    "iem_csv",
    "parquet",
    "table",
    "dsg_netcdf",
)


@runtime_checkable
class StationFormat(Format, Protocol):
    """Interface of a station format. It reads ONE file; merging and bad files are handled elsewhere."""

    def read(self, path: Path) -> xr.Dataset:
        """Read one file as station reports (`hybridcast.stations.schema`); raise `ReadError` if it is damaged."""
        ...


@runtime_checkable
class StatedFormat(StationFormat, Protocol):
    """Interface of a station format whose files need statements of the user, or a file of places."""

    def read_stated(self, path: Path, stated: Statements) -> xr.Dataset:
        """Read one file with the statements of the user."""
        ...


@functools.cache
def formats() -> dict[str, StationFormat]:
    """Return all known formats by name; those of other packages come first, so that they can replace a built-in one."""
    return load_readers("hybridcast.stations", BUILT_IN, "hybridcast.station_formats")


def open_stations(
    paths: PathLike | Iterable[PathLike],
    format: str | StationFormat | None = None,
    *,
    step: np.timedelta64 | None = None,
    strict: bool = False,
    interval: Duration | None = None,
    time_format: str | None = None,
    rain: str | None = None,
) -> xr.Dataset:
    """Open files of gauges, weather stations or microwave links as one dataset of reports.

    Parameters
    ----------
    paths
        A file, a glob, a tar or zip, a URL, or several of them, in any order; for example files of several months or
        networks. Files with the places of the stations, which some formats need, are given among them
        (`hybridcast.stations.places`).
    format
        Name of a format, or an object like `StationFormat`; by default detected from the content of each file.
    step
        Interval of the result; by default the shortest multiple of the intervals in the files, see `merge_reports`.
        Reports over shorter intervals are resampled to it by `resample_reports`.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, it is left out with an
        `InputWarning`, and ``attrs["unreadable_files"]`` lists it.
    interval
        Interval of the amounts in tables that do not state it, such as ``"10min"``: each is the rain up to its time.
    time_format
        Format of the times in tables, as for ``datetime.strptime``, or ``"unix"`` for seconds since 1970; for dates
        such as 01/06/2024, whose order of day and month the table does not prove.
    rain
        Name of the column of rain in tables, where there are several, or its name does not say that it is rain.

    Returns
    -------
    Dataset
        Station reports, see `hybridcast.stations.schema`; times are ENDS of intervals, UTC.
        ``attrs["stations_left_out"]`` names stations of which nothing is used, because the interval of their amounts is
        not known or their values are no amounts, and the reason.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is damaged, empty, or of no known format.
    InputError
        If nothing matches `paths`, or the reports cannot be merged (see `merge_reports`).

    Examples
    --------
    >>> files = hybridcast.fetch("openmrg-20150827")  # doctest: +SKIP
    >>> gauges = open_stations([file for file in files if "gauge" in file.name])  # doctest: +SKIP
    """
    length = None if interval is None else parse_duration(interval, "interval")
    with open_paths(paths) as given:
        files, places = separate_places(given)
        stated = Statements(length, time_format, rain, tuple(places))
        parts, unreadable = read_files(files, lambda path: _read_file(path, format, stated), strict=strict)
    attrs = warn_unreadable(unreadable, "left out")
    return merge_reports(list(parts.values()), step).assign_attrs(attrs)


def separate_places(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of reports, and those of places; documents that come with these are neither."""
    copies = {path: copy for path in paths if (copy := try_local(path)) is not None and copy.is_file()}
    files = [path for path in paths if not (path in copies and path.name.startswith("Metadaten_"))] or list(paths)
    places = {path: copy for path, copy in copies.items() if is_file_of_places(copy)}
    reports = [path for path in files if path not in places]
    if not reports:
        raise ReadError(paths[0], "a file of places, without reports. Give the files of the reports too")
    return reports, list(places.values())


def _read_file(path: Path, format: str | StationFormat | None, stated: Statements) -> xr.Dataset:
    return read_file(path, lambda copy: _read(copy, format, stated))


def _read(path: Path, format: str | StationFormat | None, stated: Statements) -> xr.Dataset:
    _refuse_documents(path)
    reader = _choose_reader(path, format)
    with read_errors(path, reader.NAME):
        reports = reader.read_stated(path, stated) if isinstance(reader, StatedFormat) else reader.read(path)
        return check_stations(reports).assign_attrs(format=reader.NAME)


def _choose_reader(path: Path, format: str | StationFormat | None) -> StationFormat:
    """Return the format of a file; the error for an unknown one says what it has and lacks as a table."""
    try:
        return choose_reader(path, format, formats(), "station", _ADVICE, cli_advice=_CLI_ADVICE)
    except UnknownFormatError as error:
        known = describe_unknown(read_head(path))
        raise UnknownFormatError(path, error.reason + known, cli_reason=error.cli_reason + known) from None


def _refuse_documents(path: Path) -> None:
    """Raise `ReadError` for documents that hold tables, but are none."""
    head = read_head(path, 2048)
    if head.startswith(b"\xd0\xcf\x11\xe0") or (head.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in head):
        raise ReadError(path, "a spreadsheet. Save the sheet with one row for each station and time as CSV")
    if re.match(rb"\s*(\{|\[\s*[\[{\]])", head):
        raise ReadError(path, f"JSON, whose layout nothing states. Write its reports as a table{_TABLE}")
    if head.lstrip()[:9].lower().startswith((b"<html", b"<!doctype")):
        raise ReadError(path, "a web page, no file of reports: was the download refused? Get the file itself")


_TABLE = ": CSV with the columns station, time, latitude, longitude and precipitation_amount (mm in the interval)"
_ADVICE = (
    f"; name one with format=. Write gauges of your own as a table{_TABLE}, or give arrays to "
    "hybridcast.stations.station_reports"
)
_CLI_ADVICE = f". Write gauges of your own as a table{_TABLE}"
