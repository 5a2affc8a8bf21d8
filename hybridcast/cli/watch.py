"""The commands ``watch`` and ``status``: forecasts as the radar comes in, and whether they do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridcast.cli.nightly import Dates, Init, exit_if_wrong, write_template
from hybridcast.cli.options import Regions, say
from hybridcast.errors import InputError

if TYPE_CHECKING:
    from hybridcast.watch.config import WatchedRegion

RUNS_ALREADY = 3
"""Exit status if another process watches the region."""

Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="TOML file, the one of 'hybridcast nightly'; 'shipped' for three real archives."
    ),
]
Region = Annotated[str | None, typer.Option("--region", help="The region, if the configuration has several.")]
Replay = Annotated[
    str | None,
    typer.Option(
        metavar="SPEED",
        help="Run an archive as if its frames came now, so many times as fast (60x), or as fast as forecasts are made "
        "(max).",
    ),
]
OfReplay = Annotated[bool, typer.Option("--replay", help="The state of the replays, not of the live forecasts.")]


def watch(
    config: Config = "regions.toml",
    region: Region = None,
    replay: Replay = None,
    date: Dates = None,
    init: Init = False,
) -> None:
    """Make a forecast of each radar frame as it comes, with members and pictures, until told to end.

    The files of the configuration's patterns are looked for again and again: folders, network drives, servers. A frame
    is used when its reader accepts it whole. If the next one does not come, the forecast is made without it after a
    while, and says so. Forecasts are in folders of their own; latest.json names the newest. Everything appears whole or
    not at all: end the command by Ctrl-C, SIGTERM or SIGKILL, and start it again.

    A forecast runs in a process of its own, and a frame that ends it twice is set aside. One process watches one
    region; start one for each.

    Exit status: 0 ended as told, 1 failed, 2 the configuration is wrong, 3 another process watches the region.

    Examples:

        hybridcast watch --init               # then put your radar and the table [watch] into regions.toml
        hybridcast watch regions.toml
        hybridcast watch regions.toml --region north
        hybridcast watch shipped --region fmi --replay max   # a real archive, as fast as it goes
        hybridcast status regions.toml        # in another window, or by a monitor
    """
    if init:
        exit_if_wrong(lambda: write_template(Path(config), "watch"))
        return
    chosen = exit_if_wrong(lambda: _choose_region(config, region))
    stop = threading.Event()
    with _end_by_signal(stop):
        exit_if_wrong(lambda: _run(chosen, replay, list(date or ()), stop))


def status(config: Config = "regions.toml", region: Regions = None, replay: OfReplay = False) -> None:
    """Show whether forecasts are made: a line for each region, and the worst as exit status.

    A region is failing if its newest forecast is too old (alert_age), its process gives no sign of life, or something
    keeps it from going on; degraded if frames are missing, files cannot be read, or messages wait. What is asked is the
    disk, so this works while the forecasts do not.

    Exit status, that of plug-ins of Nagios: 0 good, 1 degraded, 2 failing, 3 not known (also: the configuration is
    wrong).

    Examples:

        hybridcast status regions.toml
        hybridcast status regions.toml --region north || mail -s "nowcasts" me@example.org </dev/null
    """
    from hybridcast.watch.clock import SystemClock
    from hybridcast.watch.status import UNKNOWN, judge

    watched = exit_if_wrong(lambda: _load(config, region or []), UNKNOWN)
    now = SystemClock().now()
    verdicts = [judge(one.in_replay() if replay else one, now) for one in watched]
    for verdict in verdicts:
        print(verdict)
    raise typer.Exit(max(verdict.status for verdict in verdicts))


def _load(config: str, names: list[str]) -> list[WatchedRegion]:
    from hybridcast.nightly.config import SHIPPED
    from hybridcast.watch.config import load_watch

    if config != SHIPPED and not Path(config).expanduser().exists():
        raise InputError(
            f"there is no {config}",
            "regions are configured in a TOML file",
            "Write one with 'hybridcast watch --init', name yours, or try 'shipped'",
        )
    return load_watch(config, names)


def _choose_region(config: str, name: str | None) -> WatchedRegion:
    regions = _load(config, [] if name is None else [name])
    if len(regions) > 1:
        names = ", ".join(region.name for region in regions)
        raise InputError(f"{config} has the regions {names}", "a process watches one", "Choose one with --region")
    return regions[0]


@contextmanager
def _end_by_signal(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the loop in order."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, lambda *_: stop.set()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _run(region: WatchedRegion, replay: str | None, dates: list[str], stop: threading.Event) -> None:
    from hybridcast.watch.run import AlreadyRunningError, run_live, run_replay

    try:
        if replay is None:
            run_live(region, stop, say)
        else:
            run_replay(region, replay, dates, stop, say)
    except AlreadyRunningError as error:
        say(f"error: {error}")
        raise typer.Exit(RUNS_ALREADY) from error
