"""Motion and nowcasters of this package behind the interface of pysteps, for scripts written for pysteps.

    >>> import hybridcast.contrib.pysteps_plugin
    >>> hybridcast.contrib.pysteps_plugin.register()
    ['hybridcast', 'hybridcast_advection', 'hybridcast_scales']

Afterwards ``pysteps.motion.get_method("hybridcast")`` and ``pysteps.nowcasts.get_method("hybridcast")`` return
functions with the conventions of pysteps: plain arrays, velocity in cells per time step with x first, lead times in
time steps. The size of a cell, the time step and the units, which plain arrays do not contain, are options with
defaults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.advection import advect
from hybridcast.core.field import RATE, precipitation
from hybridcast.core.types import Doubles
from hybridcast.errors import InputError
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.motion.estimate import MotionMethod, cells_per_step, estimate_motion, motion_dataset
from hybridcast.motion.status import ESTIMATED
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.nowcasters.pysteps._call import DRY_DBR, LOWEST_RATE, quiet_pysteps, rate_from_dbr
from hybridcast.nowcasters.scale_filter import ScaleFilter

Units = Literal["dBR", "mm/h"]
Result = Doubles | tuple[Doubles, float]
#: Time of the first frame; frames of pysteps have no times.
START = np.datetime64("2000-01-01", "ns")


def register() -> list[str]:
    """Add the methods of this package to those that pysteps finds by name; a second call changes nothing.

    Returns
    -------
    list of str
        Names of the methods: ``hybridcast`` for motion, all of them for nowcasts.

    Raises
    ------
    DependencyError
        If pysteps is not installed.
    """
    with quiet_pysteps():
        from pysteps.motion import interface as motions
        from pysteps.nowcasts import interface as nowcasts
    motions._methods["hybridcast"] = estimate_dense_flow
    found: dict[str, Callable[..., Result]] = {
        "hybridcast": forecast_hybrid,
        "hybridcast_advection": forecast_advection,
        "hybridcast_scales": forecast_scale_filter,
    }
    nowcasts._nowcast_methods.update(found)
    return list(found)


def estimate_dense_flow(input_images: ArrayLike, *, units: Units | None = None) -> Doubles:
    """Estimate motion by dense flow, with the interface of a motion method of pysteps.

    Parameters
    ----------
    input_images
        At least two frames, shape ``(frame, y, x)``, NaN or masked where missing.
    units
        Units of the frames. By default they are determined from the values: decibels of mm/h (dBR) if any value is
        negative, because dry cells have -15 dBR in pysteps, and mm/h otherwise.

    Returns
    -------
    ndarray
        Motion in cells per time step, shape ``(2, y, x)``, x first.

    Examples
    --------
    >>> estimate_dense_flow(np.zeros((3, 20, 30))).shape
    (2, 20, 30)
    """
    frames = _field(input_images, units, 1.0, 5.0)
    return cells_per_step(estimate_motion(frames), np.timedelta64(5, "m")).astype(np.float64)


def forecast_advection(
    precip: ArrayLike,
    velocity: ArrayLike,
    timesteps: int | Sequence[float],
    *,
    units: Units | None = None,
    measure_time: bool = False,
) -> Result:
    """Advect the last frame, with the interface of ``pysteps.nowcasts.extrapolation.forecast``.

    Parameters
    ----------
    precip
        Frame of shape ``(y, x)``, or frames of shape ``(frame, y, x)``, of which the last is used.
    velocity
        Motion in cells per time step, shape ``(2, y, x)``, x first.
    timesteps
        Number of time steps, or increasing lead times in time steps.
    units
        Units of the frame and of the result, as in `estimate_dense_flow`.
    measure_time
        Whether to return the computing time in seconds as well.

    Returns
    -------
    ndarray
        Forecast of shape ``(lead time, y, x)``, NaN where unknown.

    Examples
    --------
    >>> forecast_advection(np.zeros((20, 30)), np.zeros((2, 20, 30)), 3).shape
    (3, 20, 30)
    """
    start = time.perf_counter()
    known = _units(precip, units)
    recent = _field(precip, known, 1.0, 5.0)
    motion = _GivenMotion(velocity, 5.0).estimate(recent)
    moved = advect(recent[-1], motion, _leads(timesteps, 5.0))
    return _convert_back(moved.values, known, start if measure_time else None)


def forecast_scale_filter(
    precip: ArrayLike,
    velocity: ArrayLike,
    timesteps: int | Sequence[float],
    *,
    kmperpixel: float = 1.0,
    timestep: float = 5.0,
    units: Units | None = None,
    measure_time: bool = False,
) -> Result:
    """Forecast by the scale filter, with the interface of ``pysteps.nowcasts.sprog.forecast``.

    Parameters
    ----------
    precip
        At least three frames, shape ``(frame, y, x)``, the latest last.
    velocity, timesteps, units, measure_time
        As in `forecast_advection`.
    kmperpixel, timestep
        Size of a cell in km and time step in minutes, named as in the metadata of pysteps.
    """
    nowcaster = ScaleFilter(motion=_GivenMotion(velocity, timestep))
    return _forecast(precip, nowcaster, timesteps, kmperpixel, timestep, units, measure_time)


def forecast_hybrid(
    precip: ArrayLike,
    velocity: ArrayLike,
    timesteps: int | Sequence[float],
    *,
    kmperpixel: float = 1.0,
    timestep: float = 5.0,
    model: str = "default",
    units: Units | None = None,
    measure_time: bool = False,
) -> Result:
    """Forecast by a trained model; only the rain rate is returned, as of a deterministic nowcast of pysteps.

    Parameters
    ----------
    precip, velocity, timesteps, kmperpixel, timestep, units, measure_time
        As in `forecast_scale_filter`. Three frames are sufficient; the hindcasts that
        adapt the weights use those of the last two hours.
    model
        Folder of a trained model made by ``hybridcast train``; by default the one that comes with the package.
    """
    hybrid = replace(load_hybrid(model), motion=_GivenMotion(velocity, timestep))
    return _forecast(precip, hybrid, timesteps, kmperpixel, timestep, units, measure_time)


# --- conversion between plain arrays and fields --------------------------------------------------------------


@dataclass(frozen=True)
class _GivenMotion(MotionMethod):
    """Motion that is known already, in cells per time step (min)."""

    velocity: ArrayLike
    timestep: float
    name: str = "given"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Return it on the grid of `recent`."""
        flow = np.asarray(self.velocity, dtype=np.float32)
        if flow.shape != (2, *recent.shape[1:]):
            rule = f"it is of shape {(2, *recent.shape[1:])}, x first"
            raise InputError(f"velocity has the shape {flow.shape}", rule, "Give motion on the grid of the frames")
        return motion_dataset(flow, recent, _minutes(self.timestep), method=self.name, status=ESTIMATED)


