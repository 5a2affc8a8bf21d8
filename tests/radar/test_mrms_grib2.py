"""MRMS: longitudes west of Greenwich, codes below zero, range, damage."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.grib import degrees, encode, write
from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputError, ReadError
from hybridcast.radar import mrms_grib2, open_radar

FILES = "mrms/20190610/*.grib2"


@pytest.fixture(scope="module")
def field(real):
    return open_radar(real(FILES)[0])


def test_frames_are_two_minutes_apart(real):
    two = open_radar(real(FILES)[:2])
    assert two.shape == (2, 3500, 7000)
    assert two.attrs["format"] == "mrms-grib2"
    assert (two.time.values == np.array(["2019-06-10T00:00", "2019-06-10T00:02"], "M8[ns]")).all()


def test_grid_is_that_of_the_conterminous_united_states(field):
    """NSSL documents cell centres from 54.995 N 129.995 W to 20.005 N 60.005 W, every 0.01 degrees."""
    assert crs_of(field).is_geographic
    assert field.y.values[[0, -1]] == pytest.approx([54.995, 20.005], abs=1e-5)
    assert field.x.values[[0, -1]] == pytest.approx([-129.995, -60.005], abs=1e-5)
    assert np.diff(field.x).mean() == pytest.approx(0.01, abs=1e-6)
    # Norman, Oklahoma, by counting hundredths of a degree
    assert abs(field.x.values - -97.44).argmin() in {3255, 3256}
    assert abs(field.y.values - 35.22).argmin() in {1977, 1978}


def test_values_are_those_of_an_independent_decoder(real, field):
    """The packed numbers are a 16-bit PNG: rate = (reference + number) / 10."""
    import io

    from PIL import Image

    data = real(FILES)[0].read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(data[data.index(b"\x89PNG") :]))).astype(np.int32)
    assert pixels.shape == (3500, 7000)
    tenths = pixels - 30
    rate = field.values[0]
    assert (np.isnan(rate) == (tenths < 0)).all()
    np.testing.assert_allclose(rate[tenths >= 0], tenths[tenths >= 0] / 10, rtol=1e-5)


def test_coverage_and_rain_are_plausible(field):
    assert float(field.isnull().mean()) == pytest.approx(0.358, abs=0.003)
    assert 0.01 < float((field > 0).mean()) < 0.1
    assert float(field.min()) == 0
    assert 100 < float(field.max()) < 300
    # the Gulf is seen off New Orleans; the middle of the Atlantic off the Carolinas is not
    assert np.isfinite(field.sel(x=-90, y=29.5, method="nearest")).all()
    assert np.isnan(field.sel(x=-62, y=32, method="nearest")).all()


def test_no_index_is_left_beside_the_file(real, tmp_path):
    path = tmp_path / "copy.grib2"
    path.write_bytes(real(FILES)[0].read_bytes())
    open_radar(path)
    assert [file.name for file in tmp_path.iterdir()] == ["copy.grib2"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:5000], "truncated"),
        (lambda data: data[:10], "truncated"),
        (lambda data: data + b"GRIB", "truncated"),
        (lambda data: data + b"rubbish that is longer", "damaged"),
        (lambda data: data[:-4] + b"0000", "truncated"),
        (lambda data: data[:118] + b"\x09\x02" + data[120:], "category and number"),
        (lambda data: data[:200] + b"\xff" * 2000 + data[2200:], "damaged"),
        (lambda data: data[:162] + b"\x08" + data[163:], "values of 8 bits in a PNG of 16 bits"),  # ecCodes would abort
    ],
)
def test_damage_is_named(real, tmp_path, harm, reason):
    path = tmp_path / "damaged.grib2"
    path.write_bytes(harm(real(FILES)[0].read_bytes()))
    with pytest.raises(ReadError, match=rf"damaged\.grib2.*{reason}"):
        open_radar(path)


# --- other products, made after NSSL's tables ------------------------------------------------------------------


def product(tmp_path, number, values, name="made.grib2", **keys):
    """Write a message on a corner of the MRMS grid, rows from north to south, as NSSL does."""
    corner = degrees(40.005, 260.005, 39.985, 260.035, step=0.01)
    parameter = dict(zip(("parameterCategory", "parameterNumber"), number, strict=True))
    keys = {"discipline": 209, "centre": 161, **parameter, "typeOfGeneratingProcess": 8, **corner, **keys}
    return write(tmp_path / name, encode(values, **keys))


@pytest.mark.parametrize(
    ("number", "minutes"),
    [((6, 45), 15), ((6, 2), 60), ((6, 3), 180), ((6, 6), 1440), ((6, 30), 60), ((6, 37), 60), ((6, 41), 1440)],
)
def test_amounts_state_the_interval_that_their_name_has(tmp_path, number, minutes):
    """RadarOnly_QPE_15M, 01H, 03H, 24H, MultiSensor_QPE_01H_Pass1, 01H_Pass2, 24H_Pass2; 12 mm in each."""
    values = np.full((3, 4), 12.0)
    values[0, :2] = -1, -3
    values[1, 0] = 0
    field = open_radar(product(tmp_path, number, values))
    assert field.attrs["accumulation_interval_minutes"] == minutes
    assert field.values[0, 2, 3] == pytest.approx(12 * 60 / minutes, rel=1e-3)
    assert np.isnan(field.values[0, 0]).tolist() == [True, True, False, False]
    assert field.values[0, 1, 0] == 0
    assert "QPE" in field.attrs["source"]
    assert float(field.sel(y=39.985, x=-99.965, method="nearest").values[0]) > 0


@pytest.mark.parametrize("number", [(10, 0), (11, 0), (11, 2), (3, 57), (8, 8)])
def test_no_echo_is_dry_and_no_coverage_is_missing(tmp_path, number):
    """ioda-converters issue 1474: -99 is below the detectable signal, -999 is without radar coverage."""
    values = np.full((3, 4), 45.0)
    values[0] = -999, -99, -10, 20
    field = open_radar(product(tmp_path, number, values))
    row = field.values[0, 0]
    assert np.isnan(row).tolist() == [True, False, False, False]
    assert row[1:3].tolist() == [0, 0]
    assert row[3] == pytest.approx((10**2.0 / 300) ** (1 / 1.4), rel=1e-3)
    # 45 dBZ are 10^4.5 mm6 m-3, 28 mm/h by the default relation of the WSR-88D
    assert field.values[0, 2, 0] == pytest.approx(27.8, abs=0.3)
    assert field.attrs["z_r_relation"] == "Z = 300 R^1.4"
    assert "accumulation_interval_minutes" not in field.attrs


@pytest.mark.parametrize(
    "number", [(6, 0), (3, 28), (10, 7), (9, 0), (3, 52)], ids=["PrecipFlag", "SHI", "hourly maximum", "height", "0C"]
)
def test_other_products_are_refused_with_those_that_are_read(tmp_path, number):
    path = product(tmp_path, number, np.ones((3, 4)))
    with pytest.raises(ReadError, match=rf"made\.grib2.*\({number[0]}, {number[1]}\).*PrecipRate.*RadarOnly_QPE_01H"):
        open_radar(path)


def test_the_forecast_of_reflectivity_is_no_observation(tmp_path):
    with pytest.raises(ForecastFileError, match=r"\+60 min"):
        open_radar(product(tmp_path, (13, 0), np.ones((3, 4))))


def test_sums_that_overlap_and_sequences_of_two_products_are_refused(tmp_path):
    """RadarOnly_QPE_01H comes every 2 minutes; it is no rain rate of these."""
    for minute in (0, 2):
        product(tmp_path, (6, 2), np.ones((3, 4)), f"qpe_{minute}.grib2", dataTime=600 + minute)
    product(tmp_path, (6, 1), np.ones((3, 4)), "rate_4.grib2", dataTime=604)
    with pytest.raises(InputError, match="sums over 60 min overlap"):
        open_radar(tmp_path / "qpe_*")
    with pytest.raises(InputError, match=r"sums over 60 min.*rain rates"):
        open_radar([tmp_path / "qpe_0.grib2", tmp_path / "rate_4.grib2"])


def test_two_products_in_one_file_are_not_mixed(tmp_path):
    first = product(tmp_path, (6, 1), np.ones((3, 4)), "a", dataTime=600)
    second = product(tmp_path, (10, 0), np.ones((3, 4)), "b", dataTime=602)
    both = write(tmp_path / "both", first.read_bytes(), second.read_bytes())
    with pytest.raises(ReadError, match="PrecipRate and MergedReflectivityQCComposite"):
        open_radar(both)


def test_seconds_of_the_file_are_kept(tmp_path):
    """MergedReflectivityQCComposite is stamped like 06:02:39."""
    path = product(tmp_path, (10, 0), np.ones((3, 4)), dataTime=602, second=39)
    assert open_radar(path).time.values[0] == np.datetime64("2024-01-01T06:02:39")
    assert mrms_grib2.read_times(path).tolist() == open_radar(path).time.values.tolist()
