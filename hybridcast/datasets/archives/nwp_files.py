"""NWP runs of an archive: NetCDF files, one day in each."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.files import safe_filename
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.datasets.archives.records import Record, describe_unreadable
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import open_nwp
from hybridcast.nwp.writing import save_nwp

#: Time before and after a day for which its file contains lead times.
MARGIN = np.timedelta64(3, "h")
_DAY = np.timedelta64(1, "D")


def write_runs(paths: Iterable[Path], folder: Path, name: str) -> Record:
    """Write NWP runs to ``folder/DAY/NAME.nc`` for each day that they cover, and return a record.

    Files listed as ``unreadable`` in the record are left out. The file of a day contains three hours on either side as
    well, so that forecasts late in the day are covered.
    """
    nwp, bad = _open_readable(paths)
    if nwp is None:
        return {"days": [], "unreadable": bad}
    days = []
    valid = nwp["reference_time"].values[:, None] + nwp["lead_time"].values
    for day in np.unique(valid.astype("datetime64[D]")):
        start = day.astype("datetime64[ns]")
        inside = (valid > start) & (valid < start + _DAY)
        if not inside.any():
            continue
        runs = inside.any(axis=1)
        wanted = (valid >= start - MARGIN) & (valid <= start + _DAY + MARGIN)
        of_day = nwp.isel(reference_time=runs, lead_time=wanted[runs].any(axis=0))
        target = folder / str(day) / f"{safe_filename(name)}.nc"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_nwp(of_day, target)
        days.append(str(day))
    return {"days": days, "variables": sorted(map(str, nwp.data_vars)), **({"unreadable": bad} if bad else {})}


def _open_readable(paths: Iterable[Path]) -> tuple[xr.Dataset | None, list[Record]]:
    """Open NWP files except unreadable ones; return the runs, if any, and records of the unreadable files."""
    files = list(paths)
    bad: list[Record] = []
    while files:
        try:
            with _ignore_warnings():
                return open_nwp(files, strict=True), bad
        except ReadError as error:
            if error.path not in files:
                raise
            bad.append(describe_unreadable(error))
            files.remove(error.path)
    return None, bad


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Ignore warnings about missing data, which the record contains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def group_by_run_day(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group NWP files by the day on which the run starts, from the time in their names or else from their content.

    Files that cannot be read are groups of their own.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        named = parse_time_in_name(path.name)
        groups[_read_start(path) if named is None else str(named.astype("datetime64[D]"))].append(path)
    return dict(sorted(groups.items()))


def _read_start(path: Path) -> str:
    try:
        with _ignore_warnings():
            return str(open_nwp(path)["reference_time"].values.min().astype("datetime64[D]"))
    except (ReadError, InputError):
        return path.stem
