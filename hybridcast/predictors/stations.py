"""Predictors from stations: recent reports, and their ratio to the radar, interpolated to the radar's grid.

Only reports whose interval ended at the last frame or before are used. Cells without a reporting station within a
radius are NaN, and so are all cells if no station has reported recently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.types import MINUTE, Array, Doubles, Mask
from hybridcast.predictors.predictor import Predictor
from hybridcast.stations.collocation import NO_OFFSET, collocate, positions_in_kilometres, sample_radar_at
from hybridcast.stations.interpolation import Neighbours, average_neighbours, cells_in_kilometres, find_nearest
from hybridcast.stations.schema import get_interval


@dataclass(frozen=True)
class StationPredictorSettings:
    """Settings of the predictors from stations."""

    radius: float = 40.0
    """Cells farther than this from any reporting station are NaN, km."""
    neighbours: int = 6
    """Largest number of stations that a cell is interpolated from."""
    length: float = 15.0
    """Length scale of the weights by distance, ``exp(-(distance / length)**2)``, km."""
    age: float = 30.0
    """Time scale of the weights by age, ``exp(-station_age / age)``, min."""
    prior: float = 0.1
    """Weight of a residual and a tendency of zero in the averages, which pulls both to zero far from stations."""
    recent: float = 30.0
    """Residual and rate are means over this time, or over the interval of the reports if that is longer, min."""
    halves: float = 15.0
    """The tendency compares the mean over this time with the mean over as long before, or over the interval of the
    reports if that is longer, min."""
    floor: float = 0.1
    """Lower rates are raised to this before conversion to decibels, mm h-1."""
    stale: float = 60.0
    """A station reports if its last report is at most this old, or as old as the interval of the reports, min."""
    farthest: float = 100.0
    """Largest value of the distance to the nearest station, km."""


@dataclass(frozen=True)
class RecentReports:
    """Summary of the recent reports of each reporting station, shape ``(station,)``; NaN without reports."""

    at: Array
    """Position on the radar's grid, km from the first cell, shape ``(station, 2)``."""
    residual: Array
    """Rain at the station relative to the radar, dB."""
    rate: Array
    """Rain rate, dB of 1 mm/h."""
    tendency: Array
    """Change of the rain rate, dB per 10 min."""
    age: Array
    """Time since the last report, min."""


@dataclass(frozen=True)
class StationFields:
    """Recent reports, and the stations near each cell of the radar's grid."""

    reports: RecentReports
    """Recent reports."""
    near: Neighbours
    """Nearest stations of each cell."""
    weights: Array
    """Weights of the nearest stations of each cell, shape ``(cell, neighbour)``."""
    settings: StationPredictorSettings
    """Settings."""


# --- fields -----------------------------------------------------------------------------------------------------


def _residual(stations: StationFields) -> Array:
    return average_neighbours(stations.reports.residual, stations.near, stations.weights, stations.settings.prior)


def _rate(stations: StationFields) -> Array:
    return average_neighbours(stations.reports.rate, stations.near, stations.weights)


def _tendency(stations: StationFields) -> Array:
    return average_neighbours(stations.reports.tendency, stations.near, stations.weights, stations.settings.prior)


def _distance(stations: StationFields) -> Array:
    nearest = stations.near.distance[:, 0]
    distance = np.minimum(nearest, np.float32(stations.settings.farthest))
    return np.where(np.isfinite(nearest), distance, np.float32(np.nan))


def _age(stations: StationFields) -> Array:
    age = stations.reports.age[stations.near.point[:, 0]]
    return np.where(np.isfinite(stations.near.distance[:, 0]), age, np.float32(np.nan))


PREDICTORS: tuple[Predictor[StationFields], ...] = tuple(
    Predictor(name, units, "station", "lead", meaning, compute)
    for name, units, meaning, compute in (
        ("station_residual", "dB", "rain at stations relative to the radar in the last half hour", _residual),
        ("station_rate", "dB", "rain at stations in the last half hour, dB of 1 mm/h", _rate),
        ("station_tendency", "dB (10 min)-1", "change of rain at stations in the last half hour", _tendency),
        ("station_distance", "km", "distance to the nearest reporting station", _distance),
        ("station_age", "min", "time since the last report of the nearest reporting station", _age),
    )
)
"""Predictors from stations, in the order of their columns."""


