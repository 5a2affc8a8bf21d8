"""The store: every night's sums as Parquet, whole or not at all.

``region=NAME/date=2018-05-12/`` holds a file for each table, small and tidy, one row for each place in the sums:

- ``nights``: one row: state, notes, issue times expected and done, seconds, nowcasters, hashes;
- ``moments`` by nowcaster and lead time, ``contingency`` by threshold too, ``fss`` by threshold and scale, ``windows``
  by scale, ``reliability`` by threshold and bin of probability (bins that are empty are left out), ``spectra`` by
  wavelength, ``ranks`` by rank: the totals of the day;
- ``case_moments``, ``case_contingency`` and ``case_fss`` (20 km): the same of each issue time.

`period` is 0 for frames as they are and 60 for rain summed over whole hours; lead times and periods are in minutes.
Columns are named as in `hybridcast.verification.statistics`. Every file carries, as its metadata, the version of this
schema and of the package, and the hashes of the settings and the data. ``worst.nc`` holds the maps of the worst cases.

A day is written into a hidden folder beside its own, which then takes its place. If the process dies between, the new
folder is moved at the next look (`finish_move`); readers see the old day, the new one, or for an instant none.
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
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from numpy.typing import NDArray

from hybridcast._version import __version__
from hybridcast.core.field import GRID_MAPPING, RATE
from hybridcast.nightly.records import RegionNight, State, WorstCase
from hybridcast.verification.statistics import PROBABILITY_BINS

#: Raised when tables change.
SCHEMA = 2
#: Tables by the dims of the sums beside nowcaster and lead time.
TABLES: dict[str, tuple[str, ...]] = {
    "moments": (),
    "contingency": ("threshold",),
    "fss": ("scale", "threshold"),
    "windows": ("scale",),
    "reliability": ("threshold", "probability_bin"),
    "spectra": ("wavelength",),
    "ranks": ("rank",),
}
#: Columns that only ensembles have; empty in days without one, so that all files of a table are alike.
OF_ENSEMBLES = ("ensemble_count", "ensemble_error", "ensemble_spread")
#: Those of each issue time, and what is kept of their dims.
OF_CASES: dict[str, dict[str, list[float]]] = {"moments": {}, "contingency": {}, "fss": {"scale": [20.0]}}
#: Tables without the rows that are zero; `probability_bin` is known, and a rank without a count is no rank.
_SPARSE = ("reliability", "ranks")
_MINUTE = np.timedelta64(60_000_000_000, "ns")


@dataclass(frozen=True)
class Provenance:
    """What a stored day was made from, and when."""

    settings_hash: str
    data_hash: str
    data_quick: str
    """Of names, sizes and times of change of its files."""
    package_version: str = __version__
    schema_version: int = SCHEMA
    made: str = ""
    """UTC."""


@dataclass(frozen=True)
class Stored:
    """A day as it was read from the store."""

    night: RegionNight
    provenance: Provenance


def day_folder(root: str | Path, region: str, date: str) -> Path:
    """Return the folder of a day."""
    return Path(root) / f"region={region}" / f"date={date}"


# --- writing --------------------------------------------------------------------------------------------------


def write_night(
    root: str | Path, night: RegionNight, provenance: Provenance, cases: Mapping[np.datetime64, xr.Dataset]
) -> Path:
    """Write a day, in place of what was there.

    Parameters
    ----------
    root
        The store; made if it is not there.
    night
        What the day gave.
    provenance
        What it was made from; `made` is filled in.
    cases
        Sums of each issue time, as those of the day.
    """
    provenance = Provenance(**{**asdict(provenance), "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})
    folder = day_folder(root, night.region, night.date)
    fresh = folder.with_name(f".making-{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, table in _tables(night, cases).items():
        _write_table(table, fresh / f"{name}.parquet", provenance)
    if night.worst:
        _write_worst(night.worst, fresh / "worst.nc")
    _write_table(_night_row(night, provenance), fresh / "nights.parquet", provenance)
    ready = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(ready, ignore_errors=True)
    fresh.rename(ready)
    finish_move(root, night.region, night.date)
    return folder


def finish_move(root: str | Path, region: str, date: str) -> None:
    """Put a day that is written, but not in place yet, into its place; called under the day's lock."""
    folder = day_folder(root, region, date)
    ready, old = folder.with_name(f".new-{folder.name}"), folder.with_name(f".old-{folder.name}")
    if ready.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        if folder.is_dir():
            folder.rename(old)
        ready.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder.with_name(f".making-{folder.name}"), ignore_errors=True)


def _tables(night: RegionNight, cases: Mapping[np.datetime64, xr.Dataset]) -> dict[str, pd.DataFrame]:
    """Return all tables of sums that have a row."""
    periods = {period: sums for period, sums in ((0, night.sums), (60, night.hours)) if sums is not None}
    found = {
        name: [_rows(sums, dims, sparse=name in _SPARSE).assign(period=period) for period, sums in periods.items()]
        for name, dims in TABLES.items()
    }
    for name, kept in OF_CASES.items():
        found[f"case_{name}"] = [
            _rows(sums.sel(kept), TABLES[name], sparse=False).assign(issue_time=time) for time, sums in cases.items()
        ]
    joined = {name: pd.concat(full) for name, parts in found.items() if (full := [p for p in parts if len(p)])}
    return {name: table.astype({"nowcaster": "category"}) for name, table in joined.items()}


