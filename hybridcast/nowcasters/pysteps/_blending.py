"""Methods of pysteps that blend radar with NWP.

NWP fields are those of runs that were available at the issue time, on the grid of the radar and at valid times, dims
``("reference_time", "time", "y", "x")``, newest run first. They are interpolated in time; there should be fields at the
issue time and at the longest lead time or beyond.

If a method of pysteps fails, the forecast is the extrapolation and, where that is unknown, the newest run; the
attribute ``fallback`` states the reason. Cells that a method leaves unknown are filled in the same way, so that a
forecast is unknown only where neither the radar nor any run is known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import RATE, check_same_grid
from hybridcast.core.forecast_schema import MOTION
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.types import MINUTE, Array, Doubles, LeadTimes, Mask
from hybridcast.errors import InputError
from hybridcast.motion.estimate import MotionMethod, cells_per_step
from hybridcast.nowcasters.base import ChoosesMembers, latest_frame
from hybridcast.nowcasters.pysteps._call import (
    LONE_STEP,
    LOWEST_DBR,
    LOWEST_RATE,
    apply_threshold,
    failures,
    log,
    quiet_pysteps,
    rate_from_dbr,
    to_dbr,
)
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._run import (
    TOLERANCE,
    LeadSteps,
    build_forecast,
    describe_run,
    extrapolate,
    mean_cell_kilometres,
)

DIMS = ("reference_time", "time", "y", "x")


class BlendingInputs(NamedTuple):
    """Inputs of a blending method of pysteps."""

    rates: Doubles
    """Radar, mm h-1, shape ``(frame, y, x)``, NaN outside coverage."""
    nwp: Doubles
    """NWP runs at the last frame and after each step, mm h-1, shape ``(run, step, y, x)``, 0 where unknown."""
    flow: Doubles
    """Motion, cells per step, shape ``(2, y, x)``, x first."""
    steps: int | list[float]
    """Number of steps, or the steps themselves."""
    kilometres: float
    """Size of a cell, km."""
    minutes: float
    """Time step, min."""
    issue: np.datetime64
    """Time of the last frame."""


class _NwpRuns(NamedTuple):
    """NWP runs that have values at every step."""

    rates: Doubles
    """Rates, mm h-1, ``(run, step, y, x)``, 0 where unknown."""
    known: Mask
    """Cells that are known, ``(run, step, y, x)``."""
    names: list[str]
    """Start times of the runs."""


@dataclass(frozen=True, eq=False)
class StepsBlending(ChoosesMembers):
    """STEPS blending: cascades of extrapolation, NWP and noise, each level weighted by skill.

    Bowler, Pierce and Seed (2006), doi:10.1256/qj.04.100; Imhoff et al. (2023), doi:10.1002/qj.4461. It uses
    ``ar_order + 1`` frames, in dBR. `precipitation_rate` is the mean of the members, which are in
    `precipitation_rate_ensemble`. The runs move like the radar. Their skill is that at the issue time, and its decay is
    the default of pysteps, because no past forecasts are stored.
    """

    nwp: xr.Dataset | None
    """`precipitation_rate` of the runs, dims ``("reference_time", "time", "y", "x")``; None without NWP."""
    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    members: int = 12
    """Number of members."""
    n_cascade_levels: int = 6
    """Number of cascade levels."""
    ar_order: int = 2
    """Order of the AR processes."""
    noise: Literal["nonparametric", "parametric", "ssft", "nested"] | None = "nonparametric"
    """Method that generates the noise; None for no noise."""
    weights: Literal["bps", "spn"] = "bps"
    """Whether sources are weighted by their skill ("bps") or by the covariance of their errors ("spn")."""
    seed: int | None = 0
    """Seed of the noise, which makes forecasts reproducible; None for a different seed each time."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-steps-blending"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return _forecast(self, recent, lead_times, self._run, self.members)

    def _run(self, inputs: BlendingInputs) -> Doubles:
        from pysteps.blending import steps

        order = min(self.ar_order, len(inputs.rates) - 1)
        if order < 1:
            raise ValueError(f"{len(inputs.rates)} frames without gaps in time, 2 needed")
        runs = to_dbr(inputs.nwp[: self.members])
        with tempfile.TemporaryDirectory() as folder:  # for the skill that pysteps would otherwise store
            dbr = steps.forecast(
                to_dbr(inputs.rates[-order - 1 :]),
                runs,
                inputs.flow,
                np.broadcast_to(inputs.flow, (*runs.shape[:2], *inputs.flow.shape)),
                inputs.steps,
                inputs.minutes,
                inputs.issue.astype("datetime64[us]").item(),
                self.members,
                n_cascade_levels=self.n_cascade_levels,
                precip_thr=LOWEST_DBR,
                kmperpixel=inputs.kilometres,
                noise_method=self.noise,
                weights_method=self.weights,
                ar_order=order,
                seed=self.seed,
                num_workers=self.workers,
                outdir_path_skill=folder,
            )
        return rate_from_dbr(dbr)


