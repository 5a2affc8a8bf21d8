"""Simulation of pseudo-NWP from later radar; `hybridcast.datasets.pseudo_nwp` describes the errors."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.extras import extra
from hybridcast.core.field import GRID_MAPPING, RATE, UNITS, check_precipitation
from hybridcast.core.grid import cell_kilometres, cell_size, coarsen
from hybridcast.core.types import HOUR, Array
from hybridcast.datasets.pseudo_nwp.frames import RadarArchive, step_lengths
from hybridcast.datasets.pseudo_nwp.noise import Noise, RunTime
from hybridcast.datasets.pseudo_nwp.settings import TYPICAL, PseudoNwpSettings
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, cells_per_step

_SECOND = np.timedelta64(1, "s")
#: Kinds of patterns as numbers, which are part of the seeds.
DISPLACEMENT, TIMING, MISSED, INVENTED, INTENSITY, DONOR = range(6)
#: Width of the transition at the edge of a patch, standard deviations of its pattern.
RAMP = 0.5
#: Standard deviation of a Gaussian that halves the amplitude of a wave, as a fraction of the wavelength.
HALVING = float(np.sqrt(np.log(2) / 2)) / np.pi
#: Approximate distance of drizzle from rain, km.
DRIZZLE_REACH = 5.0
#: Maximum length of an archive whose time may be reversed for invented storms, so that the weather is the same.
LONGEST_MIRROR = np.timedelta64(12, "h")
#: Number of times of the archive, evenly chosen, over which the motion is averaged.
MOTION_TIMES = 4


def simulate_pseudo_nwp(
    radar: xr.DataArray,
    reference_times: ArrayLike,
    lead_times: ArrayLike,
    settings: PseudoNwpSettings = TYPICAL,
    *,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate NWP runs from radar after their start; no NWP model is involved.

    Parameters
    ----------
    radar
        Precipitation field of one event or one day, dims ``(time, y, x)``, mm h-1. Frames at the valid times are
        degraded; invented storms are taken from all frames.
    reference_times
        Starts of the runs, ``datetime64``, shape ``(reference_time,)``. They may lie before the first frame.
    lead_times
        Lead times, ``timedelta64``, increasing, above zero, shape ``(lead_time,)``. Rates are means over the step that
        ends at the valid time: from one lead time to the next, or an hour if there is only one.
    settings
        Errors of the runs: `GOOD`, `TYPICAL`, `POOR`, `PERFECT`, or others.
    seed
        Random seed; equal seeds and fields give equal runs. Use a different seed for each event.

    Returns
    -------
    Dataset
        `precipitation_rate`, mm h-1, float32, dims ``("reference_time", "lead_time", "y", "x")``, on the grid of the
        radar or, if that is finer than the spacing of the settings, on coarser cells. `time` contains the valid times,
        dims ``("reference_time", "lead_time")``. NaN where less than half of a step lies in the archive, and where the
        radar is unknown both at the source of the displaced rain and at the opposite one. ``attrs["simulated"]`` says
        that the runs are simulated.

    Raises
    ------
    InputError
        If `radar` is no valid precipitation field, or reference times are missing.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> minutes = np.arange(0, 130, 10) * np.timedelta64(1, "m")
    >>> rain = np.zeros((13, 40, 50), "float32")
    >>> rain[:, 10:20, 10:30] = 4
    >>> radar = precipitation(rain, time=np.datetime64("2020-06-01T12:00") + minutes, y=np.arange(40) * 2e3,
    ...                       x=np.arange(50) * 2e3, crs=None)
    >>> runs = simulate_pseudo_nwp(radar, [np.datetime64("2020-06-01T11:00")], np.arange(1, 4) * np.timedelta64(1, "h"))
    >>> runs.sizes["lead_time"], bool(runs.precipitation_rate[0, 0].isnull().all()), runs.attrs["source"]
    (3, True, 'pseudo-NWP, simulated from later radar')
    """
    radar = check_precipitation(radar)
    leads, runs = check_lead_times(lead_times), _check_reference_times(reference_times)
    archive = RadarArchive(radar, settings.spacing)
    grid = coarsen(radar.isel(time=slice(0, 1)).compute(), settings.spacing).isel(time=0, drop=True)
    simulator = _Simulator(archive, settings, _build_noise(radar, grid, settings, seed))
    rates = np.array(
        [
            [simulator.field(run, lead, step) for lead, step in zip(leads, step_lengths(leads), strict=True)]
            for run in runs
        ],
        dtype=np.float32,
    )
    return _build_dataset(rates.reshape(runs.size, leads.size, *grid.shape), grid, runs, leads, settings, seed)


