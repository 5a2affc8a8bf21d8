"""Arrays as libraries hand them out, to plain numbers in which missing values are NaN.

netCDF4, rasterio and pysteps mark missing values by a mask, and what lies under it is a code, a zero, or anything:
``numpy.asarray`` drops the mask without a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import InputError

#: Attributes by which a file states how its stored numbers become values; xarray removes them when it decodes.
_FILL_VALUES = ("_FillValue", "missing_value")


def as_floats(values: Any, dtype: type[np.floating[Any]] | None = None) -> Any:
    """Return numbers as floats, NaN where they are masked.

    Parameters
    ----------
    values
        Anything that `numpy.asarray` takes: arrays, masked arrays, lists of either, scalars, tensors; or a dask array.
    dtype
        Type of the result; by default that of `values` if it is float32 or float64, otherwise float32 for float16, and
        float64.

    Returns
    -------
    ndarray, numpy.floating or dask array
        Array of the same shape; a scalar for a scalar; lazy if `values` are lazy.

    Raises
    ------
    InputError
        If `values` are no numbers.

    Examples
    --------
    >>> as_floats(np.ma.masked_array([1, 9], mask=[False, True]), np.float32)
    array([ 1., nan], dtype=float32)
    """
    if hasattr(values, "dask"):
        return _lazy_floats(values, dtype)
    found = _to_array(values)
    if found.dtype == object:  # pandas' nullable types have pandas.NA, which numpy does not convert
        found = np.where(pd.isna(found), np.nan, found)
    if found.dtype.kind not in "iufO":
        raise _refusal(f"values of type {found.dtype}")
    try:
        numbers = found.astype(dtype or _float_type(found.dtype), copy=False)
    except (TypeError, ValueError) as error:
        raise _refusal(f"values of type {found.dtype} ({error})") from error
    return (numbers.filled(np.nan) if isinstance(numbers, np.ma.MaskedArray) else numbers)[()]


def _to_array(values: Any) -> NDArray[Any]:
    try:
        if isinstance(values, list | tuple):  # of masked arrays: the masks are kept
            return np.ma.array(values) if _any_masked(values) else np.asarray(values)
        return np.asanyarray(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except Exception as error:  # tensors on a GPU raise TypeError, ragged lists ValueError, libraries their own
        raise _refusal(f"{type(values).__name__} ({error})") from error


def _any_masked(values: list[Any] | tuple[Any, ...]) -> bool:
    return any(_any_masked(v) if isinstance(v, list | tuple) else isinstance(v, np.ma.MaskedArray) for v in values)


def _float_type(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.float32 if dtype.itemsize <= 4 else np.float64
    return np.float64


def _lazy_floats(values: Any, dtype: type[np.floating[Any]] | None) -> Any:
    if values.dtype.kind not in "iuf":
        raise _refusal(f"values of type {values.dtype}")
    numbers = values.astype(dtype or _float_type(values.dtype))
    if isinstance(values._meta, np.ma.MaskedArray):
        numbers = numbers.map_blocks(np.ma.filled, np.nan, dtype=numbers.dtype, meta=np.empty((0,) * values.ndim))
    return numbers


def _refusal(found: str) -> InputError:
    return InputError(found, "values are numbers in an array", "Convert them with numpy.asarray(..., dtype='float32')")


def refuse_stored_codes(data: xr.DataArray) -> None:
    """Raise `InputError` if a DataArray holds the numbers of a file as they are stored, not yet decoded.

    That is so if it was opened with ``mask_and_scale=False`` or by another library: the attributes by which the values
    would be decoded are still there, and state another scale, or a code for missing values that is among the values.
    """
    scale, offset = data.attrs.get("scale_factor", 1), data.attrs.get("add_offset", 0)
    if (scale, offset) != (1, 0):
        raise _undecoded(f"scale_factor {scale} and add_offset {offset} are attributes of {data.name!r}")
    for name in _FILL_VALUES:
        code = data.attrs.get(name)
        if code is not None and data.chunks is None and np.isin(data.values, np.ravel(code)).any():
            raise _undecoded(f"{data.name!r} holds {np.ravel(code)[0]:g}, its {name}, which means missing")


def _undecoded(found: str) -> InputError:
    return InputError(
        f"{found}: the values are as they are stored in the file",
        "values are decoded, and NaN where missing",
        "Decode them with xarray.decode_cf(dataset), open the file with mask_and_scale=True, or set the code to NaN "
        "and remove the attribute",
    )
