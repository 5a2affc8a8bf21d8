"""Blend of radar extrapolation and NWP by their recent skill: transparent, and without training.

    rate = w * extrapolation + (1 - w) * NWP

The weights depend on lead time and on the recent skill of each source, measured by its correlation r with the radar in
decibels of the rain rate. For two forecasts with independent errors, least squares assigns to each a weight
proportional to

    r / (1 - r**2)

(the regression on both, whose mutual correlation is r1 * r2; STEPS weights its cascades in this way, Bowler, Pierce and
Seed 2006, doi:10.1256/qj.04.100).

- **Extrapolation**: frames of the last hour are forecast from the frames and the motion before them. The correlation of
  the extrapolation decreases as ``exp(-lead / life)``, with the life that fits these hindcasts best.
- **NWP**: the newest run is compared with the frames of the last hour. Its correlation is assumed to remain the same
  for the next hours.

Where only one source is known, the blend is that source; where none is known, it is unknown. The mean of two fields is
smoother than each of them. *Salient* weights, which increase with the rank of a rate in its own field, preserve more of
the strong cells (Hwang et al. 2015, doi:10.1175/WAF-D-15-0057.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import RATE, check_same_grid
from hybridcast.core.forecast_schema import MOTION, add_source_weights, forecast_dataset
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Array, Doubles, LeadTimes
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, MotionMethod, find_usable_frames
from hybridcast.nowcasters.base import Advection, latest_frame, radar_status
from hybridcast.nwp.schema import sort_newest_first
from hybridcast.settings import AdvectionSettings

DIMS = ("reference_time", "time", "y", "x")
#: Times before the latest frame at which hindcasts are issued.
ISSUED_BEFORE = (np.timedelta64(15, "m"), np.timedelta64(30, "m"))
#: Length of the period whose frames NWP is compared with.
PAST = np.timedelta64(60, "m")
#: Smallest numbers of points known in both fields, and of points with rain, from which skill is estimated.
MIN_POINTS, MIN_WET_POINTS = 500, 20
#: Bounds of correlations.
MIN_CORRELATION, MAX_CORRELATION = 0.02, 0.98
#: Skill if the last hour contains too little rain for an estimate: life of the extrapolation (min), correlation of NWP.
USUAL_LIFE, USUAL_NWP = 60.0, 0.35
#: Rates (mm h-1) are raised to this one before their logarithm is taken.
LOWEST_RATE = 0.1


class Skill(NamedTuple):
    """Recent skill of the sources."""

    life: float
    """Time in which the correlation of the extrapolation decreases to 1/e, min."""
    nwp: float
    """Correlation of NWP."""
    basis: str
    """Data that the skill was estimated from, as text."""

    def radar_weights(self, leads: ArrayLike) -> Doubles:
        """Return the weights of the extrapolation at lead times (min)."""
        extrapolation = _signal_to_noise(np.exp(-np.asarray(leads, np.float64) / self.life))
        weights: Doubles = extrapolation / (extrapolation + _signal_to_noise(self.nwp))
        return weights


@dataclass(frozen=True, eq=False)
class SkillWeightedBlend:
    """Blend of extrapolation and NWP, weighted by their recent skill; see `hybridcast.nowcasters.skill_blend`."""

    nwp: xr.Dataset | None
    """`precipitation_rate` of runs that were available at the issue time, on the radar's grid, dims
    ``("reference_time", "time", "y", "x")``, at the valid times and at the times of the frames of the last hour; None
    without NWP."""
    motion: MotionMethod = field(default_factory=DenseFlow)
    """Motion method of the extrapolation."""
    settings: AdvectionSettings = field(default_factory=AdvectionSettings)
    """Settings of the extrapolation."""
    salient: bool = False
    """Whether the weights also depend on the ranks of the rates."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return f"{'salient' if self.salient else 'linear'} blend by recent skill"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames, with `source_weight`, `u` and `v`.

        See `hybridcast.nowcasters.base.Nowcaster`.
        """
        leads = check_lead_times(lead_times)
        extrapolated = Advection(self.motion, self.settings).forecast(recent, leads)
        _, age = latest_frame(recent)
        radar = extrapolated[RATE].values
        nwp, runs = select_newest_run(self.nwp, recent, recent["time"].values[-1] + leads)
        skill = estimate_skill(recent, self.nwp, self.motion, self.settings)
        weight = skill.radar_weights((leads + age) / MINUTE)
        result = forecast_dataset(
            blend_sources(radar, nwp, weight.astype(np.float32), salient=self.salient),
            recent,
            leads,
            nowcaster=self.name,
            status=radar_status(recent, age),
            nwp_runs_used=", ".join(runs) or "none",
            extrapolation_life_minutes=round(skill.life, 1),
            nwp_correlation=round(skill.nwp, 3),
            weights_from=skill.basis,
        )
        if self.nwp is not None and "simulated" in self.nwp.attrs:
            result.attrs["simulated"] = self.nwp.attrs["simulated"]
        weights = _mean_weights(radar, nwp, weight).astype(np.float32)
        result = add_source_weights(result, weights, "mean weight of a source where either is known")
        return result.assign({name: extrapolated[name] for name in MOTION})


def select_newest_run(
    nwp: xr.Dataset | None, recent: xr.DataArray, times: NDArray[np.datetime64]
) -> tuple[Array, list[str]]:
    """Return at each time the rain rate of the newest run that has a value then, and the start times of these runs.

    The rate has the shape ``(time, y, x)`` and is NaN where no run has a value. Runs are interpolated in time.

    Raises
    ------
    InputError
        If the runs are not on the grid of `recent` or have other dims.
    """
    rate = np.full((len(times), *recent.shape[1:]), np.nan, np.float32)
    used: list[str] = []
    if nwp is None or RATE not in nwp:
        return rate, used
    if set(nwp[RATE].dims) != set(DIMS):
        raise InputError(
            f"runs have the dims {nwp[RATE].dims}", f"they are {DIMS}", "Put them on the radar's grid and times first"
        )
    check_same_grid(nwp, recent, "NWP and radar")
    runs = sort_newest_first(nwp)[RATE].transpose(*DIMS)
    runs = runs.interp(time=times) if runs.sizes["time"] > 1 else runs.reindex(time=times)
    for start, values in zip(runs["reference_time"].values, runs.values, strict=True):
        new = np.isnan(rate).all(axis=(1, 2)) & np.isfinite(values).any(axis=(1, 2))
        rate[new] = values[new]
        used += [iso_time(start)] if new.any() else []
    return rate, used


def estimate_skill(
    recent: xr.DataArray, nwp: xr.Dataset | None, motion: MotionMethod, settings: AdvectionSettings
) -> Skill:
    """Estimate the skill of the sources from the frames of the last hour; without enough rain the usual skill."""
    minutes, correlations = _correlate_hindcasts(recent, motion, settings)
    of_nwp = _correlate_nwp(recent, nwp)
    life, basis = USUAL_LIFE, "the usual skill of an extrapolation"
    if correlations.size:
        life = float((minutes**2).sum() / (minutes * -np.log(correlations)).sum())
        basis = f"{correlations.size} hindcasts of the extrapolation"
    if of_nwp is None:
        return Skill(life, USUAL_NWP, f"{basis}, the usual skill of NWP")
    return Skill(life, of_nwp, f"{basis}, the last hour of NWP")


def _correlate_hindcasts(
    recent: xr.DataArray, motion: MotionMethod, settings: AdvectionSettings
) -> tuple[Doubles, Doubles]:
    """Return the lead times (min) of hindcasts of the latest frames, and their correlations with these frames."""
    minutes, correlations = [], []
    times = recent["time"].values
    for before in ISSUED_BEFORE:
        earlier = recent.sel(time=slice(None, times[-1] - before))
        if earlier.sizes["time"] < 2 or find_usable_frames(earlier, 2)[0].size < 2:
            continue
        later = recent.isel(time=slice(earlier.sizes["time"], None))
        latest, _ = latest_frame(earlier)
        leads = later["time"].values - latest["time"].values
        hindcasts = advect(latest, motion.estimate(earlier), leads, settings=settings).values
        for lead, hindcast, observed in zip(leads / MINUTE, hindcasts, later.values, strict=True):
            correlation = correlate(hindcast, observed)
            if correlation is not None:
                minutes.append(float(lead))
                correlations.append(correlation)
    return np.array(minutes), np.array(correlations)


def _correlate_nwp(recent: xr.DataArray, nwp: xr.Dataset | None) -> float | None:
    """Return the correlation of the newest run with all frames of the last hour; None if it cannot be estimated."""
    times = recent["time"].values
    past = recent.isel(time=np.flatnonzero(times > times[-1] - PAST))
    rate, runs = select_newest_run(nwp, past, past["time"].values)
    return correlate(rate, past.values) if runs else None


def correlate(forecast: Array, observed: Array) -> float | None:
    """Return the correlation of rain rates in decibels where both are known, limited to 0.02 to 0.98.

    None if there are fewer than 500 known points, or fewer than 20 with observed rain.
    """
    known = np.isfinite(forecast) & np.isfinite(observed)
    wet = known & (observed >= LOWEST_RATE)
    if known.sum() < MIN_POINTS or wet.sum() < MIN_WET_POINTS:
        return None
    a, b = (np.log(np.maximum(values[known], LOWEST_RATE)).astype(np.float64) for values in (forecast, observed))
    spread = float(a.std() * b.std())
    correlation = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 0 else 0.0
    return float(np.clip(correlation, MIN_CORRELATION, MAX_CORRELATION))


def _signal_to_noise(r: ArrayLike) -> Doubles:
    """Return the ratio of signal to noise of a forecast with the correlation `r`."""
    r = np.clip(np.asarray(r, np.float64), MIN_CORRELATION, MAX_CORRELATION)
    ratio: Doubles = r / (1 - r**2)
    return ratio


def blend_sources(extrapolation: Array, nwp: Array, weight: Array, *, salient: bool = False) -> Array:
    """Blend two sources, ``(lead, y, x)``; where only one of them is known, the blend is that source.

    Parameters
    ----------
    extrapolation, nwp
        Rain rates, mm h-1, NaN where unknown.
    weight
        Weight of the extrapolation, ``(lead,)``.
    salient
        Whether the weights also depend on the ranks of the rates.

    Examples
    --------
    >>> radar, nwp = np.array([[[4.0, np.nan, np.nan]]], "float32"), np.array([[[0.0, 2.0, np.nan]]], "float32")
    >>> blend_sources(radar, nwp, np.array([0.75], "float32")).round(3).tolist()
    [[[3.0, 2.0, nan]]]
    """
    weights = np.broadcast_to(weight[:, None, None], extrapolation.shape)
    if salient:
        of_radar, of_nwp = weights * _rank(extrapolation), (1 - weights) * _rank(nwp)
        total = of_radar + of_nwp
        weights = np.where(total > 0, of_radar / np.where(total > 0, total, 1), weights)
    both = weights * extrapolation + (1 - weights) * nwp
    either = np.where(np.isnan(extrapolation), nwp, extrapolation)
    return np.where(np.isnan(both), either, both).astype(np.float32)


def _rank(rates: Array) -> Array:
    """Return the rank of each rate as a fraction of the wet cells of its field; 0 for dry and unknown cells."""
    from scipy.stats import rankdata

    ranks = np.zeros(rates.shape, np.float32)
    for rank, rate in zip(ranks, rates, strict=True):
        wet = rate >= LOWEST_RATE
        if wet.any():
            rank[wet] = rankdata(rate[wet]) / wet.sum()
    return ranks


def _mean_weights(extrapolation: Array, nwp: Array, weight: Doubles) -> Doubles:
    """Return the mean weight of each source over cells where either is known, ``(source, lead)``; 0 without any."""
    has_radar, has_nwp = np.isfinite(extrapolation), np.isfinite(nwp)
    both = (has_radar & has_nwp).mean(axis=(1, 2))
    known = np.maximum((has_radar | has_nwp).mean(axis=(1, 2)), 1e-9)
    radar_alone, nwp_alone = ((a & ~b).mean(axis=(1, 2)) for a, b in ((has_radar, has_nwp), (has_nwp, has_radar)))
    weights: Doubles = np.stack([weight * both + radar_alone, (1 - weight) * both + nwp_alone]) / known
    return weights
