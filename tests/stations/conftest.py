"""What the tests of stations share: real gauges with their radar, and simulated rain with gauges in it."""

from __future__ import annotations

import pytest

from helpers.stations_synthetic import gauges_in, moving_rain
from hybridcast.radar import open_radar
from hybridcast.stations import open_stations

CITY_8D = "openmrg/8d_20150722/openmrg_municp_gauge_8d.nc"
SMHI_8D = "openmrg/8d_20150722/openmrg_smhi_gauge_8d.nc"
CITY_27 = "openmrg/20150827/openMRG_city_gauges_20150827.nc"
SMHI_27 = "openmrg/20150827/openMRG_smhi_gauge_20150827.nc"


@pytest.fixture(scope="session")
def eight_days(real):
    """Give radar and gauges of Gothenburg, eight days of July 2015."""
    radar = open_radar(real("openmrg/8d_20150722/openmrg_rad_8d.nc")).load()
    return radar, open_stations([*real(CITY_8D), *real(SMHI_8D)])


@pytest.fixture(scope="session")
def half_day(real):
    """Give radar and gauges of Gothenburg, half a day of August 2015."""
    radar = open_radar(real("openmrg/20150827/openMRG_example_rad.nc")).load()
    return radar, open_stations([*real(CITY_27), *real(SMHI_27)])


@pytest.fixture(scope="session")
def openrainer(real):
    """Give radar and gauges of Emilia-Romagna, two and a half hours of September 2022."""
    return open_radar(real("openrainer/openrainer_RAD.nc")).load(), open_stations(real("openrainer/openrainer_AWS.nc"))


@pytest.fixture
def rain():
    """Give simulated showers."""
    return moving_rain()


@pytest.fixture
def gauges(rain):
    """Give exact gauges in them."""
    return gauges_in(rain)