@dataclass(frozen=True, eq=False)
class LinearBlending:
    """Linear transition in lead time from extrapolation to the newest NWP run."""

    nwp: xr.Dataset | None
    """`precipitation_rate` of the runs, dims ``("reference_time", "time", "y", "x")``; None without NWP."""
    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    start: int = 30
    """Lead time up to which the forecast is the extrapolation, min."""
    end: int = 180
    """Lead time from which the forecast is the NWP run, min."""
    saliency: bool = False
    """Whether weights also depend on the ranks of the rates, which preserves strong cells of either source (Hwang et
    al. 2015, doi:10.1175/WAF-D-15-0057.1)."""

    def __post_init__(self) -> None:
        """Refuse an end before the start."""
        if not 0 <= self.start < self.end:
            raise InputError(f"start = {self.start}, end = {self.end}", "0 <= start < end", "Correct them")

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return f"pysteps-{'saliency' if self.saliency else 'linear'}-blending"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return _forecast(self, recent, lead_times, self._run, 0)

    def _run(self, inputs: BlendingInputs) -> Doubles:
        from pysteps.blending import linear_blending

        if not isinstance(inputs.steps, int):
            raise ValueError("lead times are no multiples of the radar's step")  # noqa: TRY004
        about = {"unit": "mm/h", "transform": None, "threshold": LOWEST_RATE, "zerovalue": 0.0}
        rate = linear_blending.forecast(
            inputs.rates[-1],
            about,
            inputs.flow,
            inputs.steps,
            inputs.minutes,
            "extrapolation",
            precip_nwp=inputs.nwp[0, 1:],
            precip_nwp_metadata=about,
            start_blending=self.start,
            end_blending=self.end,
            saliency=self.saliency,
        )
        return apply_threshold(np.asarray(rate, np.float64))


# --- both methods ---------------------------------------------------------------------------------------------


def _forecast(
    nowcaster: StepsBlending | LinearBlending,
    recent: xr.DataArray,
    lead_times: LeadTimes,
    run: Callable[[BlendingInputs], Doubles],
    members: int,
) -> xr.Dataset:
    recent, lead_times = recent.compute(), check_lead_times(lead_times)
    step = time_step(recent["time"].values) or LONE_STEP
    motion = nowcaster.motion.estimate(recent)
    _, age = latest_frame(recent)
    steps = (lead_times + age) / step
    leads = LeadSteps.at(steps)
    issue = recent["time"].values[-1] - age
    nwp = _select_runs(nowcaster.nwp, recent, issue + np.arange(leads.last + 1) * step)
    inputs = BlendingInputs(
        rates=_since_last_gap(recent.sel(time=slice(None, issue)).values.astype(np.float64)),
        nwp=nwp.rates,
        flow=cells_per_step(motion, step).astype(np.float64),
        steps=leads.requested,
        kilometres=mean_cell_kilometres(recent),
        minutes=float(step / MINUTE),
        issue=issue,
    )
    with quiet_pysteps():
        rates, reason = _compute_rates(inputs, nwp.known, leads, steps, run)
    attrs = describe_run(nowcaster, recent, motion) | {"nwp_runs_used": ", ".join(nwp.names) or "none"}
    if reason:
        attrs["fallback"] = reason
    if nowcaster.nwp is not None and "simulated" in nowcaster.nwp.attrs:
        attrs["simulated"] = nowcaster.nwp.attrs["simulated"]
    return build_forecast(rates, members, recent, lead_times, attrs).assign({name: motion[name] for name in MOTION})


