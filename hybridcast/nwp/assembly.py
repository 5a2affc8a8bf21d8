"""Pieces of a model run, as files hold them, put together into one Dataset.

A piece is one variable of one run at one lead time. A reader gives the pieces of one file, in any order; here the level
of each variable is chosen, sums become rates, winds are turned to the grid, and gaps become NaN.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.nwp.accumulations import rates_from_accumulations
from hybridcast.nwp.schema import RATE, WIND, nwp_fields
from hybridcast.nwp.wind import north_direction, rotate_wind

#: Precipitation since some time, mm; a rate is made of it.
AMOUNT = "precipitation_amount"
EARTH_WIND = ("eastward_wind", "northward_wind")
#: The level whose wind steers rain best, hPa.
STEERING = 700.0
#: Wind and humidity above this height (m) do not steer rain.
HIGHEST = 3000.0
_SAME_GRID = 1e-3  # of a cell


class FileGrid(NamedTuple):
    """Where the cells of a file are: rows and columns as the arrays run."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    crs: pyproj.CRS | None


class Piece(NamedTuple):
    """One variable of one run at one lead time."""

    name: str
    """Of `hybridcast.nwp.schema.VARIABLES`, `AMOUNT`, or of `EARTH_WIND`."""
    level: str
    """``"10 m above ground"``, ``"700 hPa"``, ``"surface"``, or ``""`` where it is not stated."""
    run: np.datetime64
    start: np.timedelta64
    """Start of the step that a mean or a sum is of, from the start of the run; `end` for a moment."""
    end: np.timedelta64
    """The lead time."""
    values: Array
    """``(y, x)``, in the units of the contract; mm for an amount."""
    grid: FileGrid


@runtime_checkable
class NwpFormat(Protocol):
    """What a format module of model files offers; it reads ONE file."""

    NAME: str
    """How a user names it in ``format=``."""
    DESCRIPTION: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell from the first bytes and, if need be, the file, whether it is one."""
        ...

    def read(self, path: Path) -> list[Piece]:
        """Read all that the contract knows of one file; raise `ReadError` if it is damaged."""
        ...


def assemble(pieces: Sequence[Piece], attrs: dict[str, str]) -> xr.Dataset:
    """Put the pieces of one model together.

    Parameters
    ----------
    pieces
        Of any number of files and runs, on one grid.
    attrs
        Attributes of the result; what was not taken is added as ``left_out``.

    Raises
    ------
    InputError
        If grids differ, or nothing is left.
    """
    if not pieces:
        raise InputError("no variable known", "files hold rain, wind, humidity or the like", "Give files that do")
    grid = _one_grid(pieces)
    kept, levels, left_out = _chosen_levels(pieces)
    kept = _along_grid(kept, grid)
    by_name: dict[str, list[Piece]] = defaultdict(list)
    for piece in _as_rates(kept):
        by_name[piece.name].append(piece)
    runs = np.unique([piece.run for group in by_name.values() for piece in group])
    leads = np.unique([piece.end for group in by_name.values() for piece in group])
    variables = {name: _stacked(group, runs, leads) for name, group in by_name.items()}
    levels = {WIND[EARTH_WIND.index(n)] if n in EARTH_WIND else n: level for n, level in levels.items()}
    levels[RATE] = "surface"
    if left_out:
        attrs = attrs | {"left_out": "; ".join(left_out)}
    return nwp_fields(
        variables, reference_time=runs, lead_time=leads, y=grid.y, x=grid.x, crs=grid.crs, levels=levels, attrs=attrs
    )


def _stacked(pieces: list[Piece], runs: NDArray[np.datetime64], leads: NDArray[np.timedelta64]) -> Array:
    values = np.full((runs.size, leads.size, *pieces[0].values.shape), np.nan, np.float32)
    for piece in pieces:
        values[np.searchsorted(runs, piece.run), np.searchsorted(leads, piece.end)] = piece.values
    return values


def _one_grid(pieces: Sequence[Piece]) -> FileGrid:
    first = pieces[0].grid
    for piece in pieces:
        if piece.grid is not first and not is_same_grid(piece.grid, first):
            raise InputError(
                f"{pieces[0].name} has {_size(first)}, {piece.name} {_size(piece.grid)}",
                "one Dataset is of one model on one grid",
                "Open the files of each model by themselves",
            )
    return first


def _size(grid: FileGrid) -> str:
    return f"{grid.y.size} x {grid.x.size} cells from ({grid.y[0]:g}, {grid.x[0]:g})"


def is_same_grid(a: FileGrid, b: FileGrid) -> bool:
    """Tell whether two grids have the same cells."""
    for va, vb in ((a.y, b.y), (a.x, b.x)):
        if va.size != vb.size or np.abs(va - vb).max() > _SAME_GRID * max(abs(float(np.diff(va).mean())), 1e-9):
            return False
    return a.crs == b.crs


# --- levels ---------------------------------------------------------------------------------------------------


def _chosen_levels(pieces: Sequence[Piece]) -> tuple[list[Piece], dict[str, str], list[str]]:
    """Choose one level for each variable, the same for both parts of the wind: pieces, levels, what is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for piece in pieces:
        found[_family(piece.name)].add(piece.level)
    best = {family: min(levels, key=lambda level: _rank(family, level)) for family, levels in found.items()}
    left_out = [
        f"{family} at {level or 'an unknown level'} ({best[family]} is taken)"
        for family, levels in found.items()
        for level in sorted(levels - {best[family]})
    ]
    kept = [piece for piece in pieces if piece.level == best[_family(piece.name)]]
    levels = {piece.name: piece.level for piece in kept if piece.name != AMOUNT}
    return kept, levels, left_out


