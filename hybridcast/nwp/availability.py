"""Selection of the NWP runs that were available at the issue time."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.source_report import SourceReport, render_reports
from hybridcast.core.time_steps import iso_time
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import HOUR
from hybridcast.errors import InputError
from hybridcast.nwp.schema import check_nwp, members, order_newest_first

#: Time from the start of a run until its fields are on disk. Convection-permitting models of national services take 1
#: to 3 h, global ones 4 to 7 h. Too long a delay costs a little skill; too short a delay would use fields that did not
#: exist at the issue time.
DELAY = np.timedelta64(3, "h")
#: Maximum number of runs in the time-lagged ensemble.
MAX_RUNS = 3
#: Maximum number of fields in the ensemble, each member of a run being one. More take time and memory, and change the
#: fraction of members with rain by less than its sampling error of a single event.
MAX_FIELDS = 12


def select_available_runs(
    nwp: xr.Dataset,
    issue_time: datetime | str | np.datetime64,
    delay: np.timedelta64 = DELAY,
    *,
    max_runs: int = MAX_RUNS,
) -> xr.Dataset:
    """Select the runs that were available at the issue time and extend beyond it, newest first.

    Parameters
    ----------
    nwp
        NWP fields, see `hybridcast.nwp.schema`.
    issue_time
        UTC.
    delay
        Time from the start of a run until it is available; 3 h by default.
    max_runs
        Maximum number of runs; several runs are a time-lagged ensemble. Of ensembles, at most `MAX_FIELDS` members are
        selected in all, those of the newest run first.

    Returns
    -------
    Dataset
        `nwp` with at most `max_runs` runs, possibly none. ``attrs["runs"]`` lists the selected runs with their age, and
        ``attrs["left_out_runs"]`` the others with their age and the reason.

    Raises
    ------
    InputError
        If `nwp` does not follow the schema, `delay` is negative, or `max_runs` is below 1.

    Examples
    --------
    >>> from hybridcast.nwp.schema import nwp_fields
    >>> runs = np.datetime64("2020-01-01T00") + np.arange(4) * np.timedelta64(3, "h")
    >>> wind = np.zeros((4, 12, 2, 2), np.float32)
    >>> nwp = nwp_fields({"x_wind": wind, "y_wind": wind}, reference_time=runs, y=[0, 1000], x=[0, 1000], crs=None,
    ...                  lead_time=np.arange(12) * np.timedelta64(1, "h"))
    >>> kept = select_available_runs(nwp, "2020-01-01T11:30", np.timedelta64(2, "h"))
    >>> kept.attrs["runs"]
    '2020-01-01T09:00:00Z (2.5 h old); 2020-01-01T06:00:00Z (5.5 h old); 2020-01-01T03:00:00Z (8.5 h old)'
    >>> kept.attrs["left_out_runs"]
    '2020-01-01T00:00:00Z (11.5 h old: no lead time beyond the issue time)'
    """
    kept, reports = find_available_runs(nwp, issue_time, delay, max_runs=max_runs)
    return kept.assign_attrs(runs=render_reports(reports, used=True), left_out_runs=render_reports(reports, used=False))


def find_available_runs(
    nwp: xr.Dataset,
    issue_time: datetime | str | np.datetime64,
    delay: np.timedelta64 = DELAY,
    *,
    max_runs: int = MAX_RUNS,
) -> tuple[xr.Dataset, list[SourceReport]]:
    """Select runs as `select_available_runs` does, and return a report on each run, newest first."""
    nwp = check_nwp(nwp)
    if delay < np.timedelta64(0) or max_runs < 1:
        raise InputError(f"delay {delay}, max_runs {max_runs}", "they are 0 h and 1 run at least", "Correct them")
    issue = as_datetime64(issue_time)
    kept: list[int] = []
    reports: list[SourceReport] = []
    runs = nwp["reference_time"].values
    numbers = members(nwp)
    for k in order_newest_first(nwp):
        reason = _exclusion_reason(nwp.isel(reference_time=int(k)), issue, delay)
        if reason is None:
            reason = _surplus_reason(runs[kept], runs[k], max_runs)
        if reason is None:
            kept.append(int(k))
        age = f"{(issue - runs[k]) / HOUR:.3g} h old"
        member = "" if numbers[k] is None else f" member {numbers[k]}"
        reports.append(SourceReport("nwp", f"{iso_time(runs[k])}{member}", reason is None, age, reason or ""))
    return nwp.isel(reference_time=kept), reports


def _surplus_reason(kept: NDArray[np.datetime64], run: np.datetime64, max_runs: int) -> str | None:
    """Return the reason why a run is not selected beside those kept; None if it is."""
    if run not in kept and np.unique(kept).size == max_runs:
        return f"the {max_runs} newest are taken"
    return f"the {MAX_FIELDS} first members are taken" if kept.size == MAX_FIELDS else None


def _exclusion_reason(run: xr.Dataset, issue: np.datetime64, delay: np.timedelta64) -> str | None:
    """Return the reason why a run cannot be used at the issue time; None if it can."""
    start = run["reference_time"].values
    if start + delay > issue:
        return f"not yet there, with a delay of {delay / HOUR:g} h"
    future = run.isel(lead_time=np.flatnonzero(start + run["lead_time"].values > issue))
    if not future.sizes["lead_time"]:
        return "no lead time beyond the issue time"
    if not any(bool(future[name].notnull().any()) for name in future.data_vars):
        return "no value beyond the issue time"
    return None
