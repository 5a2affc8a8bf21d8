from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputError, InputWarning, ReadError
from hybridcast.radar import open_radar

VALUES = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, -1]], dtype=np.float32)
NORTH_UP = from_origin(200_000, 6_700_000, 1000, 1000)


def write(path, bands=(VALUES,), units="mm h-1", band_tags=None, **options):
    tags = options.pop("tags", {"time": "2020-01-01T00:05"})
    profile = {"crs": "EPSG:3067", "transform": NORTH_UP, "nodata": -1, "dtype": "float32", **options}
    scale, offset = profile.pop("scale", None), profile.pop("offset", None)
    height, width = np.shape(bands[0])
    with rasterio.open(path, "w", driver="GTiff", count=len(bands), height=height, width=width, **profile) as file:
        for number, band in enumerate(bands, start=1):
            file.write(np.asarray(band, profile["dtype"]), number)
            file.update_tags(number, **((band_tags or {}).get(number, {})))
        file.update_tags(**({"units": units} if units else {}), **tags)
        if scale is not None:
            file.scales, file.offsets = [scale] * len(bands), [offset] * len(bands)
    return path


def test_values_coverage_and_attributes(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", tags={"time": "2020-01-01T00:05:00Z", "SOURCE": "a test"}))
    np.testing.assert_array_equal(field[0], np.where(VALUES < 0, np.nan, VALUES))
    assert field.time.values[0] == np.datetime64("2020-01-01T00:05")
    assert field.attrs["format"] == "geotiff"
    assert field.attrs["source"] == "a test"


def test_places_are_centres_of_cells(tmp_path):
    field = open_radar(write(tmp_path / "a.tif"))
    assert field.x.values.tolist() == [200_500, 201_500, 202_500, 203_500]
    assert field.y.values.tolist() == [6_699_500, 6_698_500, 6_697_500]
    with rasterio.open(tmp_path / "a.tif") as file:
        lon, lat = pyproj.Transformer.from_crs(3067, 4326, always_xy=True).transform(*file.xy(1, 2))
    x, y = pyproj.Transformer.from_crs(4326, crs_of(field), always_xy=True).transform(lon, lat)
    assert float(field.sel(x=x, y=y, method="nearest")[0]) == 6


def test_rows_from_the_south_and_pixels_as_points(tmp_path):
    south = Affine(1000, 0, 200_000, 0, 1000, 6_700_000)
    field = open_radar(
        write(tmp_path / "a.tif", transform=south, tags={"time": "2020-01-01", "AREA_OR_POINT": "Point"})
    )
    assert field.y.values.tolist() == [6_700_500, 6_701_500, 6_702_500]
    assert field.x.values[0] == 200_500


def test_degrees(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", crs="EPSG:4326", transform=from_origin(10, 60, 0.01, 0.01)))
    assert crs_of(field).is_geographic
    np.testing.assert_allclose(field.x, [10.005, 10.015, 10.025, 10.035])
    np.testing.assert_allclose(field.y, [59.995, 59.985, 59.975])


def test_kilometres_and_feet_become_metres(tmp_path):
    km = pyproj.CRS("+proj=utm +zone=35 +ellps=GRS80 +units=km").to_wkt()
    field = open_radar(write(tmp_path / "km.tif", crs=km, transform=from_origin(200, 6700, 1, 1)))
    assert field.x.values[0] == 200_500
    assert crs_of(field).axis_info[0].unit_name == "metre"
    lon, lat = pyproj.Transformer.from_crs(km, 4326, always_xy=True).transform(200.5, 6699.5)
    assert pyproj.Transformer.from_crs(4326, crs_of(field), always_xy=True).transform(lon, lat) == pytest.approx(
        (200_500, 6_699_500), abs=0.01
    )
    feet = open_radar(write(tmp_path / "ft.tif", crs="EPSG:2225", transform=from_origin(6e6, 2e6, 3000, 3000)))
    assert feet.x.values[0] == pytest.approx(6_001_500 * 1200 / 3937)


def test_packed_numbers_are_unpacked(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", dtype="int16", scale=0.1, offset=0.5))
    np.testing.assert_allclose(field[0], np.where(VALUES < 0, np.nan, VALUES * 0.1 + 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "more", "factor"),
    [
        ("mm/h", {}, 1),
        ("kg m-2 s-1", {}, 3600),
        ("mm", {"accumulation_interval_minutes": "5"}, 12),
        ("mm/d", {}, 1 / 24),
    ],
)
def test_units(tmp_path, units, more, factor):
    values = VALUES / 3600 if factor == 3600 else VALUES
    path = write(tmp_path / "a.tif", [values], units, tags={"time": "2020-01-01", **more}, nodata=values.min())
    np.testing.assert_allclose(
        open_radar(path)[0, 0, 1:], np.array([1, 2, 3]) * (1 if factor == 3600 else factor), 1e-5
    )


def test_reflectivity_is_converted(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", [np.full((3, 4), 23.0103)], "dBZ"))
    np.testing.assert_allclose(field, 1, rtol=1e-4)


def test_units_in_the_description_of_the_band(tmp_path):
    path = write(tmp_path / "a.tif", units=None)
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "rain rate [mm/h]")
    assert float(open_radar(path)[0, 1, 1]) == 5


def test_bands_with_times(tmp_path):
    times = {number: {"time": f"2020-01-01T00:{5 * number:02d}"} for number in (1, 2, 3)}
    field = open_radar(write(tmp_path / "a.tif", [VALUES, VALUES + 1, VALUES + 2], band_tags=times, tags={}))
    assert field.shape == (3, 3, 4)
    assert field.time.values[2] == np.datetime64("2020-01-01T00:15")
    assert field[:, 0, 0].values.tolist() == [0, 1, 2]


def test_time_from_the_name_goes_before_the_time_of_writing(tmp_path):
    tags = {"TIFFTAG_DATETIME": "2024:05:06 07:08:09"}
    assert open_radar(write(tmp_path / "rain_202001010005.tif", tags=tags)).time[0] == np.datetime64("2020-01-01T00:05")
    with pytest.warns(InputWarning, match="often is the time of writing"):
        assert open_radar(write(tmp_path / "rain.tif", tags=tags)).time[0] == np.datetime64("2024-05-06T07:08:09")


def test_a_sequence_of_files(tmp_path):
    for minute in (0, 5, 15):
        write(tmp_path / f"rain_2020010100{minute:02d}.tif", tags={})
    field = open_radar(str(tmp_path / "*.tif"))
    assert field.isnull().all(("y", "x")).values.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": None}, "does not state its units"),
        ({"units": "K"}, "no rain rate"),
        ({"units": "m"}, "time it fell in"),
        ({"units": "mm"}, "time it fell in"),
        ({"tags": {}}, "no time in its tags nor its name"),
        ({"tags": {"time": "yesterday"}}, "yesterday"),
        ({"bands": (VALUES, VALUES)}, "2 bands without a time"),
        ({"nodata": None}, "holds -1 in its units, a code for missing values"),
        ({"transform": Affine(1000, 100, 0, 100, -1000, 0)}, "do not run along x"),
        ({"bands": (abs(VALUES) * 1000,)}, "more than ever fell"),
    ],
)
def test_what_is_not_stated_is_refused_with_a_remedy(tmp_path, change, message):
    with pytest.raises(ReadError, match=rf"a\.tif: .*{message}"):
        open_radar(write(tmp_path / "a.tif", **change))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_image_without_georeference_is_refused(tmp_path):
    with pytest.raises(ReadError, match="no georeference"):
        open_radar(write(tmp_path / "a.tif", transform=Affine.identity(), crs=None))


@pytest.mark.parametrize("kept", [0, 4, 8, 60, 300])
def test_damaged_file_is_named(tmp_path, kept):
    good = write(tmp_path / "good.tif", compress="deflate").read_bytes()
    bad = tmp_path / "bad.tif"
    bad.write_bytes(good[: min(kept, len(good) - 20)])
    with pytest.raises(ReadError, match=r"bad\.tif"):
        open_radar(bad)


def test_a_real_field_comes_back(real, tmp_path):
    source = open_radar(real("fmi/20170509/*1100*.gz"))
    x, y = source.x.values, source.y.values
    corner = Affine(x[1] - x[0], 0, x[0] - (x[1] - x[0]) / 2, 0, y[1] - y[0], y[0] - (y[1] - y[0]) / 2)
    write(tmp_path / "a.tif", [source.values[0]], crs=crs_of(source).to_wkt(), transform=corner, nodata=np.nan)
    field = open_radar(tmp_path / "a.tif")
    np.testing.assert_array_equal(field[0], source[0])
    np.testing.assert_allclose(field.x, x, atol=1e-3)
    np.testing.assert_allclose(field.y, y, atol=1e-3)


# --- metadata of services -------------------------------------------------------------------------------------

OPERA = np.full((3, 4), -8_888_000.0)
OPERA[0], OPERA[1, 1] = -9_999_000.0, 5.0
_CODES = np.array([[255, 255, 255, 255], [0, 0, 110, 120], [64, 0, 0, 0]])  # of FMI: 255 not observed, 0 no echo


def fmi(quantity, unit, gain, offset, nodata, more=""):
    """Return the tag of FMI's files, as listed in the notes of their distribution on S3."""
    return {
        "GDAL_METADATA": f"""<GDALMetadata>
 <Item name="Observation time" format="YYYYMMDDhhmm">202406011200</Item>
 <Item name="Quantity" unit="{unit}">{quantity}</Item>
 <Item name="Gain">{gain:f}</Item>
 <Item name="Offset">{offset:f}</Item>
 <Item name="Nodata">{nodata}</Item>
 <Item name="Undetect">0</Item>
 {more}
</GDALMetadata>"""
    }


@pytest.mark.parametrize(
    ("quantity", "factor"),
    [("RATE", 1), ("ACRR", 1), ("DBZH", (10**0.5 / 200) ** 0.625 / 5)],
    ids=["rate", "sum", "dBZ"],
)
def test_opera_undetected_is_dry_and_the_quantity_in_its_name(tmp_path, quantity, factor):
    path = write(tmp_path / f"OPERA@20240601T1200@0@{quantity}.tiff", [OPERA], None, tags={}, nodata=-9_999_000.0)
    field = open_radar(path)
    np.testing.assert_allclose(field[0, 1:], np.where(OPERA[1:] == 5, 5 * factor, 0), rtol=1e-5)
    assert np.isnan(field[0, 0]).all()
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")
    assert field.attrs.get("accumulation_interval_minutes") == (60 if quantity == "ACRR" else None)


def test_fmi_reflectivity(tmp_path):
    tags = fmi("Corrected reflectivity", "dBZ", 0.5, -32, 255)
    field = open_radar(write(tmp_path / "202406011200_fmi.tif", [_CODES], None, tags=tags, dtype="uint8", nodata=None))
    dbz = np.array([[23, 28], [0, -32]])  # 0.5 x 110 - 32, 0.5 x 120 - 32, 0.5 x 64 - 32, no echo
    np.testing.assert_allclose(field[0, 1, 2:], (10 ** (dbz[0] / 10) / 200) ** 0.625, rtol=1e-4)
    np.testing.assert_allclose(field[0, 2, :2], [(1 / 200) ** 0.625, 0], rtol=1e-4)
    assert np.isnan(field[0, 0]).all()
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")


@pytest.mark.parametrize(("hours", "factor"), [(1, 1), (24, 1 / 24)])
def test_fmi_sums_of_hours(tmp_path, hours, factor):
    more = f'<Item name="Accumulation time" unit="h">{hours}</Item>'
    raw = np.array([[65535, 65535, 0, 0], [0, 560, 80, 1], [0, 0, 0, 0]])
    tags = fmi("Precipitation accumulation", "mm", 0.01, 0, 65535, more)
    path = write(tmp_path / f"202406011200_FIN-ACRR{hours}H.tif", [raw], None, tags=tags, dtype="uint16", nodata=None)
    field = open_radar(path)
    np.testing.assert_allclose(field[0, 1], np.array([0, 5.6, 0.8, 0.01]) * factor, rtol=1e-5)
    assert np.isnan(field[0, 0, :2]).all()
    assert field.attrs["accumulation_interval_minutes"] == 60 * hours


def test_gain_and_offset_of_plain_tags(tmp_path):
    raw = np.array([[65535, 0, 0, 0], [0, 80, 0, 0], [0, 0, 0, 0]])
    tags = {"Gain": "0.01", "Offset": "0", "Nodata": "65535", "Undetect": "0"}
    path = write(tmp_path / "r_202406011215.tif", [raw], tags=tags, dtype="uint16", nodata=None)
    field = open_radar(path)
    assert float(field[0, 1, 1]) == pytest.approx(0.8)
    assert np.isnan(field[0, 0, 0])


def test_units_of_a_band_that_are_the_quantity(tmp_path):
    # FMI's newer products on S3: scale 0.5, offset -32, units DBZH, no-data value 255
    path = write(
        tmp_path / "202608120000_finrad_dbzh.tif",
        [_CODES],
        None,
        tags={},
        dtype="uint8",
        nodata=255,
        scale=0.5,
        offset=-32,
    )
    with rasterio.open(path, "r+") as file:
        file.units = ["DBZH"]
    field = open_radar(path)
    np.testing.assert_allclose(field[0, 1], [0, 0, (10**2.3 / 200) ** 0.625, (10**2.8 / 200) ** 0.625], rtol=1e-4)


def test_odim_converted_by_gdal(tmp_path):
    what = {"gain": "0.1", "offset": "0", "nodata": "255", "undetect": "0", "quantity": "ACRR"}
    tags = {f"dataset1_data1_what_{name}": text for name, text in what.items()}
    ends = {"startdate": "20240601", "starttime": "114500", "enddate": "20240601", "endtime": "120000"}
    tags |= {f"dataset1_what_{name}": text for name, text in ends.items()}
    raw = np.array([[255, 0, 0, 0], [0, 50, 0, 0], [0, 0, 0, 0]])
    field = open_radar(write(tmp_path / "a.tif", [raw], None, tags=tags, dtype="uint8", nodata=None))
    assert float(field[0, 1, 1]) == pytest.approx(20)  # 5 mm in 15 minutes
    assert np.isnan(field[0, 0, 0])
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")


@pytest.mark.parametrize(("lead", "read"), [("0 sec", True), ("0", True), ("3600 sec", False), ("3600", False)])
def test_grib_converted_by_gdal(tmp_path, lead, read):
    tags = {"GRIB_UNIT": "[kg/(m^2 s)]", "GRIB_VALID_TIME": "1717243200", "GRIB_FORECAST_SECONDS": lead}
    path = write(tmp_path / "a.tif", [VALUES / 3600], None, tags={}, band_tags={1: tags}, nodata=-1 / 3600)
    if not read:
        with pytest.raises(ForecastFileError, match="FORECAST_SECONDS = 3600"):
            open_radar(path)
        return
    field = open_radar(path)
    np.testing.assert_allclose(field[0, 1], VALUES[1], rtol=1e-5)
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")


def test_netcdf_converted_by_gdal(tmp_path):
    tags = {"time#units": "minutes since 2024-06-01 12:00:00", "rr#units": "mm h-1", "rr#scale_factor": "0.1"}
    bands = {number: {"NETCDF_DIM_time": str(5 * number)} for number in (1, 2)}
    raw = np.abs(VALUES) * 10
    path = write(tmp_path / "a.tif", [raw, raw], None, bands, tags=tags, dtype="int16", scale=0.1, offset=0)
    field = open_radar(path)
    assert field.time.values[1] == np.datetime64("2024-06-01T12:10")
    np.testing.assert_allclose(field[1], np.abs(VALUES), rtol=1e-6)


def test_names_of_the_exporter_of_pysteps_are_forecasts(tmp_path):
    with pytest.raises(ForecastFileError, match=r"\+5 min, as pysteps'"):
        open_radar(write(tmp_path / "nowcast_202001010000_05.tif", tags={}))
    assert open_radar(write(tmp_path / "r_202001010000_05.tif")).time.values[0] == np.datetime64("2020-01-01T00:05")


@pytest.mark.parametrize("name", ["1710061200.tif", "radar_1710061200.tif", "SRI_05-06-2024-12-05.tif"])
def test_names_that_can_be_read_in_two_ways_are_no_times(tmp_path, name):
    with pytest.raises(ReadError, match=r"no time .* rio edit-info --tag time="):
        open_radar(write(tmp_path / name, tags={}))


@pytest.mark.parametrize("text", ["06/01/2024 12:00", "1717243200", "01.06.2024"])
def test_times_that_can_be_read_in_two_ways_are_refused(tmp_path, text):
    with pytest.raises(ReadError, match="neither like 2020-01-01T00:05"):
        open_radar(write(tmp_path / "a.tif", tags={"time": text}))


def test_time_with_a_zone(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", tags={"time": "2024-06-01T14:00:00+02:00"}))
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")


def test_pictures_are_refused(tmp_path):
    grey = np.full((3, 4), 7)
    picture = write(tmp_path / "rgb_202001010005.tif", [grey] * 4, dtype="uint8", nodata=None, photometric="RGB")
    with pytest.raises(ReadError, match="a picture"):
        open_radar(picture)
    palette = write(tmp_path / "p_202001010005.tif", [grey], dtype="uint8", nodata=None)
    with rasterio.open(palette, "r+") as file:
        file.write_colormap(1, {0: (255, 255, 255), 7: (0, 0, 255)})
    with pytest.raises(ReadError, match="a picture"):
        open_radar(palette)


def test_an_alpha_band_is_the_mask(tmp_path):
    opaque = np.where(VALUES < 0, 0, 255)
    path = write(tmp_path / "a.tif", [np.abs(VALUES), opaque], dtype="uint8", nodata=None)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha]
    np.testing.assert_array_equal(open_radar(path)[0], np.where(VALUES < 0, np.nan, VALUES))


def test_an_internal_mask(tmp_path):
    path = write(tmp_path / "a.tif", [np.abs(VALUES)], nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.where(VALUES < 0, 0, 255).astype("uint8"))
    np.testing.assert_array_equal(open_radar(path)[0], np.where(VALUES < 0, np.nan, VALUES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # ASFHyP3/hyp3-gamma #266, banesullivan/localtileserver #197: 0 as no-data value, though it is data
        ({"nodata": 0}, "declares 0 as missing .* --unset-nodata"),
        (
            {"dtype": "uint8", "bands": (np.full((3, 4), 255),), "nodata": None},
            "holds 255, the highest number of uint8",
        ),
        ({"tags": {"time": "2020-01-01", "gain": "0.01"}}, "whether they were applied already is not known"),
        ({"units": "dBZ", "bands": (np.full((3, 4), -999.0),)}, "holds -999 dBZ, a code"),
        ({"units": "mm/h*10"}, "are no rain rate"),
    ],
)
def test_what_is_not_known_for_certain_is_refused(tmp_path, change, message):
    with pytest.raises(ReadError, match=message):
        open_radar(write(tmp_path / "a.tif", **change))


@pytest.mark.parametrize(("units", "factor"), [("0.1 mm/h", 0.1), ("mm/5min", 12), ("mm/(15 min)", 4)])
def test_units_with_numbers(tmp_path, units, factor):
    np.testing.assert_allclose(open_radar(write(tmp_path / "a.tif", units=units))[0, 1], VALUES[1] * factor, rtol=1e-6)


def test_longitudes_beyond_the_dateline(tmp_path):
    field = open_radar(write(tmp_path / "a.tif", crs="EPSG:4326", transform=from_origin(190, -17, 0.02, 0.02)))
    np.testing.assert_allclose(field.x, [-169.99, -169.97, -169.95, -169.93])


def test_the_interval_can_be_given(tmp_path):
    path = write(tmp_path / "a.tif", units="mm")
    np.testing.assert_allclose(open_radar(path, interval="5min")[0, 1], VALUES[1] * 12, rtol=1e-6)
    with pytest.raises(ReadError) as refused:
        open_radar(path)
    assert "--radar-interval" in refused.value.for_command_line


def test_times_without_decoding(tmp_path):
    for minute in (0, 5, 10):
        write(tmp_path / f"rain_2020010100{minute:02d}.tif", tags={})
    bad = tmp_path / "rain_202001010000.tif"
    bad.write_bytes(bad.read_bytes()[:-20])  # its values are damaged, but its times are not
    assert open_radar(str(tmp_path / "*.tif"), history="5min").sizes["time"] == 2


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"forecast_hour": "1"}, "attribute forecast_hour = 1"),
        ({"forecast_reference_time": "2020-01-01T00:00"}, r"\+5 min"),
        ({"GRIB_REF_TIME": "1577836800 sec UTC"}, r"\+5 min"),
        ({"NETCDF_DIM_lead_time": "15"}, "attribute lead_time = 15"),
        ({"rr#forecast_period": "900"}, "attribute forecast_period = 900"),
        ({"product": "nowcast"}, "its product is 'nowcast'"),
        ({"TIFFTAG_IMAGEDESCRIPTION": "rain nowcast +30 min"}, "is 'rain nowcast"),
    ],
)
def test_forecasts_by_tags_under_other_names(tmp_path, tags, message):
    with pytest.raises(ForecastFileError, match=message):
        open_radar(write(tmp_path / "a.tif", tags={"time": "2020-01-01T00:05", **tags}))


