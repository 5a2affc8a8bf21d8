"""Texts of the attribute ``status`` of motion."""

from __future__ import annotations

import xarray as xr

ESTIMATED = "estimated"
"""The motion was estimated from radar frames; further remarks may follow."""
WIND_FAR_FROM_ECHO = "estimated, wind far from echo"
"""The motion was estimated from radar frames near echo, and is the wind elsewhere."""


#: Fraction of the rain, or of the grid, above which the status names what the bounds changed.
NOTABLE = 0.25


def estimated_status(too_fast: float, too_divergent: float, rejected: str) -> str:
    """Return the status of motion from radar frames, with what was changed or rejected.

    Parameters
    ----------
    too_fast
        Fraction of the grid where vectors were too fast.
    too_divergent
        Fraction of the rain where growth or decay was taken out of the motion.
    rejected
        Note on rejected frames, from `hybridcast.motion.screening.note_on_rejected`.
    """
    notes = [ESTIMATED + rejected]
    if too_fast >= NOTABLE:
        notes.append(f"too fast over {too_fast:.0%} of the grid, replaced by the surroundings")
    if too_divergent >= NOTABLE:
        notes.append(f"growth or decay taken out over {too_divergent:.0%} of the rain")
    return "; ".join(notes)


def with_wind_far_from_echo(status: str) -> str:
    """Return the status of estimated motion that is the wind far from echo."""
    return status.replace(ESTIMATED, WIND_FAR_FROM_ECHO, 1)


def no_motion_status(reason: str) -> str:
    """Return the status of zero motion."""
    return f"no motion: {reason}"


def wind_alone_status(status: str) -> str:
    """Return the status of motion that is the wind everywhere, because the motion from radar has another `status`."""
    return f"wind alone ({status})"


def is_estimated(motion: xr.Dataset) -> bool:
    """Return whether the motion was estimated from radar frames, at least near echo."""
    return str(motion.attrs["status"]).startswith(ESTIMATED)
