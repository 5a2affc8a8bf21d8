"""Météo-France MeteoNet: 5-minute rain of a composite (npz), and small patches cut out of it.

The composite is ``rainfall_<ZONE>_<year>_<month>.<part>.npz`` with ``data`` (1/100 mm in 5 minutes, -1 for missing
values) and ``dates``, on cells of 0.01 degrees. Their centres are in ``radar_coords_<ZONE>.npz``, which must be in the
same folder or one of the three folders above. Missing frames are left out of ``dates``.

A patch is one frame of 128 x 128 cells, ``rain/**/y2018-M3-d12-h5-m5.npz``, in the same unit. Its position in
north-western France is not stated, so it is a local grid without CRS, with cells as wide as 0.01 degrees at 48 N.

See https://meteofrance.github.io/meteonet/english/data/rain-radar/ for the layout.
"""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import EARTH_RADIUS, precipitation, rate_from_accumulation
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError, ReadError
from hybridcast.radar._rates import check_rates

NAME = "meteonet-npz"
DESCRIPTION = "Météo-France MeteoNet, 5-minute rain, npz"

INTERVAL = np.timedelta64(5, "m")
_ZIP_MAGIC = b"PK\x03\x04"
COMPOSITE = re.compile(r"rainfall_([A-Z]+)_\d{4}_\d{2}\.\d\.npz$")
PATCH = re.compile(r"y(\d{4})-M(\d+)-d(\d+)-h(\d+)-m(\d+)\.npz$")
_PATCH_LATITUDE = 48.0
_FOLDERS_ABOVE = 3
_ATTRIBUTES = {
    "source": "MeteoNet rain radar composite",
    "institution": "Météo-France",
    "license": "Etalab Open Licence 2.0",
    "accumulation_interval_minutes": 5.0,
}
#: Objects that a pickled array of datetimes consists of; all other objects in a pickle are refused.
_HARMLESS = {
    ("datetime", "datetime"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


_DAMAGES = (zipfile.BadZipFile, EOFError, KeyError, pickle.UnpicklingError, zlib.error)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the name of a file is that of MeteoNet rain, as the content does not identify it."""
    return head.startswith(_ZIP_MAGIC) and (COMPOSITE.match(path.name) is not None or _is_patch(path))


def read(path: Path) -> xr.DataArray:
    """Read all frames of one file; -1 becomes NaN."""
    try:
        return _read_patch(path) if PATCH.match(path.name) else _read_composite(path)
    except _DAMAGES as error:
        raise ReadError(path, f"the npz file is damaged or incomplete ({error})") from error


def read_blocks(path: Path, frames: int, coordinates: Path | None = None) -> Iterator[xr.DataArray]:
    """Read a composite in blocks of frames, so that the ten days of a file need not fit in memory.

    Parameters
    ----------
    path
        The npz file.
    frames
        Number of frames in a block.
    coordinates
        File of coordinates; by default the one in the same folder or above.

    Yields
    ------
    DataArray
        Frames of a precipitation field, dims ``(time, y, x)``.

    Raises
    ------
    ReadError
        If the file is damaged. This may be known only with its last block, when the checksum is compared; earlier
        blocks are then invalid too.
    """
    try:
        times = np.asarray(_read_dates(path), dtype="datetime64[ns]")
        y, x = _read_coordinates(path) if coordinates is None else _read_axes(coordinates)
        with zipfile.ZipFile(path) as archive, archive.open("data.npy") as file:
            dtype = _read_header(file, (times.size, y.size, x.size), path)
            for first in range(0, times.size, frames):
                stamps = times[first : first + frames]
                raw = file.read(stamps.size * y.size * x.size * dtype.itemsize)
                hundredths = np.frombuffer(raw, dtype).reshape(-1, y.size, x.size)
                if first + frames >= times.size:
                    file.read(1)  # at the end of the file the checksum is compared
                yield precipitation(
                    _to_rate(hundredths, path), time=stamps, y=y, x=x, crs="EPSG:4326", attrs=_ATTRIBUTES
                )
    except (*_DAMAGES, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise ReadError(path, f"the npz file is damaged or incomplete ({error})") from error


def _read_header(file: IO[bytes], shape: tuple[int, ...], path: Path) -> np.dtype[Any]:
    """Read the header of ``data.npy`` and return the type of its values."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found, columns_first, dtype = read(file)
    if found != shape or columns_first:
        raise ReadError(path, f"data of shape {found}, but dates and cells are {shape}; or columns come first")
    return dtype


def _read_composite(path: Path) -> xr.DataArray:
    with np.load(path) as file:
        hundredths = file["data"]
    times = np.asarray(_read_dates(path), dtype="datetime64[ns]")
    y, x = _read_coordinates(path)
    if hundredths.shape != (times.size, y.size, x.size):
        raise ReadError(path, f"data of shape {hundredths.shape}, but {times.size} dates and {y.size} x {x.size} cells")
    return precipitation(_to_rate(hundredths, path), time=times, y=y, x=x, crs="EPSG:4326", attrs=_ATTRIBUTES)


def _to_rate(hundredths: NDArray[Any], path: Path) -> Array:
    if not np.issubdtype(hundredths.dtype, np.integer):
        raise ReadError(path, f"data are {hundredths.dtype}, not whole hundredths of a millimetre")
    amount = hundredths * np.float32(0.01)
    amount[hundredths == -1] = np.nan
    return check_rates(rate_from_accumulation(amount, INTERVAL), path)


# --- times ----------------------------------------------------------------------------------------------------


class _DatesOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"its dates hold a {module}.{name}, which is refused")
        return super().find_class(module, name)


def _read_dates(path: Path) -> list[datetime]:
    """Read the pickled ``dates``; numpy would execute any code in a pickle."""
    with zipfile.ZipFile(path) as archive, archive.open("dates.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        dates = _DatesOnly(file).load()
    return list(dates)


# --- grid -----------------------------------------------------------------------------------------------------


def _read_coordinates(path: Path) -> tuple[Doubles, Doubles]:
    """Return latitudes and longitudes of the cell centres, from the file of coordinates of the zone."""
    match = COMPOSITE.match(path.name)
    name = f"radar_coords_{match[1] if match else 'NW'}.npz"
    folders = list(path.absolute().parents)[: _FOLDERS_ABOVE + 1]
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise ReadError(path, f"{name} is not in {folders[0]} nor the {_FOLDERS_ABOVE} folders above: put it there")
    return _read_axes(found)


def _read_axes(path: Path) -> tuple[Doubles, Doubles]:
    with np.load(path) as file:
        lats, lons = file["lats"], file["lons"]
    if np.ptp(lats, axis=1).max() > 1e-6 or np.ptp(lons, axis=0).max() > 1e-6:
        raise ReadError(path, "its latitudes and longitudes are no regular grid")
    return lats[:, 0], lons[0]


# --- patches --------------------------------------------------------------------------------------------------


def _is_patch(path: Path) -> bool:
    # U and V of the wind are in other folders, with the same file names
    return PATCH.match(path.name) is not None and "rain" in path.absolute().parts[-4:]


def _read_patch(path: Path) -> xr.DataArray:
    match = PATCH.match(path.name)
    if match is None or not _is_patch(path):
        raise ReadError(path, "no MeteoNet rain patch: those lie in a folder 'rain', named after their time")
    with np.load(path) as file:
        hundredths = file["data"] if "data" in file else file["arr_0"]
    if hundredths.ndim != 2:
        raise ReadError(path, f"data of shape {hundredths.shape}; a patch has rows and columns")
    y, x = patch_axes(hundredths.shape)
    return precipitation(
        _to_rate(hundredths, path),
        time=[datetime(*(int(part) for part in match.groups()))],  # type: ignore[arg-type]
        y=y,
        x=x,
        crs=None,
        attrs=_ATTRIBUTES,
    )


def patch_axes(shape: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """Return y and x of the cell centres of a patch, m; rows run from north to south, as in the composite."""
    dy = np.deg2rad(0.01) * EARTH_RADIUS
    dx = dy * np.cos(np.deg2rad(_PATCH_LATITUDE))
    return (np.arange(shape[0])[::-1] + 0.5) * dy, (np.arange(shape[1]) + 0.5) * dx
