"""The commands ``demo``, ``fetch`` and ``info``: an example, real events to try, and the installation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hybridcast._version import __version__
from hybridcast.cli.options import out, say, step
from hybridcast.cli.places import list_places
from hybridcast.core.types import MINUTE

if TYPE_CHECKING:
    import xarray as xr

    from hybridcast.cli.demo import DemoResult


def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("out"),
    cases: Annotated[int, typer.Option(min=1, help="Number of forecasts to make and score.")] = 8,
) -> None:
    """Forecast the stormiest hours of a real archive, compare them with the observations, and show one of them.

    The trained nowcaster is scored beside pysteps' S-PROG, advection and persistence. Of the stormiest forecast there
    are a map for the browser, a film, probabilities, members of an ensemble, and what it means for three points. Eleven
    days of German radar are downloaded through pip (10 MB are kept). Without a network, a small simulated scene is used
    instead. S-PROG needs the extra 'pysteps', film and pictures the extra 'plot'; without them, the rest is made.

    Example:

        hybridcast demo -o out          # then open out/index.html
    """
    from hybridcast.cli.demo import run_demo

    _report_demo(run_demo(folder, cases=cases, step=step))


def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of a data set; --list shows them.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the data sets, with size and licence.")] = False,
    radar_only: Annotated[bool, typer.Option("--radar-only", help="Print only the files of one radar field.")] = False,
) -> None:
    """Download a real event, and print the paths of its files.

    Files are downloaded once and checked. The folder HYBRIDCAST_DATA_MIRROR is searched before the network; downloads
    are kept in the folder HYBRIDCAST_CACHE.

    Examples:

        hybridcast fetch --list
        hybridcast forecast $(hybridcast fetch fmi-20170509) -o forecast.nc
    """
    from hybridcast.datasets.registry import fetch as fetch_files

    if name is not None and not list_:
        for path in fetch_files(name, radar_only=radar_only):
            print(path)
    elif out.is_terminal:
        table = Table("name", "content", "size", "licence")
        for row in _list_datasets():
            table.add_row(*row)
        out.print(table)
    else:  # for other programs: one line each, however long
        for row in _list_datasets():
            print(*row, sep="\t")


def info() -> None:
    """Show the versions, threads, folders and formats of this installation."""
    for title, rows in {"hybridcast": _describe_installation(), **_list_formats()}.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)


def _report_demo(result: DemoResult) -> None:
    out.print(f"rain: {result.source}", highlight=False)
    days = len({str(time)[:10] for time in result.issue_times})
    count = len(result.issue_times)
    cases = f"{count} forecast{'s' * (count > 1)} on {days} day{'s' * (days > 1)}"
    out.print(f"{cases}, compared with the observations:", highlight=False)
    out.print(_score_table(result.scores))
    out.print(_compare(result.scores), highlight=False)
    if result.seen_in_training:
        out.print(
            "The trained model has learned from some of these days, so its scores are a little too good here. "
            "The README has those on radar networks that it was not trained on.",
            highlight=False,
        )
    out.print("\nWhat the stormiest forecast means for three points:", highlight=False)
    list_places(result.places)
    for message in result.left_out:
        say(f"note: left out, because {message}")
    out.print("\nOpen the map first, by a double click:", highlight=False)
    width = max(len(str(path)) for path in result.files.values())
    for what, path in result.files.items():
        out.print(f"  {path!s:{width}}  {what}", highlight=False, soft_wrap=True)


def _score_table(scores: xr.Dataset) -> Table:
    """Return the scores by nowcaster, at each lead time."""
    leads = " / ".join(f"{lead / MINUTE:g}" for lead in scores["lead_time"].values)
    table = Table("", "CSI at 1 mm/h", "mean absolute error, mm/h", title=f"at {leads} min ahead")
    for nowcaster in scores["nowcaster"].values:
        found = scores.sel(nowcaster=nowcaster)
        shown = (found[name].values.tolist() for name in ("csi", "mean_absolute_error"))
        table.add_row(str(nowcaster), *(" / ".join(f"{value:.2f}" for value in values) for values in shown))
    return table


def _compare(scores: xr.Dataset) -> str:
    """Say by how much the first nowcaster is better than the others, an hour ahead."""
    first, *others = scores["nowcaster"].values
    hour = scores["csi"].sel(lead_time=60 * MINUTE)
    gains = {other: float(hour.sel(nowcaster=first) / hour.sel(nowcaster=other)) - 1 for other in others}
    return f"CSI of {first} an hour ahead: {', '.join(f'{gain:+.0%} against {other}' for other, gain in gains.items())}"


def _list_datasets() -> list[tuple[str, str, str, str]]:
    from hybridcast.datasets.registry import load_registry

    entries = load_registry().items()
    return [(name, entry.title, f"{entry.size / 1e6:.1f} MB", entry.licence) for name, entry in entries]


def _describe_installation() -> list[tuple[str, str]]:
    import importlib.metadata
    import platform

    from hybridcast.core.device import choose_device
    from hybridcast.datasets.registry import cache_folder
    from hybridcast_kernels.parallel import threads

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    device = choose_device("auto")
    packages = ("numpy", "numba", "numba-cuda", "xarray", "opencv-python-headless", "pysteps")
    return [
        ("version", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((package, version(package)) for package in packages),
        ("threads", f"{threads()} (HYBRIDCAST_NUM_THREADS)"),
        ("device", f"{device.device}: {device.reason}"),
        ("data mirror", os.environ.get("HYBRIDCAST_DATA_MIRROR", "none (HYBRIDCAST_DATA_MIRROR)")),
        ("data cache", f"{cache_folder()} (HYBRIDCAST_CACHE)"),
    ]


def _list_formats() -> dict[str, list[tuple[str, str]]]:
    from hybridcast import nwp, radar, stations

    readers: dict[str, Mapping[str, Any]] = {
        "radar formats": radar.formats(),
        "station formats": stations.formats(),
        "NWP formats": nwp.formats(),
    }
    return {
        title: [(name, reader.DESCRIPTION) for name, reader in formats.items()] for title, formats in readers.items()
    }
