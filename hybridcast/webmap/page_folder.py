"""The folder of a map page: the page with all that it needs, and which forecast it shows.

::

    index.html  assets/    the page, for any web server, or to be opened as a file
    outlines.js            land, coastlines and borders of the region
    settings.js            what the operator has chosen
    latest.js              which forecast is shown; the page looks at it again and again

A browser loads no JSON from a file, so data are scripts (`hybridcast.webmap.scripts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.webmap.canvas import Canvas
from hybridcast.webmap.scripts import write_script
from hybridcast.webmap.shapes import write_outlines

INDEX = "index.html"
ASSETS = "assets"
_TILES = re.compile(r"https?://[^\s\"'<>\\]+")


@dataclass(frozen=True)
class PageSettings:
    """What the operator chooses."""

    tiles: str | None = None
    """URL of map tiles, with ``{z}``, ``{x}`` and ``{y}``; by default none, and the page needs no network."""
    attribution: str = ""
    """Who made the radar data and the tiles, as text."""
    alert_minutes: float | None = None
    """Age of a forecast above which the page warns that it is old; by default it does not."""
    poll_seconds: float = 20.0
    """Time between looks for a new forecast."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.tiles is None:
            return
        missing = [name for name in ("{z}", "{x}", "{y}") if name not in self.tiles]
        if missing or not _TILES.fullmatch(self.tiles):
            raise InputError(
                f"tiles = {self.tiles!r}",
                "they are a URL with {z}, {x} and {y}",
                "Write, for example, https://tiles.example.org/{z}/{x}/{y}.png",
            )


def write_page(folder: Path, canvas: Canvas, settings: PageSettings) -> Path:
    """Write the page and what it needs; files that are there already and the same are left as they are.

    Returns
    -------
    Path
        The file to open.
    """
    for name, content in _list_assets():
        _update(folder / name, content)
    write_outlines(folder / "outlines.js", canvas)
    write_script(folder / "settings.js", "settings", asdict(settings))
    return folder / INDEX


def _list_assets() -> Iterable[tuple[str, bytes]]:
    """Yield the name and the content of each file of the page."""
    root = resources.files("hybridcast.webmap").joinpath("page")
    with resources.as_file(root) as source:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                name = path.relative_to(source)
                yield str(name if name.name == INDEX else Path(ASSETS) / name), path.read_bytes()


def _update(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_bytes(content)
