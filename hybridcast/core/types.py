"""Types and units of time that all packages share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
"""Values of a field, of predictors or of probabilities."""
Doubles = NDArray[np.float64]
"""Values that need double precision: coordinates, sums, least squares."""
Mask = NDArray[np.bool_]
"""Which cells, rows or times are selected."""
Cell = tuple[float, float]
"""Size of a grid cell, km, ``(y, x)``."""
LeadTimes = NDArray[np.timedelta64]
"""Lead times, ``timedelta64[ns]``, increasing, shape ``(lead,)``."""

MINUTE = np.timedelta64(1, "m")
HOUR = np.timedelta64(1, "h")
