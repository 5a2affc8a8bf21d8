"""User-supplied gauges in a table: CSV or Parquet with one row for each station and time.

Columns, in any order and case; others are ignored:

- ``station`` (or ``station_id``, ``id``, ``site``, ``gauge``, ``name``);
- ``time`` (or ``datetime``, ``timestamp``, ``end_time``, ``date``; or ``date`` and ``time``; or ``year``, ``month``,
  ``day`` and ``time``): UTC unless it states an offset, the END of the interval, in one of the notations of
  `hybridcast.stations.table_times`;
- ``latitude`` and ``longitude`` (or ``lat``, ``lon``): degrees; ``altitude`` (or ``height``, ``elevation``): m; or a
  second file with the places (`hybridcast.stations.places`);
- the rain: ``precipitation_amount``, mm in the interval, or ``precipitation_rate``, mm h-1; or one column whose name
  says so with its units, such as ``rain_mm``, ``precip_10min_mm`` or ``precip_mm_h``
  (`hybridcast.stations.rain_columns`).

The interval of an amount is stated by the user, by the name of the column, or by other columns of the rows
(`hybridcast.stations.table_rows`), or it is the regular step of the rows of the station itself
(`hybridcast.stations.reporting_intervals`). Stations of which it is not known are left out, and so
are stations whose values are an accumulation (`hybridcast.stations.accumulations`), with the reason in
``attrs["stations_left_out"]``. Stations of different intervals are brought onto one by
`hybridcast.stations.merging.merge_reports`.

All spellings, and what names state besides, are in `hybridcast.stations.table_columns`.

Columns of a CSV file are separated by commas, semicolons, tabs or bars; numbers have decimal points or commas. Titles
and comments above the header are skipped, units in the rows below it are used (`hybridcast.stations.table_units`).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.extras import extra
from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.file_kinds import is_text
from hybridcast.core.listing import list_first
from hybridcast.core.readers import read_head
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.errors import InputWarning, ReadError
from hybridcast.stations._tables import PARQUET_MAGIC, Header, find_header, read_columns, reports_from_rows
from hybridcast.stations.accumulations import Series, find_accumulations
from hybridcast.stations.merging import merge_reports
from hybridcast.stations.places import COORDINATES, find_places, join_places, parse_coordinate
from hybridcast.stations.rain_columns import RainColumn, describe_rain, find_rain
from hybridcast.stations.reporting_intervals import (
    Reporting,
    goes_back_an_hour,
    read_interval,
    round_to_steps,
    thin_out,
)
from hybridcast.stations.schema import LEFT_OUT
from hybridcast.stations.statements import Statements
from hybridcast.stations.table_columns import (
    find_zone,
    has_station_and_time,
    is_known,
    match_columns,
    other_times,
    refuse_other_meaning,
)
from hybridcast.stations.table_dates import find_dates, join_dates, refuse_other_zones
from hybridcast.stations.table_numbers import find_nines, parse_numbers
from hybridcast.stations.table_rows import find_row_statements, one_length, read_lengths, refuse_kinds
from hybridcast.stations.table_times import parse_times
from hybridcast.stations.table_units import refuse_statements, take_unit_rows

NAME = "station-table"
DESCRIPTION = "a table of stations, CSV or Parquet: station, time, latitude, longitude, precipitation_amount or _rate"

_NEEDED = ("station", "time")
#: Amounts of nines only are codes from this value on, rates (mm h-1) from that one on.
NINES = {False: 99.0, True: 999.0}
#: Stations named in a message.
NAMED = 3
_NEVER_CHANGES = "its value never changes, so it is an accumulation in a dry time, or the gauge is stuck"
#: Columns named in a message.
COLUMNS_NAMED = 10
#: A station moves if its coordinates differ by more than this, degrees.
MOVED = 0.02


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file has a column of stations, and one of times or rain; what else is missing is named later."""
    names = _read_header(path, head).names
    columns = match_columns(names)
    return "station" in columns and ("time" in columns or any(isinstance(describe_rain(n), RainColumn) for n in names))


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    return read_stated(path, Statements())


