"""Pseudo-gauges: reports simulated from a radar sequence, for regions without gauges; and a simulated radar bias.

Nothing of this is measured, and all names, titles and attributes say so. The sequence is taken as the truth. The
simulated errors have the size of those of real gauges: losses by wind of 2 to 10 % in rain (Sevruk 1982, WMO
Operational Hydrology Report 21), random differences between point and area values of about 25 % in a quarter of an
hour, steps of 0.1 or 0.2 mm, missing reports, and a few broken gauges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.field import crs_of
from hybridcast.core.grid import cell_size
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.stations.collocation import NO_OFFSET, sample_radar_at
from hybridcast.stations.interpolation import cells_in_kilometres
from hybridcast.stations.schema import station_reports

FAULTS = ("", "blocked", "stuck", "spikes")
"""Faults of a pseudo-gauge: none, always dry, always the same rate, occasional absurd values."""


@dataclass(frozen=True)
class PseudoGaugeSettings:
    """Density and errors of pseudo-gauges."""

    area: float = 500.0
    """Mean area per gauge, km2; gauges lie within the coverage of the radar."""
    interval_minutes: int = 15
    """Interval of the reports, min."""
    error: float = 0.25
    """Standard deviation of the logarithm of the random factor on each value."""
    station_error: float = 0.1
    """Standard deviation of the logarithm of the random factor on each gauge."""
    undercatch: tuple[float, float] = (0.02, 0.10)
    """Minimum and maximum fraction of the rain lost by wind."""
    resolution: tuple[float, ...] = (0.1, 0.2)
    """Resolutions from which that of each gauge is chosen, mm."""
    missing: float = 0.02
    """Fraction of missing reports."""
    broken: float = 0.03
    """Fraction of broken gauges."""


def simulate_pseudo_gauges(
    truth: xr.DataArray, *, seed: int, settings: PseudoGaugeSettings = PseudoGaugeSettings()
) -> xr.Dataset:
    """Simulate gauges from a radar sequence, which is taken as the truth.

    Parameters
    ----------
    truth
        Precipitation field with several frames.
    seed
        Random seed; equal seeds give equal gauges.
    settings
        Density and errors of the gauges.

    Returns
    -------
    Dataset
        Station reports with the sensor ``"pseudo-gauge"``. The coordinates ``pseudo_fault`` (see `FAULTS`) and
        ``resolution`` (mm) contain the fault and the resolution of each gauge. NaN where a report or the radar is
        missing.

    Raises
    ------
    InputError
        If the interval is not a multiple of the radar's time step, or is longer than the sequence.

    Examples
    --------
    >>> from hybridcast import precipitation
    >>> times = np.datetime64("2020-01-01T00:05") + np.arange(12) * np.timedelta64(5, "m")
    >>> axis = np.arange(50) * 1e3
    >>> rain = precipitation(np.full((12, 50, 50), 4.0), time=times, y=axis, x=axis, crs=None)
    >>> gauges = simulate_pseudo_gauges(rain, seed=0)
    >>> gauges.precipitation_rate.shape, str(gauges.station.values[0]), gauges.attrs["interval_minutes"]
    ((5, 4), 'pseudo-0000', 15.0)
    """
    generator = np.random.default_rng(seed)
    cells = _draw_cells(truth, settings, generator)
    ends = _report_times(truth, settings)
    interval = np.timedelta64(settings.interval_minutes, "m")
    count = len(cells)
    resolution = generator.choice(settings.resolution, count)
    fault = np.where(generator.random(count) < settings.broken, generator.integers(1, len(FAULTS), count), 0)
    empty = _build_reports(np.full((count, ends.size), np.nan), ends, interval, truth, cells, {})
    rates = sample_radar_at(empty, truth, cells, NO_OFFSET)
    rates = _add_errors(rates, resolution, settings, generator)
    rates = _add_faults(rates, fault, generator)
    rates[generator.random(rates.shape) < settings.missing] = np.nan
    names = {"pseudo_fault": np.array(FAULTS, object)[fault], "resolution": resolution}
    return _build_reports(rates, ends, interval, truth, cells, names)


def _draw_cells(truth: xr.DataArray, settings: PseudoGaugeSettings, generator: np.random.Generator) -> Array:
    """Draw rows and columns, with fractions of cells, where the radar is known in at least half of the frames."""
    known = np.argwhere((truth.notnull().mean("time") >= 0.5).values)
    if not len(known):
        raise InputError("the radar sees nothing", "pseudo-gauges lie where it sees", "Give a field with values")
    area = (cell_size(truth) / 1000) ** 2
    count = max(1, round(len(known) * area / settings.area))
    chosen = known[generator.choice(len(known), min(count, len(known)), replace=False)]
    return (chosen + generator.uniform(-0.45, 0.45, chosen.shape)).astype(np.float32)


def _report_times(truth: xr.DataArray, settings: PseudoGaugeSettings) -> NDArray[np.datetime64]:
    times, interval = truth["time"].values, np.timedelta64(settings.interval_minutes, "m")
    step = time_step(times)
    count = 0 if step is None else int((times[-1] - times[0] + step) // interval)
    if step is None or interval % step or not count:
        raise InputError(
            f"an interval of {settings.interval_minutes} min and {times.size} frames",
            "the interval is a whole multiple of the radar's step, and the sequence as long at least",
            "Choose interval_minutes in PseudoGaugeSettings, or give more frames",
        )
    return np.asarray(times[-1] - np.arange(count)[::-1] * interval)


def _build_reports(
    rates: NDArray[np.floating],
    ends: NDArray[np.datetime64],
    interval: np.timedelta64,
    truth: xr.DataArray,
    cells: Array,
    names: dict[str, NDArray[np.generic]],
) -> xr.Dataset:
    axes = {name: _coordinates_at(truth[name].values, cells[:, column]) for column, name in enumerate(("y", "x"))}
    crs = crs_of(truth)
    if crs is not None:
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(axes["x"], axes["y"])
        axes = {"latitude": latitude, "longitude": longitude}
    kind = np.full(len(cells), "pseudo-gauge", object)
    return station_reports(
        rates,
        station=[f"pseudo-{n:04d}" for n in range(len(cells))],
        time=ends,
        interval=interval,
        coords={**axes, "sensor": kind, **names},
        attrs={"title": "pseudo-gauges", "source": "simulated from radar; not measured"},
    )


def _coordinates_at(axis: Doubles, at: Array) -> Doubles:
    return np.asarray(axis[0] + at * ((axis[-1] - axis[0]) / max(axis.size - 1, 1)), np.float64)


def _add_errors(
    rates: Array, resolution: Doubles, settings: PseudoGaugeSettings, generator: np.random.Generator
) -> Array:
    """Add the errors of working gauges to true rates.

    The resolution applies to the running total, as in a tipping bucket.
    """
    hours = settings.interval_minutes / 60
    count = len(rates)
    caught = 1 - generator.uniform(*settings.undercatch, (count, 1))
    own = generator.normal(0, settings.station_error, (count, 1)) - settings.station_error**2 / 2
    each = generator.normal(0, settings.error, rates.shape) - settings.error**2 / 2
    amount = rates * hours * caught * np.exp(own + each)
    total = np.cumsum(np.nan_to_num(amount), axis=1) / resolution[:, None]
    steps = np.diff(np.floor(total + generator.random((count, 1))), axis=1, prepend=0.0)
    return np.where(np.isfinite(rates), steps * resolution[:, None] / hours, np.nan).astype(np.float32)


def _add_faults(rates: Array, fault: NDArray[np.integer], generator: np.random.Generator) -> Array:
    blocked, stuck, spikes = ((fault == n)[:, None] for n in range(1, len(FAULTS)))
    absurd = spikes & (generator.random(rates.shape) < 0.1)
    spike = generator.uniform(50, 1000, rates.shape)
    constant = generator.uniform(1, 10, (len(rates), 1))
    faulty = np.where(blocked, 0.0, np.where(stuck, constant, np.where(absurd, spike, rates)))
    return np.where(np.isfinite(rates), faulty, np.nan).astype(np.float32)


def simulate_radar_bias(
    radar: xr.DataArray, *, seed: int, bias: float = 0.7, range_loss: float = 0.5, patches: float = 1.5
) -> tuple[xr.DataArray, Array]:
    """Apply a simulated bias to radar: a constant factor, a loss that increases with range, and patches.

    Parameters
    ----------
    radar
        Precipitation field.
    seed
        Random seed; equal seeds give equal biases.
    bias
        Factor of the whole field.
    range_loss
        Fraction lost at the cell farthest from a radar in the middle of the grid; it increases with the square of the
        range.
    patches
        Standard deviation of patches with a diameter of about 30 km, dB.

    Returns
    -------
    DataArray, ndarray
        The biased field, with an attribute that names the simulated bias, and the factor, float32, shape ``(y, x)``.
    """
    shape = radar.shape[-2:]
    at = cells_in_kilometres(radar).reshape(*shape, 2)
    middle = at[shape[0] // 2, shape[1] // 2]
    away = np.sum((at - middle) ** 2, axis=-1)
    spacing = max(float(at[min(1, shape[0] - 1), 0, 0]), 1e-3)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 15.0 / spacing)
    noise *= patches / max(float(noise.std()), 1e-9)
    factor = (bias * (1 - range_loss * away / max(float(away.max()), 1e-9)) * 10 ** (noise / 10)).astype(np.float32)
    biased = (radar * xr.DataArray(factor, dims=("y", "x"))).astype(np.float32).rename(radar.name)
    return biased.assign_attrs({**radar.attrs, "simulated_bias": "a simulated radar bias was put on"}), factor
