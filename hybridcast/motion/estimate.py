"""Motion of precipitation from recent radar frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.device import resolve_device, with_device
from hybridcast.core.extras import extra
from hybridcast.core.field import GRID_MAPPING, check_precipitation, check_same_grid, metres_per_cell
from hybridcast.core.grid import mean_kilometres
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import InputError
from hybridcast.motion.bounds import LIMITS, LIMITS_OF_SMOOTH_FLOW, MAX_SPEED, Bounded, Limits, bound_flow
from hybridcast.motion.screening import note_on_rejected, screen_frames
from hybridcast.motion.status import estimated_status, no_motion_status
from hybridcast.settings import MotionSettings
from hybridcast_kernels.devices import Device, kernels_for
from hybridcast_kernels.flow_cpu import FlowOptions

#: Number of latest frames that `estimate_motion` hands to a method; no method needs more.
LATEST_FRAMES = 36
#: Attribute ``motion_bounded`` of motion that its physical bounds did not change.
UNBOUNDED = "nothing"


@runtime_checkable
class MotionMethod(Protocol):
    """An object that estimates motion, as accepted by ``estimate_motion(method=...)``."""

    @property
    def name(self) -> str:
        """Name in the attributes of results."""
        ...

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame; the result is that of `estimate_motion`."""
        ...


def estimate_motion(recent: xr.DataArray, *, method: MotionMethod | None = None, device: Device = "auto") -> xr.Dataset:
    """Estimate the motion of precipitation.

    Parameters
    ----------
    recent
        Precipitation field, dims ``(time, y, x)``, mm h-1. Only the latest frames with echo are used, two at least.
        What a radar cannot have seen is missing (`hybridcast.motion.screening`).
    method
        Motion method; `DenseFlow()` by default. Others are `DIS()` and
        `hybridcast.nowcasters.pysteps.PystepsMotion(...)`.
    device
        "cpu", "cuda", or "auto": the setting of `method`, and a GPU if one works.

    Returns
    -------
    Dataset
        `u` and `v`, dims ``("y", "x")``, m s-1, known everywhere: where there is no echo, the motion of the
        surroundings. ``attrs["status"]`` starts with ``"estimated"``, followed by what was rejected or changed, or is
        ``"no motion: ..."`` with the reason why it is zero; ``attrs["motion_bounded"]`` tells where the motion exceeded
        its physical bounds (`hybridcast.motion.bounds`).

    Raises
    ------
    InputError
        If `recent` violates the contract of a precipitation field, `method` is not a `MotionMethod`, or `device` is
        "cuda" and either no GPU works or the method cannot use one.

    Examples
    --------
    A square of rain of 10 km that moves 1 km to the east in 5 minutes:

    >>> import numpy as np
    >>> from hybridcast import precipitation
    >>> rate = np.zeros((3, 64, 64), dtype="float32")
    >>> for k in range(3):
    ...     rate[k, 25:35, 25 + k:35 + k] = 4
    >>> times = np.datetime64("2020-01-01") + np.arange(3) * np.timedelta64(5, "m")
    >>> field = precipitation(rate, time=times, y=np.arange(64) * 1e3, x=np.arange(64) * 1e3, crs=None)
    >>> motion = estimate_motion(field)
    >>> round(float(motion.u[30, 30]), 1)
    3.3
    """
    chosen = DenseFlow() if method is None else method
    if isinstance(chosen, type) or not isinstance(chosen, MotionMethod):
        raise InputError(
            f"method is {chosen!r}",
            "it is a motion method, an object",
            "Pass, for example, hybridcast.motion.DIS(); names are for the command line",
        )
    latest = check_precipitation(recent).isel(time=slice(-LATEST_FRAMES, None)).compute()
    return with_device(chosen, device).estimate(screen_frames(latest).field)


