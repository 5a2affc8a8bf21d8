"""Steering wind: from the newest run with wind, known everywhere, None if no run has wind."""

from __future__ import annotations

import numpy as np

from helpers.synthetic import rain
from hybridcast.motion.estimate import check_motion
from hybridcast.nwp import nwp_fields, regrid_to_radar, steering_wind

HOUR = np.timedelta64(1, "h")


def on_grid(field, winds, *, columns=None):
    """Return runs of steady wind, the oldest first, on the grid of a field."""
    starts = field.time.values[-1] - np.arange(len(winds), 0, -1) * 3 * HOUR
    values = np.broadcast_to(
        np.array(winds, np.float32)[:, None, None, None], (len(winds), 24, *field.shape[1:])
    ).copy()
    if columns is not None:
        values[..., columns:] = np.nan
    nwp = nwp_fields(
        {"x_wind": values, "y_wind": -values},
        reference_time=starts,
        lead_time=np.arange(24) * HOUR,
        y=field.y.values,
        x=field.x.values,
        crs="EPSG:3035",
        vertical_levels={"x_wind": "700 hPa"},
    )
    return regrid_to_radar(nwp, field, field.time.values[-1:])


def test_the_newest_run_counts_and_it_is_a_motion():
    field = rain((20, 30), crs="EPSG:3035")
    wind = steering_wind(on_grid(field, [5, 10]), field.time.values[-1])
    assert (wind.u == 10).all()
    assert (wind.v == -10).all()
    assert wind.attrs["vertical_level"] == "700 hPa"
    check_motion(wind, field)


def test_beyond_the_model_the_nearest_wind_is_taken():
    field = rain((20, 30), crs="EPSG:3035")
    wind = steering_wind(on_grid(field, [7], columns=12), field.time.values[-1])
    assert (wind.u == 7).all()


def test_an_older_run_stands_in_for_one_without_wind():
    field = rain((20, 30), crs="EPSG:3035")
    assert (steering_wind(on_grid(field, [5, np.nan]), field.time.values[-1]).u == 5).all()


def test_none_is_none():
    field = rain((20, 30), crs="EPSG:3035")
    assert steering_wind(None, field.time.values[-1]) is None
    there = on_grid(field, [np.nan])
    assert steering_wind(there, field.time.values[-1]) is None
    assert steering_wind(there, field.time.values[0]) is None
    assert steering_wind(there.drop_vars("x_wind"), field.time.values[-1]) is None
