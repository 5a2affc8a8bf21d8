"""Products of places as CSV and Parquet, with a row for each place and lead time, and as JSON, with an object for each.

Times are UTC. Unknown values are empty in CSV, null in Parquet and JSON. Points have the statistic ``cell``; areas have
rows of their ``mean`` and their ``maximum``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.extras import extra
from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Mask
from hybridcast.errors import InputError

SUFFIXES = (".csv", ".parquet", ".json")
"""Suffixes of the files that are written."""
CELL = "cell"
"""Statistic of points in files."""
_ROW = ("place", "statistic", "lead_time")
_DIGITS = 5
#: Products without lead time of all places.
_OF_PLACE = (
    "raining",
    "minutes_known",
    "probability_of_rain",
    "minutes_to_rain",
    "probability_of_end",
    "minutes_to_end",
)
_OF_LEVEL = ("warning_probability", "level_known", "level_reached", "level_basis")
_Columns = dict[str, NDArray[Any]]


def write_places(table: xr.Dataset, path: str | Path) -> Path:
    """Write the products of places to a file, which is written whole or not at all.

    Parameters
    ----------
    table
        As `hybridcast.at_places` returns it.
    path
        File that ends in ``.csv``, ``.parquet`` or ``.json``.

    Returns
    -------
    Path
        `path`, with ``~`` expanded.

    Raises
    ------
    InputError
        If `path` has another suffix, or its folder does not exist.

    Examples
    --------
    >>> write_places(at_places(result, "places.toml"), "places.csv")  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    writers = {".csv": _write_csv, ".parquet": _write_parquet, ".json": _write_json}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path}", f"places are written to files that end in {', '.join(SUFFIXES)}", "Rename the file")
    with atomic_write(path) as part:
        write(table, part)
    return path


# --- rows -----------------------------------------------------------------------------------------------------


def to_rows(table: xr.Dataset) -> pd.DataFrame:
    """Return the products as rows, one for each place, statistic and lead time.

    Columns of quantiles end in ``_q10`` and the like, those of windows are named by their minutes, and those of warning
    levels have its name in brackets. Products without lead time are the same in all rows of a place.
    """
    sizes = [table.sizes[dim] for dim in _ROW]
    is_area = (table["kind"] == "area").values[:, None]
    kept = np.broadcast_to((is_area | (table["statistic"] == "mean").values)[..., None], sizes).ravel()
    columns = _label_columns(table) | _lead_columns(table) | _place_columns(table) | _level_columns(table)
    frame = pd.DataFrame({name: np.broadcast_to(values, sizes).ravel()[kept] for name, values in columns.items()})
    return frame


def _label_columns(table: xr.Dataset) -> _Columns:
    statistic = np.where(_column(table["kind"]) == "area", _column(table["statistic"]), CELL)
    columns = {"place": _column(table["place"]), "kind": _column(table["kind"]), "position": _column(table["position"])}
    columns |= {"statistic": statistic, "minutes": _column(table["lead_time"]) / MINUTE}
    if "time" in table.coords:
        columns["time"] = _column(table["time"])
    return columns


def _lead_columns(table: xr.Dataset) -> _Columns:
    columns = {"known_fraction": _column(table["known_fraction"]), "rate": _column(table[RATE])}
    columns |= _by_quantile(table["rate_quantile"], "rate")
    for threshold in table["threshold"].values:
        columns[f"probability_{threshold:g}"] = _column(table[PROBABILITY].sel(threshold=threshold))
    for number, window in enumerate(table["window"].values if "window" in table.coords else ()):
        name = f"amount_{window / MINUTE:g}min"
        columns[name] = _column(table["amount"].isel(window=number))
        columns |= _by_quantile(table["amount_quantile"].isel(window=number), name)
    return columns


def _place_columns(table: xr.Dataset) -> _Columns:
    columns: _Columns = {}
    for name in _OF_PLACE:
        columns[name] = _column(table[name])
        if f"{name}_quantile" in table:
            columns |= _by_quantile(table[f"{name}_quantile"], name)
    return columns


def _level_columns(table: xr.Dataset) -> _Columns:
    columns: _Columns = {}
    for level in table["level"].values:
        of_level = table.sel(level=level)
        own = (of_level["level_statistic"] == of_level["statistic"]) | (of_level["kind"] == "point")
        own &= of_level["level_threshold"].notnull()
        for name in ("level_probability", *_OF_LEVEL):
            missing = "" if name == "level_basis" else np.nan
            columns[f"{name}[{level}]"] = _column(of_level[name].where(own, missing))
        minutes = of_level["minutes_to_level_quantile"].where(own)
        columns |= {f"{name}[{level}]": values for name, values in _by_quantile(minutes, "minutes_to_level").items()}
    return columns


def _by_quantile(values: xr.DataArray, name: str) -> _Columns:
    found = enumerate(values["quantile"].values)
    return {f"{name}_q{100 * level:g}": _column(values.isel(quantile=number)) for number, level in found}


def _column(values: xr.DataArray) -> NDArray[Any]:
    """Return values in the order of `_ROW`, with dims of size 1 that they lack."""
    ordered = values.variable.transpose(*(dim for dim in _ROW if dim in values.dims))
    return np.asarray(ordered.values.reshape([ordered.sizes.get(dim, 1) for dim in _ROW]))


