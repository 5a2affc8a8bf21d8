"""MRMS: longitudes west of Greenwich, codes below zero, range, damage."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar

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
    ],
)
def test_damage_is_named(real, tmp_path, harm, reason):
    path = tmp_path / "damaged.grib2"
    path.write_bytes(harm(real(FILES)[0].read_bytes()))
    with pytest.raises(ReadError, match=rf"damaged\.grib2.*{reason}"):
        open_radar(path)
