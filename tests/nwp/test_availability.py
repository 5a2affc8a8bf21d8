"""Runs at an issue time: none from the future, none out of date, the newest first, with a reason for each other."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.errors import InputError
from hybridcast.nwp import nwp_fields, select_available_runs

HOUR = np.timedelta64(1, "h")


def runs(starts, leads=6, hole=None):
    values = np.ones((len(starts), leads, 2, 2), np.float32)
    if hole is not None:
        values[hole] = np.nan
    return nwp_fields(
        {"precipitation_rate": values},
        reference_time=np.array([f"2020-01-02T{start:02d}" for start in starts], "datetime64[h]"),
        lead_time=np.arange(1, leads + 1) * HOUR,
        y=[0, 1000],
        x=[0, 1000],
        crs=None,
    )


def kept(nwp):
    return [int((start - np.datetime64("2020-01-02")) / HOUR) for start in nwp.reference_time.values]


def test_newest_first_and_none_that_was_not_there_yet():
    made = select_available_runs(runs([0, 3, 6, 9, 12]), "2020-01-02T11:30", 2 * HOUR)
    assert kept(made) == [9, 6]
    assert "12:00:00Z (-0.5 h old: not yet there, with a delay of 2 h)" in made.attrs["left_out_runs"]
    assert "03:00:00Z (8.5 h old: no lead time beyond the issue time)" in made.attrs["left_out_runs"]
    assert made.attrs["runs"] == "2020-01-02T09:00:00Z (2.5 h old); 2020-01-02T06:00:00Z (5.5 h old)"


@pytest.mark.parametrize(("minute", "there"), [(59, []), (60, [6])])
def test_the_delay_is_kept_to_the_minute(minute, there):
    issue = np.datetime64("2020-01-02T08:00") + np.timedelta64(minute, "m")
    assert kept(select_available_runs(runs([6]), issue, 3 * HOUR)) == there


def test_at_most_so_many():
    nwp = runs([0, 1, 2, 3, 4, 5])
    assert kept(select_available_runs(nwp, "2020-01-02T06:10", HOUR)) == [5, 4, 3]
    made = select_available_runs(nwp, "2020-01-02T06:10", HOUR, max_runs=1)
    assert kept(made) == [5]
    assert made.attrs["left_out_runs"].count("the 1 newest are taken") == 4


def test_a_run_without_values_ahead_is_stale():
    made = select_available_runs(runs([3, 6], hole=(1, slice(3, None))), "2020-01-02T09:00", HOUR)
    assert kept(made) == []
    assert "no value beyond the issue time" in made.attrs["left_out_runs"]
    assert "no lead time beyond" in made.attrs["left_out_runs"]
    assert made.attrs["runs"] == "none"


def test_settings_that_make_no_sense_are_refused():
    for delay, most in ((-HOUR, 3), (HOUR, 0)):
        with pytest.raises(InputError, match="at least"):
            select_available_runs(runs([0]), "2020-01-02T03", delay, max_runs=most)
