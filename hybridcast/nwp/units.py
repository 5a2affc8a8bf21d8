"""Conversion of NWP variables from the units of a file to those of the schema."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from hybridcast.core.types import Array
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp.schema import AMOUNTS, EARTH_WIND, PLACES, RATE, VARIABLES

_UNITS = {name: variable.units for name, variable in VARIABLES.items()}
_UNITS |= dict.fromkeys(AMOUNTS, "mm") | dict.fromkeys(EARTH_WIND, "m s-1") | dict.fromkeys(PLACES, "degrees")
#: Negative rates above this, mm/h, result from packing.
_PACKING = -0.1
#: Bounds of values in the units of the schema, beyond which units are mistaken or a code means missing.
_BOUNDS = {name: (variable.low, variable.high) for name, variable in VARIABLES.items()}
_BOUNDS |= dict.fromkeys(AMOUNTS, (-1.0, 20_000.0)) | dict.fromkeys(EARTH_WIND, _BOUNDS["x_wind"])
_BOUNDS |= {"latitude": (-90.001, 90.001), "longitude": (-360.001, 360.001)}


def convert_units(name: str, values: Array, units: str, path: Path) -> Array:
    """Convert values of a variable to the units of the schema (mm for an amount); `ReadError` if that is impossible.

    Small negative rates, which result from packing, become 0. Impossible values are refused.
    """
    conversion = unit_conversion(units, _UNITS[name])
    if conversion is None and name == RATE:
        raise ReadError(path, f"{name} in {units!r} is no rate. Set its units, e.g. to 'kg m-2 s-1'")
    if conversion is None:
        raise ReadError(path, f"{name} in {units!r}, which cannot be converted to {_UNITS[name]!r}. Correct its units")
    scale, offset = conversion
    converted = np.asarray(values * np.float32(scale) + np.float32(offset), np.float32)
    converted = (
        np.where((converted < 0) & (converted > _PACKING), np.float32(0), converted) if name == RATE else converted
    )
    check_bounds(name, converted, f" (from {units!r})", path)
    return converted


def check_bounds(name: str, values: Array, origin: str, path: Path | None) -> None:
    """Raise `ReadError` (`InputError` without a path) if values of a variable are impossible in its units."""
    low, high = _BOUNDS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all values may be missing
        least, most = float(np.nanmin(values, initial=np.inf)), float(np.nanmax(values, initial=-np.inf))
    if (least >= low and most <= high) or least > most:
        return
    found, rule = (
        f"{name} runs from {least:g} to {most:g} {_UNITS[name]}{origin}",
        f"it lies between {low:g} and {high:g}",
    )
    remedy = "Correct its units, and declare a code for missing values as such (missing_value, _FillValue)"
    if path is None:
        raise InputError(found, rule, remedy)
    raise ReadError(path, f"{found}; {rule}. {remedy}")
