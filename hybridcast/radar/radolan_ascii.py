"""DWD RADOLAN and RADKLIM sums as ASCII grids, as the Climate Data Center gives them.

Deutscher Wetterdienst, CDC, grids_germany/hourly/radolan (``RW_20200101-0050.asc``) and RADKLIM
(``RW_2017.002_20010101_0150.asc``); the two kinds are described in wradlib's documentation (RADOLAN data formats). The
header states neither product, time nor unit: product and time are in the name of the file, and the unit is that of the
kind, which corner, size and code for missing values tell apart. Rows run from north to south.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_accumulation
from hybridcast.core.readers import read_bytes
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import ReadError
from hybridcast.radar._rates import limit_rates
from hybridcast.radar.radolan import SPHERE

NAME = "radolan-ascii"
DESCRIPTION = "DWD (Germany) RADOLAN and RADKLIM sums RW, SF, RY, YW as ASCII grids (.asc)"

_KEYS = ("ncols", "nrows", "xllcorner", "yllcorner", "cellsize", "nodata_value")
_NAME = re.compile(r"(RW|SF|RY|YW)[-_](?:20\d\d\.\d{3}_)?\d{8}[-_]\d{4}\.asc")
_INTERVALS = {"RW": 60, "SF": 1440, "RY": 5, "YW": 5}  # minutes


class _Kind(NamedTuple):
    header: tuple[float, ...]
    """Values of `_KEYS`."""
    unit: float
    """Unit of the numbers, mm."""


#: RADOLAN in tenths of a millimetre, and RADKLIM in millimetres.
_KINDS = (
    _Kind((900, 900, -523462, -4658645, 1000, -1), 0.1),
    _Kind((900, 1100, -443462, -4758645, 1000, -9999), 1.0),
)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file starts like an ASCII grid."""
    return re.match(rb"\s*ncols\s+\d+\s+nrows\s+\d", head, re.IGNORECASE) is not None


def read(path: Path) -> xr.DataArray:
    """Read one grid as a precipitation field; the time in its name is the END of the accumulation interval.

    Raises
    ------
    ReadError
        If name or header are not those of a product of RADOLAN or RADKLIM, or cells are missing.
    """
    product, time = _parse_name(path)
    words = read_bytes(path).decode("latin-1").split()
    kind = _find_kind(path, words)
    columns, rows, left, bottom, size, _ = kind.header
    amount = _read_amounts(path, words[2 * len(_KEYS) :], kind)
    interval = np.timedelta64(_INTERVALS[product], "m")
    attrs = {
        "source": f"DWD radar composite {product}",
        "institution": "Deutscher Wetterdienst",
        "accumulation_interval_minutes": float(interval / MINUTE),
    }
    return precipitation(
        limit_rates(rate_from_accumulation(amount, interval), attrs),
        time=time,
        y=bottom + (np.arange(rows)[::-1] + 0.5) * size,
        x=left + (np.arange(columns) + 0.5) * size,
        crs=SPHERE,
        attrs=attrs,
    )


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the time of the grid, which is in its name."""
    return np.array([_parse_name(path)[1]])


def _parse_name(path: Path) -> tuple[str, np.datetime64]:
    """Return product and time."""
    named, time = _NAME.search(path.name), parse_time_in_name(path.name)
    if named is None or time is None:
        raise ReadError(
            path, "an ASCII grid whose name is not like RW_20200101-0050.asc; give it as GeoTIFF with a time"
        )
    return named[1], time


def _find_kind(path: Path, words: list[str]) -> _Kind:
    keys, values = (tuple(words[k : 2 * len(_KEYS) : 2]) for k in (0, 1))
    try:
        header = tuple(float(value) for value in values)
    except ValueError:
        header = ()
    known = tuple(key.lower() for key in keys) == _KEYS
    found = next((kind for kind in _KINDS if known and np.allclose(kind.header, header or np.nan)), None)
    if found is None:
        raise ReadError(
            path,
            f"a header of {' '.join(words[: 2 * len(_KEYS)])!r}, which is not of RADOLAN (tenths of a mm) or RADKLIM",
        )
    return found


def _read_amounts(path: Path, words: list[str], kind: _Kind) -> Array:
    columns, rows = (int(number) for number in kind.header[:2])
    if len(words) != rows * columns:
        raise ReadError(path, f"{rows} x {columns} cells announced, but {len(words)} numbers follow: it is damaged")
    values = np.array(words, dtype=np.float32).reshape(rows, columns)
    if (values < 0).any() and not (values[values < 0] == kind.header[5]).all():
        raise ReadError(path, f"negative amounts other than {kind.header[5]:g}, the code of missing values")
    return np.where(values < 0, np.float32(np.nan), values * np.float32(kind.unit))
