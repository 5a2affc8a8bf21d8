"""Members of an ensemble from the scale filter, without a trained model, by the idea of STEPS.

In STEPS (Bowler et al. 2006, doi:10.1256/qj.04.100) each member is the filtered field, in which every band of scales
has lost the variance that is unpredictable at the lead time, plus noise of that variance. Thus rain in decibels is
Gaussian at every cell: its mean is the filtered field, its variance the sum of what the bands have lost. The members
here are samples of this distribution. Three things differ from STEPS:

1. The variance of a band is that in the surroundings of a cell, some wavelengths wide, and not that of the whole field.
   So there is little noise where no rain is near. (In pysteps, a mask keeps rain near that of the latest frame.)
2. The threshold in decibels that counts as a rain rate is such that the mean probability over the field is the fraction
   of the latest frame with this rate: members together, and not every single one, have the distribution of that frame.
3. The variance is larger than what the bands have lost, because the AR processes expect smaller errors than occur.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import dask.array as da
import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import add_ensemble
from hybridcast.core.grid import cell_size
from hybridcast.core.types import Array, Doubles, LeadTimes, Mask
from hybridcast.ensembles.noise import MemberCount
from hybridcast.ensembles.realizations import departures_at_nodes, equal_members, origins_of_noise, realize
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.nowcasters.base import ChoosesMembers
from hybridcast.nowcasters.scale_filter import (
    PreparedFilter,
    apply_filter,
    filter_lagrangian,
    filtered_forecast,
    prepare_filter,
)
from hybridcast.settings import ScaleFilterSettings
from hybridcast_kernels import scales_cpu as kernels
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes

#: Rain rates at which the distribution of a cell is computed, mm h-1.
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
#: Standard deviation of the Gaussian window in which the variance of a band is averaged, in wavelengths.
WINDOW = 0.35
#: Factor of the lost variance: forecasts err more than an AR process expects, also because the motion errs.
VARIANCE_FACTOR = np.float32(1.5)
#: Lowest standard deviation of a forecast, dB.
LEAST_DEVIATION = 0.2
#: Number of cells from one departure point to the next; those between are interpolated.
DEPARTURE_STEP = 4
#: Number of cells from which the thresholds in decibels are determined.
MATCHED_CELLS = 20_000
#: Halvings of the interval in which a threshold in decibels is sought.
HALVINGS = 24


@dataclass(frozen=True)
class ScaleFilterEnsemble(ChoosesMembers):
    """Scale filter with an ensemble, see `hybridcast.nowcasters.scale_filter_ensemble`.

    The deterministic field is that of `ScaleFilter`. If it falls back to advection, because the frames are not
    sufficient for an AR process, all members are equal.
    """

    motion: MotionMethod = field(default_factory=DenseFlow)
    """Motion method."""
    settings: ScaleFilterSettings = field(default_factory=ScaleFilterSettings)
    """Settings of the filter."""
    members: int = 20
    """Number of members."""
    seed: int = 0
    """Seed of the members."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return f"scale filter ensemble ({self.motion.name})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames, with the motion `u` and `v`, and the members.

        See `hybridcast.nowcasters.base.Nowcaster`.
        """
        leads = check_lead_times(lead_times)
        motion = self.motion.estimate(recent)
        prepared = prepare_filter(recent, motion, leads, self.settings)
        fields = np.empty(prepared.shape, np.float32)  # the members keep them
        filtered = apply_filter(recent, prepared, self.settings, fields)
        result = filtered_forecast(self.name, recent, motion, leads, filtered)
        count = MemberCount(self.members, self.seed)
        members = _members(recent, prepared, fields, filtered.rate, count)
        return add_ensemble(result, members, rate_is_mean=False)


def scale_filter_members(
    recent: xr.DataArray,
    motion: xr.Dataset,
    leads: LeadTimes,
    known: Array,
    count: MemberCount,
    settings: ScaleFilterSettings,
) -> da.Array:
    """Return the members of an ensemble from the scale filter.

    Parameters
    ----------
    recent
        Checked precipitation field of recent frames.
    motion
        Motion `u` and `v` in m s-1 on the same grid.
    leads
        Lead times from the last time of `recent`.
    known
        Field that all members are without an AR process, and that is NaN where they are to be NaN, mm h-1,
        ``(lead, y, x)``.
    count
        Number of members, and seed.
    settings
        Settings of the filter.

    Returns
    -------
    dask.array.Array
        mm h-1, shape ``(realization, lead, y, x)``, one chunk for each lead time.
    """
    prepared = prepare_filter(recent, motion, leads, settings)
    fields = np.empty(prepared.shape, np.float32)
    if prepared.selection.steps:
        filter_lagrangian(prepared, settings, fields)
    return _members(recent, prepared, fields, known, count)


def _members(
    recent: xr.DataArray, prepared: PreparedFilter, fields: Array, known: Array, count: MemberCount
) -> da.Array:
    """Return the members from the filtered fields; all are `known` if the frames are insufficient for an AR process."""
    if not prepared.selection.steps:
        return equal_members(known, count.members)
    curves = _curves(prepared, fields, cell_size(recent) / 1e3)
    return realize(curves, THRESHOLDS, recent, prepared.paths.minutes, (known, known), count)


@dataclass(frozen=True, eq=False)
class _FilterPlanes:
    """Exceedance probabilities and departures at the lead times; an object, so that members can be pickled."""

    fields: Array
    """Filtered fields, dB of 1 mm/h, ``(lead, y, x)``."""
    lost: Array
    """Result of `lost_variance`, ``(lead, level)``."""
    local: Array
    """Result of `local_variances`, ``(level, y, x)``."""
    known: Mask
    """Cells that the latest frame knows, ``(y, x)``."""
    fractions: list[float]
    """Fraction of these cells that reach each threshold."""
    places: Nodes
    departures: Array
    """Row and column that air comes from, ``(lead, 2, y, x)``."""
    origins: Array
    """Row and column that noise comes from, ``(lead, 2, y, x)``."""

    def __call__(self, lead: int) -> CurvePlanes:
        lost = np.tensordot(self.lost[lead], self.local, axes=1)
        deviation = np.sqrt(VARIANCE_FACTOR * lost + np.float32(LEAST_DEVIATION**2))
        air = exceedance(self.fields[lead], deviation, self.known, self.fractions)
        return CurvePlanes(air, None, Nodes(1, 0.0), self.departures[lead], self.origins[lead], self.places)


def _curves(prepared: PreparedFilter, fields: Array, cell: float) -> _FilterPlanes:
    """Return the function that gives probabilities and departures at a lead time, for cells of a size in km."""
    known = np.isfinite(prepared.latest)
    places = Nodes(DEPARTURE_STEP, 0.0)
    shape = tuple(-(-size // DEPARTURE_STEP) for size in prepared.latest.shape)
    departures = departures_at_nodes(prepared.paths.flow, prepared.paths.minutes, places, (shape[0], shape[1]))
    return _FilterPlanes(
        fields=fields,
        lost=lost_variance(prepared),
        local=local_variances(prepared, cell),
        known=known,
        fractions=[float((prepared.latest[known] >= np.float32(rate)).mean()) for rate in THRESHOLDS],
        places=places,
        departures=departures,
        origins=origins_of_noise(departures, places, cell),
    )


def lost_variance(prepared: PreparedFilter) -> Array:
    """Return the fraction of the variance of each band that the filtered field lacks, ``(lead, level)``."""
    grid, weights = prepared.cascade.grid, prepared.weights.astype(np.float64)
    spectra = prepared.spectra
    covariance = np.array([[kernels.radial_covariance(a, b, grid) for b in spectra] for a in spectra])
    kept = np.einsum("lir,ljr,ijr->lr", weights, weights, covariance)
    squares = prepared.cascade.weights[:, 1:] ** 2
    ratio = (kept[:, 1:] @ squares.T) / np.maximum(squares @ covariance[0, 0, 1:], 1e-12)
    lost: Array = np.clip(1 - ratio, 0, 1).astype(np.float32)
    return lost


def local_variances(prepared: PreparedFilter, cell: float) -> Array:
    """Return the variance of each band in the surroundings of every cell of the latest frame, dB2, ``(level, y, x)``.

    `cell` is the size of a cell, km.
    """
    rows, columns = prepared.latest.shape
    cascade = prepared.cascade
    found = np.empty((len(cascade.weights), rows, columns), np.float32)
    for level, (weight, wavelength) in enumerate(zip(cascade.weights, cascade.wavelength, strict=True)):
        radial = weight.astype(np.float32) * (np.arange(weight.size) > 0)
        band = scipy.fft.irfft2(prepared.spectra[0] * radial[cascade.grid.bins], cascade.grid.padded)[:rows, :columns]
        found[level] = smooth(band**2, WINDOW * wavelength / (1000 * cell))
    return found


def smooth(image: Array, deviation: float) -> Array:
    """Smooth by a Gaussian with a standard deviation in cells; the field is mirrored at its edges."""
    waves = [np.pi * np.arange(size) / size for size in image.shape]
    response = [np.exp(-0.5 * (wave * deviation) ** 2).astype(np.float32) for wave in waves]
    spectrum = scipy.fft.dctn(image) * response[0][:, None] * response[1]
    smoothed: Array = np.maximum(scipy.fft.idctn(spectrum), 0)
    return smoothed


def exceedance(mean: Array, deviation: Array, known: NDArray[np.bool_], fractions: list[float]) -> Array:
    """Return exceedance probabilities, ``(threshold, y, x)``, whose means over the known cells are `fractions`."""
    every = max(1, known.sum() // MATCHED_CELLS)
    sample, spread = mean[known][::every].astype(np.float64), deviation[known][::every].astype(np.float64)
    found = np.empty((len(fractions), *mean.shape), np.float32)
    for k, fraction in enumerate(fractions):
        found[k] = ndtr((mean - np.float32(matched_threshold(sample, spread, fraction))) / deviation)
    filled: Array = np.nan_to_num(found)
    return filled


def matched_threshold(mean: Doubles, deviation: Doubles, fraction: float) -> float:
    """Return the value that Gaussian distributions exceed with a given mean probability."""
    low, high = float((mean - 8 * deviation).min()), float((mean + 8 * deviation).max())
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if ndtr((mean - middle) / deviation).mean() > fraction else (low, middle)
    return 0.5 * (low + high)
