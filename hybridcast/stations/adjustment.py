"""Radar rates adjusted by trusted gauges: a mean field bias, then Brandes' spatial factors, both shrunk where gauges
are few.

Sums of gauge (G) and radar (R) over the time of the frames are compared at each gauge that has rain in both.

1. Mean field bias (Smith and Krajewski 1991, Water Resour. Res. 27): the logarithm of sum(G) / sum(R), times
   n / (n + n0), the weight of n pairs against n0 that say the radar is right.
2. Brandes (1975, J. Appl. Meteorol. 14): what is left of the ratio at each gauge is spread by weights exp(-(d /
   L)^2), in logarithms, with a constant added to the sum of the weights, and times n / (n + n0) again: what a few
   gauges seem to tell of places is mostly chance. So the factor goes back to the mean field bias far from gauges, and
   no single gauge is believed in full.
3. The product is kept within bounds.

With no gauge, or too little rain, the factor is 1 everywhere, and the report says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE, NAME, time_step
from hybridcast.stations.collocation import NO_OFFSET, collocate, positions_in_kilometres, sample_radar
from hybridcast.stations.interpolation import average_neighbours, cell_indices, find_nearest
from hybridcast.stations.schema import get_interval

Floats = NDArray[np.float32]

#: So many gauges around a place count; more only cost time.
NEIGHBOURS = 24


@dataclass(frozen=True)
class AdjustmentSettings:
    """Settings of the adjustment."""

    least_amount: float = 0.1
    """Gauge and radar both need so much (mm) for their ratio to tell something."""
    least_share: float = 0.5
    """A gauge has to report for this share of the time of the frames."""
    prior_pairs: float = 10.0
    """n0: with so many pairs the mean field bias, and what is left at gauges, are believed by half."""
    length: float = 15.0
    """L, km."""
    prior_weight: float = 0.7
    """What is added to the sum of weights."""
    highest: float = 4.0
    """The factor is between this and its inverse."""
    untrusted: tuple[str, ...] = ("link",)
    """Kinds of sensors (``sensor``) that do not adjust the radar."""


@dataclass(frozen=True)
class AdjustmentReport:
    """What the adjustment has done."""

    pairs: int
    """Gauges with rain in gauge and radar."""
    mean_field_bias: float
    """The factor for the whole field, shrunk."""
    lowest: float
    highest: float
    """Bounds of the factor over the field."""
    reason: str
    """Why it is the identity; empty if it is not."""

    def __str__(self) -> str:
        """Say it in one line."""
        if self.reason:
            return f"radar not adjusted: {self.reason}"
        return (
            f"radar adjusted by {self.pairs} gauges: mean field bias {self.mean_field_bias:.2f}, "
            f"factors {self.lowest:.2f} to {self.highest:.2f}"
        )


@dataclass(frozen=True)
class Pairs:
    """Sums of gauges and radar at the places of gauges, over one time."""

    places: Floats
    """Rows and columns, shape ``(pair, 2)``."""
    gauge: Floats
    """mm, shape ``(pair,)``."""
    radar: Floats
    """mm, shape ``(pair,)``."""
    station: NDArray[np.intp]
    """Which station each is of."""


def adjust_radar(
    recent: xr.DataArray,
    stations: xr.Dataset | None,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: AdjustmentSettings = AdjustmentSettings(),
) -> tuple[xr.DataArray, AdjustmentReport]:
    """Multiply radar rates by the factors that gauges ask for.

    Parameters
    ----------
    recent
        Precipitation field, the frames up to now; half an hour or more, better two.
    stations
        Station reports, after quality control. Only those whose interval ended at the last frame or before are used.
    offset
        How much later rain is at the stations than the radar's stamps say, see `hybridcast.stations.clock`.
    settings
        How much gauges are believed.

    Returns
    -------
    DataArray, AdjustmentReport
        The field (float32; NaN stays NaN, dry stays dry), and what was done. Without usable gauges it is `recent`
        itself.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> times = np.datetime64("2020-01-01T00:00") + np.arange(7) * np.timedelta64(5, "m")
    >>> axis = np.arange(4) * 2e3
    >>> radar = precipitation(np.full((7, 4, 4), 2.0), time=times, y=axis, x=axis, crs=None)
    >>> gauges = station_reports(np.full((3, 7), 4.0), station=["A", "B", "C"], time=times,
    ...                          interval=np.timedelta64(5, "m"), places={"x": axis[:3], "y": axis[:3]})
    >>> field, report = adjust_radar(radar, gauges)
    >>> round(report.mean_field_bias, 2), bool((field > radar).all()), adjust_radar(radar, None)[1].reason
    (1.17, True, 'there is no station')
    """
    if stations is None or not stations.sizes["station"]:
        return recent, _identity("there is no station")
    pairs = pair_sums(recent, stations, offset=offset, settings=settings)
    if not pairs.gauge.size:
        return recent, _identity("no trusted gauge has rain where the radar has rain too")
    bias, at_cells = compute_factors(cell_indices(recent), recent, pairs, settings)
    factor = at_cells.reshape(recent.shape[-2:])
    field = (recent * xr.DataArray(factor, dims=("y", "x"))).clip(max=HIGHEST_RATE).astype(np.float32)
    report = AdjustmentReport(pairs.gauge.size, bias, float(factor.min()), float(factor.max()), "")
    return field.rename(recent.name).assign_attrs({**recent.attrs, "adjustment": str(report)}), report


def _identity(reason: str) -> AdjustmentReport:
    return AdjustmentReport(0, 1.0, 1.0, 1.0, reason)


def pair_sums(
    recent: xr.DataArray,
    stations: xr.Dataset,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: AdjustmentSettings = AdjustmentSettings(),
) -> Pairs:
    """Sum up gauges and radar over the time of the frames, where both are there and have rain.

    A report counts if its interval lies within the frames' time, moved by `offset`, and ended at the last frame or
    before.
    """
    gauge, radar, hours = sum_over_frames(recent, stations, offset=offset)
    places = collocate(stations, recent)
    covered = float((recent["time"].values[-1] - recent["time"].values[0]) / np.timedelta64(1, "h"))
    enough = (gauge >= settings.least_amount) & (radar >= settings.least_amount)
    enough &= hours >= settings.least_share * covered
    enough &= ~np.isin(stations["sensor"].values.astype(str), settings.untrusted)
    chosen = np.flatnonzero(enough & np.isfinite(places).all(axis=-1))
    return Pairs(places[chosen], gauge[chosen], radar[chosen], chosen)


def sum_over_frames(
    recent: xr.DataArray, stations: xr.Dataset, *, offset: np.timedelta64 = NO_OFFSET
) -> tuple[Floats, Floats, Floats]:
    """Return gauge and radar sums (mm) at all stations over the reports within the frames' time, and their hours."""
    times, interval = recent["time"].values, get_interval(stations)
    begin = times[0] + offset - (time_step(times) or interval)
    ends = stations["time"].values
    inside = stations.isel(time=(ends <= times[-1]) & (ends - interval >= begin))
    gauge, radar = inside[NAME].values, sample_radar(inside, recent, offset=offset).values
    both = np.isfinite(gauge) & np.isfinite(radar)
    hours = np.float32(interval / np.timedelta64(1, "h"))
    sums = (np.where(both, values, 0).sum(axis=1, dtype=np.float32) * hours for values in (gauge, radar))
    return (*sums, both.sum(axis=1).astype(np.float32) * hours)


