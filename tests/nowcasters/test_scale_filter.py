"""The scale filter: against pysteps' cascade, models and S-PROG, on rain of known motion, and on little or no rain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.advection import advect
from hybridcast.core.forecast_files import save_forecast
from hybridcast.datasets.registry import fetch
from hybridcast.errors import FetchError, InputError
from hybridcast.forecasting import forecast
from hybridcast.motion.estimate import estimate_motion, motion_dataset
from hybridcast.nowcasters import scale_filter as scales
from hybridcast.nowcasters.base import Advection
from hybridcast.nowcasters.scale_filter import ScaleFilter, filter_scales
from hybridcast.radar import open_radar
from hybridcast.settings import ScaleFilterSettings

MINUTE = np.timedelta64(1, "m")
STEP = 5 * MINUTE
LEADS = np.arange(1, 7) * STEP
#: As pysteps does it: one model, with the radar's step.
AS_PYSTEPS = ScaleFilterSettings(levels=6, longest_step=5.0)


def scene(shape=(64, 72), **options):
    return synthetic.rain(shape, synthetic.translation(3, -2), **({"frames": 7} | options))


def without(rain: xr.DataArray, *frames: int, value: float = np.nan) -> xr.DataArray:
    rain = rain.copy()
    rain[list(frames)] = value
    return rain


def changing(frames=7, later=0, *, cells=128, minutes=5, memory=0.95, slope=1.0, seed=3) -> xr.DataArray:
    """Rain whose small scales are renewed within minutes, and whose large ones stay; it moves by (2, 1) cells."""
    random = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(cells)[:, None], np.fft.rfftfreq(cells)
    radius = cells * np.hypot(fy, fx)
    radius[0, 0] = 1
    keep = memory ** (radius / 8)
    state = np.fft.rfft2(random.standard_normal((cells, cells))) * radius**-slope
    rates, spread = [], 0.0
    for k in range(frames + later):
        new = np.fft.rfft2(random.standard_normal((cells, cells))) * radius**-slope
        state = keep * state + np.sqrt(1 - keep**2) * new
        field = np.fft.irfft2(state * np.exp(-2j * np.pi * k * (2 * fx + 1 * fy)), (cells, cells))
        spread = spread or field.std()
        rates.append(np.maximum(np.exp(1.3 * field / spread) - 1.5, 0))
    values = np.array(rates, np.float32)
    base = synthetic.rain((cells, cells), frames=frames, later=later, minutes=minutes, y_down=False)
    return base.copy(data=np.minimum(values, 200))


def true_motion(rain: xr.DataArray, u=2.0, v=1.0) -> xr.Dataset:
    shape = (1, *rain.shape[1:])
    flow = np.concatenate([np.full(shape, u), np.full(shape, v)]).astype(np.float32)
    step = rain.time.values[1] - rain.time.values[0]
    return motion_dataset(flow, rain, step, method="known", status="estimated")


class Known:
    """The true motion, as a method."""

    name = "known"

    def estimate(self, recent):
        return true_motion(recent)


def correlation(a, b) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[known], b[known])[0, 1])


def equal_area_csi(rate, truth, advected, threshold=1.0) -> float:
    """CSI of the highest rates, as many as the advected field has."""
    known = np.isfinite(rate) & np.isfinite(truth) & np.isfinite(advected)
    count = int((advected[known] >= threshold).sum())
    chosen = np.zeros(int(known.sum()), bool)
    chosen[np.argsort(-rate[known])[:count]] = True
    happened = truth[known] >= threshold
    return float((chosen & happened).sum() / (chosen | happened).sum())


@pytest.fixture(scope="module")
def real_rain():
    """An hour of FMI's radar, then two more, 128 x 128 cells of 2 km."""
    try:
        radar = open_radar(fetch("fmi-20160928", progress=False)).isel(time=slice(None, 37)).load()
    except FetchError as error:
        pytest.skip(str(error))
    coarse = radar.coarsen(y=2, x=2, boundary="trim").mean().astype(np.float32).assign_attrs(radar.attrs)
    wet = (coarse[12].fillna(0) > 1).values.astype(float)
    sums = [(wet[y : y + 128, x : x + 128].sum(), y, x) for y in range(0, 480, 32) for x in range(0, 250, 32)]
    _, y, x = max(sums)
    return coarse.isel(y=slice(y, y + 128), x=slice(x, x + 128))


