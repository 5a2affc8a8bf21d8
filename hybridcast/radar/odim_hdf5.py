"""Composites in ODIM HDF5, of OPERA and of national services: rate, amount or reflectivity.

Michelson et al. (2014 and later), EUMETNET OPERA weather radar information model for implementation with the HDF5 file
format (ODIM_H5), versions 2.0 to 2.4. This reader relies on the following rules of the standard:

- attributes of ``what`` and ``where`` apply to the groups below, unless repeated there (section 2.1);
- value = gain * raw + offset; ``nodata`` was not observed, ``undetect`` was observed and is dry (table 18);
- rows run from north to south; the corners are the outer corners of the grid (section 4.2);
- ACRR is accumulated from startdate and starttime to enddate and endtime.

Of several quantities the first of RATE, ACRR, DBZH is read. Reflectivity is converted to rain rate by the Z-R relation
in the file (``how`` zr_a, zr_b), otherwise by Z = 200 R^1.6 (Marshall and Palmer), as in OPERA's own rate product.
"""

from __future__ import annotations

import itertools
import re
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_accumulation, rate_from_dbz
from hybridcast.core.netcdf import HDF5_MAGIC, decode_text, open_hdf5
from hybridcast.core.readers import read_bytes
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE, Array, Doubles
from hybridcast.errors import InputWarning, ReadError
from hybridcast.radar._rates import limit_rates

NAME = "odim-hdf5"
DESCRIPTION = "OPERA and national composites in ODIM HDF5: rate, amount or reflectivity"

QUANTITIES = ("RATE", "ACRR", "DBZH")
Z_R = 200.0, 1.6
_MAPS = {"COMP", "IMAGE", "CVOL"}


