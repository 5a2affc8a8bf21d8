"""Rain rates from the values that radar files contain, and their checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE
from hybridcast.core.hdf5_chunks import read_dataset
from hybridcast.core.types import Array
from hybridcast.errors import ReadError

Convert = Callable[[NDArray[Any]], NDArray[Any]]

#: Decoded values above minus this are rounding errors of packed values, not a code for missing values.
ROUNDING = 1e-4
#: Relation by which reflectivity becomes rain where a file states none (Marshall and Palmer).
Z_R_RELATION = "Z = 200 R^1.6"
#: Rates that are codes for missing values, as no field reaches exactly one of these by chance.
_NINES = (999.0, 999.9, 999.99)


def decode_codes(raw: NDArray[Any], convert: Convert) -> Array:
    """Return the rain rates of the values that a file holds, through a table where there are few different ones.

    A power in each of 17 million cells takes a second, a table of 65536 rates 25 ms.

    Parameters
    ----------
    raw
        Values of the file, of any shape and number type.
    convert
        Returns the rates (mm h-1, NaN where not observed) of values of the type of `raw`, in the native byte order. It
        must treat each value by itself, and is called once: with every possible value, shape ``(values,)``, if they are
        integers of one or two bytes, otherwise with `raw`.

    Returns
    -------
    ndarray
        Rates, float32, with the shape of `raw`.
    """
    return make_decoder(raw.dtype, convert)(raw)


def decode_dataset(dataset: Any, convert: Convert) -> Array:
    """Return the rain rates of a data set of an HDF5 file, decompressed and converted in threads.

    Parameters
    ----------
    dataset
        Data set of h5py, of any shape and number type.
    convert
        As that of `decode_codes`, but called once for each chunk of values that are not of one or two bytes.
    """
    return read_dataset(dataset, make_decoder(dataset.dtype, convert))


def make_decoder(dtype: np.dtype[Any], convert: Convert) -> Convert:
    """Return a function that returns the rates, float32, of values of a type, through a table if it is a short one."""
    native = dtype.newbyteorder("=")
    if native.kind not in "iu" or native.itemsize > 2:
        return lambda raw: np.asarray(convert(np.asarray(raw, dtype=native)), dtype=np.float32)
    index = np.dtype(f"u{native.itemsize}")
    codes = np.arange(256**native.itemsize, dtype=index)
    table = np.asarray(convert(codes.view(native)), dtype=np.float32)
    return lambda raw: np.asarray(table[np.ascontiguousarray(raw, dtype=native).view(index)])


def limit_rates(rate: NDArray[Any], attrs: dict[str, Any]) -> NDArray[Any]:
    """Clip rates above `hybridcast.core.field.HIGHEST_RATE` to it, and count them in ``attrs["clipped_cells"]``.

    They are artefacts (interference, hail) in cells that the radar observes, so they do not become NaN.
    """
    high = int(np.count_nonzero(rate > HIGHEST_RATE))
    if high == 0:
        return rate
    attrs["clipped_cells"] = high
    return np.asarray(np.minimum(rate, rate.dtype.type(HIGHEST_RATE)))


def check_field(field: xr.DataArray, path: Path) -> xr.DataArray:
    """Apply `check_rates` to the values of a field: at once, or, for lazy data, when they are loaded."""
    if field.chunks is None:
        return field.copy(data=check_rates(field.values, path))
    lazy = field.data.map_blocks(check_rates, path, dtype=field.dtype, meta=np.empty((0,) * field.ndim, field.dtype))
    return field.copy(data=lazy)


def check_rates(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return `values` (mm h-1) with rounding errors below zero set to zero.

    Raises
    ------
    ReadError
        If the values contain codes for missing values, or have other units.
    """
    if values.size == 0:
        return values
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if low < -ROUNDING:
        raise ReadError(
            path,
            f"holds {low:g} mm/h, a code? If it means 'not observed', declare it as the variable's _FillValue; if it "
            "means 'no rain', set it to 0",
        )
    if high > HIGHEST_RATE:
        raise ReadError(
            path, f"holds {high:g} mm/h, more than ever fell: its units, or a missing-value code, are wrong"
        )
    code = next((code for code in _NINES if abs(high - code) < 1e-4 * code / 10), None)
    if code is not None:
        raise ReadError(
            path, f"holds {high:g} mm/h, a code for missing values? Declare it as missing (_FillValue, or nodata)"
        )
    return np.maximum(values, values.dtype.type(0)) if low < 0 else values
