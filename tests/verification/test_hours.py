"""Sums over whole hours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.forecast_schema import ENSEMBLE, forecast_dataset
from hybridcast.errors import InputError
from hybridcast.verification.hours import average_over_hours
from hybridcast.verification.statistics import compute_statistics

SHAPE = (9, 11)


def case(minutes=10, count=15):
    observed = synthetic.rain(SHAPE, frames=1, later=count, minutes=minutes, wet=0.7).copy()
    leads = np.arange(1, count + 1) * np.timedelta64(minutes, "m")
    rate = np.roll(observed.values[1:], 1, axis=1)
    forecast = forecast_dataset(rate, observed.isel(time=[0]), leads)
    members = np.stack([rate, 2 * rate])
    return forecast.assign({ENSEMBLE: (("realization", "lead_time", "y", "x"), members)}), observed


def test_hours_are_means_over_their_frames():
    forecast, observed = case()
    hourly, seen = average_over_hours(forecast, observed)
    assert (hourly.lead_time.values / np.timedelta64(1, "h")).tolist() == [1, 2]  # the last half hour is no hour
    for k in range(2):
        frames = slice(6 * k, 6 * k + 6)
        np.testing.assert_allclose(
            hourly.precipitation_rate[k], forecast.precipitation_rate.values[frames].mean(axis=0), rtol=1e-5
        )
        np.testing.assert_allclose(seen[k], observed.values[1:][frames].mean(axis=0), rtol=1e-5)
        assert seen.time.values[k] == hourly.time.values[k] == observed.time.values[6 * k + 6]
    np.testing.assert_allclose(hourly[ENSEMBLE][1], 2 * hourly.precipitation_rate, rtol=1e-6)
    assert compute_statistics(hourly, seen)["count"].values.tolist() == [99, 99]


def test_an_hour_with_a_frame_missing_is_unknown():
    forecast, observed = case()
    forecast["precipitation_rate"][2, 0, 0] = np.nan
    hourly, seen = average_over_hours(forecast, observed.isel(time=[*range(10), *range(11, 16)]))
    statistics = compute_statistics(hourly.drop_vars(ENSEMBLE), seen)
    assert statistics["count"].values.tolist() == [98, 0]


@pytest.mark.parametrize("minutes", [7, 45])
def test_steps_that_make_no_hour_are_refused(minutes):
    with pytest.raises(InputError, match="steps make up an hour"):
        average_over_hours(*case(minutes=minutes))


def test_lead_times_that_start_late_or_end_early_are_refused():
    forecast, observed = case()
    with pytest.raises(InputError, match="start one step after"):
        average_over_hours(forecast.isel(lead_time=slice(2, None)), observed)
    with pytest.raises(InputError, match="there is an hour"):
        average_over_hours(forecast.isel(lead_time=slice(0, 3)), observed)
    assert isinstance(average_over_hours(*case(minutes=60, count=2))[1], xr.DataArray)
