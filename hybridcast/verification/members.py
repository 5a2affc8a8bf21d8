"""Additive statistics of the members of an ensemble at one lead time, on cells and on blocks of cells.

**Blocks** are squares of cells, from the first row and column on, of which 80 % at least are known; their values are
means over the known cells. Cells beyond the last whole block do not count.

**Fair** statistics estimate those of an ensemble without end from the members at hand, so that ensembles of different
sizes can be compared (Ferro, 2014, doi:10.1002/qj.2270). They need two members.

**Fields.** The energy and the variogram score (Scheuerer and Hamill, 2015, doi:10.1175/MWR-D-14-00269.1) judge all
blocks of a lead time at once, each field with the same weight. Distances of fields are root mean squares over the
blocks, so that they are in mm h-1 whatever the number of blocks. The variogram is of order 0.5, over pairs of blocks up
to `VARIOGRAM_REACH` blocks apart, weighted by the inverse of the distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from hybridcast.core.types import Array, Mask
from hybridcast_kernels import verification_cpu as kernels
from hybridcast_kernels.resample_cpu import block_means

BLOCKS = (10.0, 20.0, 40.0)
"""Sides of the blocks, km."""
CELL = 0.0
"""Label of single cells among the sides of blocks."""
KNOWN_FRACTION = 0.8
"""Smallest fraction of the cells of a block that is known."""
VARIOGRAM_REACH = 5
"""Largest distance of the pairs of the variogram score, blocks."""

#: Statistics of whole fields of blocks.
_FIELD = ("field_count", "energy_error", "energy_spread", "variogram_error")


class _Points(NamedTuple):
    """An ensemble and its observation at points that are cells or blocks."""

    members: Array
    """Rates, mm h-1, ``(member, y, x)``, or ``(member, point)``."""
    observed: Array
    """Rates, mm h-1, ``(y, x)``, or ``(point,)``."""
    known: Mask
    """Points that are known to all members and to the observation."""


def ensemble_statistics(
    members: Array, observed: Array, known: Mask, blocks: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Return the statistics of the members at one lead time, with the dim `block` first: cells, then `blocks`.

    Parameters
    ----------
    members
        Rates, mm h-1, shape ``(member, y, x)``, or ``(member, station)`` without blocks.
    observed, known
        Rate and mask of the points that count, ``(y, x)``; a point unknown to a member does not count.
    blocks
        Number of cells in a block along y and x.
    """
    cells = _Points(members, observed, known & np.isfinite(members).all(axis=0))
    found = [_point_statistics(cells) | dict.fromkeys(_FIELD, 0.0)]
    for size in blocks:
        fields = _block_means(cells, size)
        found.append(_point_statistics(fields) | _field_statistics(fields))
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _block_means(cells: _Points, size: tuple[int, int]) -> _Points:
    """Return the means over blocks of cells."""
    observed = _average(np.where(cells.known, cells.observed, np.nan)[None], size)[0]
    members = _average(np.where(cells.known, cells.members, np.nan), size)
    return _Points(members, observed, np.isfinite(observed))


def _average(planes: Array, size: tuple[int, int]) -> Array:
    """Return the means of blocks of cells, ``(plane, y, x)``, NaN where too few are known."""
    rows, columns = planes.shape[1] // size[0], planes.shape[2] // size[1]
    if not rows * columns:
        return np.empty((len(planes), rows, columns), np.float32)
    whole = np.ascontiguousarray(planes[:, : rows * size[0], : columns * size[1]])
    return block_means(whole, rows, columns, KNOWN_FRACTION)


def _point_statistics(points: _Points) -> dict[str, Any]:
    """Return the statistics that are sums over points."""
    members, observed = points.members[:, points.known], points.observed[points.known]
    sums, ranks = kernels.ensemble_sums(members, observed)
    named = {f"ensemble_{name}": value for name, value in zip(kernels.ENSEMBLE_SUMS, sums, strict=True)}
    return {
        "ensemble_count": float(observed.size),
        "ensemble_members": float(members.size),
        **named,
        "rank_count": ranks,
        "rank_deviation": (ranks - observed.size / ranks.size) ** 2,
    }


def _field_statistics(blocks: _Points) -> dict[str, float]:
    """Return the statistics of one field of blocks; zero with less than two members, or without a pair of blocks."""
    members, observed = blocks.members[:, blocks.known], blocks.observed[blocks.known]
    error, weight = kernels.variogram_sums(blocks.members, blocks.observed, blocks.known, VARIOGRAM_REACH)
    if len(members) < 2 or weight == 0:
        return dict.fromkeys(_FIELD, 0.0)
    return {
        "field_count": 1.0,
        "energy_error": float(np.sqrt(((members - observed) ** 2).mean(axis=1)).mean()),
        "energy_spread": float(pdist(members).mean() / np.sqrt(observed.size) / 2),
        "variogram_error": error / weight,
    }