# --- parts against pysteps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 6, 8])
def test_the_bands_are_those_of_pysteps(levels):
    bandpass = pytest.importorskip("pysteps.cascade.bandpass_filters")
    theirs = bandpass.filter_gaussian((96, 96), levels)
    radius = np.hypot(np.fft.fftfreq(96, 1 / 96)[:, None], np.fft.rfftfreq(96, 1 / 96))
    ours = scales.band_weights(radius.ravel(), 96, levels).reshape(levels, *radius.shape)
    np.testing.assert_allclose(ours, theirs["weights_2d"], atol=1e-10)
    np.testing.assert_allclose(scales.band_centres(96, levels), theirs["central_wavenumbers"])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 5000])
def test_bands_sum_up_to_one_on_any_grid(size):
    levels = scales.count_usable_levels(size, 8)
    assert 1 <= levels <= 8
    weights = scales.band_weights(np.arange(0, size, 0.25), size, levels)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    np.testing.assert_array_equal(weights[:, 0], np.arange(levels) == 0)


def test_the_models_are_those_of_pysteps():
    models = pytest.importorskip("pysteps.timeseries.autoregression")
    first = np.array([0.99, 0.9, 0.6, 0.3, 0.05, -0.2, 0.8])
    second = np.array([0.97, 0.7, 0.5, 0.25, 0.01, 0.1, 0.1])
    ours = scales.solve_yule_walker(first, second)
    for k, (gamma_1, gamma_2) in enumerate(zip(first, second, strict=True)):
        theirs = models.estimate_ar_params_yw([gamma_1, models.adjust_lag2_corrcoef2(gamma_1, gamma_2)])
        np.testing.assert_allclose([ours[0][k], ours[1][k]], theirs[:2], rtol=1e-6)


def test_iterating_is_linear_in_the_last_two_states():
    models = pytest.importorskip("pysteps.timeseries.autoregression")
    phi_1, phi_2 = np.array([1.4, 0.5]), np.array([-0.45, 0.1])
    states = np.random.default_rng(0).standard_normal((2, 2, 50))  # time, level, cell
    a, b = scales.iterate_ar(phi_1, phi_2, np.array([1.0, 4.0, 4.25, 9.0]))
    series = states
    at = {}
    for n in range(1, 10):
        new = [models.iterate_ar_model(series[:, k], [phi_1[k], phi_2[k], 0])[-1] for k in range(2)]
        series = np.stack([series[-1], new])
        at[n] = series[-1]
    at[4.25] = 0.75 * at[4] + 0.25 * at[5]
    for k, n in enumerate((1, 4, 4.25, 9)):
        np.testing.assert_allclose(a[k][:, None] * states[1] + b[k][:, None] * states[0], at[n])
    np.testing.assert_allclose(scales.iterate_ar(phi_1, phi_2, np.array([0.25]))[0][0], 0.75 + 0.25 * phi_1)


