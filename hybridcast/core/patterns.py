"""Files of a period, found by patterns with parts of the time, such as ``/data/radar/%Y/%m/%d/*.h5``.

A pattern is a glob, or a URL with or without one, with codes of ``strftime`` (UTC). Only folders and names of the
period are looked at, so that an archive of years costs no more than a day.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from hybridcast.core.remote import RemoteFile, find_files, has_magic, open_remote
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import HOUR
from hybridcast.errors import InputError

#: Codes of ``strftime`` that change within an hour, and those that change within a minute.
_MINUTES = re.compile(r"%[McfsTXRr]")
_SECONDS = re.compile(r"%[Sf]")
_MINUTE = np.timedelta64(1, "m")


def expand_pattern(
    pattern: str, first: np.datetime64, last: np.datetime64, step: np.timedelta64 | None = None
) -> list[str]:
    """Return the globs or URLs that a pattern stands for in a period, without duplicates, in the order of time.

    Parameters
    ----------
    pattern
        A pattern; one without codes stands for itself.
    first, last
        The period, both included.
    step
        Time between files, for a pattern with minutes (``%M``); by default a minute.

    Raises
    ------
    InputError
        If the pattern has seconds, which cannot be guessed.

    Examples
    --------
    >>> day = np.datetime64("2024-06-01T23:30"), np.datetime64("2024-06-02T00:10")
    >>> expand_pattern("radar/%Y%m%d/*.h5", *day)
    ['radar/20240601/*.h5', 'radar/20240602/*.h5']
    >>> expand_pattern("https://example.org/%H%M.h5", *day, np.timedelta64(20, "m"))
    ['https://example.org/2340.h5', 'https://example.org/0000.h5']
    """
    if "%" not in pattern:
        return [pattern]
    if _SECONDS.search(pattern):
        raise InputError(f"the pattern {pattern!r}", "seconds cannot be guessed", "Write * in their place")
    every = pd.Timedelta((step or _MINUTE) if _MINUTES.search(pattern) else HOUR)
    start = pd.Timestamp(first).ceil(every) if every < HOUR else pd.Timestamp(first).floor("h")
    return list(dict.fromkeys(time.strftime(pattern) for time in pd.date_range(start, pd.Timestamp(last), freq=every)))


def find_local(pattern: str, first: np.datetime64, last: np.datetime64) -> list[Path]:
    """Return the files on the disk that a pattern matches in a period, sorted; an empty list if there are none."""
    globs = expand_pattern(pattern, first, last)
    return sorted({Path(path) for one in globs for path in glob.glob(one, recursive=True)})


def find_remote(
    pattern: str, first: np.datetime64, last: np.datetime64, step: np.timedelta64 | None = None
) -> Iterator[RemoteFile]:
    """Yield the files of a server that a pattern may stand for in a period.

    Globs are listed by the server. Names without one are yielded as they are: whether there is such a file is known
    when it is downloaded.

    Raises
    ------
    DependencyError
        If a package for the protocol is not installed.
    ReadError
        If the server cannot be reached.
    """
    for url in expand_pattern(pattern, first, last, step):
        remote = open_remote(url)
        if not has_magic(url):
            yield remote
            continue
        remote.filesystem.invalidate_cache()  # file systems of buckets keep the lists that they made
        try:
            yield from find_files(remote)
        except InputError:  # the folder of a new hour or day may not be there yet
            continue


def explain_absence(pattern: str) -> str:
    """Return why a pattern on the disk may match nothing: the folder that is not there, or may not be read."""
    folder = Path(re.split(r"[*?\[%]", pattern, maxsplit=1)[0] + "name").parent
    missing: Path | None = None
    while not _is_folder(folder) and folder != folder.parent:
        missing, folder = folder, folder.parent
    if not os.access(folder, os.R_OK | os.X_OK):
        return f"the folder {folder} may not be read (permission denied)"
    return f"no file matches {pattern}" if missing is None else f"there is no folder {missing}"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # in a folder that may not be entered
        return False


def select_around(files: list[Path], first: np.datetime64, last: np.datetime64) -> list[Path]:
    """Return the files without those whose names have a time outside a period; one may reach to the time of the next.

    Files whose names have no time are kept.
    """
    named = {file: parse_time_in_name(file.name) for file in files}
    times = np.unique(np.array([time for time in named.values() if time is not None], dtype="datetime64[ns]"))
    reach = max(HOUR, np.median(np.diff(times))) if times.size > 1 else np.timedelta64(1, "D")
    return [file for file, time in named.items() if time is None or first - reach <= time <= last + reach]


__all__ = ["expand_pattern", "explain_absence", "find_local", "find_remote", "select_around"]
