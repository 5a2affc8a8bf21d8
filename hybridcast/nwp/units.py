"""Conversion of NWP variables from the units of a file to those of the schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridcast.core.types import Array
from hybridcast.core.units import unit_conversion
from hybridcast.errors import ReadError
from hybridcast.nwp.schema import AMOUNT, EARTH_WIND, RATE, VARIABLES

_UNITS = {name: variable.units for name, variable in VARIABLES.items()}
_UNITS |= {AMOUNT: "mm"} | dict.fromkeys(EARTH_WIND, "m s-1")


def convert_units(name: str, values: Array, units: str, path: Path) -> Array:
    """Convert values of a variable to the units of the schema (mm for an amount); `ReadError` if that is impossible.

    Negative rates, which result from packing, become 0.
    """
    conversion = unit_conversion(units, _UNITS[name])
    if conversion is None and name == RATE:
        raise ReadError(path, f"{name} in {units!r} is no rate. Set its units, e.g. to 'kg m-2 s-1'")
    if conversion is None:
        raise ReadError(path, f"{name} in {units!r}, which cannot be converted to {_UNITS[name]!r}. Correct its units")
    scale, offset = conversion
    converted = np.asarray(values * np.float32(scale) + np.float32(offset), np.float32)
    return np.maximum(converted, np.float32(0)) if name == RATE else converted
