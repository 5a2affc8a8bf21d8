"""Number formats of the tables of the ablation studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def format_values(values: Sequence[float | None]) -> str:
    """Format values by lead time with three decimals; "-" for a missing value."""
    return " / ".join("-" if value is None else f"{value:.3f}".replace("0.", ".", 1) for value in values)


def format_change(difference: Mapping[str, Any]) -> str:
    """Format a paired difference by lead time, in per cent of the baseline, with its interval if it has one."""
    shown = []
    for change, low, high in zip(*(difference[f"relative{end}"] for end in ("", "_low", "_high")), strict=True):
        interval = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
        shown.append("-" if change is None else f"{100 * change:+.1f}{interval}")
    return " / ".join(shown)
