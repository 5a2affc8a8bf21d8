"""Planes of the model: simulated rain as the truth, a model that is that truth moved, and what must not leak."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.synthetic import rain, translation
from hybridcast.core.field import precipitation
from hybridcast.core.grid import decibels, window_mean
from hybridcast.nwp import nwp_fields, regrid_to_radar, select_available_runs
from hybridcast.nwp.schema import CAPE, HUMIDITY, RATE
from hybridcast.predictors.nwp import PREDICTORS, compute_nwp_predictors, nwp_field_times
from hybridcast.predictors.registry import NWP_PREDICTORS

MINUTE = np.timedelta64(1, "m")
LEADS = np.arange(1, 4) * 20 * MINUTE
CRS = "EPSG:3035"
SHIFT = (16.0, -8.0)  # km, along columns and rows: where NWP rain has to go
FRAMES, STEP = 13, 5


@pytest.fixture(scope="module")
def truth():
    """Radar of an hour, and the three frames of the lead times, on 2 km cells of Europe's map."""
    field = rain((150, 150), translation(1.0, 0.5), frames=FRAMES, later=12, spacing=2000.0, cell=5, crs=CRS)
    x = field.x.values + 4_000_000
    return field.assign_coords(x=("x", x, field.x.attrs), y=("y", field.y.values + 3_000_000, field.y.attrs))


@pytest.fixture(scope="module")
def recent(truth):
    return truth.isel(time=slice(0, FRAMES))


def instants(truth, shift=(0.0, 0.0), *, scale=1.0):
    """Make NWP whose rain is that of the radar, moved by minus `shift` (km), every five minutes.

    A rate belongs to the middle of its step: the run starts 3 h and half a step before the first frame, so that each
    frame is found again at its own time.
    """
    rows, columns = round(shift[1] / 2), round(shift[0] / 2)
    values = np.roll(truth.values, (-rows, -columns), axis=(1, 2)) * np.float32(scale)
    return nwp_fields(
        {RATE: values[None]},
        reference_time=truth.time.values[:1] - np.timedelta64(180 * 60 + 150, "s"),
        lead_time=np.timedelta64(3, "h") + np.arange(1, len(values) + 1) * STEP * MINUTE,
        y=truth.y.values,
        x=truth.x.values,
        crs=CRS,
    )


def predictors_of(nwp, recent, leads=LEADS):
    return compute_nwp_predictors(regrid_to_radar(nwp, recent, nwp_field_times(recent, leads)), recent, leads)


def inner(plane, margin=40):
    return plane[..., margin:-margin, margin:-margin]


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


# --- NWP that is the truth -------------------------------------------------------------------------------------


def test_all_predictors_are_computed_and_described(truth, recent):
    fields = predictors_of(instants(truth), recent)
    assert tuple(fields) == NWP_PREDICTORS
    assert len({predictor.meaning for predictor in PREDICTORS}) == len(NWP_PREDICTORS)
    for name, plane in fields.items():
        assert plane.shape == (3, 150, 150), name
        assert plane.dtype == np.float32, name


def test_perfect_nwp_has_no_error_and_all_skill(truth, recent):
    fields = predictors_of(instants(truth), recent)
    valid = truth.isel(time=[FRAMES - 1 + 4 * k for k in (1, 2, 3)]).values
    assert np.abs(inner(fields["nwp_rate"]) - inner(decibels(valid))).max() < 1.0
    np.testing.assert_allclose(inner(fields["nwp_error_32"]), 0, atol=0.05)
    assert inner(fields["nwp_skill_64"]).min() > 0.99
    assert np.median(inner(fields["nwp_displacement"])) < 1.5
    assert np.nanmin(fields["nwp_lead"]) == pytest.approx(3 + 62.5 / 60 + 20 / 60, abs=1e-3)
    np.testing.assert_allclose(np.diff(fields["nwp_lead"], axis=0), 1 / 3, atol=1e-4)