@dataclass(frozen=True)
class DenseFlow:
    """Dense multi-frame optical flow; the algorithm is described in `hybridcast_kernels.flow_cpu`."""

    settings: MotionSettings = field(default_factory=MotionSettings)
    """Number of frames and settings of the fit."""
    device: Device = "auto"
    """Hardware: "cpu", "cuda", or "auto", a GPU if one works."""

    @property
    def name(self) -> str:
        """Name in the attributes of results."""
        return "dense flow"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame; see `estimate_motion`."""
        present, offsets = find_frames_with_echo(recent, self.settings.frames, self.settings.lowest_rate)
        if present.size < 2:
            return self.label(recent, present, None)
        kernels = kernels_for(resolve_device(self.device))
        flow, found = kernels.estimate(recent.isel(time=present).values, offsets, flow_options(self.settings))
        return self.label(recent, present, flow if found else None)

    def label(self, recent: xr.DataArray, present: NDArray[np.int64], flow: Array | None) -> xr.Dataset:
        """Return the flow between the frames `present` (cells per step) as motion; zero motion if there is none."""
        if present.size < 2 and find_usable_frames(recent, 2)[0].size < 2:
            return zero_motion(recent, self.name, "fewer than two of the recent frames hold data")
        if present.size < 2:
            return zero_motion(recent, self.name, "no echo in two frames" if present.size else "no echo")
        if flow is None:
            return zero_motion(recent, self.name, "the echo has no structure to track")
        step = require_time_step(recent)
        return estimated_motion(flow, recent, step, self.name, present, limits=LIMITS_OF_SMOOTH_FLOW)


def flow_options(settings: MotionSettings) -> FlowOptions:
    """Return the settings in the form that the kernels expect."""
    return FlowOptions(
        iterations=settings.iterations,
        window=settings.window,
        smoothing=settings.smoothing,
        final_smoothing=settings.final_smoothing,
        ridge=settings.ridge,
        prior=settings.prior,
        lowest_rate=settings.lowest_rate,
        ceiling=float(10.0 * np.log10(settings.highest_rate / settings.lowest_rate)),
    )


@dataclass(frozen=True)
class DIS:
    """Dense inverse search of OpenCV on the last two frames (Kroeger et al. 2016, arXiv 1603.03590)."""

    preset: Literal["ultrafast", "fast", "medium"] = "fast"
    """Preset of OpenCV: compromise between speed and quality."""
    lowest_rate: float = 0.1
    """Rates below this (mm h-1) are no echo."""

    @property
    def name(self) -> str:
        """Name in the attributes of results."""
        return f"OpenCV DIS {self.preset}"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame; see `estimate_motion`."""
        with extra("dis", "motion by DIS"):
            import cv2

        present, offsets = find_frames_with_echo(recent, 2, self.lowest_rate)
        if present.size < 2:
            return zero_motion(recent, self.name, "no echo in two frames")
        before, after = (self._image(recent.values[k]) for k in present)
        if min(before.shape) < 16:
            return zero_motion(recent, self.name, "the grid is smaller than DIS needs")
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        found = cv2.DISOpticalFlow.create(presets[self.preset]).calc(before, after, None)
        flow = np.ascontiguousarray(np.moveaxis(found, 2, 0)) / -offsets[0]
        return estimated_motion(flow, recent, require_time_step(recent), self.name, present)

    def _image(self, rate: Array) -> NDArray[np.uint8]:
        """Return rain rates as 8-bit grey values: 0 to 40 dB above the lowest rate."""
        decibel = 10.0 * np.log10(np.maximum(np.nan_to_num(rate), self.lowest_rate) / self.lowest_rate)
        return (np.minimum(decibel, 40.0) * (255.0 / 40.0)).astype(np.uint8)


def describe_bounds(bounded: Bounded) -> str:
    """Return what the bounds changed in a flow, as an attribute of the motion."""
    parts = [
        f"{what} on {fraction:.1%} of the {where}"
        for what, where, fraction in (("speed", "grid", bounded.too_fast), ("area", "rain", bounded.too_divergent))
        if fraction > 0
    ]
    return ", ".join(parts) or UNBOUNDED


def zero_motion(recent: xr.DataArray, method: str, reason: str) -> xr.Dataset:
    """Return zero motion on the grid of `recent`; its status states the reason, and how many frames were rejected."""
    reason += note_on_rejected(recent)
    zero = np.zeros((2, recent.sizes["y"], recent.sizes["x"]), dtype=np.float32)
    return motion_dataset(zero, recent, np.timedelta64(1, "m"), method=method, status=no_motion_status(reason))


def _times(recent: xr.DataArray, frames: NDArray[np.int64]) -> str:
    return ", ".join(iso_time(time) for time in recent["time"].values[frames])


def require_time_step(recent: xr.DataArray) -> np.timedelta64:
    """Return the time step of a field of at least two frames."""
    step = time_step(recent["time"].values)
    assert step is not None  # two frames have a step
    return step


# --- conversion between cells per step (kernels, other packages) and metres per second (users) ----------------


def estimated_motion(
    flow: Array,
    recent: xr.DataArray,
    step: np.timedelta64,
    method: str,
    frames: NDArray[np.int64],
    *,
    limits: Limits = LIMITS,
) -> xr.Dataset:
    """Return a flow that was estimated from some frames of `recent` as motion within physical bounds.

    Every method returns its result through this function. ``attrs["motion_bounded"]`` tells what the bounds changed
    (see `hybridcast.motion.bounds`), and the status too if it is much.

    Parameters
    ----------
    flow
        Cells per `step`, shape ``(2, y, x)``, x first, finite.
    recent
        Precipitation field that it was estimated from.
    step
        Unit of time of the flow.
    method
        Name of the method.
    frames
        Indices of the frames along time; the last is the latest with echo.
    limits
        Limits of the change of area along the motion.
    """
    metres = metres_per_cell(recent)
    cell = mean_kilometres(metres)
    bounded = bound_flow(flow, float(step / MINUTE), recent.isel(time=frames[-1]).values, metres, cell, limits)
    if bounded.too_fast == 1:
        return zero_motion(recent, method, f"faster than {MAX_SPEED:g} m/s everywhere")
    rejected = note_on_rejected(recent)
    return motion_dataset(
        bounded.flow,
        recent,
        step,
        method=method,
        status=estimated_status(bounded.too_fast, bounded.too_divergent, rejected),
        frames_used=_times(recent, frames),
        motion_bounded=describe_bounds(bounded),
    )