def _forecast(
    precip: ArrayLike,
    nowcaster: Nowcaster,
    timesteps: int | Sequence[float],
    kmperpixel: float,
    timestep: float,
    units: Units | None,
    measure_time: bool,
) -> Result:
    start = time.perf_counter()
    known = _units(precip, units)
    recent = _field(precip, known, kmperpixel, timestep)
    made = nowcaster.forecast(_last_two_hours(recent), _leads(timesteps, timestep))
    return _convert_back(made[RATE].values, known, start if measure_time else None)


def _last_two_hours(recent: xr.DataArray) -> xr.DataArray:
    """Return the frames of the last two hours, which is the longest history that a nowcaster uses."""
    return recent.sel(time=slice(recent["time"].values[-1] - np.timedelta64(2, "h"), None))


def _field(values: ArrayLike, units: Units | None, kmperpixel: float, timestep: float) -> xr.DataArray:
    """Return plain arrays as a precipitation field of unknown location."""
    known = _units(values, units)
    filled = _to_array(values)
    rate = rate_from_dbr(filled) if known == "dBR" else filled
    frames = rate if rate.ndim == 3 else rate[None]
    y, x = (np.arange(n) * kmperpixel * 1000.0 for n in frames.shape[-2:])
    times = START + np.arange(len(frames)) * _minutes(timestep)
    return precipitation(frames, time=times, y=y, x=x, crs=None)


def _to_array(values: ArrayLike) -> Doubles:
    filled: Doubles = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64)), np.nan)
    if filled.ndim not in (2, 3):
        found = f"precip has the shape {filled.shape}"
        raise InputError(found, "it is (y, x) or (frame, y, x)", "Pass the frames of one field")
    return filled


def _units(values: ArrayLike, units: Units | None) -> Units:
    if units not in (None, "dBR", "mm/h"):
        raise InputError(f"units = {units!r}", "they are 'dBR' or 'mm/h'", "Convert with pysteps.utils.conversion")
    return units or ("dBR" if bool((_to_array(values) < 0).any()) else "mm/h")


def _leads(timesteps: int | Sequence[float], timestep: float) -> NDArray[np.timedelta64]:
    steps = np.arange(1, timesteps + 1) if isinstance(timesteps, int | np.integer) else np.asarray(timesteps, float)
    return np.array([_minutes(timestep * float(step)) for step in steps], dtype="timedelta64[ns]")


def _minutes(value: float) -> np.timedelta64:
    return np.timedelta64(round(value * 60e9), "ns")


def _convert_back(rate: NDArray[Any], units: Units, start: float | None) -> Result:
    """Return rates in `units`, and the time since `start` in seconds unless it is None."""
    result = np.asarray(rate, dtype=np.float64)
    if units == "dBR":
        decibels = 10.0 * np.log10(np.maximum(result, LOWEST_RATE))
        result = np.where(result < LOWEST_RATE, DRY_DBR, decibels)
    return result if start is None else (result, time.perf_counter() - start)


__all__ = ["estimate_dense_flow", "forecast_advection", "forecast_hybrid", "forecast_scale_filter", "register"]
