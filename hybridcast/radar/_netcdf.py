"""What the NetCDF formats share: opening, a quick look inside, and a check of values that are loaded later."""

from __future__ import annotations

import functools
import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE
from hybridcast.errors import ReadError
from hybridcast.radar._files import HDF5_MAGIC, open_hdf5, read_bytes, read_head

NETCDF3_MAGICS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
COMPRESSED_MAGICS = (b"\x1f\x8b", b"BZh")

#: Decoded values just below zero are rounding of packed numbers, not a code.
ROUNDING = 1e-4


def is_netcdf(head: bytes) -> bool:
    """Tell from the first bytes whether a file may be NetCDF; NetCDF 4 looks like any HDF5 file."""
    return head.startswith((HDF5_MAGIC, *NETCDF3_MAGICS))


def inspect_netcdf(path: Path, head: bytes) -> tuple[dict[str, str], frozenset[str]]:
    """Return the global attributes (as text) and variables of a NetCDF 4 file; nothing if it is none, or damaged."""
    if not head.startswith(HDF5_MAGIC) or path.is_dir():
        return {}, frozenset()
    status = path.stat()
    return _contents(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)  # several formats look into the same file, one after the other
def _contents(path: Path, mtime: int, size: int) -> tuple[dict[str, str], frozenset[str]]:
    try:
        with open_hdf5(path) as file:
            return {name: _text(value) for name, value in file.attrs.items()}, frozenset(file)
    except Exception:  # h5py fails in many ways; the reader that is asked to read the file will say what is wrong
        return {}, frozenset()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3).startswith(COMPRESSED_MAGICS)


def open_netcdf(path: Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file (plain, gzip or bzip2).

    Raises
    ------
    ReadError
        If it is damaged or no NetCDF file.
    """
    head = read_head(path, 8)
    if head.startswith(HDF5_MAGIC):
        with open_hdf5(path):  # h5netcdf prints a traceback of its own when it cannot open one
            pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)  # odd fill values
            source = io.BytesIO(read_bytes(path)) if _is_compressed(path) else path
            return xr.open_dataset(source, engine=cast(Any, _engine(head)), **options)
    except ReadError:
        raise
    except Exception as error:  # the NetCDF libraries raise OSError, RuntimeError, ValueError, TypeError, KeyError
        raise ReadError(path, f"damaged, or no NetCDF file ({type(error).__name__}: {error})") from error


def _engine(head: bytes) -> str:
    """Choose the library: of damaged files the NetCDF C library reads zeros (version 3) or crashes (version 4)."""
    if head.startswith(HDF5_MAGIC):
        return "h5netcdf"
    return "scipy" if head.startswith(NETCDF3_MAGICS[:2]) else "netcdf4"


def require_variables(data: xr.Dataset, path: Path, *names: str) -> None:
    """Raise `ReadError` unless the dataset holds the variables or coordinates `names`."""
    missing = [name for name in names if name not in data.variables]
    if missing:
        raise ReadError(path, f"holds no {', '.join(map(repr, missing))}; the file is incomplete or of another kind")


def check_field(field: xr.DataArray, path: Path) -> xr.DataArray:
    """Refuse values that are no rain rate (mm h-1), now or, for lazy data, when they are loaded.

    Values a rounding error below zero become zero.
    """
    if field.chunks is None:
        return field.copy(data=check_rates(field.values, path))
    lazy = field.data.map_blocks(check_rates, path, dtype=field.dtype, meta=np.empty((0,) * field.ndim, field.dtype))
    return field.copy(data=lazy)


def check_rates(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return `values` (mm h-1) back; raise `ReadError` if they hold codes or units mistaken."""
    if values.size == 0:
        return values
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if low < -ROUNDING:
        raise ReadError(
            path,
            f"holds {low:g} mm/h: a code for missing values? Declare it as the variable's _FillValue, or set it to NaN",
        )
    if high > HIGHEST_RATE:
        raise ReadError(
            path, f"holds {high:g} mm/h, more than ever fell: its units, or a missing-value code, are wrong"
        )
    return np.maximum(values, values.dtype.type(0)) if low < 0 else values


def common_attributes(data: xr.Dataset) -> dict[str, str]:
    """Return the global attributes that a field keeps: source, institution, license, title and references."""
    kept = {name: str(data.attrs[name]) for name in ("source", "institution", "title") if name in data.attrs}
    for name, spellings in {
        "license": ("license", "licence"),
        "references": ("references", "reference", "doi"),
    }.items():
        found = next((str(data.attrs[spelling]) for spelling in spellings if spelling in data.attrs), None)
        if found is not None:
            kept[name] = found
    return kept
