"""A place: a named point or area, with its warning levels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import pyproj

from hybridcast.ensembles.polygons import Polygon
from hybridcast.errors import InputError
from hybridcast.places.levels import WarningLevel


@dataclass(frozen=True, eq=False)
class Place:
    """A named point or area."""

    name: str
    crs: pyproj.CRS | None
    """CRS of the coordinates, x or longitude first; None for coordinates of the grid of the forecast."""
    point: tuple[float, float] | None = None
    """Coordinates of a point; None of an area."""
    polygons: tuple[Polygon, ...] = ()
    """Polygons of an area."""
    levels: tuple[WarningLevel, ...] = ()

    @property
    def kind(self) -> str:
        """``"point"`` or ``"area"``."""
        return "area" if self.point is None else "point"


def clean_name(name: str) -> str:
    """Return a name without blanks around it, in Unicode's composed form; `InputError` if nobody could print it."""
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean or any(unicodedata.category(character) in {"Cc", "Cs"} for character in clean):
        raise InputError(f"a place is named {name!r}", "a name is text of one line", "Rename the place")
    return clean


def check_places(places: Iterable[Place]) -> tuple[Place, ...]:
    """Return places; `InputError` if there are none, or two have the same name."""
    found = tuple(places)
    if not found:
        raise InputError("there is no place", "there is one at least", "Add one")
    seen: set[str] = set()
    for place in found:
        if place.name in seen:
            count = sum(other.name == place.name for other in found)
            raise InputError(
                f"{count} places are named {place.name!r}",
                "names of places are unique",
                "Rename them, or choose another property of the file with label=...",
                cli_remedy="Rename them, or choose another property of the file with --label",
            )
        seen.add(place.name)
    return found
