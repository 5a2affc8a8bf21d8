"""Statistics of members: reliable ones are found reliable, sizes do not matter, unknown never counts, cases add up."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from helpers.ensembles import lazy_members
from hybridcast.core.forecast_schema import ENSEMBLE, add_ensemble, forecast_dataset
from hybridcast.verification import scores
from hybridcast.verification.statistics import block_sizes, compute_statistics

SHAPE = (60, 70)
BLOCKS = (4.0, 10.0)


def labelled(members, observed, spacing=1000.0):
    """Put members ``(realization, lead_time, y, x)`` and rates ``(lead_time, y, x)`` into forecast and observation."""
    template = synthetic.rain(observed.shape[1:], frames=1, later=len(observed), spacing=spacing)
    values = np.concatenate([np.zeros((1, *observed.shape[1:])), observed]).astype(np.float32)
    leads = np.arange(1, len(observed) + 1) * np.timedelta64(5, "m")
    made = forecast_dataset(np.mean(members, axis=0), template.isel(time=[0]), leads)
    return add_ensemble(made, np.asarray(members, np.float32)), template.copy(data=values)


def exchangeable(count, *, leads=1, seed=0, dry=0.6, uncertain=0.5):
    """Return members and observation that are drawn alike at each point: a field known to both, times noise."""
    rng = np.random.default_rng(seed)
    known = rng.gamma(0.7, 2.0, (leads, *SHAPE))
    drawn = known * rng.lognormal(0, uncertain, (count + 1, leads, *SHAPE))
    drawn[rng.random(drawn.shape) < dry] = 0
    return drawn[1:], drawn[0]


def judged(members, observed, **options):
    return compute_statistics(*labelled(members, observed), blocks=BLOCKS, **options)


def test_exchangeable_members_are_reliable():
    statistics = judged(*exchangeable(9, leads=8)).sum("lead_time")
    np.testing.assert_allclose(scores.spread_to_error(statistics), 1, atol=0.1)
    np.testing.assert_allclose(scores.rank_histogram(statistics), 0.1, atol=0.06)
    np.testing.assert_allclose(scores.rank_histogram(statistics).sel(block=0.0), 0.1, atol=0.006)
    index, sampling = scores.reliability_index(statistics), scores.reliability_index_of_sampling(statistics)
    assert (index < 2 * sampling).all()
    assert (index > 0.3 * sampling).all()


def test_members_that_are_too_alike_are_found_out():
    members, observed = exchangeable(9, leads=8)
    narrow = members.mean(axis=0) + 0.4 * (members - members.mean(axis=0))
    statistics = judged(narrow, observed).sum("lead_time")
    np.testing.assert_allclose(scores.spread_to_error(statistics), 0.4, atol=0.05)
    assert (scores.reliability_index(statistics) > 2 * scores.reliability_index_of_sampling(statistics)).all()
    ranks = scores.rank_histogram(statistics).sel(block=4.0)
    assert ranks[0] + ranks[-1] > 0.4  # most are outside the range of the members


def test_fair_scores_do_not_depend_on_the_number_of_members():
    """The unfair score of three members is worse by a third of their mean distance."""
    members, observed = exchangeable(30, leads=12)
    few = [judged(members[k : k + 3], observed).sum("lead_time") for k in range(0, 30, 3)]
    many = judged(members, observed).sum("lead_time")
    for score in (scores.fair_crps, scores.energy_score, scores.variogram_score, scores.spread_to_error):
        expected = score(many).where(many["block"] > 0).dropna("block")
        found = xr.concat([score(each) for each in few], "draw").mean("draw").sel(block=expected["block"])
        np.testing.assert_allclose(found, expected, rtol=0.04)
    assert (scores.crps_ensemble(few[0]) > 1.1 * scores.crps_ensemble(many)).all()


def test_fair_crps_of_a_reliable_ensemble_is_that_of_the_distribution():
    """For an exponential distribution of mean m, the CRPS of the distribution itself is m / 2."""
    rng = np.random.default_rng(3)
    drawn = rng.exponential(2.0, (6, 10, *SHAPE))
    statistics = judged(drawn[1:], drawn[0]).sum("lead_time").sel(block=0.0)
    assert float(scores.fair_crps(statistics)) == pytest.approx(1.0, rel=0.02)
    assert float(scores.crps_ensemble(statistics)) == pytest.approx(1.2, rel=0.02)  # (1 + 1 / members) times it


def test_dependence_shows_in_sums_over_blocks_and_in_the_variogram():
    """The same members at each cell, but shuffled from cell to cell: too certain and too rough on blocks."""
    rng = np.random.default_rng(5)
    factor = rng.lognormal(0, 1, (21, 6, 1, 1)) * rng.lognormal(0, 0.2, (21, 6, *SHAPE))
    members, observed = factor[1:], factor[0]
    shuffled = rng.permuted(members, axis=0)
    whole, loose = (judged(drawn, observed).sum("lead_time") for drawn in (members, shuffled))
    np.testing.assert_allclose(scores.fair_crps(loose).sel(block=0.0), scores.fair_crps(whole).sel(block=0.0))
    for score in (scores.fair_crps, scores.energy_score, scores.variogram_score):
        assert (score(loose) > 1.05 * score(whole)).sel(block=10.0).all()
    assert float(scores.spread_to_error(loose).sel(block=10.0)) < 0.3


def test_dry_members_and_observations_share_all_ranks():
    zeros = np.zeros((4, 1, *SHAPE))
    statistics = judged(zeros, zeros[0], spectra=True)
    np.testing.assert_allclose(scores.rank_histogram(statistics), 0.2)
    np.testing.assert_allclose(scores.reliability_index(statistics), 0, atol=1e-12)
    np.testing.assert_allclose(scores.reliability_index_of_sampling(statistics), 0, atol=1e-9)
    assert (scores.fair_crps(statistics) == 0).all()
    assert scores.spread_to_error(statistics).isnull().all()
    assert scores.spectral_ratio_of_members(statistics).isnull().all()


def test_one_member_has_no_fair_score():
    members, observed = exchangeable(1)
    statistics = judged(members, observed)
    for score in (scores.fair_crps, scores.spread_to_error, scores.energy_score, scores.variogram_score):
        assert score(statistics).isnull().all()
    cells = statistics.sel(block=0.0)
    np.testing.assert_allclose(scores.crps_ensemble(cells), scores.mean_absolute_error(cells), rtol=1e-6)
    np.testing.assert_allclose(scores.rank_histogram(statistics).sum("rank"), 1)


def test_nothing_known_counts_nothing():
    members, observed = exchangeable(3)
    statistics = judged(members * np.nan, observed)
    assert all((statistics[name] == 0).all() for name in statistics)
    for score in (scores.fair_crps, scores.spread_to_error, scores.reliability_index, scores.energy_score):
        assert score(statistics).isnull().all()


def test_blocks_are_means_of_their_known_cells_and_count_if_most_are_known():
    members, observed = exchangeable(5, dry=0)
    whole = judged(members, observed)
    assert whole["ensemble_count"].sel(block=4.0) == 15 * 17
    observed[0, :40, :40] = 3.0
    members[:, 0, :40, :40] = 1.0
    observed[0, 0, 0] = np.nan  # of 16 cells; then of one block too many
    observed[0, 4:8, 4] = np.nan
    members[2, 0, 0, 4] = np.nan
    part = np.zeros((1, *SHAPE), bool)
    part[0, :40, :40] = True
    forecast, seen = labelled(members, observed)
    valid = forecast[ENSEMBLE].isel(realization=0, drop=True).copy(data=part)
    statistics = compute_statistics(forecast, seen, blocks=(4.0,), valid=valid).isel(lead_time=0).sel(block=4.0)
    assert statistics["ensemble_count"] == 99
    np.testing.assert_allclose(scores.fair_crps(statistics), 2.0)


def test_a_grid_smaller_than_the_blocks_has_no_block():
    members, observed = exchangeable(3)
    statistics = judged(members[..., :3, :], observed[:, :3])
    assert (statistics["ensemble_count"].sel(block=list(BLOCKS)) == 0).all()
    assert scores.energy_score(statistics).isnull().all()
    assert scores.fair_crps(statistics).sel(block=0.0).notnull().all()


def test_cells_need_not_be_square():
    grid = synthetic.rain((8, 9), frames=1, spacing=1000.0)
    grid = grid.assign_coords(y=grid.y.values * 3)
    assert block_sizes(grid, (10.0, 1.0)) == [(3, 10), (1, 1)]


def test_cases_and_parts_of_the_area_add_up():
    members, observed = exchangeable(4, leads=2)
    forecast, seen = labelled(members, observed)
    whole = compute_statistics(forecast, seen, blocks=BLOCKS)
    parts = [slice(0, 40), slice(40, None)]
    halves = [compute_statistics(forecast.isel(x=part), seen.isel(x=part), blocks=BLOCKS) for part in parts]
    added = halves[0] + halves[1]
    fields = [name for name in whole if name in {"cases", "rank_deviation", "field_count"} or "energy" in name]
    names = [name for name in whole if name not in {*fields, "variogram_error"}]
    xr.testing.assert_allclose(added[names], whole[names], rtol=1e-9)
    assert (added["field_count"] == 2 * whole["field_count"]).all()


def test_lazy_members_are_taken_one_lead_time_at_a_time():
    members, observed = exchangeable(4, leads=3)
    forecast, seen = labelled(members, observed)
    made = []

    def make(lead):
        made.append(lead)
        return forecast[ENSEMBLE].values[:, lead]

    lazy = forecast.assign({ENSEMBLE: forecast[ENSEMBLE].copy(data=lazy_members(4, observed.shape, make))})
    xr.testing.assert_identical(
        compute_statistics(lazy, seen, blocks=BLOCKS), compute_statistics(forecast, seen, blocks=BLOCKS)
    )
    assert made == [0, 1, 2]


def test_the_spectrum_of_a_member_is_not_that_of_the_mean():
    members, observed = exchangeable(6, leads=2)
    statistics = judged(members, observed, spectra=True)
    short = {"wavelength": statistics["wavelength"].values[0]}
    np.testing.assert_allclose(scores.spectral_ratio_of_members(statistics).sel(short), 1, atol=0.3)
    assert (scores.spectral_ratio(statistics).sel(short) < 0.6).all()


def test_stations_are_judged_as_cells_are():
    members, observed = exchangeable(4, leads=2)
    forecast, seen = labelled(members, observed)
    places = {"y": xr.DataArray([3, 30, 7], dims="station"), "x": xr.DataArray([5, 60, 44], dims="station")}
    at = {"station": ["a", "b", "c"]}
    found = compute_statistics(
        forecast.isel(places).drop_vars(["x", "y"]).assign_coords(at),
        seen.isel(places).drop_vars(["x", "y"]).assign_coords(at),
    )
    assert (found["ensemble_count"] == 3).all()
    assert found["block"].values.tolist() == [0.0]


@pytest.mark.parametrize("others", [2, 5])
def test_ensembles_of_different_sizes_stand_side_by_side(others):
    members, observed = exchangeable(9, leads=4)
    both = xr.concat(
        [judged(members, observed), judged(members[:others], observed)],
        xr.Variable("nowcaster", ["nine", "few"]),
        join="outer",
        fill_value=0.0,
    )
    alone = scores.reliability_index(judged(members[:others], observed))
    np.testing.assert_allclose(scores.reliability_index(both).sel(nowcaster="few"), alone)
