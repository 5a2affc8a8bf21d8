"""Predictors from numerical weather prediction (NWP): fields at the valid times of a forecast, on the radar's grid.

All are computed from the runs passed in and from radar up to the issue time, and are NaN where unknown. At each valid
time, a variable is taken from the newest run that has any value of it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from hybridcast.core.grid import cell_kilometres, decibels, known_mean, local_correlation, window_mean, window_size
from hybridcast.core.types import HOUR, Array, Cell, Mask
from hybridcast.nwp.displacement import estimate_displacement
from hybridcast.nwp.schema import CAPE, HUMIDITY, RATE, WIND, sort_newest_first
from hybridcast.predictors.predictor import Predictor, Transform

#: Half widths of the neighbourhoods of means, km.
MEANS = (8, 32)
#: Thresholds (mm/h) and half widths (km) of wet fractions.
WET = ((0.1, 32), (1.0, 8), (1.0, 32))
#: Half width of the neighbourhoods of maxima, km.
MAXIMUM_WIDTH = 16
#: Half width of the neighbourhood in which the error at the issue time is averaged, km.
ERROR_WIDTH = 32
#: Half width of the neighbourhood of correlations with the radar, km.
SKILL_WIDTH = 64
#: Threshold (mm/h) and half width (km) of the rain that is counted in the fraction of the runs.
ENSEMBLE = (1.0, 8)
#: Time before the issue time in which NWP is compared with radar.
PAST = np.timedelta64(60, "m")

_NAN = np.float32(np.nan)
#: Means over windows with a smaller fraction of known cells are NaN.
_LEAST_KNOWN = 1e-2


@dataclass(frozen=True)
class RadarComparison:
    """NWP rain compared with radar up to the issue time, shape ``(y, x)``; NaN where either is unknown."""

    skill: Array
    """Correlation of the mean rain of the last hour."""
    error: Array
    """Decibels of NWP minus decibels of radar at the latest frame."""
    displacement: Array
    """Distance between the rain of NWP and of radar at the latest frame, km."""
    shift: Array
    """Shift that brings NWP rain onto the radar's, km, x first, shape ``(2, y, x)``; zero where unknown."""


@dataclass(frozen=True)
class NwpFields:
    """NWP fields at one valid time, and intermediate fields that several predictors share."""

    runs: xr.Dataset
    """NWP fields on the radar's grid, newest run first."""
    time: np.datetime64
    """Valid time."""
    cell: Cell
    """Size of a cell, km, ``(y, x)``."""
    comparison: RadarComparison
    """Comparison with radar up to the issue time."""

    @cached_property
    def newest_rate(self) -> tuple[Array, float]:
        """Rain rates of the newest run that has any (mm/h), and the hours since that run's start."""
        return _newest_at(self.runs, RATE, self.time)

    @property
    def rate(self) -> Array:
        """Rain rates of the newest run that has any, mm/h."""
        return self.newest_rate[0]

    @cached_property
    def known(self) -> Mask:
        """Cells with a known rain rate."""
        return np.isfinite(self.rate)

    @cached_property
    def decibels(self) -> Array:
        """Rain rates in decibels above 0.1 mm/h, NaN where unknown."""
        return decibels(self.rate)

    @cached_property
    def known_fractions(self) -> dict[int, Array]:
        """Fraction of known cells by the half width of the neighbourhood."""
        known = self.known.astype(np.float32)
        return {width: window_mean(known, width, self.cell) for width in {*MEANS, *(width for _, width in WET)}}

    @cached_property
    def means(self) -> dict[int, Array]:
        """Mean decibels by the half width of the neighbourhood."""
        filled = np.where(self.known, self.decibels, np.float32(0))
        return {width: self.mean(filled, width) for width in MEANS}

    def mean(self, values: Array, width: int) -> Array:
        """Return the mean over the known cells of a neighbourhood, of values that are 0 in unknown cells."""
        fraction = self.known_fractions[width]
        return _nan_where_unknown(known_mean(values, fraction, width, self.cell), fraction)

    def newest(self, name: str) -> Array:
        """Return a variable of the newest run that has any value of it."""
        return _newest_at(self.runs, name, self.time)[0]


# --- rain -------------------------------------------------------------------------------------------------------


def _rate(nwp: NwpFields) -> Array:
    return nwp.decibels


def _mean(nwp: NwpFields, width: int) -> Array:
    return nwp.means[width]


def _wet_fraction(nwp: NwpFields, threshold: float, width: int) -> Array:
    return nwp.mean((nwp.rate >= threshold).astype(np.float32), width)


def _maximum(nwp: NwpFields) -> Array:
    filled = np.where(nwp.known, nwp.decibels, -np.inf)
    highest = ndimage.maximum_filter(filled, window_size(MAXIMUM_WIDTH, nwp.cell), mode="nearest")
    return np.where(np.isfinite(highest), highest, np.nan).astype(np.float32)


