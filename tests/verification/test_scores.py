"""Scores from statistics, against their definitions, numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr

from helpers import synthetic
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.verification.scores import (
    correlation,
    csi,
    frequency_bias,
    mean_absolute_error,
    root_mean_square_error,
)
from hybridcast.verification.statistics import compute_statistics

SHAPE = (20, 25)
LEADS = np.arange(1, 3) * np.timedelta64(5, "m")


def pair(seed=0, factor=1.0, holes=0.2):
    rng = np.random.default_rng(seed)
    observed = synthetic.rain(SHAPE, frames=1, later=2, seed=seed, wet=0.7).copy()
    observed *= 20 / observed.max()
    rate = factor * observed.values[1:] * rng.lognormal(0, 0.5, (2, *SHAPE)).astype(np.float32)
    rate[rng.random(rate.shape) < holes] = np.nan
    return forecast_dataset(rate, observed.isel(time=[0]), LEADS), observed


def known(forecast, observed, k):
    f, o = forecast.precipitation_rate.values[k].astype(float), observed.values[k + 1].astype(float)
    both = np.isfinite(f) & np.isfinite(o)
    return f[both], o[both]


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scores_are_those_of_numpy_and_scipy(factor):
    forecast, observed = pair(factor=factor)
    statistics = compute_statistics(forecast, observed)
    for k in range(2):
        f, o = known(forecast, observed, k)
        at = {"lead_time": k}
        assert float(mean_absolute_error(statistics)[at]) == pytest.approx(np.abs(f - o).mean(), rel=1e-9)
        assert float(root_mean_square_error(statistics)[at]) == pytest.approx(np.sqrt(((f - o) ** 2).mean()), rel=1e-9)
        assert float(correlation(statistics)[at]) == pytest.approx(pearsonr(f, o)[0], abs=1e-9)
        for threshold in statistics.threshold.values:
            yes, happened = f >= threshold, o >= threshold
            here = statistics.isel(at).sel(threshold=threshold)
            assert float(csi(here)) == pytest.approx((yes & happened).sum() / (yes | happened).sum())
            assert float(frequency_bias(here)) == pytest.approx(yes.sum() / happened.sum())


def test_a_perfect_forecast_has_perfect_scores():
    _, observed = pair()
    statistics = compute_statistics(forecast_dataset(observed.values[1:], observed.isel(time=[0]), LEADS), observed)
    np.testing.assert_allclose(csi(statistics), 1)
    np.testing.assert_allclose(frequency_bias(statistics), 1)
    np.testing.assert_allclose(correlation(statistics), 1)
    np.testing.assert_allclose(mean_absolute_error(statistics), 0)
    np.testing.assert_allclose(root_mean_square_error(statistics), 0, atol=1e-6)


def test_scores_of_added_cases_are_those_of_all_points():
    cases = [pair(seed=k) for k in range(3)]
    statistics = sum(compute_statistics(*case) for case in cases)
    f, o = (np.concatenate(values) for values in zip(*(known(*case, 0) for case in cases), strict=True))
    assert float(correlation(statistics)[0]) == pytest.approx(pearsonr(f, o)[0], abs=1e-9)
    assert float(mean_absolute_error(statistics)[0]) == pytest.approx(np.abs(f - o).mean(), rel=1e-9)
    mean_of_scores = np.mean([float(correlation(compute_statistics(*case))[0]) for case in cases])
    assert float(correlation(statistics)[0]) != pytest.approx(mean_of_scores, abs=1e-6)


def test_scores_that_are_not_defined_are_nan():
    forecast, observed = pair()
    nothing = compute_statistics(forecast, observed * np.nan)
    for score in (csi, frequency_bias, mean_absolute_error, root_mean_square_error, correlation):
        assert np.isnan(score(nothing)).all()
    dry = compute_statistics(forecast_dataset(np.zeros((2, *SHAPE)), observed.isel(time=[0]), LEADS), observed * 0)
    assert np.isnan(csi(dry)).all()
    assert np.isnan(frequency_bias(dry)).all()
    assert np.isnan(correlation(dry)).all()
    assert (mean_absolute_error(dry) == 0).all()


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.7, 12.3])
def test_an_even_forecast_has_no_correlation(rate):
    """Rounding of the statistics leaves a variance that is not quite zero."""
    observed = synthetic.rain((300, 331), frames=1, later=2)
    statistics = compute_statistics(
        forecast_dataset(np.full((2, 300, 331), rate), observed.isel(time=[0]), LEADS), observed
    )
    assert np.isnan(correlation(statistics)).all()


def test_a_bias_above_one_is_too_wet():
    observed = pair()[1]
    wet, dry = (forecast_dataset(observed.values[1:] * by, observed.isel(time=[0]), LEADS) for by in (3, 1 / 3))
    assert (frequency_bias(compute_statistics(wet, observed)) > 1).all()
    assert (frequency_bias(compute_statistics(dry, observed)) < 1).all()


def test_units_are_stated():
    statistics = compute_statistics(*pair())
    assert (
        mean_absolute_error(statistics).attrs["units"] == root_mean_square_error(statistics).attrs["units"] == "mm h-1"
    )
    assert isinstance(csi(statistics), xr.DataArray)
    assert set(csi(statistics).dims) == {"threshold", "lead_time"}
