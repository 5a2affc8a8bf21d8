"""Events of NowcastNet's test set: MRMS precipitation rate, one 16-bit PNG for a frame.

``event_<number>/gt<frame>.png`` (Zhang and others 2023, doi:10.1038/s41586-023-06184-4) hold tenths of mm/h on 1024 x
1024 cells of 0.01 degrees, up to 128 mm/h, ten minutes apart. A file states neither its time nor its place, nor what
the radars did not see: frames are counted from the first minute of 2000, on a grid whose columns are as wide as those
at 37 N, and all cells count as seen.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import EARTH_RADIUS, precipitation
from hybridcast.errors import ReadError
from hybridcast.radar._rates import check_field

NAME = "nowcastnet-png"
DESCRIPTION = "MRMS event of NowcastNet's test set, one 16-bit PNG for a frame"

STEP = np.timedelta64(10, "m")
FIRST = np.datetime64("2000-01-01T00:00")
_LATITUDE = 37.0
_CELL = np.deg2rad(0.01) * EARTH_RADIUS  # m
_FILE = re.compile(r"gt(\d+)\.png$")
_MAGIC = b"\x89PNG\r\n"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a PNG has the name and the folder of a frame of such an event."""
    return head.startswith(_MAGIC) and _FILE.match(path.name) is not None and path.parent.name.startswith("event_")


def read(path: Path) -> xr.DataArray:
    """Read one frame; its time is that of the frame number, see the module."""
    from PIL import Image, UnidentifiedImageError

    number = _FILE.match(path.name)
    if number is None:
        raise ReadError(path, "no frame of an event: these are named gt1.png, gt2.png, and so on")
    try:
        with Image.open(path) as image:
            tenths = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError, ValueError) as error:
        raise ReadError(path, f"the PNG is damaged or incomplete ({error})") from error
    if tenths.ndim != 2 or tenths.dtype.itemsize < 2:
        raise ReadError(path, f"the PNG is {tenths.dtype} of shape {tenths.shape}; a frame has 16 bits and one band")
    rows, columns = tenths.shape
    field = precipitation(
        tenths.astype(np.float32) * np.float32(0.1),
        time=FIRST + int(number[1]) * STEP,
        y=(np.arange(rows)[::-1] + 0.5) * _CELL,
        x=(np.arange(columns) + 0.5) * _CELL * np.cos(np.deg2rad(_LATITUDE)),
        crs=None,
        attrs={
            "source": "MRMS precipitation rate, test set of NowcastNet",
            "comment": "date and place are not in the file: frames are counted from 2000-01-01 00:00",
        },
    )
    return check_field(field, path)
