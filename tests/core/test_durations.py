"""Durations given by users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybridcast.core.durations import parse_duration
from hybridcast.errors import InputError

HOUR = np.timedelta64(60, "m")


@pytest.mark.parametrize("value", ["1h", "60min", "0.5 h ", "1 hour", np.timedelta64(30, "m"), pd.Timedelta("1h")])
def test_text_and_objects(value):
    found = parse_duration(value, "lead_time")
    assert found.dtype == "timedelta64[ns]"
    assert found in (HOUR, HOUR / 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("60", "step = '60'; it is a duration with a unit. Write, for example, '2h' or '90min'"),
        ("", "unit"),
        (60, "unit"),
        ("01:00:00", "unit"),
        ("soon", "step = 'soon'; it is a duration"),
        ("0min", "above zero"),
        ("-5min", "above zero"),
        (np.timedelta64("NaT"), "above zero"),
        ("30s", "it is 1min at least"),
    ],
)
def test_what_is_no_duration_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        parse_duration(value, "step", least="1min")
