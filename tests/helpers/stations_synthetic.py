"""Simulated showers, and gauges that measure them exactly."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hybridcast.core.field import precipitation
from hybridcast.stations import station_reports

MINUTE = np.timedelta64(1, "m")
START = np.datetime64("2020-06-01T00:00", "ns")


def moving_rain(frames: int = 36, size: int = 60, seed: int = 0):
    """Return simulated showers that move east by a cell of 2 km in each 5 minutes, dry between them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size + frames)), 4)
    rain = np.maximum(noise / noise.std() - 0.3, 0) * 6
    values = np.stack([rain[:, frames - n : frames - n + size] for n in range(frames)])
    times = START + (np.arange(frames) + 1) * 5 * MINUTE
    axis = np.arange(size) * 2000.0
    return precipitation(values, time=times, y=axis, x=axis, crs=None)


def gauges_in(field, count: int = 40, seed: int = 1, step: int = 5, delay: int = 0):
    """Return gauges that measure the field without error, with clocks `delay` minutes late."""
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(2, field.sizes["y"] - 2, (2, count))
    return station_reports(
        field.values[:, rows, columns].T,
        station=[f"g{n}" for n in range(count)],
        time=field["time"].values + delay * MINUTE,
        interval=step * MINUTE,
        coords={"x": field["x"].values[columns], "y": field["y"].values[rows]},
    )


def steady_rain(frames: int = 48, size: int = 60, seed: int = 0):
    """Return simulated rain everywhere, of about 2 mm/h, that moves east by a cell of 2 km in each 5 minutes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size + frames)), 4)
    values = [2 * np.exp(0.4 * noise[:, frames - n : frames - n + size] / noise.std()) for n in range(frames)]
    times = START + (np.arange(frames) + 1) * 5 * MINUTE
    axis = np.arange(size) * 2000.0
    return precipitation(np.stack(values), time=times, y=axis, x=axis, crs=None)
