"""Assembly of NWP fields from the pieces that files contain.

A piece is one variable of one run at one lead time. A reader returns the pieces of one file, in any order. Here one
vertical level is chosen for each variable, accumulations become rates, winds are rotated to the axes of the grid, and
missing pieces become NaN.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.readers import Format
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.nwp.accumulations import rates_from_accumulations
from hybridcast.nwp.schema import AMOUNT, EARTH_WIND, RATE, WIND, nwp_fields
from hybridcast.nwp.wind import north_direction, rotate_wind

#: Pressure level whose wind is closest to the motion of rain, hPa.
STEERING_LEVEL = 700.0
#: Maximum height of a wind that can stand for the motion of rain, m above ground.
MAX_WIND_HEIGHT = 3000.0
_SAME_GRID = 1e-3  # tolerance, as a fraction of a cell


class FileGrid(NamedTuple):
    """Grid of the fields of a file, with axes in the order of the arrays."""

    y: Doubles
    """Cell centres along y, metres or degrees."""
    x: Doubles
    """Cell centres along x, metres or degrees."""
    crs: pyproj.CRS | None
    """CRS of the axes; None for a local grid."""


class Piece(NamedTuple):
    """One variable of one run at one lead time."""

    name: str
    """Name in `hybridcast.nwp.schema`: one of `VARIABLES`, `AMOUNT` or one of `EARTH_WIND`."""
    vertical_level: str
    """``"10 m above ground"``, ``"700 hPa"``, ``"surface"``, or ``""`` if the file does not state it."""
    run: np.datetime64
    """Start of the run, UTC."""
    start: np.timedelta64
    """Start of the step of a mean or a sum, from the start of the run; equal to `end` for instantaneous values."""
    end: np.timedelta64
    """Lead time, the end of the step, from the start of the run."""
    values: Array
    """Values in the units of the schema (mm for an amount), shape ``(y, x)``."""
    grid: FileGrid
    """Grid of the values."""


@runtime_checkable
class NwpFormat(Format, Protocol):
    """Interface of a format of NWP files, usually a module. A format reads ONE file."""

    def read(self, path: Path) -> list[Piece]:
        """Read all variables of the schema in one file; raise `ReadError` if it is damaged."""
        ...


def assemble(pieces: Sequence[Piece], attrs: dict[str, str]) -> xr.Dataset:
    """Assemble the pieces of one NWP model into one dataset.

    Parameters
    ----------
    pieces
        Pieces of any number of files and runs, on one grid.
    attrs
        Attributes of the result; ``left_out`` is added and names the vertical levels that were not used.

    Returns
    -------
    Dataset
        NWP fields, see `hybridcast.nwp.schema`.

    Raises
    ------
    InputError
        If grids differ, or there is no piece.
    """
    if not pieces:
        raise InputError("no variable known", "files hold rain, wind, humidity or the like", "Give files that do")
    grid = _require_one_grid(pieces)
    kept, levels, left_out = _choose_levels(pieces)
    kept = _rotate_winds(kept, grid)
    by_name: dict[str, list[Piece]] = defaultdict(list)
    for piece in _convert_amounts(kept):
        by_name[piece.name].append(piece)
    runs = np.unique([piece.run for group in by_name.values() for piece in group])
    leads = np.unique([piece.end for group in by_name.values() for piece in group])
    variables = {name: _stack(group, runs, leads) for name, group in by_name.items()}
    levels = {WIND[EARTH_WIND.index(n)] if n in EARTH_WIND else n: level for n, level in levels.items()}
    levels[RATE] = "surface"
    if left_out:
        attrs = attrs | {"left_out": "; ".join(left_out)}
    return nwp_fields(
        variables,
        reference_time=runs,
        lead_time=leads,
        y=grid.y,
        x=grid.x,
        crs=grid.crs,
        vertical_levels=levels,
        attrs=attrs,
    )


def _stack(pieces: list[Piece], runs: NDArray[np.datetime64], leads: NDArray[np.timedelta64]) -> Array:
    values = np.full((runs.size, leads.size, *pieces[0].values.shape), np.nan, np.float32)
    for piece in pieces:
        values[np.searchsorted(runs, piece.run), np.searchsorted(leads, piece.end)] = piece.values
    return values


def _require_one_grid(pieces: Sequence[Piece]) -> FileGrid:
    first = pieces[0].grid
    for piece in pieces:
        if piece.grid is not first and not is_same_grid(piece.grid, first):
            raise InputError(
                f"{pieces[0].name} has {_describe(first)}, {piece.name} {_describe(piece.grid)}",
                "one Dataset is of one NWP model on one grid",
                "Open the files of each NWP model by themselves",
            )
    return first


def _describe(grid: FileGrid) -> str:
    return f"{grid.y.size} x {grid.x.size} cells from ({grid.y[0]:g}, {grid.x[0]:g})"


def is_same_grid(a: FileGrid, b: FileGrid) -> bool:
    """Return whether two grids have the same cells."""
    for va, vb in ((a.y, b.y), (a.x, b.x)):
        if va.size != vb.size or np.abs(va - vb).max() > _SAME_GRID * max(abs(float(np.diff(va).mean())), 1e-9):
            return False
    return a.crs == b.crs


# --- vertical levels ------------------------------------------------------------------------------------------


def _choose_levels(pieces: Sequence[Piece]) -> tuple[list[Piece], dict[str, str], list[str]]:
    """Choose one vertical level for each variable, the same for both components of the wind.

    Return the pieces at these levels, the levels by variable, and descriptions of the levels that are left out.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for piece in pieces:
        found[_family(piece.name)].add(piece.vertical_level)
    best = {family: min(levels, key=lambda level: _rank(family, level)) for family, levels in found.items()}
    left_out = [
        f"{family} at {level or 'an unknown level'} ({best[family]} is taken)"
        for family, levels in found.items()
        for level in sorted(levels - {best[family]})
    ]
    kept = [piece for piece in pieces if piece.vertical_level == best[_family(piece.name)]]
    levels = {piece.name: piece.vertical_level for piece in kept if piece.name != AMOUNT}
    return kept, levels, left_out


