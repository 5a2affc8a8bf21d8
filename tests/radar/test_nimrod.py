"""Nimrod: composites made after the specification and the header of a real one, in their place; forecasts; damage."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import nimrod, open_radar

NAME = "metoffice-c-band-rain-radar_uk_202002070000_1km-composite.dat.gz"
#: Elements 1 to 31 and 32 to 59 of the 1 km composite of 2020-02-07 00:00, as its users print them (a2, test of radar).
INTEGERS = [2020, 2, 7, 0, 0, 0, 2020, 2, 7, 0, 0, 1, 2, -32767, 0, 2175, 1725, 2, 213, 5, -32767, 0, 11, 0, -1]
INTEGERS += [-32767] * 6
REALS = [9999.0, -32767.0, 1549500.0, 1000.0, -404500.0, 1000.0, -1.0, 0.0, 0.0] + [-32767.0] * 19


def field(values, units="mm/h*32", title="Rainfall rate Composite", kind=">i2", **elements):
    """Return a field; `elements` changes elements by number, such as ``e19=63``."""
    numbers = dict(enumerate([*INTEGERS, *REALS], 1))
    numbers |= {16: values.shape[0], 17: values.shape[1]} | {int(key[1:]): value for key, value in elements.items()}
    head = struct.pack(">31h", *(numbers[k] for k in range(1, 32)))
    head += struct.pack(">28f", *(numbers[k] for k in range(32, 60))) + struct.pack(">45f", *[-32767.0] * 45)
    head += units.encode().ljust(8, b"\0") + b"Plr single site radars\0\0" + title.encode().ljust(24, b"\0")
    head += struct.pack(">51h", *[-32767] * 51)
    body = values.astype(kind).tobytes()
    return b"".join(struct.pack(">I", len(part)) + part + struct.pack(">I", len(part)) for part in (head, body))


@pytest.fixture
def small():
    """Return 40 x 50 numbers: unseen in the north, 4 mm/h in one cell, else dry."""
    values = np.zeros((40, 50))
    values[:2] = -1
    values[10, 20] = 128
    return values


def opened(tmp_path, *fields, name=NAME):
    path = tmp_path / name
    data = b"".join(fields)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return open_radar(path)


def test_the_uk_composite_is_on_the_national_grid(tmp_path):
    """4 mm/h where London is: TQ 30 80, that is 530 km E 180 km N, 51.5 N 0.13 W by the Ordnance Survey."""
    values = np.zeros((2175, 1725))
    values[:100] = -1
    row, column = round((1549500 - 180500) / 1000), round((530500 + 404500) / 1000)
    values[row, column] = 128
    rain = opened(tmp_path, field(values))
    assert rain.attrs["format"] == "nimrod"
    assert rain.shape == (1, 2175, 1725)
    assert rain.time.values == np.datetime64("2020-02-07T00:00")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs_of(rain), always_xy=True).transform(-0.1206, 51.5076)
    assert (x, y) == pytest.approx((530500, 180500), abs=120)
    assert float(rain.sel(x=x, y=y, method="nearest").values[0]) == 4
    assert float(rain.max()) == 4
    assert int(np.isnan(rain).sum()) == 100 * 1725
    assert rain.y.values[0] > rain.y.values[-1]
    assert "accumulation_interval_minutes" not in rain.attrs


def test_amounts_state_their_period(tmp_path, small):
    rain = opened(tmp_path, field(small, "mm*32", "Accumulation", e19=214, e26=60))
    assert rain.attrs["accumulation_interval_minutes"] == 60
    assert float(rain.max()) == 4
    rain = opened(tmp_path, field(small, "mm*32", "Accumulation", e19=61, e26=5))
    assert float(rain.max()) == 48
    with pytest.raises(ReadError, match="does not state its period"):
        opened(tmp_path, field(small, "mm*32", "Accumulation", e19=214))


def test_rows_from_the_bottom_and_other_types(tmp_path, small):
    rain = opened(tmp_path, field(small / 32, "mm/hr", kind=">f4", e12=0, e13=4, e24=1, e38=-1 / 32, e34=0.0))
    assert rain.y.values[:2].tolist() == [0, 1000]
    assert float(rain.values[0, 10, 20]) == 4
    assert np.isnan(rain.values[0, :2]).all()


def test_european_composites_in_degrees(tmp_path, small):
    rain = opened(tmp_path, field(small, e15=1, e34=60.0, e35=0.05, e36=-10.0, e37=0.05))
    assert crs_of(rain).is_geographic
    assert float(rain.sel(x=-9, y=59.5, method="nearest").values[0]) == 4


def test_the_true_origin_may_be_in_kilometres_but_not_elsewhere(tmp_path, small):
    assert crs_of(opened(tmp_path, field(small, e43=49.0, e44=-2.0, e45=400.0, e46=-100.0))).to_epsg() == 27700
    with pytest.raises(ReadError, match="not that of the British National Grid"):
        opened(tmp_path, field(small, e43=40.0, e44=-2.0, e45=400000.0, e46=-100000.0))


def test_a_later_validity_is_a_forecast(tmp_path, small):
    analysis, later = field(small), field(small, e4=1, e5=30)
    with pytest.raises(ForecastFileError, match=r"a forecast \(\+90 min\)"):
        opened(tmp_path, later)
    with pytest.warns(InputWarning, match=r"its forecasts \(\+90 min\) are left out"):
        rain = opened(tmp_path, analysis, later)
    assert rain.time.values == np.datetime64("2020-02-07T00:00")


def test_several_fields_are_frames(tmp_path, small):
    rain = opened(tmp_path, field(small, e5=5, e11=5), field(small), name="two.dat")
    assert [str(time)[11:16] for time in rain.time.values] == ["00:00", "00:05"]
    assert (nimrod.read_times(tmp_path / "two.dat") == rain.time.values).all()


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"e19": 58}, r"field code 58 \('Rainfall rate Composite'\), no rain"),
        ({"e29": 3}, "member 3"),
        ({"e15": 5}, "a grid of type 5"),
        ({"e24": 3}, "corner 3"),
        ({"e2": 13}, "a time of"),
        ({"e13": 4}, "bytes follow"),
        ({"e40": 25.0}, "an offset of 25"),
        ({"e35": 0.0}, "steps of 0"),
        ({"units": "dBZ"}, "in 'dBZ'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, small, elements, reason):
    with pytest.raises(ReadError, match=rf"made\.dat.*{reason}"):
        opened(tmp_path, field(small, **elements), name="made.dat")


@pytest.mark.parametrize("cut", [3, 100, 520, 524, 600, -1, -4])
def test_truncation_is_named(tmp_path, small, cut):
    path = tmp_path / "cut.dat"
    path.write_bytes(field(small)[:cut])
    with pytest.raises(ReadError, match=r"cut\.dat"):
        open_radar(path, "nimrod")


def test_a_record_of_another_length_is_named(tmp_path, small):
    data = bytearray(field(small))
    data[520:524] = b"\xff\xff\xff\xff"
    path = tmp_path / "damaged.dat"
    path.write_bytes(bytes(data))
    with pytest.raises(ReadError, match="does not end there"):
        open_radar(path)
