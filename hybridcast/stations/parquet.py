"""Station reports in Parquet: hybridcast's own layout for archives, small and fast to read.

There is one row for each station and time with a value, sorted by time, so that a day can be read from a file of years.
Columns: ``station``, ``time`` (the END of the interval, UTC), the variables of the schema of station reports, and the
coordinates of the station. The metadata of the Parquet schema hold the attributes, among them ``interval_minutes``, as
JSON under the key ``hybridcast_stations``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.extras import extra
from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError, ReadError
from hybridcast.stations._tables import PARQUET_MAGIC, reports_from_rows
from hybridcast.stations.schema import INTERVAL, VARIABLES, check_stations, get_interval

NAME = "parquet-stations"
DESCRIPTION = "station reports as hybridcast's own Parquet"

_KEY = b"hybridcast_stations"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is Parquet with the metadata of this layout."""
    if not head.startswith(PARQUET_MAGIC):
        return False
    with extra("parquet", "Parquet"):
        import pyarrow.parquet

    return _KEY in (pyarrow.parquet.read_schema(path).metadata or {})


def read(path: Path) -> xr.Dataset:
    """Read all stations of one file."""
    with extra("parquet", "Parquet"):
        import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    try:
        attrs = json.loads(table.schema.metadata[_KEY])
        interval = np.timedelta64(round(float(attrs[INTERVAL]) * 60), "s")
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(path, f"its schema does not hold the attributes of station reports ({error})") from error
    rows = table.to_pandas()
    variables = [name for name in VARIABLES if name in rows]
    coords = [name for name in rows if name not in ("station", "time", *variables)]
    return reports_from_rows(rows, path, interval=interval, variables=variables, coords=coords, attrs=attrs)


def write(stations: xr.Dataset, path: Path) -> None:
    """Write station reports as Parquet."""
    with extra("parquet", "Parquet"):
        import pyarrow
        import pyarrow.parquet

    variables = [name for name in VARIABLES if name in stations]
    rows = stations[variables].to_dataframe().reset_index().dropna(subset=variables, how="all")
    rows = rows.sort_values(["time", "station"], ignore_index=True)
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    attrs = {str(name): _to_builtin(value) for name, value in stations.attrs.items()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: json.dumps(attrs).encode()})
    pyarrow.parquet.write_table(table, path, compression="zstd")


def _to_builtin(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def save_stations(stations: xr.Dataset, path: str | Path) -> Path:
    """Write station reports atomically to a file: Parquet with the suffix ``.parquet``, CF NetCDF with ``.nc``.

    `open_stations` reads both. A Parquet file does not contain stations without any value.

    Parameters
    ----------
    stations
        Station reports, see `hybridcast.stations.schema`.
    path
        File to write; its suffix is ``.parquet`` or ``.nc``.

    Returns
    -------
    Path
        `path`, with ``~`` expanded.

    Raises
    ------
    InputError
        If the suffix is another one, or the reports do not follow the schema.

    Examples
    --------
    >>> import tempfile
    >>> from hybridcast.stations import open_stations, station_reports
    >>> reports = station_reports([[0.0, 6.0]], station=["A"], interval=np.timedelta64(5, "m"),
    ...                           time=["2020-01-01T00:05", "2020-01-01T00:10"],
    ...                           coords={"latitude": [57.7], "longitude": [12.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     open_stations(save_stations(reports, f"{folder}/reports.parquet")).precipitation_rate.values.tolist()
    [[0.0, 6.0]]
    """
    stations = check_stations(stations)
    path = Path(path).expanduser()
    if path.suffix not in (".parquet", ".nc"):
        raise InputError(f"suffix {path.suffix!r}", "stations are written as .parquet or .nc", "Choose one of these")
    with atomic_write(path) as part:
        if path.suffix == ".parquet":
            write(stations, part)
        else:
            units = {"units": "seconds since 1970-01-01", "dtype": "int64"}
            encoding: dict[str, Any] = {RATE: {"zlib": True}, "time": units, "time_bounds": units}
            _to_cf(stations).to_netcdf(part, engine="h5netcdf", encoding=encoding)
    return path


def _to_cf(stations: xr.Dataset) -> xr.Dataset:
    """Add the bounds of time, and make the names, which are texts, an auxiliary coordinate, as CF requires."""
    ends = stations["time"].values
    bounds = np.stack([ends - get_interval(stations), ends], axis=-1)
    stations = stations.assign(time_bounds=(("time", "bounds"), bounds))
    stations["time"].attrs = {**stations["time"].attrs, "bounds": "time_bounds"}
    names = stations["station"].variable
    return stations.drop_vars("station").assign_coords(station_id=names)
