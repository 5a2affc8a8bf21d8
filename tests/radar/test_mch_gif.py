"""MeteoSwiss composites: Swiss coordinates, the logarithmic scale of amounts, times, coverage, damage."""

from __future__ import annotations

import io

import numpy as np
import pyproj
import pytest
from PIL import Image

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar

FILES = "mch/20160711/*.gif"


def test_three_files_make_three_frames_at_five_minutes(real):
    field = open_radar(real(FILES)[:3])
    assert field.shape == (3, 640, 710)
    assert field.attrs["format"] == "mch-gif"
    assert (field.time.values == np.array(["2016-07-11T20:45", "2016-07-11T20:50", "2016-07-11T20:55"], "M8[ns]")).all()
    assert field.attrs["accumulation_interval_minutes"] == 5


def test_midnight_belongs_to_the_next_day(real):
    field = open_radar(real(FILES)[-2:])
    assert str(field.time.values[-1])[:16] == "2016-07-12T00:00"
    assert field.sizes["time"] == 2


def test_amounts_of_five_minutes_become_rates(real):
    index = np.asarray(Image.open(real(FILES)[0]))
    rate = open_radar(real(FILES)[0]).values[0]
    assert (np.isnan(rate) == (index == 255)).all()
    assert (rate[index <= 1] == 0).all()
    # 316 R^1.5 = 10^((i - 71.5) / 20), R in mm per 5 min
    for i in (71, 100, 130):
        expected = 12 * (10 ** ((i - 71.5) / 20) / 316) ** (1 / 1.5)
        assert rate[index == i] == pytest.approx(expected, rel=1e-5)


def test_coverage_and_rain_are_plausible(real):
    field = open_radar(real(FILES)[::20])
    assert float(field.isnull().mean()) == pytest.approx(0.30, abs=0.01)
    # a line of thunderstorms: rates, not amounts, reach 50 mm/h and stay below the tropics
    assert 50 < float(field.max()) < 200
    assert 1 < float(field.where(field > 0.1).mean()) < 6
    assert 0.05 < float((field > 0.1).mean()) < 0.3


def test_bern_is_at_its_swiss_coordinates(real):
    """The old observatory of Bern, 46.95108 N 7.43864 E, is 600 000 / 200 000 by definition (swisstopo)."""
    field = open_radar(real(FILES)[0])
    to_map = pyproj.Transformer.from_crs("EPSG:4326", crs_of(field), always_xy=True)
    assert to_map.transform(7.43864, 46.95108) == pytest.approx((600_000, 200_000), abs=10)
    # the domain reaches from 255 to 965 km east and from -160 to 480 km north
    x, y = field.x.values, field.y.values
    assert (x[0] - 500, x[-1] + 500) == (255_000, 965_000)
    assert (y[-1] - 500, y[0] + 500) == (-160_000, 480_000)
    assert abs(x - 600_000).argmin() in {344, 345}
    assert abs(y - 200_000).argmin() in {279, 280}


def test_agrees_with_pysteps(real):
    importers = pytest.importorskip("pysteps.io.importers")
    amount, _, meta = importers.import_mch_gif(str(real(FILES)[0]), "AQC", "mm", 5.0)
    field = open_radar(real(FILES)[0])
    np.testing.assert_allclose(field.values[0], 12 * amount, rtol=1e-5)
    assert (meta["x1"], meta["y2"]) == (field.x.values[0] - 500, field.y.values[0] + 500)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:30000] + data[40000:], "damaged"),
        (lambda data: data.replace(b"mmh2LASSEN8bitmm_mn", b"dBZ2LASSEN8bitdB_mn"), "colour scale"),
        (lambda data: data.replace(b"ACCUm=000005", b"ACCUm=000000"), "ACCUm"),
    ],
)
def test_damage_is_named(real, tmp_path, harm, reason):
    path = tmp_path / "AQC161932045V_damaged.gif"
    path.write_bytes(harm(real(FILES)[0].read_bytes()))
    with pytest.raises(ReadError, match=rf"damaged\.gif.*{reason}"):
        open_radar(path)


def test_another_size_and_another_gif(real, tmp_path):
    original = Image.open(real(FILES)[0])
    small = tmp_path / "AQC161932045V_small.gif"
    original.crop((0, 0, 700, 600)).save(small, comment=original.info["comment"])
    with pytest.raises(ReadError, match=r"small\.gif.*640, 710"):
        open_radar(small)
    other = tmp_path / "cat.gif"
    buffer = io.BytesIO()
    Image.new("P", (710, 640)).save(buffer, "GIF")
    other.write_bytes(buffer.getvalue())
    with pytest.raises(ReadError, match=r"cat\.gif.*no known radar format"):
        open_radar(other)