class _Simulator(NamedTuple):
    """Simulator of the runs of one event."""

    archive: RadarArchive
    settings: PseudoNwpSettings
    noise: Noise

    def field(self, run: np.datetime64, lead: np.timedelta64, step: np.timedelta64) -> Array:
        """Return the rate at one lead time of one run, mm h-1, shape ``(y, x)``."""
        if not self.archive.holds(run + lead, step):
            return np.full(self.noise.shape, np.nan, np.float32)
        at = RunTime(int((run - np.datetime64(0, "s")) / _SECOND), float(lead / HOUR))
        rate = self.archive.mean(run + lead, step, self._timing_error(at))
        rate = self._displace(rate, at)
        rate = self._exchange_storms(rate, run + lead, step, at)
        rate = self._intensity_factor(at) * rate
        rate = self._add_drizzle(self._smooth(rate))
        return rate * self._spin_up_factor(at.lead)

    def _timing_error(self, at: RunTime) -> np.timedelta64:
        minutes = self.settings.timing * self.settings.growth(at.lead) * self.noise.weights(TIMING, at, (1,))[0]
        return np.timedelta64(round(60 * float(minutes)), "s")

    def _displace(self, rate: Array, at: RunTime) -> Array:
        """Move rain by a smooth vector field, or by the opposite vector where its source is unknown."""
        kilometres = self.settings.displacement * self.settings.growth(at.lead)
        if not kilometres:
            return rate
        pattern = self.noise.pattern(DISPLACEMENT, self.settings.displacement_scale, at, 2)
        cells = pattern * np.float32(kilometres / np.sqrt(2) / self.noise.cell)
        moved = _sample(rate, cells)
        unknown = np.isnan(moved)
        if unknown.any():
            moved[unknown] = _sample(rate, -cells)[unknown]
        return moved

    def _exchange_storms(self, rate: Array, end: np.datetime64, step: np.timedelta64, at: RunTime) -> Array:
        """Remove some storms, and insert others."""
        growth = self.settings.growth(at.lead)
        if self.settings.missed:
            rate = rate * (1 - self._draw_patches(MISSED, self.settings.missed * growth, at))
        if self.settings.invented:
            patches = self._draw_patches(INVENTED, self.settings.invented * growth, at)
            rate = np.where(np.isnan(rate), rate, np.maximum(rate, patches * self._take_other_rain(end, step)))
        return rate

    def _draw_patches(self, kind: int, fraction: float, at: RunTime) -> Array:
        """Return patches that cover a mean fraction of the area: 1 inside, 0 outside, with smooth edges."""
        from scipy.special import ndtri

        threshold = np.float32(ndtri(1 - min(fraction, 0.95)))
        pattern = self.noise.pattern(kind, self.settings.storm_scale, at)[0]
        patches: Array = np.clip((pattern - threshold) / np.float32(RAMP) + np.float32(0.5), 0, 1)
        return patches

    def _take_other_rain(self, end: np.datetime64, step: np.timedelta64) -> Array:
        """Return rain of another place, or of another place and time, with the same motion.

        A field that is rotated by 180 degrees and reversed in time keeps its motion. Unknown cells count as dry.
        """
        rows, columns = self.noise.shape
        generator = np.random.default_rng(np.random.SeedSequence([*self.noise.entropy, DONOR]))
        down, along = (
            int(fraction * n) for fraction, n in zip(generator.uniform(0.3, 0.7, 2), (rows, columns), strict=True)
        )
        if self.archive.span < LONGEST_MIRROR and generator.random() < 0.5:
            rate = self.archive.mirrored(end, step)[::-1, ::-1]
        else:
            rate = self.archive.mean(end, step, np.timedelta64(0, "s"))
        return np.roll(np.nan_to_num(rate), (down, along), (0, 1))

    def _intensity_factor(self, at: RunTime) -> Array | np.float32:
        """Return a log-normal factor whose mean is 1."""
        spread = self.settings.intensity * self.settings.growth(at.lead)
        if not spread:
            return np.float32(1)
        pattern = self.noise.pattern(INTENSITY, self.settings.intensity_scale, at)[0]
        factor: Array = np.exp(np.float32(spread) * pattern - np.float32(spread**2 / 2))
        return factor

    def _smooth(self, rate: Array) -> Array:
        """Smooth out details, and restore the distribution of rates in part, rank by rank."""
        deviation = HALVING * self.settings.resolution / self.noise.cell
        if not deviation:
            return rate
        smooth = _blur(rate, deviation)
        peaks = np.float32(self.settings.peaks)
        return (1 - peaks) * smooth + peaks * _match_ranks(smooth, rate)

    def _add_drizzle(self, rate: Array) -> Array:
        """Add light rain around rain."""
        if not self.settings.drizzle:
            return rate
        around = _blur(rate, DRIZZLE_REACH / self.noise.cell)
        return np.maximum(rate, np.minimum(around, np.float32(self.settings.drizzle)))

    def _spin_up_factor(self, hours: float) -> np.float32:
        if not self.settings.spin_up:
            return np.float32(1)
        return np.float32(1 - np.exp(-hours * 60 / self.settings.spin_up))


# --- operations on one field ----------------------------------------------------------------------------------


