"""Rates from accumulations: since the start, over steps, both, with resets, and with rounding errors of packing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridcast.nwp.accumulations import rates_from_accumulations

HOUR = np.timedelta64(1, "h")


def steps(sums):
    return {(a * HOUR, b * HOUR): np.asarray(v, np.float32) for (a, b), v in sums.items()}


def hours(rates):
    return {(int(a / HOUR), int(b / HOUR)): v.tolist() for (a, b), v in rates.items()}


def test_sums_since_the_start_are_differenced():
    made = rates_from_accumulations(steps({(0, 1): [1], (0, 3): [5], (0, 2): [1]}))
    assert hours(made) == {(0, 1): [1], (1, 2): [0], (2, 3): [4]}


def test_sums_over_steps_stay():
    assert hours(rates_from_accumulations(steps({(0, 1): [1], (1, 2): [5], (3, 6): [6]}))) == {
        (0, 1): [1],
        (1, 2): [5],
        (3, 6): [2],
    }


def test_of_both_the_shorter_step_is_taken():
    made = rates_from_accumulations(steps({(0, 1): [1], (0, 3): [9], (2, 3): [4]}))
    assert hours(made) == {(0, 1): [1], (2, 3): [4]}


def test_a_gap_gives_a_mean_over_it():
    assert hours(rates_from_accumulations(steps({(0, 1): [1], (0, 4): [10]}))) == {(0, 1): [1], (1, 4): [3]}


def test_no_time_gives_no_rate():
    assert rates_from_accumulations(steps({(0, 0): [0]})) == {}


def test_a_sum_that_falls_nearly_everywhere_began_anew():
    made = rates_from_accumulations(steps({(0, 5): [5, 6, 0, 9], (0, 6): [1, 2, 0, 9.5]}))
    assert hours(made)[5, 6] == [1, 2, 0, 9.5]


def test_a_fall_at_few_places_is_dry():
    made = rates_from_accumulations(steps({(0, 5): [5, 6, 0, 9], (0, 6): [6, 5.9, 0, 9.5]}))
    assert hours(made)[5, 6] == [1, 0, 0, 0.5]


def test_a_large_fall_at_few_places_is_unknown():
    """GFS sums since the start fell by 4 of 54 mm at some cells (NOAA-EMC/UPP, issue 1430)."""
    made = rates_from_accumulations(steps({(0, 144): [53.5625, 10, 20, 30], (0, 147): [49.125, 13, 23, 33]}))
    assert np.isnan(hours(made)[144, 147][0])
    assert hours(made)[144, 147][1:] == [1, 1, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_rates_sum_up_to_the_last_sum(amounts):
    total = np.cumsum(amounts)
    made = rates_from_accumulations(steps({(0, k + 1): [value] for k, value in enumerate(total)}))
    assert sum(rate[0] for rate in made.values()) == pytest.approx(total[-1])
