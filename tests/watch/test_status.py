"""The state for monitors: verdicts from what is on the disk, and metrics."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from helpers.watching import watched
from hybridcast.cli import app as cli
from hybridcast.watch.clock import SystemClock
from hybridcast.watch.status import (
    DEGRADED,
    FAILING,
    GOOD,
    UNKNOWN,
    Counters,
    Snapshot,
    describe_seconds,
    judge,
    render_metrics,
    write_status,
)

NOW = np.datetime64("2024-06-01T12:07", "ns")
MINUTE = np.timedelta64(1, "m")


def snapshot(**changes) -> Snapshot:
    counters = Counters(frames=9, forecasts=8, memory=100.0)
    counters.cycle_seconds.extend([2.0, 3.0, 10.0])
    plain = Snapshot(
        region="here",
        now=NOW,
        pid=1,
        replay=False,
        counters=counters,
        newest_frame=NOW - 2 * MINUTE,
        newest_forecast=NOW - 2 * MINUTE,
        missing=[],
        passed_over=[],
        doubled=0,
        problems=[],
        notes=[],
        waiting=0,
        dropped=0,
    )
    return replace(plain, **changes)


@pytest.fixture
def region(tmp_path):
    made = watched(tmp_path)
    made.folder.mkdir(parents=True)
    return made


def write(region, **changes):
    write_status(region.folder, snapshot(**changes), region.folder / "metrics.prom")


@pytest.mark.parametrize(
    ("changes", "later", "status", "text"),
    [
        ({}, 0, GOOD, "newest forecast 2024-06-01T12:05:00Z, 2 min old"),
        ({"missing": [NOW]}, 0, DEGRADED, "frames missing: 2024-06-01T12:07:00Z"),
        ({"notes": ["a.h5: unreadable: no"]}, 0, DEGRADED, "a.h5: unreadable"),
        (
            {"newest_forecast": NOW},
            0,
            DEGRADED,
            "newest frame is of 2024-06-01T12:05:00Z: the newest forecast was made",
        ),
        ({"waiting": 3}, 0, DEGRADED, "3 messages wait"),
        ({"dropped": 1}, 0, DEGRADED, "1 messages were given up"),
        ({"problems": ["the disk is full"]}, 0, FAILING, "the disk is full"),
        ({"newest_forecast": NOW - 21 * MINUTE}, 0, FAILING, "the newest forecast is 21 min old"),
        ({"newest_forecast": None}, 0, FAILING, "no forecast has been made"),
        ({}, 2, FAILING, "no sign of life for 2 min"),
        ({}, -30, FAILING, "30 min ahead of the clock"),
        ({"replay": True}, 10_000, GOOD, "newest forecast"),
    ],
)
def test_verdicts(region, changes, later, status, text):
    write(region, **changes)
    verdict = judge(region, NOW + later * MINUTE)
    assert verdict.status == status
    assert text in str(verdict)


def test_without_a_status_nothing_is_known(region):
    assert judge(region, NOW).status == UNKNOWN
    (region.folder / "status.json").write_text("{ half")
    assert judge(region, NOW).status == UNKNOWN


def test_metrics_are_in_the_format_of_prometheus(region):
    text = render_metrics(snapshot())
    line = re.compile(r'hybridcast_[a-z_]+\{region="here"\} -?\d+(\.\d+)?(e[+-]\d+)?')
    kinds = dict(re.findall(r"^# TYPE (\w+) (gauge|counter)$", text, re.M))
    values = [row for row in text.splitlines() if not row.startswith("#")]
    assert all(line.fullmatch(row) for row in values)
    assert {row.split("{")[0] for row in values} == set(kinds)
    assert 'hybridcast_newest_forecast_seconds{region="here"} 1717243500' in values
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())
    assert "newest_forecast" not in render_metrics(snapshot(newest_forecast=None))


def test_seconds_are_described():
    assert describe_seconds([]) is None
    assert describe_seconds(range(101)) == {"last": 100.0, "median": 50.0, "p95": 95.0}


def test_the_command_has_the_exit_status_of_the_worst_region(region, tmp_path, monkeypatch, capsys):
    def run(*words) -> int:
        monkeypatch.setattr(sys, "argv", ["hybridcast", "status", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    config = tmp_path / "regions.toml"
    config.write_text('[watch]\nout = "out"\n[[region]]\nname = "here"\nradar = "a/*"\n')
    now = SystemClock().now()
    write(region, now=now, newest_frame=now - MINUTE, newest_forecast=now - MINUTE)
    assert run(config) == GOOD
    assert capsys.readouterr().out.startswith("here: good: newest forecast")
    config.write_text(config.read_text() + '[[region]]\nname = "there"\nradar = "b/*"\n')
    assert run(config) == UNKNOWN
    assert run(config, "--region", "here") == GOOD
    assert run(config, "--region", "here", "--replay") == UNKNOWN
    assert run(tmp_path / "none.toml") == UNKNOWN
    assert "hybridcast watch --init" in capsys.readouterr().err
