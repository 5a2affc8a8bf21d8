"""Warnings against observations: episodes judged by hand, reliability by hand, and simulated rain from end to end."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_ensembles import build_ensemble
from helpers.synthetic import rain, translation
from hybridcast import Advection, Persistence, forecast
from hybridcast.errors import InputError
from hybridcast.places import at_places, observe_radar, read_places
from hybridcast.verification.warnings import Episode, find_events, judge_episodes, score_warnings, summarize_warnings

START = np.datetime64("2024-06-01T12:00", "ns")
TIMES = START + np.arange(60) * np.timedelta64(10, "m")
PERIOD = TIMES[0], TIMES[-1]


def reach(*spans, unknown=()):
    """Return whether a level is reached, by the numbers of the first and the last time of each span."""
    reached = np.zeros(60, np.float32)
    for first, last in spans:
        reached[first : last + 1] = 1
    for number in unknown:
        reached[number] = np.nan
    return reached


def episode(first, last=None):
    return Episode(TIMES[first], None if last is None else TIMES[last])


def judge(raised, reached):
    outcome, leads = judge_episodes(raised, reached, TIMES, PERIOD, np.timedelta64(120, "m"))
    return {name: count for name, count in outcome.items() if count}, leads


def test_events_an_hour_apart_are_two_and_one_with_unknown_beginning_none():
    assert len(find_events(reach((10, 12), (17, 18)), TIMES)) == 1
    assert find_events(reach((10, 12), (18, 18)), TIMES) == [episode(10, 12), episode(18, 18)]
    assert find_events(reach((0, 3)), TIMES) == []
    assert find_events(reach((10, 12), unknown=[9]), TIMES) == []
    assert find_events(reach(), TIMES) == []


@pytest.mark.parametrize(
    ("raised", "reached", "outcome", "leads"),
    [
        ([episode(7, 14)], reach((10, 12)), {"hits": 1}, [30.0]),
        ([episode(7, 10)], reach((10, 12)), {"hits": 1}, [30.0]),  # cleared at the time of the event, not before it
        ([episode(7, 9)], reach((10, 12)), {"misses": 1, "false_alarms": 1}, []),
        ([episode(10, 14)], reach((10, 12)), {"misses": 1, "late": 1}, []),
        ([episode(11, 14)], reach((10, 12)), {"misses": 1, "late": 1}, []),
        ([], reach((10, 12)), {"misses": 1}, []),
        ([episode(7, 14)], reach(), {"false_alarms": 1}, []),
        ([episode(7, 14)], reach(unknown=[9]), {"undecided": 1}, []),
        ([episode(55)], reach(), {"undecided": 1}, []),
        ([episode(7, 40)], reach((10, 12), (30, 31)), {"hits": 2}, [30.0, 120.0]),  # at most the longest lead time
        ([episode(7, 40)], reach((10, 12), (20, 21)), {"hits": 2}, [30.0, 80.0]),  # since the event before
        ([episode(7, 9), episode(8, 14)], reach((10, 12)), {"hits": 1, "false_alarms": 1}, [20.0]),
        ([], reach((0, 2), (59, 59)), {"misses": 1}, []),
    ],
)
def test_warnings_are_judged(raised, reached, outcome, leads):
    assert judge(raised, reached) == (outcome, leads)


def uniform(rates, issue):
    """Return a forecast on 4 x 5 cells of these rates, (realization, lead), every 10 min."""
    made = build_ensemble(np.asarray(rates, np.float32)[..., None, None] * np.ones((4, 5), np.float32))
    lag = issue - made.reference_time.values
    return made.assign_coords(reference_time=made.reference_time + lag, time=made.time + lag)


def truth(rates):
    from hybridcast.core.field import precipitation

    return precipitation(
        np.asarray(rates, float)[:, None, None] * np.ones((4, 5)),
        time=TIMES[: len(rates)],
        y=6_700_500.0 + 1000.0 * np.arange(4),
        x=300_500.0 + 1000.0 * np.arange(5),
        crs="EPSG:3067",
    )


def test_statistics_of_a_sequence_are_counted_by_hand():
    """Rain of 2 mm/h begins at 12:40; two of four members see it 20 min ahead, all of them 10 min ahead."""
    radar = truth([0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0])
    places = read_places({"A": {"type": "Point", "coordinates": [302500, 6701500]}}, crs="EPSG:3067", levels=["1 mm/h"])
    members = [
        [[0, 0], [0, 0], [0, 0], [0, 0]],  # 12:00
        [[0, 0], [0, 0], [0, 0], [0, 0]],
        [[0, 2], [0, 2], [0, 0], [0, 0]],  # 12:20
        [[2, 2], [2, 2], [2, 2], [2, 2]],
        [[2, 0], [2, 0], [2, 0], [2, 0]],
        [[0, 0], [0, 0], [0, 0], [0, 0]],  # 12:50
        [[0, 0], [0, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [0, 0], [0, 0]],
    ]
    tables = [at_places(uniform(one, TIMES[k]), places, radar=radar) for k, one in enumerate(members)]
    found = score_warnings(tables, observe_radar(radar, places))
    one = found.sel(place="A", level="1 mm/h")
    assert {name: int(one[name]) for name in ("hits", "misses", "late", "false_alarms", "undecided")} == {
        "hits": 1,
        "misses": 0,
        "late": 0,
        "false_alarms": 0,
        "undecided": 0,
    }
    assert one.lead_sum.item() == 20
    assert one.hits_by_lead.sel(lead_minutes=20).item() == 1
    # p = 0.5 at 12:20, 1 at 12:30 and 12:40, 1 at 12:50 because it rains then; the event follows or is there each time
    assert one.level_pairs.sum().item() == 8
    np.testing.assert_allclose(one.level_pairs.sel(probability_bin=[0, 0.5, 1]), [4, 1, 3])
    np.testing.assert_allclose(one.level_pair_events.sel(probability_bin=[0, 0.5, 1]), [0, 1, 3])
    assert one.level_pair_error.sum().item() == pytest.approx(0.25)
    rates = found.sel(place="A", statistic="mean", threshold=1.0, lead_time="20min")
    assert rates.rate_pairs.sum().item() == 8
    np.testing.assert_allclose(rates.rate_pair_events.sel(probability_bin=[0, 0.5, 1]), [0, 1, 1])
    scores = summarize_warnings(found.sum("place")).sel(level="1 mm/h")
    assert (scores.hit_rate.item(), scores.false_alarm_ratio.item(), scores.mean_lead.item()) == (1, 0, 20)
    assert scores.brier_score.item() == pytest.approx(0.25 / 8)


def test_without_cases_scores_are_unknown():
    radar = truth([0] * 6)
    places = read_places({"A": {"type": "Point", "coordinates": [302500, 6701500]}}, crs="EPSG:3067", levels=["1 mm/h"])
    table = at_places(uniform([[0, 0], [0, 0]], TIMES[0]), places)
    scores = summarize_warnings(score_warnings([table], observe_radar(radar, places)).sum("place"))
    assert np.isnan(scores[["hit_rate", "false_alarm_ratio", "mean_lead", "csi"]].to_array()).all()
    assert scores.brier_score.item() == 0
    with pytest.raises(InputError, match="there is no forecast"):
        score_warnings([], observe_radar(radar, places))


def test_advection_warns_earlier_than_persistence():
    """Rain that moves with a known motion reaches places; persistence sees it only where it is already."""
    radar = rain((64, 64), translation(2.0, 1.0), frames=6, later=40, spacing=1000.0, seed=3, wet=0.2)
    corners = np.random.default_rng(0).uniform(25_000, 55_000, (40, 2))
    given = {f"P{k}": {"type": "Point", "coordinates": list(corner)} for k, corner in enumerate(corners)}
    places = read_places(given, crs="grid", levels=["1 mm/h"])
    observed = observe_radar(radar, places)
    totals = {}
    for name, nowcaster in (("advection", Advection()), ("persistence", Persistence())):
        tables = [
            at_places(
                forecast(radar, issue_time=time, lead_time="30min", nowcaster=nowcaster),
                places,
                radar=radar,
                windows=[],
            )
            for time in radar.time.values[5:-6:2]
        ]
        totals[name] = score_warnings(tables, observed).sum(("place", "level"))
    advection, persistence = totals["advection"], totals["persistence"]
    assert advection.hits + advection.misses == persistence.hits + persistence.misses > 10
    assert advection.hits > 2 * persistence.hits
    assert advection.lead_sum / advection.hits > 15