def _fraction_of_runs(nwp: NwpFields) -> Array:
    """Return the fraction of the runs known in a cell that have rain near it."""
    rates = _all_at(nwp.runs, RATE, nwp.time)
    threshold, width = ENSEMBLE
    known = np.isfinite(rates)
    size = (1, *window_size(width, nwp.cell))
    near = ndimage.maximum_filter((known & (rates >= threshold)).astype(np.uint8), size, mode="nearest")
    count = known.sum(axis=0)
    fraction = (near * known).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, fraction, np.nan).astype(np.float32)


def _shifted_mean(nwp: NwpFields) -> Array:
    return _shift_field(nwp.means[8], nwp.comparison.shift, nwp.cell)


def _shift_field(field: Array, shift: Array, cell: Cell) -> Array:
    """Move a field by a shift in km; cells whose values would come from outside or from the unknown are NaN."""
    rows, columns = np.indices(field.shape, dtype=np.float32)
    origin = rows - shift[1] / np.float32(cell[0]), columns - shift[0] / np.float32(cell[1])
    moved: Array = ndimage.map_coordinates(field, origin, order=1, mode="constant", cval=np.nan, output=np.float32)
    return moved


def _error(nwp: NwpFields) -> Array:
    return nwp.comparison.error


def _skill(nwp: NwpFields) -> Array:
    return nwp.comparison.skill


def _displacement(nwp: NwpFields) -> Array:
    return nwp.comparison.displacement


def _lead(nwp: NwpFields) -> Array:
    return np.full_like(nwp.rate, nwp.newest_rate[1])


def _rain_predictors() -> Iterator[Predictor[NwpFields]]:
    yield _declare("nwp_rate", "dB", "rain rate of NWP, decibels above 0.1 mm/h", _rate)
    for width in MEANS:
        yield _declare(f"nwp_mean_{width}", "dB", f"mean of NWP rain within {width} km", partial(_mean, width=width))
    for wet, width in WET:
        meaning = f"fraction of cells with {wet:g} mm/h or more within {width} km in NWP"
        fraction = partial(_wet_fraction, threshold=wet, width=width)
        yield _declare(f"nwp_wet_{wet:g}_{width}", "1", meaning, fraction, transform="logit")
    yield _declare("nwp_max_16", "dB", "maximum of NWP rain within 16 km", _maximum)
    # a fraction too, but its logit makes the calibrated NWP member no better: with regions left out, its log score
    # changes by -0.1 to 0 % up to 5 mm/h, and by 1 % for the worse at 10 mm/h
    meaning = "fraction of the NWP runs with 1 mm/h or more within 8 km"
    yield _declare("nwp_ensemble", "1", meaning, _fraction_of_runs, transform="none")
    meaning = "mean of NWP rain within 8 km, moved by the displacement estimated at the issue time"
    yield _declare("nwp_shifted", "dB", meaning, _shifted_mean)
    yield _declare("nwp_error_32", "dB", "NWP minus radar at the latest frame, mean within 32 km", _error)
    meaning = "correlation of NWP and radar in the mean rain of the last hour, within 64 km"
    yield _declare("nwp_skill_64", "1", meaning, _skill)
    yield _declare("nwp_displacement", "km", "distance of NWP rain from radar rain at the issue time", _displacement)
    yield _declare("nwp_lead", "h", "valid time minus the start of the NWP run", _lead)


# --- wind, humidity and instability -----------------------------------------------------------------------------


def _wind_speed(nwp: NwpFields) -> Array:
    return np.asarray(np.hypot(*(nwp.newest(name) for name in WIND)))


def _humidity(nwp: NwpFields) -> Array:
    return nwp.newest(HUMIDITY)


def _cape(nwp: NwpFields) -> Array:
    return nwp.newest(CAPE)


def _other_predictors() -> Iterator[Predictor[NwpFields]]:
    yield _declare("nwp_wind_speed", "m s-1", "wind speed of NWP", _wind_speed, needs=WIND)
    yield _declare("nwp_humidity", "1", "relative humidity of NWP", _humidity, needs=(HUMIDITY,))
    yield _declare("nwp_cape", "J kg-1", "convective available potential energy of NWP", _cape, needs=(CAPE,))


# --- declaration ------------------------------------------------------------------------------------------------


def _declare(
    name: str,
    units: str,
    meaning: str,
    compute: Callable[[NwpFields], Array],
    *,
    needs: tuple[str, ...] = (RATE,),
    transform: Transform = "none",
) -> Predictor[NwpFields]:
    return Predictor(name, units, "nwp", "lead", meaning, compute, needs=needs, transform=transform)


PREDICTORS: tuple[Predictor[NwpFields], ...] = (*_rain_predictors(), *_other_predictors())
"""Predictors from NWP, in the order of their columns."""


# --- computation ------------------------------------------------------------------------------------------------


