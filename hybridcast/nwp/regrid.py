"""Model fields on the grid of the radar, at the times asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hybridcast.core.field import GRID_MAPPING, check_same_grid, crs_of
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.nwp.schema import RATE, WIND
from hybridcast.nwp.wind import north_direction, rotate_wind

DIMS = ("reference_time", "time", "y", "x")
#: Lead times further apart than this are not bridged.
LONGEST_GAP = np.timedelta64(6, "h")


def regrid_to_radar(nwp: xr.Dataset, field: xr.DataArray | xr.Dataset, times: ArrayLike) -> xr.Dataset:
    """Interpolate model fields, linearly in space and in time.

    In time a rate, the mean over a step, belongs to the middle of the step: between middles it is interpolated, so
    that it has no jumps, and it is constant in the first half of a run's first step and the last half of its last one.
    All else is interpolated between valid times. In space, a place within half a cell of the model's outermost
    centres has the values of the edge; beyond all is NaN. Nothing is averaged: where the model is finer than the radar
    grid it is sampled.

    Parameters
    ----------
    nwp
        Model fields, see `hybridcast.nwp.schema`, on any grid; runs stay in their order.
    field
        What has the grid, such as a precipitation field.
    times
        Valid times, ``datetime64`` UTC, shape ``(time,)``.

    Returns
    -------
    Dataset
        The same variables, float32, dims ``("reference_time", "time", "y", "x")``; winds along the axes of `field`. NaN
        where a run has no value.

    Raises
    ------
    InputError
        If one of both grids has no known place, unless both have none and are the same grid.
    """
    wanted = np.atleast_1d(np.asarray(times, "datetime64[ns]"))
    runs = nwp["reference_time"].values
    places = _places(nwp, field)
    weights = _weights(places, nwp)
    covered = np.diff(weights.indptr) > 0
    shape = (runs.size, wanted.size, field.sizes["y"], field.sizes["x"])
    values = {str(name): np.full(shape, np.nan, np.float32) for name in nwp.data_vars}
    for name, out in values.items():
        for k, run in enumerate(runs):
            frames = np.asarray(nwp[name].values[k], np.float32)
            coarse = _at_times(frames, nwp["lead_time"].values, wanted - run, is_mean=name == RATE)
            fine = (weights @ coarse.reshape(wanted.size, -1).T).T
            out[k].reshape(wanted.size, -1)[:, covered] = fine[:, covered]
    if set(WIND) <= set(values):
        _turn(values, places, nwp, field)
    coords: dict[str, Any] = {name: field.coords[name] for name in ("y", "x", GRID_MAPPING) if name in field.coords}
    coords |= {"reference_time": nwp["reference_time"], "time": wanted}
    mapping = {"grid_mapping": GRID_MAPPING} if GRID_MAPPING in coords else {}
    made = xr.Dataset(
        {name: (DIMS, out, {**nwp[name].attrs, **mapping}) for name, out in values.items()}, coords, nwp.attrs
    )
    made["time"].attrs = {"standard_name": "time", "axis": "T"}
    return made


# --- time -----------------------------------------------------------------------------------------------------


def _at_times(
    frames: Array, leads: NDArray[np.timedelta64], wanted: NDArray[np.timedelta64], *, is_mean: bool
) -> Array:
    """Interpolate the frames ``(lead, y, x)`` of one run to times since its start, ``(time, y, x)``."""
    present = np.isfinite(frames).any(axis=(1, 2))
    out = np.full((wanted.size, *frames.shape[1:]), np.nan, np.float32)
    if not present.any():
        return out
    ends = (leads[present] / np.timedelta64(1, "s")).astype(np.float64)
    kept, at = frames[present], (wanted / np.timedelta64(1, "s")).astype(np.float64)
    starts = _starts(ends) if is_mean else ends
    inside = (at >= starts[0]) & (at <= ends[-1])
    centres = (starts + ends) / 2
    after = np.clip(np.searchsorted(centres, at), 1, max(centres.size - 1, 1))
    for k in np.flatnonzero(inside):
        if centres.size == 1:
            out[k] = kept[0]
            continue
        i = int(after[k])
        gap = ends[i] - ends[i - 1]
        share = np.float32(np.clip((at[k] - centres[i - 1]) / (centres[i] - centres[i - 1]), 0, 1))
        if 0 < share < 1 and gap > LONGEST_GAP / np.timedelta64(1, "s"):
            continue
        # a frame without weight has no say, NaN or not
        out[k] = kept[i - 1] if share == 0 else kept[i] if share == 1 else (1 - share) * kept[i - 1] + share * kept[i]
    return out


def _starts(ends: Doubles) -> Doubles:
    """Return the starts of the steps that end at `ends` (s from the start of the run)."""
    first = ends[0] if ends.size == 1 else min(ends[0], ends[1] - ends[0])
    return np.concatenate([[ends[0] - first], ends[:-1]])


# --- space ----------------------------------------------------------------------------------------------------


class _Places(NamedTuple):
    """Where the cells of the field are on the model's grid, shape ``(y, x)`` each."""

    y: Doubles
    """In the units of the model's axes, as `x`."""
    x: Doubles


