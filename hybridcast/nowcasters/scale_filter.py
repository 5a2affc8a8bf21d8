"""Scale-dependent filtering: each spatial scale of the rain decays at the rate at which it has changed recently.

This is S-PROG (Seed 2003, doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2) as implemented by pysteps (Pulkkinen et
al. 2019, doi:10.5194/gmd-12-4185-2019), with two changes that improved its skill on real events
(``notebooks/scale_filter.py``):

1. Rain rates are converted to decibels of the rate plus 0.25 mm/h. (In pysteps, dry cells are 5 dB below 0.1 mm/h, and
   this step at the edge of drizzle dominates the small scales.) The frames before the latest are advected to its time.
2. A cascade decomposes the Fourier spectrum into bands that are about as wide as their wavenumber (Gaussian in its
   logarithm).
3. An autoregressive process of order 2 is fitted to each band, from its correlations over one and two steps. Such a
   process extrapolates the last change of the large scales, and a step of 5 min contains little of that change and much
   noise. Therefore there are processes with steps of 5, 10 and 15 min, and the mean of their forecasts is taken.
   (pysteps uses one process with the step of the radar.)
4. The processes are iterated and the bands summed, which yields the filtered field of each lead time.
5. The values of the filtered field are replaced, rank by rank, by those of the latest frame, which preserves the
   distribution of rain rates, and the field is advected.

The implementation exploits that steps 2 to 4 are linear and depend, within a band, on the wavenumber only. After n
steps band k is ``a_k(n) X_0 + b_k(n) X_-1``. The field of a lead time is thus one inverse transform of the spectra of a
few frames, each multiplied by a radial weight, whatever the number of bands and processes. Correlations are sums over
the spectra. There is one real transform for each frame and one for each lead time. Ranks are determined by a fine
histogram. The field of each lead time is interpolated once, along trajectories that all lead times share, and the
values of the ranks are inserted afterwards.

Processes with local parameters, as in ANVIL, were tested with windows of 50 to 240 km and rejected: CSI did not improve
up to 90 min.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import GRID_MAPPING, RATE
from hybridcast.core.forecast_schema import DIMS, add_motion, forecast_dataset
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.time_steps import iso_time, time_step
from hybridcast.core.types import MINUTE, Array, Doubles, LeadTimes
from hybridcast.motion.estimate import DenseFlow, MotionMethod, cells_per_step, check_motion
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.settings import ScaleFilterSettings
from hybridcast_kernels import scales_cpu as kernels
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.workspace import workspace_of_this_thread

#: Shortest step of the AR processes; noise would dominate the correlations over a shorter one.
MIN_STEP = np.timedelta64(5, "m")
#: Largest correlation of an AR process.
MAX_CORRELATION = 1 - 1e-7
#: Smallest ratio between the wavenumbers of neighbouring bands; small grids have fewer levels.
MIN_BAND_RATIO = 1.5


@dataclass(frozen=True)
class ScaleFilter:
    """The latest frame, advected, while each spatial scale decays as it becomes unpredictable (S-PROG, Seed 2003).

    The method is described in `hybridcast.nowcasters.scale_filter`. It uses frames of up to half an hour; fewer are
    sufficient. If too many of them are missing or dry, the AR processes have a lower order, or the latest frame is only
    advected; the attribute ``fallback`` of the forecast then states the reason.
    """

    motion: MotionMethod = field(default_factory=DenseFlow)
    """Motion method."""
    settings: ScaleFilterSettings = field(default_factory=ScaleFilterSettings)
    """Settings of the filter."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return f"scale filter ({self.motion.name})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames, with the motion `u` and `v`.

        See `hybridcast.nowcasters.base.Nowcaster`.
        """
        leads = check_lead_times(lead_times)
        motion = self.motion.estimate(recent)
        prepared = prepare_filter(recent, motion, leads, self.settings)
        fields = workspace_of_this_thread().array("filtered", prepared.shape)
        filtered = apply_filter(recent, prepared, self.settings, fields)
        return filtered_forecast(self.name, recent, motion, leads, filtered)


def filtered_forecast(
    name: str, recent: xr.DataArray, motion: xr.Dataset, leads: LeadTimes, filtered: Filtered
) -> xr.Dataset:
    """Return the forecast of a filter, with the motion `u` and `v`; `name` is that of the nowcaster."""
    _, age = latest_frame(recent)
    result = forecast_dataset(filtered.rate, recent, leads, nowcaster=name, status=radar_status(recent, age))
    used = set(str(motion.attrs.get("frames_used", "")).split(", ")) | set(filtered.frames)
    result.attrs["frames_used"] = ", ".join(sorted(used - {""})) or "none"
    return add_motion(result, motion).assign_attrs(filtered.attrs)


def filter_scales(
    recent: xr.DataArray, motion: xr.Dataset, lead_times: LeadTimes, *, settings: ScaleFilterSettings | None = None
) -> xr.Dataset:
    """Filter the latest frame by scale and advect it.

    Parameters
    ----------
    recent
        Checked precipitation field, mm h-1, dims ``(time, y, x)``.
    motion
        Motion `u` and `v` in m s-1 on the same grid, as returned by `estimate_motion`.
    lead_times
        ``timedelta64``, increasing, above zero, from the last time of `recent`.
    settings
        Settings of the filter; `ScaleFilterSettings()` by default.

    Returns
    -------
    Dataset
        With dims ``("lead_time", "y", "x")``, NaN where the air comes from cells that are unknown:

        - `filtered_dbr`: filtered field, as smooth as an ensemble mean, in dB of 1 mm h-1, of the rate plus the offset
          of the settings (0.25 mm h-1); dry cells have about -6 dB.
        - `precipitation_rate`: field with the same ranks and the values of the latest frame, mm h-1, zero below 0.1.

        With dims ``("level",)`` and ``("level", "lag")``, from the longest to the shortest waves, NaN if no AR process
        was fitted or the frame is missing: `deviation`, the standard deviation of a cascade level of the latest frame,
        dB; `correlation`, the Lagrangian autocorrelation of a level at a `lag`. Coordinates: `wavelength` of a level in
        m, `lag` (timedelta64; with a radar of 5 min 5, 10, 15, 20 and 30 min).

        ``attrs["ar_steps"]`` contains the steps of the AR processes, ``attrs["fallback"]`` the reason if their order is
        not 2.

    Raises
    ------
    InputError
        If motion and field are not on the same grid, or lead times do not increase.

    Examples
    --------
    >>> import numpy as np
    >>> from hybridcast import estimate_motion, precipitation
    >>> rate = np.random.default_rng(0).gamma(0.2, 4, (3, 40, 50)).astype("float32")
    >>> times = np.datetime64("2020-01-01") + np.arange(3) * np.timedelta64(5, "m")
    >>> rain = precipitation(rate, time=times, y=np.arange(40) * 1e3, x=np.arange(50) * 1e3, crs=None)
    >>> smooth = filter_scales(rain, estimate_motion(rain), [np.timedelta64(30, "m")])
    >>> bool(smooth.filtered_dbr.std() < 0.2 * np.log10(rain[-1].clip(0.03)).std() * 10)
    True
    """
    leads = check_lead_times(lead_times)
    check_motion(motion, recent)
    settings = settings or ScaleFilterSettings()
    prepared = prepare_filter(recent, motion, leads, settings)
    fields = workspace_of_this_thread().array("filtered", prepared.shape)
    filtered = apply_filter(recent, prepared, settings, fields)
    result = forecast_dataset(filtered.rate, recent, leads)
    described = {"long_name": "precipitation rate filtered by scale, in dB of 1 mm h-1", "units": "dB"}
    if GRID_MAPPING in result.coords:
        described["grid_mapping"] = GRID_MAPPING
    result["filtered_dbr"] = (DIMS, filtered.dbr, described)
    result[RATE].attrs["long_name"] = "precipitation rate filtered by scale, distributed like the latest frame"
    process = filtered.process
    result["deviation"] = ("level", process.deviation.astype(np.float32), {"units": "dB"})
    result["correlation"] = (("level", "lag"), process.correlation.astype(np.float32), {"units": "1"})
    lags = np.array(process.lags) * _radar_step(recent)
    result = result.assign_coords(wavelength=("level", process.wavelength, {"units": "m"}), lag=("lag", lags))
    return result.assign_attrs(filtered.attrs)


# --- frames ---------------------------------------------------------------------------------------------------


class FrameSelection(NamedTuple):
    """The frames that the AR processes use; lags and steps are in time steps of the radar."""

    latest: int | None
    """Index of the latest frame that contains data; None without any."""
    lags: list[int]
    """Lags that AR processes need, increasing, whether their frames are usable or not."""
    usable: list[int]
    """Lags whose frames exist and contain rain. Those equal to a step come first, as the processes start from them."""
    steps: list[int]
    """Step of each AR process."""
    order: int
    """Order of all AR processes."""
    reason: str
    """Reason why the order is not 2; empty if it is."""

    @property
    def indices(self) -> list[int]:
        """Indices of the latest frame and of the usable ones before it."""
        return [-1] if self.latest is None else [self.latest, *(self.latest - lag for lag in self.usable)]


def select_frames(recent: xr.DataArray, settings: ScaleFilterSettings) -> FrameSelection:
    """Select the latest frame and, for each AR process, those one and two steps before it if they contain rain."""
    steps, lags = _steps_and_lags(_radar_step(recent), settings)
    values = recent.values
    with_data = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    if with_data.size == 0:
        return FrameSelection(None, lags, [], [], 0, "no radar data in any frame: all unknown")
    latest, lowest = int(with_data[-1]), settings.lowest_rate
    wet = {lag: lag <= latest and bool((values[latest - lag] >= lowest).any()) for lag in (0, *lags)}
    if not wet[0]:
        return FrameSelection(latest, lags, [], [], 0, f"extrapolated: no rain of {lowest:g} mm/h in the newest frame")
    second_order = [step for step in steps if wet[step] and wet[2 * step]]
    if second_order:
        doubled = [2 * step for step in second_order if 2 * step not in second_order]
        return FrameSelection(latest, lags, [*second_order, *doubled], second_order, 2, "")
    first_order = [step for step in steps if wet[step]][:1]
    too_few = "too few of the frames before the newest hold rain"
    if first_order:
        return FrameSelection(latest, lags, first_order, first_order, 1, f"AR process of order 1: {too_few}")
    return FrameSelection(latest, lags, [], [], 0, f"extrapolated: {too_few}")


def _steps_and_lags(radar_step: np.timedelta64, settings: ScaleFilterSettings) -> tuple[list[int], list[int]]:
    """Return the steps of the AR processes, and the lags that they need, in time steps of the radar."""
    shortest = max(1, int(-(-MIN_STEP // radar_step)))
    steps = [shortest, *range(2 * shortest, int(settings.longest_step * MINUTE / radar_step) + 1, shortest)]
    return steps, sorted({lag for step in steps for lag in (step, 2 * step)})


def _radar_step(recent: xr.DataArray) -> np.timedelta64:
    """Return the time step of the radar; 5 min for a single frame."""
    return time_step(recent["time"].values) or MIN_STEP


# --- cascade --------------------------------------------------------------------------------------------------


class Cascade(NamedTuple):
    """Decomposition of the Fourier spectrum of a grid into levels."""

    grid: kernels.Wavenumbers
    """Wavenumbers of the grid."""
    weights: Doubles
    """Weight of each level, ``(level, radial bin)``."""
    wavelength: Doubles
    """Wavelength in the middle of each level, m, ``(level,)``."""


def build_cascade(recent: xr.DataArray, settings: ScaleFilterSettings) -> Cascade:
    """Return the cascade of a field."""
    rows, columns = recent.sizes["y"], recent.sizes["x"]
    height, width = (1000 * size for size in cell_kilometres(recent))
    width = width if columns > 1 else height
    aspect = height / width if min(rows, columns) > 1 else 1.0  # a single row has no height
    grid = kernels.wavenumbers(rows, columns, round(aspect, 3))
    levels = count_usable_levels(grid.size, settings.levels)
    wavelength = width * grid.size / band_centres(grid.size, levels)
    return Cascade(grid, band_weights(grid.radius, grid.size, levels), wavelength)


def band_centres(size: int, levels: int) -> Doubles:
    """Return the wavenumbers in the middle of bands with equal ratios, in waves per `size` cells, ``(level,)``."""
    edges = np.exp(_band_width(size, levels) * np.arange(levels + 1))
    middle: Doubles = 0.5 * (edges[1:] + edges[:-1])
    return middle


def band_weights(radius: Doubles, size: int, levels: int) -> Doubles:
    """Return the weights of the bands of a cascade, ``(level, radius)``, whose sum is one at each wavenumber.

    They are Gaussian in the logarithm of the wavenumber `radius`, in waves per `size` cells, as in
    `pysteps.cascade.bandpass_filters.filter_gaussian`. The first band also contains the mean.
    """
    width = _band_width(size, levels)
    centres = np.log(band_centres(size, levels)) / width
    position = np.log(np.maximum(radius, 1e-9)) / width
    # relative to the nearest band, so that wavenumbers far from all bands have weights too
    exponents = -2.0 * (position - centres[:, None]) ** 2
    weights = np.exp(exponents - exponents.max(axis=0))
    weights /= weights.sum(axis=0)
    weights[:, radius == 0] = (np.arange(levels) == 0)[:, None]
    return np.asarray(weights)


def _band_width(size: int, levels: int) -> float:
    """Return the width of a band in the logarithm of the wavenumber."""
    return float(np.log(max(0.5 * size, MIN_BAND_RATIO)) / levels)


def count_usable_levels(size: int, levels: int) -> int:
    """Return the number of levels, at most `levels`, that a grid of `size` cells can resolve."""
    return int(np.clip(np.log(max(0.5 * size, 1.0)) / np.log(MIN_BAND_RATIO), 1, levels))


# --- autoregressive processes ---------------------------------------------------------------------------------


class ArProcess(NamedTuple):
    """Parameters of the autoregressive processes of the cascade levels."""

    wavelength: Doubles
    """Wavelength in the middle of each level, m, ``(level,)``."""
    deviation: Doubles
    """Standard deviation of the latest frame, dB, ``(level,)``."""
    lags: list[int]
    """Lags of `correlation` and `ratio`, in time steps of the radar."""
    correlation: Doubles
    """Correlation of the latest frame with the frame at a lag, ``(level, lag)``; NaN without that frame."""
    ratio: Doubles
    """Standard deviation of the latest frame divided by that of the frame at a lag, ``(level, lag)``."""


def fit_ar_process(spectra: NDArray[np.complex64], selection: FrameSelection, cascade: Cascade) -> ArProcess:
    """Estimate the variance of each level and its autocorrelation from spectra of the frames, the latest first."""
    squares = cascade.weights[:, 1:] ** 2  # without the mean, which does not vary
    variance = squares @ kernels.radial_covariance(spectra[0], spectra[0], cascade.grid)[1:]
    correlation, ratio = np.full((2, len(variance), len(selection.lags)), np.nan)
    for lag, before in zip(selection.usable, spectra[1:], strict=True):
        k = selection.lags.index(lag)
        variance_before = squares @ kernels.radial_covariance(before, before, cascade.grid)[1:]
        covariance = squares @ kernels.radial_covariance(spectra[0], before, cascade.grid)[1:]
        correlation[:, k] = _divide(covariance, np.sqrt(variance * variance_before))
        ratio[:, k] = np.sqrt(_divide(variance, variance_before))
    return ArProcess(cascade.wavelength, np.sqrt(variance), selection.lags, correlation, ratio)


def _unfitted_process(selection: FrameSelection, cascade: Cascade) -> ArProcess:
    """Return a process of NaN."""
    unknown = np.full((cascade.wavelength.size, len(selection.lags)), np.nan)
    return ArProcess(cascade.wavelength, np.full(cascade.wavelength.size, np.nan), selection.lags, unknown, unknown)


def _divide(numerator: Doubles, denominator: Doubles) -> Doubles:
    """Divide; the result is 0 for a level that does not vary."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def clip_to_stationary(gamma_1: Doubles, gamma_2: Doubles) -> tuple[Doubles, Doubles]:
    """Limit correlations over one and two steps such that the AR(2) process is stationary and does not oscillate.

    The lower limit of the second correlation is that of Pulkkinen et al. (2019).
    """
    first = np.clip(gamma_1, -MAX_CORRELATION, MAX_CORRELATION)
    square = np.maximum(first**2, 1e-12)
    least = (3 * square - 2 + 2 * (1 - square) ** 1.5) / square
    return first, np.clip(gamma_2, np.maximum(least, 2 * square - 1), MAX_CORRELATION)


