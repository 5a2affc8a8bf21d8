"""Additive statistics of forecast and observation: cases add up in any order, and scores are computed last.

Every statistic is a sum over one mask: the points known to the observation, to the forecast and, by `valid`, to all
nowcasters that are compared (`common_mask`). An unknown point never counts, neither as wet nor as dry.

**At equal wet area** each frame of the forecast is judged as if it had as many wet points as a reference forecast, the
plain advection: its n highest values are its wet points, with n counted on the same mask. So a bias cannot improve a
score. Where several points share the value at the cut (often dry ones), each counts with the same fraction, which is
the average of drawing among them.

**The fractions skill score** compares the fraction of wet cells in windows (Roberts and Lean, 2008,
doi:10.1175/2007MWR2123.1). There is one window around each valid point. The events on its valid points are divided by
all cells of the window: cells beyond the edge of the grid or of the mask are events of neither field. A window of which
only a part is valid therefore counts with the square of that part. On a field without gaps this is the rule of pysteps;
`window_fraction` is the valid part of the windows. A window reaches ``floor(scale / 2 / spacing)`` cells from its
centre to each side, where 5 % of these (half a cell at most) may lack to a whole number.

**Spectra** are those of the rates on the mask, zero elsewhere in forecast and observation alike, in octaves of the
wavelength.

**Members** are judged on cells and on blocks, as `hybridcast.verification.members` describes, one lead time at a
time: a lazy ensemble is computed chunk by chunk. Observations that equal members, such as dry ones, count in equal
parts in the ranks that they share. `rank_deviation` is the squared deviation of a case's counts from a flat histogram:
its root over many cases is the deviation that comes from sampling, however much the points of a case depend on each
other.

**Probabilities** are counted in bins centred at 0, 0.05, ..., 1. The bins hold the probabilities of an ensemble of 20
and the 0 and 1 of a deterministic forecast exactly; sums of squares make the Brier score exact for all others.

To add a score: declare the statistics that it needs in `STATISTICS`, compute them in `_Frame.compute`, increment
`STATISTICS_VERSION`, and add the score to `hybridcast.verification.scores`, with tests of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import fft

from hybridcast.core.field import RATE, check_same_grid
from hybridcast.core.forecast_schema import DIMS, ENSEMBLE, PROBABILITY
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.types import Array, Doubles, LeadTimes, Mask
from hybridcast.ensembles.products import exceeding_fraction
from hybridcast.errors import InputError
from hybridcast.verification.members import CELL, ensemble_statistics
from hybridcast_kernels import verification_cpu as kernels

STATISTICS_VERSION = 2
"""Version of the statistics; increment it when they change, so that stored ones are computed again."""
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Rate thresholds, mm h-1."""
FSS_SCALES = (1.0, 5.0, 10.0, 20.0, 40.0)
"""Sides of the windows of the fractions skill score, km."""
PROBABILITY_BINS = 21
"""Number of bins of probability, centred at 0, 0.05, ..., 1."""
OCTAVES = tuple(2.0**k for k in range(1, 10))
"""Edges of the bands of wavelength, km."""

# --- declaration ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statistic:
    """Declaration of one additive statistic. All are float64 and have the dim ``lead_time`` beside their own."""

    name: str
    dims: tuple[str, ...]
    """Dims beside ``lead_time``, in their order."""
    meaning: str
    """One sentence; sums are over the valid points of a case."""
    needs: Literal["", "scales", "spectra", "reference", "members"] = ""
    """Argument of `compute_statistics`, or part of the forecast, without which the statistic is absent."""


_AT_THRESHOLD = ("threshold",)
_BY_WINDOW = ("scale", "threshold")
_BY_BIN = ("threshold", "probability_bin")
_BY_BLOCK = ("block",)
_BY_RANK = ("block", "rank")

