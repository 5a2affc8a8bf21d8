"""Nowcasts by pysteps on a precipitation field: history, gaps, mask, lead times and failures, for all methods alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import MOTION, add_ensemble, forecast_dataset
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.types import MINUTE, Array, Doubles, LeadTimes
from hybridcast.motion.estimate import MotionMethod, cells_per_step
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.nowcasters.pysteps._call import LONE_STEP, LOWEST_RATE, failures, log, quiet_pysteps

#: Lead times within this fraction of a time step are at the step.
TOLERANCE = 1e-6


class LeadSteps(NamedTuple):
    """Lead times in time steps of the radar after the last frame."""

    requested: int | list[float]
    """Number of steps, or the steps themselves, as methods of pysteps expect them."""
    picked: NDArray[np.int_]
    """Indices of the lead times in the result of pysteps, ``(lead,)``."""
    last: int
    """Number of whole steps that include the last lead time."""

    @classmethod
    def at(cls, steps: Doubles) -> LeadSteps:
        """Return the lead times at `steps`, which may be fractions."""
        whole = np.rint(steps).astype(int)
        if (np.abs(steps - whole) < TOLERANCE).all() and whole[0] > 0:
            return cls(int(whole[-1]), whole - 1, int(whole[-1]))
        return cls([float(step) for step in steps], np.arange(steps.size), math.ceil(steps[-1]))


class NowcastInputs(NamedTuple):
    """Inputs of a nowcasting method of pysteps."""

    rates: Doubles
    """Rain rates, mm h-1, shape ``(frame, y, x)``: consecutive frames with rain, as many as the order needs, no NaN."""
    flow: Doubles
    """Motion, cells per step, shape ``(2, y, x)``, x first."""
    steps: int | list[float]
    """Number of steps, or the steps themselves."""
    kilometres: float
    """Size of a cell, km."""
    minutes: float
    """Time step, min."""


class ArMethod(NamedTuple):
    """An autoregressive method of pysteps."""

    run: Callable[[NowcastInputs, int], Doubles]
    """Function of the inputs and the order of the AR process that returns rates, mm h-1, ``([member], step, y, x)``."""
    order: int
    """Requested order of the AR process."""
    extra_frames: int
    """Number of frames that the method needs in addition to the order."""
    members: int = 0
    """Size of the ensemble; 0 without one."""


class PystepsNowcaster(Protocol):
    """The attributes of a nowcaster that `run_nowcast` uses."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        ...

    @property
    def motion(self) -> MotionMethod:
        """Motion method."""
        ...


class _Rates(NamedTuple):
    """Forecast rain rates, and how they were made."""

    values: Array
    """Rates, mm h-1, ``([member], lead, y, x)``."""
    fallback: str
    """Reason if they are not the result of the method as requested; otherwise empty."""
    frames: int
    """Number of the latest frames that they are made from."""


def run_nowcast(
    nowcaster: PystepsNowcaster, recent: xr.DataArray, lead_times: LeadTimes, method: ArMethod | None
) -> xr.Dataset:
    """Return a forecast by a method of pysteps; by extrapolation without a method, or if it cannot use the frames."""
    recent = recent.compute()
    leads = check_lead_times(lead_times)
    step = time_step(recent["time"].values) or LONE_STEP
    motion = nowcaster.motion.estimate(recent)
    latest, age = latest_frame(recent)
    attrs = describe_run(nowcaster, recent, motion)
    shape = (leads.size, *recent.shape[1:])
    if np.isnan(latest.values).all():
        rates = _Rates(np.full(shape, np.nan, np.float32), attrs["status"], 0)
    else:
        until_latest = recent.sel(time=slice(None, latest["time"].values))
        flow = cells_per_step(motion, step).astype(np.float64)
        with quiet_pysteps():
            rates = _compute_rates(until_latest, flow, (leads + age) / step, step, method)
        used = {iso_time(time) for time in until_latest["time"].values[-rates.frames :]}
        used |= set(str(motion.attrs.get("frames_used", "")).split(", ")) - {""}
        attrs["frames_used"] = ", ".join(sorted(used))
    if rates.fallback:
        attrs["fallback"] = rates.fallback
    members = 0 if method is None else method.members
    return build_forecast(rates.values, members, recent, leads, attrs).assign({name: motion[name] for name in MOTION})


def describe_run(nowcaster: PystepsNowcaster, recent: xr.DataArray, motion: xr.Dataset) -> dict[str, Any]:
    """Return the attributes that all forecasts by pysteps share."""
    return {
        "nowcaster": nowcaster.name,
        "status": radar_status(recent, latest_frame(recent)[1]),
        "motion_method": nowcaster.motion.name,
        "motion_status": str(motion.attrs.get("status", "")),
        **{name: motion.attrs[name] for name in ("motion_bounded",) if name in motion.attrs},
    }


