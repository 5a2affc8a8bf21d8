"""Members of the trained nowcaster: samples of its probabilities, the same for any order, number and threads."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.core.field import precipitation
from hybridcast.forecasting import forecast
from hybridcast.fusion.hybrid import Hybrid
from hybridcast.learned.trained_model import load_model

SHAPE, SPACING = (96, 110), 2000.0


@pytest.fixture(scope="module")
def nowcaster(model_folder):
    model = load_model(model_folder)
    return Hybrid(model, thresholds=model.thresholds)


@pytest.fixture(scope="module")
def rain():
    return synthetic.rain(
        SHAPE, synthetic.translation(1.3, -0.6), frames=13, spacing=SPACING, seen=synthetic.disc(SHAPE, 0.6)
    )


def made(rain, nowcaster, members=40, seed=0, **options):
    options = {"lead_time": "1h", "step": "15min"} | options
    return forecast(rain, nowcaster=nowcaster, members=members, seed=seed, **options)


@pytest.fixture(scope="module")
def result(rain, nowcaster):
    return made(rain, nowcaster, 400)


def test_the_share_of_members_is_the_probability(result):
    members = result.precipitation_rate_ensemble
    for threshold in result.threshold.values:
        p = result.probability_of_exceedance.sel(threshold=threshold)
        share = (members >= threshold * (1 - 1e-3)).mean("realization")
        assert abs(float((share - p).mean())) < 0.03
        z = ((share - p) / np.sqrt(p * (1 - p) / 400 + 1e-6)).values
        assert abs(np.nanstd(z) - 1) < 0.4


def test_unknown_stays_unknown_in_every_member(result):
    unknown = result.precipitation_rate.isnull()
    assert bool(unknown.any())
    assert bool((result.precipitation_rate_ensemble.isnull() == unknown).all())


def test_other_variables_do_not_depend_on_members(rain, nowcaster, result):
    without = made(rain, nowcaster, 0)
    for name in without.data_vars:
        np.testing.assert_array_equal(without[name].values, result[name].values)


def test_the_first_members_are_those_of_a_smaller_ensemble(rain, nowcaster, result, set_threads):
    set_threads(1)
    few = made(rain, nowcaster, 3).precipitation_rate_ensemble
    np.testing.assert_array_equal(few[:, 2].values, result.precipitation_rate_ensemble[:3, 2].values)
    other = made(rain, nowcaster, 3, seed=1).precipitation_rate_ensemble
    assert not np.array_equal(few[0, 2].values, other[0, 2].values, equal_nan=True)


def test_lazy_members_are_the_same_after_pickling(rain, nowcaster):
    lazy = made(rain, nowcaster, 3).precipitation_rate_ensemble
    assert lazy.chunks is not None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)).values, lazy.values)


def test_members_are_coherent_in_space_and_time(result):
    wet = (result.precipitation_rate_ensemble >= 0.5).values.astype(float)
    residual = wet - wet.mean(axis=0)
    scale = (residual**2).mean()
    assert (residual[..., 1:] * residual[..., :-1]).mean() > 0.3 * scale
    assert (residual[:, 1:] * residual[:, :-1]).mean() > 0.05 * scale
    assert abs((residual[1:] * residual[:-1]).mean()) < 0.05 * scale


@pytest.mark.parametrize("rate", [0.0, np.nan])
def test_dry_is_dry_and_unknown_is_unknown(rate, nowcaster):
    times = np.datetime64("2020-06-01") + np.arange(7) * np.timedelta64(5, "m")
    y, x = np.arange(40) * SPACING, np.arange(50) * SPACING
    field = precipitation(np.full((7, 40, 50), rate), time=times, y=y, x=x, crs=None)
    result = made(field, nowcaster, 40)
    members = result.precipitation_rate_ensemble.values
    if np.isnan(rate):
        assert np.isnan(members).all()
    else:  # as rare as the small model of these tests, which knows little dry weather, says
        likely = float(result.probability_of_exceedance.sel(threshold=0.1).mean())
        assert (members >= 0.1).mean() < 1.3 * likely < 0.05


def test_on_coarse_cells_members_are_those_of_the_scale_filter(nowcaster):
    rain = synthetic.rain((40, 50), synthetic.translation(0.7, 0.2), frames=7, spacing=10_000.0)
    result = made(rain, nowcaster, 10)
    assert "advection alone" in result.attrs["fallback"]
    members = result.precipitation_rate_ensemble.values
    assert np.nanmax(members.std(axis=0)) > 0.1
    assert (np.isnan(members) == np.isnan(result.precipitation_rate.values)).all()


@pytest.mark.parametrize("minutes", [5, 60])
def test_one_lead_time_and_one_member(minutes, rain, nowcaster):
    members = made(rain, nowcaster, 1, lead_time=f"{minutes}min", step=f"{minutes}min").precipitation_rate_ensemble
    assert members.shape == (1, 1, *SHAPE)
    assert bool(members.notnull().any())
