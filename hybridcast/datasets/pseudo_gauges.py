"""Pseudo-gauges: reports simulated from a radar sequence, for regions that have no gauges; and a simulated bias of
the radar.

Nothing of this is measured, and all names, titles and attributes say so. The sequence is taken as the truth; the
errors put on top are of the sizes that real gauges have: losses by wind of 2 to 10 % in rain (Sevruk 1982, WMO
Operational Hydrology Report 21), random errors of point values against areas of about 25 % in a quarter of an hour,
steps of 0.1 or 0.2 mm, missing reports, and a few gauges that are broken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.field import crs_of, metres_per_cell, time_step
from hybridcast.errors import InputError
from hybridcast.stations.collocation import NO_OFFSET, sample_radar_at
from hybridcast.stations.interpolation import cells_in_kilometres
from hybridcast.stations.schema import station_reports

Floats = NDArray[np.float32]

BROKEN = ("", "blocked", "stuck", "spikes")
"""What is wrong with a pseudo-gauge: nothing, always dry, always one rate, absurd values now and then."""


@dataclass(frozen=True)
class PseudoGaugeSettings:
    """How many pseudo-gauges there are, and how wrong they are."""

    area: float = 500.0
    """km2 for each of them, on average; they lie where the radar sees."""
    interval_minutes: int = 15
    error: float = 0.25
    """Standard deviation of the logarithm of each value's factor,"""
    station_error: float = 0.1
    """and of each gauge's own."""
    undercatch: tuple[float, float] = (0.02, 0.10)
    """Share of the rain that wind keeps out of the gauge, from and to."""
    resolution: tuple[float, ...] = (0.1, 0.2)
    """Steps of the gauges, mm; each has one of these."""
    missing: float = 0.02
    """Share of reports that are missing."""
    broken: float = 0.03
    """Share of gauges that are broken."""


