"""Interpolation of NWP fields to the grid of the radar and to given times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hybridcast.core.axes import nearest_turn
from hybridcast.core.field import GRID_MAPPING, check_same_grid, crs_of
from hybridcast.core.interpolation import fractional_index
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.nwp.schema import MEMBER, RATE, WIND
from hybridcast.nwp.wind import north_direction, rotate_wind

DIMS = ("reference_time", "time", "y", "x")
#: Lead times further apart than this are not interpolated between.
MAX_GAP = np.timedelta64(6, "h")


def regrid_to_radar(nwp: xr.Dataset, field: xr.DataArray | xr.Dataset, times: ArrayLike) -> xr.Dataset:
    """Interpolate NWP fields linearly in space and time to a grid and to given times.

    In time, a rate is the mean over a step and belongs to the middle of the step. It is interpolated between the
    middles of steps, so that it has no jumps, and constant in the first half of the first step and the last half of the
    last step of a run. Other variables are interpolated between valid times. In space, positions up to half a cell
    beyond the outermost NWP cell centres get the values at the edge; positions further out are NaN. Fields are not
    averaged: where NWP is finer than the radar grid it is sampled.

    Parameters
    ----------
    nwp
        NWP fields, see `hybridcast.nwp.schema`, on any grid; the order of the runs is kept.
    field
        Data on the target grid, such as a precipitation field.
    times
        Valid times, ``datetime64`` UTC, shape ``(time,)``.

    Returns
    -------
    Dataset
        The same variables, float32, dims ``("reference_time", "time", "y", "x")``, with winds along the axes of
        `field`; NaN where a run has no value.

    Raises
    ------
    InputError
        If one of the grids has no CRS, unless both have none and are the same grid.
    """
    wanted = np.atleast_1d(np.asarray(times, "datetime64[ns]"))
    runs = nwp["reference_time"].values
    cells = _locate_cells(nwp, field)
    weights = _bilinear_weights(cells, nwp)
    covered = np.diff(weights.indptr) > 0
    shape = (runs.size, wanted.size, field.sizes["y"], field.sizes["x"])
    values = {str(name): np.full(shape, np.nan, np.float32) for name in nwp.data_vars}
    for name, out in values.items():
        for k, run in enumerate(runs):
            frames = np.asarray(nwp[name].values[k], np.float32)
            coarse = _interpolate_times(frames, nwp["lead_time"].values, wanted - run, is_mean=name == RATE)
            fine = (weights @ coarse.reshape(wanted.size, -1).T).T
            out[k].reshape(wanted.size, -1)[:, covered] = fine[:, covered]
    if set(WIND) <= set(values):
        _rotate_wind(values, cells, nwp, field)
    coords: dict[str, Any] = {name: field.coords[name] for name in ("y", "x", GRID_MAPPING) if name in field.coords}
    coords |= {"reference_time": nwp["reference_time"], "time": wanted}
    if MEMBER in nwp.coords:
        coords[MEMBER] = nwp[MEMBER]
    mapping = {"grid_mapping": GRID_MAPPING} if GRID_MAPPING in coords else {}
    result = xr.Dataset(
        {name: (DIMS, out, {**nwp[name].attrs, **mapping}) for name, out in values.items()}, coords, nwp.attrs
    )
    result["time"].attrs = {"standard_name": "time", "axis": "T"}
    return result


# --- time -----------------------------------------------------------------------------------------------------


def _interpolate_times(
    frames: Array, leads: NDArray[np.timedelta64], wanted: NDArray[np.timedelta64], *, is_mean: bool
) -> Array:
    """Interpolate the frames ``(lead, y, x)`` of one run to times since its start, ``(time, y, x)``."""
    present = np.isfinite(frames).any(axis=(1, 2))
    out = np.full((wanted.size, *frames.shape[1:]), np.nan, np.float32)
    if not present.any():
        return out
    ends = (leads[present] / np.timedelta64(1, "s")).astype(np.float64)
    kept, at = frames[present], (wanted / np.timedelta64(1, "s")).astype(np.float64)
    starts = _starts_of_steps(ends) if is_mean else ends
    inside = (at >= starts[0]) & (at <= ends[-1])
    centres = (starts + ends) / 2
    after = np.clip(np.searchsorted(centres, at), 1, max(centres.size - 1, 1))
    for k in np.flatnonzero(inside):
        if centres.size == 1:
            out[k] = kept[0]
            continue
        i = int(after[k])
        gap = ends[i] - ends[i - 1]
        fraction = np.float32(np.clip((at[k] - centres[i - 1]) / (centres[i] - centres[i - 1]), 0, 1))
        if fraction in (0, 1):  # a frame without weight must not contribute its NaN
            out[k] = kept[i] if fraction else kept[i - 1]
        elif gap <= MAX_GAP / np.timedelta64(1, "s"):
            out[k] = (1 - fraction) * kept[i - 1] + fraction * kept[i]
    return out


def _starts_of_steps(ends: Doubles) -> Doubles:
    """Return the starts of the steps that end at `ends` (s from the start of the run)."""
    first = ends[0] if ends.size == 1 else min(ends[0], ends[1] - ends[0])
    return np.concatenate([[ends[0] - first], ends[:-1]])


# --- space ----------------------------------------------------------------------------------------------------


def _locate_cells(nwp: xr.Dataset, field: xr.DataArray | xr.Dataset) -> tuple[Doubles, Doubles]:
    """Return x and y of the cells of the field in the units of the NWP axes, shape ``(y, x)`` each."""
    x, y = _mesh(field)
    nwp_crs, radar_crs = crs_of(nwp), crs_of(field)
    if nwp_crs is None or radar_crs is None:
        _check_local_grids(nwp, field, nwp_crs, radar_crs)
    elif nwp_crs != radar_crs:
        x, y = pyproj.Transformer.from_crs(radar_crs, nwp_crs, always_xy=True).transform(x, y)
    if nwp_crs is not None and nwp_crs.is_geographic:
        x = nearest_turn(x, nwp["x"].values)
    return x, y


def _mesh(field: xr.DataArray | xr.Dataset) -> tuple[Doubles, Doubles]:
    x, y = np.meshgrid(field["x"].values.astype(np.float64), field["y"].values.astype(np.float64))
    return x, y


def _check_local_grids(
    nwp: xr.Dataset, field: xr.DataArray | xr.Dataset, nwp_crs: pyproj.CRS | None, radar_crs: pyproj.CRS | None
) -> None:
    """Raise `InputError` unless both grids are local and the same."""
    if nwp_crs is None and radar_crs is None:
        check_same_grid(nwp, field, "NWP and radar without a known place")
        return
    raise InputError(
        f"the place of the {'NWP' if nwp_crs is None else 'radar'} grid is not known (it has no CRS)",
        "fields are joined where both are on Earth",
        "Give it a grid mapping, or leave NWP out",
    )


def _bilinear_weights(cells: tuple[Doubles, Doubles], nwp: xr.Dataset) -> Any:
    """Return the bilinear weights of the NWP cells for each cell, a sparse matrix; no weights outside the NWP grid."""
    shape = nwp.sizes["y"], nwp.sizes["x"]
    columns, rows = (fractional_index(nwp[axis].values, at).ravel() for axis, at in zip("xy", cells, strict=True))
    with np.errstate(invalid="ignore"):
        inside = (rows >= -0.5) & (rows <= shape[0] - 0.5) & (columns >= -0.5) & (columns <= shape[1] - 0.5)
    target = np.flatnonzero(inside)
    r0, r1, fr = _find_neighbours(rows[target], shape[0])
    c0, c1, fc = _find_neighbours(columns[target], shape[1])
    parts = [(r0, c0, (1 - fr) * (1 - fc)), (r0, c1, (1 - fr) * fc), (r1, c0, fr * (1 - fc)), (r1, c1, fr * fc)]
    weight = np.concatenate([w for _, _, w in parts]).astype(np.float32)
    source = np.concatenate([r * shape[1] + c for r, c, _ in parts])
    used = weight > 1e-6  # a NaN beside a cell on the grid line must not reach it
    return sparse.csr_array(
        (weight[used], (np.tile(target, 4)[used], source[used])),
        shape=(rows.size, shape[0] * shape[1]),
        dtype=np.float32,
    )


def _find_neighbours(index: Doubles, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Doubles]:
    """Return the cells before and after a fractional index, and the weight of the one after."""
    index = np.clip(index, 0, count - 1)
    before = np.minimum(index.astype(np.intp), max(count - 2, 0))
    return before, np.minimum(before + 1, count - 1), index - before


def _rotate_wind(
    values: dict[str, Array], cells: tuple[Doubles, Doubles], nwp: xr.Dataset, field: xr.DataArray | xr.Dataset
) -> None:
    """Rotate the wind from the NWP axes to those of the field, in place."""
    nwp_crs, radar_crs = crs_of(nwp), crs_of(field)
    if nwp_crs is None or radar_crs is None or nwp_crs == radar_crs:
        return
    norths = north_direction(nwp_crs, *cells), north_direction(radar_crs, *_mesh(field))
    values["x_wind"], values["y_wind"] = rotate_wind(values["x_wind"], values["y_wind"], *norths)
