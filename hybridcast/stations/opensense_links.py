"""Microwave links of the OpenSense data sets (OpenMRG, OpenRainER) and of pycomlink, NetCDF.

Files with signal levels ``tsl`` and ``rsl`` (dBm; link, sublink or channel, time) are made rain by
`hybridcast.stations.links`; files with a rain rate ``R`` (mm/h) alone are taken as they are. The sublinks of a link
are averaged.

Levels are samples at their stamp, one a minute, and are taken as the mean over the minute that ends there, wrong by a
minute at most. Stamps of ``R`` over 5 (OpenMRG) or 15 minutes (OpenRainER) are ENDS: so the links meet the radar at
the same offset as the gauges do (10 and 0 min; a step later if they were beginnings).

In pycomlink's sample the frequencies are in Hz and the places are shifted, and -99.9 and 255 mean missing levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import usual_step
from hybridcast.errors import ReadError
from hybridcast.radar._netcdf import common_attributes, inspect_netcdf, open_netcdf, require_variables
from hybridcast.stations.links import LinkSettings, rates_from_signal_levels
from hybridcast.stations.schema import station_reports

NAME = "opensense-links"
DESCRIPTION = "microwave links of OpenMRG, OpenRainER and pycomlink, NetCDF"

_ENDS = (("site_0", "site_1", "lat", "lon"), ("site_a", "site_b", "latitude", "longitude"))


def recognises(path: Path, head: bytes) -> bool:
    """Tell by its variables whether a file holds links."""
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
        rate = _of_levels(data, path) if levels else _over_sublinks(data["R"].clip(min=0), path)
        return station_reports(
            rate,
            station=[f"link {name}" for name in data["cml_id"].values],
            time=times,
            interval=step,
            places=_places(data, path),
            attrs={**common_attributes(data), "rain_from": "signal levels" if levels else "R of the file"},
        )


def _of_levels(data: xr.Dataset, path: Path) -> NDArray[np.float32]:
    require_variables(data, path, "frequency", "polarization")
    sublink = _sublink(data)
    data = data if sublink in data.dims else data.expand_dims(sublink)
    data = data.transpose("cml_id", sublink, "time")
    sent, received = data["tsl"].values, data["rsl"].values
    loss = np.where((received > -99) & (sent < 100), sent - received, np.nan)
    frequency = _gigahertz(np.broadcast_to(data["frequency"].values, loss.shape[:2]))
    vertical = np.char.startswith(np.char.lower(data["polarization"].values.astype(str)), "v")
    length = _kilometres(data)
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


def _over_sublinks(rate: xr.DataArray, path: Path) -> NDArray[np.float32]:
    extra = [dim for dim in rate.dims if dim not in ("cml_id", "time")]
    if len(extra) > 1:
        raise ReadError(path, f"R has the dims {rate.dims}")
    return _mean(rate.transpose("cml_id", *extra, "time").values.reshape(rate.sizes["cml_id"], -1, rate.sizes["time"]))


def _mean(rates: NDArray[Any]) -> NDArray[np.float32]:
    """Average over the second axis, over what is there."""
    seen = np.isfinite(rates)
    with np.errstate(invalid="ignore"):
        mean = np.where(seen, rates, 0).sum(axis=1) / seen.sum(axis=1)
    return np.asarray(mean, np.float32)


def _sublink(data: xr.Dataset) -> str:
    return "channel_id" if "channel_id" in data.variables else "sublink_id"


def _gigahertz(frequency: NDArray[Any]) -> NDArray[np.float64]:
    """Return GHz; links are between 1 and 100 GHz, which tells Hz, MHz and GHz apart."""
    scale = 1e-9 if np.nanmax(frequency) > 1e6 else 1e-3 if np.nanmax(frequency) > 1e3 else 1.0
    return np.asarray(frequency * scale, np.float64)


def _kilometres(data: xr.Dataset) -> NDArray[np.float64]:
    length = data["length"].values.astype(float)
    return length / 1000 if np.nanmedian(length) > 100 else length  # metres; no link is as long as 100 km


def _places(data: xr.Dataset, path: Path) -> dict[str, Any]:
    for first, second, latitude, longitude in _ENDS:
        names = [f"{site}_{axis}" for axis in (latitude, longitude) for site in (first, second)]
        if set(names) <= set(data.variables):
            lat0, lat1, lon0, lon1 = (data[name].values.astype(float) for name in names)
            ends = {"latitude_0": lat0, "longitude_0": lon0, "latitude_1": lat1, "longitude_1": lon1}
            middle = {"latitude": (lat0 + lat1) / 2, "longitude": (lon0 + lon1) / 2}
            kind = np.full(lat0.size, "link", object)
            return {**middle, **ends, "length": _kilometres(data) * 1000, "sensor": kind}
    raise ReadError(path, "states no latitude and longitude of the ends of its links")