def _sample(rate: Array, cells: Array) -> Array:
    """Sample a field at a displacement in cells, ``(2, y, x)``, rows first; NaN where most of the source is unknown."""
    with extra("train", "pseudo-NWP"):
        import cv2

    known = np.isfinite(rate).astype(np.float32)
    rows, columns = (np.arange(n, dtype=np.float32) for n in rate.shape)
    source = columns[None, :] + cells[1], rows[:, None] + cells[0]
    fraction = cv2.remap(known, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    total = cv2.remap(np.nan_to_num(rate), *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(fraction >= 0.5, total / np.maximum(fraction, 0.5), np.float32(np.nan))


def _blur(rate: Array, deviation: float) -> Array:
    """Smooth known cells by a Gaussian with a standard deviation in cells; NaN stays."""
    with extra("train", "pseudo-NWP"):
        import cv2

    known = np.isfinite(rate)
    total, fraction = (
        cv2.GaussianBlur(part, (0, 0), deviation, borderType=cv2.BORDER_CONSTANT)
        for part in (np.where(known, rate, np.float32(0)), known.astype(np.float32))
    )
    return np.where(known, total / np.maximum(fraction, 1e-6), np.float32(np.nan))


def _match_ranks(smooth: Array, rate: Array) -> Array:
    """Replace the values of `smooth` by those of `rate`, rank by rank; NaN stays."""
    wet = np.flatnonzero(smooth > 1e-3)
    result = smooth.copy()
    if wet.size:
        highest = np.sort(rate[np.isfinite(rate)])[-wet.size :]
        result.flat[wet[np.argsort(smooth.flat[wet])]] = highest
    return result


# --- input and output ------------------------------------------------------------------------------------------------


def _build_noise(radar: xr.DataArray, grid: xr.DataArray, settings: PseudoNwpSettings, seed: int) -> Noise:
    cell = cell_size(grid) / 1000
    place = [axis.size for axis in (grid["y"], grid["x"])] + [float(grid[axis].values[0]) for axis in ("y", "x")]
    return Noise(
        entropy=(seed % 2**32, zlib.crc32(np.array(place, np.float64).tobytes())),
        shape=(grid.sizes["y"], grid.sizes["x"]),
        cell=cell,
        drift=_estimate_mean_motion(radar, cell),
        shared=settings.shared,
        memory=settings.memory,
    )


def _estimate_mean_motion(radar: xr.DataArray, cell: float) -> tuple[float, float]:
    """Return the mean motion of the rain down the rows and along the columns, km h-1; zero without rain."""
    frames = 3
    starts = np.unique(np.linspace(0, max(0, radar.sizes["time"] - frames), MOTION_TIMES).astype(int))
    found = []
    for start in starts:
        recent = coarsen(radar.isel(time=slice(start, start + frames)).compute(), 2000 * cell)
        motion = DenseFlow().estimate(recent)
        rain = np.nan_to_num(recent.values).sum(axis=0)
        if rain.any():
            block = float(np.prod(radar.shape[1:]) / np.prod(recent.shape[1:])) ** 0.5
            flow = (cells_per_step(motion, HOUR) * rain).sum(axis=(1, 2)) / rain.sum()
            found.append(flow[::-1] * block)
    if not found:
        return 0.0, 0.0
    down, along = np.mean(found, axis=0) * cell_kilometres(radar)
    return float(down), float(along)


def _check_reference_times(given: ArrayLike) -> NDArray[np.datetime64]:
    times = np.atleast_1d(np.asarray(given))
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise InputError(
            f"reference times are {times}",
            "they are datetime64, none missing",
            "Give numpy.datetime64('2020-06-01T12')",
        )
    return times.astype("datetime64[ns]")


def _build_dataset(
    rates: Array,
    grid: xr.DataArray,
    runs: NDArray[np.datetime64],
    leads: NDArray[np.timedelta64],
    settings: PseudoNwpSettings,
    seed: int,
) -> xr.Dataset:
    coords: dict[str, Any] = {name: grid.coords[name] for name in ("y", "x", GRID_MAPPING) if name in grid.coords}
    coords["reference_time"] = ("reference_time", runs, {"standard_name": "forecast_reference_time"})
    coords["lead_time"] = ("lead_time", leads, {"standard_name": "forecast_period", "long_name": "lead time"})
    valid = runs[:, None] + leads
    coords["time"] = (("reference_time", "lead_time"), valid, {"standard_name": "time", "long_name": "valid time"})
    described = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "pseudo-NWP precipitation rate, simulated from later radar",
        "units": UNITS,
        "cell_methods": "time: mean",
    }
    if GRID_MAPPING in coords:
        described["grid_mapping"] = GRID_MAPPING
    attrs = {
        "title": "pseudo-NWP",
        "source": "pseudo-NWP, simulated from later radar",
        "simulated": "pseudo-NWP: later radar with simulated forecast errors, not the forecast of an NWP model",
        "simulation_settings": ", ".join(f"{name}={value:g}" for name, value in asdict(settings).items()),
        "simulation_seed": seed,
    }
    return xr.Dataset({RATE: (("reference_time", "lead_time", "y", "x"), rates, described)}, coords=coords, attrs=attrs)
