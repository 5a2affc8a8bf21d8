from __future__ import annotations

import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE, gauges_in, moving_rain
from hybridcast.stations.clock import clock_offset


@pytest.mark.parametrize("minutes", [-10, 0, 5, 15])
def test_finds_an_offset_that_is_known(minutes):
    rain = moving_rain()
    found = clock_offset(gauges_in(rain, delay=minutes), rain)
    assert found.offset == minutes * MINUTE
    assert found.correlation > 0.95
    assert found.pairs > 100
    assert dict(found.by_offset)[0.0] == found.correlation_as_stamped


def test_tells_nothing_of_dry_weather_or_noise(rain):
    assert clock_offset(gauges_in(rain * 0), rain * 0) is None
    noise = gauges_in(rain)
    noise.precipitation_rate[:] = np.random.default_rng(0).gamma(0.3, 3, noise.precipitation_rate.shape)
    assert clock_offset(noise, rain) is None
    assert clock_offset(gauges_in(rain).isel(time=slice(0)), rain) is None
    assert clock_offset(gauges_in(rain), rain.isel(time=[0])) is None


def test_gothenburg_in_august_is_five_minutes_late(half_day):
    found = clock_offset(half_day[1], half_day[0])
    assert found.offset == 5 * MINUTE
    assert found.correlation > found.correlation_as_stamped + 0.1
    assert "5 min later" in str(found)


def test_gothenburg_in_july_is_ten_minutes_late(eight_days):
    assert clock_offset(eight_days[1], eight_days[0]).offset == 10 * MINUTE


def test_emilia_romagna_is_in_time(openrainer):
    found = clock_offset(openrainer[1], openrainer[0])
    assert found.offset == 0 * MINUTE
    assert found.pairs > 1000
