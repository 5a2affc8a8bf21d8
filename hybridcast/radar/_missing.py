"""Missing values of a CF variable: valid ranges, flags, codes that are not declared, and zeros that are declared."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import InputWarning, ReadError

#: Lower reflectivities (dBZ) are codes: weather radars do not see as little.
LOWEST_DBZ = -60.0
#: Reflectivity (dBZ) of cells where nothing was detected.
_DRY_DBZ = -32.0
#: Values and limits are unpacked in different precisions; they are equal within this fraction.
_ROUNDING = 1e-6
#: Default fill value of floats in NetCDF, which needs no declaration (NetCDF Users Guide, appendix B).
_DEFAULT_FILL = 9.969209968386869e36
_MISSING = re.compile(r"miss|no_?data|out_?(side|_of)|no_?cover|invalid|block|unknown|fill|bad|unavail|not_?obs", re.I)
#: Attributes that declare a code missing, besides _FillValue and missing_value, which xarray decodes.
_OTHER_NAMES = re.compile(r"^_?(no_?data(_?value)?|fill_?value|missing(_?data)?|undef(ined)?|out_of_image)$", re.I)
#: Attributes that hold the value of cells where nothing was detected (WMO FM 301, ODIM).
_UNDETECTED = {"_Undetect", "undetect"}
#: Flags of other variables by which values are missing; not those of values that are filled, or of partial blockage.
_UNSEEN = re.compile(
    r"no_?data|missing(_\w+)?|out_?side(_\w+)?|out_of_\w+|no_?cover\w*|not_?(observed|covered|measured|seen)|unobserved|"
    r"invalid(_\w+)?|unavailable|no_?radar\w*|fill(_?value)?",
    re.I,
)
#: Names of variables that tell where radars see; not those of land or sea.
_MASK_NAME = re.compile(
    r"^((radar|data|valid|obs\w*)_?)?(coverage|mask)$|^(radar|coverage|data|validity)_?(mask|flag)$", re.I
)
#: No flag, where a mask itself is missing; no bit of it is set in flags of up to 32 bits.
_NO_FLAG = 2**40
_DRY = re.compile(r"undetect|no_?(rain|echo|precip)|dry|below", re.I)


def mask_missing(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Set values to NaN that the attributes of a variable declare missing, and to zero those that they declare dry.

    Raises
    ------
    ReadError
        If zero, which would be dry, is declared missing, or a flag is neither missing nor dry; when values are loaded,
        if they hold a code that is not declared.
    """
    _refuse_zero_fill(variable, path)
    variable = _apply_flags(_apply_other_names(variable, path), path)
    checked = _map(variable, _refuse_undeclared, _undeclared_code(variable), variable.name, path)
    return _apply_valid_range(checked, path)


def _map(variable: xr.DataArray, function: Callable[..., NDArray[Any]], *args: Any) -> xr.DataArray:
    """Apply a function to values: at once, or, for lazy data, when they are loaded."""
    if variable.chunks is None:
        return variable.copy(data=function(variable.values, *args))
    empty = np.empty((0,) * variable.ndim, variable.dtype)
    return variable.copy(data=variable.data.map_blocks(function, *args, dtype=variable.dtype, meta=empty))


# --- flags in other variables ---------------------------------------------------------------------------------


