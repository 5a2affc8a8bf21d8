"""Days (UTC) as text: a single day or a range of days."""

from __future__ import annotations

import re

import numpy as np

from hybridcast.errors import InputError


def parse_dates(text: str) -> list[str]:
    """Return the days of a text such as ``2018-05-10``, or of a range such as ``2018-05-10..2018-05-20``.

    Examples
    --------
    >>> parse_dates("2020-02-28..2020-03-01")
    ['2020-02-28', '2020-02-29', '2020-03-01']
    """
    first, _, last = text.partition("..")
    ends = [part.strip() for part in (first, last or first)]
    try:
        days = [np.datetime64(end, "D") for end in ends]
    except ValueError:
        days = []
    if not days or any(not re.fullmatch(r"\d{4}-\d\d-\d\d", end) for end in ends):
        raise InputError(
            f"date {text!r}", "it is a day (UTC) or a range of days", "Write 2018-05-12 or 2018-05-10..2018-05-20"
        )
    if days[0] > days[1]:
        raise InputError(f"dates {text!r}", "the first comes first", "Swap them")
    return [str(day) for day in np.arange(days[0], days[1] + np.timedelta64(1, "D"))]
