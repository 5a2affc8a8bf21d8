"""Declaration of a predictor: its name, units, group, kind and transform, and the function that computes it.

Each module of predictors declares its own beside the functions that compute them, as a tuple `PREDICTORS`;
`hybridcast.predictors.registry` collects them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from hybridcast.core.types import Array

Group = Literal["radar", "time", "nwp", "terrain", "station"]
"""Source of the data that a predictor is computed from; "time" for the lead time."""
Kind = Literal["departure", "target", "ahead", "behind", "left", "right", "lead", "row"]
"""Where a predictor is taken from:

- "departure": a field at the issue time, at the departure point of the air;
- "target": a field at the issue time, at the target cell;
- "ahead", "behind", "left", "right": a field at the issue time, displaced from the departure point along or across the
  track of the air;
- "lead": a field at the valid time, at the target cell;
- "row": the departure point, the target cell and the lead time themselves.
"""
Transform = Literal["none", "logit"]
"""What a linear member applies to a predictor: nothing, or the logit of a fraction."""
Outside = Literal["nearest", "nan", "distance"]
"""Value at a departure point outside the grid: that of the nearest cell, NaN, or that of the nearest cell less the
distance to the grid (km)."""

Inputs = TypeVar("Inputs")


@dataclass(frozen=True)
class Predictor(Generic[Inputs]):
    """One predictor: what it means, where it is taken from and how it is computed."""

    name: str
    """Name of its column, which trained models refer to."""
    units: str
    """Units; "1" for fractions and correlations."""
    group: Group
    """Source of its data."""
    kind: Kind
    """Where it is taken from."""
    meaning: str
    """Description for the reference, one phrase."""
    compute: Callable[[Inputs], Array] | None = None
    """Function that computes the field, ``(y, x)`` or ``(lead, y, x)``, or the values of the kind "row", ``(row,)``."""
    field: str | None = None
    """Name of the predictor of the kind "departure" whose field is sampled, instead of `compute`."""
    needs: tuple[str, ...] = ()
    """Variables of the source without which it is NaN everywhere."""
    transform: Transform = "none"
    """What a linear member applies to it when trained."""
    outside: Outside = "nearest"
    """Value at a departure point outside the grid."""

    def __call__(self, inputs: Inputs) -> Array:
        """Compute the field or the values."""
        if self.compute is None:
            raise TypeError(f"{self.name} samples the field of {self.field} and has no function of its own")
        return self.compute(inputs)
