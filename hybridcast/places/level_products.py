"""The probability of the warning levels of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Array, Doubles, Mask
from hybridcast.places.levels import STATISTICS
from hybridcast.places.place import Place
from hybridcast.places.rain_times import conditional_quantiles
from hybridcast.places.series import BY_MEMBER, Series, find_probabilities

BASES = ("none", "members", "exceedance probabilities", "deterministic field")
"""What the probability of a level is made of; ``"none"`` where the place does not have the level."""
_ZERO = np.timedelta64(0, "ns")
#: Sums of float32 differ from their exact values by less than this fraction.
ROUNDING = np.float32(1e-5)


@dataclass(frozen=True, eq=False)
class LevelTable:
    """The levels of all places, arrays of the shape ``(level, place)``."""

    names: tuple[str, ...]
    threshold: Doubles
    """mm, or mm h-1; NaN where a place does not have the level."""
    length: NDArray[np.timedelta64]
    """Length of the window; 0 of a rate."""
    statistic: NDArray[np.int64]
    """Number in `STATISTICS`."""
    raise_at: Doubles
    clear_at: Doubles
    hold: NDArray[np.timedelta64]

    @property
    def exists(self) -> Mask:
        """Which places have which levels."""
        return np.isfinite(self.threshold)


def tabulate_levels(places: Sequence[Place]) -> LevelTable:
    """Return the levels of places as arrays."""
    names = tuple(dict.fromkeys(level.name for place in places for level in place.levels))
    shape = len(names), len(places)
    threshold, raise_at, clear_at = np.full((3, *shape), np.nan)
    length, hold = np.zeros((2, *shape), "timedelta64[ns]")
    statistic = np.zeros(shape, np.int64)
    for column, place in enumerate(places):
        for level in place.levels:
            at = names.index(level.name), column
            threshold[at], raise_at[at], clear_at[at] = level.threshold, level.raise_at, level.clear_at
            length[at], hold[at], statistic[at] = level.length, level.hold_time, STATISTICS.index(level.statistic)
    return LevelTable(names, threshold, length, statistic, raise_at, clear_at, hold)


def add_levels(table: xr.Dataset, series: Series, places: Sequence[Place], levels: Doubles) -> xr.Dataset:
    """Add the probabilities of the warning levels of places, and the levels themselves.

    Parameters
    ----------
    table
        Dataset to add them to.
    series
        Rain of the forecast at the places.
    places
        Places.
    levels
        Levels of the quantiles of the minutes to a warning level.
    """
    levels_of = tabulate_levels(places)
    found = _Products.empty(levels_of, series.leads.size, levels.size)
    for length in np.unique(levels_of.length[levels_of.exists]):
        amounts = _quantity(series, length)
        for number in np.unique(levels_of.statistic[levels_of.exists]):
            chosen = levels_of.exists & (levels_of.length == length) & (levels_of.statistic == number)
            _fill(found, chosen, amounts.isel(statistic=int(number)), levels_of, levels)
    if series.members is None:
        _use_probabilities(found, levels_of, series)
    found.basis[levels_of.exists & (found.basis == "none")] = (
        "deterministic field" if series.members is None else "members"
    )
    return table.assign_coords(level=("level", list(levels_of.names), {"long_name": "warning level"})).assign(
        {**found.variables(), **_describe_levels(levels_of)}
    )


@dataclass(frozen=True, eq=False)
class _Products:
    """Products of levels, filled place by place."""

    probability: Array
    """``(level, lead_time, place)``."""
    at_all: Array
    """``(level, place)``."""
    minutes: Doubles
    """``(quantile, level, place)``."""
    known: Array
    """``(level, place)``."""
    reached: Array
    """``(level, place)``."""
    basis: NDArray[Any]
    """``(level, place)``."""

    @classmethod
    def empty(cls, levels: LevelTable, leads: int, quantiles: int) -> _Products:
        count, places = levels.threshold.shape
        flat = [np.full((count, places), np.nan, np.float32) for _ in range(3)]
        basis = np.full((count, places), BASES[0], dtype=f"U{max(map(len, BASES))}")
        by_lead = np.full((count, leads, places), np.nan, np.float32)
        return cls(by_lead, flat[0], np.full((quantiles, count, places), np.nan), flat[1], flat[2], basis)

    def variables(self) -> dict[str, Any]:
        """Return them as variables."""
        dims = ("level", "place")
        by_lead = "probability that the level is reached in the window that ends at the lead time"
        at_all = "probability that the level is reached at the issue time or at any known lead time"
        return {
            "level_probability": (
                ("level", "lead_time", "place"),
                self.probability,
                {"long_name": by_lead, "units": "1"},
            ),
            "warning_probability": (dims, self.at_all, {"long_name": at_all, "units": "1"}),
            "minutes_to_level_quantile": (
                ("quantile", *dims),
                self.minutes,
                {"long_name": "quantile of the minutes to the level, of the members that reach it", "units": "min"},
            ),
            "level_known": (dims, self.known, {"long_name": "known fraction of the lead times", "units": "1"}),
            "level_reached": (dims, self.reached, {"long_name": "level is reached at the issue time", "units": "1"}),
            "level_basis": (dims, self.basis, {"long_name": "what probabilities of the level are made of"}),
        }


def _quantity(series: Series, length: np.timedelta64) -> xr.DataArray:
    """Return amounts, or rates for a window of 0, at the issue time and the lead times."""
    if length > _ZERO:
        return series.scenarios.amounts[length]
    rates = series.scenarios.rates
    now = np.broadcast_to(series.latest, (rates.sizes["realization"], 1, *series.latest.shape))
    ends = np.concatenate([[_ZERO], series.leads])
    return xr.DataArray(np.concatenate([now, rates.values], axis=1), dims=BY_MEMBER, coords={"lead_time": ends})


def _fill(found: _Products, chosen: Mask, amounts: xr.DataArray, levels: LevelTable, wanted: Doubles) -> None:
    """Fill in the products of the chosen levels and places from amounts, ``(realization, lead_time, place)``."""
    minutes = amounts["lead_time"].values / MINUTE
    for row in np.flatnonzero(chosen.any(axis=1)):
        columns = np.flatnonzero(chosen[row])
        values = amounts.values[..., columns]
        known = np.isfinite(values).all(axis=0)
        limits = levels.threshold[row, columns].astype(np.float32) * (1 - ROUNDING)
        reached = known & (values >= limits)
        by_lead = np.where(known, reached.mean(axis=0, dtype=np.float32), np.float32(np.nan))
        found.probability[row][:, columns] = by_lead[1:]
        found.reached[row, columns] = by_lead[0]
        some = known[1:].any(axis=0) | (by_lead[0] == 1)
        found.at_all[row, columns] = np.where(some, reached.any(axis=1).mean(axis=0, dtype=np.float32), np.nan)
        found.known[row, columns] = known[1:].mean(axis=0)
        first = np.where(reached.any(axis=1), minutes[reached.argmax(axis=1)], np.nan)
        found.minutes[:, row, columns] = conditional_quantiles(first, wanted)


def _use_probabilities(found: _Products, levels: LevelTable, series: Series) -> None:
    """Take probabilities of rates at points from a forecast without members.

    The probability of any lead time is at least that of the likeliest one, which is taken.
    """
    is_rate = levels.exists & (levels.length == _ZERO) & series.is_point
    rates = np.unique(levels.threshold[is_rate])
    at_points = find_probabilities(series, rates.tolist())
    for row, column in np.argwhere(is_rate):
        values = at_points[np.searchsorted(rates, levels.threshold[row, column])][:, column]
        if np.isfinite(values).any():
            found.probability[row][:, column] = values
            found.at_all[row, column] = 1.0 if found.reached[row, column] == 1 else np.nanmax(values)
            found.minutes[:, row, column] = np.nan
            found.basis[row, column] = "exceedance probabilities"


def _describe_levels(levels: LevelTable) -> dict[str, Any]:
    dims = ("level", "place")
    names = np.where(levels.exists, np.array(STATISTICS)[levels.statistic], "")
    return {
        "level_threshold": (dims, levels.threshold, {"long_name": "threshold of the level, mm or mm h-1"}),
        "level_window": (dims, levels.length, {"long_name": "length of the window, 0 of a rate"}),
        "level_statistic": (dims, names, {"long_name": "of the cells of an area"}),
        "raise_at": (dims, levels.raise_at, {"long_name": "probability from which a warning is raised", "units": "1"}),
        "clear_at": (dims, levels.clear_at, {"long_name": "probability below which it is cleared", "units": "1"}),
        "hold": (dims, levels.hold, {"long_name": "time below clear_at before it is cleared"}),
    }
