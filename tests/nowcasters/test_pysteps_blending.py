"""The blending methods of pysteps on small fields: what they make of radar and runs, and what they do without them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.synthetic import disc, rain, translation
from hybridcast.core.field import RATE
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nowcasters.pysteps import LinearBlending, StepsBlending

MINUTE = np.timedelta64(1, "m")
LEADS = np.arange(1, 7) * 10 * MINUTE


@pytest.fixture(scope="module")
def truth():
    """Half an hour of radar and an hour and a half after it."""
    return rain((64, 64), translation(1.0, 0.5), frames=7, later=18, spacing=2000.0)


@pytest.fixture(scope="module")
def recent(truth):
    return truth.isel(time=slice(0, 7))


def runs(field, count=1):
    """Runs that know the field: dims (reference_time, time, y, x), all times of the field."""
    starts = field["time"].values[0] - np.arange(1, count + 1) * 60 * MINUTE
    return field.expand_dims(reference_time=starts).to_dataset(name=RATE).compute()


def changed(field, values):
    return field.copy(data=np.broadcast_to(np.asarray(values, np.float32), field.shape).copy())


def linear(nwp, **settings):
    return LinearBlending(nwp, DenseFlow(), **settings)


def steps(nwp, **settings):
    return StepsBlending(nwp, DenseFlow(), members=2, n_cascade_levels=4, **settings)


BOTH = pytest.mark.parametrize("make", [linear, steps], ids=["linear", "steps"])


def test_the_linear_blend_is_the_extrapolation_first_and_the_run_last(truth, recent):
    made = linear(runs(changed(truth, 7.0)), start=20, end=50).forecast(recent, LEADS)
    alone = linear(None).forecast(recent, LEADS)
    first, last = made[RATE].values[1], made[RATE].values[-1]
    seen = np.isfinite(alone[RATE].values[1])
    np.testing.assert_allclose(
        first[seen], np.where(alone[RATE].values[1] < 0.1, 0, alone[RATE].values[1])[seen], atol=1e-3
    )
    np.testing.assert_allclose(last, 7.0)
    assert "fallback" not in made.attrs
    assert made.attrs["nwp_runs_used"] == "2020-06-01T11:00:00Z"


def test_saliency_keeps_strong_cells(truth, recent):
    middle = [35 * MINUTE]
    weak = runs(changed(truth, 0.2))
    plain = linear(weak, start=10, end=60).forecast(recent, middle)[RATE]
    salient = linear(weak, start=10, end=60, saliency=True).forecast(recent, middle)[RATE]
    assert float(salient.max()) > float(plain.max())


def test_steps_blending_follows_a_right_run(truth, recent):
    leads, last = LEADS[[0, -1]], []
    observed = truth.sel(time=recent["time"].values[-1] + leads).values
    for values in (truth.values, truth.values[:, ::-1, ::-1]):
        model = StepsBlending(runs(truth.copy(data=values)), DenseFlow(), members=6, n_cascade_levels=5)
        made = model.forecast(recent, leads)
        assert "fallback" not in made.attrs
        assert made["precipitation_rate_ensemble"].dims == ("realization", "lead_time", "y", "x")
        last.append(np.corrcoef(made[RATE].values[-1].ravel(), observed[-1].ravel())[0, 1])
    assert last[0] > last[1] + 0.05


def test_steps_blending_is_the_same_for_the_same_seed(truth, recent):
    first, again = (steps(runs(truth, 2), seed=5).forecast(recent, LEADS[:2]) for _ in range(2))
    xr.testing.assert_identical(first, again)


@BOTH
def test_lead_times_between_steps(truth, recent, make):
    made = make(runs(truth)).forecast(recent, [7 * MINUTE, 22 * MINUTE])
    assert np.isfinite(made[RATE].values).all()


@BOTH
@pytest.mark.parametrize("dry", ["radar", "runs", "both"])
def test_dry_fields_do_no_harm(truth, recent, make, dry):
    radar = changed(recent, 0.0) if dry != "runs" else recent
    nwp = runs(changed(truth, 0.0) if dry != "radar" else truth)
    made = make(nwp).forecast(radar, LEADS)[RATE].values
    assert np.isfinite(made).all()
    if dry == "both":
        assert made.max() == 0
    elif make is linear:  # STEPS trusts a dry radar for the first hour
        assert made.max() > 0


@BOTH
def test_one_dry_frame_of_several_does_no_harm(truth, recent, make):
    values = recent.values.copy()
    values[-2] = 0
    assert np.isfinite(make(runs(truth)).forecast(recent.copy(data=values), LEADS[:2])[RATE].values).all()


@BOTH
def test_what_the_radar_does_not_see_comes_from_the_run(truth, recent, make):
    radar = recent.where(xr.DataArray(disc((64, 64), 0.3), dims=("y", "x")))
    made = make(runs(changed(truth, 3.0))).forecast(radar, LEADS)[RATE].values
    assert np.isfinite(made).all()
    assert made[-1, :5, :5].mean() == pytest.approx(3.0, rel=0.5)


@BOTH
def test_what_neither_knows_is_unknown(truth, recent, make):
    seen, known = disc((64, 64), 0.3), np.zeros((64, 64), bool)
    known[:, 20:44] = True
    radar = recent.where(xr.DataArray(seen, dims=("y", "x")))
    nwp = runs(truth.where(xr.DataArray(known, dims=("y", "x"))))
    made = make(nwp).forecast(radar, LEADS[:1])[RATE].values
    assert np.isfinite(made[:, known]).all()
    assert np.isnan(made[:, ~known & ~disc((64, 64), 0.45)]).all()


@BOTH
def test_without_a_run_it_is_the_extrapolation(truth, recent, make):
    early = runs(truth.isel(time=slice(0, 10)))  # ends before the last lead time
    for nwp in (None, early):
        made = make(nwp).forecast(recent, LEADS)
        assert made.attrs["fallback"] == "extrapolated: no run has a value at all of the lead times"
        assert made.attrs["nwp_runs_used"] == "none"
        assert np.isfinite(made[RATE].values).any(axis=(-1, -2)).all()


@BOTH
def test_without_radar_it_is_the_run(truth, recent, make):
    made = make(runs(truth)).forecast(changed(recent, np.nan), LEADS)
    assert made.attrs["fallback"] == "the newest run alone: no radar"
    np.testing.assert_allclose(made[RATE].values, truth.sel(time=recent["time"].values[-1] + LEADS).values, atol=1e-5)


@BOTH
def test_late_radar_and_a_lone_frame(truth, recent, make):
    values = recent.values.copy()
    values[-2:] = np.nan
    late = make(runs(truth)).forecast(recent.copy(data=values), LEADS[:3])
    assert "late" in late.attrs["status"]
    assert np.isfinite(late[RATE].values).all()
    lone = make(runs(truth)).forecast(recent.isel(time=[-1]), LEADS[:3])
    assert np.isfinite(lone[RATE].values).all()


@BOTH
def test_it_says_that_the_runs_are_simulated(truth, recent, make):
    nwp = runs(truth).assign_attrs(simulated="pseudo-NWP: no model was run")
    assert make(nwp).forecast(recent, LEADS[:2]).attrs["simulated"].startswith("pseudo-NWP")


def test_wrong_settings_and_grids_are_refused(truth, recent):
    with pytest.raises(InputError, match="members = 0"):
        StepsBlending(None, members=0)
    with pytest.raises(InputError, match="start = 60, end = 30"):
        LinearBlending(None, start=60, end=30)
    with pytest.raises(InputError, match="NWP and radar"):
        linear(runs(truth.isel(y=slice(1, None)))).forecast(recent, LEADS)
