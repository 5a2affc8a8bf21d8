"""One sharp field from probabilities."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from hybridcast.fusion import probability_matching
from hybridcast.fusion.probability_matching import (
    EXPONENT,
    NEIGHBOURHOOD,
    PROMINENT_RATE,
    add_frame,
    expected_coverage,
    mean_rate,
    rank_cells,
    rank_transforms,
    sorted_descending,
    target_coverage,
    target_values,
)
from hybridcast_kernels import scales_cpu

SHAPE = (90, 110)
ALL = np.ones(SHAPE, bool)


def _mean_rate(seed: int) -> np.ndarray:
    """Smooth mean rates of a large system and showers, ``(1, y, x)``."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    system = 3.0 * np.exp(-((y - 45) ** 2 + (x - 25) ** 2) / 300)
    return np.exp(system + 1.5 * noise / noise.std() - 2.5).astype(np.float32)[None]


def _wet(ranking: np.ndarray, fraction: float) -> np.ndarray:
    return ranking >= np.quantile(ranking, 1 - fraction)


def test_mean_rate_is_the_power_mean_of_rates_rounded_down_to_thresholds() -> None:
    thresholds = np.array([0.1, 1.0, 5.0])
    rates = np.random.default_rng(0).gamma(0.5, 3.0, 5000)
    probabilities = (rates >= thresholds[:, None]).mean(axis=1).astype(np.float32)
    below = np.array([0.0, *thresholds])[np.searchsorted(thresholds, rates, side="right")]
    expected = (below**EXPONENT).mean() ** (1 / EXPONENT)
    assert float(mean_rate(probabilities, thresholds)) == pytest.approx(expected, rel=1e-4)


def test_mean_rate_of_every_cell() -> None:
    probabilities = np.zeros((2, 3, *SHAPE), np.float32)
    probabilities[:, 1, 5, 7] = 1.0
    found = mean_rate(probabilities, (1.0, 3.0))
    assert found.shape == (3, *SHAPE)
    assert found[1, 5, 7] == pytest.approx(3.0, rel=1e-5)
    assert found.sum() == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_neighbourhoods_are_closer_to_their_expected_share_than_by_the_mean_alone(seed: int) -> None:
    mean = _mean_rate(seed)
    expected = uniform_filter(mean[0], 2 * NEIGHBOURHOOD + 1)

    def concentration(wet: np.ndarray) -> float:
        """Fraction of the wet cells that lie in the wetter half of the domain."""
        return float(wet[expected > np.median(expected)].mean() / wet.mean())

    assert concentration(_wet(rank_cells(mean, ALL)[0], 0.2)) < concentration(_wet(mean[0], 0.2))


def test_showers_beside_a_large_system_stay() -> None:
    mean = np.full((1, *SHAPE), 0.001, np.float32)
    mean[0, :, :50] = 1.0
    mean[0, 40:46, 80:86] = 0.8  # less than anywhere in the system, so the mean alone could leave it out
    ranking = rank_cells(mean, ALL)[0]
    assert (ranking[40:46, 80:86] > ranking[:, :40].max()).all()
    assert ranking[:, 95:].max() < ranking[:, :40].min()


def test_without_contrast_cells_are_in_the_order_of_the_mean(monkeypatch) -> None:
    monkeypatch.setattr(probability_matching, "CONTRAST", 0.0)
    mean = _mean_rate(1)
    ranking = rank_cells(mean, ALL)
    assert (np.diff(ranking.ravel()[np.argsort(mean.ravel())]) >= 0).all()


def test_where_it_rains_alike_around_cells_are_in_the_order_of_the_mean() -> None:
    mean = np.tile(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), (45, 55))[None]
    ranking = rank_cells(mean, ALL)[0, 20:22, 20:22]
    assert (np.argsort(ranking.ravel()) == np.argsort(mean[0, 20:22, 20:22].ravel())).all()


def test_cells_that_do_not_count_change_no_other() -> None:
    mean = _mean_rate(1)
    known = ALL.copy()
    known[:, 60:] = False
    changed = mean.copy()
    changed[..., 60:] = 50.0
    first, second = rank_cells(mean, known), rank_cells(changed, known)
    np.testing.assert_allclose(first[..., :60], second[..., :60], rtol=1e-5)
    assert np.isfinite(rank_cells(mean, np.zeros(SHAPE, bool))).all()


def test_each_lead_time_may_have_cells_of_its_own() -> None:
    mean = np.concatenate([_mean_rate(1)] * 2)
    known = np.stack([ALL, ALL])
    known[1, :, 60:] = False
    both = rank_cells(mean, known)
    np.testing.assert_array_equal(both[0], rank_cells(mean[:1], known[0])[0])
    np.testing.assert_array_equal(both[1], rank_cells(mean[:1], known[1])[0])


