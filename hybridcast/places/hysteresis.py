"""Warnings with hysteresis: raised, kept and cleared from one forecast to the next.

A warning of a level at a place is raised by the first forecast whose probability reaches ``raise_at``. It is kept while
the probability is at or above ``clear_at``, and cleared once it has been below that for ``hold``. What is unknown
changes nothing, an unknown place is not safe: neither an unknown probability, nor one of known lead times alone if one
is unknown up to the time until which the level was expected before. The rule has no clock and no memory but its state:
the same state and the same forecast give the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from hybridcast.core.time_steps import iso_time
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError

Kind = Literal["checked", "raised", "kept", "cleared"]


@dataclass(frozen=True)
class RaisedWarning:
    """A warning that is raised."""

    place: str
    level: str
    since: str
    """Issue time of the forecast that raised it, ISO 8601, UTC."""
    below_since: str | None = None
    """Issue time since which the probability has been below ``clear_at``; None if it is not."""
    until: str | None = None
    """Latest valid time at which the level was likely when it was last at or above ``clear_at``."""


@dataclass(frozen=True)
class WarningState:
    """The warnings that are raised after a forecast."""

    time: str | None = None
    """Issue time of the forecast, ISO 8601, UTC; None before the first one."""
    raised: tuple[RaisedWarning, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the state as an object of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> WarningState:
        """Return the state of an object of JSON; `InputError` if it is none."""
        try:
            raised = tuple(RaisedWarning(**one) for one in stored["raised"])
            return cls(stored["time"], raised)
        except (KeyError, TypeError) as error:
            found, rule = f"a state of warnings is {str(stored)[:60]}", "it has 'time' and 'raised'"
            raise InputError(
                found, rule, "Give what WarningState.to_json returned, or start with WarningState()"
            ) from error


@dataclass(frozen=True)
class WarningEvent:
    """What a forecast did to a warning, or, of the kind ``"checked"``, that a forecast was examined."""

    time: str
    """Issue time of the forecast, ISO 8601, UTC."""
    kind: Kind
    place: str | None = None
    level: str | None = None
    probability: float | None = None
    """Probability of the level; None if unknown."""
    raise_at: float | None = None
    clear_at: float | None = None
    hold_minutes: float | None = None
    since: str | None = None
    """Issue time of the forecast that raised it."""
    below_since: str | None = None
    """Issue time since which the probability has been below `clear_at`."""
    expected: str | None = None
    """Time at which the level is reached, the median over the members that reach it; UTC."""
    until: str | None = None
    """Latest valid time at which the level was likely when it was last at or above `clear_at`."""
    known: float | None = None
    """Known fraction of the lead times."""
    known_until: str | None = None
    """Valid time up to which all lead times are known."""
    basis: str | None = None
    """What the probability is made of."""
    reason: str | None = None
    levels: int | None = None
    """Of a checked forecast, the number of levels at places; `raised` of them are raised, `unknown` of them unknown."""
    raised: int | None = None
    unknown: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as an object of JSON, without what is None."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> WarningEvent:
        """Return the event of an object of JSON; `InputError` if it is none."""
        try:
            return cls(**stored)
        except TypeError as error:
            found = f"an event is {str(stored)[:60]}"
            raise InputError(
                found, "it has 'time', 'kind' and known keys", "Give lines of a log of warnings"
            ) from error


class _Level(NamedTuple):
    """What a forecast says of a level at a place."""

    probability: float
    """NaN if unknown."""
    raise_at: float
    clear_at: float
    hold: np.timedelta64
    until: np.datetime64
    """Latest valid time at which the level is likely."""
    known_until: np.datetime64
    """Valid time up to which all lead times are known."""


def update_warnings(state: WarningState, table: xr.Dataset) -> tuple[WarningState, list[WarningEvent]]:
    """Return the warnings after a forecast, and what changed.

    Parameters
    ----------
    state
        The state after the forecast before; ``WarningState()`` at first.
    table
        Products of the forecast, as `hybridcast.at_places` returns them.

    Returns
    -------
    WarningState
        The new state.
    list of WarningEvent
        One ``"checked"``, and an event for each warning that is raised, kept or cleared. Of a forecast that the state
        is of already, none: a forecast may be given twice.

    Raises
    ------
    InputError
        If the forecast is older than the state, or has no issue time.

    Examples
    --------
    >>> state, events = update_warnings(WarningState(), at_places(result, "places.toml"))  # doctest: +SKIP
    """
    if "reference_time" not in table.coords:
        raise InputError("the forecast has no reference_time", "warnings follow the order of forecasts", "Give it one")
    (issued,) = table["reference_time"].values.reshape(1)
    time = iso_time(issued)
    if state.time is not None and as_datetime64(state.time) >= issued:
        if state.time == time:
            return state, []
        found = f"the forecast of {time} follows one of {state.time}"
        raise InputError(found, "forecasts come in the order of time", "Leave it out, or start with a new state")
    columns = _Columns(table, issued)
    before = {(one.place, one.level): one for one in state.raised}
    decided = [_decide_raised(one, columns, issued) for one in state.raised]
    new = [
        _raise(place, level, columns, time) for place, level in columns.find_reached() if (place, level) not in before
    ]
    kept = tuple(one for one, _ in decided if one is not None) + tuple(one for one, _ in new)
    checked = WarningEvent(time, "checked", levels=columns.count, raised=len(kept), unknown=columns.count_unknown())
    return WarningState(time, kept), [checked, *(event for _, event in decided), *(event for _, event in new)]


class _Columns:
    """The columns of a table that the rule needs, by place and level."""

    def __init__(self, table: xr.Dataset, issued: np.datetime64) -> None:
        ordered = table.transpose("place", "level", ...)
        self._times = issued + np.append(np.timedelta64(0, "ns"), table["lead_time"].values)
        self._by_lead = ordered["level_probability"].transpose("place", "level", "lead_time").values
        self._places = {str(name): row for row, name in enumerate(table["place"].values)}
        self._levels = {str(name): column for column, name in enumerate(table["level"].values)}
        names = ("warning_probability", "raise_at", "clear_at", "hold", "level_known", "level_basis")
        self._values = {name: ordered[name].values for name in names}
        self._exists = np.isfinite(ordered["level_threshold"].values)
        (quantile,) = np.nonzero(ordered["quantile"].values == 0.5)
        minutes = ordered["minutes_to_level_quantile"].transpose("quantile", "place", "level").values
        self._minutes = minutes[quantile[0]] if quantile.size else np.full(self._exists.shape, np.nan)

    @property
    def count(self) -> int:
        """Number of levels at places."""
        return int(self._exists.sum())

    def count_unknown(self) -> int:
        """Return the number of levels at places whose probability is unknown."""
        return int((self._exists & np.isnan(self._values["warning_probability"])).sum())

    def find_reached(self) -> Iterable[tuple[str, str]]:
        """Yield the places and levels whose probability raises a warning."""
        places, levels = list(self._places), list(self._levels)
        limits = self._values["raise_at"].astype(np.float32)  # as probabilities are: 14 of 20 members reach 0.7
        for row, column in np.argwhere(self._exists & (self._values["warning_probability"] >= limits)):
            yield places[row], levels[column]

    def find(self, place: str, level: str) -> _Level | None:
        """Return what the forecast says of a level; None if there is no such level."""
        at = self._places.get(place, -1), self._levels.get(level, -1)
        if min(at) < 0 or not self._exists[at]:
            return None
        values = self._values
        return _Level(
            float(values["warning_probability"][at]),
            float(np.float32(values["raise_at"][at])),
            float(np.float32(values["clear_at"][at])),
            values["hold"][at],
            self._find_until(at),
            self._find_known_until(at),
        )

    def _find_until(self, at: tuple[int, int]) -> np.datetime64:
        """Return the latest time at which the level is as likely as `clear_at`; if none is, the likeliest time."""
        probability = np.nan_to_num(self._by_lead[at])
        likely = probability >= np.float32(min(self._values["clear_at"][at], probability.max(initial=0.0)))
        latest: np.datetime64 = self._times[1 + np.flatnonzero(likely & (probability > 0)).max(initial=-1)]
        return latest

    def _find_known_until(self, at: tuple[int, int]) -> np.datetime64:
        unknown = np.append(np.isnan(self._by_lead[at]), True)
        latest: np.datetime64 = self._times[int(unknown.argmax())]
        return latest

    def describe(self, event: WarningEvent) -> WarningEvent:
        """Return the event with the numbers that it follows from."""
        assert event.place is not None
        assert event.level is not None
        at = self._places[event.place], self._levels[event.level]
        probability, minutes = float(self._values["warning_probability"][at]), float(self._minutes[at])
        issued = as_datetime64(event.time)
        lead = None if np.isnan(minutes) else issued + np.timedelta64(round(60 * minutes), "s")
        return replace(
            event,
            probability=None if np.isnan(probability) else round(probability, 6),
            raise_at=float(self._values["raise_at"][at]),
            clear_at=float(self._values["clear_at"][at]),
            hold_minutes=float(self._values["hold"][at] / MINUTE),
            expected=None if lead is None else iso_time(lead),
            known=round(float(self._values["level_known"][at]), 6),
            known_until=iso_time(self._find_known_until(at)),
            basis=str(self._values["level_basis"][at]),
        )


def _raise(place: str, level: str, columns: _Columns, time: str) -> tuple[RaisedWarning, WarningEvent]:
    said = columns.find(place, level)
    assert said is not None
    until, reason = iso_time(said.until), "the probability reaches raise_at"
    event = WarningEvent(time, "raised", place, level, since=time, until=until, reason=reason)
    return RaisedWarning(place, level, time, until=until), columns.describe(event)


def _decide_raised(
    one: RaisedWarning, columns: _Columns, issued: np.datetime64
) -> tuple[RaisedWarning | None, WarningEvent]:
    """Return a raised warning as it is after the forecast, None if it is cleared; and the event."""
    time = iso_time(issued)
    said = columns.find(one.place, one.level)
    event = WarningEvent(time, "kept", one.place, one.level, since=one.since)
    if said is None:
        return None, replace(event, kind="cleared", reason="the place no longer has this level")
    after, reason = _apply_rule(one, said, issued)
    kind: Kind = "cleared" if after is None else "kept"
    last = one if after is None else after
    below = time if after is None and one.below_since is None else last.below_since
    return after, columns.describe(replace(event, kind=kind, below_since=below, until=last.until, reason=reason))


def _apply_rule(one: RaisedWarning, said: _Level, issued: np.datetime64) -> tuple[RaisedWarning | None, str]:
    """Return a raised warning after a forecast, None if it is cleared, and the reason."""
    if np.isnan(said.probability):
        return one, "the probability is unknown"
    before = said.until if one.until is None else as_datetime64(one.until)
    is_partly_unknown = said.known_until < before
    if said.probability >= said.clear_at:
        until = max(said.until, before) if is_partly_unknown else said.until
        return replace(one, below_since=None, until=iso_time(until)), "the probability is at or above clear_at"
    if is_partly_unknown:
        return one, "a lead time is unknown up to the time until which the level was expected"
    below_since = one.below_since or iso_time(issued)
    if issued - as_datetime64(below_since) >= said.hold:
        return None, "the probability has been below clear_at for the hold"
    return replace(one, below_since=below_since), "the probability is below clear_at, not yet for the hold"
