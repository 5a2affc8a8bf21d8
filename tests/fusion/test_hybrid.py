"""The fused nowcaster with a small model of simulated rain: what comes out on any grid, and whatever is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.field import precipitation
from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.fusion.hybrid import Hybrid, load_hybrid, single_member
from hybridcast.learned.members import RADAR_MEMBERS
from hybridcast.learned.trained_model import load_model, save_model
from hybridcast.motion.estimate import DIS
from hybridcast.nowcasters.base import Advection

MINUTE = np.timedelta64(1, "m")
SHAPE = (64, 72)
MOTION = synthetic.translation(1.5, -1.0)
RATE, CHANCE = "precipitation_rate", "probability_of_exceedance"


def scene(shape=SHAPE, **options):
    """Rain on cells of 1 km for 45 min, every 5 min."""
    return synthetic.rain(shape, MOTION, **{"frames": 10, "seen": synthetic.disc(shape, 0.6), "cell": 5.0} | options)


def changed(rain, values):
    return rain.copy(data=values.astype(np.float32))


def same(one, other):
    """Identical, but for when they were made."""
    xr.testing.assert_identical(one.assign_attrs(history=""), other.assign_attrs(history=""))


def check(result, rain):
    """Hold a forecast against what holds for every one of them; give its rate."""
    rate, chance = result[RATE].values, result[CHANCE].values
    advected = result[f"{RATE}_advected"].values
    np.testing.assert_array_equal(np.isnan(rate), np.isnan(advected))
    assert (np.isnan(chance) == np.isnan(advected)).all()
    assert rate.shape == (result.sizes["lead_time"], *rain.shape[1:])
    assert np.nanmin(rate, initial=0) >= 0
    assert np.nanmin(chance, initial=0) >= 0
    assert np.nanmax(chance, initial=0) <= 1
    assert np.nanmax(np.diff(chance, axis=0), initial=0) <= 1e-5
    assert np.isfinite(result.member_weight).all()
    return rate


@pytest.fixture(scope="module")
def model(model_folder):
    return load_model(model_folder)


@pytest.fixture(scope="module")
def model_folder(with_network, tmp_path_factory):
    """Give the folder of a small model with a network."""
    return save_model(with_network, tmp_path_factory.mktemp("models") / "networked")


@pytest.fixture(scope="module")
def rain():
    """Rain of two hours: enough for all hindcasts."""
    return scene(frames=25, later=6)


@pytest.fixture(scope="module")
def issue(rain):
    return rain.time.values[24]


@pytest.fixture(scope="module")
def result(rain, issue, model_folder):
    return forecast(rain, issue_time=issue, lead_time="1h", nowcaster=model_folder)


# --- what comes out -------------------------------------------------------------------------------------------


def test_it_holds_what_it_promises(result, rain, issue):
    check(result, rain)
    assert result[CHANCE].dims == ("threshold", "lead_time", "y", "x")
    assert result[CHANCE].shape == (3, 12, *SHAPE)
    assert result[CHANCE].dtype == result[RATE].dtype == np.float32
    assert result[CHANCE].attrs["units"] == "1"
    assert result[RATE].attrs["units"] == result[f"{RATE}_advected"].attrs["units"] == "mm h-1"
    assert result.threshold.values.tolist() == [0.1, 1.0, 5.0]
    assert result.threshold.attrs["units"] == "mm h-1"
    assert result.member_weight.dims == ("member", "threshold", "lead_time")
    assert result.member.values.tolist() == [*RADAR_MEMBERS, "network"]
    assert {"u", "v", "unknown_fraction"} <= set(result)
    assert result.reference_time.values == issue
    assert result.attrs["nowcaster"] == "hybridcast"
    assert result.attrs["status"] == "ok"
    assert result.attrs["hindcasts"] == 3
    assert "fallback" not in result.attrs
    assert result.attrs["frames_used"].count("Z") == 25


def test_attributes_tell_the_model(result, model):
    settings = json.loads(result.attrs["settings"])
    assert settings["model"] == model.fingerprint
    assert settings["regions_left_out"] == []
    assert settings["hindcasts"]["leads"] == [30, 60]


def test_advection_within_is_the_advection(result, rain, issue):
    alone = forecast(rain, issue_time=issue, lead_time="1h", nowcaster=Advection())
    np.testing.assert_allclose(result[f"{RATE}_advected"], alone[RATE], atol=1e-5)
    xr.testing.assert_identical(result[["u", "v"]].drop_attrs(), alone[["u", "v"]].drop_attrs())


def test_it_is_as_wet_as_the_advection_at_each_lead(result):
    """Ranks are carried along as the rain is: shares of cells may differ by little only."""
    rate, advected = result[RATE].values, result[f"{RATE}_advected"].values
    known = np.isfinite(advected)
    for threshold in (0.1, 1.0, 5.0):
        ours, theirs = (
            np.array([(f[k] >= threshold).mean() for f, k in zip(fields, known, strict=True)])
            for fields in (rate, advected)
        )
        np.testing.assert_allclose(ours, theirs, atol=0.06)
    assert np.nanmax(rate) <= np.nanmax(advected) * 1.001


def test_probabilities_are_high_where_it_rains(result, rain):
    """Half an hour ahead, on rain that does nothing but move."""
    chance = result[CHANCE].sel(threshold=1.0)[5].values
    came = rain.values[30]
    known = np.isfinite(chance) & np.isfinite(came)
    assert chance[known & (came >= 1)].mean() > chance[known & (came < 1)].mean() + 0.3
    climate = (came[known] >= 1).mean()
    assert ((chance[known] - (came[known] >= 1)) ** 2).mean() < 0.7 * climate * (1 - climate)


def test_it_is_the_same_each_time(rain, issue, model_folder, result):
    same(forecast(rain, issue_time=issue, lead_time="1h", nowcaster=str(model_folder)), result)


def test_the_input_is_left_as_it_is(rain, issue, model_folder):
    short = rain[:25]
    before = short.copy(deep=True)
    forecast(short, lead_time="15min", nowcaster=model_folder)
    xr.testing.assert_identical(short, before)


def test_what_is_saved_is_read_again(result, tmp_path):
    path = save_forecast(result, tmp_path / "forecast.nc")
    read = load_forecast(path)
    xr.testing.assert_equal(read.drop_vars(CHANCE), result.drop_vars(CHANCE))
    assert read.attrs == result.attrs
    assert read[CHANCE].dtype == np.float32
    np.testing.assert_allclose(read[CHANCE], result[CHANCE], rtol=0, atol=2**-15)
    assert read[CHANCE].attrs["least_significant_digit"] == 4


def test_a_projected_grid_is_kept(model_folder, tmp_path):
    result = forecast(scene(crs="EPSG:3035"), lead_time="10min", nowcaster=model_folder)
    assert result[CHANCE].attrs["grid_mapping"] == "spatial_ref"
    with xr.open_dataset(save_forecast(result, tmp_path / "a.nc"), decode_timedelta=True, decode_coords="all") as read:
        assert "spatial_ref" in read[CHANCE].coords


# --- nothing after the issue time -----------------------------------------------------------------------------


@pytest.mark.parametrize("later", [2000.0, 0.0, np.nan])
def test_nothing_after_the_issue_time_is_used(rain, issue, model_folder, result, later):
    values = rain.values.copy()
    values[25:] = later
    same(forecast(changed(rain, values), issue_time=issue, lead_time="1h", nowcaster=model_folder), result)


@pytest.mark.parametrize(("frames", "count"), [(25, 3), (14, 3), (8, 1), (6, 0), (1, 0)])
def test_hindcasts_are_those_that_the_frames_reach_back_for(frames, count, model_folder):
    result = forecast(scene(frames=frames), lead_time="15min", nowcaster=model_folder)
    assert result.attrs["hindcasts"] == count
    check(result, scene())


def test_hindcasts_without_anything_to_score_do_not_count(model_folder):
    """Frames every 7 min: none lies 30 or 60 min before another."""
    result = forecast(scene(frames=17, minutes=7), lead_time="14min", nowcaster=model_folder)
    assert result.attrs["hindcasts"] == 0


def test_hindcasts_of_a_frame_that_is_missing_do_not_count(rain, model_folder):
    """Without the frame of 30 min ago there is neither the hindcast from it nor the one for it."""
    values = rain.values[:25].copy()
    values[18] = np.nan
    assert forecast(changed(rain[:25], values), lead_time="15min", nowcaster=model_folder).attrs["hindcasts"] == 1


def test_without_hindcasts_the_weights_are_those_learned(rain, model):
    hybrid = Hybrid(model, hindcasts=None)
    result = forecast(rain[:25], lead_time="30min", nowcaster=hybrid)
    assert result.attrs["hindcasts"] == 0
    assert json.loads(result.attrs["settings"])["hindcasts"] is None
    picked = [model.blend.thresholds.index(t) for t in hybrid.thresholds]
    for k, minutes in enumerate(range(5, 35, 5)):
        expected = model.blend.weights_at(minutes)[picked, :-1].T
        np.testing.assert_allclose(result.member_weight[..., k], expected, atol=1e-6)
    corrected = forecast(rain[:25], lead_time="30min", nowcaster=Hybrid(model))
    assert (corrected.member_weight != result.member_weight).any()
    assert (corrected[CHANCE] != result[CHANCE]).any()


# --- with and without the network -----------------------------------------------------------------------------


def test_the_network_says_something(rain, model):
    with_it = forecast(rain[:25], lead_time="30min", nowcaster=Hybrid(model, hindcasts=None))
    without = forecast(rain[:25], lead_time="30min", nowcaster=Hybrid(model.without("network"), hindcasts=None))
    assert without.member.values.tolist() == [*RADAR_MEMBERS]
    assert np.nanmax(abs(with_it[CHANCE] - without[CHANCE])) > 0.01
    check(without, rain)


@pytest.mark.parametrize("member", ["network", "boosting"])
def test_one_member_alone(rain, model, member):
    result = forecast(rain[:25], lead_time="15min", nowcaster=single_member(Hybrid(model), member))
    check(result, rain)
    weights = result.member_weight
    assert (weights.sel(member=member) == 1).all()
    assert (weights.drop_sel(member=member) == 0).all()


def test_a_member_that_the_model_has_not_is_refused(model):
    with pytest.raises(InputError, match="neighbourhood, scale-filter, boosting"):
        single_member(Hybrid(model.without("network")), "network")


# --- thresholds and models ------------------------------------------------------------------------------------


def test_thresholds_are_those_asked_for(rain, issue, model_folder, result):
    some = forecast(rain, issue_time=issue, lead_time="1h", nowcaster=model_folder, thresholds=[1, 10])
    assert some.threshold.values.tolist() == [1.0, 10.0]
    np.testing.assert_array_equal(some[CHANCE].sel(threshold=1), result[CHANCE].sel(threshold=1))
    np.testing.assert_array_equal(some[RATE], result[RATE])


@pytest.mark.parametrize("thresholds", [[3.0], [0.1, 3.0], [1.0, 0.1], [1.0, 1.0]])
def test_thresholds_the_model_does_not_know_are_refused(thresholds, model_folder):
    with pytest.raises(InputError, match=r"they increase and are among \(0.1, 0.5, 1.0, 2.0, 5.0, 10.0\)"):
        forecast(scene(), nowcaster=model_folder, thresholds=thresholds)


def test_only_a_trained_model_has_thresholds(model):
    for nowcaster in (Advection(), Hybrid(model)):
        with pytest.raises(InputError, match="Leave out thresholds, or nowcaster"):
            forecast(scene(), nowcaster=nowcaster, thresholds=[1.0])


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="hybridcast train"):
        forecast(scene(), nowcaster=tmp_path)


def test_a_loaded_nowcaster_is_the_same_as_its_folder(model_folder):
    rain = scene()
    same(forecast(rain, nowcaster=load_hybrid(model_folder)), forecast(rain, nowcaster=model_folder))


def test_another_motion_may_carry_it(model):
    rain = scene()
    result = forecast(rain, lead_time="15min", nowcaster=Hybrid(model, motion=DIS()))
    check(result, rain)
    assert "DIS" in result.attrs["motion_method"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_the_frame_is_advected_where_it_is_wished(device, model, monkeypatch):
    """The wish reaches the kernels: a GPU need not be there to see it."""
    from hybridcast_kernels import cpu

    asked = []
    monkeypatch.setattr("hybridcast.fusion.hybrid.resolve_device", lambda wish: "cpu" if wish == "auto" else wish)
    monkeypatch.setattr("hybridcast.fusion.hybrid.kernels_for", lambda where: asked.append(where) or cpu)
    rain = scene()
    check(Hybrid(model, device=device).forecast(rain, np.array([15]) * MINUTE), rain)
    assert asked == (["cuda"] if device == "cuda" else [])  # on the CPU it is advected with all other fields


# --- any grid, any step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((30, 30), 1000.0), ((64, 72), 2000.0), ((96, 90), 500.0), ((31, 47), 1000.0), ((30, 30), 4000.0)],
)
def test_any_grid_near_that_of_the_model(shape, spacing, model_folder):
    rain = scene(shape, spacing=spacing)
    result = forecast(rain, lead_time="30min", nowcaster=model_folder)
    rate = check(result, rain)
    assert "fallback" not in result.attrs
    assert np.nanmax(rate) > 0.5
    assert np.nanmax(result[CHANCE][0]) > 0.5


def test_cells_much_coarser_than_those_of_the_model_are_advected(model_folder):
    rain = scene((40, 40), spacing=10_000.0)
    result = forecast(rain, lead_time="30min", nowcaster=model_folder)
    rate = check(result, rain)
    assert result.attrs["fallback"] == "advection alone: cells of 10.0 km, the model is made for 2.0 km"
    assert result.attrs["hindcasts"] == 0
    np.testing.assert_array_equal(rate, result[f"{RATE}_advected"])
    np.testing.assert_array_equal(result[CHANCE].sel(threshold=1.0) == 1, rate >= 1)


@pytest.mark.parametrize(("minutes", "frames"), [(15, 8), (10, 8), (2, 30), (1, 30)])
def test_any_step_of_the_radar(minutes, frames, model_folder):
    rain = scene(frames=frames, minutes=minutes)
    check(forecast(rain, lead_time="1h", nowcaster=model_folder), rain)


@pytest.mark.parametrize(("lead_time", "step"), [("35min", "7min"), ("5min", "5min"), ("3min", "1min"), ("3h", "1h")])
def test_any_lead_times(lead_time, step, model_folder):
    rain = scene()
    result = forecast(rain, lead_time=lead_time, step=step, nowcaster=model_folder)
    check(result, rain)


def test_lead_times_asked_for_do_not_change_what_is_forecast(rain, model_folder):
    """Members are asked every 15 min: at these the others make no difference."""
    many = forecast(rain[:25], lead_time="1h", step="15min", nowcaster=model_folder)
    few = forecast(rain[:25], lead_time="1h", step="30min", nowcaster=model_folder)
    np.testing.assert_allclose(few[CHANCE], many[CHANCE][:, 1::2], atol=2e-3)


@pytest.mark.parametrize("y_down", [True, False])
def test_a_grid_of_longitude_and_latitude(y_down, model_folder):
    rain = scene(y_down=y_down)
    y = 50 + 0.009 * np.arange(SHAPE[0])
    rain = precipitation(
        rain.values,
        time=rain.time.values,
        y=y[::-1] if y_down else y,
        x=7 + 0.014 * np.arange(SHAPE[1]),
        crs="EPSG:4326",
    )
    result = forecast(rain, lead_time="30min", nowcaster=model_folder)
    check(result, rain)
    assert "fallback" not in result.attrs


@pytest.mark.parametrize("wet", ["everywhere", "in one half"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((4, 4), 1e3), ((1, 50), 1e3), ((50, 1), 2e3), ((2, 50), 1e3), ((3, 3), 2e3), ((5, 5), 1e3)]
)
def test_on_the_grid_of_a_town_it_is_advection_and_says_so(shape, spacing, wet, model_folder):
    """With one or two sampling nodes along an axis the mean was up to twice, or a ten thousandth, of that observed."""
    rates = np.tile(5 + np.random.default_rng(1).random(shape), (6, 1, 1)).astype(np.float32)
    if wet == "in one half":
        rates.reshape(6, -1)[:, : rates[0].size // 2] = 0
    times = np.datetime64("2024-06-01T12:00") + np.arange(6) * np.timedelta64(5, "m")
    y, x = (spacing * np.arange(size) for size in shape)
    rain = precipitation(rates, time=times, y=y, x=x, crs=None)
    result = forecast(rain, lead_time="30min", nowcaster=model_folder)
    check(result, rain)
    assert "fewer than 3 sampling nodes along an axis" in result.attrs["fallback"]
    assert float(result[RATE][-1].mean()) == pytest.approx(float(rates[-1].mean()), rel=0.15)


@pytest.mark.parametrize("size", [12, 16, 24])
def test_on_a_small_grid_the_mean_stays(size):
    """The default model, rain in one half."""
    rates = np.tile(5 + np.random.default_rng(1).random((size, size)), (6, 1, 1)).astype(np.float32)
    rates[:, :, : size // 2] = 0
    times = np.datetime64("2024-06-01T12:00") + np.arange(6) * np.timedelta64(5, "m")
    rain = precipitation(rates, time=times, y=1e3 * np.arange(size), x=1e3 * np.arange(size), crs=None)
    assert float(forecast(rain, lead_time="30min")[RATE][-1].mean()) == pytest.approx(rates[-1].mean(), rel=0.15)


# --- little or nothing seen -----------------------------------------------------------------------------------


def test_dry_stays_dry_and_unlikely(model_folder):
    rain = scene(frames=20)
    rain = changed(rain, rain.values * 0)
    result = forecast(rain, lead_time="1h", nowcaster=model_folder)
    rate = check(result, rain)
    assert np.nanmax(rate) == 0
    assert np.isfinite(rate).any()
    assert np.nanmax(result[CHANCE]) < 0.2


def test_nothing_seen_is_all_unknown_and_said(model_folder):
    rain = scene()
    result = forecast(changed(rain, rain.values * np.nan), lead_time="30min", nowcaster=model_folder)
    assert np.isnan(result[RATE]).all()
    assert np.isnan(result[CHANCE]).all()
    assert result.attrs["fallback"] == "advection alone: no radar data"
    assert result.attrs["frames_used"] == "none"
    assert (result.unknown_fraction == 1).all()


def test_one_frame_is_forecast_to_stay(model_folder):
    rain = scene(frames=1)
    result = forecast(rain, lead_time="15min", nowcaster=model_folder)
    check(result, rain)
    np.testing.assert_array_equal(result[f"{RATE}_advected"][0], rain[0])
    assert result.attrs["hindcasts"] == 0


@pytest.mark.parametrize("missing", [[-1], [-1, -2, -3], [3], [1, 4, 5, 8], [-1, 2], slice(None, -1), slice(1, None)])
def test_late_and_missing_frames(missing, model_folder):
    rain = scene()
    values = rain.values.copy()
    values[missing] = np.nan
    rain = changed(rain, values)
    result = forecast(rain, lead_time="30min", nowcaster=model_folder)
    rate = check(result, rain)
    assert "fallback" not in result.attrs
    assert np.isfinite(rate[0]).mean() > 0.3
    late = np.isnan(values[-1]).all()
    assert result.attrs["status"].startswith("radar is late" if late else "ok")


def test_a_late_radar_is_forecast_from_its_latest_frame(model_folder):
    rain = scene(frames=16)
    late = forecast(rain, issue_time=rain.time.values[-1] + 15 * MINUTE, lead_time="30min", nowcaster=model_folder)
    in_time = forecast(rain, lead_time="45min", nowcaster=model_folder)
    assert late.attrs["status"] == "radar is late: latest frame is 15 min old"
    assert late.attrs["hindcasts"] == in_time.attrs["hindcasts"] == 3
    np.testing.assert_allclose(late[f"{RATE}_advected"], in_time[f"{RATE}_advected"][3:], atol=1e-2)
    both = np.isfinite(late[CHANCE].values) & np.isfinite(in_time[CHANCE].values[:, 3:])
    assert np.abs(late[CHANCE].values - in_time[CHANCE].values[:, 3:])[both].mean() < 0.02


@pytest.mark.parametrize(
    "seen",
    [
        lambda s: np.zeros(s, bool),
        lambda s: np.arange(s[0] * s[1]).reshape(s) == s[1] * 30 + 40,
        lambda s: (np.add.outer(np.arange(s[0]), np.arange(s[1])) % 4) == 0,
        lambda s: np.broadcast_to(np.arange(s[1]) < 3, s),
        lambda s: np.broadcast_to((np.arange(s[1]) % 4) == 2, s),
    ],
    ids=["nothing", "one cell", "every fourth cell", "an edge", "one column in four"],
)
@pytest.mark.parametrize("when", ["always", "in the last frame"])
def test_coverage_in_shreds(seen, when, model_folder):
    """Where a coarse cell is known by less than half it is unknown, and yet the fine cells are not."""
    rain = scene(frames=10, seen=None)
    values = rain.values.copy()
    frames = slice(None) if when == "always" else slice(-1, None)
    values[frames] = np.where(seen(SHAPE), values[frames], np.nan)
    rain = changed(rain, values)
    check(forecast(rain, lead_time="30min", nowcaster=model_folder), rain)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (7, 9)])
@pytest.mark.parametrize("frames", [1, 8])
def test_narrow_fields(shape, frames, model_folder):
    rain = scene(shape, frames=frames, seen=None)
    check(forecast(rain, lead_time="15min", nowcaster=model_folder), rain)


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_any_stride(stride, model):
    rain = scene()
    check(forecast(rain, lead_time="15min", nowcaster=replace(Hybrid(model), stride=stride)), rain)
