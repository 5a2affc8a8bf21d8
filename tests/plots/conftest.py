"""Fields, a forecast and what then was observed, to be drawn; and the colour at a place of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.drawing import ISSUED, MINUTE, field_of
from helpers.ensembles import lazy_members
from hybridcast.core.forecast_schema import add_ensemble


@pytest.fixture
def forecast():
    rng = np.random.default_rng(1)
    rates = rng.gamma(0.3, 3.0, (6, 30, 40)).astype(np.float32)
    rates[:, :5] = np.nan
    lead = MINUTE * 10 * np.arange(1, 7)
    one = field_of(rates[0])
    chances = np.stack([np.exp(-level / (0.3 + rates)) for level in (0.1, 1.0, 5.0)])
    return xr.Dataset(
        {
            "precipitation_rate": (("lead_time", "y", "x"), rates),
            "u": (("y", "x"), np.full((30, 40), 8.0)),
            "v": (("y", "x"), np.full((30, 40), -6.0)),
            "probability_of_exceedance": (("threshold", "lead_time", "y", "x"), chances),
        },
        coords={
            "threshold": [0.1, 1.0, 5.0],
            "lead_time": lead,
            "reference_time": ISSUED,
            "time": ("lead_time", ISSUED + lead),
            "y": one["y"],
            "x": one["x"],
            "spatial_ref": one["spatial_ref"],
        },
    )


@pytest.fixture
def observed(forecast):
    """What is forecast comes true, but the last three frames are not there yet."""
    rain = forecast["precipitation_rate"].isel(lead_time=slice(0, 3))
    return rain.swap_dims(lead_time="time").drop_vars(["lead_time", "reference_time"])


@pytest.fixture
def scenarios(forecast):
    """The forecast with eight lazy members, of which one is dry."""
    rates = forecast["precipitation_rate"].values
    factors = np.array([0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 4.0], np.float32)
    lazy = lazy_members(len(factors), rates.shape, lambda lead: factors[:, None, None] * rates[lead])
    return add_ensemble(forecast, lazy, rate_is_mean=False)
