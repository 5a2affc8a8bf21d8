"""Contribution of NWP wind: motion and forecasts with and without it, on the MeteoNet patches with real AROME wind.

- Forecasts: correlation of decibels and CSI, over the cells that every method knows. With the last frame alone the
  wind is the only information about the motion.
- Motion: its difference from the flow of the four frames that follow, at their echo.
- Hidden echo: each half of the patch in turn is hidden from the method, and its motion there is compared with the flow
  of all echo. The wind is meant for this case: motion where the radar shows no echo. The half is hidden in two ways. It
  is set to dry, so that its straight border through echo looks like echo that stands still; or to unknown, as beyond
  the range of a radar. The second way is fairer to the flow alone.

Winds count at their own times: the patches hold one field for each frame and no run time, so at the issue time a
service would have had a forecast of it, which is slightly worse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.grid import decibels
from hybridcast.core.types import Array
from hybridcast.datasets import fetch
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.motion.wind_guidance import WindGuidedFlow
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.nwp import open_nwp, regrid_to_radar, steering_wind
from hybridcast.radar import open_radar

Values = dict[str, list[Any]]

PATCHES = ("meteonet-wind-20180312", "meteonet-wind-20160109")
LEADS = np.array([15, 30, 60]) * np.timedelta64(1, "m")
SCORES = ("correlation", "CSI 0.1", "CSI 1")
#: Number of frames from which the motion is estimated, and of later frames that give the reference motion.
FRAMES = 4
#: Minimum rate of echo, mm h-1.
ECHO = 0.1
#: Values that replace hidden echo.
HIDDEN = {"hidden_as_dry": 0.0, "hidden_as_unseen": np.nan}
#: Minimum number of cells with echo on either side for a half to be hidden.
MIN_ECHO_CELLS = 100


def evaluate_wind() -> dict[str, Any]:
    """Compare motion and forecasts with and without the wind on both patches, at every frame.

    Returns
    -------
    dict
        Plain numbers by patch and method: `forecast`, for each lead time the number of `cases` and the mean of each
        of `SCORES`; `motion`, `hidden_as_dry` and `hidden_as_unseen`, the number of `cases` and the mean of the RMS
        error, m s-1. The mean is None without any case.

    Raises
    ------
    FetchError
        If a patch cannot be fetched.
    """
    found: dict[str, Any] = {"lead_times_min": (LEADS / np.timedelta64(1, "m")).tolist(), "patches": {}}
    for patch in PATCHES:
        rain = open_radar(fetch(patch, radar_only=True)).compute()
        winds = regrid_to_radar(
            open_nwp([path for path in fetch(patch) if path.parent.name in "UV"]), rain, rain["time"].values
        )
        found["patches"][patch] = score_wind(rain, winds)
    return found


def score_wind(rain: xr.DataArray, winds: xr.Dataset) -> dict[str, Any]:
    """Score forecasts and motion with and without wind at every frame of `rain` with enough frames before it.

    Parameters
    ----------
    rain
        Precipitation field in memory, on regular times.
    winds
        NWP fields on its grid at its times, from `hybridcast.nwp.regrid_to_radar`.
    """
    scored: list[Values] = [defaultdict(list) for _ in LEADS]
    motion: Values = defaultdict(list)
    hidden: dict[str, Values] = {name: defaultdict(list) for name in HIDDEN}
    for last in range(FRAMES - 1, rain.sizes["time"]):
        recent = rain.isel(time=slice(last + 1 - FRAMES, last + 1))
        wind = steering_wind(winds, recent["time"].values[-1])
        if wind is None:
            continue
        for lead, made, truth in _make_forecasts(recent, wind, rain):
            _add(scored[lead], score_forecasts(made, truth))
        later = rain.isel(time=slice(last + 1, last + 1 + FRAMES))
        if later.sizes["time"] == FRAMES:
            _add(motion, compute_motion_errors(recent, later, wind))
        for half in _halves(recent):
            for name, value in HIDDEN.items():
                _add(hidden[name], compute_hidden_errors(recent, half, value, wind))
    return {
        name: {
            "forecast": [_average(at_lead[name]) for at_lead in scored],
            "motion": _average(motion[name]),
            **{way: _average(values[name]) for way, values in hidden.items()},
        }
        for name in build_nowcasters(None)
    }


def build_nowcasters(wind: xr.Dataset | None) -> dict[str, tuple[Nowcaster, int]]:
    """Return the nowcasters by name, with the number of the last frames that each receives."""
    return {
        "persistence": (Persistence(), FRAMES),
        "flow": (Advection(DenseFlow()), FRAMES),
        "wind as it is": (Advection(WindGuidedFlow(wind=wind, calibrated=False)), FRAMES),
        "wind turned": (Advection(WindGuidedFlow(wind=wind)), FRAMES),
        "wind, one frame": (Advection(WindGuidedFlow(wind=wind)), 1),
        "persistence, one frame": (Persistence(), 1),
    }


def build_motion_methods(wind: xr.Dataset) -> dict[str, MotionMethod]:
    """Return the motion methods by name."""
    return {
        "flow": DenseFlow(),
        "wind as it is": WindGuidedFlow(wind=wind, calibrated=False),
        "wind turned": WindGuidedFlow(wind=wind),
    }


def score_forecasts(made: Mapping[str, Array], truth: Array) -> dict[str, list[float]]:
    """Return `SCORES` by method, over the cells known to all methods; fields ``(y, x)``, mm h-1."""
    known = np.isfinite(truth) & np.all([np.isfinite(rate) for rate in made.values()], axis=0)
    found = {}
    for name, rate in made.items():
        f, o = rate[known], truth[known]
        csi = [((f >= t) & (o >= t)).sum() / max(((f >= t) | (o >= t)).sum(), 1) for t in (0.1, 1.0)]
        found[name] = [float(np.corrcoef(decibels(f), decibels(o))[0, 1]), *map(float, csi)]
    return found


def compute_motion_errors(recent: xr.DataArray, later: xr.DataArray, wind: xr.Dataset) -> dict[str, float]:
    """Return RMS differences (m s-1) from the flow of the following frames, at their echo."""
    truth = DenseFlow().estimate(later)
    echo = later.values[-1] >= ECHO
    found = {name: method.estimate(recent) for name, method in build_motion_methods(wind).items()}
    return {name: rms_difference(motion, truth, echo) for name, motion in (found | {"wind, one frame": wind}).items()}


def compute_hidden_errors(
    recent: xr.DataArray, half: dict[str, slice], value: float, wind: xr.Dataset
) -> dict[str, float]:
    """Hide `half` of the frames behind `value`; return RMS differences (m s-1) from the flow of all, at hidden echo.

    The result is empty if either side has too little echo.
    """
    hidden = recent.copy(deep=True)
    hidden[half] = value
    left = hidden.values[-1] >= ECHO
    gone = (recent.values[-1] >= ECHO) & ~left
    if min(gone.sum(), left.sum()) < MIN_ECHO_CELLS:
        return {}
    truth = DenseFlow().estimate(recent)
    return {
        name: rms_difference(method.estimate(hidden), truth, gone)
        for name, method in build_motion_methods(wind).items()
    }


def rms_difference(motion: xr.Dataset, truth: xr.Dataset, where: NDArray[np.bool_]) -> float:
    """Return the root mean square of the length of the difference between two motions (m s-1)."""
    squares = (motion["u"] - truth["u"]) ** 2 + (motion["v"] - truth["v"]) ** 2
    return float(np.sqrt(squares.transpose("y", "x").values[where].mean()))


def _halves(field: xr.DataArray) -> list[dict[str, slice]]:
    parts = []
    for dim in ("x", "y"):
        middle = field.sizes[dim] // 2
        parts += [{dim: slice(0, middle)}, {dim: slice(middle, None)}]
    return parts


def _make_forecasts(
    recent: xr.DataArray, wind: xr.Dataset, rain: xr.DataArray
) -> list[tuple[int, dict[str, Array], Array]]:
    """Return the rates of all nowcasters and the observation for each lead time (by number) that is observed."""
    made = {
        name: nowcaster.forecast(recent.isel(time=slice(-frames, None)), LEADS)[RATE].values
        for name, (nowcaster, frames) in build_nowcasters(wind).items()
    }
    times = rain["time"].values
    return [
        (number, {name: rates[number] for name, rates in made.items()}, truth)
        for number, lead in enumerate(LEADS)
        for truth in rain.values[times == recent["time"].values[-1] + lead]
    ]


def _add(values: Values, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        values[name].append(value)


def _average(values: Sequence[Any]) -> dict[str, Any]:
    mean = np.round(np.mean(values, axis=0), 4).tolist() if values else None
    return {"cases": len(values), "mean": mean}


# --- tables ---------------------------------------------------------------------------------------------------


def format_wind(found: Mapping[str, Any]) -> list[str]:
    """Format the result of `evaluate_wind` as lines of Markdown."""
    leads = " | ".join(f"{minutes:g} min" for minutes in found["lead_times_min"])
    lines = [f"AROME wind, real: {' / '.join(SCORES)}; RMS error of the motion; (cases).", ""]
    for patch, methods in found["patches"].items():
        lines += [
            f"| {patch} | {leads} | motion, m/s | hidden as dry, m/s | as unseen, m/s |",
            "|---" * (len(LEADS) + 4) + "|",
        ]
        for name, one in methods.items():
            cells = [
                *(_format_cell(at_lead, 3) for at_lead in one["forecast"]),
                *(_format_cell(one[k], 1) for k in ("motion", *HIDDEN)),
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _format_cell(one: Mapping[str, Any], digits: int) -> str:
    if one["mean"] is None:
        return "-"
    shown = " / ".join(f"{value:.{digits}f}" for value in np.atleast_1d(one["mean"]))
    return f"{shown} ({one['cases']})"


__all__ = ["evaluate_wind", "format_wind", "score_wind"]
