"""Pseudo-NWP: each error as large as stated, and none where none is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from helpers.synthetic import START, disc, rain, translation
from hybridcast.core.field import RATE
from hybridcast.core.grid import coarsen
from hybridcast.datasets.pseudo_nwp import PERFECT, PRESETS, TYPICAL, PseudoNwpSettings, simulate_pseudo_nwp
from hybridcast.errors import InputError

MINUTE = np.timedelta64(1, "m")
HOUR = np.timedelta64(60, "m")
QUARTERS = np.arange(1, 13) * 15 * MINUTE
STEADY = replace(PERFECT, start=1.0)
"""Errors do not grow."""


@pytest.fixture(scope="module")
def radar():
    """Four hours of 5 min on 256 x 240 km."""
    return rain((128, 120), translation(1.0, 0.5), frames=1, later=48, spacing=2000.0, cell=3.0)


def rates(radar, settings, *, run=START, leads=QUARTERS, seed=0):
    return simulate_pseudo_nwp(radar, run, leads, settings, seed=seed)[RATE].values[0]


def still(radar):
    """The first frame at all times, so that nothing but place is wrong."""
    return radar.copy(data=np.broadcast_to(radar.values[:1], radar.shape).copy())


def even(radar):
    """The same rate everywhere and always, which does not move: what is made of it shows the errors."""
    return radar.copy(data=np.ones_like(radar.values))


def test_without_errors_it_is_the_mean_of_the_steps(radar):
    made = simulate_pseudo_nwp(radar, START, QUARTERS, PERFECT)
    assert made[RATE].dims == ("reference_time", "lead_time", "y", "x")
    assert made[RATE].dtype == np.float32
    expected = radar.values[1:37].reshape(12, 3, *radar.shape[1:]).mean(axis=1)
    np.testing.assert_allclose(made[RATE].values[0], expected, atol=1e-5)
    assert (made["time"].values[0] == START + QUARTERS).all()


def test_without_errors_on_a_finer_grid_it_is_coarsened():
    radar = rain((80, 90), frames=1, later=12, spacing=1000.0)
    made = simulate_pseudo_nwp(radar, START, [HOUR], PERFECT)
    expected = coarsen(radar, 2000.0).isel(time=slice(1, None)).values.mean(axis=0)
    np.testing.assert_allclose(made[RATE].values[0, 0], expected, atol=1e-5)
    assert made.sizes["y"] == 40
    assert float(made["y"][0] - made["y"][1]) == 2000.0


def test_it_says_what_it_is(radar):
    made = simulate_pseudo_nwp(radar, START, QUARTERS)
    assert all("pseudo-NWP" in made.attrs[name] for name in ("title", "source", "simulated"))
    assert "pseudo-NWP" in made[RATE].attrs["long_name"]


def test_the_displacement_is_as_large_as_stated(radar):
    uniform = replace(STEADY, displacement=30.0, displacement_scale=5000.0)
    found = []
    for seed in range(40):
        made = rates(still(radar), uniform, leads=[HOUR], seed=seed)[0]
        found.append(_shift(radar.values[0], made))
    squared = 4.0 * (np.array(found) ** 2).sum(axis=1)  # cells of 2 km
    assert np.sqrt(squared.mean()) == pytest.approx(30.0, rel=0.2)


def _shift(truth, moved):
    """By how many rows and columns the truth was moved, where both are periodic enough, by phase correlation."""
    spectrum = np.conj(np.fft.fft2(truth)) * np.fft.fft2(np.nan_to_num(moved))
    peak = np.unravel_index(np.fft.ifft2(spectrum / (np.abs(spectrum) + 1e-6)).real.argmax(), truth.shape)
    return [(p + n // 2) % n - n // 2 for p, n in zip(peak, truth.shape, strict=True)]


def test_the_timing_is_as_large_as_stated():
    minutes = np.arange(0, 605, 5)
    clock = xr.DataArray(
        np.broadcast_to(minutes[:, None, None] / 60.0, (121, 8, 9)).astype(np.float32), dims=("time", "y", "x")
    )
    radar = rain((8, 9), frames=1, later=120, spacing=2000.0)
    radar = radar.copy(data=clock.values)  # a rate that tells the time
    late = [float(rates(radar, replace(STEADY, timing=20.0), leads=[5 * HOUR], seed=s)[0, 0, 0]) for s in range(60)]
    shifts = 60.0 * np.array(late) - (300 - 27.5)
    assert shifts.mean() == pytest.approx(0, abs=7)
    assert shifts.std() == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_the_share_missed_is_as_set(radar, share):
    kept = [
        rates(even(radar), replace(STEADY, missed=share, storm_scale=10.0), leads=[HOUR], seed=s).mean()
        for s in range(40)
    ]
    assert 1 - np.mean(kept) == pytest.approx(share, abs=0.04)


def test_storms_are_missed_whole_and_not_cell_by_cell(radar):
    made = rates(even(radar), replace(STEADY, missed=0.4), leads=[HOUR])[0]
    neighbours = np.corrcoef(made[:, :-5].ravel(), made[:, 5:].ravel())[0, 1]
    assert ((made == 0) | (made == 1)).mean() > 0.6
    assert neighbours > 0.8


def test_the_share_invented_is_as_set():
    radar = rain((100, 200), frames=1, later=26, minutes=30, spacing=2000.0)
    west = np.zeros_like(radar.values)
    west[..., :100] = 1
    radar = radar.copy(data=west)
    made = [
        rates(radar, replace(STEADY, invented=0.3, storm_scale=10.0), leads=[HOUR], seed=s)[0][:, 100:].mean()
        for s in range(60)
    ]
    # rain that is shifted by 0.3 to 0.7 of the width covers 0.6 to 1 to 0.6 of the other half
    assert np.mean(made) == pytest.approx(0.3 * 0.8, abs=0.03)


def test_what_is_invented_moves_like_the_rain(radar):
    """By the motion that was put in, whether the donor was turned or only shifted."""
    full = replace(STEADY, invented=1.0, storm_scale=500.0, memory=1e6)
    steps = np.arange(1, 20) * 5 * MINUTE
    for seed in range(6):  # some of them turned
        made = rates(radar.copy(data=np.where(radar.values > 0, radar.values, 0)), full, leads=steps, seed=seed)
        found = [_shift(made[k], made[k + 6])[::-1] for k in range(0, 13, 6)]
        assert np.median(found, axis=0) == pytest.approx([6.0, 3.0], abs=1.5)


def test_the_factor_is_log_normal_with_mean_one(radar):
    made = np.array(
        [
            rates(even(radar), replace(STEADY, intensity=0.5, intensity_scale=10.0), leads=[HOUR], seed=s)
            for s in range(40)
        ]
    )
    assert made.mean() == pytest.approx(1, abs=0.05)
    assert np.log(made).std() == pytest.approx(0.5, abs=0.04)


def test_resolution_takes_details_and_leaves_strong_rates(radar):
    plain = rates(radar, PERFECT)
    smooth = rates(radar, replace(PERFECT, resolution=30.0, peaks=0.0))
    given_back = rates(radar, replace(PERFECT, resolution=30.0, peaks=1.0))
    fine = [np.diff(field, axis=-1).std() for field in (plain, smooth, given_back)]
    assert fine[1] < fine[2] < fine[0]
    strong = [np.quantile(field, 0.99) for field in (plain, smooth, given_back)]
    assert strong[1] < 0.9 * strong[0]
    assert strong[2] == pytest.approx(strong[0], rel=0.02)


def test_a_wave_of_the_resolution_is_halved():
    x = np.arange(112) * 2.0
    wave = np.broadcast_to(1 + np.sin(2 * np.pi * x / 14.0), (13, 60, 112)).astype(np.float32)
    radar = rain((60, 112), frames=1, later=12, spacing=2000.0).copy(data=wave)
    made = rates(radar, replace(PERFECT, resolution=14.0, peaks=0.0), leads=[HOUR])[0, 30, 28:-28]
    assert np.abs(np.fft.rfft(made)).max(initial=0, where=np.arange(29) > 0) * 2 / 56 == pytest.approx(0.5, abs=0.03)


def test_drizzle_and_spin_up(radar):
    dry_before = (rates(radar, PERFECT) < 0.01).mean()
    made = rates(radar, replace(PERFECT, drizzle=0.2))
    assert (made < 0.01).mean() < dry_before
    assert (made - rates(radar, PERFECT)).max() <= 0.2 + 1e-6
    spun = rates(radar, replace(PERFECT, spin_up=20.0))
    assert spun[0].mean() / rates(radar, PERFECT)[0].mean() == pytest.approx(1 - np.exp(-0.75), abs=1e-3)


def test_errors_grow_with_lead_time(radar):
    leads = np.arange(1, 4) * HOUR
    growing = replace(TYPICAL, start=0.1)
    errors = []
    for lead in leads:  # valid at the same time, from runs of different age
        run = START + 200 * MINUTE - lead
        made = [rates(radar, growing, run=run, leads=[lead], seed=s)[0] for s in range(12)]
        truth = rates(radar, PERFECT, run=run, leads=[lead])[0]
        errors.append(np.nanmean([(m - truth) ** 2 for m in made]))
    assert errors[0] < errors[1] < errors[2]


def test_presets_differ_as_they_should(radar):
    truth = rates(radar, PERFECT)

    def skill(settings):
        made = np.array([rates(radar, settings, seed=s) for s in range(6)])
        known = np.isfinite(made)
        return np.corrcoef(made[known], np.broadcast_to(truth, made.shape)[known])[0, 1]

    good, typical, poor = (skill(PRESETS[name]) for name in ("good", "typical", "poor"))
    assert good > typical + 0.05 > poor + 0.1


def test_the_same_seed_gives_the_same_and_another_another(radar):
    first, again, other = (rates(radar, TYPICAL, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


def test_a_run_alone_is_the_same_as_beside_others(radar):
    runs = START + np.arange(-2, 1) * HOUR
    together = simulate_pseudo_nwp(radar, runs, QUARTERS)[RATE]
    alone = simulate_pseudo_nwp(radar, runs[1], QUARTERS)[RATE]
    np.testing.assert_array_equal(together.values[1], alone.values[0])


def test_consecutive_runs_share_errors_and_those_of_another_day_do_not(radar):
    settings = replace(
        TYPICAL, intensity_scale=10.0, displacement=0, missed=0, invented=0, resolution=0, drizzle=0, spin_up=0
    )
    field, day = even(radar), 24 * HOUR
    next_day = field.assign_coords(time=field["time"].values + day)
    errors = []
    for rain_seen, run, lead in ((field, START, 2), (field, START - HOUR, 3), (next_day, START + day, 2)):
        made = [rates(rain_seen, settings, run=run, leads=[lead * HOUR], seed=s)[0] for s in range(12)]
        errors.append(np.log(np.array(made)).ravel())
    of_next_run, of_another_day = (np.corrcoef(errors[0], other)[0, 1] for other in errors[1:])
    assert of_next_run == pytest.approx(settings.shared, abs=0.2)
    assert abs(of_another_day) < 0.2


def test_the_error_at_issue_time_tells_about_the_future(radar):
    leads = np.arange(1, 5) * HOUR
    made = np.array([rates(even(radar), replace(TYPICAL, displacement=0), leads=leads, seed=s) for s in range(8)])
    now, soon, later = (made[:, k].ravel() for k in (0, 1, 3))
    assert np.corrcoef(now, soon)[0, 1] > 0.7
    assert np.corrcoef(now, later)[0, 1] > 0.4


def test_times_beyond_the_archive_are_unknown(radar):
    made = simulate_pseudo_nwp(radar, [START - 2 * HOUR, START + 3 * HOUR], np.arange(1, 4) * HOUR)[RATE]
    known = np.isfinite(made.values).mean(axis=(2, 3)) > 0.5
    np.testing.assert_array_equal(known, [[False, False, True], [True, False, False]])


def test_what_the_radar_does_not_see_is_unknown():
    seen = disc((128, 120), 0.4)
    radar = rain((128, 120), frames=1, later=24, spacing=2000.0, seen=seen)
    np.testing.assert_array_equal(np.isfinite(rates(radar, PERFECT, leads=[HOUR])[0]), seen)
    made = rates(radar, TYPICAL, leads=[HOUR])[0]
    assert np.isnan(made[~disc((128, 120), 0.5)]).mean() > 0.5
    assert np.isfinite(made[seen]).mean() > 0.95  # those whose source is not seen take the opposite one


def test_missing_frames_do_no_harm(radar):
    values = radar.values.copy()
    values[5:8] = np.nan
    made = rates(radar.copy(data=values), PERFECT)
    assert np.isfinite(made[0]).all()
    assert np.isfinite(made[2]).all()
    assert np.isnan(rates(radar.copy(data=np.full_like(values, np.nan)), TYPICAL)).all()


@pytest.mark.parametrize("settings", [PERFECT, TYPICAL])
def test_a_dry_field_stays_dry(radar, settings):
    made = rates(radar.copy(data=np.zeros_like(radar.values)), settings)
    assert (made[np.isfinite(made)] == 0).all()


def test_a_short_archive_and_a_coarse_step():
    radar = rain((30, 40), frames=3, spacing=2000.0, minutes=15)
    made = simulate_pseudo_nwp(radar, START - HOUR, np.arange(15, 105, 15) * MINUTE)[RATE]
    assert np.isfinite(made.values[0, 3:]).any(axis=(1, 2)).all()
    one = simulate_pseudo_nwp(radar.isel(time=slice(0, 1)), START - HOUR, [HOUR])[RATE]
    assert np.isfinite(one.values).any()


def test_wrong_settings_and_times_are_refused(radar):
    with pytest.raises(InputError, match=r"missed = 1\.5"):
        PseudoNwpSettings(missed=1.5)
    with pytest.raises(InputError, match="spacing = 0"):
        PseudoNwpSettings(spacing=0)
    with pytest.raises(InputError, match="reference times"):
        simulate_pseudo_nwp(radar, [5], QUARTERS)
