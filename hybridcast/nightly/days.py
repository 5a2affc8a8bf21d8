"""Days (UTC) as text: one, or a range."""

from __future__ import annotations

import re

import numpy as np

from hybridcast.errors import InputError


def dates_of(text: str) -> list[str]:
    """Read a day, or a range of days such as ``2018-05-10..2018-05-20``, both included."""
    first, _, last = text.partition("..")
    try:
        days = [np.datetime64(part.strip(), "D") for part in (first, last or first)]
    except ValueError:
        days = []
    if not days or any(not re.fullmatch(r"\d{4}-\d\d-\d\d", part.strip()) for part in (first, last or first)):
        raise InputError(
            f"date {text!r}", "it is a day (UTC) or a range of days", "Write 2018-05-12 or 2018-05-10..2018-05-20"
        )
    if days[0] > days[1]:
        raise InputError(f"dates {text!r}", "the first comes first", "Swap them")
    return [str(day) for day in np.arange(days[0], days[1] + np.timedelta64(1, "D"))]
