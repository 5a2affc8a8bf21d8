"""The interval of the reports of a station, from its own rows.

A table that does not state the interval of its amounts says it by rows that come at a regular step: then each row is
the amount since the row before. That holds for each station by itself, as networks are out of step, and hourly stations
stand among those of ten minutes. It does not hold for rows that are written when it rains, or at any time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Doubles

#: Steps are whole minutes; a row may be early or late by this fraction of the step, and by `MAX_JITTER`.
JITTER = 0.2
MAX_JITTER = 60.0
"""Largest jitter of the time of a row, s."""
#: Least fraction of rows that follow the row before by one step.
MIN_REGULAR = 0.5
#: Steps (min) that two rows alone prove, if both are whole multiples of them.
USUAL_STEPS = frozenset({5, 6, 10, 12, 15, 20, 30, 60, 180, 360, 720, 1440})
#: Rows up to this step (min) that have gaps, and never a zero, are tips of a bucket.
TIPS = 2
_NIGHT = np.timedelta64(4, "h")


class Reporting(NamedTuple):
    """The reports of a station."""

    interval: np.timedelta64 | None
    """Interval of its reports; None if it is not known."""
    ends: NDArray[np.datetime64]
    """Ends of the intervals, on regular steps if the interval was read from them."""
    reason: str = ""
    """Why the interval is not known."""


def read_interval(times: NDArray[np.datetime64], values: Doubles) -> Reporting:
    """Return the interval of the reports of a station, from the times of its rows.

    Parameters
    ----------
    times
        Times of the rows, in order, each once, shape ``(row,)``.
    values
        Their rain, shape ``(row,)``.

    Examples
    --------
    >>> ten = np.datetime64("2024-06-01T12:10", "ns") + np.arange(4) * np.timedelta64(10, "m")
    >>> read_interval(ten, np.ones(4)).interval.astype("timedelta64[m]")
    np.timedelta64(10,'m')
    >>> read_interval(ten[:1], np.ones(1)).reason
    'one row only'
    """
    if times.size < 2:
        return Reporting(None, times, "one row only")
    steps = np.diff(times) / np.timedelta64(1, "s")
    step = _usual_minutes(steps)
    if not step:
        return Reporting(None, times, "rows closer than a minute")
    multiples = np.maximum(1, np.rint(steps / (60 * step)))
    jitter = min(JITTER * 60 * step, MAX_JITTER)
    if (np.abs(steps - multiples * 60 * step) > jitter).any() or (multiples == 1).mean() < MIN_REGULAR:
        return Reporting(None, times, "rows at irregular times")
    if _has_two_steps(multiples):
        return Reporting(None, times, "rows at two different steps")
    if times.size == 2 and not _is_proved_by_two(times, step):
        return Reporting(None, times, "two rows only")
    if step <= TIPS and (multiples > 1).any() and not (values == 0).any():
        return Reporting(None, times, "rows only where it rains, as of single tips")
    interval = np.timedelta64(step, "m").astype("timedelta64[ns]")
    return Reporting(interval, round_to_steps(times, interval))


def _usual_minutes(steps: Doubles) -> int:
    """Return the most frequent step in whole minutes, the smaller of two equally frequent ones."""
    minutes, counts = np.unique(np.rint(steps / 60), return_counts=True)
    return int(minutes[np.argmax(counts)])


def _has_two_steps(multiples: Doubles) -> bool:
    """Return whether rows follow each other by the same multiple of the step several times: another step, no gaps."""
    same = (multiples[1:] == multiples[:-1]) & (multiples[1:] > 1)
    return bool((same[1:] & same[:-1]).any())


def _is_proved_by_two(times: NDArray[np.datetime64], step: int) -> bool:
    aligned = (times - np.datetime64(0, "ns")) % np.timedelta64(step, "m") == np.timedelta64(0)
    return step in USUAL_STEPS and bool(aligned.all())


def round_to_steps(times: NDArray[np.datetime64], step: np.timedelta64) -> NDArray[np.datetime64]:
    """Remove a jitter of seconds: round times to regular steps, which begin at the usual time of the station.

    Times on whole minutes stay as they are. If the steps would take two times for one, all times stay.
    """
    seconds = (times - np.datetime64(0, "ns")) / np.timedelta64(1, "s")
    if not (seconds % 60).any():
        return times
    length = float(step / np.timedelta64(1, "s"))
    phase = (seconds - seconds[0] + length / 2) % length - length / 2
    usual = (seconds[0] + np.median(phase) + length / 2) % length - length / 2
    usual = 0.0 if abs(usual) <= min(JITTER * length, MAX_JITTER) else 60 * np.rint(usual / 60)
    rounded = np.rint((seconds - usual) / length) * length + usual
    ends = np.datetime64(0, "ns") + (rounded * 1e9).astype("timedelta64[ns]")
    return ends if np.unique(ends).size == ends.size else times


def goes_back_an_hour(times: NDArray[np.datetime64]) -> np.datetime64 | None:
    """Return the time at which rows in the order of a file repeat an hour, as when a clock is set back; else None.

    The rows rise, but for one step back, which one hour more would make the usual step, in the first hours of a Sunday,
    at which clocks are set back everywhere.
    """
    steps = np.diff(times)
    back = np.flatnonzero(steps < np.timedelta64(0))
    if back.size != 1 or steps.size < 2:
        return None
    usual = np.median(steps[steps > np.timedelta64(0)])
    repeated = times[back[0] + 1]
    is_sunday = (repeated.astype("datetime64[D]").astype(int) + 3) % 7 == 6  # 1970 began on a Thursday
    at_night = repeated - repeated.astype("datetime64[D]") < _NIGHT
    restored = steps[back[0]] + 60 * MINUTE == usual
    return repeated if restored and is_sunday and at_night else None


def thin_out(ends: NDArray[np.datetime64], interval: np.timedelta64) -> NDArray[np.bool_]:
    """Return which of the rows of running sums do not overlap: those a whole number of intervals before the last."""
    distance = ends[-1] - ends
    overlapping = ends.size > 1 and bool((np.diff(ends) < interval).any())
    return distance % interval == np.timedelta64(0) if overlapping else np.ones(ends.size, bool)
