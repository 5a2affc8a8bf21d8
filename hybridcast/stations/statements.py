"""What a user states about station files that do not state it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Statements:
    """Statements about station files; None or empty where the file has to say it."""

    interval: np.timedelta64 | None = None
    """Interval of each amount."""
    time_format: str | None = None
    """Format of the times, as for ``datetime.strptime``, or ``"unix"``."""
    rain: str | None = None
    """Name of the column of rain."""
    places: tuple[Path, ...] = ()
    """Files with the places of the stations."""
