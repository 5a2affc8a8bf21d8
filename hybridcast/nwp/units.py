"""Units of model files, brought to those of the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridcast.core.field import rate_factor
from hybridcast.core.types import Array
from hybridcast.errors import ReadError
from hybridcast.nwp.schema import RATE
from hybridcast.radar.cf import MILLIMETRES

_SPEED = {
    "m s-1": 1.0,
    "m/s": 1.0,
    "m s^-1": 1.0,
    "km h-1": 1 / 3.6,
    "km/h": 1 / 3.6,
    "knots": 0.514444,
    "kt": 0.514444,
}
_ENERGY = {"J kg-1": 1.0, "J/kg": 1.0, "m2 s-2": 1.0}
_SHARE = {"1": 1.0, "": 1.0, "%": 0.01, "percent": 0.01}
_KELVIN = {"K": 0.0, "kelvin": 0.0, "degC": 273.15, "Celsius": 273.15, "degrees_Celsius": 273.15, "C": 273.15}
_FACTORS = {
    "precipitation_amount": MILLIMETRES,
    "relative_humidity": _SHARE,
    "atmosphere_convective_available_potential_energy": _ENERGY,
}


def convert_units(name: str, values: Array, units: str, path: Path) -> Array:
    """Return values of a variable in the units of the contract (mm for an amount); `ReadError` for units unknown.

    Rates below zero, which packed numbers make, are dry.
    """
    if name == "air_temperature":
        return np.asarray(values + np.float32(_known(_KELVIN, units, name, path)), np.float32)
    if name == RATE:
        factor = rate_factor(units)
        if factor is None:
            raise ReadError(path, f"{name} in {units!r} is no rate. Set its units, e.g. to 'kg m-2 s-1'")
        return np.asarray(np.maximum(values * np.float32(factor), 0), np.float32)
    factor = _known(_FACTORS.get(name, _SPEED), units, name, path)
    return np.asarray(values * np.float32(factor), np.float32)


def _known(table: dict[str, float], units: str, name: str, path: Path) -> float:
    if units not in table:
        raise ReadError(path, f"{name} in {units!r}; known are {', '.join(filter(None, table))}")
    return table[units]
