"""The demo: forecasts of the stormiest hours of a real archive, and their scores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.forecast_files import save_forecast
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.datasets.registry import fetch, scene_path
from hybridcast.errors import FetchError, InputError
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.plots import animate_forecast
from hybridcast.radar import open_radar
from hybridcast.verification.scores import correlation, csi, mean_absolute_error
from hybridcast.verification.statistics import common_mask, compute_statistics

DATASET = "pycomlink-dwd-2018"
SHOWN = np.array([30, 60, 90, 120]) * MINUTE
"""Lead times of the scores."""
WET = 0.1
"""Lowest rate threshold, mm h-1."""
APART = np.timedelta64(6, "h")
"""Minimum interval between two issue times."""


@dataclass(frozen=True)
class DemoResult:
    """Scores and files of the demo."""

    source: str
    """Origin of the rain, as a sentence for people."""
    issue_times: list[np.datetime64]
    """Issue times, the stormiest first."""
    scores: xr.Dataset
    """`correlation`, `mean_absolute_error` and `csi`, dims ``(nowcaster, lead_time)``."""
    forecast_path: Path
    """File of the stormiest forecast."""
    animation_path: Path
    """Film of the stormiest forecast beside the observation."""


Step = Callable[[str], AbstractContextManager[object]]
"""Function that returns a context manager for a step of the work, from its description."""


def run_demo(folder: Path, *, cases: int = 8, progress: bool = True, step: Step = nullcontext) -> DemoResult:
    """Forecast the stormiest times of the archive, and score the forecasts.

    If the archive cannot be downloaded, the simulated scene of the package is used instead, and ``DemoResult.source``
    has the reason.

    Parameters
    ----------
    folder
        Folder for the forecast and the film of the stormiest time; created if it does not exist.
    cases
        Number of issue times.
    progress
        Whether the progress of the download is shown.
    step
        Function that is called with a description of the forecasts, and whose context they are made in.
    """
    folder = _create_folder(folder)
    radar, source = _open_archive(progress)
    with step("forecasting"):
        return _forecast_and_score(radar, source, folder, cases)


def _forecast_and_score(radar: xr.DataArray, source: str, folder: Path, cases: int) -> DemoResult:
    times = find_stormiest_times(radar, cases)
    nowcasters: list[Nowcaster] = [Advection(), Persistence()]
    totals: dict[str, xr.Dataset] = {}
    forecast_path, animation_path = folder / "forecast.nc", folder / "forecast.gif"
    for number, time in enumerate(times):
        window = radar.sel(time=slice(time - INPUT_HISTORY, time + SHOWN[-1])).compute()
        results = {one.name: forecast(window, issue_time=time, nowcaster=one) for one in nowcasters}
        valid = common_mask(results.values(), window)
        for name, result in results.items():
            statistics = compute_statistics(result, window, thresholds=(WET, 1.0), valid=valid)
            totals[name] = totals[name] + statistics if name in totals else statistics
        if number == 0:
            save_forecast(results[nowcasters[0].name], forecast_path)
            animate_forecast(results[nowcasters[0].name], animation_path, window)
    return DemoResult(source, list(times), _compute_scores(totals), forecast_path, animation_path)


def _create_folder(folder: Path) -> Path:
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


def _open_archive(progress: bool) -> tuple[xr.DataArray, str]:
    try:
        files = fetch(DATASET, progress=progress)
    except FetchError as error:
        return open_radar(scene_path()), f"SIMULATED rain that comes with the package, because: {error}"
    return open_radar(files), "DWD radar of May 2018, 1 km, 5 min, from the archive in pycomlink 0.6.0"


def find_stormiest_times(radar: xr.DataArray, count: int) -> NDArray[np.datetime64]:
    """Return the times with the largest area of 1 mm/h and more, the largest first, at least six hours apart.

    Only times with an hour of radar before and two hours after them are used; there may be fewer than `count`.
    """
    times = radar["time"].values
    area = (radar >= 1.0).mean(("y", "x")).values
    usable = (times >= times[0] + HOUR) & (times <= times[-1] - SHOWN[-1])
    chosen: list[np.datetime64] = []
    for k in np.argsort(-area, kind="stable"):
        if len(chosen) == count:
            break
        if usable[k] and all(abs(times[k] - other) >= APART for other in chosen):
            chosen.append(times[k])
    return np.array(chosen)


def _compute_scores(totals: dict[str, xr.Dataset]) -> xr.Dataset:
    statistics = xr.concat(list(totals.values()), dim=xr.Variable("nowcaster", list(totals))).sel(lead_time=SHOWN)
    return xr.Dataset(
        {
            "correlation": correlation(statistics),
            "mean_absolute_error": mean_absolute_error(statistics),
            "csi": csi(statistics).sel(threshold=1.0, drop=True).assign_attrs(threshold="1 mm h-1"),
        }
    )