def build_forecast(
    rates: Array, members: int, recent: xr.DataArray, leads: LeadTimes, attrs: dict[str, Any]
) -> xr.Dataset:
    """Build a forecast from rates, ``(lead, y, x)``, or from those of an ensemble, ``(member, lead, y, x)``.

    The forecast of an ensemble of `members` is its mean, beside the members themselves. Rates without members, from an
    extrapolation, are those of every member.
    """
    if not members:
        return forecast_dataset(rates, recent, leads, **attrs)
    ensemble = np.broadcast_to(rates, (members, *rates.shape[-3:]))
    return add_ensemble(forecast_dataset(ensemble.mean(axis=0, dtype=np.float64), recent, leads, **attrs), ensemble)


def mean_cell_kilometres(recent: xr.DataArray) -> float:
    """Return the mean of the height and the width of a cell, km."""
    return sum(cell_kilometres(recent)) / 2


def _compute_rates(
    recent: xr.DataArray, flow: Doubles, steps: Doubles, step: np.timedelta64, method: ArMethod | None
) -> _Rates:
    """Compute rates at `steps` after the last frame."""
    leads = LeadSteps.at(steps)
    advected = extrapolate(recent.values[-1].astype(np.float64), flow, leads.requested)[leads.picked].astype(np.float32)
    if method is None:
        return _Rates(advected, "", 1)
    order, reason = _choose_order(recent, method)
    if order == 0:
        log.info("extrapolated: %s", reason)
        return _Rates(advected, reason, 1)
    frames = order + method.extra_frames
    inputs = NowcastInputs(
        rates=_fill_gaps(recent.values[-frames:].astype(np.float64), flow),
        flow=flow,
        steps=leads.requested,
        kilometres=mean_cell_kilometres(recent),
        minutes=float(step / MINUTE),
    )
    try:
        rate = np.asarray(method.run(inputs, order), dtype=np.float32)[..., leads.picked, :, :]
        if not np.isfinite(rate).any() and np.isfinite(advected).any():
            raise ValueError("no finite value in the forecast")
        return _Rates(_complete(rate, advected), reason, frames)
    except failures() as error:
        log.warning("the nowcast failed and was extrapolated: %s: %s", type(error).__name__, error)
        return _Rates(advected, f"extrapolated: {type(error).__name__}: {error}", 1)


def _choose_order(recent: xr.DataArray, method: ArMethod) -> tuple[int, str]:
    """Return the order of the AR process that the last frames allow, 0 for none, and the reason if it is reduced."""
    wet = np.atleast_1d((recent.values[::-1] >= LOWEST_RATE).any(axis=(1, 2)))
    if not bool(wet[0]):
        return 0, f"extrapolated: no rain of {LOWEST_RATE:g} mm/h in the newest frame"
    frames = int(np.argmin(wet)) if not wet.all() else wet.size
    order = min(method.order, frames - method.extra_frames)
    if order == method.order:
        return order, ""
    reason = f"{frames} consecutive frames with rain, {method.order + method.extra_frames} needed"
    return (order, f"AR process of order {order}: {reason}") if order > 0 else (0, f"extrapolated: {reason}")


def extrapolate(rate: Doubles, flow: Doubles, steps: int | list[float]) -> Doubles:
    """Extrapolate one frame along the flow, ``(step, y, x)``; NaN where most of the arriving air is unknown."""
    from pysteps.extrapolation import semilagrangian

    known = np.isfinite(rate)
    if known.all():
        advected: Doubles = semilagrangian.extrapolate(rate, flow, steps)
        return advected
    arriving = semilagrangian.extrapolate(known.astype(np.float64), flow, steps, outval=0.0)
    total = semilagrangian.extrapolate(np.where(known, rate, 0.0), flow, steps, outval=0.0)
    return np.where(arriving >= 0.5, total / np.maximum(arriving, 0.5), np.nan)


def _fill_gaps(rates: Doubles, flow: Doubles) -> Doubles:
    """Fill NaN in consecutive frames along the flow from the frame before, else from the frame after, else with 0."""
    filled = rates.copy()
    for frames, direction in ((range(1, len(filled)), 1), (range(len(filled) - 2, -1, -1), -1)):
        for i in frames:
            gaps = np.isnan(filled[i])
            if gaps.any():
                filled[i, gaps] = extrapolate(filled[i - direction], direction * flow, 1)[0, gaps]
    return np.nan_to_num(filled)


def _complete(rate: Array, advected: Array) -> Array:
    """Return `rate` with the mask of `advected`, and with its values where `rate` is unknown."""
    return np.where(np.isnan(advected), np.float32(np.nan), np.where(np.isfinite(rate), rate, advected))
