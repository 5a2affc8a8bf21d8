"""The learning curve: which days are learned from, and what its table says."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from helpers.paths import ROOT

pytest.importorskip("lightgbm")


@pytest.fixture
def script(monkeypatch):
    """Return the script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    import learning_curve

    return learning_curve


def spread(script, score):
    """Return a score at every lead time and threshold."""
    return {lead: dict.fromkeys(script.THRESHOLDS, score) for lead in script.LEADS}


def size(script, days, scores):
    """What was found for a number of days: two events, of which the second has three times the weight."""
    events = {}
    for event, weight in (("a", 1.0), ("b", 3.0)):
        found = {name: spread(script, scores[event, name]) for name in script.MEMBERS}
        events[event] = found | {"weight": weight}
    return {"days": days, "regions": {"north": days}, "scores": events}


@pytest.fixture
def found(script):
    members = list(script.MEMBERS)
    few = {(event, name): 0.1 for event in "ab" for name in members}
    many = few | {(event, "network"): 0.08 for event in "ab"} | {("b", "boosting"): 0.06}
    return {"sizes": [size(script, 4, few), size(script, 64, many)]}


def test_regions_take_turns_and_each_set_contains_the_smaller_ones(script):
    events = [
        SimpleNamespace(name=f"{region}{k}", region=region)
        for region, n in (("a", 5), ("b", 1), ("c", 3))
        for k in range(n)
    ]
    order = script.take_turns(events, seed=0)
    assert sorted(one.name for one in order) == sorted(one.name for one in events)
    assert [one.region for one in order] == ["a", "b", "c", "a", "c", "a", "c", "a", "a"]
    assert [one.name for one in script.take_turns(events, seed=0)] == [one.name for one in order]
    assert [one.name for one in script.take_turns(events, seed=1)] != [one.name for one in order]


def test_gains_are_of_all_events_by_weight(script, found):
    few, many = found["sizes"]
    assert script.compare(few, many, "network", "1") == pytest.approx((0, 0, 0))
    assert script.compare(many, many, "network", "1") == pytest.approx((0.2, 0.2, 0.2))
    gain, low, high = script.compare(many, many, "boosting", "1")
    assert gain == pytest.approx(1 - (0.1 + 3 * 0.06) / 0.4)
    assert low == pytest.approx(0)
    assert high == pytest.approx(0.4)


def test_the_table_has_a_row_for_each_number_of_days(script, found):
    rows = script.format_table(found).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 4 (1)", "| 64 (1)"]
    assert "+20.0 [+20.0, +20.0]" in rows[1]
    figure = script.draw(found)
    assert [axis.get_title() for axis in figure.axes] == [f"{threshold} mm/h" for threshold in script.THRESHOLDS]


def test_the_page_holds_the_table_of_the_results(script):
    found = json.loads(script.RESULTS.read_text(encoding="utf-8"))
    text = script.PAGE.read_text(encoding="utf-8")
    table = text.partition("<!-- learning curve -->\n")[2].partition("\n<!-- /learning curve -->")[0]
    assert table == script.format_table(found)
