"""Pseudo-NWP runs that would have been available at an issue time."""

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
    lead_hours: int = 3,
    step: int = 15,
    seed: int = 0,
) -> xr.Dataset:
    """Simulate the runs that an NWP service would have delivered by an issue time.

    Runs start at full hours. Only the valid times needed by a nowcast are simulated: from one to two hours before the
    issue time, from which the recent errors of a run are estimated, to `lead_hours` hours after it.

    Parameters
    ----------
    radar
        Radar of the whole event, including frames after the issue time: see `simulate_pseudo_nwp`.
    issue_time
        Issue time, UTC.
    settings
        Errors of the runs.
    ages
        Minimum age of each run at the issue time, whole hours.
    lead_hours
        Minimum time from the issue time to the end of the runs, whole hours.
    step
        Interval over which rates are averaged, min; a divisor of 60. NWP services deliver hourly means, or means over
        15 min.
    seed
        See `simulate_pseudo_nwp`.

    Returns
    -------
    Dataset
        Runs in the layout of `simulate_pseudo_nwp`; NaN at lead times that a run does not reach.
    """
    hour = issue_time.astype("datetime64[h]")
    runs = []
    for age in sorted(ages):
        start = (hour - age).astype("datetime64[ns]")
        first = int((issue_time - start) / HOUR)
        leads = np.arange(60 * max(0, first - 2) + step, 60 * (first + lead_hours + 1) + 1, step) * MINUTE
        runs.append(simulate_pseudo_nwp(radar, [start], leads.astype("timedelta64[ns]"), settings, seed=seed))
    joined = xr.concat([run.drop_vars("time") for run in runs], "reference_time", join="outer")
    return joined.assign_attrs(runs[0].attrs)
