"""Assembly of NWP fields from the pieces that files contain.

Here members are chosen, fields on scattered cells are brought to rows and columns, one vertical level is chosen for
each variable, accumulations become rates, winds are rotated to the axes of the grid, and missing pieces become NaN.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import HOUR, Array
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp.accumulations import rates_of_run
from hybridcast.nwp.ensemble import Choice, choose_members
from hybridcast.nwp.native_grids import resample_cells
from hybridcast.nwp.pieces import NOTHING_STATED, FileGrid, Piece, Stated, complaint
from hybridcast.nwp.schema import AMOUNTS, EARTH_WIND, RATE, STEP_AMOUNT, WIND, nwp_fields
from hybridcast.nwp.units import check_bounds
from hybridcast.nwp.wind import north_direction, rotate_wind

#: Pressure level whose wind is closest to the motion of rain, hPa.
STEERING_LEVEL = 700.0
#: Maximum height of a wind that can stand for the motion of rain, m above ground.
MAX_WIND_HEIGHT = 3000.0
_SAME_GRID = 1e-3  # tolerance, as a fraction of a cell

_Source = tuple[np.datetime64, int | None]


class _Axes(NamedTuple):
    """Runs with their members, and lead times, in the order of the result."""

    sources: list[_Source]
    """Run and member."""
    leads: NDArray[np.timedelta64]
    """Lead times."""

    @property
    def members(self) -> list[int] | None:
        """Numbers of the members; None without an ensemble."""
        numbers = [member for _, member in self.sources if member is not None]
        return numbers or None


def assemble(
    pieces: Sequence[Piece], attrs: dict[str, str], stated: Stated = NOTHING_STATED, member: Choice = None
) -> xr.Dataset:
    """Assemble the pieces of one NWP model into one dataset.

    Parameters
    ----------
    pieces
        Pieces of any number of files and runs, on one grid.
    attrs
        Attributes of the result; ``left_out`` is added and names the fields that were not used.
    stated
        What the user states about files that do not say it.
    member
        Number of an ensemble member, ``"mean"`` or a percentile such as ``"p50"``; None for all members.

    Returns
    -------
    Dataset
        NWP fields, see `hybridcast.nwp.schema`.

    Raises
    ------
    ReadError, InputError
        If grids differ, there is no piece, the interval of an amount is not known, or two pieces contradict each other.
    """
    if not pieces:
        raise InputError("no variable known", "files hold rain, wind, humidity or the like", "Give files that do")
    kept, left_out = _apply_in_turn(
        pieces, lambda p: choose_members(p, member), _leave_out_before_start, resample_cells, _choose_levels
    )
    if not kept:
        found = "; ".join(left_out) or "nothing but the places of cells"
        raise InputError(f"the files hold {found}", "one field at least can be used", "Give files with fields as well")
    grid = _require_one_grid(kept)
    rates, notes = _convert_amounts(_rotate_winds(_leave_out_equal(kept), grid), stated)
    if left_out := left_out + notes:
        attrs = attrs | {"left_out": "; ".join(left_out)}
    if not rates:
        reason = (
            f"no rate over a step follows from {kept[0].describe()} ({attrs.get('left_out', 'a sum over no time')})"
        )
        raise complaint(kept[0].path, reason, "Give more lead times, or all parts of the precipitation")
    return _build(rates, grid, attrs)


def _apply_in_turn(
    pieces: Sequence[Piece], *steps: Callable[[Sequence[Piece]], tuple[list[Piece], list[str]]]
) -> tuple[list[Piece], list[str]]:
    """Apply steps one after the other; return the pieces that are left, and all their notes."""
    notes: list[str] = []
    kept = list(pieces)
    for step in steps:
        kept, new = step(kept)
        notes += new
    return kept, notes


def _leave_out_before_start(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Leave out sums and means over steps that begin before the start of the run."""
    early = {
        piece.describe(): None for piece in pieces if piece.start < np.timedelta64(0) or piece.end < np.timedelta64(0)
    }
    kept = [piece for piece in pieces if not (piece.start < np.timedelta64(0) or piece.end < np.timedelta64(0))]
    return kept, [f"{name} (before the start of the run)" for name in early]


def _build(pieces: list[Piece], grid: FileGrid, attrs: dict[str, str]) -> xr.Dataset:
    by_name: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_name[piece.name].append(piece)
        if piece.name == RATE:
            check_bounds(RATE, piece.values, "", piece.path)
    sources = sorted({piece.source for piece in pieces}, key=lambda source: (source[0], source[1] or 0))
    axes = _Axes(sources, np.unique([piece.end for piece in pieces]))
    levels = {name: group[0].vertical_level for name, group in by_name.items()} | {RATE: "surface"}
    return nwp_fields(
        {name: _stack(group, axes) for name, group in by_name.items()},
        reference_time=[run for run, _ in axes.sources],
        lead_time=axes.leads,
        y=grid.y,
        x=grid.x,
        crs=grid.crs,
        vertical_levels=levels,
        member=axes.members,
        attrs=attrs,
    )


