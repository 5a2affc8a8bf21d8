"""Clocks of the loop: that of the machine, and that of a replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

#: Difference between the clock of the machine and a steady one that is called a jump.
LARGEST_SLIP = np.timedelta64(60, "s")


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> np.datetime64:
        """Return the time (UTC), ``datetime64[ns]``."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock, or until the loop is to end."""
        ...


class SystemClock:
    """The clock of the machine.

    Parameters
    ----------
    wait
        Function that waits for so many seconds, such as that of a `threading.Event`, which can be cut short.
    """

    def __init__(self, wait: Callable[[float], object] = time.sleep) -> None:
        self._wait = wait

    def now(self) -> np.datetime64:
        """Return the time of the machine (UTC)."""
        return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._wait(seconds)


class ReplayClock:
    """A clock that starts at some time and runs so many times as fast, or stands still but for waiting.

    Parameters
    ----------
    start
        The first time.
    speed
        How many times as fast as the clock of the machine; None if only waiting moves it, at no cost.
    wait
        Function that waits for so many real seconds.
    """

    def __init__(self, start: np.datetime64, speed: float | None, wait: Callable[[float], object] = time.sleep) -> None:
        self._start, self._speed, self._wait = start, speed, wait
        self._slept = 0.0
        self._began = time.monotonic()

    def now(self) -> np.datetime64:
        """Return the time of the replay."""
        elapsed = self._slept if self._speed is None else (time.monotonic() - self._began) * self._speed
        return self._start + np.timedelta64(round(elapsed * 1e9), "ns")

    def sleep(self, seconds: float) -> None:
        """Wait, or move the clock if only waiting moves it."""
        if self._speed is None:
            self._slept += seconds
            self._wait(0.0)
        else:
            self._wait(seconds / self._speed)


class JumpDetector:
    """Finds jumps of a clock, by comparing it with a steady one."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._last: tuple[np.datetime64, float] | None = None

    def check(self, now: np.datetime64) -> np.timedelta64 | None:
        """Return by how much the clock has jumped since the last call; None if it has not."""
        steady = self._steady()
        last, self._last = self._last, (now, steady)
        if last is None:
            return None
        slip = (now - last[0]) - np.timedelta64(round((steady - last[1]) * 1e9), "ns")
        return slip if abs(slip) > LARGEST_SLIP else None
