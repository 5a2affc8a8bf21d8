"""The root of the repository, and the folder of the real data (``HYBRIDCAST_DATA_MIRROR``)."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
REAL_DATA = Path(os.environ.get("HYBRIDCAST_DATA_MIRROR", ROOT.parent / "shared" / "realdata"))
