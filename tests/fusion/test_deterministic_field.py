"""The deterministic field: order from a ranking, values and coverage as given."""

import numpy as np
import pytest

from hybridcast.fusion.deterministic_field import deterministic_field
from hybridcast.fusion.probability_matching import sorted_descending, target_coverage

SHAPE = (60, 80)
THRESHOLDS = (0.5, 5.0)


@pytest.fixture
def frame():
    generator = np.random.default_rng(0)
    return np.where(generator.random(SHAPE) < 0.3, generator.gamma(1.0, 3.0, SHAPE), 0).astype(np.float32)


@pytest.fixture
def ranking():
    return np.random.default_rng(1).random((2, *SHAPE)).astype(np.float32)


def field(ranking, frame, expected, reference_ranking=None):
    reference = ranking if reference_ranking is None else reference_ranking
    return deterministic_field(
        ranking.copy(),
        reference_ranking=reference.copy(),
        reference=frame,
        values=[sorted_descending(frame)] * len(ranking),
        thresholds=THRESHOLDS,
        expected=np.array(expected, np.float32),
    )


def test_cells_are_in_the_order_of_the_ranking_and_reach_thresholds_as_often_as_wanted(ranking, frame):
    expected = [[0.4, 0.1], [0.1, 0.02]]
    rate = field(ranking, frame, expected)
    own = np.array([(frame >= threshold).mean() for threshold in THRESHOLDS], np.float32)
    for lead in range(2):
        order = np.argsort(ranking[lead].ravel())
        assert (np.diff(rate[lead].ravel()[order]) >= 0).all()
        target = target_coverage(own, np.array(expected[lead], np.float32), THRESHOLDS)
        for threshold, fraction in zip(THRESHOLDS, target, strict=True):
            assert (rate[lead] >= threshold).mean() == pytest.approx(fraction, abs=0.01)
        assert rate[lead].max() <= frame.max()


def test_a_cell_that_is_unknown_in_the_ranking_stays_unknown_and_changes_no_other(ranking, frame):
    expected = [[0.3, 0.1]] * 2
    hidden = ranking.copy()
    hidden[0, :, :10] = np.nan
    rate = field(hidden, frame, expected, reference_ranking=ranking)
    assert np.isnan(rate[0, :, :10]).all()
    np.testing.assert_array_equal(rate[0, :, 10:], field(ranking, frame, expected)[0, :, 10:])


def test_reference_cells_may_be_on_another_grid(ranking, frame):
    """The relation of ranks to rates is that of the reference cells, wherever they are."""
    expected = [[0.3, 0.1]] * 2
    rate = field(ranking[:, :20], frame, expected, reference_ranking=ranking)
    np.testing.assert_array_equal(rate, field(ranking, frame, expected)[:, :20])
