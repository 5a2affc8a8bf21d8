"""Motion from radar near echo, and from wind elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.core.grid import cell_kilometres
from hybridcast.core.types import Array, Mask
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, MotionMethod, check_motion, find_usable_frames
from hybridcast.motion.status import is_estimated, wind_alone_status, with_wind_far_from_echo

#: Number of latest frames whose echo counts.
_FRAMES = 4
_LOWEST_RATE = 0.1


@dataclass(frozen=True, eq=False)
class WindGuidedFlow:
    """Motion of another method near echo, and a wind with increasing distance from echo.

    NWP wind is not the motion of rain, because it is that of another height. The motion found at echo determines by
    how much rain is faster than the wind, and by which angle it deviates from it; this factor and this rotation, one
    for the whole field, are applied to the wind everywhere (see `calibrated`). Without any echo the wind is used
    unchanged.
    """

    method: MotionMethod = field(default_factory=DenseFlow)
    """Method that estimates the motion from radar."""
    wind: xr.Dataset | None = None
    """Wind `u` and `v`, m s-1, on the radar's grid, as returned by `hybridcast.nwp.steering_wind`; None for none."""
    reach: float = 60.0
    """Distance from echo (km) at which the wind has a weight of one half."""
    calibrated: bool = True
    """Whether the wind is scaled and rotated to fit the motion at echo."""
    ridge: float = 0.05
    """Weight of the unchanged wind in the calibration, in units of the fraction of cells with echo."""

    def __post_init__(self) -> None:
        """Refuse a distance that is not positive, and a negative weight."""
        if not self.reach > 0 or self.ridge < 0:
            raise InputError(f"reach {self.reach}, ridge {self.ridge}", "they are not negative", "Correct them")

    @property
    def name(self) -> str:
        """Name in the attributes of results."""
        return self.method.name if self.wind is None else f"{self.method.name} guided by wind"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame; see `hybridcast.estimate_motion`."""
        motion = self.method.estimate(recent)
        if self.wind is None:
            return motion
        wind = _components(check_motion(self.wind, recent))
        if not is_estimated(motion):
            status = wind_alone_status(motion.attrs["status"])
            return _replace_components(motion, wind, method=self.name, status=status)
        flow, echo = _components(motion), find_echo(recent)
        if self.calibrated:
            wind = calibrate_wind(wind, flow, echo, self.ridge)
        near = echo_proximity(echo, recent, self.reach)
        status = with_wind_far_from_echo(motion.attrs["status"])
        return _replace_components(motion, near * flow + (1 - near) * wind, method=self.name, status=status)


def _components(motion: xr.Dataset) -> Array:
    """Return `u` and `v` as an array, ``(2, y, x)``."""
    return np.stack([motion[name].transpose("y", "x").values for name in ("u", "v")]).astype(np.float32)


def _replace_components(motion: xr.Dataset, flow: Array, **attrs: str) -> xr.Dataset:
    """Return motion with other values, ``(2, y, x)``, and attributes."""
    replaced = {name: motion[name].copy(data=flow[k].astype(np.float32)) for k, name in enumerate(("u", "v"))}
    return motion.assign(replaced).assign_attrs(attrs)


def find_echo(recent: xr.DataArray) -> Mask:
    """Return where any of the latest frames has rain, ``(y, x)``."""
    present, _ = find_usable_frames(recent, _FRAMES)
    return np.asarray((recent.isel(time=present).values >= _LOWEST_RATE).any(axis=0))


def echo_proximity(echo: Mask, recent: xr.DataArray, reach: float) -> Array:
    """Return a weight that decreases from 1 at echo to one half at `reach` km from it, and further to 0."""
    distance = ndimage.distance_transform_edt(~echo, sampling=cell_kilometres(recent))
    return np.asarray(np.exp2(-((distance / reach) ** 2)), np.float32)


def calibrate_wind(wind: Array, motion: Array, echo: Mask, ridge: float) -> Array:
    """Rotate and scale a wind by the one complex factor that fits it best to the motion at echo.

    Least squares with a ridge towards 1: with the wind w and the motion m as complex numbers, the factor is
    ``(sum of conj(w) m over echo + t) / (sum of |w|^2 over echo + t)``, where t is `ridge` times the sum of ``|w|^2``
    over all cells.
    """
    w, m = wind[0] + 1j * wind[1], motion[0] + 1j * motion[1]
    t = ridge * float((np.abs(w) ** 2).sum())
    power = float((np.abs(w[echo]) ** 2).sum()) + t
    if power == 0:
        return wind
    calibrated = w * ((np.conj(w[echo]) * m[echo]).sum() + t) / power
    return np.stack([calibrated.real, calibrated.imag]).astype(np.float32)
