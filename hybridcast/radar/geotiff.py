"""GeoTIFF with one frame in each file, or in each band.

GeoTIFF has no standard for units and times, so they are searched where writers usually put them:

- units: the band's unit; else a tag ``units`` (in any case) of the band or the file, or GDAL's ``GRIB_UNIT``; else the
  text in brackets at the end of the band's description, such as "rain rate [mm/h]"; else the quantity of ODIM in a tag
  or in the name of an OPERA file (``OPERA@20240601T1200@0@RATE.tiff``). Accepted are a rate in any unit, an amount with
  its interval, and dBZ (converted by Z = 200 R^1.6).
- interval of an amount: a tag ``accumulation_interval_minutes``, or one such as FMI's ``Accumulation time`` with its
  unit; 60 minutes for the ACRR of OPERA.
- time (UTC; the end of the interval of an amount): a tag ``time`` or ``valid_time`` of the band, or, with one band, of
  the file; those of GDAL's converters from GRIB, NetCDF and ODIM HDF5; else the name of the file; else FMI's
  ``Observation time``; else ``TIFFTAG_DATETIME``, with a warning, as it often is the time of writing.
- packed numbers: scale and offset of the band, or tags ``gain`` and ``offset``, as FMI and converters from ODIM HDF5
  write them; missing is what GDAL masks and the tag ``nodata``; dry is the tag ``undetect``, and in files with OPERA's
  no-data value its code for undetected echo.

FMI: https://en.ilmatieteenlaitos.fi/radar-data-on-aws-s3. OPERA: ODIM 2.4, and EUMETNET's Open Radar Data.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.cf_times import decode
from hybridcast.core.compression import uncompressed_file
from hybridcast.core.crs import metres_per_unit, to_metres, unroll_longitude
from hybridcast.core.extras import extra
from hybridcast.core.field import precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.intervals import read_interval_attributes
from hybridcast.core.times import as_datetime64
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import MINUTE, Array, Mask
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar._forecast_attributes import WORDS, read_references, refuse_products, refuse_stated_leads
from hybridcast.radar._gdal_tags import Tags
from hybridcast.radar._missing import LOWEST_DBZ
from hybridcast.radar._rates import ROUNDING, Z_R_RELATION, Convert, check_rates
from hybridcast.radar._statements import FACTOR_IN_WORDS, refuse_described_band, refuse_zones
from hybridcast.radar._units import RainUnits, read_rain_units

NAME = "geotiff"
DESCRIPTION = "GeoTIFF, one frame a file or a band, with units in its tags"

_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

_OPERA_NAME = re.compile(r"^OPERA@\d{8}T\d{4}@\d+@(?P<quantity>[A-Z]+)\.tiff?$", re.IGNORECASE)
_OPERA_MISSING, _OPERA_DRY = -9999000.0, -8888000.0
_QUANTITIES = {"RATE": "mm h-1", "ACRR": "mm", **dict.fromkeys(("DBZH", "DBZV", "TH", "TV"), "dBZ")}
#: Name of a forecast as the exporter of pysteps gives it: prefix, time of issue, lead time.
_PYSTEPS_NAME = re.compile(r"_\d{12}_(?P<lead>\d{1,4})\.tiff?$")
_LEADS = {"grib_forecast_seconds": "s", "forecast_period": "s", "lead_time": "min", "leadtime": "min"}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is TIFF, by its magic number."""
    return path.is_file() and head.startswith(_MAGICS)


def read(path: Path) -> xr.DataArray:
    """Read all bands of one file as frames; no-data values and masks are NaN."""
    with _open(path) as file:
        return _read(file, None, path)


