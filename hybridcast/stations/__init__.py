"""Station files of any known format, opened as one dataset of reports; what comes after is in the modules beside it.

`contract` says what station reports are, `joining` brings them onto one step, `place` onto the radar's grid, `clock`
compares clocks, `quality` rejects what is wrong, `links` makes rain of microwave links, `adjustment` corrects the
radar by gauges, `planes` makes predictors, and `pseudo_gauges` simulates gauges where there are none.

A format is a module (or any object) with four names, see `StationFormat`. Those of hybridcast are listed in
`BUILT_IN`; another package adds its own under the entry point group ``hybridcast.station_formats``.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr

from hybridcast.core.readers import (
    PathLike,
    detect_reader,
    expand_paths,
    get_reader,
    load_readers,
    read_errors,
    refuse_empty,
)
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._files import read_head
from hybridcast.stations.collocation import collocate, sample_radar
from hybridcast.stations.merging import merge_reports, resample_reports
from hybridcast.stations.parquet import save_stations
from hybridcast.stations.schema import check_stations, get_interval, select_available_reports, station_reports

__all__ = [
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
    "station_reports",
]


#: In this order each is asked whether it recognises a file; the general ones come last.
BUILT_IN = ("opensense_gauges", "opensense_links", "meteonet_csv", "radolan_csv", "parquet", "table", "dsg_netcdf")


@runtime_checkable
class StationFormat(Protocol):
    """What a format module offers. It reads ONE file; joining and bad files are dealt with here."""

    NAME: str
    """How a user names it in ``format=``."""
    DESCRIPTION: str
    """One line for people: whose files, what they hold."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell from the first bytes (uncompressed) and, if need be, the file, whether it is one."""
        ...

    def read(self, path: Path) -> xr.Dataset:
        """Read one file as station reports (`hybridcast.stations.schema`); raise `ReadError` if it is damaged."""
        ...


@functools.cache
def formats() -> dict[str, StationFormat]:
    """Return all known formats by name, those of other packages first, so that they can replace one of ours."""
    return load_readers("hybridcast.stations", BUILT_IN, "hybridcast.station_formats")


def open_stations(
    paths: PathLike | Iterable[PathLike],
    format: str | StationFormat | None = None,
    *,
    step: np.timedelta64 | None = None,
    strict: bool = False,
) -> xr.Dataset:
    """Open files of gauges, weather stations or microwave links as one dataset of reports.

    Parameters
    ----------
    paths
        A file, a glob, or several of them, in any order: months, networks.
    format
        Name of a format, or an object like `StationFormat`; by default recognised from the content of each file.
    step
        The interval of the result; by default the longest in the files. Reports over shorter intervals are brought
        onto it: means over whole intervals, NaN where a report is missing (`resample_reports`).
    strict
        Raise at the first unreadable file. By default, if others can be read, it is left out with an `InputWarning`,
        and ``attrs["unreadable_files"]`` names it.

    Returns
    -------
    Dataset
        The contract of `hybridcast.stations.schema`; times are ENDS of intervals, UTC.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is damaged, empty, or of no known format.
    InputError
        If nothing matches `paths`, or reports do not go together (see `merge_reports`).

    Examples
    --------
    >>> files = hybridcast.fetch("openmrg-20150827")  # doctest: +SKIP
    >>> gauges = open_stations([file for file in files if "gauge" in file.name])  # doctest: +SKIP
    """
    parts: list[xr.Dataset] = []
    bad: list[ReadError] = []
    for path in expand_paths(paths):
        try:
            parts.append(_read(path, format))
        except ReadError as error:
            if strict:
                raise
            bad.append(error)
    if not parts:
        raise bad[0]
    for lost in bad:
        warnings.warn(f"left out: {lost}", InputWarning, stacklevel=2)
    stations = merge_reports(parts, step)
    if bad:
        stations.attrs["unreadable_files"] = "; ".join(str(lost) for lost in bad)
    return stations


def _read(path: Path, format: str | StationFormat | None) -> xr.Dataset:
    reader = _reader_for(path, format)
    with read_errors(path, reader.NAME):
        return check_stations(reader.read(path)).assign_attrs(format=reader.NAME)


def _reader_for(path: Path, format: str | StationFormat | None) -> StationFormat:
    known = formats()
    chosen = get_reader(format, known)
    refuse_empty(path)
    if chosen is not None:
        return chosen
    head = read_head(path)
    reader = detect_reader(path, head, known)
    if reader is not None:
        return reader
    raise ReadError(
        path,
        f"no known station format (starts with {head[:12]!r}); known are {', '.join(known)}; name one with format=. "
        "Write gauges of your own as CSV with the columns station, time, latitude, longitude and precipitation_amount "
        "(mm in the interval), or give arrays to hybridcast.stations.station_reports",
    )
