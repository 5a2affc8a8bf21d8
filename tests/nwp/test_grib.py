"""GRIB: the real AROME and ARPEGE runs of MeteoNet, and messages written by ecCodes on other grids."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.nwp import open_nwp

AROME = "meteonet/weather_models/arome_PRECIP_NW_20180501000000.grib"
ARPEGE = "meteonet/weather_models/arpege_*_NW_20180501000000.grib"
HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def arome(real):
    return open_nwp(real(AROME))


@pytest.fixture(scope="module")
def arpege(real):
    return open_nwp(real(ARPEGE))


# --- real runs ------------------------------------------------------------------------------------------------


def test_arome_rain_has_the_grid_and_hours_that_meteonet_documents(arome):
    """0.025 degrees, 227 x 315 cells from 51.896 N 5.842 W, 1 to 24 h after 2018-05-01 00 UTC."""
    rate = arome.precipitation_rate
    assert rate.shape == (1, 24, 227, 315)
    assert (arome.reference_time.values == np.array(["2018-05-01"], "M8[ns]")).all()
    assert (arome.lead_time.values == np.arange(1, 25) * HOUR).all()
    assert arome.y.values[[0, -1]] == pytest.approx([51.896, 46.246], abs=1e-6)
    assert arome.x.values[[0, -1]] == pytest.approx([-5.842, 2.008], abs=1e-6)
    assert crs_of(arome).is_geographic
    assert rate.attrs["units"] == "mm h-1"


def test_rates_of_arome_sum_up_to_the_total_of_the_last_message(real, arome):
    """The last message is the sum of 24 h, decoded here by ecCodes alone; where it grows, the rates are its growth."""
    import eccodes

    with real(AROME)[0].open("rb") as file:
        *_, last = iter(lambda: eccodes.codes_grib_new_from_file(file), None)
    total = eccodes.codes_get_values(last).reshape(227, 315)
    assert eccodes.codes_get(last, "stepRange") == "0-24"
    summed = arome.precipitation_rate.values[0].sum(axis=0)
    np.testing.assert_allclose(summed, total, atol=0.02)
    assert summed.max() > 3
    assert 0.5 < total.mean() < 3


def test_arpege_files_of_several_variables_are_put_together(arpege):
    assert set(arpege.data_vars) == {
        "precipitation_rate",
        "x_wind",
        "y_wind",
        "air_temperature",
        "relative_humidity",
    }
    assert dict(arpege.sizes) == {"reference_time": 1, "lead_time": 25, "y": 58, "x": 80}
    assert arpege.x_wind.attrs["vertical_level"] == "10 m above ground"
    assert arpege.air_temperature.attrs["vertical_level"] == "2 m above ground"
    assert np.isnan(arpege.precipitation_rate.values[0, 0]).all()  # a sum needs an hour
    assert np.isfinite(arpege.precipitation_rate.values[0, 1:]).all()
    assert np.isfinite(arpege.x_wind.values).all()


def test_the_wind_is_that_of_the_speed_and_direction_beside_it(real, arpege):
    """The file also contains speed and direction of origin."""
    from cfgrib import FileStream

    messages = [m for _, m in FileStream(str(real(ARPEGE.replace("*", "10m"))[0])).items()]
    for hour in (0, 13, 24):
        speed, direction = (
            next(m["values"] for m in messages if m["shortName"] == name and m["endStep"] == hour).reshape(58, 80)
            for name in ("ws", "wdir")
        )
        u, v = (arpege[name].values[0, hour] for name in ("x_wind", "y_wind"))
        np.testing.assert_allclose(np.hypot(u, v), speed, atol=0.05)
        strong = speed > 2
        np.testing.assert_allclose(u[strong], (-speed * np.sin(np.deg2rad(direction)))[strong], atol=0.1)
        np.testing.assert_allclose(v[strong], (-speed * np.cos(np.deg2rad(direction)))[strong], atol=0.1)


def test_temperature_and_humidity_are_those_of_a_may_day(arpege):
    celsius = arpege.air_temperature - 273.15
    assert 0 < float(celsius.min()) < float(celsius.max()) < 20
    assert float(arpege.relative_humidity.max()) == pytest.approx(1.0, abs=0.01)
    assert 0.3 < float(arpege.relative_humidity.min()) < 0.6


def test_two_models_are_not_mixed(real):
    with pytest.raises(InputError, match=r"227 x 315 cells.*58 x 80.*Open the files of each NWP model"):
        open_nwp([*real(AROME), *real(ARPEGE)])


def test_masks_hold_nothing_of_a_run(real):
    with pytest.raises(ReadError, match=r"NW_masks\.grib: no variable known: it holds lsm \(surface\), h \(surface\)"):
        open_nwp(real("meteonet/masks/NW_masks.grib"))


def test_a_damaged_file_is_named_and_the_others_are_read(real, tmp_path):
    whole = real(ARPEGE.replace("*", "PRECIP"))[0].read_bytes()
    (tmp_path / "cut.grib").write_bytes(whole[:50_000])
    (tmp_path / "whole.grib").write_bytes(whole)
    with pytest.raises(ReadError, match=r"cut\.grib.*truncated or damaged after 5 messages"):
        open_nwp(tmp_path / "cut.grib")
    with pytest.raises(ReadError, match=r"cut\.grib"):
        open_nwp(tmp_path / "*.grib", strict=True)
    with pytest.warns(InputWarning, match=r"cut\.grib"):
        nwp = open_nwp(tmp_path / "*.grib")
    assert nwp.sizes["lead_time"] == 24
    assert "cut.grib" in nwp.attrs["unreadable_files"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.grib", "whole.grib"]


# --- made messages --------------------------------------------------------------------------------------------


def message(path, values, **keys):
    """Append a GRIB 2 message of `values`, ``(y, x)``, to a file."""
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    try:
        eccodes.codes_set(handle, "gridType", keys.pop("gridType", "regular_ll"))
        rows, columns = np.shape(values)
        for key, value in {"Nx": columns, "Ny": rows, "dataDate": 20200101, "dataTime": 600, **keys}.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set(handle, "bitsPerValue", 24)
        eccodes.codes_set_values(handle, np.asarray(values, float).ravel())
        with path.open("ab") as file:
            eccodes.codes_write(handle, file)
    finally:
        eccodes.codes_release(handle)


DEGREES = {
    "latitudeOfFirstGridPointInDegrees": 52.0,
    "longitudeOfFirstGridPointInDegrees": 359.0,
    "latitudeOfLastGridPointInDegrees": 51.8,
    "longitudeOfLastGridPointInDegrees": 0.5,
    "iDirectionIncrementInDegrees": 0.5,
    "jDirectionIncrementInDegrees": 0.1,
}
LAMBERT = {
    "gridType": "lambert",
    "shapeOfTheEarth": 6,
    "latitudeOfFirstGridPointInDegrees": 45.0,
    "longitudeOfFirstGridPointInDegrees": 5.0,
    "LaDInDegrees": 48.0,
    "LoVInDegrees": 10.0,
    "Latin1InDegrees": 48.0,
    "Latin2InDegrees": 48.0,
    "DxInMetres": 2500,
    "DyInMetres": 2500,
    "jScansPositively": 1,
}
CELLS = np.arange(12.0).reshape(3, 4)


def test_longitudes_beyond_greenwich_run_on(tmp_path):
    message(tmp_path / "a.grib2", CELLS + 280, **DEGREES, shortName="2t", stepRange="3")
    nwp = open_nwp(tmp_path / "a.grib2")
    assert nwp.x.values == pytest.approx([-1, -0.5, 0, 0.5])
    assert nwp.y.values == pytest.approx([52, 51.9, 51.8])
    np.testing.assert_allclose(nwp.air_temperature.values[0, 0], CELLS + 280, atol=1e-3)
    assert nwp.lead_time.values[0] == 3 * HOUR
    assert nwp.reference_time.values[0] == np.datetime64("2020-01-01T06")


def test_runs_and_levels_are_sorted_out(tmp_path):
    path = tmp_path / "b.grib2"
    for date in (20200102, 20200101):
        for level, typ in ((500, "isobaricInhPa"), (700, "isobaricInhPa"), (10, "heightAboveGround")):
            for short in ("u", "v"):
                keys = {"dataDate": date, "typeOfLevel": typ, "level": level, "shortName": short, "stepRange": "1"}
                if typ == "heightAboveGround":
                    keys["shortName"] = f"10{short}"
                    keys.pop("typeOfLevel"), keys.pop("level")
                message(path, np.full((3, 4), level / 100 + date % 10), **DEGREES, **keys)
    nwp = open_nwp(path)
    assert nwp.reference_time.values.astype("M8[h]").astype(str).tolist() == ["2020-01-01T06", "2020-01-02T06"]
    assert nwp.x_wind.attrs["vertical_level"] == nwp.y_wind.attrs["vertical_level"] == "700 hPa"
    np.testing.assert_allclose(nwp.x_wind.values[:, 0, 0, 0], [8, 9], atol=1e-3)
    assert "wind at 500 hPa (700 hPa is taken)" in nwp.attrs["left_out"]
    assert "10 m above ground" in nwp.attrs["left_out"]


def test_a_rate_is_brought_to_millimetres_an_hour(tmp_path):
    message(tmp_path / "c.grib2", CELLS / 3600, **DEGREES, shortName="prate", stepRange="2")
    np.testing.assert_allclose(open_nwp(tmp_path / "c.grib2").precipitation_rate.values[0, 0], CELLS, atol=1e-3)


def test_of_parameters_that_mean_the_same_the_first_is_taken(tmp_path):
    """Gusts of 10fg are maxima of the step, those of i10fg are instantaneous."""
    for short, value in (("i10fg", 10.0), ("10fg", 20.0), ("i10fg", 11.0)):
        message(tmp_path / "h.grib2", np.full((3, 4), value), **DEGREES, shortName=short)
    assert (open_nwp(tmp_path / "h.grib2").wind_speed_of_gust.values == 20).all()


def test_missing_values_are_nan(tmp_path):
    values = np.where(CELLS == 5, 9999.0, CELLS)
    message(tmp_path / "d.grib2", values, **DEGREES, shortName="cape", bitmapPresent=1, missingValue=9999)
    cape = open_nwp(tmp_path / "d.grib2").atmosphere_convective_available_potential_energy.values[0, 0]
    assert (np.isnan(cape) == (CELLS == 5)).all()


@pytest.mark.parametrize("relative", [0, 1])
def test_lambert_grid_is_in_metres_and_its_wind_along_the_grid(tmp_path, relative):
    path = tmp_path / "e.grib2"
    for short, value in (("u", 10.0), ("v", 0.0)):
        keys = {"typeOfLevel": "isobaricInhPa", "level": 700, "shortName": short, "stepRange": "1"}
        message(path, np.full((3, 4), value), **LAMBERT, **keys, uvRelativeToGrid=relative)
    nwp = open_nwp(path)
    crs = crs_of(nwp)
    assert np.diff(nwp.x) == pytest.approx([2500] * 3)
    assert np.diff(nwp.y) == pytest.approx([2500] * 2)
    place = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(
        nwp.x.values[0], nwp.y.values[0]
    )
    assert place == pytest.approx((5, 45), abs=1e-4)
    # on a tangential cone meridians converge by the sine of its latitude: 5 degrees west of the middle
    turn = 0.0 if relative else np.deg2rad(5.0) * np.sin(np.deg2rad(48.0))
    u, v = nwp.x_wind.values[0, 0, 0, 0], nwp.y_wind.values[0, 0, 0, 0]
    assert (u, v) == pytest.approx((10 * np.cos(turn), -10 * np.sin(turn)), abs=0.01)


def test_rotated_pole_is_known(tmp_path):
    """The pole of COSMO-EU: 40 N 170 W, that is the south pole of the rotation at 40 S 10 E."""
    keys = {"latitudeOfSouthernPoleInDegrees": -40.0, "longitudeOfSouthernPoleInDegrees": 10.0}
    corners = {
        "latitudeOfFirstGridPointInDegrees": 0.0,
        "longitudeOfFirstGridPointInDegrees": 0.0,
        "latitudeOfLastGridPointInDegrees": 0.2,
        "longitudeOfLastGridPointInDegrees": 0.3,
        "iDirectionIncrementInDegrees": 0.1,
        "jDirectionIncrementInDegrees": 0.1,
        "jScansPositively": 1,
    }
    message(tmp_path / "f.grib2", CELLS + 270, gridType="rotated_ll", **corners, **keys, shortName="2t")
    nwp = open_nwp(tmp_path / "f.grib2")
    crs = crs_of(nwp)
    to_earth = pyproj.Transformer.from_crs(crs, "+proj=longlat +R=6371229", always_xy=True)
    # the origin of the rotated grid lies 90 degrees from its pole, on the meridian of 10 E
    assert to_earth.transform(0.0, 0.0) == pytest.approx((10.0, 50.0), abs=1e-6)
    assert nwp.y.values == pytest.approx([0, 0.1, 0.2])


def test_other_grids_are_refused_by_name(tmp_path):
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("sh_sfc_grib2")
    eccodes.codes_set(handle, "shortName", "2t")
    with (tmp_path / "g.grib2").open("wb") as file:
        eccodes.codes_write(handle, file)
    eccodes.codes_release(handle)
    with pytest.raises(ReadError, match=r"g\.grib2: a grid of type 'sh'; interpolate it"):
        open_nwp(tmp_path / "g.grib2")
