"""Motion and advection on a GPU in one call, without transfers in between."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.advection import LONGEST_STEP, ORDERS, advect
from hybridcast.core.device import resolve_device
from hybridcast.core.types import MINUTE, Array, LeadTimes
from hybridcast.motion.estimate import (
    UNBOUNDED,
    DenseFlow,
    MotionMethod,
    find_frames_with_echo,
    find_usable_frames,
    flow_options,
    require_time_step,
)
from hybridcast.settings import AdvectionSettings
from hybridcast_kernels.devices import Device


def estimate_and_advect(
    recent: xr.DataArray, leads: LeadTimes, motion: MotionMethod, settings: AdvectionSettings, device: Device
) -> tuple[Array, xr.Dataset] | None:
    """Estimate motion and advect the latest frame on a GPU.

    Parameters
    ----------
    recent
        Checked precipitation field.
    leads
        Lead times after the latest frame that contains data.
    motion
        Motion method; only `DenseFlow` runs on a GPU.
    settings
        Settings of the advection.
    device
        Hardware of the advection.

    Returns
    -------
    tuple or None
        Rates, ``(lead, y, x)``, and motion; None if the settings require the CPU, fewer than two frames have echo, or
        the latest frame has none. Where the motion exceeds its physical bounds, the frame is advected again.
    """
    if resolve_device(device) != "cuda" or not isinstance(motion, DenseFlow) or motion.device == "cpu":
        return None
    present, offsets = find_frames_with_echo(recent, motion.settings.frames, motion.settings.lowest_rate)
    if present.size < 2 or present[-1] != find_usable_frames(recent, 1)[0][0]:
        return None
    from hybridcast_kernels import gpu

    step = require_time_step(recent)  # kernels work in cells and time steps of the radar
    rate, flow, found = gpu.forecast(
        recent.values[present],
        offsets,
        (leads / step).astype(np.float32),
        flow_options(motion.settings),
        ORDERS[settings.interpolation],
        longest_step=float(LONGEST_STEP * MINUTE / step),
    )
    bounded = motion.label(recent, present, flow if found else None)
    if bounded.attrs.get("motion_bounded", UNBOUNDED) == UNBOUNDED:
        return rate[0], bounded
    latest = recent.isel(time=int(present[-1]))
    return advect(latest, bounded, leads, settings=settings, device=device).values, bounded