@pytest.mark.parametrize("gamma", [(1.0, 1.0), (0.9, -1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_no_correlation_makes_a_model_that_grows(gamma):
    a, b = scales.iterate_ar(*scales.solve_yule_walker(*np.array(gamma)[:, None]), np.arange(1.0, 200.0))
    size = np.abs(a + b)  # of a state that was the same before
    assert np.isfinite(size).all()
    assert size.max() <= 1 + 1e-6


def test_correlations_of_levels_are_those_of_pysteps():
    cascade = pytest.importorskip("pysteps.cascade")
    correlations = pytest.importorskip("pysteps.timeseries.correlation")
    rain = changing()
    motion = true_motion(rain, 0, 0)  # nothing is carried, so that no border is filled
    found = filter_scales(rain, motion, LEADS, settings=AS_PYSTEPS)
    decibels = 10 * np.log10(1 + rain.values[-3:].astype(float) / 0.25)
    bands = cascade.get_method("gaussian")((128, 128), 6)
    decompose = cascade.get_method("fft")[0]
    levels = np.stack([decompose(d, bands, normalize=True, compute_stats=True)["cascade_levels"] for d in decibels])
    theirs = np.array([correlations.temporal_autocorrelation(levels[:, k]) for k in range(6)])
    np.testing.assert_array_equal(found.lag, [STEP, 2 * STEP])
    np.testing.assert_allclose(found.correlation, theirs, atol=0.005)
    parts = decompose(decibels[-1], bands, compute_stats=True)
    np.testing.assert_allclose(found.deviation, parts["stds"], rtol=0.02)
    np.testing.assert_allclose(found.wavelength, 128_000 / np.array(bands["central_wavenumbers"]), rtol=1e-6)


def test_the_filtered_field_is_the_cascade_iterated_and_summed_up():
    """The same by pysteps' cascade, level by level in space."""
    cascade = pytest.importorskip("pysteps.cascade")
    models = pytest.importorskip("pysteps.timeseries.autoregression")
    rain = changing()
    found = filter_scales(rain, true_motion(rain, 0, 0), LEADS, settings=AS_PYSTEPS)
    decibels = 10 * np.log10(0.25 + rain.values[-3:].astype(float))
    bands = cascade.get_method("gaussian")((128, 128), 6)
    decompose = cascade.get_method("fft")[0]
    parts = [decompose(d, bands, normalize=True, compute_stats=True) for d in decibels]
    total = np.zeros((6, 128, 128))
    for k in range(6):
        gamma = found.correlation.values[k].astype(float)
        gamma[1] = models.adjust_lag2_corrcoef2(*gamma)
        phi = models.estimate_ar_params_yw(gamma)
        series = np.stack([p["cascade_levels"][k] for p in parts[1:]])
        for n in range(6):
            series = models.iterate_ar_model(series, phi)
            total[n] += series[-1] * parts[-1]["stds"][k] + parts[-1]["means"][k]
    np.testing.assert_allclose(found.filtered_dbr, total, atol=0.1)
    for n in range(6):
        assert correlation(found.filtered_dbr.values[n], total[n]) > 0.9999


def test_wavelengths_are_metres_on_any_grid():
    wide = scene()
    for rain in (wide, wide.isel(x=[5]), wide.isel(y=[5])):
        found = filter_scales(rain, estimate_motion(rain), LEADS).wavelength.values
        assert found[-1] < 5_000 < 30_000 < found[0] <= 72_000
        assert (np.diff(found) < 0).all()


# --- whole forecasts against pysteps --------------------------------------------------------------------------


def theirs_and_ours(rain, leads, settings, motion=None):
    adapters = pytest.importorskip("hybridcast.nowcasters.pysteps")
    options = {"motion": motion} if motion else {}
    ours = ScaleFilter(settings=settings, **options)
    theirs = adapters.SProg(motion=ours.motion).forecast(rain, leads)
    return theirs.precipitation_rate.values, ours.forecast(rain, leads).precipitation_rate.values


def test_much_like_pysteps_where_nothing_is_missing():
    rain = changing()
    for a, b in zip(*theirs_and_ours(rain, LEADS, AS_PYSTEPS, Known()), strict=True):
        assert correlation(a, b) > 0.94
        assert np.nanmean(np.abs(a - b)) < 0.3 * np.nanmean(a)


def test_much_like_pysteps_on_real_rain(real_rain):
    leads = np.array([15, 30, 60]) * MINUTE
    for a, b in zip(*theirs_and_ours(real_rain[:13], leads, AS_PYSTEPS), strict=True):
        assert correlation(np.log(a + 0.1), np.log(b + 0.1)) > 0.95
        assert abs(np.nanmean(b >= 0.1) / np.nanmean(a >= 0.1) - 1) < 0.15


def test_better_than_advection_on_real_rain(real_rain):
    leads = np.array([60, 120]) * MINUTE
    truth = real_rain.sel(time=real_rain.time.values[12] + leads).values
    recent = real_rain[:13]
    ours = ScaleFilter().forecast(recent, leads).precipitation_rate.values
    advected = Advection().forecast(recent, leads).precipitation_rate.values
    for k in range(2):
        assert equal_area_csi(ours[k], truth[k], advected[k], 0.5) > equal_area_csi(
            advected[k], truth[k], advected[k], 0.5
        )


# --- known truth ----------------------------------------------------------------------------------------------


def test_small_scales_fade_sooner_than_large_ones():
    rain = changing()
    found = filter_scales(rain, true_motion(rain), LEADS)
    lag_1 = found.correlation.values[:, 0]
    assert (np.diff(lag_1[1:-1]) < 0).all()  # the first level has few waves, the last one little rain
    assert lag_1[1] > 0.95 > 0.85 > lag_1[-2]
    later = found.filtered_dbr.std(dim=("y", "x")).values
    assert (np.diff(later) < 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_better_than_advection_on_rain_that_changes(seed):
    rain = changing(later=12, seed=seed)
    recent, leads = rain[:7], np.array([30, 60]) * MINUTE
    truth = rain.sel(time=recent.time.values[-1] + leads).values
    ours = ScaleFilter(motion=Known()).forecast(recent, leads).precipitation_rate.values
    advected = Advection(motion=Known()).forecast(recent, leads).precipitation_rate.values
    logarithm = lambda rate: np.log(rate + 0.1)  # noqa: E731
    for k in range(2):
        gain = correlation(logarithm(ours[k]), logarithm(truth[k])) - correlation(
            logarithm(advected[k]), logarithm(truth[k])
        )
        assert gain > 0.02
        assert (
            equal_area_csi(ours[k], truth[k], advected[k]) > equal_area_csi(advected[k], truth[k], advected[k]) + 0.01
        )


def test_rain_that_only_moves_is_carried_on_unchanged():
    rain = scene((96, 96), cell=6.0)
    motion = true_motion(rain, 3, -2)
    motion["v"] *= -1  # rows run against y
    found = filter_scales(rain, motion, LEADS)
    expected = advect(rain[-1], motion, LEADS).values
    for k in range(3):
        assert correlation(found.precipitation_rate.values[k], expected[k]) > 0.95


def test_as_wet_as_the_latest_frame_everywhere_in_the_distribution():
    rain = changing()
    found = filter_scales(rain, true_motion(rain, 0, 0), LEADS).precipitation_rate.values
    latest = rain.values[-1]
    for k in range(6):
        for threshold in (0.1, 0.5, 1, 2, 5):
            assert abs(np.mean(found[k] >= threshold) - np.mean(latest >= threshold)) < 0.002
        wet = found[k][found[k] > 0]
        assert wet.min() >= 0.1 - 1e-6
    assert found.max() <= latest.max() + 1e-4


def test_both_fields_have_the_same_ranks():
    rain = scene(seen=synthetic.disc((64, 72)))
    found = filter_scales(rain, estimate_motion(rain), LEADS)
    for k in range(6):
        dbr, rate = (found[name].values[k] for name in ("filtered_dbr", "precipitation_rate"))
        assert (np.isnan(dbr) == np.isnan(rate)).all()
        known = np.isfinite(dbr)
        ordered = rate[known][np.argsort(dbr[known])]
        assert (np.diff(ordered) >= -1e-3).all()


# --- labels, lead times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_the_result_is_labelled_as_that_of_advection_and_has_its_mask(crs):
    rain = scene(seen=synthetic.disc((64, 72)), crs=crs)
    found, expected = ScaleFilter().forecast(rain, LEADS), Advection().forecast(rain, LEADS)
    np.testing.assert_array_equal(found.precipitation_rate.isnull(), expected.precipitation_rate.isnull())
    xr.testing.assert_identical(
        found.coords.to_dataset().drop_attrs(deep=False), expected.coords.to_dataset().drop_attrs(deep=False)
    )
    for name in ("u", "v"):
        xr.testing.assert_identical(found[name], expected[name])
    assert found.precipitation_rate.attrs == expected.precipitation_rate.attrs
    for name in ("status", "motion_method", "motion_status"):
        assert found.attrs[name] == expected.attrs[name]
    assert found.attrs["nowcaster"] == "scale filter (dense flow)"
    assert found.attrs["ar_steps"] == "5 min, 10 min, 15 min"
    assert "fallback" not in found.attrs
    assert len(found.attrs["frames_used"].split(", ")) == 6
    smooth = filter_scales(rain, estimate_motion(rain), LEADS)
    assert smooth.filtered_dbr.attrs.get("grid_mapping") == ("spatial_ref" if crs else None)
    np.testing.assert_array_equal(smooth.precipitation_rate, found.precipitation_rate)


def test_the_input_is_left_as_it_is_and_the_result_is_not_shared():
    rain = scene(seen=synthetic.disc((64, 72)))
    before = rain.copy(deep=True)
    first = ScaleFilter().forecast(rain, LEADS)
    kept = first.copy(deep=True)
    ScaleFilter().forecast(rain * 2, LEADS)
    xr.testing.assert_identical(first, kept)
    xr.testing.assert_identical(rain, before)


def test_any_lead_times_and_the_same_at_the_same_time():
    rain = scene()
    odd = np.array([1, 5, 7, 30, 121]) * MINUTE
    some = ScaleFilter(motion=Known()).forecast(rain, odd).precipitation_rate.values
    every = ScaleFilter(motion=Known()).forecast(rain, LEADS).precipitation_rate.values
    assert correlation(some[1], every[0]) > 0.9999
    assert correlation(some[3], every[5]) > 0.9999
    assert correlation(some[2], every[0]) > correlation(some[2], every[3])


@pytest.mark.parametrize(("minutes", "steps"), [(1, "5 min, 10 min, 15 min"), (2, "6 min, 12 min"), (10, "10 min")])
def test_models_step_by_minutes_and_not_by_frames(minutes, steps):
    rain = synthetic.rain((64, 64), synthetic.translation(0.1, 0.1), frames=35, minutes=minutes)
    found = ScaleFilter().forecast(rain, LEADS)
    assert found.attrs["ar_steps"] == steps
    assert np.isfinite(found.precipitation_rate).any()


@pytest.mark.parametrize("minutes", [15, 30])
def test_slow_radars_have_one_model(minutes):
    rain = scene(minutes=minutes)
    found = ScaleFilter().forecast(rain, np.arange(1, 25) * STEP)
    assert found.attrs["ar_steps"] == f"{minutes} min"
    np.testing.assert_array_equal(
        found.precipitation_rate.isnull(),
        Advection().forecast(rain, np.arange(1, 25) * STEP).precipitation_rate.isnull(),
    )


def test_bad_arguments_are_refused():
    rain = scene()
    motion = estimate_motion(rain)
    with pytest.raises(InputError, match="above zero and increase"):
        filter_scales(rain, motion, LEADS[::-1])
    with pytest.raises(InputError, match="motion and field"):
        filter_scales(rain[:, :-1], motion, LEADS)
    for wrong in ({"levels": 0}, {"offset": 0.0}, {"lowest_rate": -1.0}, {"longest_step": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ScaleFilterSettings(**wrong)


def test_with_forecast_and_on_disk(tmp_path):
    result = forecast(scene(frames=2), lead_time="30min", nowcaster=ScaleFilter())
    path = save_forecast(result, tmp_path / "scales.nc")
    with xr.open_dataset(path) as stored:
        assert stored.attrs["fallback"].startswith("AR process of order 1")
        assert stored.attrs["nowcaster"] == "scale filter (dense flow)"
        assert json.loads(stored.attrs["settings"])["settings"]["levels"] == 8


# --- little or nothing seen -----------------------------------------------------------------------------------

NO_FRAMES = "extrapolated: too few of the frames before the newest hold rain"
ORDER_1 = "AR process of order 1: too few of the frames before the newest hold rain"
DRY = "extrapolated: no rain of 0.1 mm/h in the newest frame"
CASES = {
    "nothing missing": (scene(), None),
    "all missing": (scene() * np.nan, "no radar data in any frame: all unknown"),
    "all dry": (scene() * 0, DRY),
    "drizzle": (scene() * 0 + np.float32(0.05), DRY),
    "one frame": (scene(frames=1), NO_FRAMES),
    "two frames": (scene(frames=2), ORDER_1),
    "three frames": (scene(frames=3), None),
    "late": (without(scene(), -1), None),
    "the frame before missing": (without(scene(), -2), None),
    "two before missing": (without(scene(), -2, -3), None),
    "two before missing of few": (without(scene(frames=5), -2, -3), ORDER_1),
    "all before missing": (without(scene(), -2, -3, -4), NO_FRAMES),
    "all before dry": (without(scene(), *range(6), value=0.0), NO_FRAMES),
    "partly covered": (scene(seen=synthetic.disc((64, 72))), None),
    "newly covered": (scene(seen=np.arange(7)[:, None, None] + 60 > np.arange(72) + np.zeros((64, 1))), None),
    "the same everywhere": (scene() * 0 + 3, None),
    "stands still": (scene().isel(time=[-1] * 7).assign_coords(time=scene().time), None),
    "one wet cell": (scene() * 0 + 5 * (scene().x == 30_000) * (scene().y == 30_000), None),
    "a row": (scene(wet=0.9).isel(y=[5]), None),
    "a column": (scene(wet=0.9).isel(x=[5]), None),
    "a cell": (scene().isel(x=[5], y=[5]) * 0 + 1, None),
    "two by two": (scene().isel(x=[5, 6], y=[5, 6]) * 0 + 1, None),
}


@pytest.mark.parametrize("case", CASES)
def test_any_field_is_forecast_where_advection_knows_it(case):
    rain, reason = CASES[case]
    rain = rain.astype(np.float32).assign_attrs(scene().attrs)
    found = ScaleFilter().forecast(rain, LEADS)
    expected = Advection().forecast(rain, LEADS)
    np.testing.assert_array_equal(found.precipitation_rate.isnull(), expected.precipitation_rate.isnull())
    assert found.attrs.get("fallback") == reason
    assert found.attrs["status"] == expected.attrs["status"]
    assert not (found.precipitation_rate < 0).any()
    assert found.precipitation_rate.max() <= rain.max() + 1e-4 or rain.isnull().all()
    if reason and not reason.startswith("AR process"):
        np.testing.assert_array_equal(found.precipitation_rate, expected.precipitation_rate)
    smooth = filter_scales(rain, estimate_motion(rain), LEADS)
    np.testing.assert_array_equal(smooth.filtered_dbr.isnull(), expected.precipitation_rate.isnull())
    assert (np.abs(smooth.correlation) <= 1 + 1e-5).all() or smooth.correlation.isnull().any()


def test_unseen_edges_are_not_taken_as_dry_by_the_correlations():
    """Frames carried along have no values at the border where rain comes in: those of the latest stand in."""
    rain = scene((96, 96), wet=0.9)
    found = filter_scales(rain, estimate_motion(rain), LEADS)
    assert found.correlation.values[1:5, 0].min() > 0.97


def test_a_late_radar_fades_and_moves_on_that_much_longer():
    rain = changing()
    early = ScaleFilter(motion=Known()).forecast(rain[:-1], np.arange(2, 8) * STEP)
    late = ScaleFilter(motion=Known()).forecast(without(rain, -1), LEADS)
    assert late.attrs["status"] == "radar is late: latest frame is 5 min old"
    for k in range(6):
        assert correlation(early.precipitation_rate.values[k], late.precipitation_rate.values[k]) > 0.999


def test_the_table_is_that_of_the_program():
    table = json.loads((Path(__file__).parents[2] / "notebooks" / "scale_filter.json").read_text())
    ours, theirs = table["mean"]["scale filter"], table["mean"]["S-PROG, our motion"]
    score = "CSI 1, equal area"
    assert all(a >= b for a, b in zip(ours[score], theirs[score], strict=True))
    assert table["speed"]["ours is faster by, processor"] >= 15
