"""Collocation of stations and radar: positions on a field's grid, and radar rates over the interval of each report."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.axes import nearest_turn
from hybridcast.core.field import EARTH_RADIUS, crs_of
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.interpolation import fractional_index, interpolate
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.stations.schema import DIMS, get_interval

#: Minimum fraction of the interval of a report that the radar must have observed.
MIN_FRACTION = 0.99
NO_OFFSET = np.timedelta64(0, "m")


def collocate(stations: xr.Dataset, field: xr.DataArray | xr.Dataset) -> Array:
    """Return the positions of stations on a field's grid, as rows and columns.

    Parameters
    ----------
    stations
        Station reports. Latitude and longitude are used if the field has a CRS, otherwise x and y.
    field
        Precipitation field or forecast.

    Returns
    -------
    ndarray
        float32, shape ``(station, 2)``: fractional row and column, 0 being the centre of the first; NaN outside the
        grid.

    Raises
    ------
    InputError
        If the field is a local grid without a CRS, and stations have latitude and longitude only.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> field = precipitation(np.zeros((1, 3, 4)), time=[np.datetime64("2020-01-01")],
    ...                       y=[2000, 1000, 0], x=[0, 1000, 2000, 3000], crs=None)
    >>> gauges = station_reports([[0.0], [0.0]], station=["A", "B"], time=[np.datetime64("2020-01-01")],
    ...                          interval=np.timedelta64(5, "m"), coords={"x": [2500.0, 9e3], "y": [1000.0, 0.0]})
    >>> collocate(gauges, field).tolist()
    [[1.0, 2.5], [nan, nan]]
    """
    x, y = _project(stations, field)
    size = np.array([field.sizes["y"], field.sizes["x"]])
    positions = np.stack([fractional_index(field[axis].values, at) for axis, at in (("y", y), ("x", x))], axis=-1)
    outside = ~((positions >= -0.5) & (positions <= size - 0.5)).all(axis=-1)
    positions[outside] = np.nan
    return positions.astype(np.float32)


def _project(stations: xr.Dataset, field: xr.DataArray | xr.Dataset) -> tuple[Doubles, Doubles]:
    """Return x and y of the stations in the units of the CRS of a field, or of its local grid."""
    crs = crs_of(field)
    degrees, metres = ({*names} <= set(stations.coords) for names in (("latitude", "longitude"), ("x", "y")))
    if crs is not None and degrees:
        x, y = _transformer_to(crs).transform(stations["longitude"].values, stations["latitude"].values)
        return nearest_turn(x, field["x"].values) if crs.is_geographic else np.asarray(x), np.asarray(y)
    if metres:
        return stations["x"].values.astype(float), stations["y"].values.astype(float)
    raise InputError(
        "stations have latitude and longitude, the field has no CRS",
        "on a local grid without a CRS stations have x and y",
        "Give the field its CRS with hybridcast.core.field.with_crs, or assign x and y (m) along 'station'",
    )


@functools.lru_cache(maxsize=16)  # a transformer takes longer to create than to use
def _transformer_to(crs: pyproj.CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def positions_in_kilometres(positions: Array, field: xr.DataArray | xr.Dataset) -> Array:
    """Convert positions (rows and columns) to kilometres from the first cell, shape ``(..., 2)``; NaN stays.

    The size of a cell is the mean over the grid.
    """
    return positions * np.array(cell_kilometres(field), np.float32)


def extract_series(field: xr.DataArray, positions: Array) -> Array:
    """Return the values of the cells that contain `positions`, shape ``(position, time)``; NaN outside the grid."""
    inside = np.isfinite(positions).all(axis=-1)
    rows, columns = (
        np.clip(np.rint(np.where(inside, positions[:, axis], 0)).astype(int), 0, size - 1)
        for axis, size in enumerate(field.shape[-2:])
    )
    if field.chunks is None:
        found = field.values[:, rows, columns].T
    else:
        points = {"y": xr.DataArray(rows, dims="position"), "x": xr.DataArray(columns, dims="position")}
        found = field.isel(points).transpose("position", "time").values
    return np.where(np.expand_dims(inside, 1), found, np.float32(np.nan)).astype(np.float32)


def sample_radar(stations: xr.Dataset, field: xr.DataArray, *, offset: np.timedelta64 = NO_OFFSET) -> xr.DataArray:
    """Return the radar rate at stations, averaged over the interval of each report.

    A frame stands for the time step that ends with it, and is weighted by its overlap with the interval of the report,
    so that radar steps of 5 min can be compared with reports of 6 min.

    Parameters
    ----------
    stations
        Station reports.
    field
        Precipitation field.
    offset
        Delay of the rain at the stations with respect to the time stamps of the radar, see `clock_offset`.

    Returns
    -------
    DataArray
        mm h-1, float32, dims ``(station, time)`` of `stations`; NaN outside the grid or the radar's coverage, and where
        frames do not cover the interval.
    """
    mean = sample_radar_at(stations, field, collocate(stations, field), offset)
    coords = {name: stations[name] for name in DIMS}
    return xr.DataArray(mean, dims=DIMS, coords=coords, name="radar_rate", attrs={"units": "mm h-1"})


def sample_radar_at(stations: xr.Dataset, field: xr.DataArray, positions: Array, offset: np.timedelta64) -> Array:
    """Return the same as `sample_radar` as an array, for stations whose `positions` are known."""
    series = extract_series(field, positions)
    known = np.isfinite(series)
    interval, ends = get_interval(stations), stations["time"].values - offset
    total, fraction = (
        _integrate(values, field["time"].values, ends, interval) for values in (np.where(known, series, 0), known)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(fraction >= MIN_FRACTION, total / fraction, np.nan).astype(np.float32)


def _integrate(
    values: NDArray[Any],
    frames: NDArray[np.datetime64],
    ends: NDArray[Any],
    interval: np.timedelta64,
) -> Doubles:
    """Integrate values, constant over each frame's time step, over the intervals before `ends`, per `interval`."""
    step = time_step(frames) or interval
    running = np.cumsum(values, axis=1, dtype=np.float64) * (step / interval)
    running = np.concatenate([np.zeros((len(running), 1)), running], axis=1)  # begins a step before the first frame
    at = [np.clip((time - frames[0]) / step + 1.0, 0.0, frames.size) for time in (ends, ends - interval)]
    last, first = (interpolate(running, where, axis=1) for where in at)
    return last - first


def project_to_plane(stations: xr.Dataset) -> Doubles:
    """Return the positions of stations on a plane, km, shape ``(station, 2)``, for distances up to 100 km."""
    if {"x", "y"} <= set(stations.coords):
        return np.stack([stations["y"].values, stations["x"].values], axis=-1).astype(np.float64) / 1000
    latitude = stations["latitude"].values.astype(np.float64)
    longitude = stations["longitude"].values.astype(np.float64)
    degree = EARTH_RADIUS * np.pi / 180 / 1000
    middle = np.cos(np.deg2rad(np.nanmean(latitude))) if np.isfinite(latitude).any() else 1.0
    return np.stack([latitude * degree, longitude * degree * middle], axis=-1)
