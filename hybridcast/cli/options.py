"""Parts that the commands share: consoles, options that several commands have, and checks of their values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hybridcast.errors import InputError

if TYPE_CHECKING:
    import numpy as np

out = Console()
err = Console(stderr=True)

PICTURES = (".png", ".pdf", ".svg")
"""Suffixes of pictures."""
FILMS = (".gif", ".mp4")
"""Suffixes of films."""

# --- options --------------------------------------------------------------------------------------------------

RadarFormat = Annotated[
    str | None, typer.Option("--format", help="Format of the radar files; by default detected from their content.")
]
StationFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Files of gauges or stations, and of their places: paths, URLs, tar or zip files, or a glob in quotes; "
        "can be repeated."
    ),
]
StationsInterval = Annotated[
    str | None,
    typer.Option(help="Interval of the amounts in tables of gauges that do not state it, such as 10min."),
]
StationsTimeFormat = Annotated[
    str | None,
    typer.Option(
        help="Format of the times in tables of gauges, such as '%d/%m/%Y %H:%M', or unix, where the table does not "
        "prove it."
    ),
]
StationsRain = Annotated[
    str | None, typer.Option(help="Column of rain in tables of gauges, where its name or its kind is not known.")
]
NwpFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Files of NWP runs (GRIB, NetCDF): paths, URLs, tar or zip files, or a glob in quotes; can be repeated."
    ),
]
NwpMember = Annotated[
    str | None,
    typer.Option(
        help="Which of an NWP ensemble: the number of a member, or mean or, e.g., p50 if the files hold these; by "
        "default all members."
    ),
]
NwpAccumulation = Annotated[
    str | None,
    typer.Option(help="Interval of NWP amounts whose files do not state it: since-start (of the run), or, e.g., 1h."),
]
NwpRun = Annotated[
    str | None, typer.Option(help="Start of the NWP run, UTC, such as 2017-05-09T06:00, if the files do not state it.")
]
TerrainFile = Annotated[str | None, typer.Option(help="File or URL of terrain heights: GeoTIFF, NetCDF or GRIB.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="Only this region; can be repeated.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of processes.")]

# --- output ---------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Print a line about the progress to the standard error."""
    err.print(line, highlight=False, markup=False, soft_wrap=True)


def say_written(*paths: Path) -> None:
    """Print the names and sizes of written files and folders."""
    for path in paths:
        written = path.expanduser()
        files = written.rglob("*") if written.is_dir() else [written]
        size = sum(file.stat().st_size for file in files) / 1e6
        out.print(f"wrote {path} ({size:.1f} MB)", highlight=False, soft_wrap=True)


@contextmanager
def step(description: str) -> Iterator[None]:
    """Show a step of the work while it lasts, if the standard error is a terminal."""
    with err.status(description) if err.is_terminal else nullcontext():
        yield


# --- values ---------------------------------------------------------------------------------------------------


def check_suffix(path: Path, suffixes: tuple[str, ...], option: str) -> None:
    """Raise `InputError` if a file to write has none of these suffixes, or its folder does not exist."""
    if path.suffix.lower() not in suffixes:
        better = path.with_suffix(suffixes[0]) if path.name else path / f"forecast{suffixes[0]}"
        raise InputError(f"{option} {path}", f"it ends in {', '.join(suffixes)}", f"Write {better}")
    if not path.expanduser().parent.is_dir():
        raise InputError(f"{option} {path}", "its folder exists", f"Create {path.expanduser().parent}")


def check_choice(name: str, known: Iterable[str], option: str) -> None:
    """Raise `InputError` if the value of an option is not among the `known` ones."""
    from hybridcast.settings import check_known  # numba comes with the settings, which --help does without

    check_known(name, known, option)


def parse_length(text: str | None, option: str) -> np.timedelta64 | None:
    """Return a duration such as ``2h``; None for None."""
    from hybridcast.core.durations import parse_duration

    return None if text is None else parse_duration(text, option)


def parse_time(text: str | None, option: str) -> np.datetime64 | None:
    """Return a time in ISO 8601, UTC; None for None."""
    from hybridcast.core.times import as_datetime64

    if text is None:
        return None
    try:
        return as_datetime64(text)
    except InputError as error:
        rule = "it is a date and a time in ISO 8601, in UTC or with a zone"
        raise InputError(f"{option} {text}", rule, "Write, e.g., 2017-05-09T12:00") from error


def parse_numbers(text: str, option: str, rule: str, example: str) -> list[float]:
    """Return the numbers of a text with commas between them."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text}", rule, f"Write {example}") from error
