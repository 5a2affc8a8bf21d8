"""One sharp field from probabilities."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from hybridcast.fusion.probability_matching import (
    NEIGHBOURHOOD,
    coverage_targets,
    exceedance_fraction,
    log_odds,
    rank_transforms,
    sorted_descending,
    target_values,
)
from hybridcast.fusion.probability_matching import rank_cells as ranked
from hybridcast_kernels import scales_cpu

SHAPE = (90, 110)
#: Of the two probabilities of `_chances`, mm/h; neither is heavy.
THRESHOLDS = (0.5, 1.0)


def _chances(seed: int) -> np.ndarray:
    """Smooth probabilities of two thresholds, a large system and showers, ``(2, 1, y, x)``."""
    generator = np.random.default_rng(seed)
    noise = gaussian_filter(generator.normal(size=SHAPE), 1.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    system = 3.0 * np.exp(-((y - 45) ** 2 + (x - 25) ** 2) / 300)
    odds = system + 1.5 * noise / noise.std() - 2.5
    return np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(1.5 - odds))]).astype(np.float32)[:, None]


def rank_cells(chances: np.ndarray, known: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Rank with the targets of the same cells."""
    return ranked(chances, known, coverage_targets(_cells(chances, known), shares, THRESHOLDS[: len(shares)]))


def _cells(chances: np.ndarray, known: np.ndarray) -> list[np.ndarray]:
    return [chances[:, lead][:, known] for lead in range(chances.shape[1])]


def _wet(ranking: np.ndarray, share: float) -> np.ndarray:
    return ranking >= np.quantile(ranking, 1 - share)


@pytest.mark.parametrize("seed", range(4))
def test_neighbourhoods_are_about_as_wet_as_promised(seed: int) -> None:
    chances = _chances(seed)
    share = float(chances[0].mean())
    shares = np.array([share, chances[1].mean()], np.float32)
    ranking = rank_cells(chances, np.ones(SHAPE, bool), shares)[0]
    size = 2 * NEIGHBOURHOOD + 1
    promised = uniform_filter(chances[0, 0], size)

    def error(wet: np.ndarray) -> float:
        return float(np.sqrt(((uniform_filter(wet.astype(np.float32), size) - promised) ** 2).mean()))

    assert error(_wet(ranking, share)) < 0.7 * error(_wet(chances[0, 0], share))  # against one cut for all


def test_showers_beside_a_large_system_stay() -> None:
    odds = np.full(SHAPE, -6.0, np.float32)
    odds[:, :50] = 2.0
    odds[40:46, 80:86] = 1.0  # less sure than any place of the system, so one cut for all could leave it out
    chances = (1 / (1 + np.exp(-odds)))[None, None].astype(np.float32)
    share = 0.35
    shower = np.s_[40:46, 80:86]
    ranking = rank_cells(chances, np.ones(SHAPE, bool), np.array([share], np.float32))[0]
    assert ranking[shower].mean() > 0.3
    assert ranking[:, 95:].max() < 0.05


def test_order_within_a_neighbourhood_is_that_of_the_probabilities() -> None:
    chances = _chances(0)
    shares = np.array([chances[0].mean(), chances[1].mean()], np.float32)
    ranking = rank_cells(chances, np.ones(SHAPE, bool), shares)[0]
    near = np.s_[40:44, 20:24]
    order = np.corrcoef(ranking[near].ravel(), chances[0, 0][near].ravel())[0, 1]
    assert order > 0.7


def test_unknown_cells_count_nothing() -> None:
    chances = _chances(1)
    known = np.ones(SHAPE, bool)
    known[:, 60:] = False
    shares = np.array([0.2, 0.1], np.float32)
    changed = chances.copy()
    changed[..., 70:] = 0.9
    far = np.s_[0, :, :50]
    first, second = rank_cells(chances, known, shares), rank_cells(changed, known, shares)
    np.testing.assert_allclose(first[far], second[far], atol=1e-5)
    assert not rank_cells(chances, np.zeros(SHAPE, bool), shares).any()


def test_a_threshold_that_no_cell_reaches_does_not_count() -> None:
    chances = _chances(2)
    known = np.ones(SHAPE, bool)
    both = rank_cells(chances, known, np.array([0.2, 0.0], np.float32))
    alone = rank_cells(chances[:1], known, np.array([0.2], np.float32))
    np.testing.assert_array_equal(both, alone)


def test_as_wet_as_lies_between_the_frame_and_the_promise() -> None:
    chances, known = _chances(2), np.ones(SHAPE, bool)
    have = np.array([0.4, 0.02], np.float32)
    targets = coverage_targets(_cells(chances, known), have, THRESHOLDS)
    np.testing.assert_allclose(targets.fraction[0], np.sqrt(have * chances.mean(axis=(1, 2, 3))), rtol=1e-4)
    for k in range(2):
        assert (log_odds(chances[k, 0]) > targets.cutoff[0, k]).mean() == pytest.approx(
            targets.fraction[0, k], abs=1e-3
        )


def test_there_is_no_more_heavy_rain_than_in_the_frame() -> None:
    chances, known = _chances(2), np.ones(SHAPE, bool)
    promised = chances.mean(axis=(1, 2, 3))
    few, many = (
        coverage_targets(_cells(chances, known), promised * share, (0.5, 5.0)).fraction[0] for share in (0.5, 2.0)
    )
    np.testing.assert_allclose(few, promised * [np.sqrt(0.5), 0.5], rtol=1e-4)
    np.testing.assert_allclose(many, promised * np.sqrt(2), rtol=1e-4)