class _Layer(NamedTuple):
    """One data group."""

    name: str
    """Path of the group, such as ``dataset1/data1``."""
    quantity: str
    """Quantity of the data, such as ``RATE``."""
    chain: tuple[Any, ...]
    """The groups in which its attributes may be found, the nearest first."""


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file, possibly damaged, is HDF5 that follows ODIM."""
    if not head.startswith(HDF5_MAGIC):
        return False
    try:
        with open_hdf5(path) as file:
            if "what" in file and "object" in file["what"].attrs:
                return True
            return decode_text(file.attrs.get("Conventions", b"")).startswith("ODIM_H5")
    except ReadError:
        return b"ODIM_H5" in read_bytes(path)


def read(path: Path) -> xr.DataArray:
    """Read all frames of one file as a precipitation field.

    The time of an amount is the END of its interval; the time of a rate or reflectivity is the nominal time of the
    file.
    """
    with open_hdf5(path) as file:
        _refuse_polar(path, file)
        layers = _select_frames(path, _list_layers(file))
        attrs = _read_origin(file)
        rates = [_read_rate(path, layer, attrs) for layer in layers]
        times = _read_times(path, layers)
        x, y, crs = _read_grid(path, layers[0], rates[0].shape)
    if any(rate.shape != rates[0].shape for rate in rates):
        raise ReadError(path, f"its {layers[0].quantity} frames differ in size")
    order = np.argsort(times)
    rate = np.stack([rates[index] for index in order])
    return precipitation(limit_rates(rate, attrs), time=times[order], y=y, x=x, crs=crs, attrs=attrs)


# --- selection of data ----------------------------------------------------------------------------------------


def _refuse_polar(path: Path, file: Any) -> None:
    kind = decode_text(file["what"].attrs.get("object", b"")) if "what" in file else ""
    if kind in {"PVOL", "SCAN", "AZIM", "ELEV", "RAY"}:
        raise ReadError(path, f"ODIM object {kind}: polar data of one radar, which are not on a map. Give a composite")
    if kind not in _MAPS:
        raise ReadError(path, f"ODIM object {kind!r} is no map of rain, which is one of {', '.join(sorted(_MAPS))}")


def _list_layers(file: Any) -> list[_Layer]:
    """Return all data groups, without quality groups."""
    found = []
    for dataset in _list_numbered(file, "dataset"):
        for data in _list_numbered(file[dataset], "data"):
            group = file[dataset][data]
            chain = (group, file[dataset], file)
            quantity = decode_text(_find_attribute(chain, "what", "quantity", b""))
            if "data" in group:
                found.append(_Layer(f"{dataset}/{data}", quantity, chain))
    return found


def _list_numbered(group: Any, name: str) -> list[str]:
    numbers = [match[1] for key in group if (match := re.fullmatch(rf"{name}(\d+)", key))]
    return [f"{name}{number}" for number in sorted(numbers, key=int)]


def _select_frames(path: Path, layers: list[_Layer]) -> list[_Layer]:
    """Select the layers of the preferred quantity, one for each time; further heights are left out."""
    quantity = next((q for q in QUANTITIES if any(layer.quantity == q for layer in layers)), None)
    if quantity is None:
        held = ", ".join(layer.quantity or "?" for layer in layers) or "nothing"
        raise ReadError(path, f"holds {held}, none of {', '.join(QUANTITIES)}")
    frames: dict[tuple[str, str], _Layer] = {}
    for layer in layers:
        if layer.quantity != quantity:
            continue
        end = tuple(decode_text(_find_attribute(layer.chain, "what", key, b"")) for key in ("enddate", "endtime"))
        first = frames.setdefault((end[0], end[1]), layer)
        if first is not layer:
            warnings.warn(
                f"{path}: {quantity} of {layer.name} left out, {first.name} is read", InputWarning, stacklevel=2
            )
    return list(frames.values())


# --- attributes -----------------------------------------------------------------------------------------------


def _find_attribute(chain: tuple[Any, ...], group: str, key: str, default: Any = None) -> Any:
    """Return an attribute from the nearest ``what``, ``where`` or ``how`` that has it."""
    for parent in chain:
        if group in parent and key in parent[group].attrs:
            return parent[group].attrs[key]
    return default


def _read_number(layer: _Layer, group: str, key: str, default: float | None = None) -> float | None:
    value = _find_attribute(layer.chain, group, key)
    return default if value is None else float(np.ravel(value)[0])


def _read_origin(file: Any) -> dict[str, Any]:
    source = decode_text(file["what"].attrs.get("source", b"unknown"))
    parts = dict(part.partition(":")[::2] for part in source.split(","))
    institution = "EUMETNET OPERA" if parts.get("ORG") == "247" else parts.get("CMT", source)
    return {"source": f"ODIM {source}", "institution": institution}


def _read_time(layer: _Layer, date: str, time: str) -> np.datetime64 | None:
    """Return the time in two attributes of ``what``; None if they are missing or malformed."""
    day, clock = (decode_text(_find_attribute(layer.chain, "what", key, b"")) for key in (date, time))
    if not (re.fullmatch(r"\d{8}", day) and re.fullmatch(r"\d{4}(\d{2})?", clock)):
        return None
    return as_datetime64(datetime.strptime(day + clock.ljust(6, "0"), "%Y%m%d%H%M%S"))


def _read_times(path: Path, layers: list[_Layer]) -> NDArray[np.datetime64]:
    """Return the time of each frame: nominal for one frame of a rate, otherwise the end of its interval."""
    nominal = len(layers) == 1 and layers[0].quantity != "ACRR"
    keys = ("date", "time") if nominal else ("enddate", "endtime")
    times = [_read_time(layer, *keys) for layer in layers]
    if any(time is None for time in times):
        raise ReadError(path, f"{' and '.join(keys)} are missing or not of the form YYYYMMDD and HHmmss")
    return np.array(times, dtype="datetime64[ns]")


# --- rain -----------------------------------------------------------------------------------------------------


def _read_rate(path: Path, layer: _Layer, attrs: dict[str, Any]) -> Array:
    """Return one layer in mm h-1; NaN where not observed or not a rate (negative, infinite), 0 where undetected."""
    raw = layer.chain[0]["data"][...]
    gain, offset = _read_number(layer, "what", "gain", 1.0), _read_number(layer, "what", "offset", 0.0)
    values = (raw * gain + offset).astype(np.float32)
    if layer.quantity == "ACRR":
        rate = rate_from_accumulation(values, _read_interval(path, layer, attrs))
    elif layer.quantity == "DBZH":
        a, b = (_read_number(layer, "how", f"zr_{key}") or default for key, default in zip("ab", Z_R, strict=True))
        attrs["z_r_relation"] = f"Z = {a:g} R^{b:g}"
        rate = rate_from_dbz(values, a, b)
    else:
        rate = values
    rate[(rate < 0) | np.isinf(rate)] = np.nan
    for code, meaning in (("undetect", 0.0), ("nodata", np.nan)):  # if both are the same code, it means unknown
        number = _read_number(layer, "what", code)
        if number is not None:
            rate[raw == (raw.dtype.type(number) if raw.dtype.kind == "f" else number)] = meaning
    return np.asarray(rate, dtype=np.float32)


def _read_interval(path: Path, layer: _Layer, attrs: dict[str, Any]) -> np.timedelta64:
    start, end = (_read_time(layer, f"{which}date", f"{which}time") for which in ("start", "end"))
    if start is None or end is None or end <= start:
        raise ReadError(path, f"an amount of rain (ACRR) summed from {start} to {end}, which is no interval")
    attrs["accumulation_interval_minutes"] = float((end - start) / MINUTE)
    return np.timedelta64(end - start)


# --- grid -----------------------------------------------------------------------------------------------------


def _read_grid(path: Path, layer: _Layer, shape: tuple[int, ...]) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres (rows run from north to south) and the CRS."""
    stated = _read_number(layer, "where", "ysize", shape[0]), _read_number(layer, "where", "xsize", shape[1])
    if len(shape) != 2 or stated != shape:
        raise ReadError(path, f"the data are {shape}, but {stated} cells are stated (ysize, xsize)")
    projdef = _find_attribute(layer.chain, "where", "projdef")
    if projdef is None:
        raise ReadError(path, "the projection (where/projdef) is missing")
    crs = pyproj.CRS(decode_text(projdef))
    if not crs.is_geographic and any(axis.unit_conversion_factor != 1.0 for axis in crs.axis_info):
        raise ReadError(path, f"the projection {crs.to_string()!r} is not in metres")
    corners = [[_read_number(layer, "where", f"{corner}_{axis}") for axis in ("lon", "lat")] for corner in ("LL", "UR")]
    if any(number is None for number in itertools.chain(*corners)):
        raise ReadError(path, "its corners (where/LL_lon and others) are missing")
    (left, bottom), (right, top) = np.transpose(pyproj.Proj(crs)(*np.transpose(np.array(corners, dtype=float))))
    scales = [None if crs.is_geographic else _read_number(layer, "where", f"{axis}scale") for axis in "xy"]
    x = _cell_centres(path, "x", left, right, shape[1], scales[0])
    y = _cell_centres(path, "y", bottom, top, shape[0], scales[1])
    return x, y[::-1], crs


def _cell_centres(path: Path, axis: str, low: float, high: float, count: int, scale: float | None) -> Doubles:
    """Return the centres of `count` cells, symmetric between two corners.

    By the standard the corners are the outer ones; some producers state the centres of the corner cells. The middle is
    the same, so that cells of the stated size around it are correct in both cases.
    """
    if scale is None:
        scale = (high - low) / count
    cells = (high - low) / scale
    if not (scale > 0 and count - 1.5 < cells < count + 0.75):
        raise ReadError(
            path, f"{count} cells of {scale:g} in {axis} do not fit between corners at {low:g} and {high:g}"
        )
    return np.asarray((low + high) / 2 + (np.arange(count) - (count - 1) / 2) * scale)