def _stack(pieces: list[Piece], axes: _Axes) -> Array:
    values = np.full((len(axes.sources), axes.leads.size, *pieces[0].values.shape), np.nan, np.float32)
    numbers = {source: number for number, source in enumerate(axes.sources)}
    for piece in pieces:
        values[numbers[piece.source], np.searchsorted(axes.leads, piece.end)] = piece.values
    return values


def _leave_out_equal(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces without those that repeat another one; `ReadError` if two of one step differ."""
    found: dict[tuple[object, ...], Piece] = {}
    for piece in pieces:
        key = piece.name, piece.source, str(piece.start), piece.end
        first = found.setdefault(key, piece)
        if first is not piece and not np.allclose(first.values, piece.values, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise _contradiction(first, piece)
    return list(found.values())


def _contradiction(first: Piece, second: Piece) -> ReadError | InputError:
    files = " and ".join(dict.fromkeys(str(piece.path) for piece in (first, second)))
    return complaint(
        second.path,
        f"two fields of {first.describe()} have other values, in {files}; members of an ensemble have numbers",
        "Leave out one of the files, or the fields of other members (grib_copy -w)",
    )


def _require_one_grid(pieces: Sequence[Piece]) -> FileGrid:
    first = _grid(pieces[0])
    for piece in pieces:
        if piece.grid is not first and not is_same_grid(_grid(piece), first):
            names = [f"{p.name} ({'' if p.path is None else p.path.name})" for p in (pieces[0], piece)]
            raise InputError(
                f"{names[0]} has {_describe(first)}, {names[1]} {_describe(_grid(piece))}",
                "one Dataset is of one NWP model on one grid",
                "Open the files of each NWP model by themselves",
            )
    return first


def _grid(piece: Piece) -> FileGrid:
    assert isinstance(piece.grid, FileGrid)  # scattered cells have been resampled
    return piece.grid


def _describe(grid: FileGrid) -> str:
    return f"{grid.y.size} x {grid.x.size} cells from ({grid.y[0]:g}, {grid.x[0]:g})"


def is_same_grid(a: FileGrid, b: FileGrid) -> bool:
    """Return whether two grids have the same cells."""
    for va, vb in ((a.y, b.y), (a.x, b.x)):
        if va.size != vb.size or np.abs(va - vb).max() > _SAME_GRID * max(abs(float(np.diff(va).mean())), 1e-9):
            return False
    return a.crs == b.crs


# --- vertical levels ------------------------------------------------------------------------------------------


def _choose_levels(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Choose one vertical level for each variable, the same for both components of the wind.

    Return the pieces at these levels, and descriptions of the levels that are left out.
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
    return [piece for piece in pieces if piece.vertical_level == best[_family(piece.name)]], left_out


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
    parts: dict[tuple[_Source, np.timedelta64], dict[str, Piece]] = defaultdict(dict)
    for piece in pieces:
        if piece.name in EARTH_WIND:
            parts[piece.source, piece.end][piece.name] = piece
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


def _convert_amounts(pieces: Sequence[Piece], stated: Stated) -> tuple[list[Piece], list[str]]:
    """Convert amounts and mean rates to mean rates, run by run.

    Instantaneous rates of a run that has mean rates are left out, as a rate of the schema is a mean.
    """
    pieces = [_to_amount(piece) for piece in pieces]
    amounts: dict[_Source, list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.name in AMOUNTS:
            amounts[piece.source].append(piece)
    rates: list[Piece] = []
    notes: dict[str, None] = {}
    for group in amounts.values():
        new, left = rates_of_run(group, stated)
        rates += new
        notes |= dict.fromkeys(left)
    have_means = {piece.source for piece in rates}
    for piece in pieces:
        if piece.name == RATE and piece.source in have_means:
            notes["instantaneous rates (means over steps are taken)"] = None
        elif piece.name not in AMOUNTS:
            rates.append(piece)
    return rates, list(notes)


def _to_amount(piece: Piece) -> Piece:
    """Return the amount over its step of a mean rate; any other piece as it is."""
    if piece.name != RATE or not piece.start < piece.end:
        return piece
    return piece._replace(name=STEP_AMOUNT, values=piece.values * np.float32((piece.end - piece.start) / HOUR))
