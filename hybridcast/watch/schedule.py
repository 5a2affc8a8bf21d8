"""Which forecast is due: that of the newest frame, or one without a frame that is too late; and what has been made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hybridcast.core.time_steps import usual_step
from hybridcast.watch.arrivals import MAX_TRIES, Frame

IssueState = Literal["made", "failed", "set aside", "history"]
MAX_AHEAD = np.timedelta64(15, "m")
"""Time by which a frame may be ahead of the clock."""
LARGEST_STEP = np.timedelta64(2, "h")
"""Time after the frame before it up to which a frame continues a sequence, whatever the clock says."""
MAX_REVISIONS = 3
"""Number of times that a forecast is made again because its newest frame came late, or has changed."""


@dataclass
class IssueRecord:
    """What is known of an issue time."""

    state: IssueState
    """Whether its forecast is made, has failed and is tried again, or is not to be made: because its frame is set
    aside, or came before the first start."""
    frame: str | None = None
    """Digest of the frame of the issue time with which the forecast was made or tried; None without it."""
    tries: int = 0
    """Number of times that the frame ended its forecast."""
    revision: int = 0
    """Number of times that the forecast was made again."""
    reason: str = ""
    """Why it failed, or is not to be made."""
    since: str = ""
    """Time of the first frame that was used, if those before do not fit; later forecasts use none of them either."""


Issues = dict[np.datetime64, IssueRecord]


@dataclass(frozen=True)
class Rules:
    """Times that decide what is due."""

    wait: np.timedelta64
    """Time for which a frame is waited for."""
    longest_outage: np.timedelta64
    """Time without any frame after which no forecast is made."""
    catch_up: np.timedelta64
    """Age up to which frames get a forecast each."""
    step: np.timedelta64 | None = None
    """Time step of the radar, if it is known."""


@dataclass(frozen=True)
class Due:
    """A forecast that is due."""

    issue_time: np.datetime64
    frame: Frame | None
    """The frame of the issue time; None if it is too late."""


def select_frames(
    frames: Mapping[np.datetime64, Frame], issues: Issues, now: np.datetime64
) -> tuple[dict[np.datetime64, Frame], list[np.datetime64]]:
    """Return the frames that are used, and the times of those that wait because they are ahead of the clock.

    A frame ahead of the clock is used if the frame before it is ahead, too: then it is rather the clock that is wrong.
    If the clock agrees with the frame before, it is the frame that is wrong. Frames that are set aside are not used.
    """
    used: dict[np.datetime64, Frame] = {}
    waiting: list[np.datetime64] = []
    last: np.datetime64 | None = None
    for time, frame in frames.items():
        if time in issues and issues[time].state == "set aside" and issues[time].frame == frame.digest:
            continue
        is_new = time not in issues
        is_clock_behind = last is not None and last > now and time - last <= LARGEST_STEP
        if is_new and time > now + MAX_AHEAD and not is_clock_behind:
            waiting.append(time)
            continue
        used[time] = frame
        last = time
    return used, waiting


def find_since(issues: Issues) -> np.datetime64 | None:
    """Return the time before which no frame is used, because the later ones do not fit to them; None without."""
    return max((np.datetime64(one.since, "ns") for one in issues.values() if one.since), default=None)


def find_new_start(
    due: Due, record: IssueRecord, frames: Iterable[np.datetime64], issues: Issues
) -> np.datetime64 | None:
    """Return the time of the frame before a due one if both do not fit to those before them; None if they may.

    One frame that ends its forecast is set aside. If the next one fails, too, those before may be what does not fit,
    as when the grid of the radar has changed: the second try makes a new start from these two.
    """
    before = max((time for time in frames if time < due.issue_time), default=None)
    if due.frame is None or record.tries == 0 or record.state == "made" or before is None or before not in issues:
        return None
    return before if issues[before].state == "set aside" else None


def find_due(frames: Mapping[np.datetime64, Frame], issues: Issues, now: np.datetime64, rules: Rules) -> Due | None:
    """Return the newest forecast that is due; None if there is none.

    Parameters
    ----------
    frames
        Frames that are used, in the order of time.
    issues
        What is known of issue times.
    now
        The time.
    rules
        The rules.
    """
    if not frames:
        return None
    newest = max(frames)
    step = find_step(frames, rules)
    late = _find_late(newest, issues, now, step, rules)
    if late is not None:
        return late
    # the clock may have jumped, so ages are relative to the newest frame where that is older
    oldest = min(now, newest) - rules.catch_up
    latest_made = max((time for time, one in issues.items() if one.state == "made"), default=newest)
    recent = sorted((time for time in frames if time >= min(oldest, latest_made)), reverse=True)
    found = (
        time
        for time in recent
        if _is_due(frames[time], issues.get(time), bool(time >= oldest), bool(time >= latest_made))
    )
    return next((Due(time, frames[time]) for time in found), None)


def _is_due(frame: Frame, record: IssueRecord | None, is_recent: bool, is_latest: bool) -> bool:
    """Return whether a frame gets a forecast.

    Parameters
    ----------
    frame, record
        The frame, and what is known of its issue time.
    is_recent
        Whether it is young enough to get a forecast that it has not got.
    is_latest
        Whether no later forecast has been made, so that its own is made again if it has changed.
    """
    if record is None or (record.frame != frame.digest and record.state in ("failed", "set aside")):
        return is_recent
    if record.state == "failed":
        return is_recent and record.tries < MAX_TRIES
    changed = record.state == "made" and record.frame != frame.digest and record.revision < MAX_REVISIONS
    return changed and is_latest


def _find_late(
    newest: np.datetime64, issues: Issues, now: np.datetime64, step: np.timedelta64 | None, rules: Rules
) -> Due | None:
    """Return the forecast of the newest time whose frame has been waited for long enough."""
    if step is None:
        return None
    steps = (now - rules.wait - newest) // step
    if steps < 1:
        return None
    time = newest + steps * step
    if time - newest > rules.longest_outage:
        return None
    record = issues.get(time)
    tried = record is not None and (record.state != "failed" or record.tries >= MAX_TRIES)
    return None if tried else Due(time, None)


def find_step(frames: Mapping[np.datetime64, Frame], rules: Rules) -> np.timedelta64 | None:
    """Return the time step of the radar; None if a single frame does not tell."""
    if rules.step is not None or len(frames) < 2:
        return rules.step
    return usual_step(np.array(sorted(frames), dtype="datetime64[ns]"))


def find_missing(
    frames: Mapping[np.datetime64, Frame], step: np.timedelta64 | None, since: np.datetime64
) -> list[np.datetime64]:
    """Return the times between the frames, from a time on, at which there is none."""
    times = np.array([time for time in sorted(frames) if time >= since], dtype="datetime64[ns]")
    if step is None or times.size < 2:
        return []
    every = np.arange(times[0], times[-1], step)
    return list(every[[np.abs(times - time).min() > step // 2 for time in every]])
