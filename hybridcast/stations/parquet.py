"""Station reports as Parquet: our own layout, small and quick, for archives.

One row for each station and time that has a value, sorted by time, so that a day can be read out of years. Columns:
``station``, ``time`` (the END of the interval, UTC), the variables of the contract, and the place of the station. The
schema's metadata hold the attributes, ``interval_minutes`` among them, as JSON under ``hybridcast_stations``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import NAME as RATE
from hybridcast.core.files import written_whole
from hybridcast.errors import InputError, ReadError
from hybridcast.stations._tables import PARQUET_MAGIC, reports_from_rows
from hybridcast.stations.schema import INTERVAL, VARIABLES, check_stations, get_interval

NAME = "parquet-stations"
DESCRIPTION = "station reports as hybridcast's own Parquet"

_KEY = b"hybridcast_stations"


def recognises(path: Path, head: bytes) -> bool:
    """Tell by the metadata of its schema whether a Parquet file is ours."""
    import pyarrow.parquet

    return head.startswith(PARQUET_MAGIC) and _KEY in (pyarrow.parquet.read_schema(path).metadata or {})


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    try:
        attrs = json.loads(table.schema.metadata[_KEY])
        interval = np.timedelta64(round(float(attrs[INTERVAL]) * 60), "s")
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(path, f"its schema does not hold the attributes of station reports ({error})") from error
    rows = table.to_pandas()
    variables = [name for name in VARIABLES if name in rows]
    places = [name for name in rows if name not in ("station", "time", *variables)]
    return reports_from_rows(rows, path, interval=interval, variables=variables, places=places, attrs=attrs)


def write(stations: xr.Dataset, path: Path) -> None:
    """Write station reports as Parquet."""
    import pyarrow
    import pyarrow.parquet

    variables = [name for name in VARIABLES if name in stations]
    rows = stations[variables].to_dataframe().reset_index().dropna(subset=variables, how="all")
    rows = rows.sort_values(["time", "station"], ignore_index=True)
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    known = {str(name): _plain(value) for name, value in stations.attrs.items()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: json.dumps(known).encode()})
    pyarrow.parquet.write_table(table, path, compression="zstd")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def save_stations(stations: xr.Dataset, path: str | Path) -> Path:
    """Write station reports to a file, whole or not at all: Parquet by its suffix ``.parquet``, CF NetCDF by ``.nc``.

    `open_stations` reads both. Stations without any value are not in a Parquet file.

    Raises
    ------
    InputError
        If the suffix is another one, or the reports do not keep the contract.

    Examples
    --------
    >>> import tempfile
    >>> from hybridcast.stations import open_stations, station_reports
    >>> reports = station_reports([[0.0, 6.0]], station=["A"], interval=np.timedelta64(5, "m"),
    ...                           time=["2020-01-01T00:05", "2020-01-01T00:10"],
    ...                           places={"latitude": [57.7], "longitude": [12.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open_stations(save_stations(reports, f"{folder}/reports.parquet")).precipitation_rate.values.tolist()
    [[0.0, 6.0]]
    """
    stations = check_stations(stations)
    path = Path(path).expanduser()
    if path.suffix not in (".parquet", ".nc"):
        raise InputError(f"suffix {path.suffix!r}", "stations are written as .parquet or .nc", "Choose one of these")
    with written_whole(path) as part:
        if path.suffix == ".parquet":
            write(stations, part)
        else:
            units = {"units": "seconds since 1970-01-01", "dtype": "int64"}
            encoding: dict[str, Any] = {RATE: {"zlib": True}, "time": units, "time_bounds": units}
            _by_cf(stations).to_netcdf(part, engine="h5netcdf", encoding=encoding)
    return path


def _by_cf(stations: xr.Dataset) -> xr.Dataset:
    """Add the bounds of time, which tell CF what an interval is; names are texts, so no coordinate variable."""
    ends = stations["time"].values
    bounds = np.stack([ends - get_interval(stations), ends], axis=-1)
    stations = stations.assign(time_bounds=(("time", "bounds"), bounds))
    stations["time"].attrs = {**stations["time"].attrs, "bounds": "time_bounds"}
    names = stations["station"].variable
    return stations.drop_vars("station").assign_coords(station_id=names)
