"""Memory of this process."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def measure_memory() -> float:
    """Return the resident memory of this process, MB; NaN where the system does not tell."""
    return _read_status("VmRSS")


def measure_peak_memory() -> float:
    """Return the peak of the resident memory of this process so far, MB; NaN where the system does not tell.

    On Linux not ``ru_maxrss``, which a process takes over from the one that started it.
    """
    peak = _read_status("VmHWM")
    return _peak_by_usage() if peak != peak else peak


def _read_status(key: str) -> float:
    """Return an entry of Linux's ``/proc/self/status``, MB; NaN on other systems."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(rf"{key}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def _peak_by_usage() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
