"""Places and warnings in the loop: each decision once, whatever is killed, and forecasts go on without places."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.watching import Bench
from hybridcast.places import audit_events, read_events
from hybridcast.watch import warnings as watched_warnings
from hybridcast.watch.config import HookSettings
from hybridcast.watch.json_files import read_json

PLACES = """
[[level]]
name = "wet"
rate = 0.1
hold = "10min"

[[place]]
name = "middle"
latitude = 60.36
longitude = 22.8
levels = ["wet"]
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    (tmp_path / "places.toml").write_text(PLACES)
    return Bench(tmp_path, monkeypatch, on_warning=HookSettings(command=("true",)))


def put(bench, *numbers):
    for number in numbers:
        bench.put(number)
        bench.go()


def log(bench):
    return read_events(bench.loop.folder.path / "warnings.jsonl")


def messages(bench):
    return [read_json(path)["content"] for path in sorted(bench.loop.folder.queue.iterdir())]


def test_a_warning_is_raised_told_once_and_cleared(bench):
    put(bench, *range(14))
    events = log(bench)
    kinds = [event.kind for event in events]
    assert kinds.count("checked") == 14
    assert "raised" in kinds
    assert "cleared" in kinds
    told = messages(bench)
    assert [one["event"] for one in told] == [kind for kind in kinds if kind in ("raised", "cleared")]
    assert told[0]["place"] == "middle"
    assert told[0]["region"] == "here"
    for kind in ("raised", "cleared"):
        assert sum(f"; {kind}: middle (wet)" in line for line in bench.said) == kinds.count(kind)
    audit = audit_events(events)
    assert not audit.faults
    assert audit.state == bench.loop.warnings.state
    folder = bench.loop.folder.path / read_json(bench.loop.folder.path / "latest.json")["folder"]
    assert (folder / "places.csv").is_file()
    assert (folder / "places.json").is_file()


def test_messages_that_fail_are_said_once(bench, monkeypatch):
    class Waits:
        count, dropped, problem = 1, 0, "https://example.org answers 500"

    monkeypatch.setattr(bench.loop.outbox, "describe", Waits)
    put(bench, 0, 1, 2)
    assert [line for line in bench.said if "answers 500" in line] == ["here: a message waits: " + Waits.problem]


def test_places_and_levels_that_never_raise_a_warning_are_noted(tmp_path, monkeypatch):
    more = '[[place]]\nname = "London"\nlatitude = 51.5\nlongitude = -0.1\nlevels = ["wet"]\n'
    text = PLACES.replace('levels = ["wet"]', 'levels = ["wet", "30 mm in 6h"]')
    (tmp_path / "places.toml").write_text(text + more)
    bench = Bench(tmp_path, monkeypatch, on_warning=HookSettings(command=("true",)))
    put(bench, *range(4))
    notes = bench.loop._take_snapshot(bench.loop.clock.now()).notes
    assert any("outside the grid or what the radar sees: London" in note for note in notes)
    assert any("no lead time tells of the level '30 mm in 6h' (lead_time, step): middle" in note for note in notes)


def test_after_a_start_nothing_is_decided_or_told_again(bench):
    put(bench, 0, 1, 2)
    before, told = log(bench), messages(bench)
    bench.start()
    bench.go()
    assert log(bench) == before
    assert messages(bench) == told
    assert bench.loop.warnings.state.time == before[-1].time


@pytest.mark.parametrize("step", ["append_events", "write_json", "post"])
def test_what_a_kill_left_undone_is_done_at_the_next_start(bench, monkeypatch, step):
    put(bench, 0, 1)

    class KilledError(BaseException):
        pass

    def kill(*args, **kwargs):
        raise KilledError

    with monkeypatch.context() as patch:
        owner = bench.loop.outbox if step == "post" else watched_warnings
        patch.setattr(owner, step, kill)
        try:
            for number in range(2, 14):
                bench.put(number)
                bench.go()
        except KilledError:
            pass
        else:
            pytest.fail("nothing was killed")
    killed_at = number
    bench.start()
    put(bench, *range(killed_at + 1, 14))
    events = log(bench)
    assert len(events) == len({(event.time, event.kind, event.place, event.level) for event in events})
    assert [event.time for event in events if event.kind == "checked"] == sorted({event.time for event in events})
    assert not audit_events(events).faults
    changes = [(event.kind, event.time) for event in events if event.kind in watched_warnings.CHANGES]
    assert [(one["event"], one["time"]) for one in messages(bench)] == changes


def test_places_that_cannot_be_read_any_more_hinder_no_forecast(bench, tmp_path):
    put(bench, 0)
    (tmp_path / "places.toml").write_text("[[place]]\nname = 1\n")
    put(bench, 1)
    assert bench.made() == [0, 1]
    about = read_json(bench.loop.folder.path / "latest.json")
    assert any(note.startswith("places: ") for note in about["left_out"])
    assert bench.loop.warnings.state.time is not None
    assert len([event for event in log(bench) if event.kind == "checked"]) == 1


def test_forecasts_that_are_caught_up_with_change_no_warning(bench):
    put(bench, 0)
    for number in (1, 2, 3):
        bench.put(number)
    bench.go()
    assert bench.made() == [0, 1, 2, 3]
    times = [event.time for event in log(bench) if event.kind == "checked"]
    assert times == sorted(times)
    assert times[-1] == bench.loop.warnings.state.time


@pytest.mark.parametrize("step", ["append_events", "write_json", "post"])
def test_what_a_full_disk_did_not_take_is_written_later_in_order(bench, monkeypatch, step):
    """For seven forecasts nothing can be written but the forecasts themselves; then all follows, once."""
    put(bench, 0, 1)
    owner = bench.loop.outbox if step == "post" else watched_warnings
    write = getattr(owner, step)

    def full(path, *rest):
        if step == "write_json" and path.parent != bench.loop.folder.path:  # what a forecast has decided
            return write(path, *rest)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, full)
        put(bench, *range(2, 9))
        assert any("No space left" in problem for problem in bench.loop.problems.current)
        assert bench.made() == list(range(9))
    put(bench, *range(9, 14))
    assert bench.loop.problems.current == []
    events = log(bench)
    assert [event.time for event in events if event.kind == "checked"] == [
        f"{np.datetime_as_string(bench.time(number), unit='s')}Z" for number in range(14)
    ]
    assert not audit_events(events).faults
    assert audit_events(events).state == bench.loop.warnings.state
    changes = [(event.kind, event.time) for event in events if event.kind in watched_warnings.CHANGES]
    assert changes
    assert [(one["event"], one["time"]) for one in messages(bench)] == changes


def test_a_kill_after_a_full_disk_loses_no_decision(bench, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    put(bench, 0, 1)
    with monkeypatch.context() as patch:
        patch.setattr(watched_warnings, "append_events", full)
        put(bench, *range(2, 9))
    bench.start()
    put(bench, *range(9, 14))
    events = log(bench)
    assert sum(event.kind == "checked" for event in events) == 14
    assert len(events) == len(set(events))
    assert not audit_events(events).faults


@pytest.mark.parametrize("content", [None, "", "{ half"])
def test_a_lost_or_damaged_state_is_that_of_the_log(bench, content):
    number = 0
    while not bench.loop.warnings.state.raised:
        put(bench, number)
        number += 1
    before = bench.loop.warnings.state
    path = bench.loop.folder.path / "warnings.json"
    path.unlink() if content is None else path.write_text(content)
    bench.start()
    assert bench.loop.warnings.state == before
    put(bench, *range(number, 14))
    assert not audit_events(log(bench)).faults