def motion_dataset(flow: Array, recent: xr.DataArray, step: np.timedelta64, **attrs: Any) -> xr.Dataset:
    """Convert a flow in cells per `step`, shape ``(2, y, x)`` with x first, to motion in m s-1.

    `u` is positive in the direction of increasing x and `v` in that of increasing y, whatever the order of the arrays.
    """
    dy, dx = metres_per_cell(recent)
    seconds = np.float32(step / np.timedelta64(1, "s"))
    coords = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    described = {"units": "m s-1", **({"grid_mapping": GRID_MAPPING} if GRID_MAPPING in coords else {})}
    names = {"u": "motion of precipitation along x", "v": "motion of precipitation along y"}
    values = {"u": flow[0] * (dx / seconds), "v": flow[1] * (dy / seconds)}
    return xr.Dataset(
        {k: (("y", "x"), values[k], {"long_name": names[k], **described}) for k in names}, coords=coords, attrs=attrs
    )


def cells_per_step(motion: xr.Dataset, step: np.timedelta64) -> Array:
    """Convert motion to cells per `step`, shape ``(2, y, x)`` with x first, float32; inverse of `motion_dataset`."""
    dy, dx = metres_per_cell(motion)
    seconds = np.float32(step / np.timedelta64(1, "s"))
    flow = np.empty((2, motion.sizes["y"], motion.sizes["x"]), dtype=np.float32)
    np.multiply(motion["u"].transpose("y", "x").values, seconds / dx, out=flow[0])
    np.multiply(motion["v"].transpose("y", "x").values, seconds / dy, out=flow[1])
    return flow


def check_motion(motion: xr.Dataset, field: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Check that `motion` has finite `u` and `v` in m s-1 on the grid of `field`; raise `InputError` otherwise."""
    if not isinstance(motion, xr.Dataset) or not {"u", "v"} <= set(motion.data_vars):
        raise InputError(
            f"found {type(motion).__name__}", "motion is a Dataset with u and v", "Use estimate_motion(recent)"
        )
    for name in ("u", "v"):
        units = str(motion[name].attrs.get("units", ""))
        if units not in {"m s-1", "m/s"}:
            raise InputError(f"{name} has units {units!r}", "motion is in m s-1", "Convert it and set its units")
        if set(motion[name].dims) != {"y", "x"}:
            raise InputError(f"{name} has dims {motion[name].dims}", "motion has the dims (y, x)", "Select one time")
        if not np.isfinite(motion[name].values).all():
            raise InputError(
                f"{name} holds NaN or infinity", "motion is known everywhere", "Fill it: estimate_motion always does"
            )
    check_same_grid(motion, field, "motion and field")
    return motion


def find_frames_with_echo(recent: xr.DataArray, count: int, lowest_rate: float) -> tuple[NDArray[np.int64], Array]:
    """Find the last frames with echo of at least `lowest_rate` (mm h-1): one without cannot be compared with another.

    The parameters and the result are those of `find_usable_frames`.
    """
    return _find_last(recent, count, lambda frame: bool((frame >= lowest_rate).any()))


def find_usable_frames(recent: xr.DataArray, count: int) -> tuple[NDArray[np.int64], Array]:
    """Find the last frames that contain any value.

    Parameters
    ----------
    recent
        Precipitation field, dims ``(time, y, x)``.
    count
        Largest number of frames.

    Returns
    -------
    tuple
        Indices of the frames along time, and their times in steps relative to the last of them (zero or negative),
        each of shape ``(frame,)``.
    """
    return _find_last(recent, count, lambda frame: bool(np.isfinite(frame).any()))


def _find_last(recent: xr.DataArray, count: int, is_wanted: Callable[[Array], bool]) -> tuple[NDArray[np.int64], Array]:
    """Return the indices of the last frames that are wanted, at most `count`, and their times in steps."""
    newest_first = range(recent.sizes["time"] - 1, -1, -1)
    found = islice((k for k in newest_first if is_wanted(recent.isel(time=k).values)), count)
    indices = np.array(sorted(found), dtype=np.int64)
    return indices, (indices - indices[-1]).astype(np.float32) if indices.size else np.empty(0, np.float32)
