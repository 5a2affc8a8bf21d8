"""Values that are read from a file when they are needed, with errors that name the file, and their loading."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import ReadError


class _StoredValues:
    """Values of a variable in a file; reading any of them raises `ReadError` if that part of the file is damaged."""

    def __init__(self, variable: xr.Variable, path: Path) -> None:
        self._variable = variable
        self._path = path
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            return np.asarray(self._variable[key].values)
        except ReadError:
            raise
        except Exception as error:  # the libraries of NetCDF, HDF5, Zarr and of networks raise many kinds of errors
            raise ReadError(self._path, f"its values are damaged ({type(error).__name__}: {error})") from error


def make_lazy(data: xr.Dataset, path: Path, chunks: Mapping[Any, int] | None = None) -> xr.Dataset:
    """Return a dataset whose variables of two dimensions and more are dask arrays.

    Parameters
    ----------
    data
        Dataset opened with ``chunks=None``, whose values have not been read.
    path
        The file.
    chunks
        Sizes of chunks by dimension, -1 for all of it; by default those of the file.
    """
    lazy = {
        name: _chunk(of, path, chunks)
        for name, of in data.variables.items()
        if of.ndim >= 2 and name not in data.indexes
    }
    return data.assign(lazy)


def _chunk(variable: xr.Variable, path: Path, wanted: Mapping[Any, int] | None) -> xr.Variable:
    import dask.array

    by_dim = variable.encoding.get("preferred_chunks", {}) if wanted is None else wanted
    chunks = tuple(by_dim.get(dim, size) for dim, size in variable.sizes.items())
    values = dask.array.from_array(_StoredValues(variable, path), chunks=chunks, name=False)
    return xr.Variable(variable.dims, values, variable.attrs, variable.encoding)


def load_values(field: xr.DataArray) -> xr.DataArray:
    """Return a field with its values in memory, computed by dask's scheduler if they are lazy.

    Without a function as scheduler dask would load the package distributed, to see whether this process has a client of
    a cluster: a quarter of a second. Where that package is not loaded, there is none.
    """
    if not field.chunks or "distributed" in sys.modules:
        return field.compute()
    import dask.threaded

    return field.compute(scheduler=dask.config.get("scheduler", None) or dask.threaded.get)