def read_amounts(path: Path, interval: np.timedelta64) -> xr.DataArray:
    """Do as `read`; `interval` is that of amounts."""
    with _open(path) as file:
        return _read(file, interval, path)


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the times of all bands."""
    with _open(path) as file:
        _refuse_picture(file, path)
        return np.array([_read_tags(file, band, path)[1] for band in _list_bands(file)], "M8[ns]")


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    with extra("geotiff", "GeoTIFF"):
        import rasterio

    try:
        with uncompressed_file(path) as plain, rasterio.open(plain) as file:
            yield file
    except rasterio.errors.RasterioError as error:
        raise ReadError(path, f"damaged, or no GeoTIFF ({error})") from error


def _read_tags(file: Any, band: int, path: Path) -> tuple[Tags, np.datetime64]:
    """Return the tags of a band and its time; `ForecastFileError` if they are those of a forecast."""
    tags = Tags(file, band)
    _refuse_forecast(file, band, tags, path)
    time = _read_time(file, band, tags, path)
    _refuse_later(tags, time, path)
    refuse_zones(tags.attributes(), path)
    return tags, time


def _read(file: Any, given: np.timedelta64 | None, path: Path) -> xr.DataArray:
    _refuse_picture(file, path)
    transform = _read_transform(file, path)
    crs, scale = _read_crs(file)
    x = (transform.c + transform.a * (np.arange(file.width) + 0.5)) * scale
    frames = [_read_frame(file, band, given, path) for band in _list_bands(file)]
    return precipitation(
        np.stack([frame.rate for frame in frames]),
        time=[frame.time for frame in frames],
        y=(transform.f + transform.e * (np.arange(file.height) + 0.5)) * scale,
        x=unroll_longitude(x) if crs is not None and crs.is_geographic else x,
        crs=crs,
        attrs={**_read_attributes(file), **_common_interval(frames, path), **_common_relation(frames, path)},
    )


def _read_transform(file: Any, path: Path) -> Any:
    transform = file.transform
    if transform.is_identity:
        raise ReadError(
            path,
            "no georeference: it has no transform. Write one, e.g. with rasterio.open(path, 'r+') and .transform =, or "
            f"rio edit-info --transform '[...]' {path}",
        )
    if transform.b != 0 or transform.d != 0:
        raise ReadError(path, f"its rows do not run along x; warp it first, e.g. rio warp {path} NEW.tif --dst-crs ...")
    return transform


def _read_crs(file: Any) -> tuple[pyproj.CRS | None, float]:
    """Return the CRS, with axes in metres, and the factor from the coordinates of the file to metres."""
    if file.crs is None:
        return None, 1.0
    crs = pyproj.CRS.from_wkt(file.crs.to_wkt())
    return to_metres(crs), metres_per_unit(crs)


def _read_attributes(file: Any) -> dict[str, str]:
    tags = {key.lower(): value for key, value in file.tags().items()}
    return {name: tags[name] for name in ("source", "institution", "license", "references") if name in tags}


def _advise(path: Path, *tags: str) -> str:
    """Return how to add tags, in Python and on the command line."""
    options = " ".join(f"--tag {tag}" for tag in tags)
    return f"e.g. with rasterio.open(path, 'r+') and update_tags({', '.join(tags)}), or rio edit-info {options} {path}"


# --- bands ----------------------------------------------------------------------------------------------------


def _list_bands(file: Any) -> list[int]:
    """Return the bands that hold values: all but alpha, which is the mask of the others."""
    kinds = file.colorinterp  # asks the library about each band, and a damaged file may announce thousands
    return [band for band, kind in zip(file.indexes, kinds, strict=True) if kind.name != "alpha"]


def _refuse_picture(file: Any, path: Path) -> None:
    colours = {interpretation.name for interpretation in file.colorinterp}
    coloured = "palette" in colours and Tags(file, 1).number("gain", "scale_factor") is None
    if coloured or ({"red", "green", "blue"} <= colours and not _has_times(file)):
        raise ReadError(path, "a picture: its bands are colours, not values. Give the file with the values")


def _has_times(file: Any) -> bool:
    """Return whether there are several bands, and one of the first ten has a time."""
    return file.count > 1 and any(_find_time(Tags(file, band)) for band in file.indexes[:10])


class _Frame(NamedTuple):
    rate: Array
    time: np.datetime64
    interval: np.timedelta64 | None
    kind: str


def _read_frame(file: Any, band: int, given: np.timedelta64 | None, path: Path) -> _Frame:
    tags, time = _read_tags(file, band, path)
    units = _read_units(file, band, tags, path)
    interval = _read_interval(tags, [units.interval, given], path) if units.kind == "amount" else None
    _refuse_zero_as_missing(file, band, tags, units, path)
    _refuse_description(file, band, tags, path)

    def convert(raw: NDArray[Any]) -> NDArray[np.float32]:
        return _convert(_unpack(file, band, raw, tags, units, path), units, interval, path)

    packed = file.read(band, masked=True)
    raw, masked = np.asarray(packed.data), np.ma.getmaskarray(packed)
    _refuse_undeclared_code(file, band, raw, masked, tags, path)
    return _Frame(check_rates(_convert_present(raw, masked, convert), path), time, interval, units.kind)


def _convert_present(raw: NDArray[Any], masked: Mask, convert: Convert) -> Array:
    """Return the rates of the values that are not masked, NaN elsewhere; short integers through a table."""
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize > 2:
        unmasked = raw.astype(np.promote_types(raw.dtype, np.float32))
        unmasked[masked] = np.nan
        return np.asarray(convert(unmasked), np.float32)
    codes = raw.view(f"u{raw.dtype.itemsize}")
    present = np.flatnonzero(np.bincount(codes[~masked])).astype(codes.dtype)
    table = np.full(256**raw.dtype.itemsize, np.nan, np.float32)
    table[present] = convert(present.view(raw.dtype))
    rates = np.asarray(table[codes])
    rates[masked] = np.nan
    return rates


def _common_interval(frames: list[_Frame], path: Path) -> dict[str, float]:
    intervals = {frame.interval for frame in frames if frame.interval is not None}
    if len(intervals) > 1:
        raise ReadError(path, "its bands are amounts in intervals of different lengths. Give one length alone")
    return {"accumulation_interval_minutes": float(intervals.pop() / MINUTE)} if intervals else {}


def _common_relation(frames: list[_Frame], path: Path) -> dict[str, str]:
    """Return the relation of reflectivity to rain, if the bands are reflectivities."""
    kinds = {frame.kind for frame in frames}
    if len(kinds) > 1:
        raise ReadError(path, f"its bands are of different quantities ({', '.join(sorted(kinds))}). Give one alone")
    return {"z_r_relation": Z_R_RELATION} if kinds == {"reflectivity"} else {}


def _refuse_forecast(file: Any, band: int, tags: Tags, path: Path) -> None:
    """Raise `ForecastFileError` if tags, the description of the band, or the name of the file state a lead time."""
    for name, unit in _LEADS.items():
        found = tags.find(name)
        if found is not None and found.value.split()[0].strip("+").lstrip("0.") not in ("", "s", "min"):
            shown = found.value if found.value[-1:].isalpha() else f"{found.value} {unit}"
            raise ForecastFileError(path, f"tag {name.upper()} = {shown}")
    attrs = _strip_prefixes(tags)
    if refuse_stated_leads([attrs], path) or "grib_forecast_seconds" in attrs:
        return
    refuse_products(attrs, path)
    described = file.descriptions[band - 1] or ""
    if WORDS.search(described):
        raise ForecastFileError(path, f"band {band} is described as {described!r}")


def _strip_prefixes(tags: Tags) -> dict[str, str]:
    """Return tags under the names of the original, without those that GDAL's converters add before them."""
    return {re.sub(r"^(netcdf_dim_|nc_global#|.*#)", "", str(name)): value for name, value in tags.attributes().items()}


