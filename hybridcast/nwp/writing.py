"""Writing of NWP fields as CF NetCDF, which `hybridcast.nwp.cf` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.nwp.schema import DIMS, check_nwp

_TIMES = {
    "reference_time": {"units": "seconds since 1970-01-01", "dtype": "int64"},
    "lead_time": {"units": "seconds", "dtype": "int64"},
}


def save_nwp(nwp: xr.Dataset, path: str | Path) -> Path:
    """Write NWP fields atomically to a CF NetCDF file, which `open_nwp` reads.

    Parameters
    ----------
    nwp
        NWP fields, see `hybridcast.nwp.schema`.
    path
        File to write; its suffix is ``.nc``.

    Returns
    -------
    Path
        `path`, with ``~`` expanded.

    Raises
    ------
    InputError
        If the suffix is another one, or the fields do not follow the schema.

    Examples
    --------
    >>> import tempfile
    >>> from hybridcast.nwp import nwp_fields, open_nwp
    >>> rain = np.ones((1, 2, 3, 4), np.float32)
    >>> hours = np.arange(1, 3) * np.timedelta64(1, "h")
    >>> nwp = nwp_fields({"precipitation_rate": rain}, reference_time=[np.datetime64("2020-01-01")], lead_time=hours,
    ...                  y=np.arange(3) * 2500.0, x=np.arange(4) * 2500.0, crs="EPSG:3035")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dict(open_nwp(save_nwp(nwp, Path(folder) / "run.nc")).sizes)
    {'reference_time': 1, 'lead_time': 2, 'y': 3, 'x': 4}
    """
    nwp, path = check_nwp(nwp), Path(path).expanduser()
    if path.suffix != ".nc":
        raise InputError(f"suffix {path.suffix!r}", "NWP fields are written as NetCDF, .nc", "Choose that one")
    shape = tuple(nwp.sizes[dim] for dim in DIMS)
    chunks = (1, 1, *shape[2:])
    encoding: dict[str, Any] = {
        str(name): {
            "zlib": True,
            "complevel": 4,
            "shuffle": True,
            "chunksizes": chunks,
            "_FillValue": np.float32(np.nan),
        }
        for name in nwp.data_vars
    }
    with atomic_write(path) as part:
        nwp.assign_attrs(Conventions="CF-1.11").drop_encoding().to_netcdf(
            part, engine="h5netcdf", encoding=encoding | _TIMES
        )
    return path
