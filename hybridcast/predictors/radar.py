"""Predictors from radar: rain around the departure point, its change, its coverage, and its motion.

Fields are computed once from the frames up to the issue time, and sampled at the departure point of the air, beside it,
or at the target cell (`hybridcast.predictors.predictor.Kind`). Windows of neighbourhoods repeat the edge of the grid
beyond it: air from outside is taken to be like the air at the edge. Unknown cells are NaN in predictors of single cells
and left out of means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.advection import advect
from hybridcast.core.field import metres_per_cell
from hybridcast.core.grid import decibels, known_mean, local_correlation, window_mean, window_size
from hybridcast.core.types import MINUTE, Array, Cell, Mask
from hybridcast.predictors.predictor import Kind, Outside, Predictor, Transform
from hybridcast.predictors.track import ASIDE

#: Half widths of neighbourhoods, km.
WIDTHS = (4, 8, 16, 32, 64)
#: Thresholds of wet fractions, mm/h.
WET = (0.1, 1.0, 5.0)
#: Half widths of the neighbourhoods of maxima, km.
MAXIMA = (4, 8, 16)
#: Ages of the earlier frames that growth and decay are computed from, min.
LAGS = (10, 30)
#: Half widths of the neighbourhoods of tendencies, km.
TENDENCY_WIDTHS = (8, 32)
#: Half width of the neighbourhood in which the success of the motion is measured, km.
SKILL_WIDTH = 48
#: Largest distance to unknown cells, km.
FARTHEST = 200.0

_NAN = np.float32(np.nan)
#: Means over windows with a smaller fraction of known cells are NaN.
_LEAST_KNOWN = 1e-3
#: The same for tendencies and the scale filter.
_LEAST_COMPARED = 1e-2


@dataclass(frozen=True)
class Change:
    """An earlier frame, advected to the issue time, and the latest frame; both 0 where either is unknown."""

    before: Array
    """Decibels of the earlier frame, shape ``(y, x)``."""
    after: Array
    """Decibels of the latest frame, shape ``(y, x)``."""
    known: Array
    """1 where both are known, else 0, shape ``(y, x)``."""
    minutes: float
    """Time between both, min."""


@dataclass(frozen=True)
class RadarFields:
    """Radar frames up to the issue time, and intermediate fields that several predictors share."""

    recent: xr.DataArray
    """Precipitation field up to the latest frame that holds any value, dims ``(time, y, x)``."""
    motion: xr.Dataset
    """Motion of the rain, as returned by `hybridcast.estimate_motion`."""
    filtered: Array
    """Rain of the scale filter at each lead time, dB of 1 mm/h, shape ``(lead, y, x)``."""
    cell: Cell
    """Size of a cell, km, ``(y, x)``."""

    @cached_property
    def latest(self) -> Array:
        """Rain rates of the latest frame, mm/h."""
        return np.ascontiguousarray(self.recent.values[-1])

    @cached_property
    def known(self) -> Mask:
        """Cells that are known in the latest frame."""
        return np.isfinite(self.latest)

    @cached_property
    def decibels(self) -> Array:
        """Latest frame in decibels above 0.1 mm/h, NaN where unknown."""
        return decibels(self.latest)

    @cached_property
    def filled(self) -> Array:
        """Latest frame in decibels above 0.1 mm/h, 0 where unknown."""
        return np.where(self.known, self.decibels, np.float32(0))

    @cached_property
    def known_fractions(self) -> dict[int, Array]:
        """Fraction of known cells by the half width of the neighbourhood."""
        known = self.known.astype(np.float32)
        return {width: window_mean(known, width, self.cell) for width in WIDTHS}

    def change(self, lag: int) -> Change | None:
        """Return an earlier frame, by its lag, and the latest; None without a frame of that age. The last is kept."""
        if lag not in self._kept:
            self._kept.clear()
            self._kept[lag] = self._change(lag)
        return self._kept[lag]

    @cached_property
    def _kept(self) -> dict[int, Change | None]:
        return {}

    @cached_property
    def u_v(self) -> tuple[Array, Array]:
        """Motion along x and y, m s-1, shape ``(y, x)`` each."""
        u, v = (self.motion[name].transpose("y", "x").values for name in ("u", "v"))
        return u, v

    def mean(self, values: Array, width: int) -> Array:
        """Return the mean over the known cells of a neighbourhood, of values that are 0 in unknown cells."""
        fraction = self.known_fractions[width]
        return np.where(fraction < _LEAST_KNOWN, _NAN, known_mean(values, fraction, width, self.cell))

    def _change(self, lag: int) -> Change | None:
        earlier, minutes = earlier_frame(self.recent, lag)
        if earlier is None:
            return None
        advected = advect(earlier, self.motion, [np.timedelta64(round(minutes), "m")]).values[0]
        both = np.isfinite(advected) & self.known
        before, after = (np.where(both, values, np.float32(0)) for values in (decibels(advected), self.decibels))
        return Change(before, after, both.astype(np.float32), minutes)


def earlier_frame(recent: xr.DataArray, lag: float) -> tuple[xr.DataArray | None, float]:
    """Return the frame closest to `lag` min before the last time, and its age (min).

    Frames without any value are passed over, and so are those younger than half of `lag` or older than 1.6 of it; if no
    frame is left, the result is None and NaN.
    """
    ages = (recent["time"].values[-1] - recent["time"].values) / MINUTE
    order = np.argsort(np.abs(ages - lag), kind="stable")
    for k in order:
        if 0.5 * lag <= ages[k] <= 1.6 * lag and np.isfinite(recent.values[k]).any():
            return recent.isel(time=int(k)), float(ages[k])
    return None, np.nan


# --- neighbourhoods of the departure point ----------------------------------------------------------------------


def _rate(radar: RadarFields) -> Array:
    return radar.decibels


def _mean(radar: RadarFields, width: int) -> Array:
    return radar.mean(radar.filled, width)


def _wet_fraction(radar: RadarFields, threshold: float, width: int) -> Array:
    return radar.mean((radar.latest >= np.float32(threshold)).astype(np.float32), width)


def _maximum(radar: RadarFields, width: int) -> Array:
    return np.asarray(ndimage.maximum_filter(radar.filled, window_size(width, radar.cell), mode="nearest"))


def _neighbourhood_predictors() -> Iterator[Predictor[RadarFields]]:
    yield _at_departure("rate", "dB", "rain rate, decibels above 0.1 mm/h, NaN where unknown", _rate, outside="nan")
    for width in WIDTHS:
        yield _at_departure(f"mean_{width}", "dB", f"mean within {width} km", partial(_mean, width=width))
        for wet in WET:
            meaning = f"fraction of cells with {wet:g} mm/h or more within {width} km"
            fraction = partial(_wet_fraction, threshold=wet, width=width)
            yield _at_departure(f"wet_{wet:g}_{width}", "1", meaning, fraction, transform="logit")
    for width in MAXIMA:
        yield _at_departure(f"max_{width}", "dB", f"maximum within {width} km", partial(_maximum, width=width))


# --- growth and decay, and the success of the motion ------------------------------------------------------------


def _tendency(radar: RadarFields, lag: int, width: int) -> Array:
    change = radar.change(lag)
    if change is None:
        return np.full_like(radar.latest, np.nan)
    fraction = window_mean(change.known, width, radar.cell)
    tendency = known_mean(change.after - change.before, fraction, width, radar.cell) * np.float32(10 / change.minutes)
    return np.where(fraction < _LEAST_COMPARED, _NAN, tendency)


def _skill(radar: RadarFields, lag: int) -> Array:
    change = radar.change(lag)
    if change is None:
        return np.full_like(radar.latest, np.nan)
    return local_correlation(change.before, change.after, change.known, SKILL_WIDTH, radar.cell)


def _change_predictors() -> Iterator[Predictor[RadarFields]]:
    for lag in LAGS:
        for width in TENDENCY_WIDTHS:
            meaning = f"change of the mean within {width} km along the track in the last {lag} min"
            tendency = partial(_tendency, lag=lag, width=width)
            yield _at_departure(f"tendency_{lag}_{width}", "dB per 10 min", meaning, tendency)
        meaning = f"correlation with the frame of {lag} min ago, advected to the issue time, within {SKILL_WIDTH} km"
        yield _at_departure(f"skill_{lag}", "1", meaning, partial(_skill, lag=lag))


# --- coverage and motion ----------------------------------------------------------------------------------------


def _known_fraction(radar: RadarFields, width: int) -> Array:
    return radar.known_fractions[width]


def _distance_to_unknown(radar: RadarFields) -> Array:
    """Return the distance to the nearest unknown cell or edge, km; negative outside the coverage."""
    padded = np.pad(radar.known, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=radar.cell)[1:-1, 1:-1]
    if radar.known.any():
        outside = ndimage.distance_transform_edt(~radar.known, sampling=radar.cell)
    else:
        outside = np.full(radar.known.shape, FARTHEST)
    return np.asarray(np.clip(inside - outside, -FARTHEST, FARTHEST), np.float32)


def _speed(radar: RadarFields) -> Array:
    return np.hypot(*radar.u_v).astype(np.float32)


def _divergence(radar: RadarFields) -> Array:
    u, v = radar.u_v
    dy, dx = metres_per_cell(radar.motion)
    along_x = np.gradient(u, axis=1) / dx if u.shape[1] > 1 else np.zeros_like(u)
    along_y = np.gradient(v, axis=0) / dy if u.shape[0] > 1 else np.zeros_like(u)
    return np.asarray(np.clip((along_x + along_y) * np.float32(3600), -5, 5), np.float32)


def _coverage_and_motion_predictors() -> Iterator[Predictor[RadarFields]]:
    for width in (16, 64):
        meaning = f"fraction of cells that the radar covers within {width} km"
        yield _at_departure(f"known_{width}", "1", meaning, partial(_known_fraction, width=width))
    meaning = "distance to the nearest cell without radar data, negative outside the coverage"
    yield _at_departure("inflow", "km", meaning, _distance_to_unknown, outside="distance")
    yield _at_departure("speed", "m s-1", "speed of the motion", _speed)
    yield _at_departure("divergence", "h-1", "divergence of the motion", _divergence)


# --- fields of the issue time at other points -------------------------------------------------------------------


def _displaced_predictors() -> Iterator[Predictor[RadarFields]]:
    sides: dict[Kind, str] = {
        "ahead": "ahead of the departure point",
        "behind": "behind the departure point",
        "left": "across the track, towards higher rows where the track runs towards higher columns",
        "right": "across the track, on the other side",
    }
    for kind, words in sides.items():
        meaning = f"mean within 4 km of the point {ASIDE:g} km {words}"
        yield Predictor(f"{kind}_4", "dB", "radar", kind, meaning, field="mean_4")


def _target_predictors() -> Iterator[Predictor[RadarFields]]:
    for width in (8, 32):
        meaning = f"mean within {width} km of the target cell at the issue time"
        yield Predictor(f"here_mean_{width}", "dB", "radar", "target", meaning, field=f"mean_{width}")
    meaning = "fraction of cells with 1 mm/h or more within 16 km of the target cell at the issue time"
    yield Predictor("here_wet_1_16", "1", "radar", "target", meaning, field="wet_1_16", transform="logit")


# --- the scale filter at the lead times -------------------------------------------------------------------------


def _filtered(radar: RadarFields) -> Array:
    return radar.filtered


def _filtered_mean(radar: RadarFields, width: int) -> Array:
    return np.stack([_mean_of_known(field, width, radar.cell) for field in radar.filtered])


def _mean_of_known(field: Array, width: int, cell: Cell) -> Array:
    """Return the mean over the known cells of a neighbourhood; NaN where hardly any is known."""
    known = np.isfinite(field)
    fraction = window_mean(known.astype(np.float32), width, cell)
    mean = known_mean(np.where(known, field, np.float32(0)), fraction, width, cell)
    return np.where(fraction < _LEAST_COMPARED, _NAN, mean)


def _filter_predictors() -> Iterator[Predictor[RadarFields]]:
    meaning = "rain of the scale filter at the valid time, dB of 1 mm/h"
    yield Predictor("filter", "dB", "radar", "lead", meaning, _filtered)
    meaning = "mean rain of the scale filter within 8 km of the target cell at the valid time, dB of 1 mm/h"
    yield Predictor("filter_8", "dB", "radar", "lead", meaning, partial(_filtered_mean, width=8))


# --- declaration ------------------------------------------------------------------------------------------------


def _at_departure(
    name: str,
    units: str,
    meaning: str,
    compute: Callable[[RadarFields], Array],
    *,
    transform: Transform = "none",
    outside: Outside = "nearest",
) -> Predictor[RadarFields]:
    """Declare a predictor whose field is sampled at the departure point."""
    return Predictor(name, units, "radar", "departure", meaning, compute, transform=transform, outside=outside)


PREDICTORS: tuple[Predictor[RadarFields], ...] = (
    *_neighbourhood_predictors(),
    *_change_predictors(),
    *_coverage_and_motion_predictors(),
    *_displaced_predictors(),
    *_target_predictors(),
    *_filter_predictors(),
)
"""Predictors from radar, in the order of their columns."""
