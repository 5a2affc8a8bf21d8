"""NetCDF and HDF5 files: opening (also of compressed files), inspection, and attributes."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from hybridcast.core._hdf5_heaps import has_damaged_heap
from hybridcast.core.compression import is_compressed
from hybridcast.core.hdf5_chunks import write_dataset
from hybridcast.core.locations import is_copy
from hybridcast.core.readers import read_bytes, read_head
from hybridcast.errors import ReadError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NETCDF3_MAGICS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def is_netcdf(head: bytes) -> bool:
    """Return whether a file may be NetCDF, from its first bytes; NetCDF 4 begins like any HDF5 file."""
    return head.startswith((HDF5_MAGIC, *NETCDF3_MAGICS))


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file (plain, gzip or bzip2) for reading; `ReadError` if its structure is damaged."""
    import h5py

    with path.open("rb") as raw:
        plain = raw.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    if plain and has_damaged_heap(path):
        raise ReadError(path, "the HDF5 file is damaged (a global heap has an object of impossible size)")
    try:
        file = h5py.File(path if plain else io.BytesIO(read_bytes(path)), "r")
    except OSError as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(path, f"the HDF5 file is truncated or damaged ({error})") from error
    with file:
        yield file


def decode_text(value: Any) -> str:
    """Return an attribute of an HDF5 file, or the first of its items, as text without padding."""
    items = np.ravel(value)
    item = items[0] if items.size else ""
    return (item.decode("latin-1") if isinstance(item, bytes) else str(item)).strip("\0 ")


def inspect_netcdf(path: Path, head: bytes) -> tuple[dict[str, str], frozenset[str]]:
    """Return the global attributes (as texts) and the variables of a NetCDF 4 file; both empty for any other file."""
    if not head.startswith(HDF5_MAGIC) or path.is_dir():
        return {}, frozenset()
    status = path.stat()
    return _inspect(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)  # several formats inspect the same file, one after the other
def _inspect(path: Path, mtime: int, size: int) -> tuple[dict[str, str], frozenset[str]]:
    try:
        with open_hdf5(path) as file:
            return {name: decode_text(value) for name, value in file.attrs.items()}, frozenset(file)
    except Exception:  # h5py fails in many ways; the reader that reads the file raises the error
        return {}, frozenset()


def list_groups(path: Path) -> list[str]:
    """Return the names of all groups of a NetCDF 4 file, such as ``"Grid/Intermediate"``; none for any other file."""
    if not read_head(path, 8).startswith(HDF5_MAGIC):
        return []
    import h5py

    names: list[str] = []
    with open_hdf5(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Group) else None)
    return names


def open_netcdf(path: Path, **options: Any) -> xr.Dataset:
    """Open a NetCDF file (plain, gzip or bzip2).

    Parameters
    ----------
    path
        The file.
    **options
        Options of `xarray.open_dataset`.

    Raises
    ------
    ReadError
        If it is damaged or no NetCDF file.
    """
    head = read_head(path, 8)
    if head.startswith(HDF5_MAGIC):
        with open_hdf5(path):  # h5netcdf prints a traceback of its own when it cannot open a file
            pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)  # unusual fill values
            warnings.filterwarnings("ignore", message=".*phony_dims")  # HDF5 that is no NetCDF
            return xr.open_dataset(_open_source(path, head), engine=cast(Any, _choose_engine(head)), **options)
    except ReadError:
        raise
    except Exception as error:  # the NetCDF libraries raise OSError, RuntimeError, ValueError, TypeError, KeyError
        raise ReadError(path, f"damaged, or no NetCDF file ({type(error).__name__}: {error})") from error


class _OpenFile(io.FileIO):
    """A file that is open as long as lazy data refer to it."""

    def __del__(self) -> None:
        self.close()


def _open_source(path: Path, head: bytes) -> Any:
    """Return what xarray opens: the path; the content of a compressed file; and an open file for a temporary copy.

    A temporary copy is removed while lazy data still refer to it; an open file remains readable then.
    """
    if is_compressed(path):
        return io.BytesIO(read_bytes(path))
    if is_copy(path):
        return _OpenFile(path) if head.startswith(HDF5_MAGIC) else io.BytesIO(read_bytes(path))
    return path


def _choose_engine(head: bytes) -> str:
    """Return xarray's engine; the C library reads zeros from damaged NetCDF 3 files and crashes on damaged NetCDF 4."""
    if head.startswith(HDF5_MAGIC):
        return "h5netcdf"
    return "scipy" if head.startswith(NETCDF3_MAGICS[:2]) else "netcdf4"


def require_variables(data: xr.Dataset, path: Path, *names: str) -> None:
    """Raise `ReadError` unless the dataset has the variables or coordinates `names`."""
    missing = [name for name in names if name not in data.variables]
    if missing:
        raise ReadError(path, f"holds no {', '.join(map(repr, missing))}; the file is incomplete or of another kind")


def common_attributes(data: xr.Dataset) -> dict[str, str]:
    """Return the global attributes that are kept: source, institution, license, title and references."""
    kept = {name: str(data.attrs[name]) for name in ("source", "institution", "title") if name in data.attrs}
    for name, spellings in {
        "license": ("license", "licence"),
        "references": ("references", "reference", "doi"),
    }.items():
        found = next((str(data.attrs[spelling]) for spelling in spellings if spelling in data.attrs), None)
        if found is not None:
            kept[name] = found
    return kept


def write_netcdf(data: xr.Dataset, path: Path, encoding: dict[str, dict[str, Any]]) -> None:
    """Write a data set to a NetCDF 4 file, its compressed variables in threads.

    Parameters
    ----------
    data, path
        The data set and the file.
    encoding
        Encoding of variables, as that of `xarray.Dataset.to_netcdf`. Variables with ``zlib`` are written in their own
        type, without scaling. Those that have ``chunksizes`` too are dask arrays, whose chunks, each a whole number of
        those of the file, are computed and written one after the other.
    """
    import h5netcdf
    import h5py

    compressed = [name for name, how in encoding.items() if how.get("zlib") and data[name].ndim]
    with h5netcdf.File(path, "w") as file:
        lazy = data.assign({name: _declare(data[name]) for name in compressed})
        lazy.dump_to_store(cast(Any, xr.backends.H5NetCDFStore(file)), encoding=encoding)
    with h5py.File(path, "r+") as file:
        for name in compressed:
            if "chunksizes" in encoding[name]:
                _write_by_chunk(file[name], data[name].data)
            else:
                write_dataset(file[name], data[name].values, (0,) * data[name].ndim)


def _declare(variable: xr.DataArray) -> xr.DataArray:
    """Return a lazy variable of the same shape and type, which xarray declares in a file and does not write."""
    import dask.array as da

    return variable.copy(data=da.zeros(variable.shape, dtype=variable.dtype))


def _write_by_chunk(dataset: Any, values: Any) -> None:
    """Compute and write the chunks of a dask array, of which one at a time is in memory."""
    import dask.local

    starts = [np.cumsum((0, *sizes[:-1])).tolist() for sizes in values.chunks]
    for place in np.ndindex(*values.numblocks):
        start = tuple(first[k] for first, k in zip(starts, place, strict=True))
        write_dataset(dataset, values.blocks[place].compute(scheduler=dask.local.get_sync), start)
