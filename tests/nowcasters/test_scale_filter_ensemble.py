"""Members of the scale filter: sharp, wet where rain is near, as wet together as the latest frame."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.nowcasters.scale_filter import ScaleFilter
from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble, matched_threshold, smooth


@pytest.fixture(scope="module")
def rain():
    return synthetic.rain((90, 120), synthetic.translation(1.1, 0.4), frames=7)


@pytest.fixture(scope="module")
def result(rain):
    return forecast(rain, nowcaster=ScaleFilterEnsemble(), members=30, lead_time="1h", step="15min")


def test_members_together_are_as_wet_as_the_latest_frame(rain, result):
    latest = rain.isel(time=-1).values
    members = result.precipitation_rate_ensemble.values
    for threshold in (0.5, 2.0):
        share = (members[np.isfinite(members)] >= threshold).mean()
        assert 0.7 < share / (latest >= threshold).mean() < 1.3


def test_lazy_members_are_the_same_after_pickling(result):
    lazy = result.precipitation_rate_ensemble.isel(lead_time=[1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)).values, lazy.values)


def test_spread_grows_with_lead_time(result):
    spread = result.precipitation_rate_ensemble.std("realization").mean(("y", "x")).values
    assert spread[-1] > spread[0] > 0


def test_the_field_is_that_of_the_scale_filter(rain, result):
    alone = forecast(rain, nowcaster=ScaleFilter(), lead_time="1h", step="15min")
    np.testing.assert_array_equal(alone.precipitation_rate.values, result.precipitation_rate.values)
    unknown = np.isnan(result.precipitation_rate.values)
    assert (np.isnan(result.precipitation_rate_ensemble.values) == unknown).all()


def test_far_from_rain_it_is_dry(rain):
    lonely = rain.copy(data=np.where(np.arange(120) < 30, rain.values, 0))
    members = forecast(lonely, nowcaster=ScaleFilterEnsemble(), members=20, lead_time="15min", step="15min")
    far = members.precipitation_rate_ensemble.isel(x=slice(90, None))
    assert float((far >= 0.1).mean()) < 0.02


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_without_an_ar_process_all_members_are_equal(rain, value):
    members = forecast(
        rain.copy(data=np.full_like(rain.values, value)), nowcaster=ScaleFilterEnsemble(), members=3, lead_time="30min"
    ).precipitation_rate_ensemble.values
    np.testing.assert_array_equal(members[1:], np.broadcast_to(members[:1], members[1:].shape))
    known = members[np.isfinite(members)]
    assert (known == 0).all()


@pytest.mark.parametrize("members", [0, -1])
def test_an_ensemble_without_members_is_refused(members):
    with pytest.raises(InputError, match=f"members = {members}"):
        ScaleFilterEnsemble(members=members)


def test_matched_thresholds_keep_the_fraction():
    generator = np.random.default_rng(0)
    mean, deviation = generator.normal(0, 3, 500), generator.uniform(0.5, 2, 500)
    found = matched_threshold(mean, deviation, 0.2)
    drawn = mean + deviation * generator.standard_normal((2000, 500))
    assert abs((drawn > found).mean() - 0.2) < 0.005


def test_smoothing_keeps_the_mean():
    image = np.random.default_rng(0).uniform(size=(30, 41)).astype(np.float32)
    found = smooth(image, 3.0)
    assert abs(found.mean() - image.mean()) < 1e-5
    assert found.std() < 0.2 * image.std()
