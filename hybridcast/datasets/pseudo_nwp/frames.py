"""Radar from which pseudo-NWP is simulated: means over the steps of a run, and rain of other times to invent storms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.grid import coarsen
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import HOUR, Array

Times = NDArray[np.datetime64]

_ZERO = np.timedelta64(0, "s")
#: Minimum fraction of a step that lies in the archive for the step to be known.
MIN_KNOWN = 0.5


@dataclass(frozen=True)
class RadarArchive:
    """Later radar, loaded frame by frame."""

    radar: xr.DataArray
    """Precipitation field, dims ``(time, y, x)``."""
    spacing: float
    """Size of a coarse cell, m."""

    @property
    def span(self) -> np.timedelta64:
        """Time from the first frame to the last."""
        span: np.timedelta64 = self.times[-1] - self.times[0]
        return span

    @property
    def times(self) -> Times:
        """Times of the frames."""
        times: Times = self.radar["time"].values
        return times

    def holds(self, end: np.datetime64, length: np.timedelta64) -> bool:
        """Return whether at least half of the step that ends at `end` lies in the archive."""
        inside = (self.times > end - length) & (self.times <= end)
        whole = max(1.0, length / self._step)
        return bool(inside.sum() >= MIN_KNOWN * whole)

    def mean(self, end: np.datetime64, length: np.timedelta64, shift: np.timedelta64) -> Array:
        """Return the mean rate over the step that ends at `end`; NaN where unknown.

        The step is shifted by `shift`, as far as the archive allows.
        """
        length = max(length, self._step)
        last, first = self.times[-1], self.times[0] + length - self._step
        moved = min(max(end + shift, min(first, end)), max(last, end))
        return self._mean((self.times > moved - length) & (self.times <= moved))

    def mirrored(self, end: np.datetime64, length: np.timedelta64) -> Array:
        """Return the mean rate over the step as far from the end of the archive as this one is from its start."""
        length = max(length, self._step)
        return self.mean(self.times[-1] - (end - length - (self.times[0] - self._step)), length, _ZERO)

    def _mean(self, which: NDArray[np.bool_]) -> Array:
        frames = coarsen(self.radar.isel(time=np.flatnonzero(which)).compute(), self.spacing).values
        known = np.isfinite(frames)
        count = known.sum(axis=0)
        total = np.where(known, frames, 0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

    @property
    def _step(self) -> np.timedelta64:
        return time_step(self.times) or HOUR


def step_lengths(lead_times: NDArray[np.timedelta64]) -> NDArray[np.timedelta64]:
    """Return the length of the step that ends at each lead time.

    The first step is as long as the second, or an hour if there is only one, but does not begin before the run.
    """
    steps = np.diff(lead_times)
    first = np.minimum(lead_times[:1], steps[:1] if steps.size else HOUR)
    return np.concatenate([first, steps]).astype("timedelta64[ns]")
