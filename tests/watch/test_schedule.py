"""Which forecast is due, with frames and times given as they are."""

from __future__ import annotations

import numpy as np

from hybridcast.watch.arrivals import Frame
from hybridcast.watch.schedule import Due, IssueRecord, Rules, find_due, find_missing, find_step, select_frames

MINUTE = np.timedelta64(1, "m")
START = np.datetime64("2024-06-01T12:00", "ns")
RULES = Rules(wait=10 * MINUTE, longest_outage=30 * MINUTE, catch_up=30 * MINUTE)


def at(minutes: int) -> np.datetime64:
    return START + minutes * MINUTE


def frames(*minutes: int) -> dict[np.datetime64, Frame]:
    return {at(one): Frame(f"{one}.h5", f"d{one}") for one in minutes}


def made(*minutes: int) -> dict[np.datetime64, IssueRecord]:
    return {at(one): IssueRecord("made", f"d{one}") for one in minutes}


def due_at(known, issues, now: int) -> int | None:
    due = find_due(known, issues, at(now), RULES)
    return None if due is None else int((due.issue_time - START) / MINUTE)


def test_the_newest_frame_comes_first_and_then_older_ones():
    assert due_at({}, {}, 0) is None
    assert due_at(frames(0, 5, 10), {}, 11) == 10
    assert due_at(frames(0, 5, 10), made(10), 11) == 5
    assert due_at(frames(0, 5, 10), made(0, 5, 10), 11) is None
    assert due_at(frames(0, 5, 60), made(60), 61) is None  # too old to catch up with


def test_a_late_frame_is_done_without_after_the_wait_and_the_newest_such_time_only():
    known, issues = frames(0, 5), made(0, 5)
    assert due_at(known, issues, 19) is None
    assert due_at(known, issues, 20) == 10
    assert find_due(known, issues, at(20), RULES) == Due(at(10), None)
    assert due_at(known, issues, 31) == 20
    assert due_at(known, issues, 46) == 35
    assert due_at(known, issues, 50) is None  # nothing came for too long
    assert due_at(frames(0), made(0), 30) is None  # a single frame has no step


def test_a_forecast_made_without_its_frame_is_made_again_when_it_comes_if_it_is_the_newest():
    issues = made(0, 5) | {at(10): IssueRecord("made", None)}
    assert due_at(frames(0, 5, 10), issues, 21) == 10
    issues[at(15)] = IssueRecord("made", None)
    assert due_at(frames(0, 5, 10), issues, 26) is None
    issues = made(0, 5) | {at(10): IssueRecord("made", "other", revision=3)}
    assert due_at(frames(0, 5, 10), issues, 11) is None  # often enough


def test_a_failed_forecast_is_tried_twice_unless_its_frame_changes():
    issues = made(0) | {at(5): IssueRecord("failed", "d5", tries=1)}
    assert due_at(frames(0, 5), issues, 6) == 5
    issues[at(5)] = IssueRecord("set aside", "d5", tries=2)
    used, _ = select_frames(frames(0, 5), issues, at(6))
    assert list(used) == [at(0)]
    issues[at(5)] = IssueRecord("set aside", "as it was", tries=2)
    used, _ = select_frames(frames(0, 5), issues, at(6))
    assert list(used) == [at(0), at(5)]
    assert due_at(used, issues, 6) == 5


def test_frames_ahead_of_the_clock():
    used, waiting = select_frames(frames(0, 5, 10_000), {}, at(6))
    assert (list(used), waiting) == ([at(0), at(5)], [at(10_000)])
    used, waiting = select_frames(frames(0, 5, 10), {}, at(-300))
    assert (used, len(waiting)) == ({}, 3)
    used, waiting = select_frames(frames(0, 5, 10), made(0, 5), at(-300))  # the clock went back
    assert (list(used), waiting) == ([at(0), at(5), at(10)], [])


def test_missing_frames_and_the_step():
    assert find_step(frames(0), RULES) is None
    assert find_step(frames(0, 5, 10, 20), RULES) == 5 * MINUTE
    assert find_missing(frames(0, 5, 15, 30), 5 * MINUTE, at(0)) == [at(10), at(20), at(25)]
    assert find_missing(frames(0, 5, 15, 30), 5 * MINUTE, at(15)) == [at(20), at(25)]
    assert find_missing(frames(0, 30), None, at(0)) == []
