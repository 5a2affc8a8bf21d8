"""Amount of precipitation from the parts that some models write: rain, snow and graupel, or convective and other.

Which parts a model writes is known from its files: HARMONIE and AROME rain, snow and graupel; ICON convective and
stratiform rain and snow, and graupel; ECMWF and NCEP convective and stratiform precipitation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hybridcast.nwp.pieces import Piece
from hybridcast.nwp.schema import (
    AMOUNT,
    AMOUNTS,
    CONVECTIVE,
    CONVECTIVE_RAIN,
    CONVECTIVE_SNOW,
    GRAUPEL,
    HAIL,
    RAIN,
    SNOW,
    SOLID,
    STEP_AMOUNT,
    STRATIFORM,
    STRATIFORM_RAIN,
    STRATIFORM_SNOW,
)

_Step = tuple[np.timedelta64, np.timedelta64]


class _Sum(NamedTuple):
    """Parts that together are the whole amount."""

    required: tuple[str, ...]
    """Parts without which there is no sum."""
    optional: tuple[str, ...] = ()
    """Parts that are added where a run has them at all."""


#: Ways to the amount, the best first.
_SUMS = (
    _Sum((AMOUNT,)),
    _Sum((STEP_AMOUNT,)),
    _Sum((RAIN, SOLID)),
    _Sum((RAIN, SNOW), (GRAUPEL, HAIL)),
    _Sum((CONVECTIVE, STRATIFORM)),
    _Sum((STRATIFORM_RAIN, STRATIFORM_SNOW), (CONVECTIVE_RAIN, CONVECTIVE_SNOW, GRAUPEL, HAIL)),
    _Sum((RAIN,), (GRAUPEL, HAIL)),
)


def sum_components(pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Return the amounts of one run or member, and notes on what was added up and left out.

    Parameters
    ----------
    pieces
        Pieces with names in `hybridcast.nwp.schema.AMOUNTS`, of one run or member.

    Returns
    -------
    list, list
        Pieces named `AMOUNT`, one for each step for which all parts of the sum exist, and the notes.
    """
    present = {piece.name for piece in pieces}
    chosen = next((way for way in _SUMS if set(way.required) <= present), None)
    if chosen is None:
        return [], [f"{' and '.join(sorted(present))} (no whole amount)"]
    parts = [name for name in (*chosen.required, *chosen.optional) if name in present]
    steps: dict[_Step, dict[str, Piece]] = defaultdict(dict)
    for piece in pieces:
        steps[piece.start, piece.end][piece.name] = piece
    whole = [_add([found[name] for name in parts]) for found in steps.values() if set(parts) <= set(found)]
    return whole, _describe(parts, present, len(steps) - len(whole) if len(parts) > 1 else 0)


def _add(parts: list[Piece]) -> Piece:
    values = np.sum([part.values for part in parts], axis=0, dtype=np.float32) if len(parts) > 1 else parts[0].values
    return parts[0]._replace(name=AMOUNT, values=np.asarray(values))


def _describe(parts: list[str], present: set[str], missing: int) -> list[str]:
    notes = [f"{name} (the amount is that of {' + '.join(parts)})" for name in AMOUNTS if name in present - set(parts)]
    if SNOW not in parts and parts[0] == RAIN and SOLID not in parts:
        notes.append("snow (the files hold the amount of rain alone)")
    if missing:
        notes.append(f"{missing} steps without all of {' + '.join(parts)}")
    return notes
