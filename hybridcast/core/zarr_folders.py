"""Zarr folders: writing, lazily given variables chunk by chunk, with a mark when all of it is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

#: Attribute of a folder: `FINISHED` once all of it is written.
STATUS = "store_status"
FINISHED = "finished"
_UNFINISHED = "unfinished: the writing was interrupted, or goes on"
#: Fields of more cells are stored in chunks of `TILE_ROWS` rows.
LARGE_GRID = 2**22
#: Rows of a chunk of a large field.
TILE_ROWS = 64


def write_zarr(data: xr.Dataset, folder: Path, encoding: dict[str, dict[str, Any]]) -> None:
    """Write a data set to a Zarr folder of format 2, a chunk for each field, or for `TILE_ROWS` rows of a large one.

    Chunks of dask arrays are computed and written one after the other, or by the workers of dask.distributed if one of
    its clients is active; Zarr compresses the fields of a chunk in threads. The attribute `STATUS` is `FINISHED` only
    after everything else has been written.

    Parameters
    ----------
    data, folder
        The data set and the folder, which is empty or absent.
    encoding
        Encoding of coordinates, as that of `xarray.Dataset.to_zarr`.
    """
    import zarr

    fields = {str(name): _describe_field(variable) for name, variable in data.data_vars.items() if variable.ndim >= 2}
    with _choose_scheduler():
        # to look for empty chunks takes as long as to compress all of them
        data.assign_attrs({STATUS: _UNFINISHED}).to_zarr(
            folder, mode="w", zarr_format=2, consolidated=True, encoding=fields | encoding, write_empty_chunks=True
        )
    zarr.open_group(str(folder), mode="r+").attrs[STATUS] = FINISHED
    zarr.consolidate_metadata(str(folder))


@contextmanager
def _choose_scheduler() -> Iterator[None]:
    """Let chunks be computed by the workers of an active client of dask.distributed, otherwise one after the other."""
    import dask.local

    scheduler = dask.local.get_sync
    if "distributed" in sys.modules:  # it is loaded where a client is active; by name, dask would load it
        with suppress(ValueError):  # no client
            scheduler = sys.modules["distributed"].default_client().get
    with dask.config.set(scheduler=scheduler):
        yield


def is_finished(attrs: Mapping[str, Any]) -> bool:
    """Return whether all of a folder with these attributes is written; those without the attribute count as such."""
    return bool(attrs.get(STATUS, FINISHED) == FINISHED)


def is_large(variable: xr.DataArray) -> bool:
    """Return whether a variable is a field of more than `LARGE_GRID` cells."""
    return {"y", "x"} <= set(variable.dims) and variable.sizes["y"] * variable.sizes["x"] > LARGE_GRID


def _describe_field(variable: xr.DataArray) -> dict[str, Any]:
    """Return the encoding of a variable: LZ4 after a shuffle of bytes, and its chunks.

    LZ4 compresses rates in half the time of Zstandard, to sizes a third larger.
    """
    import numcodecs
    import zarr

    codec = numcodecs.Blosc("lz4", clevel=5, shuffle=numcodecs.Blosc.SHUFFLE)
    key = "compressor" if zarr.__version__.startswith("2.") else "compressors"
    is_field = {"y", "x"} <= set(variable.dims)
    sizes = dict(variable.sizes) | ({"y": TILE_ROWS} if is_large(variable) else {})
    chunks = tuple(1 if is_field and dim not in {"y", "x"} else size for dim, size in sizes.items())
    as_nan = {} if variable.dtype.kind != "f" or "_FillValue" in variable.attrs else {"_FillValue": np.float32(np.nan)}
    return {"chunks": chunks, key: codec, **as_nan}
