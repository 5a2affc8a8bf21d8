"""Where stations lie on a field's grid, and what the radar says there, over the time of each report."""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import EARTH_RADIUS, crs_of, metres_per_cell, time_step
from hybridcast.core.interpolation import interpolate
from hybridcast.errors import InputError
from hybridcast.stations.schema import DIMS, get_interval

#: Of the time of a report this share has to be seen by the radar.
LEAST_SEEN = 0.99
NO_OFFSET = np.timedelta64(0, "m")


def collocate(stations: xr.Dataset, field: xr.DataArray | xr.Dataset) -> NDArray[np.float32]:
    """Return the places of stations on a field's grid, in rows and columns.

    Parameters
    ----------
    stations
        Station reports. Latitude and longitude are used if the field's place is known, else x and y.
    field
        Precipitation field or forecast.

    Returns
    -------
    ndarray
        float32, shape ``(station, 2)``: row and column, 0 being the centre of the first; NaN outside the grid.

    Raises
    ------
    InputError
        If the field is a local grid, whose place on Earth is not known, and stations have degrees only.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> field = precipitation(np.zeros((1, 3, 4)), time=[np.datetime64("2020-01-01")],
    ...                       y=[2000, 1000, 0], x=[0, 1000, 2000, 3000], crs=None)
    >>> gauges = station_reports([[0.0], [0.0]], station=["A", "B"], time=[np.datetime64("2020-01-01")],
    ...                          interval=np.timedelta64(5, "m"), places={"x": [2500.0, 9e3], "y": [1000.0, 0.0]})
    >>> collocate(gauges, field).tolist()
    [[1.0, 2.5], [nan, nan]]
    """
    x, y = _on_axes(stations, crs_of(field))
    places = np.stack([_fraction(field["y"].values, y), _fraction(field["x"].values, x)], axis=-1)
    places[~np.isfinite(places).all(axis=-1)] = np.nan
    return places.astype(np.float32)


def _on_axes(stations: xr.Dataset, crs: pyproj.CRS | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    degrees, metres = ({*names} <= set(stations.coords) for names in (("latitude", "longitude"), ("x", "y")))
    if crs is not None and degrees:
        x, y = _to_grid(crs).transform(stations["longitude"].values, stations["latitude"].values)
        return np.asarray(x), np.asarray(y)
    if metres:
        return stations["x"].values.astype(float), stations["y"].values.astype(float)
    raise InputError(
        "stations have latitude and longitude, the field has no CRS",
        "on a local grid, whose place is not known, stations lie by x and y",
        "Give the field its CRS with hybridcast.core.field.with_crs, or assign x and y (m) along 'station'",
    )


@functools.lru_cache(maxsize=16)  # making one takes longer than using it
def _to_grid(crs: pyproj.CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def _fraction(axis: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
    cells = (at - axis[0]) / step
    return np.where((cells >= -0.5) & (cells <= axis.size - 0.5), cells, np.nan)


def positions_in_kilometres(places: NDArray[np.float32], field: xr.DataArray | xr.Dataset) -> NDArray[np.float32]:
    """Return places (rows and columns) in kilometres from the first cell, shape ``(..., 2)``; NaN stays.

    On a grid of longitude and latitude a column is as wide as in the middle row.
    """
    dy, dx = metres_per_cell(field)
    return cast(NDArray[np.float32], places * np.array([abs(dy), abs(float(dx[dx.size // 2]))], np.float32) / 1000)


def extract_series(field: xr.DataArray, places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of the cells that `places` lie in, shape ``(place, time)``; NaN outside."""
    inside = np.isfinite(places).all(axis=-1)
    rows, columns = (
        np.clip(np.rint(np.where(inside, places[:, axis], 0)).astype(int), 0, size - 1)
        for axis, size in enumerate(field.shape[-2:])
    )
    if field.chunks is None:
        found = field.values[:, rows, columns].T
    else:
        points = {"y": xr.DataArray(rows, dims="place"), "x": xr.DataArray(columns, dims="place")}
        found = field.isel(points).transpose("place", "time").values
    return np.where(np.expand_dims(inside, 1), found, np.float32(np.nan)).astype(np.float32)


def sample_radar(stations: xr.Dataset, field: xr.DataArray, *, offset: np.timedelta64 = NO_OFFSET) -> xr.DataArray:
    """Return what the radar says at stations, as the mean over the time of each report.

    A frame stands for the time step that ends with it. Each counts as far as it lies in the interval of the report,
    so that steps of 5 and of 6 min go together.

    Parameters
    ----------
    stations
        Station reports.
    field
        Precipitation field.
    offset
        How much later rain is at the stations than the radar's stamps say, see `clock_offset`.

    Returns
    -------
    DataArray
        mm h-1, float32, dims ``(station, time)`` of `stations`; NaN outside the grid, where the radar does not see,
        and where its frames do not cover the interval.
    """
    mean = sample_radar_at(stations, field, collocate(stations, field), offset)
    coords = {name: stations[name] for name in DIMS}
    return xr.DataArray(mean, dims=DIMS, coords=coords, name="radar_rate", attrs={"units": "mm h-1"})


def sample_radar_at(
    stations: xr.Dataset, field: xr.DataArray, places: NDArray[np.float32], offset: np.timedelta64
) -> NDArray[np.float32]:
    """Return what `sample_radar` gives, as an array, for stations whose places are known."""
    series = extract_series(field, places)
    seen = np.isfinite(series)
    interval, ends = get_interval(stations), stations["time"].values - offset
    total, covered = (
        _integral(values, field["time"].values, ends, interval) for values in (np.where(seen, series, 0), seen)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(covered >= LEAST_SEEN, total / covered, np.nan).astype(np.float32)


def _integral(
    values: NDArray[np.float32],
    frames: NDArray[np.datetime64],
    ends: NDArray[Any],
    interval: np.timedelta64,
) -> NDArray[np.float64]:
    """Integrate values that hold from frame to frame over the intervals before `ends`, in units of `interval`."""
    step = time_step(frames) or interval
    running = np.cumsum(values, axis=1, dtype=np.float64) * (step / interval)
    running = np.concatenate([np.zeros((len(running), 1)), running], axis=1)  # begins a step before the first frame
    at = [np.clip((time - frames[0]) / step + 1.0, 0.0, frames.size) for time in (ends, ends - interval)]
    last, first = (interpolate(running, where, axis=1) for where in at)
    return last - first


def project_to_plane(stations: xr.Dataset) -> NDArray[np.float64]:
    """Return where stations lie to each other, km, shape ``(station, 2)``: exact enough for neighbours up to 100 km."""
    if {"x", "y"} <= set(stations.coords):
        return np.stack([stations["y"].values, stations["x"].values], axis=-1).astype(np.float64) / 1000
    latitude = stations["latitude"].values.astype(np.float64)
    longitude = stations["longitude"].values.astype(np.float64)
    degree = EARTH_RADIUS * np.pi / 180 / 1000
    middle = np.cos(np.deg2rad(np.nanmean(latitude))) if np.isfinite(latitude).any() else 1.0
    return np.stack([latitude * degree, longitude * degree * middle], axis=-1)
