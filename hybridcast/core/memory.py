"""Memory of this process, and what is left of that of the machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hybridcast.errors import InputError


def measure_memory() -> float:
    """Return the resident memory of this process, MB; NaN where the system does not tell."""
    return _read_status("VmRSS")


def measure_peak_memory() -> float:
    """Return the peak of the resident memory of this process so far, MB; NaN where the system does not tell.

    On Linux not ``ru_maxrss``, which a process takes over from the one that started it.
    """
    peak = _read_status("VmHWM")
    return _peak_by_usage() if peak != peak else peak


def measure_available_memory() -> float:
    """Return the memory that this process may still take, MB; NaN where the system does not tell.

    It is what the system can give without swapping, and at most what the control group of the process may take.
    """
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:  # not Linux
        return float("nan")
    left = int(found[1]) * 1024 / 1e6 if found else float("nan")
    return min(left, _measure_group())


def check_fits(what: str, megabytes: float, remedy: str, *, cli_remedy: str | None = None) -> None:
    """Raise `InputError` if what is to be made is larger than the memory that this process may still take."""
    left = measure_available_memory()
    if megabytes < left or left != left:
        return
    rule = f"what is made in memory fits into what is left of it, {left / 1e3:.1f} GB"
    raise InputError(f"{what} take {megabytes / 1e3:.1f} GB", rule, remedy, cli_remedy=cli_remedy)


def _measure_group() -> float:
    """Return the memory that is left to the control group (version 2) of this process, MB; infinite without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = (folder / name for name in ("memory.max", "memory.current"))
        inactive = re.search(r"inactive_file (\d+)", (folder / "memory.stat").read_text())
        return (int(most.read_text()) - int(used.read_text()) + int(inactive[1] if inactive else 0)) / 1e6
    except (OSError, ValueError):  # no such group, or "max": no limit
        return float("inf")


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
