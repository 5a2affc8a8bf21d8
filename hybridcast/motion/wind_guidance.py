"""Motion where there is no echo: a wind beside the flow found in the radar."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.grid import cell_kilometres
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, MotionMethod, check_motion, usable_frames
from hybridcast.motion.status import WIND_FAR_FROM_ECHO, is_estimated, wind_alone_status

Flow = NDArray[np.float32]

#: How many frames tell where echo is.
_FRAMES = 4
_LOWEST_RATE = 0.1


@dataclass(frozen=True, eq=False)
class WindGuidedFlow:
    """Another method's motion near echo and, further from it, a wind.

    The wind of a model is not the motion of rain: it is of another level. Where there is echo, the motion found tells
    how much faster and to which side rain moves than the wind; that factor and that turn, one for the field, are
    given to the wind wherever it is used (``calibrated``). With no echo at all the wind stands as it is.
    """

    method: MotionMethod = field(default_factory=DenseFlow)
    wind: xr.Dataset | None = None
    """`u` and `v`, m s-1, on the radar's grid, as `hybridcast.nwp.steering_wind` gives them; None: the method alone."""
    reach: float = 60.0
    """Distance to echo (km) at which the wind counts half."""
    calibrated: bool = True
    """Whether the wind is scaled and turned as the motion at echo tells."""
    trust: float = 0.05
    """Weight of the wind as it is in that calibration, in terms of the share of cells with echo."""

    def __post_init__(self) -> None:
        """Refuse values with which the method makes no sense."""
        if not self.reach > 0 or self.trust < 0:
            raise InputError(f"reach {self.reach}, trust {self.trust}", "they are not negative", "Correct them")

    @property
    def name(self) -> str:
        """How results name it."""
        return self.method.name if self.wind is None else f"{self.method.name} guided by wind"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """See `hybridcast.motion.estimate.estimate_motion`."""
        found = self.method.estimate(recent)
        if self.wind is None:
            return found
        wind = check_motion(self.wind, recent)
        w = np.stack([wind[name].transpose("y", "x").values for name in ("u", "v")]).astype(np.float32)
        m = np.stack([found[name].transpose("y", "x").values for name in ("u", "v")])
        if not is_estimated(found):
            return _with(found, w, method=self.name, status=wind_alone_status(found.attrs["status"]))
        echo = find_echo(recent)
        if self.calibrated:
            w = calibrate_wind(w, m, echo, self.trust)
        near = echo_proximity(echo, recent, self.reach)
        return _with(found, near * m + (1 - near) * w, method=self.name, status=WIND_FAR_FROM_ECHO)


def _with(motion: xr.Dataset, flow: Flow, **attrs: str) -> xr.Dataset:
    """Return a motion with other values, ``(2, y, x)``."""
    made = motion.assign({k: motion[k].copy(data=flow[i].astype(np.float32)) for i, k in enumerate(("u", "v"))})
    return made.assign_attrs(attrs)


def find_echo(recent: xr.DataArray) -> NDArray[np.bool_]:
    """Tell where any of the latest frames has rain."""
    present, _ = usable_frames(recent, _FRAMES)
    return np.asarray((recent.values[present] >= _LOWEST_RATE).any(axis=0))


def echo_proximity(echo: NDArray[np.bool_], recent: xr.DataArray, reach: float) -> NDArray[np.float32]:
    """Fall from 1 at echo to one half at `reach` km from it, and on to 0."""
    distance = ndimage.distance_transform_edt(~echo, sampling=cell_kilometres(recent))
    return np.asarray(np.exp2(-((distance / reach) ** 2)), np.float32)


def calibrate_wind(wind: Flow, motion: Flow, echo: NDArray[np.bool_], trust: float) -> Flow:
    """Turn and scale a wind by the one complex factor that brings it closest to the motion where there is echo.

    Least squares with a ridge towards 1: with w and m the wind and the motion as complex numbers, the factor is
    (sum of conj(w) m over echo + t) / (sum of |w|^2 over echo + t), t being `trust` times the sum of |w|^2 everywhere.
    """
    w, m = wind[0] + 1j * wind[1], motion[0] + 1j * motion[1]
    ridge = trust * float((np.abs(w) ** 2).sum())
    power = float((np.abs(w[echo]) ** 2).sum()) + ridge
    if power == 0:
        return wind
    turned = w * ((np.conj(w[echo]) * m[echo]).sum() + ridge) / power
    return np.stack([turned.real, turned.imag]).astype(np.float32)
