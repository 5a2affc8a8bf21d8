"""The loop with everything it needs: its folder, lock, worker process, messages and clock; live or as a replay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import filelock
import numpy as np

from hybridcast.core.parallel import Worker
from hybridcast.errors import InputError
from hybridcast.watch.clock import Clock, ReplayClock, SystemClock
from hybridcast.watch.config import WatchedRegion, check_commands
from hybridcast.watch.delivery import DeliveryThreads, Outbox
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.loop import Loop
from hybridcast.watch.replay import Feeder, find_period, parse_speed
from hybridcast.watch.status import describe_seconds

Say = Callable[[str], None]


class AlreadyRunningError(Exception):
    """Another process watches the region."""


def run_live(region: WatchedRegion, stop: threading.Event, say: Say) -> None:
    """Make forecasts as the radar comes in, until `stop` is set.

    Raises
    ------
    InputError
        If the region is an archive, its folder cannot be made, the command of a hook cannot be run, or the model cannot
        be loaded.
    AlreadyRunningError
        If another process watches the region.
    """
    if region.region.dataset is not None:
        found = f"region {region.name!r} is the data set {region.region.dataset}"
        raise InputError(found, "forecasts are made of radar that comes in", "Replay it with --replay 60x, or max")
    folder = RegionFolder(region.folder)
    with _lock(folder), _make_loop(region, folder, SystemClock(stop.wait), stop, say) as loop:
        say(f"{region.name}: watching {region.region.radar_pattern}, writing {folder.path}")
        loop.run()
        say(f"{region.name}: ended, {loop.counters.forecasts} forecasts made")


def run_replay(region: WatchedRegion, speed: str, dates: Sequence[str], stop: threading.Event, say: Say) -> None:
    """Run an archive as if its frames came now; a replay that was ended goes on.

    Parameters
    ----------
    region
        The region.
    speed
        How many times as fast, such as ``"60x"``, or ``"max"``.
    dates
        Days or ranges of days; by default those of the region.
    stop
        Ends the replay when it is set.
    say
        Function that receives lines about the progress.

    Raises
    ------
    InputError
        As `run_live`; and if `speed` is none, or there are no frames.
    """
    times = parse_speed(speed)
    days = find_period(region.region, dates)
    watched = region.in_replay()
    folder = RegionFolder(watched.folder)
    with _lock(folder):
        feeder = Feeder(region.region, days, folder)
        if feeder.finished:
            say(f"{region.name}: this replay is complete; remove {folder.path} to repeat it")
        watched = watched.with_radar(str(folder.arrived / "*"), feeder.format)
        clock = ReplayClock(feeder.start, times, stop.wait)
        with _make_loop(watched, folder, clock, stop, say, replay=True) as loop:

            def feed(now: np.datetime64) -> bool:
                feeder.release(now)
                return feeder.finished

            say(f"{region.name}: replay of {days[0]} to {days[-1]}, writing {folder.path}")
            loop.run(feed)
            _say_result(loop, feeder, say)


def _say_result(loop: Loop, feeder: Feeder, say: Say) -> None:
    seconds = describe_seconds(loop.counters.cycle_seconds) or {}
    cost = f"; from frame to products {seconds['median']} s (median), {seconds['p95']} s (95 %)" if seconds else ""
    counters = loop.counters
    say(
        f"{loop.region.name}: {'complete' if feeder.finished else 'ended'}: {feeder.released} frames released, "
        f"{counters.frames} taken, {counters.forecasts} forecasts made, {counters.failures} failed{cost}"
    )


@contextmanager
def _lock(folder: RegionFolder) -> Iterator[None]:
    path = folder.state / "lock"
    try:
        with filelock.FileLock(path, blocking=False):
            yield
    except filelock.Timeout as error:
        raise AlreadyRunningError(f"another process watches this region (it holds {path})") from error
    except PermissionError as error:
        found, rule = f"{path} cannot be opened ({error.strerror})", "forecasts are written into a folder of yours"
        raise InputError(found, rule, "Choose another as out, or change its permissions") from error


@contextmanager
def _make_loop(
    region: WatchedRegion,
    folder: RegionFolder,
    clock: Clock,
    stop: threading.Event,
    say: Say,
    *,
    replay: bool = False,
) -> Iterator[Loop]:
    check_commands(region.watch)
    asked = {"forecast": region.watch.on_forecast, "warning": region.watch.on_warning}
    hooks = {kind: hook for kind, hook in asked.items() if hook is not None}
    outbox = Outbox(folder.queue, folder.state / "known.json", hooks)
    with ExitStack() as stack:
        worker = stack.enter_context(Worker())
        stack.enter_context(DeliveryThreads(outbox))
        yield Loop(region, folder, clock, worker, outbox, stop.is_set, say, replay)


__all__ = ["AlreadyRunningError", "run_live", "run_replay"]
