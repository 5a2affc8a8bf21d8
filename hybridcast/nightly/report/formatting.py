"""Numbers and states in words and signs: a colour is never all that tells them apart."""

from __future__ import annotations

import math
from typing import Any

from hybridcast.verification.significance import LOSS, TIE, UNRESOLVED, WIN

#: The plain-text variant of a sign, which phones would draw as a picture.
_TEXT = "\ufe0e"
#: A narrow space at which no line is broken.
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


def number(value: Any) -> str:
    """Return a count in three digits at most: 12, 3.4 k, 1.2 M.

    Examples
    --------
    >>> number(999), number(12345).split(), number(2.6e6).split()
    ('999', ['12.3', 'k'], ['2.6', 'M'])
    """
    count = float(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * limit:
            shown = count / limit
            return f"{shown:.0f}{_NARROW}{unit}" if shown >= 99.95 else f"{shown:.3g}{_NARROW}{unit}"
    return f"{count:.0f}"


def score(value: Any) -> str:
    """Return a score in two digits after the point, and a dash where it is not defined."""
    return f"{float(value):.2f}" if math.isfinite(float(value)) else "–"


def percent(share: Any) -> str:
    """Return a difference in per cent, with its sign.

    Examples
    --------
    >>> percent(0.093).split(), percent(-0.5).split(), percent(float("nan"))
    (['+9.3', '%'], ['-50', '%'], '–')
    """
    value = 100 * float(share)
    if not math.isfinite(value):
        return "–"
    shown = f"{value:+.0f}" if abs(value) >= 9.95 or abs(value) < 0.05 else f"{value:+.1f}"
    return f"{shown}{_NARROW}%"
