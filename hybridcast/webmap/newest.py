"""The newest forecast of a map page, in memory, for an API: what it says of a point or an area."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import RATE, crs_of
from hybridcast.core.forecast_files import load_forecast
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.time_steps import iso_time
from hybridcast.ensembles.polygons import LONGITUDE_LATITUDE, as_crs
from hybridcast.errors import InputError
from hybridcast.places import Place, at_places
from hybridcast.places.sampling import OUTSIDE, PlaceCells, find_cells
from hybridcast.places.tables import to_objects
from hybridcast.webmap.canvas import make_canvas
from hybridcast.webmap.frames import get_issue_time
from hybridcast.webmap.latest import LATEST, Latest, read_latest

CHECK = 1.0
"""Time between two looks for a newer forecast, s."""
MAX_VALUES = 20_000_000
"""Largest number of values that are read for an answer."""
MAX_ANSWERS = 5000
"""Largest number of answers that are kept."""
#: Cells around a place that come along, so that a part of a grid is a grid.
_MARGIN = 2
_NAME = "here"


class NoForecastError(Exception):
    """There is no forecast that can be asked."""


class OutsideError(InputError):
    """A place is outside the grid."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A forecast in memory, with its members in half precision."""

    latest: Latest
    forecast: xr.Dataset
    """Without members."""
    members: xr.DataArray | None
    answers: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    """Answers about points, by row and column of their cell."""

    def ask(self, place: Place) -> dict[str, Any]:
        """Return what the forecast says of a place, as an object of the JSON that `hybridcast.write_places` writes.

        Raises
        ------
        InputError
            If the place is outside the grid, or cannot be put on it.
        """
        rate = self.forecast[RATE]
        (cells,) = find_cells([place], rate, rate.sizes["y"] * rate.sizes["x"])
        if cells.position[0] == OUTSIDE:
            raise OutsideError("the place is outside the radar", f"it covers {self.describe_extent()}", "Ask within")
        self._check_size(cells)
        if place.point is None:
            return self._answer(place, cells)
        cell = int(cells.rows[0]), int(cells.columns[0])
        if cell not in self.answers:
            if len(self.answers) >= MAX_ANSWERS:
                self.answers.clear()
            self.answers[cell] = self._answer(place, cells)
        return self.answers[cell]

    def _answer(self, place: Place, cells: PlaceCells) -> dict[str, Any]:
        part = {
            axis: slice(max(0, int(at.min()) - _MARGIN), int(at.max()) + _MARGIN + 1)
            for axis, at in (("y", cells.rows), ("x", cells.columns))
        }
        small = self.forecast.isel(part)
        if self.members is not None:
            small = small.assign({ENSEMBLE: self.members.isel(part).astype(np.float32)})
        found = to_objects(at_places(small, [place]))
        (about,) = found.pop("places")
        return {**found, **{name: value for name, value in about.items() if name not in ("name", "levels")}}

    def _check_size(self, cells: PlaceCells) -> None:
        """Raise `InputError` if the answer would need too much memory."""
        count = int((np.ptp(cells.rows) + 1) * (np.ptp(cells.columns) + 1))
        scenarios = 1 if self.members is None else self.members.sizes["realization"]
        most = MAX_VALUES // (scenarios * self.forecast.sizes["lead_time"])
        if count > most:
            found, rule = f"the area is within {count} cells", f"at most {most} are read for an answer"
            raise InputError(found, rule, "Ask for a smaller area")

    def describe(self) -> dict[str, Any]:
        """Return what there is of the forecast."""
        minutes = self.forecast["lead_time"].values / np.timedelta64(1, "m")
        canvas = make_canvas(self.forecast, 64)
        thresholds = self.forecast["threshold"].values.tolist() if "threshold" in self.forecast.coords else []
        return {
            "issue_time": iso_time(get_issue_time(self.forecast)),
            "revision": self.latest.revision,
            "lead_minutes": minutes.tolist(),
            "thresholds": thresholds,
            "members": 0 if self.members is None else self.members.sizes["realization"],
            "is_local": canvas.is_local,
            "south_west": list(canvas.south_west),
            "north_east": list(canvas.north_east),
            "unknown_fraction": self.forecast[RATE].isnull().mean(("y", "x")).values.round(3).tolist(),
            "attributes": {name: str(value) for name, value in self.forecast.attrs.items()},
        }

    def describe_extent(self) -> str:
        """Return the extent as text."""
        canvas = make_canvas(self.forecast, 64)
        (south, west), (north, east) = canvas.south_west, canvas.north_east
        unit = "m" if canvas.is_local else "degrees"
        return f"{south:.2f} to {north:.2f} north and {west:.2f} to {east:.2f} east, {unit}"

    def make_point(
        self, latitude: float | None, longitude: float | None, x: float | None = None, y: float | None = None
    ) -> Place:
        """Return a point by latitude and longitude, degrees, or by x and y of the grid, m.

        Raises
        ------
        InputError
            If neither pair is given, both are, or the place of the grid on Earth is not known.
        """
        given = [value is not None for value in (latitude, longitude, x, y)]
        if given == [False, False, True, True]:
            return Place(_NAME, None, (cast(float, x), cast(float, y)))
        if self._crs() is None:
            found = "the place of the radar on Earth is not known"
            raise InputError(found, "its grid has x and y in metres only", "Ask with x=...&y=...")
        if given != [True, True, False, False]:
            raise InputError("no point is given", "a point is lat and lon, or x and y", "Ask with lat=60.17&lon=24.94")
        return Place(_NAME, self._crs(), (cast(float, longitude), cast(float, latitude)))

    def make_area(self, corners: list[tuple[float, float]]) -> Place:
        """Return an area from its corners, longitude and latitude."""
        ring = np.array([*corners, corners[0]], dtype=np.float64)
        return Place(_NAME, self._crs(), None, ([ring],))

    def _crs(self) -> pyproj.CRS | None:
        return None if crs_of(self.forecast) is None else as_crs(LONGITUDE_LATITUDE)


