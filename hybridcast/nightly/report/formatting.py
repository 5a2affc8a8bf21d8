"""Numbers and states as text and signs, so that colour is never the only distinction."""

from __future__ import annotations

import math
from typing import Any

from hybridcast.verification.significance import LOSS, TIE, UNRESOLVED, WIN

#: Selects the plain-text variant of a sign that phones would draw as a picture.
_TEXT = "\ufe0e"
#: A narrow space without a line break.
_NARROW = "\u202f"
SIGNS = {
    "good": "✔" + _TEXT,
    "partial": "◐",
    "dry": "○",
    "no data": "∅",
    "failed": "✖" + _TEXT,
    "alarm": "▼",
    "not judged": "?",
    WIN: "▲",
    TIE: "=",
    LOSS: "▼",
    UNRESOLVED: "·",
}
"""Signs of states, judgements and verdicts."""


def format_count(value: Any) -> str:
    """Return a count with at most three digits: 12, 3.4 k, 1.2 M.

    Examples
    --------
    >>> format_count(999), format_count(12345).split(), format_count(2.6e6).split()
    ('999', ['12.3', 'k'], ['2.6', 'M'])
    """
    count = float(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * limit:
            shown = count / limit
            return f"{shown:.0f}{_NARROW}{unit}" if shown >= 99.95 else f"{shown:.3g}{_NARROW}{unit}"
    return f"{count:.0f}"


def format_score(value: Any) -> str:
    """Return a score with two decimals, and a dash if it is not defined."""
    return f"{float(value):.2f}" if math.isfinite(float(value)) else "–"


def format_percent(fraction: Any) -> str:
    """Return a relative difference in per cent, with its sign, and a dash if it is not defined.

    Examples
    --------
    >>> format_percent(0.093).split(), format_percent(-0.5).split(), format_percent(float("nan"))
    (['+9.3', '%'], ['-50', '%'], '–')
    """
    value = 100 * float(fraction)
    if not math.isfinite(value):
        return "–"
    shown = f"{value:+.0f}" if abs(value) >= 9.95 or abs(value) < 0.05 else f"{value:+.1f}"
    return f"{shown}{_NARROW}%"
