"""Pseudo-NWP runs as they would have been there at an issue time."""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.core.types import HOUR, MINUTE
from hybridcast.datasets.pseudo_nwp.settings import TYPICAL, PseudoNwpSettings
from hybridcast.datasets.pseudo_nwp.simulate import simulate_pseudo_nwp


def simulate_runs_before(
    radar: xr.DataArray,
    issue_time: np.datetime64,
    settings: PseudoNwpSettings = TYPICAL,
    *,
    ages: tuple[int, ...] = (3, 6),
    ahead: int = 3,
    step: int = 15,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate the runs that a service would have had at an issue time.

    Runs start at full hours. Only the times that matter are made: from an hour or two before the issue time, for what
    is to be learned about a run's errors, to `ahead` hours after it.

    Parameters
    ----------
    radar
        All radar of the event, later than the issue time too: see `pseudo_nwp`.
    issue_time
        UTC.
    ages
        How many whole hours, at least, before the issue time each run started.
    ahead
        How many hours after the issue time runs reach, at least.
    step
        Over how many minutes rates are means, a divisor of 60: many services give hourly sums, some 15 min.
    seed
        See `pseudo_nwp`.

    Returns
    -------
    Dataset
        As `pseudo_nwp` gives it; lead times that a run does not reach are NaN.
    """
    starts = np.array([issue_time.astype("datetime64[h]") - age for age in sorted(ages)], "datetime64[ns]")
    runs = []
    for start in starts:
        first = int((issue_time - start) / HOUR)
        leads = np.arange(60 * max(0, first - 2) + step, 60 * (first + ahead + 1) + 1, step) * MINUTE
        runs.append(simulate_pseudo_nwp(radar, [start], leads.astype("timedelta64[ns]"), settings, seed=seed))
    joined = xr.concat([run.drop_vars("time") for run in runs], "reference_time", join="outer")
    return joined.assign_attrs(runs[0].attrs)
