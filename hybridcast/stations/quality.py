"""Quality control of rain reports: five checks, each rejection counted and named.

In this order, a value being rejected by the first that finds it wrong:

- ``range``: more than a share of what ever fell in such a time, by the envelope of the world's records, 422 mm times
  the hours to the power of 0.475 (World Meteorological Organization, Guide to Hydrological Practices, WMO-No. 168).
- ``stuck``: the same rate again and again, too high for the steps of a gauge in steady rain to explain it (the
  streaks of Blenkinsop et al. 2017, Adv. Sci. Res. 14; Lewis et al. 2021, Environ. Model. Softw. 144).
- ``isolated``: rain where hardly any neighbour and not the radar has any, or none where all of them have (titanlib's
  buddy_event_check). Without radar it is not done: a shower can be alone.
- ``neighbours``: far from the neighbours' mean in their own spread, on cube roots of rates (titanlib's buddy_check),
  unless the radar confirms it.
- ``radar``: over the last hours hardly anything where the radar has a lot, or the reverse, unless neighbours confirm
  it.

The last three are made on a longer step, the last one ending with the last report, and all reports in a rejected step
are rejected. titanlib: Baserud et al.
2020, TITAN automatic spatial quality control, Adv. Sci. Res. 17. Where it is not installed, these two checks are not
done, and the report says so. For a forecast pass only the reports known at its issue time
(`select_available_reports`), because a check looks at whole steps.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridcast.core.field import NAME
from hybridcast.core.types import Mask
from hybridcast.stations.clock import comparison_step
from hybridcast.stations.collocation import NO_OFFSET, project_to_plane, sample_radar
from hybridcast.stations.merging import resample_reports
from hybridcast.stations.schema import DIMS, get_interval

FLAG = "quality_flag"
MEANINGS = ("good", "range", "stuck", "isolated", "neighbours", "radar", "missing")
RECORDS = 422.0, 0.475  # mm in an hour, power of the hours

Rates = NDArray[np.float32]


@dataclass(frozen=True)
class QualitySettings:
    """Settings of the checks."""

    share_of_records: float = 0.5
    """More than this share of the world's record in the same time is not believed."""
    stuck_rate: float = 1.0
    """Rates from here (mm h-1) that do not change for `stuck_hours` and `stuck_reports` are stuck."""
    stuck_hours: float = 2.0
    stuck_reports: int = 8
    step_minutes: int = 30
    """Neighbours and radar are compared over this time."""
    radius: float = 30.0
    """Neighbours are nearer than this, km."""
    least_neighbours: int = 3
    """With fewer of them they are not asked."""
    wet: float = 1.0
    """A rate (mm h-1) that is rain beyond doubt; below a tenth of it is none."""
    confirmed_by: float = 0.1
    """Isolated is what not more than this share of the neighbours confirms."""
    outlier: float = 4.0
    """Deviation from the neighbours that is rejected, in standard deviations,"""
    least_spread: float = 0.5
    """which count as this at least: cube root of mm h-1."""
    radar_hours: float = 3.0
    """Sums against the radar are over this time,"""
    radar_factor: float = 10.0
    """and rejected if one is more than this times the other"""
    radar_amount: float = 4.0
    """and so many mm on top."""


@dataclass(frozen=True)
class QualityReport:
    """What quality control has done."""

    values: int
    """How many values there were."""
    rejected: dict[str, int]
    """How many of them each check rejected, by name."""
    stations: dict[str, int]
    """How many values of each station were rejected, most first; only stations that lost any."""
    not_done: tuple[str, ...]
    """The checks that were not done, and why."""

    def __str__(self) -> str:
        """Say it in one line."""
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
    """Reject wrong values of rain: they become NaN, and ``quality_flag`` says why.

    Parameters
    ----------
    stations
        Station reports.
    radar
        Precipitation field over the same time; without it only what needs none is checked.
    offset
        How much later rain is at the stations than the radar's stamps say, see `hybridcast.stations.clock`.
    settings
        Limits of the checks.

    Returns
    -------
    Dataset, QualityReport
        The reports with wrong rates NaN and an int8 variable ``quality_flag`` (CF flag_values and flag_meanings), and
        what was rejected.

    Examples
    --------
    >>> from hybridcast.stations import station_reports
    >>> reports = station_reports([[0.0, 1500.0]], station=["A"], interval=np.timedelta64(15, "m"),
    ...                           time=["2020-01-01T00:15", "2020-01-01T00:30"], places={"x": [0.0], "y": [0.0]})
    >>> checked, report = quality_control(reports)
    >>> checked.precipitation_rate.values.tolist(), report.rejected["range"]
    ([[0.0, nan]], 1)
    """
    rates = stations[NAME].values
    flags = np.where(np.isfinite(rates), 0, MEANINGS.index("missing")).astype(np.int8)
    interval = get_interval(stations)
    not_done: list[str] = []
    _mark(flags, "range", rates > highest_credible_rate(interval, settings))
    _mark(flags, "stuck", _stuck(np.where(flags == 0, rates, np.nan), interval, settings))
    for name, wrong in _compared(_good(stations, flags), radar, offset, settings, not_done).items():
        _mark(flags, name, wrong)
    report = _report(stations, flags, not_done)
    attrs = {
        "long_name": "quality of precipitation_rate",
        "flag_values": np.arange(len(MEANINGS), dtype=np.int8),
        "flag_meanings": " ".join(MEANINGS),
    }
    checked = _good(stations, flags).assign({FLAG: (DIMS, flags, attrs)})
    return checked.assign_attrs(quality_control=str(report)), report


