"""pyproj beside ecCodes: each brings a PROJ library of its own, and the one that is loaded first would serve both.

ecCodes makes the symbols of its PROJ global (findlibs loads it with ``RTLD_GLOBAL``). If pyproj is imported after it,
as after any ``xarray.open_dataset`` without an engine where cfgrib is installed, its modules call the other PROJ:
"Internal Proj Error: no database context specified", and a crash at the end of the process.
"""

from __future__ import annotations

import os
import sys


def load_pyproj() -> None:
    """Import pyproj so that it uses its own PROJ, if ecCodes has been loaded before it."""
    if "findlibs" not in sys.modules or "pyproj" in sys.modules or not hasattr(os, "RTLD_DEEPBIND"):
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)  # symbols of the library itself come before global ones
    try:
        import pyproj  # noqa: F401
    finally:
        sys.setdlopenflags(flags)