def solve_yule_walker(gamma_1: Doubles, gamma_2: Doubles | None) -> tuple[Doubles, Doubles]:
    """Return the parameters phi_1, phi_2 of an AR(2) process, or of an AR(1) process if `gamma_2` is None."""
    if gamma_2 is None:
        return np.clip(gamma_1, -MAX_CORRELATION, MAX_CORRELATION), np.zeros_like(gamma_1)
    first, second = clip_to_stationary(gamma_1, gamma_2)
    return first * (1 - second) / (1 - first**2), (second - first**2) / (1 - first**2)


def iterate_ar(phi_1: Doubles, phi_2: Doubles, steps: Doubles) -> tuple[Doubles, Doubles]:
    """Return a, b of ``X_n = a(n) X_0 + b(n) X_-1``, each ``(step, level)``, linear between whole steps."""
    count = int(np.ceil(steps.max())) + 1
    a, b = np.zeros((2, count + 1, phi_1.size))
    a[0] = 1.0
    a[1], b[1] = phi_1, phi_2
    for n in range(2, count + 1):
        a[n] = phi_1 * a[n - 1] + phi_2 * a[n - 2]
        b[n] = phi_1 * b[n - 1] + phi_2 * b[n - 2]
    whole = np.floor(steps).astype(int)
    fraction = (steps - whole)[:, None]
    return (1 - fraction) * a[whole] + fraction * a[whole + 1], (1 - fraction) * b[whole] + fraction * b[whole + 1]