def compute_factors(
    places: Floats, field: xr.DataArray, pairs: Pairs, settings: AdjustmentSettings = AdjustmentSettings()
) -> tuple[float, Floats]:
    """Return the mean field bias, and the whole factor at `places` (rows and columns), from pairs of sums."""
    if not pairs.gauge.size:
        return 1.0, np.ones(len(places), np.float32)
    count = pairs.gauge.size
    shrunk = count / (count + settings.prior_pairs)
    bias = shrunk * np.log(pairs.gauge.sum() / pairs.radar.sum())
    left = np.log(pairs.gauge / pairs.radar) - bias
    near = find_nearest(
        positions_in_kilometres(pairs.places, field),
        positions_in_kilometres(places, field),
        NEIGHBOURS,
        3 * settings.length,
    )
    spread = average_neighbours(left.astype(np.float32), near, near.weights(settings.length), settings.prior_weight)
    spread *= np.float32(shrunk)
    limit = np.log(settings.highest)
    return float(np.exp(bias)), np.exp(np.clip(bias + np.nan_to_num(spread), -limit, limit)).astype(np.float32)


# --- how good -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeaveOneOut:
    """Sums (mm) at gauges, and of the radar there without and with the adjustment by all the other gauges."""

    station: NDArray[np.intp]
    gauge: Floats
    radar: Floats
    adjusted: Floats

    @property
    def errors(self) -> dict[str, float]:
        """Root mean square and mean absolute errors (mm) of the radar and of the adjusted radar, and their biases."""
        found: dict[str, float] = {}
        for name, values in (("radar", self.radar), ("adjusted", self.adjusted)):
            miss = values.astype(np.float64) - self.gauge
            found[f"rmse_{name}"] = float(np.sqrt((miss**2).mean()))
            found[f"mae_{name}"] = float(np.abs(miss).mean())
            found[f"bias_{name}"] = float(values.sum() / self.gauge.sum())
        return found


def leave_one_out(
    recent: xr.DataArray,
    stations: xr.Dataset,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: AdjustmentSettings = AdjustmentSettings(),
    wet: float = 0.1,
) -> LeaveOneOut:
    """Leave out each gauge in turn, adjust by all others, and compare there, where gauge or radar have `wet` mm.

    Parameters
    ----------
    recent, stations, offset, settings
        As of `adjust_radar`.
    wet
        Where neither gauge nor radar have so much (mm), nothing is compared.
    """
    gauge, radar, hours = sum_over_frames(recent, stations, offset=offset)
    pairs = pair_sums(recent, stations, offset=offset, settings=settings)
    places = collocate(stations, recent)
    chosen = np.flatnonzero((hours > 0) & ((gauge >= wet) | (radar >= wet)))
    after = np.empty(chosen.size, np.float32)
    for n, station in enumerate(chosen):
        others = pairs.station != station
        kept = Pairs(pairs.places[others], pairs.gauge[others], pairs.radar[others], pairs.station[others])
        after[n] = radar[station] * compute_factors(places[station][None], recent, kept, settings)[1][0]
    return LeaveOneOut(chosen, gauge[chosen], radar[chosen], after)