def read_stated(path: Path, stated: Statements) -> xr.Dataset:
    """Read all stations of one file, of which the user states something."""
    head = read_head(path)
    header = _read_header(path, head)
    header, units = take_unit_rows(header, head, match_columns(header.names).get("time"))
    columns = _choose_columns(header, units, path)
    rain = find_rain(header.names, path, stated.rain, units)
    rows = _read_rows(path, header, columns, rain)
    rows["time"] = _convert_times(rows, path, stated.time_format)
    lengths = read_lengths(rows, columns, path, stated.time_format)
    if lengths is not None:
        rows["length"] = lengths
    rows, left_out = _add_places(rows, path, stated)
    rows[RATE] = _convert_rain(rows["rain"], rain, path)
    return _build_reports(rows, rain, path, stated, left_out)


# --- header and rows ------------------------------------------------------------------------------------------


def _read_header(path: Path, head: bytes) -> Header:
    if head.startswith(PARQUET_MAGIC):
        with extra("parquet", "Parquet"):
            import pyarrow.parquet

        return Header([str(name) for name in pyarrow.parquet.read_schema(path).names])
    return find_header(head, has_station_and_time)


def describe_unknown(head: bytes) -> str:
    """Return what a table lacks that no format recognises, for messages; empty if it is no table."""
    names = find_header(head, has_station_and_time).names if is_text(head) else []
    if len(names) < 2:
        blanks = len(" ".join(names).split()) > 2
        return ". As a table it has no commas, semicolons or tabs between columns" if blanks else ""
    lacking = [name for name in ("station", "time", "latitude", "longitude") if name not in match_columns(names)]
    layout = ""
    if "station" in lacking and "time" not in lacking:
        layout = (
            ". Add a column station with its name if the file is of one station; if each column is a station, write a "
            "row for each station and time, as pandas.melt does"
        )
    return f". As a table it has the columns {_list_columns(names)}, but no {', '.join(lacking) or 'rain'}{layout}"


def _list_columns(names: Sequence[str]) -> str:
    return list_first(names, COLUMNS_NAMED)


