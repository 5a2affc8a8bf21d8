"""Adjustment of radar rates by gauges: a mean field bias and spatial factors after Brandes, both shrunk for few gauges.

The sums of gauge (G) and radar (R) over the time of the frames are compared at each gauge where both have rain.

1. Mean field bias (Smith and Krajewski 1991, Water Resour. Res. 27): the logarithm of sum(G) / sum(R), times
   n / (n + n0), where n is the number of pairs and n0 a prior number of pairs without bias.
2. Spatial factors (Brandes 1975, J. Appl. Meteorol. 14): the logarithm of the remaining ratio at each gauge is
   interpolated with weights exp(-(d / L)^2) and multiplied by n / (n + n0) again, because spatial differences
   estimated from few gauges are mostly noise. A constant added to the sum of the weights lets the factor return to the
   mean field bias far from gauges, and limits the influence of a single gauge.
3. The product of both is kept within bounds.

Without gauges, or with too little rain, the factor is 1 everywhere, and the report states the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import HIGHEST_RATE, RATE
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import HOUR, Array
from hybridcast.stations.collocation import NO_OFFSET, collocate, positions_in_kilometres, sample_radar
from hybridcast.stations.interpolation import average_neighbours, cell_indices, find_nearest
from hybridcast.stations.schema import get_interval

#: Maximum number of gauges used for the factor at one cell; more only cost time.
NEIGHBOURS = 24


@dataclass(frozen=True)
class AdjustmentSettings:
    """Settings of the adjustment."""

    min_amount: float = 0.1
    """Minimum sum (mm) of both gauge and radar for their ratio to be used."""
    min_coverage: float = 0.5
    """Minimum fraction of the time of the frames that the reports of a gauge must cover."""
    prior_pairs: float = 10.0
    """Number n0 of pairs at which the mean field bias and the spatial factors get half of their full weight."""
    length: float = 15.0
    """Length scale L of the spatial weights, km."""
    prior_weight: float = 0.7
    """Constant added to the sum of the spatial weights."""
    max_factor: float = 4.0
    """Upper bound of the factor; its inverse is the lower bound."""
    untrusted: tuple[str, ...] = ("link",)
    """Kinds of sensors (values of ``sensor``) that are not used to adjust the radar."""


@dataclass(frozen=True)
class AdjustmentReport:
    """Summary of an adjustment."""

    pairs: int
    """Number of gauges with rain in both gauge and radar."""
    mean_field_bias: float
    """Factor for the whole field, after shrinkage."""
    min_factor: float
    """Lowest factor over the field."""
    max_factor: float
    """Highest factor over the field."""
    reason: str
    """Reason why the field was not adjusted; empty if it was."""

    def __str__(self) -> str:
        """Return a summary in one line."""
        if self.reason:
            return f"radar not adjusted: {self.reason}"
        return (
            f"radar adjusted by {self.pairs} gauges: mean field bias {self.mean_field_bias:.2f}, "
            f"factors {self.min_factor:.2f} to {self.max_factor:.2f}"
        )


@dataclass(frozen=True)
class Pairs:
    """Sums of gauges and of the radar at these gauges, over the same time."""

    positions: Array
    """Rows and columns of the gauges on the radar's grid, shape ``(pair, 2)``."""
    gauge: Array
    """Sums of the gauges, mm, shape ``(pair,)``."""
    radar: Array
    """Sums of the radar at the gauges, mm, shape ``(pair,)``."""
    station: NDArray[np.intp]
    """Index of the station of each pair, shape ``(pair,)``."""