@pytest.mark.parametrize("name", ["nowcast_202001010000_f030.tif", "rain_202001010000+030min.tif"])
def test_forecasts_by_name(tmp_path, name):
    with pytest.raises(ForecastFileError, match="its name states a lead time"):
        open_radar(write(tmp_path / name, tags={}))


def test_bands_by_description(tmp_path):
    path = write(tmp_path / "a.tif")
    for words, error in (
        ("rain forecast [mm/h]", ForecastFileError),
        ("rain rate x100", ReadError),
        ("90th percentile [mm/h]", ReadError),
        ("quality [mm/h]", ReadError),
    ):
        with rasterio.open(path, "r+") as file:
            file.set_band_description(1, words)
        with pytest.raises(error, match=words.partition(" [")[0]):
            open_radar(path)


def test_local_times_are_refused(tmp_path):
    with pytest.raises(ReadError, match="timezone = Europe/Oslo"):
        open_radar(write(tmp_path / "a.tif", tags={"time": "2020-01-01T00:05", "timezone": "Europe/Oslo"}))


def test_reflectivity_states_its_relation_and_is_not_mixed(tmp_path):
    tags = ({"time": "2020-01-01T00:05"}, {"time": "2020-01-01T00:10"})
    dbz = write(tmp_path / "a.tif", units="dBZ", tags=tags[0])
    assert open_radar(dbz).attrs["z_r_relation"] == "Z = 200 R^1.6"
    with pytest.raises(InputError, match=r"a\.tif holds rates from reflectivity, b\.tif rain rates"):
        open_radar([dbz, write(tmp_path / "b.tif", tags=tags[1])])
