"""Small CF files: three frames of 5 minutes on 3 x 4 cells of 1 km."""

from __future__ import annotations

import numpy as np
import pyproj
import xarray as xr

LAEA = "EPSG:3035"
TIMES = np.datetime64("2020-01-01T00:05", "ns") + np.arange(3) * np.timedelta64(5, "m")
VALUES = np.arange(36, dtype=np.float32).reshape(3, 3, 4)


def dataset(units="mm h-1", standard_name="rainfall_rate", values=VALUES, km=False, bounds=None, **attrs):
    unit, scale = ("km", 1e-3) if km else ("m", 1.0)
    data = xr.Dataset(
        {
            "rr": (("time", "y", "x"), values, {"units": units, "grid_mapping": "laea", **attrs}),
            "laea": ((), 0, {k: v for k, v in pyproj.CRS(LAEA).to_cf().items() if k != "crs_wkt" or not km}),
        },
        coords={
            "time": ("time", TIMES, {"standard_name": "time"}),
            "y": ("y", (3e6 - 1000.0 * np.arange(3)) * scale, {"standard_name": "projection_y_coordinate"}),
            "x": ("x", (4e6 + 1000.0 * np.arange(4)) * scale, {"standard_name": "projection_x_coordinate"}),
        },
        attrs={"Conventions": "CF-1.10", "source": "a test", "institution": "here"},
    )
    for axis in "xy":
        data[axis].attrs["units"] = unit
    if standard_name:
        data["rr"].attrs["standard_name"] = standard_name
    if bounds is not None:
        data["time"].attrs["bounds"] = "time_bnds"
        data["time_bnds"] = (("time", "nv"), bounds)
    return data


def saved(data, path, **options):
    data.to_netcdf(path, **options)
    return path
