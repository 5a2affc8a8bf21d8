"""Warnings are raised, kept and cleared by the rule; the log tells it all, and faults in it are found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_ensembles import build_ensemble
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.places import WarningLevel, at_places, read_places
from hybridcast.places.hysteresis import WarningEvent, WarningState, update_warnings
from hybridcast.places.warning_log import append_events, audit_events, read_events

START = np.datetime64("2024-06-01T12:00", "ns")
LEVEL = WarningLevel("rain", rate=1.0, raise_at=0.7, clear_at=0.3, hold="10min")


def table_of(probabilities, minutes, *, levels=(LEVEL,), places=("A",), by_lead=None):
    """Return products with these probabilities of the levels at places, shape (place, level).

    They are the same at all lead times, unless `by_lead` tells those of each, every 10 min.
    """
    shape = len(places), len(levels)
    values = np.broadcast_to(np.asarray(probabilities, np.float32), shape)
    at_leads = values[..., None] if by_lead is None else np.broadcast_to(np.float32(by_lead), (*shape, len(by_lead)))
    dims = ("place", "level")
    columns = {
        "warning_probability": (dims, values),
        "level_probability": ((*dims, "lead_time"), at_leads),
        "raise_at": (dims, np.broadcast_to([level.raise_at for level in levels], shape)),
        "clear_at": (dims, np.broadcast_to([level.clear_at for level in levels], shape)),
        "hold": (dims, np.broadcast_to([level.hold_time for level in levels], shape)),
        "level_known": (dims, np.isfinite(values).astype(float)),
        "level_basis": (dims, np.full(shape, "members")),
        "level_threshold": (dims, np.broadcast_to([level.threshold for level in levels], shape).astype(float)),
        "minutes_to_level_quantile": (("quantile", *dims), np.full((1, *shape), 25.0)),
    }
    issue = START + np.timedelta64(minutes, "m")
    coords = {
        "place": list(places),
        "level": [level.name for level in levels],
        "quantile": [0.5],
        "lead_time": np.arange(1, at_leads.shape[-1] + 1) * np.timedelta64(10 * 60 * 10**9, "ns"),
        "reference_time": issue,
    }
    return xr.Dataset(columns, coords=coords)


def run(probabilities, step=5, **options):
    """Return state and events after forecasts `step` minutes apart."""
    state, log = WarningState(), []
    for number, probability in enumerate(probabilities):
        state, events = update_warnings(state, table_of(probability, step * number, **options))
        log += events
    return state, log


def kinds(events):
    return [event.kind for event in events if event.kind != "checked"]


def test_a_warning_is_raised_kept_between_and_cleared_after_the_hold():
    state, events = run([0.5, 0.7, 0.4, 0.2, 0.2, 0.2, 0.6])
    assert kinds(events) == ["raised", "kept", "kept", "kept", "cleared"]
    assert state.raised == ()
    raised, *_, cleared = [event for event in events if event.kind != "checked"]
    assert (raised.time, raised.expected) == ("2024-06-01T12:05:00Z", "2024-06-01T12:30:00Z")
    assert (cleared.time, cleared.since, cleared.below_since) == (
        "2024-06-01T12:25:00Z",
        "2024-06-01T12:05:00Z",
        "2024-06-01T12:15:00Z",
    )


def test_a_short_dip_starts_the_hold_anew():
    state, events = run([0.8, 0.2, 0.3, 0.2, 0.2])
    assert kinds(events) == ["raised", "kept", "kept", "kept", "kept"]
    assert state.raised[0].below_since == "2024-06-01T12:15:00Z"


def test_unknown_keeps_what_is_raised_and_raises_nothing():
    state, events = run([np.nan, 0.8, np.nan, np.nan, np.nan, np.nan])
    assert kinds(events) == ["raised", "kept", "kept", "kept", "kept"]
    assert len(state.raised) == 1
    checked = [event for event in events if event.kind == "checked"]
    assert [(event.levels, event.unknown, event.raised) for event in checked[:2]] == [(1, 1, 0), (1, 0, 1)]


def follow(*forecasts, step=10):
    """Return state and events after forecasts `step` minutes apart, given by their probabilities at lead times."""
    state, log = WarningState(), []
    for number, by_lead in enumerate(forecasts):
        highest = np.nan if np.isnan(by_lead).all() else np.nanmax(by_lead)
        state, events = update_warnings(state, table_of(highest, step * number, by_lead=by_lead))
        log += events
    return state, log


def test_a_warning_stays_while_the_time_it_is_for_is_unknown():
    """It was for 12:30; then the radar sees only the air of the next 10 min."""
    state, events = follow([0, 0, 0.9], [0, np.nan, np.nan], [np.nan, 0, 0])
    assert kinds(events) == ["raised", "kept", "kept"]
    assert state.raised[0].until == "2024-06-01T12:30:00Z"
    assert state.raised[0].below_since is None
    assert "unknown up to the time until which" in events[-1].reason
    assert audit_events(events).faults == ()


def test_lead_times_after_the_time_a_warning_is_for_may_be_unknown():
    """The air of places near the edge of the coverage is never known two hours ahead."""
    _, events = follow([0, 0.9, np.nan], [0, np.nan, np.nan], [0, np.nan, np.nan])
    assert kinds(events) == ["raised", "kept", "cleared"]
    assert audit_events(events).faults == ()


def test_what_was_expected_in_the_unknown_part_is_remembered_while_another_part_is_likely():
    state, events = follow([0, 0, 0.9], [0.9, np.nan, np.nan], [0, np.nan, np.nan], [np.nan, np.nan, np.nan])
    assert state.raised[0].until == "2024-06-01T12:30:00Z"
    assert kinds(events) == ["raised", "kept", "kept", "kept"]


def test_the_audit_finds_a_warning_that_was_cleared_while_its_time_was_unknown():
    _, events = follow([0, 0.9], [0, 0], [0, 0])
    events[-1] = replace(events[-1], known_until=events[-1].time, time=events[-1].time)
    events[1] = replace(events[1], until="2024-06-01T14:00:00Z")
    events[3] = replace(events[3], until="2024-06-01T14:00:00Z", known_until="2024-06-01T14:00:00Z")
    assert any("cleared though unknown until it was expected" in fault for fault in audit_events(events).faults)


def test_without_a_hold_it_is_cleared_at_once():
    _, events = run([0.8, 0.2], levels=(replace(LEVEL, hold="0min"),))
    assert kinds(events) == ["raised", "cleared"]


def test_probabilities_of_members_reach_their_own_value():
    """14 of 20 members are 0.7, in single precision a little less."""
    _, events = run([np.float32(14) / np.float32(20)])
    assert kinds(events) == ["raised"]


def test_levels_and_places_are_apart_and_those_removed_are_cleared():
    heavy = replace(LEVEL, name="heavy", raise_at=0.5)
    places, levels = ("A", "B"), (LEVEL, heavy)
    state, events = update_warnings(
        WarningState(), table_of([[0.6, 0.6], [0.9, np.nan]], 0, levels=levels, places=places)
    )
    assert {(one.place, one.level) for one in state.raised} == {("A", "heavy"), ("B", "rain")}
    state, events = update_warnings(state, table_of([[0.6]], 5, levels=(heavy,), places=("A",)))
    assert [(one.place, one.level) for one in state.raised] == [("A", "heavy")]
    cleared = next(event for event in events if event.kind == "cleared")
    assert cleared.reason == "the place no longer has this level"
    assert audit_events(events).state.time == "2024-06-01T12:05:00Z"


def test_a_forecast_counts_once_and_never_after_a_later_one():
    state, _ = update_warnings(WarningState(), table_of(0.8, 5))
    assert update_warnings(state, table_of(0.8, 5)) == (state, [])
    with pytest.raises(InputError, match="in the order of time"):
        update_warnings(state, table_of(0.8, 0))


@given(st.lists(st.sampled_from([0.0, 0.29, 0.3, 0.5, 0.7, 1.0, np.nan]), min_size=1, max_size=30))
def test_the_log_holds_the_state_and_follows_the_rule(probabilities):
    state, events = run(probabilities)
    audit = audit_events([WarningEvent.from_json(json.loads(json.dumps(event.to_json()))) for event in events])
    assert audit.faults == ()
    assert audit.state == state
    assert WarningState.from_json(json.loads(json.dumps(state.to_json()))) == state


@pytest.mark.parametrize(
    ("number", "change", "fault"),
    [
        (1, {"probability": 0.6}, "raised below raise_at"),
        (3, {"kind": "raised"}, "raised twice"),
        (3, {"kind": "cleared"}, "cleared too early"),
        (9, {"kind": "kept"}, "kept too long"),
        (3, {"since": "2024-06-01T11:00:00Z"}, "raised since another time"),
        (9, {"time": "2024-06-01T11:00:00Z"}, "it follows"),
    ],
)
def test_a_log_that_was_changed_has_faults(number, change, fault):
    _, events = run([0.8, 0.5, 0.2, 0.2, 0.2])
    events[number] = replace(events[number], **change)
    assert any(fault in found for found in audit_events(events).faults)


def test_the_log_survives_an_interrupted_line(tmp_path):
    path = tmp_path / "warnings.jsonl"
    _, events = run([0.8, 0.5])
    append_events(path, events[:2])
    with path.open("a") as file:
        file.write('{"time": "2024-06-0')
    append_events(path, events[2:])
    with pytest.warns(InputWarning, match="line 3 is incomplete"):
        assert read_events(path) == events
    path.write_text('{"time": "2024-06-01T12:00:00Z", "kind": "raised", "colour": "red"}\n')
    with pytest.raises(ReadError, match="line 1"):
        read_events(path)
    with pytest.raises(ReadError, match="absent"):
        read_events(tmp_path / "absent.jsonl")


def test_no_state_is_refused():
    with pytest.raises(InputError, match="'time' and 'raised'"):
        WarningState.from_json({"raised": [{"place": "A"}]})


def test_warnings_of_a_real_table():
    members = np.array([[0, 2.0], [2.0, 2.0], [2.0, 0], [0, 0]])[..., None, None] * np.ones((4, 5))
    places = read_places({"A": {"type": "Point", "coordinates": [302500, 6701500]}}, crs="EPSG:3067", levels=[LEVEL])
    state, events = update_warnings(WarningState(), at_places(build_ensemble(members), places))
    assert kinds(events) == ["raised"]
    assert (events[1].probability, events[1].basis, events[1].expected) == (0.75, "members", "2024-06-01T12:10:00Z")
    assert state.raised[0].place == "A"
