"""KNMI radar composites (rain amount or reflectivity) in KNMI's own HDF5 layout.

Roozekrans and Holleman (2003), KNMI HDF5 Data Format Specification, v3.5, KNMI internal report IR 2003-05. The file
states everything needed: calibration formula, codes for missing values, start and end of the interval, projection, and
the position of the upper left corner. Lengths are in km, until 2019 including the ellipsoid of the projection.

The real-time product (RAD_NL25_RAC_RT) has images of quality beside the amount; the forecast (RAD_NL25_RAC_FM,
RAD_NL25_PCP_FM) has an image for each lead time, the first of which is the analysis.

Reflectivity is converted to rain rate by Z = 200 R^1.6 (Marshall and Palmer), as at KNMI.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.netcdf import HDF5_MAGIC, decode_text, open_hdf5
from hybridcast.core.readers import read_bytes
from hybridcast.core.types import MINUTE, Array, Doubles, Mask
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar._odim_times import describe_leads
from hybridcast.radar._rates import decode_dataset, limit_rates

NAME = "knmi-hdf5"
DESCRIPTION = "KNMI (Netherlands) radar composite, rain amount or reflectivity, HDF5"

Z_R = 200.0, 1.6
_GROUPS = "overview", "geographic", "image1"
#: Quantities that are rain: ACCUMULATED_PRECIPITATION_[MM] until 2019, PRECIP_[MM] since, REFLECTIVITY_[DBZ].
_RAIN = re.compile(r"(?:ACCUMULATED_)?PRECIP(?:ITATION)?_?\[MM\]|REFLECTIVITY_?\[DBZ\]")
_FORECAST_PRODUCT = re.compile(r"_FM(_|$)|FORECAST|NOWCAST", re.IGNORECASE)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_CORNER_TOLERANCE = 2000.0  # m; the file's corners are rounded to 0.001 degrees
_LENGTHS = {"a", "b", "R", "x_0", "y_0"}  # of a PROJ string


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file, possibly damaged, is HDF5 with the groups of KNMI."""
    if not head.startswith(HDF5_MAGIC):
        return False
    try:
        with open_hdf5(path) as file:
            return all(group in file for group in _GROUPS)
    except ReadError:
        data = read_bytes(path)
        return all(group.encode() in data for group in _GROUPS)


