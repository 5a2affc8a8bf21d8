"""Variation of radar fields for training: as radar networks of other kinds would have seen the same weather.

Networks differ in how they get rain rates from reflectivity, in the size of their cells and of the storms within them,
and in their time step. Frames are varied before predictors are computed and rain is looked up, so that what is learned
from a varied issue time is consistent: the same law holds for its past and its future.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

#: Relation ``Z = a R^b`` (Z in mm6 m-3, R in mm h-1) to which rates are assumed to belong (Marshall and others, 1955).
ASSUMED = (200.0, 1.6)
#: Relations in use: Marshall-Palmer, WSR-88D, MeteoSwiss, FMI, DWD (RADOLAN), and of stratiform rain in the US.
RELATIONS = (ASSUMED, (300.0, 1.4), (316.0, 1.5), (223.0, 1.53), (256.0, 1.42), (130.0, 2.0))
#: Maximum error of the calibration of a radar, dB.
MAX_OFFSET = 2.0
#: Maximum factor by which cells are enlarged or reduced.
MAX_ZOOM = 1.4
#: Every frame, every second or every third is kept, with these probabilities.
STRIDES = (0.6, 0.25, 0.15)


class Variation(NamedTuple):
    """How a radar field is varied."""

    factor: float
    """Rates ``R`` become ``factor * R**exponent``, in mm h-1."""
    exponent: float
    zoom: float
    """Factor of the size of cells."""
    stride: int
    """One of this number of frames is kept."""


def draw_variation(generator: np.random.Generator) -> Variation:
    """Draw a variation at random."""
    a, b = RELATIONS[int(generator.integers(len(RELATIONS)))]
    reflectivity_factor = ASSUMED[0] * 10 ** (generator.uniform(-MAX_OFFSET, MAX_OFFSET) / 10)
    zoom = np.exp(generator.uniform(-1, 1) * np.log(MAX_ZOOM))
    stride = 1 + int(generator.choice(len(STRIDES), p=STRIDES))
    return Variation(float((reflectivity_factor / a) ** (1 / b)), ASSUMED[1] / b, float(zoom), stride)


def vary_cells(radar: xr.DataArray, variation: Variation) -> xr.DataArray:
    """Return a precipitation field, mm h-1, dims ``(time, y, x)``, with other rates, on larger or smaller cells."""
    rates = (np.float32(variation.factor) * radar ** np.float32(variation.exponent)).astype(np.float32)
    middle = {axis: radar[axis].mean() for axis in ("y", "x")}
    zoomed = {axis: middle[axis] + variation.zoom * (radar[axis] - middle[axis]) for axis in middle}
    coords = {axis: radar[axis].copy(data=zoomed[axis].values) for axis in zoomed}
    return rates.assign_coords(coords).assign_attrs(radar.attrs)


def keep_frames(radar: xr.DataArray, issue: np.datetime64, stride: int) -> xr.DataArray:
    """Return every `stride`-th frame of a field, that of the issue time among them."""
    return radar.isel(time=slice(int(radar.get_index("time").get_loc(issue)) % stride, None, stride))
