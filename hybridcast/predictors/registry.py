"""All predictors in the order of their columns, and lookups by name and by group.

A predictor is declared in the module that computes it, as an entry of that module's `PREDICTORS`; columns, index tables
and the reference follow from there. Matrices of predictors, ``(row, predictor)``, have the columns `ALL_PREDICTORS`, or
without other sources than radar only the first of them, `RADAR_PREDICTORS`. Models refer to predictors by name, so
declarations may be added; the name and the meaning of an existing one stay as long as stored models use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridcast.core.types import Array
from hybridcast.predictors import nwp, radar, stations, terrain, track
from hybridcast.predictors.predictor import Group, Predictor, Transform

PREDICTORS: tuple[Predictor[Any], ...] = (
    *radar.PREDICTORS,
    *track.PREDICTORS,
    *nwp.PREDICTORS,
    *terrain.PREDICTORS,
    *stations.PREDICTORS,
)
"""Declarations of all predictors, in the order of their columns."""


def names(*groups: Group) -> tuple[str, ...]:
    """Return the names of the predictors of some groups, in the order of their columns.

    Examples
    --------
    >>> names("terrain")
    ('terrain_height', 'terrain_slope', 'terrain_upslope')
    """
    return tuple(predictor.name for predictor in PREDICTORS if predictor.group in groups)


ALL_PREDICTORS = tuple(predictor.name for predictor in PREDICTORS)
"""Names of all predictors."""
RADAR_PREDICTORS = names("radar", "time")
"""Names of the predictors that need radar only."""
NWP_PREDICTORS = names("nwp")
"""Names of the predictors from NWP."""
TERRAIN_PREDICTORS = names("terrain")
"""Names of the predictors from terrain."""
STATION_PREDICTORS = names("station")
"""Names of the predictors from stations."""
SOURCE_PREDICTORS = ALL_PREDICTORS[len(RADAR_PREDICTORS) :]
"""Names of the predictors from all sources other than radar."""

_BY_NAME = {predictor.name: predictor for predictor in PREDICTORS}
_INDEX = {name: column for column, name in enumerate(ALL_PREDICTORS)}


def index_of(name: str) -> int:
    """Return the column of a predictor.

    Examples
    --------
    >>> index_of("rate")
    0
    """
    return _INDEX[name]


def get_predictor(name: str) -> Predictor[Any]:
    """Return the declaration of a predictor.

    Examples
    --------
    >>> get_predictor("wet_1_8").transform
    'logit'
    """
    return _BY_NAME[name]


def select_columns(rows: Array, predictors: Sequence[str]) -> Array:
    """Return the columns of some predictors, in the order of their names.

    Parameters
    ----------
    rows
        Predictors, shape ``(row, predictor)``, with the columns `ALL_PREDICTORS` or `RADAR_PREDICTORS`.
    predictors
        Names.

    Returns
    -------
    ndarray
        Shape ``(row, len(predictors))``; a view of `rows` if the columns follow one another.
    """
    columns = [_INDEX[name] for name in predictors]
    if columns and columns == list(range(columns[0], columns[0] + len(columns))):
        return rows[:, columns[0] : columns[0] + len(columns)]
    return rows[:, columns]


def get_transforms(predictors: Sequence[str]) -> tuple[Transform, ...]:
    """Return the transforms that linear members apply to some predictors."""
    return tuple(_BY_NAME[name].transform for name in predictors)


def format_table() -> str:
    """Return a table of all predictors in Markdown: name, units, group, kind, transform and meaning."""
    rows = [("name", "units", "group", "kind", "transform", "meaning"), ("---",) * 6]
    rows += [(f"`{p.name}`", p.units, p.group, p.kind, p.transform, p.meaning) for p in PREDICTORS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