def _radial_weights(process: ArProcess, selection: FrameSelection, steps: Doubles, bands: Doubles) -> Array:
    """Return the weights of the spectra, ``(lead, frame, radial bin)``, at `steps` of the radar.

    They are the mean over the AR processes.
    """
    count, is_second_order = len(selection.steps), selection.order == 2
    weights = np.zeros((len(steps), 1 + (count if is_second_order else 0), bands.shape[1]))
    for frame, step in enumerate(selection.steps, start=1):
        k = selection.lags.index(step)
        gamma_2 = process.correlation[:, selection.lags.index(2 * step)] if is_second_order else None
        phi = solve_yule_walker(process.correlation[:, k], gamma_2)
        a, b = iterate_ar(*phi, np.asarray(steps / step, dtype=np.float64))
        weights[:, 0] += a @ bands / count
        if is_second_order:
            weights[:, frame] += (b * process.ratio[:, k]) @ bands / count
    weights[:, :, 0] = np.arange(weights.shape[1]) == 0  # the mean persists
    return weights.astype(np.float32)


# --- filtering ------------------------------------------------------------------------------------------------


class Filtered(NamedTuple):
    """Result of the filter."""

    dbr: Array
    """Filtered field, dB of 1 mm h-1, ``(lead, y, x)``."""
    rate: Array
    """Field with the same ranks and the values of the latest frame, mm h-1, ``(lead, y, x)``."""
    process: ArProcess
    frames: list[str]
    """Times of the frames used."""
    attrs: dict[str, str]