def _places(nwp: xr.Dataset, field: xr.DataArray | xr.Dataset) -> _Places:
    x, y = np.meshgrid(field["x"].values.astype(np.float64), field["y"].values.astype(np.float64))
    model, radar = crs_of(nwp), crs_of(field)
    if model is None or radar is None:
        _refuse_apart(nwp, field, model, radar)
    elif model != radar:
        x, y = pyproj.Transformer.from_crs(radar, model, always_xy=True).transform(x, y)
    if model is not None and model.is_geographic:
        middle = float(nwp["x"].values.mean())
        x = middle + (x - middle + 180.0) % 360.0 - 180.0
    return _Places(y, x)


def _refuse_apart(
    nwp: xr.Dataset, field: xr.DataArray | xr.Dataset, model: pyproj.CRS | None, radar: pyproj.CRS | None
) -> None:
    if model is None and radar is None:
        check_same_grid(nwp, field, "NWP and radar without a known place")
        return
    raise InputError(
        f"the place of the {'model' if model is None else 'radar'} grid is not known (it has no CRS)",
        "fields are joined where both are on Earth",
        "Give it a grid mapping, or leave the model out",
    )


def _weights(places: _Places, nwp: xr.Dataset) -> Any:
    """Return the bilinear weights of the model's cells in each place, a sparse matrix; no weights outside the model."""
    shape = nwp.sizes["y"], nwp.sizes["x"]
    rows, columns = _index(nwp["y"].values, places.y).ravel(), _index(nwp["x"].values, places.x).ravel()
    with np.errstate(invalid="ignore"):
        inside = (rows >= -0.5) & (rows <= shape[0] - 0.5) & (columns >= -0.5) & (columns <= shape[1] - 0.5)
    cells = np.flatnonzero(inside)
    (r0, r1, fr), (c0, c1, fc) = (_neighbours(p[cells], n) for p, n in zip((rows, columns), shape, strict=True))
    parts = [(r0, c0, (1 - fr) * (1 - fc)), (r0, c1, (1 - fr) * fc), (r1, c0, fr * (1 - fc)), (r1, c1, fr * fc)]
    weight = np.concatenate([w for _, _, w in parts]).astype(np.float32)
    source = np.concatenate([r * shape[1] + c for r, c, _ in parts])
    target = np.tile(cells, 4)
    used = weight > 1e-6  # a NaN beside a place on the grid line must not reach it
    return sparse.csr_array(
        (weight[used], (target[used], source[used])), shape=(rows.size, shape[0] * shape[1]), dtype=np.float32
    )


def _index(axis: Doubles, values: Doubles) -> Doubles:
    step = (axis[-1] - axis[0]) / (axis.size - 1) if axis.size > 1 else 1.0
    return np.asarray((values - axis[0]) / step)


def _neighbours(place: Doubles, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Doubles]:
    """Return the cell before and after a fractional place, and the share of the one after."""
    place = np.clip(place, 0, count - 1)
    before = np.minimum(place.astype(np.intp), max(count - 2, 0))
    return before, np.minimum(before + 1, count - 1), place - before


def _turn(values: dict[str, Array], places: _Places, nwp: xr.Dataset, field: xr.DataArray | xr.Dataset) -> None:
    """Turn the wind from the model's axes to those of the field, at the cells of the field."""
    model, radar = crs_of(nwp), crs_of(field)
    if model is None or radar is None or model == radar:
        return
    x, y = np.meshgrid(field["x"].values.astype(np.float64), field["y"].values.astype(np.float64))
    norths = north_direction(model, places.x, places.y), north_direction(radar, x, y)
    values["x_wind"], values["y_wind"] = rotate_wind(values["x_wind"], values["y_wind"], *norths)
