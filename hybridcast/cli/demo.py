"""The main job on real rain: forecasts of the stormiest hours of an archive, and how good they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.datasets.registry import fetch, scene_path
from hybridcast.errors import FetchError, InputError
from hybridcast.forecasting import forecast, save_forecast
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.plots import animate_forecast
from hybridcast.radar import open_radar
from hybridcast.verification.scores import correlation, csi, mean_absolute_error
from hybridcast.verification.statistics import compute_statistics

DATASET = "pycomlink-dwd-2018"
SHOWN = np.array([30, 60, 90, 120]) * np.timedelta64(1, "m")
WET = 0.1  # mm h-1
APART = np.timedelta64(6, "h")


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and measured."""

    source: str
    """Where the rain comes from, for people."""
    issue_times: list[np.datetime64]
    scores: xr.Dataset
    """`correlation`, `mean_absolute_error` and `csi`, dims ``(nowcaster, lead_time)``."""
    forecast_path: Path
    animation_path: Path


Step = Callable[[str], AbstractContextManager[object]]


def run_demo(folder: Path, *, cases: int = 8, progress: bool = True, step: Step = nullcontext) -> DemoResult:
    """Forecast the `cases` stormiest times, write the stormiest one's forecast and film into `folder`, and score all.

    The archive is fetched, which shows its own `progress`; `step` is entered, with what is being done, for the rest.
    If it cannot be fetched, the simulated scene that comes with the package takes its place, and
    ``DemoResult.source`` says so and why.
    """
    folder = _made(folder)
    radar, source = _open(progress)
    with step("forecasting"):
        return _forecast_and_score(radar, source, folder, cases)


def _forecast_and_score(radar: xr.DataArray, source: str, folder: Path, cases: int) -> DemoResult:
    times = stormiest(radar, cases)
    nowcasters: list[Nowcaster] = [Advection(), Persistence()]
    totals: dict[str, xr.Dataset] = {}
    for number, time in enumerate(times):
        window = radar.sel(time=slice(time - np.timedelta64(2, "h"), time + SHOWN[-1])).compute()
        made = {nowcaster.name: forecast(window, issue_time=time, nowcaster=nowcaster) for nowcaster in nowcasters}
        known = np.logical_and.reduce([result[RATE].notnull() for result in made.values()])
        valid = xr.DataArray(known, dims=("lead_time", "y", "x"))
        for name, result in made.items():
            sums = compute_statistics(result, window, thresholds=(WET, 1.0), valid=valid)
            totals[name] = totals[name] + sums if name in totals else sums
        if number == 0:
            stormiest_result = made[nowcasters[0].name]
            forecast_path = save_forecast(stormiest_result, folder / "forecast.nc")
            animation_path = animate_forecast(stormiest_result, folder / "forecast.gif", window)
    return DemoResult(source, list(times), _scores(totals), forecast_path, animation_path)


def _made(folder: Path) -> Path:
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {str(folder)!r} cannot be made ({error.strerror})",
            "forecast and film are written into a folder",
            "Choose another",
        ) from error
    return folder


def _open(progress: bool) -> tuple[xr.DataArray, str]:
    try:
        files = fetch(DATASET, progress=progress)
    except FetchError as error:
        return open_radar(scene_path()), f"SIMULATED rain that comes with the package, because: {error}"
    return open_radar(files), "DWD radar of May 2018, 1 km, 5 min, from the archive in pycomlink 0.6.0"


def stormiest(radar: xr.DataArray, count: int) -> NDArray[np.datetime64]:
    """Return the times with the largest area of 1 mm/h and more, the largest first, at least six hours apart.

    Only times with an hour of radar before and two after them count. Fewer are given if there are no more; the
    stormiest is found on the whole record, so that the choice is not what a forecast would have known.
    """
    times = radar["time"].values
    area = (radar >= 1.0).mean(("y", "x")).values
    enough = (times >= times[0] + np.timedelta64(1, "h")) & (times <= times[-1] - SHOWN[-1])
    chosen: list[np.datetime64] = []
    for k in np.argsort(-area, kind="stable"):
        if len(chosen) == count:
            break
        if enough[k] and all(abs(times[k] - other) >= APART for other in chosen):
            chosen.append(times[k])
    return np.array(chosen)


def _scores(totals: dict[str, xr.Dataset]) -> xr.Dataset:
    sums = xr.concat(list(totals.values()), dim=xr.Variable("nowcaster", list(totals))).sel(lead_time=SHOWN)
    return xr.Dataset(
        {
            "correlation": correlation(sums),
            "mean_absolute_error": mean_absolute_error(sums),
            "csi": csi(sums).sel(threshold=1.0, drop=True).assign_attrs(threshold="1 mm h-1"),
        }
    )