STATISTICS: dict[str, Statistic] = {
    statistic.name: statistic
    for statistic in (
        Statistic("cases", (), "1 if any point is valid, otherwise 0."),
        Statistic("count", (), "Number of valid points."),
        Statistic("forecast", (), "Sum of the forecast rates, mm h-1."),
        Statistic("observed", (), "Sum of the observed rates, mm h-1."),
        Statistic("forecast_squared", (), "Sum of the squared forecast rates, (mm h-1)2."),
        Statistic("observed_squared", (), "Sum of the squared observed rates, (mm h-1)2."),
        Statistic("product", (), "Sum of forecast rate times observed rate, (mm h-1)2."),
        Statistic("absolute_error", (), "Sum of the absolute errors, mm h-1."),
        Statistic("hits", _AT_THRESHOLD, "Number of points where forecast and observation reach the threshold."),
        Statistic("misses", _AT_THRESHOLD, "Number of points where only the observation reaches the threshold."),
        Statistic("false_alarms", _AT_THRESHOLD, "Number of points where only the forecast reaches the threshold."),
        Statistic("hits_equal_area", _AT_THRESHOLD, "Hits at equal wet area.", "reference"),
        Statistic("misses_equal_area", _AT_THRESHOLD, "Misses at equal wet area.", "reference"),
        Statistic("false_alarms_equal_area", _AT_THRESHOLD, "False alarms at equal wet area.", "reference"),
        Statistic("bin_count", _BY_BIN, "Number of points with a probability in the bin."),
        Statistic("bin_events", _BY_BIN, "Number of these points where the observation reaches the threshold."),
        Statistic("bin_probability", _BY_BIN, "Sum of the probabilities in the bin."),
        Statistic("bin_probability_squared", _BY_BIN, "Sum of the squared probabilities in the bin."),
        Statistic("bin_probability_of_events", _BY_BIN, "Sum of the probabilities of the observed events in the bin."),
        Statistic("fraction_difference", _BY_WINDOW, "Sum of squared differences of the two wet fractions.", "scales"),
        Statistic("fraction_squares", _BY_WINDOW, "Sum of the squares of both wet fractions.", "scales"),
        Statistic("window_fraction", ("scale",), "Sum of the valid fractions of the windows.", "scales"),
        Statistic("forecast_power", ("wavelength",), "Power of the forecast rates, (mm h-1)2.", "spectra"),
        Statistic("observed_power", ("wavelength",), "Power of the observed rates, (mm h-1)2.", "spectra"),
        Statistic("member_power", ("wavelength",), "Mean power of the members, (mm h-1)2.", "members"),
        Statistic("ensemble_count", _BY_BLOCK, "Number of points known to all members.", "members"),
        Statistic("ensemble_members", _BY_BLOCK, "Sum of the numbers of members at these points.", "members"),
        Statistic("ensemble_error", _BY_BLOCK, "Sum of the mean absolute errors of the members, mm h-1.", "members"),
        Statistic("ensemble_spread", _BY_BLOCK, "Sum of half the mean distance of any two members, mm h-1.", "members"),
        Statistic("ensemble_fair_spread", _BY_BLOCK, "The same of two different members, mm h-1.", "members"),
        Statistic("ensemble_squared_error", _BY_BLOCK, "Sum of squared errors of the mean, (mm h-1)2.", "members"),
        Statistic(
            "ensemble_variance", _BY_BLOCK, "Sum of variances times (members + 1) / members, (mm h-1)2.", "members"
        ),
        Statistic("rank_count", _BY_RANK, "Number of observations with this rank among the members.", "members"),
        Statistic("rank_deviation", _BY_RANK, "Squared deviation of this number from a flat histogram.", "members"),
        Statistic("field_count", _BY_BLOCK, "1 if the blocks make up a field, otherwise 0.", "members"),
        Statistic("energy_error", _BY_BLOCK, "Mean distance of the members to the observed field, mm h-1.", "members"),
        Statistic("energy_spread", _BY_BLOCK, "Half the mean distance of two different members, mm h-1.", "members"),
        Statistic("variogram_error", _BY_BLOCK, "Mean squared error of the variogram, fair, mm h-1.", "members"),
    )
}
"""All statistics by name, in the order in which they are computed."""

BIN_QUANTITIES = ("count", "events", "probability", "probability_squared", "probability_of_events")
"""Quantities that are summed in bins of probability, in the order of the kernel; statistics are named ``bin_...``."""

# --- computation ----------------------------------------------------------------------------------------------


