"""The store: the statistics of every night as Parquet files.

The folder ``region=RATE/date=2018-05-12/`` has a small file for each table, with a row for each combination of labels:

- ``nights``: one row with state, notes, number of issue times expected and done, seconds, nowcasters and hashes;
- ``moments`` by nowcaster and lead time; ``contingency`` also by threshold; ``fss`` by threshold and scale; ``windows``
  by scale; ``reliability`` by threshold and probability bin (without empty bins); ``spectra`` by wavelength;
  ``ensembles`` by block, and ``ranks`` by block and rank, of the nowcasters with members: the totals of the day;
- ``case_moments``, ``case_contingency`` and ``case_fss`` (20 km): the same for each issue time.

- of regions with places, ``warnings`` by nowcaster, observer, place and level, with the hits by lead time as
  ``hits_from_0`` and so on, and ``warning_reliability`` by probability bin too (without empty bins);
  ``rate_reliability`` is that of rates, by statistic, threshold and lead time.

The column `period` is 0 for frames and 60 for rain of whole hours; lead times and periods are in minutes. Other columns
are named as in `hybridcast.verification.statistics`. The metadata of every file have the versions of this schema and of
the package, and the hashes of the settings and of the data. ``worst.nc`` has the maps of the worst cases.

A day is written into a hidden folder beside its own, which then takes its place. If the process dies in between, the
next run moves the new folder into place (`commit_day`); readers find the old day, the new one, or for an instant none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast._version import __version__
from hybridcast.core.extras import extra
from hybridcast.core.field import GRID_MAPPING, RATE
from hybridcast.core.types import MINUTE
from hybridcast.nightly.records import RegionNight, State, WorstCase
from hybridcast.verification.statistics import PROBABILITY_BINS, STATISTICS

with extra("nightly", "the nightly store"):
    import pyarrow as pa
    import pyarrow.parquet as pq

SCHEMA = 3
"""Version of the tables; increment it when they change."""
TABLES: dict[str, tuple[str, ...]] = {
    "moments": (),
    "contingency": ("threshold",),
    "fss": ("scale", "threshold"),
    "windows": ("scale",),
    "reliability": ("threshold", "probability_bin"),
    "spectra": ("wavelength",),
    "ensembles": ("block",),
    "ranks": ("block", "rank"),
}
"""Dims of the statistics of each table, beside nowcaster and lead time."""
CASE_TABLES: dict[str, dict[str, list[float]]] = {"moments": {}, "contingency": {}, "fss": {"scale": [20.0]}}
"""Tables that are stored for each issue time too, with the labels that are kept."""
_WARNINGS = ("hits", "misses", "late", "false_alarms", "undecided", "lead_sum")
_WARNING_PAIRS = {"warning_reliability": "level_", "rate_reliability": "rate_"}
"""Tables of the reliability at places, and the beginning of the names of their statistics."""
WARNING_TABLES = ("warnings", *_WARNING_PAIRS)
"""Tables of warnings at places, of regions that have some."""
_HITS_FROM = "hits_from_"
#: Tables without the rows that are zero: the bins and the nowcasters without members.
_SPARSE = ("reliability", "ensembles", "ranks")


@dataclass(frozen=True)
class Provenance:
    """The settings, data and versions that a stored day was made with."""

    settings_hash: str
    """Fingerprint of the region's settings."""
    data_hash: str
    """Hash of the contents of its radar files."""
    data_quick: str
    """Hash of the names, sizes and modification times of its radar files."""
    package_version: str = __version__
    schema_version: int = SCHEMA
    made: str = ""
    """Time of writing, UTC."""


@dataclass(frozen=True)
class StoredDay:
    """A day read from the store."""

    night: RegionNight
    provenance: Provenance


def day_folder(root: str | Path, region: str, date: str) -> Path:
    """Return the folder of a day in the store."""
    return Path(root) / f"region={region}" / f"date={date}"


# --- writing --------------------------------------------------------------------------------------------------


