"""Record of a source of a forecast: whether it was used, its age, and otherwise the reason why it was left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SourceReport:
    """One source that was given to a forecast, or a part of it such as one NWP run.

    Examples
    --------
    >>> str(SourceReport("nwp", "nwp run 2020-01-01T00:00:00Z", False, "11.5 h old", "no lead time left"))
    'nwp run 2020-01-01T00:00:00Z (11.5 h old: no lead time left)'
    """

    source: str
    """Kind of source: "radar", "nwp", "terrain" or "stations"."""
    name: str
    """Name in the attributes of the forecast."""
    is_used: bool = True
    """Whether the source was used."""
    age: str = ""
    """Age at the time of issue as text; empty if unknown or irrelevant."""
    reason: str = ""
    """Reason why the source was left out; empty if it was used or its name contains the reason."""

    def __str__(self) -> str:
        details = ": ".join(detail for detail in (self.age, self.reason) if detail)
        return f"{self.name} ({details})" if details else self.name


def render_reports(reports: Iterable[SourceReport], *, used: bool) -> str:
    """Return the sources that were used, or those that were left out, as text for an attribute."""
    return "; ".join(str(report) for report in reports if report.is_used == used) or "none"