def _rows(sums: xr.Dataset, dims: tuple[str, ...], *, sparse: bool) -> pd.DataFrame:
    """Return a row for each place of the variables that have just these dims beside nowcaster and lead time."""
    order = ("nowcaster", "lead_time", *dims)
    names = [str(name) for name, variable in sums.data_vars.items() if set(variable.dims) == set(order)]
    if not names:
        return pd.DataFrame()
    labels = {dim: sums[dim].values / _MINUTE if dim == "lead_time" else sums[dim].values for dim in order}
    places = np.indices([sums.sizes[dim] for dim in order]).reshape(len(order), -1)
    columns = {dim: labels[dim][place] for dim, place in zip(order, places, strict=True)}
    values = {name: sums[name].transpose(*order).values.ravel() for name in names}
    absent = {name: np.nan for name in ([] if dims else OF_ENSEMBLES) if name not in values}
    rows = pd.DataFrame(columns | dict(sorted((values | absent).items())))
    return rows[(rows[names] != 0).any(axis=1)] if sparse else rows


def _night_row(night: RegionNight, provenance: Provenance) -> pd.DataFrame:
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


def _write_worst(worst: Sequence[WorstCase], path: Path) -> None:
    """Write the maps, rates rounded to 0.1 mm/h."""
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


def read_night(root: str | Path, region: str, date: str) -> Stored | None:
    """Read a day; None if it is not there, or was written by another version of the schema."""
    folder = day_folder(root, region, date)
    path = folder / "nights.parquet"
    if not path.is_file():
        return None
    (row,) = pq.read_table(path, partitioning=None).to_pylist()
    if row["schema_version"] != SCHEMA:
        return None
    nowcasters = tuple(row["nowcasters"])
    sums = {period: _read_sums([(folder, {})], period, nowcasters) for period in (0, 60)}
    night = RegionNight(
        region=region,
        date=date,
        state=cast(State, row["state"]),
        notes=tuple(row["notes"]),
        expected=row["expected"],
        done=row["done"],
        seconds=row["seconds"],
        nowcasters=nowcasters,
        sums=sums[0],
        hours=sums[60],
        worst=_read_worst(folder / "worst.nc"),
    )
    return Stored(night, Provenance(**{key: row[key] for key in Provenance.__dataclass_fields__}))


def history(
    root: str | Path, regions: Iterable[str] | None = None, until: str | None = None, days: int = 30
) -> xr.Dataset:
    """Read the sums of the last days.

    Parameters
    ----------
    root
        The store.
    regions
        Which ones; by default all.
    until
        The last day, as ``"2018-05-12"``; by default the last one there is.
    days
        How many days of the calendar, `until` included.

    Returns
    -------
    Dataset
        The sums of frames as they are, dims ``("region", "date", "nowcaster", "lead_time", ...)``; without any dim if
        there is no day at all. A day (or nowcaster) without data in a region where others have some has sums of zero,
        `cases` among them.
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
    chosen = sorted(entry for entry in folders if first <= entry[1] <= last)
    sums = _read_sums([(folder, {"region": region, "date": date}) for region, date, folder in chosen], 0)
    return xr.Dataset() if sums is None else sums


def _read_sums(
    folders: Sequence[tuple[Path, Mapping[str, str]]], period: int, nowcasters: Sequence[str] = ()
) -> xr.Dataset | None:
    """Read all tables of some days into one Dataset; None if there is nothing in them."""
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
    for folder, place in folders:
        path = folder / f"{name}.parquet"
        if path.is_file():
            table = pq.read_table(path, partitioning=None, filters=[("period", "=", period)])
            for label, value in place.items():
                table = table.append_column(label, pa.array([value] * len(table), pa.string()))
            tables.append(table.replace_schema_metadata(None))
    if not tables:
        return None
    rows = pa.concat_tables(tables, promote_options="default").to_pandas()
    return (
        placed(rows.drop(columns="period"), (*labels, "nowcaster", "lead_time", *TABLES[name])) if len(rows) else None
    )


def placed(rows: pd.DataFrame, dims: tuple[str, ...]) -> xr.Dataset:
    """Put rows into arrays along `dims`, zero where there is no row."""
    coords: dict[str, NDArray[Any]] = {}
    places = []
    for dim in dims:
        column = rows[dim].to_numpy()
        column = column.astype(str).astype(object) if dim in {"region", "date", "nowcaster"} else column
        labels, place = np.unique(column, return_inverse=True)
        if dim == "probability_bin":
            labels = np.linspace(0, 1, PROBABILITY_BINS).round(6)
            place = np.rint(column * (PROBABILITY_BINS - 1)).astype(np.intp)
        coords[dim] = labels
        places.append(place)
    shape = tuple(len(labels) for labels in coords.values())
    flat = np.ravel_multi_index(places, shape)
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
    described = {"units": "mm h-1", "long_name": f"{name} precipitation rate"}
    return case[name].drop_vars(["issue_time", "lead_time", "nowcaster", "score"]).rename(RATE).assign_attrs(described)
