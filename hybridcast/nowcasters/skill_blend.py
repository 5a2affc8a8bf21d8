"""A blend of extrapolation and model by their recent skill: transparent, and nothing is learned.

    rate = w * extrapolation + (1 - w) * model

The weights by lead time come from how well each source has done lately, by its correlation r with the radar in decibels
of the rain rate. Of two forecasts whose errors have nothing to do with each other, least squares weighs each by

    r / (1 - r**2)

(the regression on both, with a correlation between them of r1 * r2; so STEPS weighs its cascades, Bowler, Pierce and
Seed 2006, doi:10.1256/qj.04.100).

- **The extrapolation**: frames of the last hour are forecast from the frames and the motion before them; its
  correlation falls as ``exp(-lead / life)``, and the life that fits these hindcasts best is taken.
- **The model**: its newest run at the frames of the last hour; its correlation is taken to stay for the hours to come.

Where only one source is known, it stands alone; where none is, the blend is unknown. A mean of two fields is smoother
than each; *salient* weights, which grow with the rank of a rate in its own field, leave more of the strong cells (Hwang
and others 2015, doi:10.1175/WAF-D-15-0057.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import RATE, check_same_grid, iso_time
from hybridcast.core.forecast_schema import MOTION, add_source_weights, forecast_dataset
from hybridcast.core.types import MINUTE, Array, Doubles, LeadTimes
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, MotionMethod, find_usable_frames
from hybridcast.nowcasters.base import Advection, latest_frame, radar_status
from hybridcast.settings import AdvectionSettings

DIMS = ("reference_time", "time", "y", "x")
#: Hindcasts start so long before the latest frame.
ORIGINS = (np.timedelta64(15, "m"), np.timedelta64(30, "m"))
#: The model is compared with the frames of this time.
PAST = np.timedelta64(60, "m")
#: Fewer points known to both, or fewer with rain, tell nothing about skill.
FEWEST, FEWEST_WET = 500, 20
#: Correlations are not taken as worse or better than this.
LEAST, MOST = 0.02, 0.98
#: Usual skill, where the last hour tells nothing: life of the extrapolation (min), correlation of a model.
USUAL_LIFE, USUAL_MODEL = 60.0, 0.35
#: Decibels are of the rate, of this one at least, mm h-1.
LOWEST_RATE = 0.1


class Skill(NamedTuple):
    """How good the sources were lately."""

    life: float
    """Minutes in which the extrapolation's correlation falls to 1/e."""
    model: float
    """The model's correlation."""
    told_by: str
    """What tells it."""

    def weights(self, leads: ArrayLike) -> Doubles:
        """Weight of the extrapolation at lead times (min)."""
        extrapolation = _signal(np.exp(-np.asarray(leads, np.float64) / self.life))
        weights: Doubles = extrapolation / (extrapolation + _signal(self.model))
        return weights


