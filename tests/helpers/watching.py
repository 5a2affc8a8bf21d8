"""A small region to watch, a clock that tests move, and a worker that runs tasks in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helpers import nightly_radar as small
from hybridcast.core import parallel
from hybridcast.nightly.config import RegionSettings
from hybridcast.watch.config import WatchedRegion, WatchSettings
from hybridcast.watch.delivery import Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.loop import Loop

MINUTE = np.timedelta64(1, "m")
STEP = 10 * MINUTE
#: Time of the first frame of `small.rain`.
FIRST = small.FIRST


class Hands:
    """A clock that is moved by hand, and by waiting."""

    def __init__(self, time: np.datetime64) -> None:
        self.time = time

    def now(self) -> np.datetime64:
        """Return the time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.time = self.time + np.timedelta64(round(seconds * 1e9), "ns")


class InlineWorker:
    """Runs tasks in this process as `Worker` does in another; tests may let them fail."""

    def __init__(self) -> None:
        self.progress: list[str] = []
        self.closed = 0
        self.before: Callable[[Any], None] = lambda task: None
        """Called with each task before it runs; it may raise `WorkerError`."""

    def close(self) -> None:
        """Count the calls."""
        self.closed += 1

    def run(self, task: Any, *, timeout: float, give_up: Callable[[], bool] = lambda: False) -> Any:
        """Run a task."""
        self.progress.clear()
        self.before(task)
        try:
            return task()
        except Exception as error:
            raise parallel.TaskFailedError(parallel.describe_error(error), (self.progress or [""])[-1]) from error


def watched(root: Path, radar: str | None = None, **changes) -> WatchedRegion:
    """Return a region whose forecasts take a tenth of a second."""
    given = {
        "nowcaster": "advection",
        "members": 0,
        "lead_time": "20min",
        "file": "forecast.nc",
        "pictures": (),
        "settle": "100ms",
    }
    places = root / "places.toml"
    region = RegionSettings(
        name="here", radar=radar or str(root / "radar" / "*.pgm"), places=str(places) if places.exists() else None
    )
    return WatchedRegion(region, WatchSettings(**(given | changes)), root / "out" / "here")


class Bench:
    """A loop on a bench: its parts, and frames that can be put into its folder one by one."""

    def __init__(self, root: Path, monkeypatch, region: WatchedRegion | None = None, **changes) -> None:
        self.region = region or watched(root, **changes)
        self.field = small.rain(cell=4.0)
        self.radar = root / "radar"
        self.spare = small.write_frames(root / "spare", self.field)
        self.radar.mkdir(exist_ok=True)
        self.clock = Hands(FIRST)
        self.worker = InlineWorker()
        self.said: list[str] = []
        self.stopped = False
        monkeypatch.setattr("hybridcast.watch.forecasts.report_progress", self.worker.progress.append)
        self.loop = self.start()

    def start(self) -> Loop:
        """Start the loop anew, as after a kill."""
        folder = RegionFolder(self.region.folder)
        asked = {"forecast": self.region.watch.on_forecast, "warning": self.region.watch.on_warning}
        hooks = {kind: hook for kind, hook in asked.items() if hook is not None}
        outbox = Outbox(folder.queue, folder.state / "known.json", hooks)
        self.loop = Loop(self.region, folder, self.clock, self.worker, outbox, lambda: self.stopped, self.said.append)
        return self.loop

    def time(self, number: int) -> np.datetime64:
        """Return the time of a frame."""
        return FIRST + number * STEP

    def put(self, number: int, *, as_name: str | None = None, content: bytes | None = None) -> Path:
        """Put a frame into the folder, and let the clock be a minute after its time at least."""
        source = self.spare[number]
        target = self.radar / (as_name or source.name)
        target.write_bytes(source.read_bytes() if content is None else content)
        self.clock.time = max(self.clock.time, self.time(number) + MINUTE)
        return target

    def go(self, seconds: float = 20.0) -> None:
        """Let the loop run for so many seconds of its clock."""
        until = self.clock.time + np.timedelta64(round(seconds * 1e9), "ns")
        while True:
            if not self.loop.step():
                if self.clock.time >= until:
                    return
                self.clock.sleep(5.0)

    def made(self) -> list[int]:
        """Return the numbers of the frames at whose times there are forecasts."""
        abouts = self.loop.folder.list_forecasts()
        times = [np.datetime64(about["issue_time"].removesuffix("Z"), "ns") for about in abouts]
        return [int((time - FIRST) / STEP) for time in times]
