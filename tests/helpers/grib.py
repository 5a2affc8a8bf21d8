"""GRIB messages written by ecCodes, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Grid of the Hydrologic Rainfall Analysis Project, on which NCEP's Stage IV is.
POLAR = {
    "gridType": "polar_stereographic",
    "latitudeOfFirstGridPointInDegrees": 23.117,
    "longitudeOfFirstGridPointInDegrees": 240.977,
    "orientationOfTheGridInDegrees": 255.0,
    "DxInMetres": 4763,
    "DyInMetres": 4763,
    "jScansPositively": 1,
}


def encode(values: Any, edition: int = 2, **keys: Any) -> bytes:
    """Return a message of `values`, ``(y, x)``, NaN where missing; keys of ecCodes are set in their order."""
    import eccodes

    handle = eccodes.codes_grib_new_from_samples(f"GRIB{edition}")
    try:
        eccodes.codes_set(handle, "gridType", keys.pop("gridType", "regular_ll"))
        rows, columns = np.shape(values)
        for key, value in {"Nx": columns, "Ny": rows, "dataDate": 20240101, "dataTime": 600, **keys}.items():
            eccodes.codes_set(handle, key, value)
        flat = np.asarray(values, float).ravel()
        if np.isnan(flat).any():
            eccodes.codes_set(handle, "bitmapPresent", 1)
            eccodes.codes_set(handle, "missingValue", 9999)
            flat = np.where(np.isnan(flat), 9999.0, flat)
        eccodes.codes_set(handle, "bitsPerValue", 16)
        eccodes.codes_set_values(handle, flat)
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def degrees(top: float, left: float, bottom: float, right: float, step: float = 0.5) -> dict[str, Any]:
    """Return the keys of a grid of longitude and latitude from its first to its last point."""
    return {
        "latitudeOfFirstGridPointInDegrees": top,
        "longitudeOfFirstGridPointInDegrees": left,
        "latitudeOfLastGridPointInDegrees": bottom,
        "longitudeOfLastGridPointInDegrees": right,
        "iDirectionIncrementInDegrees": step,
        "jDirectionIncrementInDegrees": step,
    }


def write(path: Path, *messages: bytes) -> Path:
    """Write messages to a file and return its path."""
    path.write_bytes(b"".join(messages))
    return path