@dataclass(frozen=True, eq=False)
class SkillWeightedBlend:
    """Extrapolation and model, weighted by their recent skill; see the module."""

    nwp: xr.Dataset | None
    """`precipitation_rate` of runs that were available at the issue time, on the radar's grid, dims
    ``("reference_time", "time", "y", "x")``, at the valid times and at the frames of the last hour."""
    motion: MotionMethod = field(default_factory=DenseFlow)
    settings: AdvectionSettings = field(default_factory=AdvectionSettings)
    salient: bool = False
    """Whether the weights depend on ranks too."""

    @property
    def name(self) -> str:
        """How results name it."""
        return f"{'salient' if self.salient else 'linear'} blend by recent skill"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`; `source_weight` has the dims ``("source", "lead_time")``."""
        leads = check_lead_times(lead_times)
        made = Advection(self.motion, self.settings).forecast(recent, leads)
        _, age = latest_frame(recent)
        model, runs = select_newest_run(self.nwp, recent, recent["time"].values[-1] + leads)
        skill = estimate_skill(recent, self.nwp, self.motion, self.settings)
        weight = skill.weights((leads + age) / MINUTE)
        rate = blend_sources(made[RATE].values, model, weight.astype(np.float32), salient=self.salient)
        result = forecast_dataset(
            rate,
            recent,
            leads,
            nowcaster=self.name,
            status=radar_status(recent, age),
            nwp_runs_used=", ".join(runs) or "none",
            extrapolation_life_minutes=round(skill.life, 1),
            model_correlation=round(skill.model, 3),
            weights_from=skill.told_by,
        )
        if self.nwp is not None and "simulated" in self.nwp.attrs:
            result.attrs["simulated"] = self.nwp.attrs["simulated"]
        shares = _shares(made[RATE].values, model, weight)
        result = add_source_weights(result, shares.astype(np.float32), "mean weight of a source where either is known")
        return result.assign({name: made[name] for name in MOTION})


def select_newest_run(
    nwp: xr.Dataset | None, recent: xr.DataArray, times: NDArray[np.datetime64]
) -> tuple[Array, list[str]]:
    """Return the rate of the newest run that has one at each time, ``(time, y, x)``, and the starts of those runs.

    NaN where none has; between the times that the runs have they are interpolated.

    Raises
    ------
    InputError
        If the runs are not on the grid of `recent`, or have other dims.
    """
    rate = np.full((len(times), *recent.shape[1:]), np.nan, np.float32)
    used: list[str] = []
    if nwp is None or RATE not in nwp:
        return rate, used
    if set(nwp[RATE].dims) != set(DIMS):
        raise InputError(
            f"runs have the dims {nwp[RATE].dims}", f"they are {DIMS}", "Put them on the radar's grid and times first"
        )
    check_same_grid(nwp, recent, "model fields and radar")
    runs = nwp[RATE].transpose(*DIMS).sortby("reference_time", ascending=False)
    runs = runs.interp(time=times) if runs.sizes["time"] > 1 else runs.reindex(time=times)
    for start, values in zip(runs["reference_time"].values, runs.values, strict=True):
        new = np.isnan(rate).all(axis=(1, 2)) & np.isfinite(values).any(axis=(1, 2))
        rate[new] = values[new]
        used += [iso_time(start)] if new.any() else []
    return rate, used


def estimate_skill(
    recent: xr.DataArray, nwp: xr.Dataset | None, motion: MotionMethod, settings: AdvectionSettings
) -> Skill:
    """Find how good the sources were in the frames of the last hour; what they do not tell is as it usually is."""
    minutes, found = _hindcasts(recent, motion, settings)
    of_model = _model_correlation(recent, nwp)
    told = []
    life, model = USUAL_LIFE, USUAL_MODEL
    if found.size:
        life = float((minutes**2).sum() / (minutes * -np.log(found)).sum())
        told.append(f"{found.size} hindcasts of the extrapolation")
    else:
        told.append("the usual skill of an extrapolation")
    if of_model is not None:
        model = of_model
        told.append("the model's last hour")
    else:
        told.append("the usual skill of a model")
    return Skill(life, model, ", ".join(told))


def _hindcasts(recent: xr.DataArray, motion: MotionMethod, settings: AdvectionSettings) -> tuple[Doubles, Doubles]:
    """Lead times (min) of forecasts of frames that have come, and their correlations with these."""
    minutes, found = [], []
    times = recent["time"].values
    for origin in ORIGINS:
        earlier = recent.sel(time=slice(None, times[-1] - origin))
        if earlier.sizes["time"] < 2 or find_usable_frames(earlier, 2)[0].size < 2:
            continue
        later = recent.isel(time=slice(earlier.sizes["time"], None))
        latest, _ = latest_frame(earlier)
        leads = later["time"].values - latest["time"].values
        made = advect(latest, motion.estimate(earlier), leads, settings=settings).values
        for lead, forecast, seen in zip(leads / MINUTE, made, later.values, strict=True):
            value = correlate(forecast, seen)
            if value is not None:
                minutes.append(float(lead))
                found.append(value)
    return np.array(minutes), np.array(found)


def _model_correlation(recent: xr.DataArray, nwp: xr.Dataset | None) -> float | None:
    """Correlation of the newest run with the frames of the last hour, all together; None if they tell nothing."""
    times = recent["time"].values
    past = recent.isel(time=np.flatnonzero(times > times[-1] - PAST))
    model, runs = select_newest_run(nwp, past, past["time"].values)
    return correlate(model, past.values) if runs else None


def correlate(forecast: Array, seen: Array) -> float | None:
    """Correlate rates in decibels where both are known, between 0.02 and 0.98; None where that tells nothing."""
    known = np.isfinite(forecast) & np.isfinite(seen)
    wet = known & (seen >= LOWEST_RATE)
    if known.sum() < FEWEST or wet.sum() < FEWEST_WET:
        return None
    a, b = (np.log(np.maximum(values[known], LOWEST_RATE)).astype(np.float64) for values in (forecast, seen))
    spread = float(a.std() * b.std())
    found = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 0 else 0.0
    return float(np.clip(found, LEAST, MOST))


def _signal(r: ArrayLike) -> Doubles:
    """Signal over noise of a forecast whose correlation is `r`."""
    r = np.clip(np.asarray(r, np.float64), LEAST, MOST)
    signal: Doubles = r / (1 - r**2)
    return signal


def blend_sources(extrapolation: Array, model: Array, weight: Array, *, salient: bool = False) -> Array:
    """Blend two sources, ``(lead, y, x)``, with the weight of the first by lead time; the known one where one is not.

    Examples
    --------
    >>> one, other = np.array([[[4.0, np.nan, np.nan]]], "float32"), np.array([[[0.0, 2.0, np.nan]]], "float32")
    >>> blend_sources(one, other, np.array([0.75], "float32")).round(3).tolist()
    [[[3.0, 2.0, nan]]]
    """
    share = np.broadcast_to(weight[:, None, None], extrapolation.shape)
    if salient:
        of_first, of_second = share * _ranks(extrapolation), (1 - share) * _ranks(model)
        total = of_first + of_second
        share = np.where(total > 0, of_first / np.where(total > 0, total, 1), share)
    both = share * extrapolation + (1 - share) * model
    only = np.where(np.isnan(extrapolation), model, extrapolation)
    return np.where(np.isnan(both), only, both).astype(np.float32)


def _ranks(rates: Array) -> Array:
    """Rank of each rate in its field as a share of those that are wet; 0 for dry and for unknown ones."""
    from scipy.stats import rankdata

    ranks = np.zeros(rates.shape, np.float32)
    for rank, rate in zip(ranks, rates, strict=True):
        wet = rate >= LOWEST_RATE
        if wet.any():
            rank[wet] = rankdata(rate[wet]) / wet.sum()
    return ranks


def _shares(extrapolation: Array, model: Array, weight: Doubles) -> Doubles:
    """Mean weight of each source over the points where any is known, ``(source, lead)``; 0 where none is."""
    first, second = np.isfinite(extrapolation), np.isfinite(model)
    both, known = (first & second).mean(axis=(1, 2)), np.maximum((first | second).mean(axis=(1, 2)), 1e-9)
    alone = (first & ~second).mean(axis=(1, 2)), (second & ~first).mean(axis=(1, 2))
    shares: Doubles = np.stack([weight * both + alone[0], (1 - weight) * both + alone[1]]) / known
    return shares
