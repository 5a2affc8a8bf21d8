"""The protocol of nowcasters, and the two simplest ones: persistence and advection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, cast, runtime_checkable

import numpy as np
import xarray as xr

from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import add_motion, forecast_dataset
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Array, LeadTimes
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, MotionMethod, find_usable_frames
from hybridcast.motion.screening import count_rejected, rejected_in
from hybridcast.nowcasters.gpu import estimate_and_advect
from hybridcast.settings import AdvectionSettings
from hybridcast_kernels.devices import Device


@runtime_checkable
class Nowcaster(Protocol):
    """An object that makes a forecast, as accepted by ``forecast(nowcaster=...)``.

    A nowcaster may have further abilities: `TakesSources`, `MakesMembers`, `MakesBands`,
    `DescribesSettings`,
    `hybridcast.core.device.HasDevice` and `hybridcast.core.files.HasFingerprint`.
    """

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        ...

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast, as built by `hybridcast.core.forecast_schema.forecast_dataset`.

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
class MakesMembers(Protocol):
    """Ability of a nowcaster to add the members of an ensemble to its forecasts."""

    def with_members(self, count: int, seed: int) -> Nowcaster:
        """Return a nowcaster whose forecasts have members, see `hybridcast.core.forecast_schema.add_ensemble`.

        Parameters
        ----------
        count
            Number of members, above zero. The first `k` members are the same for every count of at least `k`; where a
            library does not allow that, the nowcaster says so.
        seed
            Seed of the random numbers, 0 to 2^32 - 1. The same seed gives the same members.
        """
        ...


@runtime_checkable
class MakesBands(Protocol):
    """Ability of a nowcaster to make its fields band by band of rows, for grids that are larger than the memory."""

    def forecast_lazily(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return the forecast of `forecast`, whose fields are dask arrays of one chunk for each band of rows."""
        ...

    def count_fields(self) -> int:
        """Return the number of fields at each lead time, without those of an ensemble."""
        ...


@runtime_checkable
class DescribesSettings(Protocol):
    """Ability of a nowcaster to describe its settings; other dataclasses are described by all of their fields."""

    def describe_settings(self) -> dict[str, Any]:
        """Return the settings as values that JSON can represent."""
        ...


class ChoosesMembers:
    """The ability `MakesMembers` for a dataclass that has the fields `members` and `seed`."""

    members: int

    def __post_init__(self) -> None:
        """Refuse an ensemble without members."""
        if self.members < 1:
            raise InputError(f"members = {self.members}", "an ensemble has at least one", "Correct members")

    def with_members(self, count: int, seed: int) -> Self:
        """Return the nowcaster with another number of members and another seed; see `MakesMembers`."""
        made: Self = replace(cast(Any, self), members=count, seed=seed)
        return made


@dataclass(frozen=True)
class Persistence:
    """The latest frame, unchanged: the reference that every other nowcaster has to surpass."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "persistence"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `Nowcaster`."""
        latest, age = latest_frame(recent)
        rate = np.repeat(latest.values[None], len(lead_times), axis=0)  # in memory of its own
        used = iso_time(recent["time"].values[-1] - age) if np.isfinite(latest.values).any() else "none"
        return forecast_dataset(
            rate, recent, lead_times, nowcaster=self.name, status=radar_status(recent, age), frames_used=used
        )


@dataclass(frozen=True)
class Advection:
    """The latest frame, advected along the motion of the recent frames."""

    motion: MotionMethod = field(default_factory=DenseFlow)
    """Motion method."""
    settings: AdvectionSettings = field(default_factory=AdvectionSettings)
    """Interpolation of the latest frame."""
    device: Device = "auto"
    """Hardware: "cpu", "cuda", or "auto", a GPU if one works."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return f"advection ({self.motion.name}, {self.settings.interpolation})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames, with the motion `u` and `v`; see `Nowcaster`."""
        leads = check_lead_times(lead_times)
        latest, age = latest_frame(recent)
        rate, motion = self._advect(recent, latest, leads + age)  # a late radar is advected for that much longer
        result = forecast_dataset(rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age))
        used = {name: motion.attrs[name] for name in ("frames_used",) if name in motion.attrs}
        return add_motion(result, motion).assign_attrs(used)

    def _advect(self, recent: xr.DataArray, latest: xr.DataArray, leads: LeadTimes) -> tuple[Array, xr.Dataset]:
        """Return the latest frame at lead times after it, ``(lead, y, x)``, and the motion."""
        on_gpu = estimate_and_advect(recent, leads, self.motion, self.settings, self.device)
        if on_gpu is not None:
            return on_gpu
        motion = self.motion.estimate(recent)
        return advect(latest, motion, leads, settings=self.settings, device=self.device).values, motion


def latest_frame(recent: xr.DataArray) -> tuple[xr.DataArray, np.timedelta64]:
    """Return the last frame that contains any value, and its age at the last time of `recent`.

    If no frame contains any value, the last frame is returned.
    """
    indices, _ = find_usable_frames(recent, 1)
    latest = recent.isel(time=int(indices[0]) if indices.size else -1)
    age = recent["time"].values[-1] - latest["time"].values
    return latest, age


def radar_status(recent: xr.DataArray, age: np.timedelta64) -> str:
    """Return the attribute ``status``: whether the radar is up to date, late, rejected in part or earlier, or missing.

    `age` is the age of the latest frame, as returned by `latest_frame`.
    """
    if age > np.timedelta64(0):
        return f"radar is late: latest frame is {age / MINUTE:g} min old"
    if not np.isfinite(recent.isel(time=-1).values).any():
        return "no radar data in any frame: all unknown"
    rejected = rejected_in(recent, recent["time"].values[-1])
    if rejected:
        return f"a part of the latest frame is rejected: {rejected[0]}"
    earlier = count_rejected(recent)
    return f"earlier frames rejected: {earlier}, see frames_rejected" if earlier else "ok"
