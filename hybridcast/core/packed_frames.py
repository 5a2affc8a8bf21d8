"""Frames of a field that are kept compressed in memory, for grids of which two hours of frames would fill it.

Most of a continent is dry, and dry cells compress to nearly nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from hybridcast.core.field import check_precipitation
from hybridcast.core.types import Array, Mask


def pack_frames(field: xr.DataArray) -> xr.DataArray:
    """Load a lazy precipitation field frame by frame, and return it as a dask array of frames that are kept compressed.

    Raises
    ------
    InputError
        If the field violates the contract, see `hybridcast.core.field.check_precipitation`.
    """
    import dask
    import dask.array
    import numcodecs

    codec = numcodecs.Blosc("lz4", clevel=5, shuffle=numcodecs.Blosc.SHUFFLE)
    checked = check_precipitation(field)
    shape = checked.sizes["y"], checked.sizes["x"]

    def unpack(packed: bytes) -> Array:
        return np.frombuffer(codec.decode(packed), np.float32).reshape(shape)

    frames = []
    for number in range(field.sizes["time"]):
        frame = check_precipitation(field.isel(time=[number]).compute()).values[0]
        packed = codec.encode(np.ascontiguousarray(frame))
        frames.append(dask.array.from_delayed(dask.delayed(unpack)(packed), shape, np.float32))
    return checked.copy(data=dask.array.stack(frames))


def iterate_frames(field: xr.DataArray) -> Iterator[Array]:
    """Yield the values of each frame, ``(y, x)``; of a lazy field one after the other is loaded."""
    return (field.isel(time=number).values for number in range(field.sizes["time"]))


def holds_any(field: xr.DataArray) -> Mask:
    """Return whether each frame holds any value, ``(time,)``."""
    return np.array([np.isfinite(frame).any() for frame in iterate_frames(field)], bool)
