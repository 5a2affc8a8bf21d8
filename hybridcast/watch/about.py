"""The description of a forecast, ``about.json``: its age, the sources used and left out, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.time_steps import iso_time
from hybridcast.forecasting import INPUT_HISTORY
from hybridcast.watch.arrivals import Frame
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.forecasts import Made
from hybridcast.watch.schedule import Due, find_missing

VERSION = 1
"""Version of the description; increment it when it changes."""


def describe_forecast(
    region: WatchedRegion,
    due: Due,
    made: Made,
    frames: Mapping[np.datetime64, Frame],
    *,
    folder: Path,
    now: np.datetime64,
    seconds: float,
    step: np.timedelta64 | None,
    revision: int,
    radar_alone: bool,
) -> dict[str, Any]:
    """Return the description of a forecast.

    Parameters
    ----------
    region
        The region.
    due
        What was due.
    made
        What the worker process made.
    frames
        Frames that are used, in the order of time.
    folder
        Folder with the products.
    now
        The time.
    seconds
        Duration from the arrival of the frame, s.
    step
        Time step of the radar, if it is known.
    revision
        Number of times that the forecast was made again.
    radar_alone
        Whether other sources were left out because they ended a forecast.
    """
    before = {time: frame for time, frame in frames.items() if time <= due.issue_time}
    newest = iso_time(max(before)) if before else None
    aside = ["stations, NWP and terrain: they ended a forecast, and are left out for a while"] if radar_alone else []
    about: dict[str, Any] = {
        "version": VERSION,
        "region": region.name,
        "issue_time": iso_time(due.issue_time),
        "made": iso_time(now),
        "age_minutes_when_made": round(float((now - due.issue_time) / np.timedelta64(1, "m")), 2),
        "newest_frame": newest,
        "made_without_its_frame": due.frame is None,
        "frame": None if due.frame is None else due.frame.digest,
        "revision": revision,
        "frames_missing": [iso_time(time) for time in find_missing(before, step, due.issue_time - INPUT_HISTORY)],
        "unknown_fraction": made.unknown_fraction,
        **made.attrs,
        "left_out": [*made.left_out, *aside],
        "products": sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")),
        "seconds": {**made.seconds, "from_frame_to_products": round(seconds, 2)},
        "memory_mb": made.memory,
        "peak_memory_mb": made.peak_memory,
    }
    if due.frame is None:
        about["late"] = f"the frame of {iso_time(due.issue_time)} had not come after {region.watch.wait}"
    return about


def parse_issue_time(about: Mapping[str, Any]) -> np.datetime64:
    """Return the issue time of a description."""
    return np.datetime64(str(about["issue_time"]).removesuffix("Z"), "ns")
