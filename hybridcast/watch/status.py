"""What monitors read: the state of the loop as JSON, metrics for Prometheus, and a verdict with an exit status.

The loop writes ``status.json`` at least every quarter of a minute. The verdict is made when somebody asks, from the
age of what is written: a loop that hangs or has ended cannot tell so itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.files import atomic_write
from hybridcast.core.time_steps import iso_time
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.json_files import read_json, write_json

GOOD, DEGRADED, FAILING, UNKNOWN = 0, 1, 2, 3
"""Exit statuses, those of plug-ins of Nagios: OK, WARNING, CRITICAL, UNKNOWN."""
NAMES = {GOOD: "good", DEGRADED: "degraded", FAILING: "failing", UNKNOWN: "unknown"}
STATUS, METRICS = "status.json", "metrics.prom"
HEARTBEAT = np.timedelta64(15, "s")
"""Longest time between two writings of the status."""
MAX_SILENCE = np.timedelta64(60, "s")
"""Age of the status above which the loop is not running, or hangs."""
_RECENT = 300
_SECOND = np.timedelta64(1, "s")


@dataclass
class Counters:
    """What the loop has counted since its start."""

    frames: int = 0
    forecasts: int = 0
    late: int = 0
    """Forecasts made without their frame."""
    failures: int = 0
    failures_in_row: int = 0
    jumps: int = 0
    """Jumps of the clock."""
    removed: int = 0
    """Forecasts removed because of their age."""
    cycle_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """Time from the frame to the products on the disk, of the last forecasts."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Duration of the stages of the last forecast."""
    memory: float = float("nan")
    """Memory of the worker process after the last forecast, MB."""


