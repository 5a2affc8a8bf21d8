"""The command as a process: killed at any moment, told to end, started twice, with a frame that crashes it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import nightly_radar as small
from hybridcast.core.forecast_files import load_forecast

FRAMES = 6
#: A region whose forecasts take a moment.
TEXT = """
[watch]
out = "out"
nowcaster = "advection"
members = 0
lead_time = "20min"
file = "forecast.nc"
pictures = []
poll = "60s"
keep = "100h"
[[region]]
name = "here"
radar = "radar/*.pgm"
"""


@pytest.fixture
def place(tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=FRAMES))
    (tmp_path / "regions.toml").write_text(TEXT)
    return tmp_path


def start(place: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hybridcast", "watch", "regions.toml", *options]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, cwd=place, env=env, stderr=subprocess.PIPE, text=True)


def replay(place: Path) -> subprocess.Popen[str]:
    return start(place, "--replay", "max", "--date", small.DATE)


def folder(place: Path) -> Path:
    return place / "out" / "here-replay"


def wait_for(condition, process=None, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_whatever_is_killed_the_products_are_the_same(place, tmp_path_factory):
    calm = tmp_path_factory.mktemp("calm")
    small.write_frames(calm / "radar", small.rain(frames=FRAMES))
    (calm / "regions.toml").write_text(TEXT)
    _, said = (done := replay(calm)).communicate(timeout=600)
    assert done.returncode == 0, said
    chance = random.Random(1)
    for number in range(3):
        process = replay(place)
        forecasts = folder(place) / "forecasts"
        wait_for(lambda number=number, one=forecasts: one.is_dir() and len(list(one.glob("*Z"))) > number, process)
        time.sleep(chance.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
    _, said = (process := replay(place)).communicate(timeout=600)
    assert process.returncode == 0, said
    for name in ("forecasts", "state"):
        assert [path.name for path in (folder(place) / name).glob(".*")] == []
    made = sorted((folder(place) / "forecasts").iterdir())
    assert [path.name for path in made] == [path.name for path in sorted((folder(calm) / "forecasts").iterdir())]
    assert len(made) == FRAMES
    for path in made:
        assert load_forecast(path / "forecast.nc").equals(
            load_forecast(folder(calm) / "forecasts" / path.name / "forecast.nc")
        )
        assert json.loads((path / "about.json").read_text())["revision"] == 0


def test_it_ends_as_told_and_runs_once(place):
    process = start(place)
    status = place / "out" / "here" / "status.json"
    wait_for(status.exists, process)
    second = start(place)
    _, said = second.communicate(timeout=300)
    assert (second.returncode, "another process watches this region" in said) == (3, True)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ended" in said
    assert "Traceback" not in said


def test_a_wrong_configuration_is_exit_2(place):
    (place / "regions.toml").write_text(TEXT + "[region.watch]\nstep = '3h'\n")
    process = start(place)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "there is at least one step" in said