def _refuse_later(tags: Tags, time: np.datetime64, path: Path) -> None:
    """Raise `ForecastFileError` if the time of issue that tags state is before the time of the frame."""
    issued = list(read_references(_strip_prefixes(tags), path))
    start = tags.find("grib_ref_time")
    if start is not None and (seconds := re.match(r"\d+", start.value)) is not None:
        issued.append(np.datetime64(int(seconds[0]), "s"))
    if any(time > issue for issue in issued):
        raise ForecastFileError(path, f"+{(time - issued[0]) / MINUTE:g} min")


def _refuse_description(file: Any, band: int, tags: Tags, path: Path) -> None:
    """Raise `ReadError` if the band is described as a statistic, or with a factor in words that no scale states."""
    described = file.descriptions[band - 1] or ""
    refuse_described_band(described, band, path)
    scaled = file.scales[band - 1] != 1 or tags.number("gain", "scale_factor") is not None
    if FACTOR_IN_WORDS.search(described) and not scaled:
        raise ReadError(
            path,
            f"band {band} is described as {described!r}, a factor that may have been applied or not. Write it as the "
            f"scale of the band, rasterio.open(path, 'r+').scales = (0.01,), or correct the description",
        )


# --- values ---------------------------------------------------------------------------------------------------


def _unpack(
    file: Any, band: int, raw: NDArray[Any], tags: Tags, units: RainUnits, path: Path
) -> NDArray[np.floating[Any]]:
    """Return physical values, NaN where missing, and the value of no rain where nothing was detected."""
    missing = _equals(raw, tags.number("nodata", "_fillvalue", "missing_value"))
    gain, offset = _read_packing(file, band, tags, path)
    values = np.asarray(raw * np.float32(gain) + np.float32(offset))
    values[_find_dry(file, band, raw, tags)] = -np.inf if units.kind == "reflectivity" else 0.0
    values[missing] = np.nan
    return values


