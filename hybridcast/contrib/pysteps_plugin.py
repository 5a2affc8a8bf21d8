"""Our motion and nowcasters behind pysteps' own interface, for those whose scripts are written for pysteps.

    >>> import hybridcast.contrib.pysteps_plugin
    >>> hybridcast.contrib.pysteps_plugin.register()
    ['hybridcast', 'hybridcast_advection', 'hybridcast_scales']

After that ``pysteps.motion.get_method("hybridcast")`` and ``pysteps.nowcasts.get_method("hybridcast")`` give functions
that are called as those of pysteps: bare arrays, velocity in cells per time step with x first, lead times in time
steps. What these arrays do not carry has a default that can be given: the size of a cell, the time step, the units.
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
START = np.datetime64("2000-01-01", "ns")  # frames of pysteps have no times


def register() -> list[str]:
    """Add our methods to those that pysteps finds by name; doing so twice changes nothing.

    Returns
    -------
    list of str
        The names: ``hybridcast`` for motion, all of them for nowcasts.

    Raises
    ------
    DependencyError
        If pysteps is not installed.
    """
    with quiet_pysteps():
        from pysteps.motion import interface as motions
        from pysteps.nowcasts import interface as nowcasts
    motions._methods["hybridcast"] = dense_flow
    found: dict[str, Callable[..., Result]] = {
        "hybridcast": fused,
        "hybridcast_advection": advected,
        "hybridcast_scales": scale_filtered,
    }
    nowcasts._nowcast_methods.update(found)
    return list(found)


def dense_flow(input_images: ArrayLike, *, units: Units | None = None) -> Doubles:
    """Estimate motion by our dense flow, as a motion method of pysteps.

    Parameters
    ----------
    input_images
        Shape ``(frame, y, x)``, two frames or more, NaN or masked where missing.
    units
        By default told from the values: decibels of mm/h (dBR) where one is negative, as pysteps has dry at -15,
        and mm/h otherwise.

    Returns
    -------
    ndarray
        Cells per time step, shape ``(2, y, x)``, x first.

    Examples
    --------
    >>> dense_flow(np.zeros((3, 20, 30))).shape
    (2, 20, 30)
    """
    frames = _field(input_images, units, 1.0, 5.0)
    return cells_per_step(estimate_motion(frames), np.timedelta64(5, "m")).astype(np.float64)


def advected(
    precip: ArrayLike,
    velocity: ArrayLike,
    timesteps: int | Sequence[float],
    *,
    units: Units | None = None,
    measure_time: bool = False,
) -> Result:
    """Carry the last frame along, as ``pysteps.nowcasts.extrapolation.forecast`` does.

    Parameters
    ----------
    precip
        Shape ``(y, x)``, or ``(frame, y, x)``, of which the last is taken.
    velocity
        Cells per time step, shape ``(2, y, x)``, x first.
    timesteps
        How many lead times of one time step; or the lead times in time steps, rising.
    units
        As in `dense_flow`; the result has the same.
    measure_time
        Whether to give the seconds it took too.

    Returns
    -------
    ndarray
        Shape ``(lead time, y, x)``, NaN where unknown.

    Examples
    --------
    >>> advected(np.zeros((20, 30)), np.zeros((2, 20, 30)), 3).shape
    (3, 20, 30)
    """
    start = time.perf_counter()
    known = _units(precip, units)
    recent = _field(precip, known, 1.0, 5.0)
    motion = _Given(velocity, 5.0).estimate(recent)
    moved = advect(recent[-1], motion, _leads(timesteps, 5.0))
    return _given_back(moved.values, known, start if measure_time else None)


def scale_filtered(
    precip: ArrayLike,
    velocity: ArrayLike,
    timesteps: int | Sequence[float],
    *,
    kmperpixel: float = 1.0,
    timestep: float = 5.0,
    units: Units | None = None,
    measure_time: bool = False,
) -> Result:
    """Let the scales of the rain fade as they become unpredictable, as ``pysteps.nowcasts.sprog.forecast`` does.

    Parameters
    ----------
    precip
        Shape ``(frame, y, x)``; three frames or more, the last the newest.
    velocity, timesteps, units, measure_time
        As in `advected`.
    kmperpixel, timestep
        Size of a cell in km and time step in minutes, as pysteps' metadata name them.
    """
    model = ScaleFilter(motion=_Given(velocity, timestep))
    return _forecast(precip, model, timesteps, kmperpixel, timestep, units, measure_time)


def fused(
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
    """Forecast by the trained model; the rate alone, for what pysteps calls a deterministic nowcast.

    Parameters
    ----------
    precip, velocity, timesteps, kmperpixel, timestep, units, measure_time
        As in `scale_filtered`. Three frames or more; those of the last two hours let hindcasts correct the model.
    model
        The folder of a model made by ``hybridcast train``; by default the one of the package.
    """
    hybrid = replace(load_hybrid(model), motion=_Given(velocity, timestep))
    return _forecast(precip, hybrid, timesteps, kmperpixel, timestep, units, measure_time)


# --- between bare arrays and fields ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given(MotionMethod):
    """A motion that is known already, in cells per time step (min)."""

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
    model: Nowcaster,
    timesteps: int | Sequence[float],
    kmperpixel: float,
    timestep: float,
    units: Units | None,
    measure_time: bool,
) -> Result:
    start = time.perf_counter()
    known = _units(precip, units)
    recent = _field(precip, known, kmperpixel, timestep)
    made = model.forecast(_last_two_hours(recent), _leads(timesteps, timestep))
    return _given_back(made[RATE].values, known, start if measure_time else None)


def _last_two_hours(recent: xr.DataArray) -> xr.DataArray:
    """Return the frames of the last two hours: no more is looked at."""
    return recent.sel(time=slice(recent["time"].values[-1] - np.timedelta64(2, "h"), None))


def _field(values: ArrayLike, units: Units | None, kmperpixel: float, timestep: float) -> xr.DataArray:
    """Return bare arrays as a precipitation field whose place is not known."""
    known = _units(values, units)
    filled = _filled(values)
    rate = rate_from_dbr(filled) if known == "dBR" else filled
    frames = rate if rate.ndim == 3 else rate[None]
    y, x = (np.arange(n) * kmperpixel * 1000.0 for n in frames.shape[-2:])
    times = START + np.arange(len(frames)) * _minutes(timestep)
    return precipitation(frames, time=times, y=y, x=x, crs=None)


def _filled(values: ArrayLike) -> Doubles:
    filled: Doubles = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64)), np.nan)
    if filled.ndim not in (2, 3):
        found = f"precip has the shape {filled.shape}"
        raise InputError(found, "it is (y, x) or (frame, y, x)", "Pass the frames of one field")
    return filled


def _units(values: ArrayLike, units: Units | None) -> Units:
    if units not in (None, "dBR", "mm/h"):
        raise InputError(f"units = {units!r}", "they are 'dBR' or 'mm/h'", "Convert with pysteps.utils.conversion")
    return units or ("dBR" if bool((_filled(values) < 0).any()) else "mm/h")


def _leads(timesteps: int | Sequence[float], timestep: float) -> NDArray[np.timedelta64]:
    steps = np.arange(1, timesteps + 1) if isinstance(timesteps, int | np.integer) else np.asarray(timesteps, float)
    return np.array([_minutes(timestep * float(step)) for step in steps], dtype="timedelta64[ns]")


def _minutes(value: float) -> np.timedelta64:
    return np.timedelta64(round(value * 60e9), "ns")


def _given_back(rate: NDArray[Any], units: Units, start: float | None) -> Result:
    """Return rates in the units that came in, and the seconds since `start` if that is given."""
    result = np.asarray(rate, dtype=np.float64)
    if units == "dBR":
        decibels = 10.0 * np.log10(np.maximum(result, LOWEST_RATE))
        result = np.where(result < LOWEST_RATE, DRY_DBR, decibels)
    return result if start is None else (result, time.perf_counter() - start)


__all__ = ["advected", "dense_flow", "fused", "register", "scale_filtered"]