def mask_by_flags(data: xr.Dataset, variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Set values to NaN where an ancillary variable or one called coverage or mask has a flag that means missing.

    A mask without flags (CF 3.5) is named in an `InputWarning`, as it is not known which of its values mean what.
    """
    ancillary = str(variable.attrs.get("ancillary_variables", "")).split()
    named = [str(name) for name in data.data_vars if _MASK_NAME.search(str(name))]
    for name in dict.fromkeys((*ancillary, *named)):
        mask = data.get(name)
        if mask is None or name == variable.name or mask.ndim < 2 or not set(mask.dims) <= set(variable.dims):
            continue
        missing = _find_missing_flags(mask)
        if missing is not None:
            packing, dims = variable.encoding, variable.dims
            variable = variable.where(~missing).transpose(*dims)
            variable.encoding = packing
        elif name in named:
            warnings.warn(
                f"{path}: its mask {name!r} is not used, as it has no flag_values and flag_meanings",
                InputWarning,
                stacklevel=2,
            )
    return variable


def _find_missing_flags(mask: xr.DataArray) -> xr.DataArray | None:
    """Return where the flags of a variable mean missing; None if it has no flags."""
    meanings = str(mask.attrs.get("flag_meanings", "")).split()
    codes, bits = (np.ravel(mask.attrs.get(name, [])).astype(np.int64) for name in ("flag_values", "flag_masks"))
    if not meanings or max(codes.size, bits.size) != len(meanings):
        return None
    missing = xr.zeros_like(mask, dtype=bool)
    numbers = mask.fillna(_NO_FLAG).astype(np.int64)
    for index, meaning in enumerate(meanings):
        if _UNSEEN.fullmatch(meaning):
            on = numbers & bits[index] if bits.size else numbers
            missing = missing | (on == (codes[index] if codes.size else bits[index]))
    return missing


# --- declared codes -------------------------------------------------------------------------------------------


def _refuse_zero_fill(variable: xr.DataArray, path: Path) -> None:
    offset = variable.encoding.get("add_offset", 0)
    codes = [code for name in ("_FillValue", "missing_value") for code in np.ravel(variable.encoding.get(name, []))]
    zero = any(code == 0 for code in codes)
    if zero and is_reflectivity(variable):
        warnings.warn(
            f"{path}: {variable.name!r} declares its lowest code, 0, as missing: cells where nothing was detected are "
            "missing too, if they have this code",
            InputWarning,
            stacklevel=2,
        )
    elif zero and offset == 0:
        name, opener, writer = repr(str(variable.name)), "open_dataset", "to_netcdf"
        if path.is_dir():
            opener, writer = "open_zarr", "to_zarr"
        raise ReadError(
            path,
            f"{name} declares 0 as missing (_FillValue, or the fill_value of Zarr, whose default is 0), so that dry "
            f"and missing cannot be told apart. If 0 is dry: data = xarray.{opener}(path, mask_and_scale=False); "
            f"del data[{name}].attrs['_FillValue']; data.{writer}(new_path)",
        )


def _apply_other_names(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Set codes to NaN that attributes other than those of CF declare missing, such as ``nodata``."""
    packing = variable.encoding
    for name, value in variable.attrs.items():
        code = _as_number(value) if _OTHER_NAMES.match(str(name)) else None
        if code is None or np.isnan(code):
            continue
        if code == 0 and not is_reflectivity(variable):
            raise ReadError(
                path, f"{variable.name!r} declares 0 as missing ({name}). If 0 is dry, remove this attribute"
            )
        value_of_code = _unpack(int(code), variable) if code.is_integer() else code  # whole ones are of packed values
        other = ~(np.abs(variable - value_of_code) <= _ROUNDING * max(1.0, abs(value_of_code)))
        variable = variable.where(other)
        variable.encoding = packing  # `where` drops it
    return variable


def _as_number(value: Any) -> float | None:
    """Return an attribute as a number, also one written as text; None if it is none."""
    try:
        return float(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError):
        return None


def is_reflectivity(variable: xr.DataArray) -> bool:
    """Return whether a variable is in dBZ."""
    return str(variable.attrs.get("units", "")).strip().lower() == "dbz"


def _apply_flags(variable: xr.DataArray, path: Path) -> xr.DataArray:
    flags = np.ravel(variable.attrs.get("flag_values", []))
    meanings = str(variable.attrs.get("flag_meanings", "")).split()
    flags_of = dict(zip(flags, meanings, strict=False))
    for name in _UNDETECTED & set(variable.attrs):
        flags_of[np.asarray(variable.attrs[name])[()]] = "undetected"
    packing = variable.encoding
    for flag, meaning in flags_of.items():
        if not _MISSING.search(meaning) and not _DRY.search(meaning):
            raise ReadError(
                path, f"its flag {flag} means {meaning!r}, neither missing nor dry. Set these values to NaN"
            )
        dry = _DRY_DBZ if is_reflectivity(variable) else 0.0
        value = np.nan if _MISSING.search(meaning) else dry
        code = _unpack(flag, variable)
        other = ~(np.abs(variable - code) <= _ROUNDING * max(1.0, abs(code)))  # also where it is NaN
        variable = variable.where(other, value)
        variable.encoding = packing  # `where` drops it
    return variable


def _apply_valid_range(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Set values outside ``valid_range``, ``valid_min`` or ``valid_max`` to NaN, and count them in a warning.

    These limits are in packed units, unless they are floats and the packed values integers (NetCDF Users Guide,
    appendix A).
    """
    low, high = variable.attrs.get("valid_range", (variable.attrs.get("valid_min"), variable.attrs.get("valid_max")))
    low, high = (None if limit is None else _unpack(_require_number(limit, path), variable) for limit in (low, high))
    if low is None and high is None:
        return variable
    return _map(variable, _mask_outside, low, high, path)


def _require_number(limit: Any, path: Path) -> Any:
    """Return a limit; one that is a text as a number, or `ReadError` if it is none."""
    if np.asarray(limit).dtype.kind not in "OSU":
        return limit
    number = _as_number(limit)
    if number is None:
        raise ReadError(path, f"its valid range has the limit {limit!r}, no number. Correct it")
    return number


def _mask_outside(values: NDArray[Any], low: Any, high: Any, path: Path) -> NDArray[Any]:
    outside = np.zeros(values.shape, bool)
    if low is not None:
        outside |= values < low - _ROUNDING * abs(low)
    if high is not None:
        outside |= values > high + _ROUNDING * abs(high)
    if not outside.any():
        return values
    warnings.warn(
        f"{path}: {np.count_nonzero(outside)} values outside its valid range, "
        f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}, are missing",
        InputWarning,
        stacklevel=2,
    )
    return np.where(outside, values.dtype.type(np.nan), values)


def _unpack(limit: Any, variable: xr.DataArray) -> Any:
    packed = np.dtype(variable.encoding.get("dtype", variable.dtype))
    limit = np.asarray(limit)
    if packed.kind in "iu" and limit.dtype.kind == "f":
        return float(limit)
    if str(variable.encoding.get("_Unsigned", "")).lower() == "true" and limit.dtype.kind == "i":
        limit = limit.view(f"u{limit.dtype.itemsize}")
    return float(limit * variable.encoding.get("scale_factor", 1) + variable.encoding.get("add_offset", 0))


# --- undeclared codes -----------------------------------------------------------------------------------------


def _undeclared_code(variable: xr.DataArray) -> float | None:
    """Return the value of the highest packed integer, if no code for missing values is declared: a usual code."""
    packed = np.dtype(variable.encoding.get("dtype", variable.dtype))
    declared = {"_FillValue", "missing_value"} & set(variable.encoding)
    ranged = {"valid_range", "valid_max", "flag_values"} & set(variable.attrs)
    if packed.kind not in "iu" or declared or ranged:
        return None
    if str(variable.encoding.get("_Unsigned", "")).lower() == "true":
        packed = np.dtype(f"u{packed.itemsize}")
    return float(_unpack(np.iinfo(packed).max, variable))


def _refuse_undeclared(values: NDArray[Any], code: float | None, name: Any, path: Path) -> NDArray[Any]:
    """Return values with the default fill value of NetCDF as NaN; `ReadError` if they hold an undeclared code."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    high = np.fmax.reduce(values, axis=None, initial=np.nan)
    if code is not None and np.isclose(high, code, rtol=_ROUNDING, atol=0):
        raise ReadError(
            path, f"{name!r} holds its highest number, {code:g}: a code for missing values? Declare it as _FillValue"
        )
    if not high > 0.9 * _DEFAULT_FILL:
        return values
    return np.where(np.isclose(values, _DEFAULT_FILL, rtol=_ROUNDING, atol=0), values.dtype.type(np.nan), values)


def check_reflectivity(dbz: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return reflectivities; `ReadError` if there are values too low to be any, which would be read as dry."""
    low = np.fmin.reduce(dbz, axis=None, initial=np.nan)
    if low < LOWEST_DBZ:
        raise ReadError(
            path,
            f"holds {low:g} dBZ, a code for 'no echo' or 'not observed'? Declare it as missing (_FillValue), or set "
            "it to -32 dBZ where nothing was detected",
        )
    return dbz


def check_reflectivities(variable: xr.DataArray, path: Path) -> xr.DataArray:
    """Apply `check_reflectivity` to values: at once, or, for lazy data, when they are loaded."""
    return _map(variable, check_reflectivity, path)
