"""What a model's wind adds: motion and forecasts with and without it, on the MeteoNet patches with real AROME wind.

- Forecasts: correlation of decibels and CSI, over the cells that every method knows. With the last frame alone there is
  no motion to be found, and the wind is all there is.
- Motion: its difference from the flow of the four frames that follow, at their echo.
- Hidden echo: each half of the patch in turn is taken from the method, and its motion there is compared with the flow
  of all echo. This is what the wind is for: motion where the radar has none to show. It is done in two ways: the half
  is dry, and its straight border, cut through echo, looks like echo that stands still; or it is not seen, as beyond
  the reach of a radar. The second is fairer to the flow alone.

Winds count at their own times: the patches hold one field for each frame and no run time, so what a service would have
had at the issue time is a forecast of it, and a little worse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import NAME
from hybridcast.core.grid import decibels
from hybridcast.datasets.registry import fetch
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.motion.wind_guidance import WindGuidedFlow
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.nwp import open_nwp, regrid_to_radar, steering_wind
from hybridcast.radar import open_radar

Floats = NDArray[np.float32]
Values = dict[str, list[Any]]

PATCHES = ("meteonet-wind-20180312", "meteonet-wind-20160109")
LEADS = np.array([15, 30, 60]) * np.timedelta64(1, "m")
SCORES = ("correlation", "CSI 0.1", "CSI 1")
#: So many frames tell the motion, and so many that follow what it was.
FRAMES = 4
#: Echo: mm h-1.
ECHO = 0.1
#: What hidden echo is replaced with.
HIDDEN = {"hidden_as_dry": 0.0, "hidden_as_unseen": np.nan}
#: With fewer cells of echo on either side nothing is hidden.
LEAST_ECHO = 100


def wind_ablation() -> dict[str, Any]:
    """Compare motion and forecasts with and without the wind on both patches, at every frame.

    Returns
    -------
    dict
        Plain numbers. By patch and method: `forecast`, for each lead time the `cases` and the mean of each of
        `SCORES`; `motion`, `hidden_as_dry` and `hidden_as_unseen`, the `cases` and the mean of the RMS error, m s-1.
        None where there is no case.

    Raises
    ------
    FetchError
        If a patch is not there.
    """
    found: dict[str, Any] = {"lead_times_min": (LEADS / np.timedelta64(1, "m")).tolist(), "patches": {}}
    for patch in PATCHES:
        rain = open_radar(fetch(patch, radar_only=True)).compute()
        winds = regrid_to_radar(
            open_nwp([path for path in fetch(patch) if path.parent.name in "UV"]), rain, rain["time"].values
        )
        found["patches"][patch] = wind_scores(rain, winds)
    return found


def wind_scores(rain: xr.DataArray, winds: xr.Dataset) -> dict[str, Any]:
    """Compare with and without wind at every frame of `rain` that has enough before it.

    Parameters
    ----------
    rain
        Precipitation field in memory, on regular times.
    winds
        Model fields on its grid at its times, as `hybridcast.nwp.regrid_to_radar` gives them.
    """
    scored: list[Values] = [defaultdict(list) for _ in LEADS]
    motion: Values = defaultdict(list)
    hidden: dict[str, Values] = {name: defaultdict(list) for name in HIDDEN}
    for last in range(FRAMES - 1, rain.sizes["time"]):
        recent = rain.isel(time=slice(last + 1 - FRAMES, last + 1))
        wind = steering_wind(winds, recent["time"].values[-1])
        if wind is None:
            continue
        for at_lead, made, truth in _forecasts(recent, wind, rain, scored):
            _add(at_lead, forecast_scores(made, truth))
        later = rain.isel(time=slice(last + 1, last + 1 + FRAMES))
        if later.sizes["time"] == FRAMES:
            _add(motion, motion_errors(recent, later, wind))
        for half in _halves(recent):
            for name, value in HIDDEN.items():
                _add(hidden[name], hidden_errors(recent, half, value, wind))
    return {
        name: {
            "forecast": [_mean_of(at_lead[name]) for at_lead in scored],
            "motion": _mean_of(motion[name]),
            **{way: _mean_of(values[name]) for way, values in hidden.items()},
        }
        for name in nowcasters(None)
    }


def nowcasters(wind: xr.Dataset | None) -> dict[str, tuple[Nowcaster, int]]:
    """Return what is compared, by name, and how many of the last frames it may see."""
    return {
        "persistence": (Persistence(), FRAMES),
        "flow": (Advection(DenseFlow()), FRAMES),
        "wind as it is": (Advection(WindGuidedFlow(wind=wind, calibrated=False)), FRAMES),
        "wind turned": (Advection(WindGuidedFlow(wind=wind)), FRAMES),
        "wind, one frame": (Advection(WindGuidedFlow(wind=wind)), 1),
        "persistence, one frame": (Persistence(), 1),
    }


def motions(wind: xr.Dataset) -> dict[str, MotionMethod]:
    """Return the motion methods that are compared, by name."""
    return {
        "flow": DenseFlow(),
        "wind as it is": WindGuidedFlow(wind=wind, calibrated=False),
        "wind turned": WindGuidedFlow(wind=wind),
    }


def forecast_scores(made: Mapping[str, Floats], truth: Floats) -> dict[str, list[float]]:
    """Return `SCORES` by method, over the cells that all know; fields ``(y, x)``, mm h-1."""
    known = np.isfinite(truth) & np.all([np.isfinite(rate) for rate in made.values()], axis=0)
    found = {}
    for name, rate in made.items():
        f, o = rate[known], truth[known]
        csi = [((f >= t) & (o >= t)).sum() / max(((f >= t) | (o >= t)).sum(), 1) for t in (0.1, 1.0)]
        found[name] = [float(np.corrcoef(decibels(f), decibels(o))[0, 1]), *map(float, csi)]
    return found


def motion_errors(recent: xr.DataArray, later: xr.DataArray, wind: xr.Dataset) -> dict[str, float]:
    """Return RMS differences (m s-1) from the flow of the frames that follow, at their echo."""
    truth = DenseFlow().estimate(later)
    echo = later.values[-1] >= ECHO
    found = {name: method.estimate(recent) for name, method in motions(wind).items()}
    return {name: rms(motion, truth, echo) for name, motion in (found | {"wind, one frame": wind}).items()}


def hidden_errors(recent: xr.DataArray, half: dict[str, slice], value: float, wind: xr.Dataset) -> dict[str, float]:
    """Put `value` into `half` of the frames, and give RMS differences (m s-1) from the flow of all, at what is hidden.

    Nothing where there is too little echo on one of both sides.
    """
    hidden = recent.copy(deep=True)
    hidden[half] = value
    left = hidden.values[-1] >= ECHO
    gone = (recent.values[-1] >= ECHO) & ~left
    if min(gone.sum(), left.sum()) < LEAST_ECHO:
        return {}
    truth = DenseFlow().estimate(recent)
    return {name: rms(method.estimate(hidden), truth, gone) for name, method in motions(wind).items()}


def rms(motion: xr.Dataset, truth: xr.Dataset, where: NDArray[np.bool_]) -> float:
    """Return the root mean square of the length of the difference between two motions (m s-1)."""
    squares = (motion["u"] - truth["u"]) ** 2 + (motion["v"] - truth["v"]) ** 2
    return float(np.sqrt(squares.transpose("y", "x").values[where].mean()))


def _halves(field: xr.DataArray) -> list[dict[str, slice]]:
    parts = []
    for dim in ("x", "y"):
        middle = field.sizes[dim] // 2
        parts += [{dim: slice(0, middle)}, {dim: slice(middle, None)}]
    return parts


def _forecasts(
    recent: xr.DataArray, wind: xr.Dataset, rain: xr.DataArray, scored: Sequence[Values]
) -> list[tuple[Values, dict[str, Floats], Floats]]:
    """Forecast in all ways; give, where there is a frame to compare with, where scores go, the rates and the truth."""
    made = {
        name: nowcaster.forecast(recent.isel(time=slice(-frames, None)), LEADS)[NAME].values
        for name, (nowcaster, frames) in nowcasters(wind).items()
    }
    times = rain["time"].values
    return [
        (at_lead, {name: rates[k] for name, rates in made.items()}, truth)
        for k, (lead, at_lead) in enumerate(zip(LEADS, scored, strict=True))
        for truth in rain.values[times == recent["time"].values[-1] + lead]
    ]


def _add(values: Values, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        values[name].append(value)


def _mean_of(values: Sequence[Any]) -> dict[str, Any]:
    mean = np.round(np.mean(values, axis=0), 4).tolist() if values else None
    return {"cases": len(values), "mean": mean}


# --- words ----------------------------------------------------------------------------------------------------


def wind_lines(found: Mapping[str, Any]) -> list[str]:
    """Write what `wind_ablation` found as Markdown."""
    leads = " | ".join(f"{minutes:g} min" for minutes in found["lead_times_min"])
    lines = [f"AROME wind, real: {' / '.join(SCORES)}; RMS error of the motion; (cases).", ""]
    for patch, methods in found["patches"].items():
        lines += [
            f"| {patch} | {leads} | motion, m/s | hidden as dry, m/s | as unseen, m/s |",
            "|---" * (len(LEADS) + 4) + "|",
        ]
        for name, one in methods.items():
            cells = [
                *(_cell(at_lead, 3) for at_lead in one["forecast"]),
                *(_cell(one[k], 1) for k in ("motion", *HIDDEN)),
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _cell(one: Mapping[str, Any], digits: int) -> str:
    if one["mean"] is None:
        return "-"
    shown = " / ".join(f"{value:.{digits}f}" for value in np.atleast_1d(one["mean"]))
    return f"{shown} ({one['cases']})"


__all__ = ["wind_ablation", "wind_lines", "wind_scores"]
