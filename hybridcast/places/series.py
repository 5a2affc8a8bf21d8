"""Rates and amounts at places by lead time, of members and of the deterministic field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE, check_same_grid
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.time_steps import regular_times, time_step
from hybridcast.core.types import Array, LeadTimes, Mask
from hybridcast.ensembles.one_pass import CellSamples
from hybridcast.ensembles.products import interval_edges
from hybridcast.errors import InputError
from hybridcast.places.levels import STATISTICS
from hybridcast.places.place import Place
from hybridcast.places.sampling import PlaceCells, find_cells, find_highest, known_fractions, pick, reduce_cells
from hybridcast.places.sums import join_edges, sum_before

_ZERO, _ONE = np.timedelta64(0, "ns"), np.timedelta64(1, "ns")
_NONE = np.zeros(0, "timedelta64[ns]")
BY_LEAD = ("lead_time", "statistic", "place")
"""Dims of the rates of the deterministic field."""
BY_MEMBER = ("realization", *BY_LEAD)
"""Dims of those of members."""
#: Memory for the rates at the cells of places at a time, bytes; with more cells, members are made several times.
_MEMORY = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Rain:
    """Rain at places, of one or more scenarios."""

    rates: xr.DataArray
    """mm h-1, dims `BY_MEMBER`."""
    amounts: dict[np.timedelta64, xr.DataArray]
    """mm, by the length of the window; the same dims, with the issue time as the first lead time."""


@dataclass(frozen=True, eq=False)
class Series:
    """Rain of a forecast at places."""

    field: Rain
    """Of the deterministic field, the only realization."""
    members: Rain | None
    """Of members; None of a forecast without."""
    latest: Array
    """Observed rates at the issue time, shape ``(statistic, place)``; NaN without a radar frame of that time."""
    known_fraction: Array
    """Known fraction of the area of each place, shape ``(lead_time, place)``."""
    is_point: Mask
    """Shape ``(place,)``."""
    position: list[str]
    """Where each place is with respect to the grid."""
    probabilities: xr.DataArray | None
    """Exceedance probabilities of the forecast, dims ``("threshold", "lead_time", "place")``, NaN of areas."""

    @property
    def scenarios(self) -> Rain:
        """The members, or the deterministic field as the only one."""
        return self.field if self.members is None else self.members

    @property
    def leads(self) -> LeadTimes:
        """Lead times, ``timedelta64[ns]``."""
        return np.asarray(self.field.rates["lead_time"].values)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of lead times, statistics and places."""
        leads, statistics, places = (self.field.rates.sizes[dim] for dim in BY_LEAD)
        return leads, statistics, places


def plan_samples(forecast: xr.Dataset, places: Sequence[Place]) -> CellSamples | None:
    """Return what takes the members at the cells of places; None without members, or if there are too many cells.

    Raises
    ------
    InputError
        If places cannot be placed on the grid.
    """
    if ENSEMBLE not in forecast:
        return None
    (cells,) = find_cells(places, forecast[RATE], np.iinfo(np.int64).max)
    size = cells.rows.size * math.prod(forecast[ENSEMBLE].sizes[dim] for dim in ("realization", "lead_time"))
    return CellSamples(forecast, _number(cells, forecast)) if 4 * size <= _MEMORY else None


def _number(cells: PlaceCells, forecast: xr.Dataset) -> NDArray[np.int64]:
    """Return the numbers of cells, increasing."""
    return np.asarray(cells.rows * forecast.sizes["x"] + cells.columns)


