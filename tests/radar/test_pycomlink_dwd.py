from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridcast.core.field import crs_of
from hybridcast.datasets.registry import fetch
from hybridcast.errors import FetchError, ReadError
from hybridcast.radar import open_radar, pycomlink_dwd

FILE = "example_areal_reference_data.nc"


@pytest.fixture(scope="module")
def path() -> Path:
    """Return the sample; pip downloads it if it is neither on the mirror nor in the cache."""
    try:
        files = fetch("pycomlink-dwd-2018", progress=False)
    except FetchError as error:
        pytest.skip(f"real data missing: {error}")
    return next(file for file in files if file.name == FILE)


@pytest.fixture(scope="module")
def field(path):
    return open_radar(path)


def test_is_lazy_local_and_regular(field):
    assert field.shape == (3168, 190, 228)
    assert field.chunks is not None
    assert crs_of(field) is None
    assert field.time.values[0] == np.datetime64("2018-05-10T00:00")
    assert field.time.values[-1] == np.datetime64("2018-05-20T23:55")
    assert field.attrs["accumulation_interval_minutes"] == 5
    assert field.attrs["institution"] == "Deutscher Wetterdienst (DWD)"


def test_rows_run_from_south_to_north(field, path):
    with netCDF4.Dataset(path) as file:
        latitude = np.asarray(file["latitudes"][:, 0])
    assert latitude[0] < latitude[-1]
    assert field.y.values[0] < field.y.values[-1]
    # from the corner of the grid to the centres of its cells
    assert field.y.values[[0, -1]].tolist() == [500, 189_500]
    assert field.x.values[[0, -1]].tolist() == [500, 227_500]


def test_values_are_those_of_an_independent_decoding(field, path):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        raw = file["rainfall_amount"][100:103]
    rate = field.isel(time=slice(100, 103)).values
    np.testing.assert_allclose(rate[raw >= 0], raw[raw >= 0] * 0.01 * 12, rtol=1e-5)
    assert (np.isnan(rate) == (raw < 0)).all()


def test_amounts_of_rain_are_plausible(field):
    day = field.sel(time="2018-05-13").load()
    assert 1 < float(day.where(day > 0.1).mean()) < 6  # convective
    assert 5 < float(day.sum("time").max()) / 12 < 120  # mm in a day
    assert float(day.isnull().mean()) < 0.05


def test_truncated_file_is_named(path, tmp_path):
    bad = tmp_path / "bad.nc"
    bad.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ReadError, match=r"bad\.nc"):
        open_radar(bad)


def like_the_sample(path, value=1.0, title="RADOLAN YW rainfall data"):
    shape = (2, 3, 4)
    hours = 160895.0 + 1 / 6 + np.arange(2) / 12
    data = xr.Dataset(
        {"rainfall_amount": (("time", "y", "x"), np.full(shape, value), {"units": "kg"})},
        coords={
            "time": ("time", hours, {"units": "hours since 2000-01-01T00:50:00", "calendar": "standard"}),
            "latitudes": (("y", "x"), np.ones(shape[1:])),
            "longitudes": (("y", "x"), np.ones(shape[1:])),
        },
        attrs={"title": title},
    )
    data.to_netcdf(path)
    return path


def test_small_file_of_the_same_layout(tmp_path):
    field = open_radar(like_the_sample(tmp_path / "a.nc"))
    assert field.attrs["format"] == "pycomlink-dwd"
    assert (field == 12).all()
    assert field.time.values[1] == np.datetime64("2018-05-10T00:05")


def test_impossible_values_are_refused_when_they_are_loaded(tmp_path):
    field = open_radar(like_the_sample(tmp_path / "a.nc", value=-9.0))
    with pytest.raises(ReadError, match=r"a\.nc: holds -108 mm/h"):
        field.load()


def test_other_files_are_not_recognised(tmp_path):
    path = like_the_sample(tmp_path / "a.nc", title="something else")
    assert not pycomlink_dwd.recognises(path, path.read_bytes()[:100])
    assert not pycomlink_dwd.recognises(tmp_path, b"")
