"""KNMI composites: kilometres to metres, corners stated in the file, calibration, coverage, damage."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import open_radar

FILES = "knmi/20100826/*.h5"


def copy(real, tmp_path, index: int = 40):
    path = tmp_path / "copy.h5"
    shutil.copyfile(real(FILES)[index], path)
    return path


def test_three_files_make_three_frames_at_five_minutes(real):
    files = real(FILES)[1:4]
    field = open_radar(files)
    assert field.shape == (3, 765, 700)
    assert field.attrs["format"] == "knmi-hdf5"
    # named by the end of the interval, 00:05 and so on
    assert (field.time.values == np.array(["2010-08-26T00:05", "2010-08-26T00:10", "2010-08-26T00:15"], "M8[ns]")).all()
    assert field.attrs["accumulation_interval_minutes"] == 5


def test_corners_of_the_grid_are_those_stated_in_the_file(real):
    field = open_radar(real(FILES)[0])
    with h5py.File(real(FILES)[0]) as file:
        corners = file["geographic"].attrs["geo_product_corners"].reshape(4, 2).astype(float)
    x, y = field.x.values, field.y.values
    left, right, top, bottom = x[0] - 500, x[-1] + 500, y[0] + 500, y[-1] - 500
    assert top > bottom
    lon, lat = pyproj.Proj(crs_of(field))([left, left, right, right], [bottom, top, top, bottom], inverse=True)
    error = pyproj.Geod(ellps="WGS84").inv(lon, lat, corners[:, 0], corners[:, 1])[2]
    assert error.max() < 100  # m; they are given to 0.001 degrees


def test_radar_of_de_bilt_is_in_its_cell(real):
    """De Bilt, 5.179 E 52.103 N: column and row of its cell, computed with the ellipsoid in metres."""
    x, y = pyproj.Proj("+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752")(5.179, 52.103)
    field = open_radar(real(FILES)[0])
    assert abs(field.x.values - x).argmin() == int(x // 1000)
    assert abs(field.y.values - y).argmin() == int((-3_650_000 - y) // 1000)


def test_rates_are_hundredths_of_mm_in_five_minutes(real):
    path = real(FILES)[40]
    with h5py.File(path) as file:
        raw = file["image1/image_data"][...]
    rate = open_radar(path).values[0]
    assert (np.isnan(rate) == (raw == 65535)).all()
    np.testing.assert_allclose(rate[raw != 65535], raw[raw != 65535] * 0.01 * 12, rtol=1e-6)


def test_coverage_and_rain_are_plausible(real):
    field = open_radar(real(FILES)[40])
    assert float(field.isnull().mean()) == pytest.approx(0.744, abs=0.002)
    inside = field.where(field.notnull(), drop=False)
    wet = float((inside > 0).sum() / inside.notnull().sum())
    assert 0.3 < wet < 0.7
    assert 0.3 < float(field.where(field > 0.1).mean()) < 3  # stratiform rain all night


def test_reflectivity(real, tmp_path):
    """An 8-bit composite of reflectivity, GEO = 0.5 PV - 31.5, in which 0 is no echo and 255 outside."""
    path = copy(real, tmp_path)
    with h5py.File(path, "r+") as file:
        image = file["image1"]
        del image["image_data"]
        pixels = np.zeros((765, 700), np.uint8)
        pixels[0], pixels[1] = 255, 125
        image["image_data"] = pixels
        image.attrs["image_geo_parameter"] = np.bytes_("REFLECTIVITY_[DBZ]")
        image["calibration"].attrs["calibration_formulas"] = np.bytes_("GEO = 0.500000 * PV + -31.500000")
        image["calibration"].attrs["calibration_out_of_image"] = np.array([255], np.int32)
        image["calibration"].attrs["calibration_missing_data"] = np.array([0], np.int32)
    field = open_radar(path)
    assert np.isnan(field.values[0, 0]).all()
    assert field.values[0, 1] == pytest.approx((10**3.1 / 200) ** (1 / 1.6), rel=1e-4)
    assert (field.values[0, 2:] == 0).all()
    assert "R^1.6" in field.attrs["z_r_relation"]


def test_agrees_with_pysteps(real):
    importers = pytest.importorskip("pysteps.io.importers")
    amount, _, meta = importers.import_knmi_hdf5(str(real(FILES)[40]))
    field = open_radar(real(FILES)[40])
    np.testing.assert_allclose(field.values[0], 12 * amount, rtol=1e-6)
    assert meta["y1"] * 1000 == pytest.approx(field.y.values[-1] - 500)


def test_truncated_file_is_named(real, tmp_path):
    data = real(FILES)[40].read_bytes()
    for size in (len(data) // 2, 5000, 100):
        path = tmp_path / f"cut{size}.h5"
        path.write_bytes(data[:size])
        with pytest.raises(ReadError, match=path.name):
            open_radar(path)


def test_corrupt_pixels_are_named(real, tmp_path):
    """A byte changed in the compressed image is found by its checksum."""
    path = copy(real, tmp_path)
    with h5py.File(path) as file:
        chunk = file["image1/image_data"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ReadError, match=r"copy\.h5"):
        open_radar(path)


@pytest.mark.parametrize(
    ("place", "key", "value", "reason"),
    [
        ("overview", "product_datetime_end", np.bytes_("26-AUG-2010;03:00:00.000"), "no interval"),
        ("overview", "product_datetime_end", np.bytes_("26.08.2010 03:50"), "is not like"),
        ("image1", "image_geo_parameter", np.bytes_("ECHOTOP_[KM]"), "ECHOTOP"),
        ("image1/calibration", "calibration_formulas", np.bytes_("GEO=LOG(PV)"), "formula"),
        ("geographic", "geo_column_offset", np.array([100.0], np.float32), "differ by"),
        ("geographic", "geo_number_rows", np.array([700], np.int32), "rows and columns"),
        ("geographic", "geo_pixel_def", np.bytes_("CC"), "geo_pixel_def"),
    ],
)
def test_contradictions_are_named(real, tmp_path, place, key, value, reason):
    path = copy(real, tmp_path, 39)
    with h5py.File(path, "r+") as file:
        file[place].attrs[key] = value
    with pytest.raises(ReadError, match=rf"copy\.h5.*{reason}"):
        open_radar(path)


def test_several_images_without_times_are_refused(real, tmp_path):
    path = copy(real, tmp_path)
    with h5py.File(path, "r+") as file:
        file.copy("image1", "image2")
    with pytest.raises(ReadError, match=r"2 images of ACCUMULATED_PRECIPITATION.* without their times"):
        open_radar(path)


# --- products since 2019, with the attributes of real files as users of the KNMI data platform list them ------------

PROJ4 = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752 +x_0=0 +y_0=0 +units=km"


def renew(path, *, valid=()):
    """Change a composite of 2010 to the layout of RAD_NL25_RAC_RT, or, with times of images, RAD_NL25_RAC_FM."""
    with h5py.File(path, "r+") as file:
        file["geographic/map_projection"].attrs["projection_proj4_params"] = np.bytes_(PROJ4)
        file["geographic"].attrs.update({"geo_row_offset": np.float32([3650]), "geo_pixel_size_y": np.float32([-1])})
        image = file["image1"]
        image.attrs["image_geo_parameter"] = np.bytes_("PRECIP_[MM]")
        image["calibration"].attrs.update({"calibration_missing_data": [65534], "calibration_out_of_image": [65535]})
        image["image_data"][700, 10:20] = 65534
        for number, time in enumerate(valid, 1):
            if number > 1:
                file.copy("image1", f"image{number}")
                file[f"image{number}/image_data"][300:310] = 1000 * number
            file[f"image{number}"].attrs["image_datetime_valid"] = np.bytes_(f"26-AUG-2010;{time}:00.000")
        if valid:
            file["overview"].attrs["product_datetime_start"] = np.bytes_("26-AUG-2010;03:20:00.000")
            file["overview"].attrs["product_datetime_end"] = np.bytes_(f"26-AUG-2010;{valid[-1]}:00.000")
    return path


def test_real_time_product_with_images_of_quality(real, tmp_path):
    """RAD_NL25_RAC_RT: an ellipsoid in metres with offsets in km, two codes, and images that are no rain."""
    path = renew(copy(real, tmp_path))
    old = open_radar(real(FILES)[40])
    with h5py.File(path, "r+") as file:
        for number, quantity in ((2, "QUALITY_[-]"), (3, "ADJUSTMENT_FACTOR_[DB]")):
            file.copy("image1", f"image{number}")
            file[f"image{number}"].attrs["image_geo_parameter"] = np.bytes_(quantity)
    field = open_radar(path)
    assert field.attrs["accumulation_interval_minutes"] == 5
    assert np.isnan(field.values[0, 700, 10:20]).all()
    np.testing.assert_array_equal(np.delete(field.values[0], 700, 0), np.delete(old.values[0], 700, 0))
    x, y = pyproj.Proj("+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752")(5.179, 52.103)
    assert abs(field.x.values - x).argmin() == int(x // 1000)
    assert abs(field.y.values - y).argmin() == int((-3_650_000 - y) // 1000)


def test_the_analysis_of_a_forecast_is_read_and_the_rest_left_out(real, tmp_path):
    """RAD_NL25_RAC_FM of 03:20: images at +0 to +15 min."""
    path = renew(copy(real, tmp_path), valid=("03:20", "03:25", "03:30", "03:35"))
    with pytest.warns(InputWarning, match=r"copy\.h5: forecasts \(\+5 to \+15 min\) left out"):
        field = open_radar(path)
    assert str(field.time.values[0])[:16] == "2010-08-26T03:20"
    assert field.attrs["accumulation_interval_minutes"] == 5
    assert float(field.max()) < 120


def test_forecasts_without_an_analysis_are_no_observations(real, tmp_path):
    path = renew(copy(real, tmp_path), valid=("03:25", "03:30"))
    with pytest.raises(ForecastFileError, match=r"copy\.h5: a forecast \(\+5 to \+10 min\)"):
        open_radar(path)
    observed = real(FILES)[36:40]
    field = open_radar([*observed, path])
    assert field.sizes["time"] == 4
    assert "+5 to +10 min" in field.attrs["forecasts_left_out"]


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"image_datetime_valid": "26-AUG-2010;03:50:00.000"}, r"\+30 min"),
        ({"image_product_name": "RAD_NL25_PCP_FM"}, "its product is RAD_NL25_PCP_FM"),
    ],
)
def test_one_image_of_a_forecast_is_no_observation(real, tmp_path, attrs, message):
    path = copy(real, tmp_path)
    with h5py.File(path, "r+") as file:
        file["image1"].attrs.pop("image_datetime_valid", None)
        file["image1"].attrs.update({name: np.bytes_(value) for name, value in attrs.items()})
    with pytest.raises(ForecastFileError, match=message):
        open_radar(path)


def test_an_analysis_that_marks_no_coverage_is_no_observation(real, tmp_path):
    """The forecasts of pySTEPS at KNMI have 0 where nothing was observed, which must not become dry."""
    path = renew(copy(real, tmp_path), valid=("03:20", "03:25"))
    with h5py.File(path, "r+") as file:
        data = file["image1/image_data"]
        data[...] = np.where(data[...] >= 65534, 0, data[...])
    with pytest.raises(ForecastFileError, match="not observed from dry"):
        open_radar(path)


def test_sums_over_a_day_keep_their_interval(real, tmp_path):
    """RAD_NL25_RAC_24H: rain in mm from 08 to 08 UTC."""
    path = copy(real, tmp_path)
    with h5py.File(path, "r+") as file:
        file["overview"].attrs["product_datetime_start"] = np.bytes_("25-AUG-2010;08:00:00.000")
        file["overview"].attrs["product_datetime_end"] = np.bytes_("26-AUG-2010;08:00:00.000")
    field = open_radar(path)
    assert field.attrs["accumulation_interval_minutes"] == 1440
    np.testing.assert_allclose(field.values[0], open_radar(real(FILES)[40]).values[0] / 288, rtol=1e-5)