def test_heavy_rain_of_the_frame_comes_first_and_light_rain_hardly_counts() -> None:
    mean = np.full((1, *SHAPE), 2.0, np.float32)
    rates = np.zeros((1, *SHAPE), np.float32)
    rates[0, 10, 10], rates[0, 20, 20], rates[0, 30, 30] = 1.0, PROMINENT_RATE, np.nan
    alone = rank_cells(mean, ALL)
    found = 2.0 ** add_frame(alone.copy(), rates, np.array([0.5], np.float32))
    assert found[0, 10, 10] / alone[0, 10, 10] == pytest.approx(1.0, abs=0.01)
    assert found[0, 20, 20] - alone[0, 20, 20] == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(found[0, 30, 30])


# --- values ---------------------------------------------------------------------------------------------------


def _rain(seed: int, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.where(generator.random(shape) < 0.3, generator.gamma(1.0, 3.0, shape), 0).astype(np.float32)


def test_the_field_has_the_values_of_the_frame() -> None:
    frame = _rain(0, *SHAPE)
    thresholds = (0.5, 5.0)
    ranking = np.log2(rank_cells(_mean_rate(3), ALL))
    wet = target_values(sorted_descending(frame), thresholds, _coverage(frame, thresholds))
    np.testing.assert_array_equal(wet, sorted_descending(frame)[: wet.size])
    rate = scales_cpu.apply_rank_transforms(ranking, rank_transforms(ranking.copy(), frame, [wet]))[0]
    np.testing.assert_allclose(np.sort(rate.ravel()), np.sort(frame.ravel()), atol=0.05, rtol=0.05)


def _coverage(values: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    return (values >= np.array(thresholds, np.float32)[:, None, None]).mean(axis=(1, 2)).astype(np.float32)


def test_expected_coverage_is_the_mean_probability_of_the_cells() -> None:
    one = np.array([[0.2, 0.4], [0.1, 0.1]], np.float32)
    np.testing.assert_allclose(expected_coverage([one, one[:, :0]]), [[0.3, 0.1], [0, 0]], rtol=1e-6)


def test_coverage_lies_between_the_known_and_the_expected_one_and_decreases() -> None:
    own, expected = np.array([0.4, 0.1, 0.1], np.float32), np.array([0.1, 0.4, 0.4], np.float32)
    found = target_coverage(own, expected, (0.1, 1.0, 5.0))
    np.testing.assert_allclose(found, [0.2, 0.2, 0.1], rtol=1e-6)


@pytest.mark.parametrize(("factor", "heavy"), [(0.25, 0.5), (4.0, 1.0)])
def test_there_is_no_more_heavy_rain_than_in_the_known_rates(factor: float, heavy: float) -> None:
    own = np.array([0.2, 0.1], np.float32)
    found = target_coverage(own, factor * own, (0.5, 5.0))
    np.testing.assert_allclose(found, own * [np.sqrt(factor), heavy], rtol=1e-6)


@pytest.mark.parametrize("expected", [[0.9, 0.5, 0.05], [0.1, 0.05, 0.001], [0.3, 0.3, 0.3], [0.9, 0.01, 0.0]])
def test_values_reach_thresholds_as_often_as_wanted(expected: list[float]) -> None:
    frame, thresholds = _rain(1, 200, 200), (0.1, 1.0, 10.0)
    highest_first = sorted_descending(frame)
    made = target_values(highest_first, thresholds, np.array(expected, np.float32))
    assert (np.diff(made) <= 0).all()
    assert set(made) <= set(frame[frame > 0])
    target = target_coverage(_coverage(frame, thresholds), np.array(expected, np.float32), thresholds)
    for threshold, fraction in zip(thresholds, target, strict=True):
        assert (made >= threshold).sum() / frame.size == pytest.approx(fraction, abs=2e-3)


def test_a_threshold_that_no_value_reaches_cannot_be_reached() -> None:
    highest_first = sorted_descending(np.minimum(_rain(2, 100, 100), 4.0))
    made = target_values(highest_first, (1.0, 5.0), np.array([0.3, 0.1], np.float32))
    assert made.max() == highest_first.max()
    assert (made >= 1).sum() / highest_first.size == pytest.approx(np.sqrt(0.3 * (highest_first >= 1).mean()), abs=2e-3)
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
    ranking = np.log2(rank_cells(_mean_rate(3), np.isfinite(frame)))
    values = sorted_descending(sample, int(np.isfinite(frame).sum()))
    wet = target_values(values, thresholds, _coverage(values[None], thresholds))
    rate = scales_cpu.apply_rank_transforms(ranking, rank_transforms(ranking.copy(), frame, [wet]))[0, :, 10:]
    for share in (0.5, 0.85, 0.95, 0.99):
        np.testing.assert_allclose(np.quantile(rate, share), np.quantile(sample, share), rtol=0.2, atol=0.1)
