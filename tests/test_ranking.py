"""One sharp field from probabilities."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from hybridcast.ranking import NEIGHBOURHOOD, levels_of, matchings_like, matchings_of, shares_of, thinned
from hybridcast.ranking import ranking_of as ranked
from hybridcast_kernels import scales_cpu

SHAPE = (90, 110)


def _chances(seed: int) -> np.ndarray:
    """Smooth probabilities of two thresholds, a large system and showers, ``(2, 1, y, x)``."""
    generator = np.random.default_rng(seed)
    noise = gaussian_filter(generator.normal(size=SHAPE), 1.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    system = 3.0 * np.exp(-((y - 45) ** 2 + (x - 25) ** 2) / 300)
    odds = system + 1.5 * noise / noise.std() - 2.5
    return np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(1.5 - odds))]).astype(np.float32)[:, None]


def ranking_of(chances: np.ndarray, known: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Rank with the levels of the same cells."""
    return ranked(chances, known, levels_of([chances[:, lead][:, known] for lead in range(chances.shape[1])], shares))


def _wet(ranking: np.ndarray, share: float) -> np.ndarray:
    return ranking >= np.quantile(ranking, 1 - share)


@pytest.mark.parametrize("seed", range(4))
def test_neighbourhoods_are_about_as_wet_as_promised(seed: int) -> None:
    chances = _chances(seed)
    share = float(chances[0].mean())
    shares = np.array([share, chances[1].mean()], np.float32)
    ranking = ranking_of(chances, np.ones(SHAPE, bool), shares)[0]
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
    ranking = ranking_of(chances, np.ones(SHAPE, bool), np.array([share], np.float32))[0]
    assert ranking[shower].mean() > 0.3
    assert ranking[:, 95:].max() < 0.05


def test_order_within_a_neighbourhood_is_that_of_the_probabilities() -> None:
    chances = _chances(0)
    shares = np.array([chances[0].mean(), chances[1].mean()], np.float32)
    ranking = ranking_of(chances, np.ones(SHAPE, bool), shares)[0]
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
    first, second = ranking_of(chances, known, shares), ranking_of(changed, known, shares)
    np.testing.assert_allclose(first[far], second[far], atol=1e-5)
    assert not ranking_of(chances, np.zeros(SHAPE, bool), shares).any()


def test_a_threshold_that_no_cell_reaches_does_not_count() -> None:
    chances = _chances(2)
    known = np.ones(SHAPE, bool)
    both = ranking_of(chances, known, np.array([0.2, 0.0], np.float32))
    alone = ranking_of(chances[:1], known, np.array([0.2], np.float32))
    np.testing.assert_array_equal(both, alone)


def test_the_field_has_the_values_of_the_frame() -> None:
    generator = np.random.default_rng(0)
    frame = np.where(generator.random(SHAPE) < 0.3, generator.gamma(1.0, 3.0, SHAPE), 0).astype(np.float32)
    ranking = ranking_of(_chances(3), np.ones(SHAPE, bool), shares_of(frame, (0.5, 5.0)))
    rate = scales_cpu.matched(ranking, matchings_of(ranking.copy(), frame))[0]
    np.testing.assert_allclose(np.sort(rate.ravel()), np.sort(frame.ravel()), atol=0.05, rtol=0.05)


def test_values_of_a_sample_are_spread_over_all_known_cells() -> None:
    generator = np.random.default_rng(1)
    frame = np.zeros(SHAPE, np.float32)
    frame[:, :10] = np.nan
    sample = np.where(generator.random(400) < 0.2, generator.gamma(1.0, 3.0, 400), 0).astype(np.float32)
    ranking = ranking_of(_chances(3), np.isfinite(frame), shares_of(sample, (0.5, 5.0)))
    rate = scales_cpu.matched(ranking, matchings_like(ranking.copy(), frame, sample))[0, :, 10:]
    for share in (0.5, 0.85, 0.95, 0.99):
        np.testing.assert_allclose(np.quantile(rate, share), np.quantile(sample, share), rtol=0.2, atol=0.1)
    assert thinned(sample, 0).size == 0
    np.testing.assert_array_equal(thinned(sample, 400), np.sort(sample)[::-1])
