"""What the formats of satellite rain share: decoded variables, and the words that say that no radar saw it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.field import precipitation
from hybridcast.errors import ReadError
from hybridcast.radar._missing import mask_missing
from hybridcast.radar._rates import check_field
from hybridcast.radar._units import read_rain_units


def satellite_field(
    variable: xr.DataArray, path: Path, *, time: np.datetime64, y: Any, x: Any, crs: Any, attrs: dict[str, Any]
) -> xr.DataArray:
    """Build the precipitation field of a satellite product from one frame of rain rates.

    Parameters
    ----------
    variable
        Rain rates in the units of the file, dims ``("y", "x")``, NaN where declared missing.
    path
        The file, for error messages.
    time
        Time of the frame.
    y, x, crs
        As those of `hybridcast.precipitation`.
    attrs
        Attributes; ``observation = "satellite"`` is added.
    """
    units = read_rain_units(str(variable.attrs.get("units", "")))
    if units is None or units.kind != "rate":
        raise ReadError(path, f"{variable.name!r} is in {variable.attrs.get('units')!r}, not in a unit of rain rates")
    rate = mask_missing(variable, path).astype(np.float32) * np.float32(units.factor)
    field = precipitation(
        rate.transpose("y", "x").data[None], time=[time], y=y, x=x, crs=crs, attrs={"observation": "satellite", **attrs}
    )
    return check_field(field, path)
