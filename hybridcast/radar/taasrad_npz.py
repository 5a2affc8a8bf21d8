"""TAASRAD19, the Alpine C-band radar of Trentino: maximum reflectivity of a month in one npz file.

The archive (Franch and others 2020, doi:10.1038/s41597-020-0574-8; data doi:10.5281/zenodo.3577451) holds 480 x 480
cells of 500 m in scenes of wet hours. This reader takes months of it thinned out to every so manyth cell:
``taasrad19_<year>-<month>.npz`` with ``gray`` (grey levels, ``(time, y, x)``, rows from north to south), ``time`` (UTC)
and ``dbz_per_level`` (dBZ of one grey level).

What the radar does not see becomes NaN: cells beyond its range of 120 km, and ground clutter, cells that are above
15 dBZ in more than a fifth of the frames of the file. Reflectivity becomes rain by Z = 200 R^1.6; below 10 dBZ it is
dry. The position of the radar is known too roughly for a map: the field is a local grid without CRS.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_dbz
from hybridcast.core.types import Array, Mask
from hybridcast.errors import ReadError
from hybridcast.radar._rates import check_field

NAME = "taasrad-npz"
DESCRIPTION = "TAASRAD19 (Trentino, Italy) maximum reflectivity, a month in npz"

WIDTH = 240_000.0
"""Width of the domain, m; the radar is in its middle."""
DRY_DBZ = 10.0
"""Reflectivity below which it is dry, dBZ."""
CLUTTER_DBZ, CLUTTER_FREQUENCY = 15.0, 0.2
"""Cells above this reflectivity in more than this fraction of the frames are ground clutter."""
_ZIP_MAGIC = b"PK\x03\x04"
_FILE = re.compile(r"taasrad19_\d{4}-\d{2}\.npz$")
_FRAMES = 288  # of a chunk


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is named as a month of the archive; its content does not say."""
    return head.startswith(_ZIP_MAGIC) and _FILE.match(path.name) is not None


def read(path: Path) -> xr.DataArray:
    """Read a month, converted lazily; its frames are those of wet hours, so that there are gaps of days."""
    try:
        with np.load(path) as file:
            grey, times, dbz_per_level = file["gray"], file["time"], float(file["dbz_per_level"])
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError, zlib.error) as error:
        raise ReadError(path, f"the npz file is damaged or incomplete ({error})") from error
    _check(path, grey, times, dbz_per_level)
    dbz = np.arange(256, dtype=np.float32) * np.float32(dbz_per_level)
    rates = np.where(dbz < DRY_DBZ, np.float32(0), rate_from_dbz(dbz)).astype(np.float32)
    seen = _find_seen(grey, dbz)
    chunks = dask.array.from_array(grey, chunks=(_FRAMES, -1, -1))
    step = WIDTH / grey.shape[1]
    centres = (np.arange(grey.shape[1]) + 0.5) * step - WIDTH / 2
    field = precipitation(
        chunks.map_blocks(_to_rate, rates, seen, dtype=np.float32),
        time=times.astype("datetime64[s]"),
        y=-centres,
        x=centres,
        crs=None,
        attrs={
            "source": "TAASRAD19, maximum reflectivity",
            "institution": "Meteotrentino",
            "z_r_relation": "200 R^1.6",
        },
    )
    return check_field(field, path)


def _check(path: Path, grey: NDArray[np.uint8], times: NDArray[np.datetime64], dbz_per_level: float) -> None:
    """Refuse arrays that are not those of a month."""
    square = grey.ndim == 3 and grey.shape[1] == grey.shape[2] and grey.shape[0] == times.size
    if not square or grey.dtype != np.uint8 or not np.issubdtype(times.dtype, np.datetime64):
        raise ReadError(
            path, f"gray is {grey.dtype} of shape {grey.shape} at {times.shape} times; it is uint8, (time, y, x)"
        )
    if not 0.05 < dbz_per_level < 1.0:
        raise ReadError(path, f"dbz_per_level is {dbz_per_level:g}; 255 levels are some 50 dBZ")


def _find_seen(grey: NDArray[np.uint8], dbz: Array) -> Mask:
    """Return the cells within range that are no ground clutter, ``(y, x)``."""
    y, x = np.indices(grey.shape[1:]) - (np.array(grey.shape[1:]) - 1)[:, None, None] / 2
    within = np.hypot(y, x) * WIDTH / grey.shape[1] <= WIDTH / 2
    lowest = int(np.searchsorted(dbz, CLUTTER_DBZ, side="right"))
    clutter = (grey >= lowest).mean(axis=0) > CLUTTER_FREQUENCY
    seen: Mask = within & ~clutter
    return seen


def _to_rate(grey: NDArray[np.uint8], rates: Array, seen: Mask) -> Array:
    return np.where(seen, rates[grey], np.float32(np.nan))