def test_neighbourhoods_are_those_of_the_windows(truth, recent):
    fields = predictors_of(instants(truth), recent)
    level = fields["nwp_rate"][1]
    rate = 0.1 * 10 ** (level / 10)
    block = np.s_[75 - 4 : 75 + 5, 75 - 4 : 75 + 5]  # 8 km of 2 km cells on either side
    assert fields["nwp_mean_8"][1, 75, 75] == pytest.approx(level[block].mean(), abs=1e-2)
    assert fields["nwp_wet_1_8"][1, 75, 75] == pytest.approx((rate[block] >= 1).mean(), abs=1e-3)
    wide = np.s_[75 - 16 : 75 + 17, 75 - 16 : 75 + 17]
    assert fields["nwp_wet_0.1_32"][1, 75, 75] == pytest.approx((level[wide] > 0).mean(), abs=0.02)
    assert fields["nwp_wet_1_32"][1, 75, 75] == pytest.approx((rate[wide] >= 1).mean(), abs=1e-3)
    assert fields["nwp_max_16"][1, 75, 75] == level[75 - 8 : 75 + 9, 75 - 8 : 75 + 9].max()


# --- NWP that is the truth, displaced --------------------------------------------------------------------------


def test_the_displacement_is_estimated_and_corrected(truth, recent):
    fields = predictors_of(instants(truth, SHIFT), recent)
    length = np.hypot(*SHIFT)
    assert np.median(inner(fields["nwp_displacement"])) == pytest.approx(length, abs=3)
    for k, ahead in enumerate((4, 8, 12)):
        wanted = window_mean(decibels(truth.values[FRAMES - 1 + ahead]), 8, (2.0, 2.0))
        before = correlation(inner(fields["nwp_mean_8"][k]), inner(wanted))
        after = correlation(inner(fields["nwp_shifted"][k]), inner(wanted))
        assert after > 0.95
        assert after > before + 0.2


def test_nwp_that_is_too_wet_has_a_positive_error(truth, recent):
    fields = predictors_of(instants(truth, scale=10.0), recent)
    wet = (recent.values[-1] > 0.1).mean()
    # ten times as much is 10 dB where there is rain, less where it was below the threshold
    assert 10 * wet * 0.8 < inner(fields["nwp_error_32"]).mean() < 10


# --- runs -----------------------------------------------------------------------------------------------------


def three_runs(truth, recent, wet):
    """Make three runs, 3 h apart, of which those in `wet` have 5 mm/h everywhere and the others none."""
    issue = recent.time.values[-1]
    starts = issue - np.arange(3, 12, 3) * np.timedelta64(1, "h")
    values = np.zeros((3, 15, 150, 150), np.float32)
    values[list(wet)] = 5
    return nwp_fields(
        {
            RATE: values,
            HUMIDITY: values * 0 + 0.8,
            CAPE: values * 0 + 300,
            "x_wind": values * 0 + 3,
            "y_wind": values + 4,
        },
        reference_time=starts,
        lead_time=np.arange(1, 16) * np.timedelta64(1, "h"),
        y=truth.y.values,
        x=truth.x.values,
        crs=CRS,
    )


@pytest.mark.parametrize(("wet", "fraction"), [((), 0), ((0,), 1 / 3), ((1, 2), 2 / 3), ((0, 1, 2), 1)])
def test_the_ensemble_is_the_fraction_of_runs_with_rain(truth, recent, wet, fraction):
    fields = predictors_of(three_runs(truth, recent, wet), recent)
    np.testing.assert_allclose(fields["nwp_ensemble"], fraction, atol=1e-6)
    newest = decibels(np.float32(5)) if 0 in wet else 0
    np.testing.assert_allclose(fields["nwp_rate"], newest, atol=1e-4)
    np.testing.assert_allclose(fields["nwp_lead"][0], 3 + 1 / 3, atol=1e-4)


def test_wind_humidity_and_cape_are_of_the_newest_run(truth, recent):
    fields = predictors_of(three_runs(truth, recent, (0,)), recent)
    np.testing.assert_allclose(fields["nwp_wind_speed"], np.hypot(3, 9), rtol=1e-5)
    np.testing.assert_allclose(fields["nwp_humidity"], 0.8, rtol=1e-5)
    np.testing.assert_allclose(fields["nwp_cape"], 300)


def test_the_order_of_the_runs_does_not_matter(truth, recent):
    nwp = three_runs(truth, recent, (0,))
    fields, other = predictors_of(nwp, recent), predictors_of(nwp.isel(reference_time=[1, 2, 0]), recent)
    for name in NWP_PREDICTORS:
        np.testing.assert_array_equal(fields[name], other[name])