def compute_statistics(
    forecast: xr.Dataset,
    observed: xr.DataArray,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    scales: Sequence[float] = (),
    blocks: Sequence[float] = (),
    spectra: bool = False,
    valid: xr.DataArray | None = None,
    reference: xr.DataArray | None = None,
) -> xr.Dataset:
    """Compute the additive statistics of one forecast against the observation at its valid times.

    Parameters
    ----------
    forecast
        Dataset with `precipitation_rate`, dims ``("lead_time", "y", "x")``, and its valid `time`; at gauges the dims
        are ``("lead_time", "station")``. Probabilities are taken from `probability_of_exceedance` (with the additional
        dim `threshold`) or else from `precipitation_rate_ensemble` (with the additional dim `realization`); without
        both they are 0 and 1. Members are taken one lead time at a time, so that they may be lazy.
    observed
        Precipitation field with frames at the valid times. A lead time without a frame has statistics of zero.
    thresholds
        Rate thresholds, mm h-1, increasing.
    scales
        Sides of the windows of the fractions skill score, km; by default none. `FSS_SCALES` are the usual ones.
    blocks
        Sides of the blocks on which members are judged beside the cells, km; by default none.
        `hybridcast.verification.members.BLOCKS` are the usual ones.
    spectra
        Whether to compute power by wavelength.
    valid
        Boolean with the dims of the rate: the points to compare, the same ones for several nowcasters (see
        `common_mask`). By default all points known to forecast and observation; a point unknown to either never
        counts.
    reference
        `precipitation_rate` of the forecast whose wet area is used for the statistics at equal wet area; its unknown
        points are not wet.

    Returns
    -------
    Dataset
        The statistics that `STATISTICS` declares, with their dims and ``lead_time``; those that need something which
        is not given are absent. Coordinates: `threshold` (mm h-1), `scale` (km), `probability_bin` (centres),
        `wavelength` (geometric centres of the octaves, km), `block` (km, 0 for cells) and `rank`. All statistics of
        several cases can be added.

    Raises
    ------
    InputError
        If forecast and observation are not on the same grid, `thresholds` do not increase, or the forecast has
        probabilities, but not at all `thresholds`.
    """
    space = _shared_space(forecast, observed)
    dims = ("lead_time", *space)
    limits = _check_thresholds(thresholds)
    rate = _values(forecast[RATE], dims)
    truth = _observed_at_valid_times(forecast, observed, space)
    given = _given_probabilities(forecast, limits, dims)
    wanted = None if valid is None else valid.transpose(*dims).values
    wet_reference = None if reference is None else _values(reference, dims)
    plan = _Plan(
        limits.astype(np.float32),  # as rates are: 0.7 mm/h reaches a threshold of 0.7
        window_half_widths(forecast, scales) if scales else [],
        block_sizes(forecast, blocks) if blocks else [],
        _wave_octaves(forecast) if spectra else None,
    )
    frames = []
    for k in range(len(rate)):
        members = _members_at(forecast, k, space)
        probability = given[:, k] if given is not None else _count_exceedance(members, limits)
        known = _known_points(rate[k], truth[k], probability)
        if wanted is not None:
            known &= wanted[k]
        frame = _Frame(
            rate[k], truth[k], known, plan.thresholds, probability, None if wet_reference is None else wet_reference[k]
        )
        frames.append(_compute_all(frame, members, plan))
    return _label(frames, forecast["lead_time"].values, threshold=limits, scale=scales, block=(CELL, *blocks))


def compute_ensemble_statistics(
    members: xr.DataArray, observed: xr.DataArray, *, valid: xr.DataArray, blocks: Sequence[float] = ()
) -> xr.Dataset:
    """Compute the statistics of members only, of any quantity such as sums over an hour.

    Parameters
    ----------
    members
        Rates, mm h-1, dims ``("realization", "lead_time", "y", "x")``; taken one lead time at a time.
    observed
        Rates with the lead times of the members as ``lead_time``, dims ``("lead_time", "y", "x")``.
    valid
        Boolean with the same dims: the points to compare. A point unknown to a member or the observation never counts.
    blocks
        Sides of the blocks, km.

    Returns
    -------
    Dataset
        The statistics with the dim `block`, as `compute_statistics` returns them.
    """
    check_same_grid(members, observed, "members and observation")
    sizes = block_sizes(members, blocks) if blocks else []
    truth = _values(observed, DIMS)
    known = valid.transpose(*DIMS).values & np.isfinite(truth)
    frames = []
    for k in range(len(truth)):
        drawn = _values(members.isel(lead_time=k), ("realization", *DIMS[1:]))
        frames.append(ensemble_statistics(drawn, truth[k], known[k], sizes))
    return _label(frames, members["lead_time"].values, block=(CELL, *blocks))