def sample_forecast(
    forecast: xr.Dataset,
    places: Sequence[Place],
    radar: xr.DataArray | None,
    lengths: Sequence[np.timedelta64],
    members: CellSamples | None = None,
) -> Series:
    """Return the rain of a forecast at places.

    Parameters
    ----------
    forecast
        As `hybridcast.forecast` returns it.
    places
        Places.
    radar
        Precipitation field on the same grid, of which frames after the issue time are not used; None without.
    lengths
        Lengths of the windows of amounts.
    members
        Members at the cells of places, from `plan_samples`; computed if it is None or lacks cells of these places.

    Raises
    ------
    InputError
        If the grid or the times do not fit.
    """
    rate = forecast[RATE]
    observed = None if radar is None else _select_observed(forecast, radar, lengths)
    scenarios = forecast[ENSEMBLE].sizes["realization"] if ENSEMBLE in forecast else 1
    frames = rate.sizes["lead_time"] + (0 if observed is None else observed.sizes["lead_time"])
    blocks = find_cells(places, rate, _MEMORY // (4 * scenarios * frames))
    return _join_blocks([_sample_block(forecast, cells, observed, lengths, members) for cells in blocks])


def _select_observed(
    forecast: xr.Dataset, radar: xr.DataArray, lengths: Sequence[np.timedelta64]
) -> xr.DataArray | None:
    """Return the frames up to the issue time that windows need, by lead time; missing ones are unknown.

    None if there is no frame at or shortly before the issue time.
    """
    check_same_grid(radar, forecast, "radar and forecast")
    if "reference_time" not in forecast.coords:
        found = "the forecast has no reference_time"
        raise InputError(found, "radar is put before the issue time", "Give a forecast of hybridcast.forecast")
    issue: Any = forecast["reference_time"].values[()]
    recent = radar.sel(time=slice(issue - max([*lengths, np.timedelta64(1, "h")]), issue))
    if not recent.sizes["time"]:
        return None
    recent = regular_times(recent)
    times = recent["time"].values
    step = time_step(times) or time_step(radar["time"].values)
    if step is not None and times[-1] < issue:  # a late radar
        late: Any = np.arange(times[-1] + step, issue + _ONE, step)
        recent = recent.reindex(time=np.concatenate([times, late]))
    leads = recent["time"].values - issue
    fits = leads.size > 1 and leads[-1] == _ZERO
    return recent.rename(time="lead_time").assign_coords(lead_time=leads) if fits else None


def _sample_block(
    forecast: xr.Dataset,
    cells: PlaceCells,
    observed: xr.DataArray | None,
    lengths: Sequence[np.timedelta64],
    taken: CellSamples | None,
) -> Series:
    past = None if observed is None else pick(observed, cells)
    rates = pick(forecast[RATE], cells).transpose("lead_time", "cell")
    latest = np.full(cells.rows.size, np.nan, np.float32) if past is None else past.isel(lead_time=-1).values
    members = _pick_members(forecast, cells, taken)
    return Series(
        _sample_rain(rates.expand_dims("realization"), past, cells, lengths),
        None if members is None else _sample_rain(members, past, cells, lengths),
        reduce_cells(latest, cells),
        known_fractions(rates.values, cells),
        cells.is_point,
        cells.position,
        _sample_probabilities(forecast, cells),
    )


def _pick_members(forecast: xr.Dataset, cells: PlaceCells, taken: CellSamples | None) -> xr.DataArray | None:
    """Return the members at cells, dims realization, lead_time and cell; None without members."""
    if ENSEMBLE not in forecast:
        return None
    numbers = _number(cells, forecast)
    if taken is None or not np.isin(numbers, taken.cells).all():  # the file of the places may just have changed
        return pick(forecast[ENSEMBLE], cells)
    of_cells = np.searchsorted(taken.cells, numbers)
    rates = np.ascontiguousarray(taken.rates.swapaxes(0, 1)[..., of_cells])
    leads = forecast["lead_time"].variable
    return xr.DataArray(rates, dims=("realization", "lead_time", "cell"), coords={"lead_time": leads})


def _sample_rain(
    rates: xr.DataArray, past: xr.DataArray | None, cells: PlaceCells, lengths: Sequence[np.timedelta64]
) -> Rain:
    """Return the rain at places from rates at cells."""
    at_cells = rates.transpose("realization", "lead_time", "cell")
    at_places = reduce_cells(at_cells.values, cells)
    before = np.zeros((0, cells.rows.size), np.float32) if past is None else past.transpose("lead_time", "cell").values
    edges = join_edges(interval_edges(at_cells), _NONE if past is None else past["lead_time"].values)
    before_places = reduce_cells(before, cells)
    sums = [sum_before(np.concatenate([before_places, one]), edges, lengths) for one in at_places]
    _put_maxima(sums, at_cells.values, before, edges, cells)
    leads = at_cells["lead_time"].values
    ends = np.concatenate([[_ZERO], leads])
    amounts = {length: _label(np.stack([one[length] for one in sums]), ends, "mm") for length in dict.fromkeys(lengths)}
    return Rain(_label(at_places, leads, "mm h-1"), amounts)


def _put_maxima(
    sums: list[dict[np.timedelta64, Array]], rates: Array, past: Array, edges: LeadTimes, cells: PlaceCells
) -> None:
    """Put the amounts at the wettest cell of each area in the place of sums of maxima, which come at several cells."""
    areas = ~cells.is_point
    used = np.unique(cells.entries_of(areas))
    if not used.size:
        return
    before = past[:, used]
    for of_member, one in zip(sums, rates, strict=True):
        at_cells = sum_before(np.concatenate([before, one[:, used]]), edges, of_member)
        for length, amounts in of_member.items():
            highest = find_highest(at_cells[length], cells, areas, used)[:, areas]
            amounts[:, 1, areas] = np.where(np.isfinite(amounts[:, 0, areas]), highest, np.nan)


def _label(values: Array, leads: LeadTimes, units: str) -> xr.DataArray:
    coords = {"lead_time": leads, "statistic": list(STATISTICS)}
    return xr.DataArray(values, dims=BY_MEMBER, coords=coords, attrs={"units": units})


def _sample_probabilities(forecast: xr.Dataset, cells: PlaceCells) -> xr.DataArray | None:
    if PROBABILITY not in forecast:
        return None
    values = pick(forecast[PROBABILITY], cells).transpose("threshold", "lead_time", "cell")
    at_places = np.where(cells.is_point, reduce_cells(values.values, cells)[:, :, 0], np.float32(np.nan))
    return xr.DataArray(at_places, dims=("threshold", "lead_time", "place"), coords={"threshold": values["threshold"]})


def _join_blocks(blocks: list[Series]) -> Series:
    if len(blocks) == 1:
        return blocks[0]

    def join(rain: list[Rain]) -> Rain:
        amounts = {length: xr.concat([one.amounts[length] for one in rain], "place") for length in rain[0].amounts}
        return Rain(xr.concat([one.rates for one in rain], "place"), amounts)

    members = [block.members for block in blocks if block.members is not None]
    probabilities = [block.probabilities for block in blocks if block.probabilities is not None]
    return Series(
        join([block.field for block in blocks]),
        join(members) if members else None,
        np.concatenate([block.latest for block in blocks], axis=-1),
        np.concatenate([block.known_fraction for block in blocks], axis=-1),
        np.concatenate([block.is_point for block in blocks]),
        [position for block in blocks for position in block.position],
        xr.concat(probabilities, "place") if probabilities else None,
    )


def find_probabilities(series: Series, thresholds: Sequence[float]) -> Array:
    """Return the exceedance probabilities of the forecast at points, ``(threshold, lead_time, place)``.

    NaN of areas, and of thresholds that the forecast does not have.
    """
    leads, _, places = series.shape
    found = np.full((len(thresholds), leads, places), np.nan, np.float32)
    if series.probabilities is None:
        return found
    own = series.probabilities["threshold"].values
    for k, threshold in enumerate(thresholds):
        (same,) = np.nonzero(np.isclose(own, threshold, rtol=1e-6))
        if same.size:
            found[k] = series.probabilities.values[same[0]]
    return found
