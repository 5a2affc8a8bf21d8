"""How much later rain is at the stations than the radar's stamps say.

Radar stamps may be the beginning of a scan, its end, or the time of the composite; what is measured a kilometre up
needs minutes to fall; gauges report in steps; and clocks are wrong. All that is one offset, by which the radar has to
be moved to meet the gauges. It is the lag at which both agree best (as in pairing radar and gauges since Kitchen and
Blackall 1992, J. Hydrol. 134).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME, time_step
from hybridcast.stations.collocation import sample_radar
from hybridcast.stations.merging import resample_reports
from hybridcast.stations.schema import get_interval

#: Reports are compared over about this time: shorter ones are mostly the steps of the gauges.
COMPARED = np.timedelta64(15, "m")
#: Offsets up to this are tried.
FARTHEST = np.timedelta64(30, "m")
#: Rates (mm h-1) above this are wet.
WET = 0.1
#: Fewer pairs with rain in one of both tell nothing,
LEAST_PAIRS = 50
#: nor do those that hardly agree at any lag,
LEAST_CORRELATION = 0.3
#: nor an offset that makes less difference to the correlation than this.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class ClockOffset:
    """What comparing the clocks of radar and stations has found."""

    offset: np.timedelta64
    """Rain is at the stations so much later than the radar's stamps say."""
    correlation: float
    """Of square roots of rates, at this offset."""
    correlation_as_stamped: float
    """The same without an offset."""
    pairs: int
    """How many pairs with rain it rests on."""
    by_offset: tuple[tuple[float, float], ...]
    """Minutes and correlation of all offsets that were tried."""

    def __str__(self) -> str:
        """Say it in one line."""
        minutes = self.offset / np.timedelta64(1, "m")
        return (
            f"rain at the stations is {minutes:g} min later than the radar says (correlation {self.correlation:.3f}, "
            f"{self.correlation_as_stamped:.3f} as stamped, {self.pairs} pairs)"
        )


def clock_offset(
    stations: xr.Dataset, field: xr.DataArray, *, farthest: np.timedelta64 = FARTHEST
) -> ClockOffset | None:
    """Estimate the offset between the clocks of radar and stations.

    Parameters
    ----------
    stations
        Station reports.
    field
        Precipitation field over the same time, hours at least.
    farthest
        Offsets up to this are tried, in both directions, in steps of the radar.

    Returns
    -------
    ClockOffset or None
        None if there is too little rain to tell, or radar and stations do not agree at any lag.

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
    ...                          places={"x": axis, "y": axis})
    >>> float(clock_offset(gauges, radar).offset / np.timedelta64(1, "m"))
    10.0
    """
    step = time_step(field["time"].values)
    if step is None or not stations.sizes["time"]:
        return None
    compared = resample_reports(stations, comparison_step(stations))
    count = int(farthest // step)
    lags = [n * step for n in range(-count, count + 1)]
    radar = np.stack([sample_radar(compared, field, offset=lag).values for lag in lags])
    gauge = compared[NAME].values
    both = np.isfinite(gauge) & np.isfinite(radar).all(axis=0)  # the same pairs at each lag
    wet = both & ((gauge >= WET) | (radar >= WET).any(axis=0))
    pairs = int(wet.sum())
    if pairs < LEAST_PAIRS:
        return None
    found = [_correlation(gauge[wet], at[wet]) for at in radar]
    best, as_stamped = int(np.argmax(found)), found[count]
    if found[best] < LEAST_CORRELATION:
        return None
    best = count if found[best] - as_stamped < LEAST_GAIN else best
    minutes = [float(lag / np.timedelta64(1, "m")) for lag in lags]
    tried = tuple(zip(minutes, found, strict=True))
    return ClockOffset(lags[best], found[best], as_stamped, pairs, tried)


def comparison_step(stations: xr.Dataset, least: np.timedelta64 = COMPARED) -> np.timedelta64:
    """Return the shortest multiple of the interval of the reports that is at least `least`."""
    interval = get_interval(stations)
    return interval * int(-(-least // interval))


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlate square roots, so that no single shower decides; 0 where one does not vary."""
    a, b = np.sqrt(a.astype(np.float64)), np.sqrt(b.astype(np.float64))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
