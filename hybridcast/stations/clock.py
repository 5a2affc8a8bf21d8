"""Offset between the clocks of radar and stations: the delay of rain at the stations with respect to the radar.

A radar time stamp may be the beginning of a scan, its end, or the time of the composite; rain observed a kilometre
above the ground needs minutes to fall; gauges report in steps; and clocks may be wrong. All these effects add up to one
offset, by which the radar has to be shifted in time to match the gauges. It is estimated as the lag at which both are
correlated best, as is usual for pairs of radar and gauges since Kitchen and Blackall (1992, J. Hydrol. 134).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import MINUTE, Array
from hybridcast.stations.collocation import sample_radar
from hybridcast.stations.merging import resample_reports
from hybridcast.stations.schema import get_interval

#: Minimum interval over which reports are compared: over shorter ones the tips of the gauges dominate.
MIN_INTERVAL = np.timedelta64(15, "m")
#: Largest offset that is tried, in both directions.
MAX_OFFSET = np.timedelta64(30, "m")
#: Rates (mm h-1) from here on are wet.
WET = 0.1
#: Minimum number of pairs with rain in the gauge or the radar for an estimate.
MIN_PAIRS = 50
#: Minimum correlation at the best lag for an estimate.
MIN_CORRELATION = 0.3
#: Minimum gain in correlation over the time stamps as given; below it the offset is taken as zero.
MIN_GAIN = 0.01


@dataclass(frozen=True)
class ClockOffset:
    """Estimated offset between the clocks of radar and stations."""

    offset: np.timedelta64
    """Delay of the rain at the stations with respect to the time stamps of the radar."""
    correlation: float
    """Correlation of the square roots of the rates at this offset."""
    correlation_as_stamped: float
    """Correlation of the square roots of the rates without an offset."""
    pairs: int
    """Number of pairs with rain used for the estimate."""
    by_offset: tuple[tuple[float, float], ...]
    """Offset in minutes and correlation of all offsets that were tried."""

    def __str__(self) -> str:
        """Return a summary in one line."""
        minutes = self.offset / MINUTE
        return (
            f"rain at the stations is {minutes:g} min later than in the radar (correlation {self.correlation:.3f}, "
            f"{self.correlation_as_stamped:.3f} as stamped, {self.pairs} pairs)"
        )


def clock_offset(
    stations: xr.Dataset, field: xr.DataArray, *, max_offset: np.timedelta64 = MAX_OFFSET
) -> ClockOffset | None:
    """Estimate the offset between the clocks of radar and stations.

    Parameters
    ----------
    stations
        Station reports.
    field
        Precipitation field over the same time, at least several hours.
    max_offset
        Largest offset to try, in both directions, in multiples of the radar's time step.

    Returns
    -------
    ClockOffset or None
        None if there is too little rain for an estimate, or if radar and stations are hardly correlated at any lag.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> times = np.datetime64("2020-01-01T00:00") + np.arange(60) * np.timedelta64(5, "m")
    >>> rain = np.random.default_rng(0).gamma(0.5, 4.0, (60, 4, 4))
    >>> axis = np.arange(4) * 2e3
    >>> radar = precipitation(rain, time=times, y=axis, x=axis, crs=None)
    >>> gauges = station_reports(rain[:, range(4), range(4)].T, station=["A", "B", "C", "D"],
    ...                          time=times + np.timedelta64(10, "m"), interval=np.timedelta64(5, "m"),
    ...                          coords={"x": axis, "y": axis})
    >>> float(clock_offset(gauges, radar).offset / np.timedelta64(1, "m"))
    10.0
    """
    step = time_step(field["time"].values)
    if step is None or not stations.sizes["time"]:
        return None
    compared = resample_reports(stations, comparison_step(stations))
    count = int(max_offset // step)
    lags = [n * step for n in range(-count, count + 1)]
    radar = np.stack([sample_radar(compared, field, offset=lag).values for lag in lags])
    gauge = compared[RATE].values
    known = np.isfinite(gauge) & np.isfinite(radar).all(axis=0)  # the same pairs at each lag
    wet = known & ((gauge >= WET) | (radar >= WET).any(axis=0))
    pairs = int(wet.sum())
    if pairs < MIN_PAIRS:
        return None
    correlations = [_correlate(gauge[wet], at_lag[wet]) for at_lag in radar]
    best, as_stamped = int(np.argmax(correlations)), correlations[count]
    if correlations[best] < MIN_CORRELATION:
        return None
    best = count if correlations[best] - as_stamped < MIN_GAIN else best
    minutes = [float(lag / MINUTE) for lag in lags]
    by_offset = tuple(zip(minutes, correlations, strict=True))
    return ClockOffset(lags[best], correlations[best], as_stamped, pairs, by_offset)


def comparison_step(stations: xr.Dataset, shortest: np.timedelta64 = MIN_INTERVAL) -> np.timedelta64:
    """Return the shortest multiple of the interval of the reports that is at least `shortest`."""
    interval = get_interval(stations)
    return interval * int(-(-shortest // interval))


def _correlate(a: Array, b: Array) -> float:
    """Return the correlation of square roots, so that no single shower dominates; 0 if one does not vary."""
    a, b = np.sqrt(a.astype(np.float64)), np.sqrt(b.astype(np.float64))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