def read(path: Path) -> xr.DataArray:
    """Read one composite as a precipitation field; its time is the END of the accumulation interval.

    Raises
    ------
    ForecastFileError
        If the images are forecasts. If the first is the analysis, and marks what was not observed, it is read, and a
        warning names those left out.
    """
    with open_hdf5(path) as file:
        image, start, end, forecasts = _select_image(path, file)
        attrs: dict[str, Any] = {
            "source": f"KNMI radar composite {decode_text(image.attrs.get('image_product_name', b''))}".strip(),
            "institution": "Royal Netherlands Meteorological Institute (KNMI)",
        }
        to_rate = _choose_conversion(path, _read_quantity(image), end - start, attrs)
        calibration = dict(image["calibration"].attrs)
        gain, offset = _parse_formula(path, decode_text(calibration["calibration_formulas"]))

        def convert(codes: NDArray[Any]) -> Array:
            rate = to_rate(codes * np.float32(gain) + np.float32(offset))
            rate[_find_missing(codes, calibration) | (rate < 0)] = np.nan
            return rate

        rate = decode_dataset(image["image_data"], convert)
        x, y, crs = _read_grid(path, file["geographic"], rate.shape)
    if forecasts and np.isfinite(rate).all():
        raise ForecastFileError(path, f"{forecasts}; its first image does not tell what was not observed from dry")
    return precipitation(limit_rates(rate, attrs), time=end, y=y, x=x, crs=crs, attrs=attrs)


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the time of the composite without decoding it."""
    with open_hdf5(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # they come when the file is read
        return np.array([_select_image(path, file).end])


# --- images -----------------------------------------------------------------------------------------------------


class _Shown(NamedTuple):
    """Image that is read."""

    image: Any
    """Group of the image."""
    start: np.datetime64
    """Start of what it shows."""
    end: np.datetime64
    """End of what it shows."""
    forecasts: str
    """Lead times of the other images of the same quantity, as text."""


def _select_image(path: Path, file: Any) -> _Shown:
    """Return the image of rain; images of quality are passed over, and those of forecasts left out."""
    images = _list_rain(path, file)
    overview = file["overview"].attrs
    start, end = (_parse_time(path, decode_text(overview[f"product_datetime_{which}"])) for which in ("start", "end"))
    if len(images) == 1:
        _refuse_forecast(path, images[0], end)
        return _Shown(images[0], start, end, "")
    valid = _read_valid_times(path, images)
    leads = [float((time - start) / MINUTE) for time in valid]
    if leads[0] > 0:
        raise ForecastFileError(path, describe_leads(leads))
    forecasts = describe_leads(leads[1:])
    warnings.warn(f"{path}: forecasts ({forecasts}) left out, the analysis is read", InputWarning, stacklevel=2)
    return _Shown(images[0], valid[0] - np.diff(valid).min(), valid[0], forecasts)  # amounts are those of a step


def _refuse_forecast(path: Path, image: Any, end: np.datetime64) -> None:
    """Raise `ForecastFileError` if the only image is valid later than the product, or of a product of forecasts."""
    stamp = decode_text(image.attrs.get("image_datetime_valid", b""))
    lead = (_parse_time(path, stamp) - end) / MINUTE if stamp else None
    if lead is not None and lead > 0:
        raise ForecastFileError(path, describe_leads([float(lead)]))
    product = decode_text(image.attrs.get("image_product_name", b""))
    if lead is None and _FORECAST_PRODUCT.search(product):
        raise ForecastFileError(path, f"its product is {product}, and its image states no time")


def _list_rain(path: Path, file: Any) -> list[Any]:
    """Return the images of the first quantity that is rain, in the order of their numbers."""
    numbers = sorted(int(match[1]) for name in file if (match := re.fullmatch(r"image(\d+)", name)))
    images = [file[f"image{number}"] for number in numbers]
    quantities = [_read_quantity(image) for image in images]
    rain = next((quantity for quantity in quantities if _RAIN.match(quantity)), None)
    if rain is None:
        raise ReadError(path, f"holds {', '.join(map(repr, quantities))}, neither an amount of rain nor reflectivity")
    return [image for image, quantity in zip(images, quantities, strict=True) if quantity == rain]


def _read_quantity(image: Any) -> str:
    return decode_text(image.attrs.get("image_geo_parameter", b"")).upper()


def _read_valid_times(path: Path, images: list[Any]) -> NDArray[np.datetime64]:
    stamps = [decode_text(image.attrs.get("image_datetime_valid", b"")) for image in images]
    if not all(stamps):
        raise ReadError(
            path, f"holds {len(images)} images of {_read_quantity(images[0])} without their times; a composite has one"
        )
    valid = np.array([_parse_time(path, stamp) for stamp in stamps])
    if (np.diff(valid) <= np.timedelta64(0)).any():
        raise ReadError(path, f"its {len(images)} images of {_read_quantity(images[0])} are not in the order of time")
    return valid


def _choose_conversion(
    path: Path, quantity: str, interval: np.timedelta64, attrs: dict[str, Any]
) -> Callable[[Array], Array]:
    """Return the conversion of the quantity to mm h-1, and describe it in `attrs`."""
    if quantity.startswith("REFLECTIVITY"):
        attrs["z_r_relation"] = f"Z = {Z_R[0]:g} R^{Z_R[1]:g}"
        return functools.partial(rate_from_dbz, a=Z_R[0], b=Z_R[1])
    if interval <= np.timedelta64(0):
        raise ReadError(path, f"rain is summed over {interval / MINUTE:g} min, which is no interval")
    attrs["accumulation_interval_minutes"] = float(interval / MINUTE)
    return functools.partial(rate_from_accumulation, interval=interval)


def _find_missing(raw: NDArray[Any], calibration: dict[str, Any]) -> Mask:
    """Return the cells outside coverage. A missing-value code of 0 (8-bit reflectivity) means no echo, which is dry."""
    missing = raw == float(np.ravel(calibration["calibration_out_of_image"])[0])
    code = float(np.ravel(calibration.get("calibration_missing_data", 0))[0])
    if code != 0:
        missing |= raw == code
    return np.asarray(missing)


def _parse_formula(path: Path, formula: str) -> tuple[float, float]:
    """Return gain and offset of a formula like ``GEO=0.01*PV+0.0`` or ``GEO = 0.500000 * PV + -31.500000``."""
    number = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
    match = re.fullmatch(rf"GEO={number}\*PV\+?{number}", formula.replace(" ", ""))
    if match is None:
        raise ReadError(path, f"the calibration formula {formula!r} is not GEO=a*PV+b")
    return float(match[1]), float(match[2])


def _parse_time(path: Path, stamp: str) -> np.datetime64:
    """Parse a time like ``26-AUG-2010;00:05:00.000``, whose months are English in any locale."""
    match = re.fullmatch(r"(\d{2})-([A-Z]{3})-(\d{4});(\d{2}:\d{2}:\d{2}(?:\.\d+)?)", stamp.strip())
    if match is None or match[2] not in _MONTHS:
        raise ReadError(path, f"the time {stamp!r} is not like 26-AUG-2010;00:05:00.000")
    return np.datetime64(f"{match[3]}-{_MONTHS.index(match[2]) + 1:02d}-{match[1]}T{match[4]}", "ns")


def _read_grid(path: Path, geographic: Any, shape: tuple[int, ...]) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres in metres (rows run from north to south) and the CRS."""
    attrs = geographic.attrs
    stated = int(attrs["geo_number_rows"][0]), int(attrs["geo_number_columns"][0])
    if stated != shape:
        raise ReadError(path, f"the image is {shape}, but {stated} rows and columns are stated")
    if decode_text(attrs.get("geo_pixel_def", b"LU")) != "LU":
        raise ReadError(path, "offsets are not those of the left upper corner of cells (geo_pixel_def LU)")
    metres = 1000.0 if decode_text(attrs["geo_dim_pixel"]).upper().startswith("KM") else 1.0
    edges: list[Doubles] = []
    for axis, count in (("column", shape[1]), ("row", shape[0])):
        size = float(attrs[f"geo_pixel_size_{'x' if axis == 'column' else 'y'}"][0])
        edges.append((float(attrs[f"geo_{axis}_offset"][0]) + np.arange(count + 1.0)) * (size * metres))
    crs = _parse_crs(decode_text(geographic["map_projection"].attrs["projection_proj4_params"]))
    _check_corners(path, attrs, crs, *edges)
    x, y = ((edge[:-1] + edge[1:]) / 2 for edge in edges)
    return x, y, crs


