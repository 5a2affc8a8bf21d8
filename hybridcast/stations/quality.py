"""Quality control of rain reports: five checks, whose rejections are counted by check and station.

The checks are applied in this order; a rejected value is attributed to the first check that rejects it.

- ``range``: the rate exceeds a fraction of the world record for its interval (`hybridcast.stations.schema.RECORDS`).
- ``stuck``: the same rate is repeated for longer than the resolution of a gauge in steady rain can explain (the streaks
  of Blenkinsop et al. 2017, Adv. Sci. Res. 14; Lewis et al. 2021, Environ. Model. Softw. 144).
- ``isolated``: rain although hardly any neighbour and not the radar has rain, or no rain although all of them have
  (titanlib's buddy_event_check). It is skipped without radar, because a shower may reach a single station only.
- ``neighbours``: the cube root of the rate deviates from the mean of the neighbours by too many of their standard
  deviations (titanlib's buddy_check), unless the radar confirms the value.
- ``radar``: the sum over the last hours is a small fraction of the radar's, or the reverse, unless neighbours confirm
  the value.

The last three checks work on longer intervals, the last of which ends with the last report; if one is rejected, all
reports within it are rejected. The checks against neighbours use titanlib (Baserud et al. 2020, TITAN automatic spatial
quality control, Adv. Sci. Res. 17). If it is not installed, these two checks are skipped, and the report names them.
Because the checks look at whole intervals, pass only the reports known at the issue time of a forecast
(`hybridcast.stations.select_available_reports`).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridcast.core.field import RATE
from hybridcast.core.types import HOUR, Array, Doubles, Mask
from hybridcast.stations.clock import comparison_step
from hybridcast.stations.collocation import NO_OFFSET, project_to_plane, sample_radar
from hybridcast.stations.merging import resample_reports
from hybridcast.stations.schema import DIMS, RECORDS, get_interval

FLAG = "quality_flag"
MEANINGS = ("good", "range", "stuck", "isolated", "neighbours", "radar", "missing")


@dataclass(frozen=True)
class QualitySettings:
    """Settings of the checks."""

    fraction_of_records: float = 0.5
    """Range check: maximum rate, as a fraction of the world record for the same interval."""
    stuck_rate: float = 1.0
    """Stuck check: only unchanged rates from this one (mm h-1) on are rejected."""
    stuck_hours: float = 2.0
    """Stuck check: minimum duration of an unchanged rate, h."""
    stuck_reports: int = 8
    """Stuck check: minimum number of consecutive reports with an unchanged rate."""
    step_minutes: int = 30
    """Minimum interval over which reports are compared with neighbours and radar, min."""
    radius: float = 30.0
    """Maximum distance of a neighbour, km."""
    min_neighbours: int = 3
    """Minimum number of neighbours for a comparison with them."""
    wet: float = 1.0
    """Rate (mm h-1) from which an interval certainly has rain; below a tenth of it an interval is dry."""
    max_confirming: float = 0.1
    """Isolated check: maximum fraction of neighbours that agree with a rejected value."""
    max_deviation: float = 4.0
    """Neighbours check: maximum deviation from the mean of the neighbours, in their standard deviations."""
    min_spread: float = 0.5
    """Neighbours check: lower bound of the standard deviation of the neighbours, cube root of mm h-1."""
    radar_hours: float = 3.0
    """Radar check: duration over which reports and radar are summed, h."""
    radar_factor: float = 10.0
    """Radar check: a sum is rejected if the larger one exceeds the smaller one times this factor by `radar_amount`."""
    radar_amount: float = 4.0
    """Radar check: amount (mm) by which the larger sum must exceed `radar_factor` times the smaller one."""


@dataclass(frozen=True)
class QualityReport:
    """Summary of a quality control."""

    values: int
    """Number of values checked."""
    rejected: dict[str, int]
    """Number of values rejected by each check, by name."""
    stations: dict[str, int]
    """Number of rejected values of each station that has any, the largest number first."""
    not_done: tuple[str, ...]
    """The checks that were skipped, with the reason."""

    def __str__(self) -> str:
        """Return a summary in one line."""
        names = ", ".join(f"{name} {count}" for name, count in self.rejected.items())
        more = f"; not done: {'; '.join(self.not_done)}" if self.not_done else ""
        return f"{sum(self.rejected.values())} of {self.values} values rejected ({names}){more}"


def quality_control(
    stations: xr.Dataset,
    radar: xr.DataArray | None = None,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: QualitySettings = QualitySettings(),
) -> tuple[xr.Dataset, QualityReport]:
    """Reject erroneous rain reports: they become NaN, and ``quality_flag`` gives the reason.

    Parameters
    ----------
    stations
        Station reports.
    radar
        Precipitation field over the same time; without it the checks that need radar are skipped.
    offset
        Delay of the rain at the stations with respect to the time stamps of the radar, see `hybridcast.stations.clock`.
    settings
        Settings of the checks.

    Returns
    -------
    Dataset, QualityReport
        The reports with rejected rates as NaN and an int8 variable ``quality_flag`` (CF flag_values and flag_meanings),
        and a summary of the rejections.

    Examples
    --------
    >>> from hybridcast.stations import station_reports
    >>> reports = station_reports([[0.0, 600.0]], station=["A"], interval=np.timedelta64(15, "m"),
    ...                           time=["2020-01-01T00:15", "2020-01-01T00:30"], coords={"x": [0.0], "y": [0.0]})
    >>> checked, report = quality_control(reports)
    >>> checked.precipitation_rate.values.tolist(), report.rejected["range"]
    ([[0.0, nan]], 1)
    """
    rates = stations[RATE].values
    flags = np.where(np.isfinite(rates), 0, MEANINGS.index("missing")).astype(np.int8)
    interval = get_interval(stations)
    not_done: list[str] = []
    _set_flag(flags, "range", rates > highest_credible_rate(interval, settings))
    _set_flag(flags, "stuck", _find_stuck(_mask_rejected(stations, flags), settings))
    for name, wrong in _compare(_mask_rejected(stations, flags), radar, offset, settings, not_done).items():
        _set_flag(flags, name, wrong)
    report = _summarise(stations, flags, not_done)
    attrs = {
        "long_name": "quality of precipitation_rate",
        "flag_values": np.arange(len(MEANINGS), dtype=np.int8),
        "flag_meanings": " ".join(MEANINGS),
    }
    checked = _mask_rejected(stations, flags).assign({FLAG: (DIMS, flags, attrs)})
    return checked.assign_attrs(quality_control=str(report)), report


def highest_credible_rate(interval: np.timedelta64, settings: QualitySettings = QualitySettings()) -> float:
    """Return the highest credible mean rate (mm h-1) over `interval`.

    Examples
    --------
    >>> round(highest_credible_rate(np.timedelta64(1, "h")))
    211
    """
    hours = float(interval / HOUR)
    return float(settings.fraction_of_records * RECORDS[0] * hours ** (RECORDS[1] - 1))


def _mask_rejected(stations: xr.Dataset, flags: NDArray[np.int8]) -> xr.Dataset:
    return stations.assign({RATE: stations[RATE].where(xr.DataArray(flags == 0, dims=DIMS))})


def _set_flag(flags: NDArray[np.int8], name: str, wrong: Mask) -> None:
    flags[wrong & (flags == 0)] = MEANINGS.index(name)


def _summarise(stations: xr.Dataset, flags: NDArray[np.int8], not_done: list[str]) -> QualityReport:
    rejected = {name: int((flags == MEANINGS.index(name)).sum()) for name in MEANINGS[1:-1]}
    missing = MEANINGS.index("missing")
    by_station = ((flags > 0) & (flags < missing)).sum(axis=1)
    worst = np.argsort(-by_station, kind="stable")
    lost = {str(stations["station"].values[n]): int(by_station[n]) for n in worst if by_station[n]}
    return QualityReport(int((flags < missing).sum()), rejected, lost, tuple(not_done))


# --- checks of a single station -------------------------------------------------------------------------------


def _find_stuck(stations: xr.Dataset, settings: QualitySettings) -> Mask:
    """Find long runs of the same rate; times at which only other stations report do not interrupt them."""
    rates, times, interval = stations[RATE].values, stations["time"].values, get_interval(stations)
    least = max(settings.stuck_reports, int(np.ceil(np.timedelta64(int(settings.stuck_hours * 60), "m") / interval)))
    stuck = np.zeros(rates.shape, bool)
    for row in np.flatnonzero((rates >= settings.stuck_rate).any(axis=1)):
        own = np.flatnonzero(np.isfinite(rates[row]))
        values = rates[row, own]
        new = np.ones(own.size, bool)
        new[1:] = (values[1:] != values[:-1]) | (np.diff(times[own]) != interval)
        _, index, length = np.unique(np.cumsum(new), return_inverse=True, return_counts=True)
        stuck[row, own] = (length[index] >= least) & (values >= settings.stuck_rate)
    return stuck


# --- comparison with neighbours and radar ---------------------------------------------------------------------


def _compare(
    stations: xr.Dataset,
    radar: xr.DataArray | None,
    offset: np.timedelta64,
    settings: QualitySettings,
    not_done: list[str],
) -> dict[str, Mask]:
    """Return the reports rejected by each check against neighbours and radar, shape ``(station, time)``, by name."""
    if not stations[RATE].size:
        return {}
    step = comparison_step(stations, np.timedelta64(settings.step_minutes, "m"))
    resampled = resample_reports(stations, step, end=stations["time"].values[-1])
    rates = resampled[RATE].values
    radar_rates = np.full_like(rates, np.nan)
    if radar is not None:
        radar_rates = sample_radar(resampled, radar, offset=offset).values
    has_radar = bool(np.isfinite(radar_rates).any())
    wrong: dict[str, Mask] = {}
    if importlib.util.find_spec("titanlib") is None:
        not_done.append("isolated and neighbours: titanlib is not installed (pip install 'hybridcast[gauges]')")
    else:
        if has_radar:
            wrong["isolated"] = _find_isolated(resampled, rates, radar_rates, settings)
            rates = np.where(wrong["isolated"], np.float32(np.nan), rates)
        else:
            not_done.append("isolated: no radar at the stations")
        wrong["neighbours"] = _find_outliers(resampled, rates, radar_rates, settings)
        rates = np.where(wrong["neighbours"], np.float32(np.nan), rates)
    if has_radar:
        wrong["radar"] = _compare_with_radar(resampled, rates, radar_rates, settings)
    else:
        not_done.append("radar: none at the stations")
    column = np.searchsorted(resampled["time"].values, stations["time"].values)
    return {name: mask[:, column] for name, mask in wrong.items()}


def _find_isolated(resampled: xr.Dataset, rates: Array, radar_rates: Array, settings: QualitySettings) -> Mask:
    dry = settings.wet / 10
    alone = _apply_titanlib(
        resampled,
        rates,
        lambda titanlib, points, values, radius, count: titanlib.buddy_event_check(
            points, values, radius, count, dry, settings.max_confirming, -1.0, 0.0, 1
        ),
        settings,
    )
    rain_alone = (rates >= settings.wet) & (radar_rates < dry)
    dry_alone = (rates < dry) & (radar_rates >= settings.wet)
    return alone & (rain_alone | dry_alone)


def _find_outliers(resampled: xr.Dataset, rates: Array, radar_rates: Array, settings: QualitySettings) -> Mask:
    outlying = _apply_titanlib(
        resampled,
        np.cbrt(rates),
        lambda titanlib, points, values, radius, count: titanlib.buddy_check(
            points, values, radius, count, settings.max_deviation, -1.0, 0.0, settings.min_spread, 2
        ),
        settings,
    )
    confirmed = np.abs(np.cbrt(rates) - np.cbrt(radar_rates)) < settings.max_deviation * settings.min_spread / 2
    return np.asarray(outlying & ~confirmed)


def _apply_titanlib(resampled: xr.Dataset, values: Array, check: Any, settings: QualitySettings) -> Mask:
    """Apply a check of titanlib to the stations with values, at each time with rain."""
    import titanlib

    position, kind = _titanlib_positions(resampled)
    radius, count = np.array([settings.radius * 1000]), np.array([settings.min_neighbours])
    found = np.zeros(values.shape, bool)
    known = np.isfinite(values) & np.expand_dims(np.isfinite(position).all(axis=0), 1)
    for time in np.flatnonzero((known & (values > 0)).any(axis=0)):
        rows = np.flatnonzero(known[:, time])
        zeros = np.zeros(rows.size)
        points = titanlib.Points(*position[:, rows], zeros, zeros, kind)
        found[rows, time] = check(titanlib, points, values[rows, time].astype(np.float64), radius, count) > 0
    return found


def _titanlib_positions(resampled: xr.Dataset) -> tuple[Doubles, int]:
    import titanlib

    degrees = {"latitude", "longitude"} <= set(resampled.coords)
    names = ("latitude", "longitude") if degrees else ("y", "x")
    position = np.stack([resampled[name].values.astype(np.float64) for name in names])
    return position, titanlib.Geodetic if degrees else titanlib.Cartesian


def _compare_with_radar(resampled: xr.Dataset, rates: Array, radar_rates: Array, settings: QualitySettings) -> Mask:
    """Reject sums over the last hours that differ too much from the radar's and that neighbours do not confirm."""
    hours = float(get_interval(resampled) / HOUR)
    count = max(1, round(settings.radar_hours / hours))
    gauge, radar = (_running_sum(values, count) * hours for values in (rates, radar_rates))
    low, high = np.fmin(gauge, radar), np.fmax(gauge, radar)
    wrong = high > settings.radar_factor * low + settings.radar_amount
    for station, time in np.argwhere(wrong):
        nearby = gauge[_find_neighbours(resampled, station, settings.radius), time]
        nearby = nearby[np.isfinite(nearby)]
        if nearby.size >= settings.min_neighbours:
            median = np.median(nearby)
            wrong[station, time] = abs(median - gauge[station, time]) > abs(median - radar[station, time])
    return wrong


def _running_sum(values: Array, count: int) -> Doubles:
    """Sum over the last `count` values; NaN where one of them is missing."""
    sums = np.full(values.shape, np.nan)
    if values.shape[1] >= count:
        windows = np.lib.stride_tricks.sliding_window_view(values, count, axis=1)
        sums[:, count - 1 :] = windows.sum(axis=-1)
    return sums


def _find_neighbours(resampled: xr.Dataset, station: int, radius: float) -> NDArray[np.intp]:
    """Return the indices of the stations within `radius` km of a station."""
    position = project_to_plane(resampled)
    position = np.where(np.isfinite(position), position, 1e9)
    near = cKDTree(position).query_ball_point(position[station], radius)
    return np.array([other for other in near if other != station], dtype=np.intp)