def highest_credible_rate(interval: np.timedelta64, settings: QualitySettings = QualitySettings()) -> float:
    """Return the highest rate (mm h-1) over `interval` that is believed.

    Examples
    --------
    >>> round(highest_credible_rate(np.timedelta64(1, "h")))
    211
    """
    hours = float(interval / np.timedelta64(1, "h"))
    return float(settings.share_of_records * RECORDS[0] * hours ** (RECORDS[1] - 1))


def _good(stations: xr.Dataset, flags: NDArray[np.int8]) -> xr.Dataset:
    return stations.assign({NAME: stations[NAME].where(xr.DataArray(flags == 0, dims=DIMS))})


def _mark(flags: NDArray[np.int8], name: str, wrong: Mask) -> None:
    flags[wrong & (flags == 0)] = MEANINGS.index(name)


def _report(stations: xr.Dataset, flags: NDArray[np.int8], not_done: list[str]) -> QualityReport:
    rejected = {name: int((flags == MEANINGS.index(name)).sum()) for name in MEANINGS[1:-1]}
    missing = MEANINGS.index("missing")
    by_station = ((flags > 0) & (flags < missing)).sum(axis=1)
    worst = np.argsort(-by_station, kind="stable")
    lost = {str(stations["station"].values[n]): int(by_station[n]) for n in worst if by_station[n]}
    return QualityReport(int((flags < missing).sum()), rejected, lost, tuple(not_done))


# --- alone ----------------------------------------------------------------------------------------------------


def _stuck(rates: Rates, interval: np.timedelta64, settings: QualitySettings) -> Mask:
    """Find runs of one and the same rate."""
    least = max(settings.stuck_reports, int(np.ceil(np.timedelta64(int(settings.stuck_hours * 60), "m") / interval)))
    new = np.ones(rates.shape, bool)
    new[:, 1:] = rates[:, 1:] != rates[:, :-1]  # NaN is never the same
    run = np.cumsum(new, axis=1) + np.arange(len(rates))[:, None] * (rates.shape[1] + 1)
    _, which, length = np.unique(run, return_inverse=True, return_counts=True)
    return (length[which].reshape(rates.shape) >= least) & (rates >= settings.stuck_rate)


# --- against others -------------------------------------------------------------------------------------------


def _compared(
    stations: xr.Dataset,
    radar: xr.DataArray | None,
    offset: np.timedelta64,
    settings: QualitySettings,
    not_done: list[str],
) -> dict[str, Mask]:
    """Return what neighbours and radar find wrong, by the name of the check."""
    nothing = np.zeros(stations[NAME].shape, bool)
    if not nothing.size:
        return {}
    step = comparison_step(stations, np.timedelta64(settings.step_minutes, "m"))
    steps = resample_reports(stations, step, ending=stations["time"].values[-1])
    rates = steps[NAME].values
    seen = np.full_like(rates, np.nan) if radar is None else sample_radar(steps, radar, offset=offset).values
    wrong: dict[str, Mask] = {}
    if importlib.util.find_spec("titanlib") is None:
        not_done.append("isolated and neighbours: titanlib is not installed")
    else:
        if np.isfinite(seen).any():
            wrong["isolated"] = _isolated(steps, rates, seen, settings)
            rates = np.where(wrong["isolated"], np.float32(np.nan), rates)
        else:
            not_done.append("isolated: no radar at the stations")
        wrong["neighbours"] = _neighbours(steps, rates, seen, settings)
        rates = np.where(wrong["neighbours"], np.float32(np.nan), rates)
    if np.isfinite(seen).any():
        wrong["radar"] = _against_radar(steps, rates, seen, settings)
    else:
        not_done.append("radar: none at the stations")
    part = np.searchsorted(steps["time"].values, stations["time"].values)
    return {name: mask[:, part] for name, mask in wrong.items()}


