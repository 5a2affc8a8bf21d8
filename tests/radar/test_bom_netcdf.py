from __future__ import annotations

import netCDF4
import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.errors import ForecastFileError, ReadError
from hybridcast.radar import bom_netcdf, open_radar

RADAR = 153.24, -27.7178  # Mt Stapylton, longitude and latitude, as the Bureau publishes them


@pytest.fixture(scope="session")
def brisbane(real):
    return open_radar(real("bom/66_20201031/*_0[0-3]*.nc"))


@pytest.fixture
def one(real):
    return real("bom/66_20201031/66_20201031_131000*.nc")[0]


def test_frames_grid_and_attributes(brisbane):
    assert brisbane.shape == (24, 512, 512)
    assert brisbane.time.values[0] == np.datetime64("2020-10-31T00:00")
    assert (np.diff(brisbane.time.values) == np.timedelta64(10, "m")).all()
    dy, dx = metres_per_cell(brisbane)
    assert dy == -500
    assert (dx == 500).all()
    assert brisbane.attrs["accumulation_interval_minutes"] == 10
    assert brisbane.attrs["institution"].startswith("Commonwealth of Australia")
    assert "bom.gov.au" in brisbane.attrs["license"]
    assert brisbane.attrs["format"] == "bom-netcdf"


def test_radar_and_a_place_100_km_north_of_it_lie_where_geodesy_says(brisbane):
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs_of(brisbane), always_xy=True)
    assert to_grid.transform(*RADAR) == pytest.approx((0, 0), abs=1)
    lon, lat, _ = pyproj.Geod(ellps="GRS80").fwd(*RADAR, 0, 100_000)
    x, y = to_grid.transform(lon, lat)
    assert (x, y) == pytest.approx((0, 100_000), abs=250)
    nearest = brisbane.sel(x=x, y=y, method="nearest")
    assert abs(float(nearest.y) - y) <= 250


def test_values_are_those_of_an_independent_decoding(one):
    with netCDF4.Dataset(one) as file:
        file.set_auto_maskandscale(False)
        raw = file["precipitation"][:]
    rate = open_radar(one).values[0]
    np.testing.assert_allclose(rate[raw >= 0], raw[raw >= 0] * 0.05 * 6, rtol=1e-6)
    assert np.isnan(rate[raw < 0]).all()


def test_rain_is_plausible(real):
    storm = open_radar(real("bom/66_20201031/66_20201031_04[0-2]*.nc")).values
    assert 1 < storm[storm > 0.1].mean() < 30
    assert 50 < np.nanmax(storm) < 500  # supercells


def test_stamp_is_the_end_of_the_interval(one):
    assert open_radar(one).time.values[0] == np.datetime64("2020-10-31T13:10")


def test_undeclared_negative_codes_are_missing(real):
    field = open_radar(real("bom/66_20201031/66_20201031_174000*.nc"))  # holds seven cells of -2
    assert np.nanmin(field) == 0
    assert 0 < np.isnan(field).sum() < 100


@pytest.mark.parametrize("kept", [0, 5, 3000, 20_000])
def test_truncated_file_is_named(one, tmp_path, kept):
    bad = tmp_path / "bad.nc"
    bad.write_bytes(one.read_bytes()[:kept])
    with pytest.raises(ReadError, match=r"bad\.nc"):
        open_radar(bad)


def test_interval_must_be_positive(one, tmp_path):
    bad = tmp_path / "bad.nc"
    bad.write_bytes(one.read_bytes())
    with netCDF4.Dataset(bad, "a") as file:
        file["start_time"][...] = file["valid_time"][...]
    with pytest.raises(ReadError, match="does not follow"):
        open_radar(bad)


@pytest.mark.parametrize(("minutes", "refused"), [(-10, True), (-60, True), (0, False)])
def test_forecasts_of_rainfields_are_no_observations(one, tmp_path, minutes, refused):
    """The nowcasts of Rainfields have the layout of its analyses, and a time at which they were issued."""
    path = tmp_path / "a.nc"
    path.write_bytes(one.read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        issued = file.createVariable("forecast_reference_time", "i8", ())
        issued.units, issued.standard_name = file["valid_time"].units, "forecast_reference_time"
        issued[...] = file["valid_time"][...] + 60 * minutes
    if refused:
        with pytest.raises(ForecastFileError, match=rf"a\.nc: a forecast \(.*{-minutes} min"):
            open_radar(path)
    else:
        assert open_radar(path).time.values[0] == np.datetime64("2020-10-31T13:10")


@pytest.mark.parametrize("units", ["mm h-1", "dBZ", ""])
def test_what_is_no_amount_is_refused_by_its_units(one, tmp_path, units):
    path = tmp_path / "a.nc"
    path.write_bytes(one.read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        file["precipitation"].units = units
    with pytest.raises(ReadError, match=rf"a\.nc.*{units}.*no amount"):
        open_radar(path)


def test_unknown_axis_units_are_refused(one, tmp_path):
    bad = tmp_path / "bad.nc"
    bad.write_bytes(one.read_bytes())
    with netCDF4.Dataset(bad, "a") as file:
        file["x"].units = "pixels"
    with pytest.raises(ReadError, match="pixels"):
        open_radar(bad)


def test_compressed_file_reads_the_same(one, tmp_path):
    import gzip

    packed = tmp_path / "a.nc.gz"
    packed.write_bytes(gzip.compress(one.read_bytes(), 1))
    np.testing.assert_array_equal(open_radar(packed, bom_netcdf), open_radar(one))
    assert open_radar(packed).attrs["format"] == "bom-netcdf"
