"""The demo: forecasts of the stormiest hours of a real archive, their scores, and what is made of one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.core.types import HOUR, MINUTE
from hybridcast.datasets.registry import fetch, scene_path
from hybridcast.errors import DependencyError, FetchError, InputError
from hybridcast.forecasting import INPUT_HISTORY, forecast
from hybridcast.fusion.hybrid import Hybrid, load_hybrid
from hybridcast.learned.trained_model import DEFAULT
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.nowcasters.pysteps import SProg, require_pysteps
from hybridcast.places import Place, at_places, parse_level, write_places
from hybridcast.plots import animate_forecast, plot_members, plot_probability, save_figure
from hybridcast.radar import open_radar
from hybridcast.verification.scores import correlation, csi, mean_absolute_error
from hybridcast.verification.statistics import common_mask, compute_statistics
from hybridcast.webmap import write_map

DATASET = "pycomlink-dwd-2018"
SHOWN = np.array([30, 60, 90, 120]) * MINUTE
"""Lead times of the scores."""
WET = 0.1
"""Lowest rate threshold, mm h-1."""
THRESHOLDS = (0.1, 1.0, 5.0)
"""Rates of the probabilities, mm h-1."""
LEVELS = (parse_level("5 mm in 1h"),)
"""Warning levels of the points."""
MEMBERS = 20
"""Number of members of the forecast that is shown."""
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
    places: xr.Dataset
    """What the stormiest forecast says of three points, from `hybridcast.at_places`."""
    files: dict[str, Path]
    """Files of the stormiest forecast, by what they show."""
    left_out: list[str]
    """What could not be made, because packages of extras are not installed: messages that name the extras."""
    seen_in_training: bool
    """Whether the trained model has learned from some of these days."""


Step = Callable[[str], AbstractContextManager[object]]
"""Function that returns a context manager for a step of the work, from its description."""


def run_demo(folder: Path, *, cases: int = 8, progress: bool = True, step: Step = nullcontext) -> DemoResult:
    """Forecast the stormiest times of the archive, and score the forecasts.

    If the archive cannot be downloaded, the simulated scene of the package is used instead, and ``DemoResult.source``
    has the reason.

    Parameters
    ----------
    folder
        Folder for the files of the stormiest forecast; created if it does not exist.
    cases
        Number of issue times.
    progress
        Whether the progress of the download is shown.
    step
        Function that is called with a description of the forecasts, and whose context they are made in.
    """
    folder = _create_folder(folder)
    radar, dataset, source = _open_archive(progress)
    trained = load_hybrid(DEFAULT, THRESHOLDS)
    left_out: list[str] = []
    with step("forecasting"):
        times, scores = _score(radar, cases, [trained, *_available_pysteps(left_out), Advection(), Persistence()])
    with step("drawing"):
        places, files = _show(_around(radar, times[0]), times[0], folder, trained, left_out)
    seen = any(event["source"] == dataset for event in trained.model.about["events"])
    return DemoResult(source, list(times), scores, places, files, left_out, seen)


def _available_pysteps(left_out: list[str]) -> list[Nowcaster]:
    """Return S-PROG if pysteps is installed; otherwise note why not."""
    try:
        require_pysteps()
    except DependencyError as error:
        left_out.append(str(error))
        return []
    return [SProg()]


def _score(radar: xr.DataArray, cases: int, nowcasters: list[Nowcaster]) -> tuple[NDArray[np.datetime64], xr.Dataset]:
    """Return the stormiest times, and the scores of the nowcasters there."""
    times = find_stormiest_times(radar, cases)
    totals: dict[str, xr.Dataset] = {}
    for time in times:
        window = _around(radar, time)
        results = {one.name: forecast(window, step="30min", issue_time=time, nowcaster=one) for one in nowcasters}
        valid = common_mask(results.values(), window)
        for name, result in results.items():
            statistics = compute_statistics(result, window, thresholds=(WET, 1.0), valid=valid)
            totals[name] = totals[name] + statistics if name in totals else statistics
    return times, _compute_scores(totals)


def _around(radar: xr.DataArray, time: np.datetime64) -> xr.DataArray:
    """Return the radar that a forecast needs, and what it is compared with."""
    return radar.sel(time=slice(time - INPUT_HISTORY, time + SHOWN[-1])).compute()


def _show(
    window: xr.DataArray, time: np.datetime64, folder: Path, trained: Hybrid, left_out: list[str]
) -> tuple[xr.Dataset, dict[str, Path]]:
    """Write the forecast of one time with its members, a map, what it says of three points, a film and pictures.

    The film and the pictures are left out, and the reason noted, if matplotlib is not installed.
    """
    before = window.sel(time=slice(None, time))
    points = _three_points(window)
    files = {
        "the map, for a browser: rain, probabilities and members in time, meteograms, places": folder / "index.html",
        "minutes to rain, amounts and probabilities at three points": folder / "places.csv",
        "the forecast itself, CF NetCDF": folder / "forecast.nc",
    }
    _, places, whole = files.values()
    save_forecast(forecast(window, issue_time=time, nowcaster=trained, members=MEMBERS), whole)
    result = load_forecast(whole)  # members that are read are not drawn again for each of the products
    table = at_places(result, points, radar=before)
    write_places(table, places)
    write_map(result, folder, radar=before, places=points, title="hybridcast demo", file=whole)
    try:
        files |= _draw(result, window, folder)
    except DependencyError as error:
        left_out.append(str(error))
    return table, files


def _draw(result: xr.Dataset, window: xr.DataArray, folder: Path) -> dict[str, Path]:
    files = {
        "the film: forecast beside observation": folder / "forecast.gif",
        "the probability of 1 mm/h": folder / "probability.png",
        f"an hour ahead: observation, forecast, and members of the ensemble of {MEMBERS}": folder / "members.png",
    }
    film, probability, members = files.values()
    animate_forecast(result, film, window)
    save_figure(plot_probability(result, window, threshold=1.0), probability)
    save_figure(plot_members(result, window, lead_time=60 * MINUTE), members)
    return files


def _three_points(field: xr.DataArray) -> tuple[Place, ...]:
    """Return three made-up points of a grid."""
    spots = {"west": (0.25, 0.5), "centre": (0.5, 0.5), "east": (0.75, 0.5)}
    return tuple(
        Place(name, None, (float(field["x"].quantile(across)), float(field["y"].quantile(up))), levels=LEVELS)
        for name, (across, up) in spots.items()
    )


def _create_folder(folder: Path) -> Path:
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {str(folder)!r} cannot be made ({error.strerror})",
            "forecast, film and pictures are written into a folder",
            "Choose another",
        ) from error
    return folder


def _open_archive(progress: bool) -> tuple[xr.DataArray, str | None, str]:
    """Return the radar, the name of its data set, None if it is simulated, and its origin as a sentence."""
    try:
        files = fetch(DATASET, progress=progress)
    except FetchError as error:
        return open_radar(scene_path()), None, f"SIMULATED rain that comes with the package, because: {error}"
    return open_radar(files), DATASET, "DWD radar of May 2018, 1 km, 5 min, from the archive in pycomlink 0.6.0"


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
    names = [name.partition(" (")[0] for name in totals]
    statistics = xr.concat(list(totals.values()), dim=xr.Variable("nowcaster", names)).sel(lead_time=SHOWN)
    return xr.Dataset(
        {
            "correlation": correlation(statistics),
            "mean_absolute_error": mean_absolute_error(statistics),
            "csi": csi(statistics).sel(threshold=1.0, drop=True).assign_attrs(threshold="1 mm h-1"),
        }
    )