def _equals(raw: NDArray[Any], code: float | None) -> Mask:
    if code is None:
        return np.zeros(raw.shape, bool)
    return np.asarray(np.isnan(raw) if np.isnan(code) else raw == code)


def _find_dry(file: Any, band: int, raw: NDArray[Any], tags: Tags) -> Mask:
    undetect = tags.number("undetect")
    if undetect is None and file.nodatavals[band - 1] == _OPERA_MISSING:
        undetect = _OPERA_DRY
    return _equals(raw, undetect)


def _read_packing(file: Any, band: int, tags: Tags, path: Path) -> tuple[float, float]:
    """Return gain and offset, of the band or of tags; `ReadError` if they differ or may have been applied already."""
    of_band = file.scales[band - 1], file.offsets[band - 1]
    gain, offset = tags.number("gain", "scale_factor"), tags.number("offset", "add_offset")
    of_tags = 1.0 if gain is None else gain, offset or 0.0
    if of_tags == (1.0, 0.0) or np.allclose(of_tags, of_band, rtol=1e-6):
        return of_band
    if of_band != (1.0, 0.0) or np.dtype(file.dtypes[band - 1]).kind == "f":
        raise ReadError(
            path,
            f"its tags state gain {of_tags[0]:g} and offset {of_tags[1]:g}, its band {of_band[0]:g} and {of_band[1]:g} "
            f"for {file.dtypes[band - 1]}, so whether they were applied already is not known. Remove the tags, or "
            "set the scale of the band and make them equal",
        )
    return of_tags


def _refuse_undeclared_code(file: Any, band: int, raw: NDArray[Any], masked: Mask, tags: Tags, path: Path) -> None:
    """Raise `ReadError` if the highest integer occurs where no code for missing values is declared: a usual code."""
    if (
        raw.dtype.kind not in "iu"
        or masked.any()
        or file.nodatavals[band - 1] is not None
        or tags.number("nodata") is not None
    ):
        return
    highest = np.iinfo(raw.dtype).max
    if (raw == highest).any():
        raise ReadError(
            path,
            f"holds {highest}, the highest number of {raw.dtype}: a code for missing values? Declare it: "
            f"rasterio.open(path, 'r+').nodata = {highest}, or rio edit-info --nodata {highest} {path}",
        )