def _choose_columns(header: Header, units: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the columns of station, time and place, and those of which a date or the time may consist besides."""
    columns = match_columns(header.names)
    if "time" not in columns:
        refuse_other_meaning(header.names, path)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        known = f"has no column {', '.join(missing)}; it has {', '.join(header.names)}"
        raise ReadError(path, f"{known}. Rename what is meant; times are ends of intervals in UTC")
    refuse_statements(path, columns, header, units)
    altitude = columns.get("altitude")
    if altitude is not None and not is_known("altitude", units.get(altitude, "")):
        del columns["altitude"]  # in other units
    zone = find_zone(header.names)
    more = find_dates(header.names, columns["time"]) | find_row_statements(header.names, columns["time"])
    return columns | more | ({"zone": zone} if zone else {})


def _read_rows(path: Path, header: Header, columns: Mapping[str, str], rain: RainColumn) -> Any:
    """Return the rows, with our names of the columns, as texts or in the types of Parquet."""
    others = other_times(header.names, columns["time"])
    wanted = {**columns, "rain": rain.name, **{f"time {n}": name for n, name in enumerate(others)}}
    rows = read_columns(path, header, wanted) if header.separator else _read_parquet(path, wanted)
    rows = _drop_notes(rows, path)
    refuse_other_zones(rows, columns, path)
    refuse_kinds(rows, columns, path)
    return join_dates(rows, {f"time {n}": name for n, name in enumerate(others)}, columns["time"], path)


def _drop_notes(rows: Any, path: Path) -> Any:
    """Return the rows of reports: those with neither time nor rain are notes below a table, or empty."""
    known = rows[["station", "time", "rain"]]
    texts = known.astype(object).where(known.notna(), "").astype(str).apply(lambda column: column.str.strip())
    empty = texts == ""
    notes = (empty["time"] & empty["rain"]) | texts["station"].str.startswith("#")
    rows = rows.assign(station=texts["station"])[~notes].reset_index(drop=True)
    if rows.empty:
        raise ReadError(path, "holds no row")
    for name in _NEEDED:
        lacking = empty.loc[~notes, name].to_numpy()
        if lacking.any():
            first = ", ".join(filter(None, texts[~notes][lacking].iloc[0]))
            raise ReadError(
                path, f"{int(lacking.sum())} rows have no {name}, the first with {first}. Fill it in, or remove the row"
            )
    return rows


def _read_parquet(path: Path, wanted: Mapping[str, str]) -> Any:
    with extra("parquet", "Parquet"):
        import pyarrow.parquet

    columns = list(dict.fromkeys(wanted.values()))
    rows = pyarrow.parquet.read_table(path, columns=columns).to_pandas(ignore_metadata=True)  # an index is a column too
    if rows.empty:
        raise ReadError(path, "holds no row")
    return pd.DataFrame({ours: rows[name] for ours, name in wanted.items()})


def _convert_times(rows: Any, path: Path, time_format: str | None) -> Any:
    times = rows["time"]
    if pd.api.types.is_datetime64_any_dtype(times):
        converted = pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[ns]")
    else:
        converted = parse_times(times.astype(str).str.strip(), path, time_format)
    for station, own in converted.groupby(rows["station"], sort=False):
        repeated = goes_back_an_hour(own.to_numpy())
        if repeated is not None:
            raise ReadError(
                path,
                f"times of {station} go back to {str(repeated)[:16]}, as when a clock is set from summer "
                "to standard time. Times are UTC, or state an offset such as +02:00: convert them",
            )
    return converted


def _add_places(rows: Any, path: Path, stated: Statements) -> tuple[Any, dict[str, str]]:
    """Return the rows with the coordinates of their stations, without stations that have none or move."""
    if "latitude" in rows and "longitude" in rows:
        for name in sorted(COORDINATES & set(rows.columns), reverse=True):
            rows[name] = parse_coordinate(rows[name], path, name)
    else:
        rows = join_places(rows, find_places(path, stated.places), path)
    groups = rows.groupby("station", sort=False)[["latitude", "longitude"]]
    nowhere = (groups.min() == 0).all(axis=1) & (groups.max() == 0).all(axis=1)  # 0, 0 is in the ocean
    without = (groups.count().min(axis=1) == 0) | nowhere
    moving = (groups.max() - groups.min()).max(axis=1) > MOVED
    left_out = dict.fromkeys(without.index[without], "no latitude and longitude")
    left_out |= dict.fromkeys(moving.index[moving], "it moves")
    kept = rows[~rows["station"].isin(list(left_out))].reset_index(drop=True)
    if kept.empty:
        known = f"has no place of its stations ({_list_reasons(left_out)})"
        raise ReadError(path, f"{known}. Fill in latitude and longitude, in degrees")
    return kept, left_out


def _convert_rain(texts: Any, rain: RainColumn, path: Path) -> Any:
    """Return the rain in mm or mm h-1; NaN where there is none, infinite for codes, so that they are counted later."""
    values = parse_numbers(texts, path, rain.name)
    return np.where(find_nines(values, NINES[rain.is_rate]), np.inf, values * rain.factor)


# --- intervals ------------------------------------------------------------------------------------------------


class _Station(NamedTuple):
    """A station whose interval is known."""

    rows: Any
    """Its rows, with the ends of the intervals, and the rain as it is in the table."""
    interval: np.timedelta64
    """Interval of its reports."""


def _build_reports(rows: Any, rain: RainColumn, path: Path, stated: Statements, left_out: dict[str, str]) -> xr.Dataset:
    """Return reports of all stations whose interval is known, brought onto one interval."""
    stations = _read_stations(rows, rain, path, stated, left_out)
    if not stations:
        raise _interval_error(path, left_out)
    if not rain.is_rate:
        if stated.interval is None and rain.interval is None:
            _drop_accumulations(stations, left_out)
        for station in stations.values():
            station.rows[RATE] = rate_from_accumulation(station.rows[RATE].to_numpy(), station.interval)
    by_interval: dict[np.timedelta64, list[Any]] = defaultdict(list)
    for station in stations.values():
        by_interval[station.interval].append(station.rows)
    coords = [name for name in ("latitude", "longitude", "altitude") if name in rows]
    parts = [
        reports_from_rows(pd.concat(group), path, interval=interval, variables=(RATE,), coords=coords, attrs={})
        for interval, group in by_interval.items()
    ]
    return _note_left_out(merge_reports(parts), left_out, path)


def _read_stations(
    rows: Any, rain: RainColumn, path: Path, stated: Statements, left_out: dict[str, str]
) -> dict[str, _Station]:
    """Return the stations whose interval is known, by name, and add the reasons for the others to `left_out`."""
    found: dict[str, _Station] = {}
    for name, own in rows.groupby("station", sort=True):
        own = own.sort_values("time", kind="stable")
        reporting = _read_reporting(own, rain, stated, path)
        if reporting.interval is None:
            left_out[str(name)] = reporting.reason
            continue
        times = own["time"].to_numpy()
        row = np.searchsorted(np.unique(times), times)
        kept = thin_out(reporting.ends, reporting.interval)[row]
        found[str(name)] = _Station(own.assign(time=reporting.ends[row])[kept], reporting.interval)
    return found


def _drop_accumulations(stations: Mapping[str, _Station], left_out: dict[str, str]) -> None:
    """Set the values of stations that are accumulations to missing, and add the reason to `left_out`."""
    series = {
        name: Series(rows[RATE].to_numpy(np.float64), rows["time"].to_numpy(), interval)
        for name, (rows, interval) in stations.items()
    }
    for name in sorted(find_accumulations(series)):
        known = series[name].values[np.isfinite(series[name].values)]
        stuck = known.size and known.min() == known.max()
        stations[name].rows[RATE] = np.nan
        left_out[name] = _NEVER_CHANGES if stuck else "its values only rise, so they are an accumulation"


def _read_reporting(own: Any, rain: RainColumn, stated: Statements, path: Path) -> Reporting:
    """Return interval and times of a station: as the user states, as the column says, or as its rows prove."""
    once = ~own["time"].duplicated()
    times, values = own["time"].to_numpy()[once], own[RATE].to_numpy()[once]
    interval = stated.interval if stated.interval is not None else rain.interval
    if interval is None and "length" in own and not rain.is_rate:
        interval = one_length(own["length"])
        if interval is None:
            return Reporting(None, times, "rows that state intervals of different lengths")
    if interval is None:
        return read_interval(times, values)
    interval = interval.astype("timedelta64[ns]")
    ends = round_to_steps(times, interval)
    if interval > HOUR and ends.size > 1 and (np.diff(ends) < interval).any():
        raise ReadError(
            path,
            f"{rain.name} has running sums over {interval / MINUTE:g} min at rows that are closer: what fell lately "
            "is not known from them. Give amounts of an hour or less",
        )
    return Reporting(interval, ends)


def _interval_error(path: Path, left_out: Mapping[str, str]) -> ReadError:
    known = f"does not state how long the interval of its amounts is ({_list_reasons(left_out)})"
    return ReadError(
        path,
        f"{known}. State it by interval='10min', or by the name of the column, such as precip_10min_mm",
        cli_reason=f"{known}. State it by --stations-interval 10min, or by the name of the column, such as "
        "precip_10min_mm",
    )


def _note_left_out(reports: xr.Dataset, left_out: Mapping[str, str], path: Path) -> xr.Dataset:
    """Return the reports with the reasons for what was left out, after a warning."""
    if not left_out:
        return reports
    text = _list_reasons(left_out)
    known = f"{path}: left out {text}. If the rows are amounts since the row before, state"
    warnings.warn(InputWarning(f"{known} interval=", f"{known} --stations-interval"), stacklevel=2)
    earlier = reports.attrs.get(LEFT_OUT, "")
    return reports.assign_attrs({LEFT_OUT: "; ".join(filter(None, [earlier, text]))})


def _list_reasons(left_out: Mapping[str, str]) -> str:
    """Return the stations by reason, some of them by name."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for station, reason in left_out.items():
        by_reason[reason].append(station)
    return "; ".join(f"{_list_names(stations)}: {reason}" for reason, stations in by_reason.items())


def _list_names(stations: Sequence[str]) -> str:
    return list_first(stations, NAMED)
