"""Motion of precipitation from recent radar frames."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import InputError
from hybridcast.field import GRID_MAPPING, check_same_grid, metres_per_cell

Flow = NDArray[np.float32]


class MotionMethod(Protocol):
    """A way to find the motion; `estimate_motion` takes any object like this one."""

    @property
    def name(self) -> str:
        """How results name it."""
        ...

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame, as `estimate_motion` returns it."""
        ...


# --- between cells per step, as kernels and other packages have it, and metres per second, as users do --------


def motion_dataset(flow: Flow, recent: xr.DataArray, step: np.timedelta64, **attrs: Any) -> xr.Dataset:
    """Label a flow in cells per `step`, shape ``(2, y, x)`` with x first, as motion in m s-1.

    `u` is positive towards growing x, `v` towards growing y, whichever way the arrays run.
    """
    dy, dx = metres_per_cell(recent)
    seconds = np.float32(step / np.timedelta64(1, "s"))
    coords = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    described = {"units": "m s-1", **({"grid_mapping": GRID_MAPPING} if GRID_MAPPING in coords else {})}
    names = {"u": "motion of precipitation along x", "v": "motion of precipitation along y"}
    values = {"u": flow[0] * (dx[:, None] / seconds), "v": flow[1] * np.float32(dy / float(seconds))}
    return xr.Dataset(
        {k: (("y", "x"), values[k], {"long_name": names[k], **described}) for k in names}, coords=coords, attrs=attrs
    )


def cells_per_step(motion: xr.Dataset, step: np.timedelta64) -> Flow:
    """Give motion in cells per `step`, shape ``(2, y, x)`` with x first, float32; the inverse of `motion_dataset`."""
    dy, dx = metres_per_cell(motion)
    seconds = np.float32(step / np.timedelta64(1, "s"))
    flow = np.empty((2, motion.sizes["y"], motion.sizes["x"]), dtype=np.float32)
    np.multiply(motion["u"].transpose("y", "x").values, seconds / dx[:, None], out=flow[0])
    np.multiply(motion["v"].transpose("y", "x").values, np.float32(float(seconds) / dy), out=flow[1])
    return flow


def check_motion(motion: xr.Dataset, field: xr.DataArray) -> xr.Dataset:
    """Check that `motion` holds finite `u` and `v` in m s-1 on the grid of `field`; raise `InputError` if not."""
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


def usable_frames(recent: xr.DataArray, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Select the last `count` frames that hold any value: ``(indices, time before the last of them in steps)``."""
    present = np.flatnonzero(np.isfinite(recent.values).any(axis=(1, 2)))[-count:]
    return present, (present - present[-1]).astype(np.float32) if present.size else np.empty(0, np.float32)