def _family(name: str) -> str:
    return "wind" if name in (*WIND, *EARTH_WIND) else name


def _rank(family: str, level: str) -> tuple[int, float]:
    """Order levels: of the wind those close to 700 hPa, then the highest; of all else those close to the ground."""
    pressure, height = parse_level(level, "hPa"), parse_level(level, "m above ground")
    if family == "wind":
        if pressure is not None:
            return 0, abs(pressure - STEERING)
        return (1, -height) if height is not None and height <= HIGHEST else (2, 0.0)
    return (1, -pressure) if pressure is not None else (0, height or 0.0)


def parse_level(level: str, unit: str) -> float | None:
    """Return the number of a level such as "700 hPa" in `unit`; None if it is another kind of level.

    Examples
    --------
    >>> parse_level("10 m above ground", "m above ground"), parse_level("surface", "hPa")
    (10.0, None)
    """
    match = re.fullmatch(rf"([\d.]+) {unit}", level)
    return float(match[1]) if match else None


# --- wind and rates -------------------------------------------------------------------------------------------


def _along_grid(pieces: list[Piece], grid: FileGrid) -> list[Piece]:
    """Turn winds given towards east and north to the axes of the grid."""
    parts: dict[tuple[np.datetime64, np.timedelta64], dict[str, Piece]] = defaultdict(dict)
    for piece in pieces:
        if piece.name in EARTH_WIND:
            parts[piece.run, piece.end][piece.name] = piece
    turned_pieces: list[Piece] = []
    north = None
    for both in parts.values():
        if len(both) < 2:
            continue  # one part alone has no direction
        if north is None:
            north = north_direction(grid.crs, *np.meshgrid(grid.x, grid.y))
        east, northward = (both[name] for name in EARTH_WIND)
        u, v = rotate_wind(east.values, northward.values, None, north)
        turned_pieces += [east._replace(name="x_wind", values=u), northward._replace(name="y_wind", values=v)]
    return [piece for piece in pieces if piece.name not in EARTH_WIND] + turned_pieces


def _as_rates(pieces: Iterable[Piece]) -> list[Piece]:
    """Make rates of amounts, run by run; a rate that a file holds itself goes first."""
    pieces = list(pieces)
    amounts: dict[np.datetime64, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.name == AMOUNT:
            amounts[piece.run].append(piece)
    made: list[Piece] = []
    for group in amounts.values():
        sums = {(piece.start, piece.end): piece.values for piece in group}
        for (start, end), rate in rates_from_accumulations(sums).items():
            made.append(group[0]._replace(name=RATE, start=start, end=end, values=rate))
    return made + [piece for piece in pieces if piece.name != AMOUNT]
