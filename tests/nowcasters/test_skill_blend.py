"""The blend by recent skill: weights that follow from the last hour, and what is left where a source is missing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.synthetic import disc, rain, translation
from hybridcast.core.field import RATE
from hybridcast.datasets.pseudo_nwp import PERFECT, simulate_pseudo_nwp
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nowcasters.base import Advection
from hybridcast.nowcasters.skill_blend import Skill, SkillWeightedBlend, blend_sources, correlate

MINUTE = np.timedelta64(1, "m")
LEADS = np.arange(1, 9) * 15 * MINUTE


@pytest.fixture(scope="module")
def truth():
    """An hour of radar and two hours after it; the motion is easy, and cells live on."""
    return rain((96, 96), translation(1.0, 0.5), frames=13, later=24, spacing=2000.0)


@pytest.fixture(scope="module")
def recent(truth):
    return truth.isel(time=slice(0, 13))


def runs(*fields):
    """Runs that know the fields, the newest first."""
    starts = fields[0]["time"].values[0] - np.arange(1, len(fields) + 1) * 60 * MINUTE
    return (
        xr.concat([f.drop_vars("spatial_ref", errors="ignore") for f in fields], "reference_time")
        .assign_coords(reference_time=starts)
        .to_dataset(name=RATE)
    )


def turned(field):
    """Rain of elsewhere."""
    return field.copy(data=field.values[:, ::-1, ::-1].copy())


def issued(recent):
    return recent["time"].values[-1]


def weights(made):
    return made["source_weight"].sel(source="radar").values


def test_a_right_model_takes_over_and_a_wrong_one_does_not(truth, recent):
    right, wrong = (SkillWeightedBlend(runs(f)).forecast(recent, LEADS) for f in (truth, turned(truth)))
    assert (np.diff(weights(right)) <= 1e-6).all()  # the longer, the less extrapolation
    assert weights(right)[-1] < 0.3
    assert (weights(wrong)[:4] > 0.8).all()
    assert right.attrs["nwp_correlation"] > 0.9 > 0.3 > wrong.attrs["nwp_correlation"]
    assert "hindcasts" in right.attrs["weights_from"]
    assert "the last hour of NWP" in right.attrs["weights_from"]


def test_weights_are_those_of_least_squares():
    """Against a regression on two forecasts with independent errors."""
    random = np.random.default_rng(0)
    signal, *noise = random.standard_normal((3, 400_000))
    r = 0.7, 0.4
    made = np.array([k * signal + np.sqrt(1 - k**2) * n for k, n in zip(r, noise, strict=True)])
    found, *_ = np.linalg.lstsq(made.T, signal, rcond=None)
    skill = Skill(life=-60 / np.log(r[0]), nwp=r[1], basis="")
    assert skill.radar_weights([60.0])[0] == pytest.approx(found[0] / found.sum(), abs=0.01)


def test_the_life_of_the_extrapolation_is_found(recent):
    """From rain that decorrelates at a known pace where it stands."""
    random = np.random.default_rng(1)
    steps, values = np.exp(-5 / 40), [random.standard_normal((96, 96))]
    for _ in range(12):
        values.append(steps * values[-1] + np.sqrt(1 - steps**2) * random.standard_normal((96, 96)))
    radar = recent.copy(data=np.exp(np.array(values, np.float32) + 3))

    still = DenseFlow().estimate(recent) * 0
    for name in ("u", "v"):
        still[name].attrs["units"] = "m s-1"

    class Fixed:
        name = "no motion"

        def estimate(self, recent):
            return still.assign_attrs(method="none", status="estimated")

    made = SkillWeightedBlend(None, Fixed()).forecast(radar, LEADS)
    assert made.attrs["extrapolation_life_minutes"] == pytest.approx(40, rel=0.05)


def test_the_blend_is_better_than_each_source_alone(truth, recent):
    """Both sources are wrong in ways of their own; the middle lead times show what a blend is for."""
    random = np.random.default_rng(2)
    rough = np.exp(random.normal(0, 1.2, (37, 12, 12))).repeat(8, axis=1).repeat(8, axis=2)
    model = runs(truth.copy(data=(truth.values * rough).astype(np.float32)))
    growing = truth.copy(
        data=(
            truth.values
            * np.exp(random.normal(0, 0.5, (12, 12))).repeat(8, 0).repeat(8, 1) ** (np.arange(37)[:, None, None] / 12)
        ).astype(np.float32)
    )
    radar = growing.isel(time=slice(0, 13))
    observed = growing.sel(time=issued(recent) + LEADS).values
    made = SkillWeightedBlend(model).forecast(radar, LEADS)[RATE].values
    alone = Advection().forecast(radar, LEADS)[RATE].values
    other = model[RATE].sel(time=issued(recent) + LEADS).values[0]
    seen = np.isfinite(alone)
    errors = [((np.log(f + 0.1) - np.log(observed + 0.1)) ** 2)[seen].mean() for f in (made, alone, other)]
    assert errors[0] < min(errors[1:])


def test_salient_weights_keep_strong_cells(truth, recent):
    model = runs(turned(truth))
    plain, salient = (SkillWeightedBlend(model, salient=s).forecast(recent, LEADS)[RATE].values for s in (False, True))
    assert np.quantile(salient[3], 0.99) > 1.02 * np.quantile(plain[3], 0.99)
    assert salient.max() <= max(np.nanmax(recent.values), float(model[RATE].max())) + 1e-3


def test_a_source_that_is_alone_stands_alone(truth, recent):
    seen = xr.DataArray(disc((96, 96), 0.3), dims=("y", "x"))
    radar = recent.where(seen)
    made = SkillWeightedBlend(runs(truth)).forecast(radar, LEADS)
    alone = Advection().forecast(radar, LEADS)[RATE].values
    observed = truth.sel(time=issued(recent) + LEADS).values
    np.testing.assert_allclose(made[RATE].values[np.isnan(alone)], observed[np.isnan(alone)], atol=1e-5)
    without = SkillWeightedBlend(None).forecast(radar, LEADS)
    np.testing.assert_array_equal(without[RATE].values, alone)
    known = np.isfinite(alone).any(axis=(1, 2))
    np.testing.assert_allclose(weights(without)[known], 1)
    assert without.attrs["nwp_runs_used"] == "none"
    assert "the usual skill of NWP" in without.attrs["weights_from"]


def test_without_radar_it_is_the_model(truth, recent):
    made = SkillWeightedBlend(runs(truth)).forecast(recent.where(False), LEADS)
    np.testing.assert_allclose(made[RATE].values, truth.sel(time=issued(recent) + LEADS).values, atol=1e-5)
    np.testing.assert_allclose(weights(made), 0)
    nothing = SkillWeightedBlend(None).forecast(recent.where(False), LEADS)
    assert np.isnan(nothing[RATE].values).all()


def test_the_newest_run_that_has_a_value_counts(truth, recent):
    short = truth.where(truth["time"] <= issued(recent) + 60 * MINUTE)
    made = SkillWeightedBlend(runs(short, turned(truth))).forecast(recent.where(False), LEADS)
    later = issued(recent) + LEADS
    np.testing.assert_allclose(made[RATE].values[0], truth.sel(time=later[0]).values, atol=1e-5)
    np.testing.assert_allclose(made[RATE].values[-1], turned(truth).sel(time=later[-1]).values, atol=1e-5)
    assert made.attrs["nwp_runs_used"].count("Z") == 2


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_short_history_has_the_usual_skill(truth, recent, frames):
    made = SkillWeightedBlend(runs(truth)).forecast(recent.isel(time=slice(-frames, None)), LEADS)
    assert "the usual skill of an extrapolation" in made.attrs["weights_from"]
    assert np.isfinite(made[RATE].values).any()


def test_dry_radar_and_dry_model(truth, recent):
    dry = truth.copy(data=np.zeros_like(truth.values))
    made = SkillWeightedBlend(runs(dry)).forecast(dry.isel(time=slice(0, 13)), LEADS)
    assert np.nanmax(made[RATE].values) == 0
    assert "usual skill of NWP" in made.attrs["weights_from"]
    assert SkillWeightedBlend(runs(dry)).forecast(recent, LEADS).attrs["nwp_correlation"] == pytest.approx(0.02)


def test_pseudo_nwp_fits_in_and_is_named(truth, recent):
    made = simulate_pseudo_nwp(truth, recent["time"].values[0], np.arange(1, 37) * 5 * MINUTE, PERFECT)
    on_times = made.isel(reference_time=0).swap_dims(lead_time="time").expand_dims("reference_time")
    result = SkillWeightedBlend(on_times).forecast(recent, LEADS)
    assert result.attrs["simulated"].startswith("pseudo-NWP")
    assert result.attrs["nwp_correlation"] > 0.95


def test_runs_on_another_grid_or_by_lead_time_are_refused(truth, recent):
    with pytest.raises(InputError, match="NWP and radar"):
        SkillWeightedBlend(runs(truth.isel(x=slice(1, None)))).forecast(recent, LEADS)
    with pytest.raises(InputError, match="dims"):
        SkillWeightedBlend(runs(truth).rename(time="lead_time")).forecast(recent, LEADS)


def test_correlation_knows_when_it_knows_nothing():
    few = np.ones((10, 10), np.float32)
    assert correlate(few, few) is None
    wet = np.exp(np.random.default_rng(0).standard_normal((40, 40))).astype(np.float32)
    assert correlate(wet, 0 * wet) is None
    assert correlate(wet, wet) == pytest.approx(0.98)
    assert blend_sources(wet[None], wet[None], np.array([0.3], np.float32)).shape == (1, 40, 40)
