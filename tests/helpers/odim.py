"""Writer of ODIM HDF5 composites, after the text of ODIM_H5 2.4."""

from __future__ import annotations

import h5py
import numpy as np
import pyproj

PROJDEF = "+proj=aeqd +lat_0=50 +lon_0=5 +x_0=0 +y_0=0 +ellps=WGS84"


def span(start, end=None, day="20240601"):
    """Return the attributes of an interval from times of the day."""
    return {"startdate": day, "starttime": start, "enddate": day, "endtime": end or start}


def corners(projdef, left, top, columns, rows, dx, dy=None):
    """Return the attributes of ``where`` for a grid with its upper left outer corner at `left` and `top`."""
    dy = dx if dy is None else dy
    places = {"UL": (0, 0), "UR": (columns, 0), "LL": (0, rows), "LR": (columns, rows)}
    where = {"projdef": projdef, "xsize": columns, "ysize": rows, "xscale": float(dx), "yscale": float(dy)}
    for corner, (i, j) in places.items():
        lon, lat = pyproj.Proj(projdef)(left + i * dx, top - j * dy, inverse=True)
        where |= {f"{corner}_lon": lon, f"{corner}_lat": lat}
    return where


def write_odim(path, layers, *, what=None, where=None, how=None, conventions="ODIM_H5/V2_4"):
    """Write a composite; `layers` are (raw, what) or (raw, what, how) of dataset1, dataset2, ..."""
    rows, columns = np.shape(layers[0][0])
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = np.bytes_(conventions)
        root = {"object": "COMP", "source": "ORG:78,CTY:616,CMT:Test", "date": "20240601", "time": "120000"}
        groups = {
            "what": root | (what or {}),
            "where": where or corners(PROJDEF, 0, 0, columns, rows, 2000.0),
            "how": how or {},
        }
        for name, attrs in groups.items():
            _describe(file.create_group(name), attrs)
        for number, (raw, attrs, *more) in enumerate(layers, 1):
            data = file.create_group(f"dataset{number}/data1")
            data["data"] = raw
            _describe(data.create_group("what"), attrs)
            if more:
                _describe(file[f"dataset{number}"].create_group("how"), more[0])
    return path


def _describe(group, attrs):
    for name, value in attrs.items():
        group.attrs[name] = np.bytes_(value) if isinstance(value, str) else value
