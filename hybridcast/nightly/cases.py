"""One issue time of one region: the forecasts of all nowcasters, their statistics, and a file of the statistics.

This is the work of the worker processes. They read the frames that they need from a file of the day's radar, so a
worker holds four hours of radar and the forecasts of one issue time, however long the day is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, load_fields
from hybridcast.core.memory import measure_peak_memory
from hybridcast.core.time_steps import iso_time
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.nightly.config import RegionSettings, make_nowcasters
from hybridcast.nightly.warnings import write_place_forecasts
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.verification.comparison import compute_nowcaster_statistics, read_statistics, write_statistics
from hybridcast.verification.hours import average_over_hours
from hybridcast.verification.members import BLOCKS
from hybridcast.verification.statistics import FSS_SCALES, THRESHOLDS, common_mask

#: Prefix of the hourly statistics in the file of a case, and the name of their lead times.
_HOURLY, _HOUR = "hourly_", "hour"


@dataclass(frozen=True)
class NightlyCase:
    """One issue time of one region."""

    region: RegionSettings
    issue_time: np.datetime64
    radar: Path
    """File of the day's frames, written by `write_day_radar`."""
    folder: Path
    """Folder of the statistics of cases."""

    @property
    def path(self) -> Path:
        """File of the statistics of this case."""
        return self.folder / f"{np.datetime_as_string(self.issue_time, unit='s').replace(':', '')}.nc"

    @property
    def places_path(self) -> Path:
        """File of the forecasts at the places of the region."""
        return self.path.with_suffix(".places.nc")


@dataclass(frozen=True)
class CaseCosts:
    """Time and memory of one issue time."""

    issue_time: np.datetime64
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration for each nowcaster, for "places" and for "statistics", s; empty if the case was done already."""
    memory: float = float("nan")
    """Peak memory of the process so far, MB."""


def run_case(case: NightlyCase) -> CaseCosts:
    """Forecast with all nowcasters and write the statistics, unless their file exists already."""
    if case.path.is_file():
        return CaseCosts(case.issue_time)
    radar = read_case_radar(case)
    forecasts: dict[str, xr.Dataset] = {}
    seconds: dict[str, float] = {}
    for name, nowcaster in make_nowcasters(case.region).items():
        started = time.perf_counter()
        forecasts[name] = make_forecast(case, nowcaster, radar)
        seconds[name] = time.perf_counter() - started
    if case.region.places is not None:
        started = time.perf_counter()
        write_place_forecasts(case.region, forecasts, radar, case.places_path)
        seconds["places"] = time.perf_counter() - started
    started = time.perf_counter()
    write_statistics(compute_nightly_statistics(case.region, forecasts, radar), case.path)
    seconds["statistics"] = time.perf_counter() - started
    return CaseCosts(case.issue_time, seconds, measure_peak_memory())


def make_forecast(case: NightlyCase, nowcaster: Nowcaster, radar: xr.DataArray) -> xr.Dataset:
    """Forecast with one nowcaster, and return the variables that verification needs."""
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
    return load_fields(result[[name for name in (RATE, PROBABILITY, ENSEMBLE) if name in result]])


def compute_nightly_statistics(
    region: RegionSettings, forecasts: dict[str, xr.Dataset], radar: xr.DataArray
) -> xr.Dataset:
    """Compute the statistics over the points known to the radar and all nowcasters.

    If the lead times make up whole hours, the statistics of rain over whole hours are included under names with the
    prefix ``hourly_`` and with the dim ``hour`` instead of ``lead_time``; `read_case_statistics` separates them again.
    """
    statistics = _compare(forecasts, radar)
    if not region.has_hours:
        return statistics
    averages = {name: average_over_hours(result, radar) for name, result in forecasts.items()}
    _, observed = next(iter(averages.values()))
    hourly = _compare({name: result for name, (result, _) in averages.items()}, observed)
    names = {name: f"{_HOURLY}{name}" for name in hourly.data_vars}
    return statistics.merge(hourly.rename(names | {"lead_time": _HOUR}))


def _compare(forecasts: dict[str, xr.Dataset], observed: xr.DataArray) -> xr.Dataset:
    valid = common_mask(forecasts.values(), observed)
    return compute_nowcaster_statistics(
        forecasts, observed, valid=valid, thresholds=THRESHOLDS, scales=FSS_SCALES, blocks=BLOCKS, spectra=True
    )


def read_case_statistics(path: Path) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Read the statistics of a case: of frames, and of whole hours if there are any."""
    both = read_statistics(path)
    names = [str(name) for name in both.data_vars if str(name).startswith(_HOURLY)]
    statistics = both.drop_vars([*names, *([_HOUR] if names else [])])
    if not names:
        return statistics, None
    hourly = both[names].drop_vars("lead_time", errors="ignore").rename({_HOUR: "lead_time"})
    return statistics, hourly.rename({name: name.removeprefix(_HOURLY) for name in names})


def write_day_radar(radar: xr.DataArray, path: Path) -> None:
    """Write the frames of a day for the workers, one block for each frame."""
    blocks = {"chunksizes": (1, *radar.shape[1:]), "_FillValue": np.float32(np.nan)}
    seconds = {"units": "seconds since 1970-01-01T00:00:00", "dtype": "int64"}
    with atomic_write(path) as part:
        radar.drop_attrs(deep=False).assign_attrs(units=radar.attrs["units"]).to_netcdf(
            part, engine="h5netcdf", encoding={RATE: blocks, "time": seconds}
        )


def read_case_radar(case: NightlyCase) -> xr.DataArray:
    """Read the frames of a case: from two hours before the issue time to the longest lead time."""
    window = slice(case.issue_time - INPUT_HISTORY, case.issue_time + case.region.lead_ns)
    with xr.open_dataset(case.radar, engine="h5netcdf") as file:
        return file[RATE].sel(time=window).load()
