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
from hybridcast.core.types import MINUTE
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
_NESTING = ("place", "statistic", "level", "window", "threshold", "quantile", "lead_time")
"""Dims from the outer lists of JSON to the inner."""
_Columns = dict[str, NDArray[Any]]
_Lists = Mapping[str, Any]
"""Nested lists of values by product, in the order of `_NESTING`, and the names of thresholds and quantiles."""


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
    table = table.transpose(*(dim for dim in _NESTING if dim in table.sizes))
    lists = {str(name): _to_list(values.variable) for name, values in table.data_vars.items()}
    lists |= {dim: [f"{label:g}" for label in table[dim].values] for dim in ("threshold", "quantile")}
    places = [_place_object(table, lists, number) for number in range(table.sizes["place"])]
    minutes = (table["lead_time"].values / MINUTE).tolist()
    times = [iso_time(time) for time in table["time"].values] if "time" in table.coords else None
    return {**_describe(table), "lead_minutes": minutes, "times": times, "places": places}


def _place_object(table: xr.Dataset, lists: _Lists, number: int) -> dict[str, Any]:
    kind = str(table["kind"].values[number])
    statistics = [str(one) for one in table["statistic"].values] if kind == "area" else [CELL]
    own = [row for row, threshold in enumerate(lists["level_threshold"][number]) if threshold is not None]
    return {
        "name": str(table["place"].values[number]),
        "kind": kind,
        "position": str(table["position"].values[number]),
        "known_fraction": lists["known_fraction"][number],
        "statistics": {name: _statistic_object(table, lists, number, which) for which, name in enumerate(statistics)},
        "levels": [_level_object(table, lists, number, row) for row in own],
    }


def _statistic_object(table: xr.Dataset, lists: _Lists, number: int, which: int) -> dict[str, Any]:
    """Return what is known of one statistic of one place, by the names of its products."""
    found = {name: lists[name][number][which] for name in (*_OF_PLACE, RATE)}
    found[PROBABILITY] = dict(zip(lists["threshold"], lists[PROBABILITY][number][which], strict=True))
    for name in ("rate_quantile", "minutes_to_rain_quantile", "minutes_to_end_quantile"):
        found[name] = dict(zip(lists["quantile"], lists[name][number][which], strict=True))
    if "amount" in table:
        amounts, quantiles = (lists[name][number][which] for name in ("amount", "amount_quantile"))
        found["amounts"] = [
            {
                "window_minutes": float(length / MINUTE),
                "amount": amounts[k],
                "amount_quantile": dict(zip(lists["quantile"], quantiles[k], strict=True)),
            }
            for k, length in enumerate(table["window"].values)
        ]
    return found


def _level_object(table: xr.Dataset, lists: _Lists, number: int, row: int) -> dict[str, Any]:
    length = float(table["level_window"].values[number, row] / MINUTE)
    own = {name: lists[name][number][row] for name in ("level_probability", *_OF_LEVEL)}
    return {
        "name": str(table["level"].values[row]),
        "threshold": float(table["level_threshold"].values[number, row]),
        "units": "mm" if length else "mm h-1",
        "window_minutes": length or None,
        "statistic": lists["level_statistic"][number][row],
        "raise_at": float(table["raise_at"].values[number, row]),
        "clear_at": float(table["clear_at"].values[number, row]),
        **own,
        "minutes_to_level_quantile": dict(
            zip(lists["quantile"], lists["minutes_to_level_quantile"][number][row], strict=True)
        ),
    }


def _to_list(values: xr.Variable) -> Any:
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
