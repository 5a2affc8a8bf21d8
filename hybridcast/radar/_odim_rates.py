"""Rain rates of ODIM data: value = gain * raw + offset, and two codes (table 18)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE, UNITS, rate_from_accumulation, rate_from_dbz
from hybridcast.core.types import MINUTE, Array, Mask
from hybridcast.core.units import unit_conversion
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._odim_layers import Layer
from hybridcast.radar._odim_times import read_interval
from hybridcast.radar._rates import decode_dataset

#: Quantities that are rain, in the order of preference, with their units.
QUANTITIES = {
    "RATE": UNITS,
    "ACRR": "mm",
    "DBZH": "dBZ",
    "URATE": UNITS,
    "DBZV": "dBZ",
    "TH": "dBZ",
    "TV": "dBZ",
}
#: Quantities that are read for want of a better one, and what is to be known of them.
UNCORRECTED = {
    "URATE": "rain rate without corrections",
    "DBZV": "reflectivity of vertical polarisation",
    "TH": "reflectivity without corrections, with ground clutter",
    "TV": "reflectivity of vertical polarisation without corrections, with ground clutter",
}
Z_R = 200.0, 1.6
#: In more cells, and in a larger fraction of them, rates that never fell are an unstated code, not interference.
_MAX_CLIPPED, _MAX_CLIPPED_FRACTION = 20, 0.02


def read_rate(layer: Layer, attrs: dict[str, Any]) -> Array:
    """Return one layer in mm h-1; NaN where not observed or not a rate (negative, infinite), 0 where undetected."""
    to_rate = _choose_conversion(layer, attrs)
    gain, offset = _read_scaling(layer, layer.values.dtype)
    codes = _read_codes(layer)

    def convert(stored: NDArray[Any]) -> Array:
        rate = np.full(stored.shape, np.nan, np.float32)
        detected = np.ones(stored.shape, bool)
        for code, meaning in codes:
            found = _matches(stored, code)
            rate[found] = meaning
            detected &= ~found
        rate[detected] = _keep_rates(to_rate((stored[detected] * gain + offset).astype(np.float32)))
        return rate

    rate = decode_dataset(layer.values, convert).reshape(layer.shape)
    _refuse_unstated_code(layer, rate)
    return rate


def _keep_rates(rate: Array) -> Array:
    """Return rates with NaN for what is none: negative or infinite."""
    with np.errstate(invalid="ignore"):
        rate[(rate < 0) | np.isinf(rate)] = np.nan
    return rate


def _choose_conversion(layer: Layer, attrs: dict[str, Any]) -> Callable[[Array], Array]:
    """Return the conversion of the quantity to mm h-1, and describe it in `attrs`."""
    expected = QUANTITIES[layer.quantity]
    factor = _unit_factor(layer, expected)
    if expected == "mm":
        interval = read_interval(layer)
        attrs["accumulation_interval_minutes"] = float(interval / MINUTE)
        return lambda amount: rate_from_accumulation(amount * factor, interval)
    if expected == "dBZ":
        a, b = (layer.number("how", f"zr_{key}") or default for key, default in zip("ab", Z_R, strict=True))
        attrs["z_r_relation"] = f"Z = {a:g} R^{b:g}"
        return functools.partial(rate_from_dbz, a=a, b=b)
    return lambda rate: rate * factor


def _unit_factor(layer: Layer, expected: str) -> np.float32:
    """Return the factor from the units in the file, if it states any, to those of the standard."""
    units = layer.text("what", "units", "unit")
    if not units or units.lower() == expected.lower():
        return np.float32(1)
    conversion = unit_conversion(units, expected) if expected != "dBZ" else None
    if conversion is None:
        raise ReadError(layer.path, f"{layer.quantity} in {units!r}, which is not in {expected!r}. Correct its units")
    return np.float32(conversion[0])


def _read_scaling(layer: Layer, dtype: np.dtype[Any]) -> tuple[float, float]:
    gain, offset = layer.number("what", "gain"), layer.number("what", "offset")
    if gain is None and dtype.kind in "iu":
        raise ReadError(layer.path, f"{layer.quantity} is stored in integers ({dtype}), and its gain is missing")
    gain = 1.0 if gain is None else gain
    if gain == 0 or not np.isfinite([gain, offset or 0.0]).all():
        raise ReadError(
            layer.path, f"the gain of {layer.quantity} is {gain:g}, its offset {offset}: these are no values"
        )
    return gain, offset or 0.0


# --- codes ------------------------------------------------------------------------------------------------------


def _read_codes(layer: Layer) -> list[tuple[float, float]]:
    """Return the codes with their meaning; if both are the same, cells with it are unknown."""
    undetect, nodata = layer.number("what", "undetect"), layer.number("what", "nodata")
    if undetect is not None and undetect == nodata:
        warnings.warn(
            f"{layer.path}: nodata and undetect are both {nodata:g}: cells with this code are unknown, none is dry",
            InputWarning,
            stacklevel=2,
        )
    codes = ((undetect, 0.0), (nodata, np.nan))
    return [(code, meaning) for code, meaning in codes if code is not None]


def _matches(stored: NDArray[Any], code: float) -> Mask:
    """Return where stored values are a code, which the file may hold in lower precision than the values, or higher."""
    if np.isnan(code):
        return np.asarray(np.isnan(stored))
    if stored.dtype.kind in "iu":
        highest = np.iinfo(stored.dtype).max
        if code > highest and np.float32(code) == np.float32(highest):  # 4294967295 as float32
            code = highest
        return np.asarray(stored == code)
    equal = np.asarray(stored == stored.dtype.type(code))
    if equal.any() or code == 0:
        return equal
    tolerance = abs(code) * float(np.finfo(np.float32).eps)
    return np.asarray((stored >= code - tolerance) & (stored <= code + tolerance))


def _refuse_unstated_code(layer: Layer, rate: Array) -> None:
    """Raise `ReadError` if many cells have a rate that never fell, as those have whose code the file does not state."""
    high = np.count_nonzero(rate > HIGHEST_RATE)
    if high > max(_MAX_CLIPPED, _MAX_CLIPPED_FRACTION * rate.size):
        raise ReadError(
            layer.path,
            f"{high / rate.size:.0%} of the cells of {layer.quantity} have more than {HIGHEST_RATE:g} mm/h, more than "
            f"ever fell: a code for missing values other than nodata ({layer.text('what', 'nodata') or 'not stated'}), "
            "or other units. Correct what/nodata, or what/gain and what/offset",
        )
