"""Texts of the attribute ``status`` of motion."""

from __future__ import annotations

import xarray as xr

ESTIMATED = "estimated"
"""The motion was estimated from radar frames."""
WIND_FAR_FROM_ECHO = "estimated, wind far from echo"
"""The motion was estimated from radar frames near echo, and is the wind elsewhere."""


def no_motion_status(reason: str) -> str:
    """Return the status of zero motion."""
    return f"no motion: {reason}"


def wind_alone_status(status: str) -> str:
    """Return the status of motion that is the wind everywhere, because the motion from radar has another `status`."""
    return f"wind alone ({status})"


def is_estimated(motion: xr.Dataset) -> bool:
    """Return whether the motion was estimated from radar frames, at least near echo."""
    return motion.attrs["status"] in {ESTIMATED, WIND_FAR_FROM_ECHO}
