"""Predictors from model fields: planes at the valid times of a forecast, on the radar's grid.

All come from the runs passed in and from the radar up to the issue time. A plane that nothing is known for is NaN. At
each valid time the newest run that has any rain rate then is taken ("the run"), winds and the like from the newest that
has them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from hybridcast.core.field import metres_per_cell
from hybridcast.core.grid import decibels, known_mean, local_correlation, window_mean, window_size
from hybridcast.core.types import Array, Cell
from hybridcast.nwp.displacement import estimate_displacement
from hybridcast.nwp.schema import CAPE, HUMIDITY, RATE, WIND

MEANS = (8, 32)
WET = ((0.1, 32), (1.0, 8), (1.0, 32))
ERROR_WIDTH = 32
SKILL_WIDTH = 64
#: What counts as rain in the share of the runs, mm/h, and how near it is, km.
ENSEMBLE = (1.0, 8)
#: How far back the model is compared with the radar.
PAST = np.timedelta64(60, "m")
_LEAST_KNOWN = 1e-2

#: Name, units and meaning of the planes.
PLANES = (
    ("nwp_rate", "dB", "rain of the run, decibels above 0.1 mm/h"),
    ("nwp_mean_8", "dB", "its mean within 8 km"),
    ("nwp_mean_32", "dB", "its mean within 32 km"),
    ("nwp_wet_0.1_32", "1", "share at or above 0.1 mm/h within 32 km"),
    ("nwp_wet_1_8", "1", "share at or above 1 mm/h within 8 km"),
    ("nwp_wet_1_32", "1", "share at or above 1 mm/h within 32 km"),
    ("nwp_max_16", "dB", "maximum within 16 km"),
    ("nwp_ensemble", "1", "share of the runs that have 1 mm/h or more within 8 km"),
    ("nwp_shifted", "dB", "mean within 8 km, moved by the displacement found at the issue time"),
    ("nwp_error_32", "dB", "model less radar at the latest frame, mean within 32 km"),
    ("nwp_skill_64", "1", "correlation of the model's and the radar's rain of the last hour, within 64 km"),
    ("nwp_displacement", "km", "how far the model's rain lies from the radar's at the issue time"),
    ("nwp_lead", "h", "valid time less the start of the run"),
    ("nwp_wind_speed", "m s-1", "speed of the wind"),
    ("nwp_humidity", "1", "relative humidity"),
    ("nwp_cape", "J kg-1", "convective available potential energy"),
)
NWP_PREDICTORS = tuple(name for name, _, _ in PLANES)


def nwp_field_times(recent: xr.DataArray, lead_times: ArrayLike) -> NDArray[np.datetime64]:
    """Return the times that `compute_nwp_predictors` needs model fields at: frames of the last hour, and valid times.

    Parameters
    ----------
    recent
        Precipitation field up to the issue time.
    lead_times
        ``timedelta64``, shape ``(lead,)``.
    """
    times = recent["time"].values
    past = times[times > times[-1] - PAST]
    return np.union1d(past, times[-1] + np.asarray(lead_times, "timedelta64[ns]"))


def compute_nwp_predictors(
    nwp_on_grid: xr.Dataset | None, recent: xr.DataArray, lead_times: ArrayLike
) -> dict[str, Array]:
    """Make the planes of the model.

    Parameters
    ----------
    nwp_on_grid
        What `hybridcast.nwp.regrid_to_radar` gave at `nwp_field_times`, selected by `select_available_runs`; or None.
    recent
        Precipitation field up to the issue time, its last time, on cells of about 2 km.
    lead_times
        ``timedelta64``, shape ``(lead,)``.

    Returns
    -------
    dict
        By the names in `PLANES`: float32, shape ``(lead, y, x)``, NaN where unknown.
    """
    issue = recent["time"].values[-1]
    valid = issue + np.asarray(lead_times, "timedelta64[ns]")
    shape = (valid.size, recent.sizes["y"], recent.sizes["x"])
    planes = {name: np.full(shape, np.nan, np.float32) for name in NWP_PREDICTORS}
    if nwp_on_grid is None or not nwp_on_grid.sizes["reference_time"]:
        return planes
    runs = _newest_first(nwp_on_grid)
    dy, dx = metres_per_cell(recent)
    cell = abs(dy) / 1e3, float(np.abs(dx).mean()) / 1e3
    if RATE in runs:
        _rain(planes, runs, recent, valid, cell)
    if set(WIND) <= set(runs.data_vars):
        planes["nwp_wind_speed"] = np.hypot(*(_newest(runs, name, valid) for name in WIND))
    for name, plane in ((HUMIDITY, "nwp_humidity"), (CAPE, "nwp_cape")):
        if name in runs:
            planes[plane] = _newest(runs, name, valid)
    return planes


def _newest_first(nwp: xr.Dataset) -> xr.Dataset:
    starts = nwp["reference_time"].values
    ordered = (np.diff(starts) < np.timedelta64(0)).all()
    return nwp if ordered else nwp.isel(reference_time=np.argsort(starts)[::-1])


def _newest(runs: xr.Dataset, name: str, valid: NDArray[np.datetime64]) -> Array:
    """Return a variable of the newest run that has it at each time, ``(time, y, x)``."""
    return np.stack([_newest_at(runs, name, time)[0] for time in valid])


def _newest_at(runs: xr.Dataset, name: str, time: np.datetime64) -> tuple[Array, float]:
    """Return a variable of the newest run that has any value at one time, and the hours since that run's start."""
    every = _all_at(runs, name, time)
    for k, values in enumerate(every):
        if np.isfinite(values).any():
            return values, float((time - runs["reference_time"].values[k]) / np.timedelta64(1, "h"))
    return np.full((runs.sizes["y"], runs.sizes["x"]), np.nan, np.float32), np.nan


