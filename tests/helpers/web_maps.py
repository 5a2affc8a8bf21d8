"""Small forecasts for map pages: made-up rain on any grid, with members and probabilities."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.core.field import precipitation
from hybridcast.core.forecast_schema import add_ensemble, add_probabilities, forecast_dataset

ISSUED = np.datetime64("2024-06-01T12:00", "ns")
MINUTE = np.timedelta64(60, "s").astype("timedelta64[ns]")
THRESHOLDS = (0.1, 1.0, 5.0)
FACTORS = np.array([0.0, 0.5, 1.0, 2.0], np.float32)


def make_radar(rates, *, y, x, crs="EPSG:3067", frames=3, issued=ISSUED) -> xr.DataArray:
    """Return frames of the same rain, every 10 min up to the issue time."""
    times = issued - MINUTE * 10 * np.arange(frames)[::-1]
    values = np.broadcast_to(np.asarray(rates, np.float32), (frames, len(y), len(x))).copy()
    return precipitation(values, time=times, y=y, x=x, crs=crs)


def make_forecast(radar: xr.DataArray, *, leads: int = 3, members: bool = True) -> xr.Dataset:
    """Return the latest frame as the forecast of each lead time, with members that are multiples of it."""
    rates = np.repeat(radar.values[-1:], leads, axis=0)
    made = forecast_dataset(rates, radar, MINUTE * 10 * np.arange(1, leads + 1), nowcaster="made-up")
    made = add_probabilities(made, np.stack([np.exp(-t / (0.3 + rates)) for t in THRESHOLDS]), THRESHOLDS)
    return add_ensemble(made, FACTORS[:, None, None, None] * rates, rate_is_mean=False) if members else made


def small_scene(*, rain: float = 4.0, crs: str | None = "EPSG:3067", issued=ISSUED) -> tuple[xr.Dataset, xr.DataArray]:
    """Return a forecast and its radar of 40 x 30 cells of 2 km in Finland: rain in the west, unknown in the north."""
    rates = np.zeros((40, 30), np.float32)
    rates[:, :10] = rain
    rates[30:] = np.nan
    y, x = 6_700_000.0 + 2000.0 * np.arange(40), 340_000.0 + 2000.0 * np.arange(30)
    if crs is None:
        y, x = y - y[0], x - x[0]
    radar = make_radar(rates, y=y, x=x, crs=crs, issued=issued)
    return make_forecast(radar), radar