def compute_station_predictors(
    stations: xr.Dataset | None,
    recent: xr.DataArray,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: StationPredictorSettings = StationPredictorSettings(),
) -> dict[str, Array]:
    """Compute the predictors from stations on the radar's grid.

    Parameters
    ----------
    stations
        Station reports after quality control, or None. Reports after the last frame are ignored.
    recent
        Precipitation field up to the issue time, preferably on cells of about 2 km.
    offset
        Time by which rain at the stations is later than the time stamps of the radar, see
        `hybridcast.stations.clock`.
    settings
        Settings of the interpolation.

    Returns
    -------
    dict
        Fields by name of the predictor: float32, shape ``(y, x)``, NaN where unknown.

        - ``station_residual``: rain at stations relative to the radar over the last half hour, dB; 0 is agreement;
        - ``station_rate``: rain at stations over the last half hour, dB of 1 mm/h;
        - ``station_tendency``: its change between the last two quarters of an hour, dB per 10 min;
        - ``station_distance``: distance to the nearest reporting station, km;
        - ``station_age``: time since the last report of that station, min.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> times = np.datetime64("2020-01-01T00:00") + np.arange(7) * np.timedelta64(5, "m")
    >>> radar = precipitation(np.ones((7, 3, 4)), time=times, y=np.arange(3) * 2e3, x=np.arange(4) * 2e3, crs=None)
    >>> gauge = station_reports(np.full((1, 7), 10.0), station=["A"], time=times, interval=np.timedelta64(5, "m"),
    ...                         coords={"x": [0.0], "y": [0.0]})
    >>> fields = compute_station_predictors(gauge, radar)
    >>> fields["station_rate"].shape, round(float(fields["station_rate"][0, 0]), 3)
    ((3, 4), 10.0)
    >>> round(float(fields["station_distance"][0, 1]), 3)
    2.0
    >>> bool(np.isnan(compute_station_predictors(None, radar)["station_rate"]).all())
    True
    """
    shape = recent.shape[-2:]
    reports = None if stations is None else recent_reports(stations, recent, offset=offset, settings=settings)
    if reports is None:
        return {predictor.name: np.full(shape, np.nan, np.float32) for predictor in PREDICTORS}
    near = find_nearest(reports.at, cells_in_kilometres(recent), settings.neighbours, settings.radius)
    weights = near.weights(settings.length) * np.exp(-reports.age / np.float32(settings.age))[near.point]
    fields = StationFields(reports, near, weights, settings)
    return {predictor.name: predictor(fields).reshape(shape) for predictor in PREDICTORS}


# --- recent reports of each station: select, collocate, summarise -----------------------------------------------


@dataclass(frozen=True)
class _Collocated:
    """Recent reports of the reporting stations on the grid, and the radar at the same places and times."""

    places: Array
    """Row and column of the stations, shape ``(station, 2)``."""
    age: Array
    """Time since the last report, min, shape ``(station,)``."""
    rates: Array
    """Rain rates of the stations, mm h-1, shape ``(station, time)``."""
    radar: Array
    """Rain rates of the radar, mm h-1, shape ``(station, time)``."""
    ages: Doubles
    """Time since the end of each interval, min, shape ``(time,)``."""
    interval: float
    """Interval of the reports, min."""


def recent_reports(
    stations: xr.Dataset,
    recent: xr.DataArray,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: StationPredictorSettings = StationPredictorSettings(),
) -> RecentReports | None:
    """Summarise the recent reports of each station on the grid; None without any.

    Arguments are those of `compute_station_predictors`.
    """
    selected = _select_recent(stations, recent, settings)
    if selected is None:
        return None
    collocated = _collocate_with_radar(selected, recent, offset, settings)
    return None if collocated is None else _summarise(collocated, recent, settings)


def _select_recent(stations: xr.Dataset, recent: xr.DataArray, settings: StationPredictorSettings) -> xr.Dataset | None:
    """Return the reports that are not after the last frame and not older than any predictor needs; None without any."""
    interval = get_interval(stations) / MINUTE
    longest = max(settings.stale, settings.recent, 2 * settings.halves, 2 * interval)
    ages = _ages(stations, recent)
    needed = (ages >= 0) & (ages < longest)
    return stations.isel(time=needed) if needed.any() and stations.sizes["station"] else None


def _ages(stations: xr.Dataset, recent: xr.DataArray) -> Doubles:
    """Return the time from the end of each interval to the last frame, min."""
    return np.asarray((recent["time"].values[-1] - stations["time"].values) / MINUTE)


def _collocate_with_radar(
    stations: xr.Dataset, recent: xr.DataArray, offset: np.timedelta64, settings: StationPredictorSettings
) -> _Collocated | None:
    """Return the reports of the stations on the grid that still report, with the radar; None without any."""
    interval = float(get_interval(stations) / MINUTE)
    places, rates = collocate(stations, recent), stations[RATE].values
    ages = _ages(stations, recent)
    age = np.where(np.isfinite(rates), ages, np.inf).min(axis=1)
    reporting = (age <= max(settings.stale, interval)) & np.isfinite(places).all(axis=-1)
    if not reporting.any():
        return None
    places = places[reporting]
    radar = sample_radar_at(stations, recent, places, offset)
    return _Collocated(places, age[reporting].astype(np.float32), rates[reporting], radar, ages, interval)


def _summarise(reports: _Collocated, recent: xr.DataArray, settings: StationPredictorSettings) -> RecentReports:
    """Average the reports over the times that residual, rate and tendency are defined over."""
    latest = reports.ages < max(settings.recent, reports.interval)
    half = max(settings.halves, reports.interval)
    last, before = reports.ages < half, (reports.ages >= half) & (reports.ages < 2 * half)
    known_in_both = np.isfinite(reports.rates) & np.isfinite(reports.radar)
    gauge, radar = (
        _mean_decibels(np.where(known_in_both, rates, np.float32(np.nan)), latest, settings)
        for rates in (reports.rates, reports.radar)
    )
    change = _mean_decibels(reports.rates, last, settings) - _mean_decibels(reports.rates, before, settings)
    return RecentReports(
        at=positions_in_kilometres(reports.places, recent),
        residual=gauge - radar,
        rate=_mean_decibels(reports.rates, latest, settings),
        tendency=change * np.float32(10 / half),
        age=reports.age,
    )


def _mean_decibels(rates: Array, chosen: Mask, settings: StationPredictorSettings) -> Array:
    """Return the mean over the chosen times, not below the floor, in dB of 1 mm/h; NaN without known rates."""
    known = np.isfinite(rates) & chosen
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, rates, 0).sum(axis=1, dtype=np.float32) / known.sum(axis=1)
        return np.asarray(10 * np.log10(np.maximum(mean, settings.floor)), np.float32)
