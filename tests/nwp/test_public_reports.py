"""Files of models that were reported as read wrongly, by whichever software, put through as they were described."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.grib import degrees, encode, write
from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.nwp import open_nwp

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2024-06-01T00", "ns")
PLACE = degrees(52.0, 5.0, 51.3, 5.9, 0.1)
START = {"dataDate": 20240601, "dataTime": 0}


def total(value, steps, *, template=8, statistic=1, number=8, place=PLACE, **keys):
    """Return a message of precipitation of table 4.2-0-1 over the step `steps`."""
    given = {
        "productDefinitionTemplateNumber": template,
        "discipline": 0,
        "parameterCategory": 1,
        "parameterNumber": number,
        "typeOfFirstFixedSurface": 1,
    }
    values = np.full((8, 10), float(value)) if np.isscalar(value) else value
    return encode(values, **place, **START, **given, **keys, typeOfStatisticalProcessing=statistic, stepRange=steps)


def rates(nwp):
    return nwp.precipitation_rate.values[0, :, 3, 4].tolist()


def test_two_sums_of_one_name_in_a_file_of_hrrr(tmp_path):
    """ecmwf/cfgrib, issue 187: 0-5 and 4-5 hour accumulations, of which one overwrote the other."""
    path = write(tmp_path / "hrrr.grib2", total(13, "0-5"), total(3, "4-5"))
    assert rates(open_nwp(path)) == pytest.approx([3.0])


def test_six_hours_and_ten_days_in_a_file_of_graphcast(tmp_path):
    """NOAA-EMC/graphcast, issue 45: APCP of 234-240 and of 0-240 hours."""
    path = write(tmp_path / "g.grib2", total(12, "234-240"), total(96, "0-240"))
    nwp = open_nwp(path)
    assert rates(nwp) == pytest.approx([2.0])
    assert nwp.lead_time.values == [240 * HOUR]


def test_means_over_overlapping_steps(tmp_path):
    """opengribs/XyGrib, pull requests 62 and 72: mean rates of NOAA over 0-3, 0-6, 6-9 and 6-12 hours."""
    means = {"0-3": 1.0, "0-6": 1.5, "6-9": 3.0, "6-12": 3.5}
    messages = (total(mean / 3600, step, statistic=0, number=7) for step, mean in means.items())
    assert rates(open_nwp(write(tmp_path / "m.grib2", *messages))) == pytest.approx([1, 2, 3, 4], rel=1e-3)


def test_a_rate_that_is_summed_since_the_start_in_arome(tmp_path):
    """opengribs/XyGrib, pull request 84: number 52, a rate by the table, is the sum since the start."""
    messages = (total(value, f"0-{hour}", number=52) for hour, value in ((1, 1.0), (2, 3.0)))
    assert rates(open_nwp(write(tmp_path / "a.grib2", *messages))) == pytest.approx([1, 2])


def test_arome_without_a_total_has_rain_and_snow(tmp_path):
    """CyrilJl/MeteoFetch, issue 2: AROME at 0.01 degrees has ``tirf``, which is rain alone, and snow beside it."""
    path = write(tmp_path / "a.grib2", total(1, "0-1", number=65), total(2, "0-1", number=66))
    assert rates(open_nwp(path)) == pytest.approx([3.0])


def test_members_that_lost_their_numbers_are_refused(tmp_path):
    """ecmwf/cfgrib, issue 316: members written in edition 1 without a local definition cannot be told apart."""
    keys = {"table2Version": 2, "indicatorOfParameter": 61, "timeRangeIndicator": 4, "P1": 0, "P2": 1}
    messages = [encode(np.full((8, 10), value), edition=1, **PLACE, **START, **keys) for value in (1.0, 2.0)]
    with pytest.raises(ReadError, match=r"m\.grib: two fields of precipitation_amount at \+1 h have other values"):
        open_nwp(write(tmp_path / "m.grib", *messages))


def test_percentiles_beside_the_deterministic_field_of_a_blend(tmp_path):
    """dtcenter/MET, issue 2055, and mpiannucci/gribberish, pull request 172: NOAA's NBM has templates 4.6 and 4.10."""
    cape = {"discipline": 0, "parameterCategory": 7, "parameterNumber": 6, "typeOfFirstFixedSurface": 1}
    messages = [total(2, "0-1")]
    messages += [total(value, "0-1", template=10, percentileValue=p) for p, value in ((10, 0.0), (90, 9.0))]
    for template, keys, value in ((0, {}, 500.0), (6, {"percentileValue": 90}, 2500.0)):
        given = {"productDefinitionTemplateNumber": template, **cape, **keys, "stepRange": "1"}
        messages.append(encode(np.full((8, 10), value), **PLACE, **START, **given))
    nwp = open_nwp(write(tmp_path / "nbm.grib2", *messages))
    assert rates(nwp) == pytest.approx([2.0])
    assert float(nwp["atmosphere_convective_available_potential_energy"].max()) == pytest.approx(500.0, abs=0.1)
    assert "precipitation_amount (percentile 90)" in nwp.attrs["left_out"]