def simulate_pseudo_gauges(
    truth: xr.DataArray, *, seed: int, settings: PseudoGaugeSettings = PseudoGaugeSettings()
) -> xr.Dataset:
    """Simulate gauges from a radar sequence that is taken as the truth.

    Parameters
    ----------
    truth
        Precipitation field, several frames.
    seed
        The same seed gives the same gauges.
    settings
        Density and errors.

    Returns
    -------
    Dataset
        Station reports with ``sensor`` ``"pseudo-gauge"``; coordinates ``pseudo_fault`` (see `BROKEN`) and
        ``resolution`` (mm) tell what was done to each. NaN where a report is missing or the radar did not see.

    Raises
    ------
    InputError
        If the interval is no whole multiple of the radar's time step, or longer than the sequence.

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
    places = _places(truth, settings, generator)
    ends = _ends(truth, settings)
    interval = np.timedelta64(settings.interval_minutes, "m")
    count = len(places)
    resolution = generator.choice(settings.resolution, count)
    fault = np.where(generator.random(count) < settings.broken, generator.integers(1, len(BROKEN), count), 0)
    empty = _reports(np.full((count, ends.size), np.nan), ends, interval, truth, places, {})
    rates = sample_radar_at(empty, truth, places, NO_OFFSET)
    rates = _with_errors(rates, resolution, settings, generator)
    rates = _with_faults(rates, fault, generator)
    rates[generator.random(rates.shape) < settings.missing] = np.nan
    names = {"pseudo_fault": np.array(BROKEN, object)[fault], "resolution": resolution}
    return _reports(rates, ends, interval, truth, places, names)


def _places(truth: xr.DataArray, settings: PseudoGaugeSettings, generator: np.random.Generator) -> Floats:
    """Draw rows and columns where the radar sees in half of the frames at least."""
    seen = np.argwhere((truth.notnull().mean("time") >= 0.5).values)
    if not len(seen):
        raise InputError("the radar sees nothing", "pseudo-gauges lie where it sees", "Give a field with values")
    dy, dx = metres_per_cell(truth)
    area = abs(dy) * float(np.abs(dx).mean()) / 1e6
    count = max(1, round(len(seen) * area / settings.area))
    chosen = seen[generator.choice(len(seen), min(count, len(seen)), replace=False)]
    return (chosen + generator.uniform(-0.45, 0.45, chosen.shape)).astype(np.float32)


def _ends(truth: xr.DataArray, settings: PseudoGaugeSettings) -> NDArray[np.datetime64]:
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


def _reports(
    rates: NDArray[np.floating],
    ends: NDArray[np.datetime64],
    interval: np.timedelta64,
    truth: xr.DataArray,
    places: Floats,
    names: dict[str, NDArray[np.generic]],
) -> xr.Dataset:
    axes = {name: _on_axis(truth[name].values, places[:, column]) for column, name in enumerate(("y", "x"))}
    crs = crs_of(truth)
    if crs is not None:
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(axes["x"], axes["y"])
        axes = {"latitude": latitude, "longitude": longitude}
    kind = np.full(len(places), "pseudo-gauge", object)
    return station_reports(
        rates,
        station=[f"pseudo-{n:04d}" for n in range(len(places))],
        time=ends,
        interval=interval,
        coords={**axes, "sensor": kind, **names},
        attrs={"title": "pseudo-gauges", "source": "simulated from radar; not measured"},
    )


def _on_axis(axis: NDArray[np.float64], at: Floats) -> NDArray[np.float64]:
    return np.asarray(axis[0] + at * ((axis[-1] - axis[0]) / max(axis.size - 1, 1)), np.float64)


def _with_errors(
    rates: Floats, resolution: NDArray[np.float64], settings: PseudoGaugeSettings, generator: np.random.Generator
) -> Floats:
    """Put the errors of working gauges on true rates; steps are of the running total, as a tipping bucket counts."""
    hours = settings.interval_minutes / 60
    count = len(rates)
    caught = 1 - generator.uniform(*settings.undercatch, (count, 1))
    own = generator.normal(0, settings.station_error, (count, 1)) - settings.station_error**2 / 2
    each = generator.normal(0, settings.error, rates.shape) - settings.error**2 / 2
    amount = rates * hours * caught * np.exp(own + each)
    total = np.cumsum(np.nan_to_num(amount), axis=1) / resolution[:, None]
    steps = np.diff(np.floor(total + generator.random((count, 1))), axis=1, prepend=0.0)
    return np.where(np.isfinite(rates), steps * resolution[:, None] / hours, np.nan).astype(np.float32)


def _with_faults(rates: Floats, fault: NDArray[np.integer], generator: np.random.Generator) -> Floats:
    blocked, stuck, spikes = ((fault == n)[:, None] for n in range(1, len(BROKEN)))
    absurd = spikes & (generator.random(rates.shape) < 0.1)
    spike = generator.uniform(50, 1000, rates.shape)
    constant = generator.uniform(1, 10, (len(rates), 1))
    faulty = np.where(blocked, 0.0, np.where(stuck, constant, np.where(absurd, spike, rates)))
    return np.where(np.isfinite(rates), faulty, np.nan).astype(np.float32)


def simulate_radar_bias(
    radar: xr.DataArray, *, seed: int, bias: float = 0.7, range_loss: float = 0.5, patches: float = 1.5
) -> tuple[xr.DataArray, Floats]:
    """Put a simulated bias on radar: a factor for all, a loss with range, and patches.

    Parameters
    ----------
    radar
        Precipitation field.
    seed
        The same seed gives the same bias.
    bias
        Factor of the whole field.
    range_loss
        Factor that is lost, as a share, at the cell farthest from a radar in the middle; it grows with the square of
        the range.
    patches
        Standard deviation of patches some 30 km across, dB.

    Returns
    -------
    DataArray, ndarray
        The biased field, whose attributes say that its bias is simulated, and the factor, float32, shape ``(y, x)``.
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