@dataclass(frozen=True)
class Snapshot:
    """The state of the loop."""

    region: str
    now: np.datetime64
    pid: int
    replay: bool
    counters: Counters
    newest_frame: np.datetime64 | None
    newest_forecast: np.datetime64 | None
    missing: list[np.datetime64]
    """Frames that are missing among those of the last hours."""
    passed_over: list[np.datetime64]
    """Frames of the last hours without a forecast: they came too late, or the machine is too slow."""
    doubled: int
    problems: list[str]
    """What hinders the loop now."""
    notes: list[str]
    """What was left out or set aside."""
    waiting: int
    """Messages that wait."""
    dropped: int
    """Messages that were given up."""

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``status.json``."""
        counters = self.counters
        return {
            "version": 1,
            "region": self.region,
            "updated": iso_time(self.now),
            "pid": self.pid,
            "replay": self.replay,
            "newest_frame": _iso(self.newest_frame),
            "newest_forecast": _iso(self.newest_forecast),
            "frames": counters.frames,
            "forecasts": counters.forecasts,
            "forecasts_without_their_frame": counters.late,
            "failures": counters.failures,
            "failures_in_row": counters.failures_in_row,
            "forecasts_removed": counters.removed,
            "clock_jumps": counters.jumps,
            "frames_missing": [iso_time(time) for time in self.missing],
            "frames_without_forecast": [iso_time(time) for time in self.passed_over],
            "frames_doubled": self.doubled,
            "seconds_from_frame_to_products": describe_seconds(counters.cycle_seconds),
            "seconds_by_stage": counters.stage_seconds,
            "worker_memory_mb": counters.memory,
            "messages_waiting": self.waiting,
            "messages_dropped": self.dropped,
            "problems": self.problems,
            "notes": self.notes,
        }


def describe_seconds(seconds: Iterable[float]) -> dict[str, float] | None:
    """Return the last one, the median and the 95th percentile of durations; None without any."""
    values = np.array(list(seconds))
    if not values.size:
        return None
    middle, high = np.percentile(values, [50, 95])
    return {"last": round(float(values[-1]), 2), "median": round(float(middle), 2), "p95": round(float(high), 2)}


def write_status(folder: Path, snapshot: Snapshot, metrics: Path) -> None:
    """Write the status and the metrics."""
    write_json(folder / STATUS, snapshot.as_json())
    with atomic_write(metrics) as part:
        part.write_text(render_metrics(snapshot), encoding="utf-8")


def render_metrics(snapshot: Snapshot) -> str:
    """Return the metrics in the text format of Prometheus."""
    counters = snapshot.counters
    rows: list[tuple[str, str, str, float | None]] = [
        ("updated_seconds", "gauge", "Time of the last sign of life.", _seconds(snapshot.now)),
        ("newest_frame_seconds", "gauge", "Time of the newest frame.", _seconds(snapshot.newest_frame)),
        ("newest_forecast_seconds", "gauge", "Issue time of the newest forecast.", _seconds(snapshot.newest_forecast)),
        ("frames_total", "counter", "Frames that came.", counters.frames),
        ("forecasts_total", "counter", "Forecasts made.", counters.forecasts),
        ("forecasts_late_total", "counter", "Forecasts made without their frame.", counters.late),
        ("failures_total", "counter", "Forecasts that failed.", counters.failures),
        ("clock_jumps_total", "counter", "Jumps of the clock.", counters.jumps),
        ("frames_missing", "gauge", "Frames missing among those of the last hours.", len(snapshot.missing)),
        ("frames_without_forecast", "gauge", "Frames of the last hours without a forecast.", len(snapshot.passed_over)),
        ("messages_waiting", "gauge", "Messages that wait.", snapshot.waiting),
        ("messages_dropped_total", "counter", "Messages that were given up.", snapshot.dropped),
        ("worker_memory_bytes", "gauge", "Memory of the worker process.", counters.memory * 1e6),
        ("problems", "gauge", "What hinders the loop now.", len(snapshot.problems)),
    ]
    last = counters.cycle_seconds[-1] if counters.cycle_seconds else None
    rows.append(("frame_to_products_seconds", "gauge", "Time from the last frame to its products.", last))
    label = f'{{region="{snapshot.region}"}}'
    lines = []
    for name, kind, meaning, value in rows:
        if value is not None and np.isfinite(value):
            full = f"hybridcast_{name}"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full}{label} {value:.15g}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Verdict:
    """The state of a region, for monitors and people."""

    region: str
    status: int
    reasons: list[str]
    facts: list[str]

    def __str__(self) -> str:
        details = "; ".join([*self.reasons, *self.facts])
        return f"{self.region}: {NAMES[self.status]}: {details}"


def judge(region: WatchedRegion, now: np.datetime64) -> Verdict:
    """Return the state of a region from what its loop has written.

    Parameters
    ----------
    region
        The region.
    now
        The time; for a replay that of its own clock is taken.
    """
    try:
        status = read_json(region.folder / STATUS)
    except OSError as error:
        return Verdict(region.name, UNKNOWN, [f"{region.folder / STATUS} cannot be read ({error.strerror})"], [])
    if status is None:
        reason = f"no {region.folder / STATUS}: has 'hybridcast watch' been started"
        return Verdict(region.name, UNKNOWN, [reason], [])
    updated = _parse(status["updated"])
    now = updated if status["replay"] else now
    failing: list[str] = []
    silence = now - updated
    if silence > MAX_SILENCE:
        failing.append(f"no sign of life for {_minutes(silence)} (the loop has ended, or hangs)")
    if silence < -MAX_SILENCE:
        failing.append(f"the last sign of life is {_minutes(-silence)} ahead of the clock")
    newest = status["newest_forecast"]
    age = None if newest is None else now - _parse(newest)
    if age is None:
        failing.append("no forecast has been made")
    elif age > region.duration("alert_age"):
        failing.append(f"the newest forecast is {_minutes(age)} old")
    failing += [str(problem) for problem in status["problems"]]
    degraded = _find_degradations(status)
    facts = [] if age is None else [f"newest forecast {newest}, {_minutes(age)} old"]
    if status["frames_without_forecast"]:
        facts.append(f"{len(status['frames_without_forecast'])} frames of the last hours got no forecast")
    facts.append(f"{status['forecasts']} forecasts of {status['frames']} frames since the start")
    verdict = FAILING if failing else DEGRADED if degraded else GOOD
    return Verdict(region.name, verdict, [*failing, *degraded], facts)


def _find_degradations(status: dict[str, Any]) -> list[str]:
    """Return what is not as it should be, though forecasts are made."""
    found = []
    if status["frames_missing"]:
        found.append(f"frames missing: {', '.join(status['frames_missing'])}")
    newest, frame = status["newest_forecast"], status["newest_frame"]
    if newest is not None and frame is not None and _parse(newest) > _parse(frame):
        found.append(f"the newest frame is of {frame}: the newest forecast was made without its own")
    if status["failures_in_row"]:
        found.append(f"the last {status['failures_in_row']} tries failed")
    if status["messages_waiting"] > 1:
        found.append(f"{status['messages_waiting']} messages wait")
    if status["messages_dropped"]:
        found.append(f"{status['messages_dropped']} messages were given up")
    return found + list(status["notes"])


def _iso(time: np.datetime64 | None) -> str | None:
    return None if time is None else iso_time(time)


def _parse(text: str) -> np.datetime64:
    return np.datetime64(text.removesuffix("Z"), "ns")


def _seconds(time: np.datetime64 | None) -> float | None:
    return None if time is None else float((time - np.datetime64(0, "s")) / _SECOND)


def _minutes(age: np.timedelta64) -> str:
    return f"{age / np.timedelta64(1, 'm'):.3g} min"