def nwp_field_times(recent: xr.DataArray, lead_times: ArrayLike) -> NDArray[np.datetime64]:
    """Return the times at which `compute_nwp_predictors` needs NWP fields: frames of the last hour, and valid times.

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
    """Compute the predictors from NWP on the radar's grid.

    Parameters
    ----------
    nwp_on_grid
        NWP runs that were available at the issue time, at the times of `nwp_field_times`, as returned by
        `hybridcast.nwp.regrid_to_radar`; or None.
    recent
        Precipitation field up to the issue time, its last time, on cells of about 2 km.
    lead_times
        ``timedelta64``, shape ``(lead,)``.

    Returns
    -------
    dict
        Fields by name of the predictor: float32, shape ``(lead, y, x)``, NaN where unknown.
    """
    valid = recent["time"].values[-1] + np.asarray(lead_times, "timedelta64[ns]")
    shape = (valid.size, recent.sizes["y"], recent.sizes["x"])
    fields = {predictor.name: np.full(shape, np.nan, np.float32) for predictor in PREDICTORS}
    if nwp_on_grid is None or not nwp_on_grid.sizes["reference_time"]:
        return fields
    runs = sort_newest_first(nwp_on_grid)
    cell = cell_kilometres(recent)
    comparison = _compare_with_radar(runs, recent, cell)
    computable = [predictor for predictor in PREDICTORS if set(predictor.needs) <= set(runs.data_vars)]
    for k, time in enumerate(valid):
        nwp = NwpFields(runs, time, cell, comparison)
        for predictor in computable:
            fields[predictor.name][k] = predictor(nwp)
    return fields


def _newest_at(runs: xr.Dataset, name: str, time: np.datetime64) -> tuple[Array, float]:
    """Return a variable of the newest run that has any value at one time, and the hours since that run's start."""
    for run, values in zip(runs["reference_time"].values, _all_at(runs, name, time), strict=False):
        if np.isfinite(values).any():
            return values, float((time - run) / HOUR)
    return np.full((runs.sizes["y"], runs.sizes["x"]), np.nan, np.float32), np.nan


def _all_at(runs: xr.Dataset, name: str, time: np.datetime64) -> Array:
    """Return a variable of all runs at one time, ``(run, y, x)``; no run if the time is not among theirs."""
    at = np.flatnonzero(runs["time"].values == time)
    if not at.size:
        return np.empty((0, runs.sizes["y"], runs.sizes["x"]), np.float32)
    return np.asarray(runs[name].values[:, at[0]], np.float32)


# --- comparison with radar --------------------------------------------------------------------------------------


def _compare_with_radar(runs: xr.Dataset, recent: xr.DataArray, cell: Cell) -> RadarComparison:
    """Compare the newest NWP rain with radar in the last hour and at the latest frame that holds any value."""
    values = recent.values
    unknown, no_shift = np.full(values.shape[1:], _NAN), np.zeros((2, *values.shape[1:]), np.float32)
    frames = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    if RATE not in runs or not frames.size:
        return RadarComparison(unknown, unknown, unknown, no_shift)
    skill = _recent_skill(runs, recent, cell)
    radar, time = values[frames[-1]], recent["time"].values[frames[-1]]
    nwp, _ = _newest_at(runs, RATE, time)
    both = np.isfinite(nwp) & np.isfinite(radar)
    if not both.any():
        return RadarComparison(skill, unknown, unknown, no_shift)
    shift = estimate_displacement(nwp, radar, cell)
    known_fraction = window_mean(both.astype(np.float32), SKILL_WIDTH, cell)
    displacement = _nan_where_unknown(np.hypot(*shift), known_fraction)
    return RadarComparison(skill, _mean_error(nwp, radar, cell), displacement, shift)


def _mean_error(nwp: Array, radar: Array, cell: Cell) -> Array:
    """Average the difference of the decibels over the cells known in both, within `ERROR_WIDTH`."""
    both = np.isfinite(nwp) & np.isfinite(radar)
    fraction = window_mean(both.astype(np.float32), ERROR_WIDTH, cell)
    error = np.where(both, decibels(nwp) - decibels(radar), np.float32(0))
    return _nan_where_unknown(known_mean(error, fraction, ERROR_WIDTH, cell), fraction)


def _recent_skill(runs: xr.Dataset, recent: xr.DataArray, cell: Cell) -> Array:
    """Correlate the mean rain of the last hour, because NWP rates are means over steps that often last an hour."""
    times = recent["time"].values
    total = np.zeros((2, *recent.shape[1:]), np.float32)
    count = np.zeros(recent.shape[1:], np.float32)
    for k in np.flatnonzero(times > times[-1] - PAST):
        pair = np.stack([_newest_at(runs, RATE, times[k])[0], recent.values[k]])
        both = np.isfinite(pair).all(axis=0)
        total += np.where(both, pair, np.float32(0))
        count += both
    known = (count > 0).astype(np.float32)
    nwp, radar = (decibels(mean) for mean in total / np.maximum(count, np.float32(1)))
    return local_correlation(nwp * known, radar * known, known, SKILL_WIDTH, cell)


def _nan_where_unknown(values: Array, known_fraction: Array) -> Array:
    return np.where(known_fraction < _LEAST_KNOWN, _NAN, values)
