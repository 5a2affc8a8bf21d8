"""What was observed at places: rates, and whether warning levels were reached, by radar or by gauges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.time_steps import regular_times, time_step
from hybridcast.core.types import Array
from hybridcast.ensembles.polygons import LONGITUDE_LATITUDE
from hybridcast.errors import InputError
from hybridcast.places.level_products import ROUNDING, LevelTable, tabulate_levels
from hybridcast.places.levels import STATISTICS, WarningLevel, parse_level
from hybridcast.places.place import Place, check_places, clean_name
from hybridcast.places.sampling import PlaceCells, find_cells, find_highest, pick, reduce_cells
from hybridcast.places.sums import sum_before
from hybridcast.stations.schema import get_interval

_ZERO = np.timedelta64(0, "ns")


def observe_radar(radar: xr.DataArray, places: Sequence[Place]) -> xr.Dataset:
    """Return the observed rates at places, and whether their warning levels were reached.

    Parameters
    ----------
    radar
        Precipitation field; missing frames are unknown.
    places
        Places, as `read_places` returns them.

    Returns
    -------
    Dataset
        `precipitation_rate`, mm h-1, dims ``("place", "time", "statistic")``; `level_reached`, dims
        ``("place", "level", "time")``: 1 where the amount in the window that ends at the time, or the rate, is at or
        above the level, 0 where not, NaN where that is unknown or the place does not have the level.

    Raises
    ------
    InputError
        If places cannot be placed on the grid, or there are fewer than two frames.
    """
    found = check_places(places)
    frames = regular_times(radar)
    step = _require_step(frames["time"].values)
    (cells,) = find_cells(found, frames, np.iinfo(np.int64).max)
    picked = pick(frames, cells).transpose("time", "cell").values
    rates = reduce_cells(picked, cells)
    return _describe(found, frames["time"].values, rates, _reach_levels(found, rates, step, picked, cells))


def places_at_stations(stations: xr.Dataset, levels: Sequence[str | WarningLevel] = ()) -> tuple[Place, ...]:
    """Return a place at each station, named after it.

    Parameters
    ----------
    stations
        Reports of gauges, as `hybridcast.open_stations` returns them, with latitude and longitude, or x and y.
    levels
        Warning levels of all of them.
    """
    in_degrees = "latitude" in stations.coords
    names = ("longitude", "latitude") if in_degrees else ("x", "y")
    crs = pyproj.CRS(LONGITUDE_LATITUDE) if in_degrees else None
    found = tuple(one if isinstance(one, WarningLevel) else parse_level(one) for one in levels)
    corners = zip(*(stations[name].values.astype(float) for name in names), strict=True)
    named = zip(stations["station"].values, corners, strict=True)
    return check_places(Place(clean_name(str(name)), crs, point=(x, y), levels=found) for name, (x, y) in named)


def observe_gauges(stations: xr.Dataset, places: Sequence[Place]) -> xr.Dataset:
    """Return what gauges observed at places that are named after them; the same as `observe_radar`.

    Parameters
    ----------
    stations
        Reports of gauges, as `hybridcast.open_stations` returns them; rates are means over the interval of a report.
    places
        Places, as `places_at_stations` returns them; a place without a station of its name is unknown.
    """
    found = check_places(places)
    times = stations["time"].values
    step = get_interval(stations)
    every = np.arange(times[0], times[-1] + np.timedelta64(1, "ns"), step)
    by_name = {clean_name(str(name)): row for row, name in enumerate(stations["station"].values)}
    reports = stations[RATE].transpose("time", "station").reindex(time=every).values
    unknown = np.full(every.size, np.nan, np.float32)
    rates = np.stack([reports[:, by_name[one.name]] if one.name in by_name else unknown for one in found], axis=-1)
    rates = np.repeat(rates[:, None].astype(np.float32), len(STATISTICS), axis=1)
    return _describe(found, every, rates, _reach_levels(found, rates, step))


def _require_step(times: NDArray[np.datetime64]) -> np.timedelta64:
    step = time_step(times)
    if step is None:
        raise InputError("there is one frame", "amounts need the step between frames", "Give two frames or more")
    return step


def _describe(places: tuple[Place, ...], times: NDArray[Any], rates: Array, reached: Array) -> xr.Dataset:
    levels = tabulate_levels(places)
    coords = {
        "place": [place.name for place in places],
        "level": list(levels.names),
        "statistic": list(STATISTICS),
        "time": times,
    }
    described = {
        RATE: (("time", "statistic", "place"), rates, {"long_name": "observed rate", "units": "mm h-1"}),
        "level_reached": (("level", "time", "place"), reached, {"long_name": "whether the level is reached"}),
    }
    return xr.Dataset(described, coords=coords).transpose("place", ...)


def _reach_levels(
    places: tuple[Place, ...],
    rates: Array,
    step: np.timedelta64,
    picked: Array | None = None,
    cells: PlaceCells | None = None,
) -> Array:
    """Return whether levels are reached, ``(level, time, place)``, from rates ``(time, statistic, place)``.

    Of areas, amounts at the wettest cell are found from the rates at cells, ``(time, cell)``.
    """
    levels = tabulate_levels(places)
    reached = np.full((len(levels.names), len(rates), len(places)), np.nan, np.float32)
    amounts = _sum_rates(levels.length[levels.exists], rates, step)
    for length in amounts:
        if picked is not None and cells is not None and length > _ZERO:
            _put_maxima(amounts[length], _sum_rates([length], picked, step)[length], cells)
    for row, column in np.argwhere(levels.exists):
        values = amounts[levels.length[row, column]][:, levels.statistic[row, column], column]
        limit = _limit(levels, row, column)
        reached[row, :, column] = np.where(np.isfinite(values), values >= limit, np.nan)
    return reached


def _limit(levels: LevelTable, row: int, column: int) -> np.float32:
    return np.float32(levels.threshold[row, column]) * (1 - ROUNDING)


def _sum_rates(lengths: Iterable[np.timedelta64], rates: Array, step: np.timedelta64) -> dict[np.timedelta64, Array]:
    """Return amounts by length of the window, along time; the rates themselves for 0."""
    wanted = np.unique(np.asarray(lengths))
    edges = np.arange(len(rates) + 1) * step
    sums = sum_before(rates, edges, [length for length in wanted if length > _ZERO])
    return {length: sums[length][1:] if length > _ZERO else rates for length in wanted}


def _put_maxima(amounts: Array, at_cells: Array, cells: PlaceCells) -> None:
    """Put the amounts at the wettest cell of areas in the place of sums of maxima."""
    areas = ~cells.is_point
    highest = find_highest(at_cells, cells, areas, np.arange(cells.rows.size))[:, areas]
    amounts[:, 1, areas] = np.where(np.isfinite(amounts[:, 0, areas]), highest, np.nan)
