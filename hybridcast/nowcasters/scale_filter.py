"""Scale-dependent decay: each scale of the rain fades as fast as it changed lately, in the frame that moves with it.

S-PROG of Seed (2003), doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2, as pysteps has it (Pulkkinen and others
2019, doi:10.5194/gmd-12-4185-2019), with two changes that made it better on real events (``notebooks/scale_filter``):

1. Rain rates in decibels of the rate plus 0.25 mm/h (pysteps: dry lies 5 dB below 0.1 mm/h, so that the edge of drizzle
   is a cliff and rules the small scales). The frames before the latest are carried along the motion to its time.
2. A cascade: bands of the Fourier spectrum, each about as wide as its wavenumber (Gaussian in its logarithm).
3. An autoregressive model of order 2 for each band, from its correlations over one and two steps. Such models
   prolong what large scales did in the last step; a step of 5 min holds little of it and much noise. So there are
   models with steps of 5, 10 and 15 min, and the mean of what they say is taken (pysteps: one, with the radar's step).
4. The models iterated, the bands summed up: the filtered field of each lead time.
5. Its values replaced, rank by rank, by those of the latest frame, so that it is as wet; carried along the motion.

What is quick about it: steps 2 to 4 are linear, and all of a band depends on its wavenumber only. After n steps band k
is ``a_k(n) X_0 + b_k(n) X_-1``; so the field of a lead time is one inverse transform of the spectra of a few frames,
each times a radial weight, however many bands and models there are. Correlations are sums over the spectra. Only real
transforms are made: one for each frame, and one for each lead time. Ranks are found by a fine histogram. Every lead
time's field is sampled once, along trajectories that all share; the values of ranks are put in afterwards.

Models with parameters of their own around each place (as ANVIL has them) were tried with windows of 50 to 240 km and
left out: CSI was no higher up to 90 min.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import GRID_MAPPING, RATE, iso_time, metres_per_cell, time_step
from hybridcast.core.forecast_schema import add_motion, forecast_dataset
from hybridcast.core.types import MINUTE, Doubles, LeadTimes
from hybridcast.motion.estimate import DenseFlow, MotionMethod, cells_per_step, check_motion
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.settings import ScaleSettings
from hybridcast_kernels import scales_cpu as kernels
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.workspace import workspace_of_this_thread

#: No model steps faster than this, however fast the radar is: noise would rule its correlations.
LEAST_STEP = np.timedelta64(5, "m")
#: Correlations are not taken as closer to one than this.
CLOSEST = 1 - 1e-7
#: Fewer waves than this in the longer side are no cascade: such grids get fewer levels.
LEAST_RATIO = 1.5


@dataclass(frozen=True)
class ScaleFilter:
    """The latest frame carried along the motion, each scale fading as it becomes unpredictable: S-PROG of our own.

    Seed (2003); see `hybridcast.nowcasters.scale_filter`. It takes frames of up to half an hour, and fewer do. The
    order of the model is
    lower, or the frame plainly carried on, where too many are missing or dry; the attribute ``fallback`` of the result
    says why.
    """

    motion: MotionMethod = field(default_factory=DenseFlow)
    settings: ScaleSettings = field(default_factory=ScaleSettings)

    @property
    def name(self) -> str:
        """How results name it."""
        return f"scale filter ({self.motion.name})"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`; the result holds the motion `u` and `v` too."""
        leads = check_lead_times(lead_times)
        motion = self.motion.estimate(recent)
        made = _filter(recent, motion, leads, self.settings)
        _, age = latest_frame(recent)
        result = forecast_dataset(made.rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age))
        of_motion = set(str(motion.attrs.get("frames_used", "")).split(", "))
        result.attrs["frames_used"] = ", ".join(sorted((of_motion | set(made.frames)) - {""})) or "none"
        return add_motion(result, motion).assign_attrs(made.attrs)


