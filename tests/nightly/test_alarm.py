"""The skill alarm on simulated nights: raised when skill falls, silent where there is too little to judge by."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import t as student

from helpers import nightly_synthetic as nights
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings, compute_prediction_interval, judge, write_alarms
from hybridcast.nightly.series import HeadlineScore, collect_nights
from hybridcast.verification.scores import fractions_skill_score

FEW = AlarmSettings(min_nights=5)
TONIGHT = 7


@pytest.fixture(scope="module")
def history():
    return nights.history(range(TONIGHT), ("north",))


def judged(night, history, settings=FEW):
    return judge([night], history, settings, baseline="advection")[0]


def test_a_night_like_the_others_is_good(history):
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT)), history)
    assert found.verdict == "good"
    assert found.alarm_line < found.value < found.upper
    assert found.nights == TONIGHT
    assert "above the alarm line" in found.message


def test_a_fall_of_the_skill_raises_the_alarm_and_says_that_the_baseline_did_not_fall(history):
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT, worse=12)), history)
    assert found.raised
    assert found.value < found.alarm_line
    assert found.baseline_fell is False
    assert found.message.startswith(f"north, {nights.date(TONIGHT)}: skill alarm: FSS at 1 mm/h, 20 km and 60 min")
    assert "advection did not fall, so look at blend first" in found.message


def test_where_the_baseline_fell_too_the_radar_or_the_weather_is_named(history):
    statistics = nights.day_statistics(TONIGHT)
    all_bad = statistics.assign(fraction_difference=0.99 * statistics.fraction_squares)
    steady = history.sel(nowcaster=["blend"] * 3).assign_coords(nowcaster=statistics.nowcaster.values)
    found = judged(nights.night(TONIGHT, "north", all_bad), steady)
    assert found.baseline_fell is True
    assert "look at the radar or the weather first" in found.message


def test_the_line_is_students_prediction_interval_of_the_earlier_nights(history):
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT)), history)
    at = {"region": "north", "nowcaster": "blend", "lead_time": nights.LEADS[2], "threshold": 1.0, "scale": 20.0}
    earlier = fractions_skill_score(history.sel(at)).values
    low, high = student.interval(0.95, len(earlier) - 1, earlier.mean(), earlier.std(ddof=1) * np.sqrt(1 + 1 / TONIGHT))
    assert found.alarm_line == pytest.approx(low)
    assert found.upper == pytest.approx(high)


def test_of_nights_like_the_earlier_ones_one_in_forty_is_below_the_line():
    rng = np.random.default_rng(3)
    scores = rng.normal(0.6, 0.1, (4000, 13))
    below = [night[-1] < compute_prediction_interval(night[:-1], 0.95).low for night in scores]
    assert np.mean(below) == pytest.approx(0.025, abs=0.008)


def test_few_nights_give_no_alarm(history):
    bad = nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT, worse=12))
    found = judged(bad, history, AlarmSettings())
    assert found.verdict == "not judged"
    assert found.reason == "not judged: 7 earlier nights with enough rain, 10 are needed"
    assert math.isnan(found.alarm_line)
    assert found.value < 0.6


def test_a_dry_night_is_not_judged(history):
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT, rain=0.0)), history)
    assert found.verdict == "not judged"
    assert "too little rain: 1 mm/h or more on 0 % of the points" in found.reason
    assert math.isnan(found.value)


def test_dry_nights_do_not_count_in_the_band():
    dry = nights.history(range(3), ("north",), rain=0.0)
    wet = nights.history(range(3, TONIGHT), ("north",))
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT)), xr.concat([dry, wet], "date"))
    assert (found.nights, found.skipped_nights) == (4, 3)
    assert found.reason == "not judged: 4 earlier nights with enough rain, 5 are needed"


def test_nights_that_differ_too_much_give_no_line(history):
    share = xr.DataArray([0.05, 0.95, 0.05, 0.95, 0.5, 0.05, 0.95], dims="date")
    wild = history.assign(fraction_difference=share * history.fraction_squares)
    found = judged(nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT, worse=12)), wild)
    assert found.verdict == "not judged"
    assert found.alarm_line < 0
    assert "no score would be below their band" in found.reason


@pytest.mark.parametrize("number", [0, 1])
def test_a_night_with_few_issue_times_is_not_judged(history, number):
    statistics = nights.day_statistics(TONIGHT, cases=1) if number else None
    found = judged(nights.night(TONIGHT, "north", statistics), history)
    assert found.verdict == "not judged"
    assert ("1 issue times, 4 are needed" if number else "nothing was verified") in found.reason


def test_what_the_night_has_not_is_not_judged(history):
    night = nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT))
    assert "STEPS was not run" in judged(night, history, AlarmSettings(nowcaster="STEPS")).reason
    assert "no FSS at 3 mm/h" in judged(night, history, AlarmSettings(threshold=3.0)).reason
    assert "and 90 min" in judged(night, history, AlarmSettings(lead_time="90min")).reason
    assert judged(nights.night(TONIGHT, "elsewhere", night.statistics), history).nights == 0


def test_only_the_days_looked_back_to_count_and_tonight_never_counts_twice(history):
    statistics = nights.day_statistics(TONIGHT)
    night = nights.night(TONIGHT, "north", statistics)
    with_tonight = xr.concat(
        [history, statistics.expand_dims(region=["north"], date=[night.date])], "date", join="outer"
    )
    series = collect_nights(night, with_tonight, 4)
    assert series.date.values.tolist() == [nights.date(number) for number in range(3, TONIGHT + 1)]
    xr.testing.assert_allclose(series.isel(date=-1, drop=True), statistics)
    assert not any(series[name].isnull().any() for name in series)


def test_other_nowcasters_and_lead_times_of_earlier_nights_do_not_disturb(history):
    statistics = nights.day_statistics(TONIGHT).isel(nowcaster=[0, 1], lead_time=[2])
    found = judged(
        nights.night(TONIGHT, "north", statistics, nowcasters=("blend", "advection")), history.isel(nowcaster=[0, 2])
    )
    assert found.verdict == "good"
    assert found.baseline_fell is None


def test_the_file_for_machines(history, tmp_path):
    fallen = nights.night(TONIGHT, "north", nights.day_statistics(TONIGHT, worse=12))
    both = judge([fallen, nights.night(TONIGHT, "west")], history, FEW, baseline="advection")
    path = write_alarms(tmp_path / "alarm.json", both)
    found = json.loads(path.read_text())
    assert found["alarm"] is True
    assert [region["verdict"] for region in found["regions"]] == ["alarm", "not judged"]
    assert found["regions"][1]["value"] is None
    assert [one.name for one in tmp_path.iterdir()] == ["alarm.json"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": "luck"}, "'luck'"),
        ({"lead_time": "60"}, "lead_time = '60'"),
        ({"lead_time": "soon"}, "lead_time = 'soon'"),
        ({"confidence_level": 95.0}, "confidence_level = 95"),
        ({"min_nights": 2}, "min_nights = 2"),
        ({"nights": 9}, "min_nights = 10 of nights = 9"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        AlarmSettings(**changes)


def test_a_score_is_named_by_what_it_depends_on():
    assert HeadlineScore("correlation", lead_time="2h").label == "correlation at 120 min"
    assert HeadlineScore("CSI", 0.1).label == "CSI at 0.1 mm/h and 60 min"
