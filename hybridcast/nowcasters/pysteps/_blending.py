"""Nowcasters of pysteps that blend the radar with model fields.

Model fields are those of runs that were available at the issue time, on the grid of the radar and at valid times, dims
``("reference_time", "time", "y", "x")``, newest run first. Between the times given they are interpolated; there should
be fields at the issue time and at the longest lead time or beyond.

What a method of pysteps cannot do is done plainly, and the attribute ``fallback`` says why: the extrapolation, and
where it is unknown the newest run. The same fills what a method leaves unknown: so a forecast is unknown only where
neither the radar nor a run knows anything.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import RATE, check_same_grid, iso_time, metres_per_cell, time_step
from hybridcast.core.forecast_schema import MOTION, forecast_dataset
from hybridcast.core.types import Doubles, LeadTimes
from hybridcast.errors import InputError
from hybridcast.motion.estimate import MotionMethod, cells_per_step
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.nowcasters.pysteps._call import (
    LONE_STEP,
    LOWEST_DBR,
    LOWEST_RATE,
    failures,
    log,
    quiet_pysteps,
    rate_from_dbr,
    thresholded,
    to_dbr,
)
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._run import WHOLE, _advect, ensemble_forecast

DIMS = ("reference_time", "time", "y", "x")


class Case(NamedTuple):
    """What a blending method of pysteps is given."""

    rates: Doubles
    """Radar, mm h-1, shape ``(frame, y, x)``, NaN where it does not see."""
    models: Doubles
    """Runs at the last frame and after each step, mm h-1, shape ``(run, step, y, x)``, dry where unknown."""
    flow: Doubles
    """Motion, cells per step, shape ``(2, y, x)``, x first."""
    steps: int | list[float]
    """The number of steps, or the steps themselves."""
    kilometres: float
    """Size of a cell."""
    minutes: float
    """Time step."""
    issue: np.datetime64
    """Time of the last frame."""


@dataclass(frozen=True, eq=False)
class StepsBlending:
    """STEPS blending: cascades of the extrapolation, of the runs and of noise, weighted level by level by their skill.

    Bowler, Pierce and Seed (2006), doi:10.1256/qj.04.100; Imhoff and others (2023), doi:10.1002/qj.4461. Uses
    ``ar_order + 1`` frames, in dBR. `precipitation_rate` is the mean of the members, which
    `precipitation_rate_ensemble` holds. The runs move like the radar; their skill is that at the issue time, and its
    decay the one that pysteps has by default, as no past forecasts are kept.
    """

    nwp: xr.Dataset | None
    """`precipitation_rate` of the runs; see the module. None for no model."""
    motion: MotionMethod = field(default_factory=PystepsMotion)
    members: int = 12
    n_cascade_levels: int = 6
    ar_order: int = 2
    noise: Literal["nonparametric", "parametric", "ssft", "nested"] | None = "nonparametric"
    weights: Literal["bps", "spn"] = "bps"
    """How the sources are weighted: by their skill, or by the covariance of their errors."""
    seed: int | None = 0
    workers: int = 1

    def __post_init__(self) -> None:
        """Refuse an ensemble without members."""
        if self.members < 1:
            raise InputError(f"members = {self.members}", "an ensemble has at least one", "Correct members")

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-steps-blending"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _forecast(self, recent, lead_times, self._run, self.members)

    def _run(self, case: Case) -> Doubles:
        from pysteps.blending import steps

        order = min(self.ar_order, len(case.rates) - 1)
        if order < 1:
            raise ValueError(f"{len(case.rates)} frames without gaps in time, 2 needed")
        models = to_dbr(case.models[: self.members])
        with tempfile.TemporaryDirectory() as folder:  # for the past skill that it keeps otherwise
            dbr = steps.forecast(
                to_dbr(case.rates[-order - 1 :]),
                models,
                case.flow,
                np.broadcast_to(case.flow, (*models.shape[:2], *case.flow.shape)),
                case.steps,
                case.minutes,
                case.issue.astype("datetime64[us]").item(),
                self.members,
                n_cascade_levels=self.n_cascade_levels,
                precip_thr=LOWEST_DBR,
                kmperpixel=case.kilometres,
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
    """The extrapolation up to one lead time, the newest run from another one on, and between them both in shares.

    With `saliency`, shares depend on the rank of the rates too, so that strong cells of either are kept: Hwang and
    others (2015), doi:10.1175/WAF-D-15-0057.1.
    """

    nwp: xr.Dataset | None
    """`precipitation_rate` of the runs; see the module. None for no model."""
    motion: MotionMethod = field(default_factory=PystepsMotion)
    start: int = 30
    """Up to this lead time it is the extrapolation, min."""
    end: int = 180
    """From this lead time on it is the run, min."""
    saliency: bool = False

    def __post_init__(self) -> None:
        """Refuse an end before the start."""
        if not 0 <= self.start < self.end:
            raise InputError(f"start = {self.start}, end = {self.end}", "0 <= start < end", "Correct them")

    @property
    def name(self) -> str:
        """How results name it."""
        return f"pysteps-{'saliency' if self.saliency else 'linear'}-blending"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _forecast(self, recent, lead_times, self._run, 0)

    def _run(self, case: Case) -> Doubles:
        from pysteps.blending import linear_blending

        if not isinstance(case.steps, int):
            raise ValueError("lead times are no multiples of the radar's step")  # noqa: TRY004
        about = {"unit": "mm/h", "transform": None, "threshold": LOWEST_RATE, "zerovalue": 0.0}
        rate = linear_blending.forecast(
            case.rates[-1],
            about,
            case.flow,
            case.steps,
            case.minutes,
            "extrapolation",
            precip_nwp=case.models[0, 1:],
            precip_nwp_metadata=about,
            start_blending=self.start,
            end_blending=self.end,
            saliency=self.saliency,
        )
        return thresholded(np.asarray(rate, np.float64))


# --- alike for both -------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """Lead times in steps of the radar after the last frame."""

    asked: int | list[float]
    """As pysteps takes them."""
    picked: NDArray[np.int_]
    """Which of its fields are at the lead times."""
    whole: int
    """Steps that reach the last one."""


def _forecast(
    model: StepsBlending | LinearBlending,
    recent: xr.DataArray,
    lead_times: LeadTimes,
    run: Callable[[Case], Doubles],
    members: int,
) -> xr.Dataset:
    recent, leads = recent.compute(), check_lead_times(lead_times)
    step = time_step(recent["time"].values) or LONE_STEP
    motion = model.motion.estimate(recent)
    _, late = latest_frame(recent)
    steps = _steps((leads + late) / step)
    issue = recent["time"].values[-1] - late
    times = issue + np.arange(steps.whole + 1) * step
    models, runs, known = _models(model.nwp, recent, times)
    dy, dx = metres_per_cell(recent)
    case = Case(
        rates=_unbroken(recent.sel(time=slice(None, issue)).values.astype(np.float64)),
        models=models,
        flow=cells_per_step(motion, step).astype(np.float64),
        steps=steps.asked,
        kilometres=float(abs(dy) + np.abs(dx).mean()) / 2000,
        minutes=float(step / np.timedelta64(1, "m")),
        issue=issue,
    )
    with quiet_pysteps():
        rate, reason = _rates(case, known, steps, (leads + late) / step, run)
    attrs: dict[str, Any] = {
        "nowcaster": model.name,
        "status": radar_status(recent, late),
        "motion_method": model.motion.name,
        "motion_status": str(motion.attrs.get("status", "")),
        "nwp_runs_used": ", ".join(runs) or "none",
        **({"fallback": reason} if reason else {}),
        **{name: model.nwp.attrs[name] for name in ("simulated",) if model.nwp is not None and name in model.nwp.attrs},
    }
    if not members:
        result = forecast_dataset(rate, recent, leads, **attrs)
    else:
        shape = (members, leads.size, *recent.shape[1:])
        result = ensemble_forecast(np.broadcast_to(rate, shape), recent, leads, attrs)
    return result.assign({name: motion[name] for name in MOTION})


def _steps(steps: Doubles) -> Steps:
    whole = np.rint(steps).astype(int)
    if (np.abs(steps - whole) < WHOLE).all() and whole[0] > 0:
        return Steps(int(whole[-1]), whole - 1, int(whole[-1]))
    return Steps([float(s) for s in steps], np.arange(steps.size), math.ceil(steps[-1]))


def _models(
    nwp: xr.Dataset | None, recent: xr.DataArray, times: NDArray[np.datetime64]
) -> tuple[Doubles, list[str], NDArray[np.bool_]]:
    """Return the runs that know anything at `times`: rates, dry where unknown, their starts, and what is known."""
    shape = (len(times), *recent.shape[1:])
    if nwp is None or RATE not in nwp or not nwp.sizes.get("reference_time"):
        return np.zeros((0, *shape)), [], np.zeros((0, *shape), bool)
    check_same_grid(nwp, recent, "model fields and radar")
    given = nwp[RATE].transpose(*DIMS)
    there = given.interp(time=times) if given.sizes["time"] > 1 else given.reindex(time=times)
    values = there.values.astype(np.float64)
    anything = np.asarray(np.isfinite(values[:, 1:]).any(axis=(2, 3)))
    kept = np.flatnonzero(anything.all(axis=1))
    runs = [iso_time(start) for start in nwp["reference_time"].values[kept]]
    return np.nan_to_num(values[kept]), runs, np.isfinite(values[kept])


def _unbroken(rates: Doubles) -> Doubles:
    """Return the last frames up to the one before which a frame is missing."""
    missing = np.flatnonzero(np.isnan(rates).all(axis=(1, 2)))
    last = missing[missing < len(rates) - 1]
    return rates[last[-1] + 1 :] if last.size else rates


def _rates(
    case: Case, known: NDArray[np.bool_], steps: Steps, leads: Doubles, run: Callable[[Case], Doubles]
) -> tuple[NDArray[np.float32], str]:
    """Rates ``([member], lead, y, x)``, and the reason if they are not what `run` was to give."""
    advected = _advect(case.rates[-1], case.flow, steps.asked)[steps.picked]
    if not len(case.models):
        return advected.astype(np.float32), "extrapolated: no run has a value at all of the lead times"
    newest = _at(np.where(known[0], case.models[0], np.nan), leads)
    plain = np.where(np.isnan(advected), newest, advected)
    if np.isnan(case.rates[-1]).all():
        return newest.astype(np.float32), "the newest run alone: no radar"
    try:
        rate = np.asarray(run(case), np.float64)[..., steps.picked, :, :]
        if not np.isfinite(rate).any():
            raise ValueError("no finite value in the forecast")
    except _failures() as error:
        log.warning("the blending failed: %s: %s", type(error).__name__, error)
        return plain.astype(np.float32), f"extrapolation, else the newest run: {type(error).__name__}: {error}"
    blended = np.isfinite(rate) & np.isfinite(newest)  # elsewhere pysteps blends with what was put in as dry
    return np.where(blended, rate, plain).astype(np.float32), ""


def _failures() -> tuple[type[Exception], ...]:
    """Return what the blending raises beyond what other methods do, above all where everything is dry."""
    return (*failures(), KeyError, TypeError, AttributeError)


def _at(fields: Doubles, steps: Doubles) -> Doubles:
    """Interpolate fields at steps 0, 1, ... linearly, ``(lead, y, x)``."""
    before = np.minimum(np.floor(steps + WHOLE).astype(int), len(fields) - 2)
    share = (steps - before)[:, None, None]
    mixed = (1 - share) * fields[before] + share * fields[before + 1]
    whole = np.where(share > 0.5, fields[before + 1], fields[before])
    at: Doubles = np.where(np.isclose(share, np.rint(share)), whole, mixed)  # what has no weight has no say, NaN or not
    return at