class _Trajectories(NamedTuple):
    """Trajectories that fields are advected along."""

    flow: Array
    """Cells per minute, ``(2, y, x)``."""
    minutes: Array
    """Increasing times, min."""

    def advect(self, fields: Array, *, paired: bool = False) -> Array:
        """Advect the first field to all times, or if `paired` each field to its own, ``(time, y, x)``."""
        advected = advect_arrays(fields, self.flow, self.minutes, LINEAR, paired=paired, longest_step=LONGEST_STEP)
        first: Array = advected[0]
        return first


class PreparedFilter(NamedTuple):
    """The AR processes fitted to the frames, as weights of their spectra, and the trajectories."""

    latest: Array
    """Latest frame, mm h-1, ``(y, x)``."""
    cascade: Cascade
    selection: FrameSelection
    process: ArProcess
    spectra: NDArray[np.complex64]
    """Spectra of the frames in decibels, the latest first, ``(frame, i, j)``; empty without an AR process."""
    weights: Array
    """Weights of the spectra, ``(lead, frame, radial bin)``."""
    paths: _Trajectories

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the filtered fields, ``(lead, y, x)``."""
        rows, columns = self.latest.shape
        return len(self.weights), rows, columns


def prepare_filter(
    recent: xr.DataArray, motion: xr.Dataset, leads: LeadTimes, settings: ScaleFilterSettings
) -> PreparedFilter:
    """Fit the AR processes to the frames; without any if the frames are insufficient."""
    selection, cascade, step = select_frames(recent, settings), build_cascade(recent, settings), _radar_step(recent)
    frames = recent.values
    newest, *earlier = selection.indices
    latest = np.array(frames[newest], dtype=np.float32)
    since_latest = leads + latest_frame(recent)[1]
    paths = _Trajectories(cells_per_step(motion, MINUTE), (since_latest / MINUTE).astype(np.float32))
    if not selection.steps:
        none, no_weights = np.empty((0, 0, 0), np.complex64), np.empty((leads.size, 0, 0), np.float32)
        return PreparedFilter(
            latest, cascade, selection, _unfitted_process(selection, cascade), none, no_weights, paths
        )
    ages = np.array(selection.usable) * (step / MINUTE)
    order = np.argsort(ages)
    by_age = np.asarray(frames[np.array(earlier)[order]], dtype=np.float32)
    spectra = _compute_spectra(latest, by_age, paths.flow, ages, cascade.grid, settings)
    process = fit_ar_process(spectra, selection, cascade)
    weights = _radial_weights(process, selection, since_latest / step, cascade.weights)
    return PreparedFilter(latest, cascade, selection, process, spectra[: weights.shape[1]], weights, paths)


def apply_filter(
    recent: xr.DataArray, prepared: PreparedFilter, settings: ScaleFilterSettings, fields: Array
) -> Filtered:
    """Filter and advect the latest frame; only advect it if the frames are insufficient for an AR process.

    The filtered field of each lead time before it is advected is written to `fields`, ``(lead, y, x)``, dB above dry.
    """
    selection, paths = prepared.selection, prepared.paths
    if selection.steps:
        transforms = filter_lagrangian(prepared, settings, fields)
        dbr = paths.advect(fields, paired=True)
        rate = kernels.apply_rank_transforms(dbr, transforms)
    else:
        rate = paths.advect(prepared.latest[None])
        dbr = kernels.decibels(rate, settings.offset)
    dbr += np.float32(10 * np.log10(settings.offset))
    used = [] if selection.latest is None else selection.indices
    times = [iso_time(time) for time in recent["time"].values[used]]
    return Filtered(dbr, rate, prepared.process, times, _describe(selection, _radar_step(recent)))


def _describe(selection: FrameSelection, step: np.timedelta64) -> dict[str, str]:
    """Return the attributes on the AR processes."""
    steps = ", ".join(f"{number * step / MINUTE:g} min" for number in selection.steps) or "none"
    return {"ar_steps": steps} | ({"fallback": selection.reason} if selection.reason else {})


def _compute_spectra(
    latest: Array, by_age: Array, flow: Array, ages: Doubles, grid: kernels.Wavenumbers, settings: ScaleFilterSettings
) -> NDArray[np.complex64]:
    """Return the spectra of the frames in decibels, the latest first, the others advected to its time.

    Cells that are unknown in the latest frame are dry; cells that are unknown in another frame have the values of the
    latest frame. `by_age` are the other frames in the order of their `ages`, the spectra are in that of `ages`.
    """
    order = np.argsort(ages)
    newest = kernels.decibels(latest[None], settings.offset)[0]
    paths = _Trajectories(flow, ages[order].astype(np.float32))
    advected = paths.advect(kernels.decibels(by_age, settings.offset), paired=True)
    first = kernels.spectrum(newest, newest, grid)
    spectra = np.empty((1 + len(ages), *first.shape), first.dtype)
    spectra[0] = first
    for place, frame in zip(order, advected, strict=True):
        spectra[1 + place] = kernels.spectrum(frame, newest, grid)
    return spectra


def filter_lagrangian(
    prepared: PreparedFilter, settings: ScaleFilterSettings, out: Array
) -> list[kernels.RankTransform]:
    """Write the filtered field of each lead time, before it is advected, to `out`, ``(lead, y, x)``, dB above dry.

    Returns
    -------
    list
        Transforms to the rain rates of the latest frame.
    """
    latest = prepared.latest
    wet = np.sort(latest[latest >= settings.lowest_rate])[::-1]
    return kernels.filter_fields(prepared.spectra, prepared.weights, prepared.cascade.grid, latest, wet, out)
