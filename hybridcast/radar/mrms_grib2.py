"""NOAA MRMS in GRIB2: surface precipitation rate, precipitation amounts (QPE) and reflectivity composites.

Zhang et al. (2016), Multi-Radar Multi-Sensor quantitative precipitation estimation, doi:10.1175/BAMS-D-14-00174.1;
codes of discipline 209 by NSSL, "Operational MRMS GRIB2 tables":

- Rates and amounts: -1 is missing and -3 outside coverage; 0 is dry.
- Amounts are sums over the interval in the name of the product, which ends at the time of the file. The messages do not
  state it, as all of them are coded as instantaneous.
- Reflectivity (dBZ): -999 is outside coverage, -99 is below the detectable signal within coverage, that is, dry
  (ioda-converters issue 1474 tells the two apart by their maps). It is converted by Z = 300 R^1.4, the default of the
  WSR-88D (Fulton et al. 1998, doi:10.1175/1520-0434(1998)013<0377:TWRA>2.0.CO;2); PrecipRate is better where it exists.

Longitudes from 230 to 300 degrees east are returned as -130 to -60.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core import grib
from hybridcast.core.field import rate_from_accumulation, rate_from_dbz
from hybridcast.core.types import Array
from hybridcast.errors import ForecastFileError, ReadError
from hybridcast.radar._frames import Frame, build_field

NAME = "mrms-grib2"
DESCRIPTION = "NOAA MRMS (USA) precipitation rate, amounts (QPE) and reflectivity, GRIB2"

DISCIPLINE = 209
Z_R = 300.0, 1.4
_NO_COVERAGE, _NO_ECHO = -999.0, -99.0  # reflectivity, dBZ


class _Product(NamedTuple):
    name: str
    minutes: int
    """Interval of an amount; 0 for a rate or reflectivity."""
    reflectivity: bool = False


def _amounts(first: int, name: str, durations: tuple[int, ...] = (1, 3, 6, 12, 24, 48, 72)) -> dict[Any, _Product]:
    """Return the amounts over 1 to 72 hours that have consecutive numbers from `first`."""
    return {(6, first + k): _Product(name.format(f"{hours:02d}H"), 60 * hours) for k, hours in enumerate(durations)}


#: Products by category and number.
_PRODUCTS: dict[tuple[int, int], _Product] = {
    (6, 1): _Product("PrecipRate", 0),
    (6, 45): _Product("RadarOnly_QPE_15M", 15),
    **_amounts(2, "RadarOnly_QPE_{}"),
    **_amounts(9, "GaugeCorr_QPE_{}"),
    **_amounts(16, "GaugeOnly_QPE_{}"),
    **_amounts(23, "MountainMapper_QPE_{}"),
    **_amounts(30, "MultiSensor_QPE_{}_Pass1"),
    **_amounts(37, "MultiSensor_QPE_{}_Pass2"),
    (3, 57): _Product("ReflectivityAtLowestAltitude", 0, True),
    (3, 58): _Product("MergedReflectivityAtLowestAltitude", 0, True),
    (8, 8): _Product("SeamlessHSR", 0, True),
    (10, 0): _Product("MergedReflectivityQCComposite", 0, True),
    (10, 2): _Product("LowLevelCompositeReflectivity", 0, True),
    (11, 0): _Product("MergedBaseReflectivityQC", 0, True),
    (11, 1): _Product("MergedReflectivityComposite", 0, True),
    (11, 2): _Product("MergedReflectivityQComposite", 0, True),
    (11, 3): _Product("MergedBaseReflectivity", 0, True),
}
_FORECAST = 13, 0  # ANC_FinalForecast


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is GRIB2 of the discipline of MRMS."""
    start = grib.find_start(head)
    return start is not None and head[start + 6 : start + 8] == bytes([DISCIPLINE, 2])


def read(path: Path) -> xr.DataArray:
    """Read all messages of one product as a precipitation field; the time of an amount is the END of its interval.

    Raises
    ------
    ForecastFileError
        If it is the reflectivity forecast.
    ReadError
        If it holds another product than those of rain or reflectivity, or is damaged.
    """
    grids: dict[tuple[Any, ...], grib.GribGrid] = {}
    return build_field(path, [_read_frame(message, path, grids) for message in grib.read_messages(path)])


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the times of the messages, without their values."""
    messages = [message for message in grib.read_messages(path) if _find_product(message, path)]
    return np.sort([grib.reference_time(message) for message in messages])


def _read_frame(message: Any, path: Path, grids: dict[tuple[Any, ...], grib.GribGrid]) -> Frame:
    product = _find_product(message, path)
    values = grib.read_values(message, path)
    interval = np.timedelta64(product.minutes, "m") if product.minutes else None
    attrs = {"source": f"MRMS {product.name}", "institution": "NOAA National Severe Storms Laboratory"}
    if product.reflectivity:
        attrs["z_r_relation"] = f"Z = {Z_R[0]:g} R^{Z_R[1]:g}"
        rate = _rate_of_reflectivity(values)
    else:
        values[values < 0] = np.nan
        rate = values if interval is None else rate_from_accumulation(values, interval)
    return Frame(
        product.name, grib.reference_time(message), interval, rate, grib.read_grid(message, path, grids), attrs
    )


def _find_product(message: Any, path: Path) -> _Product:
    number = int(message["parameterCategory"]), int(message["parameterNumber"])
    if int(message["discipline"]) != DISCIPLINE:
        raise ReadError(path, f"a message of discipline {message['discipline']} among those of MRMS")
    if number == _FORECAST:
        raise ForecastFileError(path, "+60 min, MRMS ANC_FinalForecast")
    if number not in _PRODUCTS:
        raise ReadError(
            path,
            f"MRMS category and number {number}, no rain or reflectivity near the ground. Give PrecipRate (6, 1), an "
            "amount such as RadarOnly_QPE_01H (6, 2) or MultiSensor_QPE_01H_Pass2 (6, 37), or a composite such as "
            "MergedReflectivityQCComposite (10, 0)",
        )
    return _PRODUCTS[number]


def _rate_of_reflectivity(dbz: Array) -> Array:
    seen = np.where(dbz < _NO_ECHO, dbz.dtype.type(np.nan), dbz)
    return np.asarray(rate_from_dbz(seen, *Z_R), np.float32)  # 0 where the signal is below the detectable
