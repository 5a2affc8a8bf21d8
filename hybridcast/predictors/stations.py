"""What stations say about each cell of the radar's grid, as planes from which predictors are made.

All use only reports whose interval ended at the last frame or before. In cells without a reporting station within a
radius, all planes are NaN; so they are everywhere if there is no station, or none has reported lately.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME
from hybridcast.stations.collocation import NO_OFFSET, collocate, positions_in_kilometres, sample_radar_at
from hybridcast.stations.interpolation import Neighbours, average_neighbours, cells_in_kilometres, find_nearest
from hybridcast.stations.schema import get_interval

Floats = NDArray[np.float32]

PLANES = (
    ("station_residual", "dB", "rain at stations over the radar's there in the last half hour, interpolated"),
    ("station_rate", "dB", "rain at stations in the last half hour, dB of mm h-1, interpolated"),
    ("station_tendency", "dB (10 min)-1", "its change between the last two quarters of an hour"),
    ("station_distance", "km", "distance to the nearest station that reports"),
    ("station_age", "min", "how long ago the last interval of that station ended"),
)
"""Name, units and meaning of the planes."""


@dataclass(frozen=True)
class StationPredictorSettings:
    """Settings of the planes."""

    radius: float = 40.0
    """Cells farther from any reporting station (km) are NaN."""
    neighbours: int = 6
    """So many stations around a cell count."""
    length: float = 15.0
    """Weights are exp(-(distance / length)^2), km,"""
    age: float = 30.0
    """times exp(-age / this), min."""
    prior: float = 0.1
    """Weight of no residual and no tendency beside them: with it both go to 0 far from stations."""
    recent: float = 30.0
    """Residual and rate are of the reports of so many minutes,"""
    halves: float = 15.0
    """and the tendency compares the last minutes with as many before; longer if intervals are."""
    floor: float = 0.1
    """Rates below this (mm h-1) count as this."""
    stale: float = 60.0
    """A station whose last report is older (min) does not report; longer if its intervals are."""
    farthest: float = 100.0
    """Distances are at most this, km."""


@dataclass(frozen=True)
class RecentReports:
    """What the reporting stations have said lately, shape ``(station,)``; NaN where one has not."""

    at: Floats
    """km, shape ``(station, 2)``."""
    residual: Floats
    """dB, rain at the station over the radar's there."""
    rate: Floats
    """dB of mm h-1."""
    tendency: Floats
    """dB per 10 min."""
    age: Floats
    """min since its last report."""


def compute_station_predictors(
    stations: xr.Dataset | None,
    recent: xr.DataArray,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: StationPredictorSettings = StationPredictorSettings(),
) -> dict[str, Floats]:
    """Return what stations say, on the grid of the radar.

    Parameters
    ----------
    stations
        Station reports, after quality control; None if there are none. Reports after the last frame are not looked at.
    recent
        Precipitation field, the frames up to now, best on cells of about 2 km.
    offset
        How much later rain is at the stations than the radar's stamps say, see `hybridcast.stations.clock`.
    settings
        How far and how long a report counts.

    Returns
    -------
    dict
        float32 planes of the shape ``(y, x)``:

        - ``station_residual``: rain at stations over the radar's there, dB, over the last half hour; 0 is agreement;
        - ``station_rate``: rain at stations over the last half hour, dB of mm h-1;
        - ``station_tendency``: its change from the quarter of an hour before to the last one, dB per 10 min;
        - ``station_distance``: km to the nearest reporting station, and ``station_age``: minutes since its last report.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> times = np.datetime64("2020-01-01T00:00") + np.arange(7) * np.timedelta64(5, "m")
    >>> radar = precipitation(np.ones((7, 3, 4)), time=times, y=np.arange(3) * 2e3, x=np.arange(4) * 2e3, crs=None)
    >>> gauge = station_reports(np.full((1, 7), 10.0), station=["A"], time=times, interval=np.timedelta64(5, "m"),
    ...                         coords={"x": [0.0], "y": [0.0]})
    >>> planes = compute_station_predictors(gauge, radar)
    >>> planes["station_rate"].shape, round(float(planes["station_rate"][0, 0]), 3)
    ((3, 4), 10.0)
    >>> round(float(planes["station_distance"][0, 1]), 3)
    2.0
    >>> bool(np.isnan(compute_station_predictors(None, radar)["station_rate"]).all())
    True
    """
    shape = recent.shape[-2:]
    spoken = None if stations is None else recent_reports(stations, recent, offset=offset, settings=settings)
    if spoken is None:
        return {name: np.full(shape, np.nan, np.float32) for name, _, _ in PLANES}
    near = find_nearest(spoken.at, cells_in_kilometres(recent), settings.neighbours, settings.radius)
    weights = near.weights(settings.length) * np.exp(-spoken.age / np.float32(settings.age))[near.index]
    planes = {
        "station_residual": average_neighbours(spoken.residual, near, weights, settings.prior),
        "station_rate": average_neighbours(spoken.rate, near, weights),
        "station_tendency": average_neighbours(spoken.tendency, near, weights, settings.prior),
        **_of_the_nearest(near, spoken.age, settings),
    }
    return {name: plane.reshape(shape) for name, plane in planes.items()}


