"""Meteograms in bytes: what is read back from a tile is what the forecast says, and unknown stays unknown."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest

from helpers.web_maps import FACTORS, MINUTE, make_forecast, make_radar, small_scene
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.ensembles.products import quantiles
from hybridcast.webmap import samples
from hybridcast.webmap.canvas import make_canvas


def unpack(forecast, layout, tiles, row, column):
    """Return the planes of a sample by name, as the page does."""
    high = min(samples.TILE, layout.cells.shape[0] - row // samples.TILE * samples.TILE)
    wide = min(samples.TILE, layout.cells.shape[1] - column // samples.TILE * samples.TILE)
    content = gzip.decompress(base64.b64decode(tiles[f"{row // samples.TILE}_{column // samples.TILE}"]))
    planes = np.frombuffer(content, np.uint8).reshape(-1, high, wide)[:, row % samples.TILE, column % samples.TILE]
    leads = forecast.sizes["lead_time"]
    found = {name: planes[k * leads : (k + 1) * leads] for k, name in enumerate(layout.names)}
    rest = planes[len(layout.names) * leads :]
    assert rest.size == len(layout.time_names)
    return found | dict(zip(layout.time_names, rest.tolist(), strict=True))


def to_rate(codes):
    rates = samples.LOWEST * 2 ** ((codes.astype(float) - 1) / samples.STEPS_PER_OCTAVE)
    return np.where(codes == samples.MISSING, np.nan, np.where(codes == 0, 0.0, rates))


def encoded(forecast, latest=None):
    layout = samples.plan_samples(forecast, make_canvas(forecast))
    members = None
    if ENSEMBLE in forecast:
        values = forecast[ENSEMBLE].transpose("lead_time", "realization", "y", "x").values
        members = values.reshape(*values.shape[:2], -1)[..., layout.chosen]
    raining = None if latest is None else latest.ravel()[layout.chosen]
    return layout, dict(samples.encode_samples(forecast, layout, members, raining))


def test_a_sample_says_what_the_forecast_says_there():
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.4, 4.0, (50, 45)).astype(np.float32)
    radar = make_radar(rates, y=1000.0 * np.arange(50), x=1000.0 * np.arange(45), crs=None)
    forecast = make_forecast(radar)
    layout, tiles = encoded(forecast)
    assert layout.stride == 1
    assert set(tiles) == {"0_0", "0_1", "1_0", "1_1"}
    expected = quantiles(forecast, samples.FAN)
    for row, column in ((3, 4), (40, 2), (33, 44)):
        found = unpack(forecast, layout, tiles, row, column)
        at = {"y": 49 - row, "x": column}  # pictures begin in the north
        rate = forecast["precipitation_rate"].isel(at).values
        np.testing.assert_allclose(to_rate(found["rate"]), np.where(rate < samples.LOWEST, 0, rate), rtol=0.02)
        chance = forecast["probability_of_exceedance"].isel(at).sel(threshold=1.0).values
        np.testing.assert_allclose(found["probability_1"] / 200, chance, atol=0.0026)
        median = expected.sel(quantile=0.5).isel(at).values
        np.testing.assert_allclose(to_rate(found["rate_q50"]), np.where(median < samples.LOWEST, 0, median), rtol=0.02)


def test_rain_times_are_those_of_the_members():
    rates = np.zeros((4, 5), np.float32)
    rates[:, 2] = 3.0
    forecast = make_forecast(make_radar(rates, y=1000.0 * np.arange(4), x=1000.0 * np.arange(5), crs=None), leads=6)
    forecast[ENSEMBLE][:, :2] = 0.0  # it comes at the third lead time
    layout, tiles = encoded(forecast)
    dry, wet = (unpack(forecast, layout, tiles, 1, column) for column in (0, 2))
    assert (dry["probability_of_rain"], dry["minutes_to_rain_q50"], dry["known"]) == (0, samples.MISSING, 60)
    assert wet["probability_of_rain"] / 200 == (FACTORS > 0).mean()
    assert wet["minutes_to_rain_q50"] == 30


def test_rain_that_falls_now_begins_at_zero():
    forecast, radar = small_scene()
    layout, tiles = encoded(forecast, radar.values[-1])
    row, column = (int(one) for one in np.argwhere(layout.cells == 20 * 30 + 3)[0])
    found = unpack(forecast, layout, tiles, row, column)
    assert (found["minutes_to_rain_q50"], found["probability_of_rain"]) == (0, 200)


def test_unknown_is_no_number():
    forecast, _ = small_scene()
    layout, tiles = encoded(forecast)
    row, column = (int(one) for one in np.argwhere(layout.cells == 35 * 30 + 3)[0])
    found = unpack(forecast, layout, tiles, row, column)
    assert all((np.asarray(found[name]) == samples.MISSING).all() for name in layout.names)
    assert found["probability_of_rain"] == samples.MISSING
    assert found["known"] == 0


def test_a_forecast_without_members_has_no_spread():
    _, radar = small_scene()
    forecast = make_forecast(radar, members=False)
    layout, tiles = encoded(forecast)
    assert not any("_q" in name for name in layout.names)
    found = unpack(forecast, layout, tiles, *np.argwhere(layout.cells == 20 * 30 + 3)[0])
    assert found["probability_of_rain"] == samples.MISSING
    assert found["minutes_to_rain_q50"] == 10


def test_large_grids_are_thinned(monkeypatch):
    monkeypatch.setattr(samples, "MAX_SAMPLES", 100)
    forecast, _ = small_scene()
    layout = samples.plan_samples(forecast, make_canvas(forecast))
    assert layout.cells.size <= 130
    described = layout.to_json()
    assert described["stride"] == layout.stride > 1
    canvas = make_canvas(forecast)
    assert layout.cells[1, 2] == canvas.cells[tuple(described["offset"] + np.array([1, 2]) * layout.stride)]


@pytest.mark.parametrize("hours", [2, 12])
def test_minutes_fit_into_a_byte(hours):
    forecast, _ = small_scene()
    leads = MINUTE * 60 * np.arange(1, hours + 1)
    long = forecast.isel(lead_time=np.zeros(hours, int)).assign_coords(lead_time=leads)
    layout = samples.plan_samples(long, make_canvas(long))
    assert hours * 60 / layout.minutes < samples.MISSING


def test_codes_of_rates_keep_their_order():
    rates = np.array([0.0, 0.049, 0.05, 0.1, 1.0, 10.0, 300.0, 2000.0, np.nan], np.float32)
    codes = samples.encode_rates(rates)
    assert codes[:2].tolist() == [0, 0]
    assert (np.diff(codes[2:7].astype(int)) > 0).all()
    assert codes[-1] == samples.MISSING
    assert codes[-2] == samples.MISSING - 1
