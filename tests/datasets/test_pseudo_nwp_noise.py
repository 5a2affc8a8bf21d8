"""Random patterns: standard normal, smooth, slow, carried along, shared in part."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.datasets.pseudo_nwp.noise import Noise, RunTime

CELL, SCALE = 2.0, 20.0
HOUR = 3600


def noise(*, seed=0, drift=(0.0, 0.0), shared=0.5, memory=6.0, shape=(120, 160)):
    return Noise((seed, 1), shape, CELL, drift, shared, memory)


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def patterns(source, at, count=40):
    return source.pattern(3, SCALE, at, count)


def test_a_pattern_is_standard_normal():
    drawn = patterns(noise(), RunTime(0, 2.0), 300)
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.var() == pytest.approx(1, abs=0.03)
    by_place = drawn.var(axis=0)
    assert by_place.min() > 0.6
    assert by_place.max() < 1.5


def test_correlation_falls_as_stated():
    drawn = patterns(noise(), RunTime(0, 2.0), 200)
    lag = int(2 * SCALE / CELL)
    found = (drawn[:, :, :-lag] * drawn[:, :, lag:]).mean()
    assert found == pytest.approx(np.exp(-1), abs=0.05)


def test_runs_share_what_belongs_to_the_valid_time():
    source = noise(shared=0.6)
    first, second = patterns(source, RunTime(0, 3.0)), patterns(source, RunTime(HOUR, 2.0))
    assert correlation(first, second) == pytest.approx(0.6, abs=0.06)


def test_errors_of_a_run_last_for_hours_and_not_for_days():
    source = noise(memory=6.0)
    at_issue = patterns(source, RunTime(0, 2.0))
    assert correlation(at_issue, patterns(source, RunTime(0, 3.0))) > 0.9
    assert correlation(at_issue, patterns(source, RunTime(0, 5.0))) > 0.5
    assert abs(correlation(at_issue, patterns(source, RunTime(24 * HOUR, 2.0)))) < 0.1


def test_patterns_are_carried_along():
    source = noise(drift=(-20.0, 40.0), memory=1e6)
    before, after = (patterns(source, RunTime(0, lead)) for lead in (2.0, 2.5))
    rows, columns = -5, 10  # half an hour at 2 km a cell
    assert correlation(before[:, 5:, :-10], after[:, :rows, columns:]) > 0.999
    assert correlation(before, after) < 0.98


@pytest.mark.parametrize("other", [noise(seed=1), noise()._replace(entropy=(0, 2))])
def test_seeds_and_places_are_independent(other):
    at = RunTime(0, 2.0)
    assert abs(correlation(patterns(noise(), at), patterns(other, at))) < 0.1