def _of_the_nearest(near: Neighbours, age: Floats, settings: StationPredictorSettings) -> dict[str, Floats]:
    there = np.isfinite(near.distance[:, 0])
    nan = np.float32(np.nan)
    return {
        "station_distance": np.where(there, np.minimum(near.distance[:, 0], np.float32(settings.farthest)), nan),
        "station_age": np.where(there, age[near.index[:, 0]], nan),
    }


def recent_reports(
    stations: xr.Dataset,
    recent: xr.DataArray,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: StationPredictorSettings = StationPredictorSettings(),
) -> RecentReports | None:
    """Return the recent reports of each station on the grid; None without any.

    Arguments are those of `compute_station_predictors`.
    """
    now, interval = recent["time"].values[-1], get_interval(stations)
    longest = max(settings.stale, settings.recent, 2 * settings.halves, 2 * _minutes(interval))
    ages = (now - stations["time"].values) / np.timedelta64(1, "m")
    there = (ages >= 0) & (ages < longest)
    if not there.any() or not stations.sizes["station"]:
        return None
    late = stations.isel(time=there)
    ages, places = ages[there], collocate(late, recent)
    rates = late[NAME].values
    age = np.where(np.isfinite(rates), ages, np.inf).min(axis=1)
    reporting = (age <= max(settings.stale, _minutes(interval))) & np.isfinite(places).all(axis=-1)
    if not reporting.any():
        return None
    rates, places = rates[reporting], places[reporting]
    seen = sample_radar_at(late, recent, places, offset)
    window = ages < max(settings.recent, _minutes(interval))
    half = max(settings.halves, _minutes(interval))
    both = np.where(np.isfinite(rates) & np.isfinite(seen), np.float32(1), np.float32(np.nan))
    gauge, radar, rate = (_decibels(values, window, settings) for values in (rates * both, seen * both, rates))
    last, before = (_decibels(rates, of, settings) for of in (ages < half, (ages >= half) & (ages < 2 * half)))
    return RecentReports(
        at=positions_in_kilometres(places, recent),
        residual=gauge - radar,
        rate=rate,
        tendency=(last - before) * np.float32(10 / half),
        age=age[reporting].astype(np.float32),
    )


def _decibels(rates: Floats, chosen: NDArray[np.bool_], settings: StationPredictorSettings) -> Floats:
    """Return the mean over the chosen times in dB of mm h-1, not below the floor; NaN where nothing is known."""
    known = np.isfinite(rates) & chosen
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, rates, 0).sum(axis=1, dtype=np.float32) / known.sum(axis=1)
        return np.asarray(10 * np.log10(np.maximum(mean, settings.floor)), np.float32)


def _minutes(interval: np.timedelta64) -> float:
    return float(interval / np.timedelta64(1, "m"))
