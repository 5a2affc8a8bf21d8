"""Nowcasters: one protocol, from recent radar frames to a forecast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP, ORDERS, advect
from hybridcast.core.device import resolve_device
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import iso_time
from hybridcast.core.forecast_schema import add_motion, forecast_dataset
from hybridcast.core.types import LeadTimes
from hybridcast.motion.estimate import DenseFlow, MotionMethod, flow_options, require_time_step, usable_frames
from hybridcast.settings import AdvectionSettings
from hybridcast_kernels.devices import Device


@runtime_checkable
class Nowcaster(Protocol):
    """An object that makes a forecast, as accepted by ``forecast(nowcaster=...)``.

    A nowcaster may have further abilities: `TakesSources`, `DescribesSettings`, `hybridcast.core.device.HasDevice` and
    `hybridcast.core.files.HasFingerprint`.
    """

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        ...

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast, as `hybridcast.core.forecast_schema.forecast_dataset` builds it.

        Parameters
        ----------
        recent
            Checked precipitation field of recent frames; its last time is the time of issue.
        lead_times
            ``timedelta64``, increasing, above zero, shape ``(lead_time,)``.
        """
        ...


@runtime_checkable
class TakesSources(Protocol):
    """Ability of a nowcaster to use NWP, terrain and stations besides radar."""

    def with_sources(self, sources: Any) -> Nowcaster:
        """Return a nowcaster that uses these sources, a `hybridcast.predictors.sources.Sources`."""
        ...


@runtime_checkable
class DescribesSettings(Protocol):
    """Ability of a nowcaster to describe its settings; other dataclasses are described by all of their fields."""

    def describe_settings(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent."""
        ...


@dataclass(frozen=True)
class Persistence:
    """The latest frame stays as it is: what every other nowcaster has to beat."""

    @property
    def name(self) -> str:
        """How results name it."""
        return "persistence"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `Nowcaster`."""
        latest, age = latest_frame(recent)
        rate = np.repeat(latest.values[None], len(lead_times), axis=0)  # its own memory, not that of the radar field
        used = iso_time(recent["time"].values[-1] - age) if np.isfinite(latest.values).any() else "none"
        return forecast_dataset(
            rate, recent, lead_times, nowcaster=self.name, status=radar_status(recent, age), frames_used=used
        )


@dataclass(frozen=True)
class Advection:
    """The latest frame carried along the motion of the recent ones, on `device`: "auto" is a GPU if one works."""

    motion: MotionMethod = field(default_factory=DenseFlow)
    settings: AdvectionSettings = field(default_factory=AdvectionSettings)
    device: Device = "auto"

    @property
    def name(self) -> str:
        """How results name it."""
        return f"advection ({self.motion.name}, {self.settings.interpolation})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `Nowcaster`; the result holds the motion `u` and `v` too."""
        leads = check_lead_times(lead_times)
        latest, age = latest_frame(recent)
        rate, motion = self._moved(recent, latest, leads + age)  # a late radar is carried on that much longer
        result = forecast_dataset(rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age))
        used = {name: motion.attrs[name] for name in ("frames_used",) if name in motion.attrs}
        return add_motion(result, motion).assign_attrs(used)

    def _moved(
        self, recent: xr.DataArray, latest: xr.DataArray, leads: LeadTimes
    ) -> tuple[NDArray[np.float32], xr.Dataset]:
        """Return the latest frame at the lead times after it, ``(lead_time, y, x)``, and the motion."""
        if resolve_device(self.device) == "cuda" and isinstance(self.motion, DenseFlow) and self.motion.device != "cpu":
            present, offsets = usable_frames(recent, self.motion.settings.frames)
            if present.size >= 2:
                return self._moved_on_the_gpu(recent, present, offsets, leads, self.motion)
        motion = self.motion.estimate(recent)
        return advect(latest, motion, leads, settings=self.settings, device=self.device).values, motion

    def _moved_on_the_gpu(
        self,
        recent: xr.DataArray,
        present: NDArray[np.int64],
        offsets: NDArray[np.float32],
        leads: LeadTimes,
        method: DenseFlow,
    ) -> tuple[NDArray[np.float32], xr.Dataset]:
        """Do both in one visit to the device, in cells and steps of the radar; the latest frame is the last present."""
        from hybridcast_kernels import gpu

        step = require_time_step(recent)
        rate, flow, found = gpu.forecast(
            recent.values[present],
            offsets,
            (leads / step).astype(np.float32),
            flow_options(method.settings),
            ORDERS[self.settings.interpolation],
            longest_step=float(LONGEST_STEP * np.timedelta64(1, "m") / step),
        )
        return rate[0], method.label(recent, present, flow if found else None)


def latest_frame(recent: xr.DataArray) -> tuple[xr.DataArray, np.timedelta64]:
    """Return the last frame that holds any value, and its age at the last time (zero if it is the last one).

    If no frame holds any, the last one, all missing, is given.
    """
    indices, _ = usable_frames(recent, 1)
    latest = recent.isel(time=int(indices[0]) if indices.size else -1)
    age = recent["time"].values[-1] - latest["time"].values
    return latest, age


def radar_status(recent: xr.DataArray, age: np.timedelta64) -> str:
    """Say in the attribute ``status`` whether the radar is there, late (`age` as `latest_frame` has it), or missing."""
    if age > np.timedelta64(0):
        return f"radar is late: latest frame is {age / np.timedelta64(1, 'm'):g} min old"
    if not np.isfinite(recent.values[-1]).any():
        return "no radar data in any frame: all unknown"
    return "ok"