def common_mask(forecasts: Iterable[xr.Dataset], observed: xr.DataArray) -> xr.DataArray:
    """Return the mask of points known to all of `forecasts`, with their probabilities, and to the observation.

    Returns
    -------
    DataArray
        Boolean, dims ``("lead_time", "y", "x")`` or ``("lead_time", "station")``.
    """
    known: xr.DataArray | None = None
    for forecast in forecasts:
        space = _shared_space(forecast, observed)
        own = forecast[RATE].notnull().transpose("lead_time", *space)
        if PROBABILITY in forecast:
            own &= forecast[PROBABILITY].notnull().all("threshold").transpose("lead_time", *space)
        if known is None:
            known = own.reset_coords(drop=True) & np.isfinite(_observed_at_valid_times(forecast, observed, space))
        else:
            known &= own.values
    if known is None:
        raise InputError("there is no forecast", "a mask is common to one forecast at least", "Pass the forecasts")
    return known.rename("valid")


def window_half_widths(grid: xr.Dataset | xr.DataArray, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return how many cells the windows of `scales` (km) reach from their centre, ``(y, x)`` for each scale.

    The mean size of the cells counts.
    """
    spacing = cell_kilometres(grid)
    return [(_half_width(scale, spacing[0]), _half_width(scale, spacing[1])) for scale in scales]


def block_sizes(grid: xr.Dataset | xr.DataArray, blocks: Sequence[float]) -> list[tuple[int, int]]:
    """Return how many cells are nearest to the side of a block (km) along y and x, one at least, for each block."""
    height, width = cell_kilometres(grid)
    return [(max(1, round(side / height)), max(1, round(side / width))) for side in blocks]


def _half_width(scale: float, spacing: float) -> int:
    """Return how many cells fit into half a window, within 5 % and half a cell: 20 km are ten cells of 2 or 2.04 km.

    The nominal sizes of the cells of a projection differ from the true ones by some per cent.
    """
    cells = scale / 2 / spacing
    return int(np.floor(cells + min(0.05 * cells, 0.49)))


# --- one frame ------------------------------------------------------------------------------------------------

_Values = dict[str, Any]
"""Statistics of one frame by name, as arrays or numbers of float64."""


class _Plan(NamedTuple):
    """What is computed of each frame."""

    thresholds: Array
    """Rates, mm h-1."""
    half_widths: list[tuple[int, int]]
    """Reach of the windows of each scale, cells along y and x."""
    block_sizes: list[tuple[int, int]]
    """Cells of the blocks along y and x."""
    octaves: NDArray[np.intp] | None
    """Octave of each wave; None without spectra."""


class _Frame:
    """Forecast and observation at one lead time: arrays of one shape, probabilities ``(threshold, ...)``."""

    def __init__(
        self,
        rate: Array,
        observed: Array,
        known: Mask,
        thresholds: Array,
        probability: Array | None,
        reference: Array | None,
    ) -> None:
        self.rate, self.observed, self.known, self.thresholds = rate, observed, known, thresholds
        self.probability, self.reference = probability, reference
        self.valid = valid = known.astype(np.uint8)
        self.forecast_class, self.observed_class = np.empty(rate.shape, np.uint8), np.empty(rate.shape, np.uint8)
        kernels.classes(rate, valid, thresholds, self.forecast_class)
        kernels.classes(observed, valid, thresholds, self.observed_class)

    def compute(self, half_widths: list[tuple[int, int]]) -> _Values:
        """Return all statistics of this frame apart from those of spectra and members."""
        moments = kernels.pair_sums(self.rate.ravel(), self.observed.ravel(), self.valid.ravel())
        found: _Values = dict(zip(kernels.MOMENTS, moments, strict=True))
        found["cases"] = np.float64(found["count"] > 0)
        table = self._contingency()
        found |= table | self._probability_bins(table, found["count"])
        if self.reference is not None:
            found |= self._equal_area(self.reference)
        if half_widths:
            sums = kernels.fraction_sums(
                self.forecast_class, self.observed_class, self.valid, self.thresholds.size, half_widths
            )
            found |= zip(("fraction_difference", "fraction_squares", "window_fraction"), sums, strict=True)
        return found

    def _contingency(self) -> _Values:
        counts = kernels.joint_counts(
            self.forecast_class.ravel(), self.observed_class.ravel(), self.valid.ravel(), self.thresholds.size
        )
        classes = range(1, self.thresholds.size + 1)
        return {
            "hits": np.array([counts[k:, k:].sum() for k in classes], np.float64),
            "misses": np.array([counts[:k, k:].sum() for k in classes], np.float64),
            "false_alarms": np.array([counts[k:, :k].sum() for k in classes], np.float64),
        }

    def _equal_area(self, reference: Array) -> _Values:
        """Return the contingency table with as many wet points as the reference; points at the cut count in part."""
        ascending = np.sort(self.rate[self.known])
        wet = np.array([np.count_nonzero(reference[self.known] >= threshold) for threshold in self.thresholds])
        cuts = np.array([ascending[-n] if n else np.inf for n in wet], np.float32)
        counts = kernels.counts_at_cuts(self.rate.ravel(), self.observed_class.ravel(), self.valid.ravel(), cuts)
        above, events_above, at, events_at = counts.T.astype(np.float64)
        hits = events_above + events_at * np.where(at > 0, (wet - above) / np.maximum(at, 1), 0.0)
        events = np.array([np.count_nonzero(self.observed_class > k) for k in range(self.thresholds.size)])
        return {
            "hits_equal_area": hits,
            "misses_equal_area": events - hits,
            "false_alarms_equal_area": wet - hits,
        }

    def _probability_bins(self, table: _Values, count: np.float64) -> _Values:
        """Return the statistics of probabilities, ``(threshold, probability_bin)``."""
        if self.probability is None:
            sums = _certain_bins(**table, count=count)
        else:
            events, valid = self.observed_class.ravel(), self.valid.ravel()
            by_threshold = [
                kernels.probability_sums(p.ravel(), events, k, valid, PROBABILITY_BINS)
                for k, p in enumerate(self.probability)
            ]
            sums = np.stack(by_threshold, axis=1)
        return {f"bin_{name}": values for name, values in zip(BIN_QUANTITIES, sums, strict=True)}


def _compute_all(frame: _Frame, members: Array | None, plan: _Plan) -> _Values:
    """Return the statistics of a frame, of its members and of the spectra of both."""
    found = frame.compute(plan.half_widths)
    if members is not None:
        found |= ensemble_statistics(members, frame.observed, frame.known, plan.block_sizes)
    if plan.octaves is not None:
        found |= _power(frame, members, plan.octaves)
    return found


def _certain_bins(hits: Doubles, misses: Doubles, false_alarms: Doubles, count: np.float64) -> Doubles:
    """Return the sums of probabilities that are 0 or 1, ``(quantity, threshold, probability_bin)``."""
    sums = np.zeros((len(BIN_QUANTITIES), hits.size, PROBABILITY_BINS))
    count_at, events, probability, squared, of_events = range(len(BIN_QUANTITIES))
    forecast_events = hits + false_alarms
    sums[count_at, :, 0], sums[count_at, :, -1] = count - forecast_events, forecast_events
    sums[events, :, 0], sums[events, :, -1] = misses, hits
    sums[probability, :, -1] = sums[squared, :, -1] = forecast_events
    sums[of_events, :, -1] = hits
    return sums


def _wave_octaves(grid: xr.Dataset) -> NDArray[np.intp]:
    """Return the octave of each wave of the real Fourier transform, 0 and ``len(OCTAVES)`` for those beyond."""
    height, width = cell_kilometres(grid)
    cycles_y = np.fft.fftfreq(grid.sizes["y"], height)
    cycles_x = np.fft.rfftfreq(grid.sizes["x"], width)
    with np.errstate(divide="ignore"):
        wavelength = 1 / np.hypot(cycles_y[:, None], cycles_x)
    return np.asarray(np.searchsorted(OCTAVES, wavelength, side="right"))


def _power(frame: _Frame, members: Array | None, octaves: NDArray[np.intp]) -> _Values:
    """Return the power of forecast, observation and members by octave, on the points known to all of them."""
    known = frame.known if members is None else frame.known & np.isfinite(members).all(axis=0)
    fields = {"forecast_power": frame.rate, "observed_power": frame.observed}
    found: _Values = {name: _octave_power(field, known, octaves) for name, field in fields.items()}
    if members is not None:
        found["member_power"] = np.mean([_octave_power(member, known, octaves) for member in members], axis=0)
    return found


def _octave_power(rate: Array, known: Mask, octaves: NDArray[np.intp]) -> Doubles:
    """Return the part of each octave in the sum of squares of the rates."""
    waves = fft.rfft2(np.where(known, rate, np.float32(0)))
    power = np.abs(waves).astype(np.float64) ** 2
    columns = rate.shape[1]
    power[:, 1 : (columns + 1) // 2] *= 2  # their mirror images are not in it
    return np.bincount(octaves.ravel(), power.ravel(), minlength=len(OCTAVES) + 1)[1 : len(OCTAVES)] / rate.size


# --- arrays and labels ----------------------------------------------------------------------------------------

_UNITS = {"threshold": "mm h-1", "scale": "km", "block": "km"}


def _label(frames: list[_Values], lead_times: LeadTimes, **labels: Sequence[float] | Doubles) -> xr.Dataset:
    """Return the statistics of all lead times with the dims that `STATISTICS` declares; `labels` by name of the dim."""
    variables = {
        name: ((*STATISTICS[name].dims, "lead_time"), np.stack([np.asarray(frame[name]) for frame in frames], axis=-1))
        for name in frames[0]
    }
    used = {dim for dims, _ in variables.values() for dim in dims}
    coords: dict[str, Any] = {
        "lead_time": lead_times,
        "probability_bin": np.linspace(0, 1, PROBABILITY_BINS).round(6),
        "wavelength": ("wavelength", np.sqrt(np.multiply(OCTAVES[1:], OCTAVES[:-1])).round(3), {"units": "km"}),
        "rank": np.arange(np.shape(frames[0].get("rank_count", [[]]))[1]),
    } | {dim: (dim, np.asarray(values, np.float64), {"units": _UNITS[dim]}) for dim, values in labels.items()}
    return xr.Dataset(variables, coords={name: values for name, values in coords.items() if name in used})


def _shared_space(forecast: xr.Dataset, observed: xr.DataArray) -> tuple[str, ...]:
    """Return the dims of space, after checking that both have the same coordinates along them."""
    if "station" not in forecast[RATE].dims:
        check_same_grid(forecast, observed, "forecast and observation")
        return ("y", "x")
    if "station" not in observed.dims or not np.array_equal(forecast["station"].values, observed["station"].values):
        raise InputError(
            f"the forecast is at {forecast.sizes['station']} stations, the observation is not at the same",
            "forecast and observation share their stations",
            "Select the same ones, in one order",
        )
    return ("station",)


def _check_thresholds(thresholds: Sequence[float]) -> Doubles:
    values = np.asarray(thresholds, dtype=np.float64)
    if values.ndim != 1 or not values.size or not (np.diff(values) > 0).all() or not values[0] > 0:
        raise InputError(f"thresholds are {tuple(thresholds)}", "they are above zero and rise", "Sort them")
    return values


def _values(rate: xr.DataArray, dims: tuple[str, ...]) -> Array:
    return np.ascontiguousarray(rate.transpose(*dims).values, dtype=np.float32)


def _observed_at_valid_times(forecast: xr.Dataset, observed: xr.DataArray, space: tuple[str, ...]) -> Array:
    """Return the observation at the valid times, NaN where there is no frame."""
    frames = observed.transpose("time", *space).reindex(time=forecast["time"].values)
    return np.ascontiguousarray(frames.values, dtype=np.float32)


def _known_points(rate: Array, observed: Array, probability: Array | None) -> Mask:
    known = np.isfinite(rate) & np.isfinite(observed)
    return known if probability is None else known & np.isfinite(probability).all(axis=0)


def _members_at(forecast: xr.Dataset, k: int, space: tuple[str, ...]) -> Array | None:
    """Return the members at the lead time number `k`, ``(realization, ...)``; None if the forecast has none."""
    return _values(forecast[ENSEMBLE].isel(lead_time=k), ("realization", *space)) if ENSEMBLE in forecast else None


def _count_exceedance(members: Array | None, thresholds: Doubles) -> Array | None:
    return None if members is None else exceeding_fraction(members, thresholds)


def _given_probabilities(forecast: xr.Dataset, thresholds: Doubles, dims: tuple[str, ...]) -> Array | None:
    """Return the forecast's own probabilities at `thresholds`, ``(threshold, ...)``; None if it has none."""
    if PROBABILITY not in forecast:
        return None
    own = forecast[PROBABILITY]["threshold"].values.astype(np.float64)
    nearest = np.abs(own - thresholds[:, None]).argmin(axis=1)
    absent = thresholds[np.abs(own[nearest] - thresholds) > 1e-5]
    if absent.size:
        raise InputError(
            f"the forecast has no probability at {', '.join(f'{t:g}' for t in absent)} mm/h (it has {own.tolist()})",
            "probabilities are given at the thresholds",
            "Choose thresholds among those of the forecast",
        )
    return _values(forecast[PROBABILITY].isel(threshold=nearest), ("threshold", *dims))
