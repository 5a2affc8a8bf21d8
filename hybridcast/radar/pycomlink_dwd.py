"""Eleven days of DWD radar (RADOLAN YW, May 2018) distributed with pycomlink, NetCDF.

Rain (mm) in 5 minutes, stamped with the end of the interval, on 190 x 228 cells of 1 km. The units attribute is kg, and
the longitudes and latitudes in the file are shifted from the true position, so the field is a local grid without CRS,
in metres from its south-west corner, and cannot be combined with terrain. Row 0 is the southernmost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import precipitation, rate_from_accumulation
from hybridcast.core.netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.radar._rates import check_field

NAME = "pycomlink-dwd"
DESCRIPTION = "DWD RADOLAN YW sample of pycomlink, local grid, NetCDF"

INTERVAL = np.timedelta64(5, "m")
SPACING = 1000.0  # m


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the title and the two-dimensional coordinates of a file are those of this sample."""
    attrs, names = inspect_netcdf(path, head)
    return attrs.get("title") == "RADOLAN YW rainfall data" and {"rainfall_amount", "latitudes", "longitudes"} <= names


def read(path: Path) -> xr.DataArray:
    """Read the sample lazily, in the chunks of time of the file; -9999 becomes NaN."""
    data = open_netcdf(path)
    require_variables(data, path, "rainfall_amount", "time")
    amount = data["rainfall_amount"].transpose("time", "y", "x")
    blocks = (amount.encoding.get("chunksizes") or (288,))[0]
    rate = rate_from_accumulation(amount.chunk(time=blocks, y=-1, x=-1), INTERVAL)
    field = precipitation(
        rate.data,
        time=data["time"].values.astype("datetime64[s]"),  # hours as floats, whose error is below a microsecond
        y=(np.arange(amount.sizes["y"]) + 0.5) * SPACING,
        x=(np.arange(amount.sizes["x"]) + 0.5) * SPACING,
        crs=None,
        attrs={**common_attributes(data), "source": "RADOLAN YW", "accumulation_interval_minutes": 5.0},
    )
    return check_field(field, path)
