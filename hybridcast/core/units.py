"""Conversion of units by pint, with the units of the CF conventions."""

from __future__ import annotations

import functools
import logging
import warnings
from typing import Any


@functools.cache
def _unit_registry() -> Any:
    """Return pint's registry with the units of CF.

    Without its messages about the units that CF redefines, and without cf_xarray's that matplotlib is not installed.
    """
    log = logging.getLogger("pint.util")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*matplotlib support", UserWarning)
            from cf_xarray.units import units
    finally:
        log.setLevel(level)
    return units


@functools.cache
def unit_conversion(units: str, target: str) -> tuple[float, float] | None:
    """Return scale and offset that convert values from `units` to `target`; None if no conversion exists.

    Water per area counts as depth: 1 kg m-2 is 1 mm.

    Examples
    --------
    >>> unit_conversion("km h-1", "m s-1"), unit_conversion("degC", "K"), unit_conversion("kg m-2", "mm")
    ((0.277777777778, 0.0), (1.0, 273.15), (1.0, 0.0))
    """
    if units == target:
        return 1.0, 0.0
    try:
        zero, one = (_convert(value, units, target) for value in (0.0, 1.0))
    except Exception:  # pint hands the text to Python's tokenizer, which fails in ways of its own
        return None
    return float(f"{one - zero:.12g}"), float(f"{zero:.12g}")


def _convert(value: float, units: str, target: str) -> float:
    registry = _unit_registry()
    quantity = registry.Quantity(value, registry.Unit(units))
    if quantity.is_compatible_with(registry.Unit(target) * registry.Unit("kg m-3")):
        quantity = quantity / registry.Quantity(1000.0, "kg m-3")
    return float(quantity.to(target).magnitude)
