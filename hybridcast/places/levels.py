"""Warning levels of a place: an amount in a window or a rate, and the probabilities that raise and clear a warning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from hybridcast.core.durations import parse_duration
from hybridcast.errors import InputError
from hybridcast.settings import check_known

Statistic: TypeAlias = Literal["mean", "maximum"]
STATISTICS: tuple[Statistic, ...] = ("mean", "maximum")
"""What is taken of the cells of an area; at a point both are its cell."""
#: "20 mm in 1h" and "5 mm/h".
_TEXT = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*mm\s*(?:(?P<rate>/\s*h)|in\s+(?P<window>\S.*?))\s*")
_REMEDY = "Write '20 mm in 1h' for an amount, '5 mm/h' for a rate, or the name of a [[level]]"


@dataclass(frozen=True)
class WarningLevel:
    """An amount of rain in a window, or a rate, whose probability raises and clears a warning."""

    name: str
    """Name, such as ``"flash flood"``."""
    amount: float | None = None
    """Amount, mm, in `window`; or give `rate`."""
    window: str | None = None
    """Length of the window of the amount, such as ``"1h"``."""
    rate: float | None = None
    """Rate, mm h-1."""
    raise_at: float = 0.5
    """Probability, 0 to 1, from which a warning is raised."""
    clear_at: float = 0.3
    """Probability below which a warning may be cleared; between the two it is kept."""
    hold: str = "10min"
    """Time for which the probability has to stay below `clear_at` before the warning is cleared."""
    statistic: Statistic = "mean"
    """Of an area: the ``"mean"`` over it, or the ``"maximum"`` of its cells."""

    def __post_init__(self) -> None:
        """Check the values."""
        where = f"level {self.name!r}"
        if (self.amount is None) == (self.rate is None) or (self.amount is None) != (self.window is None):
            found = f"{where} has amount {self.amount}, window {self.window!r} and rate {self.rate}"
            raise InputError(found, "a level is an amount with its window, or a rate", "Give one of the two")
        if not 0 < self.threshold < np.inf:
            raise InputError(f"{where} is at {self.threshold:g}", "a level is above zero, and finite", "Correct it")
        if not 0 < self.clear_at <= self.raise_at <= 1:
            found = f"{where}: raise_at = {self.raise_at:g}, clear_at = {self.clear_at:g}"
            raise InputError(found, "0 < clear_at <= raise_at <= 1", "Give probabilities, such as 0.5 and 0.3")
        check_known(self.statistic, STATISTICS, f"{where}: statistic")
        _ = self.length, self.hold_time

    @property
    def threshold(self) -> float:
        """Amount, mm, or rate, mm h-1."""
        return float(self.rate if self.amount is None else self.amount)  # type: ignore[arg-type]

    @property
    def units(self) -> str:
        """Units of the threshold."""
        return "mm h-1" if self.window is None else "mm"

    @property
    def length(self) -> np.timedelta64:
        """Length of the window; 0 of a rate."""
        if self.window is None:
            return np.timedelta64(0, "ns")
        return parse_duration(self.window, f"level {self.name!r}: window", least="1min")

    @property
    def hold_time(self) -> np.timedelta64:
        """`hold` as a duration."""
        if self.hold.strip() in {"0", "0min"}:
            return np.timedelta64(0, "ns")
        return parse_duration(self.hold, f"level {self.name!r}: hold")


def parse_level(text: str, named: Mapping[str, WarningLevel] | None = None) -> WarningLevel:
    """Return a level from its text, or one of the named ones.

    Parameters
    ----------
    text
        Such as ``"20 mm in 1h"``, ``"5 mm/h"``, or a name.
    named
        Levels by name.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> parse_level("20 mm in 1h").threshold, parse_level("20 mm in 1h").window, parse_level("5 mm/h").rate
    (20.0, '1h', 5.0)
    """
    if named and text.strip() in named:
        return named[text.strip()]
    match = _TEXT.fullmatch(text)
    if match is None:
        known = f", or one of {', '.join(named)}" if named else ""
        raise InputError(f"a warning level is {text!r}", f"it is an amount in a window, or a rate{known}", _REMEDY)
    number = float(match["number"])
    if match["rate"]:
        return WarningLevel(f"{number:g} mm/h", rate=number)
    return WarningLevel(f"{number:g} mm in {match['window']}", amount=number, window=match["window"])


def check_levels(levels: Iterable[WarningLevel]) -> tuple[WarningLevel, ...]:
    """Return the levels of one place; `InputError` if two have the same name."""
    found = tuple(levels)
    names = [level.name for level in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two levels are named {twice[0]!r}", "names of levels are unique", "Remove one")
    return found
