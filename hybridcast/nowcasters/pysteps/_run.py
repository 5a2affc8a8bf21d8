"""Running a nowcaster of pysteps on a field: history, gaps, mask, lead times, failures; alike for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import iso_time, metres_per_cell, time_step
from hybridcast.core.forecast_schema import MOTION, add_ensemble, forecast_dataset
from hybridcast.core.types import Doubles, LeadTimes
from hybridcast.motion.estimate import MotionMethod, cells_per_step
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.nowcasters.pysteps._call import LONE_STEP, LOWEST_RATE, failures, log, quiet_pysteps

#: Leads within this share of a step are at the step.
WHOLE = 1e-6


class Case(NamedTuple):
    """What a method of pysteps is given."""

    rates: Doubles
    """mm h-1, shape ``(frame, y, x)``: consecutive frames with rain, as many as the order needs, NaN filled."""
    flow: Doubles
    """Cells per step, shape ``(2, y, x)``, x first."""
    steps: int | list[float]
    """The number of steps, or the steps themselves."""
    kilometres: float
    """Size of a cell."""
    minutes: float
    """Time step."""


class Run(NamedTuple):
    """How to run an autoregressive method of pysteps."""

    function: Callable[[Case, int], Doubles]
    """From a case and the order of the model to rates, mm h-1, ``([member], step, y, x)``."""
    order: int
    """The order wanted."""
    beyond_order: int
    """How many frames are needed more than the order."""
    members: int = 0
    """Size of the ensemble; 0 if there is none."""


class Model(Protocol):
    """What `nowcast` needs of a nowcaster."""

    @property
    def name(self) -> str: ...

    @property
    def motion(self) -> MotionMethod: ...


def nowcast(model: Model, recent: xr.DataArray, lead_times: LeadTimes, run: Run | None) -> xr.Dataset:
    """Forecast by extrapolation, and by `run` where the frames allow it."""
    recent = recent.compute()
    leads = check_lead_times(lead_times)
    step = time_step(recent["time"].values) or LONE_STEP
    motion = model.motion.estimate(recent)
    latest, late = latest_frame(recent)
    attrs: dict[str, Any] = {
        "nowcaster": model.name,
        "status": radar_status(recent, late),
        "motion_method": model.motion.name,
        "motion_status": str(motion.attrs.get("status", "")),
    }
    shape = (leads.size, *recent.shape[1:])
    if np.isnan(latest.values).all():
        rate, reason, frames = np.full(shape, np.nan, np.float32), attrs["status"], 0
    else:
        recent_of_latest = recent.sel(time=slice(None, latest["time"].values))
        flow = cells_per_step(motion, step).astype(np.float64)
        with quiet_pysteps():
            rate, reason, frames = _rates(recent_of_latest, flow, (leads + late) / step, step, run)
        of_model = {iso_time(time) for time in recent_of_latest["time"].values[-frames:]}
        of_motion = set(str(motion.attrs.get("frames_used", "")).split(", ")) - {""}
        attrs["frames_used"] = ", ".join(sorted(of_model | of_motion))
    if reason:
        attrs["fallback"] = reason
    if run is None or not run.members:
        result = forecast_dataset(rate, recent, leads, **attrs)
    else:
        result = ensemble_forecast(np.broadcast_to(rate, (run.members, *shape)), recent, leads, attrs)
    return result.assign({name: motion[name] for name in MOTION})


def _rates(
    recent: xr.DataArray, flow: Doubles, steps: Doubles, step: np.timedelta64, run: Run | None
) -> tuple[NDArray[np.float32], str, int]:
    """Rates at `steps` after the last frame, ``([member], step, y, x)``.

    Beside them the reason if they are not what `run` was to give, and how many of the last frames they are made from.
    """
    whole = np.rint(steps).astype(int)
    at_steps = bool((np.abs(steps - whole) < WHOLE).all()) and whole[0] > 0
    asked: int | list[float] = int(whole[-1]) if at_steps else [float(s) for s in steps]
    picked = whole - 1 if at_steps else np.arange(steps.size)
    advected = _advect(recent.values[-1].astype(np.float64), flow, asked)[picked].astype(np.float32)
    if run is None:
        return advected, "", 1
    order, reason = _order(recent, run)
    if order == 0:
        log.info("extrapolated: %s", reason)
        return advected, reason, 1
    dy, dx = metres_per_cell(recent)
    frames = order + run.beyond_order
    case = Case(
        rates=_filled(recent.values[-frames:].astype(np.float64), flow),
        flow=flow,
        steps=asked,
        kilometres=float(abs(dy) + np.abs(dx).mean()) / 2000,
        minutes=float(step / np.timedelta64(1, "m")),
    )
    try:
        rate = np.asarray(run.function(case, order), dtype=np.float32)[..., picked, :, :]
        if not np.isfinite(rate).any() and np.isfinite(advected).any():
            raise ValueError("no finite value in the forecast")
        return _completed(rate, advected), reason, frames
    except failures() as error:
        log.warning("the nowcast failed and was extrapolated: %s: %s", type(error).__name__, error)
        return advected, f"extrapolated: {type(error).__name__}: {error}", 1


def _order(recent: xr.DataArray, run: Run) -> tuple[int, str]:
    """Order of the model that the last frames allow, 0 for none, and the reason if it is not the one wanted."""
    wet = np.atleast_1d((recent.values[::-1] >= LOWEST_RATE).any(axis=(1, 2)))
    if not bool(wet[0]):
        return 0, f"extrapolated: no rain of {LOWEST_RATE:g} mm/h in the newest frame"
    frames = int(np.argmin(wet)) if not wet.all() else wet.size
    order = min(run.order, frames - run.beyond_order)
    if order == run.order:
        return order, ""
    what = f"{frames} consecutive frames with rain, {run.order + run.beyond_order} needed"
    return (order, f"AR process of order {order}: {what}") if order > 0 else (0, f"extrapolated: {what}")


def _advect(rate: Doubles, flow: Doubles, steps: int | list[float]) -> Doubles:
    """Extrapolate one frame along the flow, ``(step, y, x)``; NaN where most of what arrives is unknown."""
    from pysteps.extrapolation.semilagrangian import extrapolate

    known = np.isfinite(rate)
    if known.all():
        advected: Doubles = extrapolate(rate, flow, steps)
        return advected
    arriving = extrapolate(known.astype(np.float64), flow, steps, outval=0.0)
    total = extrapolate(np.where(known, rate, 0.0), flow, steps, outval=0.0)
    return np.where(arriving >= 0.5, total / np.maximum(arriving, 0.5), np.nan)


def _filled(rates: Doubles, flow: Doubles) -> Doubles:
    """Fill NaN in consecutive frames along the flow, from the frame before, else from the one after, else as dry."""
    filled = rates.copy()
    for frames, towards in ((range(1, len(filled)), 1), (range(len(filled) - 2, -1, -1), -1)):
        for i in frames:
            gaps = np.isnan(filled[i])
            if gaps.any():
                filled[i, gaps] = _advect(filled[i - towards], towards * flow, 1)[0, gaps]
    return np.nan_to_num(filled)


def _completed(rate: NDArray[np.float32], advected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `rate` the mask of `advected`, and its values where there are none."""
    return np.where(np.isfinite(rate) | np.isnan(advected), np.where(np.isnan(advected), np.nan, rate), advected)


def ensemble_forecast(
    members: NDArray[np.float32], recent: xr.DataArray, leads: LeadTimes, attrs: dict[str, Any]
) -> xr.Dataset:
    """Build a forecast from members, ``(realization, lead_time, y, x)``: their mean, and the members themselves."""
    return add_ensemble(forecast_dataset(members.mean(axis=0, dtype=np.float64), recent, leads, **attrs), members)
