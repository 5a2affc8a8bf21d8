"""Intervals of paired differences, verdicts, and Diebold and Mariano's test against that of scores."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from hybridcast.errors import InputError
from hybridcast.verification.significance import LOSS, TIE, UNRESOLVED, WIN, paired_difference


def events(count=20, seed=0):
    base = xr.DataArray(np.random.default_rng(seed).uniform(0.1, 0.7, count), dims="event")
    return base, [f"day {k}" for k in range(count)]


def noise(count, size, seed=1):
    return size * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize(
    ("shift", "spread", "better", "verdict"),
    [
        (0.05, 0.02, "higher", WIN),
        (0.05, 0.02, "lower", LOSS),
        (-0.05, 0.02, "higher", LOSS),
        (-0.05, 0.02, "lower", WIN),
        (0.0, 0.0005, "higher", TIE),
        (0.0, 0.2, "higher", UNRESOLVED),
    ],
)
def test_verdicts(shift, spread, better, verdict):
    base, days = events()
    found = paired_difference(base + shift + noise(20, spread), base, days=days, better=better)
    assert found.verdict.item() == verdict
    assert found.low <= found.difference <= found.high
    assert found.relative_low <= found.relative <= found.relative_high
    np.testing.assert_allclose(found.relative, found.difference / base.mean())
    assert (found.events.item(), found.days.item()) == (20, 20)


def test_what_both_find_hard_cancels_out():
    """Scores from 0.1 to 0.7, and a gain of 0.02 everywhere: unpaired it would drown."""
    base, days = events()
    found = paired_difference(base + 0.02 + noise(20, 0.005), base, days=days)
    assert found.verdict.item() == WIN
    assert float(found.high - found.low) < 0.01 < float(base.std()) / 10


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    trials, count = 300, 25
    base = xr.DataArray(rng.uniform(0.1, 0.7, (count, trials)), dims=("event", "trial"))
    score = base + 0.03 + xr.DataArray(rng.normal(0, 0.05, (count, trials)), dims=("event", "trial"))
    found = paired_difference(score, base, days=[str(k) for k in range(count)], draws=1000)
    covered = float(((found.low <= 0.03) & (found.high >= 0.03)).mean())
    assert 0.88 <= covered <= 0.98


def test_events_of_one_day_count_as_one_draw():
    """Ten copies of each event tell no more than one."""
    base, days = events(8)
    score = base + noise(8, 0.05)
    one = paired_difference(score, base, days=days)
    copies = [xr.concat([data] * 10, "event") for data in (score, base)]
    same_days = paired_difference(*copies, days=days * 10)
    other_days = paired_difference(*copies, days=[str(k) for k in range(80)])
    np.testing.assert_allclose(same_days.high - same_days.low, one.high - one.low, rtol=1e-9)
    assert (other_days.high - other_days.low) < 0.6 * (one.high - one.low)


def test_few_days_resolve_nothing():
    base, days = events(4)
    found = paired_difference(base + 0.2, base, days=days)
    assert found.verdict.item() == UNRESOLVED
    assert np.isnan(found.low)
    assert found.difference == pytest.approx(0.2)
    base, days = events(8)
    assert paired_difference(base + 0.2, base, days=["a", "b"] * 4).verdict.item() == UNRESOLVED


def test_events_without_a_score_are_left_out_of_both():
    base, days = events()
    score = base + noise(20, 0.01)
    score[3], base[7] = np.nan, np.nan
    found = paired_difference(score, base, days=days)
    kept = [k for k in range(20) if k not in {3, 7}]
    np.testing.assert_allclose(found.difference, (score - base)[kept].mean())
    assert found.events.item() == 18
    nothing = paired_difference(base * np.nan, base, days=days)
    assert np.isnan(nothing.difference)
    assert np.isnan(nothing.low)
    assert (nothing.verdict.item(), nothing.events.item()) == (UNRESOLVED, 0)


def test_the_same_seed_gives_the_same_interval_and_more_dims_are_kept():
    base, days = events()
    score = (base + noise(20, 0.05)).expand_dims(lead_time=[30, 60], nowcaster=["a"])
    one, two = (paired_difference(score, base, days=days) for _ in range(2))
    xr.testing.assert_identical(one, two)
    assert one.difference.dims == ("lead_time", "nowcaster")
    assert one.lead_time.values.tolist() == [30, 60]
    assert (one.low < paired_difference(score, base, days=days, confidence_level=0.5).low).all()


def test_a_day_is_needed_for_each_event():
    base, days = events()
    with pytest.raises(InputError, match="each event has its day"):
        paired_difference(base, base, days=days[:-1])