class Newest:
    """The newest forecast of a folder; while a newer one is read, the one before answers.

    Parameters
    ----------
    folder
        Folder of the page.
    clock
        Function that returns seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._checked: float | None = None
        self._loaded: Loaded | None = None

    def get(self) -> Loaded:
        """Return the newest forecast.

        Raises
        ------
        NoForecastError
            If there is none.
        """
        if self._loaded is None:
            with self._lock:
                self._check()
        elif self._lock.acquire(blocking=False):  # one request reads, the others go on
            try:
                self._check()
            finally:
                self._lock.release()
        assert self._loaded is not None
        return self._loaded

    def _check(self) -> None:
        now = self._clock()
        if self._loaded is not None and self._checked is not None and now - self._checked < CHECK:
            return
        self._checked = now
        latest = read_latest(self._folder)
        if self._loaded is not None and (latest is None or latest == self._loaded.latest):
            return
        if latest is None:
            raise NoForecastError(f"there is no {LATEST} in the folder yet")
        try:
            self._loaded = load(self._folder, latest)
        except (InputError, OSError) as error:
            if self._loaded is None:
                raise NoForecastError(str(error)) from error


def load(folder: Path, latest: Latest) -> Loaded:
    """Read a forecast whole.

    Raises
    ------
    InputError
        If it cannot be read, or is not in the folder.
    """
    if latest.forecast is None:
        remedy = "Put the file into the folder of the page, and write it anew: hybridcast map out/forecast.nc -o out"
        raise InputError("the page has no forecast file", "an API answers from the file", remedy)
    path = (folder / latest.forecast).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError("the forecast is outside the folder", "nothing outside is served", "Write the page anew")
    forecast = load_forecast(path)
    members = None
    if ENSEMBLE in forecast:
        dims = ("realization", "lead_time", "y", "x")
        lazy = forecast[ENSEMBLE].transpose(*dims)
        halves = np.empty(lazy.shape, np.float16)
        for lead in range(lazy.sizes["lead_time"]):
            halves[:, lead] = lazy.isel(lead_time=lead).values
        members = lazy.copy(data=halves)
    return Loaded(latest, forecast.drop_vars([ENSEMBLE, "u", "v"], errors="ignore"), members)
