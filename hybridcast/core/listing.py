"""Lists in messages."""

from __future__ import annotations

from collections.abc import Sequence


def list_first(items: Sequence[object], most: int, separator: str = ", ") -> str:
    """Return the first items of a list as text, and the number of the others.

    Examples
    --------
    >>> list_first(["a", "b", "c"], 2), list_first([1, 2], 2)
    ('a, b and 1 more', '1, 2')
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + more
