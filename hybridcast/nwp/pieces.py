"""Pieces of NWP files: one variable of one run, or of one ensemble member, at one lead time.

A reader returns the pieces of one file, in any order; `hybridcast.nwp.assembly` puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyproj

from hybridcast.core.durations import parse_duration
from hybridcast.core.readers import Format
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError, ReadError

#: Start of the step of an amount whose file does not state it.
UNKNOWN_START = np.timedelta64("NaT", "ns")
#: Name of the amounts that a user states to count from the start of the run.
SINCE_START = "since-start"


class FileGrid(NamedTuple):
    """Grid of the fields of a file, with axes in the order of the arrays."""

    y: Doubles
    """Cell centres along y, metres or degrees."""
    x: Doubles
    """Cell centres along x, metres or degrees."""
    crs: pyproj.CRS | None
    """CRS of the axes; None for a local grid."""


@dataclass(frozen=True, eq=False)
class ScatteredCells:
    """Cells whose centres are given one by one: triangles, or rows and columns without a known projection."""

    name: str
    """Name that is the same for the same cells, such as the UUID of a grid."""
    size: int
    """Number of cells."""
    longitude: Doubles | None = None
    """Longitude of the centres, degrees, shape ``(cell,)``; None if other files hold it."""
    latitude: Doubles | None = None
    """Latitude of the centres, degrees, shape ``(cell,)``; None if other files hold it."""
    advice: str = ""
    """The files that hold the centres, for a message where they are missing."""


class Piece(NamedTuple):
    """One variable of one run, or of one ensemble member, at one lead time."""

    name: str
    """Name in `hybridcast.nwp.schema`: one of `VARIABLES`, `AMOUNT`, `COMPONENTS`, `EARTH_WIND` or `PLACES`."""
    vertical_level: str
    """``"10 m above ground"``, ``"700 hPa"``, ``"surface"``, or ``""`` if the file does not state it."""
    run: np.datetime64
    """Start of the run, UTC."""
    start: np.timedelta64
    """Start of the step of a mean or a sum, from the start of the run; equal to `end` for instantaneous values, and
    `UNKNOWN_START` for an amount whose file does not state it."""
    end: np.timedelta64
    """Lead time, the end of the step, from the start of the run."""
    values: Array
    """Values in the units of the schema (mm for an amount), shape ``(y, x)``, or ``(cell,)`` for scattered cells."""
    grid: FileGrid | ScatteredCells
    """Grid of the values."""
    member: int | None = None
    """Number of the ensemble member; None for a run without an ensemble."""
    statistic: str = ""
    """Statistic of the ensemble, such as ``"percentile 50"``, or of the step, such as ``"maximum of the step"``; empty
    for the values of a run or of a member, and for means and sums over the step."""
    path: Path | None = None
    """File of the piece, for messages."""

    @property
    def source(self) -> tuple[np.datetime64, int | None]:
        """Run and member."""
        return self.run, self.member

    def describe(self) -> str:
        """Return the name, the lead time and the member as text for messages."""
        member = "" if self.member is None else f" of member {self.member}"
        lead = "" if np.isnat(self.end) else f" at +{self.end / np.timedelta64(1, 'h'):g} h"
        return f"{self.name}{lead}{member}"


@dataclass(frozen=True)
class Stated:
    """What a user states about files that do not say it."""

    run: np.datetime64 | None = None
    """Start of the run, UTC."""
    accumulation: np.timedelta64 | None = None
    """Interval of each amount; zero for amounts since the start of the run."""

    @classmethod
    def parse(cls, run: str | np.datetime64 | None, accumulation: str | np.timedelta64 | None) -> Stated:
        """Check the options ``run`` and ``accumulation`` of `hybridcast.open_nwp`."""
        start = None if run is None else as_datetime64(run)
        if accumulation is None or (isinstance(accumulation, str) and accumulation == SINCE_START):
            return cls(start, None if accumulation is None else np.timedelta64(0, "ns"))
        try:
            return cls(start, parse_duration(accumulation, "accumulation"))
        except InputError as error:
            rule = f"it is {SINCE_START!r} or the interval of each amount"
            raise InputError(
                f"accumulation = {accumulation!r}",
                rule,
                f"Write {SINCE_START!r} or '1h'",
                cli_remedy="Write since-start or 1h",
            ) from error


NOTHING_STATED = Stated()
"""For files that say everything."""


def complaint(path: Path | None, reason: str, remedy: str, cli_remedy: str | None = None) -> ReadError | InputError:
    """Return the error for a fault of a file, or of pieces without a file, with the remedy for the command line."""
    if path is None:
        return InputError(reason, "the pieces of a run are complete and fit together", remedy, cli_remedy=cli_remedy)
    return ReadError(path, f"{reason}. {remedy}", cli_reason=f"{reason}. {cli_remedy or remedy}")


@runtime_checkable
class NwpFormat(Format, Protocol):
    """Interface of a format of NWP files, usually a module. A format reads ONE file."""

    def read(self, path: Path, stated: Stated) -> list[Piece]:
        """Read all variables of the schema in one file; raise `ReadError` if it is damaged."""
        ...