def _refuse_zero_as_missing(file: Any, band: int, tags: Tags, units: RainUnits, path: Path) -> None:
    zero = file.nodatavals[band - 1] == 0 and file.offsets[band - 1] == 0 and not tags.number("offset", "add_offset")
    if zero and units.kind != "reflectivity" and tags.number("undetect") is None:
        raise ReadError(
            path,
            "declares 0 as missing (nodata), so that dry and missing cannot be told apart. If 0 is dry, remove it: "
            f"rio edit-info --unset-nodata {path}",
        )


def _convert(
    values: NDArray[np.floating[Any]], units: RainUnits, interval: np.timedelta64 | None, path: Path
) -> NDArray[np.float32]:
    if units.kind == "reflectivity":
        _refuse_low(values, LOWEST_DBZ, "dBZ", path)
        return np.asarray(rate_from_dbz(values), np.float32)
    _refuse_low(values, -ROUNDING, "in its units", path)
    scaled = (values * units.factor).astype(np.float32)
    return scaled if interval is None else rate_from_accumulation(scaled, interval)


def _refuse_low(values: NDArray[np.floating[Any]], lowest: float, unit: str, path: Path) -> None:
    known = values[np.isfinite(values)]
    low = known.min() if known.size else lowest
    if low < lowest:
        raise ReadError(
            path,
            f"holds {low:g} {unit}, a code for missing values or for dry ones? Declare it: "
            f"rio edit-info --nodata {low:g} {path}, if it is missing and no other no-data value is declared; "
            f"rio edit-info --tag undetect={low:g} {path}, if it is dry; or write NaN instead of it",
        )


# --- units and intervals --------------------------------------------------------------------------------------


def _read_units(file: Any, band: int, tags: Tags, path: Path) -> RainUnits:
    text = _find_units(file, band, tags, path)
    if text is None:
        raise ReadError(
            path, f"does not state its units. Add a tag, {_advise(path, 'units=' + repr('mm h-1'))}, 'mm', or 'dBZ'"
        )
    units = read_rain_units(_QUANTITIES.get(text.upper(), text))
    if units is None:
        raise ReadError(path, f"units {text!r} are no rain rate; mm h-1, mm or dBZ are, so convert it to one of these")
    return units


def _find_units(file: Any, band: int, tags: Tags, path: Path) -> str | None:
    if file.units[band - 1]:
        return str(file.units[band - 1])
    stated = tags.find("units", "unit", "unittype", "grib_unit")
    if stated is not None:
        return stated.value.strip("[]")
    in_brackets = re.search(r"[\[(]([^\])]+)[\])]\s*$", file.descriptions[band - 1] or "")
    if in_brackets:
        return in_brackets[1]
    quantity, opera = tags.find("quantity"), _OPERA_NAME.match(path.name)
    if quantity is not None:
        return quantity.unit or _QUANTITIES.get(quantity.value.upper())
    return _QUANTITIES.get(opera["quantity"].upper()) if opera else None


def _read_interval(tags: Tags, known: list[np.timedelta64 | None], path: Path) -> np.timedelta64:
    stated = [length for _, length in read_interval_attributes(tags.attributes())]
    ends = [text for which in ("start", "end") if (text := _odim_time(tags, which)) is not None]
    if len(ends) == 2:
        stated.append(_parse_time(ends[1], path) - _parse_time(ends[0], path))
    stated += [length for length in known if length is not None]
    minutes = sorted({float(length / MINUTE) for length in stated})
    if len(minutes) > 1:
        raise ReadError(path, f"states different intervals of its amounts: {minutes} min. Correct one of them")
    if stated:
        return stated[0]
    if _OPERA_NAME.match(path.name):
        return np.timedelta64(60, "m")
    missing = "holds an amount, but not the time it fell in. "
    raise ReadError(
        path,
        f"{missing}Give interval='5min', or add a tag, {_advise(path, 'accumulation_interval_minutes=5')}",
        cli_reason=f"{missing}Give --radar-interval, such as 5min",
    )