def _select_runs(nwp: xr.Dataset | None, recent: xr.DataArray, times: NDArray[np.datetime64]) -> _NwpRuns:
    """Return the runs that have values at all `times` after the first."""
    shape = (len(times), *recent.shape[1:])
    if nwp is None or RATE not in nwp or not nwp.sizes.get("reference_time"):
        return _NwpRuns(np.zeros((0, *shape)), np.zeros((0, *shape), bool), [])
    check_same_grid(nwp, recent, "NWP and radar")
    given = nwp[RATE].transpose(*DIMS)
    at_times = given.interp(time=times) if given.sizes["time"] > 1 else given.reindex(time=times)
    values = at_times.values.astype(np.float64)
    has_values = np.asarray(np.isfinite(values[:, 1:]).any(axis=(2, 3)))
    kept = np.flatnonzero(has_values.all(axis=1))
    names = [iso_time(start) for start in nwp["reference_time"].values[kept]]
    return _NwpRuns(np.nan_to_num(values[kept]), np.isfinite(values[kept]), names)


def _since_last_gap(rates: Doubles) -> Doubles:
    """Return the last frames without a missing frame between them."""
    missing = np.flatnonzero(np.isnan(rates).all(axis=(1, 2)))
    last = missing[missing < len(rates) - 1]
    return rates[last[-1] + 1 :] if last.size else rates


def _compute_rates(
    inputs: BlendingInputs, known: Mask, leads: LeadSteps, steps: Doubles, run: Callable[[BlendingInputs], Doubles]
) -> tuple[Array, str]:
    """Return rates, ``([member], lead, y, x)``, and the reason if they are not the result of `run`."""
    advected = extrapolate(inputs.rates[-1], inputs.flow, leads.requested)[leads.picked]
    if not len(inputs.nwp):
        return advected.astype(np.float32), "extrapolated: no run has a value at all of the lead times"
    newest = _interpolate_steps(np.where(known[0], inputs.nwp[0], np.nan), steps)
    fallback = np.where(np.isnan(advected), newest, advected)
    if np.isnan(inputs.rates[-1]).all():
        return newest.astype(np.float32), "the newest run alone: no radar"
    try:
        rate = np.asarray(run(inputs), np.float64)[..., leads.picked, :, :]
        if not np.isfinite(rate).any():
            raise ValueError("no finite value in the forecast")
    except _failures() as error:
        log.warning("the blending failed: %s: %s", type(error).__name__, error)
        return fallback.astype(np.float32), f"extrapolation, else the newest run: {type(error).__name__}: {error}"
    blended = np.isfinite(rate) & np.isfinite(newest)  # elsewhere pysteps blends with zeros in place of unknown NWP
    return np.where(blended, rate, fallback).astype(np.float32), ""


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of blending methods, which raise more than other methods, above all on dry fields."""
    return (*failures(), KeyError, TypeError, AttributeError)


def _interpolate_steps(fields: Doubles, steps: Doubles) -> Doubles:
    """Interpolate fields at steps 0, 1, ... linearly, ``(lead, y, x)``; NaN with a weight of zero is ignored."""
    before = np.minimum(np.floor(steps + TOLERANCE).astype(int), len(fields) - 2)
    fraction = (steps - before)[:, None, None]
    mixed = (1 - fraction) * fields[before] + fraction * fields[before + 1]
    nearest = np.where(fraction > 0.5, fields[before + 1], fields[before])
    result: Doubles = np.where(np.isclose(fraction, np.rint(fraction)), nearest, mixed)
    return result
