"""Variables of a forecast: labels select, and files keep them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from helpers.ensembles import lazy_members
from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.core.forecast_schema import (
    PROBABILITY,
    add_advected,
    add_ensemble,
    add_member_weights,
    add_motion,
    add_probabilities,
    add_source_weights,
    add_unknown_fraction,
    forecast_dataset,
)
from hybridcast.motion.estimate import estimate_motion

LEADS = np.arange(1, 4) * np.timedelta64(10, "m")
SHAPE = (30, 40)


@pytest.fixture(params=[None, "EPSG:3035"], ids=["local", "EPSG:3035"])
def complete(request):
    """A forecast with every variable of the schema."""
    rain = synthetic.rain(SHAPE, synthetic.translation(1, 1), crs=request.param)
    generator = np.random.default_rng(0)
    rate = generator.gamma(0.2, 4.0, (4, 3, *SHAPE)).astype(np.float32)
    rate[:, 1, :, :10] = np.nan
    made = add_ensemble(forecast_dataset(rate.mean(axis=0), rain, LEADS, nowcaster="all", status="ok"), rate)
    made = add_advected(add_motion(made, estimate_motion(rain)), rate[0])
    made = add_probabilities(made, generator.random((2, 3, *SHAPE), np.float32), [0.1, 1.0])
    made = add_member_weights(made, generator.random((3, 2, 3), np.float32), ["scale-filter", "boosting", "network"])
    made = add_source_weights(made, np.array([[1, 0.5, 0.2], [0, 0.5, 0.8]], np.float32), "weight of a source")
    return add_unknown_fraction(made)


def test_labels_select(complete):
    np.testing.assert_array_equal(complete.member_weight.sel(member="boosting"), complete.member_weight[1])
    np.testing.assert_array_equal(complete.source_weight.sel(source="nwp"), complete.source_weight[1])
    np.testing.assert_array_equal(
        complete.probability_of_exceedance.sel(threshold=1.0, lead_time="20min"),
        complete.probability_of_exceedance[1, 1],
    )
    np.testing.assert_array_equal(
        complete.precipitation_rate_ensemble.sel(realization=3)[0], complete.precipitation_rate_ensemble[3, 0]
    )
    assert {"lead_time", "threshold", "member", "source", "realization"} <= set(complete.indexes)


def test_a_file_keeps_everything(complete, tmp_path):
    read = load_forecast(save_forecast(complete, tmp_path / "forecast.nc", packing="float32"))
    xr.testing.assert_identical(read.drop_vars(PROBABILITY), complete.drop_vars(PROBABILITY))
    np.testing.assert_allclose(read[PROBABILITY], complete[PROBABILITY], rtol=0, atol=2**-15)
    assert set(read.indexes) == set(complete.indexes)
    assert (read.member_weight.sel(member="network") == complete.member_weight[2]).all()
    assert (read.source_weight.sel(source="radar") == complete.source_weight[0]).all()


def test_the_variables_are_described(complete):
    fields = [name for name, variable in complete.data_vars.items() if {"y", "x"} <= set(variable.dims)]
    for _name, variable in complete.data_vars.items():
        assert variable.attrs["long_name"]
        assert variable.attrs["units"]
    if "spatial_ref" in complete.coords:
        assert all(complete[name].attrs["grid_mapping"] == "spatial_ref" for name in fields)
    np.testing.assert_allclose(complete.unknown_fraction, [0, 0.25, 0], atol=1e-6)


def test_the_one_it_is_made_from_stays_as_it_is(complete):
    rain = synthetic.rain(SHAPE)
    plain = forecast_dataset(np.zeros((3, *SHAPE)), rain, LEADS)
    before = plain.copy(deep=True)
    add_ensemble(plain, np.zeros((2, 3, *SHAPE), np.float32))
    add_advected(add_unknown_fraction(plain), np.zeros((3, *SHAPE), np.float32))
    xr.testing.assert_identical(plain, before)


def test_lazy_members_stay_lazy_and_need_not_have_the_rate_as_their_mean():
    rain = synthetic.rain(SHAPE, seen=synthetic.disc(SHAPE))
    plain = forecast_dataset(np.zeros((3, *SHAPE)), rain, LEADS)
    computed = []

    def make(lead):
        computed.append(lead)
        return np.full((5, *SHAPE), lead, np.float32)

    made = add_unknown_fraction(add_ensemble(plain, lazy_members(5, (3, *SHAPE), make), rate_is_mean=False))
    assert computed == []
    assert made.precipitation_rate_ensemble.chunks == ((5,), (1, 1, 1), (30,), (40,))
    assert "cell_methods" not in made.precipitation_rate.attrs
    np.testing.assert_array_equal(made.precipitation_rate_ensemble[:, 2], np.full((5, *SHAPE), 2))
    assert computed == [2]
    assert add_ensemble(plain, np.zeros((2, 3, *SHAPE))).precipitation_rate.attrs["cell_methods"] == "realization: mean"