def _isolated(steps: xr.Dataset, rates: Rates, seen: Rates, settings: QualitySettings) -> Mask:
    dry = settings.wet / 10
    alone = _by_titanlib(
        steps,
        rates,
        lambda titanlib, points, values, radius, least: titanlib.buddy_event_check(
            points, values, radius, least, dry, settings.confirmed_by, -1.0, 0.0, 1
        ),
        settings,
    )
    rain_alone = (rates >= settings.wet) & (seen < dry)
    dry_alone = (rates < dry) & (seen >= settings.wet)
    return alone & (rain_alone | dry_alone)


def _neighbours(steps: xr.Dataset, rates: Rates, seen: Rates, settings: QualitySettings) -> Mask:
    far = _by_titanlib(
        steps,
        np.cbrt(rates),
        lambda titanlib, points, values, radius, least: titanlib.buddy_check(
            points, values, radius, least, settings.outlier, -1.0, 0.0, settings.least_spread, 2
        ),
        settings,
    )
    confirmed = np.abs(np.cbrt(rates) - np.cbrt(seen)) < settings.outlier * settings.least_spread / 2
    return np.asarray(far & ~confirmed)


def _by_titanlib(steps: xr.Dataset, values: Rates, check: Any, settings: QualitySettings) -> Mask:
    """Apply a check of titanlib to the stations with values, at each time with rain."""
    import titanlib

    place, kind = _titanlib_places(steps)
    radius, least = np.array([settings.radius * 1000]), np.array([settings.least_neighbours])
    found = np.zeros(values.shape, bool)
    known = np.isfinite(values) & np.expand_dims(np.isfinite(place).all(axis=0), 1)
    for now in np.flatnonzero((known & (values > 0)).any(axis=0)):
        here = np.flatnonzero(known[:, now])
        flat = np.zeros(here.size)
        points = titanlib.Points(*place[:, here], flat, flat, kind)
        found[here, now] = check(titanlib, points, values[here, now].astype(np.float64), radius, least) > 0
    return found


def _titanlib_places(steps: xr.Dataset) -> tuple[NDArray[np.float64], int]:
    import titanlib

    degrees = {"latitude", "longitude"} <= set(steps.coords)
    names = ("latitude", "longitude") if degrees else ("y", "x")
    place = np.stack([steps[name].values.astype(np.float64) for name in names])
    return place, titanlib.Geodetic if degrees else titanlib.Cartesian


def _against_radar(steps: xr.Dataset, rates: Rates, seen: Rates, settings: QualitySettings) -> Mask:
    """Compare sums over the last hours, and let neighbours decide where they differ."""
    hours = float(get_interval(steps) / np.timedelta64(1, "h"))
    count = max(1, round(settings.radar_hours / hours))
    gauge, radar = (_running_sum(values, count) * hours for values in (rates, seen))
    low, high = np.fmin(gauge, radar), np.fmax(gauge, radar)
    wrong = high > settings.radar_factor * low + settings.radar_amount
    for station, now in np.argwhere(wrong):
        others = _near(steps, station, settings.radius)
        nearby = gauge[others, now]
        nearby = nearby[np.isfinite(nearby)]
        if nearby.size >= settings.least_neighbours:
            middle = np.median(nearby)
            wrong[station, now] = abs(middle - gauge[station, now]) > abs(middle - radar[station, now])
    return wrong


def _running_sum(values: Rates, count: int) -> NDArray[np.float64]:
    """Sum over the last `count` values; NaN where one is missing, and before there are so many."""
    sums = np.full(values.shape, np.nan)
    if values.shape[1] >= count:
        windows = np.lib.stride_tricks.sliding_window_view(values, count, axis=1)
        sums[:, count - 1 :] = windows.sum(axis=-1)
    return sums


def _near(steps: xr.Dataset, station: int, radius: float) -> NDArray[np.intp]:
    place = project_to_plane(steps)
    place = np.where(np.isfinite(place), place, 1e9)
    near = cKDTree(place).query_ball_point(place[station], radius)
    return np.array([other for other in near if other != station], dtype=np.intp)
