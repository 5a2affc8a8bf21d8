"""Fixtures of the tests of stations: real gauges with their radar, and simulated rain with gauges in it."""

from __future__ import annotations

import pytest

from helpers.stations_synthetic import gauges_in, moving_rain
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations

CITY_27 = "openmrg/20150827/openMRG_city_gauges_20150827.nc"
SMHI_27 = "openmrg/20150827/openMRG_smhi_gauge_20150827.nc"


@pytest.fixture(scope="session")
def half_day(real):
    """Return radar and gauges of Gothenburg, half a day of August 2015."""
    radar = open_radar(real("openmrg/20150827/openMRG_example_rad.nc")).load()
    return radar, open_stations([*real(CITY_27), *real(SMHI_27)])


@pytest.fixture
def rain():
    """Return simulated showers."""
    return moving_rain()


@pytest.fixture
def gauges(rain):
    """Return gauges that measure the showers exactly."""
    return gauges_in(rain)