# --- times ----------------------------------------------------------------------------------------------------


def _find_time(tags: Tags) -> str | None:
    stated = tags.find("time", "valid_time")
    if stated is not None:
        return stated.value
    valid = tags.number("grib_valid_time")
    return _odim_time(tags, "end") if valid is None else str(np.datetime64(int(valid), "s"))


def _find_netcdf_time(tags: Tags, path: Path) -> np.datetime64 | None:
    """Return the time that GDAL writes into the bands of a NetCDF file that it converts."""
    number, units = tags.number("netcdf_dim_time"), tags.find("time#units")
    if number is None or units is None:
        return None
    calendar = tags.find("time#calendar")
    attrs = {"units": units.value, "calendar": "standard" if calendar is None else calendar.value}
    time = decode(xr.Dataset({"time": ((), number, attrs)}), path)["time"]
    return np.datetime64(time.values.item(), "ns") if time.dtype.kind == "M" else None


def _odim_time(tags: Tags, which: str) -> str | None:
    date, time = tags.find(f"{which}date"), tags.find(f"{which}time")
    return None if date is None or time is None else date.value + time.value


def _read_time(file: Any, band: int, tags: Tags, path: Path) -> np.datetime64:
    stated = _find_time(tags)
    if stated is not None:
        return _parse_time(stated, path)
    converted = _find_netcdf_time(tags, path)
    if converted is not None:
        return converted
    if len(_list_bands(file)) > 1:
        raise ReadError(
            path,
            f"{file.count} bands without a time each. If they are times, add tags, e.g. with rasterio.open(path, 'r+') "
            "and update_tags(1, time='2020-01-01T00:05'); if they are members or quantities, give one of them, "
            f"e.g. rio stack {path} --bidx {band} -o NEW.tif",
        )
    return _time_in_name(path) or _time_of_writing(tags, path)


def _time_in_name(path: Path) -> np.datetime64 | None:
    forecast = _PYSTEPS_NAME.search(path.name)
    if forecast is not None:
        raise ForecastFileError(
            path, f"its name ends with a time of issue and +{int(forecast['lead'])} min, as pysteps'"
        )
    return parse_time_in_name(path.name)


def _time_of_writing(tags: Tags, path: Path) -> np.datetime64:
    observed, written = tags.find("observation time"), tags.find("tifftag_datetime")
    if observed is not None:
        return _parse_time(observed.value, path)
    if written is None:
        example = "time=" + repr("2020-01-01T00:05")
        raise ReadError(
            path, f"no time in its tags nor its name. Name it like rain_202001010005.tif, or {_advise(path, example)}"
        )
    warnings.warn(
        f"{path}: its time is that of TIFFTAG_DATETIME, {written.value}, which often is the time of writing. Add a tag "
        "time if it is not the time of the frame",
        InputWarning,
        stacklevel=2,
    )
    return _parse_time(written.value, path)


def _parse_time(text: str, path: Path) -> np.datetime64:
    forms = ("%Y:%m:%d %H:%M:%S", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
    if not re.fullmatch(r"\d{10}", text):  # seconds since 1970 would be read as a date
        for parse in (datetime.fromisoformat, *(lambda t, form=form: datetime.strptime(t, form) for form in forms)):
            try:
                return as_datetime64(parse(text))
            except ValueError:
                continue
    raise ReadError(
        path,
        f"its time {text!r} is neither like 2020-01-01T00:05 nor like 2020:01:01 00:05:00. Correct it, "
        f"{_advise(path, 'time=' + repr('2020-01-01T00:05'))}",
    )