def test_an_offset_of_the_ranking_moves_rain() -> None:
    chances, known = _chances(0), np.ones(SHAPE, bool)
    shares = chances.mean(axis=(1, 2, 3))
    offset = np.zeros((1, *SHAPE), np.float32)
    offset[:, 60:80, 60:90] = 3.0
    ranked_by = log_odds(chances) + offset
    targets = coverage_targets(_cells(chances, known), shares, THRESHOLDS, _cells(ranked_by, known))
    one_cutoff = np.zeros(1, np.float32)  # neighbourhoods would keep as much rain as is expected in them
    moved = ranked(chances, known, targets, ranked_by, one_cutoff)[0]
    alone = rank_cells(chances, known, shares)[0]
    wet = [_wet(ranking, float(shares[0]))[60:80, 60:90].mean() for ranking in (moved, alone)]
    assert wet[0] > wet[1] + 0.1


def test_without_neighbourhoods_there_is_one_cutoff_for_all() -> None:
    chances, known = _chances(1)[:1], np.ones(SHAPE, bool)
    targets = coverage_targets(_cells(chances, known), chances.mean(axis=(1, 2, 3)), THRESHOLDS[:1])
    ranking = ranked(chances, known, targets, neighbourhood_weight=np.zeros(1, np.float32))[0]
    order = np.argsort(chances[0, 0].ravel())
    assert (np.diff(ranking.ravel()[order]) >= -1e-6).all()


# --- values ---------------------------------------------------------------------------------------------------


def _rain(seed: int, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.where(generator.random(shape) < 0.3, generator.gamma(1.0, 3.0, shape), 0).astype(np.float32)


def test_the_field_has_the_values_of_the_frame() -> None:
    frame = _rain(0, *SHAPE)
    thresholds = (0.5, 5.0)
    ranking = rank_cells(_chances(3), np.ones(SHAPE, bool), exceedance_fraction(frame, thresholds))
    wet = target_values(sorted_descending(frame), thresholds, exceedance_fraction(frame, thresholds))
    np.testing.assert_array_equal(wet, sorted_descending(frame)[: wet.size])
    rate = scales_cpu.apply_rank_transforms(ranking, rank_transforms(ranking.copy(), frame, [wet]))[0]
    np.testing.assert_allclose(np.sort(rate.ravel()), np.sort(frame.ravel()), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("shares", [[0.5, 0.2, 0.05], [0.1, 0.05, 0.001], [0.3, 0.3, 0.3], [0.9, 0.01, 0.0]])
def test_values_reach_thresholds_as_often_as_wanted(shares: list[float]) -> None:
    frame, thresholds = _rain(1, 200, 200), (0.1, 1.0, 10.0)
    highest_first = sorted_descending(frame)
    made = target_values(highest_first, thresholds, np.array(shares, np.float32))
    assert (np.diff(made) <= 0).all()
    assert set(made) <= set(frame[frame > 0])
    for threshold, share in zip(thresholds, shares, strict=True):
        if share > 0:
            assert (made >= threshold).sum() / frame.size == pytest.approx(share, abs=2e-3)


def test_a_threshold_that_no_value_reaches_cannot_be_reached() -> None:
    highest_first = sorted_descending(np.minimum(_rain(2, 100, 100), 4.0))
    made = target_values(highest_first, (1.0, 5.0), np.array([0.3, 0.1], np.float32))
    assert made.max() == highest_first.max()
    assert (made >= 1).sum() / highest_first.size == pytest.approx(0.3, abs=2e-3)
    assert (made >= 3.99).mean() < 0.5


def test_nothing_known_and_nothing_wet_give_no_value() -> None:
    assert target_values(np.empty(0, np.float32), (1.0,), np.zeros(1, np.float32)).size == 0
    assert target_values(np.zeros(50, np.float32), (1.0,), np.array([0.5], np.float32)).size == 0


def test_a_lead_time_without_a_wet_value_is_dry() -> None:
    frame = _rain(3, *SHAPE)
    ranking = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    wet = [np.empty(0, np.float32), sorted_descending(frame)[:100]]
    rate = scales_cpu.apply_rank_transforms(ranking, rank_transforms(ranking.copy(), frame, wet))
    assert not rate[0].any()
    assert rate[1].any()


def test_values_of_a_sample_are_spread_over_all_known_cells() -> None:
    frame = np.zeros(SHAPE, np.float32)
    frame[:, :10] = np.nan
    sample, thresholds = _rain(1, 400), (0.5, 5.0)
    ranking = rank_cells(_chances(3), np.isfinite(frame), exceedance_fraction(sample, thresholds))
    values = sorted_descending(sample, int(np.isfinite(frame).sum()))
    wet = target_values(values, thresholds, exceedance_fraction(values, thresholds))
    rate = scales_cpu.apply_rank_transforms(ranking, rank_transforms(ranking.copy(), frame, [wet]))[0, :, 10:]
    for share in (0.5, 0.85, 0.95, 0.99):
        np.testing.assert_allclose(np.quantile(rate, share), np.quantile(sample, share), rtol=0.2, atol=0.1)
