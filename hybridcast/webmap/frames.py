"""The frames that a map page shows: the observation of the last hour, and each lead time of the forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, check_same_grid
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Array
from hybridcast.errors import InputError
from hybridcast.webmap.pictures import PROBABILITY as PROBABILITY_SCALE
from hybridcast.webmap.pictures import RAIN, Scale

PAST = np.timedelta64(60, "m")
"""Duration of the observation that is shown before the issue time."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a frame."""

    file: str
    """Its name in the folder of the forecast."""
    values: Array
    """Values of the cells, shape ``(y, x)``."""
    scale: Scale


@dataclass(frozen=True, eq=False)
class Frame:
    """What is shown of one time."""

    time: np.datetime64
    minutes: float
    """Time after the issue time, min; zero and below of observations."""
    rain: Picture
    probabilities: tuple[Picture, ...] = ()
    """Of each threshold."""
    members: str | None = None
    """File of the members."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures but that of the members."""
        return self.rain, *self.probabilities

    def to_json(self) -> dict[str, Any]:
        """Return what a browser needs to know."""
        return {
            "time": iso_time(self.time),
            "minutes": self.minutes,
            "kind": "observed" if self.members is None and self.minutes <= 0 else "forecast",
            "rain": self.rain.file,
            "probability": [one.file for one in self.probabilities],
            "members": self.members,
            "unknown": round(float(np.isnan(self.rain.values).mean()), 3),
        }


def get_issue_time(forecast: xr.Dataset) -> np.datetime64:
    """Return the issue time of a forecast; `InputError` if it has none."""
    if "reference_time" not in forecast.coords:
        raise InputError("the forecast has no reference_time", "a map shows the times", "Give it one")
    return cast(np.datetime64, forecast["reference_time"].values[()])


def select_observed(forecast: xr.Dataset, radar: xr.DataArray | None) -> xr.DataArray | None:
    """Return the frames of the last hour up to the issue time; None if there are none.

    Raises
    ------
    InputError
        If the radar is on another grid.
    """
    if radar is None:
        return None
    check_same_grid(radar, forecast, "radar and forecast")
    issue = get_issue_time(forecast)
    found = radar.sel(time=slice(issue - PAST, issue)).transpose("time", "y", "x")
    return found if found.sizes["time"] else None


def list_observed(forecast: xr.Dataset, observed: xr.DataArray | None) -> Iterator[Frame]:
    """Yield a frame for each observation."""
    if observed is None:
        return
    issue = get_issue_time(forecast)
    for number, (time, values) in enumerate(zip(observed["time"].values, observed.values, strict=True)):
        yield Frame(time, float((time - issue) / MINUTE), Picture(f"rain/observed{number:03d}.png", values, RAIN))


def list_forecast(forecast: xr.Dataset) -> Iterator[Frame]:
    """Yield a frame for each lead time."""
    issue, leads = get_issue_time(forecast), forecast["lead_time"].values
    rates = forecast[RATE].transpose("lead_time", "y", "x").values
    of_thresholds = _list_probabilities(forecast)
    for number, lead in enumerate(leads):
        name = f"forecast{number:03d}.png"
        probabilities = (
            Picture(f"probability{k}/{name}", values[number], PROBABILITY_SCALE)
            for k, values in enumerate(of_thresholds)
        )
        rain = Picture(f"rain/{name}", rates[number], RAIN)
        members = f"members/{name}" if ENSEMBLE in forecast else None
        yield Frame(issue + lead, float(lead / MINUTE), rain, tuple(probabilities), members)


def _list_probabilities(forecast: xr.Dataset) -> list[Array]:
    if PROBABILITY not in forecast:
        return []
    return list(forecast[PROBABILITY].transpose("threshold", "lead_time", "y", "x").values)