def write_day(
    root: str | Path, night: RegionNight, provenance: Provenance, cases: Mapping[np.datetime64, xr.Dataset]
) -> Path:
    """Write a day to the store; it replaces the stored one.

    Parameters
    ----------
    root
        Folder of the store; created if it does not exist.
    night
        The verification of the day.
    provenance
        Settings and data of the day; `made` is filled in.
    cases
        Statistics of each issue time.

    Returns
    -------
    Path
        Folder of the day.
    """
    provenance = Provenance(**{**asdict(provenance), "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})
    folder = day_folder(root, night.region, night.date)
    fresh = folder.with_name(f".making-{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, table in _make_tables(night, cases).items():
        _write_table(table, fresh / f"{name}.parquet", provenance)
    if night.warnings is not None:
        _write_warnings(night.warnings, fresh, provenance)
    if night.worst:
        _write_worst(night.worst, fresh / "worst.nc")
    _write_table(_make_night_row(night, provenance), fresh / "nights.parquet", provenance)
    ready = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(ready, ignore_errors=True)
    fresh.rename(ready)
    commit_day(root, night.region, night.date)
    return folder


def commit_day(root: str | Path, region: str, date: str) -> None:
    """Move a day that was written completely into its place; to be called under the day's lock."""
    folder = day_folder(root, region, date)
    ready, old = folder.with_name(f".new-{folder.name}"), folder.with_name(f".old-{folder.name}")
    if ready.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        if folder.is_dir():
            folder.rename(old)
        ready.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder.with_name(f".making-{folder.name}"), ignore_errors=True)


def _make_tables(night: RegionNight, cases: Mapping[np.datetime64, xr.Dataset]) -> dict[str, pd.DataFrame]:
    """Return all tables of statistics that have a row."""
    periods = {period: part for period, part in ((0, night.statistics), (60, night.hourly)) if part is not None}
    found = {
        name: [_to_rows(part, dims, sparse=name in _SPARSE).assign(period=period) for period, part in periods.items()]
        for name, dims in TABLES.items()
    }
    for name, labels in CASE_TABLES.items():
        found[f"case_{name}"] = [
            _to_rows(statistics.sel(labels), TABLES[name], sparse=False).assign(issue_time=time)
            for time, statistics in cases.items()
        ]
    joined = {name: pd.concat(full) for name, parts in found.items() if (full := [p for p in parts if len(p)])}
    return {name: table.astype({"nowcaster": "category"}) for name, table in joined.items()}


def _to_rows(statistics: xr.Dataset, dims: tuple[str, ...], *, sparse: bool) -> pd.DataFrame:
    """Return the variables with exactly these dims, nowcaster and lead time, a row for each combination of labels."""
    order = ("nowcaster", "lead_time", *dims)
    names = [str(name) for name, variable in statistics.data_vars.items() if set(variable.dims) == set(order)]
    if not names:
        return pd.DataFrame()
    labels = {dim: statistics[dim].values / MINUTE if dim == "lead_time" else statistics[dim].values for dim in order}
    indices = np.indices([statistics.sizes[dim] for dim in order]).reshape(len(order), -1)
    columns = {dim: labels[dim][index] for dim, index in zip(order, indices, strict=True)}
    values = {name: statistics[name].transpose(*order).values.ravel() for name in names}
    # all files of a table have the same columns, those of members are empty on days without an ensemble
    absent = {s.name: np.nan for s in STATISTICS.values() if s.needs == "members" and s.dims == dims}
    rows = pd.DataFrame(columns | dict(sorted((absent | values).items())))
    return rows[(rows[names] != 0).any(axis=1)] if sparse else rows


def _make_night_row(night: RegionNight, provenance: Provenance) -> pd.DataFrame:
    row = {
        "state": night.state,
        "notes": list(night.notes),
        "expected": night.expected,
        "done": night.done,
        "seconds": night.seconds,
        "nowcasters": list(night.nowcasters),
        **asdict(provenance),
    }
    return pd.DataFrame([row])


def _write_table(rows: pd.DataFrame, path: Path, provenance: Provenance) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    metadata = {key: str(value) for key, value in asdict(provenance).items()}
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


def _write_warnings(statistics: xr.Dataset, folder: Path, provenance: Provenance) -> None:
    """Write the statistics of warnings at places."""
    counts = (
        statistics["hits_by_lead"]
        .to_dataset("lead_minutes")
        .rename({minutes: f"{_HITS_FROM}{minutes:g}" for minutes in statistics["lead_minutes"].values})
    )
    tables = {"warnings": statistics[list(_WARNINGS)].merge(counts)}
    for name, prefix in _WARNING_PAIRS.items():
        tables[name] = statistics[[str(one) for one in statistics.data_vars if str(one).startswith(prefix)]]
    for name, table in tables.items():
        rows = table.reset_coords(drop=True).to_dataframe().reset_index()
        if "lead_time" in rows:
            rows["lead_time"] = rows["lead_time"] / MINUTE
        if name in _WARNING_PAIRS:
            rows = rows[rows[f"{_WARNING_PAIRS[name]}pairs"] > 0]
        _write_table(rows, folder / f"{name}.parquet", provenance)


def _read_warnings(folder: Path) -> xr.Dataset | None:
    """Return the statistics of warnings at places; None of a night without."""
    if not (folder / "warnings.parquet").is_file():
        return None
    counts = _read_rows(folder / "warnings.parquet", ("nowcaster", "observer", "place", "level"))
    by_lead = [str(name) for name in counts.data_vars if str(name).startswith(_HITS_FROM)]
    hits = counts[by_lead].to_dataarray("lead_minutes")
    hits = hits.assign_coords(lead_minutes=[float(name.removeprefix(_HITS_FROM)) for name in by_lead])
    parts = [counts.drop_vars(by_lead), hits.rename("hits_by_lead").to_dataset()]
    dims = ("nowcaster", "observer", "place")
    parts.append(_read_rows(folder / "warning_reliability.parquet", (*dims, "level", "probability_bin")))
    of_rates = (*dims, "statistic", "threshold", "lead_time", "probability_bin")
    parts.append(_read_rows(folder / "rate_reliability.parquet", of_rates))
    return xr.merge(parts, join="outer", fill_value=0.0, compat="no_conflicts")


def _read_rows(path: Path, dims: tuple[str, ...]) -> xr.Dataset:
    rows = pq.read_table(path, partitioning=None).to_pandas()
    found = xr.Dataset.from_dataframe(rows.set_index(list(dims))).fillna(0.0)
    if "lead_time" in found.coords:
        found = found.assign_coords(lead_time=np.rint(found["lead_time"].values * 60e9).astype("timedelta64[ns]"))
    return found


def _write_worst(worst: Sequence[WorstCase], path: Path) -> None:
    """Write the maps of the worst cases, with rates rounded to 0.1 mm/h."""
    maps = xr.Dataset(
        {
            name: xr.concat([getattr(case, name).reset_coords(drop=True) for case in worst], "case", coords="minimal",
                            compat="override")
            for name in ("forecast", "observed")
        }
    )  # fmt: skip
    labels = {
        key: ("case", [getattr(case, key) for case in worst])
        for key in ("issue_time", "lead_time", "nowcaster", "score")
    }
    maps = maps.drop_vars("time", errors="ignore").assign_coords(labels)
    if GRID_MAPPING in worst[0].observed.coords:
        maps = maps.assign_coords({GRID_MAPPING: worst[0].observed[GRID_MAPPING]})
    packed = {"dtype": "uint16", "scale_factor": 0.1, "_FillValue": 65535, "zlib": True, "complevel": 4}
    maps.to_netcdf(path, engine="h5netcdf", encoding={"forecast": packed, "observed": packed})


# --- reading --------------------------------------------------------------------------------------------------


def read_day(root: str | Path, region: str, date: str) -> StoredDay | None:
    """Read a day from the store; None if it is absent or has another version of the schema."""
    folder = day_folder(root, region, date)
    row = _read_summary(folder)
    if row is None:
        return None
    nowcasters = tuple(row["nowcasters"])
    by_period = {period: _read_tables([(folder, {})], period, nowcasters) for period in (0, 60)}
    night = RegionNight(
        region=region,
        date=date,
        state=cast(State, row["state"]),
        notes=tuple(row["notes"]),
        expected=row["expected"],
        done=row["done"],
        seconds=row["seconds"],
        nowcasters=nowcasters,
        statistics=by_period[0],
        hourly=by_period[60],
        warnings=_read_warnings(folder),
        worst=_read_worst(folder / "worst.nc"),
    )
    return StoredDay(night, Provenance(**{key: row[key] for key in Provenance.__dataclass_fields__}))


def read_history(
    root: str | Path, regions: Iterable[str] | None = None, until: str | None = None, days: int = 30
) -> xr.Dataset:
    """Read the statistics of the last days.

    Parameters
    ----------
    root
        Folder of the store.
    regions
        Names of the regions; by default all.
    until
        The last day, such as ``"2018-05-12"``; by default the last one in the store.
    days
        Number of days of the calendar, `until` included.

    Returns
    -------
    Dataset
        The statistics of frames, dims ``("region", "date", "nowcaster", "lead_time", ...)``; without any dim if no day
        is found. Days of another version of the schema are left out. The statistics of a day or a nowcaster without
        data are zero, `cases` among them, where other days of the region have data.
    """
    wanted = None if regions is None else {f"region={region}" for region in regions}
    folders = [
        (folder.parent.name.removeprefix("region="), folder.name.removeprefix("date="), folder)
        for folder in Path(root).glob("region=*/date=*")
        if wanted is None or folder.parent.name in wanted
    ]
    if not folders:
        return xr.Dataset()
    last = until or max(date for _, date, _ in folders)
    first = str(np.datetime64(last, "D") - np.timedelta64(days - 1, "D"))
    chosen = sorted(entry for entry in folders if first <= entry[1] <= last and _read_summary(entry[2]))
    found = _read_tables([(folder, {"region": region, "date": date}) for region, date, folder in chosen], 0)
    return xr.Dataset() if found is None else found


def _read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the row that summarizes the day in a folder; None without one of this version of the schema."""
    path = folder / "nights.parquet"
    if not path.is_file():
        return None
    (row,) = pq.read_table(path, partitioning=None).to_pylist()
    return row if row["schema_version"] == SCHEMA else None


def _read_tables(
    folders: Sequence[tuple[Path, Mapping[str, str]]], period: int, nowcasters: Sequence[str] = ()
) -> xr.Dataset | None:
    """Read all tables of some days into one Dataset; None if they are empty."""
    labels = tuple(folders[0][1]) if folders else ()
    parts = [part for name in TABLES if (part := _read_table(name, folders, labels, period, nowcasters)) is not None]
    if not parts:
        return None
    found = xr.merge(parts, join="outer", fill_value=0.0, compat="no_conflicts")
    order = list(nowcasters) or list(
        dict.fromkeys(nowcaster for part in parts for nowcaster in part["nowcaster"].values.tolist())
    )
    return found.sel(nowcaster=[nowcaster for nowcaster in order if nowcaster in found["nowcaster"].values])


def _read_table(
    name: str,
    folders: Sequence[tuple[Path, Mapping[str, str]]],
    labels: tuple[str, ...],
    period: int,
    nowcasters: Sequence[str],
) -> xr.Dataset | None:
    tables = []
    for folder, added_columns in folders:
        path = folder / f"{name}.parquet"
        if path.is_file():
            table = pq.read_table(path, partitioning=None, filters=[("period", "=", period)])
            for label, value in added_columns.items():
                table = table.append_column(label, pa.array([value] * len(table), pa.string()))
            tables.append(table.replace_schema_metadata(None))
    if not tables:
        return None
    rows = pa.concat_tables(tables, promote_options="default").to_pandas()
    if not len(rows):
        return None
    return rows_to_dataset(rows.drop(columns="period"), (*labels, "nowcaster", "lead_time", *TABLES[name]))


def rows_to_dataset(rows: pd.DataFrame, dims: tuple[str, ...]) -> xr.Dataset:
    """Return a table as arrays along `dims`, with zero where the table has no row."""
    coords: dict[str, NDArray[Any]] = {}
    indices = []
    for dim in dims:
        column = rows[dim].to_numpy()
        column = column.astype(str).astype(object) if dim in {"region", "date", "nowcaster"} else column
        labels, index = np.unique(column, return_inverse=True)
        if dim == "probability_bin":
            labels = np.linspace(0, 1, PROBABILITY_BINS).round(6)
            index = np.rint(column * (PROBABILITY_BINS - 1)).astype(np.intp)
        coords[dim] = labels
        indices.append(index)
    shape = tuple(len(labels) for labels in coords.values())
    flat = np.ravel_multi_index(indices, shape)
    variables: dict[str, Any] = {}
    for name in rows.columns.difference(dims, sort=False):
        if rows[name].isna().all():
            continue
        values = np.zeros(int(np.prod(shape)))
        values[flat] = rows[name].fillna(0.0).to_numpy()
        variables[name] = (dims, values.reshape(shape))
    coords["lead_time"] = np.rint(coords["lead_time"] * 60e9).astype("timedelta64[ns]")
    return xr.Dataset(
        variables,
        coords={name: labels.astype(str) if labels.dtype == object else labels for name, labels in coords.items()},
    )


def _read_worst(path: Path) -> tuple[WorstCase, ...]:
    if not path.is_file():
        return ()
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True) as file:
        maps = file.load()
    return tuple(
        WorstCase(
            issue_time=maps["issue_time"].values.astype("datetime64[ns]")[k],
            lead_time=maps["lead_time"].values.astype("timedelta64[ns]")[k],
            nowcaster=str(case["nowcaster"].values),
            score=float(case["score"].values),
            **{name: _map(case, name) for name in ("forecast", "observed")},
        )
        for k, case in enumerate(maps.isel(case=k) for k in range(maps.sizes["case"]))
    )


def _map(case: xr.Dataset, name: str) -> xr.DataArray:
    attrs = {"units": "mm h-1", "long_name": f"{name} precipitation rate"}
    return case[name].drop_vars(["issue_time", "lead_time", "nowcaster", "score"]).rename(RATE).assign_attrs(attrs)