def _parse_crs(proj: str) -> pyproj.CRS:
    """Return the CRS, in metres, of a PROJ string with ellipsoid and offsets in km, possibly without plus signs."""
    words = dict(word.lstrip("+").partition("=")[::2] for word in proj.split())
    words.pop("units", None)  # with an ellipsoid in metres, as since 2019, only the unit of the offsets
    kilometres = float(words.get("a", words.get("R", "6378137"))) < 10_000
    if kilometres:
        words.update({key: repr(float(words[key]) * 1000.0) for key in _LENGTHS & set(words)})
    parts = [f"+{key}={value}" if value else f"+{key}" for key, value in words.items()]
    return pyproj.CRS(" ".join([*parts, "+units=m +no_defs +type=crs"]))


def _check_corners(path: Path, attrs: Any, crs: pyproj.CRS, x_edges: Doubles, y_edges: Doubles) -> None:
    """Compare the grid with the corners in the file: lower left, upper left, upper right, lower right."""
    if "geo_product_corners" not in attrs:
        return
    lon, lat = np.reshape(attrs["geo_product_corners"], (4, 2)).astype(np.float64).T
    x, y = pyproj.Proj(crs)(lon, lat)
    left, right = x_edges[[0, -1]]
    top, bottom = y_edges[[0, -1]]
    error = np.hypot(x - [left, left, right, right], y - [bottom, top, top, bottom]).max()
    if not error < _CORNER_TOLERANCE:
        raise ReadError(path, f"its corners and its projection differ by {error / 1000:.1f} km")
