"""Amounts, probabilities and quantiles: against sums by hand, for all kinds of input, each chunk computed once."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from helpers.small_ensembles import ISSUED, build_ensemble, make_lazy
from hybridcast.core.forecast_schema import ENSEMBLE, RATE
from hybridcast.ensembles import accumulate, exceedance, over_regions, quantiles, to_cf
from hybridcast.errors import InputError


def minutes(coordinate):
    return (coordinate.values / np.timedelta64(1, "m")).tolist()


def constant(rates, lead_minutes=None, members=1):
    """Return an ensemble whose rate at each lead time is the same everywhere."""
    rates = np.asarray(rates, float)
    return build_ensemble(np.broadcast_to(rates[:, None, None], (members, rates.size, 2, 3)), lead_minutes)


# --- amounts --------------------------------------------------------------------------------------------------


def test_a_rate_counts_for_the_interval_that_ends_at_its_lead_time():
    result = constant([6.0, 12.0, 0.0, 3.0], [10, 20, 30, 60])
    everything = accumulate(result)
    assert everything.dims == ("realization", "lead_time", "y", "x")
    np.testing.assert_allclose(everything, 1.0 + 2.0 + 0.0 + 1.5)
    halves = accumulate(result, "30min")
    np.testing.assert_allclose(halves[0, :, 0, 0], [3.0, 1.5])
    assert minutes(halves.lead_time) == [30, 60]
    assert minutes(halves.window_start) == [0, 30]
    assert (halves.time.values == ISSUED + halves.lead_time.values).all()
    assert halves.attrs["standard_name"] == "lwe_thickness_of_precipitation_amount"
    assert (halves.attrs["units"], halves.attrs["cell_methods"]) == ("mm", "time: sum")
    assert halves.dtype == np.float32


def test_sliding_windows_and_windows_between_lead_times_asked_for():
    result = constant([6.0, 12.0, 0.0, 18.0, 24.0, 0.0])
    sliding = accumulate(result, "30min", every="10min")
    np.testing.assert_allclose(sliding[0, :, 0, 0], [3.0, 5.0, 7.0, 7.0])
    assert minutes(sliding.lead_time) == [30, 40, 50, 60]
    part = accumulate(result, "20min", start="10min", end="50min")
    np.testing.assert_allclose(part[0, :, 1, 2], [2.0, 7.0])
    assert minutes(part.window_start) == [10, 30]
    assert minutes(accumulate(result, "40min").lead_time) == [40]  # what is left is no window


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": "25min"}, r"\+20 and \+30 min"),
        ({"window": "20min", "every": "5min"}, r"at \+5 min"),
        ({"window": "2h"}, "Forecast longer"),
        ({"window": "1h", "start": "10min"}, "shorter window"),
        ({"start": "60min"}, "shorter window"),
        ({"end": "3h"}, "Forecast longer"),
        ({"window": "90"}, "with a unit"),
    ],
)
def test_windows_that_do_not_fit_are_refused_with_a_remedy(options, said):
    with pytest.raises(InputError, match=said):
        accumulate(constant([6.0] * 6), **options)


def test_sums_after_a_selection_are_refused():
    """The first interval would reach back to the issue time."""
    later = constant([6.0] * 6).isel(lead_time=slice(3, None))
    with pytest.raises(InputError, match="Sum before lead times are selected"):
        accumulate(later)


def test_lead_times_that_are_missing_are_refused_even_if_one_or_regular_ones_are_left(ensemble):
    rates = constant([6.0] * 6)
    rates["lead_time"].attrs.clear()
    with pytest.raises(InputError, match=r"the lead times are 60 min, and nothing tells the step"):
        accumulate(rates.isel(lead_time=[5]))
    made = ensemble.precipitation_rate_ensemble
    for chosen in ([5], [1, 3, 5]):
        with pytest.raises(InputError, match=r"the step of the forecast is 10 min"):
            accumulate(made.isel(lead_time=chosen))
    half_hours = accumulate(made, "30min")
    assert half_hours.lead_time.attrs["longest_step_minutes"] == 30
    assert accumulate(made.isel(lead_time=[0])).lead_time.size == 1


def test_a_start_of_zero_is_the_issue_time():
    rates = constant([6.0] * 6)
    xr.testing.assert_identical(accumulate(rates, "1h", start="0min"), accumulate(rates, "1h"))


def test_what_cannot_be_summed_is_refused(ensemble):
    with pytest.raises(InputError, match="members=20"):
        accumulate(ensemble.drop_vars(ENSEMBLE))
    with pytest.raises(InputError, match="from rates"):
        accumulate(accumulate(ensemble))
    with pytest.raises(InputError, match="over lead times"):
        accumulate(ensemble[RATE].isel(lead_time=0))


def test_an_amount_is_unknown_if_a_rate_is():
    members = np.ones((2, 4, 1, 2))
    members[:, 1, 0, 0] = np.nan
    amounts = accumulate(build_ensemble(members), "20min")
    assert np.isnan(amounts.values[:, 0, 0, 0]).all()
    np.testing.assert_allclose(amounts.values[:, 1, 0, 0], 1 / 3)
    assert np.isfinite(amounts.values[..., 1]).all()


def test_one_field_is_summed_like_members(ensemble):
    amounts = accumulate(ensemble[RATE], "30min")
    assert amounts.dims == ("lead_time", "y", "x")
    np.testing.assert_allclose(amounts, accumulate(ensemble, "30min").mean("realization"), rtol=1e-5)


def test_amounts_in_a_file_have_bounds(ensemble, tmp_path):
    to_cf(accumulate(ensemble, "30min")).to_netcdf(tmp_path / "amounts.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "amounts.nc", engine="h5netcdf", decode_coords="all") as found:
        since_issue = found.time_bounds.values - ISSUED
        assert (since_issue / np.timedelta64(1, "m")).tolist() == [[0, 30], [30, 60]]
        assert found.precipitation_amount.attrs["units"] == "mm"
        assert "spatial_ref" in found.coords
    with xr.open_dataset(tmp_path / "amounts.nc", engine="h5netcdf", decode_cf=False) as raw:
        assert raw.lead_time.attrs["bounds"] == "lead_time_bounds"
        assert raw.lead_time.attrs["units"] == "minutes"
        assert raw.lead_time_bounds.values.tolist() == [[0, 30], [30, 60]]
        assert raw.time.attrs["bounds"] == "time_bounds"


def test_only_windows_have_bounds(ensemble):
    with pytest.raises(InputError, match="window_start"):
        to_cf(exceedance(ensemble, 1.0))


# --- distribution ---------------------------------------------------------------------------------------------


def test_probabilities_are_fractions_of_members():
    members = np.array([0.0, 0.1, 1.0, 5.0]).reshape(4, 1, 1, 1) * np.ones((4, 2, 1, 2))
    members[2, 1, 0, 1] = np.nan
    found = exceedance(build_ensemble(members), [0.1, 1.0, 7.0])
    assert found.dims == ("threshold", "lead_time", "y", "x")
    assert found.threshold.attrs["units"] == "mm h-1"
    np.testing.assert_array_equal(found[:, 0, 0, 0], np.float32([0.75, 0.5, 0.0]))
    assert np.isnan(found.values[:, 1, 0, 1]).all()
    assert np.isfinite(found.values).sum() == 3 * 3
    one = exceedance(build_ensemble(members), 1.0)
    assert one.dims == ("lead_time", "y", "x")
    assert float(one.threshold) == 1.0


def test_probabilities_of_amounts_are_of_mm():
    amounts = accumulate(build_ensemble(np.array([3.0, 18.0, 30.0]).reshape(3, 1, 1, 1) * np.ones((3, 6, 2, 2))), "1h")
    found = exceedance(amounts, 10.0)
    assert found.threshold.attrs["units"] == "mm"
    assert "amount" in found.attrs["long_name"]
    np.testing.assert_allclose(found, 2 / 3)


def test_quantiles_are_those_of_numpy(ensemble):
    found = quantiles(ensemble, [0.0, 0.1, 0.5, 0.75, 1.0])
    assert found.dims == ("quantile", "lead_time", "y", "x")
    expected = np.quantile(ensemble[ENSEMBLE].values, [0.0, 0.1, 0.5, 0.75, 1.0], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.attrs["units"] == "mm h-1"
    median = quantiles(ensemble, 0.5)
    np.testing.assert_array_equal(median, found.sel(quantile=0.5))


def test_one_member_is_its_own_distribution(ensemble):
    one = ensemble.isel(realization=slice(0, 1))
    rates = one[ENSEMBLE].values[0]
    np.testing.assert_array_equal(quantiles(one, 0.9), rates)
    expected = np.where(np.isnan(rates), np.nan, rates >= 1.0)
    np.testing.assert_array_equal(exceedance(one, 1.0), expected)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_dry_stays_dry_and_unknown_stays_unknown(value):
    result = constant([value] * 6, members=3)
    expected = np.full((2, 3), value)
    np.testing.assert_array_equal(accumulate(result)[0, 0], expected)
    np.testing.assert_array_equal(exceedance(result, 0.1)[0], expected)
    np.testing.assert_array_equal(quantiles(result, 0.9)[0], expected)


def test_levels_that_are_none_are_refused(ensemble):
    for thresholds in (0.0, [1.0, np.nan], []):
        with pytest.raises(InputError, match="above zero"):
            exceedance(ensemble, thresholds)
    for levels in (1.1, [-0.1], []):
        with pytest.raises(InputError, match="between 0 and 1"):
            quantiles(ensemble, levels)
    with pytest.raises(InputError, match="realization"):
        quantiles(ensemble[RATE], 0.5)


# --- lazy members and files -----------------------------------------------------------------------------------


def test_lazy_members_stay_lazy_and_each_chunk_is_computed_once(ensemble):
    lazy, computed = make_lazy(ensemble)
    region = {"all": {"type": "Polygon", "coordinates": [[[300e3, 6.7e6], [309e3, 6.7e6], [300e3, 6.712e6]]]}}
    amounts = accumulate(lazy, "30min", every="10min")
    products = [
        amounts,
        exceedance(amounts, [1.0, 5.0]),
        quantiles(lazy, [0.1, 0.9]),
        accumulate(over_regions(lazy, region, crs="EPSG:3067", least_known=0.5), "1h"),
    ]
    assert computed == []
    found = dask.compute(*products)
    assert sorted(computed) == [0, 1, 2, 3, 4, 5]
    amounts = accumulate(ensemble, "30min", every="10min")
    expected = [
        amounts,
        exceedance(amounts, [1.0, 5.0]),
        quantiles(ensemble, [0.1, 0.9]),
        accumulate(over_regions(ensemble, region, crs="EPSG:3067", least_known=0.5), "1h"),
    ]
    for one, other in zip(found, expected, strict=True):
        xr.testing.assert_identical(one, other)
    assert np.isfinite(expected[-1].values).all()


def test_other_chunks_give_the_same(ensemble):
    chunked = ensemble.chunk(realization=2, lead_time=4, y=5, x=3)
    np.testing.assert_array_equal(quantiles(chunked, 0.3), quantiles(ensemble, 0.3))
    np.testing.assert_array_equal(accumulate(chunked, "20min"), accumulate(ensemble, "20min"))


def test_half_precision_and_packed_files(ensemble, tmp_path):
    """The sums are in float32, whatever is on the disk."""
    packed = {"dtype": "uint16", "scale_factor": 0.01, "_FillValue": 65535}
    ensemble.to_netcdf(tmp_path / "packed.nc", engine="h5netcdf", encoding={ENSEMBLE: packed})
    with xr.open_dataset(tmp_path / "packed.nc", engine="h5netcdf", decode_timedelta=True, chunks={}) as file:
        found = [accumulate(file), exceedance(accumulate(file), 3.0), quantiles(file, 0.5)]
        assert {one.dtype for one in found} == {np.dtype(np.float32)}
        np.testing.assert_allclose(found[0], accumulate(ensemble), atol=0.006)
    half = ensemble.assign({ENSEMBLE: ensemble[ENSEMBLE].astype(np.float16)})
    found = [accumulate(half), exceedance(half, 3.0), quantiles(half, 0.5)]
    assert {one.dtype for one in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found[0], accumulate(ensemble), rtol=1e-3)