def adjust_radar(
    recent: xr.DataArray,
    stations: xr.Dataset | None,
    *,
    offset: np.timedelta64 = NO_OFFSET,
    settings: AdjustmentSettings = AdjustmentSettings(),
) -> tuple[xr.DataArray, AdjustmentReport]:
    """Multiply radar rates by factors estimated from gauges.

    Parameters
    ----------
    recent
        Precipitation field, the frames up to now; at least half an hour, preferably two hours.
    stations
        Station reports, after quality control. Only reports whose interval ended at the last frame or before are used.
    offset
        Delay of the rain at the stations with respect to the time stamps of the radar, see `hybridcast.stations.clock`.
    settings
        Settings of the adjustment.

    Returns
    -------
    DataArray, AdjustmentReport
        The adjusted field (float32; NaN stays NaN, dry stays dry), or `recent` itself if no gauge is usable, and a
        summary of the adjustment.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> from hybridcast.stations import station_reports
    >>> times = np.datetime64("2020-01-01T00:00") + np.arange(7) * np.timedelta64(5, "m")
    >>> axis = np.arange(4) * 2e3
    >>> radar = precipitation(np.full((7, 4, 4), 2.0), time=times, y=axis, x=axis, crs=None)
    >>> gauges = station_reports(np.full((3, 7), 4.0), station=["A", "B", "C"], time=times,
    ...                          interval=np.timedelta64(5, "m"), coords={"x": axis[:3], "y": axis[:3]})
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
    """Sum gauges and radar over the time of the frames, at the trusted gauges where both have enough rain.

    A report is used if its interval lies within the time of the frames, shifted by `offset`, and ended at the last
    frame or before.
    """
    gauge, radar, hours = sum_over_frames(recent, stations, offset=offset)
    positions = collocate(stations, recent)
    duration = float((recent["time"].values[-1] - recent["time"].values[0]) / HOUR)
    usable = (gauge >= settings.min_amount) & (radar >= settings.min_amount)
    usable &= hours >= settings.min_coverage * duration
    usable &= ~np.isin(stations["sensor"].values.astype(str), settings.untrusted)
    chosen = np.flatnonzero(usable & np.isfinite(positions).all(axis=-1))
    return Pairs(positions[chosen], gauge[chosen], radar[chosen], chosen)


def sum_over_frames(
    recent: xr.DataArray, stations: xr.Dataset, *, offset: np.timedelta64 = NO_OFFSET
) -> tuple[Array, Array, Array]:
    """Return the sums (mm) of gauges and radar over the reports within the time of the frames, and the hours covered.

    All have the shape ``(station,)``; reports without a radar value are left out of both sums.
    """
    times, interval = recent["time"].values, get_interval(stations)
    begin = times[0] + offset - (time_step(times) or interval)
    ends = stations["time"].values
    inside = stations.isel(time=(ends <= times[-1]) & (ends - interval >= begin))
    gauge, radar = inside[RATE].values, sample_radar(inside, recent, offset=offset).values
    both = np.isfinite(gauge) & np.isfinite(radar)
    hours = np.float32(interval / HOUR)
    sums = (np.where(both, values, 0).sum(axis=1, dtype=np.float32) * hours for values in (gauge, radar))
    return (*sums, both.sum(axis=1).astype(np.float32) * hours)


def compute_factors(
    positions: Array, field: xr.DataArray, pairs: Pairs, settings: AdjustmentSettings = AdjustmentSettings()
) -> tuple[float, Array]:
    """Compute the mean field bias and the factor at `positions` (rows and columns) from pairs of sums."""
    if not pairs.gauge.size:
        return 1.0, np.ones(len(positions), np.float32)
    count = pairs.gauge.size
    shrinkage = count / (count + settings.prior_pairs)
    bias = shrinkage * np.log(pairs.gauge.sum() / pairs.radar.sum())
    residual = (np.log(pairs.gauge / pairs.radar) - bias).astype(np.float32)
    gauges, cells = (positions_in_kilometres(at, field) for at in (pairs.positions, positions))
    near = find_nearest(gauges, cells, NEIGHBOURS, 3 * settings.length)
    spatial = average_neighbours(residual, near, near.weights(settings.length), settings.prior_weight)
    spatial *= np.float32(shrinkage)
    limit = np.log(settings.max_factor)
    return float(np.exp(bias)), np.exp(np.clip(bias + np.nan_to_num(spatial), -limit, limit)).astype(np.float32)


# --- validation -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeaveOneOut:
    """Result of leave-one-out validation: sums at gauges, and of the radar before and after adjustment by the others.

    All have the shape ``(gauge,)``.
    """

    station: NDArray[np.intp]
    """Index of the station of each gauge."""
    gauge: Array
    """Sums of the gauges, mm."""
    radar: Array
    """Sums of the radar at the gauges, mm."""
    adjusted: Array
    """Sums of the radar at the gauges, mm, each adjusted by all gauges but the one compared with."""

    @property
    def errors(self) -> dict[str, float]:
        """Root mean square error, mean absolute error (mm) and bias (ratio) of the radar and of the adjusted radar."""
        found: dict[str, float] = {}
        for name, values in (("radar", self.radar), ("adjusted", self.adjusted)):
            error = values.astype(np.float64) - self.gauge
            found[f"rmse_{name}"] = float(np.sqrt((error**2).mean()))
            found[f"mae_{name}"] = float(np.abs(error).mean())
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
    """Validate the adjustment: leave out each gauge in turn, adjust by all others, and compare at the gauge left out.

    Parameters
    ----------
    recent, stations, offset, settings
        See `adjust_radar`.
    wet
        Minimum sum (mm) of gauge or radar for a gauge to be compared.
    """
    gauge, radar, hours = sum_over_frames(recent, stations, offset=offset)
    pairs = pair_sums(recent, stations, offset=offset, settings=settings)
    positions = collocate(stations, recent)
    chosen = np.flatnonzero((hours > 0) & ((gauge >= wet) | (radar >= wet)))
    after = np.empty(chosen.size, np.float32)
    for n, station in enumerate(chosen):
        others = pairs.station != station
        kept = Pairs(pairs.positions[others], pairs.gauge[others], pairs.radar[others], pairs.station[others])
        after[n] = radar[station] * compute_factors(positions[station][None], recent, kept, settings)[1][0]
    return LeaveOneOut(chosen, gauge[chosen], radar[chosen], after)
