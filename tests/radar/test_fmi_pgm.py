"""FMI composites: position by the radars named in the file, coding of reflectivity, coverage, damage."""

from __future__ import annotations

import gzip

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar

FILES = "fmi/20170509/*.pgm.gz"


def plain(real, index: int = 0) -> bytes:
    return gzip.decompress(real(FILES)[index].read_bytes())


def test_three_files_make_three_frames_at_five_minutes(real):
    field = open_radar(real(FILES)[:3])
    assert field.shape == (3, 1226, 760)
    assert field.attrs["format"] == "fmi-pgm"
    assert (field.time.values == np.array(["2017-05-09T10:45", "2017-05-09T10:50", "2017-05-09T10:55"], "M8[ns]")).all()
    assert field.attrs["institution"] == "Finnish Meteorological Institute"


def test_rates_are_those_of_the_pixels(real):
    pixels = np.frombuffer(plain(real)[-1226 * 760 :], np.uint8).reshape(1226, 760)
    rate = open_radar(real(FILES)[0]).values[0]
    assert (np.isnan(rate) == (pixels == 255)).all()
    assert (rate[pixels == 0] == 0).all()
    row, column = np.unravel_index(np.where(pixels == 255, 0, pixels).argmax(), pixels.shape)
    dbz = 0.5 * int(pixels[row, column]) - 32
    assert rate[row, column] == pytest.approx((10 ** (dbz / 10) / 223) ** (1 / 1.53), rel=1e-5)


def test_coverage_and_rain_are_plausible(real):
    field = open_radar(real(FILES)[0])
    assert float(field.isnull().mean()) == pytest.approx(0.24, abs=0.01)
    wet = field.where(field > 0.1)
    assert 0.02 < float((field > 0.1).mean()) < 0.5
    assert 0.2 < float(wet.mean()) < 5
    assert float(field.max()) < 200


def test_corners_are_where_the_header_says(real):
    field = open_radar(real(FILES)[0])
    to_map = pyproj.Proj("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=25 +R=6371288")  # FMI's sphere
    left, bottom = to_map(18.6, 57.93)
    right, top = to_map(34.903, 69.005)
    x, y = field.x.values, field.y.values
    assert y[0] > y[-1]
    assert [x[0], x[-1]] == pytest.approx([left + 499.837, right - 499.837], abs=1)
    assert [y[-1], y[0]] == pytest.approx([bottom + 499.814, top - 499.814], abs=1)
    assert np.diff(x).mean() == pytest.approx(999.674053, abs=1e-4)  # metersperpixel_x


def test_coverage_lies_around_the_radars(real):
    """Coverage ends 250 km from the nearest of the ten radars in the header, which a shift of two cells breaks."""
    field = open_radar(real(FILES)[0])
    radars = [line.split() for line in plain(real)[:1000].decode("latin-1").splitlines() if line.startswith("# radar ")]
    places = np.array([[float(words[4]), float(words[5])] for words in radars])
    assert len(places) == 10
    field = field[0, ::4, ::4]
    x, y = np.meshgrid(field.x, field.y)
    sphere = pyproj.Geod(a=6371288, b=6371288)

    def wrong(shift_x: float, shift_y: float) -> int:
        lon, lat = pyproj.Proj(crs_of(field))(x + shift_x, y + shift_y, inverse=True)
        distance = [sphere.inv(lon, lat, np.full_like(lon, a), np.full_like(lat, b))[2] for a, b in places]
        return int(((np.min(distance, axis=0) > 250_000) != np.isnan(field.values)).sum())

    here = wrong(0, 0)
    assert here < 0.004 * field.size
    assert all(here < wrong(*shift) for shift in [(2000, 0), (-2000, 0), (0, 2000), (0, -2000)])


def test_agrees_with_pysteps(real):
    importers = pytest.importorskip("pysteps.io.importers")
    dbz, _, meta = importers.import_fmi_pgm(str(real(FILES)[0]), gzipped=True)
    field = open_radar(real(FILES)[0])
    expected = (10 ** (dbz / 10) / 223) ** (1 / 1.53)
    np.testing.assert_allclose(field.values[0], np.where(expected < 0.01, 0, expected), rtol=1e-4, atol=0.0101)
    # pysteps moves the origin to the lower left corner
    assert field.x.values[0] - meta["xpixelsize"] / 2 == pytest.approx(meta["x1"] - 380886.310, abs=1)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[:-1000], "bytes of pixels follow"),
        (lambda data: data + b"more", "bytes of pixels follow"),
        (lambda data: data[:300], "PGM header"),
        (lambda data: data.replace(b"obstime 2017", b"obstime 20x7"), "obstime"),
        (lambda data: data.replace(b"bottomleft 18", b"bottomleft 28"), "contradict"),
        (lambda data: data.replace(b"type stereographic", b"type mercator"), "mercator"),
        (lambda data: data.replace(b"CorrectedReflectivity", b"EchoTop"), "EchoTop"),
        (lambda data: data.replace(b"metersperpixel_y 9", b"metersperpixel_z 9"), "metersperpixel_y"),
    ],
)
def test_damage_is_named(real, tmp_path, harm, reason):
    path = tmp_path / "201705091045_damaged.pgm"
    path.write_bytes(harm(plain(real)))
    with pytest.raises(ReadError, match=rf"damaged\.pgm.*{reason}"):
        open_radar(path)


def test_truncated_and_corrupt_gzip(real, tmp_path):
    data = real(FILES)[0].read_bytes()
    for name, harmed in {
        "cut.pgm.gz": data[: len(data) // 2],
        "flip.pgm.gz": data[:9000] + b"??" + data[9002:],
    }.items():
        path = tmp_path / name
        path.write_bytes(harmed)
        with pytest.raises(ReadError, match=name):
            open_radar(path)


def test_another_pgm_is_not_claimed(tmp_path):
    path = tmp_path / "photo.pgm"
    path.write_bytes(b"P5\n2 2\n255\n1234")
    with pytest.raises(ReadError, match=r"photo\.pgm.*no known radar format"):
        open_radar(path)