def _family(name: str) -> str:
    return "wind" if name in (*WIND, *EARTH_WIND) else name


def _rank(family: str, level: str) -> tuple[int, float]:
    """Return a sort key: wind near 700 hPa, then the highest wind first; other variables near the ground first."""
    pressure, height = parse_level(level, "hPa"), parse_level(level, "m above ground")
    if family == "wind":
        if pressure is not None:
            return 0, abs(pressure - STEERING_LEVEL)
        return (1, -height) if height is not None and height <= MAX_WIND_HEIGHT else (2, 0.0)
    return (1, -pressure) if pressure is not None else (0, height or 0.0)


def parse_level(level: str, unit: str) -> float | None:
    """Return the number in a vertical level such as "700 hPa" if its unit is `unit`, otherwise None.

    Examples
    --------
    >>> parse_level("10 m above ground", "m above ground"), parse_level("surface", "hPa")
    (10.0, None)
    """
    match = re.fullmatch(rf"([\d.]+) {unit}", level)
    return float(match[1]) if match else None


# --- wind and rates -------------------------------------------------------------------------------------------


def _rotate_winds(pieces: list[Piece], grid: FileGrid) -> list[Piece]:
    """Rotate eastward and northward winds to the axes of the grid."""
    parts: dict[tuple[np.datetime64, np.timedelta64], dict[str, Piece]] = defaultdict(dict)
    for piece in pieces:
        if piece.name in EARTH_WIND:
            parts[piece.run, piece.end][piece.name] = piece
    rotated: list[Piece] = []
    north = None
    for both in parts.values():
        if len(both) < 2:
            continue  # one component alone cannot be rotated
        if north is None:
            north = north_direction(grid.crs, *np.meshgrid(grid.x, grid.y))
        east, northward = (both[name] for name in EARTH_WIND)
        u, v = rotate_wind(east.values, northward.values, None, north)
        rotated += [east._replace(name="x_wind", values=u), northward._replace(name="y_wind", values=v)]
    return [piece for piece in pieces if piece.name not in EARTH_WIND] + rotated


def _convert_amounts(pieces: Sequence[Piece]) -> list[Piece]:
    """Convert amounts to rates, run by run; rates of the files themselves take precedence."""
    amounts: dict[np.datetime64, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.name == AMOUNT:
            amounts[piece.run].append(piece)
    rates: list[Piece] = []
    for group in amounts.values():
        sums = {(piece.start, piece.end): piece.values for piece in group}
        for (start, end), rate in rates_from_accumulations(sums).items():
            rates.append(group[0]._replace(name=RATE, start=start, end=end, values=rate))
    return rates + [piece for piece in pieces if piece.name != AMOUNT]  # later pieces overwrite earlier ones