def filter_scales(
    recent: xr.DataArray, motion: xr.Dataset, lead_times: LeadTimes, *, settings: ScaleSettings | None = None
) -> xr.Dataset:
    """Filter the latest frame by scale and carry it on: the smooth fields, the sharp ones, and the correlations.

    Parameters
    ----------
    recent
        Checked precipitation field, mm h-1, dims ``(time, y, x)``.
    motion
        `u` and `v` in m s-1 on the same grid, as `estimate_motion` gives it.
    lead_times
        ``timedelta64``, increasing, above zero, from the last time of `recent`.
    settings
        `ScaleSettings()` by default.

    Returns
    -------
    Dataset
        With dims ``("lead_time", "y", "x")``, NaN where air comes from the unknown:

        - `filtered_dbr`: the filtered field, smooth like a mean of what may come: dB of 1 mm h-1, of the rate plus the
          offset of the settings (0.25 mm h-1); about -6 is dry.
        - `precipitation_rate`: the same ranks with the values of the latest frame, mm h-1; dry below 0.1.

        With dims ``("level",)`` and ``("level", "lag")``, from the longest waves to the shortest, NaN where no model
        was fitted or the frame is missing: `deviation`, standard deviation of a level of the latest frame, dB;
        `correlation` of a level with itself a `lag` before, in the moving frame. Coordinates: `wavelength` of a level
        in m, `lag` (timedelta64; with a radar of 5 min 5, 10, 15, 20 and 30 min).

        ``attrs["model_steps"]`` gives the steps of the models; ``attrs["fallback"]`` says why there is none of order
        2, where there is none.

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
    made = _filter(recent, motion, leads, settings or ScaleSettings())
    result = forecast_dataset(made.rate, recent, leads)
    described = {"long_name": "precipitation rate filtered by scale, in dB of 1 mm h-1", "units": "dB"}
    if GRID_MAPPING in result.coords:
        described["grid_mapping"] = GRID_MAPPING
    result["filtered_dbr"] = (("lead_time", "y", "x"), made.dbr, described)
    result[RATE].attrs["long_name"] = "precipitation rate filtered by scale, distributed like the latest frame"
    model = made.model
    result["deviation"] = ("level", model.deviation.astype(np.float32), {"units": "dB"})
    result["correlation"] = (("level", "lag"), model.correlation.astype(np.float32), {"units": "1"})
    lags = np.array(model.lags) * (time_step(recent["time"].values) or LEAST_STEP)
    result = result.assign_coords(wavelength=("level", model.wavelength, {"units": "m"}), lag=("lag", lags))
    return result.assign_attrs(made.attrs)


# --- the model ------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """Which frames are used, for which models; lags and steps in time steps of the radar."""

    latest: int | None
    """Index of the latest frame."""
    lags: list[int]
    """Lags of the frames before it that models need, rising, whether they are there or not."""
    usable: list[int]
    """Those of them that are there and wet; first the steps of the models, because the models begin from these."""
    steps: list[int]
    """Step of each model."""
    order: int
    """Of all models."""
    reason: str
    """Why the order is not 2; empty if it is."""


class Model(NamedTuple):
    """What the levels are like, now and in the last frames."""

    wavelength: Doubles
    """At the middle of each level, m, ``(level,)``."""
    deviation: Doubles
    """Standard deviation of the latest frame, dB, ``(level,)``."""
    lags: list[int]
    """As in the plan."""
    correlation: Doubles
    """Of the latest frame with the one a lag before, ``(level, lag)``; NaN where there is none."""
    ratio: Doubles
    """Standard deviation of the latest frame over that of the one before, ``(level, lag)``."""


def band_centres(size: int, levels: int) -> Doubles:
    """Wavenumbers in the middle of the bands, waves in `size` cells: equal ratios from 1 to the shortest wave."""
    edges = np.exp(_width(size, levels) * np.arange(levels + 1))
    middle: Doubles = 0.5 * (edges[1:] + edges[:-1])
    return middle


def band_weights(radius: Doubles, size: int, levels: int) -> Doubles:
    """Weights of the bands of a cascade, ``(level, radius)``, that sum up to one at each wavenumber.

    Gaussian in the logarithm of the wavenumber, in waves in `size` cells; the first one holds the mean too. As
    `pysteps.cascade.bandpass_filters.filter_gaussian` has them.
    """
    width = _width(size, levels)
    centres = np.log(band_centres(size, levels)) / width
    place = np.log(np.maximum(radius, 1e-9)) / width
    # relative to the nearest band, so that wavenumbers far from all of them have weights too
    exponents = -2.0 * (place - centres[:, None]) ** 2
    weights = np.exp(exponents - exponents.max(axis=0))
    weights /= weights.sum(axis=0)
    weights[:, radius == 0] = (np.arange(levels) == 0)[:, None]
    return np.asarray(weights)


def _width(size: int, levels: int) -> float:
    """Width of a band, in the logarithm of the wavenumber."""
    return float(np.log(max(0.5 * size, LEAST_RATIO)) / levels)


def usable_levels(size: int, levels: int) -> int:
    """Return how many of `levels` a grid of `size` cells can hold."""
    return int(np.clip(np.log(max(0.5 * size, 1.0)) / np.log(LEAST_RATIO), 1, levels))


def stationary(gamma_1: Doubles, gamma_2: Doubles) -> tuple[Doubles, Doubles]:
    """Hold correlations over one and two steps in bounds where an AR(2) model is stationary, and does not oscillate.

    The bound of Pulkkinen and others (2019) for the second one.
    """
    first = np.clip(gamma_1, -CLOSEST, CLOSEST)
    square = np.maximum(first**2, 1e-12)
    least = (3 * square - 2 + 2 * (1 - square) ** 1.5) / square
    return first, np.clip(gamma_2, np.maximum(least, 2 * square - 1), CLOSEST)


def parameters(gamma_1: Doubles, gamma_2: Doubles | None) -> tuple[Doubles, Doubles]:
    """Solve the Yule-Walker equations; without a second correlation, of order 1."""
    if gamma_2 is None:
        return np.clip(gamma_1, -CLOSEST, CLOSEST), np.zeros_like(gamma_1)
    first, second = stationary(gamma_1, gamma_2)
    return first * (1 - second) / (1 - first**2), (second - first**2) / (1 - first**2)


def iterated(phi_1: Doubles, phi_2: Doubles, steps: Doubles) -> tuple[Doubles, Doubles]:
    """Return a, b of ``X_n = a(n) X_0 + b(n) X_-1`` at `steps`, linear between whole ones: each ``(step, level)``."""
    count = int(np.ceil(steps.max())) + 1
    a, b = np.zeros((2, count + 1, phi_1.size))
    a[0] = 1.0
    a[1], b[1] = phi_1, phi_2
    for n in range(2, count + 1):
        a[n] = phi_1 * a[n - 1] + phi_2 * a[n - 2]
        b[n] = phi_1 * b[n - 1] + phi_2 * b[n - 2]
    whole = np.floor(steps).astype(int)
    share = (steps - whole)[:, None]
    return (1 - share) * a[whole] + share * a[whole + 1], (1 - share) * b[whole] + share * b[whole + 1]


def plan(recent: xr.DataArray, settings: ScaleSettings) -> Plan:
    """Choose the frames: the latest, and those one and two steps of each model before it, if they are there and wet."""
    radar_step = time_step(recent["time"].values) or LEAST_STEP
    least = max(1, int(-(-LEAST_STEP // radar_step)))
    steps = [least, *range(2 * least, int(settings.longest_step * MINUTE / radar_step) + 1, least)]
    lags = sorted({lag for step in steps for lag in (step, 2 * step)})
    values = recent.values
    seen = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    if seen.size == 0:
        return Plan(None, lags, [], [], 0, "no radar data in any frame: all unknown")
    latest, lowest = int(seen[-1]), settings.lowest_rate
    wet = {lag: lag <= latest and bool((values[latest - lag] >= lowest).any()) for lag in (0, *lags)}
    if not wet[0]:
        return Plan(latest, lags, [], [], 0, f"extrapolated: no rain of {lowest:g} mm/h in the newest frame")
    full = [step for step in steps if wet[step] and wet[2 * step]]
    if full:
        return Plan(latest, lags, [*full, *(2 * step for step in full if 2 * step not in full)], full, 2, "")
    half = [step for step in steps if wet[step]][:1]
    if half:
        return Plan(latest, lags, half, half, 1, "model of order 1: too few of the frames before the newest hold rain")
    return Plan(latest, lags, [], [], 0, "extrapolated: too few of the frames before the newest hold rain")


# --- filtering ------------------------------------------------------------------------------------------------


class Filtered(NamedTuple):
    """What came out."""

    dbr: NDArray[np.float32]
    rate: NDArray[np.float32]
    model: Model
    frames: list[str]
    attrs: dict[str, str]


def _filter(recent: xr.DataArray, motion: xr.Dataset, leads: LeadTimes, settings: ScaleSettings) -> Filtered:
    """Filter and carry on; plainly carry on where the frames allow no model."""
    radar_step = time_step(recent["time"].values) or LEAST_STEP
    chosen = plan(recent, settings)
    _, age = latest_frame(recent)
    ahead = leads + age
    minutes = (ahead / MINUTE).astype(np.float32)
    flow = cells_per_step(motion, MINUTE)
    indices = [-1] if chosen.latest is None else [chosen.latest, *(chosen.latest - lag for lag in chosen.usable)]
    rates = np.ascontiguousarray(recent.values[indices], dtype=np.float32)
    grid, metres = _grid(recent)
    levels = usable_levels(grid.size, settings.levels)
    model = _no_model(metres * grid.size / band_centres(grid.size, levels), chosen.lags)
    if chosen.steps:
        spectra = _spectra(rates, flow, np.array(chosen.usable) * (radar_step / MINUTE), grid, settings)
        bands = band_weights(grid.radius, grid.size, levels)
        model = _fit(spectra, chosen, bands, grid, model)
        weights = _radial_weights(model, chosen, ahead / radar_step, bands)
        dbr, rate = _carried(rates[0], spectra[: weights.shape[1]], weights, grid, flow, minutes, settings)
    else:
        rate = advect_arrays(rates[:1], flow, minutes, LINEAR, longest_step=LONGEST_STEP)[0]
        dbr = kernels.decibels(rate, settings.offset)
    dbr += np.float32(10 * np.log10(settings.offset))
    used = [iso_time(time) for time in recent["time"].values[indices]] if chosen.latest is not None else []
    steps = ", ".join(f"{step * radar_step / MINUTE:g} min" for step in chosen.steps) or "none"
    attrs = {"model_steps": steps} | ({"fallback": chosen.reason} if chosen.reason else {})
    return Filtered(dbr, rate, model, used, attrs)


def _no_model(wavelength: Doubles, lags: list[int]) -> Model:
    unknown = np.full((wavelength.size, len(lags)), np.nan)
    return Model(wavelength, np.full(wavelength.size, np.nan), lags, unknown, unknown.copy())


def _grid(recent: xr.DataArray) -> tuple[kernels.Wavenumbers, float]:
    """Return the wavenumbers of the grid, and the width of its cells in metres (of a lone column their height)."""
    rows, columns = recent.sizes["y"], recent.sizes["x"]
    dy, dx = metres_per_cell(recent)
    width = float(np.abs(dx).mean()) if columns > 1 else abs(dy)
    aspect = abs(dy) / width if min(rows, columns) > 1 else 1.0  # a lone row has no height
    return kernels.wavenumbers(rows, columns, round(aspect, 3)), width


def _spectra(
    rates: NDArray[np.float32],
    flow: NDArray[np.float32],
    ages: Doubles,
    grid: kernels.Wavenumbers,
    settings: ScaleSettings,
) -> NDArray[np.complex64]:
    """Spectra of the frames in decibels, the latest first, the others carried along the motion to its time.

    What the latest frame does not see is dry; what the others do not see is as in the latest.
    """
    decibels = kernels.decibels(rates, settings.offset)
    order = np.argsort(ages)
    rising = np.ascontiguousarray(decibels[1:][order])
    moved = advect_arrays(rising, flow, ages[order].astype(np.float32), LINEAR, paired=True, longest_step=LONGEST_STEP)
    frames = [decibels[0], *moved[0][np.argsort(order)]]
    return np.stack([kernels.spectrum(frame, decibels[0], grid) for frame in frames])


def _fit(
    spectra: NDArray[np.complex64], chosen: Plan, bands: Doubles, grid: kernels.Wavenumbers, unknown: Model
) -> Model:
    """Find the variance of each level, and its correlation with itself a lag before."""
    squares = bands[:, 1:] ** 2  # the mean, the first one, does not vary
    variance = squares @ kernels.radial_covariance(spectra[0], spectra[0], grid)[1:]
    for lag, before in zip(chosen.usable, spectra[1:], strict=True):
        k = chosen.lags.index(lag)
        its_variance = squares @ kernels.radial_covariance(before, before, grid)[1:]
        covariance = squares @ kernels.radial_covariance(spectra[0], before, grid)[1:]
        unknown.correlation[:, k] = _ratio(covariance, np.sqrt(variance * its_variance))
        unknown.ratio[:, k] = np.sqrt(_ratio(variance, its_variance))
    return unknown._replace(deviation=np.sqrt(variance))


def _ratio(numerator: Doubles, denominator: Doubles) -> Doubles:
    """Divide, with 0 for a level that does not vary."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _radial_weights(model: Model, chosen: Plan, steps: Doubles, bands: Doubles) -> NDArray[np.float32]:
    """Mean over the models of the weights of the spectra, ``(lead, frame, radial bin)``, at `steps` of the radar."""
    count = len(chosen.steps)
    weights = np.zeros((len(steps), 1 + (count if chosen.order == 2 else 0), bands.shape[1]))
    for frame, step in enumerate(chosen.steps, start=1):
        k = chosen.lags.index(step)
        second = model.correlation[:, chosen.lags.index(2 * step)] if chosen.order == 2 else None
        a, b = iterated(*parameters(model.correlation[:, k], second), np.asarray(steps / step, dtype=np.float64))
        weights[:, 0] += a @ bands / count
        if chosen.order == 2:
            weights[:, frame] += (b * model.ratio[:, k]) @ bands / count
    weights[:, :, 0] = np.arange(weights.shape[1]) == 0  # the mean stays
    return weights.astype(np.float32)


def _carried(
    latest: NDArray[np.float32],
    spectra: NDArray[np.complex64],
    weights: NDArray[np.float32],
    grid: kernels.Wavenumbers,
    flow: NDArray[np.float32],
    minutes: NDArray[np.float32],
    settings: ScaleSettings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Filter, and carry each lead time's field along the motion: ``(lead, y, x)`` in decibels above dry, and mm h-1."""
    fields = workspace_of_this_thread().array("filtered", (len(weights), *latest.shape))
    wet = latest[latest >= settings.lowest_rate]
    transforms = kernels.filter_fields(spectra, weights, grid, latest, np.sort(wet)[::-1], fields)
    moved = advect_arrays(fields, flow, minutes, LINEAR, paired=True, longest_step=LONGEST_STEP)[0]
    return moved, kernels.apply_rank_transforms(moved, transforms)
