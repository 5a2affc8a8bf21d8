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


def vary(radar: xr.DataArray, issue: np.datetime64, variation: Variation) -> xr.DataArray:
    """Vary a radar field; the frame of the issue time stays.

    Parameters
    ----------
    radar
        Precipitation field, mm h-1, dims ``(time, y, x)``.
    issue
        Time of a frame.
    variation
        How it is varied.

    Returns
    -------
    DataArray
        mm h-1; every `variation.stride`-th frame, with the coordinates of larger or smaller cells.
    """
    first = int(radar.get_index("time").get_loc(issue)) % variation.stride
    kept = radar.isel(time=slice(first, None, variation.stride))
    rates = (np.float32(variation.factor) * kept ** np.float32(variation.exponent)).astype(np.float32)
    zoomed = {axis: kept[axis].mean() + variation.zoom * (kept[axis] - kept[axis].mean()) for axis in ("y", "x")}
    return rates.assign_coords({axis: kept[axis].copy(data=zoomed[axis].values) for axis in zoomed}).assign_attrs(
        kept.attrs
    )
