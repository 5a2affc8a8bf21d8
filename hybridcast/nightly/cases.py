"""One issue time of one region: forecasts of all nowcasters, their sums, and a file of them.

This is what the workers do. They read what they need of the day's radar from a file, so a worker holds four hours of
radar and the forecasts of one issue time, however long the day is.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, iso_time
from hybridcast.core.files import atomic_write
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.nightly.config import RegionSettings, nowcasters_of
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.verification.comparison import compute_nowcaster_statistics, read_statistics, write_statistics
from hybridcast.verification.hours import average_over_hours
from hybridcast.verification.statistics import FSS_SCALES, THRESHOLDS, common_mask

#: What stands before the names of sums over hours, and what their lead times are called, in the file of a case.
_HOURS, _HOUR = "hours_", "hour"


@dataclass(frozen=True)
class Case:
    """One issue time."""

    region: RegionSettings
    issue_time: np.datetime64
    radar: Path
    """The day's frames, as `write_radar` wrote them."""
    folder: Path
    """Where sums of cases are kept."""

    @property
    def path(self) -> Path:
        """Its file of sums."""
        return self.folder / f"{np.datetime_as_string(self.issue_time, unit='s').replace(':', '')}.nc"


@dataclass(frozen=True)
class CaseDone:
    """What one issue time took."""

    issue_time: np.datetime64
    seconds: dict[str, float] = field(default_factory=dict)
    """For each nowcaster, and "sums"; empty where the sums were there already."""
    memory: float = float("nan")
    """Most memory that the process ever held, MB."""


def run_case(case: Case) -> CaseDone:
    """Forecast with all nowcasters, sum up, write the sums; nothing to do where they are there already."""
    if case.path.is_file():
        return CaseDone(case.issue_time)
    radar = read_radar_of(case)
    forecasts: dict[str, xr.Dataset] = {}
    seconds: dict[str, float] = {}
    for name, nowcaster in nowcasters_of(case.region).items():
        started = time.perf_counter()
        forecasts[name] = forecast_of(case, nowcaster, radar)
        seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    write_statistics(case_sums(case.region, forecasts, radar), case.path)
    seconds["sums"] = time.perf_counter() - started
    return CaseDone(case.issue_time, seconds, peak_memory())


def forecast_of(case: Case, nowcaster: Nowcaster, radar: xr.DataArray) -> xr.Dataset:
    """Forecast with one nowcaster; what verification needs of it."""
    try:
        result = forecast(
            radar,
            lead_time=case.region.lead_time,
            step=case.region.step,
            issue_time=case.issue_time,
            nowcaster=nowcaster,
        )
    except Exception as error:
        error.add_note(f"while forecasting {case.region.name} {iso_time(case.issue_time)} with {nowcaster.name}")
        raise
    return result[[name for name in (RATE, PROBABILITY, ENSEMBLE) if name in result]]


def case_sums(region: RegionSettings, forecasts: dict[str, xr.Dataset], radar: xr.DataArray) -> xr.Dataset:
    """Sum up over the points known to all nowcasters and the radar; rain over whole hours under names of their own."""
    valid = common_mask(forecasts.values(), radar)
    sums = compute_nowcaster_statistics(
        forecasts, radar, valid=valid, thresholds=THRESHOLDS, scales=FSS_SCALES, spectra=True
    )
    if not region.has_hours:
        return sums
    hourly = {name: average_over_hours(found, radar) for name, found in forecasts.items()}
    seen = next(iter(hourly.values()))[1]
    of_hours = {name: found for name, (found, _) in hourly.items()}
    valid = common_mask(of_hours.values(), seen)
    made = compute_nowcaster_statistics(
        of_hours, seen, valid=valid, thresholds=THRESHOLDS, scales=FSS_SCALES, spectra=True
    )
    return sums.merge(made.rename({name: f"{_HOURS}{name}" for name in made.data_vars} | {"lead_time": _HOUR}))


def read_case(path: Path) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Read the sums of a case: of frames, and of whole hours if there are any."""
    both = read_statistics(path)
    names = [str(name) for name in both.data_vars if str(name).startswith(_HOURS)]
    sums = both.drop_vars([*names, *([_HOUR] if names else [])])
    if not names:
        return sums, None
    hours = both[names].drop_vars("lead_time", errors="ignore").rename({_HOUR: "lead_time"})
    return sums, hours.rename({name: name.removeprefix(_HOURS) for name in names})


def write_radar(radar: xr.DataArray, path: Path) -> None:
    """Write the day's frames, one block each, for the workers."""
    blocks = {"chunksizes": (1, *radar.shape[1:]), "_FillValue": np.float32(np.nan)}
    seconds = {"units": "seconds since 1970-01-01T00:00:00", "dtype": "int64"}
    with atomic_write(path) as part:
        radar.drop_attrs(deep=False).assign_attrs(units=radar.attrs["units"]).to_netcdf(
            part, engine="h5netcdf", encoding={RATE: blocks, "time": seconds}
        )


def read_radar_of(case: Case) -> xr.DataArray:
    """Read the frames that a case needs: two hours before it, and its lead times."""
    window = slice(case.issue_time - INPUT_HISTORY, case.issue_time + case.region.lead_ns)
    with xr.open_dataset(case.radar, engine="h5netcdf") as file:
        return file[RATE].sel(time=window).load()


def peak_memory() -> float:
    """Return the most memory that this process ever held, MB; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