def test_an_older_run_stands_in_where_the_newest_has_ended(truth, recent):
    nwp = three_runs(truth, recent, (1,))
    nwp[RATE].values[0, 3:] = np.nan  # the newest run ends at the issue time
    fields = predictors_of(nwp, recent)
    np.testing.assert_allclose(fields["nwp_rate"], decibels(np.float32(5)), atol=1e-4)
    np.testing.assert_allclose(fields["nwp_lead"][0], 6 + 1 / 3, atol=1e-4)


# --- what is not known ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("none", [None, "no run"])
def test_without_nwp_all_is_nan(truth, recent, none):
    given = None
    if none:
        nwp = three_runs(truth, recent, ()).isel(reference_time=[])
        given = regrid_to_radar(nwp, recent, nwp_field_times(recent, LEADS))
    for plane in compute_nwp_predictors(given, recent, LEADS).values():
        assert plane.shape == (3, 150, 150)
        assert np.isnan(plane).all()


def test_missing_variables_leave_nan(truth, recent):
    fields = predictors_of(instants(truth), recent)
    for name in ("nwp_wind_speed", "nwp_humidity", "nwp_cape"):
        assert np.isnan(fields[name]).all()
    wind = predictors_of(three_runs(truth, recent, ())[["x_wind", "y_wind"]], recent)
    assert np.isfinite(wind["nwp_wind_speed"]).all()
    for name in NWP_PREDICTORS:
        assert name == "nwp_wind_speed" or np.isnan(wind[name]).all(), name


def test_outside_the_nwp_domain_is_nan_and_not_dry(truth, recent):
    half = instants(truth).isel(x=slice(0, 75))
    fields = predictors_of(half, recent)
    assert np.isnan(fields["nwp_rate"][:, :, 76:]).all()
    assert np.isnan(fields["nwp_ensemble"][:, :, 76:]).all()
    far = np.s_[:, :, 75 + 33 + 2 :]  # 64 km from the edge of the NWP domain
    for name in ("nwp_mean_8", "nwp_mean_32", "nwp_wet_1_32", "nwp_error_32", "nwp_skill_64", "nwp_displacement"):
        assert np.isnan(fields[name][far]).all(), name
        assert np.isfinite(fields[name][:, :, :60]).any(), name


def test_radar_without_any_value_leaves_the_rain_of_nwp(truth, recent):
    nothing = recent.copy(data=np.full_like(recent.values, np.nan))
    fields = predictors_of(instants(truth), nothing)
    for name in ("nwp_error_32", "nwp_skill_64", "nwp_displacement"):
        assert np.isnan(fields[name]).all()
    assert np.isfinite(fields["nwp_rate"]).all()
    np.testing.assert_allclose(inner(fields["nwp_shifted"]), inner(fields["nwp_mean_8"]), atol=1e-4)


def test_late_radar_is_compared_at_its_own_time(truth, recent):
    late = recent.copy(deep=True)
    late[-3:] = np.nan
    fields = predictors_of(instants(truth), late)
    np.testing.assert_allclose(inner(fields["nwp_error_32"]), 0, atol=0.05)


# --- nothing from the future ----------------------------------------------------------------------------------


def test_runs_that_were_not_available_do_not_count(truth, recent):
    nwp = three_runs(truth, recent, (0,))
    issue = recent.time.values[-1]
    late = select_available_runs(nwp, issue, np.timedelta64(4, "h"))
    fields = predictors_of(late, recent)
    np.testing.assert_array_equal(fields["nwp_rate"], 0)  # of the older runs, which are dry
    np.testing.assert_array_equal(fields["nwp_ensemble"], 0)
    wetter = nwp.copy(deep=True)
    wetter[RATE].values[0] = 77
    for name, plane in predictors_of(select_available_runs(wetter, issue, np.timedelta64(4, "h")), recent).items():
        np.testing.assert_array_equal(plane, fields[name])


def test_only_the_last_hour_of_radar_counts(truth, recent):
    before = precipitation(
        np.full((4, 150, 150), 50.0),
        time=recent.time.values[0] - np.arange(1, 5)[::-1] * STEP * MINUTE,
        y=recent.y.values,
        x=recent.x.values,
        crs=CRS,
    )
    import xarray as xr

    longer = xr.concat([before, recent], dim="time", coords="minimal", compat="override", join="override")
    fields, other = predictors_of(instants(truth), recent), predictors_of(instants(truth), longer)
    for name in NWP_PREDICTORS:
        np.testing.assert_array_equal(fields[name], other[name])
