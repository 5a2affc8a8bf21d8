"""Replays of archives, in this process: all frames, each once, and on from where they were ended."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from helpers import nightly_radar as small
from helpers.watching import FIRST, STEP, InlineWorker, watched
from hybridcast.errors import InputError
from hybridcast.radar import open_radar
from hybridcast.watch import loop as looping
from hybridcast.watch import run as running
from hybridcast.watch.clock import JumpDetector, ReplayClock
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.loop import ReplayEndedError
from hybridcast.watch.replay import Feeder, parse_speed


class Inline(InlineWorker):
    def __enter__(self):
        Inline.last = self
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def replay(monkeypatch):
    monkeypatch.setattr(running, "Worker", Inline)
    monkeypatch.setattr("hybridcast.watch.loop.warm_up", lambda region: None)
    monkeypatch.setattr("hybridcast.watch.forecasts.report_progress", lambda text: Inline.last.progress.append(text))

    def call(region, stop=None, speed="max"):
        said: list[str] = []
        running.run_replay(region, speed, [small.DATE], stop or threading.Event(), said.append)
        return said

    return call


def forecasts(region) -> list[str]:
    folder = RegionFolder(region.in_replay().folder)
    return [about["issue_time"] for about in folder.list_forecasts()]


@pytest.mark.parametrize("several", [False, True])
def test_each_frame_gets_one_forecast(replay, tmp_path, several):
    field = small.rain(frames=5)
    if several:
        (tmp_path / "radar").mkdir()
        field.drop_attrs(deep=False).assign_attrs(units="mm h-1", standard_name="rainfall_rate").to_netcdf(
            tmp_path / "radar" / "all.nc"
        )
    else:
        small.write_frames(tmp_path / "radar", field)
    region = watched(tmp_path, str(tmp_path / "radar" / "*"), poll="60s")
    said = replay(region)
    assert forecasts(region) == [f"{np.datetime_as_string(FIRST + k * STEP, unit='s')}Z" for k in range(5)]
    assert "complete: 5 frames released, 5 taken, 5 forecasts made, 0 failed" in said[-1]
    assert "this replay is complete" in replay(region)[0]
    arrived = open_radar(sorted((tmp_path / "out" / "here-replay" / "state" / "arrived").iterdir()))
    assert np.allclose(arrived.values, open_radar(str(region.region.radar)).values, equal_nan=True)


def test_a_replay_goes_on_where_it_was_ended(replay, tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=5))
    region = watched(tmp_path, poll="60s")
    stop = threading.Event()

    class Until(ReplayClock):
        def sleep(self, seconds):
            super().sleep(seconds)
            if len(forecasts(region)) == 2:
                stop.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "ReplayClock", Until)
        assert "ended: " in replay(region, stop)[-1]
    assert len(forecasts(region)) == 2
    assert "complete: " in replay(region)[-1]
    assert len(forecasts(region)) == 5


def test_a_replay_that_was_begun_is_of_its_own_days(replay, tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=3))
    region = watched(tmp_path, poll="60s")
    assert "complete: " in replay(region)[-1]
    with pytest.raises(InputError, match=r"holds a replay of .*Give the same --date, or remove"):
        running.run_replay(region, "max", ["2001-01-01"], threading.Event(), print)


def test_a_replay_on_a_full_disk_ends_and_goes_on(replay, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    small.write_frames(tmp_path / "radar", small.rain(frames=4))
    region = watched(tmp_path, poll="60s")
    with monkeypatch.context() as patch:
        patch.setattr("hybridcast.watch.products.save_forecast", full)
        with pytest.raises(ReplayEndedError, match=r"the disk is full.*it goes on"):
            replay(region)
    assert "complete: " in replay(region)[-1]
    assert len(forecasts(region)) == 4


def test_files_of_a_replay_are_removed_when_no_forecast_needs_them(replay, tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=20))
    region = watched(tmp_path, poll="60s", catch_up="1s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looping, "_REACH", np.timedelta64(0, "h"))
        replay(region)
    arrived = sorted((tmp_path / "out" / "here-replay" / "state" / "arrived").iterdir())
    assert len(forecasts(region)) == 20
    assert len(arrived) == 13  # two hours and the newest


def test_two_processes_do_not_watch_one_region(replay, tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=1))
    region = watched(tmp_path)
    with running._lock(RegionFolder(region.in_replay().folder)), pytest.raises(running.AlreadyRunningError):
        replay(region)


def test_an_archive_is_not_watched_live_and_days_without_frames_are_refused(replay, tmp_path):
    from hybridcast.nightly.config import RegionSettings
    from hybridcast.watch.config import WatchedRegion, WatchSettings

    region = RegionSettings(name="a", dataset="fmi-20170509")
    with pytest.raises(InputError, match="Replay it with --replay"):
        running.run_live(WatchedRegion(region, WatchSettings(), tmp_path), threading.Event(), print)
    with pytest.raises(InputError, match="there are frames"):
        replay(watched(tmp_path))
    with pytest.raises(InputError, match="Give --date"):
        running.run_replay(watched(tmp_path), "max", [], threading.Event(), print)


def test_speeds():
    assert (parse_speed("60x"), parse_speed("0.5x"), parse_speed("max")) == (60.0, 0.5, None)
    for wrong in ("60", "x", "-1x", "0x", "fast"):
        with pytest.raises(InputError, match="Write --replay 60x"):
            parse_speed(wrong)


def test_a_feeder_releases_frames_at_their_times(tmp_path):
    small.write_frames(tmp_path / "radar", small.rain(frames=3))
    region = watched(tmp_path)
    feeder = Feeder(region.region, [small.DATE], RegionFolder(tmp_path / "out"))
    assert feeder.start == FIRST
    feeder.release(FIRST - STEP)
    assert feeder.released == 0
    feeder.release(FIRST + STEP)
    assert (feeder.released, feeder.finished) == (2, False)
    feeder = Feeder(region.region, [small.DATE], RegionFolder(tmp_path / "out"))
    assert feeder.start == FIRST + STEP
    feeder.release(FIRST + 9 * STEP)
    assert (feeder.released, feeder.finished) == (1, True)


def test_clocks():
    slept: list[float] = []
    still = ReplayClock(FIRST, None, slept.append)
    assert still.now() == FIRST
    still.sleep(30)
    assert still.now() == FIRST + np.timedelta64(30, "s")
    fast = ReplayClock(FIRST, 1e6, slept.append)
    fast.sleep(30)
    time.sleep(0.001)
    assert fast.now() > FIRST + np.timedelta64(1, "m")
    assert slept == [0.0, 30 / 1e6]


def test_jumps_of_the_clock_are_found():
    steady = iter([0.0, 5.0, 10.0, 15.0])
    jumps = JumpDetector(lambda: next(steady))
    second = np.timedelta64(1, "s")
    assert jumps.check(FIRST) is None
    assert jumps.check(FIRST + 6 * second) is None
    assert jumps.check(FIRST + 3611 * second) == 3600 * second
    assert jumps.check(FIRST + 16 * second) == -3600 * second