def _write_csv(table: xr.Dataset, path: Path) -> None:
    rows = to_rows(table)
    if "time" in rows:
        rows["time"] = rows["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows.to_csv(path, index=False, float_format=f"%.{_DIGITS}g", encoding="utf-8")


def _write_parquet(table: xr.Dataset, path: Path) -> None:
    with extra("parquet", "Parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    rows = to_rows(table)
    if "time" in rows:
        rows["time"] = rows["time"].dt.tz_localize("UTC")
    made = pa.Table.from_pandas(rows, preserve_index=False)
    described = {key: str(value) for key, value in _describe(table).items()}
    pq.write_table(made.replace_schema_metadata(described), path, compression="zstd")


# --- objects --------------------------------------------------------------------------------------------------


def to_objects(table: xr.Dataset) -> dict[str, Any]:
    """Return the products as an object of JSON: attributes of the forecast, and a list of places."""
    lists = {str(name): _to_list(table[name].transpose("place", ...)) for name in table.data_vars}
    minutes = (table["lead_time"].values / MINUTE).tolist()
    times = [iso_time(time) for time in table["time"].values] if "time" in table.coords else None
    places = [_place_object(table, lists, number) for number in range(table.sizes["place"])]
    return {**_describe(table), "lead_minutes": minutes, "times": times, "places": places}


def _place_object(table: xr.Dataset, lists: Mapping[str, Any], number: int) -> dict[str, Any]:
    is_area = str(table["kind"].values[number]) == "area"
    statistics = [str(one) for one in table["statistic"].values] if is_area else [CELL]
    return {
        "name": str(table["place"].values[number]),
        "kind": str(table["kind"].values[number]),
        "position": str(table["position"].values[number]),
        "known_fraction": lists["known_fraction"][number],
        "statistics": {name: _statistic_object(table, number, which) for which, name in enumerate(statistics)},
        "levels": [_level_object(table, lists, number, row) for row in _own_levels(table, number)],
    }


def _own_levels(table: xr.Dataset, number: int) -> NDArray[np.int64]:
    exists: Mask = np.isfinite(table["level_threshold"].transpose("place", "level").values[number])
    return np.flatnonzero(exists)


def _statistic_object(table: xr.Dataset, number: int, which: int) -> dict[str, Any]:
    """Return what is known of one statistic of one place, by the names of its products."""
    one = {name: table[name].isel(place=number, statistic=which) for name in (*_OF_PLACE, RATE, PROBABILITY)}
    found = {str(name): _to_list(values) for name, values in one.items()}
    found[PROBABILITY] = dict(zip(_labels(table["threshold"]), found[PROBABILITY], strict=True))
    for name in ("rate", "minutes_to_rain", "minutes_to_end"):
        found[f"{name}_quantile"] = _by_label(table[f"{name}_quantile"].isel(place=number, statistic=which), "quantile")
    if "amount" in table:
        of_place = table[["amount", "amount_quantile"]].isel(place=number, statistic=which)
        found["amounts"] = [
            {
                "window_minutes": float(length / MINUTE),
                "amount": _to_list(of_place["amount"].isel(window=k)),
                "amount_quantile": _by_label(of_place["amount_quantile"].isel(window=k), "quantile"),
            }
            for k, length in enumerate(table["window"].values)
        ]
    return found


def _level_object(table: xr.Dataset, lists: Mapping[str, Any], number: int, row: int) -> dict[str, Any]:
    one = table.isel(place=number, level=row)
    length = float(one["level_window"].values / MINUTE)
    return {
        "name": str(one["level"].values),
        "threshold": float(one["level_threshold"]),
        "units": "mm" if length else "mm h-1",
        "window_minutes": length or None,
        "statistic": str(one["level_statistic"].values),
        "raise_at": float(one["raise_at"]),
        "clear_at": float(one["clear_at"]),
        "level_probability": _to_list(one["level_probability"]),
        **{name: lists[name][number][row] for name in _OF_LEVEL},
        "minutes_to_level_quantile": _by_label(one["minutes_to_level_quantile"], "quantile"),
    }


def _by_label(values: xr.DataArray, dim: str) -> dict[str, Any]:
    return dict(zip(_labels(values[dim]), _to_list(values.transpose(dim, ...)), strict=True))


def _labels(labels: xr.DataArray) -> list[str]:
    return [f"{label:g}" for label in labels.values]


def _to_list(values: xr.DataArray) -> Any:
    """Return nested lists of numbers that are rounded to `_DIGITS`, with None where they are unknown."""
    array = values.values
    if array.dtype.kind != "f":
        return array.astype(np.int64).tolist() if array.dtype.kind == "m" else array.tolist()
    known = np.isfinite(array)
    rounded = np.zeros(array.shape, dtype=object)
    rounded[known] = [float(f"{value:.{_DIGITS}g}") for value in array[known].tolist()]
    rounded[~known] = None
    return rounded.tolist()


def _describe(table: xr.Dataset) -> dict[str, Any]:
    found = {str(name): value for name, value in table.attrs.items()}
    if "reference_time" in table.coords:
        (found["reference_time"],) = (iso_time(time) for time in table["reference_time"].values.ravel())
    return found


def _write_json(table: xr.Dataset, path: Path) -> None:
    path.write_text(json.dumps(to_objects(table), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
