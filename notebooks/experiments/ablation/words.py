"""How the tables of ablations write numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def short(values: Sequence[float | None]) -> str:
    """Write values by lead time, three decimals each; "-" where there is none."""
    return " / ".join("-" if value is None else f"{value:.3f}".replace("0.", ".", 1) for value in values)


def change(difference: Mapping[str, Any]) -> str:
    """Write a paired difference by lead time, in per cent of the baseline, with its interval where it has one."""
    shown = []
    for share, low, high in zip(*(difference[f"relative{end}"] for end in ("", "_low", "_high")), strict=True):
        interval = "" if low is None else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
        shown.append("-" if share is None else f"{100 * share:+.1f}{interval}")
    return " / ".join(shown)
