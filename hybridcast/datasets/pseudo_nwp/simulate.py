"""Later radar, degraded like the forecast of an NWP model: `hybridcast.datasets.pseudo_nwp` says how."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import GRID_MAPPING, RATE, UNITS, check_precipitation, metres_per_cell
from hybridcast.core.grid import coarsen
from hybridcast.core.types import HOUR, Array
from hybridcast.datasets.pseudo_nwp.frames import Archive, steps_of
from hybridcast.datasets.pseudo_nwp.noise import Moment, Noise
from hybridcast.datasets.pseudo_nwp.settings import TYPICAL, PseudoNwpSettings
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow, cells_per_step

_SECOND = np.timedelta64(1, "s")
#: Kinds of patterns, by number, as they are part of the seeds.
DISPLACEMENT, TIMING, MISSED, INVENTED, INTENSITY, DONOR = range(6)
#: How many standard deviations of a pattern it takes from all of a storm to none of it.
RAMP = 0.5
#: A Gaussian of this share of a wave's length halves its amplitude.
HALVING = float(np.sqrt(np.log(2) / 2)) / np.pi
#: Drizzle reaches about so far from rain, km.
DRIZZLE_REACH = 5.0
#: Invented storms come from the mirrored time only where the weather is still the same.
LONGEST_MIRROR = np.timedelta64(12, "h")
#: The mean motion is that at so many times of the archive, evenly chosen.
MOTION_TIMES = 4


def simulate_pseudo_nwp(
    radar: xr.DataArray,
    reference_times: ArrayLike,
    lead_times: ArrayLike,
    settings: PseudoNwpSettings = TYPICAL,
    *,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate runs of a model from what the radar saw after their start. No model is behind it.

    Parameters
    ----------
    radar
        Precipitation field, dims ``(time, y, x)``, mm h-1, of one event or one day: its frames at the valid times are
        what is spoiled, all its frames are where invented storms come from.
    reference_times
        Starts of the runs, ``datetime64``, shape ``(reference_time,)``. They may lie before the first frame.
    lead_times
        ``timedelta64``, increasing, above zero, shape ``(lead_time,)``. Rates are means over the step that ends at the
        valid time: from one lead time to the next, an hour if there is only one.
    settings
        The errors: `GOOD`, `TYPICAL`, `POOR`, `PERFECT`, or others.
    seed
        The same for the same fields; give each event its own.

    Returns
    -------
    Dataset
        `precipitation_rate`, mm h-1, float32, dims ``("reference_time", "lead_time", "y", "x")``, on the radar's grid
        or, where that is finer than the settings' spacing, on its coarsened one; valid times in `time`, dims
        ``("reference_time", "lead_time")``. NaN where less than half of a step lies in the archive, and where the radar
        did not see the place that is shown, nor the one on the other side. ``attrs["simulated"]`` says what it is.

    Raises
    ------
    InputError
        If `radar` does not keep the contract of a precipitation field, or times are none.

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
    leads, runs = check_lead_times(lead_times), _reference_times(reference_times)
    archive = Archive(radar, settings.spacing)
    grid = coarsen(radar.isel(time=slice(0, 1)).compute(), settings.spacing).isel(time=0, drop=True)
    simulator = _Simulator(archive, settings, _noise(radar, grid, settings, seed))
    rates = np.array(
        [[simulator.field(run, lead, step) for lead, step in zip(leads, steps_of(leads), strict=True)] for run in runs],
        dtype=np.float32,
    )
    return _dataset(rates.reshape(runs.size, leads.size, *grid.shape), grid, runs, leads, settings, seed)


class _Simulator(NamedTuple):
    """One event, spoiled in one way."""

    archive: Archive
    settings: PseudoNwpSettings
    noise: Noise

    def field(self, run: np.datetime64, lead: np.timedelta64, step: np.timedelta64) -> Array:
        """Rate at one lead time of one run, mm h-1, shape ``(y, x)``."""
        if not self.archive.holds(run + lead, step):
            return np.full(self.noise.shape, np.nan, np.float32)
        at = Moment(int((run - np.datetime64(0, "s")) / _SECOND), float(lead / HOUR))
        rate = self.archive.mean(run + lead, step, self._timing(at))
        rate = self._displaced(rate, at)
        rate = self._with_other_storms(rate, run + lead, step, at)
        rate = self._intensity(at) * rate
        rate = self._with_drizzle(self._smoothed(rate))
        return rate * self._spun_up(at.lead)

    def _timing(self, at: Moment) -> np.timedelta64:
        minutes = self.settings.timing * self.settings.growth(at.lead) * self.noise.weights(TIMING, at, (1,))[0]
        return np.timedelta64(round(60 * float(minutes)), "s")

    def _displaced(self, rate: Array, at: Moment) -> Array:
        """Move rain by a smooth vector field; where it would come from the unknown, by its opposite."""
        kilometres = self.settings.displacement * self.settings.growth(at.lead)
        if not kilometres:
            return rate
        pattern = self.noise.pattern(DISPLACEMENT, self.settings.displacement_scale, at, 2)
        cells = pattern * np.float32(kilometres / np.sqrt(2) / self.noise.cell)
        moved = _sampled(rate, cells)
        unknown = np.isnan(moved)
        if unknown.any():
            moved[unknown] = _sampled(rate, -cells)[unknown]
        return moved

    def _with_other_storms(self, rate: Array, end: np.datetime64, step: np.timedelta64, at: Moment) -> Array:
        """Leave out some storms, and put others in."""
        growth = self.settings.growth(at.lead)
        if self.settings.missed:
            rate = rate * (1 - self._patches(MISSED, self.settings.missed * growth, at))
        if self.settings.invented:
            patches = self._patches(INVENTED, self.settings.invented * growth, at)
            rate = np.where(np.isnan(rate), rate, np.maximum(rate, patches * self._other_rain(end, step)))
        return rate

    def _patches(self, kind: int, share: float, at: Moment) -> Array:
        """Patches that take a share of the area on average: 1 within, 0 outside, smooth between."""
        from scipy.special import ndtri

        level = np.float32(ndtri(1 - min(share, 0.95)))
        pattern = self.noise.pattern(kind, self.settings.storm_scale, at)[0]
        patches: Array = np.clip((pattern - level) / np.float32(RAMP) + np.float32(0.5), 0, 1)
        return patches

    def _other_rain(self, end: np.datetime64, step: np.timedelta64) -> Array:
        """Rain of another place, or of another place and time, that moves like that of this one.

        A field turned by half a circle whose time runs backwards moves as it did. What is not seen of it counts as dry.
        """
        rows, columns = self.noise.shape
        generator = np.random.default_rng(np.random.SeedSequence([*self.noise.entropy, DONOR]))
        down, along = (int(share * n) for share, n in zip(generator.uniform(0.3, 0.7, 2), (rows, columns), strict=True))
        if self.archive.span < LONGEST_MIRROR and generator.random() < 0.5:
            rate = self.archive.mirrored(end, step)[::-1, ::-1]
        else:
            rate = self.archive.mean(end, step, np.timedelta64(0, "s"))
        return np.roll(np.nan_to_num(rate), (down, along), (0, 1))

    def _intensity(self, at: Moment) -> Array | np.float32:
        """Return a log-normal factor whose mean is 1."""
        spread = self.settings.intensity * self.settings.growth(at.lead)
        if not spread:
            return np.float32(1)
        pattern = self.noise.pattern(INTENSITY, self.settings.intensity_scale, at)[0]
        factor: Array = np.exp(np.float32(spread) * pattern - np.float32(spread**2 / 2))
        return factor

    def _smoothed(self, rate: Array) -> Array:
        """Take the details, and give the strong rates back in part, rank by rank."""
        deviation = HALVING * self.settings.resolution / self.noise.cell
        if not deviation:
            return rate
        smooth = _blurred(rate, deviation)
        peaks = np.float32(self.settings.peaks)
        return (1 - peaks) * smooth + peaks * _ranked(smooth, rate)

    def _with_drizzle(self, rate: Array) -> Array:
        """Spread light rain around rain."""
        if not self.settings.drizzle:
            return rate
        around = _blurred(rate, DRIZZLE_REACH / self.noise.cell)
        return np.maximum(rate, np.minimum(around, np.float32(self.settings.drizzle)))

    def _spun_up(self, hours: float) -> np.float32:
        if not self.settings.spin_up:
            return np.float32(1)
        return np.float32(1 - np.exp(-hours * 60 / self.settings.spin_up))


# --- operations on one field ----------------------------------------------------------------------------------


def _sampled(rate: Array, cells: Array) -> Array:
    """Sample a field `cells` away, ``(2, y, x)`` with rows first; NaN where most of what is there is not known."""
    import cv2

    known = np.isfinite(rate).astype(np.float32)
    rows, columns = (np.arange(n, dtype=np.float32) for n in rate.shape)
    there = columns[None, :] + cells[1], rows[:, None] + cells[0]
    share = cv2.remap(known, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    total = cv2.remap(np.nan_to_num(rate), *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(share >= 0.5, total / np.maximum(share, 0.5), np.float32(np.nan))


def _blurred(rate: Array, deviation: float) -> Array:
    """Smooth by a Gaussian (cells) over what is known; NaN stays."""
    import cv2

    known = np.isfinite(rate)
    total, share = (
        cv2.GaussianBlur(part, (0, 0), deviation, borderType=cv2.BORDER_CONSTANT)
        for part in (np.where(known, rate, np.float32(0)), known.astype(np.float32))
    )
    return np.where(known, total / np.maximum(share, 1e-6), np.float32(np.nan))


def _ranked(smooth: Array, rate: Array) -> Array:
    """Return `smooth` the values of `rate`, rank by rank; NaN stays."""
    wet = np.flatnonzero(smooth > 1e-3)
    result = smooth.copy()
    if wet.size:
        highest = np.sort(rate[np.isfinite(rate)])[-wet.size :]
        result.flat[wet[np.argsort(smooth.flat[wet])]] = highest
    return result


# --- around it ------------------------------------------------------------------------------------------------


def _noise(radar: xr.DataArray, grid: xr.DataArray, settings: PseudoNwpSettings, seed: int) -> Noise:
    dy, dx = metres_per_cell(grid)
    cell = float(np.sqrt(abs(dy) * np.abs(dx).mean())) / 1000
    place = [axis.size for axis in (grid["y"], grid["x"])] + [float(grid[axis].values[0]) for axis in ("y", "x")]
    return Noise(
        entropy=(seed % 2**32, zlib.crc32(np.array(place, np.float64).tobytes())),
        shape=(grid.sizes["y"], grid.sizes["x"]),
        cell=cell,
        drift=_mean_motion(radar, cell),
        shared=settings.shared,
        memory=settings.memory,
    )


def _mean_motion(radar: xr.DataArray, cell: float) -> tuple[float, float]:
    """Return the mean motion of the rain down the rows and along the columns, km an hour; zero where there is none."""
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
    dy, dx = metres_per_cell(radar)
    down, along = np.mean(found, axis=0) * [abs(dy) / 1000, float(np.abs(dx).mean()) / 1000]
    return float(down), float(along)


def _reference_times(given: ArrayLike) -> NDArray[np.datetime64]:
    times = np.atleast_1d(np.asarray(given))
    if times.dtype.kind != "M" or np.isnat(times).any():
        raise InputError(
            f"reference times are {times}",
            "they are datetime64, none missing",
            "Give numpy.datetime64('2020-06-01T12')",
        )
    return times.astype("datetime64[ns]")


def _dataset(
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
        "simulated": "pseudo-NWP: no model was run; what the radar saw later, with errors like a model's",
        "simulation_settings": ", ".join(f"{name}={value:g}" for name, value in asdict(settings).items()),
        "simulation_seed": seed,
    }
    return xr.Dataset({RATE: (("reference_time", "lead_time", "y", "x"), rates, described)}, coords=coords, attrs=attrs)
