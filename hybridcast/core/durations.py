"""Durations given by users, and lead times."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hybridcast.core.types import LeadTimes
from hybridcast.errors import InputError

Duration: TypeAlias = str | np.timedelta64 | pd.Timedelta
"""A duration as users give it: text with a unit, such as ``"90min"``, or an object of numpy or pandas."""


def parse_duration(value: Duration, name: str, *, least: str = "") -> np.timedelta64:
    """Return a duration as ``timedelta64[ns]``.

    Parameters
    ----------
    value
        Text with a unit, such as ``"2h"`` or ``"90min"``, or a duration of numpy or pandas.
    name
        Name of the option, for error messages.
    least
        Shortest duration allowed, such as ``"1min"`` or ``"0min"``; by default any duration above zero.

    Raises
    ------
    InputError
        If `value` has no unit, is no duration, or is too short.

    Examples
    --------
    >>> parse_duration("90min", "lead_time").astype("timedelta64[m]")
    np.timedelta64(90,'m')
    """
    found, remedy = f"{name} = {value!r}", "Write, for example, '2h' or '90min'"
    if isinstance(value, int | float) or (isinstance(value, str) and not value.strip()[-1:].isalpha()):
        raise InputError(found, "it is a duration with a unit", remedy)
    if (
        isinstance(value, np.timedelta64)
        and not np.isnat(value)
        and np.datetime_data(value)[0] in {"generic", "Y", "M"}
    ):
        raise InputError(found, "it is a duration with a unit of certain length", remedy)
    try:
        duration = pd.Timedelta(value)
    except ValueError as error:
        raise InputError(found, "it is a duration", remedy) from error
    shortest = pd.Timedelta(least) if least else None
    if not duration > pd.Timedelta(0) and not duration == shortest:
        raise InputError(found, "it is above zero", remedy)
    if shortest is not None and duration < shortest:
        raise InputError(found, f"it is {least} at least", remedy)
    return cast(np.timedelta64, duration.to_timedelta64().astype("timedelta64[ns]"))


def check_lead_times(lead_times: ArrayLike) -> LeadTimes:
    """Return lead times as ``timedelta64[ns]``, shape ``(lead,)``.

    Raises
    ------
    InputError
        If they are not of type timedelta64, not above zero, or do not increase.
    """
    leads = np.atleast_1d(np.asarray(lead_times))
    if not np.issubdtype(leads.dtype, np.timedelta64):
        raise InputError(
            f"lead times are of type {leads.dtype}",
            "they are timedelta64",
            "Give, for example, np.arange(5, 125, 5) * np.timedelta64(1, 'm')",
        )
    leads = leads.astype("timedelta64[ns]")
    # phrased so that NaT, for which every comparison is false, is refused
    if leads.size == 0 or not (leads > np.timedelta64(0)).all() or not (np.diff(leads) > np.timedelta64(0)).all():
        raise InputError(
            f"lead times are {leads.astype('timedelta64[s]')}", "they are above zero and increase", "Sort them"
        )
    return leads
