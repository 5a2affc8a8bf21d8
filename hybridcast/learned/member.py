"""Members of a model: their inputs, their evaluation, and their storage.

A member estimates the log odds that thresholds of rain rate are reached, from the predictors of a cell. A model holds
its members by name, and blends refer to them by name. A new member needs a class with the attributes of `Member`, a
builder that trains it, and their entries in `hybridcast.learned.members`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors

from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.predictor_rows import has_nwp
from hybridcast.predictors.registry import NWP_PREDICTORS

if TYPE_CHECKING:
    from hybridcast.learned.network_inputs import NetworkInputs
    from hybridcast.learned.training.event_samples import TrainingData

#: Length of the radar history before the issue time of a hindcast or a training sample.
HINDCAST_HISTORY = np.timedelta64(60, "m")


class FieldOutput(Protocol):
    """Output of a member that works on the whole field of an issue time."""

    def at(self, points: NDArray[Any], lead_minutes: float, /) -> Array:
        """Return log odds ``(threshold, point)`` for air that is at `points`, ``(point, 2)``, at the issue time."""
        ...


class MemberInputs(NamedTuple):
    """Inputs of the members for some cells (rows) at one lead time."""

    predictors: Array
    """Shape ``(row, predictor)``, with the columns `hybridcast.predictors.registry.ALL_PREDICTORS`, or without other
    sources than radar `RADAR_PREDICTORS`."""
    departure_points: NDArray[Any]
    """Row and column of the air of each row in the latest frame, shape ``(row, 2)``."""
    field_outputs: Mapping[str, FieldOutput] = MappingProxyType({})
    """Output of the members that work on the whole field, by name."""

    def select(self, rows: NDArray[Any]) -> MemberInputs:
        """Return the inputs of some rows, given by their numbers or a mask."""
        return self._replace(predictors=self.predictors[rows], departure_points=self.departure_points[rows])


class Member(Protocol):
    """A trained member of a model."""

    @property
    def name(self) -> str:
        """Name by which blends refer to it."""
        ...

    @property
    def predictors(self) -> tuple[str, ...]:
        """Predictors that it needs; none if it works on the whole field."""
        ...

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Rain rates (mm h-1) of its log odds, increasing."""
        ...

    def log_odds(self, inputs: MemberInputs, lead_minutes: float) -> Array:
        """Return the log odds that each threshold is reached, shape ``(threshold, row)``."""
        ...

    def to_parts(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return its entry in the manifest, without name, predictors and parts, and the content of its parts by name.

        The entry names its kind, one of `hybridcast.learned.members.KINDS`.
        """
        ...


@runtime_checkable
class FieldMember(Member, Protocol):
    """A member that works on the whole field of an issue time, and is then evaluated at points of it."""

    def apply(self, inputs: NetworkInputs) -> FieldOutput:
        """Return the output for an issue time, from which `log_odds` takes the values at points."""
        ...


class MemberBuilder(Protocol):
    """Settings of a member, and its training."""

    @property
    def name(self) -> str:
        """Name of the member."""
        ...

    @property
    def predictors(self) -> tuple[str, ...]:
        """Predictors that the member needs: those of the radar only, or with one of NWP at least any."""
        ...

    @property
    def optional(self) -> bool:
        """Whether the member is kept only if the blend with it is better; for members without NWP."""
        ...

    def train(self, data: TrainingData) -> Member | None:
        """Train the member; None if the data or the settings do not allow it."""
        ...


def uses_nwp(member: Member | MemberBuilder) -> bool:
    """Return whether a member needs predictors from NWP: it is trained and evaluated where NWP rain is known."""
    return not set(NWP_PREDICTORS).isdisjoint(member.predictors)


def evaluate_members(members: Iterable[Member], inputs: MemberInputs, lead_minutes: float) -> dict[str, Array]:
    """Return the log odds of members by name, ``(threshold, row)`` each.

    Those of members that use NWP are NaN in rows without NWP rain.
    """
    found: dict[str, Array] = {}
    with_nwp = np.flatnonzero(has_nwp(inputs.predictors))
    for member in members:
        if not uses_nwp(member):
            found[member.name] = member.log_odds(inputs, lead_minutes)
            continue
        log_odds = np.full((len(member.thresholds), len(inputs.predictors)), np.nan, np.float32)
        if with_nwp.size:
            log_odds[:, with_nwp] = member.log_odds(inputs.select(with_nwp), lead_minutes)
        found[member.name] = log_odds
    return found


class StoredParts(NamedTuple):
    """The parts of a stored model, as its members and blends are made from them."""

    folder: Path
    contents: Mapping[str, bytes]
    """Content of each part by file name."""
    thresholds: tuple[float, ...]
    """mm h-1."""

    def text(self, name: str) -> str:
        """Return a part that is text."""
        return self.contents[name].decode()

    def tensors(self, name: str) -> dict[str, Any]:
        """Return the arrays of a part in the safetensors format, by name."""
        return load_tensors(self.contents[name])

    def check_shape(self, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        """Refuse an array of another shape than the manifest says."""
        if found != expected:
            raise InputError(
                f"{self.folder}: the {name} have the shape {found}",
                f"the manifest makes it {expected}",
                "Get the model again",
            )
