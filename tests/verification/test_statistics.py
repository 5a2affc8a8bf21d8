"""Sums against counting one by one; nothing unknown is counted; cases add up."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import reference, synthetic
from hybridcast.core.forecast_schema import forecast_dataset
from hybridcast.errors import InputError
from hybridcast.verification.statistics import THRESHOLDS, compute_statistics

SHAPE = (9, 11)
LEADS = np.arange(1, 4) * np.timedelta64(5, "m")


def case(seed=0, missing=0.2):
    """A forecast of three lead times and what was observed, both with holes."""
    rng = np.random.default_rng(seed)
    observed = synthetic.rain(SHAPE, frames=1, later=3, seed=seed, wet=0.7).copy()
    rate = observed.values[1:] * rng.lognormal(0, 0.7, (3, *SHAPE)).astype(np.float32)
    rate[rng.random(rate.shape) < missing] = np.nan
    values = observed.values
    values[rng.random(values.shape) < missing] = np.nan
    return forecast_dataset(rate, observed.isel(time=[0]), LEADS), observed


@pytest.mark.parametrize("thresholds", [THRESHOLDS, (0.5,), (0.2, 0.7, 3, 40)])
def test_tables_are_those_of_counting(thresholds):
    forecast, observed = case()
    statistics = compute_statistics(forecast, observed, thresholds=thresholds)
    assert statistics.threshold.values.tolist() == list(thresholds)
    for k in range(3):
        for threshold in thresholds:
            expected = reference.contingency(forecast.precipitation_rate[k], observed[k + 1], threshold)
            got = statistics.isel(lead_time=k).sel(threshold=threshold)
            assert {name: float(got[name]) for name in expected} == expected
            assert expected["count"] > 30


def test_moments_are_those_of_numpy():
    forecast, observed = case()
    statistics = compute_statistics(forecast, observed)
    for k in range(3):
        f, o = forecast.precipitation_rate.values[k].astype(float), observed.values[k + 1].astype(float)
        both = np.isfinite(f) & np.isfinite(o)
        f, o = f[both], o[both]
        expected = {
            "count": f.size,
            "forecast": f.sum(),
            "observed": o.sum(),
            "forecast_squared": (f**2).sum(),
            "observed_squared": (o**2).sum(),
            "product": (f * o).sum(),
            "absolute_error": np.abs(f - o).sum(),
        }
        for name, value in expected.items():
            assert float(statistics[name][k]) == pytest.approx(value, rel=1e-12)


def test_a_rate_at_the_threshold_is_above_it_whatever_its_rounding():
    """0.7 as a float32 is less than 0.7 as a float64."""
    forecast, observed = case(missing=0)
    forecast["precipitation_rate"][:] = np.float32(0.7)
    observed[:] = np.float32(0.7)
    statistics = compute_statistics(forecast, observed, thresholds=(0.7, 0.71))
    assert (statistics.hits.sel(threshold=0.7) == 99).all()
    assert (statistics.hits.sel(threshold=0.71) == 0).all()


def test_unknown_is_never_counted_as_dry():
    forecast, observed = case(missing=0)
    observed[:] = np.nan
    statistics = compute_statistics(forecast, observed)
    assert all((statistics[name] == 0).all() for name in statistics)
    forecast, observed = case(missing=0)
    observed[:] = 9.0
    forecast["precipitation_rate"][:, :, 4:] = np.nan
    forecast["precipitation_rate"][:, :, :4] = 9.0
    statistics = compute_statistics(forecast, observed)
    assert (statistics["count"] == 36).all()
    assert (statistics.misses == 0).all()  # the unknown ones would be missed if they were taken for dry
    assert (statistics.hits.sel(threshold=5.0) == 36).all()


def test_a_mask_makes_nowcasters_comparable():
    forecast, observed = case()
    other, _ = case(seed=3)
    valid = forecast.precipitation_rate.notnull() & other.precipitation_rate.notnull()
    one, two = (compute_statistics(f, observed, valid=valid) for f in (forecast, other))
    xr.testing.assert_equal(one["count"], two["count"])
    assert (one["count"] < compute_statistics(forecast, observed)["count"]).all()
    turned = compute_statistics(forecast, observed, valid=valid.transpose("x", "lead_time", "y"))
    xr.testing.assert_identical(turned, one)
    everywhere = xr.ones_like(forecast.precipitation_rate, dtype=bool)
    xr.testing.assert_identical(
        compute_statistics(forecast, observed, valid=everywhere), compute_statistics(forecast, observed)
    )
    assert (compute_statistics(forecast, observed, valid=~everywhere)["count"] == 0).all()


def test_cases_add_up():
    """The statistics of two halves of the area are those of the whole."""
    forecast, observed = case()
    whole = compute_statistics(forecast, observed)
    halves = [
        compute_statistics(forecast.isel(x=part), observed.isel(x=part)) for part in (slice(0, 4), slice(4, None))
    ]
    added = halves[0] + halves[1]
    assert (added.cases == 2).all()
    xr.testing.assert_allclose(added.drop_vars("cases"), whole.drop_vars("cases"), rtol=1e-12)


def test_lead_times_without_a_frame_count_nothing():
    forecast, observed = case()
    statistics = compute_statistics(forecast, observed.isel(time=[0, 1, 3]))
    assert (statistics["count"] > 0).values.tolist() == [True, False, True]


def test_order_of_dims_does_not_matter():
    forecast, observed = case()
    expected = compute_statistics(forecast, observed)
    xr.testing.assert_identical(compute_statistics(forecast.transpose("x", "y", "lead_time"), observed), expected)
    xr.testing.assert_identical(compute_statistics(forecast, observed.transpose("y", "x", "time")), expected)


@pytest.mark.parametrize(
    "change",
    [lambda o: o.isel(y=slice(None, None, -1)), lambda o: o.assign_coords(x=o.x + 1000), lambda o: o.isel(x=[0])],
    ids=["y reversed", "shifted", "one column"],
)
def test_another_grid_is_refused(change):
    forecast, observed = case()
    with pytest.raises(InputError, match="share one grid"):
        compute_statistics(forecast, change(observed))


def test_the_inputs_are_left_as_they_are():
    forecast, observed = case()
    before = forecast.copy(deep=True), observed.copy(deep=True)
    compute_statistics(forecast, observed)
    xr.testing.assert_identical(forecast, before[0])
    xr.testing.assert_identical(observed, before[1])