def _all_at(runs: xr.Dataset, name: str, time: np.datetime64) -> Array:
    """Return a variable of all runs at one time, ``(run, y, x)``: none if there is no such time."""
    at = np.flatnonzero(runs["time"].values == time)
    if not at.size:
        return np.empty((0, runs.sizes["y"], runs.sizes["x"]), np.float32)
    return np.asarray(runs[name].values[:, at[0]], np.float32)


# --- rain -----------------------------------------------------------------------------------------------------


def _rain(
    planes: dict[str, Array], runs: xr.Dataset, recent: xr.DataArray, valid: NDArray[np.datetime64], cell: Cell
) -> None:
    shift = _against_radar(planes, runs, recent, cell)
    for k, time in enumerate(valid):
        rate, lead = _newest_at(runs, RATE, time)
        for name, plane in _neighbourhoods(rate, cell).items():
            planes[name][k] = plane
        planes["nwp_shifted"][k] = _carried(planes["nwp_mean_8"][k], shift, cell)
        planes["nwp_lead"][k] = lead
        planes["nwp_ensemble"][k] = _share_of_runs(_all_at(runs, RATE, time), cell)


def _neighbourhoods(rate: Array, cell: Cell) -> dict[str, Array]:
    known = np.isfinite(rate)
    level = decibels(rate)
    filled, ones = np.where(known, level, np.float32(0)), known.astype(np.float32)
    shares = {width: window_mean(ones, width, cell) for width in {*MEANS, *(width for _, width in WET)}}

    def mean(values: Array, width: int) -> Array:
        return _where_known(known_mean(values, shares[width], width, cell), shares[width])

    with np.errstate(invalid="ignore"):
        found = {f"nwp_wet_{wet:g}_{width}": mean((rate >= wet).astype(np.float32), width) for wet, width in WET}
    found |= {f"nwp_mean_{width}": mean(filled, width) for width in MEANS}
    highest = ndimage.maximum_filter(np.where(known, level, -np.inf), window_size(16, cell), mode="nearest")
    found["nwp_max_16"] = np.where(np.isfinite(highest), highest, np.nan).astype(np.float32)
    return found | {"nwp_rate": level}


def _where_known(values: Array, share: Array) -> Array:
    return np.where(share < _LEAST_KNOWN, np.float32(np.nan), values)


def _share_of_runs(rates: Array, cell: Cell) -> Array:
    """Return the share of the runs known at a place that have rain near it."""
    least, width = ENSEMBLE
    known = np.isfinite(rates)
    size = (1, *window_size(width, cell))
    near = ndimage.maximum_filter((known & (rates >= least)).astype(np.uint8), size, mode="nearest")
    count = known.sum(axis=0)
    share = (near * known).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, share, np.nan).astype(np.float32)


# --- against the radar ----------------------------------------------------------------------------------------


def _against_radar(planes: dict[str, Array], runs: xr.Dataset, recent: xr.DataArray, cell: Cell) -> Array:
    """Compare the run with the radar up to the issue time; give the shift, km, ``(2, y, x)``."""
    values = recent.values
    present = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    nothing = np.zeros((2, *values.shape[1:]), np.float32)
    if not present.size:
        return nothing
    latest, time = values[present[-1]], recent["time"].values[present[-1]]
    model, _ = _newest_at(runs, RATE, time)
    planes["nwp_skill_64"][:] = _recent_skill(runs, recent, cell)
    if not (np.isfinite(model) & np.isfinite(latest)).any():
        return nothing
    planes["nwp_error_32"][:] = _local(lambda m, r: m - r, model, latest, cell)
    shift = estimate_displacement(model, latest, cell)
    ones = (np.isfinite(model) & np.isfinite(latest)).astype(np.float32)
    planes["nwp_displacement"][:] = _where_known(np.hypot(*shift), window_mean(ones, SKILL_WIDTH, cell))
    return shift


def _local(measure: Callable[[Array, Array], Array], model: Array, radar: Array, cell: Cell) -> Array:
    """Average a measure of the decibels of both over the cells known in both, within `ERROR_WIDTH`."""
    both = np.isfinite(model) & np.isfinite(radar)
    share = window_mean(both.astype(np.float32), ERROR_WIDTH, cell)
    values = np.where(both, measure(decibels(model), decibels(radar)), np.float32(0))
    return _where_known(known_mean(values, share, ERROR_WIDTH, cell), share)


def _recent_skill(runs: xr.Dataset, recent: xr.DataArray, cell: Cell) -> Array:
    """Correlate the mean rain of the last hour: a model's rates are means over its steps, often of an hour."""
    times = recent["time"].values
    total = np.zeros((2, *recent.shape[1:]), np.float32)
    count = np.zeros(recent.shape[1:], np.float32)
    for k in np.flatnonzero(times > times[-1] - PAST):
        pair = np.stack([_newest_at(runs, RATE, times[k])[0], recent.values[k]])
        both = np.isfinite(pair).all(axis=0)
        total += np.where(both, pair, np.float32(0))
        count += both
    ones = (count > 0).astype(np.float32)
    model, radar = (decibels(mean) for mean in total / np.maximum(count, np.float32(1)))
    return local_correlation(model * ones, radar * ones, ones, SKILL_WIDTH, cell)


def _carried(plane: Array, shift: Array, cell: Cell) -> Array:
    """Move a plane by a shift in km: what comes from beyond the edge or from the unknown is unknown."""
    rows, columns = np.indices(plane.shape, dtype=np.float32)
    places = rows - shift[1] / np.float32(cell[0]), columns - shift[0] / np.float32(cell[1])
    moved: Array = ndimage.map_coordinates(plane, places, order=1, mode="constant", cval=np.nan, output=np.float32)
    return moved
