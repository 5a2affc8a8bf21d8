"""Which forecast a map page shows: a small file that the page looks at again and again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from hybridcast.errors import ReadError
from hybridcast.webmap.scripts import read_script, write_script

LATEST = "latest.js"


@dataclass(frozen=True)
class Latest:
    """The forecast that a page shows."""

    data: str
    """Folder of its pictures, relative to that of the page."""
    issue_time: str
    """ISO 8601, UTC."""
    revision: int = 0
    """Number of times that it was made again."""
    forecast: str | None = None
    """Its file or folder, relative to that of the page, for `hybridcast serve`; None if it is elsewhere."""


def show_forecast(folder: Path, latest: Latest) -> None:
    """Let the page in a folder show a forecast; nothing is written if it does already."""
    if read_latest(folder) != latest:
        write_script(folder / LATEST, "latest", asdict(latest))


def read_latest(folder: Path) -> Latest | None:
    """Return which forecast the page in a folder shows; None if there is none, or the file is damaged."""
    try:
        return Latest(**read_script(folder / LATEST))
    except (ReadError, TypeError):
        return None
