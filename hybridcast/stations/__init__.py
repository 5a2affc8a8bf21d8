"""Station files of any known format, opened as one dataset of reports, and the processing of reports.

- `hybridcast.stations.schema` describes station reports;
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
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr

from hybridcast.core.readers import (
    Format,
    PathLike,
    choose_reader,
    expand_paths,
    load_readers,
    read_errors,
    read_files,
    warn_unreadable,
)
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


#: Modules of the built-in formats, in the order in which they are tried; general formats come last.
BUILT_IN = ("opensense_gauges", "opensense_links", "meteonet_csv", "radolan_csv", "parquet", "table", "dsg_netcdf")


@runtime_checkable
class StationFormat(Format, Protocol):
    """Interface of a station format. It reads ONE file; merging and bad files are handled elsewhere."""

    def read(self, path: Path) -> xr.Dataset:
        """Read one file as station reports (`hybridcast.stations.schema`); raise `ReadError` if it is damaged."""
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
) -> xr.Dataset:
    """Open files of gauges, weather stations or microwave links as one dataset of reports.

    Parameters
    ----------
    paths
        A file, a glob, or several of them, in any order; for example files of several months or networks.
    format
        Name of a format, or an object like `StationFormat`; by default detected from the content of each file.
    step
        Interval of the result; by default the longest in the files. Reports over shorter intervals are resampled to it
        by `resample_reports`.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, it is left out with an
        `InputWarning`, and ``attrs["unreadable_files"]`` lists it.

    Returns
    -------
    Dataset
        Station reports, see `hybridcast.stations.schema`; times are ENDS of intervals, UTC.

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
    parts, unreadable = read_files(expand_paths(paths), lambda path: _read(path, format), strict=strict)
    attrs = warn_unreadable(unreadable, "left out")
    return merge_reports(list(parts.values()), step).assign_attrs(attrs)


def _read(path: Path, format: str | StationFormat | None) -> xr.Dataset:
    reader = choose_reader(path, format, formats(), "station", _ADVICE)
    with read_errors(path, reader.NAME):
        return check_stations(reader.read(path)).assign_attrs(format=reader.NAME)


_ADVICE = (
    "; name one with format=. Write gauges of your own as CSV with the columns station, time, latitude, longitude and "
    "precipitation_amount (mm in the interval), or give arrays to hybridcast.stations.station_reports"
)
