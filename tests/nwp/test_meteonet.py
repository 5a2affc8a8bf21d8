"""AROME wind on MeteoNet's patches: times, grid, and a unit that agrees with the motion of the rain."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast import estimate_motion, open_radar
from hybridcast.core.field import check_same_grid, crs_of
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import open_nwp, regrid_to_radar

DAYS = {
    "2018-03-12": ("meteonet_wind/pred_example/", 18),
    "2016-01-09": ("meteonet_wind/history_20160109/data/pred_example/", 12),
}


@pytest.fixture(scope="module", params=DAYS)
def day(request, real):
    folder, count = DAYS[request.param]
    rain = open_radar([f for f in real(f"{folder}rain/*.npz")])
    wind = open_nwp([*real(f"{folder}U/*.npz"), *real(f"{folder}V/*.npz")])
    return request.param, count, rain, wind


def test_wind_and_rain_are_at_the_same_times_and_places(day):
    name, count, rain, wind = day
    assert wind.sizes == {"reference_time": 1, "lead_time": count, "y": 128, "x": 128}
    assert wind.reference_time.values[0] == np.datetime64(name)
    assert (wind.reference_time.values[0] + wind.lead_time.values == rain.time.values).all()
    check_same_grid(wind, rain, "wind and rain")
    assert crs_of(wind) is None
    assert np.isfinite(wind.x_wind.values).all()


def test_rain_moves_twice_as_fast_to_the_right_of_the_wind(day):
    """The relation is that of wind near the ground; it would differ with another unit or sign of v."""
    _, _, rain, wind = day
    motion = estimate_motion(rain.isel(time=slice(4, 8)))
    wet = rain.values[7] >= 0.1
    m = (motion.u.values + 1j * motion.v.values)[wet].mean()
    w = (wind.x_wind.values + 1j * wind.y_wind.values)[0, 7][wet].mean()
    assert 0.5 < abs(w) / abs(m) < 0.7
    assert -25 < np.rad2deg(np.angle(m / w)) < -5


def test_the_wind_goes_on_the_grid_of_its_patch_and_no_other(day, real):
    _, _, rain, wind = day
    there = regrid_to_radar(wind, rain, rain.time.values[3:5])
    np.testing.assert_array_equal(there.x_wind.values[0], wind.x_wind.values[0, 3:5])
    with pytest.raises(InputError, match="share one grid"):
        regrid_to_radar(wind, rain.isel(x=slice(1, None)), rain.time.values)


def test_damage_is_named(real, tmp_path):
    (tmp_path / "U").mkdir()
    path = tmp_path / "U" / "y2018-M3-d12-h5-m0.npz"
    path.write_bytes(real(DAYS["2018-03-12"][0] + "U/*-h5-m0.npz")[0].read_bytes()[:3000])
    with pytest.raises(ReadError, match="damaged or incomplete"):
        open_nwp(path)
    np.savez(path, data=np.zeros((3, 4)))
    with pytest.raises(ReadError, match="not rows of whole numbers"):
        open_nwp(path)
    np.savez(path.parent.parent / "y2018-M3-d12-h5-m0.npz", data=np.zeros((3, 4), np.int16))
    with pytest.raises(ReadError, match="no known NWP format"):
        open_nwp(path.parent.parent / "y2018-M3-d12-h5-m0.npz")