@pytest.mark.parametrize(
    ("first", "last", "columns", "step"),
    [
        (0.0, -1.0, 360, 1.0),  # ecmwf/cfgrib, issue 367: FNL of 1999, where cfgrib makes -1 to 358
        (180.0, 179.76, 1500, 0.24),  # noritada/grib-rs, issue 51: GDPS of Canada
        (0.0, 359.0, 360, 1.0),
    ],
)
def test_longitudes_once_around(tmp_path, first, last, columns, step):
    """The rain lies at 100.5 W at the latest: there the cell has the value of its true longitude."""
    true = (first + step * np.arange(columns) + 180) % 360 - 180
    values = np.where(np.abs(true + 100.32) < 1.5 * step, 5.0, 0.0) * np.ones((11, 1))
    place = degrees(45.0, first, 35.0, last, step) | {"jDirectionIncrementInDegrees": 1.0}
    nwp = open_nwp(write(tmp_path / "g.grib2", total(values, "0-1", place=place)))
    wet = nwp.x.values[nwp.precipitation_rate.values[0, 0, 5] > 1]
    assert np.abs((wet + 180) % 360 - 180 + 100.32).max() < 1.5 * step
    assert np.diff(nwp.x.values) == pytest.approx(step, rel=1e-3)


def test_mercator_over_the_date_line(tmp_path):
    """jswhit/pygrib, issue 81: a WRF grid from 159.843 E to 174.843 W, where longitudes ran backwards."""
    keys = {
        "gridType": "mercator",
        "latitudeOfFirstGridPointInDegrees": -50.882,
        "longitudeOfFirstGridPointInDegrees": 159.843,
        "latitudeOfLastGridPointInDegrees": -29.381,
        "longitudeOfLastGridPointInDegrees": 185.157,
        "LaDInDegrees": 24.792,
        "DiInMetres": 21656.5,
        "DjInMetres": 21656.5,
        "jScansPositively": 1,
    }
    values = np.zeros((134, 119))
    values[60, 118] = 5.0
    nwp = open_nwp(write(tmp_path / "nz.grib2", total(values, "0-1", place=keys)))
    to_degrees = pyproj.Transformer.from_crs(crs_of(nwp), 4326, always_xy=True)
    row, column = np.unravel_index(nwp.precipitation_rate.values[0, 0].argmax(), (134, 119))
    longitude, _ = to_degrees.transform(nwp.x.values[column], nwp.y.values[row])
    assert longitude % 360 == pytest.approx(185.157, abs=0.3)
    assert (np.diff(nwp.x.values) > 0).all()


@pytest.mark.parametrize(("relative", "names"), [(1, {"x_wind", "y_wind"}), (0, {"x_wind", "y_wind"})])
def test_wind_along_the_grid_that_cfgrib_calls_eastward(tmp_path, relative, names):
    """blaylockbk/Herbie, issue 368: with GRIB_uvRelativeToGrid = 1, ``u10`` is no eastward wind."""
    crs = pyproj.CRS("+proj=lcc +lat_0=38.5 +lat_1=38.5 +lat_2=38.5 +lon_0=-97.5 +R=6371229")
    x0, y0 = pyproj.Proj(crs)(-80.0, 40.0)
    coords = {
        "y": ("y", y0 + 3000.0 * np.arange(4), {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": ("x", x0 + 3000.0 * np.arange(5), {"standard_name": "projection_x_coordinate", "units": "m"}),
        "time": ((), RUN, {"standard_name": "forecast_reference_time"}),
        "step": ("step", [HOUR.astype("m8[ns]")], {"standard_name": "forecast_period"}),
        "crs": ((), 0, crs.to_cf()),
    }
    parts = {"u10": ("eastward_wind", 10.0), "v10": ("northward_wind", 0.0)}
    variables = {
        name: (
            ("step", "y", "x"),
            np.full((1, 4, 5), value),
            {"standard_name": std, "units": "m s-1", "grid_mapping": "crs", "GRIB_uvRelativeToGrid": relative},
        )
        for name, (std, value) in parts.items()
    }
    xr.Dataset(variables, coords).to_netcdf(tmp_path / "h.nc", engine="h5netcdf")
    nwp = open_nwp(tmp_path / "h.nc")
    assert set(nwp.data_vars) == names
    # the meridian at 80 W is turned by the sine of the latitude of the cone times 17.5 degrees
    turn = 0.0 if relative else np.deg2rad(17.5) * np.sin(np.deg2rad(38.5))
    found = float(nwp.x_wind[0, 0, 0, 0]), float(nwp.y_wind[0, 0, 0, 0])
    assert found == pytest.approx((10 * np.cos(turn), 10 * np.sin(turn)), abs=0.02)


def test_a_packed_missing_value_is_no_rain(tmp_path):
    """open-meteo, issue 330: -3276.8 mm, the lowest number of a packed variable whose missing value was lost."""
    coords = {
        "time": ("time", RUN + np.arange(1, 3) * HOUR, {"standard_name": "time"}),
        "lat": ("lat", [52.0, 51.9], {"units": "degrees_north"}),
        "lon": ("lon", [5.0, 5.1], {"units": "degrees_east"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    values = np.array([1.0, -3276.8])[:, None, None] * np.ones((1, 2, 2))
    rate = {"standard_name": "lwe_precipitation_rate", "units": "mm h-1"}
    xr.Dataset({"pr": (("time", "lat", "lon"), values, rate)}, coords).to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    with pytest.raises(ReadError, match=r"p\.nc: precipitation_rate runs from -3276\.8 to -3276\.8 mm h-1.*missing"):
        open_nwp(tmp_path / "p.nc")
