"""Microwave links of the OpenSense data sets (OpenMRG, OpenRainER) and of pycomlink, NetCDF.

Signal levels ``tsl`` and ``rsl`` (dBm; link, sublink or channel, time) are converted to rain rates by
`hybridcast.stations.links`; from files with a rain rate ``R`` (mm/h) only, this rate is used. The sublinks of a link
are averaged.

Signal levels are sampled once a minute and are taken as means over the minute that ends with their time stamp, which is
wrong by a minute at most. Time stamps of ``R`` over 5 (OpenMRG) or 15 minutes (OpenRainER) are ENDS: then links and
gauges have the same offset against the radar (10 and 0 min; one step later if the stamps were beginnings).

In pycomlink's sample the frequencies are in Hz, the positions are shifted, and levels of -99.9 and 255 are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.core.time_steps import usual_step
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import ReadError
from hybridcast.stations.links import LinkSettings, rates_from_signal_levels
from hybridcast.stations.schema import station_reports

NAME = "opensense-links"
DESCRIPTION = "microwave links of OpenMRG, OpenRainER and pycomlink, NetCDF"

_ENDS = (("site_0", "site_1", "lat", "lon"), ("site_a", "site_b", "latitude", "longitude"))


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the variables of a file are those of links."""
    names = inspect_netcdf(path, head)[1]
    return {"cml_id", "time", "length"} <= names and bool({"rsl", "R"} & names)


def read(path: Path) -> xr.Dataset:
    """Read all links of one file."""
    with open_netcdf(path) as data:
        require_variables(data, path, "time", "length", "cml_id")
        times = data["time"].values
        if times.size < 2:
            raise ReadError(path, "holds one time only")
        step = usual_step(times)
        levels = {"rsl", "tsl"} <= set(data.variables)
        rate = _convert_levels(data, path) if levels else _average_sublinks(data["R"].clip(min=0), path)
        return station_reports(
            rate,
            station=[f"link {name}" for name in data["cml_id"].values],
            time=times,
            interval=step,
            coords=_read_coordinates(data, path),
            attrs={**common_attributes(data), "rain_from": "signal levels" if levels else "R of the file"},
        )


def _convert_levels(data: xr.Dataset, path: Path) -> Array:
    """Return the rain rate of each link, mm h-1, shape ``(link, time)``, from its signal levels."""
    require_variables(data, path, "frequency", "polarization")
    sublink = "channel_id" if "channel_id" in data.variables else "sublink_id"
    data = data if sublink in data.dims else data.expand_dims(sublink)
    data = data.transpose("cml_id", sublink, "time")
    sent, received = data["tsl"].values, data["rsl"].values
    loss = np.where((received > -99) & (sent < 100), sent - received, np.nan)
    frequency = _convert_to_gigahertz(np.broadcast_to(data["frequency"].values, loss.shape[:2]))
    vertical = np.char.startswith(np.char.lower(data["polarization"].values.astype(str)), "v")
    length = _read_length(data)
    rates = [
        rates_from_signal_levels(
            loss[:, n],
            data["time"].values,
            frequency=frequency[:, n],
            length=length,
            vertical=np.broadcast_to(vertical, loss.shape[:2])[:, n],
            settings=LinkSettings(),
        )
        for n in range(loss.shape[1])
    ]
    return _mean(np.stack(rates, axis=1))


def _average_sublinks(rate: xr.DataArray, path: Path) -> Array:
    extra = [dim for dim in rate.dims if dim not in ("cml_id", "time")]
    if len(extra) > 1:
        raise ReadError(path, f"R has the dims {rate.dims}")
    return _mean(rate.transpose("cml_id", *extra, "time").values.reshape(rate.sizes["cml_id"], -1, rate.sizes["time"]))


def _mean(rates: NDArray[Any]) -> Array:
    """Return the mean of the known values along the second axis; NaN where none is known."""
    known = np.isfinite(rates)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, rates, 0).sum(axis=1) / known.sum(axis=1)
    return np.asarray(mean, np.float32)


def _convert_to_gigahertz(frequency: NDArray[Any]) -> Doubles:
    """Convert Hz, MHz or GHz to GHz; the unit follows from the values, as links use 1 to 100 GHz."""
    scale = 1e-9 if np.nanmax(frequency) > 1e6 else 1e-3 if np.nanmax(frequency) > 1e3 else 1.0
    return np.asarray(frequency * scale, np.float64)


def _read_length(data: xr.Dataset) -> Doubles:
    """Return the lengths of the links, km."""
    length = data["length"].values.astype(float)
    return length / 1000 if np.nanmedian(length) > 100 else length  # no link is 100 km long, so these are metres


def _read_coordinates(data: xr.Dataset, path: Path) -> dict[str, Any]:
    for first, second, latitude, longitude in _ENDS:
        names = [f"{site}_{axis}" for axis in (latitude, longitude) for site in (first, second)]
        if set(names) <= set(data.variables):
            lat0, lat1, lon0, lon1 = (data[name].values.astype(float) for name in names)
            ends = {"latitude_0": lat0, "longitude_0": lon0, "latitude_1": lat1, "longitude_1": lon1}
            middle = {"latitude": (lat0 + lat1) / 2, "longitude": (lon0 + lon1) / 2}
            kind = np.full(lat0.size, "link", object)
            return {**middle, **ends, "length": _read_length(data) * 1000, "sensor": kind}
    raise ReadError(path, "states no latitude and longitude of the ends of its links")
